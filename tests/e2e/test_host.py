"""The machine under the agent: its disk fails, its clock jumps, it stands still, it has little memory."""

from __future__ import annotations

import asyncio
import gzip
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from aiohttp import web

from harness import host
from harness.agent import until
from harness.orders import Orders
from harness.proxy import Proxy
from harness.service import Request, Service
from harness.street import Street, port_of, street

HOUR = 3600
SLACK = 4
"""More files or threads than that must not come with a dozen reconnects: a pool of threads may still grow a little."""
Make = Callable[[str, int], Orders]


@asynccontextmanager
async def breakable(
    directory: Path, source: str, table: Orders, **params: object
) -> AsyncIterator[tuple[Street, tuple[Proxy, ...]]]:
    """A street with a proxy before the service, and one before the database where that is a server."""
    async with Service() as service, Proxy(service.port) as before_service, Proxy(1) as before_database:
        proxies, parts = (before_service,), {"document": f"http://127.0.0.1:{before_service.port}/openapi.json"}
        if source != "sqlite":
            before_database.upstream = ("127.0.0.1", port_of(table))
            proxies += (before_database,)
            parts |= {"through": before_database.port, "params": params}
        await service.stop()
        async with street(directory, table, service, **parts) as all_:
            yield all_, proxies


@pytest.mark.fault("F66")
async def test_a_disk_that_is_full(tmp_path: Path, orders: Make, small_disk: Callable[[str], Path]) -> None:
    """Halted, nothing is sent meanwhile; it goes on by itself when there is room, and nothing is lost."""
    disk = small_disk("600k")
    async with street(tmp_path, orders("sqlite", 10), state_dir=str(disk)) as all_:
        all_.agent.state_dir = disk
        await all_.ready()
        filler = host.fill(disk)
        number = 1000

        async def halted() -> bool:
            nonlocal number
            number += 50
            all_.put(*range(number, number + 50))
            return (await all_.agent.status()).get("state") == "halted"

        await until(halted, "the journal runs full")
        status = await all_.agent.status()
        posts, asked = len(all_.service.posts), len(all_.service.requests)
        all_.put(9999)
        await until(lambda: len(all_.service.requests) > asked, "it tries again")
        await all_.agent.state("halted")
        sent = len(all_.service.posts) - posts
        filler.unlink()
        await all_.arrived()

    assert "journal" in status["problem"]
    assert "Free disk space" in status["fix"]
    assert sent == 0


@pytest.mark.fault("F67")
async def test_a_disk_that_fails_to_sync(tmp_path: Path, orders: Make) -> None:
    """Halted, nothing is sent that hangs on it; once the disk works it goes on by itself, and nothing is lost."""
    async with street(tmp_path, orders("sqlite", 10)) as all_:
        await all_.ready()
        agent, service = all_.agent, all_.service
        assert agent.process is not None
        log = agent.state_dir / "journal.db-wal"
        async with host.failing(agent.process.pid, "fsync,fdatasync", "EIO", log):
            service.reply = {"snapshot_needed": True}  # a wish is on disk before anything follows from it
            all_.put(100)
            halted = await agent.state("halted")
            service.reply = {"snapshot_needed": False}
            posts, asked = len(service.posts), len(service.requests)
            all_.put(101)
            await until(lambda: len(service.requests) > asked, "it tries again")
            await agent.state("halted")
            sent = len(service.posts) - posts
        await agent.state("caught up")
        await all_.arrived()

    assert "disk I/O error" in halted["problem"]
    assert "repair the disk" in halted["fix"]
    assert sent == 0


@pytest.mark.fault("F69")
@pytest.mark.parametrize("jump", [-26 * HOUR, 400 * 24 * HOUR], ids=["back", "forward"])
async def test_a_wall_clock_that_jumps(jump: int, tmp_path: Path, orders: Make, wall_clock: host.WallClock) -> None:
    """Waits end as ever, rows go on in order, and no number comes from the clock."""
    async with street(tmp_path, orders("sqlite", 10), env=wall_clock.env) as all_:
        await all_.ready()
        before = (await all_.agent.status())["since"]
        all_.put(100)
        await all_.arrived()
        wall_clock.jump(jump)
        all_.service.script.extend([503, 503])
        all_.put(101)
        await all_.arrived()
        behind = (await all_.agent.state("caught up"))["since"]
        wall_clock.jump(0)
        all_.put(102)
        await all_.arrived()
        await all_.agent.end()
        wall_clock.jump(jump)
        all_.put(103)
        code = await all_.agent.once()

    assert abs(behind - before - jump) < HOUR, "the agent saw another time"
    assert code == 0
    assert [event["id"] for event in all_.service.events()][-4:] == [100, 101, 102, 103]
    assert all(one < other for one, other in pairwise(all_.indexes()))
    assert max(all_.indexes()) < 1000


