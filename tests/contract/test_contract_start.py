"""Every row of the start table, over real HTTP with a real database and journal."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from harness import shop
from harness.agent import Agent, config, until
from harness.service import Request, Service, document

Street = tuple[sqlite3.Connection, Service, Agent]


@asynccontextmanager
async def street(directory: Path, given: Service | None = None, **sync: Any) -> AsyncIterator[Street]:
    """A shop of ten orders, a service and an agent, not started."""
    database = shop.make(directory / "shop.db", 10)
    async with (
        given or Service() as service,
        Agent(directory, config(directory / "shop.db", service.openapi, sync=sync)) as agent,
    ):
        yield database, service, agent
    database.close()


async def settled(parts: Street) -> None:
    """The first snapshot is delivered, and two changes; the agent is stopped in an orderly way."""
    database, service, agent = parts
    await agent.start()
    await agent.state("caught up")
    for number in (1, 2):
        database.execute("UPDATE orders SET ver = ver + 1 WHERE id = ?", (number,))
    await until(lambda: service.rows == shop.rows(database), "the changes arrive")
    await agent.state("caught up")
    await agent.end()
    service.posts.clear()
    service.versions.clear()


def change(database: sqlite3.Connection) -> None:
    """One more change while the agent is away."""
    database.execute("UPDATE orders SET ver = 99 WHERE id = 3")


def suggested(service: Service) -> list[bool]:
    """The flag on each batch."""
    return [post.json["snapshot_sync_suggested"] for post in service.posts]


def sent(service: Service) -> list[int]:
    """Ids in the order sent."""
    return [event["id"] for post in service.posts for event in post.json["events"]]


@pytest.mark.parametrize("kind", ["503", "401", "page", "timeout"])
@pytest.mark.fault("F99")
async def test_no_answer_is_never_taken_for_none(kind: str, tmp_path: Path) -> None:
    """5xx, 401, a page, silence: asked again, and no row is sent meanwhile."""
    async with street(tmp_path, timeout=1) as parts:
        database, service, agent = parts
        await settled(parts)
        change(database)
        asked = 0

        async def answer(_request: Request) -> web.Response | None:
            nonlocal asked
            asked += 1
            if asked > 2:
                return None
            if kind == "timeout":
                await asyncio.sleep(2)
            if kind == "page":
                return web.Response(text="<html>hello</html>", content_type="text/html")
            return web.Response(status=int(kind) if kind.isdigit() else 200)

        service.answer_status = answer
        await agent.start()
        await until(lambda: asked > 2, "the question comes again")
        await until(lambda: service.posts, "the change arrives")

        assert sent(service) == [3]


@pytest.mark.parametrize("body", ["null", "-5", '"12"', "1.5", "9007199254740993"])
@pytest.mark.fault("F101")
async def test_a_clear_answer_that_is_no_index_halts(body: str, tmp_path: Path) -> None:
    """null, negative, text, a fraction, too large: halted with text."""
    async with street(tmp_path) as parts:
        database, service, agent = parts
        await settled(parts)
        change(database)

        async def answer(_request: Request) -> web.Response:
            return web.Response(text=body, content_type="application/json")

        service.answer_status = answer
        await agent.start()
        status = await agent.state("halted")

        assert service.posts == []
        assert "index" in status["problem"] + status["fix"]


async def test_without_a_status_endpoint_the_journal_is_the_checkpoint(tmp_path: Path) -> None:
    """Goes on behind what was acknowledged; nothing is asked."""
    async with street(tmp_path, Service(document(status=None, **{"x-fuagent-delete-field": "_deleted"}))) as parts:
        database, service, agent = parts
        await settled(parts)
        change(database)
        await agent.start()
        await until(lambda: service.posts, "the change arrives")
        await agent.state("caught up")

        assert sent(service) == [3]
        assert not any("status" in request.path for request in service.requests)


async def test_nothing_acknowledged_begins_with_a_snapshot(tmp_path: Path) -> None:
    """404 and an empty journal: every row, the end marker, then the stream."""
    async with street(tmp_path) as (database, service, agent):
        await agent.start()
        await agent.state("caught up")

        assert service.rows == shop.rows(database)
        assert service.ends == 1
        assert [index for index, _ in service.versions[:-1]] == [None] * 9
        assert isinstance(service.versions[-1][0], int)


@pytest.mark.parametrize("zero", [False, True], ids=["404", "0"])
@pytest.mark.fault("F100")
async def test_a_checkpoint_that_is_gone_is_asked_for_again_and_then_begun_anew(zero: bool, tmp_path: Path) -> None:
    """30 seconds of patience; then loudly from the beginning."""
    async with street(tmp_path) as parts:
        database, service, agent = parts
        await settled(parts)
        service.checkpoint = 0
        if zero:

            async def answer(_request: Request) -> web.Response | None:
                return web.json_response(0) if not service.checkpoint else None

            service.answer_status = answer
        await agent.start()
        await agent.state("retrying")

        assert service.posts == []

        await until(lambda: service.ends == 2, "a second snapshot", 90)

        assert "from the beginning" in agent.text()
        assert sorted(sent(service)) == sorted(shop.rows(database))


@pytest.mark.fault("F100")
async def test_a_checkpoint_that_comes_back_in_time_costs_nothing(tmp_path: Path) -> None:
    """A half-deployed service: 404 at first, the checkpoint a little later."""
    async with street(tmp_path) as parts:
        database, service, agent = parts
        await settled(parts)
        change(database)
        kept, service.checkpoint = service.checkpoint, 0
        await agent.start()
        await agent.state("retrying")
        service.checkpoint = kept
        await until(lambda: service.posts, "the change arrives")
        await agent.state("caught up")

        assert sent(service) == [3]
        assert service.ends == 1


async def test_a_snapshot_that_is_due_comes_first(tmp_path: Path) -> None:
    """N, and the journal holds a snapshot asked for while no agent ran."""
    async with street(tmp_path) as parts:
        database, service, agent = parts
        await settled(parts)
        change(database)
        await agent.call("snapshot", "orders-sync")
        await agent.start()
        await until(lambda: service.ends == 2, "the snapshot")

        assert sent(service) == [3, *shop.rows(database)]


async def test_an_index_that_is_met_exactly_is_resumed(tmp_path: Path) -> None:
    """N is where the sync stands: only what is new is sent."""
    async with street(tmp_path) as parts:
        database, service, agent = parts
        await settled(parts)
        change(database)
        await agent.start()
        await until(lambda: service.posts, "the change arrives")
        await agent.state("caught up")

        assert sent(service) == [3]
        assert suggested(service) == [False]


async def test_a_service_restored_from_a_backup_is_rewound(tmp_path: Path) -> None:
    """N below what was acknowledged: sent again from there, with the same indexes."""
    async with street(tmp_path) as parts:
        database, service, agent = parts
        await agent.start()
        await agent.state("caught up")
        backup = service.checkpoint, dict(service.rows)
        for number in (1, 2):
            database.execute("UPDATE orders SET ver = 50 WHERE id = ?", (number,))
        await until(lambda: service.rows == shop.rows(database), "the changes arrive")
        await agent.state("caught up")
        await agent.end()
        before = [event["index"] for event in service.events()[-2:]]
        service.checkpoint, service.rows = backup
        service.posts.clear()
        await agent.start()
        await until(lambda: service.rows == shop.rows(database), "the changes arrive again")
        await agent.state("caught up")

        assert [event["index"] for event in service.events()] == before
        assert suggested(service) == [False] * len(service.posts)


async def test_a_service_restored_too_far_back_is_a_gap(tmp_path: Path) -> None:
    """The log no longer reaches there: the flag, one line, a state; numbers rise above what was seen."""
    async with street(tmp_path) as parts:
        database, service, agent = parts
        settings = config(tmp_path / "shop.db", service.openapi)
        settings["sources"]["shop"]["driver_params"] = {"keep_rows": 0}
        agent.configure(settings)
        await settled(parts)
        highest = service.checkpoint
        for (table,) in database.execute(
            "SELECT name FROM sqlite_master WHERE name LIKE '~_fuagent~_%log' ESCAPE '~'"
        ).fetchall():
            database.execute(f'DELETE FROM "{table}" WHERE seq < (SELECT max(seq) FROM "{table}")')
        service.checkpoint = 4
        change(database)
        await agent.start()
        status = await agent.state("lost place")
        await until(lambda: 3 in sent(service), "the change arrives")

        assert all(suggested(service))
        assert status["gap"]
        assert min(event["index"] for event in service.events()) > highest


async def test_a_foreign_checkpoint_is_a_gap(tmp_path: Path) -> None:
    """N lies beyond the log's end: not from this database; numbers rise above N."""
    async with street(tmp_path) as parts:
        database, service, agent = parts
        await settled(parts)
        service.checkpoint = 1_000_000
        change(database)
        await agent.start()
        status = await agent.state("lost place")
        await until(lambda: 3 in sent(service), "the change arrives")

        assert all(suggested(service))
        assert status["gap"]
        assert min(event["index"] for event in service.events()) > 1_000_000


