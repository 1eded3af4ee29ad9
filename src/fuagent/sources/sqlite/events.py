"""One run of log rows of one table version, as events: which images are sent, and under which numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from fuagent.encode.compile import Encoder
from fuagent.model import Deletes
from fuagent.sources.sqlite.places import number
from fuagent.sources.sqlite.triggers import DELETE, FIXED, GONE, REKEY
from fuagent.sources.sqlite.versions import Version

_OP = itemgetter(3)

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


@dataclass(slots=True)
class Events:
    """What became of a run: events, their indexes, and how many images the sync's settings keep back."""

    texts: Sequence[bytes] = ()
    indexes: Sequence[int] = ()
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes runs of one table version."""

    codec: Codec
    base: int
    resume_after: int
    """Images numbered so or lower were delivered before."""
    numbered: bool

    def write(self, run: Sequence[LogRow]) -> Events:
        """The run as events.

        Raises:
            HaltSyncError: a value cannot be written as the service's document wants it.
        """
        encoder = self.codec.encoder
        rows = run
        if self._number(run[0]) <= self.resume_after:
            rows = [row for row in run if self._number(row) > self.resume_after]
        if encoder is None:
            return Events(left_out=len(rows))
        done = Events()
        operations = set(map(_OP, rows))
        unsent = {GONE, DELETE} if self.codec.deletes is Deletes.SKIP else {GONE}
        if operations & unsent:
            kept = [row for row in rows if row[3] not in unsent]
            done.left_out = len(rows) - len(kept)
            rows = kept
        numbers = self._numbers(rows, operations)
        if REKEY in operations and encoder.marks:
            done.texts, done.indexes = self._with_old_keys(encoder, rows, numbers)
        else:
            if REKEY in operations:
                done.left_out += sum(row[3] == REKEY for row in rows)
            done.texts, done.indexes = self._rows(encoder, rows, numbers), numbers
        return done

    def _with_old_keys(
        self, encoder: Encoder, rows: Sequence[LogRow], numbers: list[int]
    ) -> tuple[list[bytes], list[int]]:
        """The mark for an old key stands right before the row under its new one."""
        texts: list[bytes] = []
        indexes: list[int] = []
        start = 0
        for place, row in enumerate(rows):
            old = numbers[place] - 1
            if row[3] == REKEY and old > self.resume_after:
                texts += self._rows(encoder, rows[start:place], numbers[start:place])
                key = row[FIXED : FIXED + len(self.codec.version.key)]
                texts += encoder.keys([key], [old] if self.numbered else None)
                indexes += [*numbers[start:place], old]
                start = place
        texts += self._rows(encoder, rows[start:], numbers[start:])
        indexes += numbers[start:]
        return texts, indexes

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
        return encoder.rows(rows, numbers if self.numbered else None, deleted)

    def _number(self, row: LogRow) -> int:
        return number(row[0], row[3], self.base)
