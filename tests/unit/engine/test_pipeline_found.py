"""What the simulation found once, each as a short story of its own."""

from __future__ import annotations

from dataclasses import replace

import engine_checks as holds
from engine_world import World, table

from fuagent.engine.lifecycle import Event, State, step
from fuagent.model import Answer, Checkpoint
from fuagent.testing.database import STRIDE
from fuagent.testing.service import UNAVAILABLE, Reply


def test_truncated_under_a_table_that_joins():
    """A log that breaks off before a joining table's picture has lost changes of the others: that is a gap."""

    async def story(world: World) -> None:
        await world.following(1)
        await world.end()
        world.database.truncate("b")
        world.put(2)
        world.database.create(table("z"))
        world.names.append("z")
        await world.following(1, name="z")

        assert any("was truncated" in loss for loss in world.losses)

    World("a", "b").run(story)


def test_back_behind_changes_that_no_log_holds():
    """A service restored to before an unlogged change meets the gap again, however long it was made up for."""

    async def story(world: World) -> None:
        world.put(1)
        await world.following(2)
        backup = world.service.backup()
        world.database.rows("a")[9] = world.row("a", 9)
        world.database.unwatched = True
        world.database.drop()
        await world.caught_up()
        world.put(3)
        await world.caught_up()
        await world.end()
        world.service.store = backup
        world.losses.clear()
        world.begin()
        await world.caught_up()

        assert any("behind the place that was lost" in loss for loss in world.losses)
        holds.converged(world)

    World().run(story)


def test_nodes_that_disagree_are_no_answer():
    """A lower checkpoint and then none at all come from two nodes: nothing follows from either."""

    async def story(world: World) -> None:
        world.put(1)
        await world.following(2)
        world.service.questions.extend([Checkpoint(Answer.INDEX, STRIDE), Checkpoint(Answer.NONE)])
        world.sync.wishes.ask_checkpoint = True
        world.put(3)
        await world.until(lambda: not world.service.questions)
        await world.caught_up()

        assert world.losses == []
        assert world.record.snapshots == 1

    World().run(story)


def test_asleep_over_the_question():
    """A missing checkpoint counts when it is missing twice, half a minute apart: not when the machine slept meanwhile."""

    async def story(world: World) -> None:
        await world.following(1)
        await world.end()
        world.service.questions.append(Checkpoint(Answer.NONE))
        world.service.hook = lambda step: world.clock.advance(3600) if step == "asked" else None
        world.begin()
        await world.until(lambda: not world.service.questions)
        world.service.hook = lambda _step: None
        await world.caught_up()

        assert world.record.snapshots == 1

    World().run(story)


def test_the_route_that_accepts_is_the_last():
    """Once one route has accepted the suggestion, no other is told it again."""

    async def story(world: World) -> None:
        await world.following(1, name="a")
        await world.end()
        world.database.purge(1)
        world.put(2, name="b")
        world.database.purge(1)
        await world.following(3, name="b")
        suggested = [request for request in world.service.taken if request.batch.snapshot_sync_suggested]

        assert len([request for request in suggested if not request.events]) == 1

    World("a", "b").run(story)


def test_recovered_while_draining():
    """An attempt that works again while the sync drains, whatever it was doing before, leaves it draining."""
    for event in Event:
        after = step(State.DRAINING, event)

        assert after in (State.DRAINING, State.STOPPED, State.HALTED)


def test_the_last_attempt_succeeds_while_draining():
    """A batch under way in an outage is delivered before the end, and nothing breaks."""

    async def story(world: World) -> None:
        await world.following(1)
        world.service.script.append(Reply(replace(UNAVAILABLE, retry_after=None)))
        world.put(2)
        await world.until(lambda: world.progress.state is State.RETRYING)
        await world.end(kill=False)

        assert world.progress.state is State.STOPPED

    World().run(story)
