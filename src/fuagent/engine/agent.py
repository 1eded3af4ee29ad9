"""All syncs of one agent, side by side; one sync's trouble stays its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from fuagent.engine.lifecycle import Event, State
from fuagent.engine.pipeline import Pipeline
from fuagent.engine.progress import Progress
from fuagent.engine.sync import Sync
from fuagent.errors import FuagentError, StopAgentError
from fuagent.journal import SnapshotRecord

BY_OPERATOR = "an operator asked for it"


class Agent:
    """Runs syncs until stopped, or once until each has caught up."""

    def __init__(self, syncs: Sequence[Sync]) -> None:
        self._syncs = {sync.settings.name: sync for sync in syncs}
        self._pipelines = {sync.settings.name: Pipeline(sync) for sync in syncs}
        self._tasks: list[asyncio.Task[None]] = []
        self._ended = asyncio.Event()
        self._measuring = asyncio.Lock()

    @property
    def progress(self) -> list[Progress]:
        """What every sync tells about itself."""
        return [sync.progress for sync in self._syncs.values()]

    @property
    def healthy(self) -> bool:
        """False when a sync has halted."""
        return not any(pipeline.halted for pipeline in self._pipelines.values())

    async def run(self, *, once: bool = False) -> None:
        """Run all syncs; returns when all have ended.

        With ``once`` a sync ends when it has caught up; without, a halted sync
        stays visible and the agent goes on until :meth:`stop`.

        Raises:
            StopAgentError: the agent cannot go on.
        """
        for sync in self._syncs.values():
            sync.wishes.once = once
        self._tasks = [asyncio.create_task(pipeline.run()) for pipeline in self._pipelines.values()]
        try:
            await self._finish()
            if not once and not self._stopping:
                await self._ended.wait()
        finally:
            await self._cancel()

    async def stop(self) -> None:
        """Let every sync finish what is in flight, each within its own ``drain``; then end."""
        for sync in self._syncs.values():
            sync.wishes.stopping.set()
            sync.wishes.wake.set()
            if sync.progress.state not in (State.HALTED, State.STOPPED):
                sync.reporter.meet(Event.DRAIN)
        within = max((sync.settings.drain for sync in self._syncs.values()), default=0.0)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within)
        await self._cancel()
        self._ended.set()

    def snapshot(self, name: str) -> str:
        """Ask for a full snapshot of one sync; gives what happens next."""
        sync = self._find(name)
        due = sync.ledger.record.snapshot
        if due is not None and due.stage != "pending":
            return "a snapshot is already being taken"
        whole = due if due is not None and not due.tables else SnapshotRecord()
        sync.ledger.save(snapshot=replace(whole, cause=BY_OPERATOR))
        sync.wishes.wake.set()
        return "the snapshot begins at the next transaction end"

    def accept_gap(self, name: str) -> str:
        """Take the gap of one sync for known: batches suggest no snapshot any more; gives what happens next."""
        sync = self._find(name)
        if not sync.ledger.record.gap:
            return "there is no gap"
        sync.ledger.save(gap="")
        sync.update_flag()
        sync.wishes.wake.set()
        return "the gap is accepted; rows go on without the suggestion"

    def pause(self, name: str) -> str:
        """Stop one sync at the next transaction end until it is resumed, through restarts too."""
        sync = self._find(name)
        sync.ledger.save(paused=True)
        sync.wishes.wake.set()
        return "the sync pauses at the next transaction end"

    def resume(self, name: str) -> str:
        """End the pause of one sync."""
        sync = self._find(name)
        sync.ledger.save(paused=False)
        sync.wishes.wake.set()
        return "the sync goes on"

    async def status(self) -> list[Progress]:
        """Progress of every sync, with how far each is behind."""
        async with self._measuring:  # the display and a command may ask at once, a source only takes one
            for sync in self._syncs.values():
                await self._measure(sync)
        return self.progress

    async def _measure(self, sync: Sync) -> None:
        progress = sync.progress
        anchors = sync.journal.anchors()
        if not anchors or progress.state not in (State.STREAMING, State.CAUGHT_UP, State.RETRYING):
            return
        with suppress(FuagentError):
            head = await sync.source.head(anchors[0].place)
            progress.behind_rows, progress.behind_bytes = head.rows_behind, head.bytes_behind

    def _find(self, name: str) -> Sync:
        if name not in self._syncs:
            raise FuagentError(
                f"there is no sync called {name!r}.", fix=f"Choose one of: {', '.join(sorted(self._syncs))}."
            )
        return self._syncs[name]

    @property
    def _stopping(self) -> bool:
        return all(sync.wishes.stopping.is_set() for sync in self._syncs.values())

    async def _finish(self) -> None:
        """Wait for all syncs; an error that concerns the agent ends them all."""
        pending = set(self._tasks)
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                error = task.exception() if not task.cancelled() else None
                if isinstance(error, StopAgentError):
                    raise error
                if error is not None:
                    raise StopAgentError(f"a defect: {type(error).__name__}.", fix="Report it; see the log.") from error

    async def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
