"""Batches of which the agent does not learn what became of them, and a service that is found in another place."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from harness import host
from harness.agent import until
from harness.orders import Orders
from harness.service import Request, Service, document
from harness.street import street

Make = Callable[[str, int], Orders]


def _half(service: Service, request: Request) -> None:
    """Take the first half of the rows alone, as a service without transactions may."""
    body = request.json
    body["events"] = body["events"][: len(body["events"]) // 2]
    before = service.checkpoint
    service.apply(Request("POST", request.path, {}, {}, json.dumps(body).encode(), request.raw))
    service.checkpoint = before


async def _silence(request: Request) -> web.StreamResponse:
    await asyncio.sleep(3600)
    return web.Response()


async def _reset(request: Request) -> web.StreamResponse:
    assert request.raw.transport is not None
    request.raw.transport.abort()
    return web.Response()


async def _failure(request: Request) -> web.StreamResponse:
    return web.Response(status=500)


@pytest.mark.parametrize(
    ("taken", "then"),
    [
        pytest.param(Service.apply, _silence, marks=pytest.mark.fault("F82"), id="taken, then silence"),
        pytest.param(Service.apply, _reset, marks=pytest.mark.fault("F83"), id="taken, then a reset"),
        pytest.param(_half, _failure, marks=pytest.mark.fault("F90"), id="half of it taken, then 500"),
    ],
)
async def test_a_batch_that_was_taken_and_not_answered_comes_again(
    taken: Callable[[Service, Request], None],
    then: Callable[[Request], web.StreamResponse],
    tmp_path: Path,
    orders: Make,
) -> None:
    """The same bytes under the same key, before anything behind it; both sides are equal in the end."""
    service, lost_ones = Service(), 0

    async def lost(request: Request) -> web.StreamResponse | None:
        nonlocal lost_ones
        lost_ones += 1
        taken(service, request)
        return await then(request)

    async with street(tmp_path, orders("sqlite", 10), service, sync={"timeout": 2}) as all_:
        await all_.ready()
        first = len(service.posts)
        service.answer = lost
        all_.orders.execute("BEGIN")
        all_.orders.execute("UPDATE orders SET ver = 2")
        all_.put(*range(100, 110))
        all_.orders.execute("COMMIT")
        await until(lambda: lost_ones > 1, "it comes again")
        await all_.agent.state("retrying")
        service.answer = None
        all_.put(200)
        await all_.arrived()
        await all_.agent.state("caught up")
        posts = service.posts[first:]

    assert len({(post.body, post.headers["idempotency-key"]) for post in posts[: lost_ones + 1]}) == 1
    assert [event["id"] for event in posts[0].json["events"]] == [*range(1, 11), *range(100, 110)]
    assert [[event["id"] for event in post.json["events"]] for post in posts[lost_ones + 1 :]] == [[200]]


@pytest.mark.fault("F89")
async def test_a_part_of_a_batch_that_fails_holds_up_the_rest(tmp_path: Path, orders: Make) -> None:
    """Halved by a 413, the first part gets a 429: the second is not sent before it, and order is kept."""
    service = Service()
    async with street(tmp_path, orders("sqlite", 10), service) as all_:
        await all_.ready()
        first = len(service.posts)
        service.script.extend([413, 429, 503, 429])
        all_.orders.execute("BEGIN")
        all_.put(*range(100, 108))
        all_.orders.execute("COMMIT")
        await all_.arrived()
        posts = [[event["id"] for event in post.json["events"]] for post in service.posts[first:]]

    assert posts == [[*range(100, 108)], *[[*range(100, 104)]] * 4, [*range(104, 108)]]


@pytest.mark.fault("F91")
async def test_what_gathers_behind_a_slow_service_goes_in_few_requests(tmp_path: Path, orders: Make) -> None:
    """While one request is under way many transactions are committed: they follow in few requests, and memory is bounded."""
    service, arrived, go = Service(), asyncio.Event(), asyncio.Event()

    async def slow(_request: Request) -> web.StreamResponse | None:
        arrived.set()
        await go.wait()
        return None

    async with street(tmp_path, orders("sqlite", 10), service, sync={"batch_size": 100}) as all_:
        await all_.ready()
        service.script.append(slow)
        all_.put(100)
        await asyncio.wait_for(arrived.wait(), 60)
        all_.put(*range(1000, 2000))

        async def behind() -> bool:
            return (await all_.agent.status()).get("behind_rows", 0) >= 1000

        await until(behind, "status tells how far the service is behind")
        first = len(service.posts)
        go.set()
        await all_.arrived()
        sizes = [len(post.json["events"]) for post in service.posts[first:]]

    assert (sum(sizes), max(sizes)) == (1000, 100)
    assert len(sizes) <= 50  # ten, where the log is read as fast as the service answers


@pytest.mark.fault("F82", "F76")
async def test_a_network_that_is_cut(tmp_path: Path, orders: Make, island: host.Island) -> None:
    """Nobody is told that packets are gone: attempts end by their deadline, and the same batch goes on when they pass."""
    service = Service(host=island.shore)
    async with street(tmp_path, orders("sqlite", 10), service, sync={"timeout": 1}) as all_:
        all_.agent.within = island.run
        await all_.ready()
        first = len(service.posts)
        island.cut()
        all_.put(*range(100, 110))
        status = await all_.agent.state("retrying")
        island.mend()
        await all_.arrived()
        await all_.agent.state("caught up")
        events = [event["id"] for post in service.posts[first:] if post.applied for event in post.json["events"]]

    assert "1 s" in status["problem"] or "No route" in status["problem"], status["problem"]
    assert list(dict.fromkeys(events)) == [*range(100, 110)]


@pytest.mark.fault("F92")
@pytest.mark.parametrize(("age", "stays"), [(0.5, True), (3600, False)])
async def test_a_name_that_leads_elsewhere(
    age: float, stays: bool, tmp_path: Path, orders: Make, names: host.Names
) -> None:
    """A name nobody knows is waited for; one that moves is looked up for each new connection, and none is kept for long."""
    old, new = Service(host="127.0.0.2"), Service(host="127.0.0.3")
    async with old, new:
        new.port, port = old.port, new.port
        await new.stop()
        await new.start()
        assert new.port == old.port != port
        new.document = old.document = {**document(), "servers": [{"url": "/"}]}
        settings = {
            "endpoint": f"http://service.test:{old.port}/openapi.json",
            "driver_params": {"max_connection_age": age},
        }
        await old.stop()
        async with street(tmp_path, orders("sqlite", 10), old, pusher=settings) as all_:
            all_.agent.within = names.run
            await all_.agent.start()
            unknown = await all_.agent.state("retrying")
            names.say(service_test="127.0.0.2")
            await all_.arrived()
            names.say(service_test="127.0.0.3")
            if not stays:
                await old.stop()
            number = 100

            async def moved() -> bool:
                nonlocal number
                number += 1
                all_.put(number)
                return bool(new.posts)

            await until(moved, "rows go to the new address")

    assert "host name" in unknown["problem"]
    assert all(post.headers["host"].startswith("service.test") for post in new.posts)


@pytest.mark.fault("F103")
@pytest.mark.parametrize("source", ["sqlite", "mariadb", "postgres"])
async def test_an_agent_that_ends_before_the_end_marker(source: str, tmp_path: Path, orders: Make) -> None:
    """Every row is there and the marker was not taken: the next start sends it, and takes no other snapshot for it."""
    service, arrived = Service(), asyncio.Event()

    async def never(request: Request) -> web.StreamResponse | None:
        if request.json["is_snapshot_end"]:
            arrived.set()
            await asyncio.sleep(3600)
        return None

    service.answer = never
    async with street(tmp_path, orders(source, 10), service) as all_:
        await all_.agent.start()
        await asyncio.wait_for(arrived.wait(), 60)
        all_.put(100)
        assert all_.agent.process is not None
        all_.agent.process.send_signal(signal.SIGKILL)
        await all_.agent.wait()
        service.answer, first = None, len(service.posts)
        await all_.ready()
        await all_.arrived()
        posts = [post.json for post in service.posts[first:]]

    assert service.ends == 1
    assert (posts[0]["is_snapshot_end"], posts[0]["events"]) == (True, [])
    assert [event["id"] for post in posts for event in post["events"]] == [100]
