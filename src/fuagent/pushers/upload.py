"""A request body that knows whether it was really sent.

A 2xx says that the service has the rows, so it can only count once the service can have
read them. What is "written" passes through three hands: this process, the event loop's
buffer, the kernel's send queue. The last one empties only as the peer's machine confirms
(``SIOCOUTQ``, https://man7.org/linux/man-pages/man7/tcp.7.html), and a peer that answers
after reading confirms at the latest with its answer. So any byte left in one of the
three at the moment an answer arrives was not read by whoever answered.

Bytes that lie unread in the peer's own kernel cannot be told from read ones: this finds
every early answer to a body beyond the peer's receive buffer, and never blames another.
"""

from __future__ import annotations

import asyncio
import struct
import sys

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

if sys.platform == "linux":
    import fcntl
    import termios

_PIECE = 256 * 1024


class Upload(Payload):
    """The bytes of one request, sent any number of times."""

    _autoclose = True

    def __init__(self, data: bytes) -> None:
        super().__init__(data, content_type="application/json")
        self._data = data
        self._transport: asyncio.WriteTransport | None = None
        self._written = False

    @property
    def size(self) -> int:
        """Length in bytes, which becomes ``Content-Length``."""
        return len(self._data)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The body as text."""
        return self._data.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write everything."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write everything, piece by piece, as fast as the other end takes it."""
        self._written = False
        view = memoryview(self._data)[:content_length]
        for start in range(0, len(view), _PIECE):
            await writer.write(view[start : start + _PIECE])
            self._transport = getattr(writer, "transport", None)
        self._written = True

    def unsent(self) -> bool:
        """Whether a part of the body has not reached the other machine yet."""
        if not self._written or self._transport is None:
            return True
        return self._transport.get_write_buffer_size() > 0 or _queued(self._transport) > 0

    def abort(self) -> None:
        """Cut the connection the body went out on: nobody may use it again."""
        if self._transport is not None:
            self._transport.abort()


def _queued(transport: asyncio.WriteTransport) -> int:
    """Bytes in the kernel that the peer has not confirmed; 0 where that cannot be known."""
    sock = transport.get_extra_info("socket")
    if sys.platform != "linux" or sock is None or sock.fileno() < 0:
        return 0
    answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, struct.pack("i", 0))
    return int(struct.unpack("i", answer)[0])
