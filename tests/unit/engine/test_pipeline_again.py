"""Rows set aside and sent once more by a running sync, and what may go wrong meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from engine_world import World

from fuagent.engine.again import Account, Wish
from fuagent.engine.lifecycle import State
from fuagent.errors import FuagentError, HaltSyncError, TryAgainError
from fuagent.model import Outcome, Verdict
from fuagent.testing.service import GONE, UNAVAILABLE, Reply

NO = Reply(Outcome(Verdict.REJECTED, "the service answers 422.", status=422))
ASIDE = {"on_reject": "set_aside"}


def refuse(world: World, *ids: int) -> None:
    """Let the service refuse every batch that holds one of these rows."""
    world.service.rule = lambda batch: (
        NO if any(b'"id":%d,' % one in event for event in batch.events for one in ids) else None
    )


async def owed(world: World, *ids: int) -> None:
    """A sync that has caught up but for these rows."""
    refuse(world, *ids)
    world.put(*range(1, 6))
    world.begin()
    await world.until(lambda: world.progress.state is State.CAUGHT_UP and world.progress.rejected == len(ids))


def ask(world: World, *numbers: int) -> asyncio.Future[Account | FuagentError]:
    """What an operator's command does."""
    wish = Wish(numbers or None, asyncio.get_running_loop().create_future())
    world.sync.wishes.again.append(wish)
    world.sync.wishes.wake.set()
    return wish.answer


async def answer(world: World, *numbers: int) -> Account | FuagentError:
    future = ask(world, *numbers)
    await world.until(future.done)
    return future.result()


def test_rows_go_alone_and_the_checkpoint_stays():
    """Each row is a request of its own without an index; journal and checkpoint name the place they named before."""

    async def story(world: World) -> None:
        await owed(world, 2, 4)
        before = (world.record.acknowledged, world.service.store.checkpoint)
        world.service.rule = lambda _batch: None
        at = len(world.service.requests)
        done = await answer(world)
        await world.caught_up()
        sent = [request for request in world.service.requests[at:] if request.events]

        assert done == Account(sent=2)
        assert [[event["id"] for event in request.events] for request in sent] == [[2], [4]]
        assert [request.indexes for request in sent] == [[], []]
        assert (world.record.acknowledged, world.service.store.checkpoint) == before
        assert world.progress.rejected == 0

    World(**ASIDE).run(story)


def test_one_by_number_and_one_that_is_not_there():
    """Numbers choose; an unknown one is an answer and no trouble for the sync."""

    async def story(world: World) -> None:
        await owed(world, 2, 4)
        first, second = [row.id for row in world.sync.journal.rejected()]
        world.service.rule = lambda _batch: None
        unknown = await answer(world, 99)
        done = await answer(world, second)

        assert type(unknown) is FuagentError
        assert "no row 99" in unknown.what
        assert done == Account(sent=1)
        assert [row.id for row in world.sync.journal.rejected()] == [first]
        assert world.progress.state is not State.HALTED

    World(**ASIDE).run(story)


def test_a_service_that_is_down_is_waited_for():
    """Attempts go on as for any batch, until the rows are taken."""

    async def story(world: World) -> None:
        await owed(world, 2)
        world.service.rule = lambda _batch: Reply(UNAVAILABLE)
        future = ask(world)
        await world.until(lambda: world.progress.state is State.RETRYING)
        assert not future.done()
        world.service.rule = lambda _batch: None
        await world.until(future.done)
        await world.caught_up()

        assert future.result() == Account(sent=1)

    World(**ASIDE).run(story)


@pytest.mark.parametrize(("raised", "state"), [(TryAgainError, State.CAUGHT_UP), (HaltSyncError, State.HALTED)])
def test_a_source_in_trouble(raised, state):
    """Who asked is told what the source raised, the list keeps the row, and the sync does what the error's type says."""

    async def story(world: World) -> None:
        await owed(world, 2)
        failing = [True]

        def hook(step: str) -> None:
            if step == "reread" and failing:
                failing.clear()
                raise raised("no rows just now")

        world.database.hook = hook
        world.service.rule = lambda _batch: None
        told = await answer(world)
        await world.until(lambda: world.progress.state is state)

        assert isinstance(told, raised)
        assert world.sync.journal.rejected_count() == 1

    World(**ASIDE).run(story)


def test_an_answer_that_halts():
    """410 halts the sync, whichever request it answers; the row is still owed."""

    async def story(world: World) -> None:
        await owed(world, 2)
        world.service.rule = lambda _batch: Reply(GONE)
        told = await answer(world)
        await world.until(lambda: world.progress.state is State.HALTED)

        assert isinstance(told, HaltSyncError)
        assert world.sync.journal.rejected_count() == 1

    World(**ASIDE).run(story)


def test_a_table_that_left_the_sync():
    """Its rows stay on the list, with the reason."""

    async def story(world: World) -> None:
        await owed(world, 2)
        world.sync.journal.set_aside("gone", 0, 422, "no", b'{"id":1}')
        world.service.rule = lambda _batch: None
        done = await answer(world)

        assert isinstance(done, Account)
        assert done.sent == 1
        assert [reason for _, reason in done.kept] == ["table gone is no longer part of the sync"]

    World(**ASIDE).run(story)


def test_nobody_waits_any_more():
    """A command that was given up leaves the rows to be sent all the same."""

    async def story(world: World) -> None:
        await owed(world, 2)
        world.service.rule = lambda _batch: None
        ask(world).cancel()
        await world.caught_up()

        assert world.sync.journal.rejected_count() == 0

    World(**ASIDE).run(story)


def test_a_service_that_went_back_may_wait_for_old_changes():
    """How old is not known until something of it was delivered, or all: the time to loss says nothing meanwhile."""

    async def story(world: World) -> None:
        world.put(1)
        world.begin()
        await world.caught_up()
        world.progress.kept_seconds = 1000.0
        before = world.progress.room_seconds(world.clock.time())
        backup = world.service.backup()
        world.put(2)
        await world.until(lambda: ("a", 2) in world.service.rows())
        world.service.rule = lambda _batch: Reply(UNAVAILABLE)
        world.put(3)
        await world.until(lambda: world.progress.state is State.RETRYING)
        world.service.store = backup
        await world.until(lambda: any("went back" in text for text in world.progress.notices))
        meanwhile = world.progress.room_seconds(world.clock.time())
        world.service.rule = lambda _batch: None
        await world.caught_up()

        assert (before, meanwhile) == (1000.0, None)
        assert world.progress.room_seconds(world.clock.time()) == 1000.0

    World().run(story)


def test_a_service_that_went_back_meanwhile():
    """Where a checkpoint has moved back the session begins anew, and what was asked for is done in the next one."""

    async def story(world: World) -> None:
        await owed(world, 2)
        backup = world.service.backup()
        world.put(7)
        await world.until(lambda: ("a", 7) in world.service.rows())
        world.service.rule = lambda _batch: Reply(UNAVAILABLE)
        future = ask(world)
        await world.until(lambda: world.progress.state is State.RETRYING)
        world.service.store = backup
        await world.until(lambda: any("went back" in text for text in world.progress.notices))
        world.service.rule = lambda _batch: None
        await world.until(future.done)
        await world.caught_up()

        assert future.result() == Account(sent=1)

    World(**ASIDE).run(story)
