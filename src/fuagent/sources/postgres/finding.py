"""Places in the log, found and proven: whether it is still the same log, and whether the slot still holds them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from fuagent.encode.shown import shown
from fuagent.errors import LostPlaceError, TryAgainError
from fuagent.model import Anchor, Place, Rows
from fuagent.sources.address import Address
from fuagent.sources.postgres import places, slots
from fuagent.sources.postgres.dump import Commands, Dump
from fuagent.sources.postgres.link import Link
from fuagent.sources.postgres.places import Spot
from fuagent.sources.postgres.reading import LogReader, Question
from fuagent.sources.postgres.server import Server
from fuagent.wire.postgres import lsn

Answer = Callable[[Question], Awaitable[None]]
_SWITCH = re.compile(rb"^\s*(\d+)\s+([0-9A-Fa-f]+/[0-9A-Fa-f]+)", re.MULTILINE)
_END = (
    "SELECT (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() "
    "ELSE pg_catalog.pg_current_wal_flush_lsn() END)::pg_catalog.text"
)


@dataclass(frozen=True, slots=True)
class Finder:
    """Looks for places on one server."""

    link: Link
    asking: asyncio.Lock
    """Held while the link is asked."""
    address: Address
    server: Server
    slot: str
    reader: Callable[[Spot, int, int | None], LogReader]
    dump: Callable[[Spot], Awaitable[Dump]]

    # ------------------------------------------------------------ the log's ends

    def spot(self, position: int) -> Spot:
        """A boundary in this server's log."""
        return Spot(position, self.server.system, self.server.timeline)

    async def end(self) -> int:
        """Where the log ends now: all before is on disk, and so can be streamed."""
        async with self.asking:
            [(text,)] = await self.link.rows(_END)
        return lsn.number(text)

    async def kept(self) -> slots.Slot:
        """The slot.

        Raises:
            LostPlaceError: there is none, or it is of no use any more.
        """
        async with self.asking:
            found = await slots.slot(self.link, self.slot)
        if found is None:
            raise LostPlaceError(f"replication slot {shown(self.slot)} is gone", where=self.link.where)
        if found.lost:
            what = f"replication slot {shown(self.slot)} is of no use any more: {shown(found.lost)}"
            raise LostPlaceError(what, where=self.link.where, fix=found.fix)
        return found

    async def oldest(self, above: int) -> Place:
        """The oldest place there is, numbered above ``above``."""
        place = self.spot((await self.kept()).confirmed).place(above)
        places.first_number(0, above)
        return place

    # ------------------------------------------------------------ proof

    async def proven(self, place: Place) -> Place:
        """The place in this server's log.

        Raises:
            LostPlaceError: it is not in this log, or nothing proves that it is.
            TryAgainError: a standby is behind it, as one is for a while that takes over.
        """
        spot = places.read(place.position)
        if spot.system != self.server.system:
            what = f"the cluster is another one (system identifier {self.server.system}, before {spot.system})"
            raise LostPlaceError(what, where=self.link.where)
        if spot.timeline != self.server.timeline:
            await self._same_until(spot)
        kept = await self.kept()
        if spot.lsn < kept.confirmed:
            raise LostPlaceError(
                f"replication slot {shown(self.slot)} has let go of the log behind the place: it was made anew, or "
                "something else has read from it",
                where=self.link.where,
            )
        if spot.lsn > await self.end():
            if self.server.recovering:
                what = (
                    f"the server is a standby that has not come to the place that was read up to ({lsn.text(spot.lsn)})"
                )
                raise TryAgainError(what, where=self.link.where, fix="it goes on when it has, or is promoted")
            what = f"the log ends before the place that was read up to ({lsn.text(spot.lsn)}): the server was restored"
            raise LostPlaceError(what, where=self.link.where)
        return Place(self.spot(spot.lsn).text(), place.previous, place.resume_after)

    async def _same_until(self, spot: Spot) -> None:
        """See that this server's timeline came out of the spot's behind it."""
        commands = await Commands.open(self.address)
        try:
            [(_, history)] = await commands.rows(f"TIMELINE_HISTORY {self.server.timeline}")
        except LostPlaceError:  # the server has no such file
            history = b""
        finally:
            await commands.close()
        text = history if isinstance(history, bytes) else str(history).encode()
        switches = {int(found[1]): lsn.number(found[2].decode()) for found in _SWITCH.finditer(text)}
        if switches.get(spot.timeline, -1) < spot.lsn:
            what = (
                f"the server's timeline {self.server.timeline} does not hold what was read on timeline {spot.timeline}"
            )
            raise LostPlaceError(f"{what}: a copy that was behind took over", where=self.link.where)

    # ------------------------------------------------------------ numbers

    async def locate(self, anchors: Sequence[Anchor], index: int, answer: Answer) -> Place:
        """The place right behind ``index``, proven.

        Raises:
            LostPlaceError: it is not in the log any more, lies beyond its end, or falls between two numbers.
        """
        exact = next((anchor for anchor in anchors if anchor.index == index), None)
        if exact is not None:
            return await self.proven(exact.place)
        below = max((anchor for anchor in anchors if anchor.index < index), key=lambda one: one.index, default=None)
        if below is None:
            what = f"nothing tells where in the log index {index} is: the journal that knows of it is lost"
            raise LostPlaceError(what, where=self.link.where)
        return await self._sought(below.place, index, answer)

    async def _sought(self, place: Place, index: int, answer: Answer) -> Place:
        """Read on from ``place`` until ``index`` is met, exactly."""
        place = await self.proven(place)
        spot = places.read(place.position)
        reader = self.reader(spot, place.previous, await self.end())
        reader.sought = index
        if not reader.finished:
            dump = await self.dump(spot)
            try:
                while not reader.finished:
                    dump.ask()
                    for given in reader.feed(await dump.received()):
                        if not isinstance(given, Rows):
                            await answer(given)
            finally:
                await dump.close()
        if reader.met is None:
            beyond = reader.previous < index
            where = "lies beyond the end of the log" if beyond else "falls between two changes"
            raise LostPlaceError(f"index {index} {where}: it is not one of this log's", where=self.link.where)
        return reader.met
