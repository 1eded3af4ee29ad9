"""One picture of the tables: the changes up to S, folded.

A journal only grows, so what lies before S cannot change while it is read. The fold is kept in a
temporary database on disk: memory stays the same however large a table is.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self

from fuagent import Place, Rows, Table
from fuagent.encode.compile import Encoder
from fuagent_jsonlog.journal import Change, Journal, Mark, Row

_TABLE = "CREATE TABLE rows (place INTEGER PRIMARY KEY, name, key, row, UNIQUE (name, key))"
_PUT = "INSERT INTO rows (name, key, row) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET row = excluded.row"
_PAGE = "SELECT place, row FROM rows WHERE name = ? AND place > ? ORDER BY place LIMIT ?"
_FIND = "SELECT place, row FROM rows WHERE name = ? AND key = ?"

Values = tuple[object, ...]


class Snapshot:
    """Implements ``fuagent.interfaces.SnapshotRun``; ``tables`` are those to show, in the order to show them."""

    total: int | None = None

    def __init__(self, journal: Journal, mark: Mark, tables: Sequence[tuple[Table, Encoder]], chunk: int) -> None:
        self.place = Place(mark.text(), 2 * mark.images)
        # Images have even numbers: this one lies above all before S and below all behind it.
        self.index = 2 * mark.images + 1
        self._journal = journal
        self._mark = mark
        self._tables = {table.label: table for table, _ in tables}
        self._encoders = {table.label: encoder for table, encoder in tables}
        self._chunk = chunk
        self._lock = threading.Lock()
        self._fold: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        self._fold = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._fold.execute(_TABLE)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:  # a thread may be in the middle of a chunk, which is short
            fold, self._fold = self._fold, None
            if fold is not None:
                fold.close()

    async def rows(self) -> AsyncIterator[Rows]:
        """All rows, table by table."""
        await self.fold()
        for label, encoder in self._encoders.items():
            place = 0
            while found := await asyncio.to_thread(self.page, label, place, self._chunk):
                place = found[-1][0]
                texts = encoder.rows([values for _, values in found])
                yield Rows(label, texts, (), self.place, self.place, boundary=True)

    async def fold(self) -> None:
        """Read the journal up to S."""
        mark = await asyncio.to_thread(self._journal.beginning)
        while mark.offset < self._mark.offset:
            mark = await asyncio.to_thread(self._fold_next, mark)

    def _fold_next(self, mark: Mark) -> Mark:
        """Fold one transaction; gives the place behind it."""
        transaction = self._journal.following(mark)
        if transaction is None:
            return self._mark
        offset = transaction.begin.offset
        while offset < transaction.stop:
            changes, offset = self._journal.changes(offset, transaction.stop, self._chunk)
            with self._lock:
                for change in changes:
                    self._apply(change)
        return transaction.end

    def _apply(self, change: Change) -> None:
        if self._fold is None or change.table not in self._tables:
            return
        if change.old is not None and (
            change.new is None or self._key(change, change.old) != self._key(change, change.new)
        ):
            self._fold.execute(
                "DELETE FROM rows WHERE name = ? AND key = ?", (change.table, self._key(change, change.old))
            )
        if change.new is not None:
            self._fold.execute(_PUT, (change.table, self._key(change, change.new), json.dumps(change.new)))

    def _key(self, change: Change, row: Row) -> str:
        return json.dumps([row[name] for name in self._tables[change.table].key])

    def page(self, label: str, behind: int, most: int) -> list[tuple[int, Values]]:
        """Rows of a table behind a place in the fold, each with its place."""
        return [(place, self._values(label, row)) for place, row in self._ask(_PAGE, (label, behind, most))]

    def find(self, label: str, key: Sequence[object]) -> Values | None:
        """The row with this key."""
        found = self._ask(_FIND, (label, json.dumps(list(key))))
        return self._values(label, found[0][1]) if found else None

    def _ask(self, query: str, values: tuple[object, ...]) -> list[tuple[int, str]]:
        with self._lock:
            return [] if self._fold is None else self._fold.execute(query, values).fetchall()

    def _values(self, label: str, row: str) -> Values:
        known = json.loads(row)
        return tuple(known.get(column.name) for column in self._tables[label].columns)
