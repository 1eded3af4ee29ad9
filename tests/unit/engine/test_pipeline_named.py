"""Rows that a 2xx names as rejected: the others are delivered, these go the way of ``on_reject``."""

from __future__ import annotations

from contextlib import suppress

import pytest
from engine_checks import numbered
from engine_world import Crash, World

from fuagent.model import Outcome, Refused, Verdict
from fuagent.testing.service import WORDS, Reply


def naming(*keys: int, **settings) -> World:
    """A world whose service names events of these keys and takes the others."""
    world = World(**{"on_reject": "set_aside", "accept_rejected": True} | settings)
    world.chunk = 20
    world.service.names = lambda event: event["id"] in keys
    return world


def aside(world: World) -> list[tuple[int, str]]:
    """Key and reason of every row set aside."""
    rows = world.sync.journal.rejected()
    return [(int(row.event.split(b'"id":')[1].split(b",")[0]), row.reason) for row in rows]


def test_set_aside():
    """They are on disk with the service's own words, before anything behind them is sent; the others count."""
    world = naming(2, 3, 6, batch_size=5)

    async def story(world: World) -> None:
        await world.following(1)
        requests = len(world.service.requests)
        steps = len(world.steps)
        world.put(2, 3, 4, 5, 6)
        world.put(7)
        await world.until(lambda: ("a", 7) in world.service.rows())
        later = world.steps[steps:]

        assert aside(world) == [(key, f"200: its answer names the row as rejected: {WORDS}") for key in (2, 3, 6)]
        assert set(world.service.rows()) == {("a", key) for key in (1, 4, 5, 7)}
        assert [len(request.events) for request in world.service.requests[requests:]] == [5, 1]
        assert world.record.rows == 4
        kept = [at for at, step in enumerate(later) if step == "journal: a row is set aside"]
        sent = [at for at, step in enumerate(later) if step == "service: received"]
        assert sent[0] < kept[0]
        assert kept[-1] < sent[1]
        numbered(world)

    world.run(story)


def test_halt():
    """By default the sync halts at the first of them; what stands before it is delivered, and no word of the row is told."""
    world = naming(3, on_reject="halt")

    async def story(world: World) -> None:
        await world.following(1)
        world.put(2, 3, 4)
        await world.until(lambda: world.pipeline.halted)
        [*_, first] = [request for request in world.service.requests if request.batch.events]

        assert world.progress.problem.endswith(
            "the service refuses one row of table a: 200: its answer names the row as rejected"
        )
        assert WORDS not in world.progress.problem + world.progress.fix
        assert world.record.acknowledged == first.indexes[0]
        assert aside(world) == []
        await world.end()
        world.service.names = lambda _event: False
        world.begin()
        await world.caught_up()

    world.run(story)


def test_a_batch_of_which_none_passes():
    """A service that names every row of a batch is wrong itself: nothing stays set aside, and the sync halts."""
    world = naming(2, 3, 4)

    async def story(world: World) -> None:
        await world.following(1)
        world.put(2, 3, 4)
        await world.until(lambda: world.pipeline.halted)

        assert "refuses every row of a batch of 3" in world.progress.problem
        assert aside(world) == []

    world.run(story)


def test_row_after_row():
    """Batches of one row that are named one after the other halt the sync, as refused ones do."""
    world = naming(2, 3)

    async def story(world: World) -> None:
        await world.following(1)
        world.put(2)
        await world.until(lambda: aside(world))
        world.put(3)
        await world.until(lambda: world.pipeline.halted)

        assert "So it goes row after row." in world.progress.problem

    world.run(story)


@pytest.mark.parametrize("keys", [(2,), (2, 3), (2, 3, 4)])
def test_a_wish_for_a_snapshot_beside_named_rows(keys):
    """The same answer may ask for a snapshot: it is taken once, whatever became of the rows."""
    world = naming(2)

    async def story(world: World) -> None:
        await world.following(1)
        taken = world.record.snapshots
        world.service.wishes = 1
        world.put(*keys)
        await world.until(lambda: world.record.snapshots == taken + 1 and world.record.snapshot is None)

        assert world.service.wishes == 0

    world.run(story)


def test_named_when_sent_again():
    """A row set aside and sent once more, alone, that is named again stays refused."""
    world = naming(2)

    async def story(world: World) -> None:
        await world.following(1)
        outcome = await world.sync.delivery.alone("a", b'{"t":"a","id":2,"v":9}')

        assert outcome.verdict is Verdict.REJECTED
        assert ("a", 2) not in world.service.rows()

    world.run(story)


def ended_at(step: int, *, streaming: bool) -> bool:
    """Whether the process ended at this step; either way the row named is on the list afterwards, and the others arrived."""
    world = naming(3)
    ended: list[bool] = []

    async def story(world: World) -> None:
        if streaming:
            await world.following(1)
            world.crash_at = len(world.steps) + step
            world.put(2, 3, 4)
        else:
            world.put(2, 3, 4)
            world.crash_at = step
            world.begin()
        with suppress(Crash):
            await world.until(lambda: ("a", 4) in world.service.rows() and world.progress.state.value == "caught up")
        ended.append(world.dead)
        world.crash_at = None
        await world.end()
        world.begin()
        world.put(5)
        await world.until(lambda: ("a", 5) in world.service.rows())

        assert [key for key, _ in aside(world)][:1] == [3], step
        assert {("a", 2), ("a", 4)} < set(world.service.rows())

    world.run(story)
    return ended[0]


@pytest.mark.parametrize("streaming", [True, False])
def test_none_is_lost_where_the_process_ends(streaming):
    """The service's checkpoint is above a row that it named as soon as it has answered; the journal tells how far to go."""
    step = 1
    while ended_at(step, streaming=streaming):
        step += 1

    assert step > 8


def test_a_reply_without_names_leaves_the_parcel_whole():
    """An empty list is the ordinary answer."""
    world = naming()

    async def story(world: World) -> None:
        world.service.rule = lambda _batch: Reply(Outcome(Verdict.ACKNOWLEDGED, status=200, rejected=()), stored=True)
        await world.following(1, 2)

        assert aside(world) == []
        assert Refused(0) != Refused(1)

    world.run(story)


def test_what_halts_behind_a_snapshot_that_ended_in_a_named_row():
    """The service's checkpoint is above them, and nothing was acknowledged yet: the journal tells that all are owed."""
    world = naming(2, 3, 4)

    async def story(world: World) -> None:
        world.put(1, 2)
        world.begin()
        await world.until(lambda: world.progress.state.value == "caught up")
        world.put(3, 4)
        await world.until(lambda: world.pipeline.halted)
        assert [key for key, _ in aside(world)] == [2]
        await world.end()
        world.service.names = lambda _event: False
        world.begin()
        await world.until(lambda: {("a", 3), ("a", 4)} < set(world.service.rows()))

    world.run(story)
