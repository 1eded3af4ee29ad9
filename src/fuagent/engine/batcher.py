"""Rows in, parcels out: what goes into one POST.

A parcel holds consecutive rows in the order they came. It ends where ``batch_size``
rows or ``batch_bytes`` are reached, where the route changes, and where a table's
definition changes. Nothing waits for a parcel to fill: whoever is ready to send
takes what is there. Cutting a parcel is slicing; no row is written twice. Slicing takes its time
all the same, so a parcel ends in front of Rows that would have to be cut where it is half full, or
begins with what others were cut off from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from fuagent.model import Place, Rows
from fuagent.model_rows import Texts


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows ``low`` to ``high`` (exclusive) of one Rows."""

    rows: Rows
    low: int
    high: int
    size: int
    """Bytes of its rows; counted once, because it is asked for at every step."""

    @classmethod
    def of(cls, rows: Rows, low: int, high: int) -> Piece:
        """That part of ``rows``."""
        texts = rows.rows
        if isinstance(texts, Texts) and high - low == len(texts):
            return cls(rows, low, high, texts.size)
        return cls(rows, low, high, sum(map(len, texts[low:high])))

    @property
    def index(self) -> int:
        """The index of its last row; 0 where rows carry none."""
        return self.rows.indexes[self.high - 1] if self.rows.indexes and self.high else 0

    @property
    def whole(self) -> bool:
        """True if it reaches the end of its Rows."""
        return self.high == len(self.rows.rows)

    @property
    def place(self) -> Place:
        """Where to go on behind it: the end of its Rows, or its start minus what was delivered."""
        if self.whole and self.rows.boundary:
            return self.rows.end
        return replace(self.rows.start, resume_after=max(self.index, self.rows.start.resume_after))

    def events(self) -> Sequence[bytes]:
        """Its rows as JSON text."""
        if self.low == 0 and self.whole:
            return self.rows.rows
        return self.rows.rows[self.low : self.high]


@dataclass(frozen=True, slots=True)
class Parcel:
    """What one POST carries, and where that leaves the sync."""

    pieces: tuple[Piece, ...]

    @property
    def count(self) -> int:
        """Rows in it."""
        return sum(piece.high - piece.low for piece in self.pieces)

    @property
    def size(self) -> int:
        """Bytes of its rows, commas not counted."""
        return sum(piece.size for piece in self.pieces)

    @property
    def table(self) -> str:
        """The table of its first row; all share a route."""
        first = self.first
        return first.table if first else ""

    @property
    def index(self) -> int:
        """The highest index in it; 0 where no row carries one."""
        return max(piece.index for piece in self.pieces)

    @property
    def place(self) -> Place:
        """Where to go on once it is delivered."""
        return self.pieces[-1].place

    @property
    def boundary(self) -> bool:
        """True if no transaction is cut behind it."""
        last = self.pieces[-1]
        return last.whole and last.rows.boundary

    @property
    def left_out(self) -> int:
        """Row images that settings kept back, counted with the piece that ends their Rows."""
        return sum(piece.rows.left_out for piece in self.pieces if piece.whole)

    @property
    def refused(self) -> str:
        """Why its one row cannot be sent; empty for rows that can."""
        first = self.first
        return first.refused if first else ""

    @property
    def first(self) -> Rows | None:
        """The Rows its first row is of."""
        return next((piece.rows for piece in self.pieces if piece.high > piece.low), None)

    def events(self) -> Sequence[bytes]:
        """Its rows as JSON text, in order; still joined where no piece had to be cut."""
        each = [events for piece in self.pieces if (events := piece.events())]
        if len(each) < 2:
            return each[0] if each else ()
        joined = [events.joined for events in each if isinstance(events, Texts)]
        if len(joined) == len(each):
            return Texts(b",".join(joined), self.count)
        return list(chain.from_iterable(each))

    def cut(self, count: int) -> tuple[Parcel, Parcel]:
        """The first ``count`` rows, and the rest."""
        head: list[Piece] = []
        tail: list[Piece] = []
        for piece in self.pieces:
            middle = min(piece.high, piece.low + max(count, 0))
            if middle > piece.low or (piece.low == piece.high and count > 0):
                head.append(Piece.of(piece.rows, piece.low, middle))
            if middle < piece.high or (piece.low == piece.high and count <= 0):
                tail.append(Piece.of(piece.rows, middle, piece.high))
            count -= piece.high - piece.low
        return Parcel(tuple(head)), Parcel(tuple(tail))


