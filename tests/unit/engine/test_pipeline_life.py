"""Beginning, pausing, failing and ending of a sync, and of several side by side."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest
from engine_world import AGENT, World, table

from fuagent.engine.agent import Agent
from fuagent.engine.lifecycle import State
from fuagent.errors import FuagentError, LostPlaceError, StopAgentError, TryAgainError
from fuagent.interfaces import Head
from fuagent.journal import SnapshotRecord
from fuagent.model import EventSchema
from fuagent.testing.clock import ManualClock
from fuagent.testing.database import STRIDE
from fuagent.testing.service import GONE, REFUSED, UNAVAILABLE, Reply


def stored(world: World) -> list[int]:
    return [event["id"] for request in world.service.taken for event in request.events]


class TestJournalFailure:
    @pytest.mark.parametrize("phase", ["stream", "snapshot", "start", "end marker"])
    @pytest.mark.fault("F66")
    def test_nothing_is_sent_meanwhile(self, phase):
        """While the journal takes no writes nothing more is sent; it goes on by itself, nothing lost."""

        async def story(world: World) -> None:
            marker_fails = phase == "end marker"
            world.service.remembers = not marker_fails
            world.put(*range(1, 7))
            if phase == "snapshot":
                world.service.latency = 1.0
                world.begin()
                await world.until(lambda: len(stored(world)) == 2)
            elif marker_fails:
                world.service.rule = lambda batch: Reply(UNAVAILABLE) if batch.is_snapshot_end else None
                world.begin()
                await world.until(lambda: any(request.batch.is_snapshot_end for request in world.service.requests))
                await world.end()
                world.service.rule = lambda _batch: None
                world.begin()
            else:
                world.begin()
                await world.caught_up()
            if phase == "start":
                await world.end()
                world.begin()
            world.journal.read("PRAGMA query_only = 1")
            at = len(world.service.requests)
            world.put(8)
            await world.until(lambda: world.progress.state is State.HALTED)
            assert "takes no writes" in world.progress.problem
            await world.clock.sleep(100)
            # What was on its way when the disk filled up may have arrived, once. The rows of a snapshot
            # need no word in the journal, as it begins again anyway; its end marker does.
            assert len(world.service.requests) - at <= {"stream": 1, "snapshot": 2}.get(phase, 0)
            assert not [request for request in world.service.markers if phase == "snapshot"]
            assert not world.task.done()
            world.journal.read("PRAGMA query_only = 0")
            await world.caught_up()
            assert world.progress.problem == ""

        World(batch_size=2).run(story)

    def test_stop_meanwhile(self):
        """A sync in that state can be stopped."""

        async def story(world: World) -> None:
            await world.following(1)
            world.journal.read("PRAGMA query_only = 1")
            world.put(2)
            await world.until(lambda: world.progress.state is State.HALTED)
            await world.end(kill=False)
            assert State.STOPPED is world.progress.state

        World().run(story)


class TestPause:
    def test_in_mid_stream(self):
        """A paused sync finishes the transaction, sends nothing, and goes on where it was when resumed."""

        async def story(world: World) -> None:
            agent = Agent([world.sync])
            world.put(1)
            await world.caught_up()
            world.service.latency = 1.0
            world.put(2, 3, 4)
            world.put(5)
            await world.clock.sleep(0.5)
            agent.pause("orders")
            await world.until(lambda: world.progress.state is State.PAUSED)
            assert stored(world) == [1, 2, 3, 4]
            await world.clock.sleep(1000)
            assert stored(world) == [1, 2, 3, 4]
            agent.resume("orders")
            await world.caught_up()
            assert stored(world) == [1, 2, 3, 4, 5]

        async def begun(world: World) -> None:
            world.begin()
            await story(world)

        World(batch_size=1).run(begun)

    def test_while_a_transaction_is_read(self):
        """A transaction that is still being read is finished first."""

        async def story(world: World) -> None:
            world.put(1)
            world.begin()
            read = world.sync.source.stream

            async def slowly(*args, **kinds):
                async for rows in read(*args, **kinds):
                    await world.clock.sleep(10)
                    yield rows

            world.sync.source.stream = slowly
            await world.until(lambda: world.progress.state is State.CAUGHT_UP)
            world.put(2, 3, 4)
            world.put(5)
            await world.until(lambda: 2 in stored(world))
            Agent([world.sync]).pause("orders")
            await world.until(lambda: world.progress.state is State.PAUSED)
            assert stored(world) == [1, 2, 3, 4]

        world = World()
        world.chunk = 1
        world.run(story)

    def test_through_a_restart(self):
        """A pause outlasts the agent."""

        async def story(world: World) -> None:
            await world.following(1)
            Agent([world.sync]).pause("orders")
            await world.end()
            world.put(2)
            world.begin()
            await world.clock.sleep(100)
            assert State.PAUSED is world.progress.state
            assert stored(world) == [1]
            Agent([world.sync]).resume("orders")
            await world.caught_up()

        World().run(story)

    def test_in_a_snapshot(self):
        """A pause ends a snapshot, resuming begins it again."""

        async def story(world: World) -> None:
            world.pace = 1.0
            world.put(*range(10))
            world.begin()
            await world.until(lambda: stored(world))
            Agent([world.sync]).pause("orders")
            await world.until(lambda: world.progress.state is State.PAUSED)
            assert world.record.snapshots == 0
            Agent([world.sync]).resume("orders")
            await world.caught_up()
            assert len(world.service.markers) == 1

        World().run(story)

    def test_stop_while_paused(self):
        """A paused sync can end."""

        async def story(world: World) -> None:
            world.begin()
            await world.until(lambda: world.record.snapshots == 1)
            Agent([world.sync]).pause("orders")
            await world.until(lambda: world.progress.state is State.PAUSED)
            await world.end(kill=False)
            assert State.STOPPED is world.progress.state

        World().run(story)

    def test_once(self):
        """Run once, a paused sync ends instead of waiting for someone who may not come."""

        async def story(world: World) -> None:
            world.begin()
            await world.until(lambda: world.record.snapshots == 1)
            Agent([world.sync]).pause("orders")
            await world.end()
            world.put(1)
            world.begin(once=True)
            await world.over()
            assert stored(world) == []

        World().run(story)


class TestOnce:
    def test_until_the_end_as_it_stood(self):
        """Run once, it ends when it has sent what was there when it looked, the snapshot included."""

        async def story(world: World) -> None:
            world.put(1, 2)
            world.begin(once=True)
            await world.over()
            assert State.STOPPED is world.progress.state
            await world.end()
            world.put(3)
            world.delete(1)
            world.begin(once=True)
            await world.over()
            assert world.service.rows() == world.truth()
            assert len(world.service.markers) == 1

        World().run(story)

    def test_nothing_new(self):
        """With nothing new it ends at once."""

        async def story(world: World) -> None:
            for _ in range(3):
                world.begin(once=True)
                await asyncio.wait_for(world.task, 60)
                await world.end()
            assert world.clock.monotonic() < 1

        World().run(story)


class TestFaults:
    def test_source_comes_back(self):
        """A source that fails is tried again from the last acknowledged place, nothing twice."""

        async def story(world: World) -> None:
            await world.following(1)
            for key in range(2, 6):
                world.database.drop()
                world.put(key)
                await world.caught_up()
            assert stored(world) == [1, 2, 3, 4, 5]
            assert world.progress.retries == 4

        World().run(story)

    def test_source_asks_for_time(self):
        """What a source asks for is waited, and backoff grows with each failure in a row."""
        times: list[float] = []

        def fail(step: str) -> None:
            if step == "source: open" and len(times) < 5:
                times.append(world.clock.monotonic())
                raise TryAgainError("too many connections.", retry_after=30.0 if len(times) == 1 else None)

        async def story(world: World) -> None:
            world.watch = fail
            world.begin()
            await world.until(lambda: world.record.snapshots == 1)

        world = World()
        world.run(story)

        assert [after - before for before, after in pairwise(times)] == [30.0, 0.5, 1.0, 2.0]

    def test_prepare_found_a_loss(self):
        """Changes made while nobody kept the log are a gap, on disk before the source is put right."""

        async def story(world: World) -> None:
            world.service.accepts = False
            await world.following(1)
            await world.end()
            world.database.unwatched = True
            seen: list[str] = []

            def watch(step: str) -> None:
                if step == "source: prepare":
                    seen.append(world.record.gap)

            world.watch = watch
            world.begin()
            await world.until(lambda: world.record.gap)
            assert seen == ["", "nobody kept the log for a while."]

        World().run(story)

    def test_lost_outside_the_stream(self):
        """A place lost where nothing is read is recorded, and the next session tries again."""

        async def story(world: World) -> None:
            failed = 0

            def watch(step: str) -> None:
                nonlocal failed
                if step == "source: discover" and failed < 1:
                    failed += 1
                    raise LostPlaceError("the slot is gone.", where="memory://", fix="Wait.")

            world.watch = watch
            await world.following(1)
            assert world.losses == ["Lost place: the slot is gone."]

        World().run(story)

    def test_what_follows_from_a_loss_hides_it_not(self):
        """Two losses with nothing delivered between them are one, and it has the reason of the first."""

        async def story(world: World) -> None:
            reasons = ["the slot was taken away.", "the slot was made anew."]

            def watch(step: str) -> None:
                if step == "source: discover" and reasons:
                    raise LostPlaceError(reasons.pop(0), where="memory://", fix="Wait.")

            world.service.accepts = False
            await world.following(1)
            await world.end()
            world.watch = watch
            world.begin()
            await world.until(lambda: len(world.losses) == 2)
            await world.caught_up()
            assert world.record.gap == "the slot was taken away."

        World().run(story)

    def test_defect_of_a_driver(self):
        """An exception nobody promised halts the sync and names its type, not its text."""

        async def story(world: World) -> None:
            def watch(step: str) -> None:
                if step == "source: locate":
                    raise ZeroDivisionError("password=hunter2")

            await world.following(1)
            await world.end()
            world.watch = watch
            world.begin()
            await world.over()
            assert State.HALTED is world.progress.state
            assert "ZeroDivisionError" in world.progress.problem
            assert "hunter2" not in world.progress.problem + world.progress.fix

        World().run(story)

    def test_two_tables_on_one_route(self):
        """Tables that would arrive mixed halt the sync before anything is sent."""

        async def story(world: World) -> None:
            world.put(1)
            world.begin()
            await world.over()
            assert State.HALTED is world.progress.state
            assert "mixed" in world.progress.problem
            assert world.service.requests == []

        World("a", "b", routed=False).run(story)

    def test_no_table(self):
        """A sync whose tables are not there halts and says which."""

        async def story(world: World) -> None:
            world.names = ["nothing*"]
            world.begin()
            await world.over()
            assert world.progress.problem == "there is no table nothing*"

        World().run(story)

    def test_document_chooses_marks(self):
        """Where the configuration is silent, the service's document decides how deletes are written."""

        async def story(world: World) -> None:
            world.settings = replace(world.settings, mapping=replace(world.settings.mapping, deletes="row"))
            world.settings = replace(world.settings, deletes_given=False)
            world.begin()
            world.sync.pusher._schema = EventSchema(delete_field="_deleted")
            world.put(1)
            await world.until(lambda: stored(world))
            assert world.progress.deletes == "mark"

        World().run(story)

    @pytest.mark.fault("F73")
    def test_settings_changed_inside_a_transaction(self):
        """Cut inside a transaction under other settings: all of it again, numbered above what the service has."""

        async def story(world: World) -> None:
            await world.following(1)
            world.crash_on = lambda step: (
                step == "journal: it is written" and world.service.store.checkpoint == 3 * STRIDE
            )
            world.put(2, 3, 4)
            await world.clock.sleep(5)
            await world.end()
            world.crash_on = lambda _step: False
            world.settings = replace(world.settings, shape="another")
            world.begin()
            await world.caught_up()
            assert stored(world) == [1, 2, 3, 2, 3, 4]
            indexes = [index for request in world.service.taken[-3:] for index in request.indexes]
            assert indexes == [3 * STRIDE + 1, 3 * STRIDE + 2, 4 * STRIDE]

        World(batch_size=1).run(story)

    def test_waits_for_a_batch(self):
        """With ``batch_wait`` what comes within it travels together."""

        async def story(world: World) -> None:
            world.begin()
            await world.until(lambda: world.progress.state is State.CAUGHT_UP)
            world.put(1)
            await world.clock.sleep(0.5)
            world.put(2)
            await world.caught_up()
            assert [[event["id"] for event in request.events] for request in world.service.taken[1:]] == [[1, 2]]

        World(batch_wait=2.0).run(story)


