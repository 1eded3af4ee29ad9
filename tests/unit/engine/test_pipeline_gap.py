"""A place that is lost, a checkpoint that moves back: what is said, what goes on."""

from __future__ import annotations

import pytest
from engine_world import World, table

from fuagent.engine.agent import Agent
from fuagent.engine.lifecycle import State
from fuagent.engine.pipeline import UNSEEN
from fuagent.errors import LostPlaceError, TryAgainError
from fuagent.model import Answer, Checkpoint
from fuagent.testing.database import STRIDE
from fuagent.testing.service import UNAVAILABLE, Reply, Store


async def lose(world: World) -> None:
    """A sync that ran, and whose log went on without it."""
    await world.following(1, 2)
    await world.end()
    world.put(3)
    world.put(4)
    world.database.purge(2)
    world.begin()


def suggestions(world: World) -> list[float]:
    """When an empty batch came that suggests a snapshot and ends none."""
    return [
        request.at
        for request in world.service.taken
        if request.batch.snapshot_sync_suggested and not request.events and not request.batch.is_snapshot_end
    ]


class TestLost:
    def test_continue(self):
        """By default the rows go on, every batch with the flag; the gap shows until it is accepted."""

        async def story(world: World) -> None:
            world.service.accepts = False
            await lose(world)
            await world.until(lambda: ("a", 4) in world.service.rows())
            world.put(5)
            await world.until(lambda: ("a", 5) in world.service.rows())
            assert State.LOST_PLACE is world.progress.shown
            assert world.record.gap == world.progress.gap != ""
            behind = [request for request in world.service.taken if 4 in [event["id"] for event in request.events]][-1]
            at = world.service.taken.index(behind)
            assert all(request.batch.snapshot_sync_suggested for request in world.service.taken[at:])

        World().run(story)

    def test_time_to_loss_is_not_known_then(self):
        """What is read from the log's beginning may be as old as that: what was delivered before tells nothing of it."""

        async def story(world: World) -> None:
            world.put(1)
            world.begin()
            await world.caught_up()
            world.progress.kept_seconds = 1000.0
            before = world.progress.room_seconds(world.clock.time())
            backup = world.service.backup()
            world.put(2)
            await world.until(lambda: ("a", 2) in world.service.rows())
            world.database.purge(2)
            world.service.rule = lambda _batch: Reply(UNAVAILABLE)
            world.put(3)
            await world.until(lambda: world.progress.state is State.RETRYING)
            world.service.store = backup
            await world.until(lambda: world.progress.gap)
            assert (before, world.progress.room_seconds(world.clock.time())) == (1000.0, None)

        World().run(story)

    def test_suggested_while_nothing_comes(self):
        """With nothing to send an empty batch says so at once, and then every five minutes."""

        async def story(world: World) -> None:
            world.service.accepts = False
            await lose(world)
            await world.until(lambda: ("a", 4) in world.service.rows())
            last = world.service.taken[-1].at
            await world.clock.sleep(1000)
            times = [at - last for at in suggestions(world) if at > last]
            assert len(times) == 3
            assert all(295 <= after - before <= 310 for before, after in zip([0, *times], times, strict=False))

        World().run(story)

    def test_at_once_in_a_quiet_log(self):
        """It is said at once also where the log has nothing at all to read."""

        async def story(world: World) -> None:
            await world.following(1)
            await world.end()
            world.service.accepts = False
            world.database.unwatched = True
            world.begin()
            began = world.clock.monotonic()
            await world.until(lambda: suggestions(world), within=10)
            assert suggestions(world)[0] - began < 10
            await world.clock.sleep(290)
            assert len(suggestions(world)) == 1
            await world.until(lambda: len(suggestions(world)) == 2, within=20)

        World().run(story)

    def test_while_the_log_moves_on(self):
        """Nor does a log that moves on without rows for this sync keep the suggestion back."""

        async def story(world: World) -> None:
            world.put(1)
            world.begin()
            world.names = ["a", "b"]
            await world.until(lambda: world.progress.state is State.CAUGHT_UP)
            world.service.accepts = False
            world.sync.lose("a test said so.")
            for key in range(40):
                world.put(key, name="b")
                await world.clock.sleep(30)
            assert 4 <= len(suggestions(world)) <= 5

        world = World("a", routed=False)
        world.database.create(table("b"))
        world.run(story)

    def test_accepted_while_a_table_joins(self):
        """Accepted while one table alone is snapshotted, the suggestion still leads to a whole snapshot."""

        async def story(world: World) -> None:
            await world.following(1, 2, name="a")
            await world.end()
            world.database.create(table("z"))
            world.names.append("z")
            world.put(7, name="z")
            world.database.rows("a")[1] = world.row("a", 1)
            world.database.unwatched = True
            world.begin()
            await world.until(lambda: world.record.snapshots == 2)
            await world.caught_up()
            assert world.record.tables == ("a", "z")

        World("a", routed=True).run(story)

    def test_to_every_route(self):
        """The suggestion goes to each route."""

        async def story(world: World) -> None:
            await world.following(1, name="a")
            await world.end()
            world.service.accepts = False
            world.database.unwatched = True
            world.begin()
            await world.until(lambda: len(suggestions(world)) == 2, within=10)
            tables = [request.batch.table for request in world.service.taken if not request.events]
            assert tables[-2:] == ["a", "b"]

        World("a", "b").run(story)

    def test_wait(self):
        """Told to wait, no row is sent: only the question, every five minutes, until a reply accepts."""

        async def story(world: World) -> None:
            world.service.accepts = False
            await lose(world)
            await world.until(lambda: world.progress.state is State.LOST_PLACE)
            await world.clock.sleep(1000)
            assert ("a", 4) not in world.service.rows()
            assert len(suggestions(world)) == 4
            world.service.accepts = True
            await world.until(lambda: world.record.snapshots == 2)
            await world.caught_up()
            assert world.record.gap == ""

        World(on_lost_place="wait").run(story)

    def test_wait_until_an_operator_accepts(self):
        """Or until an operator accepts the gap: then the rows go on at once."""

        async def story(world: World) -> None:
            world.service.accepts = False
            await lose(world)
            await world.until(lambda: world.progress.state is State.LOST_PLACE)
            said = Agent([world.sync]).accept_gap("orders")
            assert "accepted" in said
            assert "no gap" in Agent([world.sync]).accept_gap("orders")
            await world.until(lambda: ("a", 4) in world.service.rows(), within=5)
            assert not world.service.taken[-1].batch.snapshot_sync_suggested

        World(on_lost_place="wait").run(story)

    def test_wait_through_trouble(self):
        """After a failed attempt it waits on, and is seen to."""

        async def story(world: World) -> None:
            world.service.accepts = False
            world.service.rule = lambda batch: Reply(UNAVAILABLE) if not len(world.service.requests) % 3 else None
            await lose(world)
            await world.until(lambda: len(suggestions(world)) == 2)
            await world.clock.sleep(1)
            assert State.LOST_PLACE is world.progress.state

        World(on_lost_place="wait").run(story)

    def test_wait_with_once(self):
        """Run once, a sync that would wait halts and says why."""

        async def story(world: World) -> None:
            world.service.accepts = False
            await lose(world)
            await world.end()
            world.begin(once=True)
            await world.over()
            assert State.HALTED is world.progress.state
            assert "asks for no snapshot" in world.progress.problem

        World(on_lost_place="wait").run(story)

    @pytest.mark.parametrize("accepts", [True, False])
    def test_once(self, accepts):
        """Run once with nothing to send, a sync tells its gap before it ends, and takes the snapshot if there is one."""

        async def story(world: World) -> None:
            await world.following(1, 2)
            await world.end()
            world.service.accepts = accepts
            world.database.unwatched = True
            world.begin(once=True)
            await world.task
            assert len(suggestions(world)) == 1
            assert world.record.snapshots == 1 + accepts
            assert bool(world.record.gap) is not accepts

        World().run(story)

    def test_stop_while_waiting(self):
        """Waiting ends when the sync is to end."""

        async def story(world: World) -> None:
            world.service.accepts = False
            await lose(world)
            await world.until(lambda: world.progress.state is State.LOST_PLACE)
            await world.end(kill=False)
            assert State.STOPPED is world.progress.state

        World(on_lost_place="wait").run(story)

    def test_snapshot(self):
        """Told to, it takes a snapshot unasked; the suggestion comes before its first row."""

        async def story(world: World) -> None:
            await lose(world)
            at = len(world.service.taken)
            await world.until(lambda: world.record.snapshots == 2)
            await world.caught_up()
            rows = [request for request in world.service.taken[at:] if request.events and not request.indexes[:-1]]
            assert not any(request.batch.snapshot_sync_suggested for request in rows[1:])
            assert len(world.service.markers) == 2
            assert world.record.snapshot is None

        World(on_lost_place="snapshot").run(story)

    def test_snapshot_ignored(self):
        """Ignored, the flag stays on through the whole snapshot, which then ends the gap."""

        async def story(world: World) -> None:
            world.service.accepts = False
            await lose(world)
            await world.until(lambda: world.record.snapshots == 2)
            assert world.service.markers[-1].batch.snapshot_sync_suggested
            assert world.record.gap == ""
            world.put(9)
            await world.caught_up()
            assert not world.service.taken[-1].batch.snapshot_sync_suggested

        World(on_lost_place="snapshot").run(story)

    def test_accepted(self):
        """A reply that accepts turns the flag off at once and is followed by one snapshot."""

        async def story(world: World) -> None:
            await lose(world)
            await world.caught_up()
            flagged = [request.batch.snapshot_sync_suggested for request in world.service.taken]
            first = flagged.index(True)
            assert flagged[first : flagged.index(False, first)] == [True]
            assert True not in flagged[first + 1 :]
            assert world.record.snapshots == 2

        World(batch_size=1).run(story)

    def test_accepted_where_another_waits(self):
        """A snapshot that has to wait for its turn is taken at once when it has a gap to mend."""

        async def story(world: World) -> None:
            await world.following(1)
            world.service.wishes = 1
            world.put(2)
            await world.until(lambda: world.record.snapshot is not None)
            world.database.truncate("a")
            world.put(3)
            began = world.clock.monotonic()
            await world.until(lambda: world.record.snapshots == 2)
            assert world.clock.monotonic() - began < 10

        World().run(story)

    @pytest.mark.fault("F104")
    def test_lost_again_and_again(self):
        """Where each snapshot outlasts the log, they come ever more seldom instead of one after the other."""

        async def story(world: World) -> None:
            def purge(step: str) -> None:
                if step == "service: received" and world.sync.in_snapshot:
                    world.database.put("a", {"t": "a", "id": 1, "v": 0})
                    world.database.purge(10**6)

            await world.following(1, 2)
            world.watch = purge
            world.database.unwatched = True
            world.database.drop()
            await world.clock.sleep(3600)
            assert 2 <= world.record.snapshots <= 9

        World(on_lost_place="snapshot").run(story)

    @pytest.mark.parametrize("known", [True, False], ids=["place known", "place not known"])
    def test_in_mid_stream(self, known):
        """Lost while streaming: behind what cannot be delivered if the source knows, else from the oldest place."""

        async def story(world: World) -> None:
            world.service.accepts = False
            await world.following(1)
            if known:
                world.put(2)
                world.database.truncate("a")
            else:
                world.database.purge()
                world.put(2)
                world.database.purge()
                world.watch = self._once_lost()
            world.put(3)
            await world.until(lambda: ("a", 3) in world.service.rows())
            assert world.record.gap
            assert world.service.taken[-1].batch.snapshot_sync_suggested
            await world.clock.sleep(100)
            assert len(world.losses) == 1
            ids = [event["id"] for event in world.service.events]
            assert ids.count(3) == 1

        World().run(story)

    def test_is_not_shown_before_the_source_is_put_right(self):
        """Who reads "lost place" may rely on it that what is written from now on comes."""

        async def story(world: World) -> None:
            world.service.accepts = False
            await world.following(1)
            seen: list[str] = []

            def watch(step: str) -> None:
                if world.progress.gap:
                    seen.append("shown" if world.progress.shown is State.LOST_PLACE else step)

            world.watch = watch
            world.database.truncate("a")
            world.put(2)
            await world.until(lambda: ("a", 2) in world.service.rows())
            assert "source: prepare" in seen[: seen.index("shown")]

        World().run(story)

    @staticmethod
    def _once_lost():
        lost = False

        def watch(step: str) -> None:
            nonlocal lost
            if step == "source: read" and not lost:
                lost = True
                raise LostPlaceError("the server dropped its log.")

        return watch

    def test_found_out_while_the_marker_was_due(self):
        """A gap behind S outlasts the end marker of that snapshot."""

        async def story(world: World) -> None:
            world.service.accepts = False
            world.put(1)
            world.service.rule = lambda batch: Reply(UNAVAILABLE) if batch.is_snapshot_end else None
            world.begin()
            await world.until(lambda: any(request.batch.is_snapshot_end for request in world.service.requests))
            await world.end()
            world.service.rule = lambda _batch: None
            world.database.unwatched = True
            world.begin()
            await world.until(lambda: world.record.snapshots == 1)
            await world.clock.sleep(10)
            assert "nobody kept the log" in world.record.gap
            assert suggestions(world)

        World().run(story)

    def test_another_database_while_the_marker_was_due(self):
        """The log is checked before the first change also where only the end marker was due."""

        async def story(world: World) -> None:
            world.service.accepts = False
            world.put(1)
            world.put(2)
            world.service.rule = lambda batch: Reply(UNAVAILABLE) if batch.is_snapshot_end else None
            world.begin()
            await world.until(lambda: any(request.batch.is_snapshot_end for request in world.service.requests))
            await world.end()
            world.service.rule = lambda _batch: None
            world.database.fail_over(1)
            world.put(3)
            world.put(4)
            world.begin()
            await world.until(lambda: ("a", 4) in world.service.rows())
            assert world.record.gap

        World().run(story)


