"""One agent through its life: signals, several syncs, commands, several tables."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import web

from harness import shop
from harness.agent import Agent, config, until
from harness.service import Request, Service, document


@pytest.mark.fault("F65")
async def test_a_signal_lets_the_request_under_way_finish(tmp_path: Path) -> None:
    """SIGTERM in the middle of a POST: it is finished and written down, exit 0, and nothing comes twice."""
    database = shop.make(tmp_path / "shop.db", 5)
    async with Service() as service, Agent(tmp_path, config(tmp_path / "shop.db", service.openapi)) as agent:
        await agent.start()
        await agent.state("caught up")
        arrived, go = asyncio.Event(), asyncio.Event()

        async def slow(_request: Request) -> web.Response | None:
            arrived.set()
            await go.wait()
            return None

        service.script.append(slow)
        database.execute("UPDATE orders SET ver = 2 WHERE id = 1")
        await arrived.wait()
        assert agent.process is not None
        agent.process.send_signal(signal.SIGTERM)
        await agent.state("draining")
        go.set()
        code = await agent.wait()
        posts = len(service.posts)
        await agent.once()

        assert code == 0
        assert len(service.posts) == posts


@pytest.mark.fault("F65")
@pytest.mark.parametrize("drips", [False, True], ids=["silent", "dripping"])
async def test_drain_is_a_bound(drips: bool, tmp_path: Path) -> None:
    """A service that does not answer, or never ends to, holds the end up for no longer than drain."""
    shop.make(tmp_path / "shop.db", 5).close()
    async with Service() as service:
        forever, arrived = asyncio.Event(), asyncio.Event()

        async def never(request: Request) -> web.StreamResponse | None:
            response = web.StreamResponse()
            if drips:
                await response.prepare(request.raw)
            arrived.set()
            while not forever.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(forever.wait(), 0.05)
                if drips:
                    with suppress(ConnectionError):
                        await response.write(b" ")
            return response

        service.answer = never
        settings = config(tmp_path / "shop.db", service.openapi, sync={"drain": 0.5, "timeout": 600})
        async with Agent(tmp_path, settings) as agent:
            await agent.start()
            await arrived.wait()

            assert await agent.end() == 0
        forever.set()


@pytest.mark.fault("F65")
async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    """Exit code 128 plus the signal's number, long before drain is over; the next run delivers everything."""
    database = shop.make(tmp_path / "shop.db", 5)
    async with Service() as service:
        forever, arrived = asyncio.Event(), asyncio.Event()

        async def never(_request: Request) -> web.Response | None:
            arrived.set()
            await forever.wait()
            return None

        service.answer = never
        async with Agent(tmp_path, config(tmp_path / "shop.db", service.openapi, sync={"drain": 600})) as agent:
            await agent.start()
            await arrived.wait()
            assert agent.process is not None
            agent.process.send_signal(signal.SIGTERM)
            await agent.state("draining")
            agent.process.send_signal(signal.SIGTERM)

            assert await agent.wait() == 128 + signal.SIGTERM

            forever.set()
            service.answer = None

            assert await agent.once() == 0
            assert service.rows == shop.rows(database)


@pytest.mark.fault("F65")
async def test_one_sync_in_trouble_leaves_the_other_alone(tmp_path: Path) -> None:
    """One service is down, one sync halts; the third goes on, and each says its own state."""
    database = shop.make(tmp_path / "shop.db", 5)
    async with Service() as good, Service() as down, Service() as refusing:
        await down.stop()
        refusing.script.append(410)
        settings = config(tmp_path / "shop.db", good.openapi)
        for name, service in (("down", down), ("refusing", refusing)):
            settings["pushers"][name] = {**settings["pushers"]["service"], "endpoint": service.openapi}
            settings["syncs"][name] = {"source": "shop", "pusher": name, "tables": ["orders"]}
        async with Agent(tmp_path, settings) as agent:
            await agent.start()
            await agent.state("caught up")
            await agent.state("halted", "refusing")
            await agent.state("retrying", "down")
            database.execute("UPDATE orders SET ver = 2 WHERE id = 1")
            await until(lambda: good.rows == shop.rows(database), "the change arrives")

            assert await agent.end() == 1


async def test_tables_go_to_routes_of_their_own(tmp_path: Path) -> None:
    """{table} in batch_endpoint: no request mixes tables, and the end marker goes to every route after the last row."""
    database = shop.make(tmp_path / "shop.db", 5)
    database.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)")
    database.execute("INSERT INTO items VALUES (1, 'a'), (2, 'b')")
    async with Service() as service:
        settings = config(tmp_path / "shop.db", service.openapi, sync={"tables": ["orders", "items"]})
        settings["pushers"]["service"]["driver_params"] = {"batch_endpoint": "/in/{table}"}
        async with Agent(tmp_path, settings) as agent:
            assert await agent.once() == 0
        ends = [post.path for post in service.posts if post.json["is_snapshot_end"]]
        rows = [(post.path, sorted(event)) for post in service.posts for event in post.json["events"]]

        assert sorted(ends) == ["/in/items", "/in/orders"]
        assert all(post.json["is_snapshot_end"] for post in service.posts[-2:])
        assert {path for path, names in rows if "price" in names} == {"/in/orders"}
        assert {path for path, names in rows if "price" not in names} == {"/in/items"}


