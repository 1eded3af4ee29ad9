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
from contextlib import asynccontextmanager
from dataclasses import replace

from fuagent.engine.lifecycle import Event
from fuagent.engine.reader import close
from fuagent.engine.stream import Passage, Stream
from fuagent.engine.sync import BY_SERVICE, COOLED, PAUSE_FIRST, PAUSE_MOST, Sync
from fuagent.engine.watch import Watch
from fuagent.errors import LostPlaceError
from fuagent.interfaces import SnapshotRun
from fuagent.journal import SnapshotRecord
from fuagent.model import Place, Rows


class Snapshot:
    """Takes snapshots for one sync."""

    def __init__(self, sync: Sync, stream: Stream, watch: Watch) -> None:
        self._sync = sync
        self._stream = stream
        self._watch = watch
        self._streamed = 0.0

    async def take(self, place: Place | None) -> Place:
        """Take the snapshot the record calls for; gives the place to stream from.

        ``place`` is where the sync stands, None before its first snapshot is done.
        """
        sync = self._sync
        due = sync.ledger.record.snapshot or SnapshotRecord(cause="the first one")
        self._streamed = sync.clock.monotonic() - sync.streamed_since
        sync.in_snapshot = True
        sync.next_run()
        self._show(due)
        run = await sync.source.snapshot(due.tables or tuple(table.label for table in sync.tables))
        async with run, self._held():
            running = self._begin(due, run, place)
            reached = await self._changes(place, running, run)
            if not due.tables:
                # Before the first row a service that accepts is told to expect all of them.
                await self._watch.suggest()
            numbered = self._number(run, reached)
            await self._rows(run, numbered)
        sync.ledger.save(snapshot=replace(sync.ledger.record.snapshot or numbered, stage="rows_done"))
        return await self.finish()

    async def finish(self, gap: str = "") -> Place:
        """Send the end marker of a snapshot whose rows are all there, and write it down as done.

        ``gap`` is one that came about behind S and so outlasts the snapshot.
        """
        sync = self._sync
        done = sync.ledger.record.snapshot
        assert done is not None
        again = done.again
        if not done.tables:
            outcome = await sync.delivery.flags(sync.routes(), end=True)
            again = again or outcome.snapshot_needed
            gap = "" if outcome.snapshot_needed else gap
        assert done.place is not None
        changes = self._done(done, again=again, gap=gap)
        sync.ledger.anchored(done.place, sync.ledger.record.acknowledged, **changes)
        sync.in_snapshot = sync.snapshot_first = False
        sync.streamed_since = sync.clock.monotonic()
        sync.wishes.ask_checkpoint = True
        sync.update_flag()
        sync.reporter.info("snapshot done", rows=sync.progress.snapshot_rows, cause=done.cause)
        return done.place

    @asynccontextmanager
    async def _held(self) -> AsyncIterator[None]:
        """Tells since when the picture is held, through every trouble under it."""
        self._sync.progress.snapshot_since = self._sync.clock.time()
        try:
            yield
        finally:
            self._sync.progress.snapshot_since = None

    def _show(self, due: SnapshotRecord) -> None:
        progress = self._sync.progress
        progress.snapshot_rows, progress.snapshot_total, progress.snapshot_cause = 0, None, due.cause
        self._sync.reporter.meet(Event.SNAPSHOT)

    def _begin(self, due: SnapshotRecord, run: SnapshotRun, place: Place | None) -> SnapshotRecord:
        origin = None if place else due.origin or run.place
        running = replace(due, stage="running", origin=origin, place=run.place, index=0)
        record = self._sync.ledger.record
        # What joins the sync later is not in this picture, even if the end marker waits for the next start.
        tables = record.tables if due.tables else tuple(table.label for table in self._sync.tables)
        self._sync.ledger.save(snapshot=running, tables=tables)
        self._sync.progress.snapshot_total = run.total
        self._sync.reporter.info("snapshot begins", cause=due.cause, total=run.total, number=run.index)
        return running

    def _number(self, run: SnapshotRun, reached: Place | None) -> SnapshotRecord:
        """Settle the index of the last row: above all that was sent, so that it is seen to arrive."""
        record = self._sync.ledger.record
        assert record.snapshot is not None
        sent = max(record.acknowledged, reached.previous if reached else 0)
        index = 0 if record.snapshot.tables else max(sent + 1, run.index)
        place = replace(run.place, previous=max(run.place.previous, sent, index))
        # A request before the first row is this snapshot, if it is a whole one.
        again = record.snapshot.again and bool(record.snapshot.tables)
        numbered = replace(record.snapshot, place=place, index=index, again=again)
        self._sync.ledger.save(snapshot=numbered)
        return numbered

    async def _changes(self, place: Place | None, running: SnapshotRecord, run: SnapshotRun) -> Place | None:
        """What changed up to S, and the place that reaches; a request for a snapshot in reply is this very one.

        Raises:
            LostPlaceError: it is not to be had, and this snapshot does not make up for it: it shows some tables alone.
        """
        origin = place or running.origin
        if origin is None or origin.position == run.place.position:
            return place
        sync = self._sync
        rows = sync.source.stream(origin, run.place.position, numbered=place is not None)
        passage = Passage(streaming=place is not None, repeated=place is None)
        try:
            reached = await self._stream.run(rows, origin, passage)
        except LostPlaceError as error:
            if running.tables:
                raise
            sync.reporter.notice(f"Rows deleted before this snapshot may remain at the service: {error.what}")
            return place
        return reached if place else None

    async def _rows(self, run: SnapshotRun, numbered: SnapshotRecord) -> None:
        sync = self._sync
        # Apart from the changes up to S: a row deleted among them is none that the snapshot contains.
        sync.next_run()
        sync.progress.snapshot_rows = 0
        sync.progress.met_end = True  # what is older than S was delivered, or is in the picture
        sync.reporter.meet(Event.SNAPSHOT)
        rows = with_last_index(run.rows(), numbered.index) if numbered.index else run.rows()
        await self._stream.run(rows, run.place, Passage())

    def _done(self, done: SnapshotRecord, *, again: bool, gap: str) -> dict[str, object]:
        """The record after a finished snapshot."""
        record = self._sync.ledger.record
        due = SnapshotRecord(cause=BY_SERVICE) if again else None
        if done.tables:
            return {"snapshot": due, "tables": tuple(dict.fromkeys((*record.tables, *done.tables)))}
        # Soon after the last one, counted in the pause that was owed: who asks for ever waits ever longer.
        soon = done.cause in COOLED and record.snapshots and self._streamed < 2 * record.snapshot_pause
        pause = min(record.snapshot_pause * 2, PAUSE_MOST) if soon else PAUSE_FIRST
        return {"snapshot": due, "snapshots": record.snapshots + 1, "snapshot_pause": pause, "gap": gap}


async def with_last_index(rows: AsyncIterator[Rows], index: int) -> AsyncIterator[Rows]:
    """The same rows, the very last one of all carrying ``index``."""
    held: Rows | None = None
    try:
        async for chunk in rows:
            if held is not None and chunk.rows:
                yield held
            if chunk.rows:
                held = chunk
    finally:
        await close(rows)
    if held is None:
        return
    *others, last = held.rows
    if others:
        yield replace(held, rows=others)
    opening = last[:-1] + (b"," if len(last) > len(b"{}") else b"")
    yield replace(held, rows=(b'%s"index":%d}' % (opening, index),), indexes=(index,))
