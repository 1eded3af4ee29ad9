"""All syncs of one agent, side by side; one sync's trouble stays its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from fuagent.engine.again import Account, Wish, chosen
from fuagent.engine.lifecycle import Event, State
from fuagent.engine.pipeline import Pipeline
from fuagent.engine.progress import Progress
from fuagent.engine.sync import Sync
from fuagent.errors import FuagentError, StopAgentError
from fuagent.interfaces import Head
from fuagent.journal import SnapshotRecord
from fuagent.model import Place, TableSpec

_AT_REST = {
    State.PAUSED: "End the pause first, with fuagent resume.",
    State.HALTED: "See fuagent status for what to mend, then start the agent again; or end it and retry without it.",
    State.STOPPED: "Start the agent again, or retry without it.",
}
_MEASURE_FOR = 3.0
"""Seconds a status waits for sources: of a database that does not answer it can tell all else at once."""
_PLACED = frozenset(State) - {State.STARTING, State.SNAPSHOT, State.DRAINING, State.STOPPED}
"""States in which what was acknowledged last is where the sync stands in the source's log."""
_LOOK_AT_REST_EVERY = 30.0
"""Seconds between two looks at the source of a sync that has no connection: each is a login."""
_LOOK_AT_REST_FOR = 10.0
"""Seconds such a look may take: a sync that is resumed waits for its end."""
BY_OPERATOR = "an operator asked for it"