@pytest.mark.fault("F70")
@pytest.mark.parametrize("source", ["sqlite", "mariadb", "postgres"])
async def test_a_machine_that_slept(source: str, tmp_path: Path, orders: Make) -> None:
    """Stopped while its connections die and rows are written: it finds that out, connects anew, and nothing is lost."""
    async with breakable(tmp_path, source, orders(source, 10), heartbeat=0.5) as (all_, proxies):
        await all_.ready()
        assert all_.agent.process is not None
        all_.agent.process.send_signal(signal.SIGSTOP)
        await until(lambda: psutil.Process(all_.agent.process.pid).status() == "stopped", "it stands still")
        all_.put(*range(100, 110))
        cut = sum(proxy.cut(reset=False) for proxy in proxies)
        all_.agent.process.send_signal(signal.SIGCONT)
        await all_.arrived()
        await all_.agent.state("caught up")
        posts = [post for post in all_.service.posts if post.applied]

    assert cut >= 1
    assert [event["id"] for post in posts for event in post.json["events"]] == [*range(1, 11), *range(100, 110)]


@pytest.mark.fault("F88")
async def test_an_answer_that_would_fill_the_memory(tmp_path: Path, orders: Make) -> None:
    """With little memory to be had, answers without end and bombs are read to their limit and count as what they are."""
    bomb = gzip.compress(b" " * (1 << 28))

    async def explode(request: Request) -> web.StreamResponse | None:
        service.apply(request)
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})

    async def flood(request: Request) -> web.StreamResponse | None:
        service.apply(request)
        response = web.StreamResponse()
        await response.prepare(request.raw)
        try:
            for _ in range(1 << 14):
                await response.write(b" " * (1 << 16))
        except ConnectionError:
            hung_up.set()
        return response

    service, hung_up = Service(), asyncio.Event()
    async with street(tmp_path, orders("sqlite", 10), service) as all_:
        all_.agent.within = ["prlimit", f"--data={160 << 20}"]
        await all_.ready()
        service.script.append(explode)
        all_.put(100)
        await all_.arrived()
        service.script.append(flood)
        all_.put(101)
        await asyncio.wait_for(hung_up.wait(), 60)
        all_.put(102)
        await all_.arrived()
        await all_.agent.state("caught up")

        assert await all_.agent.end() == 0


@pytest.mark.fault("F75")
@pytest.mark.parametrize("source", ["sqlite", "mariadb", "postgres"])
async def test_nothing_piles_up_over_reconnects(source: str, tmp_path: Path, orders: Make) -> None:
    """After many broken connections the process has as many files and threads as after a few."""
    async with breakable(tmp_path, source, orders(source, 10)) as (all_, proxies):
        await all_.ready()
        assert all_.agent.process is not None
        process, number, seen = psutil.Process(all_.agent.process.pid), 100, []
        for _ in range(24):
            taken = sum(proxy.accepted for proxy in proxies)
            for proxy in proxies:
                proxy.cut()
            number += 1
            all_.put(number)
            await all_.arrived()
            await all_.agent.state("caught up")
            assert sum(proxy.accepted for proxy in proxies) > taken
            seen.append((process.num_fds(), process.num_threads()))

    files, threads = zip(*seen, strict=True)
    assert _grown(files) < SLACK, files
    assert _grown(threads) < SLACK, threads


@pytest.mark.fault("F75")
async def test_nothing_piles_up_over_a_thousand_connections(tmp_path: Path, orders: Make) -> None:
    """A service that ends every connection behind its answer gets each batch over a new one, and none is left open."""
    process: psutil.Process | None = None
    seen: list[int] = []

    async def hang_up(request: Request) -> web.StreamResponse | None:
        service.apply(request)
        assert process is not None
        seen.append(process.num_fds())
        return web.json_response({}, headers={"Connection": "close"})

    service = Service()
    async with street(tmp_path, orders("sqlite", 10), service, sync={"batch_size": 1}) as all_:
        await all_.ready()
        assert all_.agent.process is not None
        process, service.answer = psutil.Process(all_.agent.process.pid), hang_up
        all_.orders.execute("BEGIN")
        all_.put(*range(1000, 2000))
        all_.orders.execute("COMMIT")
        await all_.arrived()

    assert len(seen) == 1000
    assert _grown(seen) < SLACK, seen


def _grown(seen: Sequence[int]) -> int:
    """How much higher the second half of these counts goes than the first."""
    half = len(seen) // 2
    return max(seen[half:]) - max(seen[:half])
