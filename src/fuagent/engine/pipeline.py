"""One sync's life: sessions, and what follows when one ends.

A session opens both drivers, finds the place by the start table, and then
snapshots and streams until something ends it. What ends it says what comes next:
the type of the error is the reaction, as :mod:`fuagent.errors` lists them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from fuagent.engine import retry, start
from fuagent.engine.again import Account, send_again
from fuagent.engine.checking import checks
from fuagent.engine.delivery import StoppedError
from fuagent.engine.lifecycle import Event, State
from fuagent.engine.snapshot import Snapshot
from fuagent.engine.start import Do, Facts
from fuagent.engine.stream import Passage, Stream
from fuagent.engine.sync import BY_SERVICE, StartAgain, Sync, refuse_mix
from fuagent.engine.waiting import pause
from fuagent.engine.watch import SUGGEST_EVERY, Watch
from fuagent.errors import (
    FuagentError,
    HaltSyncError,
    JournalWriteError,
    LostPlaceError,
    StopAgentError,
    TryAgainError,
    UnauthorisedError,
    WrongAnswerError,
)
from fuagent.journal import SnapshotRecord
from fuagent.model import Anchor, Answer, Checkpoint, Outcome, Place, Verdict

ASK_AGAIN_EVERY = 5.0
UNSEEN = 2**32
"""How far above the journal numbers begin behind a gap where the service tells no checkpoint, or an older one:
it may have taken more than could still be written down, and no number may come to mean another row."""
JOURNAL_RETRY = 5.0
"""Seconds until a journal that took no writes is tried again."""


class Pipeline:
    """Runs one sync until it is told to stop, or once until it has caught up."""

    def __init__(self, sync: Sync) -> None:
        self._sync = sync
        self._until: str | None = None
        self._failures = 0
        self.halted = False
        """True after an error that needs a person."""

    async def run(self) -> None:
        """Go on through every fault that passes by itself.

        Raises:
            StopAgentError: the whole agent cannot run.
        """
        sync = self._sync
        sync.reporter.speak()
        while not sync.wishes.stopping.is_set():
            try:
                await self._turn()
                break
            except StoppedError:
                break
            except StartAgain:
                continue
            except StopAgentError:
                raise
            except FuagentError as error:
                if await self._react(error):
                    break
            except Exception as error:  # a defect of a driver halts this sync alone
                await self._react(HaltSyncError(f"a defect: {type(error).__name__}.", fix="Report it; see the log."))
                sync.reporter.defect(error)
                break
            finally:
                with suppress(Exception):
                    await sync.pusher.close()
        if not self.halted:
            sync.reporter.meet(Event.STOP)
        with suppress(JournalWriteError):
            if sync.journal.known:
                sync.journal.flush()

    async def _react(self, error: FuagentError) -> bool:
        """Do what the error's type says; True if the sync ends here."""
        sync = self._sync
        if isinstance(error, JournalWriteError):
            sync.reporter.halt(error)
            await pause(sync.clock, JOURNAL_RETRY, sync.wishes.stopping)
            sync.reporter.meet(Event.START)
        elif isinstance(error, TryAgainError):
            await self._wait(error)
        elif isinstance(error, LostPlaceError):
            with suppress(JournalWriteError):
                sync.lose(error.what)
            await self._wait(TryAgainError(error.what, where=error.where, fix=error.fix))
        else:
            self.halted = True
            sync.reporter.halt(error)
            return True
        return False

    async def _wait(self, error: TryAgainError) -> None:
        sync = self._sync
        self._failures += 1
        event = Event.RETRY
        if isinstance(error, UnauthorisedError):
            event = Event.UNAUTHORISED
            with suppress(FuagentError):
                await sync.pusher.refresh()
        elif isinstance(error, WrongAnswerError):
            event = Event.WRONG_ANSWER
        slow = event is not Event.RETRY
        wait = retry.delay(self._failures, sync.chance(), slow=slow, floor=error.retry_after)
        problem = f"{error.where}: {error.what}" if error.where else error.what
        sync.reporter.trouble(event, problem, error.fix, wait, retry.reason(error))
        await pause(sync.clock, wait, sync.wishes.stopping)

    async def _turn(self) -> None:
        """One session, or a wait for the operator who paused the sync."""
        sync = self._sync
        while sync.ledger.record.paused:
            sync.reporter.meet(Event.PAUSE)
            if sync.wishes.once:
                return
            await sync.wishes.wake.wait()
            sync.wishes.wake.clear()
            if sync.wishes.stopping.is_set():
                raise StoppedError
        async with sync.reading:
            try:
                await _Session(sync, self).run()
            finally:
                with suppress(Exception):
                    await sync.source.close()

    def recovered(self) -> None:
        """A session stands: the count of failures starts over."""
        if self._failures or self._sync.progress.problem:
            self._sync.reporter.recovered(self._failures)
        self._failures = 0

    async def until(self, place: Place | None) -> str | None:
        """With ``once``: the end of the log as it stood at the first look."""
        if self._sync.wishes.once and self._until is None:
            self._until = (await self._sync.source.head(place)).position
        return self._until


