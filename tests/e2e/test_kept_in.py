"""Columns that a sync does not name stay in the database, on every path a row takes; and what is written is the owner's alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import canary, mariadb, postgres, shop
from harness.agent import Agent, config, until
from harness.service import Request, Service, web

pytestmark = pytest.mark.slow

HIDDEN = "canary-column"
"""What every hidden column of every row says."""


class Database:
    """A table of orders with a hidden column on one kind of server: its source, and statements."""

    def __init__(self, kind: str, directory: Path, request: pytest.FixtureRequest) -> None:
        self.execute: Callable[..., Any]
        if kind == "sqlite":
            self.source = {"driver": kind, "endpoint": f"sqlite:///{directory / 'shop.db'}"}
            self.execute = shop.make(directory / "shop.db", 0).execute
            self.execute("DROP TABLE orders")
        else:
            made = request.getfixturevalue("database" if kind == "mysql" else "postgres_database")
            harness = mariadb if kind == "mysql" else postgres
            credential = {"user": harness.USER, "password": harness.PASSWORD}
            self.source = {"driver": kind, "endpoint": made.url(), "credential": credential}
            self.execute = made.execute
        self.execute("CREATE TABLE orders (id INT PRIMARY KEY, name VARCHAR(50), hidden VARCHAR(50))")
        if kind == "postgres":
            self.execute(f"ALTER TABLE orders OWNER TO {postgres.USER}")

    def insert(self, number: int, *more: str) -> None:
        """One row."""
        values = ", ".join(f"'{text}'" for text in (f"order {number}", HIDDEN, *more))
        self.execute(f"INSERT INTO orders VALUES ({number}, {values})")


async def refusing(request: Request) -> web.Response | None:
    """No row 3; what is said of it is what was sent."""
    if request.method == "POST" and any(event["id"] == 3 for event in request.json["events"]):
        return web.Response(status=422, text=request.body.decode())
    return None


@pytest.mark.fault("S28", "S29")
@pytest.mark.parametrize("kind", ["sqlite", "mysql", "postgres"])
async def test_a_column_that_is_not_named_leaves_by_no_path(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Neither in a snapshot nor in a change, neither refused nor set aside nor logged; one that is added is not named."""
    database = Database(kind, tmp_path, request)
    for number in (1, 2, 3):
        database.insert(number)
    service = Service()
    service.answer = refusing
    sync = {"fields": ["id", "name"], "on_reject": "set_aside"}
    settings = config(Path("none"), service.openapi, source=database.source, sync=sync)
    async with service:
        settings["pushers"]["service"]["endpoint"] = service.openapi
        async with Agent(tmp_path, settings) as agent:
            await agent.start("--debug", "--log-level", "debug", "--listen", "0")
            await until(lambda: {1, 2} <= set(service.rows), f"the snapshot; {agent.text()[-2000:]}")
            database.execute("UPDATE orders SET name = 'changed' WHERE id = 1")
            await until(lambda: service.rows[1]["name"] == "changed", "the change")
            database.execute("ALTER TABLE orders ADD COLUMN later VARCHAR(50)")
            database.insert(4, HIDDEN)
            database.execute("DELETE FROM orders WHERE id = 2")
            await until(lambda: 4 in service.rows and 2 not in service.rows, "what came after the new column")
            found = await canary.traces(agent)
        for number, post in enumerate(service.posts):
            found[f"request {number}"] = post.body

    assert service.rows == {1: {"id": 1, "name": "changed"}, 4: {"id": 4, "name": "order 4"}}
    assert any(b"order 3" in text for place, text in found.items() if "journal" in place)
    assert canary.leaks(found, frozenset({HIDDEN.encode()})) == []


@pytest.mark.fault("S09", "S11")
async def test_what_an_agent_writes_is_its_owners_alone(tmp_path: Path) -> None:
    """State, rows set aside, the service's document, the socket for commands: nobody else may open them, whatever the umask."""
    shop.make(tmp_path / "shop.db", 4).close()
    service = Service()
    service.answer = refusing
    async with service:
        settings = config(tmp_path / "shop.db", service.openapi, sync={"on_reject": "set_aside"})
        async with Agent(tmp_path, settings) as agent:
            before = os.umask(0)
            try:
                await agent.start()
            finally:
                os.umask(before)
            status = await agent.state("caught up")
            found = {path: path.lstat().st_mode for path in (agent.state_dir, *agent.state_dir.rglob("*"))}

    assert status["rejected"] == 1
    assert {"journal.db", "control.sock", "documents"} <= {path.name for path in found}
    assert [path for path, mode in found.items() if stat.S_IMODE(mode) & 0o077] == []
