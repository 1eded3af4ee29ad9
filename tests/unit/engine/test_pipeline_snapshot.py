"""Snapshots: repeated, asked for, for one table alone, of nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from engine_world import World, table

from fuagent.engine.lifecycle import State
from fuagent.engine.snapshot import with_last_index
from fuagent.engine.sync import BY_SERVICE
from fuagent.errors import LostPlaceError, TryAgainError
from fuagent.journal import SnapshotRecord
from fuagent.model import Place, Rows
from fuagent.testing.database import STRIDE
from fuagent.testing.service import TAKEN, UNAVAILABLE, Reply

NEEDED = Reply(replace(TAKEN, snapshot_needed=True), stored=True)


def ids(requests) -> list[int]:
    return [event["id"] for request in requests for event in request.events]


def refuse_row(key: int):
    text = b'"id":%d,' % key
    return lambda batch: Reply(UNAVAILABLE) if any(text in event for event in batch.events) else None


async def half_a_snapshot(world: World, until: int) -> None:
    """The first life ends with the rows before ``until`` delivered."""
    world.service.rule = refuse_row(until)
    before = len(world.service.requests)
    world.begin()
    await world.until(lambda: any(not request.stored for request in world.service.requests[before:]))
    await world.end()
    world.service.rule = lambda _batch: None


class TestRepeatedFirst:
    def test_changes_between_attempts(self):
        """What changed since the first attempt comes first, without index, the delete with it; then all rows."""

        async def story(world: World) -> None:
            world.put(1, 2, 3, 4)
            await half_a_snapshot(world, until=3)
            world.delete(1)
            world.put(2)
            await world.following(9)

        world = World(batch_size=2)
        world.run(story)

        first, *rest = world.service.taken
        assert ids([first]) == [1, 2]
        events = [event for request in rest for event in request.events]
        assert [(event["id"], event["_deleted"]) for event in events[:3]] == [(1, True), (2, False), (9, False)]
        assert not any("index" in event for event in events[:-1])
        assert sorted(event["id"] for event in events[3:]) == [2, 3, 4, 9]
        assert len(world.service.markers) == 1

    def test_time_to_loss_under_its_rows(self):
        """What waits behind a first snapshot is younger than that: a log that is kept more briefly is seen to end."""

        async def story(world: World) -> None:
            world.put(1, 2, 3, 4)
            world.begin()
            world.progress.kept_seconds = 1000.0
            before = world.progress.room_seconds(world.clock.time())
            world.service.rule = refuse_row(3)
            await world.until(lambda: world.progress.state is State.RETRYING and world.progress.retries > 3)
            now = world.clock.time()
            assert before is None
            assert 0 < world.progress.lag(now) == 1000.0 - world.progress.room_seconds(now)

        World(batch_size=2).run(story)

    def test_third_attempt_goes_on_where_the_second_was(self):
        """Changes that the second attempt delivered are not sent a third time."""

        async def story(world: World) -> None:
            world.put(1, 2, 3, 4)
            await half_a_snapshot(world, until=3)
            world.delete(1)
            await half_a_snapshot(world, until=3)
            world.delete(2)
            world.begin()
            await world.caught_up()

        world = World(batch_size=1)
        world.run(story)

        assert ids(world.service.taken) == [1, 2, 1, 2, 2, 3, 4]

    def test_log_gone_between_attempts(self):
        """Where the changes are gone it is said that deleted rows may remain, and the rows come all the same."""

        async def story(world: World) -> None:
            world.put(1, 2, 3, 4)
            await half_a_snapshot(world, until=3)
            world.delete(1)
            world.put(5)
            world.database.purge(3)
            world.begin()
            await world.until(lambda: world.record.snapshots == 1)

        world = World(batch_size=1)
        world.run(story)

        assert [text[:44] for text in world.losses] == ["Rows deleted before this snapshot may remain"]
        assert {("a", 2), ("a", 3), ("a", 4), ("a", 5)} <= set(world.service.rows())


class TestAskedFor:
    def test_in_mid_stream(self):
        """The transaction is finished, then what changed up to S, all rows, the marker, and on from S."""

        async def story(world: World) -> None:
            world.put(1, 2)
            await world.caught_up()
            await world.clock.sleep(70)
            world.service.wishes = 1
            world.put(3, 4, 5)
            await world.until(lambda: world.record.snapshots == 2)
            world.put(6)
            await world.caught_up()

        async def begun(world: World) -> None:
            world.begin()
            await story(world)

        world = World(batch_size=2)
        world.run(begun)

        asked = next(at for at, request in enumerate(world.service.taken) if request.outcome.snapshot_needed)
        behind = world.service.taken[asked + 1 :]
        assert ids(behind) == [5, 1, 2, 3, 4, 5, 6]
        end = next(at for at, request in enumerate(behind) if request.batch.is_snapshot_end)
        assert ids(behind[end + 1 :]) == [6]
        last = [event.get("index") for request in behind[:end] for event in request.events]
        assert last == [5 * STRIDE, None, None, None, None, 5 * STRIDE + STRIDE // 2]
        # A row deleted among the changes would else seem to be one that the snapshot contains.
        of_changes, *of_rows = [int(request.batch.key.split(".")[1]) for request in behind[: end + 1]]
        assert of_changes < of_rows[0]
        assert len(set(of_rows)) == 1

    @pytest.mark.fault("F102")
    def test_while_one_runs(self):
        """Requests while one runs are remembered once, for when a minute has passed."""

        async def story(world: World) -> None:
            world.put(1, 2, 3)
            world.service.script.extend([NEEDED] * 3)
            world.begin()
            await world.until(lambda: world.record.snapshots == 1)
            assert world.record.snapshot.cause == BY_SERVICE
            began = world.clock.monotonic()
            assert world.progress.state in (State.SNAPSHOT, State.STREAMING, State.CAUGHT_UP)
            await world.until(lambda: world.record.snapshots == 2)
            assert 59 <= world.clock.monotonic() - began < 67
            await world.caught_up()

        world = World(batch_size=1)
        world.run(story)

        assert len(world.service.markers) == 2

    def test_while_one_runs_and_the_agent_dies(self):
        """Such a request outlasts the agent that heard it."""

        async def story(world: World) -> None:
            world.put(1, 2, 3)
            world.service.script.extend([NEEDED, NEEDED, NEEDED])
            world.crash_on = lambda step: (
                world.sync.ledger.record.snapshot
                and (world.sync.ledger.record.snapshot.stage == "rows_done" and step == "service: received")
            )
            world.begin()
            await world.clock.sleep(10)
            await world.end()
            world.crash_on = lambda _step: False
            world.begin()
            await world.until(lambda: world.record.snapshots == 2)

        world = World(batch_size=1)
        world.run(story)

        assert len(world.service.markers) == 2

    def test_in_reply_to_the_marker(self):
        """The reply to the end marker may ask for the next one."""

        async def story(world: World) -> None:
            world.put(1)
            world.service.script.extend([Reply(TAKEN, stored=True), NEEDED])
            world.begin()
            await world.until(lambda: world.record.snapshots == 2)
            await world.caught_up()

        world = World()
        world.run(story)

        assert len(world.service.markers) == 2

    def test_before_the_first_row(self):
        """A request in reply to the changes under a snapshot is that snapshot."""

        async def story(world: World) -> None:
            await world.following(1, 2)
            world.sync.ledger.save(snapshot=SnapshotRecord(cause="by hand"), paused=True)
            world.sync.wishes.wake.set()
            await world.until(lambda: world.progress.state is State.PAUSED)
            world.put(3)
            world.service.wishes = 1
            world.sync.ledger.save(paused=False)
            world.sync.wishes.wake.set()
            await world.until(lambda: world.record.snapshots == 2)
            await world.caught_up()

        world = World()
        world.run(story)

        assert world.service.wishes == 0
        assert len(world.service.markers) == 2

    def test_crash_right_behind_the_request(self):
        """Asked for in the last reply before the agent dies, it is taken by the next."""

        async def story(world: World) -> None:
            await world.following(1)
            world.service.wishes = 1
            world.crash_on = lambda step: world.service.wishes == 0 and step == "journal: it is on disk"
            world.put(2)
            await world.clock.sleep(20)
            await world.end()
            world.crash_on = lambda _step: False
            world.begin()
            await world.until(lambda: world.record.snapshots == 2)
            assert world.service.wishes == 0
            assert world.record.snapshot is None

        World().run(story)


class TestCoolDown:
    @pytest.mark.fault("F102")
    def test_asked_for_in_every_reply(self):
        """A service that always asks gets one after a minute, then after two, up to one an hour."""
        taken: list[float] = []

        async def story(world: World) -> None:
            world.service.wishes = 10**9
            world.begin()
            while len(taken) < 11:
                count = len(taken) + 1
                await world.until(lambda count=count: len(world.service.markers) == count, within=8000)
                taken.append(world.clock.monotonic())
            assert world.record.snapshot.cause == BY_SERVICE

        world = World()
        world.put(1)
        world.run(story)

        pauses = [round((after - before) / 60) for before, after in pairwise(taken)]
        assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]

    @pytest.mark.fault("F102")
    def test_shown(self):
        """How long it will be is shown while it waits."""

        async def story(world: World) -> None:
            await world.following(1)
            world.service.wishes = 1
            world.put(2)
            await world.until(lambda: world.progress.snapshot_allowed_in is not None)
            assert 0 < world.progress.snapshot_allowed_in <= 60
            await world.until(lambda: world.record.snapshots == 2)
            await world.until(lambda: world.progress.snapshot_allowed_in is None)

        World().run(story)

    def test_seldom(self):
        """Who asks once in a long while never waits longer than a minute."""

        async def story(world: World) -> None:
            world.put(1)
            world.begin()
            for taken in (1, 2, 3, 4):
                await world.until(lambda taken=taken: world.record.snapshots == taken)
                await world.clock.sleep(4000)
                world.service.wishes = 1
                world.put(1)
            assert world.record.snapshot_pause == 60

        World().run(story)

    def test_by_hand_at_once(self):
        """An operator does not wait."""

        async def story(world: World) -> None:
            await world.following(1)
            world.sync.ledger.save(snapshot=SnapshotRecord(cause="by hand"))
            world.sync.wishes.wake.set()
            await world.until(lambda: world.record.snapshots == 2, within=3)
            assert len(world.service.markers) == 2

        World().run(story)


class TestTables:
    @pytest.mark.fault("F73")
    def test_added(self):
        """A table that joins is snapshotted alone, without index and without end marker; then it streams along."""

        async def story(world: World) -> None:
            await world.following(1, name="a")
            await world.end()
            world.database.create(table("z"))
            world.names.append("z")
            world.put(7, 8, name="z")
            await world.following(2, name="a")
            await world.end()
            await world.following(9, name="z")

        world = World("a", routed=True)
        world.run(story)

        assert len(world.service.markers) == 1
        first = [event for event in world.service.events if event["t"] == "z" and "index" not in event]
        assert [event["id"] for event in first] == [7, 8]
        assert world.service.events[-1]["id"] == 9
        assert "index" in world.service.events[-1]
        assert world.record.snapshots == 1

    def test_added_while_the_marker_was_due(self):
        """A table that joins between the last row and the end marker is not taken for snapshotted."""

        async def story(world: World) -> None:
            world.put(1, name="a")
            world.service.rule = lambda batch: Reply(UNAVAILABLE) if batch.is_snapshot_end else None
            world.begin()
            await world.until(lambda: any(request.batch.is_snapshot_end for request in world.service.requests))
            await world.end()
            world.service.rule = lambda _batch: None
            world.database.create(table("z"))
            world.put(7, name="z")
            world.database.purge()
            world.names.append("z")
            world.begin()
            await world.until(lambda: world.record.tables == ("a", "z"))
            await world.caught_up()

        world = World("a", routed=True)
        world.run(story)

        assert any(event["t"] == "z" and "index" not in event for event in world.service.events)

    def test_two_added_one_after_the_other(self):
        """A second table that joins before the first was snapshotted is taken along with it."""

        async def story(world: World) -> None:
            await world.following(1, name="a")
            await world.end()
            for name in ("y", "z"):
                world.database.create(table(name))
                world.names.append(name)
                world.put(7, name=name)
                world.crash_on = lambda step: step == "source: snapshot rows"
                world.begin()
                await world.clock.sleep(5)
                await world.end()
                world.crash_on = lambda _step: False
            world.begin()
            await world.until(lambda: world.record.tables == ("a", "y", "z"))
            await world.caught_up()

        world = World("a", routed=True)
        world.run(story)

        assert {"y", "z"} == {event["t"] for event in world.service.events if "index" not in event and event["id"] == 7}

    @pytest.mark.fault("F73")
    def test_left(self):
        """A table that leaves is forgotten, its own snapshot with it."""

        async def story(world: World) -> None:
            await world.following(1, name="a")
            await world.end()
            world.database.create(table("z"))
            world.names.append("z")
            world.crash_on = lambda step: step == "source: snapshot rows"
            world.put(1, name="z")
            world.begin()
            await world.clock.sleep(5)
            await world.end()
            world.crash_on = lambda _step: False
            world.names.remove("z")
            world.begin()
            await world.until(lambda: world.record.snapshot is None and world.progress.state is State.CAUGHT_UP)
            assert world.record.tables == ("a",)

        World("a", routed=True).run(story)

    def test_asked_for_while_a_table_joins(self):
        """A request while one table is snapshotted leads to a whole one afterwards."""

        async def story(world: World) -> None:
            await world.following(1, name="a")
            await world.end()
            world.database.create(table("z"))
            world.names.append("z")
            world.put(7, 8, name="z")
            world.service.script.extend([Reply(TAKEN, stored=True), NEEDED])
            world.begin()
            await world.until(lambda: world.record.snapshots == 2, within=200)

        world = World("a", routed=True, batch_size=1)
        world.run(story)

        assert len(world.service.markers) == 3

    def test_routes(self):
        """Tables on two routes never share a batch; an end marker goes to each, behind the last row of all."""

        async def story(world: World) -> None:
            for key in range(3):
                world.put(key, name="a")
                world.put(key, name="b")
            world.begin()
            await world.caught_up()
            for key in range(3):
                world.put(key, name="a")
                world.put(key, name="b")
            await world.caught_up()

        world = World("a", "b")
        world.run(story)

        for request in world.service.requests:
            assert {event["t"] for event in request.events} <= {request.batch.table}
        assert [request.batch.table for request in world.service.markers] == ["a", "b"]
        kinds = [request.batch.is_snapshot_end for request in world.service.taken]
        assert kinds[:4] == [False, False, True, True]
        changes = [event["t"] for request in world.service.taken[4:] for event in request.events]
        assert changes == ["a", "b"] * 3
        snapshot = [event for request in world.service.taken[:2] for event in request.events]
        assert ["index" in event for event in snapshot] == [False] * 5 + [True]

    def test_empty(self):
        """A table without rows is an end marker and nothing else."""

        async def story(world: World) -> None:
            world.begin()
            await world.until(lambda: world.record.snapshots == 1)
            world.put(1)
            await world.caught_up()

        world = World()
        world.run(story)

        marker, change = world.service.taken
        assert marker.batch.is_snapshot_end
        assert change.indexes == [STRIDE]

    def test_emptied(self):
        """So it is where the rows went since: their deletes come first, and the checkpoint stays."""

        async def story(world: World) -> None:
            await world.following(1)
            world.delete(1)
            await world.caught_up()
            world.sync.ledger.save(snapshot=SnapshotRecord(cause="by hand"))
            world.sync.wishes.wake.set()
            await world.until(lambda: world.record.snapshots == 2)
            await world.end()
            await world.following(2)

        world = World()
        world.run(story)

        assert ids(world.service.taken) == [1, 1, 2]
        assert len(world.service.markers) == 2


class TestSource:
    def test_fails_in_the_middle(self):
        """A source that fails in the middle of a snapshot begins it again."""
        failed = 0

        def fail(step: str) -> None:
            nonlocal failed
            if step == "source: snapshot rows" and failed < 2:
                failed += 1
                raise TryAgainError("the connection is gone.", where="memory://")

        async def story(world: World) -> None:
            world.watch = fail
            world.put(*range(10))
            world.begin()
            await world.caught_up()

        world = World()
        world.run(story)

        assert world.progress.retries == 2
        assert len(world.service.markers) == 1

    def test_place_lost_in_the_middle(self):
        """A place lost in the middle of a snapshot is a gap until that snapshot is done."""
        failed = 0

        def fail(step: str) -> None:
            nonlocal failed
            if step == "source: snapshot rows" and not failed:
                failed += 1
                raise LostPlaceError("the slot is gone.")

        async def story(world: World) -> None:
            world.watch = fail
            world.put(*range(10))
            world.begin()
            await world.caught_up()
            assert world.record.gap == ""

        world = World()
        world.run(story)

        assert world.losses == ["Lost place: the slot is gone."]

    @pytest.mark.fault("F104")
    def test_log_purged_while_it_ran(self):
        """If the log is gone when the rows are there, that is a gap of its own behind the end marker."""

        async def story(world: World) -> None:
            world.service.accepts = False
            world.put(1, 2, 3)
            world.pace = 10.0
            world.begin()
            await world.clock.sleep(5)
            world.put(4)
            world.database.purge(2)
            await world.until(lambda: world.record.gap)
            assert world.record.snapshots == 1
            world.put(5)
            await world.until(lambda: ("a", 5) in world.service.rows())

        world = World(on_lost_place="continue")
        world.run(story)

        assert world.service.taken[-1].batch.snapshot_sync_suggested


S = Place("1:1", 64)


async def _given(*chunks):
    for chunk in chunks:
        yield Rows("a", chunk, (), S, S, boundary=True)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ([], []),
        ([()], []),
        ([(b"{}",)], [b'{"index":9}']),
        ([(b'{"a":1}',)], [b'{"a":1,"index":9}']),
        ([(b'{"a":1}', b'{"a":2}')], [b'{"a":1}', b'{"a":2,"index":9}']),
        ([(b'{"a":1}',), (), (b'{"a":2}',), ()], [b'{"a":1}', b'{"a":2,"index":9}']),
    ],
)
async def test_with_last_index(chunks, expected):
    """The very last row of all carries the index, whatever the chunks; no other does."""
    got = [chunk async for chunk in with_last_index(_given(*chunks), 9)]

    assert expected == [row for chunk in got for row in chunk.rows]
    assert [9][: len(expected)] == [index for chunk in got for index in chunk.indexes]