class TestStop:
    def test_what_is_in_flight_arrives(self):
        """Stopping lets the request in flight finish and writes it down; what follows is left for the next start."""

        async def story(world: World) -> None:
            await world.following(1)
            world.service.latency = 5.0
            world.put(2)
            await world.clock.sleep(1)
            world.put(3)
            await world.end(kill=False)
            assert stored(world) == [1, 2]
            world.begin()
            await world.caught_up()
            assert stored(world) == [1, 2, 3]

        World(batch_size=1).run(story)

    def test_in_a_snapshot(self):
        """A snapshot ends between two batches and begins again at the next start."""

        async def story(world: World) -> None:
            world.service.latency = 1.0
            world.put(*range(10))
            world.begin()
            await world.until(lambda: stored(world))
            await world.end(kill=False)
            assert len(stored(world)) < 10
            world.begin()
            await world.caught_up()

        World(batch_size=2).run(story)

    def test_while_it_asks_again(self):
        """A sync that waits for a missing checkpoint ends at once."""

        async def story(world: World) -> None:
            await world.following(1)
            await world.end()
            world.service.store.checkpoint = None
            world.begin()
            await world.until(lambda: world.progress.state is State.RETRYING)
            await world.end(kill=False)
            assert stored(world) == [1]

        World().run(story)


