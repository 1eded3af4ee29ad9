"""What the text of a value becomes: one codec for rows of the stream and of COPY, which are written by the same functions.

The session that writes them has DateStyle ISO, IntervalStyle iso_8601, TimeZone UTC, extra_float_digits 1 and
bytea_output hex. Then most texts are pieces already (``encode/pieces.py``): digits, ISO 8601, labels. Source:
https://www.postgresql.org/docs/current/datatype.html

What ISO 8601 cannot say stays as the server writes it: infinity, years before Christ (``0044-03-15 00:00:00 BC``),
and years of more than four digits.
"""

from __future__ import annotations

from binascii import b2a_base64, unhexlify
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

import orjson

from fuagent.errors import DecodeError
from fuagent.model import Kind
from fuagent.wire.postgres import types as t
from fuagent.wire.postgres.arrays import array
from fuagent.wire.postgres.types import Type, resolved

Convert = Callable[[bytes], bytes]
Many = Callable[[Sequence[bytes]], Sequence[bytes]]

_BETWEEN = b"\x7f"
"""Stands between joined texts: no date has it."""
_NINE = ord("9")


class Treatment(NamedTuple):
    """What a type is, and how its text becomes a piece: not at all, one by one, or all of a column at once.

    ``many`` gives what ``convert`` gives for each, and raises what it raises.
    """

    kind: Kind
    convert: Convert | None = None
    many: Many | None = None


def treatment(type_: Type, types: Mapping[int, Type]) -> Treatment:
    """How values of a type are treated; a type that nobody knows keeps its text.

    The functions raise DecodeError where a text is none of its type.

    Args:
        type_: The type of a column.
        types: What it is made of, by OID: a domain's base, an array's elements, and what these are made of.
    """
    plain = resolved(type_, types)
    if plain.kind == "e":
        return Treatment(Kind.ENUM)
    if plain.kind != "b":
        return Treatment(Kind.OTHER)
    if plain.category == "A" and plain.element in types:
        write = _element(types[plain.element], types)
        delimiter = plain.delimiter.encode()
        return Treatment(Kind.JSON, lambda text: array(text, write, delimiter))
    # An extension's types have no fixed number; citext is text in every way but how it compares.
    return _BUILT_IN.get(plain.oid) or (_TEXT if plain.name == "citext" else Treatment(Kind.OTHER))


_BARE = frozenset({Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN, Kind.JSON})
"""Their pieces are JSON as they are."""


def _element(type_: Type, types: Mapping[int, Type]) -> Convert:
    """How an element of an array is written as JSON."""
    kind, convert, _ = treatment(type_, types)
    if kind in _BARE:
        return convert or (lambda text: text)
    if convert is None:
        return _string
    piece = convert
    return lambda text: _string(piece(text))


def _string(text: bytes) -> bytes:
    return orjson.dumps(text.decode(errors="replace"))


# ------------------------------------------------------------------ conversions

_WORDS = {b"t": b"true", b"f": b"false"}


def _boolean(text: bytes) -> bytes:
    try:
        return _WORDS[text]
    except KeyError:
        raise _no_boolean() from None


def _booleans(texts: Sequence[bytes]) -> list[bytes]:
    try:
        return list(map(_WORDS.__getitem__, texts))
    except KeyError:
        raise _no_boolean() from None


def _no_boolean() -> DecodeError:
    return DecodeError("A value of type boolean is neither t nor f.")


def _float(text: bytes) -> bytes:
    """JSON has no number for NaN and the infinities: they come in quotes."""
    return text if text and text[-1] <= _NINE else b'"%b"' % text


def _floats(texts: Sequence[bytes]) -> Sequence[bytes]:
    joined = b",".join(texts)
    return [_float(text) for text in texts] if b"N" in joined or b"y" in joined else texts


def _binary(text: bytes) -> bytes:
    return _binaries([text])[0]


def _binaries(texts: Sequence[bytes]) -> list[bytes]:
    try:
        return [b2a_base64(unhexlify(text[2:] if text[:2] == b"\\x" else b"?"), newline=False) for text in texts]
    except ValueError:
        raise DecodeError("A value of type bytea is not in hexadecimal digits.") from None


def _is_iso(text: bytes) -> bool:
    return text[4:5] == b"-" and text[-1:] != b"C"


def _moment(text: bytes) -> bytes:
    """``2024-01-02 03:04:05.6`` with a T."""
    return text.replace(b" ", b"T") if _is_iso(text) else text


def _moments(texts: Sequence[bytes]) -> Sequence[bytes]:
    joined = _BETWEEN.join(texts)
    found = joined.replace(b" ", b"T").split(_BETWEEN)
    if b"C" in joined or len(found) != len(texts) or not _four_digits(texts):
        return [_moment(text) for text in texts]
    return found


def _instant(text: bytes) -> bytes:
    """The same with a zone, which is ``+00`` in a session of UTC."""
    return text[:-3].replace(b" ", b"T") + b"Z" if text[-3:] == b"+00" and _is_iso(text) else text


def _instants(texts: Sequence[bytes]) -> Sequence[bytes]:
    joined = _BETWEEN.join(texts) + _BETWEEN
    zoned = joined.replace(b"+00" + _BETWEEN, b"Z" + _BETWEEN)
    found = zoned[:-1].replace(b" ", b"T").split(_BETWEEN)
    zones = (len(joined) - len(zoned)) // 2
    if not zones == len(found) == len(texts) or not _four_digits(texts):
        return [_instant(text) for text in texts]
    return found


_fifth = itemgetter(4)
_DASH = {ord("-")}


def _four_digits(texts: Sequence[bytes]) -> bool:
    """Whether all of them, of which there are some, begin with a year of four digits."""
    try:
        return set(map(_fifth, texts)) == _DASH
    except IndexError:
        return False


_TEXT = Treatment(Kind.TEXT)
_BUILT_IN: dict[int, Treatment] = {
    t.BOOL: Treatment(Kind.BOOLEAN, _boolean, _booleans),
    **dict.fromkeys((t.INT2, t.INT4, t.INT8, t.OID), Treatment(Kind.INTEGER)),
    t.NUMERIC: Treatment(Kind.DECIMAL),
    **dict.fromkeys((t.FLOAT4, t.FLOAT8), Treatment(Kind.FLOAT, _float, _floats)),
    **dict.fromkeys((t.CHAR, t.NAME, t.TEXT, t.BPCHAR, t.VARCHAR), _TEXT),
    t.BYTEA: Treatment(Kind.BINARY, _binary, _binaries),
    t.DATE: Treatment(Kind.DATE),
    t.TIME: Treatment(Kind.TIME),
    t.TIMESTAMP: Treatment(Kind.DATETIME, _moment, _moments),
    t.TIMESTAMPTZ: Treatment(Kind.TIMESTAMP, _instant, _instants),
    t.INTERVAL: Treatment(Kind.INTERVAL),
    **dict.fromkeys((t.JSON, t.JSONB), Treatment(Kind.JSON)),
}
