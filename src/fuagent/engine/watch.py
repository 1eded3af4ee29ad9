"""What is looked after beside the rows: the service's checkpoint, the suggestion, the source's log.

The checkpoint is asked for once a minute and after a run of failures. A service
restored from a backup answers lower than before: then the sync goes back if the
log still has the place. The lower answer must come twice, as a replica may lag.
"""

from __future__ import annotations

from fuagent.engine.sync import StartAgain, Sync
from fuagent.errors import TryAgainError
from fuagent.model import Answer, Checkpoint

ASK_EVERY = 60.0
SUGGEST_EVERY = 300.0
"""Seconds between two empty batches that carry the suggestion while there are no rows."""
SECOND_LOOK = 2.0


class Watch:
    """Looks after one sync while it streams."""

    def __init__(self, sync: Sync) -> None:
        self._sync = sync
        self._asked_at = sync.clock.monotonic()
        self._suggested_at: float | None = None

    async def after_batch(self, *, sent: bool) -> None:
        """What is due behind a batch, with nothing in flight; ``sent`` is False if it held no rows."""
        if sent and self._sync.delivery.suggest:
            self._suggested_at = self._sync.clock.monotonic()
        if not self._sync.in_snapshot:
            await self._checkpoint()

    async def idle(self) -> None:
        """What is due while there are no rows."""
        await self.suggest()
        await self._checkpoint()

    async def suggest(self) -> None:
        """With a gap and nothing to send: an empty batch that says so, at once and then every five minutes."""
        sync = self._sync
        now = sync.clock.monotonic()
        due = self._suggested_at is None or now - self._suggested_at >= SUGGEST_EVERY
        if not sync.ledger.record.gap or not due:
            return
        self._suggested_at = now
        wanted = sync.wanted()
        outcome = await sync.delivery.flags(sync.routes(), end=False)
        sync.unproven = False
        if not outcome.snapshot_needed:
            return
        if sync.in_snapshot:
            sync.asked_again()
        else:
            sync.ledger.save(snapshot=wanted, gap="")
        sync.update_flag()

    async def _checkpoint(self) -> None:
        sync = self._sync
        now = sync.clock.monotonic()
        if now - self._asked_at < ASK_EVERY and not sync.wishes.ask_checkpoint:
            await sync.ledger.confirm()
            return
        self._asked_at, sync.wishes.ask_checkpoint = now, False
        checkpoint = await self._ask(sync.ledger.record.answered)
        if checkpoint is not None:
            await sync.ledger.confirm(checkpoint)

    async def look(self) -> bool:
        """After a run of failures, before the next attempt: whether the service answers as the one it was.

        It may come back from a backup; a batch that it takes then would hide what it has lost,
        so nothing is sent while it gives no clear answer, and what it acknowledged is owed to it.

        Raises:
            StartAgain: its checkpoint has moved back.
        """
        record = self._sync.ledger.record
        return await self._ask(record.acknowledged if record.answered else 0) is not None

    async def _ask(self, before: int) -> Checkpoint | None:
        """The checkpoint as it stands; None where there is no clear answer.

        Raises:
            StartAgain: it is lower than ``before``.
        """
        sync = self._sync
        checkpoint = await self._once()
        if checkpoint is None or checkpoint.answer is Answer.NO_ENDPOINT:
            return checkpoint
        if checkpoint.index < before:
            await sync.clock.sleep(SECOND_LOOK)
            again = await self._once()
            if again is None or (again.index < before and again != checkpoint):
                return None  # nodes that disagree are no clear answer
            checkpoint = again
        moved_back = checkpoint.index < before
        if checkpoint.index != sync.ledger.record.answered:
            sync.ledger.save(answered=checkpoint.index)
        if moved_back and checkpoint.index:
            raise StartAgain
        if moved_back:
            sync.lose(f"the service had the checkpoint {before} and now has none.")
        return checkpoint

    async def _once(self) -> Checkpoint | None:
        try:
            return await self._sync.pusher.checkpoint()
        except TryAgainError as error:
            self._sync.reporter.unclear("no checkpoint just now", str(error))
            return None
