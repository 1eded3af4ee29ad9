"""The source that reads a database in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import groupby
from types import TracebackType
from typing import Self

import orjson

from fuagent.encode.compile import Encoder, compile_encoder
from fuagent.errors import HaltSyncError, LostPlaceError, TryAgainError
from fuagent.interfaces import Clock, Head, SourceContext
from fuagent.model import Anchor, Deletes, Finding, Place, Rows, Table, TableSpec, Written
from fuagent.testing.database import STRIDE, Database, Image, Row, Transaction, seq_of


@dataclass(frozen=True, slots=True)
class Picture:
    """One table as a snapshot sees it."""

    spec: TableSpec
    rows: tuple[Row, ...]
    version: int


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
        self._encoders: dict[tuple[str, int], Encoder] = {}

    async def open(self) -> None:
        self.database.hook("open")
        self._generation = self.database.generation

    async def close(self) -> None:
        self._generation = -1

    async def discover(self) -> list[Table]:
        self._step("discover")
        labels = [table.label for table in self.database.tables]
        for wanted in self._context.tables:
            if not any(fnmatchcase(label, wanted) for label in labels):
                close = get_close_matches(wanted, labels, cutoff=0.5) or labels
                raise HaltSyncError(f"there is no table {wanted}", fix=f"there are: {', '.join(close)}")
        return [table for table in self.database.tables if self._is_selected(table.label)]

    def _is_selected(self, label: str) -> bool:
        wanted, exclude = self._context.tables, self._context.exclude
        return any(fnmatchcase(label, one) for one in wanted) and not any(fnmatchcase(label, one) for one in exclude)

    async def check(self) -> list[Finding]:
        return []

    async def prepare(self, specs: Sequence[TableSpec], *, mend: bool = False) -> None:
        self._step("prepare")
        for spec in specs:
            if spec.mapping.where or spec.mapping.transform:
                raise HaltSyncError("the source in memory sends whole tables.", fix="Take out where and transform.")
        if self.database.unwatched and not mend:
            raise LostPlaceError("nobody kept the log for a while.")
        self.database.unwatched = False
        self._specs = {spec.table.label: spec for spec in specs}
        self._encoders = {}
        for label in self._specs:
            self._encoder(label, self.database.version(label))

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

    async def reread(self, spec: TableSpec, events: Sequence[bytes]) -> list[Written]:
        self._step("reread")
        found = self.database.rows(spec.table.label)
        return [self._written(spec, orjson.loads(text), found) for text in events]

    async def sample(self, spec: TableSpec, most: int) -> list[Written]:
        self._step("sample")
        encoder = compile_encoder(spec)
        rows = list(self.database.rows(spec.table.label).values())[:most]
        return [_now(encoder, spec.table, row) for row in rows]

    @staticmethod
    def _written(spec: TableSpec, event: Row, found: Mapping[object, Row]) -> Written:
        if not spec.table.key or any(name not in event for name in spec.table.key):
            return Written(refused=f"table {spec.table.label} has no key to find a row by")
        key = {name: event[name] for name in spec.table.key}
        encoder = compile_encoder(spec)
        row = next((row for row in found.values() if key.items() <= row.items()), None)
        if row is not None:
            return _now(encoder, spec.table, row)
        mark = encoder.marks and event.get(spec.mapping.delete_field) is True
        return Written(bytes(encoder.keys([tuple(key.values())])[0])) if mark else Written()

    async def remove(self) -> list[str]:
        self.database.acknowledged.pop(self._context.sync, None)
        return ["what was acknowledged"]

    async def pictured(self, picture: Picture, place: Place) -> AsyncIterator[Rows]:
        """The rows of one table as a snapshot gives them."""
        for low in range(0, len(picture.rows), self._chunk):
            self._step("snapshot rows")
            if self._clock is not None:
                await self._clock.sleep(self._pace)
            label, version = picture.spec.table.label, picture.version
            texts = self._encoder(label, version).rows(
                [values(self.database.definition(label, version), row) for row in picture.rows[low : low + self._chunk]]
            )
            yield Rows(label, texts, (), place, place, boundary=True, version=version)

    def _picture(self, label: str) -> Picture:
        return Picture(self._specs[label], tuple(self.database.rows(label).values()), self.database.version(label))

    def _step(self, name: str) -> None:
        self.database.hook(name)
        if self._generation != self.database.generation:
            raise TryAgainError("the connection to the database is gone.", where="memory://")

    def _numbers(self, place: Place, transaction: Transaction) -> list[int]:
        numbers: list[int] = []
        previous = place.previous
        for ordinal in range(transaction.before + 1, transaction.before + len(transaction.images) + 1):
            previous = max(previous + 1, STRIDE * ordinal)
            self.database.carried = self.database.carried or previous != STRIDE * ordinal
            numbers.append(previous)
        return numbers

    def _behind(self, place: Place, transaction: Transaction) -> Place:
        numbers = self._numbers(place, transaction)
        position = self.database.position(seq_of(place.position) + 1)
        return Place(position, numbers[-1] if numbers else place.previous)

    def _cut(self, transaction: Transaction, place: Place, end: Place, *, numbered: bool) -> Iterator[Rows]:
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
                lines = self._lines(label, version, part, numbered=numbered) if part else ()
                indexes = tuple(number for number, _ in part)
                left_out = len(wanted) - len(kept) if low == 0 else 0
                rows = Rows(label, lines, indexes, place, end, False, version=version, left_out=left_out)
                pieces.append(rows)
        if not pieces:
            pieces = [Rows("", (), (), place, end, boundary=True)]
        yield from pieces[:-1]
        yield replace(pieces[-1], boundary=True)

    @staticmethod
    def _is_sent(spec: TableSpec, image: Image) -> bool:
        return not image.deleted or spec.mapping.deletes is not Deletes.SKIP

    def _lines(self, label: str, version: int, part: Sequence[tuple[int, Image]], *, numbered: bool) -> Sequence[bytes]:
        table, encoder = self.database.definition(label, version), self._encoder(label, version)
        deleted = [image.deleted for _, image in part] if encoder.marks else None
        numbers = [number for number, _ in part] if numbered else None
        return encoder.rows([values(table, image.row) for _, image in part], numbers, deleted)

    def _encoder(self, label: str, version: int) -> Encoder:
        found = self._encoders.get((label, version))
        if found is None:
            spec = replace(self._specs[label], table=self.database.definition(label, version))
            found = self._encoders[label, version] = compile_encoder(spec)
        return found

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


def values(table: Table, row: Row) -> tuple[object, ...]:
    """A row as an encoder takes it: all columns in the table's order."""
    return tuple(row.get(column.name) for column in table.columns)


def _now(encoder: Encoder, table: Table, row: Row) -> Written:
    return Written(bytes(encoder.rows([values(table, row)])[0]))
