"""One sync and everything around it, out of one seed: database, wire, service, disk and clock.

A crash is a step that never comes back: it raises, and from then on so does every other
step, until the next life begins with nothing but the files of the journal.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256

import structlog
from simulated_disk import Disk, Watched
from simulated_oracle import Oracle, check_sum
from simulated_service import Service
from simulated_wire import KEY, ORIGIN, TIMEOUT, Pusher

from fuagent.engine.agent import Agent
from fuagent.engine.progress import Progress
from fuagent.engine.reporter import Reporter
from fuagent.engine.settings import SyncSettings
from fuagent.engine.sync import Sync
from fuagent.interfaces import PusherContext, SourceContext
from fuagent.journal import Journal
from fuagent.model import Column, Credential, Deletes, Kind, Mapping, Secret, Table
from fuagent.pushers.options import OpenAPIOptions
from fuagent.testing.clock import ManualClock
from fuagent.testing.database import Change, Database, seq_of
from fuagent.testing.memory import MemorySnapshot, MemorySource

NAME = "orders"
AGENT = "agent-0123456789ab"
COLUMNS = ("t", "id", "v", "tx", "chk")


class Crash(BaseException):
    """The process ends here."""


def table(name: str) -> Table:
    first, *rest = COLUMNS
    return Table(name, (Column(first, Kind.TEXT), *(Column(column, Kind.INTEGER) for column in rest)), ("id",))


class SeenSnapshot(MemorySnapshot):
    """A snapshot that the oracle sees begin."""

    world: World

    async def rows(self):
        rows = {Oracle.event(row, deleted=False) for picture in self._pictures for row in picture.rows}
        labels = frozenset(picture.spec.table.label for picture in self._pictures)
        whole = self.world.whole_snapshot
        self.world.oracle.snapshot_begins(seq_of(self.place.position), labels, rows, whole=whole)
        async for chunk in super().rows():
            yield chunk


class Seen(MemorySource):
    """A source whose acknowledgements and snapshots the oracle sees."""

    world: World

    async def snapshot(self, tables):
        made = await super().snapshot(tables)
        run = SeenSnapshot(self, made.place, made.index, made._pictures)
        run.world = self.world
        return run

    async def acknowledge(self, place):
        await super().acknowledge(place)
        self.world.oracle.acknowledged(seq_of(place.position))


class World:
    """Everything around one sync; ``begin`` and ``end`` make one process of the agent.

    ``profile``: *calm* (no fault at all), *gentle* (whatever happens, the log keeps what is
    owed) or *rough* (anything).
    """

    def __init__(self, seed: int) -> None:
        chance = self.random = random.Random(seed)
        self.profile = "calm" if seed % 10 == 0 else "rough" if seed % 3 == 0 else "gentle"
        self.clock = ManualClock()
        self.trace = sha256()
        self.lines: list[str] = []
        self.key = KEY
        self.names = list(("a", "b", "c")[: chance.choice((1, 1, 2, 3))])
        self.marks = chance.random() < 0.8
        deletes = Deletes.MARK if self.marks else Deletes.SKIP
        self.settings = SyncSettings(
            NAME,
            AGENT,
            mapping=Mapping(deletes=deletes),
            deletes_given=True,
            batch_size=chance.randint(1, 6),
            batch_bytes=chance.choice((300, 500, 1_000_000)),
            on_lost_place=chance.choice(("continue", "wait", "snapshot")),
            on_reject=chance.choice(("halt", "set_aside")),
        )
        self.routed = len(self.names) > 1 or chance.random() < 0.2
        self.database = Database()
        for name in self.names:
            self.database.create(table(name))
        self.oracle = Oracle(self)
        self.service = Service(self._applied)
        self.service.remembers = chance.random() < 0.8
        self.service.sweeps = chance.random() < 0.5
        self.service.quiet = chance.random() < 0.2
        self.chunk = chance.randint(1, 4)
        self.pace = chance.choice((0.0, 0.1, 1.0))
        self.latency = chance.choice((0.0, 0.05, 1.0))
        self.disk = Disk(chance, cuts=self.profile != "calm" and chance.random() < 0.4)
        self.fault: Callable[[object], str] = lambda _request: ""
        self.at_step: Callable[[str], None] = lambda _step: None
        self.database.hook = lambda step: self.step(f"source: {step}")
        self.taken: set[bytes] = set()
        """Every body the service has taken."""
        self.reshaped = False
        """Whether the settings that choose rows were changed."""
        self.unsure = False
        """Whether the service was put back, so that what it answers twice is not the agent's fault."""
        self.crash_in: int | None = None
        """How many steps from now the process ends."""
        self.dead = False
        self.defect: BaseException | None = None
        """What the engine took for a defect of a driver: an oracle's word, or a real one."""
        self.started = 0
        self.version = 0
        self.tx = 0
        self.journal: Journal | None = None
        self.sync: Sync
        self.agent: Agent
        self.task: asyncio.Task[None] | None = None

    def told(self, line: str) -> None:
        """One line of the trace."""
        line = f"{self.clock.monotonic():.3f} {line}"
        self.trace.update(line.encode())
        self.lines.append(line)
        del self.lines[:-40]

    def step(self, name: str) -> None:
        """One hand-over; the process may end at it."""
        if self.dead:
            raise Crash
        if self.journal is None:
            return
        self.told(name)
        if self.crash_in is not None:
            self.crash_in -= 1
            if self.crash_in < 0:
                self.crash_in = None
                self.dead = True
                self.oracle.reached["a crash at a hand-over"] += 1
                if self.sync.in_snapshot:
                    self.oracle.reached["a crash in a snapshot"] += 1
                raise Crash
        self.at_step(name)

    def _applied(self, request, batch) -> None:
        self.oracle.applied(request, batch)
        self.taken.add(request.body)

    # ------------------------------------------------------------ rows

    def row(self, name: str, key: int) -> dict[str, object]:
        self.version += 1
        return {
            "t": name,
            "id": key,
            "v": self.version,
            "tx": self.tx,
            "chk": check_sum(key, self.version, self.tx),
        }

    def commit(self, *changes: Change) -> None:
        seq = self.database.end + 1
        owed = []
        for change in changes:
            moved = change.old is not None and (change.new is None or change.new["id"] != change.old["id"])
            if moved:
                self.oracle.gone.add((change.table, change.old["id"]))
                if self.marks:
                    owed.append(Oracle.event(change.old, deleted=True))
            if change.new is not None:
                owed.append(Oracle.event(change.new, deleted=False))
        self.oracle.committed(seq, owed)
        self.database.commit(*changes)

    def truth(self) -> dict[object, dict[str, object]]:
        return {(name, key): row for name in self.names for key, row in self.database.rows(name).items()}

    # ------------------------------------------------------------ lives

    def begin(self, *, once: bool = False) -> None:
        """Start a process of the agent."""
        assert self.journal is None
        self.dead = False
        self.started += 1
        self.told(f"life {self.started}")
        self.oracle.begins()
        self.journal = Journal.open(self.disk.directory, clock=self.clock.time)
        if self.journal.damaged:
            self.oracle.reached["a journal put aside"] += 1
        reporter = Reporter(Progress(NAME), silent(), self.clock)
        reporter.notice = self._noticed(reporter.notice)
        reporter.defect = self._defective
        source = Seen(
            SourceContext(NAME, AGENT, "memory://", lambda: None, None, tuple(self.names)),
            self.database,
            chunk=self.chunk,
            clock=self.clock,
            pace=self.pace,
        )
        source.world = self
        credential = Credential(key=Secret(KEY))
        options = OpenAPIOptions(batch_endpoint="/ingest/{table}" if self.routed else "/ingest-batch")
        context = PusherContext(NAME, AGENT, f"{ORIGIN}/openapi.json", lambda: credential, options, TIMEOUT)
        watched = Watched(self.journal, NAME, self.disk, self.step)
        self.sync = Sync(
            self.settings,
            source,
            Pusher(context, self),
            watched,
            self.clock,
            self.random.random,
            reporter,
            f"s{self.started}",
        )
        self.agent = Agent([self.sync])
        self.task = asyncio.create_task(self.agent.run(once=once))

    def _defective(self, error: BaseException) -> None:
        self.defect = error

    def _noticed(self, notice):
        said = {
            "The service has no checkpoint although": "404 with rows acknowledged",
            "The service went back": "a checkpoint that went back",
            "Lost place": "a lost place",
            "The journal knows nothing": "going on by the number alone",
            "A row the service refuses": "a row set aside",
            "Rows deleted before": "deleted rows may remain",
        }

        def noticed(text: str, **facts: object) -> None:
            for opening, situation in said.items():
                if text.startswith(opening):
                    if situation == "a lost place":
                        self.oracle.accepted = False
                        self.oracle.licences.add(situation)
                    self.oracle.reached[situation] += 1
            self.told(f"notice: {text}")
            notice(text, **facts)

        return noticed

    async def end(self, *, kill: bool = True) -> None:
        """End the process: killed at whatever it is doing, or asked to stop."""
        assert self.task is not None
        assert self.journal is not None
        self.told("killed" if kill else "asked to stop")
        if kill:
            self.dead = True
            self.task.cancel()
        else:
            with suppress(Crash):
                await self.agent.stop()
        with suppress(asyncio.CancelledError, Crash):
            try:
                await self.task
            except Exception:
                if not self.dead:
                    raise
        left = self.disk.dies() if kill or self.dead else None
        self.journal.close()
        if left is not None:
            self.disk.killed(left)
        self.task = self.journal = None

    @property
    def halted(self) -> bool:
        return self.task is not None and not self.dead and not self.agent.healthy

    async def until(self, condition: Callable[[], object], within: float) -> bool:
        """Let time pass until ``condition`` holds; False if it did not within so many seconds."""
        deadline = self.clock.monotonic() + within
        while not condition():
            if self.dead or self.halted or self.task is None or self.task.done():
                return bool(condition())
            if self.clock.monotonic() >= deadline:
                return False
            await self.clock.sleep(0.25)
        return True

    @property
    def record(self):
        return self.sync.ledger.record

    @property
    def whole_snapshot(self) -> bool:
        due = self.record.snapshot
        return due is None or not due.tables

    def paths(self) -> set[str]:
        return {f"/ingest/{name}" for name in self.names} if self.routed else {"/ingest-batch"}

    def change_settings(self, **settings: object) -> None:
        self.settings = replace(self.settings, **settings)

    def run(self, story: Callable[[], object]) -> None:
        """Run ``story`` in the world's own time."""

        async def whole() -> None:
            try:
                await story()
            finally:
                if self.task is not None:
                    await self.end()

        try:
            self.clock.run(whole())
        finally:
            self.disk.close()


def silent():
    return structlog.wrap_logger(None, processors=[_drop])


def _drop(_logger, _name, _event):
    raise structlog.DropEvent
