"""What happens to one world: changes, faults, deaths, people. One seed decides all of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import simulated_wire as wire
from simulated_oracle import BrokenPromiseError, hold
from simulated_service import Store
from simulated_world import Crash, World, table

from fuagent.errors import TryAgainError
from fuagent.testing.database import Change

REST = 20_000.0
"""Seconds within which a sync has caught up once nothing is broken any more: O16.

The longest waits there are: a snapshot asked for again and again (an hour), Retry-After
(a quarter of one), the suggestion repeated (five minutes), and the retries between them.
"""

SITUATIONS = (
    "401",
    "302",
    "429",
    "500",
    "503",
    "503 with Retry-After",
    "a page",
    wire.LOST_REQUEST,
    wire.LOST_REPLY,
    wire.REFUSED,
    wire.STALLED,
    wire.DRIP,
    wire.EARLY,
    "413",
    "a batch of one row after a split",
    "a row set aside",
    "a halt",
    "a halt that was mended",
    "a crash at a hand-over",
    "a crash in a snapshot",
    "a restart in the middle of a transaction",
    "a connection cut while reading",
    "the database hiccups",
    "a journal torn",
    "a journal put aside",
    "the journal is lost",
    "going on by the number alone",
    "the disk is full",
    "the log is purged",
    "a failover",
    "a failover that loses transactions",
    "a table truncated",
    "changes that no log holds",
    "a lost place",
    "a gap that was said",
    "a gap accepted by hand",
    "the service is wiped",
    "404 with rows acknowledged",
    wire.MISSING,
    "a backup restored",
    "a checkpoint that went back",
    "a checkpoint that nobody gave",
    "a snapshot is done",
    "a snapshot asked for by the service",
    "a snapshot asked for while one runs",
    "a snapshot asked for by hand",
    "a table joins",
    "a definition changes",
    "other settings in the middle of a transaction",
    "a pause",
    "a pause in a snapshot",
    "the wall clock jumps",
    "hours asleep",
    "run once",
    "looked at from outside",
)
"""What the seeds of a run must have reached between them, or the run proves little."""

MISHAPS = ("the journal is lost", "a journal put aside", "the log is purged", "a checkpoint that nobody gave")


class Nemesis:
    """One seed's life."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.world = World(seed)
        self.random = self.world.random
        self.acts: list[str] = []
        self.wires: list[str] = []
        """Faults that the next requests meet, last first."""
        self.away = False
        self.hiccups = 0
        self.purges = self.random.random() < 0.5
        self.backup: Store | None = None
        self.world.fault = self._fault
        self.world.at_step = self._at_step
        self._split = False
        self._missed = False
        self.forgotten = False
        """Whether a gap was accepted, or the journal lost with the only note of it: then a person asks for the rows."""

    @property
    def reached(self):
        return self.world.oracle.reached

    def play(self) -> None:
        """Live it.

        Raises:
            BrokenPromiseError: a promise does not hold.
        """
        self.world.run(self._story)

    # ------------------------------------------------------------ hand-overs

    def _fault(self, request: wire.Request) -> str:
        if self.away:
            return wire.REFUSED
        if self.wires:
            fault = self.wires.pop()
            self.reached[fault] += 1
            return fault
        if request.method == "POST":
            self._watch_sizes(request)
        elif self._half_deployed():
            self.reached[wire.MISSING] += 1
            return wire.MISSING
        return ""

    def _half_deployed(self) -> bool:
        """Whether a node that knows nothing yet answers, once: asked again, another one does."""
        world = self.world
        chosen = world.profile != "calm" and world.service.store.checkpoint and self.random.random() < 0.02
        self._missed = bool(chosen and not self._missed)
        return self._missed

    def _watch_sizes(self, request: wire.Request) -> None:
        if len(request.body) > self.world.service.largest:
            self.reached["413"] += 1
            self._split = True
        elif self._split and request.body.count(b'"id"') == 1:
            self.reached["a batch of one row after a split"] += 1
            self._split = False

    def _at_step(self, step: str) -> None:
        if self.hiccups and step.startswith("source: ") and self.random.random() < 0.3:
            self.hiccups -= 1
            self.reached["the database hiccups"] += 1
            raise TryAgainError("the database hiccups.")

    # ------------------------------------------------------------ the story

    async def _story(self) -> None:
        world = self.world
        for _ in range(self.random.randint(0, 8)):
            self.change()
        world.begin()
        acts = self._acts()
        for _ in range(self.random.randint(10, 50)):
            [act] = self.random.choices([act for act, _ in acts], [weight for _, weight in acts])
            self.acts.append(act.__name__)
            world.told(f"act: {act.__name__}")
            try:
                result = act()
                if result is not None:
                    await result
                await world.clock.sleep(self.random.choice((0, 0.01, 0.3, 3, 20)))
            except Crash:
                pass
            await self._live()
        await self._calm_down()

    def _acts(self) -> list[tuple[Callable, int]]:
        world = self.world
        acts = [
            (self.change, 30),
            (self.wait, 6),
            (self.alter, 2),
            (self.clock_jumps, 1),
            (self.look, 1),
            (self.stop, 3),
        ]
        if world.profile == "calm":
            return acts
        acts += [
            (self.break_wire, 10),
            (self.limit_sizes, 3),
            (self.refuse_rows, 1),
            (self.want_a_snapshot, 2),
            (self.hiccup, 4),
            (self.cut, 3),
            (self.crash, 10),
            (self.run_once, 1),
            (self.pause, 2),
            (self.ask_by_hand, 1),
            (self.fill_disk, 1),
            (self.sleep_for_hours, 1),
            (self.join, 1),
            (self.outage, 2),
            (self.back_up, 3),
            (self.other_settings, 2),
        ]
        if self.purges:
            acts += [(self.purge, 6)]
        if world.service.remembers and not (world.profile == "gentle" and self.purges):
            acts += [(self.restore, 3)]
        if world.profile == "gentle":
            return acts
        return [
            *acts,
            (self.purge_too_much, 3),
            (self.fail_over, 2),
            (self.lose_journal, 2),
            (self.flip_journal, 3),
            (self.unwatch, 2),
            (self.truncate, 1),
            (self.refuse_suggestions, 2),
            (self.accept_gap, 2),
            *([(self.wipe, 2), (self.foreign, 1)] if world.service.remembers else []),
        ]

    async def _live(self) -> None:
        """A dead agent is started again; a halted one once the cause is mended."""
        world = self.world
        if world.defect is not None:
            raise world.defect
        if world.task is None:
            return
        if world.halted:
            await self._mend()
        elif world.task.done() and not world.dead:
            world.task.result()
            raise BrokenPromiseError(f"the sync ended by itself: {world.sync.progress.state}")
        if world.dead:
            await world.end()
            world.begin()

    async def _mend(self) -> None:
        """O17: what stopped says why, and goes on once that is put right."""
        world = self.world
        self.reached["a halt"] += 1
        progress = world.sync.progress
        world.oracle.halted(progress.problem, progress.fix)
        hold(world.service.refuses, "O17", lambda: f"halted for no reason: {progress.problem}")
        world.service.refuses = None
        await world.end(kill=False)
        world.begin()
        self.reached["a halt that was mended"] += 1

    async def _calm_down(self) -> None:
        """Faults end; the sync must come to rest by itself: O1, O16."""
        world = self.world
        self.wires.clear()
        self.hiccups, self.away = 0, False
        world.crash_in, world.disk.full = None, False
        world.service.largest, world.service.refuses = 10**9, None
        await self._live()
        world.service.accepts = True
        if world.record.paused:
            world.agent.resume("orders")
        if self.forgotten:
            self.ask_by_hand()
        self.change()
        rests = await world.until(lambda: self._rests, within=REST)
        await self._live()
        hold(rests or self._rests, "O16", self._told)
        world.oracle.converged()
        self.reached["a journal torn"] += world.disk.torn
        if world.profile == "calm":
            hold(world.sync.progress.retries == 0, "O15", lambda: "a retry without a fault")

    @property
    def _rests(self) -> bool:
        world = self.world
        if world.task is None or world.sync.progress.state.value != "caught up":
            return False
        if world.record.snapshot or world.record.gap:
            return False
        return world.sync.journal.anchors()[0].place.position == world.database.position()

    def _told(self) -> str:
        progress, record = self.world.sync.progress, self.world.record
        return f"{progress.state} {progress.problem!r} gap={record.gap!r} snapshot={record.snapshot}"

    # ------------------------------------------------------------ the source

    def change(self) -> None:
        """One transaction of one to nine rows."""
        world = self.world
        world.tx += 1
        changes: list[Change] = []
        now = {name: dict(world.database.rows(name)) for name in world.names}
        for _ in range(self.random.choice((1, 1, 2, 4, 9))):
            name = self.random.choice(world.names)
            key = self.random.randint(1, 12)
            old = now[name].get(key)
            if old is not None and self.random.random() < 0.3:
                changes.append(Change(name, old, None))
                del now[name][key]
                continue
            other = self.random.randint(1, 12)
            moves = old is not None and other not in now[name] and self.random.random() < 0.2
            new = world.row(name, other if moves else key)
            changes.append(Change(name, old, new))
            now[name].pop(key, None)
            now[name][new["id"]] = new
        world.commit(*changes)

    def alter(self) -> None:
        self.world.database.alter(self.random.choice(self.world.names))
        self.reached["a definition changes"] += 1

    def hiccup(self) -> None:
        self.hiccups = self.random.randint(1, 3)

    def cut(self) -> None:
        self.world.database.drop()
        self.reached["a connection cut while reading"] += 1

    def purge(self) -> None:
        self.world.database.purge()

    def purge_too_much(self) -> None:
        self.world.database.purge(self.random.randint(1, 5))
        self.world.oracle.suspect("the log is purged")

    def fail_over(self) -> None:
        world = self.world
        lost = self.random.choice((0, 0, 1, 3))
        before = world.truth()
        world.oracle.suspect("a failover that loses transactions" if lost else "a failover")
        world.database.fail_over(lost)
        world.oracle.lost_behind(world.database.end)
        world.oracle.gone |= before.keys() - world.truth().keys()

    def unwatch(self) -> None:
        world = self.world
        name = self.random.choice(world.names)
        world.oracle.suspect("changes that no log holds")
        row = world.database.rows(name)[99] = world.row(name, 99)
        world.oracle.place.setdefault(world.oracle.event(row, deleted=False), -1)
        world.oracle.place.setdefault(world.oracle.event(row, deleted=True), -1)
        world.database.unwatched = True
        world.database.drop()

    def truncate(self) -> None:
        world = self.world
        name = self.random.choice(world.names)
        world.oracle.suspect("a table truncated")
        world.oracle.gone |= {(name, key) for key in world.database.rows(name)}
        world.database.truncate(name)

    async def join(self) -> None:
        """A table is added to the sync, with rows that were there before."""
        world = self.world
        if not world.routed or "z" in world.names:
            return

        def added() -> None:
            world.database.create(table("z"))
            world.names.append("z")
            world.oracle.licences.add("a table joins")
            self.change()

        await self._between_lives(added)
        self.reached["a table joins"] += 1

    # ------------------------------------------------------------ the service

    def break_wire(self) -> None:
        self.wires = [self.random.choice(wire.FAULTS) for _ in range(self.random.choice((1, 1, 2, 5)))]

    def limit_sizes(self) -> None:
        self.world.service.largest = self.random.choice((330, 450, 700, 10**9))

    def refuse_rows(self) -> None:
        key = self.random.randint(1, 12)
        self.world.service.refuses = lambda event: event["id"] == key

    def want_a_snapshot(self) -> None:
        world = self.world
        world.service.wishes = self.random.choice((1, 1, 3))
        self.reached["a snapshot asked for by the service"] += 1
        if not world.dead and world.sync.in_snapshot:
            self.reached["a snapshot asked for while one runs"] += 1

    def refuse_suggestions(self) -> None:
        self.world.service.accepts = not self.world.service.accepts

    async def outage(self) -> None:
        await self._while_down(lambda: None)

    async def _while_down(self, meanwhile: Callable[[], object]) -> None:
        """The service is away for long enough that its checkpoint is asked for before it is trusted again."""
        world = self.world
        self.change()
        self.away = True
        retries = 0 if world.dead else world.sync.progress.retries
        try:
            failed = await world.until(lambda: world.sync.progress.retries >= retries + 4, within=300)
        finally:
            self.away = False
        if failed or world.dead:
            meanwhile()

    def back_up(self) -> None:
        if self._quiet:
            self.backup = self.world.service.backup()

    @property
    def _quiet(self) -> bool:
        """Whether everything the service has is told by its checkpoint."""
        world = self.world
        return (
            not world.dead
            and world.task is not None
            and world.record.snapshot is None
            and world.record.answered > 0
            and world.service.store.checkpoint == world.record.acknowledged
        )

    async def restore(self) -> None:
        world, backup = self.world, self.backup
        if backup is None or not self._quiet:
            return

        def bring_back() -> None:
            if world.record.snapshot is None:
                world.service.store = backup
                self.backup = None
                world.oracle.put_back(backup)
                world.unsure = True
                self.reached["a backup restored"] += 1

        await (self._while_down(bring_back) if self.random.random() < 0.5 else self._between_lives(bring_back))

    async def wipe(self) -> None:
        world = self.world

        def emptied() -> None:
            world.service.store = Store()
            self.backup = None
            world.unsure = True
            world.oracle.suspect("the service is wiped")
            world.oracle.numbering_begins_anew()

        if self._quiet:
            await (self._while_down(emptied) if self.random.random() < 0.5 else self._between_lives(emptied))

    async def foreign(self) -> None:
        """A checkpoint from somewhere else, beyond all that was ever sent."""
        world = self.world

        def set_it() -> None:
            world.service.store.checkpoint += 64 * self.random.randint(1, 500) + self.random.randint(0, 63)
            world.oracle.memory.highest = world.service.store.checkpoint
            world.oracle.suspect("a checkpoint that nobody gave")

        if self._quiet:
            await self._between_lives(set_it)

    # ------------------------------------------------------------ the process

    async def wait(self) -> None:
        await self.world.clock.sleep(self.random.choice((1, 30, 70, 400)))

    def crash(self) -> None:
        """The process ends some steps from now."""
        self.world.crash_in = self.random.choice((0, 3, 10, 30, 90))

    async def stop(self) -> None:
        await self._between_lives(lambda: None, kill=self.world.profile != "calm" and self.random.random() < 0.5)

    async def run_once(self) -> None:
        """A life that ends by itself once it has caught up."""
        world = self.world
        await world.end(kill=False)
        world.begin(once=True)
        await world.until(world.task.done, within=4000)
        self.reached["run once"] += 1
        if world.task.done() and not world.dead and not world.halted:
            await world.task
        await world.end(kill=not world.task.done())
        world.begin()

    async def _between_lives(self, then: Callable[[], object], *, kill: bool | None = None) -> None:
        await self.world.end(kill=self.random.random() < 0.5 if kill is None else kill)
        then()
        self.world.begin()

    async def other_settings(self) -> None:
        world = self.world

        def changed() -> None:
            world.change_settings(batch_size=self.random.randint(1, 6))
            # Without a checkpoint of the service, what it took last is not known, and so not what to number above.
            if world.service.remembers:
                world.change_settings(shape=self.random.choice(("", "x")))
                world.reshaped = True
                store, history = world.service.store, world.oracle.history
                if 0 <= store.cursor < len(history) - 1 and history[store.cursor].seq == history[store.cursor + 1].seq:
                    self.reached["other settings in the middle of a transaction"] += 1

        await self._between_lives(changed)

    async def pause(self) -> None:
        world = self.world
        self.reached["a pause in a snapshot" if world.sync.in_snapshot else "a pause"] += 1
        with suppress(Crash):
            world.agent.pause("orders")
            await world.clock.sleep(self.random.choice((0, 30)))
            if self.random.random() < 0.5:
                self.change()
            if self.random.random() < 0.3:
                await self._between_lives(lambda: None)
                await world.clock.sleep(5)
        await self._resume()

    async def _resume(self) -> None:
        """Whoever paused it resumes it, however often the process ends meanwhile."""
        world = self.world
        while True:
            await self._live()
            if world.task is None or not world.record.paused:
                return
            with suppress(Crash):
                world.agent.resume("orders")

    def ask_by_hand(self) -> None:
        world = self.world
        world.oracle.licences.add("by hand")
        world.agent.snapshot("orders")
        self.reached["a snapshot asked for by hand"] += 1

    def accept_gap(self) -> None:
        if self.world.record.gap:
            self.world.agent.accept_gap("orders")
            self.forgotten = True
            self.reached["a gap accepted by hand"] += 1

    async def look(self) -> None:
        with suppress(Crash):
            await self.world.agent.status()
        self.reached["looked at from outside"] += 1

    # ------------------------------------------------------------ disk and clock

    async def fill_disk(self) -> None:
        world = self.world
        world.disk.full = True
        world.oracle.forgets()
        self.change()
        try:
            await world.clock.sleep(self.random.choice((1, 12)))
        finally:
            world.disk.full = False
            world.oracle.forgets()
        self.reached["the disk is full"] += 1

    async def lose_journal(self) -> None:
        world = self.world
        self._forget("the journal is lost")

        def lost() -> None:
            world.disk.lose()
            world.disk._kept = {}
            if not world.service.remembers or world.database.carried:
                world.oracle.numbering_begins_anew()

        await self._between_lives(lost)

    async def flip_journal(self) -> None:
        world = self.world
        self._forget("a byte of the journal turned over")
        if not world.service.remembers or world.database.carried:
            world.oracle.numbering_begins_anew()
        await self._between_lives(world.disk.flip)

    def _forget(self, how: str) -> None:
        world = self.world
        flipped = how == "a byte of the journal turned over"  # SQLite drops whatever was logged behind it
        self.forgotten |= flipped or bool(world.oracle.suspects)
        world.oracle.suspect(how)

    def clock_jumps(self) -> None:
        self.world.clock._unix += self.random.choice((-86_400, -5, 5, 86_400))
        self.reached["the wall clock jumps"] += 1

    def sleep_for_hours(self) -> None:
        """The machine is suspended: time has passed, and nobody was awake."""
        self.world.clock.advance(self.random.choice((600, 7200)))
        self.reached["hours asleep"] += 1
