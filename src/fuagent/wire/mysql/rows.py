"""What stands before the row images of a rows event: which table, which columns, and where the images begin.

Sources: ``libs/mysql/binlog/event/rows_event.h`` in MySQL's sources, ``sql/log_event.cc`` in MariaDB's.
"""

from __future__ import annotations

from typing import NamedTuple

from fuagent.errors import DecodeError
from fuagent.wire.mysql import events
from fuagent.wire.mysql.cursor import Cursor
from fuagent.wire.mysql.events import FormatDescription

INSERT, UPDATE, DELETE = "insert", "update", "delete"

STMT_END_F = 0x1
"""Flag of the last rows event of a statement: its table maps mean nothing from here on."""

_VERSION_1 = {
    events.WRITE_ROWS_V1: INSERT,
    events.UPDATE_ROWS_V1: UPDATE,
    events.DELETE_ROWS_V1: DELETE,
    events.WRITE_ROWS_COMPRESSED_V1: INSERT,
    events.UPDATE_ROWS_COMPRESSED_V1: UPDATE,
    events.DELETE_ROWS_COMPRESSED_V1: DELETE,
}
_VERSION_2 = {
    events.WRITE_ROWS_V2: INSERT,
    events.UPDATE_ROWS_V2: UPDATE,
    events.DELETE_ROWS_V2: DELETE,
    events.PARTIAL_UPDATE_ROWS: UPDATE,
    events.WRITE_ROWS_COMPRESSED_V2: INSERT,
    events.UPDATE_ROWS_COMPRESSED_V2: UPDATE,
    events.DELETE_ROWS_COMPRESSED_V2: DELETE,
}
ROWS = frozenset({*_VERSION_1, *_VERSION_2})
"""Types that :func:`read_rows_header` reads."""


class RowsHeader(NamedTuple):
    """The beginning of a rows event.

    ``present`` and ``present_after`` have one bit for each of ``width`` columns, the first one
    lowest: set where the images carry the column. ``present`` belongs to the only image of an
    insert or delete and to the image before an update, ``present_after`` to the one after it,
    and is empty otherwise. ``partial`` images may hold changes of JSON documents instead of
    whole ones. ``start`` is where the first image begins in the body; in MariaDB's
    compressed events, where the compressed part does.
    """

    table_id: int
    flags: int
    version: int
    operation: str
    partial: bool
    width: int
    present: bytes
    present_after: bytes
    start: int

    @property
    def statement_ends(self) -> bool:
        """Whether this is the last rows event of its statement."""
        return self.flags & STMT_END_F != 0


def table_id(kind: int, data: bytes, description: FormatDescription) -> int:
    """The number that ties a rows event to a table map: six bytes, four in logs of early 5.1."""
    width = _table_id_width(kind, description)
    if len(data) < width:
        raise DecodeError("An event of rows or of a table ends within the number of its table.")
    return int.from_bytes(data[:width], "little")


def read_rows_header(kind: int, data: bytes, description: FormatDescription) -> RowsHeader:
    """Read the beginning of a rows event's body.

    Raises:
        DecodeError: The type is none of ``ROWS``, as those of pre-releases of 5.1, or the body ends too early.
    """
    operation = _VERSION_2.get(kind) or _VERSION_1.get(kind)
    if operation is None:
        raise DecodeError(f"Rows events of type {kind} are not supported; servers since 5.1 write others.")
    cursor = Cursor(data, "A rows event")
    table, flags = cursor.number(_table_id_width(kind, description)), cursor.number(2)
    version = 2 if kind in _VERSION_2 else 1
    if version == 2:
        _skip_extra(cursor)
    width = cursor.lenenc()
    present = cursor.take((width + 7) // 8)
    present_after = cursor.take((width + 7) // 8) if operation == UPDATE else b""
    partial = kind == events.PARTIAL_UPDATE_ROWS
    return RowsHeader(table, flags, version, operation, partial, width, present, present_after, cursor.at)


def _table_id_width(kind: int, description: FormatDescription) -> int:
    """Four bytes where the fixed part has six in all, two of them flags."""
    return 4 if description.post_header(kind, 8) == 6 else 6


def _skip_extra(cursor: Cursor) -> None:
    """What clusters and partitions add; its length counts its own two bytes."""
    length = cursor.number(2)
    if length < 2:
        raise DecodeError("A rows event holds a malformed length.")
    cursor.take(length - 2)
