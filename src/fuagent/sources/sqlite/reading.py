"""From log rows to Rows.

One call reads one chunk in one short read transaction, and encodes it when that is over.
Consecutive rows of one table version become one Rows. The row the reader stands on is read
again each time: if its token is another, this is not the log it was.

Rows logged under columns the table no longer has (columns were added or renamed, and the
change came before anyone noticed) are read again by their key from the table as it is:
absent is never null. A newer state may so come early; a row that is gone is left out,
its delete follows.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter

from fuagent.encode.events import Events
from fuagent.errors import LostPlaceError
from fuagent.model import Place, Rows
from fuagent.sources.sqlite import places
from fuagent.sources.sqlite.events import Codec, LogRow, Writer
from fuagent.sources.sqlite.install import State, schema_version
from fuagent.sources.sqlite.names import Names, quote
from fuagent.sources.sqlite.places import Spot
from fuagent.sources.sqlite.triggers import DELETE, FIXED, GONE, LEFT, REKEY
from fuagent.sources.sqlite.worker import lenient, reading

_SEQ = itemgetter(0)
_TAB = itemgetter(2)


class SchemaChangedError(Exception):
    """Some table or trigger changed: see first whether the log still fits."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a reader stands.

    ``settled`` is a row known to have been the log's last in some consistent picture: where it
    ends, a transaction ended.
    """

    spot: Spot
    resume_after: int = 0
    settled: int = 0

    @classmethod
    def at(cls, place: Place) -> Cursor:
        """A cursor at a place."""
        return cls(places.read(place.position), place.resume_after)


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one call found, and where it left off; ``at_end``: there was nothing more."""

    rows: tuple[Rows, ...]
    cursor: Cursor
    at_end: bool


@dataclass(frozen=True, slots=True)
class LogReader:
    """Reads the log of one sync. Immutable: when the tables change there is a new one."""

    names: Names
    state: State
    codecs: dict[int, Codec]
    chunk_rows: int

    def read(self, connection: sqlite3.Connection, cursor: Cursor, until: int | None, *, numbered: bool) -> Chunk:
        """The next chunk behind ``cursor``, up to row ``until`` inclusive.

        Raises:
            SchemaChangedError: the tables are to be looked at first.
            LostPlaceError: the log is not what it was.
        """
        with reading(connection):
            if schema_version(connection) != self.state.schema:
                raise SchemaChangedError
            top = places.end(connection, self.names).seq
            found = lenient(connection, lambda: self._fetch(connection, cursor, until))
            cursor, rows = self._behind(cursor, found)
            stale = {codec.version.number for codec in self.codecs.values() if codec.stale}
            if stale and not stale.isdisjoint(map(_TAB, rows)):
                rows = lenient(connection, lambda: [self._renewed(connection, row) for row in rows])
        if cursor.settled <= cursor.spot.seq:
            cursor = replace(cursor, settled=top if until is None else min(top, until))
        made = []
        for run in _runs(rows, cursor.settled):
            made += self._rows(run, cursor, top, numbered=numbered)
            cursor = replace(cursor, spot=_spot(run[-1]))
        return Chunk(tuple(made), cursor, cursor.spot.seq >= top)

    def _fetch(self, connection: sqlite3.Connection, cursor: Cursor, until: int | None) -> list[LogRow]:
        keys = "".join(f", k{place}" for place in range(self.state.keys))
        columns = "".join(f", c{place}" for place in range(self.state.columns))
        query = (
            f"SELECT seq, token, tab, op{keys}{columns} FROM {quote(self.names.log)} "  # noqa: S608
            "WHERE seq BETWEEN ? AND ? ORDER BY seq LIMIT ?"
        )
        last = 2**63 - 1 if until is None else max(until, cursor.spot.seq)
        return connection.execute(query, (cursor.spot.seq, last, self.chunk_rows + 1)).fetchall()

    def _behind(self, cursor: Cursor, found: list[LogRow]) -> tuple[Cursor, list[LogRow]]:
        """The rows behind the cursor, whose own row has to be what it was."""
        if not found or found[0][:2] != cursor.spot[:2]:
            raise LostPlaceError(
                "the change log is not the one it was: the database was restored from a backup, or the log emptied",
                fix="take a snapshot; it brings the service in step again",
            )
        return replace(cursor, spot=_spot(found[0])), found[1:]

    def _renewed(self, connection: sqlite3.Connection, row: LogRow) -> LogRow:
        """The row, read again by its key if it was logged under other columns than the table has now."""
        codec = self.codecs.get(row[2])
        if codec is None or not codec.stale or row[3] == DELETE:
            return row
        key, key_now = codec.version.places_of_key(), codec.current.key
        if not key or len(key) != len(key_now):
            return row
        start = FIXED + self.state.keys
        wanted = ", ".join(map(quote, codec.current.columns))
        same = " AND ".join(f"{quote(name)} IS ?" for name in key_now)
        query = f"SELECT {wanted} FROM {quote(codec.current.table)} WHERE {same}"  # noqa: S608
        values = connection.execute(query, [row[start + place] for place in key]).fetchone()
        if values is None:
            return (*row[:3], LEFT if row[3] == REKEY else GONE, *row[FIXED:])
        beyond = self.state.columns - len(values)
        return (*row[:2], codec.current.number, *row[3:start], *values, *[None] * beyond)

    def _rows(self, run: Sequence[LogRow], cursor: Cursor, top: int, *, numbered: bool) -> list[Rows]:
        codec = self.codecs.get(run[0][2])
        events = [Events()]
        if codec is not None:
            before = FIXED + self.state.keys
            events = Writer(codec, self.state.base, cursor.resume_after, numbered, before).write(run)
        after = _spot(run[-1])
        whole = Rows(
            table=codec.label if codec else "",
            rows=events[-1].texts,
            indexes=events[-1].indexes,
            start=cursor.spot.place(self.state.base, cursor.resume_after),
            end=after.place(self.state.base),
            boundary=after.seq in {cursor.settled, top},
            at_end=after.seq >= top,
            version=codec.version.number if codec else 0,
            left_out=events[-1].left_out,
        )
        return [*(_part(whole, part) for part in events[:-1]), whole]


def _part(whole: Rows, part: Events) -> Rows:
    """A part that others of the same run follow."""
    return replace(
        whole,
        rows=part.texts,
        indexes=part.indexes,
        boundary=False,
        at_end=False,
        left_out=part.left_out,
        refused=part.refused,
        among=part.among,
    )


def _spot(row: LogRow) -> Spot:
    return Spot(row[0], row[1], row[3])


def _runs(rows: list[LogRow], settled: int) -> Iterator[list[LogRow]]:
    """Consecutive rows of one table version, cut where a transaction is known to end."""
    alike = [rows] if len(set(map(_TAB, rows))) == 1 else [list(group) for _, group in groupby(rows, _TAB)]
    for run in alike:
        cut = bisect_right(run, settled, key=_SEQ)
        if 0 < cut < len(run):
            yield run[:cut]
            yield run[cut:]
        else:
            yield run
