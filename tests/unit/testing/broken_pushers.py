"""Pushers that each break one promise, and the test of the suite that says so."""

import asyncio
from dataclasses import replace

from fuagent.errors import FuagentError, TryAgainError
from fuagent.model import Answer, Batch, Checkpoint, Outcome, Verdict
from fuagent.testing.service import TAKEN, MemoryPusher


class Raises(MemoryPusher):
    """A fault of the wire is an exception."""

    async def push(self, batch):
        outcome = await super().push(batch)
        if outcome.verdict is Verdict.RETRY:
            raise TryAgainError(outcome.reason)
        return outcome


class Retries(MemoryPusher):
    """A fault of the wire is tried again at once."""

    async def push(self, batch):
        outcome = await super().push(batch)
        return await super().push(batch) if outcome.verdict is Verdict.RETRY else outcome


class TakesAll(MemoryPusher):
    """Whatever was answered, the batch counts as delivered."""

    async def push(self, batch):
        await super().push(batch)
        return TAKEN


class Stamps(MemoryPusher):
    """Every attempt carries a number of its own."""

    attempts = 0

    async def push(self, batch):
        self.attempts += 1
        events = tuple(b'%b,"attempt":%d}' % (text[:-1], self.attempts) for text in batch.events)
        return await super().push(replace(batch, events=events))


class SavesEmpty(MemoryPusher):
    """A batch without events is not worth a request."""

    async def push(self, batch):
        return await super().push(batch) if batch.events else TAKEN


class Deaf(MemoryPusher):
    """A wish for a snapshot is not heard."""

    async def push(self, batch):
        return replace(await super().push(batch), snapshot_needed=False)


class Mute(MemoryPusher):
    """An outcome does not say why."""

    async def push(self, batch):
        outcome = await super().push(batch)
        return Outcome(outcome.verdict, snapshot_needed=outcome.snapshot_needed, retry_after=outcome.retry_after)


class TroubleIsNone(MemoryPusher):
    """A checkpoint that cannot be had is none."""

    async def checkpoint(self):
        try:
            return await super().checkpoint()
        except FuagentError:
            return Checkpoint(Answer.NONE)


class AsksForEver(MemoryPusher):
    """A checkpoint that makes no sense is asked for again."""

    async def checkpoint(self):
        try:
            return await super().checkpoint()
        except FuagentError as error:
            raise TryAgainError("no checkpoint") from error


class ChecksBySending(MemoryPusher):
    """Checking sends a batch to see what happens."""

    async def check(self, tables):
        await super().push(Batch("suite", "agent-1", "check"))
        return []


class Wanders(MemoryPusher):
    """A route is another one in every life."""

    def route(self, table):
        return f"memory://{id(self)}/{table}"


class ClosesOnce(MemoryPusher):
    """Closing what is not open is an error."""

    opened = False

    async def open(self):
        self.opened = True

    async def close(self):
        if not self.opened:
            raise RuntimeError("not open")
        self.opened = False


class LeavesATask(MemoryPusher):
    """A pulse goes on when a push is cancelled."""

    async def push(self, batch):
        pulse = asyncio.create_task(asyncio.sleep(3600))
        outcome = await super().push(batch)
        pulse.cancel()
        return outcome


class Uncancellable(MemoryPusher):
    """A cancelled push is an outcome like any other."""

    async def push(self, batch):
        try:
            return await super().push(batch)
        except asyncio.CancelledError:
            return Outcome(Verdict.RETRY, "cancelled")


CAUGHT_BY = {
    Raises: "test_what_happens_to_a_batch_is_an_outcome[Act.BUSY]",
    Retries: "test_what_happens_to_a_batch_is_an_outcome[Act.BUSY]",
    TakesAll: "test_what_happens_to_a_batch_is_an_outcome[Act.DENY]",
    Stamps: "test_the_same_batch_is_the_same_bytes",
    SavesEmpty: "test_a_batch_without_events_is_delivered",
    Deaf: "test_what_happens_to_a_batch_is_an_outcome[Act.WISH]",
    Mute: "test_what_happens_to_a_batch_is_an_outcome[Act.GONE]",
    TroubleIsNone: "test_the_checkpoint_is_a_clear_answer_or_none_at_all[Said.BUSY]",
    AsksForEver: "test_the_checkpoint_is_a_clear_answer_or_none_at_all[Said.NONSENSE]",
    ChecksBySending: "test_checking_sends_nothing",
    Wanders: "test_a_route_is_always_the_same",
    ClosesOnce: "test_closing_is_always_allowed",
    LeavesATask: "test_a_cancelled_await_leaves_nothing_open",
    Uncancellable: "test_a_cancelled_await_leaves_nothing_open",
}
