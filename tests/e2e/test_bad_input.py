"""What a person gets to see when something is wrong, and that nothing is lost by it."""

from __future__ import annotations

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

SECRET = "k-1234"


@asynccontextmanager
async def street(
    directory: Path, rows: int = 10, given: Service | None = None, **settings: Any
) -> AsyncIterator[tuple[sqlite3.Connection, Service, Agent]]:
    """A shop, a service and an agent between them, not started."""
    database = shop.make(directory / "shop.db", rows)
    async with (
        given or Service() as service,
        Agent(directory, config(directory / "shop.db", service.openapi, **settings)) as agent,
    ):
        yield database, service, agent
        assert SECRET not in agent.text()
        assert "Traceback" not in agent.text()
    database.close()


async def arrived(database: sqlite3.Connection, service: Service, agent: Agent) -> None:
    """Everything is at the service in the end."""
    await until(lambda: service.rows == shop.rows(database), f"all rows arrive; log:\n{agent.text()[-3000:]}")


def says(status: dict[str, Any], *words: str) -> None:
    """The status names the trouble in these words, and what to do."""
    text = f"{status['problem']} {status['fix']}"

    assert all(word in text for word in words), text
    assert status["fix"]
    assert SECRET not in str(status)


# ------------------------------------------------------------ before anything runs


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sources: [\n", ["config.yaml:", "YAML"]),
        ("sources: {a: {driver: oracle, endpoint: x}}\n", ["oracle", "sqlite"]),
        ("", ["config.yaml"]),
    ],
    ids=["wrong YAML", "unknown driver", "empty"],
)
async def test_a_wrong_configuration_is_refused_with_its_place(text: str, words: list[str], tmp_path: Path) -> None:
    """Exit code 3, the file and line, no traceback."""
    agent = Agent(tmp_path, {})
    agent.path.write_text(text)

    code, _, err = await agent.call("run", "--once")

    assert code == 3
    assert all(word.lower() in err.lower() for word in words), err
    assert "Traceback" not in err


async def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    """Three mistakes, three lines, each with its path; a secret beside them is not shown."""
    settings = config(tmp_path / "shop.db", "http://127.0.0.1:1/openapi.json", sync={"batch_sise": 1, "deletes": "no"})
    settings["syncs"]["orders-sync"]["source"] = "shoop"
    agent = Agent(tmp_path, settings)

    code, out, _ = await agent.call("check")

    assert code == 3
    assert "batch_size" in out
    assert "syncs.orders-sync.deletes" in out
    assert "shop" in out
    assert SECRET not in out


# ------------------------------------------------------------ found by the running agent


@pytest.mark.parametrize("wrong", ["orders_", "no_such_table"])
async def test_a_missing_table_halts_the_sync(wrong: str, tmp_path: Path) -> None:
    """The name and what there is instead."""
    async with street(tmp_path, sync={"tables": [wrong]}) as (_, service, agent):
        await agent.start()

        says(await agent.state("halted"), wrong, "orders")
        assert service.posts == []


async def test_a_column_called_index_halts_the_sync(tmp_path: Path) -> None:
    """It would pass for the checkpoint; the fix names the option."""
    async with street(tmp_path) as (database, service, agent):
        database.execute('ALTER TABLE orders ADD COLUMN "index" INTEGER')
        await agent.start()

        says(await agent.state("halted"), "index", "fields")
        assert service.posts == []


async def test_a_document_that_is_html_is_tried_again(tmp_path: Path) -> None:
    """A page in the document's place is said so; once the document is there, everything arrives."""
    service = Service()
    good, service.document = service.document, b"<html><title>Sign in</title></html>"
    async with street(tmp_path, given=service) as (database, _, agent):
        await agent.start()
        says(await agent.state("wrong answer"), "HTML")
        service.document = good
        await arrived(database, service, agent)

        assert service.rows == shop.rows(database)


async def test_a_document_without_the_path_warns_and_posts(tmp_path: Path) -> None:
    """check fails on it, run warns and goes on."""
    doc = document()
    doc["paths"] = {"/other": {"get": {"responses": {}}}}
    async with street(tmp_path, given=Service(doc)) as (database, service, agent):
        code, out, _ = await agent.call("check")
        await agent.start()

        await arrived(database, service, agent)
        assert code == 1
        assert "/ingest-batch" in out
        assert "/ingest-batch" in agent.text()


@pytest.mark.fault("F80")
async def test_a_wrong_key_waits_until_it_is_right(tmp_path: Path) -> None:
    """Unauthorised; the key's file is read again, and everything arrives."""
    key = tmp_path / "key"
    key.write_text("wrong")
    key.chmod(0o600)
    async with street(tmp_path) as (database, service, agent):
        settings = config(tmp_path / "shop.db", service.openapi)
        settings["pushers"]["service"]["credential"] = {"key_file": str(key)}
        agent.configure(settings)
        await agent.start()
        says(await agent.state("unauthorised"), "401")
        key.write_text(SECRET)
        await arrived(database, service, agent)

        assert service.rows == shop.rows(database)


@pytest.mark.fault("F95")
async def test_a_service_that_is_down_at_start_is_waited_for(tmp_path: Path) -> None:
    """Retrying, with the address; nothing is lost."""
    service = Service()
    await service.start()
    await service.stop()
    database = shop.make(tmp_path / "shop.db")
    async with Agent(tmp_path, config(tmp_path / "shop.db", service.openapi)) as agent:
        await agent.start()
        says(await agent.state("retrying"), f"127.0.0.1:{service.port}")
        await service.start()
        await arrived(database, service, agent)

        assert service.rows == shop.rows(database)
    await service.stop()


