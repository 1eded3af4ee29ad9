"""A database in memory, and the source that reads it.

The log behaves as a real one does: it can be purged, lose its end to a failover,
move to another server, and be read again with the same numbers. A test says when;
``hook`` is called with the name of every step and may raise what a step may raise.

Numbers: the n-th row image ever written has the number ``STRIDE * n``, unless the
place says that the numbers before it were higher. A place is ``epoch:transactions``:
the epoch rises with each failover, and places of an older epoch hold up to its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import groupby
from types import TracebackType
from typing import Self

import orjson

from fuagent.errors import HaltSyncError, LostPlaceError, TryAgainError
from fuagent.interfaces import Clock, Head, SourceContext
from fuagent.model import Anchor, Deletes, Finding, Place, Rows, Table, TableSpec

STRIDE = 64
Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one row: ``old`` is None for an insert, ``new`` for a delete."""

    table: str
    old: Row | None
    new: Row | None


@dataclass(frozen=True, slots=True)
class _Image:
    table: str
    version: int
    row: Row
    sent: bool = True
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class _Transaction:
    before: int
    """Images written before it."""
    images: tuple[_Image, ...]
    gap: str = ""


@dataclass(slots=True)
class _Content:
    table: Table
    rows: dict[object, Row] = field(default_factory=dict)
    version: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """One table as a snapshot sees it."""

    spec: TableSpec
    rows: tuple[Row, ...]
    version: int