async def test_a_lost_journal_goes_on_from_the_number_alone(tmp_path: Path) -> None:
    """Exact, but unproven: the flag is on until the first 2xx."""
    async with street(tmp_path) as parts:
        database, service, agent = parts
        await settled(parts)
        shutil.rmtree(agent.state_dir)
        change(database)
        await agent.start()
        await until(lambda: len(service.posts) == 1, "the change arrives")
        database.execute("UPDATE orders SET ver = 100 WHERE id = 4")
        await until(lambda: len(service.posts) == 2, "the next change arrives")

        assert sent(service) == [3, 4]
        assert suggested(service) == [True, False]


async def test_a_trusted_checkpoint_leaves_the_flag_off(tmp_path: Path) -> None:
    """trust_checkpoint: the number alone is believed."""
    async with street(tmp_path, trust_checkpoint=True) as parts:
        database, service, agent = parts
        await settled(parts)
        shutil.rmtree(agent.state_dir)
        change(database)
        await agent.start()
        await until(lambda: service.posts, "the change arrives")

        assert sent(service) == [3]
        assert suggested(service) == [False]


async def test_a_lost_journal_and_a_number_the_log_has_not_is_a_gap(tmp_path: Path) -> None:
    """Neither journal nor log can prove it."""
    async with street(tmp_path) as parts:
        database, service, agent = parts
        await settled(parts)
        shutil.rmtree(agent.state_dir)
        service.checkpoint = 777_777
        change(database)
        await agent.start()
        await agent.state("lost place")
        await until(lambda: 3 in sent(service), "the change arrives")

        assert all(suggested(service))


@pytest.mark.fault("F59")
async def test_a_restored_database_is_recognised(tmp_path: Path) -> None:
    """The file was put back from a copy: its log has other tokens, so the place is lost and said to be."""
    async with street(tmp_path) as parts:
        database, _, agent = parts
        await agent.start()
        await agent.state("caught up")
        await agent.end()
        copy = sqlite3.connect(tmp_path / "copy.db")
        database.backup(copy)
        copy.close()
        await agent.start()
        await settled_again(parts)
        old = sqlite3.connect(tmp_path / "copy.db")
        old.backup(database)
        old.close()
        change(database)
        change(database)
        change(database)
        await agent.start()
        status = await agent.state("lost place")

        assert status["gap"]


async def settled_again(parts: Street) -> None:
    """Two more changes delivered; the agent is stopped."""
    database, service, agent = parts
    for number in (5, 6):
        database.execute("UPDATE orders SET ver = ver + 1 WHERE id = ?", (number,))
    await until(lambda: service.rows == shop.rows(database), "the changes arrive")
    await agent.state("caught up")
    await agent.end()