class TestMovedBack:
    async def _streaming(self, world: World) -> None:
        for key in range(1, 6):
            world.put(key)
        world.begin()
        await world.caught_up()
        await world.clock.sleep(70)
        self.backup = world.service.backup()
        world.put(6)
        world.put(7)
        await world.caught_up()
        await world.clock.sleep(70)

    def test_lower(self):
        """A service restored from a backup gets again what it lost, within a minute, without a gap."""

        async def story(world: World) -> None:
            await self._streaming(world)
            world.service.store = self.backup
            at = len(world.service.taken)
            await world.until(lambda: world.service.rows() == world.truth(), within=70)
            again = world.service.taken[at:]
            assert [event["id"] for request in again for event in request.events] == [6, 7]
            assert not any(request.batch.snapshot_sync_suggested for request in again)
            assert any("went back" in notice for notice in world.progress.notices)

        World().run(story)

    def test_lower_in_one_answer(self):
        """One low answer alone may be a replica that lags: nothing follows from it."""

        async def story(world: World) -> None:
            await self._streaming(world)
            at = len(world.service.taken)
            world.service.questions.append(Checkpoint(Answer.INDEX, 3 * STRIDE))
            await world.clock.sleep(120)
            assert world.service.taken[at:] == []

        World().run(story)

    def test_restored_in_an_outage(self):
        """After a run of failures it is asked before the next row: a row taken now would hide what was lost."""

        async def story(world: World) -> None:
            await self._streaming(world)
            world.service.rule = lambda _batch: Reply(UNAVAILABLE)
            world.put(8)
            at = len(world.service.requests)
            await world.until(lambda: len(world.service.requests) >= at + 3)
            world.service.store = self.backup
            world.service.rule = lambda _batch: None
            await world.until(lambda: world.service.rows() == world.truth())
            stored = [event["id"] for request in world.service.taken for event in request.events]
            assert stored[-3:] == [6, 7, 8]
            assert world.record.gap == ""

        World().run(story)

    def test_no_answer_in_an_outage(self):
        """Without a clear answer nothing is sent, however often it is asked."""

        async def story(world: World) -> None:
            await self._streaming(world)
            world.service.rule = lambda _batch: Reply(UNAVAILABLE)
            world.put(8)
            at = len(world.service.requests)
            await world.until(lambda: len(world.service.requests) == at + 3)
            world.service.questions.extend([TryAgainError("down.")] * 5)
            world.service.rule = lambda _batch: None
            asked = world.service.asked
            await world.until(lambda: world.service.asked == asked + 5)
            assert at + 3 == len(world.service.requests)
            await world.caught_up()

        World().run(story)

    def test_none_in_mid_run(self):
        """No checkpoint where there was one is a gap; it is asked twice."""

        async def story(world: World) -> None:
            await self._streaming(world)
            world.service.accepts = False
            world.service.store = Store()
            await world.until(lambda: world.record.gap, within=70)
            assert "now has none" in world.record.gap
            await world.until(lambda: suggestions(world), within=20)
            world.service.accepts = True
            await world.until(lambda: world.record.snapshots == 2, within=400)
            await world.caught_up()

        World().run(story)

    def test_gone_from_the_log(self):
        """Lower, and the log has it no more: a gap, and numbers far above all that it may have taken before."""

        async def story(world: World) -> None:
            await self._streaming(world)
            world.service.accepts = False
            world.database.purge(10)
            world.service.store = self.backup
            await world.until(lambda: world.record.gap, within=100)
            assert "checkpoint" in world.record.gap
            world.put(11)
            await world.until(lambda: world.record.acknowledged > UNSEEN, within=100)

        World().run(story)


