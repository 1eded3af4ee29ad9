"""The messages of pgoutput that hold rows, by code generated for each table.

A tuple is the number of its columns and, for each, ``n`` (NULL), ``u`` (a large value that the update left alone, and
that is not in the log) or ``t`` with a length and the value's text. Binary values (``b``) were not asked for. Source:
https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html, TupleData

The time is spent here, so a reader goes over the frames themselves (``frames.py``) and takes all that
follow one another and are alike in one call. The text of the code is made of numbers alone.

Three things save most. The head of a frame, its message and its first tuple, thirty-eight bytes that but for length and
positions are the same in all frames that are alike, is unpacked and compared as four numbers. Kind and length of a
value are unpacked together, also where a NULL has no length: what that takes from behind is never looked at, and a
frame with too little behind it is read in a copy. And no value is checked against the end of its frame: lengths have
no sign, so the place only grows, and whatever lies beyond the end shows by where the last value ends.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from fuagent.errors import DecodeError
from fuagent.model import ABSENT, Row
from fuagent.wire.postgres.frames import COPY_DATA, LENGTH_AT, MESSAGE_AT, PAYLOAD_AT, XLOG_DATA

Inserts = Callable[[bytes, int, int], tuple[list[Row], int]]
"""From data, the place of the first frame and the end of the last: the rows, and the place of the first frame that is not such."""
Updates = Callable[[bytes, int, int], tuple[list[Row | None], list[Row], int]]
"""From the same: the rows before, None where the log does not say, and as they are now; and that place."""
Deletes = Callable[[bytes, int, int], tuple[list[Row], int]]
"""From the same: the rows that are gone, and that place."""

_TOP = struct.Struct(">BIB24xQ")
"""A frame's type and length, ``w``, and behind three positions the message's type, table, kind and width of tuple."""
_RELATION_BITS = 24
"""Of the last of these numbers, the bits behind the table's."""
_HEAD = struct.Struct(">BI")
_LENGTH = struct.Struct(">I")
_PADDING = b"\0\0\0\0"
_TEXT, _NULL, _SAME = b"tnu"


def compile_inserts(relation: int, width: int) -> Inserts:
    """Make the reader of inserts into one table.

    Args:
        relation: The number the stream calls it by.
        width: How many columns it has there.

    Raises:
        DecodeError: the reader does, where a frame of this kind and table makes no sense.
    """
    code = _Code(b"I", relation, width)
    code.branch(b"N", [])
    return code.compiled([*code.values("a"), f"rows({code.row('a')})"], "rows")


def compile_updates(relation: int, width: int, key: Sequence[bool], *, whole: bool = True) -> Updates:
    """Make the reader of updates.

    What an update left alone is taken from the old row where the log holds all of it, and is ABSENT otherwise.

    Args:
        relation: As for :func:`compile_inserts`.
        width: Likewise.
        key: Which columns an old key holds; of the others it says nothing.
        whole: Whether a whole old row is whole. One of a partition may say NULL for what its own identity leaves out.

    Raises:
        DecodeError: As for :func:`compile_inserts`.
    """
    code = _Code(b"U", relation, width)
    behind = ["if data[p : p + 3] != NEW: wrong()", "p += 3", f"befores({code.row('b')})"]
    code.branch(b"N", ["old = False; befores(None)"])
    code.branch(b"O", [f"old = {whole}", *code.values("b"), *behind])
    code.branch(b"K", ["old = False", *code.values("b", key), *behind])
    return code.compiled(
        [*code.values("a", same="b{} if old else ABSENT"), f"afters({code.row('a')})"], "befores", "afters"
    )


def compile_deletes(relation: int, width: int, key: Sequence[bool]) -> Deletes:
    """Make the reader of deletes; arguments and errors as for :func:`compile_updates`."""
    code = _Code(b"D", relation, width)
    code.branch(b"O", code.values("b"))
    code.branch(b"K", code.values("b", key))
    return code.compiled([f"rows({code.row('b')})"], "rows")


# ------------------------------------------------------------------ generated code


