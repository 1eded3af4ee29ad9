"""One run of log rows of one table version, as events: which images are sent, and under which numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from fuagent.encode.compile import Encoder, Facts
from fuagent.encode.events import Events, parts
from fuagent.model import Deletes, Fact
from fuagent.sources.sqlite.places import number
from fuagent.sources.sqlite.triggers import DELETE, FIXED, GONE, INSERT, LEFT, REKEY, UPDATE
from fuagent.sources.sqlite.versions import Version

_OP = itemgetter(3)
_REKEYED = {REKEY, LEFT}
_WORDS = {INSERT: "insert", UPDATE: "update", REKEY: "update", DELETE: "delete"}

LogRow = tuple[Any, ...]
"""seq, token, tab, op, then the keys, then the columns."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How log rows of one table version are written; without an encoder they cannot be.

    ``current`` is what the table's version is now; another one means these rows are of older columns.
    """

    version: Version
    current: Version
    label: str
    deletes: Deletes
    encoder: Encoder | None

    @property
    def stale(self) -> bool:
        """Whether the table has other columns now."""
        return self.version.number != self.current.number


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes runs of one table version."""

    codec: Codec
    base: int
    resume_after: int
    """Images numbered so or lower were delivered before."""
    numbered: bool
    before: int
    """Values in a log row before its columns."""

    def write(self, run: Sequence[LogRow]) -> list[Events]:
        """The run as events; more than one part where a row cannot be sent.

        Raises:
            HaltSyncError: a value cannot be written as the service's document wants it.
        """
        encoder = self.codec.encoder
        rows = run
        if self._number(run[0]) <= self.resume_after:
            rows = [row for row in run if self._number(row) > self.resume_after]
        if encoder is None:
            return [Events(left_out=len(rows))]
        done = Events()
        operations = set(map(_OP, rows))
        unsent = {GONE} if encoder.marks else {GONE, LEFT}
        unsent |= {DELETE} if self.codec.deletes is Deletes.SKIP else set()
        if operations & unsent:
            kept = [row for row in rows if row[3] not in unsent]
            done.left_out = len(rows) - len(kept)
            rows = kept
        numbers = self._numbers(rows, operations)
        if encoder.where is not None or (operations & _REKEYED and encoder.marks):
            self._one_by_one(encoder, rows, numbers, done)
        else:
            done.left_out += sum(row[3] == REKEY for row in rows) if REKEY in operations else 0
            done.texts, done.indexes = self._rows(encoder, rows, numbers), numbers
        return [done] if encoder.transform is None else parts(encoder, done, numbered=self.numbered)

    def _one_by_one(self, encoder: Encoder, rows: Sequence[LogRow], numbers: list[int], done: Events) -> None:
        """Rows with what marks stand between them: an old key right before the row under its new one,
        and the key of a row that has left the condition in that row's place."""
        texts: list[bytes] = []
        indexes: list[int] = []
        alone: list[int] = []
        fits = encoder.fits(rows)
        start = 0

        def flush(end: int) -> None:
            nonlocal start
            texts.extend(self._rows(encoder, rows[start:end], numbers[start:end]))
            indexes.extend(numbers[start:end])
            start = end

        for place, row in enumerate(rows):
            is_row = fits[place] and row[3] != LEFT
            marks = self._marks(row, numbers[place], fits=is_row) if encoder.marks else []
            moved = row[3] == REKEY and not encoder.marks
            if not marks and is_row:
                done.left_out += moved
                continue
            flush(place)
            for key, at in marks:
                alone.append(len(texts))
                texts += encoder.keys([key], [at] if self.numbered else None)
                indexes.append(at)
            if not is_row:
                start = place + 1
                done.left_out += not marks or row[3] in _REKEYED
                done.left_out += moved
        flush(len(rows))
        done.texts, done.indexes, done.marks = texts, indexes, frozenset(alone)

    def _marks(self, row: LogRow, at: int, *, fits: bool) -> list[tuple[tuple[object, ...], int]]:
        """The keys that this row's change says are gone, with the number of the image that says so."""
        if row[3] in _REKEYED and at - 1 > self.resume_after:
            return [(row[FIXED : FIXED + len(self.codec.version.key)], at - 1)]
        if row[3] == UPDATE and not fits:
            # What it was before is not in the log: it may have been sent, so it counts as deleted.
            return [(tuple(row[self.before + place] for place in self.codec.version.places_of_key()), at)]
        return []

    def _numbers(self, rows: Sequence[LogRow], operations: set[int]) -> list[int]:
        """The number of each row's last image; ``operations`` are all that happened to them, or more.

        Counted up, which is quicker, where rows follow each other without a hole and have as many images each.
        """
        alike = len({operation & 1 for operation in operations}) == 1
        if alike and rows and rows[-1][0] - rows[0][0] < len(rows):
            first = self._number(rows[0])
            return list(range(first, first + 2 * len(rows), 2))
        double = 2 * self.base
        return [2 * row[0] + double + (row[3] & 1) for row in rows]

    def _rows(self, encoder: Encoder, rows: Sequence[LogRow], numbers: list[int]) -> Sequence[bytes]:
        if not rows:
            return ()
        deleted = [row[3] == DELETE for row in rows] if encoder.marks else None
        facts = Facts([_WORDS[row[3]] for row in rows] if Fact.OPERATION in encoder.facts else ())
        # A transform is not to see the index; it is added behind it.
        written = self.numbered and encoder.transform is None
        return encoder.rows(rows, numbers if written else None, deleted, facts)

    def _number(self, row: LogRow) -> int:
        return number(row[0], row[3], self.base)
