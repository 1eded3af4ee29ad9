"""TABLE_MAP: what the columns of the row images that follow are.

The event names the table, gives each column a type byte and its metadata (lengths, precision),
a bit for nullability, and, where the server is told to (``binlog_row_metadata``), optional fields
of type, length and value: MINIMAL writes signedness and character sets, FULL names, labels, keys too.
MariaDB writes none unless asked; MySQL writes MINIMAL unless asked for more.

Sources: ``Table_map_event`` in MySQL's ``libs/mysql/binlog/event/rows_event.h``,
``Table_map_log_event`` in MariaDB's ``sql/log_event.h``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fuagent.errors import DecodeError
from fuagent.wire.mysql import charsets
from fuagent.wire.mysql.cursor import Cursor

DECIMAL, TINY, SHORT, LONG, FLOAT, DOUBLE, NULL, TIMESTAMP, LONGLONG, INT24, DATE, TIME, DATETIME, YEAR = range(14)
NEWDATE, VARCHAR, BIT, TIMESTAMP2, DATETIME2, TIME2, TYPED_ARRAY = range(14, 21)
BLOB_COMPRESSED, VARCHAR_COMPRESSED = 140, 141
VECTOR, INVALID, BOOL, JSON, NEWDECIMAL, ENUM, SET, TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, BLOB = range(242, 253)
VAR_STRING, STRING, GEOMETRY = range(253, 256)

BLOBS = frozenset({TINY_BLOB, MEDIUM_BLOB, LONG_BLOB, BLOB, BLOB_COMPRESSED})
"""Texts and blobs of the server; all of them come as BLOB, with the bytes of their length as metadata."""

BINARY = 63
"""The collation of what is no text."""

COLUMNS_MAX = 4096
"""Columns a table can have, on either server."""

_WHAT = "A table map"

_NO_META = frozenset(
    {DECIMAL, TINY, SHORT, LONG, NULL, TIMESTAMP, LONGLONG, INT24, DATE, TIME, DATETIME, YEAR, NEWDATE, INVALID, BOOL}
)
_ONE_BYTE = frozenset({FLOAT, DOUBLE, TIMESTAMP2, DATETIME2, TIME2, JSON, GEOMETRY, VECTOR}) | BLOBS
_LITTLE = frozenset({VARCHAR, VAR_STRING, VARCHAR_COMPRESSED})

_NUMBERS = frozenset({TINY, SHORT, INT24, LONG, LONGLONG, NEWDECIMAL, FLOAT, DOUBLE})
_TEXTS = frozenset({STRING, VAR_STRING, VARCHAR, VARCHAR_COMPRESSED, VECTOR}) | BLOBS
_LABELLED = frozenset({ENUM, SET})

_SIGNEDNESS, _DEFAULT_CHARSET, _COLUMN_CHARSET, _COLUMN_NAME, _SET_LABELS, _ENUM_LABELS = range(1, 7)
_PRIMARY_KEY, _PRIMARY_KEY_PREFIXES, _LABELS_DEFAULT_CHARSET, _LABELS_CHARSET, _VISIBILITY = range(8, 13)


@dataclass(frozen=True, slots=True)
class ImageColumn:
    """One column of row images.

    What the table map does not say is None; replace it with what the server's
    ``information_schema`` says (``dataclasses.replace``).
    """

    type: int
    """The type by the server's numbers; an ENUM or SET is one, though sent as STRING."""
    meta: int = 0
    """The most bytes of a text, the bytes of a length or of an ENUM or SET, ``precision << 8 | scale``, fraction
    digits, or bits, whatever the type needs."""
    nullable: bool = True
    name: str | None = None
    unsigned: bool | None = None
    collation: int | None = None
    """The number of a text's collation; 63 is binary."""
    labels: tuple[bytes, ...] | None = None
    """Of an ENUM or SET, in UTF-8."""
    key: bool | None = None
    """Whether it belongs to the primary key."""
    visible: bool | None = None
    declared: str | None = None
    """What the column was declared as, where its type does not tell: ``uuid``, ``inet4``, ``inet6``, ``vector``."""


@dataclass(frozen=True, slots=True)
class TableMap:
    """A table as the rows after it are written; ``table_id`` stands in their events."""

    table_id: int
    flags: int
    schema: str
    name: str
    columns: tuple[ImageColumn, ...]


