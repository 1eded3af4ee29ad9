"""Moving rows: from an iterator of the source, through a batcher, to delivery.

The same loop serves the stream, the changes under a snapshot, and the snapshot's
own rows; what differs is where the rows come from and whether their places count.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from fuagent.engine.batcher import Parcel
from fuagent.engine.checking import checked
from fuagent.engine.delivery import Delivered, StoppedError
from fuagent.engine.lifecycle import Event
from fuagent.engine.reader import Reader
from fuagent.engine.sync import StartAgain, Sync
from fuagent.engine.watch import Watch
from fuagent.model import Place, Rows

TICK = 5.0
"""Seconds between two looks at what is due besides rows."""


@dataclass(frozen=True, slots=True)
class Passage:
    """How one run of rows is treated.

    ``streaming``: places are remembered to go on from. ``repeated``: they are remembered as
    where the changes under a first snapshot go on. ``obeys``: a reply may ask for a snapshot.
    ``leave`` says whether to stop at the next transaction end.
    """

    streaming: bool = False
    repeated: bool = False
    obeys: bool = False
    leave: Callable[[], bool] = lambda: False


class Stream:
    """Runs rows through one sync."""

    def __init__(self, sync: Sync, watch: Watch) -> None:
        self._sync = sync
        self._watch = watch

    async def run(self, rows: AsyncIterator[Rows], place: Place, passage: Passage) -> Place:
        """Deliver ``rows`` until they end or ``passage.leave`` says so; gives the place reached.

        Raises:
            StoppedError: the sync is to end.
        """
        batcher = self._sync.batcher()
        if self._sync.checks:
            rows = checked(rows, self._sync.checks)
        between = True
        async with Reader(rows, batcher) as reader, _waking(self._sync, reader):
            while True:
                parcel = batcher.take()
                if parcel is None:
                    if reader.done or (between and passage.leave()):
                        return place
                    await self._idle(reader, passage)
                    continue
                reader.taken()
                place = await self._deliver(parcel, place, passage)
                between = parcel.boundary
                if between and passage.leave():
                    return place

    def _heed(self) -> None:
        """Leave at once where that loses nothing: at the end of the sync, and where a pause meets a snapshot."""
        if self._sync.wishes.stopping.is_set():
            raise StoppedError
        if self._sync.ledger.record.paused and self._sync.in_snapshot:
            raise StartAgain

    async def _deliver(self, parcel: Parcel, place: Place, passage: Passage) -> Place:
        sync = self._sync
        self._heed()
        sync.heed_schema(parcel)
        if not parcel.count:
            if passage.streaming and (parcel.place != place or parcel.left_out):
                sync.ledger.moved(parcel.place if parcel.boundary else None, left_out=parcel.left_out)
        else:
            async for part in sync.delivery.rows(parcel):
                self._done(part, passage)
            sync.reporter.meet(Event.SENT)
        if passage.obeys and parcel.pieces[-1].rows.at_end and parcel.boundary:
            sync.reporter.meet(Event.CAUGHT_UP)
        await self._watch.after_batch(sent=parcel.count > 0)
        return parcel.place

    def _done(self, part: Delivered, passage: Passage) -> None:
        sync = self._sync
        asked = None
        if part.snapshot_needed and passage.obeys:
            asked = sync.wanted()
        elif part.snapshot_needed:
            sync.asked_again()
        if passage.repeated:
            sync.ledger.repeated(part.parcel)
        else:
            sync.ledger.delivered(part.parcel, acknowledged=part.acknowledged, streaming=passage.streaming, asked=asked)
        if not passage.streaming:
            sync.progress.snapshot_rows += part.parcel.count
        if not part.acknowledged:
            sync.progress.rejected = sync.journal.rejected_count()
            sync.reporter.notice("A row the service refuses was set aside.", table=part.parcel.table)
        else:
            sync.unproven = False
        sync.update_flag()

    async def _idle(self, reader: Reader, passage: Passage) -> None:
        sync = self._sync
        self._heed()
        if passage.streaming:
            await self._watch.idle()
        await reader.news()
        if sync.settings.batch_wait:
            await sync.clock.sleep(sync.settings.batch_wait)


class _waking:  # noqa: N801 - a context manager, named for how it reads
    """Wakes ``reader`` at every tick and whenever someone asks something of the sync."""

    def __init__(self, sync: Sync, reader: Reader) -> None:
        self._sync = sync
        self._reader = reader

    async def __aenter__(self) -> None:
        self._tasks = [asyncio.create_task(self._tick()), asyncio.create_task(self._listen())]

    async def __aexit__(self, *_error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _tick(self) -> None:
        while True:
            await self._sync.clock.sleep(TICK)
            self._reader.wake()

    async def _listen(self) -> None:
        wake = self._sync.wishes.wake
        while True:
            await wake.wait()
            wake.clear()
            self._reader.wake()
