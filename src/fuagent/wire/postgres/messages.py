"""The messages of pgoutput, protocol version 1, but those that hold rows: these are in ``rows.py``.

Source: https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from fuagent.errors import DecodeError
from fuagent.wire.postgres.frames import EPOCH


class Begin(NamedTuple):
    """A transaction begins whose commit record is at ``final_lsn``; ``committed`` is when, in Unix seconds."""

    final_lsn: int
    committed: float
    xid: int


class Commit(NamedTuple):
    """It ends: ``lsn`` is where its commit record begins, ``end_lsn`` where that ends."""

    lsn: int
    end_lsn: int
    committed: float


class Origin(NamedTuple):
    """The transaction came to this server from another one."""

    lsn: int
    name: str


class Message(NamedTuple):
    """Something a program wrote into the log (pg_logical_emit_message)."""

    transactional: bool
    lsn: int
    prefix: str
    content: bytes


class RelationColumn(NamedTuple):
    """A column; ``key``: it belongs to the replica identity. ``type`` is the type's OID, ``modifier`` its atttypmod."""

    name: str
    key: bool
    type: int
    modifier: int


class Relation(NamedTuple):
    """A table as its rows will be until the next such message; ``identity`` is pg_class.relreplident: d, n, f or i."""

    id: int
    schema: str
    name: str
    identity: str
    columns: tuple[RelationColumn, ...]


class Type(NamedTuple):
    """A type that is not built in."""

    id: int
    schema: str
    name: str


class Truncate(NamedTuple):
    """Tables were emptied, by their OIDs."""

    relations: tuple[int, ...]
    cascade: bool
    restart_identity: bool


Told = Begin | Commit | Origin | Message | Relation | Type | Truncate

_IDENTITIES = frozenset("dnfi")
_BEGIN = struct.Struct(">QqI")
_COMMIT = struct.Struct(">BQQq")
_EMITTED = struct.Struct(">BQ")


class _Cursor:
    """Reads one message from its second byte on."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 1

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        found = layout.unpack_from(self.data, self.at)
        self.at += layout.size
        return found

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width))

    def take(self, count: int) -> bytes:
        start, self.at = self.at, self.at + count
        if self.at > len(self.data):
            raise DecodeError("A message of the replication stream ends too early.")
        return self.data[start : self.at]

    def text(self) -> str:
        end = self.data.index(0, self.at)
        start, self.at = self.at, end + 1
        return self.data[start:end].decode()


def read(data: bytes) -> Told:
    """Read one message.

    Raises:
        DecodeError: it is cut off, too long, or of a type that this protocol has not.
    """
    make = _READ.get(data[:1])
    if make is None:
        raise DecodeError("The replication stream holds a message of a type that is not known.")
    cursor = _Cursor(data)
    try:
        found = make(cursor)
    except (struct.error, ValueError):
        raise DecodeError("A message of the replication stream makes no sense.") from None
    if cursor.at != len(data):
        raise DecodeError("A message of the replication stream is longer than it says.")
    return found


def _seconds(time: int) -> float:
    """Unix seconds; added up before it is divided, so that it is rounded once."""
    return (time + EPOCH * 1_000_000) / 1_000_000


def _begin(cursor: _Cursor) -> Begin:
    final, time, xid = cursor.unpack(_BEGIN)
    return Begin(final, _seconds(time), xid)


def _commit(cursor: _Cursor) -> Commit:
    _, lsn, end, time = cursor.unpack(_COMMIT)
    return Commit(lsn, end, _seconds(time))


def _message(cursor: _Cursor) -> Message:
    flags, lsn = cursor.unpack(_EMITTED)
    prefix = cursor.text()
    return Message(flags & 1 != 0, lsn, prefix, cursor.take(cursor.number(4)))


def _relation(cursor: _Cursor) -> Relation:
    number, schema, name = cursor.number(4), cursor.text(), cursor.text()
    identity = cursor.take(1).decode()
    if identity not in _IDENTITIES:
        raise DecodeError("A message of the replication stream names a replica identity that is not known.")
    columns = tuple(_column(cursor) for _ in range(cursor.number(2)))
    return Relation(number, schema or "pg_catalog", name, identity, columns)


def _column(cursor: _Cursor) -> RelationColumn:
    key = cursor.number(1) & 1 != 0
    name, type_ = cursor.text(), cursor.number(4)
    modifier = int.from_bytes(cursor.take(4), signed=True)
    return RelationColumn(name, key, type_, modifier)


def _type(cursor: _Cursor) -> Type:
    number, schema = cursor.number(4), cursor.text()
    return Type(number, schema or "pg_catalog", cursor.text())


def _truncate(cursor: _Cursor) -> Truncate:
    count, options = cursor.number(4), cursor.number(1)
    if count * 4 > len(cursor.data):
        raise DecodeError("A message of the replication stream ends too early.")
    return Truncate(tuple(cursor.number(4) for _ in range(count)), options & 1 != 0, options & 2 != 0)


_READ: dict[bytes, Callable[[_Cursor], Told]] = {
    b"B": _begin,
    b"C": _commit,
    b"O": lambda cursor: Origin(cursor.number(8), cursor.text()),
    b"M": _message,
    b"R": _relation,
    b"Y": _type,
    b"T": _truncate,
}