class _Session:
    """From opening the drivers to the error or wish that ends it."""

    def __init__(self, sync: Sync, pipeline: Pipeline) -> None:
        self._sync = sync
        self._pipeline = pipeline
        self._watch = Watch(sync)
        self._stream = Stream(sync, self._watch)
        self._snapshot = Snapshot(sync, self._stream, self._watch)
        self._gap = ""
        """A gap that this session's start found."""
        sync.delivery.look = self._watch.look

    async def run(self) -> None:
        sync = self._sync
        sync.in_snapshot = False
        if sync.progress.state is not State.STARTING:
            sync.reporter.meet(Event.START)
        await sync.pusher.open()
        sync.reached = False
        await sync.source.open()
        sync.reached = True
        await self._prepare()
        sync.update_flag()
        place = await self._begin()
        self._pipeline.recovered()
        while True:
            until = await self._pipeline.until(place)
            await self._send_again()
            if sync.snapshot_due() or place is None:
                place = await self._take(place)
            elif sync.ledger.record.gap and sync.settings.on_lost_place == "wait":
                await self._wait_for_the_service()
            else:
                place = await self._forward(place, until)
                if until is not None and not self._leave():
                    return
            if sync.wishes.stopping.is_set():
                return
            if sync.ledger.record.paused:
                raise StartAgain

    async def _take(self, place: Place | None) -> Place:
        try:
            return await self._snapshot.take(place)
        except LostPlaceError as error:
            due = self._sync.ledger.record.snapshot
            if due is not None and due.tables:
                # The tables it does not show have lost changes.
                await self._lost(error)
            raise

    async def _prepare(self) -> None:
        sync = self._sync
        sync.tables = tuple(await sync.source.discover())
        refuse_mix(sync.tables, sync.pusher)
        specs = sync.specs()
        sync.checks = checks(sync.settings, specs)
        sync.progress.tables = tuple(table.label for table in sync.tables)
        sync.progress.routes = tuple(sync.pusher.route(table) for table in sync.routes())
        sync.progress.deletes = str(specs[0].mapping.deletes) if specs else ""
        try:
            await sync.source.prepare(specs)
        except LostPlaceError as error:
            # Written down before the source is put right: a crash between the two must not hide the gap.
            self._gap = error.what
            sync.lose(error.what)
            await sync.source.prepare(specs, mend=True)

    async def _forward(self, place: Place, until: str | None) -> Place:
        sync = self._sync
        sync.next_run()
        sync.snapshot_first = False
        sync.reporter.meet(Event.STREAM)
        rows = sync.source.stream(place, until)
        try:
            return await self._stream.run(rows, place, Passage(streaming=True, obeys=True, leave=self._leave))
        except LostPlaceError as error:
            # "Lost place" over rows that go on is a promise that they do: not before the source is put right.
            sync.reporter.meet(Event.START)
            await self._lost(error)
            raise TryAgainError(error.what, where=error.where, fix=error.fix) from error

    async def _lost(self, error: LostPlaceError) -> None:
        """Everything up to the loss is delivered; write down where the next session goes on."""
        sync = self._sync
        sync.lose(error.what)
        acknowledged = sync.ledger.record.acknowledged
        place = error.place
        if place is None:
            place = await sync.source.oldest(acknowledged)
            sync.journal.forget_anchors()
        sync.ledger.anchored(place, acknowledged)

    def _leave(self) -> bool:
        sync = self._sync
        record = sync.ledger.record
        waiting = bool(record.gap) and sync.settings.on_lost_place == "wait"
        asked = record.paused or bool(sync.wishes.again)
        return sync.wishes.stopping.is_set() or asked or waiting or sync.snapshot_due()

    async def _send_again(self) -> None:
        """What an operator asked to be sent once more, with nothing else in flight."""
        sync = self._sync
        while sync.wishes.again and not sync.wishes.stopping.is_set():
            wish = sync.wishes.again[0]  # it stays there if the session has to begin anew
            answer: Account | FuagentError
            try:
                answer = await send_again(sync.journal, sync.source, sync.specs(), wish.numbers, self._alone)
            except FuagentError as error:
                answer = error
            finally:
                sync.progress.rejected = sync.journal.rejected_count()
            sync.wishes.again.popleft()
            if not wish.answer.done():  # who asked may have gone
                wish.answer.set_result(answer)
            if isinstance(answer, FuagentError) and type(answer) is not FuagentError:
                raise answer

    async def _alone(self, table: str, event: bytes) -> Outcome:
        sync = self._sync
        if table in sync.checks and (complaint := sync.checks[table].complaint(event)):
            return Outcome(Verdict.REJECTED, complaint)
        outcome = await sync.delivery.alone(table, event)
        if outcome.snapshot_needed:
            sync.ledger.save(snapshot=sync.wanted(), gap="")
            sync.update_flag()
        return outcome

    async def _wait_for_the_service(self) -> None:
        """``on_lost_place: wait``: no rows until a reply or an operator accepts the gap."""
        sync = self._sync
        sync.reporter.meet(Event.LOSE)
        await self._watch.suggest()
        if sync.wishes.once and sync.ledger.record.gap:
            raise HaltSyncError(
                f"the place is lost and the service asks for no snapshot: {sync.ledger.record.gap}",
                fix=f"Take one with fuagent snapshot {sync.settings.name}, or accept the gap.",
            )
        if sync.ledger.record.gap:
            await pause(sync.clock, SUGGEST_EVERY, sync.wishes.wake)
            sync.wishes.wake.clear()
        if sync.wishes.stopping.is_set():
            raise StoppedError

    async def _begin(self) -> Place | None:
        """Find the place by the start table; None means a first snapshot comes before any place."""
        sync = self._sync
        row, checkpoint = await self._decide()
        if row.loud:
            sync.reporter.notice(row.loud)
        sync.ledger.service_remembers = checkpoint.answer is not Answer.NO_ENDPOINT
        if row.do is Do.BEGIN:
            self._from_the_beginning()
            return None
        if row.do is Do.END_MARKER:
            await self._end_marker(checkpoint)
        return await self._resume(checkpoint, unproven=row.do is Do.RESUME_UNPROVEN)

    async def _end_marker(self, checkpoint: Checkpoint) -> None:
        sync = self._sync
        sync.reporter.meet(Event.SNAPSHOT)
        if checkpoint.answer is Answer.INDEX:
            sync.ledger.save(acknowledged=checkpoint.index, answered=checkpoint.index)
        sync.in_snapshot = True
        sync.next_run()
        await self._snapshot.finish(self._gap)

    def _from_the_beginning(self) -> None:
        sync = self._sync
        record = sync.ledger.record
        due = record.snapshot or SnapshotRecord()
        if record.acknowledged:
            due = replace(due, origin=None)
        sync.ledger.forget()
        cause = due.cause or "the service has no checkpoint"
        sync.ledger.save(snapshot=replace(due, stage="pending", cause=cause, tables=(), again=False), gap="")
        sync.update_flag()

    async def _decide(self) -> tuple[start.Row, Checkpoint]:
        sync = self._sync
        began: float | None = None
        while True:
            checkpoint = await sync.pusher.checkpoint()
            # Counted from the first answer: a machine that slept over the question has asked only once.
            began = sync.clock.monotonic() if began is None else began
            facts = Facts(
                checkpoint,
                sync.ledger.record,
                known=sync.journal.known and bool(sync.journal.anchors()),
                waited=sync.clock.monotonic() - began,
                named=sync.settings.accept_rejected,
            )
            row = start.decide(facts)
            if row.do is not Do.ASK_AGAIN:
                return row, checkpoint
            sync.reporter.trouble(Event.RETRY, row.loud, "", ASK_AGAIN_EVERY, retry.MISSING)
            await pause(sync.clock, ASK_AGAIN_EVERY, sync.wishes.stopping)
            if sync.wishes.stopping.is_set():
                raise StoppedError

    async def _resume(self, checkpoint: Checkpoint, *, unproven: bool) -> Place:
        sync = self._sync
        record = sync.ledger.record
        anchors = sync.journal.anchors()
        index = self._behind(checkpoint, known=bool(anchors))
        try:
            if index < record.acknowledged and index <= record.lost_at:
                # No log holds what is missing there, whatever has made up for it since.
                raise LostPlaceError(f"the service went back to {index}, behind the place that was lost.")
            place = await sync.source.locate(anchors, index)
            place = self._whole_transaction(place, anchors, index)
        except LostPlaceError as error:
            sync.lose(f"{error.what} (checkpoint {index})")
            index = max(index, record.acknowledged)
            above = index
            if index > checkpoint.index:
                above = max(index, *(anchor.place.previous for anchor in anchors)) + UNSEEN
            place = await sync.source.oldest(above)
            sync.journal.forget_anchors()
            sync.progress.went_back()
        else:
            if index < record.acknowledged:
                sync.progress.went_back()
                sync.reporter.notice(f"The service went back to {index}; what came after is sent again.")
            sync.unproven = unproven and not sync.settings.trust_checkpoint
        sync.ledger.anchored(place, index, acknowledged=index, answered=checkpoint.index)
        self._join_tables()
        sync.update_flag()
        return place

    def _behind(self, checkpoint: Checkpoint, *, known: bool) -> int:
        """The index to go on behind.

        Where a 2xx may name rows as rejected, the service's checkpoint lies above such a row as soon as it has
        answered, and what it named may not have been written down: the journal tells how far that was done.
        """
        acknowledged = self._sync.ledger.record.acknowledged
        if checkpoint.answer is Answer.NO_ENDPOINT:
            return acknowledged
        if self._sync.settings.accept_rejected and known:
            return min(checkpoint.index, acknowledged)
        return checkpoint.index

    def _whole_transaction(self, place: Place, anchors: Sequence[Anchor], index: int) -> Place:
        """Inside a transaction whose rows were chosen by other settings: all of it again, numbered above."""
        shape = next((anchor.shape for anchor in anchors if anchor.index <= index), self._sync.settings.shape)
        if not place.resume_after or shape == self._sync.settings.shape:
            return place
        return replace(place, previous=max(place.previous, index), resume_after=0)

    def _join_tables(self) -> None:
        """A table that is new to the sync is snapshotted alone; one that left is forgotten."""
        sync = self._sync
        record = sync.ledger.record
        now = tuple(table.label for table in sync.tables)
        joined = tuple(label for label in now if label in record.tables) if record.tables else now
        added = tuple(label for label in now if label not in joined)
        due = record.snapshot
        if due is None or due.tables:
            again = due is not None and due.again
            due = SnapshotRecord(cause=BY_SERVICE) if again else None
            if added:
                due = SnapshotRecord(cause=f"new: {', '.join(added)}", tables=added, again=again)
        sync.ledger.save(tables=joined, snapshot=due)