class Database:
    """Tables with a key column, and a log of every change to them."""

    def __init__(self) -> None:
        self.hook: Callable[[str], None] = lambda _step: None
        self.epoch = 1
        self.generation = 0
        self.unwatched = False
        """True if changes were made while nobody kept a log: the next ``prepare`` finds out."""
        self.carried = False
        """True once numbers were given that the log alone does not give again."""
        self.acknowledged: dict[str, Place] = {}
        self.snapshots: list[tuple[int, tuple[str, ...], int]] = []
        """For each snapshot whose rows were read: transactions before it, the tables it shows, their rows."""
        self._content: dict[str, _Content] = {}
        self._log: list[_Transaction] = []
        self._purged = 0
        self._purged_images = 0
        self._ends: dict[int, int] = {}
        self._watchers: set[asyncio.Event] = set()

    def create(self, table: Table) -> None:
        """Make an empty table; its key is one column."""
        self._content[table.label] = _Content(table)

    def alter(self, label: str) -> None:
        """Change the definition of a table, as far as versions go."""
        self._content[label].version += 1

    @property
    def tables(self) -> list[Table]:
        """All tables, in the order they were made."""
        return [content.table for content in self._content.values()]

    def rows(self, label: str) -> dict[object, Row]:
        """The rows of a table by key."""
        return self._content[label].rows

    def version(self, label: str) -> int:
        """The version of a table's definition."""
        return self._content[label].version

    def put(self, label: str, *rows: Row) -> None:
        """Insert or update rows in one transaction."""
        self.commit(*(Change(label, self.rows(label).get(self._key(label, row)), row) for row in rows))

    def delete(self, label: str, *keys: object) -> None:
        """Delete rows in one transaction."""
        self.commit(*(Change(label, self.rows(label)[key], None) for key in keys))

    def commit(self, *changes: Change) -> None:
        """Do all ``changes`` in one transaction."""
        images: list[_Image] = []
        for change in changes:
            content = self._content[change.table]
            old_key = self._key(change.table, change.old)
            new_key = self._key(change.table, change.new)
            if change.old is not None:
                moved = old_key != new_key
                images.append(_Image(change.table, content.version, change.old, sent=moved, deleted=True))
                del content.rows[old_key]
            if change.new is not None:
                images.append(_Image(change.table, content.version, change.new))
                content.rows[new_key] = change.new
        self._write(_Transaction(self.images, tuple(images)))

    def truncate(self, label: str) -> None:
        """Empty a table without logging its rows."""
        self._content[label].rows.clear()
        self._write(_Transaction(self.images, (), gap=f"table {label} was truncated."))

    def purge(self, transactions: int | None = None) -> None:
        """Drop the oldest ``transactions`` of the log; by default all that every sync has acknowledged."""
        if transactions is None:
            places = self.acknowledged.values()
            transactions = min((seq_of(place.position) for place in places), default=0) - self._purged
        for _ in range(min(transactions, len(self._log))):
            self._purged_images += len(self._log.pop(0).images)
            self._purged += 1

    def fail_over(self, lost: int = 0) -> None:
        """Another server takes over, without the last ``lost`` transactions."""
        for _ in range(min(lost, len(self._log))):
            for image in reversed(self._log.pop().images):
                self._undo(image)
        self._ends[self.epoch] = self.end
        self.epoch += 1
        self.drop()

    def drop(self) -> None:
        """Cut every connection."""
        self.generation += 1
        self._wake()

    @property
    def end(self) -> int:
        """Transactions ever committed."""
        return self._purged + len(self._log)

    @property
    def purged(self) -> int:
        """Transactions that are not in the log any more."""
        return self._purged

    @property
    def images(self) -> int:
        """Row images ever written."""
        return self._log[-1].before + len(self._log[-1].images) if self._log else self._purged_images

    def position(self, end: int | None = None) -> str:
        """The text of the place behind ``end`` transactions."""
        return f"{self.epoch}:{self.end if end is None else end}"

    def after(self, seq: int) -> _Transaction | None:
        """The transaction behind the first ``seq`` ones; None at the end of the log.

        Raises:
            LostPlaceError: it was purged.
        """
        if seq < self._purged:
            raise LostPlaceError(f"the log begins behind transaction {self._purged}; {seq} is gone.")
        return self._log[seq - self._purged] if seq < self.end else None

    def prove(self, place: Place) -> None:
        """See that ``place`` is one of this log, with the transaction it cuts, if it cuts one.

        Raises:
            LostPlaceError: it is not.
        """
        epoch, seq = (int(part) for part in place.position.split(":"))
        end = min([self.end, *(self._ends[later] for later in range(epoch, self.epoch))])
        if not self._purged <= seq <= end - bool(place.resume_after):
            raise LostPlaceError(f"{place.position} is not in the log, which goes from {self._purged} to {end}.")

    def watch(self) -> asyncio.Event:
        """An event that is set by every commit and cut."""
        event = asyncio.Event()
        self._watchers.add(event)
        return event

    def unwatch(self, event: asyncio.Event) -> None:
        """Forget an event given by :meth:`watch`."""
        self._watchers.discard(event)

    def _key(self, label: str, row: Row | None) -> object:
        return None if row is None else row[self._content[label].table.key[0]]

    def _write(self, transaction: _Transaction) -> None:
        self._log.append(transaction)
        self._wake()

    def _undo(self, image: _Image) -> None:
        rows, key = self.rows(image.table), self._key(image.table, image.row)
        if image.deleted:
            rows[key] = image.row
        else:
            rows.pop(key, None)

    def _wake(self) -> None:
        for event in self._watchers:
            event.set()


def seq_of(position: str) -> int:
    """The number of transactions before ``position``."""
    return int(position.split(":")[1])


