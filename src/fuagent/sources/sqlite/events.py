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
    """How rows of one table version are written; without an encoder they cannot be.

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

    texts: list[bytes]
    indexes: list[int]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes runs of one table version."""

    codec: Codec
    keys: int
    """How many key columns a log row has."""
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
            return Events([], [], len(rows))
        done = Events([], [])
        operations = set(map(_OP, rows))
        unsent = {GONE, DELETE} if self.codec.deletes is Deletes.SKIP else {GONE}
        if operations & unsent:
            kept = [row for row in rows if row[3] not in unsent]
            done.left_out = len(rows) - len(kept)
            rows = kept
        if REKEY not in operations:
            self._rows(encoder, rows, done)
        elif encoder.marks:
            self._with_old_keys(encoder, rows, done)
        else:
            done.left_out += sum(row[3] == REKEY for row in rows)
            self._rows(encoder, rows, done)
        return done

    def _with_old_keys(self, encoder: Encoder, rows: Sequence[LogRow], done: Events) -> None:
        """The mark for an old key stands right before the row under its new one."""
        start = 0
        for place, row in enumerate(rows):
            old = self._number(row) - 1
            if row[3] == REKEY and old > self.resume_after:
                self._rows(encoder, rows[start:place], done)
                key = row[FIXED : FIXED + len(self.codec.version.key)]
                done.texts += encoder.keys([key], [old] if self.numbered else None)
                done.indexes.append(old)
                start = place
        self._rows(encoder, rows[start:], done)

    def _rows(self, encoder: Encoder, rows: Sequence[LogRow], done: Events) -> None:
        if not rows:
            return
        start = FIXED + self.keys
        stop = start + len(self.codec.version.columns)
        values = [row[start:stop] for row in rows]
        double = 2 * self.base
        indexes = [2 * row[0] + double + (row[3] & 1) for row in rows]
        deleted = [row[3] == DELETE for row in rows] if encoder.marks else None
        done.texts += encoder.rows(values, indexes if self.numbered else None, deleted)
        done.indexes += indexes

    def _number(self, row: LogRow) -> int:
        return number(row[0], row[3], self.base)
