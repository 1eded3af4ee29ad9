"""The snapshot of one sync, in the order that loses nothing.

1. A consistent picture is taken; S is the place in the log it shows.
2. The changes up to S are delivered first, because a row deleted since would
   otherwise stay at the service for ever. A repeated first snapshot reads them
   from the first attempt's S, or as far as an attempt got since, and sends them
   without an index.
3. All rows, without an index but for the very last one, which carries S's: so the
   service has a checkpoint even if the source stays silent, and never half a one.
4. When every row is acknowledged: the end marker, until it is acknowledged too.
5. Only then is the snapshot done, on disk, and the stream goes on from S.

A crash anywhere begins again at 1, or at 4 if the service's checkpoint is S.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from fuagent.engine.lifecycle import Event
from fuagent.engine.stream import Passage, Stream
from fuagent.engine.sync import BY_SERVICE, PAUSE_FIRST, PAUSE_MOST, Sync
from fuagent.errors import LostPlaceError
from fuagent.interfaces import SnapshotRun
from fuagent.journal import SnapshotRecord
from fuagent.model import Place, Rows


class Snapshot:
    """Takes snapshots for one sync."""

    def __init__(self, sync: Sync, stream: Stream) -> None:
        self._sync = sync
        self._stream = stream

    async def take(self, place: Place | None) -> Place:
        """Take the snapshot the record calls for; gives the place to stream from.

        ``place`` is where the sync stands, None before its first snapshot is done.
        """
        sync = self._sync
        due = sync.ledger.record.snapshot or SnapshotRecord(cause="the first one")
        sync.in_snapshot = True
        sync.next_run()
        self._show(due)
        run = await sync.source.snapshot(due.tables or tuple(table.label for table in sync.tables))
        async with run:
            running = self._begin(due, run, place)
            await self._changes(place, running, run)
            await self._rows(run, last=not due.tables)
        sync.ledger.save(snapshot=replace(running, stage="rows_done"))
        await self.finish()
        return run.place

    async def finish(self) -> Place | None:
        """Send the end marker of a snapshot whose rows are all there, and write it down as done."""
        sync = self._sync
        done = sync.ledger.record.snapshot
        assert done is not None
        again = self._stream.wanted_again()
        if not done.tables:
            outcome = await sync.delivery.flags(sync.routes(), end=True)
            again = again or outcome.snapshot_needed
        assert done.place is not None
        sync.ledger.anchored(done.place, sync.ledger.record.acknowledged, **self._done(done, again))
        sync.in_snapshot = False
        sync.streamed_since = sync.clock.monotonic()
        sync.update_flag()
        sync.reporter.info("snapshot done", rows=sync.progress.snapshot_rows, cause=done.cause)
        return done.place

    def _show(self, due: SnapshotRecord) -> None:
        progress = self._sync.progress
        progress.snapshot_rows, progress.snapshot_total, progress.snapshot_cause = 0, None, due.cause
        self._sync.reporter.meet(Event.SNAPSHOT)

    def _begin(self, due: SnapshotRecord, run: SnapshotRun, place: Place | None) -> SnapshotRecord:
        origin = None if place else due.origin or run.place
        running = replace(due, stage="running", origin=origin, place=run.place, index=run.index)
        self._sync.ledger.save(snapshot=running)
        self._sync.progress.snapshot_total = run.total
        self._sync.reporter.info("snapshot begins", cause=due.cause, total=run.total, index=run.index)
        return running

    async def _changes(self, place: Place | None, running: SnapshotRecord, run: SnapshotRun) -> None:
        """What changed up to S; a request for a snapshot in reply is this very one."""
        origin = place or running.origin
        if origin is None or origin.position == run.place.position:
            return
        sync = self._sync
        rows = sync.source.stream(origin, run.place.position, numbered=place is not None)
        passage = Passage(streaming=place is not None, repeated=place is None)
        try:
            await self._stream.run(rows, origin, passage)
        except LostPlaceError as error:
            sync.reporter.notice(f"Rows deleted before this snapshot may remain at the service: {error.what}")
        self._stream.wanted_again()

    async def _rows(self, run: SnapshotRun, *, last: bool) -> None:
        sync = self._sync
        sync.progress.snapshot_rows = 0
        sync.reporter.meet(Event.SNAPSHOT)
        rows = with_last_index(run.rows(), run.index) if last else run.rows()
        await self._stream.run(rows, run.place, Passage())

    def _done(self, done: SnapshotRecord, again: bool) -> dict[str, object]:  # noqa: FBT001
        """The record after a finished snapshot."""
        sync = self._sync
        record = sync.ledger.record
        tables = tuple(table.label for table in sync.tables)
        if done.tables:
            return {"snapshot": None, "tables": tuple(dict.fromkeys((*record.tables, *done.tables)))}
        streamed = sync.clock.monotonic() - sync.streamed_since
        often = done.cause == BY_SERVICE and record.snapshots and streamed < PAUSE_MOST
        pause = min(record.snapshot_pause * 2, PAUSE_MOST) if often else PAUSE_FIRST
        return {
            "snapshot": SnapshotRecord(cause=BY_SERVICE) if again else None,
            "snapshots": record.snapshots + 1,
            "snapshot_pause": pause,
            "tables": tables,
            "gap": "",
        }


async def with_last_index(rows: AsyncIterator[Rows], index: int) -> AsyncIterator[Rows]:
    """The same rows, the very last one of all carrying ``index``."""
    held: Rows | None = None
    async for chunk in rows:
        if held is not None and chunk.rows:
            yield held
        if chunk.rows:
            held = chunk
    if held is None:
        return
    *others, last = held.rows
    if others:
        yield replace(held, rows=others)
    opening = last[:-1] + (b"," if len(last) > len(b"{}") else b"")
    yield replace(held, rows=(b'%s"index":%d}' % (opening, index),), indexes=(index,))