async def test_two_tables_on_one_route_are_refused(tmp_path: Path) -> None:
    """An event does not name its table, so a silent mix is halted, with the way out."""
    database = shop.make(tmp_path / "shop.db", 5)
    database.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)")
    async with Service() as service:
        settings = config(tmp_path / "shop.db", service.openapi, sync={"tables": ["orders", "items"]})
        async with Agent(tmp_path, settings) as agent:
            await agent.start()
            status = await agent.state("halted")

            assert "{table}" in status["fix"]
            assert service.posts == []


@pytest.mark.fault("F73")
async def test_a_table_added_later_is_snapshotted_alone(tmp_path: Path) -> None:
    """Only its rows, without an index and without an end marker; then its changes."""
    database = shop.make(tmp_path / "shop.db", 5)
    async with Service() as service:
        settings = config(tmp_path / "shop.db", service.openapi)
        settings["pushers"]["service"]["driver_params"] = {"batch_endpoint": "/in/{table}"}
        async with Agent(tmp_path, settings) as agent:
            assert await agent.once() == 0
            service.posts.clear()
            database.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT)")
            database.execute("INSERT INTO items VALUES (101, 'a'), (102, 'b')")
            settings["syncs"]["orders-sync"]["tables"] = ["orders", "items"]
            agent.configure(settings)
            assert await agent.once() == 0
            alone = [event for post in service.posts for event in post.json["events"]]
            database.execute("UPDATE items SET name = 'c' WHERE id = 102")
            assert await agent.once() == 0

        assert [event["id"] for event in alone] == [101, 102]
        assert not any("index" in event for event in alone)
        assert service.ends == 1
        assert "index" in service.events()[-1]


async def test_commands_reach_the_running_agent(tmp_path: Path) -> None:
    """status tells what it does; snapshot takes one; both say so when nobody runs."""
    database = shop.make(tmp_path / "shop.db", 5)
    async with Service() as service, Agent(tmp_path, config(tmp_path / "shop.db", service.openapi)) as agent:
        await agent.start()
        await agent.state("caught up")
        code, out, _ = await agent.call("snapshot", "orders-sync")
        await until(lambda: service.ends == 2, "the snapshot")
        running = json.loads((await agent.call("status", "--json"))[1])
        await agent.end()
        stopped = json.loads((await agent.call("status", "--json"))[1])
        wrong, _, err = await agent.call("snapshot", "nobody")

        assert code == 0
        assert "snapshot" in out
        assert running["running"] is True
        assert running["syncs"][0]["index"] == service.checkpoint
        assert stopped["running"] is False
        assert stopped["syncs"][0]["index"] == service.checkpoint
        assert wrong != 0
        assert "orders-sync" in err
        assert service.rows == shop.rows(database)


async def test_everything_in_the_database_can_be_taken_out(tmp_path: Path) -> None:
    """source remove leaves the schema as it was before; refused while an agent runs."""
    database = shop.make(tmp_path / "shop.db", 5)
    before = database.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    async with Service() as service, Agent(tmp_path, config(tmp_path / "shop.db", service.openapi)) as agent:
        await agent.start()
        await agent.state("caught up")
        refused, _, _ = await agent.call("source", "remove", "shop", "--yes")
        await agent.end()
        code, out, _ = await agent.call("source", "remove", "shop", "--yes")
        after = database.execute(
            "SELECT name, sql FROM sqlite_master WHERE name <> 'sqlite_sequence' ORDER BY name"
        ).fetchall()

        assert refused == 4
        assert code == 0
        assert "trigger" in out
        assert after == before


async def test_the_document_may_choose_marks(tmp_path: Path) -> None:
    """x-fuagent-delete-field: every event says whether its row was deleted; without it the old row comes as it was."""
    for marked in (True, False):
        directory = tmp_path / str(marked)
        directory.mkdir()
        database = shop.make(directory / "shop.db", 3)
        doc = document(**({"x-fuagent-delete-field": "gone"} if marked else {}))
        async with Service(doc) as service, Agent(directory, config(directory / "shop.db", service.openapi)) as agent:
            await agent.once()
            database.execute("DELETE FROM orders WHERE id = 2")
            await agent.once()
            events = service.events()

            assert [event.get("gone") for event in events] == ([False] * 3 + [True] if marked else [None] * 4)
            assert events[-1]["id"] == 2
            assert events[-1]["name"] == "order 2"


async def test_status_needs_no_secret(tmp_path: Path) -> None:
    """From another shell, where the key's variable is not set, status and snapshot work all the same; run says so."""
    shop.make(tmp_path / "shop.db", 5).close()
    async with Service() as service:
        settings = config(tmp_path / "shop.db", service.openapi)
        settings["pushers"]["service"]["credential"] = {"key": "${NO_SUCH_KEY}"}
        async with Agent(tmp_path, settings, {"NO_SUCH_KEY": "k-1234"}) as agent:
            await agent.start()
            await agent.state("caught up")
            del agent.env["NO_SUCH_KEY"]
            status, out, _ = await agent.call("status")
            snapshot, _, _ = await agent.call("snapshot", "orders-sync")
            await agent.end()
            run, _, err = await agent.call("run")

        assert status == 0
        assert "orders-sync" in out
        assert snapshot == 0
        assert run == 3
        assert "NO_SUCH_KEY" in err