@pytest.mark.parametrize("body", ['"abc"', "-1", "1e400", "null", "1.5", "true", "9007199254740992", '{"index": "5"}'])
@pytest.mark.fault("F101")
async def test_a_checkpoint_that_is_no_index_halts(body: str, tmp_path: Path) -> None:
    """Never guessed at: the sync halts with the address and what was answered."""

    async def answer(_request: Request) -> web.Response:
        return web.Response(text=body, content_type="application/json")

    service = Service()
    service.answer_status = answer
    async with street(tmp_path, given=service) as (_, _, agent):
        await agent.start()

        says(await agent.state("halted"), "/fuagent-sync-status")
        assert service.posts == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.fault("F86", "S01")
async def test_a_redirect_of_a_batch_is_not_followed(status: int, tmp_path: Path) -> None:
    """Rows and key go nowhere else; the same bytes come again and are taken."""
    async with street(tmp_path) as (database, service, agent):
        elsewhere = Service()
        async with elsewhere:

            async def away(_request: Request) -> web.Response:
                return web.Response(status=status, headers={"location": f"{elsewhere.url}/ingest-batch"})

            service.answer = away
            await agent.start()
            says(await agent.state("wrong answer"), str(status))
            service.answer = None
            await arrived(database, service, agent)

            assert elsewhere.requests == []
            assert service.posts[0].body == service.posts[1].body


@pytest.mark.fault("F76")
async def test_a_500_that_does_not_end_loses_nothing(tmp_path: Path) -> None:
    """Retrying with the same bytes for as long as it takes."""
    async with street(tmp_path) as (database, service, agent):

        async def broken(_request: Request) -> web.Response:
            return web.Response(status=500)

        service.answer = broken
        await agent.start()
        await until(lambda: len(service.posts) >= 4, "it is tried again and again")
        says(await agent.state("retrying"), "500")
        service.answer = None
        await arrived(database, service, agent)

        assert len({post.body for post in service.posts[:5]}) == 1
        assert len({post.headers["idempotency-key"] for post in service.posts[:5]}) == 1


@pytest.mark.fault("F78")
async def test_413_is_halved_down_to_what_fits(tmp_path: Path) -> None:
    """Batches shrink until the service takes them; all rows arrive, in order and once."""
    async with street(tmp_path, rows=400) as (database, service, agent):

        async def small(request: Request) -> web.Response | None:
            return web.Response(status=413) if len(request.body) > 2000 else None

        service.answer = small
        await agent.start()
        await arrived(database, service, agent)

        assert [event["id"] for event in service.events()] == list(range(1, 401))


@pytest.mark.fault("F78")
async def test_413_for_a_single_row_halts(tmp_path: Path) -> None:
    """One row too large for the service: its table and size, and nothing is passed over."""
    async with street(tmp_path) as (database, service, agent):
        database.execute("UPDATE orders SET name = ? WHERE id = 5", ("x" * 5000,))

        async def small(request: Request) -> web.Response | None:
            return web.Response(status=413) if len(request.body) > 2000 else None

        service.answer = small
        await agent.start()

        says(await agent.state("halted"), "orders", "413")
        assert 5 not in service.rows
        assert max(service.rows) < 5


@pytest.mark.parametrize("mode", ["halt", "set_aside"])
@pytest.mark.fault("F79")
async def test_422_for_one_row_in_ten_thousand(mode: str, tmp_path: Path) -> None:
    """The row is found by halving; it halts the sync, or is set aside and counted."""
    async with street(tmp_path, rows=10_000, sync={"on_reject": mode}) as (database, service, agent):

        async def picky(request: Request) -> web.Response | None:
            bad = any(event["id"] == 7777 for event in request.json["events"])
            return web.json_response({"detail": "no"}, status=422) if bad else None

        service.answer = picky
        await agent.start()
        if mode == "halt":
            says(await agent.state("halted"), "422", "on_reject")

            assert max(service.rows) == 7776
        else:
            status = await agent.state("caught up")
            everything = shop.rows(database)
            del everything[7777]

            assert service.rows == everything
            assert status["rejected"] == 1


@pytest.mark.fault("F87")
async def test_a_login_page_with_200_is_not_a_delivery(tmp_path: Path) -> None:
    """The same bytes again until the service itself answers."""
    async with street(tmp_path) as (database, service, agent):

        async def page(_request: Request) -> web.Response:
            return web.Response(text="<!DOCTYPE html><title>Please log in</title>", content_type="text/html")

        service.answer = page
        await agent.start()
        says(await agent.state("wrong answer"), "page")
        service.answer = None
        await arrived(database, service, agent)

        assert service.posts[0].body == service.posts[1].body


@pytest.mark.fault("F71")
async def test_two_agents_on_one_state_directory(tmp_path: Path) -> None:
    """The second says who holds it, with exit code 4; the first goes on."""
    async with street(tmp_path) as (database, service, agent):
        await agent.start()
        await agent.state("caught up")
        code, _, err = await agent.call("run")
        database.execute("INSERT INTO orders VALUES (100, 'later', 1.5, 1)")
        await arrived(database, service, agent)

        assert code == 4
        assert agent.process is not None
        assert str(agent.process.pid) in err