class MemorySource:
    """Implements ``fuagent.interfaces.Source`` for a :class:`Database`.

    Args:
        context: As for any source.
        database: What to read.
        chunk: Most rows in one ``Rows``.
        clock: With ``pace``, how time passes.
        pace: Seconds that each chunk of a snapshot takes.
    """

    def __init__(
        self,
        context: SourceContext,
        database: Database,
        *,
        chunk: int = 100,
        clock: Clock | None = None,
        pace: float = 0.0,
    ) -> None:
        self._context = context
        self.database = database
        self._chunk = chunk
        self._clock = clock
        self._pace = pace
        self._generation = -1
        self._specs: dict[str, TableSpec] = {}

    async def open(self) -> None:
        self.database.hook("open")
        self._generation = self.database.generation

    async def close(self) -> None:
        self._generation = -1

    async def discover(self) -> list[Table]:
        self._step("discover")
        found = [
            table
            for table in self.database.tables
            if any(fnmatchcase(table.label, pattern) for pattern in self._context.tables)
            and not any(fnmatchcase(table.label, pattern) for pattern in self._context.exclude)
        ]
        if not found:
            raise HaltSyncError("no table fits.", where=", ".join(self._context.tables))
        return found

    async def check(self) -> list[Finding]:
        return []

    async def prepare(self, specs: Sequence[TableSpec], *, mend: bool = False) -> None:
        self._step("prepare")
        if self.database.unwatched and not mend:
            raise LostPlaceError("nobody kept the log for a while.")
        self.database.unwatched = False
        self._specs = {spec.table.label: spec for spec in specs}

    async def locate(self, anchors: Sequence[Anchor], index: int) -> Place:
        self._step("locate")
        if not anchors:
            return self._by_number(index)
        anchor = next((anchor for anchor in anchors if anchor.index <= index), None)
        if anchor is None:
            raise LostPlaceError(f"{index} lies before every anchor.")
        self.database.prove(anchor.place)
        if anchor.index == index:
            return anchor.place
        if not anchor.place.position.startswith(f"{self.database.epoch}:"):
            raise LostPlaceError("another server took over since.")
        return self._meet(replace(anchor.place, resume_after=0), index)

    async def oldest(self, above: int) -> Place:
        self._step("oldest")
        seq = self.database.purged
        first = self.database.after(seq)
        before = first.before if first else self.database.images
        return Place(self.database.position(seq), max(above, STRIDE * before))

    async def head(self, place: Place | None) -> Head:
        self._step("head")
        return Head(self.database.position(), self.database.end - seq_of(place.position) if place else None)

    async def stream(self, place: Place, until: str | None = None, *, numbered: bool = True) -> AsyncIterator[Rows]:
        self._step("stream")
        self.database.prove(place)
        news = self.database.watch()
        said = False
        try:
            while until is None or seq_of(place.position) < seq_of(until):
                self._step("read")
                transaction = self.database.after(seq_of(place.position))
                if transaction is None:
                    if not said:
                        yield Rows("", (), (), place, place, boundary=True, at_end=True)
                    said = True
                    await news.wait()
                    news.clear()
                    continue
                said = False
                end = self._behind(place, transaction)
                if transaction.gap:
                    raise LostPlaceError(transaction.gap, place=end)
                for rows in self._cut(transaction, place, end, numbered=numbered):
                    yield rows
                    self._step("read on")
                place = end
        finally:
            self.database.unwatch(news)

    async def snapshot(self, tables: Sequence[str]) -> AbstractAsyncContextManager[MemorySnapshot]:
        self._step("snapshot")
        pictures = [self._picture(label) for label in tables]
        images = self.database.images
        place = Place(self.database.position(), STRIDE * images)
        return MemorySnapshot(self, place, STRIDE * images + STRIDE // 2, pictures)

    async def acknowledge(self, place: Place) -> None:
        self._step("acknowledge")
        self.database.acknowledged[self._context.sync] = place

    async def remove(self) -> list[str]:
        self.database.acknowledged.pop(self._context.sync, None)
        return ["what was acknowledged"]

    async def pictured(self, picture: Picture, place: Place) -> AsyncIterator[Rows]:
        """The rows of one table as a snapshot gives them."""
        for low in range(0, len(picture.rows), self._chunk):
            self._step("snapshot rows")
            if self._clock is not None:
                await self._clock.sleep(self._pace)
            lines = tuple(write(picture.spec, row, deleted=False) for row in picture.rows[low : low + self._chunk])
            yield Rows(picture.spec.table.label, lines, (), place, place, boundary=True, version=picture.version)

    def _picture(self, label: str) -> Picture:
        return Picture(self._specs[label], tuple(self.database.rows(label).values()), self.database.version(label))

    def _step(self, name: str) -> None:
        self.database.hook(name)
        if self._generation != self.database.generation:
            raise TryAgainError("the connection to the database is gone.", where="memory://")

    def _numbers(self, place: Place, transaction: _Transaction) -> list[int]:
        numbers: list[int] = []
        previous = place.previous
        for ordinal in range(transaction.before + 1, transaction.before + len(transaction.images) + 1):
            previous = max(previous + 1, STRIDE * ordinal)
            self.database.carried = self.database.carried or previous != STRIDE * ordinal
            numbers.append(previous)
        return numbers

    def _behind(self, place: Place, transaction: _Transaction) -> Place:
        numbers = self._numbers(place, transaction)
        position = self.database.position(seq_of(place.position) + 1)
        return Place(position, numbers[-1] if numbers else place.previous)

    def _cut(self, transaction: _Transaction, place: Place, end: Place, *, numbered: bool) -> Iterator[Rows]:
        """The Rows of one transaction that are not delivered yet."""
        numbers = self._numbers(place, transaction)
        images = [pair for pair in zip(numbers, transaction.images, strict=True) if pair[0] > place.resume_after]
        pieces: list[Rows] = []
        for (label, version), run in groupby(images, key=lambda pair: (pair[1].table, pair[1].version)):
            spec = self._specs.get(label)
            wanted = [pair for pair in run if spec is not None and pair[1].sent]
            kept = [pair for pair in wanted if spec is not None and self._is_sent(spec, pair[1])]
            for low in range(0, max(1, len(kept)), self._chunk):
                part = kept[low : low + self._chunk]
                lines = tuple(self._line(image, number if numbered else 0) for number, image in part)
                indexes = tuple(number for number, _ in part)
                left_out = len(wanted) - len(kept) if low == 0 else 0
                rows = Rows(label, lines, indexes, place, end, False, version=version, left_out=left_out)
                pieces.append(rows)
        if not pieces:
            pieces = [Rows("", (), (), place, end, boundary=True)]
        yield from pieces[:-1]
        yield replace(pieces[-1], boundary=True)

    @staticmethod
    def _is_sent(spec: TableSpec, image: _Image) -> bool:
        return not image.deleted or spec.mapping.deletes is not Deletes.SKIP

    def _line(self, image: _Image, number: int) -> bytes:
        return write(self._specs[image.table], image.row, deleted=image.deleted, index=number)

    def _by_number(self, index: int) -> Place:
        database = self.database
        if database.carried or database.epoch > 1:
            raise LostPlaceError("the number alone is no proof here.")
        first = database.after(database.purged)
        before = first.before if first else database.images
        return self._meet(Place(database.position(database.purged), STRIDE * before), index)

    def _meet(self, place: Place, index: int) -> Place:
        """Read on from ``place`` until ``index`` is met exactly."""
        while True:
            if place.previous == index or self._is_s(place, index):
                return place
            transaction = self.database.after(seq_of(place.position))
            if transaction is None or transaction.gap:
                raise LostPlaceError(f"{index} is not met before the end of the log.")
            numbers = self._numbers(place, transaction)
            if index in numbers[:-1]:
                return replace(place, resume_after=index)
            if numbers and index < numbers[-1]:
                raise LostPlaceError(f"{index} falls between two numbers.")
            place = self._behind(place, transaction)

    def _is_s(self, place: Place, index: int) -> bool:
        """Whether ``index`` is what a snapshot taken at ``place`` gave its last row."""
        transaction = self.database.after(seq_of(place.position))
        images = transaction.before if transaction else self.database.images
        return place.previous == STRIDE * images and index == STRIDE * images + STRIDE // 2


class MemorySnapshot:
    """Implements ``fuagent.interfaces.SnapshotRun``."""

    def __init__(self, source: MemorySource, place: Place, index: int, pictures: list[Picture]) -> None:
        self.place = place
        self.index = index
        self.total: int = sum(len(picture.rows) for picture in pictures)
        self._source = source
        self._pictures = pictures

    async def rows(self) -> AsyncIterator[Rows]:
        labels = tuple(picture.spec.table.label for picture in self._pictures)
        self._source.database.snapshots.append((seq_of(self.place.position), labels, self.total))
        for picture in self._pictures:
            async for chunk in self._source.pictured(picture, self.place):
                yield chunk

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pictures = []


def write(spec: TableSpec, row: Row, *, deleted: bool, index: int = 0) -> bytes:
    """One event as JSON text."""
    event = dict(row)
    if spec.mapping.deletes is Deletes.MARK:
        event[spec.mapping.delete_field] = deleted
    if index:
        event["index"] = index
    return orjson.dumps(event)