class _Code:
    """The reader of one kind of message of one table, as it grows."""

    def __init__(self, kind: bytes, relation: int, width: int) -> None:
        self._message = kind + relation.to_bytes(4)
        self._width = width
        self._branches: list[str] = []

    def row(self, name: str) -> str:
        """The display of a row, from the names of its values."""
        return f"({''.join(f'{name}{place}, ' for place in range(self._width))})"

    def branch(self, letter: bytes, lines: Iterable[str]) -> None:
        """What is done where the first tuple is of this kind, from behind its head."""
        top = int.from_bytes(self._message + letter + self._width.to_bytes(2))
        self._branches += [f"{'el' if self._branches else ''}if top == {top}:", f"    p += {_TOP.size}"]
        self._branches += _indented(lines)

    def values(self, name: str, held: Sequence[bool] | None = None, same: str = "ABSENT") -> Iterator[str]:
        """Read the values of a tuple; what is not ``held`` is ABSENT whatever stands there."""
        for place in range(self._width):
            value = f"{name}{place}"
            yield "k, n = head(data, p)"
            yield f"if k == {_TEXT}: p += {_HEAD.size}; {value} = data[p : (p := p + n)]"
            yield f"elif k == {_NULL}: {value} = None; p += 1"
            yield f"elif k == {_SAME}: {value} = {same.format(place)}; p += 1"
            yield "else: wrong()"
            if held is not None and not held[place]:
                yield f"{value} = ABSENT"

    def compiled(self, lines: Iterable[str], *lists: str) -> Callable[[bytes, int, int], Any]:
        """The reader, which ends each frame with these lines and appends to lists of these names."""
        text = "\n".join(
            (
                "def read(data, p, end):",
                *(f"    l_{name} = []; {name} = l_{name}.append" for name in lists),
                f"    last = end - {_TOP.size}; safe = min(end, len(data) - {len(_PADDING)}); moved = 0",
                "    while p <= last:",
                "        k, n, w, top = unpack(data, p); stop = p + 1 + n",
                "        if stop > safe:",
                "            if stop > end: break",
                "            data, moved, last, p, stop = data[p:stop] + PADDING, p, 0, 0, stop - p",
                f"        if k != {COPY_DATA[0]} or w != {XLOG_DATA}: break",
                *_indented(_indented(self._branches)),
                "        else: other(top); break",
                *_indented(_indented(lines)),
                "        if p != stop: wrong()",
                f"    return {', '.join(f'l_{name}' for name in lists)}, p + moved",
            )
        )
        number = int.from_bytes(self._message)

        def other(top: int) -> None:
            if top >> _RELATION_BITS == number:
                _wrong()

        space: dict[str, Any] = {
            "NEW": b"N" + self._width.to_bytes(2),
            "PADDING": _PADDING,
            "ABSENT": ABSENT,
            "unpack": _TOP.unpack_from,
            "head": _HEAD.unpack_from,
            "wrong": _wrong,
            "other": other,
        }
        exec(compile(text, "<rows>", "exec"), space)  # noqa: S102 - a text of our own making
        return _guarded(space["read"], self._message)


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"    {line}" for line in lines)


def _wrong() -> None:
    raise DecodeError("A row of the replication stream makes no sense.")


def _guarded(read: Callable[[bytes, int, int], Any], message: bytes) -> Callable[[bytes, int, int], Any]:
    """Whatever goes wrong in generated code is the data's fault. No value of a row may stand in the error."""

    def guarded(data: bytes, start: int, end: int) -> Any:
        if not 0 <= start <= end <= len(data):
            raise DecodeError("A run of rows of the replication stream ends beyond what was received.")
        try:
            found = read(data, start, end)
        except (struct.error, LookupError):
            raise DecodeError("A row of the replication stream ends too early.") from None
        if 0 < end - found[-1] < _TOP.size:
            _check_short(data, found[-1], end, message)
        return found

    return guarded


def _check_short(data: bytes, place: int, end: int, message: bytes) -> None:
    """A whole frame of this kind and table, too short for a tuple, must not be left to be read again and again."""
    if end - place < PAYLOAD_AT:
        return
    stop = place + 1 + _LENGTH.unpack_from(data, place + LENGTH_AT)[0]
    if stop <= end and data[place + MESSAGE_AT : stop].startswith(message):
        _wrong()
