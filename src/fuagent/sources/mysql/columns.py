"""What is known of a column, what a snapshot selects of it, and how the server's text becomes a piece.

The pieces are those of row images (``wire/mysql``). Where the server's text is not the piece
already, either the SELECT asks otherwise (``c + 0`` for a BIT) or a function converts what comes.
``information_schema.COLUMNS`` is what is read; both servers spell types alike there.
"""

from __future__ import annotations

import re
import struct
from binascii import b2a_base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fuagent.encode.shown import shown
from fuagent.encode.templates import BETWEEN, Columnwise
from fuagent.errors import DecodeError, HaltSyncError
from fuagent.model import Column, Kind
from fuagent.sources.mysql.link import RawRow
from fuagent.sources.selection import Name
from fuagent.wire.mysql.numbers import single

Convert = Callable[[bytes], bytes | None]
"""A value as the server sent it → its piece."""


def quote(name: str) -> str:
    """Any name as an SQL identifier."""
    return "`{}`".format(name.replace("`", "``"))


def quoted(name: Name) -> str:
    """A table's name in a statement."""
    return f"{quote(name.schema)}.{quote(name.table)}"


@dataclass(frozen=True, slots=True)
class Said:
    """One row of ``information_schema.COLUMNS``."""

    name: str
    data_type: str
    column_type: str
    nullable: bool
    charset: str
    collation: str
    extra: str
    length: int
    """``CHARACTER_MAXIMUM_LENGTH``: characters of a text, bytes of a binary value; 0 for others."""


@dataclass(frozen=True, slots=True)
class Declared:
    """One column as the table declares it."""

    column: Column
    declared: str
    """The type's own word in small letters: ``int``, ``varchar``, ``uuid``; ``json`` on MariaDB too."""
    select: str
    """What a snapshot selects: the quoted name, or an expression over it."""
    unsigned: bool = False
    charset: str = ""
    collation: str = ""
    labels: tuple[str, ...] = ()
    """Of ENUM and SET, in their order."""
    length: int = 0
    """Characters of a text, bytes of a binary value."""
    generated: bool = False
    """Virtual or stored: the log holds both."""
    convert: Convert | None = field(default=None, compare=False)
    """None where the bytes are the piece."""


_INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext"})
_BINARIES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_PLACES = frozenset({"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"})
_COLLECTIONS = frozenset({"geometrycollection", "geomcollection"})
_OTHERS = frozenset({"uuid", "inet4", "inet6"})


def declare(said: Said, table: str, *, is_json: bool = False) -> Declared:
    """Everything about one column of ``table``. ``is_json``: a check says that its text is JSON, as MariaDB does it.

    Raises:
        HaltSyncError: its type is not known.
    """
    word = "json" if is_json else said.data_type.lower()
    attributes = said.column_type.lower()
    name = quote(said.name)
    kind, select, convert = _treatment(word, attributes, name)
    if kind is None:
        raise HaltSyncError(
            f"column {shown(said.name)} of table {shown(table)} has a type that is not known: {shown(said.column_type)}",
            fix="exclude the table, or change the column's type",
        )
    return Declared(
        column=Column(said.name, kind, said.column_type, said.nullable),
        declared=word,
        select=select,
        unsigned=" unsigned" in attributes or "zerofill" in attributes,
        charset=said.charset,
        collation=said.collation,
        labels=_labels(said.column_type) if word in {"enum", "set"} else (),
        length=said.length,
        generated="GENERATED" in said.extra.upper() and "DEFAULT_GENERATED" not in said.extra.upper(),
        convert=convert,
    )


def _treatment(word: str, attributes: str, name: str) -> tuple[Kind | None, str, Convert | None]:
    """Kind, SELECT expression and conversion of a type."""
    padded = "zerofill" in attributes
    if word in _INTEGERS:
        return Kind.INTEGER, f"{name}+0" if padded else name, None
    if word in {"bit", "year"}:
        return Kind.INTEGER, f"{name}+0", None
    if word == "decimal":
        return Kind.DECIMAL, name, _unpadded if padded else None
    if word == "float":
        # Times one, as a double: all digits, and a zero keeps its sign.
        return Kind.FLOAT, f"{name}*1e0", _float
    if word == "double":
        return Kind.FLOAT, f"{name}*1e0" if padded or "(" in attributes else name, None
    if word in _BINARIES:
        return Kind.BINARY, name, _base64
    if word in _PLACES or word in _COLLECTIONS:
        return Kind.BINARY, name, _geometry
    kind, convert = _PLAIN.get(word, (None, None))
    return kind, name, convert


