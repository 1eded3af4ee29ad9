"""An agent on a real PostgreSQL server: killed between delivery and acknowledgement, and with its slot lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from harness.agent import Agent, config, until
from harness.postgres import PASSWORD, USER, Database, Postgres
from harness.service import Request, Service

SLOT = "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name LIKE 'fuagent%'"


def settings(database: Database, service: Service, **sync: Any) -> dict[str, Any]:
    """A configuration of one PostgreSQL source."""
    source = {
        "driver": "postgres",
        "endpoint": database.url(),
        "credential": {"user": USER, "password": PASSWORD},
        "driver_params": {"heartbeat": 0.5},
    }
    return config(Path("none"), service.openapi, source=source, sync={"tables": ["orders"], **sync})


def fill(database: Database, first: int, last: int) -> None:
    """Orders ``first`` to ``last``, each in a transaction of its own."""
    for number in range(first, last + 1):
        database.execute("INSERT INTO orders VALUES (%s, 'order ' || %s)", number, number)


def indexes(service: Service) -> dict[int, set[int]]:
    """The numbers that each order came with."""
    found: dict[int, set[int]] = {}
    for post in service.posts:
        for event in post.json["events"]:
            if "index" in event:
                found.setdefault(event["id"], set()).add(event["index"])
    return found


@pytest.mark.fault("F36")
async def test_an_agent_killed_before_the_answer_sends_again(
    tmp_path: Path, private_postgres: Callable[..., Postgres]
) -> None:
    """Rows had arrived and nobody had said so: the slot still holds them, and they come again under the same numbers."""
    database = private_postgres().database()
    database.create("orders", "id int PRIMARY KEY, name text")
    database.execute("ALTER TABLE orders REPLICA IDENTITY FULL")
    fill(database, 1, 2)
    arrived, never = asyncio.Event(), asyncio.Event()

    async def silent(request: Request) -> web.StreamResponse | None:
        if request.method == "POST" and any(event["id"] > 3 for event in request.json["events"]):
            arrived.set()
            await never.wait()
        return None

    async with Service() as service, Agent(tmp_path, settings(database, service)) as agent:
        await agent.start()
        await agent.state("caught up")
        fill(database, 3, 3)
        await until(lambda: 3 in service.rows, "the third order came")
        service.answer = silent
        fill(database, 4, 6)
        [(first,)] = database.execute("SELECT pg_current_wal_lsn() - '0/0'")
        await asyncio.wait_for(arrived.wait(), 60)
        database.execute("CREATE TABLE others AS SELECT n, repeat('x', 100) FROM generate_series(1, 30000) n")
        sent = "SELECT 1 FROM pg_stat_replication WHERE sent_lsn - '0/0' > %s"
        await until(lambda: database.execute(sent, first), "the server has sent all of it")
        [(confirmed,)] = database.execute(SLOT)
        await agent.kill()
        service.answer = None
        never.set()
        fill(database, 7, 7)
        await agent.start()
        await until(lambda: 7 in service.rows, "all orders came")
        suggested = any(post.json["snapshot_sync_suggested"] for post in service.posts)

    assert confirmed < min(*indexes(service)[4], *indexes(service)[5])
    assert sorted(service.rows) == [1, 2, 3, 4, 5, 6, 7]
    assert {number: len(found) for number, found in indexes(service).items() if number > 2} == dict.fromkeys(
        range(3, 8), 1
    )
    assert not suggested


@pytest.mark.fault("F31")
async def test_a_slot_that_is_lost_is_said_once_and_made_anew(
    tmp_path: Path, private_postgres: Callable[..., Postgres]
) -> None:
    """With the setting and how much was missed; the service is told, and a snapshot brings all."""
    server = private_postgres(max_slot_wal_keep_size="1MB", wal_keep_size=0, max_wal_size="2MB")
    database = server.database()
    database.create("orders", "id int PRIMARY KEY, name text")
    database.execute("ALTER TABLE orders REPLICA IDENTITY FULL")
    fill(database, 1, 2)
    async with Service() as service, Agent(tmp_path, settings(database, service)) as agent:
        await agent.start()
        await agent.state("caught up")
        await agent.end()
        fill(database, 3, 4)
        database.execute("CREATE TABLE others (n int, v text)")

        def lost() -> bool:
            database.execute("INSERT INTO others SELECT n, repeat('x', 900) FROM generate_series(1, 2000) n")
            database.execute("CHECKPOINT")
            return database.execute("SELECT 1 FROM pg_replication_slots WHERE wal_status = 'lost'") == [(1,)]

        await until(lost, "the server takes the log away")
        await agent.start()
        status = await agent.state("lost place")
        fill(database, 5, 5)
        await until(lambda: 5 in service.rows, "what is still in the log comes")
        before = sorted(service.rows)
        service.reply = {"snapshot_needed": True}
        fill(database, 6, 6)
        await until(lambda: service.ends == 2, "a snapshot was taken")
        service.reply = {"snapshot_needed": False}
        await until(lambda: sorted(service.rows) == [1, 2, 3, 4, 5, 6], "all orders are there")
        flagged = [post.json["snapshot_sync_suggested"] for post in service.posts]

    assert "max_slot_wal_keep_size (1 MB; " in str(status)
    assert before == [1, 2, 5]
    assert any(flagged)
    assert not flagged[-1]
