"""Rows in the text format of COPY.

A line is a row, a tab stands between its values, ``\\N`` is NULL, and a backslash escapes what would be
taken for one of these. Source: https://www.postgresql.org/docs/current/sql-copy.html, "Text Format"

Lines are cut many at a time: their ends become values of their own, so that a row is every so many values of one
long list, and all rows are of the right width if the ends are where they belong. Where there are escapes, lines are
cut at two bytes that no UTF-8 text holds, so that all escapes can be undone beforehand, in one go.
"""

from __future__ import annotations

import re
from typing import Any, cast

from fuagent.errors import DecodeError
from fuagent.model import Row
from fuagent.model_rows import Columns

_NULL = b"\\N"
_SIGNS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_KEPT = {**_SIGNS, b"N": _NULL}
_ESCAPE = re.compile(rb"\\(?:(?P<octal>[0-7]{1,3})|x(?P<hexadecimal>[0-9A-Fa-f]{1,2})|(?P<other>.))", re.DOTALL)
_LINE, _TAB, _BACKSLASH = b"\xff", b"\xfe", b"\xfd"
"""Stand for what they are called. UTF-8 has none of them (RFC 3629 section 1); other encodings may."""


def rows(data: bytes, width: int) -> list[Row]:
    """Whole lines as rows; see :func:`columns`."""
    return [cast("Row", row) for row in columns(data, width)]


def columns(data: bytes, width: int) -> Columns:
    """Whole lines as rows of ``width`` values: bytes, or None for NULL.

    It is at its best with as many as stay in the processor's cache until they are events.

    Raises:
        DecodeError: a line holds another number of values, or the last one has no end.
    """
    if data and data[-1:] != b"\n":
        raise DecodeError("A row of COPY's text has no end.")
    return _columns(data, width) if data and width else _empty(data)


def _empty(data: bytes) -> Columns:
    if data.count(b"\n") != len(data):
        raise _wrong_width()
    return Columns((), len(data))


def _columns(data: bytes, width: int) -> Columns:
    # Not count(): it is slow for two bytes.
    behind = [part[:1] for part in data.split(b"\\")[1:]]
    if not set(behind) - {b"N"}:
        return _cut(data, width, len(behind)) or _one_by_one(data, width)
    if _LINE in data or _TAB in data or _BACKSLASH in data:
        return _one_by_one(data, width)
    # Pairs of backslashes go first: what is left of them begins an escape, or is NULL.
    plain = data.replace(b"\\\\", _BACKSLASH)
    if _BACKSLASH + b"N" in plain:  # a text that would look like NULL
        return _one_by_one(data, width)
    first, *others = plain.replace(b"\n", _LINE).replace(b"\t", _TAB).split(b"\\")
    nulls = sum(part[:1] == b"N" for part in others)
    try:
        plain = first + b"".join([_KEPT[part[:1]] + part[1:] for part in others])
    except KeyError:  # an escape that servers do not write
        return _one_by_one(data, width)
    return _cut(plain.replace(_BACKSLASH, b"\\"), width, nulls, _LINE, _TAB) or _one_by_one(data, width)


def _cut(data: bytes, width: int, nulls: int, line: bytes = b"\n", tab: bytes = b"\t") -> Columns | None:
    """Values by column; None where not every sign of NULL is a value of its own."""
    values = data.replace(line, tab + line + tab).split(tab)
    lines = data.count(line)
    if len(values) != lines * (width + 1) + 1 or values[width :: width + 1].count(line) != lines:
        raise _wrong_width()
    values.pop()
    found: list[list[Any]] = []
    for place in range(width):
        column: list[Any] = values[place :: width + 1]
        here = column.count(_NULL) if nulls else 0
        if here:
            column = [None if value == _NULL else value for value in column]
            nulls -= here
        found.append(column)
    return None if nulls else Columns(found, lines)


def _wrong_width() -> DecodeError:
    return DecodeError("A row of COPY's text has another number of values than its table.")


# ------------------------------------------------------------------ slow, and for whatever the format allows


def _one_by_one(data: bytes, width: int) -> Columns:
    found = [[_value(text) for text in line.split(b"\t")] for line in data[:-1].split(b"\n")]
    if set(map(len, found)) != {width}:
        raise _wrong_width()
    return Columns(list(map(list, zip(*found, strict=True))), len(found))


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
