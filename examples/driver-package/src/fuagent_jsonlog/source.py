"""The source: keeps the promises of ``fuagent.interfaces.Source`` over a journal.

The n-th row image of the journal has the number 2n: even, so that there is room for the number
of a snapshot between any two. A position is the place behind a transaction.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fuagent import (
    Anchor,
    Column,
    Finding,
    HaltSyncError,
    Kind,
    Level,
    LostPlaceError,
    Place,
    Rows,
    SourceContext,
    Table,
    TableSpec,
)
from fuagent.encode.compile import Encoder, compile_encoder
from fuagent.interfaces import Head
from fuagent.model import Deletes, Written
from fuagent_jsonlog.journal import Change, Journal, Mark, Row, Transaction
from fuagent_jsonlog.snapshot import Snapshot

_FIX = "take a snapshot; it brings the service in step again"


@dataclass(frozen=True, slots=True)
class Image:
    """One row with its number; ``sent`` is False for the old row of an update that keeps its key."""

    table: str
    row: Row
    number: int
    deleted: bool
    sent: bool


class JsonLog:
    """Follows the tables of an application that writes a journal of JSON lines."""

    class Options(BaseModel):
        """Every ``driver_params`` key."""

        model_config = ConfigDict(frozen=True, extra="forbid")

        poll_interval: float = Field(default=0.2, gt=0, le=60, description="Seconds between two looks at the journal.")
        chunk_rows: int = Field(default=1000, ge=1, description="Changes read and encoded in one go.")

    def __init__(self, context: SourceContext) -> None:
        self._context = context
        self._options = context.options if isinstance(context.options, JsonLog.Options) else JsonLog.Options()
        self._journal = Journal(_path(context))
        self._specs: dict[str, TableSpec] = {}
        self._encoders: dict[str, Encoder] = {}
        self._end: Mark | None = None

    async def open(self) -> None:
        """See that the journal is there. Nothing is held open between two reads."""
        await asyncio.to_thread(self._journal.tables)

    async def close(self) -> None:
        """Forget how far the journal was read: another one may be there next time."""
        self._end = None

    # ------------------------------------------------------------ tables

    async def discover(self) -> list[Table]:
        """The tables that the journal's first line declares, as far as the sync selects them."""
        declared = await asyncio.to_thread(self._journal.tables)
        for wanted in self._context.tables:
            if not any(fnmatchcase(label, wanted) for label in declared):
                close = get_close_matches(wanted, declared, cutoff=0.5) or declared
                raise HaltSyncError(f"there is no table {wanted}.", fix=f"Did you mean {' or '.join(close)}?")
        return [_table(label, said) for label, said in declared.items() if self._is_selected(label)]

    def _is_selected(self, label: str) -> bool:
        wanted, exclude = self._context.tables, self._context.exclude
        return any(fnmatchcase(label, one) for one in wanted) and not any(fnmatchcase(label, one) for one in exclude)

    async def check(self) -> list[Finding]:
        """What there is to know before the first row."""
        tables = ", ".join(table.label for table in await self.discover())
        return [Finding(Level.INFO, str(self._journal.path), f"the journal holds {tables}, and is only ever read")]

    async def prepare(self, specs: Sequence[TableSpec], *, mend: bool = False) -> None:  # noqa: ARG002 - see below
        """Compile encoders. The application keeps the log, so nothing can be missed and nothing mended."""
        for spec in specs:
            if spec.mapping.where or spec.mapping.transform:
                # Better refused than passed over in silence.
                raise HaltSyncError("jsonlog sends whole tables as they are.", fix="Take out where and transform.")
        self._specs = {spec.table.label: spec for spec in specs}
        self._encoders = {label: compile_encoder(spec) for label, spec in self._specs.items()}

    async def remove(self) -> list[str]:
        """There is nothing to take out."""
        return [f"{self._journal.path}: nothing of fuagent is in it"]

    # ------------------------------------------------------------ places

    async def head(self, place: Place | None) -> Head:
        """The last commit."""
        end = await self._last()
        behind = max(0, end.images - Mark.read(place.position).images) if place else None
        return Head(end.text(), behind)

    async def _last(self) -> Mark:
        known = self._end
        if known is None:
            known = await asyncio.to_thread(self._journal.beginning)
        self._end = end = await asyncio.to_thread(self._journal.end, known)
        return end

    async def oldest(self, above: int) -> Place:
        """The beginning: numbers go on behind ``previous`` wherever the journal's own are lower."""
        return Place((await asyncio.to_thread(self._journal.beginning)).text(), above)

    async def locate(self, anchors: Sequence[Anchor], index: int) -> Place:
        """Read on from the nearest anchor until ``index`` is met exactly."""
        anchor = next((anchor for anchor in anchors if anchor.index <= index), None)
        if anchor is None:
            # Numbers may have been raised above the journal's own, and nothing says by how much.
            raise LostPlaceError("a number alone is no proof of a place in the journal.", fix=_FIX)
        return await asyncio.to_thread(self._meet, anchor, index)

    def _meet(self, anchor: Anchor, index: int) -> Place:
        place = replace(anchor.place, resume_after=0)
        if anchor.index == index and not anchor.place.resume_after:
            self._journal.following(Mark.read(place.position))
            return place
        while place.previous < index:
            transaction = self._journal.following(Mark.read(place.position))
            if transaction is None:
                break
            numbers, behind = self._numbers(transaction, place)
            if index in numbers[:-1]:
                return Place(transaction.begin.text(), place.previous, index)
            place = behind
        if place.previous != index:
            raise LostPlaceError(f"the number {index} is nowhere in the journal.", fix=_FIX)
        return place

    @staticmethod
    def _numbers(transaction: Transaction, place: Place) -> tuple[list[int], Place]:
        """The numbers of a transaction's images, and the place behind it."""
        given = _Numbers(place.previous, transaction.begin.images)
        numbers = [given.take() for _ in range(transaction.end.images - transaction.begin.images)]
        return numbers, Place(transaction.end.text(), given.previous)

    async def acknowledge(self, place: Place) -> None:
        """The journal is the data: whoever writes it keeps it."""

    # ------------------------------------------------------------ rows

    async def stream(self, place: Place, until: str | None = None, *, numbered: bool = True) -> AsyncIterator[Rows]:
        """Every change behind ``place``, transaction by transaction."""
        last = None if until is None else Mark.read(until).offset
        told = False
        while last is None or Mark.read(place.position).offset < last:
            transaction = await asyncio.to_thread(self._journal.following, Mark.read(place.position))
            if transaction is None:
                if not told:
                    yield Rows("", (), (), place, place, boundary=True, at_end=True)
                told = True
                await asyncio.sleep(self._options.poll_interval)
                continue
            told = False
            given = _Numbers(place.previous, transaction.begin.images)
            offset = transaction.begin.offset
            while offset < transaction.stop:
                changes, offset = await asyncio.to_thread(
                    self._journal.changes, offset, transaction.stop, self._options.chunk_rows
                )
                images = [image for change in changes for image in self._images(change, given)]
                behind = Place(transaction.end.text(), given.previous)
                for rows in self._encoded(images, place, behind, whole=offset >= transaction.stop, numbered=numbered):
                    yield rows
            place = Place(transaction.end.text(), given.previous)

    def _images(self, change: Change, numbers: _Numbers) -> Iterator[Image]:
        spec = self._specs.get(change.table)
        key = spec.table.key if spec else ()
        old, new = change.old, change.new
        if old is not None:
            moved = new is None or any(old[name] != new[name] for name in key)
            yield Image(change.table, old, numbers.take(), deleted=True, sent=moved)
        if new is not None:
            yield Image(change.table, new, numbers.take(), deleted=False, sent=True)

    def _encoded(
        self, images: Sequence[Image], start: Place, end: Place, *, whole: bool, numbered: bool
    ) -> Iterator[Rows]:
        """Images as Rows, one for each run of a table; the last one ends the transaction if it is all there."""
        fresh = [image for image in images if image.number > start.resume_after]
        runs = [(label, list(run)) for label, run in groupby(fresh, lambda image: image.table)]
        made = [self._rows(label, run, start, end, numbered=numbered) for label, run in runs]
        made = made or [Rows("", (), (), start, end, boundary=False)]
        yield from made[:-1]
        yield replace(made[-1], boundary=whole)

    def _rows(self, label: str, run: Sequence[Image], start: Place, end: Place, *, numbered: bool) -> Rows:
        spec, encoder = self._specs.get(label), self._encoders.get(label)
        if spec is None or encoder is None:
            return Rows("", (), (), start, end, boundary=False)
        names = [column.name for column in spec.table.columns]
        due = [image for image in run if image.sent]
        skips = spec.mapping.deletes is Deletes.SKIP
        kept = [image for image in due if not (image.deleted and skips)]
        numbers = [image.number for image in kept]
        texts: Sequence[bytes] = ()
        if kept:
            values = [tuple(image.row.get(name) for name in names) for image in kept]
            deleted = [image.deleted for image in kept] if encoder.marks else None
            texts = encoder.rows(values, numbers if numbered else None, deleted)
        return Rows(label, texts, numbers, start, end, boundary=False, left_out=len(due) - len(kept))

    async def snapshot(self, tables: Sequence[str]) -> Snapshot:
        """The tables as the journal has them now."""
        shown = [(self._specs[label].table, self._encoders[label]) for label in tables]
        return Snapshot(self._journal, await self._last(), shown, self._options.chunk_rows)

    # ------------------------------------------------------------ rows once more

    async def sample(self, spec: TableSpec, most: int) -> list[Written]:
        """The first rows of a table."""
        encoder = compile_encoder(spec)
        async with await self._picture(spec, encoder) as picture:
            await picture.fold()
            found = picture.page(spec.table.label, 0, most)
        return [Written(bytes(text)) for _, values in found for text in encoder.rows([values])]

    async def reread(self, spec: TableSpec, events: Sequence[bytes]) -> list[Written]:
        """The rows that these events told of, by the key in each."""
        encoder = compile_encoder(spec)
        async with await self._picture(spec, encoder) as picture:
            await picture.fold()
            return [_again(spec, encoder, picture, json.loads(text)) for text in events]

    async def _picture(self, spec: TableSpec, encoder: Encoder) -> Snapshot:
        return Snapshot(self._journal, await self._last(), [(spec.table, encoder)], self._options.chunk_rows)


class _Numbers:
    """Gives image after image its number: the journal's own, or the next one where that is larger."""

    def __init__(self, previous: int, images: int) -> None:
        self.previous = previous
        self._images = images

    def take(self) -> int:
        self._images += 1
        self.previous = max(self.previous + 1, 2 * self._images)
        return self.previous


def _path(context: SourceContext) -> Path:
    return context.base_dir / context.endpoint.removeprefix("file://")


def _table(label: str, said: dict[str, Any]) -> Table:
    return Table(label, tuple(Column(name, Kind.DYNAMIC) for name in said["columns"]), tuple(said["key"]))


def _again(spec: TableSpec, encoder: Encoder, picture: Snapshot, event: Row) -> Written:
    """One event's row as it is now; a mark whose row is gone is that mark again."""
    key = [event.get(name) for name in spec.table.key]
    if spec.mapping.fields is not None or not key or None in key:
        return Written(refused="the event does not tell the row's key under its own name")
    values = picture.find(spec.table.label, key)
    if values is not None:
        return Written(bytes(encoder.rows([values])[0]))
    marked = encoder.marks and event.get(spec.mapping.delete_field) is True
    return Written(bytes(encoder.keys([tuple(key)])[0])) if marked else Written()