class Two:
    """Two syncs of one agent, each in its world, both in one time."""

    def __init__(self) -> None:
        clock = ManualClock()
        self.clock = clock
        self.one, self.two = World(clock=clock), World(clock=clock, drain=0.5)

    async def story(self, play) -> None:
        for world in (self.one, self.two):
            world.begin()
            world.task.cancel()
        await asyncio.sleep(0)
        agent = Agent([self.one.sync, replace_name(self.two.sync, "users")])
        running = asyncio.create_task(agent.run())
        self.one.task = self.two.task = None
        try:
            await play(agent, self.one, self.two, running)
        finally:
            await agent.stop()
            await asyncio.gather(running, return_exceptions=True)
            for world in (self.one, self.two):
                world.journal.close()
                world.close()

    def run(self, play) -> None:
        self.clock.run(self.story(play))


def replace_name(sync, name: str):
    sync.settings = replace(sync.settings, name=name)
    return sync


class TestSideBySide:
    def test_one_halts(self):
        """One that halts leaves the other alone; the agent is unhealthy and goes on."""

        async def play(agent, one: World, two: World, running) -> None:
            one.put(1)
            two.put(1)
            await one.until(lambda: one.settled and two.settled)
            one.service.script.append(Reply(GONE))
            one.put(2)
            await one.until(lambda: one.progress.state is State.HALTED)
            assert not agent.healthy
            two.put(2)
            await two.until(lambda: two.settled)
            assert not running.done()
            assert [progress.state for progress in agent.progress] == [State.HALTED, State.CAUGHT_UP]

        Two().run(play)

    def test_status(self):
        """The status of each says how far it is behind its log."""

        async def play(agent, one: World, two: World, _running) -> None:
            one.put(1)
            await one.until(lambda: one.settled and two.record.snapshots)
            two.service.rule = lambda _batch: Reply(UNAVAILABLE)
            two.put(1)
            two.put(2)
            await two.until(lambda: two.progress.state is State.RETRYING)
            first, second = await agent.status()
            assert agent.healthy
            assert (first.behind_rows, second.behind_rows) == (0, 2)
            assert first.behind_bytes is None

            async def head(_place) -> Head:
                raise TryAgainError("not now.")

            two.sync.source.head = head
            assert (await agent.status())[1].behind_rows == 2

        Two().run(play)

    def test_status_tells_for_how_long_a_log_is_kept(self):
        """What the source says of age is in the progress, at once and as it changes."""

        async def play(agent, one: World, two: World, _running) -> None:
            await one.until(lambda: one.settled and one.record.snapshots and two.record.snapshots)
            said = Head("end", seconds_kept=3600.0, since=17.0)

            async def head(_place) -> Head:
                return said

            one.sync.source.head = head
            first, second = await agent.status()
            assert (first.kept_seconds, first.unread_since) == (3600.0, 17.0)
            assert (second.kept_seconds, second.unread_since) == (None, None)
            said = Head("end")
            [first, _] = await agent.status()
            assert (first.kept_seconds, first.unread_since) == (None, None)

        Two().run(play)

    @pytest.mark.fault("F37")
    def test_status_of_what_does_not_move(self):
        """Whatever keeps a sync from reading, what waits for it is told; at rest its source is opened for that alone."""

        async def play(agent, one: World, two: World, _running) -> None:
            two.put(1)
            await two.until(lambda: two.settled and one.record.snapshots)
            agent.pause("orders")
            await one.until(lambda: one.progress.state is State.PAUSED)
            two.service.rule = lambda _batch: Reply(REFUSED)
            for number in range(2, 5):
                one.put(number)
                two.put(number)
            await two.until(lambda: two.progress.state is State.UNAUTHORISED)
            first, second = await agent.status()
            assert (first.behind_rows, second.behind_rows) == (3, 3)

            two.service.rule = lambda _batch: Reply(GONE)
            await two.until(lambda: two.progress.state is State.HALTED)
            one.put(5)
            two.put(5)
            first, second = await agent.status()
            assert (first.behind_rows, second.behind_rows) == (3, 4), "each look is a login: not again at once"
            await one.clock.sleep(30)
            first, second = await agent.status()
            assert (first.behind_rows, second.behind_rows) == (4, 4)

            agent.resume("orders")
            await one.until(lambda: one.settled)
            assert sorted(stored(one)) == [2, 3, 4, 5]

        Two().run(play)

    @pytest.mark.fault("F37")
    def test_status_between_two_sessions(self):
        """Where no session gets beyond the service, as after a start while that is down, the source is asked all the same."""

        async def play(agent, one: World, two: World, _running) -> None:
            one.put(1)
            await one.until(lambda: one.settled and two.record.snapshots)
            agent.pause("orders")
            await one.until(lambda: one.progress.state is State.PAUSED)
            one.service.questions.extend(TryAgainError("it is down.") for _ in range(50))
            one.put(2)
            agent.resume("orders")
            await one.until(lambda: one.progress.state is State.RETRYING and one.progress.retries > 3)
            assert (await agent.status())[0].behind_rows == 1

            def refuse(step: str) -> None:
                if step == "source: open":
                    raise TryAgainError("the login was refused.")

            one.watch = refuse
            retries = one.progress.retries
            await one.until(lambda: one.progress.state is State.RETRYING and one.progress.retries > retries + 1)
            one.sync.looked_at_rest = None
            before = one.steps.count("source: open")
            await agent.status()
            assert one.steps.count("source: open") == before, "one that refuses is not asked once more"

        Two().run(play)

    @pytest.mark.fault("F20", "F37")
    def test_a_source_that_does_not_answer_holds_up_no_resume(self, monkeypatch):
        """A look at rest ends by itself, and the sync that waited for it goes on."""
        monkeypatch.setattr("fuagent.engine.agent._MEASURE_FOR", 0.01)
        monkeypatch.setattr("fuagent.engine.agent._LOOK_AT_REST_FOR", 0.5)

        async def play(agent, one: World, two: World, _running) -> None:
            one.put(1)
            await one.until(lambda: one.settled and two.record.snapshots)
            agent.pause("orders")
            await one.until(lambda: one.progress.state is State.PAUSED)
            head, asked = one.sync.source.head, asyncio.Event()

            async def silent(_place) -> Head:
                asked.set()
                return await asyncio.Event().wait()

            one.sync.source.head = silent
            await agent.status()
            await asked.wait()
            one.sync.source.head = head
            agent.resume("orders")
            one.put(2)
            await asyncio.wait(agent._measuring.values())  # in real time, of which the clock here knows nothing
            await one.until(lambda: one.settled)
            assert stored(one) == [1, 2]

        Two().run(play)

    def test_status_while_a_sync_goes(self):
        """A sync that a reload takes away while it is measured, its source closed, costs the others nothing."""

        async def play(agent, one: World, two: World, _running) -> None:
            one.put(1)
            await one.until(lambda: one.settled and two.record.snapshots)
            asked, gone = asyncio.Event(), asyncio.Event()

            async def head(_place) -> Head:
                asked.set()
                await gone.wait()
                raise RuntimeError

            one.sync.source.head = head
            measuring = asyncio.create_task(agent.status())
            await asked.wait()
            await agent.exchange(["orders"], {}, ["users"])
            gone.set()
            assert await measuring == [two.progress]

        Two().run(play)

    @pytest.mark.fault("F20")
    def test_status_of_a_source_that_does_not_answer(self, monkeypatch):
        """It is told as it was last known, the others as they are; and the source is not asked a second time meanwhile."""
        monkeypatch.setattr("fuagent.engine.agent._MEASURE_FOR", 0.5)

        async def play(agent, one: World, two: World, _running) -> None:
            two.put(1)
            await two.until(lambda: two.settled and one.record.snapshots)
            asked = []

            async def silent(place) -> Head:
                asked.append(place)
                return await asyncio.Event().wait()

            one.sync.progress.behind_rows, two.sync.progress.behind_rows = 7, 7
            one.sync.source.head = silent
            for _ in range(2):
                first, second = await agent.status()
                assert (first.behind_rows, second.behind_rows) == (7, 0)
            assert len(asked) == 1

        Two().run(play)

    def test_by_hand(self):
        """A snapshot asked for by an operator is taken of that sync alone; what is under way is said."""

        async def play(agent, one: World, two: World, _running) -> None:
            one.put(1)
            await one.until(lambda: one.settled and two.record.snapshots)
            assert "next transaction end" in agent.snapshot("orders")
            await one.until(lambda: one.record.snapshots == 2, within=5)
            assert two.record.snapshots == 1
            one.sync.ledger.save(snapshot=SnapshotRecord("running"))
            assert "already" in agent.snapshot("orders")
            with pytest.raises(FuagentError, match="no sync called 'nobody'") as caught:
                agent.snapshot("nobody")
            assert "orders, users" in caught.value.fix

        Two().run(play)

    def test_asked_of_a_halted_sync(self):
        """What is asked of a halted sync is kept, and the answer says when it will come."""

        async def play(agent, one: World, _two: World, _running) -> None:
            one.put(1)
            await one.until(lambda: one.settled)
            one.service.refuses = lambda _event: True
            one.put(2)
            await one.until(lambda: one.progress.state is State.HALTED)
            answers = [act("orders") for act in (agent.snapshot, agent.pause, agent.resume)]
            assert all("when the agent starts again" in answer for answer in answers)
            assert one.record.snapshot.cause == "an operator asked for it"

        Two().run(play)

    def test_by_hand_keeps_where_changes_are_read_from(self):
        """Asked for by hand in place of a first snapshot that was cut off, it still delivers the deletes since."""

        async def play(agent, one: World, _two: World, _running) -> None:
            await one.until(lambda: one.record.snapshots)
            origin = one.sync.journal.anchors()[0].place
            one.sync.ledger.save(snapshot=SnapshotRecord("pending", origin=origin))
            agent.snapshot("orders")
            assert origin == one.record.snapshot.origin

        Two().run(play)

    def test_stop(self):
        """Stopping ends both, each within its time, and run returns."""

        async def play(agent, one: World, two: World, running) -> None:
            await one.until(lambda: one.record.snapshots and two.record.snapshots)
            two.service.latency = 1e9
            two.put(1)
            await two.until(lambda: two.steps[-1] == "service: received")
            await agent.stop()
            await running
            assert State.STOPPED is one.progress.state
            assert State.DRAINING is two.progress.state

        two = Two()
        two.one.settings = replace(two.one.settings, drain=0.5)
        two.run(play)

    @pytest.mark.parametrize("error", [StopAgentError("the state directory is gone."), None])
    def test_error_of_the_agent(self, error):
        """What concerns the whole agent ends it, with the error; a defect of ours as well."""

        async def play(agent, one: World, two: World, running) -> None:
            await one.until(lambda: one.record.snapshots and two.record.snapshots)

            def watch(step: str) -> None:
                if step == "source: read":
                    raise error or ZeroDivisionError

            if error is None:
                one.sync.reporter.halt = None
            one.watch = watch
            one.put(1)
            await asyncio.wait([running])
            expected = "state directory" if error else "a defect: TypeError"
            with pytest.raises(StopAgentError, match=expected):
                running.result()

        Two().run(play)

    def test_once(self):
        """Run once, the agent ends when every sync has."""

        async def whole() -> None:
            world.put(1)
            world.begin()
            world.task.cancel()
            await asyncio.sleep(0)
            world.task = None
            await Agent([world.sync]).run(once=True)
            assert stored(world) == [1]
            world.journal.close()

        world = World()
        world.clock.run(whole())
        world.close()

    def test_no_sync(self):
        """An agent without syncs has nothing to wait for."""

        async def whole() -> None:
            agent = Agent([])
            await agent.run()
            await agent.stop()
            assert agent.healthy

        ManualClock().run(whole())


