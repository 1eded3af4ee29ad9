"""The process ends at every hand-over in turn; the next one makes it whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import engine_checks as holds
import pytest
from engine_world import Crash, World

from fuagent.journal import SnapshotRecord

Story = Callable[[World], Awaitable[None]]


async def first_snapshot(world: World) -> None:
    """Rows before it, changes and a delete while it runs, changes behind it."""
    world.put(1, 2, 3, 4, 5)
    await world.clock.sleep(0.5)
    world.put(2)
    world.delete(3)
    world.put(6, 7)
    await world.caught_up()
    world.put(1, 8)
    world.delete(2)
    await world.caught_up()


async def again_in_mid_stream(world: World) -> None:
    """A snapshot that the service asks for in reply to a change."""
    world.put(1, 2, 3, 4, 5)
    await world.caught_up()
    world.service.wishes = 1
    world.put(1, 6)
    await world.until(lambda: world.service.wishes == 0)
    world.put(2)
    world.delete(4, 5)
    await world.until(lambda: world.record.snapshots >= 2, within=1200)
    world.put(7)
    await world.caught_up()


async def rows_set_aside(world: World) -> None:
    """Single rows that the service refuses while others pass."""
    world.service.refuses = lambda event: event["id"] in (3, 12)
    world.put(1, 2, 3, 4, 5)
    await world.until(lambda: world.progress.state.value == "caught up" and not world.record.snapshot)
    world.put(11, 12, 13)
    await world.until(lambda: ("a", 13) in world.service.rows())
    world.service.refuses = lambda event: False
    world.put(3, 12)
    await world.caught_up()


async def again_and_nothing_changed(world: World) -> None:
    """Snapshots that the service asks for while the source stays silent: each needs an index of its own."""
    world.put(1, 2, 3, 4, 5)
    await world.caught_up()
    for taken in (2, 3):
        world.service.wishes = 1
        if taken == 2:
            world.put(1)
            await world.until(lambda: world.service.wishes == 0)
        else:
            world.sync.ledger.save(snapshot=SnapshotRecord(cause="a test asked for it"))
            world.sync.wishes.wake.set()
        await world.until(lambda taken=taken: world.record.snapshots >= taken, within=1200)
        await world.until(lambda: world.record.snapshot is None, within=1200)


async def behind_a_foreign_checkpoint(world: World) -> None:
    """The service names a number this log never had; what follows is numbered above it."""
    world.service.store.checkpoint = 1_000_000
    world.put(1, 2, 3)
    await world.caught_up()
    world.put(4, 5)
    world.delete(1)
    await world.caught_up()
    world.service.wishes = 1
    world.put(2)
    await world.until(lambda: world.record.snapshots >= 2, within=1200)
    world.put(6)
    await world.caught_up()


STORIES = (
    first_snapshot,
    again_in_mid_stream,
    rows_set_aside,
    again_and_nothing_changed,
    behind_a_foreign_checkpoint,
)


def _world() -> World:
    world = World(batch_size=2, on_reject="set_aside")
    world.chunk = 2
    world.pace = 0.2
    world.service.sweeps = True
    return world


async def lives(world: World, story: Story) -> None:
    """``story``, with a new process wherever the old one ended."""
    world.begin()
    try:
        await story(world)
    except Crash:
        await world.end()
        await world.clock.sleep(1)
        world.crash_at = None
        world.crash_on = lambda _step: False
        world.begin()
        world.service.refuses = lambda event: False
        if story is not rows_set_aside:
            await world.caught_up(within=4000)
        world.put(90, 91, 3, 12)
        world.delete(90)
        await world.caught_up()


def _count(story: Story) -> int:
    world = _world()
    world.run(lambda w: lives(w, story))
    return len(world.steps)


@pytest.mark.parametrize("power_loss", [False, True], ids=["killed", "power lost"])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
@pytest.mark.fault("F64", "F103")
def test_every_hand_over(story, power_loss):
    """Wherever the process ends, rows converge, indexes keep their bytes and rise, versions go forward."""
    steps = _count(story)
    for at in range(1, steps + 1):
        world = _world()
        world.power_loss = power_loss
        world.crash_at = at
        try:
            world.run(lambda w: lives(w, story))
            if story is not rows_set_aside:
                holds.forward(world)
            holds.converged(world)
            holds.numbered(world)
            holds.rising(world)
            holds.one_at_a_time(world)
            assert len(world.service.markers) >= 1
        except BaseException as error:
            error.add_note(f"ended at step {at} of {steps}: {world.steps[at - 3 : at]}")
            raise
