"""One sync in a world of its own: database, service, clock and journal that a test can break at will.

A crash is a step that never comes back: the hook of that step raises, and from then on so
does every other, until the next life begins with nothing but the journal's files.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import orjson
import structlog

from fuagent.engine.pipeline import Pipeline
from fuagent.engine.progress import Progress
from fuagent.engine.reporter import Reporter
from fuagent.engine.settings import SyncSettings
from fuagent.engine.sync import Sync
from fuagent.interfaces import PusherContext, SourceContext
from fuagent.journal import Journal, SyncJournal
from fuagent.model import Column, Deletes, Kind, Mapping, Table
from fuagent.testing.clock import ManualClock
from fuagent.testing.database import Change, Database
from fuagent.testing.memory import MemorySource
from fuagent.testing.service import MemoryPusher, Service

MEMORY = Path("/dev/shm")
AGENT = "agent-0123456789ab"


class Crash(BaseException):
    """The process ends here."""


def table(name: str) -> Table:
    return Table(name, (Column("t", Kind.TEXT), Column("id", Kind.INTEGER), Column("v", Kind.INTEGER)), ("id",))


class Watched(SyncJournal):
    """A journal in front of and behind whose writes the process may end."""

    def __init__(self, journal: Journal, name: str, world: World) -> None:
        super().__init__(journal, name)
        self._world = world

    def save(self, record, anchor=None):
        self._world.step("journal: before it is on disk")
        super().save(record, anchor)
        self._world.synced()
        self._world.step("journal: it is on disk")

    def advance(self, record, anchor):
        self._world.step("journal: before it is written")
        super().advance(record, anchor)
        self._world.step("journal: it is written")

    def set_aside(self, *row):
        self._world.step("journal: before a row is set aside")
        number = super().set_aside(*row)
        self._world.synced()
        self._world.step("journal: a row is set aside")
        return number


class World:
    """Everything around one sync; ``life`` is one process of the agent."""

    def __init__(self, *names: str, clock: ManualClock | None = None, routed: bool | None = None, **settings) -> None:
        names = names or ("a",)
        self.clock = clock or ManualClock()
        self.database = Database()
        for name in names:
            self.database.create(table(name))
        self.service = Service(self.clock, key=lambda event: (event["t"], event["id"]))
        self.names = list(names)
        self.routed = len(names) > 1 if routed is None else routed
        settings = {"mapping": Mapping(deletes=Deletes.MARK), "deletes_given": True} | settings
        self.settings = replace(SyncSettings("orders", AGENT), **settings)
        self.chunk = 3
        self.pace = 0.0
        self.chance: Callable[[], float] = lambda: 0.5
        self.directory = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.power_loss = False
        self.steps: list[str] = []
        self.crash_at: int | None = None
        self.crash_on: Callable[[str], bool] = lambda _step: False
        self.dead = False
        self.started = 0
        self.version = 0
        self.restored: dict[int, int] = {}
        """The checkpoint a backup brought back, by how many requests were taken before."""
        self.losses: list[str] = []
        """Every loss of place that was recorded, and every notice that rows may remain."""
        self.history: list[tuple[int, dict[str, object], bool]] = []
        """Every row image worth an event: how many transactions came before, the row, whether it is gone."""
        self.watch: Callable[[str], None] = lambda _step: None
        self.database.hook = lambda step: self.step(f"source: {step}")
        self.service.hook = lambda step: self.step(f"service: {step}")
        self.journal: Journal | None = None
        self.sync: Sync
        self.pipeline: Pipeline
        self.task: asyncio.Task[None] | None = None

    def step(self, name: str) -> None:
        """One hand-over; the process may end at it."""
        if self.dead:
            raise Crash
        if self.journal is None:
            return
        self.steps.append(name)
        if len(self.steps) == self.crash_at or self.crash_on(name):
            self.dead = True
            raise Crash
        self.watch(name)

    def synced(self) -> None:
        """Remember the journal's files as they are on disk now."""
        if self.power_loss:
            kept = self.directory / "synced"
            kept.mkdir(exist_ok=True)
            for path in self.directory.glob("journal.db*"):
                if not path.name.endswith("-shm"):
                    shutil.copy(path, kept)

    # --- rows

    def row(self, name: str, key: int) -> dict[str, object]:
        self.version += 1
        return {"t": name, "id": key, "v": self.version}

    def put(self, *keys: int, name: str = "a") -> None:
        """Insert or update rows in one transaction."""
        rows = self.database.rows(name)
        self.commit(*(Change(name, rows.get(key), self.row(name, key)) for key in keys))

    def delete(self, *keys: int, name: str = "a") -> None:
        self.commit(*(Change(name, self.database.rows(name)[key], None) for key in keys))

    def commit(self, *changes: Change) -> None:
        at = self.database.end + 1
        for change in changes:
            if change.old is not None and (change.new is None or change.new["id"] != change.old["id"]):
                self.history.append((at, change.old, True))
            if change.new is not None:
                self.history.append((at, change.new, False))
        self.database.commit(*changes)

    def truth(self) -> dict[object, dict[str, object]]:
        return {(name, key): row for name in self.names for key, row in self.database.rows(name).items()}

    # --- lives

    def begin(self, *, once: bool = False) -> None:
        """Start a process of the agent."""
        assert self.journal is None
        self.dead = False
        self.started += 1
        self.journal = Journal.open(self.directory)
        reporter = Reporter(Progress("orders"), silent(), self.clock)
        source = MemorySource(
            SourceContext("orders", AGENT, "memory://", lambda: None, None, tuple(self.names)),
            self.database,
            chunk=self.chunk,
            clock=self.clock,
            pace=self.pace,
        )
        context = PusherContext("orders", AGENT, "memory://", lambda: None, None, 30.0)
        pusher = MemoryPusher(context, self.service, routed=self.routed)
        watched = Watched(self.journal, "orders", self)
        self.sync = Sync(self.settings, source, pusher, watched, self.clock, self.chance, reporter, f"s{self.started}")
        self.sync.wishes.once = once
        reporter.notice = self._noticed(reporter.notice)
        self.pipeline = Pipeline(self.sync)
        self.task = asyncio.create_task(self.pipeline.run())

    def _noticed(self, notice):
        def noticed(text: str, **facts: object) -> None:
            if text.startswith("Lost place") or "may remain" in text:
                self.losses.append(text)
            notice(text, **facts)

        return noticed

    async def end(self, *, kill: bool = True) -> None:
        """End the process: killed at whatever it is doing, or asked to stop."""
        assert self.task is not None
        assert self.journal is not None
        if kill:
            self.dead = True
            self.task.cancel()
        else:
            self.sync.wishes.stopping.set()
            self.sync.wishes.wake.set()
        with suppress(asyncio.CancelledError, Crash):
            await self.task
        self.journal.close()
        kept = self.directory / "synced"
        if self.power_loss and kill and kept.is_dir():
            for path in self.directory.glob("journal.db*"):
                path.unlink()
            for path in kept.iterdir():
                shutil.copy(path, self.directory)
        self.task = self.journal = None

    async def until(self, condition: Callable[[], object], within: float = 600.0) -> None:
        """Let time pass until ``condition`` holds."""
        deadline = self.clock.monotonic() + within
        while not condition():
            if self.task is not None and self.task.done() and not self.dead:
                self.task.result()
                assert condition(), f"the sync ended: {self.progress.state} {self.progress.problem}"
                return
            if self.dead:
                raise Crash
            assert self.clock.monotonic() < deadline, f"not within {within} s; the sync is {self.told()}"
            await self.clock.sleep(0.25)

    async def over(self) -> None:
        """Let time pass until the sync has ended by itself."""
        assert self.task is not None
        await self.until(self.task.done)
        self.task.result()

    async def following(self, *keys: int, name: str = "a") -> None:
        """Put rows of these keys, start, and wait until the service has them."""
        self.put(*keys, name=name)
        self.begin()
        await self.caught_up()

    async def caught_up(self, within: float = 600.0) -> None:
        """Let time pass until the service holds what the database holds and nothing is due."""
        await self.until(lambda: self.settled, within)

    @property
    def settled(self) -> bool:
        return (
            self.progress.state.value == "caught up"
            and self.record.snapshot is None
            and self.service.rows() == self.truth()
        )

    def told(self) -> str:
        progress = self.progress
        missing = {k: v for k, v in self.truth().items() if self.service.rows().get(k) != v}
        extra = {k: v for k, v in self.service.rows().items() if k not in self.truth()}
        return (
            f"{progress.state} problem={progress.problem!r} gap={self.record.gap!r} snapshot={self.record.snapshot}"
            f" missing={missing} extra={extra} last={self.steps[-5:]}"
        )

    @property
    def progress(self) -> Progress:
        return self.sync.progress

    @property
    def record(self):
        return self.sync.ledger.record

    def lose_journal(self) -> None:
        for path in self.directory.glob("**/journal.db*"):
            path.unlink()

    def close(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def run(self, story: Callable[[World], object]) -> None:
        """Run ``story``, an async function of this world, in the world's own time."""

        async def whole() -> None:
            try:
                await story(self)
            finally:
                if self.task is not None:
                    await self.end()

        try:
            self.clock.run(whole())
        finally:
            self.close()


def silent():
    return structlog.wrap_logger(None, processors=[_drop])


def _drop(_logger, _name, _event):
    raise structlog.DropEvent


def bodies(requests) -> list[dict[str, object]]:
    return [orjson.loads(request.body) for request in requests]
