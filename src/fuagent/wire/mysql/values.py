"""How each type of column is read from a row image: its bytes, and what makes a piece of them.

A *recipe* is what ``images.py`` puts into generated code. It has the struct codes of the part
whose width is fixed, which is the value itself or the length of what follows, and an expression
that makes the piece. Recipes are written here and hold no name of anyone else's.

Sources: ``Field::pack`` of each type in the servers' ``sql/field.cc``; for MariaDB's compressed
columns ``compress_zlib`` in the same file.
"""

from __future__ import annotations

import binascii
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fuagent.errors import DecodeError
from fuagent.wire.mysql import charsets, decimals, jsonb, temporal
from fuagent.wire.mysql import tablemap as t
from fuagent.wire.mysql.cached import Cached
from fuagent.wire.mysql.numbers import single
from fuagent.wire.mysql.tablemap import BINARY, ImageColumn

UNCOMPRESSED_MAX = 1 << 30
"""The most bytes a compressed value may have: as many as the servers let any value have (max_allowed_packet)."""

Decode = Callable[[bytes], bytes | None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to read one column.

    ``codes`` are struct codes of ``values`` values, called ``{0}``, ``{1}`` in the expressions.
    With ``length`` these make the length of the bytes that follow, and ``{0}`` in ``piece`` is
    those bytes. ``{f}``, ``{g}``, ``{h}`` are the ``functions``, ``int.from_bytes`` is ``integer``.
    """

    codes: str
    piece: str = "{0}"
    functions: tuple[object, ...] = ()
    length: str = ""
    values: int = 1


def recipe(column: ImageColumn) -> Recipe:
    """How to read a column.

    Raises:
        DecodeError: Its type is not one fuagent reads, or too little is known of it.
    """
    if column.declared in _DECLARED:
        return _variable(column, _DECLARED[column.declared])
    make = _TYPES.get(column.type)
    if make is None:
        raise DecodeError(f"A row image holds a column of type {column.type}, which fuagent does not read.")
    return make(column)


# ------------------------------------------------------------------ numbers


def _whole(signed: str, unsigned: str, piece: str = "{0}", values: int = 1) -> Callable[[ImageColumn], Recipe]:
    def make(column: ImageColumn) -> Recipe:
        if column.unsigned is None:
            raise DecodeError("Whether an integer column of a row image is UNSIGNED is not known.")
        return Recipe(unsigned if column.unsigned else signed, piece, values=values)

    return make


def _decimal(column: ImageColumn) -> Recipe:
    precision, scale = divmod(column.meta, 256)
    codes = f"{decimals.width(precision, scale)}s"
    decode = decimals.decoder(precision, scale)
    if (short := decimals.short(precision, scale)) is None:
        return Recipe(codes, "{f}({0})", (decode,))
    # What money is mostly: not negative, and with few digits. Worked out without a call, which takes half the time.
    piece = (
        f"b'%d%b' % (d >> {short.shift}, {{g}}[d & {short.low}])"
        f" if 0 <= (d := integer({{0}}) - {short.sign}) < {short.most} else {{f}}({{0}})"
    )
    return Recipe(codes, piece, (decode, short.behind))


def _bit(column: ImageColumn) -> Recipe:
    width = (column.meta + 7) // 8
    if not 1 <= width <= 8:
        raise DecodeError("A table map names a BIT column of more than 64 bits, or none.")
    return Recipe(f"{width}s", "integer({0})")


# ------------------------------------------------------------------ texts and bytes


def base64(data: bytes) -> bytes:
    """Bytes as JSON carries them."""
    return binascii.b2a_base64(data, newline=False)


def _string(column: ImageColumn) -> Recipe:
    if column.collation == BINARY:
        width = column.meta
        return _variable(column, lambda data: base64(data.ljust(width, b"\0")))
    return _text(column)


def _text(column: ImageColumn) -> Recipe:
    return _variable(column, _characters(column))


def _characters(column: ImageColumn) -> Decode | None:
    """What makes UTF-8 or base64 of a text's bytes; None where they are UTF-8."""
    if column.collation is None:
        raise DecodeError("The character set of a column of a row image is not known.")
    return base64 if column.collation == BINARY else charsets.decoder(column.collation)


def _variable(column: ImageColumn, decode: Decode | None) -> Recipe:
    """Bytes behind their length."""
    codes, length, values = _length(column)
    if decode is None:
        return Recipe(codes, length=length, values=values)
    return Recipe(codes, "{f}({0})", (decode,), length, values)


def _length(column: ImageColumn) -> tuple[str, str, int]:
    """The length of a value: for texts as wide as the column's own needs, for blobs as the metadata say."""
    if column.type in {t.STRING, t.VARCHAR, t.VAR_STRING, t.VARCHAR_COMPRESSED}:
        return ("H" if column.meta > 255 else "B"), "{0}", 1
    if column.meta == 3:
        return "HB", "({0} | {1} << 16)", 2
    if column.meta not in _LENGTHS:
        raise DecodeError("A table map names a length of a length that no server uses.")
    return _LENGTHS[column.meta], "{0}", 1


_LENGTHS = {1: "B", 2: "H", 4: "I"}


def _compressed(column: ImageColumn) -> Recipe:
    """MariaDB's COMPRESSED columns come as they are stored."""
    decode = _characters(column)
    return _variable(column, lambda data: decode(uncompressed(data)) if decode else uncompressed(data))


def uncompressed(data: bytes) -> bytes:
    """A value of a compressed column.

    No bytes are the empty value. The first byte's high half is the method, 0 for as it is and 8 for zlib; then
    bit 3 says that zlib's own header and checksum are left out, and the rest is the number of bytes that follow
    and hold the length of the value, the highest first.

    Raises:
        DecodeError: It is of another method, damaged, longer than it says, or above :data:`UNCOMPRESSED_MAX`.
    """
    if not data or not data[0]:
        return data[1:]
    head = data[0]
    start = 1 + (head & 7)
    size = int.from_bytes(data[1:start])
    if head >> 4 != 8 or not 1 < start <= len(data) or not 0 < size <= UNCOMPRESSED_MAX:
        raise DecodeError("A compressed value in a row image has a header that fuagent does not know.")
    unpack = zlib.decompressobj(-zlib.MAX_WBITS if head & 8 else zlib.MAX_WBITS)
    try:
        text = unpack.decompress(data[start:], size) + unpack.decompress(unpack.unconsumed_tail, 1)
    except zlib.error:
        raise DecodeError("A compressed value in a row image is damaged.") from None
    if len(text) != size or not unpack.eof:
        raise DecodeError("A compressed value in a row image does not have the length it says.")
    return text


def _geometry(column: ImageColumn) -> Recipe:
    # Four bytes of SRID, then the WKB.
    return _variable(column, lambda data: base64(data[4:]))


def _json(column: ImageColumn) -> Recipe:
    return _variable(column, jsonb.text)


# ------------------------------------------------------------------ labels


def _labels(column: ImageColumn) -> tuple[bytes, ...]:
    if column.labels is None:
        raise DecodeError("The labels of an ENUM or SET column of a row image are not known.")
    return column.labels


def _enum(column: ImageColumn) -> Recipe:
    if column.meta not in {1, 2}:
        raise DecodeError("A table map names an ENUM of a width that no server uses.")
    # An index beyond the labels is an IndexError, which the reader turns into DecodeError.
    return Recipe("BH"[column.meta - 1], "{f}[{0}]", ((b"", *_labels(column)),))


def _set(column: ImageColumn) -> Recipe:
    if not 1 <= column.meta <= 8:
        raise DecodeError("A table map names a SET of a width that no server uses.")
    labels = _labels(column)

    def joined(data: bytes) -> bytes:
        bits = int.from_bytes(data, "little")
        if bits >> len(labels):
            raise DecodeError("A SET in a row image holds a label that the column does not have.")
        return b",".join(label for place, label in enumerate(labels) if bits >> place & 1)

    return Recipe(f"{column.meta}s", "{f}[{0}]", (Cached(joined, most=1_000),))


# ------------------------------------------------------------------ dates and times


def _fraction(column: ImageColumn, value: int, end: bytes = b"") -> tuple[str, str, object]:
    """The struct code of a fraction, which comes as value number ``value``, its expression and what that calls."""
    code = f"{temporal.fraction_width(column.meta)}s"
    if column.meta > 4:
        return code, f"{{h}}({{{value}}})", temporal.fractions(column.meta, end)
    return code, f"{{h}}[{{{value}}}]", temporal.kept_fractions(column.meta, end)


def _old(codes: str, decode: Callable[..., bytes | None]) -> Callable[[ImageColumn], Recipe]:
    """A format without fractions.

    MariaDB before 10.1, and later with ``mysql56_temporal_format=OFF``, writes fractions in one of its own that has
    the same types: whoever knows that a column has fraction digits says so in ``meta``.
    """

    def make(column: ImageColumn) -> Recipe:
        if column.meta:
            raise DecodeError(
                "A date or time with a fraction is kept in an old format of MariaDB.",
                fix="run ALTER TABLE … FORCE on its table, with mysql56_temporal_format = ON; then take a snapshot.",
            )
        return Recipe(codes, "{f}({0})", (decode,))

    return make


def _datetime(column: ImageColumn) -> Recipe:
    if not column.meta:
        piece = "d[0] + d[1][{1}][{2}] if (d := {f}[{0}]) else {g}({1}, {2})"
        return Recipe("3sBB", piece, (temporal.halves, temporal.dateless), values=3)
    code, text, fractions = _fraction(column, 3)
    piece = f"d[0] + d[1][{{1}}][{{2}}] + {text} if (d := {{f}}[{{0}}]) else {{g}}({{1}}, {{2}}, {text})"
    return Recipe("3sBB" + code, piece, (temporal.halves, temporal.dateless, fractions), values=4)


def _timestamp(column: ImageColumn) -> Recipe:
    moment = "{f}[d // 86400] + {g}[d % 86400]"
    if not column.meta:
        return Recipe("4s", moment + " if (d := integer({0})) else None", (temporal.days, temporal.seconds_utc))
    code, text, fractions = _fraction(column, 1, b"Z")
    # MariaDB takes fractions of the first second too; zeros alone are no time.
    piece = f"{moment} + {text} if (d := integer({{0}})) or any({{1}}) else None"
    return Recipe("4s" + code, piece, (temporal.days, temporal.seconds, fractions), values=2)


def _time(column: ImageColumn) -> Recipe:
    width = 3 + temporal.fraction_width(column.meta)
    return Recipe(f"{width}s", "{f}[{0}]", (temporal.kept_times(column.meta),))


# ------------------------------------------------------------------ types that the image does not tell


def vector(data: bytes) -> bytes:
    """A VECTOR, 32-bit floats, as a JSON array.

    Raises:
        DecodeError: It is no whole number of floats, or one is not finite.
    """
    if len(data) % 4:
        raise DecodeError("A VECTOR in a row image is no whole number of floats.")
    return b"[" + b",".join(map(single, struct.unpack(f"<{len(data) // 4}f", data))) + b"]"


def _address(data: bytes, width: int) -> bytes:
    """Row images leave out zero bytes at the end of what is sent as STRING."""
    if len(data) > width:
        raise DecodeError("A UUID or internet address in a row image is too long.")
    return data.ljust(width, b"\0")


def _uuid(data: bytes) -> bytes:
    # MariaDB keeps the parts in another order on disk; row images have that of the text.
    digits = _address(data, 16).hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])).encode()


