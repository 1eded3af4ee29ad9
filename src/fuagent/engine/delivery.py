"""One parcel until it is delivered: attempts, waits, halving, bisecting.

The order of rows is never given up: the parts of a parcel go one after the other,
and what follows waits. A retry sends the same batch value and so the same bytes.
A refused row is either the end (``on_reject: halt``) or set aside on disk before
anything behind it is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from fuagent.contract.outcome import REFUSED
from fuagent.engine import retry
from fuagent.engine.batcher import Parcel, SizeLimit
from fuagent.engine.lifecycle import Event
from fuagent.engine.recent import Answered
from fuagent.engine.reporter import Reporter
from fuagent.engine.settings import SyncSettings
from fuagent.engine.waiting import pause
from fuagent.errors import FuagentError, HaltSyncError
from fuagent.interfaces import Clock, Pusher
from fuagent.journal import SyncJournal
from fuagent.model import Batch, Outcome, Verdict

_TROUBLE = {
    Verdict.RETRY: Event.RETRY,
    Verdict.WRONG_ANSWER: Event.WRONG_ANSWER,
    Verdict.UNAUTHORISED: Event.UNAUTHORISED,
}


RUN_OF_FAILURES = 3
"""Attempts in a row that failed before the service is asked for its checkpoint."""


class StoppedError(Exception):
    """The sync is to end before this parcel was delivered; nothing is lost, it is re-read."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """A part of a parcel that is done: acknowledged, or set aside (``acknowledged`` False)."""

    parcel: Parcel
    acknowledged: bool
    snapshot_needed: bool = False
    attempts: int = 1


@dataclass(slots=True)
class _Tally:
    """What has become of one parcel so far."""

    passed: int = 0
    aside: list[int] | None = None


class Delivery:
    """Sends parcels and flags for one sync, one request at a time.

    Args:
        chance: Gives random numbers between 0 and 1.
        started: Names this start of the agent in the idempotency key.
        stopping: Set when the sync is to end: waits are cut short.
    """

    def __init__(
        self,
        settings: SyncSettings,
        pusher: Pusher,
        journal: SyncJournal,
        clock: Clock,
        chance: Callable[[], float],
        limit: SizeLimit,
        reporter: Reporter,
        started: str,
        stopping: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._pusher = pusher
        self._journal = journal
        self._clock = clock
        self._chance = chance
        self._limit = limit
        self._reporter = reporter
        self._started = started
        self._stopping = stopping
        self._number = 0
        self._rejected_alone = 0
        self.suggest = False
        """Whether batches carry ``snapshot_sync_suggested``."""
        self.run = 0
        """The middle part of the key: which snapshot or stream this is."""
        self.look: Callable[[], Awaitable[bool]] | None = None
        """Asked after a run of failures, before the next attempt; False: no clear answer, wait on."""

    async def rows(self, parcel: Parcel) -> AsyncIterator[Delivered]:
        """Deliver ``parcel``; yields its parts as they are done, in order.

        Raises:
            HaltSyncError: the service refuses what may not be left out.
            StoppedError: the sync is to end first.
        """
        tally = _Tally()
        # Parts set aside are reported once some row has passed: until then the fault may be the service's.
        held: list[Delivered] = []
        waiting = [parcel]
        while waiting:
            part = waiting.pop()
            outcome, attempts = await self._attempted(part)
            if outcome.verdict is Verdict.ACKNOWLEDGED:
                self._limit.accepted()
                for done in self._answered(part, outcome, tally, attempts):
                    held.append(done)
                    while held and tally.passed:
                        yield held.pop(0)
            elif part.count > 1:
                if outcome.verdict is Verdict.SPLIT:
                    self._limit.refused(part.size)
                waiting.extend(reversed(part.cut(part.count // 2)))
            else:
                self._set_aside(part, outcome, tally, more=parcel.count > 1)
                asked = outcome.snapshot_needed
                held.append(Delivered(part, acknowledged=False, snapshot_needed=asked, attempts=attempts))
        self._judge(parcel, tally)
        for done in held:
            yield done

    def _answered(self, part: Parcel, outcome: Outcome, tally: _Tally, attempts: int) -> Iterator[Delivered]:
        """What a 2xx did to ``part``: all of it delivered, but for the rows that the answer names; in order.

        Raises:
            HaltSyncError: it names a row, and none may be left out; what stands before that row was given already.
        """
        asked = outcome.snapshot_needed
        if not outcome.rejected:
            self._passed(part, tally)
            yield Delivered(part, acknowledged=True, snapshot_needed=asked, attempts=attempts)
            return
        rest, low = part, 0
        for refused in outcome.rejected:
            before, rest = rest.cut(refused.row - low)
            if before.count:
                self._passed(before, tally)
                yield Delivered(before, acknowledged=True, snapshot_needed=asked, attempts=attempts)
            one, rest = rest.cut(1)
            reason = f"{outcome.status}: {REFUSED}"
            self._set_aside(one, replace(outcome, reason=reason, rejected=(refused,)), tally, more=True)
            yield Delivered(one, acknowledged=False, snapshot_needed=asked, attempts=attempts)
            low = refused.row + 1
        if rest.count:
            self._passed(rest, tally)
            yield Delivered(rest, acknowledged=True, snapshot_needed=asked, attempts=attempts)

    def _passed(self, part: Parcel, tally: _Tally) -> None:
        tally.passed += part.count
        self._rejected_alone = 0

    async def _attempted(self, part: Parcel) -> tuple[Outcome, int]:
        """What became of ``part``; one whose row cannot be sent is refused without asking anybody."""
        if part.refused:
            return Outcome(Verdict.REJECTED, part.refused), 0
        return await self._until_clear(self._batch(part), part.size)

    async def alone(self, table: str, event: bytes) -> Outcome:
        """Send one row that had been set aside, again until the answer is clear; nothing follows from a refusal."""
        outcome, _ = await self._until_clear(replace(self._batch(None, table=table), events=(event,)), len(event))
        return outcome

    async def flags(self, tables: tuple[str, ...], *, end: bool) -> Outcome:
        """Send an empty batch to the route of each of ``tables``: the end marker, or the suggestion alone."""
        needed = False
        outcome = Outcome(Verdict.ACKNOWLEDGED)
        for table in tables:
            batch = self._batch(None, table=table, end=end)
            outcome, _ = await self._until_clear(batch, 0)
            if outcome.verdict is not Verdict.ACKNOWLEDGED:
                raise HaltSyncError(
                    f"the service refuses an empty batch: {outcome.reason}",
                    where=self._pusher.route(table),
                    fix="Answer 2xx to a batch whose events are empty.",
                )
            needed = needed or outcome.snapshot_needed
            if needed:
                # One route accepts for the whole sync: asking the next would ask again.
                self.suggest = False
            if not end and not self.suggest:
                break
        return Outcome(Verdict.ACKNOWLEDGED, snapshot_needed=needed, status=outcome.status)

    def _batch(self, part: Parcel | None, *, table: str = "", end: bool = False) -> Batch:
        self._number += 1
        return Batch(
            task_id=self._settings.name,
            agent_id=self._settings.agent_id,
            key=f"{self._started}.{self.run}.{self._number}",
            events=part.events() if part else (),
            table=part.table if part else table,
            is_snapshot_end=end,
            snapshot_sync_suggested=self.suggest,
            index=part.index if part else 0,
        )

    async def _until_clear(self, batch: Batch, size: int) -> tuple[Outcome, int]:
        """Attempt ``batch`` until the answer says what to do with it; gives the attempts it took.

        ``size`` is that of its events, bytes.
        """
        attempts = 0
        while True:
            attempts += 1
            outcome, seconds = await self._attempt(batch)
            event = _TROUBLE.get(outcome.verdict)
            if event is None:
                break
            await self._wait(event, outcome, attempts)
            while self.look and attempts >= RUN_OF_FAILURES and not await self.look():
                attempts += 1
                await self._wait(event, outcome, attempts)
        now, rows = self._clock.time(), len(batch.events)
        self._reporter.recent.batches.append(
            Answered(now, rows, size, seconds, attempts, outcome.status, outcome.reason or outcome.verdict.value)
        )
        if outcome.verdict is Verdict.HALT:
            raise HaltSyncError(outcome.reason, where=self._pusher.route(batch.table), fix=outcome.fix)
        if attempts > 1:
            self._reporter.recovered(attempts)
        return outcome, attempts

    async def _attempt(self, batch: Batch) -> tuple[Outcome, float]:
        """One attempt, announced; gives the seconds it took too."""
        self._reporter.sending(batch.key, rows=bool(batch.events))
        began = self._clock.monotonic()
        outcome = await self._pusher.push(batch)
        seconds = self._clock.monotonic() - began
        self._reporter.progress.attempted(seconds)
        return outcome, seconds

    async def _wait(self, event: Event, outcome: Outcome, attempts: int) -> None:
        slow = event is not Event.RETRY
        wait = retry.delay(attempts, self._chance(), slow=slow, floor=outcome.retry_after)
        self._reporter.trouble(event, outcome.reason, outcome.fix, wait, retry.reason(outcome))
        if self._stopping.is_set():
            raise StoppedError
        if event is Event.UNAUTHORISED:
            # A credential file may be gone for the moment in which it is replaced.
            with suppress(FuagentError):
                await self._pusher.refresh()
        await pause(self._clock, wait, self._stopping)
        if self._stopping.is_set():
            raise StoppedError

    def _set_aside(self, part: Parcel, outcome: Outcome, tally: _Tally, *, more: bool) -> None:
        """Put one refused row on disk, or halt."""
        [event] = part.events()
        where, mend = self._pusher.route(part.table), "Mend the service"
        size = f" of {len(event)} bytes" if outcome.verdict is Verdict.SPLIT else ""
        what = f"the service refuses one row{size} of table {part.table}: {outcome.reason}"
        if part.refused and part.first:
            where, mend = "transform", "Mend the function"
            if part.first.against:
                where, mend = part.first.against, "Mend the row at its source, or the document"
            more = more or part.first.among
            what = f"one row of table {part.table} cannot be sent: {part.refused}."
        if self._settings.on_reject == "halt":
            raise HaltSyncError(what, where=where, fix=f"{mend}, or set on_reject: set_aside.")
        if self._journal.rejected_count() >= self._settings.rejected_limit:
            raise HaltSyncError(
                f"{what} Already {self._settings.rejected_limit} rows are set aside.",
                where=where,
                fix=f"{mend}, or raise rejected_limit.",
            )
        if not more:
            self._rejected_alone += 1
            if self._rejected_alone > 1:
                raise HaltSyncError(f"{what} So it goes row after row.", where=where, fix=f"{mend}.")
        # The service's own words may hold values: they go where the event itself goes, and not into an error.
        words = ": ".join([outcome.reason, *(one.words for one in outcome.rejected if one.words)])
        number = self._journal.set_aside(part.table, part.index, outcome.status, words, event)
        tally.aside = [*(tally.aside or []), number]

    def _judge(self, parcel: Parcel, tally: _Tally) -> None:
        """A batch of which no row passes is not the rows' fault: take them back and halt."""
        if parcel.count > 1 and tally.aside and not tally.passed:
            self._journal.withdraw(tally.aside)
            raise HaltSyncError(
                f"the service refuses every row of a batch of {parcel.count}; none was set aside.",
                where=self._pusher.route(parcel.table),
                fix="Compare the service's event schema with the rows, with fuagent check.",
            )
