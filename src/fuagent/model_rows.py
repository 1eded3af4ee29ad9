"""Rows as whoever has many of them holds them: as one text, or column by column. Imports nothing of ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any, overload


class Texts(Sequence[bytes]):
    """Rows as one JSON text, ``{…},{…}``: cut apart only where somebody asks for a part.

    What is sent is the joined text again, so most rows are never cut at all. There is at least one row.
    """

    __slots__ = ("_count", "_parts", "joined")

    BORDER = b"},{"
    """Where two rows meet; whoever makes a Texts has seen that it stands nowhere else in the text."""

    def __init__(self, joined: bytes, count: int) -> None:
        self.joined = joined
        self._count = count
        self._parts: list[bytes] | None = None

    @property
    def size(self) -> int:
        """Bytes of the rows, commas not counted."""
        return len(self.joined) - (self._count - 1)

    def _cut(self) -> list[bytes]:
        if self._parts is None:
            self._parts = [b"{%b}" % part for part in self.joined[1:-1].split(self.BORDER)]
        return self._parts

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._cut() == list(other)

    def __hash__(self) -> int:
        return hash(tuple(self._cut()))

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._cut())

    @overload
    def __getitem__(self, place: int) -> bytes: ...

    @overload
    def __getitem__(self, place: slice) -> list[bytes]: ...

    def __getitem__(self, place: int | slice) -> bytes | list[bytes]:
        return self._cut()[place]


class Columns(Sequence[tuple[object, ...]]):
    """Rows that are held column by column, as whoever works on all values of a column wants them.

    Each of ``columns`` is as long as there are rows, which are told beside: a table may have no column at all.
    """

    __slots__ = ("_count", "columns")

    def __init__(self, columns: Sequence[Sequence[Any]], count: int) -> None:
        self.columns = columns
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[object, ...]]:
        return zip(*self.columns, strict=True) if self.columns else repeat((), self._count)

    @overload
    def __getitem__(self, place: int) -> tuple[object, ...]: ...

    @overload
    def __getitem__(self, place: slice) -> Columns: ...

    def __getitem__(self, place: int | slice) -> tuple[object, ...] | Columns:
        if isinstance(place, slice):
            return Columns([column[place] for column in self.columns], len(range(self._count)[place]))
        at = range(self._count)[place]
        return tuple(column[at] for column in self.columns)
