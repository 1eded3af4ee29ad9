"""The SQLite source: the promise of :class:`fuagent.interfaces.Source`, kept with the parts beside it.

``triggers`` keep every change in a log inside the database, ``install`` makes them fit
the tables, ``reading`` turns the log into Rows, ``snapshot`` reads tables whole, ``places``
finds and proves places, ``cleaning`` lets go of what was delivered, ``watch`` notices writes.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from fuagent.encode.compile import Frame, compile_encoder
from fuagent.encode.shown import shown
from fuagent.errors import HaltSyncError, LostPlaceError, TryAgainError
from fuagent.interfaces import Head, SnapshotRun, SourceContext
from fuagent.model import Anchor, Fact, Finding, Level, Place, Rows, Table, TableSpec, Written
from fuagent.sources.sqlite import findings, install, places, rereading, snapshot
from fuagent.sources.sqlite.cleaning import Cleaner
from fuagent.sources.sqlite.events import Codec
from fuagent.sources.sqlite.install import State
from fuagent.sources.sqlite.layout import Layout, layout, listing, narrow, select
from fuagent.sources.sqlite.names import Names, file_of
from fuagent.sources.sqlite.options import Options as SQLiteOptions
from fuagent.sources.sqlite.places import Spot
from fuagent.sources.sqlite.reading import Chunk, Cursor, LogReader, SchemaChangedError
from fuagent.sources.sqlite.snapshot import Shot, Snapshot
from fuagent.sources.sqlite.triggers import FIXED
from fuagent.sources.sqlite.versions import Version
from fuagent.sources.sqlite.watch import Watcher
from fuagent.sources.sqlite.worker import Worker, connect, reading, writing

_OLDEST_SQLITE = (3, 37, 0)  # the first with PRAGMA table_list
_TRIES = 5


class SQLite:
    """Follows the tables of an SQLite database file, through triggers that fuagent keeps in it."""

    Options = SQLiteOptions

    def __init__(self, context: SourceContext) -> None:
        self._context = context
        self._options = context.options if isinstance(context.options, SQLiteOptions) else SQLiteOptions()
        self._names = Names.of(context.agent_id, context.sync)
        self._cleaner = Cleaner(self._names, self._options.keep_rows)
        self._path = Path()
        self._identity: tuple[int, int] | None = None
        self._worker: Worker | None = None
        self._specs: dict[str, TableSpec] = {}
        self._reader: LogReader | None = None
        self._slow = False

    # ------------------------------------------------------------ opening

    async def open(self) -> None:
        """Open the file, which must be there and be a database."""
        if self._worker is not None:
            return
        if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
            raise HaltSyncError(f"SQLite {sqlite3.sqlite_version} is too old", fix="use a Python with SQLite 3.37")
        path = file_of(self._context.endpoint, self._context.base_dir)
        known = self._identity is not None
        self._path, self._identity = path, _identify(path, known=known)
        worker = Worker(path.resolve(), self._options.busy_timeout, "log")
        try:
            await worker.run(lambda _connection: None)
        except BaseException:
            await worker.close()
            raise
        self._worker = worker

    async def close(self) -> None:
        """Let go of the file."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.close()

    def _opened(self) -> Worker:
        if self._worker is None:
            raise TryAgainError("the database is not open", where=str(self._path))
        return self._worker

    def _prepared(self) -> LogReader:
        if self._reader is None:
            raise TryAgainError("the change log is not prepared", where=str(self._path))
        return self._reader

    def _same_file(self) -> None:
        """See that the file's name still leads to the file that is open."""
        if _identify(self._path, known=True) != self._identity:
            raise TryAgainError(
                "the database file was replaced by another one; it is opened anew", where=str(self._path)
            )

    # ------------------------------------------------------------ tables

    async def discover(self) -> list[Table]:
        """The tables that names and patterns select."""
        return [one.table for one in await self._opened().run(self._selected)]

    def _selected(self, connection: sqlite3.Connection) -> list[Layout]:
        with reading(connection):
            names = select(listing(connection), self._context.tables, self._context.exclude)
            return [found for name in names if (found := layout(connection, name))]

    async def check(self) -> list[Finding]:
        """What would go wrong later."""

        def look(connection: sqlite3.Connection) -> list[Finding]:
            found = findings.findings(connection, self._path, self._selected(connection))
            return found + findings.passed_over(listing(connection), self._context.tables, str(self._path))

        return await self._opened().run(look)

    async def prepare(self, specs: Sequence[TableSpec], *, mend: bool = False) -> None:
        """Make the change log fit these tables, and compile their encoders."""
        for spec in specs:
            narrow(spec.table)
            _tells(spec)
        self._specs = {spec.table.name: spec for spec in specs}
        await self._fit(mend=mend)

    async def _fit(self, *, mend: bool) -> None:
        def fit(connection: sqlite3.Connection) -> LogReader:
            owner = (self._context.agent_id, self._context.sync)
            with writing(connection):
                state = install.install(connection, self._names, tuple(self._specs), owner, mend=mend)
                return LogReader(self._names, state, self._codecs(connection, state), self._options.chunk_rows)

        self._reader = await self._opened().run(fit)
        for said in self._reader.state.grown:
            self._context.warn(
                Finding(
                    Level.WARNING,
                    str(self._path),
                    said,
                    f"fuagent snapshot {self._context.sync}, if the service needs it.",
                )
            )

    def _codecs(self, connection: sqlite3.Connection, state: State) -> dict[int, Codec]:
        codecs = {}
        for version in state.versions.values():
            spec, current = self._specs.get(version.table), state.current(version.table)
            if spec is not None and current is not None:
                frame = _frame(state, version)
                codecs[version.number] = self._codec(connection, spec, version, current, frame)
        return codecs

    def _codec(
        self, connection: sqlite3.Connection, spec: TableSpec, version: Version, current: Version, frame: Frame
    ) -> Codec:
        label, deletes = spec.table.label, spec.mapping.deletes
        if version is current:
            found = layout(connection, version.table)
            table = found.table if found else version.as_table()
            return Codec(version, current, label, deletes, compile_encoder(replace(spec, table=table), frame))
        try:
            encoder = compile_encoder(replace(spec, table=version.as_table()), frame)
        except HaltSyncError:
            encoder = None  # what its columns were no longer fits the mapping or the document
        return Codec(version, current, label, deletes, encoder)

    # ------------------------------------------------------------ places

    async def locate(self, anchors: Sequence[Anchor], index: int) -> Place:
        """Find the place behind ``index``."""
        base = self._prepared().state.base

        def find(connection: sqlite3.Connection) -> Place:
            with reading(connection):
                return places.locate(connection, self._names, base, anchors, index)

        return await self._opened().run(find)

    async def oldest(self, above: int) -> Place:
        """The oldest place in the log, with everything behind it numbered above ``above``."""
        reader = self._prepared()

        def find(connection: sqlite3.Connection) -> tuple[Place, int]:
            with writing(connection):
                return places.oldest(connection, self._names, reader.state.base, above)

        place, base = await self._opened().run(find)
        self._reader = replace(reader, state=replace(reader.state, base=base))
        return place

    async def head(self, place: Place | None) -> Head:
        """Where the log ends."""
        end = await self._opened().run(lambda connection: places.end(connection, self._names))
        behind = max(0, end.seq - places.read(place.position).seq) if place else None
        return Head(places.position(end.seq, end.token), behind)

    async def acknowledge(self, place: Place) -> None:
        """The log may let go of what lies before ``place``."""
        self._cleaner.acknowledge(places.read(place.position))
        await self._clean()

    async def _clean(self) -> None:
        now = time.monotonic()
        if self._cleaner.due(now):
            await self._opened().run(lambda connection: self._cleaner.clean(connection, now))

    # ------------------------------------------------------------ rows

    async def stream(self, place: Place, until: str | None = None, *, numbered: bool = True) -> AsyncIterator[Rows]:
        """Every change behind ``place``."""
        cursor = Cursor.at(place)
        last = None if until is None else places.read(until).seq
        watcher = Watcher(self._path.resolve(), self._options.poll_interval)
        self._watching(watcher)
        told = False
        ahead: asyncio.Task[Chunk] | None = None
        try:
            while True:
                chunk = await (ahead or self._next(cursor, last, numbered=numbered))
                cursor = chunk.cursor
                ahead = None
                if not chunk.at_end and cursor.spot.seq != last:
                    # Read while this chunk is taken: the thread has no pause between them.
                    ahead = asyncio.create_task(self._next(cursor, last, numbered=numbered))
                for rows in chunk.rows:
                    yield rows
                if chunk.rows:
                    watcher.seen()
                    told = chunk.at_end
                if not told and (chunk.at_end or cursor.spot.seq == last):
                    yield self._nothing(cursor)
                    told = True
                if last is not None and cursor.spot.seq >= last:
                    return
                if chunk.at_end:
                    await self._clean()
                    await watcher.wait()
        finally:
            watcher.stop()
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)

    def _watching(self, watcher: Watcher) -> None:
        if not watcher.start() and not self._slow:
            self._slow = True
            what = "the system gives no file notifications: changes are noticed by polling alone."
            fix = f"Set poll_interval (now {self._options.poll_interval:g} s), or raise fs.inotify.max_user_watches."
            self._context.warn(Finding(Level.WARNING, str(self._path), what, fix))

    async def _next(self, cursor: Cursor, last: int | None, *, numbered: bool) -> Chunk:
        def look(connection: sqlite3.Connection) -> Chunk:
            self._same_file()
            return self._prepared().read(connection, cursor, last, numbered=numbered)

        for _ in range(_TRIES):
            try:
                return await self._opened().run(look)
            except SchemaChangedError:
                try:
                    await self._fit(mend=False)
                except LostPlaceError as error:
                    # The log itself goes on: what was missed is lost, what is in it is not.
                    error.place = cursor.spot.place(self._prepared().state.base, cursor.resume_after)
                    raise
        raise self._restless()

    def _nothing(self, cursor: Cursor) -> Rows:
        place = cursor.spot.place(self._prepared().state.base)
        return Rows(table="", rows=(), indexes=(), start=place, end=place, boundary=True, at_end=True)

    async def snapshot(self, tables: Sequence[str]) -> SnapshotRun:
        """A consistent picture of these tables."""
        for _ in range(_TRIES):
            try:
                return await self._picture(tables)
            except SchemaChangedError:
                await self._fit(mend=False)
        raise self._restless()

    async def _picture(self, tables: Sequence[str]) -> Snapshot:
        reader = self._prepared()
        worker = Worker(self._path.resolve(), self._options.busy_timeout, "snapshot")

        def begin(connection: sqlite3.Connection) -> tuple[Spot, list[Shot], int | None]:
            self._same_file()
            with closing(connect(self._path.resolve(), self._options.busy_timeout)) as marks:
                mark = snapshot.begin(connection, marks, self._names, reader.state.schema)
            shots = [self._shot(connection, reader, table) for table in tables]
            return mark, shots, snapshot.count(connection, shots)

        try:
            mark, shots, total = await worker.run(begin)
        except BaseException:
            await worker.close()
            raise
        return Snapshot(worker, shots, mark, reader.state.base, total, self._options.chunk_rows)

    def _shot(self, connection: sqlite3.Connection, reader: LogReader, table: str) -> Shot:
        version, spec = reader.state.current(table), self._specs.get(table)
        found = layout(connection, table)
        if version is None or spec is None or found is None:
            raise HaltSyncError(f"table {shown(table)} was not prepared", fix="report it: the agent asked out of order")
        return Shot(version, compile_encoder(replace(spec, table=found.table)), spec.table.label, found.rowid)

    async def reread(self, spec: TableSpec, events: Sequence[bytes]) -> list[Written]:
        """The rows these events told of, as they are now."""
        return await self._opened().run(
            lambda connection: rereading.reread(connection, spec, _there(connection, spec), events)
        )

    async def sample(self, spec: TableSpec, most: int) -> list[Written]:
        """The first rows of a table."""
        return await self._opened().run(
            lambda connection: rereading.sample(connection, spec, _there(connection, spec), most)
        )

    def _restless(self) -> TryAgainError:
        return TryAgainError("tables keep changing while the change log is made to fit", where=str(self._path))

    async def remove(self) -> list[str]:
        """Take triggers, change log and meta table out of the database."""
        await self.open()

        def take_out(connection: sqlite3.Connection) -> list[str]:
            with writing(connection):
                return install.remove(connection, self._names)

        lines = await self._opened().run(take_out)
        self._reader = None
        return [f"{self._path}: {line}" for line in lines]