def read(body: bytes, *, mariadb: bool = False, id_bytes: int = 6) -> TableMap:
    """Read the body of a TABLE_MAP event.

    Args:
        body: What stands between header and checksum.
        mariadb: Whether a MariaDB server wrote it: it counts YEAR among the numbers and GEOMETRY among the texts.
        id_bytes: How long the table's number is: 4 in MySQL 5.1.4 and older, by the event's post-header of 6 bytes.

    Raises:
        DecodeError: It is cut short, contradicts itself, or names a type that fuagent does not know.
    """
    cursor = Cursor(body, _WHAT)
    table_id, flags, schema, name = _beginning(cursor, id_bytes)
    count = cursor.lenenc()
    if count > COLUMNS_MAX:
        raise DecodeError("A table map names more columns than a table can have.")
    types = cursor.take(count)
    metas = Cursor(cursor.take(cursor.lenenc()), _WHAT)
    described = [_described(code, metas) for code in types]
    nulls = cursor.take((count + 7) // 8)
    columns = [
        ImageColumn(code, meta, nullable=bool(nulls[place >> 3] >> (place & 7) & 1))
        for place, (code, meta) in enumerate(described)
    ]
    fields = {}
    while cursor.left:
        field = cursor.number(1)
        fields[field] = cursor.take(cursor.lenenc())
    return TableMap(table_id, flags, schema, name, _told(columns, fields, mariadb=mariadb))


def identify(body: bytes, id_bytes: int = 6) -> tuple[int, str, str]:
    """The table's number, schema and name alone, of whatever types its columns are.

    Raises:
        DecodeError: It is cut short.
    """
    table_id, _, schema, name = _beginning(Cursor(body, _WHAT), id_bytes)
    return table_id, schema, name


def _beginning(cursor: Cursor, id_bytes: int) -> tuple[int, int, str, str]:
    table_id, flags = cursor.number(id_bytes), cursor.number(2)
    schema = _name(cursor)
    return table_id, flags, schema, _name(cursor)


def _name(cursor: Cursor) -> str:
    """A name with its length before it and a zero byte behind."""
    name = cursor.take(cursor.number(1))
    cursor.take(1)
    return cursor.text(name)


def _described(type: int, metas: Cursor) -> tuple[int, int]:
    """The real type and its metadata, whose form depends on the type (``read_field_metadata`` of the servers)."""
    if type in _NO_META:
        return type, 0
    if type in _ONE_BYTE:
        return type, metas.number(1)
    if type in _LITTLE:
        return type, metas.number(2)
    if type == BIT:
        bits = metas.number(1)
        return type, bits + 8 * metas.number(1)
    if type == NEWDECIMAL:
        return type, int.from_bytes(metas.take(2))
    if type in {STRING, ENUM, SET}:
        return _string(metas.number(1), metas.number(1))
    if type == TYPED_ARRAY:
        # The element's type, and a VARCHAR element's length in three bytes instead of two.
        element = metas.number(1)
        return type, metas.number(3) if element == VARCHAR else _described(element, metas)[1]
    raise DecodeError(f"A table map names a column type, {type}, that fuagent does not know.")


def _string(first: int, second: int) -> tuple[int, int]:
    """CHAR, ENUM and SET share a type; a CHAR longer than 255 bytes keeps two bits of its length, inverted, in it."""
    if first & 0x30 != 0x30:
        return first | 0x30, second | (first & 0x30 ^ 0x30) << 4
    return first, second


# ------------------------------------------------------------------ optional metadata


def _told(columns: list[ImageColumn], fields: dict[int, bytes], *, mariadb: bool) -> tuple[ImageColumn, ...]:
    """The columns with what the optional fields say of them."""
    texts = _TEXTS | {GEOMETRY} if mariadb else _TEXTS
    numbers = _NUMBERS | {YEAR} if mariadb else _NUMBERS
    _tell(columns, numbers, "unsigned", _bits(fields.get(_SIGNEDNESS)))
    _tell(columns, texts, "collation", _collations(fields, _DEFAULT_CHARSET, _COLUMN_CHARSET))
    _tell(columns, _LABELLED, "collation", _collations(fields, _LABELS_DEFAULT_CHARSET, _LABELS_CHARSET))
    for code, field in ((SET, _SET_LABELS), (ENUM, _ENUM_LABELS)):
        _tell(columns, frozenset({code}), "labels", _labels(fields.get(field)))
    columns = [_readable(column) for column in columns]
    _tell(columns, None, "name", _names(fields.get(_COLUMN_NAME)))
    _tell(columns, None, "visible", _bits(fields.get(_VISIBILITY)))
    _tell(columns, None, "key", _keys(fields))
    return tuple(columns)


Values = Callable[[int], Sequence[object]]
"""Given for how many columns, the value of each of them."""


def _tell(columns: list[ImageColumn], types: frozenset[int] | None, name: str, values: Values | None) -> None:
    """Set one attribute of the columns of these types, in order."""
    if values is None:
        return
    places = [place for place, column in enumerate(columns) if types is None or column.type in types]
    for place, value in zip(places, values(len(places)), strict=True):
        columns[place] = replace(columns[place], **{name: value})  # type: ignore[arg-type]


def _bits(field: bytes | None) -> Values | None:
    """A bit for each column, the highest first."""
    if field is None:
        return None

    def values(count: int) -> Sequence[object]:
        data = Cursor(field, _WHAT).take((count + 7) // 8)
        return [bool(data[place >> 3] << (place & 7) & 0x80) for place in range(count)]

    return values


def _collations(fields: dict[int, bytes], default: int, each: int) -> Values | None:
    """A default and the exceptions from it by place, or one collation after the other, whichever is shorter."""
    exceptions, full = fields.get(default), fields.get(each)

    def by_default(count: int) -> Sequence[object]:
        cursor = Cursor(exceptions or b"", _WHAT)
        found = [cursor.lenenc()] * count
        while cursor.left:
            place, collation = cursor.lenenc(), cursor.lenenc()
            found[_inside(place, count)] = collation
        return found

    def one_by_one(count: int) -> Sequence[object]:
        cursor = Cursor(full or b"", _WHAT)
        return [cursor.lenenc() for _ in range(count)]

    if full is not None:
        return one_by_one
    return None if exceptions is None else by_default


def _labels(field: bytes | None) -> Values | None:
    """The number of labels of each column, then each label behind its length."""
    if field is None:
        return None

    def values(count: int) -> Sequence[object]:
        cursor = Cursor(field, _WHAT)
        return [tuple(cursor.take(cursor.lenenc()) for _ in range(cursor.lenenc())) for _ in range(count)]

    return values


def _readable(column: ImageColumn) -> ImageColumn:
    """Labels, which come in the column's own character set, in UTF-8; none where that set is not known."""
    if column.labels is None or column.collation in {None, BINARY}:
        return column
    try:
        decode = charsets.decoder(column.collation or BINARY)
    except DecodeError:
        return replace(column, labels=None)
    return column if decode is None else replace(column, labels=tuple(map(decode, column.labels)))


def _names(field: bytes | None) -> Values | None:
    if field is None:
        return None

    def values(count: int) -> Sequence[object]:
        cursor = Cursor(field, _WHAT)
        return [cursor.text(cursor.take(cursor.lenenc())) for _ in range(count)]

    return values


def _keys(fields: dict[int, bytes]) -> Values | None:
    """The places of the key's columns, each with the length of its prefix where one has one.

    Without any the table has no primary key, if only the names show that the server tells of keys.
    """
    if _COLUMN_NAME not in fields and not fields.keys() & {_PRIMARY_KEY, _PRIMARY_KEY_PREFIXES}:
        return None

    def values(count: int) -> Sequence[object]:
        found = [False] * count
        for field in (_PRIMARY_KEY, _PRIMARY_KEY_PREFIXES):
            cursor = Cursor(fields.get(field, b""), _WHAT)
            while cursor.left:
                found[_inside(cursor.lenenc(), count)] = True
                if field == _PRIMARY_KEY_PREFIXES:
                    cursor.lenenc()
        return found

    return values


def _inside(place: int, count: int) -> int:
    if place >= count:
        raise DecodeError("A table map tells of a column that the table does not have.")
    return place
