"""Others at the same database: programs that write to it, and a second agent that believes to be the first."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import web

from harness.agent import Agent, until
from harness.orders import Orders
from harness.service import Request, Service
from harness.street import street

Make = Callable[[str, int], Orders]


@pytest.mark.fault("F58")
async def test_a_slow_service_holds_no_writer_up(tmp_path: Path, orders: Make) -> None:
    """While a request is under way nothing is read: SQLite's log can be emptied, and others write as they like."""
    service, arrived, go = Service(), asyncio.Event(), asyncio.Event()

    async def slow(_request: Request) -> web.StreamResponse | None:
        arrived.set()
        await go.wait()
        return None

    async with street(tmp_path, orders("sqlite", 10), service) as all_:
        await all_.ready()
        service.script.append(slow)
        all_.put(100)
        await asyncio.wait_for(arrived.wait(), 60)
        all_.put(*range(200, 400))

        def emptied() -> bool:
            [(busy, _, _)] = all_.orders.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return busy == 0 and (tmp_path / "shop.db-wal").stat().st_size == 0

        await until(emptied, "nobody reads what the log holds")
        with closing(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert other.execute("UPDATE orders SET ver = ver + 1").rowcount == 211
            other.execute("COMMIT")
        meanwhile = len(service.posts)
        go.set()
        await all_.arrived()

    assert service.posts[meanwhile - 1].json["events"][0]["id"] == 100, "the request was under way all the time"


@pytest.mark.fault("F71")
@pytest.mark.parametrize(
    ("source", "words"), [("mariadb", "another reader works"), ("postgres", "is being read already")]
)
async def test_a_machine_that_was_copied(source: str, words: str, tmp_path: Path, orders: Make) -> None:
    """A copy of the state directory is not locked, but the database tells: the second waits, the first goes on alone."""
    async with street(tmp_path, orders(source, 10), params={"heartbeat": 0.5}) as all_:
        await all_.ready()
        copied = tmp_path / "copied"
        copied.mkdir()
        shutil.copytree(all_.agent.state_dir, copied / ".fuagent", ignore=shutil.ignore_patterns("*.sock", "control*"))
        async with Agent(copied, {}) as second:
            shutil.copy(all_.agent.path, second.path)
            await second.start()
            status = await second.state("retrying")
            all_.put(*range(100, 110))
            await all_.arrived()
            sent = [post for post in all_.service.posts if post.applied]
            await all_.agent.end()
            await second.state("caught up")
            all_.put(200)
            await all_.arrived()

    assert words in status["problem"]
    assert status["fix"]
    assert [event["id"] for post in sent for event in post.json["events"]] == [*range(1, 11), *range(100, 110)]