class Agent:
    """Runs syncs until stopped, or once until each has caught up."""

    def __init__(self, syncs: Sequence[Sync]) -> None:
        self._syncs = {sync.settings.name: sync for sync in syncs}
        self._pipelines = {sync.settings.name: Pipeline(sync) for sync in syncs}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._news = asyncio.Event()
        """Set when a task has ended, or all are to end."""
        self._ending = self._over = False
        self._exchanging = asyncio.Lock()
        self._measuring: dict[Sync, asyncio.Task[None]] = {}
        """Sources that are being asked how far they are: the display and a command may ask at once."""

    @property
    def progress(self) -> list[Progress]:
        """What every sync tells about itself."""
        return [sync.progress for sync in self._syncs.values()]

    @property
    def healthy(self) -> bool:
        """False when a sync has halted."""
        return not any(pipeline.halted for pipeline in self._pipelines.values())

    def find(self, name: str) -> Sync:
        """One sync by its name.

        Raises:
            FuagentError: there is none; the text names those there are.
        """
        if name not in self._syncs:
            raise FuagentError(
                f"there is no sync called {name!r}.", fix=f"Choose one of: {', '.join(sorted(self._syncs))}."
            )
        return self._syncs[name]

    async def run(self, *, once: bool = False) -> None:
        """Run all syncs; returns when all have ended.

        With ``once`` a sync ends when it has caught up; without, a halted sync
        stays visible and the agent goes on until :meth:`stop`.

        Raises:
            StopAgentError: the agent cannot go on.
        """
        for name, sync in self._syncs.items():
            sync.wishes.once = once
            self._start(name)
        try:
            while not self._over and not (self._idle and (once or self._ending or self._empty)):
                await self._news.wait()
                self._news.clear()
                self._heed()
        finally:
            await self._cancel()

    def _start(self, name: str) -> None:
        task = self._tasks[name] = asyncio.create_task(self._pipelines[name].run())
        task.add_done_callback(lambda _task: self._news.set())

    @property
    def _idle(self) -> bool:
        return all(task.done() for task in self._tasks.values())

    @property
    def _empty(self) -> bool:
        """Whether there is nothing to run, and nothing about to come."""
        return not self._syncs and not self._exchanging.locked()

    def _heed(self) -> None:
        """An error that concerns the agent ends all of it."""
        for task in self._tasks.values():
            error = task.exception() if task.done() and not task.cancelled() else None
            if isinstance(error, StopAgentError):
                raise error
            if error is not None:
                raise StopAgentError(f"a defect: {type(error).__name__}.", fix="Report it; see the log.") from error

    async def exchange(self, gone: Iterable[str], come: Mapping[str, Callable[[], Sync]], order: Sequence[str]) -> None:
        """Let the syncs ``gone`` end, each within its own drain, and start those that ``come``; no other notices.

        One that stands in both is made anew once the old one has ended. ``order`` is that of all there are then.

        Raises:
            ExceptionGroup: some could not be made; the others run.
        """
        async with self._exchanging:
            await asyncio.gather(*(self._retire(name) for name in gone if name in self._syncs))
            failed: list[Exception] = []
            for name, make in come.items():
                if self._ending:
                    return  # the agent is ending: nothing begins any more
                try:
                    self._syncs[name] = sync = make()
                except Exception as error:  # a driver's own affair, and no reason to leave the others out
                    failed.append(error)
                    continue
                self._pipelines[name] = Pipeline(sync)
                self._start(name)
            self._syncs = {name: self._syncs[name] for name in order if name in self._syncs}
        if failed:
            raise ExceptionGroup("syncs that did not start", failed)

    async def _retire(self, name: str) -> None:
        sync, task = self._syncs[name], self._tasks[name]
        self._drain(sync)
        await asyncio.wait([task], timeout=sync.settings.drain)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for known in (self._syncs, self._pipelines, self._tasks):
            del known[name]

    @staticmethod
    def _drain(sync: Sync) -> None:
        sync.wishes.stopping.set()
        sync.wishes.wake.set()
        if sync.progress.state not in (State.HALTED, State.STOPPED):
            sync.reporter.meet(Event.DRAIN)

    async def stop(self) -> None:
        """Let every sync finish what is in flight, each within its own ``drain``; then end."""
        self._ending = True
        for sync in self._syncs.values():
            self._drain(sync)
        within = max((sync.settings.drain for sync in self._syncs.values()), default=0.0)
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=within)
        await self._cancel()
        self._over = True
        self._news.set()

    def snapshot(self, name: str) -> str:
        """Ask for a full snapshot of one sync; gives what happens next."""
        sync = self.find(name)
        due = sync.ledger.record.snapshot
        if due is not None and due.stage != "pending":
            return "a snapshot is already being taken"
        whole = due if due is not None and not due.tables else SnapshotRecord()
        sync.ledger.save(snapshot=replace(whole, cause=BY_OPERATOR))
        sync.wishes.wake.set()
        return f"the snapshot begins {_when(sync, 'at the next transaction end')}"

    def accept_gap(self, name: str) -> str:
        """Take the gap of one sync for known: batches suggest no snapshot any more; gives what happens next."""
        sync = self.find(name)
        if not sync.ledger.record.gap:
            return "there is no gap"
        sync.ledger.save(gap="")
        sync.update_flag()
        sync.wishes.wake.set()
        return "the gap is accepted; rows go on without the suggestion"

    def pause(self, name: str) -> str:
        """Stop one sync at the next transaction end until it is resumed, through restarts too."""
        sync = self.find(name)
        sync.ledger.save(paused=True)
        sync.wishes.wake.set()
        return f"the sync pauses {_when(sync, 'at the next transaction end')}"

    def resume(self, name: str) -> str:
        """End the pause of one sync."""
        sync = self.find(name)
        sync.ledger.save(paused=False)
        sync.wishes.wake.set()
        return f"the sync goes on {_when(sync, 'now')}"

    async def retry(self, name: str, numbers: Sequence[int] | None) -> Account:
        """Let one sync send rows that were set aside once more, as soon as nothing else is in flight.

        Raises:
            FuagentError: it cannot, or could not finish; the text says what to do.
        """
        sync = self.find(name)
        chosen(sync.journal, numbers)
        if sync.progress.state in _AT_REST:
            raise FuagentError(
                f"sync {name} is {sync.progress.state} and sends nothing.", fix=_AT_REST[sync.progress.state]
            )
        wish = Wish(None if numbers is None else tuple(numbers), asyncio.get_running_loop().create_future())
        sync.wishes.again.append(wish)
        sync.wishes.wake.set()
        answer = await wish.answer
        if isinstance(answer, FuagentError):
            raise answer
        return answer

    def events(self, name: str) -> list[TableSpec]:
        """The tables of one sync and how their rows are written, as far as they are known yet; without the document."""
        sync = self.find(name)
        return [TableSpec(table, sync.settings.mapping) for table in sync.tables]

    async def status(self) -> list[Progress]:
        """Progress of every sync, with how far each is behind; as it was last known, where a source does not say."""
        for sync in self._syncs.values():
            if sync not in self._measuring:
                self._measuring[sync] = asyncio.create_task(self._measure(sync))
                self._measuring[sync].add_done_callback(partial(self._measured, sync))
        if self._measuring:
            await asyncio.wait(self._measuring.values(), timeout=_MEASURE_FOR)
        return self.progress

    def _measured(self, sync: Sync, _task: asyncio.Task[None]) -> None:
        del self._measuring[sync]

    async def _measure(self, sync: Sync) -> None:
        progress = sync.progress
        anchors = sync.journal.anchors()
        place = anchors[0].place if anchors and progress.state in _PLACED else None
        if place is None and progress.snapshot_since is None:
            return
        rests = progress.state in _AT_REST or (sync.reached and not sync.reading.locked())
        with suppress(Exception):  # its sync may be ending, and a source that was closed fails as it likes
            head = await (self._look_at_rest(sync, place) if rests else sync.source.head(place))
            if head is not None:
                progress.behind_rows, progress.behind_bytes = head.rows_behind, head.bytes_behind
                progress.kept_bytes, progress.room_bytes = head.bytes_kept, head.bytes_room
                progress.kept_seconds, progress.unread_since = head.seconds_kept, head.since

    @staticmethod
    async def _look_at_rest(sync: Sync, place: Place | None) -> Head | None:
        """Open the source for the question alone: what it keeps grows most while nobody reads. None if it was just asked."""
        now = sync.clock.monotonic()
        if sync.looked_at_rest is not None and now - sync.looked_at_rest < _LOOK_AT_REST_EVERY:
            return None
        async with sync.reading, asyncio.timeout(_LOOK_AT_REST_FOR):
            sync.looked_at_rest = now
            try:
                await sync.source.open()
                return await sync.source.head(place)
            finally:
                await sync.source.close()

    async def _cancel(self) -> None:
        tasks = (*self._tasks.values(), *self._measuring.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _when(sync: Sync, soon: str) -> str:
    """When a sync does what is asked of it: a halted one is begun anew with the agent alone."""
    return "when the agent starts again: the sync is halted" if sync.progress.state is State.HALTED else soon
