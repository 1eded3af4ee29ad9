"""What has been delivered, written down in the right order.

The order is the promise: the service's 2xx, then the journal, then (once the
journal is on disk, and never beyond what the service itself calls its
checkpoint) the source, which may then let go of its log.
"""

from __future__ import annotations

from dataclasses import replace

from fuagent.engine.batcher import Parcel
from fuagent.engine.progress import Progress
from fuagent.engine.settings import SyncSettings
from fuagent.interfaces import Clock, Source
from fuagent.journal import SnapshotRecord, SyncJournal, SyncRecord
from fuagent.model import Anchor, Answer, Checkpoint, Place

WRITE_EVERY = 1.0
"""Seconds between two writes of mere counters."""
CONFIRM_EVERY = 10.0
"""Seconds between confirmations to the source where the journal is the checkpoint."""


class Ledger:
    """Keeps one sync's record true, in memory and in the journal."""

    def __init__(
        self, settings: SyncSettings, journal: SyncJournal, source: Source, progress: Progress, clock: Clock
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._source = source
        self._progress = progress
        self._clock = clock
        self._unconfirmed: list[Anchor] = []
        self._written_at = 0.0
        self._confirmed_at = clock.monotonic()
        self.service_remembers = False
        """Whether the service keeps a checkpoint of its own."""
        self._show()

    @property
    def record(self) -> SyncRecord:
        """The record as last written."""
        return self._journal.record

    def save(self, **changes: object) -> None:
        """Change the record; it is on disk when this returns."""
        self._journal.save(replace(self.record, **changes))  # type: ignore[arg-type]
        self._show()

    def forget(self) -> None:
        """Start from nothing: the service has nothing either."""
        self._journal.forget_anchors()
        self._unconfirmed.clear()
        self.save(acknowledged=0, answered=0)

    def delivered(self, part: Parcel, *, acknowledged: bool, streaming: bool, asked: SnapshotRecord | None) -> None:
        """Write down one delivered part.

        Args:
            part: What was delivered.
            acknowledged: False if it was set aside instead.
            streaming: Whether its place is one to go on from (snapshot rows have none).
            asked: The snapshot its reply asked for; on disk together with the rest.
        """
        record = self.record
        index = max(record.acknowledged, part.index) if acknowledged else record.acknowledged
        after = replace(
            record,
            acknowledged=index,
            rows=record.rows + (part.count if acknowledged else 0),
            batches=record.batches + 1,
            left_out=record.left_out + part.left_out,
        )
        anchor = Anchor(index, part.place, self._settings.shape, part.boundary) if streaming else None
        if asked is not None:
            self._journal.save(replace(after, snapshot=asked, gap=""), anchor)
        elif anchor is None and acknowledged and index == record.acknowledged and self._written_lately():
            self._journal.note(after)  # snapshot rows: only counters changed, and a crash begins again anyway
        else:
            self._journal.advance(after, anchor)
        self._count(part, anchor, acknowledged=acknowledged)
        self._show()

    def _written_lately(self) -> bool:
        """Whether the journal took a write within the last second; a full disk must not stay unnoticed for longer."""
        now = self._clock.monotonic()
        if now - self._written_at < WRITE_EVERY:
            return True
        self._written_at = now
        return False

    def repeated(self, part: Parcel) -> None:
        """Write down one delivered part of the changes under a first snapshot, which carry no index."""
        record = self.record
        if record.snapshot is not None:
            record = replace(record, snapshot=replace(record.snapshot, origin=part.place))
        self._journal.advance(replace(record, rows=record.rows + part.count, batches=record.batches + 1), None)
        self._count(part, None, acknowledged=True)
        self._show()

    def moved(self, place: Place | None, *, left_out: int) -> None:
        """The log went on without a row for this sync; ``place`` None if inside a transaction."""
        record = replace(self.record, left_out=self.record.left_out + left_out)
        anchor = Anchor(record.acknowledged, place, self._settings.shape) if place else None
        self._journal.advance(record, anchor)
        if anchor:
            self._remember(anchor)
        self._show()

    def anchored(self, place: Place, index: int, **changes: object) -> None:
        """Write an anchor that is on disk at once, with changes of the record; going back forgets what lay ahead."""
        anchor = Anchor(index, place, self._settings.shape, boundary=not place.resume_after)
        self._unconfirmed = [before for before in self._unconfirmed if before.index <= index]
        self._journal.save(replace(self.record, **changes), anchor)  # type: ignore[arg-type]
        self._remember(anchor)
        self._show()

    async def confirm(self, checkpoint: Checkpoint | None = None) -> None:
        """Let the source know what it may let go of, as far as that is certain."""
        if checkpoint is None and self.service_remembers:
            return
        now = self._clock.monotonic()
        if checkpoint is None and now - self._confirmed_at < CONFIRM_EVERY:
            return
        self._confirmed_at = now
        limit = self.record.acknowledged
        if checkpoint is not None and checkpoint.answer is not Answer.NO_ENDPOINT:
            limit = checkpoint.index
        certain = [anchor for anchor in self._unconfirmed if anchor.index <= limit]
        if not certain:
            return
        self._journal.flush()
        await self._source.acknowledge(certain[-1].place)
        self._unconfirmed = [anchor for anchor in self._unconfirmed if anchor.index > limit]

    def _remember(self, anchor: Anchor) -> None:
        """Keep few anchors to confirm by: the newest, and one in every so many before it."""
        waiting = self._unconfirmed
        if len(waiting) > 1 and waiting[-1].index == anchor.index:
            waiting.pop()
        waiting.append(anchor)
        if len(waiting) > 512:
            del waiting[1::2]

    def _count(self, part: Parcel, anchor: Anchor | None, *, acknowledged: bool) -> None:
        if anchor is not None:
            self._remember(anchor)
        progress = self._progress
        progress.batches += 1
        progress.last_sent = self._clock.time()
        if acknowledged:
            progress.rows += part.count
            progress.bytes += part.size
            progress.last_change = part.pieces[-1].rows.source_time or progress.last_change

    def _show(self) -> None:
        record = self.record
        progress = self._progress
        progress.index, progress.answered = record.acknowledged, record.answered
        progress.gap, progress.left_out = record.gap, record.left_out
