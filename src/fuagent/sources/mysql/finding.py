"""Places in the log, found and proven: which file an index stands for, and whether it is still the same log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from fuagent.encode.shown import shown
from fuagent.errors import LostPlaceError
from fuagent.model import Anchor, Place, Rows
from fuagent.sources.mysql import places
from fuagent.sources.mysql.dump import Dump
from fuagent.sources.mysql.link import Address, Link
from fuagent.sources.mysql.places import FILE, LIFTED, MAGIC, Spot
from fuagent.sources.mysql.reading import LogReader, Question
from fuagent.sources.mysql.server import Server
from fuagent.sources.mysql.snapshot import position
from fuagent.wire.mysql import events
from fuagent.wire.mysql.gtids import GtidSet, MariadbPosition

Answer = Callable[[Question], Awaitable[None]]
_KEEP = "keep binlogs longer than any outage: SET GLOBAL binlog_expire_logs_seconds = 604800"


@dataclass(frozen=True, slots=True)
class Finder:
    """Looks for places on one server."""

    link: Link
    asking: asyncio.Lock
    """Held while the link is asked."""
    address: Address
    server: Server
    heartbeat: float
    reader: Callable[[Spot, int, tuple[int, int] | None], LogReader]

    # ------------------------------------------------------------ the log's ends

    async def end(self, base: int) -> Spot:
        """Where the log ends now."""
        async with self.asking:
            file, offset, gtid = await position(self.link, self.server)
        return Spot(file, offset, self.server.server_id, self.server.server_uuid or "", 0, gtid, base)

    async def files(self) -> list[tuple[str, int]]:
        """The files of the log with their sizes in bytes, oldest first."""
        async with self.asking:
            rows = await self.link.rows("SHOW BINARY LOGS")
        return sorted(((str(row[0]), int(row[1])) for row in rows), key=lambda one: places.file_number(one[0]))

    async def bytes_between(self, spot: Spot, end: Spot) -> int | None:
        """Bytes of the log behind ``spot``; None where the spot is of another log."""
        if not self._same(spot):
            return None
        first, last = spot.order, end.order
        between = [(places.file_number(file), size) for file, size in await self.files()]
        sizes = [size for number, size in between if first[0] <= number < last[0]]
        return max(0, sum(sizes) + last[1] - first[1])

    async def created(self, file: str, offset: int = MAGIC) -> int:
        """When a file of the log was begun.

        Raises:
            LostPlaceError: it is not there (any more), or ends before ``offset``.
        """
        spot = Spot(file, offset)
        dump = await Dump.open(self.address, self.server, spot, self.heartbeat)
        try:
            while True:
                for event in await dump.events():
                    header = events.Header(*events.HEADER.unpack_from(event))
                    if header.kind == events.FORMAT_DESCRIPTION:
                        return header.timestamp
        finally:
            await dump.close()

    async def oldest(self, above: int) -> Place:
        """The oldest place there is, numbered above ``above``."""
        file, _ = (await self.files())[0]
        spot = Spot(file, MAGIC, self.server.server_id, self.server.server_uuid or "", await self.created(file))
        return places.lifted(spot, above).place(above)

    # ------------------------------------------------------------ proof

    def _same(self, spot: Spot) -> bool:
        return (spot.server, spot.uuid) == (self.server.server_id, self.server.server_uuid or "")

    async def proven(self, place: Place) -> tuple[Place, bool]:
        """The place in this server's log, and whether it has to be asked for by GTID.

        Raises:
            LostPlaceError: it is not in this log, or nothing proves that it is.
        """
        spot = places.read(place.position)
        if self._same(spot):
            sizes = dict(await self.files())
            if spot.file not in sizes:
                raise LostPlaceError(f"binlog {shown(spot.file)} was purged", where=self.link.where, fix=_KEEP)
            if sizes[spot.file] < spot.offset:
                what = f"binlog {shown(spot.file)} ends before the place that was read up to"
                raise LostPlaceError(f"{what}: the server lost its tail, or its logs were reset", where=self.link.where)
            return place, False
        return await self._elsewhere(spot, place), True

    async def _elsewhere(self, spot: Spot, place: Place) -> Place:
        """The same place in the log of another server: file and offset say nothing there, what was committed does."""
        what = f"the server is another one (server_id {self.server.server_id}, before {spot.server})"
        if not spot.gtid:
            fix = "use GTIDs, so that a place can be found on another server"
            raise LostPlaceError(f"{what}, and the place has no GTID", where=self.link.where, fix=fix)
        if not await self._holds(spot.gtid):
            raise LostPlaceError(f"{what}, and its binlog does not hold what was read before", where=self.link.where)
        first = (await self.files())[0][0]
        moved = Spot(first, MAGIC, self.server.server_id, self.server.server_uuid or "", 0, spot.gtid, spot.base)
        # The whole transaction comes again where one was cut: its numbers are others here.
        above = max(place.previous, place.resume_after)
        return replace(moved, base=max(LIFTED, above // FILE + 1)).place(above)

    async def _holds(self, gtid: str) -> bool:
        async with self.asking:
            if self.server.mariadb:
                row = await self.link.one("SELECT @@GLOBAL.gtid_binlog_pos")
                return MariadbPosition.parse(row[0] if row else "").reaches(MariadbPosition.parse(gtid))
            row = await self.link.one("SELECT @@GLOBAL.gtid_executed, @@GLOBAL.gtid_purged")
        if row is None or self.server.gtid_mode != "ON":
            return False
        executed, purged = GtidSet.parse(row[0]), GtidSet.parse(row[1])
        read = GtidSet.parse(gtid)
        return read.issubset(executed) and purged.issubset(read)

    # ------------------------------------------------------------ numbers

    async def locate(self, anchors: Sequence[Anchor], index: int, answer: Answer) -> Place:
        """The place right behind ``index``, proven.

        Raises:
            LostPlaceError: it is not in the log any more, lies beyond its end, or falls between two numbers.
        """
        exact = next((anchor for anchor in anchors if anchor.index == index), None)
        if exact is not None:
            place, _ = await self.proven(exact.place)
            spot = places.read(place.position)
            if self._same(places.read(exact.place.position)):
                await self.unchanged(spot)
            return place
        below = max((anchor for anchor in anchors if anchor.index < index), key=lambda one: one.index, default=None)
        if below is not None:
            return await self._sought(below.place, index, answer, alone=False)
        return await self._sought(await self._by_number(index), index, answer, alone=True)

    async def unchanged(self, spot: Spot) -> None:
        """See that the spot's file is the one of that name that was read before.

        Raises:
            LostPlaceError: it is not.
        """
        if spot.created and await self.created(spot.file, spot.offset) != spot.created:
            raise LostPlaceError(
                f"binlog {shown(spot.file)} is not the file of that name that was read before: the logs were reset",
                where=self.link.where,
            )

    async def _by_number(self, index: int) -> Place:
        """The start of the file that an index alone points into."""
        if index >= LIFTED * FILE:
            what = f"index {index} was numbered after a failover or reset, and the journal that knows of it is lost"
            raise LostPlaceError(what, where=self.link.where)
        for file, size in await self.files():
            if places.file_number(file) == index // FILE:
                if size >= FILE:
                    raise LostPlaceError("a binlog file beyond 4 GiB proves no number by itself", where=self.link.where)
                created = await self.created(file)
                spot = Spot(file, MAGIC, self.server.server_id, self.server.server_uuid or "", created)
                return spot.place(0)
        raise LostPlaceError(
            f"the server has no binlog file of number {index // FILE}", where=self.link.where, fix=_KEEP
        )

    async def _sought(self, place: Place, index: int, answer: Answer, *, alone: bool) -> Place:
        """Read on from ``place`` until ``index`` is met, exactly."""
        place, by_gtid = await self.proven(place)
        end = await self.end(0)
        spot = places.read(place.position)
        reader = self.reader(spot, place.previous, end.order)
        reader.sought = index
        if not reader.finished:
            dump = await Dump.open(self.address, self.server, spot, self.heartbeat, by_gtid=by_gtid)
            try:
                while not reader.finished:
                    for given in reader.feed(await dump.events()):
                        if not isinstance(given, Rows):
                            await answer(given)
            finally:
                await dump.close()
        if alone and reader.carried:
            raise LostPlaceError("compressed changes in the binlog prove no number by itself", where=self.link.where)
        if reader.met is None:
            beyond = max(reader.previous, reader.spot.number) < index
            where = "lies beyond the end of the binlog" if beyond else "falls between two changes"
            raise LostPlaceError(f"index {index} {where}: it is not one of this log's", where=self.link.where)
        return reader.met
