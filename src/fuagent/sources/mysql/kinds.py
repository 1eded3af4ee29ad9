"""Which columns of row images and of a table are the same, and what is known of one that the table has no more."""

from __future__ import annotations

import re

from fuagent.model import Column, Kind
from fuagent.sources.mysql.columns import Declared
from fuagent.wire.mysql import tablemap as tm
from fuagent.wire.mysql.tablemap import ImageColumn

BINARY = 63
"""The number of the collation of bytes that are no text."""

_STRINGS = frozenset({tm.STRING, tm.VAR_STRING, tm.VARCHAR, tm.VARCHAR_COMPRESSED}) | tm.BLOBS
_WORDS: dict[int, frozenset[str]] = {
    tm.TINY: frozenset({"tinyint"}),
    tm.SHORT: frozenset({"smallint"}),
    tm.INT24: frozenset({"mediumint"}),
    tm.LONG: frozenset({"int"}),
    tm.LONGLONG: frozenset({"bigint"}),
    tm.NEWDECIMAL: frozenset({"decimal"}),
    tm.FLOAT: frozenset({"float"}),
    tm.DOUBLE: frozenset({"double"}),
    tm.BIT: frozenset({"bit"}),
    tm.YEAR: frozenset({"year"}),
    **dict.fromkeys((tm.DATE, tm.NEWDATE), frozenset({"date"})),
    **dict.fromkeys((tm.TIME, tm.TIME2), frozenset({"time"})),
    **dict.fromkeys((tm.DATETIME, tm.DATETIME2), frozenset({"datetime"})),
    **dict.fromkeys((tm.TIMESTAMP, tm.TIMESTAMP2), frozenset({"timestamp"})),
    tm.ENUM: frozenset({"enum"}),
    tm.SET: frozenset({"set"}),
    tm.JSON: frozenset({"json"}),
    tm.VECTOR: frozenset({"vector"}),
}
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "json"})
_BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_OWN = frozenset({"uuid", "inet4", "inet6", "vector"})
"""Types of MariaDB that come as strings of bytes."""
_OLD = frozenset({tm.TIME, tm.DATETIME, tm.TIMESTAMP})
"""Formats that came before those with fractions; MariaDB kept fractions in others of the same types."""
_DIGITS = re.compile(r"[a-z]+\(([1-6])\)")
_KINDS = {
    **dict.fromkeys((tm.TINY, tm.SHORT, tm.INT24, tm.LONG, tm.LONGLONG, tm.BIT, tm.YEAR), Kind.INTEGER),
    tm.NEWDECIMAL: Kind.DECIMAL,
    **dict.fromkeys((tm.FLOAT, tm.DOUBLE), Kind.FLOAT),
    **dict.fromkeys((tm.DATE, tm.NEWDATE), Kind.DATE),
    **dict.fromkeys((tm.TIME, tm.TIME2), Kind.TIME),
    **dict.fromkeys((tm.DATETIME, tm.DATETIME2), Kind.DATETIME),
    **dict.fromkeys((tm.TIMESTAMP, tm.TIMESTAMP2), Kind.TIMESTAMP),
    tm.ENUM: Kind.ENUM,
    tm.SET: Kind.SET,
    **dict.fromkeys((tm.JSON, tm.VECTOR), Kind.JSON),
    tm.GEOMETRY: Kind.BINARY,
}


def alike(image: ImageColumn, declared: Declared) -> bool:
    """Whether values written as ``image`` can be of a column declared so."""
    word = declared.declared
    if image.type in _WORDS:
        return word in _WORDS[image.type]
    if image.type == tm.GEOMETRY:
        return declared.column.kind is Kind.BINARY and word not in _BYTES
    if image.type not in _STRINGS:
        return False
    if image.collation is None:
        return word in _TEXTS | _BYTES | _OWN
    return word in (_BYTES | _OWN if image.collation == BINARY else _TEXTS)


def fraction(image: ImageColumn, declared: Declared) -> int:
    """The metadata of a column; of a date or time in an old format its fraction digits, which table maps leave out."""
    digits = _DIGITS.match(declared.column.type) if image.type in _OLD else None
    return int(digits[1]) if digits else image.meta


def inferred(image: ImageColumn) -> Column:
    """The column as far as its images alone tell."""
    kind = _KINDS.get(image.type)
    if kind is None:
        kind = Kind.BINARY if image.collation == BINARY else Kind.TEXT
    type_ = f"decimal({image.meta >> 8},{image.meta & 0xFF})" if image.type == tm.NEWDECIMAL else ""
    return Column(image.name or "", kind, type_, image.nullable)
