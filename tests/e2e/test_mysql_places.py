"""Places in the logs of real servers: purged, reset, of another server, after a failover."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.agent import Agent, config, until
from harness.mariadb import PASSWORD, USER, MariaDB
from harness.proxy import Proxy
from harness.service import Service


def settings(port: int, service: Service, **sync: Any) -> dict[str, Any]:
    """A configuration of one MariaDB source behind ``port``."""
    source = {
        "driver": "mysql",
        "endpoint": f"mysql://127.0.0.1:{port}/shop",
        "credential": {"user": USER, "password": PASSWORD},
        "driver_params": {"heartbeat": 0.5},
    }
    return config(Path("none"), service.openapi, source=source, sync={"tables": ["orders"], **sync})


def fill(server: MariaDB, first: int, last: int) -> None:
    """Orders ``first`` to ``last``."""
    server.execute("CREATE TABLE IF NOT EXISTS orders (id INT PRIMARY KEY, name VARCHAR(50))")
    for number in range(first, last + 1):
        server.execute("INSERT INTO orders VALUES (%s, %s)", number, f"order {number}")


def rows(service: Service) -> list[int]:
    """The keys the service holds."""
    return sorted(service.rows)


def purged(server: MariaDB) -> bool:
    """Purge all logs but the last; a file that a connection reads is kept."""
    server.execute(f"PURGE BINARY LOGS TO '{server.position().file}'")
    return len(server.binlogs()) == 1


@pytest.mark.fault("F01")
async def test_a_purge_that_outruns_the_agent_is_said(tmp_path: Path, private_mariadb: Callable[..., MariaDB]) -> None:
    """What was purged while the agent was away is not passed over: every batch suggests a snapshot, which brings all."""
    server = private_mariadb()
    fill(server, 1, 3)
    async with Service() as service, Agent(tmp_path, settings(server.port, service)) as agent:
        await agent.start()
        await agent.state("caught up")
        await agent.end()
        fill(server, 4, 6)
        server.execute("FLUSH BINARY LOGS")
        await until(lambda: purged(server), "the server has noticed that nobody reads its logs any more")
        fill(server, 7, 7)
        await agent.start()
        status = await agent.state("lost place")
        await until(lambda: 7 in service.rows, "what is still in the log comes")
        suggested = service.posts[-1].json["snapshot_sync_suggested"]
        before = rows(service)
        service.reply = {"snapshot_needed": True}
        fill(server, 8, 8)
        await until(lambda: service.ends == 2, "the snapshot that was suggested is taken")
        service.reply = {"snapshot_needed": False}
        await until(lambda: rows(service) == list(range(1, 9)), "every row is there")
        await agent.end()

    assert "purged" in status["gap"] + status["problem"]
    assert suggested is True
    assert before == [1, 2, 3, 7]


@pytest.mark.fault("F03")
async def test_a_foreign_server_with_the_same_file_names_is_recognised(
    tmp_path: Path, private_mariadb: Callable[..., MariaDB]
) -> None:
    """Another server at the same address, with the same file names and offsets, is not read as if it were the one."""
    server = private_mariadb(server_id=1)
    stranger = private_mariadb(server_id=7, gtid_domain_id=3)
    fill(server, 1, 3)
    fill(stranger, 1, 9)
    async with (
        Service() as service,
        Proxy(server.port) as proxy,
        Agent(tmp_path, settings(proxy.port, service)) as agent,
    ):
        await agent.start()
        await agent.state("caught up")
        await agent.end()
        proxy.upstream = ("127.0.0.1", stranger.port)
        proxy.cut()
        await agent.start()
        status = await agent.state("lost place")
        await agent.end()

    assert "another one" in status["gap"] + status["problem"] + agent.text()


@pytest.mark.fault("F03")
async def test_a_failover_is_followed_by_gtid(tmp_path: Path, private_mariadb: Callable[..., MariaDB]) -> None:
    """A replica takes over: the sync goes on by GTID with the next change, no gap, no snapshot, numbers rising."""
    first = private_mariadb(server_id=1)
    second = private_mariadb(server_id=2)
    second.replicate_from(first)
    fill(first, 1, 5)
    async with (
        Service() as service,
        Proxy(first.port) as proxy,
        Agent(tmp_path, settings(proxy.port, service)) as agent,
    ):
        await agent.start()
        await agent.state("caught up")
        fill(first, 6, 9)
        await until(lambda: 9 in service.rows, "the stream runs")
        second.wait_for(first.position().gtid)
        first.stop()
        second.promote()
        fill(second, 10, 12)
        proxy.upstream = ("127.0.0.1", second.port)
        proxy.cut()
        await until(lambda: 12 in service.rows, "changes on the new server come")
        status = await agent.state("caught up")
        indexes = [event["index"] for event in service.events() if "index" in event]
        await agent.kill()
        fill(second, 13, 14)
        await agent.start()
        await until(lambda: 14 in service.rows, "it goes on there after a restart")
        await agent.end()

    assert rows(service) == list(range(1, 15))
    assert status["gap"] == ""
    assert service.ends == 1
    assert indexes == sorted(set(indexes))


@pytest.mark.fault("F04")
async def test_logs_that_were_reset_are_noticed(tmp_path: Path, private_mariadb: Callable[..., MariaDB]) -> None:
    """RESET MASTER gives the next file an old name: it is another file all the same, and numbers go on rising."""
    server = private_mariadb()
    fill(server, 1, 3)
    async with Service() as service, Agent(tmp_path, settings(server.port, service)) as agent:
        await agent.start()
        await agent.state("caught up")
        fill(server, 4, 5)
        await until(lambda: 5 in service.rows, "the stream runs")
        server.execute("RESET MASTER")
        fill(server, 6, 8)
        await agent.state("lost place")
        await until(lambda: 8 in service.rows, "what is in the new log comes")
        await agent.end()
        indexes = [event["index"] for event in service.events() if "index" in event]

    assert indexes == sorted(set(indexes))
