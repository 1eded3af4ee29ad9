"""What is remembered of the last requests and of the wait a sync is in."""

from __future__ import annotations

from engine_world import World

from fuagent.engine.recent import KEPT
from fuagent.model import Verdict
from fuagent.testing.service import GONE, UNAVAILABLE, Reply


def recent(world: World):
    return world.sync.reporter.recent


def test_each_request_that_was_answered_is_remembered():
    """Rows, bytes, attempts and the answer; those of an end marker are none, and only the last are kept."""

    async def story(world: World) -> None:
        await world.following(1)
        first = list(recent(world).batches)
        world.service.script.extend([Reply(UNAVAILABLE)] * 2)
        world.put(3)
        await world.caught_up()
        last = recent(world).batches[-1]
        assert [one.rows for one in first] == [1, 0]
        assert (first[0].bytes > 0, first[1].bytes) == (True, 0)
        assert (last.rows, last.attempts, last.answer) == (1, 3, Verdict.ACKNOWLEDGED.value)
        for key in range(KEPT + 5):
            world.put(key)
            await world.caught_up()
        assert len(recent(world).batches) == KEPT

    World().run(story)


def test_a_wait_is_counted_until_it_ends():
    """Each failure in a row is one more attempt, with its word and the moment of the next; success ends it."""

    async def story(world: World) -> None:
        await world.following(1)
        assert recent(world).waiting is None
        world.service.rule = lambda _batch: Reply(UNAVAILABLE)
        at = len(world.service.requests)
        world.put(2)
        await world.until(lambda: len(world.service.requests) == at + 3)
        waiting = recent(world).waiting
        world.service.rule = lambda _batch: None
        await world.caught_up()
        assert waiting is not None
        assert waiting.attempt in {2, 3}
        assert waiting.reason
        assert waiting.until >= world.clock.time() - 3600
        assert recent(world).waiting is None

    World().run(story)


def test_what_halts_a_sync_is_the_last_answer():
    """Whoever looks at a halted sync sees which request it was."""

    async def story(world: World) -> None:
        await world.following(1)
        world.service.script.append(Reply(GONE))
        world.put(2)
        await world.task
        last = recent(world).batches[-1]
        assert (last.rows, last.attempts) == (1, 1)
        assert last.answer == world.progress.problem.partition(": ")[2]

    World().run(story)
