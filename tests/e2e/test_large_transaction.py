"""A transaction larger than the memory an agent may have, and a connection that breaks in its middle."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness import mariadb
from harness.agent import Agent, config, until
from harness.proxy import Proxy
from harness.service import Service

ROWS, WIDE = 60_000, 2_000
MORE = 64 << 20
"""Bytes an agent at rest may take in addition: about half of what the rows have."""
WRITE = {
    "mysql": f"INSERT INTO orders SELECT seq, REPEAT('x', {WIDE}) FROM seq_1_to_{ROWS}",
    "postgres": f"INSERT INTO orders SELECT n, repeat('x', {WIDE}) FROM generate_series(1, {ROWS}) n",
}


def limit(agent: Agent) -> None:
    """Let the agent have no more memory than it has, and a little."""
    assert agent.process is not None
    process = psutil.Process(agent.process.pid)
    [held] = [line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "VmData" in line]
    most = int(held.split()[1]) * 1024 + MORE
    process.rlimit(resource.RLIMIT_DATA, (most, most))


class Counting(Service):
    """Keeps the numbers of the rows, and no row."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[tuple[int, int]] = []

    def apply(self, request: Any) -> None:
        """As the service does, but for what is kept."""
        self.numbers += [(event["id"], event["index"]) for event in request.json["events"] if "index" in event]
        super().apply(request)
        self.posts.clear()
        self.requests.clear()
        self.versions.clear()
        for row in self.rows.values():
            row.clear()


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [pytest.param("mysql", marks=pytest.mark.fault("F21")), pytest.param("postgres", marks=pytest.mark.fault("F46"))],
)
async def test_a_transaction_larger_than_memory(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """It passes through, though the connection breaks in its middle: every row, in order, and the agent still lives."""
    make: Callable[..., Any] = request.getfixturevalue("private_mariadb" if kind == "mysql" else "private_postgres")
    database = make(**({} if kind == "mysql" else {"logical_decoding_work_mem": "64kB"})).database()
    if kind == "mysql":
        database.execute("CREATE TABLE orders (id INT PRIMARY KEY, name TEXT)")
    else:
        database.create("orders", "id int PRIMARY KEY, name text")
    async with Counting() as service, Proxy(database.server.port) as proxy:
        source = {
            "driver": kind,
            "endpoint": f"{kind}://127.0.0.1:{proxy.port}/{database.name}",
            "credential": {"user": mariadb.USER, "password": mariadb.PASSWORD},
        }
        async with Agent(tmp_path, config(Path("none"), service.openapi, source=source)) as agent:
            await agent.start()
            await agent.state("caught up")
            limit(agent)
            database.execute(WRITE[kind])
            await until(lambda: len(service.numbers) > ROWS // 2, f"half of it is there; {agent.text()[-2000:]}")
            proxy.cut()
            await until(lambda: len(service.rows) == ROWS, "all of it is there", 150)
            await agent.state("caught up")
            assert await agent.end() == 0, agent.text()

    assert [id_ for id_, _ in service.numbers] == [*range(1, ROWS + 1)]
    indexes = [index for _, index in service.numbers]
    assert indexes == sorted(set(indexes))