# ------------------------------------------------------------------ conversions


def _unpadded(text: bytes) -> bytes:
    """A DECIMAL without the zeros of ZEROFILL."""
    bare = text.lstrip(b"0")
    return bare if bare[:1].isdigit() else b"0" + bare


def _float(text: bytes) -> bytes:
    """The 32-bit number behind the digits of a double, in its own shortest digits."""
    try:
        return single(float(text))
    except ValueError:
        raise _wrong("a FLOAT") from None


def _base64(data: bytes) -> bytes:
    return b2a_base64(data, newline=False)


def _geometry(data: bytes) -> bytes:
    """Four bytes of SRID stand before the WKB (https://dev.mysql.com/doc/refman/8.4/en/gis-data-formats.html)."""
    return b2a_base64(data[4:], newline=False)


def _moments(end: bytes) -> Columnwise[bytes]:
    """Dates with times, with ``end`` behind each; all of a column in one go where none has a month or day 00."""

    def one(text: bytes) -> bytes | None:
        return _dateless(text) if b"-00" in text else text.replace(b" ", b"T") + end

    def many(texts: Sequence[bytes]) -> Sequence[bytes | None]:
        joined = (end + BETWEEN).join(texts) + end
        return [one(text) for text in texts] if b"-00" in joined else joined.replace(b" ", b"T").split(BETWEEN)

    return Columnwise(one, many)


def _dateless(text: bytes) -> bytes | None:
    """A date with month or day 00: as the server writes it; None where all of it is zeros."""
    return text if text.strip(b"0-:. ") else None


def _date(text: bytes) -> bytes | None:
    return text if b"-00" not in text else _dateless(text)


def _vector(data: bytes) -> bytes:
    """Little-endian 32-bit floats, one after the other."""
    if len(data) % 4:
        raise _wrong("a VECTOR")
    return b"[%b]" % b",".join(map(single, struct.unpack(f"<{len(data) // 4}f", data)))


def _wrong(what: str) -> DecodeError:
    return DecodeError(f"The server sent {what} that is none.")


_PLAIN: dict[str, tuple[Kind, Convert | None]] = {
    **dict.fromkeys(_TEXTS, (Kind.TEXT, None)),
    **dict.fromkeys(_OTHERS, (Kind.OTHER, None)),
    "date": (Kind.DATE, _date),
    "time": (Kind.TIME, None),
    "datetime": (Kind.DATETIME, _moments(b"")),
    "timestamp": (Kind.TIMESTAMP, _moments(b"Z")),
    "enum": (Kind.ENUM, None),
    "set": (Kind.SET, None),
    "json": (Kind.JSON, None),
    "vector": (Kind.JSON, _vector),
}
"""Types that are selected by their names."""


def pieces(columns: Sequence[Declared], rows: list[RawRow]) -> list[RawRow]:
    """Rows as the server sent them → tuples of pieces."""
    converts = [(place, one.convert) for place, one in enumerate(columns) if one.convert is not None]
    if not converts or not rows:
        return rows
    turned: list[Sequence[bytes | None]] = list(zip(*rows, strict=True))
    for place, convert in converts:
        turned[place] = [value if value is None else convert(value) for value in turned[place]]
    return list(zip(*turned, strict=True))


# ------------------------------------------------------------------ labels

_LABEL = re.compile(r"'((?:[^'\\]|''|\\.)*)'", re.DOTALL)
_ESCAPED = re.compile(r"''|\\(.)", re.DOTALL)
_ESCAPES = {"0": "\0", "n": "\n", "r": "\r"}


def _labels(column_type: str) -> tuple[str, ...]:
    """The labels in ``enum('a','it''s')``; the servers escape backslashes, line ends and NUL."""
    return tuple(_ESCAPED.sub(_plain, label) for label in _LABEL.findall(column_type))


def _plain(match: re.Match[str]) -> str:
    letter = match[1]
    return "'" if letter is None else _ESCAPES.get(letter, letter)
