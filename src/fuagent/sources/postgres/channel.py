"""What a server sends in bulk: COPY's text and the log, frame after frame.

libpq hands out one frame at a time, at the price of a call and a copy for each. So where the connection is not
encrypted, the socket is read in large pieces instead, between two statements of libpq's own, which knows nothing of
it. Where it is encrypted, only libpq can read it.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from psycopg import pq

from fuagent.errors import DecodeError, FuagentError, TryAgainError
from fuagent.sources.postgres import faults
from fuagent.wire.postgres import frames

_PIECE = 1 << 20
_PLENTY = 1 << 17
"""Bytes that are waited for while much comes."""
_MOMENT = 0.02
"""Seconds in which they come, or else the server has no more for now; also what a rate is measured over."""
_MUCH = 6 << 20
"""Bytes a second: about 20,000 small transactions. Whoever commits less than that has each of them at once."""
_LENGTH = struct.Struct(">I")
_HEADS = re.compile(rb"\nd[\0-\xff]{4}")
"""The head of a frame behind the line of the one before: no line of COPY's text has its end anywhere else."""
_STARTED = b"HW"
_D, _ERROR, _READY, _NOTICE = b"dEZN"
_LARGEST = 1 << 30
"""Bytes of one frame: no row is larger."""
_SOON = 2.0
"""Seconds in which a server is ready again after an error."""
Said = Callable[[str, str, str], FuagentError]
"""An error's SQLSTATE, its message and where it was → ours."""
Heard = Callable[[frames.Failure], None]
"""Takes what the server says without failing, in its order with the frames."""
_COPYING = (pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH)


class Channel(Protocol):
    """One statement's frames."""

    ended: bool
    """Whether all has come, so that the connection can be used again."""

    async def begin(self, statement: str, within: float) -> None:
        """Send the statement, and wait until its frames begin; errors as :func:`start`."""

    async def received(self, within: float, most: int | None = None) -> bytes:
        """Whole frames of CopyData, at least one and at most so many, as they came; empty at the end.

        Raises:
            TryAgainError: the connection broke, or the server was silent for so many seconds.
            FuagentError: what the server's own error means.
        """

    def waiting(self) -> bool:
        """Whether something is here that was not given out."""

    async def send(self, payload: bytes) -> None:
        """Send one payload of CopyData."""

    def close(self) -> None:
        """Stop reading. In the middle the connection is of no more use."""


def lines(data: bytes) -> bytes:
    """The text in frames of COPY's lines."""
    return _HEADS.sub(b"\n", data[frames.PAYLOAD_AT :])


async def ready(descriptor: int, *, writing: bool = False) -> None:
    """Wait until a socket can be read from, or written to."""
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    watch, leave = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    watch(descriptor, came.set)
    try:
        await came.wait()
    finally:
        leave(descriptor)


def _unheard(_notice: frames.Failure) -> None:
    """Nobody listens."""


def on(connection: pq.abc.PGconn, where: str, said: Said = faults.said, heard: Heard = _unheard) -> Channel:
    """A channel on an idle connection. ``said`` tells what the server's errors mean there, ``heard`` hears its notices.

    Those that libpq reads itself go to its connection's own handler.
    """
    return Sealed(connection, where, said) if connection.ssl_in_use else Plain(connection, where, said, heard)


async def start(connection: pq.abc.PGconn, statement: str, where: str, within: float, heard: Heard) -> Channel:
    """Have the server send its log, by a statement on an idle connection, and wait until its frames begin.

    Raises:
        TryAgainError: the connection broke, or nothing came within so many seconds.
        FuagentError: what the server's own error means.
    """
    made = on(connection, where, faults.said_of_log, heard)
    try:
        await made.begin(statement, within)
    except BaseException:
        made.close()
        raise
    return made


def _size(data: bytes, place: int) -> int:
    (length,) = _LENGTH.unpack_from(data, place + frames.LENGTH_AT)
    if not 4 <= length <= _LARGEST:
        raise DecodeError("A frame has a length that none has.")
    return 1 + int(length)


