"""What the suite for sources needs from an author: one database, and how to do things to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fuagent.interfaces import Source, SourceContext
from fuagent.model import Deletes, Mapping, Place, Rows, TableSpec
from fuagent.testing.database import Change, Row

Event = dict[str, Any]


class SourceKit:
    """One database, made anew for every test. A subclass says how; the suite says what and when.

    The database has two tables from the start, both empty, each with a column ``id`` (an
    integer, the key) and a column ``v`` (text, may be null). Make the driver with small chunks,
    if it has such an option: the suite writes tens of rows, and borders are where faults are.

    A kit is entered before its test and left behind it; set up and take down there what
    ``__init__`` cannot. Of the methods that raise NotImplementedError, ``source``
    and ``commit`` are needed; each other may be left out if the suite's attribute of the
    same name with ``no_`` before it says why.

    Args:
        directory: An empty directory of this test alone.
    """

    tables: tuple[str, str] = ("a", "b")
    """The labels of the two tables, as ``discover`` gives them."""
    values: Sequence[object] = (None, "", "a", '"\\', "},{", "a\nb", "\u00e9\u20ac\U0001f600", "x" * 3000)
    """Values of ``v`` that have to come alike from snapshot and stream."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._made: list[Source] = []

    # ------------------------------------------------------------ what the author writes

    def source(self, tables: Sequence[str], exclude: Sequence[str]) -> Source:
        """A new driver object for the sync ``suite`` on this database, as if the agent had been restarted."""
        raise NotImplementedError

    async def commit(self, *changes: Change) -> None:
        """Make these changes in one transaction, as another program would, and commit."""
        raise NotImplementedError

    async def roll_back(self, *changes: Change) -> None:
        """Make these changes in one transaction, and roll it back."""
        raise NotImplementedError

    async def alter(self, table: str) -> None:
        """Add a column ``extra`` to a table: text, null in the rows that are there."""
        raise NotImplementedError

    async def purge(self) -> None:
        """Let everything out of the log that the driver permits to go, as age would."""
        raise NotImplementedError

    async def replace(self) -> None:
        """Put another database with empty tables in the place of this one, or the copy from before its first change."""
        raise NotImplementedError

    async def miss(self, *changes: Change) -> None:
        """Make these changes so that the log does not hold them (a log switched off for a while)."""
        raise NotImplementedError

    async def interrupt(self) -> None:
        """Cut every connection of the drivers, as a restart of the database does."""
        raise NotImplementedError

    async def remains(self) -> list[str]:
        """The names of all that fuagent has put into the database for this sync."""
        raise NotImplementedError

    # ------------------------------------------------------------ what it is given

    def context(
        self, tables: Sequence[str], exclude: Sequence[str] = (), *, endpoint: str = "", options: object = None
    ) -> SourceContext:
        """The context to make a driver with."""
        return SourceContext(
            sync="suite",
            agent_id="agent-0123456789ab",
            endpoint=endpoint,
            credential=lambda: None,
            options=options,
            tables=tuple(tables),
            exclude=tuple(exclude),
            base_dir=self.directory,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take down what the kit set up."""

    # ------------------------------------------------------------ what the suite uses

    def made(self, *tables: str, exclude: Sequence[str] = ()) -> Source:
        """A driver for these tables (all, if none is named) that is closed when the test ends."""
        source = self.source(tables or self.tables, exclude)
        self._made.append(source)
        return source

    async def ready(self, *tables: str, deletes: Deletes = Deletes.ROW) -> Source:
        """A driver that is open and prepared."""
        source = self.made(*tables)
        await source.open()
        await prepare(source, deletes=deletes)
        return source

    async def finish(self) -> None:
        """Close every driver."""
        for source in self._made:
            await source.close()


async def prepare(source: Source, *, deletes: Deletes = Deletes.ROW, mend: bool = False) -> None:
    """Prepare all tables that the driver finds."""
    mapping = Mapping(deletes=deletes)
    await source.prepare([TableSpec(table, mapping) for table in await source.discover()], mend=mend)


# ------------------------------------------------------------ changes


def row(key: int, value: object = "x") -> Row:
    """A row of either table."""
    return {"id": key, "v": value}


def added(table: str, *rows: Row) -> list[Change]:
    """Rows inserted."""
    return [Change(table, None, new) for new in rows]


def changed(table: str, old: Row, new: Row) -> Change:
    """A row updated."""
    return Change(table, old, new)


def removed(table: str, *rows: Row) -> list[Change]:
    """Rows deleted."""
    return [Change(table, old, None) for old in rows]


# ------------------------------------------------------------ reading


@dataclass(frozen=True, slots=True)
class Picture:
    """A snapshot, read to its end."""

    place: Place
    index: int
    total: int | None
    rows: list[Rows]


async def pictured(source: Source, *tables: str) -> Picture:
    """A snapshot of these tables, or of all that the driver finds."""
    labels = tables or tuple(table.label for table in await source.discover())
    async with await source.snapshot(labels) as run:
        return Picture(run.place, run.index, run.total, [rows async for rows in run.rows()])


async def standing(source: Source) -> Place:
    """The place where the log ends now."""
    return (await pictured(source)).place


async def gather(source: Source, place: Place, *, until: str | None = None, numbered: bool = True) -> list[Rows]:
    """Everything behind ``place`` up to ``until``, or as far as the log goes now."""
    end = (await source.head(place)).position if until is None else until
    return [rows async for rows in source.stream(place, end, numbered=numbered)]


def texts(found: Iterable[Rows]) -> list[bytes]:
    """The events as they are written."""
    return [bytes(text) for rows in found for text in rows.rows]


def events(found: Iterable[Rows]) -> list[Event]:
    """The events, read."""
    return [json.loads(text) for text in texts(found)]


def plain(found: Iterable[Rows]) -> list[Event]:
    """The events without their numbers."""
    return [{name: value for name, value in event.items() if name != "index"} for event in events(found)]


def numbers(found: Iterable[Rows]) -> list[int]:
    """The numbers beside the events."""
    return [number for rows in found for number in rows.indexes]


def behind(rows: Rows, number: int) -> Place:
    """Where the engine goes on once the row numbered ``number`` of ``rows`` is delivered, and no further one."""
    start = rows.start
    if rows.boundary and number == rows.indexes[-1]:
        return rows.end
    return Place(start.position, start.previous, max(number, start.resume_after))


async def close(rows: AsyncIterator[Rows]) -> None:
    """Leave an iterator that may stand in the middle, as the engine does."""
    end = getattr(rows, "aclose", None)
    if end is not None:
        await end()
