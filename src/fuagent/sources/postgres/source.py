"""The PostgreSQL source: the promise of :class:`fuagent.interfaces.Source`, kept with the parts beside it.

``link`` connects, ``tables`` and ``columns`` say what there is, ``slots`` keeps publication and slot, ``snapshot``
reads all of it, ``dump`` has the server send its log, ``reading`` turns that into Rows, ``finding`` finds and
proves places.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace

from fuagent.encode.changes import Reread
from fuagent.encode.shown import shown
from fuagent.errors import FuagentError, HaltSyncError, LostPlaceError
from fuagent.interfaces import Head, SnapshotRun, SourceContext
from fuagent.model import Anchor, Finding, Place, Rows, TableSpec, Written
from fuagent.sources.picture import Run, encoder, total
from fuagent.sources.postgres import findings, places, rereading, slots, snapshot, tables
from fuagent.sources.postgres.dump import Dump
from fuagent.sources.postgres.finding import Finder
from fuagent.sources.postgres.link import DIALECT, Link
from fuagent.sources.postgres.options import Options as PostgresOptions
from fuagent.sources.postgres.partitions import NOTICED, Partitions
from fuagent.sources.postgres.places import Spot
from fuagent.sources.postgres.reading import LogReader, Question
from fuagent.sources.postgres.server import Server
from fuagent.sources.postgres.server import server as asked
from fuagent.sources.postgres.tables import Layout
from fuagent.sources.postgres.versions import Unknown, Versions
from fuagent.sources.selection import Listing, Name
from fuagent.sources.source import ServerSource

_LOOK = 30.0
"""Seconds between two looks at whether the publication still holds the tables: the log does not tell."""

_SOON = 1.0
"""Seconds in which a server that is there answers the smallest of questions."""


class Postgres(ServerSource[PostgresOptions, Link, Server, Layout, Versions]):
    """Follows tables of a PostgreSQL server (12 to 18) through logical replication."""

    Options = PostgresOptions
    _Link = Link
    _dialect = DIALECT

    def __init__(self, context: SourceContext) -> None:
        super().__init__(context)
        name = slots.name_of(context.agent_id, context.sync)
        self._publication = self._options.publication or name
        self._slot = self._options.slot or name
        self._dump: Dump | None = None
        self._acknowledged = 0
        self._members: Mapping[int, int | None] = {}
        """How the tables are in the publication."""
        self._partitions = Partitions()

    async def open(self) -> None:
        """Connect. What was acknowledged before may have been another server's."""
        if self._link is None:
            await super().open()
            self._acknowledged = 0

    async def _ask(self, link: Link) -> Server:
        return await asked(link)

    # ------------------------------------------------------------ tables

    async def _listed(self) -> Listing:
        return await tables.listing(self._opened, self._options.home_schema)

    async def _laid_out(self, names: Sequence[Name]) -> list[Layout]:
        return await tables.layouts(self._opened, names, self._options.home_schema)

    async def check(self) -> list[Finding]:
        """What would go wrong later."""
        found, selected = await self._selected()
        async with self._asking:
            return await findings.findings(
                self._opened,
                self._known,
                selected,
                found,
                self._context.tables,
                publication=self._publication,
                slot=self._slot,
            )

    async def prepare(self, specs: Sequence[TableSpec], *, mend: bool = False) -> None:
        """Compile encoders; make publication and slot."""
        chosen = await self._compile(specs)
        self._usable(chosen)
        if self._known.version < NOTICED:
            self._partitions.anew(self._opened.where, chosen)
        async with self._asking:
            keeper = slots.Keeper(self._reached, self._opened, self._publication, self._slot, self._options.failover)
            self._members = await keeper.prepare(chosen, mend=mend)
        self._versions = Versions(self._specs, chosen)

    def _usable(self, chosen: Sequence[Layout]) -> None:
        """See that nobody is harmed.

        Raises:
            HaltSyncError: the server cannot do it, or a table could not be updated any more once it is published.
        """
        for fault in findings.unusable(self._opened.where, self._known, chosen):
            raise HaltSyncError(fault.what.removesuffix("."), where=fault.where, fix=fault.fix)

    # ------------------------------------------------------------ places

    def _finder(self) -> Finder:
        return Finder(self._opened, self._asking, self._reached, self._known, self._slot, self._reader, self._dumping)

    def _reader(self, spot: Spot, previous: int, until: int | None = None) -> LogReader:
        return LogReader(self._prepared, spot, previous, chunk=self._options.chunk_rows, until=until)

    async def locate(self, anchors: Sequence[Anchor], index: int) -> Place:
        """Find the place behind ``index``."""
        return await self._finder().locate(anchors, index, self._answer)

    async def oldest(self, above: int) -> Place:
        """The oldest place in the log, with everything behind it numbered above ``above``."""
        return await self._finder().oldest(above)

    async def head(self, place: Place | None) -> Head:
        """Where the log ends."""
        finder = self._finder()
        end = await finder.end()
        async with self._asking:
            kept = await slots.slot(self._opened, self._slot)
        behind = max(0, end - places.read(place.position).lsn) if place else None
        return Head(finder.spot(end).text(), None, behind, kept.retained if kept else None, kept.room if kept else None)

    async def acknowledge(self, place: Place) -> None:
        """Let the server's log go up to ``place``; told to it while the stream is read."""
        self._acknowledged = max(self._acknowledged, places.read(place.position).lsn)
        if self._dump is not None:
            self._dump.confirm(0, self._acknowledged)

    # ------------------------------------------------------------ rows

    async def _dumping(self, spot: Spot) -> Dump:
        return await Dump.open(self._reached, self._slot, self._publication, spot.lsn, self._options.heartbeat)

    async def stream(
        self, place: Place, until: str | None = None, *, numbered: bool = True
    ) -> AsyncGenerator[Rows, None]:
        """Every change behind ``place``."""
        finder = self._finder()
        place = await finder.proven(place)
        spot = places.read(place.position)
        reader = LogReader(
            self._prepared,
            spot,
            place.previous,
            resume_after=place.resume_after,
            numbered=numbered,
            chunk=self._options.chunk_rows,
            until=None if until is None else places.read(until).lsn,
        )
        if not reader.finished:
            dump = await self._dumping(spot)
            self._dump = dump
            watching = asyncio.create_task(self._watch(dump))
            try:
                async with aclosing(self._read(finder, dump, reader)) as found:
                    async for rows in found:
                        yield rows
            finally:
                self._dump = None
                try:
                    await dump.close()
                    with suppress(TimeoutError):
                        # To cancel its question would end the connection that others ask on.
                        async with asyncio.timeout(_SOON), self._asking:
                            pass
                finally:
                    watching.cancel()
        yield reader.nothing(at_end=True)

    async def _watch(self, dump: Dump) -> None:
        """Let go of a server that shuts down, though its log is not read now, as while the service is down.

        It ends all other sessions first, and then waits until all of its log is confirmed, however long that takes.
        """
        with suppress(FuagentError):
            while True:
                await asyncio.sleep(self._options.heartbeat)
                async with self._asking:
                    await self._opened.one("SELECT 1")
        dump.let_go()

    async def _read(self, finder: Finder, dump: Dump, reader: LogReader) -> AsyncGenerator[Rows, None]:
        """Rows as they come, and a word each time there are no more."""
        clock = asyncio.get_running_loop().time
        end, told, looked = await finder.end(), False, clock()
        while not reader.finished:
            if not told and reader.idle and not await dump.more():
                if reader.reached >= end:
                    told = True
                    yield reader.nothing(at_end=True)
                else:
                    dump.ask()
            data = await self._arrived(finder, dump, reader)
            for given in reader.feed(data):
                if isinstance(given, Rows):
                    told = False
                    yield given
                else:
                    await self._answer(given)
            if dump.skipped and (reader.idle or reader.finished):
                raise self._passed_over(reader)
            dump.confirm(reader.reached, self._acknowledged)
            wanted, reader.wanted = reader.wanted, False
            if wanted:
                dump.answer()
            self._say(reader.left)
            # A server that shuts down wants an answer, and then waits for more: see _watch.
            if wanted or clock() - looked > _LOOK:
                looked = clock()
                await self._unchanged()

    async def _arrived(self, finder: Finder, dump: Dump, reader: LogReader) -> bytes:
        try:
            return await dump.received()
        except LostPlaceError as error:
            # No reader gets past a change of which the publication was not there, though it may be there again.
            error.place = finder.spot(await finder.end()).place(reader.previous)
            raise

    def _passed_over(self, reader: LogReader) -> LostPlaceError:
        """What is said where the server has left changes out; it goes on behind them."""
        what = f"publication {shown(self._publication)} was gone for a while, and the log holds nothing of what was changed then"
        return LostPlaceError(what, where=self._opened.where, place=reader.spot.place(reader.previous))

    async def _unchanged(self) -> None:
        """See that the publication still holds the tables, and that the log still tells of their old rows.

        Raises:
            LostPlaceError: one was taken out, or was dropped, or changes of one are kept back.
            HaltSyncError: a partition of one tells less than the table promises.
            TryAgainError: a partition is no longer one.
        """
        names = [layout.name for layout in self._layouts.values() if layout.partitioned]
        async with self._asking:
            found = await slots.publication(self._opened, self._publication)
            parted = await self._laid_out(names) if names else ()
        # A new partition has an identity of its own.
        self._usable(parted)
        if self._known.version < NOTICED:
            self._partitions.again(self._opened.where, parted)
        if found is None:
            raise LostPlaceError(f"publication {shown(self._publication)} is gone", where=self._opened.where)
        # Columns come and go without harm; what is known of them here may be old.
        followed = [replace(one, columns=()) for one in self._layouts.values() if one.oid in self._prepared.oids]
        if loss := slots.missed(self._publication, found, self._members, followed):
            raise LostPlaceError(loss, where=self._opened.where)

    async def _answer(self, question: Question) -> None:
        """Ask the server what the reader of its log wants to know."""
        async with self._asking:
            if isinstance(question, Unknown):
                found = await self._laid_out([question.name])
                question.layout = found[0] if found else None
                question.types = await tables.types(self._opened, {one.type for one in question.relation.columns})
            elif isinstance(question, Reread):
                layout = question.version.layout
                if layout is None:
                    raise HaltSyncError(
                        f"table {shown(question.version.label)} is gone, and its rows lack large values"
                    )
                question.rows = await rereading.by_key(self._opened, layout, question.version, question.keys)

    async def snapshot(self, labels: Sequence[str]) -> SnapshotRun:
        """A consistent picture of these tables."""
        chosen = await self._look(labels)
        encoders = {layout.name: encoder(self._specs[layout.name], layout) for layout in chosen}
        picture = await snapshot.take(self._reached, chosen, self._options.home_schema)
        place = self._finder().spot(picture.lsn).place(picture.lsn)
        return Run(picture, place, picture.lsn, total(chosen), encoders, self._options.chunk_rows)

    # ------------------------------------------------------------ single rows

    async def reread(self, spec: TableSpec, events: Sequence[bytes]) -> list[Written]:
        """The rows these events told of, as they are now."""
        [layout] = await self._look([spec.table.label])
        return await rereading.reread(self._opened, spec, layout, events)

    async def sample(self, spec: TableSpec, most: int) -> list[Written]:
        """The first rows of a table."""
        [layout] = await self._look([spec.table.label])
        link = await Link.open(self._reached)  # one of its own: COPY cannot be left in the middle without ending it
        try:
            return await rereading.sample(link, spec, layout, most)
        finally:
            await link.close()

    async def remove(self) -> list[str]:
        """Drop publication and slot."""
        address = self._found_address()
        link = await Link.open(address)
        try:
            return await slots.Keeper(address, link, self._publication, self._slot).remove()
        finally:
            await link.close()