def test_world_says_who_it_is():
    """The agent id goes into every batch, beside the sync's name."""

    async def story(world: World) -> None:
        await world.following(1)

    world = World()
    world.run(story)

    assert {(AGENT, "orders")} == {(r.batch.agent_id, r.batch.task_id) for r in world.service.requests}
    assert table("a") == world.sync.tables[0]


class TestExchange:
    def test_one_that_cannot_be_made(self):
        """A driver that fails to be made is named, and leaves the others of the same reload running."""

        async def story(world: World) -> None:
            await world.following(1)
            world.task.cancel()
            await asyncio.gather(world.task, return_exceptions=True)
            agent = Agent([world.sync])
            world.task = asyncio.create_task(agent.run())

            def anew():
                world.sync.wishes.stopping.clear()
                return world.sync

            with pytest.raises(ExceptionGroup) as caught:
                await agent.exchange(["orders"], {"broken": _broken, "orders": anew}, ["broken", "orders"])
            names = [one.name for one in agent.progress]
            await agent.exchange(["broken"], {}, ["orders"])
            world.put(2)
            await world.caught_up()
            await agent.stop()

            assert [type(error) for error in caught.value.exceptions] == [ImportError]
            assert names == ["orders"]

        World().run(story)


def _broken():
    raise ImportError
