"""The proxy breaks connections in each way a network does, when asked and not before."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.proxy import Proxy


@dataclass
class Server:
    """Says its name first, then gives back whatever it hears, in capitals."""

    name: bytes = b"hello "
    port: int = 0
    ends: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    """How each connection ended as the server saw it."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.name)
        try:
            while data := await reader.read(1 << 16):
                writer.write(data.upper())
                await writer.drain()
            self.ends.put_nowait("end")
        except ConnectionResetError:
            self.ends.put_nowait("reset")
        finally:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Server]:
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving(Server()) as made:
        yield made


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    async with Proxy(server.port) as made:
        yield made


@contextlib.asynccontextmanager
async def client(proxy: Proxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def test_bytes_go_both_ways_unchanged(proxy):
    """Whatever the size, what one end says the other hears, and the end of it."""
    async with client(proxy) as (reader, writer):
        sent = bytes(range(97, 123)) * 50_000
        writer.write(sent)
        writer.write_eof()
        heard = await reader.read(-1)

    assert heard == b"hello " + sent.upper()
    assert proxy.to_server.bytes == len(sent)
    assert proxy.to_client.bytes == len(heard)
    await proxy.until(lambda proxy: proxy.open == 0)
    assert proxy.accepted == 1


@pytest.mark.parametrize(("reset", "seen"), [(True, "reset"), (False, "end")])
async def test_a_cut_is_seen_by_both_ends(proxy, server, reset, seen):
    """Both ends of each connection see an RST, or an end in order."""
    async with client(proxy) as (first, _), client(proxy) as (second, _):
        for reader in (first, second):
            assert await reader.readexactly(6) == b"hello "

        assert proxy.cut(reset=reset) == 2
        for reader in (first, second):
            if reset:
                with pytest.raises(ConnectionResetError):
                    await reader.read(1)
            else:
                assert await reader.read(1) == b""
        assert [await server.ends.get(), await server.ends.get()] == [seen, seen]
    async with client(proxy) as (reader, _):
        assert await reader.readexactly(6) == b"hello "


@pytest.mark.parametrize("way", ["to_server", "to_client"])
async def test_a_held_direction_passes_nothing_until_it_goes_on(proxy, way):
    """Held bytes are late and not lost, and the other direction goes on meanwhile."""
    held: Callable[[], int] = lambda: getattr(proxy, way).bytes  # noqa: E731
    async with client(proxy) as (reader, writer):
        assert await reader.readexactly(6) == b"hello "
        before = held()
        getattr(proxy, way).hold()
        writer.write(b"first ")
        if way == "to_client":
            await proxy.until(lambda proxy: proxy.to_server.bytes == 6)
        assert held() == before
        getattr(proxy, way).go_on()
        assert await reader.readexactly(6) == b"FIRST "


async def test_a_black_hole_takes_connections_too(proxy):
    """While both directions are held a new connection opens and hears nothing, not even its end."""
    proxy.hold()
    async with client(proxy) as (reader, writer):
        await proxy.until(lambda proxy: proxy.open == 1)
        writer.write(b"x")
        writer.write_eof()
        assert (proxy.to_client.bytes, proxy.to_server.bytes) == (0, 0)
        proxy.go_on()
        assert await reader.read(-1) == b"hello X"


async def test_it_ends_quietly_whatever_goes_on(server, caplog):
    """Connections there are when it ends, held ones too, are ended with it, and nothing is logged."""
    async with Proxy(server.port) as proxy:
        proxy.to_client.hold()
        async with client(proxy) as (reader, _):
            await proxy.until(lambda proxy: proxy.open == 1)
            await proxy.__aexit__()
            with pytest.raises(ConnectionResetError):
                await reader.read(1)

    await asyncio.sleep(0)
    assert caplog.messages == []


async def test_a_held_connection_can_be_cut(proxy):
    """What was held when it was cut is lost, and nothing waits for it."""
    proxy.hold()
    async with client(proxy) as (reader, _):
        await proxy.until(lambda proxy: proxy.open == 1)
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        proxy.go_on()
    async with client(proxy) as (reader, _):
        assert await reader.readexactly(6) == b"hello "


@pytest.mark.parametrize("count", [1, 6, 7, 100_000])
async def test_the_cut_after_some_bytes_is_exact(proxy, count):
    """So many bytes of the server come through and not one more; the next connection is whole again."""
    proxy.cut_after(count)
    async with client(proxy) as (reader, writer):
        writer.write(b"x" * 200_000)
        heard = await reader.read(-1)

    assert heard == (b"hello " + b"X" * 200_000)[:count]
    async with client(proxy) as (reader, _):
        assert await reader.readexactly(6) == b"hello "


async def test_new_connections_are_refused_and_taken_again(proxy):
    """Refusing touches no connection there is, and the port stays the same."""
    async with client(proxy) as (reader, writer):
        assert await reader.readexactly(6) == b"hello "
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"still there")
        assert await reader.readexactly(11) == b"STILL THERE"

    port = proxy.port
    # A port that outgoing connections take may be gone by now.
    assert port < int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    await proxy.listen()
    assert proxy.port == port
    async with client(proxy) as (reader, _):
        assert await reader.readexactly(6) == b"hello "


async def test_the_server_behind_it_may_change(proxy):
    """New connections go to the new server, those there are stay with the old one."""
    async with client(proxy) as (reader, writer), serving(Server(b"other ")) as other:
        assert await reader.readexactly(6) == b"hello "
        proxy.upstream = ("127.0.0.1", other.port)
        async with client(proxy) as (new, _):
            assert await new.readexactly(6) == b"other "
        writer.write(b"old")
        assert await reader.readexactly(3) == b"OLD"


async def test_nobody_behind_it_is_an_end_at_once(proxy, server):
    """A connection that cannot be forwarded is ended and counted."""
    async with serving(Server()) as gone:
        proxy.upstream = ("127.0.0.1", gone.port)
    async with client(proxy) as (reader, _):
        assert await reader.read(-1) == b""

    await proxy.until(lambda proxy: proxy.refused == 1)
    assert proxy.accepted == 0


async def test_delayed_bytes_come_later_and_whole(proxy):
    """A delay changes nothing but the time."""
    proxy.to_client.delay = 0.01
    async with client(proxy) as (reader, writer):
        writer.write(b"slow")
        writer.write_eof()
        assert await reader.read(-1) == b"hello SLOW"


async def test_a_condition_that_never_comes_true_fails(proxy, monkeypatch):
    """Waiting ends with a failure that says what was waited for."""
    monkeypatch.setattr("harness.proxy.DEADLINE", 0.01)
    with pytest.raises(AssertionError, match="two connections"):
        await proxy.until(lambda proxy: proxy.open == 2, "two connections")
