"""What servers compress in a log: single events (MariaDB) and the events of a whole transaction (MySQL).

MariaDB compresses, with ``log_bin_compress``, the text of a statement or the images of a rows
event; what stands before them stays as it is. One byte says that and how: the highest bit is
set, the next three are the algorithm (0 is zlib), the last three tell in how many bytes the
length follows, highest first (``binlog_buf_compress`` in ``sql/log_event.cc``).

MySQL puts, with ``binlog_transaction_compression``, the events of a transaction behind each other,
without checksums, and compresses them as one: TRANSACTION_PAYLOAD
(``libs/mysql/binlog/event/codecs/binary.h``).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Protocol

import zstandard

from fuagent.errors import DecodeError
from fuagent.wire.mysql import events, rows
from fuagent.wire.mysql.cursor import Cursor
from fuagent.wire.mysql.events import FormatDescription, Header

CAP = 1 << 30
"""The most bytes that one event may take unless the caller says otherwise: what MySQL and MariaDB allow."""

COMPRESSED = {
    events.QUERY_COMPRESSED: events.QUERY,
    events.WRITE_ROWS_COMPRESSED_V1: events.WRITE_ROWS_V1,
    events.UPDATE_ROWS_COMPRESSED_V1: events.UPDATE_ROWS_V1,
    events.DELETE_ROWS_COMPRESSED_V1: events.DELETE_ROWS_V1,
    events.WRITE_ROWS_COMPRESSED_V2: events.WRITE_ROWS_V2,
    events.UPDATE_ROWS_COMPRESSED_V2: events.UPDATE_ROWS_V2,
    events.DELETE_ROWS_COMPRESSED_V2: events.DELETE_ROWS_V2,
}
"""MariaDB's compressed types, and what each is once uncompressed."""

_ZSTD, _NONE = 0, 255
_CHUNK = 1 << 20
"""Bytes uncompressed at a time: a size that an event merely claims costs no more than this."""


def uncompressed(kind: int, data: bytes, description: FormatDescription, cap: int = CAP) -> tuple[int, bytes]:
    """The type and body that one of ``COMPRESSED`` stands for.

    Raises:
        DecodeError: It is damaged, or uncompressed larger than ``cap`` bytes.
    """
    if kind == events.QUERY_COMPRESSED:
        at = events.text_start(data, description)
    else:
        at = rows.read_rows_header(kind, data, description).start
    return COMPRESSED[kind], data[:at] + _inflated(Cursor(data, "A compressed event", at), cap)


def _inflated(cursor: Cursor, cap: int) -> bytes:
    form = cursor.number(1)
    if form & 0xF8 != 0x80 or not 1 <= form & 7 <= 4:
        raise DecodeError("A compressed event uses a compression that is not known.")
    size = int.from_bytes(cursor.take(form & 7), "big")
    if size > cap:
        raise DecodeError(f"A compressed event holds {size} bytes; at most {cap} are taken.")
    inflater = zlib.decompressobj()
    try:
        found = inflater.decompress(cursor.rest(), size + 1)
    except zlib.error as error:
        raise DecodeError("A compressed event cannot be uncompressed.") from error
    if len(found) != size or not inflater.eof or inflater.unused_data:
        raise DecodeError("A compressed event holds more or less than it says.")
    return found


class _Source(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


def payload(data: bytes, description: FormatDescription, cap: int = CAP) -> Iterator[tuple[Header, bytes]]:
    """The events in the body of a TRANSACTION_PAYLOAD, each with its header and its body.

    They are uncompressed one by one, so memory stays near the largest of them, plus the
    window of the compression (at most 128 MiB).

    Raises:
        DecodeError: It is damaged, cut off, holds another payload, or an event larger than ``cap`` bytes.
    """
    del description  # these events have no checksums, whatever it says
    compression, size, packed = _fields(Cursor(data, "A TRANSACTION_PAYLOAD event"))
    source: _Source = _Plain(packed)
    if compression == _ZSTD:
        source = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
    elif compression != _NONE:
        raise DecodeError("A transaction is compressed in a way that is not known.")
    left = len(packed) if compression == _NONE else size
    while left:
        header = Header(*events.HEADER.unpack(_read(source, events.HEADER.size)))
        if header.kind == events.TRANSACTION_PAYLOAD:
            raise DecodeError("A compressed transaction holds another one.")
        if not events.HEADER.size <= header.size <= min(left, cap):
            raise DecodeError(
                f"A compressed transaction holds an event of {header.size} bytes; {min(left, cap)} are allowed."
            )
        left -= header.size
        yield header, _read(source, header.size - events.HEADER.size)
    if _some(source, 1):
        raise DecodeError("A compressed transaction holds more than it says.")


def _fields(cursor: Cursor) -> tuple[int, int, bytes]:
    """Compression, uncompressed size, and the bytes.

    Fields of type, length and value: 1 is the size of what follows them, 2 the compression,
    3 the uncompressed size, 0 the end; others may be passed over.
    """
    found: dict[int, int] = {}
    while (field := cursor.lenenc()) != 0:
        value = cursor.take(cursor.lenenc())
        if field <= 3:
            found[field] = Cursor(value, cursor.what).lenenc()
    if found.get(1) != cursor.left or 2 not in found or (found[2] == _ZSTD and 3 not in found):
        raise DecodeError("A TRANSACTION_PAYLOAD event lacks a field, or has another size than it says.")
    return found[2], found.get(3, 0), cursor.rest()


class _Plain:
    """Bytes that were not compressed, read like those that were."""

    def __init__(self, data: bytes) -> None:
        self._cursor = Cursor(data, "A compressed transaction")

    def read(self, size: int = -1, /) -> bytes:
        return self._cursor.take(min(size, self._cursor.left))


def _some(source: _Source, size: int) -> bytes:
    try:
        return source.read(size)
    except zstandard.ZstdError as error:
        raise DecodeError("A compressed transaction cannot be uncompressed.") from error


def _read(source: _Source, size: int) -> bytes:
    """Exactly ``size`` bytes."""
    parts = []
    while size:
        part = _some(source, min(size, _CHUNK))
        if not part:
            raise DecodeError("A compressed transaction ends too early.")
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
