"""Rows in the text format of COPY.

A line is a row, a tab stands between its values, ``\\N`` is NULL, and a backslash escapes what would be
taken for one of these. Source: https://www.postgresql.org/docs/current/sql-copy.html, "Text Format"

Lines are cut many at a time: their ends become values of their own, so that a row is every so many values of one
long list, and all rows are of the right width if the ends are where they belong. Where there are escapes, lines are
cut at two bytes that no UTF-8 text holds, so that all escapes can be undone beforehand, in one go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fuagent.errors import DecodeError
from fuagent.model import Row

_NULL = b"\\N"
_SIGNS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_KEPT = {**_SIGNS, b"N": _NULL}
_ESCAPE = re.compile(rb"\\(?:(?P<octal>[0-7]{1,3})|x(?P<hexadecimal>[0-9A-Fa-f]{1,2})|(?P<other>.))", re.DOTALL)
_LINE, _TAB, _BACKSLASH = b"\xff", b"\xfe", b"\xfd"
"""Stand for what they are called. UTF-8 has none of them (RFC 3629 section 1); other encodings may."""
_AT_ONCE = 1 << 16
"""Bytes; the values of more lines would leave the processor's cache before they become rows."""


def split(data: bytes, rest: bytes) -> tuple[bytes, bytes]:
    """Cut at the last end of a line: whole lines, and what belongs to the next ones. ``rest`` was left last time."""
    end = data.rfind(b"\n") + 1
    return (rest + data[:end], data[end:]) if end else (b"", rest + data)


def rows(data: bytes, width: int) -> list[Row]:
    """Whole lines as rows of ``width`` values.

    Raises:
        DecodeError: a line holds another number of values, or the last one has no end.
    """
    if data and data[-1:] != b"\n":
        raise DecodeError("A row of COPY's text has no end.")
    if not width:
        return _empty(data)
    found: list[Row] = []
    for lines in _some_at_once(data):
        found += _rows(lines, width)
    return found


def _empty(data: bytes) -> list[Row]:
    if data.count(b"\n") != len(data):
        raise _wrong_width()
    return [()] * len(data)


def _some_at_once(data: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        end = data.find(b"\n", start + _AT_ONCE) + 1 or len(data)
        yield data[start:end]
        start = end


def _rows(data: bytes, width: int) -> list[Row]:
    backslashes = data.count(b"\\")
    if not backslashes:
        return _cut(data, width, 0)
    nulls = data.count(_NULL)
    if backslashes == nulls:
        return _cut(data, width, nulls)
    if _LINE in data or _TAB in data or _BACKSLASH in data:
        return _one_by_one(data, width)
    # Pairs of backslashes go first: what is left of them begins an escape, or is NULL.
    plain = data.replace(b"\\\\", _BACKSLASH)
    if _BACKSLASH + b"N" in plain:  # a text that would look like NULL
        return _one_by_one(data, width)
    nulls = plain.count(_NULL)
    if plain.count(b"\\") == nulls:
        return _cut(plain.replace(_BACKSLASH, b"\\"), width, nulls)
    first, *others = plain.replace(b"\n", _LINE).replace(b"\t", _TAB).split(b"\\")
    try:
        plain = first + b"".join([_KEPT[part[:1]] + part[1:] for part in others])
    except KeyError:  # an escape that servers do not write
        return _one_by_one(data, width)
    return _cut(plain.replace(_BACKSLASH, b"\\"), width, nulls, _LINE, _TAB)


def _cut(data: bytes, width: int, nulls: int, line: bytes = b"\n", tab: bytes = b"\t") -> list[Row]:
    values: list[Any] = data.replace(line, tab + line + tab).split(tab)
    lines = data.count(line)
    if len(values) != lines * (width + 1) + 1 or values[width :: width + 1].count(line) != lines:
        raise _wrong_width()
    values.pop()
    del values[width :: width + 1]
    place = -1
    try:
        for _ in range(nulls):
            place = values.index(_NULL, place + 1)
            values[place] = None
    except ValueError:  # inside a text it is none
        pass
    return list(zip(*[iter(values)] * width, strict=True))


def _wrong_width() -> DecodeError:
    return DecodeError("A row of COPY's text has another number of values than its table.")


# ------------------------------------------------------------------ slow, and for whatever the format allows


def _one_by_one(data: bytes, width: int) -> list[Row]:
    found: list[Row] = [tuple([_value(text) for text in line.split(b"\t")]) for line in data[:-1].split(b"\n")]
    if set(map(len, found)) != {width}:
        raise _wrong_width()
    return found


def _value(text: bytes) -> bytes | None:
    if text == _NULL:
        return None
    return _ESCAPE.sub(_meant, text) if b"\\" in text else text


def _meant(match: re.Match[bytes]) -> bytes:
    octal, hexadecimal, other = match.groups()
    if octal is not None:
        return bytes([int(octal, 8) & 0xFF])
    if hexadecimal is not None:
        return bytes([int(hexadecimal, 16)])
    return _SIGNS.get(other, other)
