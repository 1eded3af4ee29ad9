"""The MySQL source: the promise of :class:`fuagent.interfaces.Source`, kept with the parts beside it.

``link`` connects, ``tables`` and ``columns`` say what there is, ``snapshot`` reads it whole, ``dump``
has the server send its binlog, ``reading`` turns that into Rows (``standing`` keeps where it is), ``finding``
finds and proves places.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress

from fuagent.encode.changes import Reread
from fuagent.encode.shown import shown
from fuagent.errors import FuagentError, HaltSyncError, LostPlaceError, TryAgainError
from fuagent.interfaces import Head, SnapshotRun, SourceContext
from fuagent.model import Anchor, Finding, Place, Rows, TableSpec, Written
from fuagent.sources.mysql import findings, places, rereading, snapshot, tables
from fuagent.sources.mysql.dump import MISSED, Dump
from fuagent.sources.mysql.finding import Finder
from fuagent.sources.mysql.link import DIALECT, IDLE_FOR, Link
from fuagent.sources.mysql.options import Options as MySQLOptions
from fuagent.sources.mysql.places import Spot
from fuagent.sources.mysql.reading import LogReader, Prepared, Question
from fuagent.sources.mysql.server import Server, kept_for
from fuagent.sources.mysql.server import server as asked
from fuagent.sources.mysql.tables import Layout
from fuagent.sources.mysql.versions import Unknown, Versions
from fuagent.sources.picture import Run, encoder, total
from fuagent.sources.selection import Listing, Name
from fuagent.sources.source import ServerSource

_HELD_FOR = 60
"""Seconds a reader may be silent before the server gives its lock to another: it was cut off, or its machine stopped."""


def _lock(agent_id: str, sync: str) -> str:
    """The name of the lock of one sync: MySQL takes 64 characters, in which long names may be alike."""
    whole = f"fuagent {agent_id} {sync}"
    return f"{whole[:47]} {hashlib.sha256(whole.encode()).hexdigest()[:16]}"


class MySQL(ServerSource[MySQLOptions, Link, Server, Layout, Versions]):
    """Follows tables of a MySQL (5.7 to 9) or MariaDB (10.5 to 12) server through its binlog."""

    Options = MySQLOptions
    _Link = Link
    _dialect = DIALECT

    def __init__(self, context: SourceContext) -> None:
        super().__init__(context)
        self._base = 0

    # ------------------------------------------------------------ tables

    async def _ask(self, link: Link) -> Server:
        return await asked(link)

    async def _listed(self) -> Listing:
        return await tables.listing(self._opened, self._reached.database, self._context.tables)

    async def _laid_out(self, names: Sequence[Name]) -> list[Layout]:
        return await tables.layouts(self._opened, names, self._reached.database)

    async def check(self) -> list[Finding]:
        """What would go wrong later."""
        found, selected = await self._selected()
        async with self._asking:
            return await findings.findings(self._opened, self._known, selected, found, self._context.tables)

    async def prepare(self, specs: Sequence[TableSpec], *, mend: bool = False) -> None:
        """Compile encoders; the log is the server's own and needs no making."""
        del mend  # what the log lacks shows in the log
        server = self._known
        if not server.log_bin:
            raise HaltSyncError(
                "the server writes no binlog, so there are no changes to follow",
                where=self._opened.where,
                fix="set log_bin = binlog and server_id in its configuration, and restart it",
            )
        await self._compile(specs)
        async with self._asking:
            rows = await self._opened.rows(
                "SELECT COLLATION_NAME, ID FROM information_schema.COLLATIONS WHERE ID IS NOT NULL"
            )
        collations = {name: int(number) for name, number in rows}
        self._versions = Versions(self._specs, collations, folds=server.lower_case_names != 0)

    # ------------------------------------------------------------ places

    def _finder(self) -> Finder:
        return Finder(self._opened, self._asking, self._reached, self._known, self._options.heartbeat, self._reader)

    def _reader(self, spot: Spot, previous: int, until: tuple[int, int] | None = None) -> LogReader:
        mariadb = self._known.mariadb
        return LogReader(self._prepared, spot, previous, mariadb=mariadb, chunk=self._options.chunk_rows, until=until)

    async def locate(self, anchors: Sequence[Anchor], index: int) -> Place:
        """Find the place behind ``index``."""
        place = await self._finder().locate(anchors, index, self._answer)
        self._base = places.read(place.position).base
        return place

    async def oldest(self, above: int) -> Place:
        """The oldest place in the log, with everything behind it numbered above ``above``."""
        place = await self._finder().oldest(above)
        self._base = places.read(place.position).base
        return place

    async def head(self, place: Place | None) -> Head:
        """Where the log ends."""
        finder = self._finder()
        end = await finder.end(self._base)
        spot = places.read(place.position) if place else None
        behind = await finder.bytes_between(spot, end) if spot else None
        async with self._asking:
            kept = await kept_for(self._opened)
        # What lies behind a place in a file was committed after that was begun.
        since = spot.created if spot and behind is not None else 0
        return Head(end.text(), None, behind, seconds_kept=kept, since=since or None)

    async def acknowledge(self, place: Place) -> None:
        """The server keeps its log as long as it is told to."""

    # ------------------------------------------------------------ rows

    @asynccontextmanager
    async def _alone(self) -> AsyncGenerator[asyncio.Task[None], None]:
        """Two readers for one sync would send everything twice: the server's own lock, which ends with the connection.

        Gives what keeps the lock; when that is done, the lock is gone.
        """
        link = self._opened
        name = _lock(self._context.agent_id, self._context.sync)
        async with self._asking:
            taken = await link.one("SELECT GET_LOCK(%s, 0), IS_USED_LOCK(%s)", (name, name))
            if taken is not None and taken[0] == 0:
                raise TryAgainError(
                    f"another reader works for sync {shown(self._context.sync)} (connection {taken[1]} of the server)",
                    where=link.where,
                    fix="end the other agent; a connection that was cut off or left by a crash ends within a minute",
                )
            await link.rows(f"SET SESSION wait_timeout = {_HELD_FOR}")
        holding = asyncio.create_task(self._hold(link))
        try:
            yield holding
        finally:
            await self._let_go(link, name, holding)

    async def _let_go(self, link: Link, name: str, holding: asyncio.Task[None]) -> None:
        """Give the lock back. A server that does not answer hears nothing of it: the link ends, and the lock with it."""
        try:
            async with asyncio.timeout(self._options.heartbeat):
                await self._asking.acquire()  # what is cancelled in the middle of a question ends the link
        except TimeoutError:
            await link.close()
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)
            return
        try:
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)
            if self._link is link:
                with suppress(FuagentError):
                    await link.rows("DO RELEASE_LOCK(%s)", (name,), within=self._options.heartbeat)
                    await link.rows(f"SET SESSION wait_timeout = {IDLE_FOR}", within=self._options.heartbeat)
        finally:
            self._asking.release()

    async def _hold(self, link: Link) -> None:
        """Be heard of by the server before it gives the lock to somebody else."""
        while True:
            await asyncio.sleep(_HELD_FOR / 4)
            async with self._asking:
                await link.rows("DO 0", within=self._options.heartbeat * MISSED)

    async def stream(
        self, place: Place, until: str | None = None, *, numbered: bool = True
    ) -> AsyncGenerator[Rows, None]:
        """Every change behind ``place``."""
        place, by_gtid = await self._finder().proven(place)
        spot = places.read(place.position)
        self._base = spot.base
        last = None if until is None else places.read(until).order
        reader = LogReader(
            self._prepared,
            spot,
            place.previous,
            mariadb=self._known.mariadb,
            resume_after=place.resume_after,
            numbered=numbered,
            chunk=self._options.chunk_rows,
            until=last,
        )
        if reader.finished:
            await self._finder().unchanged(spot)
            yield reader.nothing(at_end=True)
            return
        async with self._alone() as holding:
            dump = await Dump.open(self._reached, self._known, spot, self._options.heartbeat, by_gtid=by_gtid)
            try:
                async with aclosing(self._read(dump, reader, holding)) as found:
                    async for rows in found:
                        yield rows
                yield reader.nothing(at_end=True)
            finally:
                await dump.close()

    async def _read(self, dump: Dump, reader: LogReader, holding: asyncio.Task[None]) -> AsyncGenerator[Rows, None]:
        """Rows as they come, and a word each time there are no more."""
        end = (await self._finder().end(0)).order
        told = False
        quiet = 0
        while not reader.finished:
            if not told and reader.idle and not await dump.more():
                if reader.order >= end:
                    told = True
                    yield reader.nothing(at_end=True)
                else:
                    end = (await self._finder().end(0)).order
            before = reader.order
            arrived = await dump.events()
            if holding.done():
                raise TryAgainError(
                    "the server ended the connection that keeps a second reader away", where=self._opened.where
                )
            async with aclosing(self._fed(reader, arrived)) as found:
                async for rows in found:
                    told = False
                    yield rows
            self._say(reader.left)
            quiet = quiet + 1 if reader.idle and reader.order == before else 0
            if quiet > 1 and not await dump.more():
                await self._still_there(dump, reader)

    async def _still_there(self, dump: Dump, reader: LogReader) -> None:
        """See, where signs of life alone arrive, that the log is still the one that is read: a server whose
        logs were reset goes on sending them for the old one, for ever."""
        end = await self._finder().end(0)
        if end.order == reader.order or await dump.more():
            return  # all is there, or something was committed meanwhile and is on its way
        if end.order < reader.order:
            raise LostPlaceError("the server's binlogs were reset (RESET MASTER)", where=self._opened.where)
        raise TryAgainError(
            "the binlog goes on, but its changes do not arrive; reading begins anew", where=self._opened.where
        )

    async def _fed(self, reader: LogReader, arrived: Sequence[bytes]) -> AsyncGenerator[Rows, None]:
        for given in reader.feed(arrived):
            if isinstance(given, Rows):
                yield given
            elif isinstance(given, Prepared):
                async with aclosing(self._committed(given)) as found:
                    async for rows in found:
                        yield rows
            else:
                await self._answer(given)

    async def _committed(self, given: Prepared) -> AsyncGenerator[Rows, None]:
        """The changes of a transaction that was prepared some time ago, read from there once more."""
        dump = await Dump.open(self._reached, self._known, given.start, self._options.heartbeat)
        try:
            while not given.inner.finished:
                async with aclosing(self._fed(given.inner, await dump.events())) as found:
                    async for rows in found:
                        yield rows
        finally:
            await dump.close()

    async def _answer(self, question: Question) -> None:
        """Ask the server what the reader of its log wants to know."""
        async with self._asking:
            if isinstance(question, Unknown):
                found = await self._laid_out([question.name])
                # While it is altered a table may not be seen; then what it was has to do.
                known = self._layouts.get(self._prepared.label(question.name))
                question.layout = found[0] if found else known
                question.changed = await tables.changed(self._opened, question.name)
            elif isinstance(question, Reread):
                question.rows = await rereading.by_key(
                    self._opened, question.version, question.keys, self._reached.database
                )

    async def snapshot(self, labels: Sequence[str]) -> SnapshotRun:
        """A consistent picture of these tables."""
        chosen = await self._look(labels)
        encoders = {layout.name: encoder(self._specs[layout.name], layout) for layout in chosen}
        picture = await snapshot.take(self._reached, self._known, chosen, self._context.warn)
        try:
            created = await self._finder().created(picture.file)
        except BaseException:
            await picture.close()
            raise
        server, gtid = self._known, picture.gtid
        spot = Spot(
            picture.file, picture.position, server.server_id, server.server_uuid or "", created, gtid, self._base
        )
        return Run(picture, spot.place(spot.number), spot.number, total(chosen), encoders, self._options.chunk_rows)

    # ------------------------------------------------------------ single rows

    async def reread(self, spec: TableSpec, events: Sequence[bytes]) -> list[Written]:
        """The rows these events told of, as they are now."""
        [layout] = await self._look([spec.table.label])
        return await rereading.reread(self._opened, spec, layout, events)

    async def sample(self, spec: TableSpec, most: int) -> list[Written]:
        """The first rows of a table."""
        [layout] = await self._look([spec.table.label])
        return await rereading.sample(self._opened, spec, layout, most)

    async def remove(self) -> list[str]:
        """Nothing of fuagent's is ever in the database."""
        return []
