"""A TCP proxy in the test's own process that breaks connections when it is told to.

It goes between an agent and a server of any kind. Faults hold for connections
there are and for those to come; nothing happens by chance or by the clock, and
`Proxy.until` waits for a state instead of sleeping.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Self

from harness.server import free_port

CHUNK = 1 << 16
DEADLINE = 60.0
NO_LINGER = struct.pack("ii", 1, 0)
"""The socket option that makes the kernel end a connection by RST instead of FIN."""


class Direction:
    """Bytes one way: how many went by, and what stands in their way."""

    def __init__(self) -> None:
        self.bytes = 0
        self.delay = 0.0
        """Seconds every piece is held."""
        self.open = asyncio.Event()
        self.open.set()

    def hold(self) -> None:
        """Pass nothing on; what comes is kept, and whoever sends it sees the window close."""
        self.open.clear()

    def go_on(self) -> None:
        """Pass on again, first what was kept."""
        self.open.set()


class Connection:
    """One connection of a client and the one made for it to the server."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server

    def cut(self, *, reset: bool) -> None:
        """End both at once; what was not yet written is lost."""
        for writer in (self.client, self.server):
            if reset and not writer.transport.is_closing():
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            writer.transport.abort()


class Proxy:
    """Listens on a free port and forwards to ``upstream``; ``async with`` runs it.

    Attributes:
        at: The address it listens on.
        upstream: Host and port new connections go to; may be set anew at any time.
        to_server: What clients send.
        to_client: What the server sends.
        accepted: Connections taken since the start.
        refused: Connections that could not be forwarded, since nobody listened upstream.
        heard: All that goes by either way is added to it.
    """

    def __init__(
        self, port: int, host: str = "127.0.0.1", *, at: str = "127.0.0.1", heard: bytearray | None = None
    ) -> None:
        self.upstream = (host, port)
        self.at = at
        self.heard = heard
        self.port = 0
        self.to_server = Direction()
        self.to_client = Direction()
        self.accepted = 0
        self.refused = 0
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._left: int | None = None
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.refuse()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def open(self) -> int:
        """Connections there are now."""
        return len(self._connections)

    async def listen(self) -> None:
        """Take connections, on the same port as before if there was one."""
        if self._listener is None:
            self.port = self.port or free_port()
            self._listener = await asyncio.start_server(self._accept, self.at, self.port)

    def refuse(self) -> None:
        """Refuse new connections, as a server that is down; those there are stay."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def cut(self, *, reset: bool = True) -> int:
        """End every connection, by RST or by FIN; gives how many there were."""
        connections = list(self._connections)
        for connection in connections:
            connection.cut(reset=reset)
        self._connections.clear()
        return len(connections)

    def hold(self) -> None:
        """Pass nothing on either way; connections stay, new ones too."""
        self.to_server.hold()
        self.to_client.hold()

    def go_on(self) -> None:
        """Pass on again."""
        self.to_server.go_on()
        self.to_client.go_on()

    def cut_after(self, count: int) -> None:
        """Let exactly ``count`` more bytes of the server's by, then end every connection, once."""
        self._left = count

    async def until(self, condition: Callable[[Proxy], bool], what: str = "the condition") -> None:
        """Wait until the condition is true; it is looked at whenever something happened here."""
        try:
            async with asyncio.timeout(DEADLINE), self._changed:
                await self._changed.wait_for(lambda: condition(self))
        except TimeoutError:
            message = f"never came true: {what}"
            raise AssertionError(message) from None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._take(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Not in the task: one that is cancelled before it began would leave the connection open.
        task.add_done_callback(lambda _done: writer.transport.abort())

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        finally:
            await self._tell()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        try:
            server, to_server = await asyncio.open_connection(*self.upstream)
        except OSError:
            self.refused += 1
            return
        connection = Connection(to_client, to_server)
        self._connections.add(connection)
        self.accepted += 1
        await self._tell()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(client, to_server, self.to_server))
                group.create_task(self._forward(server, to_client, self.to_client))
        except* ConnectionError:
            connection.cut(reset=True)  # either end's RST is passed on
        finally:
            self._connections.discard(connection)
            to_server.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
        while data := await reader.read(CHUNK):
            if direction.delay:
                await asyncio.sleep(direction.delay)
            await direction.open.wait()
            if direction is self.to_client and self._left is not None:
                data = data[: self._left]
                self._left -= len(data)
            if self.heard is not None:
                self.heard += data
            writer.write(data)
            await writer.drain()
            direction.bytes += len(data)
            if direction is self.to_client and self._left == 0:
                self._left = None
                self._close_all()
            await self._tell()
        await direction.open.wait()
        with contextlib.suppress(OSError, RuntimeError):  # the other end may be gone already
            writer.write_eof()

    def _close_all(self) -> None:
        """End every connection by FIN, after what was already passed on."""
        for connection in list(self._connections):
            connection.client.close()
            connection.server.close()
        self._connections.clear()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
