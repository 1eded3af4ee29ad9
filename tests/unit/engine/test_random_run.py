"""A long life at random: changes, faults of service and source, deaths of the agent.

``FUAGENT_SEEDS`` says how many seeds are run (200), ``FUAGENT_SEED`` picks a single one.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import engine_checks as holds
import pytest
from engine_world import Crash, World, table

from fuagent.errors import TryAgainError
from fuagent.journal import SnapshotRecord
from fuagent.testing.database import Change, seq_of
from fuagent.testing.service import PAGE, REFUSED, UNAVAILABLE, Reply, Store

SEEDS = int(os.environ.get("FUAGENT_SEEDS", "200"))
BUNDLE = 20
FAULTS = (
    Reply(UNAVAILABLE),
    Reply(UNAVAILABLE, stored=True),
    Reply(replace(UNAVAILABLE, retry_after=90.0)),
    Reply(PAGE),
    Reply(REFUSED),
)


class Chaos:
    """One seed's life. ``gentle``: whatever happens, the log keeps what is owed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        chance = self.random
        self.gentle = seed % 3 != 0
        self.purges = chance.random() < 0.5
        names = ("a", "b", "c")[: chance.choice((1, 1, 2, 3))]
        world = self.world = World(
            *names,
            batch_size=chance.randint(1, 6),
            batch_bytes=chance.choice((250, 400, 1_000_000)),
            on_lost_place=chance.choice(("continue", "wait", "snapshot")),
        )
        world.chance = chance.random
        world.chunk = chance.randint(1, 4)
        world.pace = chance.choice((0.0, 0.1, 1.0))
        world.power_loss = chance.random() < 0.3
        world.service.latency = chance.choice((0.0, 0.05, 1.0))
        world.service.remembers = chance.random() < 0.8
        world.service.sweeps = chance.random() < 0.5
        world.service.largest = chance.choice((300, 600, 10**6))
        world.watch = self._at_step
        self.source_faults = 0
        self.down = False
        self.backup: Store | None = None
        self.interrupted = 0
        self.said: list[str] = []

    def _at_step(self, step: str) -> None:
        if self.down and step == "service: asked":
            raise TryAgainError("the service is down.")
        if self.source_faults and step.startswith("source: ") and self.random.random() < 0.3:
            self.source_faults -= 1
            raise TryAgainError("the database hiccups.")

    async def story(self, world: World) -> None:
        for _ in range(self.random.randint(0, 8)):
            self.change()
        world.begin()
        acts = self.acts()
        for _ in range(self.random.randint(10, 50)):
            act = self.random.choices([act for act, _ in acts], [weight for _, weight in acts])[0]
            self.said.append(act.__name__)
            try:
                result = act()
                if result is not None:
                    await result
                await world.clock.sleep(self.random.choice((0, 0.01, 0.3, 3, 20)))
            except Crash:
                pass
            await self.live()
        await self.calm_down()

    def acts(self) -> list[tuple[Callable, int]]:
        mild = [
            (self.change, 30),
            (self.wait, 6),
            (self.answer_badly, 8),
            (self.want_a_snapshot, 2),
            (self.break_source, 4),
            (self.drop, 3),
            (self.crash, 10),
            (self.stop, 3),
            (self.pause, 2),
            (self.ask_by_hand, 1),
            (self.alter, 2),
            (self.join, 1),
            (self.outage, 2),
            (self.back_up, 3),
        ]
        if self.purges:
            mild += [(self.purge, 6)]
        if self.world.service.remembers and not (self.gentle and self.purges):
            mild += [(self.restore, 3)]
        if self.gentle:
            return mild
        return [
            *mild,
            (self.purge_too_much, 3),
            (self.fail_over, 2),
            (self.lose_journal, 2),
            (self.unwatch, 2),
            (self.truncate, 1),
            (self.wipe, 2 if self.world.service.remembers else 0),
            (self.refuse_suggestions, 2),
        ]

    async def live(self) -> None:
        """A dead agent is started again."""
        world = self.world
        if world.task is not None and world.task.done() and not world.dead:
            world.task.result()
            raise AssertionError(f"the sync ended: {world.told()}")
        if world.dead:
            self.interrupted += 1
            await world.end()
            world.crash_at = None
            await world.clock.sleep(self.random.choice((0, 5, 100)))
            world.begin()
        if world.record.paused:
            self._resume()

    # --- what happens

    def change(self) -> None:
        world, chance = self.world, self.random
        changes: list[Change] = []
        touched: set[tuple[str, object]] = set()
        for _ in range(chance.choice((1, 1, 2, 5, 12))):
            name = chance.choice(world.names)
            rows = world.database.rows(name)
            key, other = chance.randint(1, 12), chance.randint(1, 12)
            if touched & {(name, key), (name, other)}:
                continue
            old, kind = rows.get(key), chance.random()
            if old is None or kind < 0.6:
                changes.append(Change(name, old, world.row(name, key)))
            elif kind < 0.8 and other not in rows:
                changes.append(Change(name, old, world.row(name, other)))
            else:
                changes.append(Change(name, old, None))
            touched |= {(name, key), (name, other)}
        world.commit(*changes)

    async def wait(self) -> None:
        await self.world.clock.sleep(self.random.choice((10, 70, 400)))

    def answer_badly(self) -> None:
        self.world.service.script.extend(self.random.choices(FAULTS, k=self.random.randint(1, 4)))

    def want_a_snapshot(self) -> None:
        self.world.service.wishes += self.random.choice((1, 1, 3))

    def break_source(self) -> None:
        self.source_faults = self.random.randint(1, 4)

    def drop(self) -> None:
        self.interrupted += 1
        self.world.database.drop()

    def crash(self) -> None:
        self.world.crash_at = len(self.world.steps) + self.random.randint(1, 40)

    async def stop(self) -> None:
        self.interrupted += 1
        await self.world.end(kill=False)
        self._settings_change()
        self.world.begin()

    async def pause(self) -> None:
        world = self.world
        self.interrupted += 1
        world.sync.ledger.save(paused=True)
        world.sync.wishes.wake.set()
        await world.clock.sleep(self.random.choice((0, 30)))
        if self.random.random() < 0.5:
            self.change()
        self._resume()

    def _resume(self) -> None:
        self.world.sync.ledger.save(paused=False)
        self.world.sync.wishes.wake.set()

    def ask_by_hand(self) -> None:
        if self.world.record.snapshot is None:
            self.world.sync.ledger.save(snapshot=SnapshotRecord(cause="by hand"))
            self.world.sync.wishes.wake.set()

    def alter(self) -> None:
        self.world.database.alter(self.random.choice(self.world.names))

    async def join(self) -> None:
        world = self.world
        if not world.routed or "z" in world.names:
            return
        await self.stop_and(lambda: (world.database.create(table("z")), world.names.append("z")))

    async def stop_and(self, then: Callable[[], object]) -> None:
        self.interrupted += 1
        await self.world.end(kill=self.random.random() < 0.5)
        then()
        self.world.begin()

    def _settings_change(self) -> None:
        world = self.world
        # Without a checkpoint of the service, what it took last is not known, and so not what to number above.
        shape = self.random.choice(("", "x")) if world.service.remembers else ""
        world.settings = replace(world.settings, batch_size=self.random.randint(1, 6), shape=shape)

    async def outage(self) -> None:
        await self._while_down(lambda: None)

    async def _while_down(self, meanwhile: Callable[[], object]) -> None:
        """The service is away for long enough that its checkpoint is asked for before it is trusted again."""
        world = self.world
        self.interrupted += 1
        self.change()
        self.down = True
        failed = 0

        def away(_batch):
            nonlocal failed
            failed += 1
            return Reply(UNAVAILABLE)

        world.service.rule = away
        try:
            with suppress(AssertionError):
                await world.until(lambda: failed >= 4, within=300)
        finally:
            if failed >= 4 or world.dead:
                meanwhile()
            self.down = False
            world.service.rule = lambda _batch: None

    def back_up(self) -> None:
        if self._quiet:
            self.backup = self.world.service.backup()

    @property
    def _quiet(self) -> bool:
        """Whether everything the service has is told by its checkpoint."""
        world = self.world
        return (
            not world.dead
            and world.record.snapshot is None
            and world.record.answered > 0
            and world.service.store.checkpoint == world.record.acknowledged
        )

    async def restore(self) -> None:
        world = self.world
        if self.backup is None or not self._quiet:
            return
        backup = self.backup

        def bring_back() -> None:
            if world.record.snapshot is None:
                world.service.store = backup
                world.restored[len(world.service.taken)] = backup.checkpoint or 0
                self.backup = None

        if self.random.random() < 0.5:
            await self._while_down(bring_back)
        else:
            await self.stop_and(bring_back)

    def purge(self) -> None:
        self.world.database.purge()

    def purge_too_much(self) -> None:
        self.world.database.purge(self.random.randint(1, 5))

    def fail_over(self) -> None:
        lost = self.random.choice((0, 0, 1, 3))
        self.world.database.fail_over(lost)

    async def lose_journal(self) -> None:
        await self.stop_and(self.world.lose_journal)

    def unwatch(self) -> None:
        world = self.world
        name = self.random.choice(world.names)
        world.database.rows(name)[99] = world.row(name, 99)
        world.database.unwatched = True
        world.database.drop()

    def truncate(self) -> None:
        self.world.database.truncate(self.random.choice(self.world.names))

    async def wipe(self) -> None:
        def emptied() -> None:
            self.world.service.store = Store()
            self.backup = None

        if not self._quiet:
            return
        await (self._while_down(emptied) if self.random.random() < 0.5 else self.stop_and(emptied))

    def refuse_suggestions(self) -> None:
        self.world.service.accepts = not self.world.service.accepts

    # --- the end

    async def calm_down(self) -> None:
        """Faults end; the sync must come to rest by itself."""
        world = self.world
        self.source_faults = 0
        world.crash_at = None
        await self.live()
        world.service.accepts = True
        self.change()
        strict = self.gentle
        await world.until(lambda: self._rests(strict=strict), within=30_000)

    def _rests(self, *, strict: bool) -> bool:
        world = self.world
        if world.progress.state.value != "caught up" or world.record.snapshot or world.record.gap:
            return False
        if seq_of(world.sync.journal.anchors()[0].place.position) < world.database.end:
            return False
        held, truth = world.service.rows(), world.truth()
        return held == truth if strict else all(held.get(key) == row for key, row in truth.items())

    def judge(self) -> None:
        world = self.world
        holds.one_at_a_time(world)
        if not self.gentle:
            return
        assert world.losses == []
        holds.converged(world)
        holds.numbered(world)
        holds.rising(world)
        holds.forward(world)
        holds.complete(world)
        for route in world.names:
            markers = {r.batch.key for r in world.service.markers if not world.routed or r.batch.table == route}
            if route != "z":
                done = world.record.snapshots
                assert done <= len(markers) <= done + self.interrupted


def _one(seed: int) -> Chaos:
    chaos = Chaos(seed)
    try:
        chaos.world.run(chaos.story)
        chaos.judge()
    except BaseException as error:
        error.add_note(f"FUAGENT_SEED={seed} gentle={chaos.gentle} acts={chaos.said}")
        raise
    return chaos


def _bundles() -> list[range]:
    if "FUAGENT_SEED" in os.environ:
        seed = int(os.environ["FUAGENT_SEED"])
        return [range(seed, seed + 1)]
    return [range(low, min(low + BUNDLE, SEEDS)) for low in range(0, SEEDS, BUNDLE)]


@pytest.mark.parametrize("seeds", _bundles(), ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
def test_random_life(seeds):
    """Whatever happens in whatever order, nothing is lost, order is kept, and a gap is never silent."""
    for seed in seeds:
        chaos = _one(seed)
        assert chaos.world.service.taken or not chaos.world.truth()
