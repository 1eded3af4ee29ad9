"""The first snapshot and the stream behind it, in a run without faults."""

from __future__ import annotations

from engine_world import World

from fuagent.engine.lifecycle import State


async def _first(world: World) -> None:
    for key in range(10):
        world.put(key)
    world.begin()
    await world.caught_up()
    world.put(1, 2, 3)
    world.delete(4)
    world.put(20)
    await world.caught_up()


def test_snapshot_then_stream():
    """Rows without index but the very last, an empty end marker, then changes that go on behind S."""
    world = World(batch_size=4)
    world.run(_first)

    taken = world.service.taken
    [marker] = world.service.markers
    at = taken.index(marker)
    snapshot = [event for request in taken[:at] for event in request.events]
    changes = [event for request in taken[at + 1 :] for event in request.events]
    assert marker.events == ()
    assert [event["id"] for event in snapshot] == list(range(10))
    assert [("index" in event) for event in snapshot] == [False] * 9 + [True]
    assert [event["id"] for event in changes] == [1, 2, 3, 4, 20]
    indexes = [event["index"] for event in (snapshot[-1], *changes)]
    assert indexes == sorted(set(indexes))


def test_no_fault_no_duplicate():
    """Without a fault nothing is sent twice, nothing is retried, and no flag is ever set."""
    world = World(batch_size=4)
    world.run(_first)

    versions = [event["v"] for event in world.service.events if not event["_deleted"]]
    assert sorted(versions) == sorted(set(versions))
    assert len(world.service.requests) == len(world.service.taken)
    assert world.progress.retries == 0
    assert not any(request.batch.snapshot_sync_suggested for request in world.service.requests)
    assert world.progress.state in (State.CAUGHT_UP, State.STREAMING)