class SizeLimit:
    """How many bytes a batch may have: as configured, halved by a 413, probed upwards again.

    ``probe_after`` acknowledged batches at the reduced size are taken as a sign
    to try a size half again as large.
    """

    def __init__(self, configured: int, probe_after: int = 100) -> None:
        self._configured = configured
        self._probe_after = probe_after
        self._good = 0
        self.value = configured

    def refused(self, size: int) -> None:
        """The service found ``size`` bytes too large."""
        self.value = max(1, min(self.value, size) // 2)
        self._good = 0

    def accepted(self) -> None:
        """The service took a batch."""
        if self.value == self._configured:
            return
        self._good += 1
        if self._good >= self._probe_after:
            self.value = min(self._configured, self.value + self.value // 2 + 1)
            self._good = 0


def _ends(piece: Piece) -> bool:
    """Whether a transaction ends with this piece."""
    return piece.whole and piece.rows.boundary


class Batcher:
    """Holds what was read and not yet taken.

    Args:
        rows: Most rows in a parcel.
        limit: Most bytes in a parcel; a single row may be larger.
        overhead: Bytes of a body beside its rows.
        route: Gives the route of a table; parcels do not mix routes.
        whole_transactions: Whether a parcel ends where a transaction does, as far as one fits into it.
    """

    def __init__(
        self,
        rows: int,
        limit: SizeLimit,
        overhead: int,
        route: Callable[[str], str],
        *,
        whole_transactions: bool = False,
    ) -> None:
        self._most = rows
        self._whole = whole_transactions
        self._limit = limit
        self._overhead = overhead
        self._route = route
        self._waiting: deque[Piece] = deque()
        self._rows = 0
        self._bytes = 0

    @property
    def full(self) -> bool:
        """True when enough is waiting that whoever sends never has to wait for the next parcel."""
        return self._rows >= 4 * self._most or self._bytes >= 2 * self._limit.value

    @property
    def empty(self) -> bool:
        """True when nothing is waiting, neither rows nor progress."""
        return not self._waiting

    def add(self, rows: Rows) -> None:
        """Take in what the source gave; progress without rows counts as well."""
        last = self._waiting[-1] if self._waiting else None
        if not rows.rows and last and not last.rows.rows:
            self._waiting.pop()
            rows = replace(rows, start=last.rows.start, left_out=rows.left_out + last.rows.left_out)
        piece = Piece.of(rows, 0, len(rows.rows))
        self._waiting.append(piece)
        self._rows += piece.high
        self._bytes += piece.size

    def take(self) -> Parcel | None:
        """The next parcel, or None when nothing is waiting. A parcel may hold no row, only progress."""
        if not self._waiting or (self._whole and not self.full and not self._has_end):
            return None
        pieces = self._next()
        if self._whole:
            self._back_to_an_end(pieces)
        return Parcel(tuple(pieces))

    @property
    def _has_end(self) -> bool:
        """Whether a transaction ends in what is waiting."""
        return any(piece.rows.boundary for piece in self._waiting)

    def _back_to_an_end(self, pieces: list[Piece]) -> None:
        """Give back what stands behind the last transaction end; all of it is taken where there is none."""
        if not any(_ends(piece) for piece in pieces):
            return
        while not _ends(pieces[-1]):
            piece = pieces.pop()
            rest = self._waiting[0] if self._waiting else None
            if rest is not None and rest.rows is piece.rows:
                self._waiting.popleft()
                self._taken(rest.high - rest.low, rest.size)
                piece = Piece(piece.rows, piece.low, rest.high, piece.size + rest.size)
            self._waiting.appendleft(piece)
            self._taken(piece.low - piece.high, -piece.size)

    def _next(self) -> list[Piece]:
        pieces: list[Piece] = []
        versions: dict[str, int] = {}
        room = self._most
        space = self._limit.value - self._overhead
        while self._waiting and self._joins(versions):
            if versions and self._better_whole(pieces, room, space):
                break
            piece = self._waiting.popleft()
            fits, taken = self._fit(piece, room, space, first=not versions)
            if fits > piece.low or piece.high == piece.low:
                pieces.append(piece if fits == piece.high else Piece(piece.rows, piece.low, fits, taken))
            if fits > piece.low:
                versions[piece.rows.table] = piece.rows.version
            if fits < piece.high:
                self._waiting.appendleft(Piece(piece.rows, fits, piece.high, piece.size - taken))
                self._taken(fits - piece.low, taken)
                break
            room -= fits - piece.low
            space -= taken + (fits - piece.low)
            self._taken(fits - piece.low, taken)
            if piece.rows.refused:
                break  # it goes nowhere, and alone
        return pieces

    def _taken(self, rows: int, size: int) -> None:
        self._rows -= rows
        self._bytes -= size

    def _joins(self, versions: dict[str, int]) -> bool:
        """Whether the next waiting piece may stand in a parcel that holds rows of ``versions``."""
        rows = self._waiting[0].rows
        if not versions or not rows.rows:
            return True
        if rows.refused:
            return False
        if rows.table in versions:
            return versions[rows.table] == rows.version
        return self._route(next(iter(versions))) == self._route(rows.table)

    def _better_whole(self, pieces: list[Piece], room: int, space: int) -> bool:
        """Whether the next waiting piece would have to be cut, and the parcel may as well end in front of it."""
        if 2 * room > self._most and 2 * space > self._limit.value and not pieces[0].low:
            return False
        piece = self._waiting[0]
        count = piece.high - piece.low
        return piece.low == 0 and (count > room or piece.size + count > space)

    @staticmethod
    def _fit(piece: Piece, room: int, space: int, *, first: bool) -> tuple[int, int]:
        """How far into ``piece`` a parcel reaches with this much room, and the bytes of that."""
        rows = piece.rows.rows
        end = min(piece.high, piece.low + room)
        size = piece.size if end == piece.high else sum(map(len, rows[piece.low : end]))
        while end > piece.low and size + end - piece.low > space and not (first and end - piece.low == 1):
            # Far too large: halve towards the border; a little: step.
            step = max(1, (end - piece.low) // 2) if size > 2 * max(space, 1) else 1
            size -= sum(map(len, rows[end - step : end]))
            end -= step
        return end, size