class Plain:
    """Reads the socket itself."""

    def __init__(self, connection: pq.abc.PGconn, where: str, said: Said, heard: Heard) -> None:
        self.ended = False
        self._where = where
        self._said = said
        self._heard = heard
        self._socket = socket.socket(fileno=os.dup(connection.socket))
        self._socket.setblocking(False)
        self._plenty = False
        """Whether so much comes that it is taken in few large pieces: see :meth:`_gather`."""
        self._since, self._came = asyncio.get_running_loop().time(), 0
        """When measuring began, and the bytes that came since."""
        self._rest = b""
        self._at = 0
        """Up to where the rest was given out."""
        self._pieces: list[bytes] = []
        """What came behind the rest, until a frame is whole: a large one is put together once."""

    async def begin(self, statement: str, within: float) -> None:
        """See :class:`Channel`."""
        text = statement.encode() + b"\0"
        await self._send(b"Q%b%b" % (_LENGTH.pack(len(text) + 4), text))
        while await self._other(within) not in _STARTED:
            if self.ended:
                raise TryAgainError("the server answered otherwise than it should", where=self._where)

    async def received(self, within: float, most: int | None = None) -> bytes:
        """See :class:`Channel`."""
        while not self.ended:
            whole = frames.complete(self._rest, self._at, most)
            if whole:
                return self._taken(whole)
            if self._left and self._rest[self._at] != _D:
                await self._other(within)
            else:
                await self._more(within)
        return b""

    def waiting(self) -> bool:
        """See :class:`Channel`."""
        return bool(self._left or self._pieces) or self._readable()

    @property
    def _left(self) -> int:
        """Bytes of the rest that were not given out."""
        return len(self._rest) - self._at

    def _taken(self, size: int) -> bytes:
        """So many bytes of the rest, which is let go of at its end: it may be large."""
        start, end = self._at, self._at + size
        data = self._rest[start:end]
        self._rest, self._at = (self._rest, end) if end < len(self._rest) else (b"", 0)
        return data

    def _readable(self) -> bool:
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True  # to read will tell
        return True

    async def send(self, payload: bytes) -> None:
        """See :class:`Channel`."""
        await self._send(frames.framed(payload))

    async def _send(self, data: bytes) -> None:
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, data)
        except OSError as error:
            raise faults.translate(error, self._where) from None

    async def _other(self, within: float) -> int:
        """Take a frame of another kind than CopyData: its type. An error is raised when the server is ready again."""
        while self._left < frames.PAYLOAD_AT or self._left < _size(self._rest, self._at):
            await self._more(within)
        frame = self._taken(_size(self._rest, self._at))
        kind, payload = frame[0], frame[frames.PAYLOAD_AT :]
        self.ended = kind == _READY
        if kind == _NOTICE:
            self._heard(frames.read_failure(payload))
        if kind == _ERROR:
            with suppress(FuagentError):  # a fatal one: the server hangs up
                while not self.ended:
                    await self._other(_SOON)
            raise self._said(*frames.read_failure(payload), self._where)
        return kind

    async def _more(self, within: float) -> None:
        """Read until the first frame is whole, or at least its head."""
        need = _size(self._rest, self._at) if self._left >= frames.PAYLOAD_AT else frames.PAYLOAD_AT
        while self._left + sum(map(len, self._pieces)) < need:
            self._pieces.append(await self._piece(within))
        self._rest, self._at = b"".join((self._rest[self._at :], *self._pieces)), 0
        self._pieces.clear()

    async def _piece(self, within: float) -> bytes:
        try:
            if self._plenty:
                await self._gather()
            async with asyncio.timeout(within):
                data = await asyncio.get_running_loop().sock_recv(self._socket, _PIECE)
            self._measure(len(data))
        except TimeoutError:
            raise TryAgainError(f"the server sent nothing for {within:g} s", where=self._where) from None
        except OSError as error:
            raise faults.translate(error, self._where) from None
        if not data:
            raise TryAgainError("the server closed the connection", where=self._where)
        return data

    async def _gather(self) -> None:
        """Let the server fill the socket while nothing is read: both sides are woken more rarely, and it goes faster."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_MOMENT):
                await ready(self._socket.fileno())

    def _measure(self, size: int) -> None:
        now = asyncio.get_running_loop().time()
        self._came += size
        if (took := now - self._since) >= _MOMENT:
            self._expect(plenty=self._came >= _MUCH * took)
            self._since, self._came = now, 0

    def _expect(self, *, plenty: bool) -> None:
        if plenty != self._plenty:
            self._plenty = plenty
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _PLENTY if plenty else 1)

    def close(self) -> None:
        """See :class:`Channel`. What libpq reads next on the same socket may be little."""
        with suppress(OSError):
            self._expect(plenty=False)
        self._socket.close()


class Sealed:
    """Has libpq read what is encrypted, and puts its frames together again."""

    def __init__(self, connection: pq.abc.PGconn, where: str, said: Said) -> None:
        self.ended = False
        self._where = where
        self._said = said
        self._connection: Any = connection
        self._taken = False
        """Whether libpq has no more frames."""
        self._kept: list[bytes] = []

    async def begin(self, statement: str, within: float) -> None:
        """See :class:`Channel`."""
        self._connection.send_query(statement.encode())
        await self._flushed()
        result = await self._result(within)
        if result is None or result.status not in _COPYING:
            await self._rest(within)
            raise self._failed(result)

    async def received(self, within: float, most: int | None = None) -> bytes:
        """See :class:`Channel`."""
        while not self._kept:
            if self._look():
                await self._end(within)
                return b""
            if not self._kept:
                await self._readable(within)
        data = b"".join(self._kept[:most])
        del self._kept[:most]
        return data

    def waiting(self) -> bool:
        """See :class:`Channel`."""
        return bool(self._kept) or self._look() or bool(self._kept)

    def _look(self) -> bool:
        """Take what is here, as much as one piece; whether all was taken that will ever come.

        libpq takes one record of TLS at a time, and the server makes one of each row. OpenSSL may hold back the
        end of a record, which makes no socket readable: once nothing has come twice, there is nothing.
        """
        idle, size = 0, 0
        while idle < 2 and size < _PIECE and not self._taken:
            self._connection.consume_input()
            came = self._take()
            idle, size = (0 if came else idle + 1), size + came
        return self._taken and not self._kept

    def _take(self) -> int:
        """Take what libpq has, as much as one piece; how many bytes that were."""
        size = 0
        while size < _PIECE and not self._taken:
            count, data = self._connection.get_copy_data(1)
            self._taken = count < 0
            if count <= 0:
                break
            self._kept.append(frames.framed(bytes(data)))
            size += count
        return size

    async def _end(self, within: float) -> None:
        """What the server says at the end: that all is well, or not."""
        for result in await self._rest(within):
            if result.status not in (pq.ExecStatus.COMMAND_OK, *_COPYING):
                raise self._failed(result)

    async def _rest(self, within: float) -> list[Any]:
        """The results that are left."""
        found = []
        while (result := await self._result(within)) is not None:
            found.append(result)
            if result.status in _COPYING and len(found) > 1:
                raise TryAgainError("the server answered otherwise than it should", where=self._where)
        self.ended = self._connection.transaction_status != pq.TransactionStatus.UNKNOWN
        return found

    async def _result(self, within: float) -> Any:
        while self._connection.is_busy():
            self._connection.consume_input()
            if self._connection.is_busy():
                await self._readable(within)
        return self._connection.get_result()

    async def _readable(self, within: float) -> None:
        try:
            async with asyncio.timeout(within):
                await ready(self._connection.socket)
        except TimeoutError:
            raise TryAgainError(f"the server sent nothing for {within:g} s", where=self._where) from None

    def _failed(self, result: Any) -> Exception:
        if result is None:
            return TryAgainError("the server closed the connection", where=self._where)
        state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        message = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode("utf-8", "replace")
        return self._said(state, message, self._where)

    async def send(self, payload: bytes) -> None:
        """See :class:`Channel`."""
        self._connection.put_copy_data(payload)
        await self._flushed()

    async def _flushed(self) -> None:
        while self._connection.flush():
            await ready(self._connection.socket, writing=True)

    def close(self) -> None:
        """See :class:`Channel`."""