class TestLetGo:
    def test_only_what_the_service_has(self):
        """The source may let go of what the service itself calls its checkpoint, and of nothing beyond."""

        async def story(world: World) -> None:
            await world.following(1)
            world.service.questions.extend([Checkpoint(Answer.INDEX, STRIDE + STRIDE // 2)] * 20)
            world.put(2)
            world.put(3)
            await world.clock.sleep(200)
            assert world.database.acknowledged["orders"].position == "1:1"
            world.service.questions.clear()
            await world.clock.sleep(70)
            assert world.database.acknowledged["orders"].position == "1:3"

        World().run(story)

    def test_nothing_while_it_has_none(self):
        """As long as it has no checkpoint, nothing."""

        async def story(world: World) -> None:
            world.service.questions.extend([Checkpoint(Answer.NONE)] * 20)
            world.put(1)
            world.begin()
            await world.clock.sleep(200)
            assert world.database.acknowledged == {}

        World().run(story)

    def test_journal_alone(self):
        """Without a status endpoint the journal decides, every ten seconds."""

        async def story(world: World) -> None:
            world.service.remembers = False
            await world.following(1)
            world.put(2)
            await world.clock.sleep(20)
            assert world.database.acknowledged["orders"].position == "1:2"

        World().run(story)

    def test_quiet_table(self):
        """Where the log moves on without rows for this sync, its place moves along."""

        async def story(world: World) -> None:
            world.put(1, name="a")
            world.begin()
            world.names = ["a", "b"]
            await world.until(lambda: world.progress.state is State.CAUGHT_UP)
            for key in range(5):
                world.put(key, name="b")
            await world.clock.sleep(70)
            assert world.database.acknowledged["orders"].position == "1:6"
            assert len(world.service.taken) == 2

        world = World("a", routed=False)
        world.database.create(table("b"))
        world.run(story)
