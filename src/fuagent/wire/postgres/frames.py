"""What goes over a connection in replication mode: frames, each a type byte, its length, and a payload.

Once START_REPLICATION was answered, CopyData frames come: of XLogData with one message of the output plugin
each, and keepalives. The client sends its status in frames of the same kind. Sources:
https://www.postgresql.org/docs/current/protocol-replication.html and protocol-message-formats.html there.
"""

from __future__ import annotations

import struct
from itertools import repeat
from typing import NamedTuple

from fuagent.errors import DecodeError

COPY_DATA = b"d"
LENGTH_AT = 1
"""Where in a frame its length stands, which counts itself and what follows."""
PAYLOAD_AT = 5
MESSAGE_AT = 30
"""Where in a frame of XLogData the plugin's message begins: behind ``w`` and three numbers of eight bytes."""
XLOG_DATA, KEEPALIVE = b"wk"
EPOCH = 946_684_800
"""2000-01-01 in Unix seconds: what the server counts from."""

_HEAD = struct.Struct(">BI")
_LENGTH = struct.Struct(">I")
_KEEPALIVE = struct.Struct(">xQqB")
_STATUS = struct.Struct(">cQQQqB")
_LARGEST = 1 << 30
"""Bytes of one frame: no row is larger."""


class Keepalive(NamedTuple):
    """The server is there, and has sent all that was committed before ``end``; ``wanted``: it waits for an answer."""

    end: int
    wanted: bool


class Failure(NamedTuple):
    """An error of the server, or a notice: its SQLSTATE and its text."""

    code: str
    message: str


def complete(data: bytes | bytearray | memoryview, start: int = 0, most: int | None = None) -> int:
    """How many bytes from ``start`` are whole frames of CopyData, ``most`` of them; a frame of another kind ends them.

    Raises:
        DecodeError: the frame behind them has a length that none has.
    """
    place, end, last, copy_data, unpack = start, len(data), len(data) - PAYLOAD_AT, COPY_DATA[0], _HEAD.unpack_from
    for _ in repeat(None) if most is None else repeat(None, most):
        if place > last:
            break
        kind, length = unpack(data, place)
        behind = place + 1 + length
        if kind != copy_data or behind > end or length < _LENGTH.size:
            if not _LENGTH.size <= length <= _LARGEST:
                raise DecodeError("A frame of the replication stream has a length that none has.")
            break
        place = behind
    return place - start


def read_keepalive(payload: bytes) -> Keepalive:
    """Read a keepalive, from its type byte on.

    Raises:
        DecodeError: it is cut off, too long, or none.
    """
    if len(payload) != _KEEPALIVE.size or payload[0] != KEEPALIVE:
        raise DecodeError("A keepalive of the replication stream makes no sense.")
    end, _, wanted = _KEEPALIVE.unpack_from(payload)
    return Keepalive(end, wanted != 0)


def framed(payload: bytes) -> bytes:
    """The frame around a payload of CopyData."""
    return b"%b%b%b" % (COPY_DATA, _LENGTH.pack(len(payload) + 4), payload)


def status(received: int, flushed: int, clock: float, *, reply: bool = False) -> bytes:
    """The payload that tells the server how far its stream was received, and up to where it may let its log go.

    Args:
        received: The position up to which everything has arrived.
        flushed: The position up to which everything is on disk at the other end.
        clock: Unix seconds.
        reply: Whether the server is to answer with a keepalive.
    """
    return _STATUS.pack(b"r", received, flushed, flushed, int((clock - EPOCH) * 1_000_000), reply)


def read_failure(payload: bytes) -> Failure:
    """Read an ErrorResponse or a NoticeResponse, from behind its length on: fields of a type byte and a text, the first of each type.

    What is missing is empty. The text may hold a value of a row: it is not for showing.
    """
    fields: dict[bytes, str] = {}
    for part in payload.split(b"\0"):
        if part:
            fields.setdefault(part[:1], part[1:].decode("utf-8", "replace"))
    return Failure(fields.get(b"C", ""), fields.get(b"M", ""))