def _tells(spec: TableSpec) -> None:
    """SQLite keeps no time and no name of a transaction anywhere."""
    for field in spec.mapping.fields or ():
        if field.fact in (Fact.COMMIT_TIME, Fact.TRANSACTION):
            raise HaltSyncError(
                f"SQLite knows no {field.fact}", where=f"fields.{field.name}", fix="leave it out for this source"
            )


def _there(connection: sqlite3.Connection, spec: TableSpec) -> Layout:
    found = layout(connection, spec.table.name)
    if found is None:
        raise TryAgainError(f"table {shown(spec.table.label)} is gone: it was dropped or renamed")
    return found


def _frame(state: State, version: Version) -> Frame:
    """How the log's rows hold those of a version: an old key stands before them only where it changed."""
    after = state.columns - len(version.columns)
    return Frame(FIXED + state.keys, after, nulls=state.keys + after)


def _identify(path: Path, *, known: bool) -> tuple[int, int]:
    """Device and inode of the database file.

    Raises:
        TryAgainError: it is not there, but was before.
        HaltSyncError: it is not there, or no file.
    """
    where = str(path)
    try:
        info = os.stat(path)  # noqa: PTH116 - asked on every look
    except (FileNotFoundError, NotADirectoryError):
        if known:
            raise TryAgainError("the database file is gone", where=where, fix="put it back") from None
        raise HaltSyncError(
            "there is no such database file", where=where, fix="correct endpoint; fuagent never makes a database"
        ) from None
    except OSError as error:
        raise HaltSyncError(
            f"the database file cannot be reached: {error.strerror}",
            where=where,
            fix="give the user of the agent read and write permission on the file and its directory",
        ) from None
    if not stat.S_ISREG(info.st_mode):
        kind = "a directory" if stat.S_ISDIR(info.st_mode) else "not a regular file"
        raise HaltSyncError(f"this is {kind}", where=where, fix="name the database file itself in endpoint")
    return info.st_dev, info.st_ino
