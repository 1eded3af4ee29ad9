"""What is remembered in memory of anchors that the source has not been told of."""

from __future__ import annotations

from engine_world import World

from fuagent.model import Answer, Checkpoint, Place


def test_bounded():
    """However long the service names no checkpoint, few anchors are kept; the right one is confirmed in the end."""

    async def story(world: World) -> None:
        world.begin()
        await world.until(lambda: world.record.snapshots == 1)
        ledger = world.sync.ledger
        for number in range(1, 5001):
            ledger.anchored(Place(f"1:{number}", number), number)
        assert len(ledger._unconfirmed) <= 513

        await ledger.confirm(Checkpoint(Answer.INDEX, 4000))

        confirmed = world.database.acknowledged["orders"].previous
        assert 3000 < confirmed <= 4000
        assert all(anchor.index > 4000 for anchor in ledger._unconfirmed)

    World().run(story)


def test_going_back():
    """Anchors that lie ahead of where the sync goes back to are forgotten."""

    async def story(world: World) -> None:
        world.begin()
        await world.until(lambda: world.record.snapshots == 1)
        ledger = world.sync.ledger
        for number in (10, 20, 30):
            ledger.anchored(Place(f"1:{number}", number), number)
        ledger.anchored(Place("1:10", 10), 10)

        await ledger.confirm(Checkpoint(Answer.INDEX, 30))

        assert world.database.acknowledged["orders"].previous == 10

    World().run(story)
