"""The database lets the agent in no longer: another password, or a privilege that was taken away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import mariadb
from harness.agent import Agent, config, until
from harness.proxy import Proxy
from harness.service import Service

CHANGE = {
    "mysql": "ALTER USER fuagent IDENTIFIED BY 'another-one'",
    "postgres": "ALTER ROLE fuagent PASSWORD 'another-one'",
}
TAKE = {
    "mysql": ("REVOKE REPLICATION SLAVE ON *.* FROM fuagent@'%'", "GRANT REPLICATION SLAVE ON *.* TO fuagent@'%'"),
    "postgres": ("ALTER ROLE fuagent NOREPLICATION", "ALTER ROLE fuagent REPLICATION"),
}


@pytest.fixture
def made(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """A database with a table of orders, on a server of its own: ``made("postgres")``."""

    def make(kind: str) -> Any:
        server = request.getfixturevalue("private_mariadb" if kind == "mysql" else "private_postgres")()
        database = server.database()
        if kind == "mysql":
            database.execute("CREATE TABLE orders (id INT PRIMARY KEY)")
        else:
            database.create("orders", "id int PRIMARY KEY")
        database.execute("INSERT INTO orders VALUES (1)")
        return database

    return make


def settings(kind: str, port: int, directory: Path, service: Service) -> dict[str, Any]:
    """A configuration whose password stands in a file."""
    secret = directory / "password"
    secret.write_text(mariadb.PASSWORD)
    secret.chmod(0o600)
    source = {
        "driver": kind,
        "endpoint": f"{kind}://127.0.0.1:{port}/shop",
        "credential": {"user": mariadb.USER, "password_file": str(secret)},
        "driver_params": {"heartbeat": 0.5},
    }
    return config(Path("none"), service.openapi, source=source)


@pytest.mark.fault("F28")
@pytest.mark.parametrize("kind", ["mysql", "postgres"])
async def test_a_password_that_is_changed(kind: str, tmp_path: Path, made: Callable[[str], Any]) -> None:
    """Unauthorised, and no more is lost than time: the file is read again, and the sync goes on where it was."""
    database = made(kind)
    async with (
        Service() as service,
        Proxy(database.server.port) as proxy,
        Agent(tmp_path, settings(kind, proxy.port, tmp_path, service)) as agent,
    ):
        await agent.start()
        await agent.state("caught up")
        database.execute(CHANGE[kind])
        proxy.cut()
        database.execute("INSERT INTO orders VALUES (2)")
        status = await agent.state("unauthorised")
        (tmp_path / "password").write_text("another-one")
        await until(lambda: 2 in service.rows, "the sync goes on", 150)
        after = await agent.state("caught up")
        text = agent.text()

    assert "one in a file is then read again by itself" in status["fix"]
    assert (status["gap"], after["gap"], service.ends) == ("", "", 1)
    assert [event["id"] for event in service.events()] == [1, 2]
    assert "another-one" not in text
    assert mariadb.PASSWORD not in text


@pytest.mark.fault("F28")
@pytest.mark.parametrize(
    ("kind", "state", "says"),
    [("mysql", "unauthorised", "GRANT REPLICATION SLAVE"), ("postgres", "halted", "fuagent check names")],
)
async def test_a_privilege_that_is_taken_away(
    kind: str, state: str, says: str, tmp_path: Path, made: Callable[[str], Any]
) -> None:
    """It is said what to grant; nothing is lost, and once it is granted the sync goes on where it was."""
    database = made(kind)
    take, grant = TAKE[kind]
    async with (
        Service() as service,
        Proxy(database.server.port) as proxy,
        Agent(tmp_path, settings(kind, proxy.port, tmp_path, service)) as agent,
    ):
        await agent.start()
        await agent.state("caught up")
        database.execute(take)
        proxy.cut()
        database.execute("INSERT INTO orders VALUES (2)")
        status = await agent.state(state)
        database.execute(grant)
        if state == "halted":
            await agent.end()
            await agent.start()
        await until(lambda: 2 in service.rows, "the sync goes on", 150)

    assert says in status["problem"] + status["fix"]
    assert (status["gap"], service.ends) == ("", 1)
    assert [event["id"] for event in service.events()] == [1, 2]
