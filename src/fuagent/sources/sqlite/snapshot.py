"""One consistent picture of some tables.

A mark is written into the change log, and a read transaction begun. If the mark is still the
log's newest row inside it, the picture shows exactly the changes up to the mark, which is S;
a change in between means another try. The mark is a row of our own: S has a number
that no row image has. One read transaction covers all tables.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from fuagent.encode.compile import Encoder
from fuagent.encode.events import Events, parts
from fuagent.errors import TryAgainError
from fuagent.model import Place, Rows
from fuagent.sources.sqlite import places, triggers
from fuagent.sources.sqlite.install import schema_version
from fuagent.sources.sqlite.names import Names, quote
from fuagent.sources.sqlite.places import Spot
from fuagent.sources.sqlite.reading import SchemaChangedError
from fuagent.sources.sqlite.versions import Version
from fuagent.sources.sqlite.worker import Worker, lenient, writing

TRIES = 200
COUNT_FOR = 0.5
"""Seconds that counting rows may take before an estimate has to do."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One table in a picture."""

    version: Version
    encoder: Encoder
    label: str
    rowid: str


class Snapshot:
    """A picture under way. It holds a read transaction from :func:`begin` until it is left."""

    def __init__(
        self, worker: Worker, shots: Sequence[Shot], mark: Spot, base: int, total: int | None, chunk_rows: int
    ) -> None:
        self._worker = worker
        self._shots = shots
        self._chunk_rows = chunk_rows
        self.place: Place = mark.place(base)
        self.index = mark.last(base)
        self.total = total

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._worker.close()

    async def rows(self) -> AsyncIterator[Rows]:
        """All rows, table by table."""
        for shot in self._shots:
            cursor = _Cursor(shot, self._chunk_rows)
            # The next chunk is read while this one is taken: the thread has no pause between them.
            ahead = self._worker.soon(cursor.next)
            while parts := await ahead:
                ahead = self._worker.soon(cursor.next)
                for part in parts:
                    yield Rows(
                        table=shot.label,
                        rows=part.texts,
                        indexes=(),
                        start=self.place,
                        end=self.place,
                        boundary=True,
                        version=shot.version.number,
                        refused=part.refused,
                        among=part.among,
                    )


def begin(connection: sqlite3.Connection, marks: sqlite3.Connection, names: Names, schema: int) -> Spot:
    """Begin a read transaction on ``connection`` whose picture ends with a mark written through ``marks``.

    Raises:
        SchemaChangedError: tables or triggers are not those of schema version ``schema``.
        TryAgainError: others wrote so fast that there was no gap between two of their changes.
    """
    for _ in range(TRIES):
        with writing(marks):
            seq, token = marks.execute(triggers.mark(names)).fetchall()[0]
        mark = Spot(seq, token, triggers.MARK)
        connection.execute("BEGIN")
        if schema_version(connection) != schema:
            connection.rollback()
            raise SchemaChangedError
        if places.end(connection, names) == mark:
            return mark
        connection.rollback()
    raise TryAgainError(
        f"no gap between the changes of other programs in {TRIES} tries",
        where=names.log,
        fix="it goes on by itself when they write less",
    )


def count(connection: sqlite3.Connection, shots: Sequence[Shot]) -> int | None:
    """How many rows the picture has: counted if that is quick, else estimated from the rowids."""
    # Counting is one instruction to SQLite, and only interrupt() ends it early.
    timer = threading.Timer(COUNT_FOR, connection.interrupt)
    timer.start()
    try:
        return sum(_one(connection, f"SELECT count(*) FROM {quote(shot.version.table)}") for shot in shots)  # noqa: S608
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
    finally:
        timer.cancel()
        timer.join()
    if not all(shot.rowid for shot in shots):
        return None
    return sum(_one(connection, _span(shot)) for shot in shots)


def _span(shot: Shot) -> str:
    table, rowid = quote(shot.version.table), shot.rowid
    newest = f"(SELECT max({rowid}) FROM {table})"  # noqa: S608
    return f"SELECT coalesce({newest} - (SELECT min({rowid}) FROM {table}) + 1, 0)"  # noqa: S608


def _one(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


class _Cursor:
    """Reads one table from front to end, in the order it is stored."""

    def __init__(self, shot: Shot, chunk_rows: int) -> None:
        self._shot = shot
        self._chunk_rows = chunk_rows
        self._done = 0
        self._cursor: sqlite3.Cursor | None = None

    def next(self, connection: sqlite3.Connection) -> list[Events]:
        """The next chunk of events; empty at the end alone."""
        rows = lenient(connection, lambda: self._fetch(connection))
        self._done += len(rows)
        return self._written(rows) if rows else []

    def _written(self, rows: list[tuple[object, ...]]) -> list[Events]:
        encoder = self._shot.encoder
        wanted = rows
        if encoder.where is not None:
            wanted = [row for row, fits in zip(rows, encoder.fits(rows), strict=True) if fits]
        done = Events(encoder.rows(wanted) if wanted else ())
        return [done] if encoder.transform is None else parts(encoder, done, numbered=False)

    def _fetch(self, connection: sqlite3.Connection) -> list[tuple[object, ...]]:
        cursor, self._cursor = self._cursor or self._open(connection), None
        rows = cursor.fetchmany(self._chunk_rows)
        # Kept only once it has given a whole chunk: after an unreadable text it begins again behind the last one.
        self._cursor = cursor
        return rows

    def _open(self, connection: sqlite3.Connection) -> sqlite3.Cursor:
        columns = ", ".join(map(quote, self._shot.version.columns))
        # NOT INDEXED: in the table's own order, not that of an index that happens to hold every column.
        query = f"SELECT {columns} FROM {quote(self._shot.version.table)} NOT INDEXED LIMIT -1 OFFSET ?"  # noqa: S608
        return connection.execute(query, (self._done,))