def _inet4(data: bytes) -> bytes:
    return b"%d.%d.%d.%d" % tuple(_address(data, 4))


def inet6(data: bytes) -> bytes:
    """An IPv6 address as MariaDB writes it.

    The longest run of zero groups is ``::``, even one group alone, unlike RFC 5952. The last four bytes are
    written as IPv4 where six zero groups are before them, or five and ``ffff``.
    """
    groups = struct.unpack(">8H", _address(data, 16))
    run, start = max(((_zeros(groups, place), place) for place in range(8)), key=lambda found: (found[0], -found[1]))
    if start == 0 and (run == 6 or (run == 5 and groups[5] == 0xFFFF)):
        return (b"::" if run == 6 else b"::ffff:") + b"%d.%d.%d.%d" % tuple(data.ljust(16, b"\0")[12:])
    texts = [b"%x" % group for group in groups]
    if not run:
        return b":".join(texts)
    return b"::".join((b":".join(texts[:start]), b":".join(texts[start + run :])))


def _zeros(groups: tuple[int, ...], start: int) -> int:
    return next((place for place in range(start, 8) if groups[place]), 8) - start


_DECLARED: dict[str | None, Decode] = {"uuid": _uuid, "inet4": _inet4, "inet6": inet6, "vector": vector}


_TYPES: dict[int, Callable[[ImageColumn], Recipe]] = {
    t.TINY: _whole("b", "B"),
    t.SHORT: _whole("h", "H"),
    t.INT24: _whole("Hb", "HB", "{0} | {1} << 16", 2),
    t.LONG: _whole("i", "I"),
    t.LONGLONG: _whole("q", "Q"),
    t.FLOAT: lambda _: Recipe("f", "{f}({0})", (single,)),
    t.DOUBLE: lambda _: Recipe("d"),
    t.NEWDECIMAL: _decimal,
    t.BIT: _bit,
    t.YEAR: lambda _: Recipe("B", "{0} and {0} + 1900"),
    t.DATE: lambda _: Recipe("3s", "{f}[{0}]", (temporal.dates,)),
    t.NEWDATE: lambda _: Recipe("3s", "{f}[{0}]", (temporal.dates,)),
    t.TIME: _old("3s", temporal.old_time),
    t.DATETIME: _old("Q", temporal.old_datetime),
    t.TIMESTAMP: _old("I", temporal.old_timestamp),
    t.TIME2: _time,
    t.DATETIME2: _datetime,
    t.TIMESTAMP2: _timestamp,
    t.STRING: _string,
    t.VARCHAR: _text,
    t.VAR_STRING: _text,
    **dict.fromkeys(t.BLOBS, _text),
    t.BLOB_COMPRESSED: _compressed,
    t.VARCHAR_COMPRESSED: _compressed,
    t.GEOMETRY: _geometry,
    t.JSON: _json,
    t.VECTOR: partial(_variable, decode=vector),
    t.ENUM: _enum,
    t.SET: _set,
}
