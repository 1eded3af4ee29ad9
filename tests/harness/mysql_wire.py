"""The server's end of MySQL's client/server protocol: packets, TLS in the middle of a connection, answers as bytes.

Layouts: https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Sequence
from dataclasses import dataclass

CONNECT_WITH_DB = 1 << 3
SSL = 1 << 11
PLUGIN_AUTH = 1 << 19
CONNECT_ATTRS = 1 << 20
LENENC_AUTH = 1 << 21
DEPRECATE_EOF = 1 << 24
# LONG_PASSWORD, FOUND_ROWS, LONG_FLAG, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, MULTI_STATEMENTS, MULTI_RESULTS
ALWAYS = 0x1 | 0x2 | 0x4 | 0x200 | 0x2000 | 0x8000 | 0x10000 | 0x20000
CAPABILITIES = ALWAYS | CONNECT_WITH_DB | PLUGIN_AUTH | CONNECT_ATTRS | LENENC_AUTH | DEPRECATE_EOF

MOST = 0xFFFFFF
"""Bytes one packet holds; a payload of exactly so many is followed by a packet of none."""
AUTOCOMMIT = 2
LONGLONG, VAR_STRING = 8, 253
BINARY, UTF8MB4 = 63, 255


@dataclass(frozen=True, slots=True)
class Rows:
    """A result set: texts and numbers as what they are, bytes as binary strings, None as NULL.

    A column is a name, or a name with MySQL's number of its type.
    """

    columns: Sequence[str | tuple[str, int]]
    rows: Sequence[Sequence[str | int | bytes | None]] = ()


@dataclass(frozen=True, slots=True)
class Ok:
    """Done, without rows."""

    affected: int = 0


@dataclass(frozen=True, slots=True)
class Error:
    """Refused, with the server's own number and text."""

    code: int
    text: str
    state: str = "HY000"


Answer = Rows | Ok | Error


def length(number: int) -> bytes:
    """A length-encoded integer."""
    if number < 251:
        return bytes([number])
    for mark, size in ((0xFC, 2), (0xFD, 3), (0xFE, 8)):
        if number < 1 << (8 * size):
            return bytes([mark]) + number.to_bytes(size, "little")
    raise ValueError(number)


def string(text: bytes) -> bytes:
    """A length-encoded string."""
    return length(len(text)) + text


def ok(answer: Ok | None = None, mark: int = 0) -> bytes:
    """OK_Packet; ``mark`` 0xFE ends rows where both sides deprecate EOF."""
    return bytes([mark]) + length(answer.affected if answer else 0) + b"\0" + struct.pack("<HH", AUTOCOMMIT, 0)


def eof() -> bytes:
    """EOF_Packet."""
    return b"\xfe" + struct.pack("<HH", 0, AUTOCOMMIT)


def error(answer: Error) -> bytes:
    """ERR_Packet."""
    return b"\xff" + struct.pack("<H", answer.code) + b"#" + answer.state.encode() + answer.text.encode()


def result(answer: Rows, *, deprecate_eof: bool) -> list[bytes]:
    """The packets of a text result set."""
    columns = [_column(column, [row[place] for row in answer.rows]) for place, column in enumerate(answer.columns)]
    rows = [b"".join(map(_value, row)) for row in answer.rows]
    between = [] if deprecate_eof else [eof()]
    return [length(len(columns)), *columns, *between, *rows, ok(mark=0xFE) if deprecate_eof else eof()]


def _column(column: str | tuple[str, int], values: list[str | int | bytes | None]) -> bytes:
    there = [value for value in values if value is not None]
    numbers = bool(there) and all(isinstance(value, int) for value in there)
    name, kind = column if isinstance(column, tuple) else (column, LONGLONG if numbers else VAR_STRING)
    charset = UTF8MB4 if all(isinstance(value, str) for value in there) else BINARY
    names = string(b"def") + string(b"") * 3 + string(name.encode()) + string(b"")
    return names + b"\x0c" + struct.pack("<HIBHB2x", charset, 1024, kind, 0, 0)


def _value(value: str | int | bytes | None) -> bytes:
    if value is None:
        return b"\xfb"
    return string(value if isinstance(value, bytes) else str(value).encode())


class Wire:
    """One connection: whole packets in, whole packets out, numbered as the protocol wants.

    TLS is done by hand, since the client's first TLS bytes may come in one piece
    with the packet that asks for TLS.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._buffer = bytearray()
        self._number = 0
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject | None = None

    @property
    def secure(self) -> bool:
        """Whether it is encrypted."""
        return self._tls is not None

    def begin(self) -> None:
        """A new command: its packets are numbered from nought."""
        self._number = 0

    async def read(self) -> bytes:
        """The next payload; raises EOFError when the client is gone."""
        payload = b""
        while True:
            head = await self._take(4)
            size = int.from_bytes(head[:3], "little")
            self._number = head[3] + 1 & 0xFF
            payload += await self._take(size)
            if size < MOST:
                return payload

    async def write(self, *payloads: bytes) -> None:
        """Send payloads, each in as many packets as it takes."""
        for payload in payloads:
            for start in range(0, len(payload) + 1, MOST):
                piece = payload[start : start + MOST]
                self._put(len(piece).to_bytes(3, "little") + bytes([self._number]) + piece)
                self._number = self._number + 1 & 0xFF
        await self._writer.drain()

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Be the server of a TLS handshake."""
        self._in.write(bytes(self._buffer))
        self._buffer.clear()
        tls = context.wrap_bio(self._in, self._out, server_side=True)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                self._in.write(await self._receive())
            else:
                break
        await self._flush()
        self._tls = tls
        self._decrypt()

    async def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            data = await self._receive()
            if self._tls is None:
                self._buffer += data
            else:
                self._in.write(data)
                self._decrypt()
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def _receive(self) -> bytes:
        data = await self._reader.read(1 << 16)
        if not data:
            raise EOFError
        return data

    def _decrypt(self) -> None:
        assert self._tls is not None
        try:
            while data := self._tls.read(1 << 16):
                self._buffer += data
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            raise EOFError from None

    def _put(self, data: bytes) -> None:
        if self._tls is None:
            self._writer.write(data)
            return
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]  # one record at a time
        self._writer.write(self._out.read())

    async def _flush(self) -> None:
        self._writer.write(self._out.read())
        await self._writer.drain()
