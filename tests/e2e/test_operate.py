"""What an operator asks of one sync: pause, resume, accepting a gap; with an agent running and without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from harness import shop
from harness.agent import Agent, config, until
from harness.service import Request, Service


async def test_a_pause_outlives_the_agent(tmp_path: Path) -> None:
    """Paused while it runs, a sync sends nothing before it is resumed, not even after a restart."""
    database = shop.make(tmp_path / "shop.db", 5)
    async with (
        Service() as service,
        Agent(tmp_path, config(tmp_path / "shop.db", service.openapi), measured=True) as agent,
    ):
        await agent.start()
        await agent.state("caught up")
        code, out, _ = await agent.call("pause", "orders-sync")
        await agent.state("paused")
        posts = len(service.posts)
        database.execute("UPDATE orders SET ver = 2 WHERE id = 1")
        await agent.end()
        _, told, _ = await agent.call("status")
        await agent.start()
        await agent.state("paused")

        assert code == 0
        assert "pauses" in out
        assert "paused; fuagent resume orders-sync ends that" in told
        assert len(service.posts) == posts

        code, out, _ = await agent.call("resume", "orders-sync")
        await until(lambda: service.rows == shop.rows(database), "the change made meanwhile")

        assert code == 0
        assert "goes on" in out


async def test_pause_and_resume_without_an_agent(tmp_path: Path) -> None:
    """With none running the journal remembers the pause, and its end; run --once then ends at once."""
    database = shop.make(tmp_path / "shop.db", 5)
    async with (
        Service() as service,
        Agent(tmp_path, config(tmp_path / "shop.db", service.openapi), measured=True) as agent,
    ):
        paused = await agent.call("pause", "orders-sync")

        assert await agent.once() == 0
        assert service.posts == []

        resumed = await agent.call("resume", "orders-sync")
        again = await agent.call("resume", "orders-sync")

        assert await agent.once() == 0
        assert service.rows == shop.rows(database)
        assert [paused[0], resumed[0], again[0]] == [0, 0, 0]
        assert "stays paused" in paused[1]
        assert "when it starts" in resumed[1]
        assert again[1] == "the sync was not paused\n"


def empty_the_log(database: Any) -> None:
    """Lose the place: what the triggers kept is gone."""
    [(log,)] = database.execute("SELECT name FROM sqlite_master WHERE name GLOB '_fuagent_*_log'").fetchall()
    database.execute(f'DELETE FROM "{log}"')


@pytest.mark.parametrize("running", [True, False])
async def test_a_gap_is_accepted(tmp_path: Path, running: bool) -> None:
    """After accept-gap batches suggest no snapshot any more and none is taken, whether an agent runs or not."""
    database = shop.make(tmp_path / "shop.db", 5)
    async with (
        Service() as service,
        Agent(tmp_path, config(tmp_path / "shop.db", service.openapi), measured=True) as agent,
    ):
        before = await agent.call("accept-gap", "orders-sync")
        await agent.once()
        empty_the_log(database)
        await agent.start()
        lost = await agent.state("lost place")
        if not running:
            await agent.end()
        accepted = await agent.call("accept-gap", "orders-sync")
        if not running:
            await agent.start()
        await agent.state("caught up")
        posts = len(service.posts)
        database.execute("UPDATE orders SET ver = 2 WHERE id = 1")
        await until(lambda: len(service.posts) > posts, "the change")

        assert before[:2] == (0, "there is no gap\n")
        assert lost["gap"]
        assert accepted[0] == 0
        assert "the gap is accepted" in accepted[1]
        assert service.posts[-1].json["snapshot_sync_suggested"] is False
        assert service.ends == 1


@pytest.mark.parametrize("command", ["pause", "resume", "accept-gap"])
async def test_a_sync_nobody_knows(tmp_path: Path, command: str) -> None:
    """A name that is not in the configuration is answered with those that are."""
    shop.make(tmp_path / "shop.db", 1).close()
    async with Agent(tmp_path, config(tmp_path / "shop.db", "http://127.0.0.1:9/openapi.json"), measured=True) as agent:
        code, out, err = await agent.call(command, "nobody")

        assert code == 5
        assert out == ""
        assert err.splitlines() == ["error: there is no sync called 'nobody'.", "fix: Choose one of: orders-sync."]


async def test_a_snapshot_that_was_cut_off_keeps_where_it_began(tmp_path: Path) -> None:
    """Asked for again without an agent, it still tells which rows were deleted since its first attempt."""
    database = shop.make(tmp_path / "shop.db", 600)
    async with Service() as service:
        settings = config(tmp_path / "shop.db", service.openapi, sync={"batch_size": 100})
        async with Agent(tmp_path, settings, measured=True) as agent:
            taken: list[int] = []

            async def two_and_no_more(_request: Request) -> web.Response | None:
                taken.append(1)
                return web.json_response({}, status=503) if len(taken) > 2 else None

            service.answer = two_and_no_more
            await agent.start()
            await agent.state("retrying")
            await agent.kill()
            database.execute("DELETE FROM orders WHERE id = 1")
            service.answer = None
            await agent.call("snapshot", "orders-sync")

            assert await agent.once() == 0
            assert service.rows == shop.rows(database)
            assert json.loads((await agent.call("status", "--json"))[1])["syncs"][0]["gap"] == ""
