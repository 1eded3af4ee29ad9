"""What each kind of answer leads to: halving, bisecting, setting aside, slow and patient retries, halts."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from engine_world import World

from fuagent.engine.lifecycle import State
from fuagent.engine.reporter import GO_ON
from fuagent.errors import ConfigError
from fuagent.model import Verdict
from fuagent.testing.service import GONE, PAGE, REFUSED, UNAVAILABLE, Reply


def stored(world: World) -> list[int]:
    return [event["id"] for request in world.service.taken for event in request.events]


async def halted(world: World) -> None:
    await world.over()
    assert State.HALTED is world.progress.state
    assert world.pipeline.halted


class TestRetry:
    @pytest.mark.fault("F76")
    def test_same_bytes(self):
        """A retry is the same bytes under the same key, in order, for as long as it takes; then the next number."""

        async def story(world: World) -> None:
            await world.following(1)
            world.service.rule = lambda _batch: Reply(UNAVAILABLE)
            at = len(world.service.requests)
            world.put(2)
            await world.until(lambda: len(world.service.requests) > at)
            world.put(3)
            await world.until(lambda: len(world.service.requests) == at + 100, within=10_000)
            world.service.rule = lambda _batch: None
            await world.caught_up()
            tried, after = world.service.requests[at:-1], world.service.requests[-1]
            assert len({request.body for request in tried}) == 1
            assert len({request.batch.key for request in tried}) == 1
            assert int(after.batch.key.split(".")[2]) == int(tried[0].batch.key.split(".")[2]) + 1
            assert stored(world) == [1, 2, 3]

        World().run(story)

    def test_same_bytes_although_a_gap_is_found(self):
        """A batch that is under way keeps its flag; the next one has the new one."""

        async def story(world: World) -> None:
            await world.following(1)
            at = len(world.service.requests)
            world.service.script.extend([Reply(UNAVAILABLE)] * 2)
            world.put(2)
            await world.until(lambda: len(world.service.requests) > at)
            world.sync.lose("a test said so.")
            await world.until(lambda: len(world.service.requests) >= at + 3)
            assert len({request.body for request in world.service.requests[at : at + 3]}) == 1

        World().run(story)

    def test_state_and_recovery(self):
        """While it retries, state and problem say so; afterwards neither does."""

        async def story(world: World) -> None:
            world.service.script.extend([Reply(UNAVAILABLE)] * 6)
            world.put(1)
            world.begin()
            await world.until(lambda: world.progress.state is State.RETRYING)
            assert "503" in world.progress.problem
            await world.caught_up()
            assert world.progress.problem == ""
            assert world.progress.retries == 6

        World().run(story)

    @pytest.mark.fault("F77")
    def test_retry_after(self):
        """What the service asks for is a floor, capped at a quarter of an hour."""

        async def story(world: World) -> None:
            world.service.script.extend(
                [Reply(replace(UNAVAILABLE, retry_after=120.0)), Reply(replace(UNAVAILABLE, retry_after=86400.0))]
            )
            world.put(1)
            world.begin()
            await world.caught_up(within=2000)
            first, second, third = (request.at for request in world.service.requests[:3])
            assert 120 <= second - first < 121
            assert 900 <= third - second < 901

        World().run(story)

    @pytest.mark.parametrize(
        ("outcome", "state", "refreshed"),
        [(PAGE, State.WRONG_ANSWER, 0), (REFUSED, State.UNAUTHORISED, 3)],
        ids=["a page", "401"],
    )
    @pytest.mark.fault("F80")
    def test_slow(self, outcome, state, refreshed):
        """A wrong answer and refused credentials are tried slowly; credentials are read again each time."""

        async def story(world: World) -> None:
            world.service.script.extend([Reply(outcome)] * 3)
            world.put(1)
            world.begin()
            await world.until(lambda: world.progress.state is state)
            await world.caught_up()
            times = [request.at for request in world.service.requests[:4]]
            assert min(after - before for before, after in pairwise(times)) >= 2.5
            assert refreshed == world.service.refreshed
            assert len({request.body for request in world.service.requests[:4]}) == 1

        World().run(story)

    def test_credential_gone_for_a_moment(self):
        """A credential file that is missing while it is replaced does not end the sync, let alone the agent."""

        async def story(world: World) -> None:
            world.service.script.extend([Reply(REFUSED)] * 2)
            world.put(1)
            world.begin()

            async def refresh() -> None:
                raise ConfigError("no such file.", where="credential.key_file")

            world.sync.pusher.refresh = refresh
            await world.caught_up()
            assert world.progress.retries == 2

        World().run(story)

    def test_stop_in_an_outage(self):
        """A sync that is to end does not wait for the service; what was not taken is sent by the next start."""

        async def story(world: World) -> None:
            world.put(1)
            world.service.rule = lambda _batch: Reply(UNAVAILABLE)
            world.begin()
            await world.until(lambda: world.progress.state is State.RETRYING)
            began = world.clock.monotonic()
            await world.end(kill=False)
            assert world.clock.monotonic() == began
            assert State.STOPPED is world.progress.state
            world.service.rule = lambda _batch: None
            world.begin()
            await world.caught_up()

        World().run(story)


class TestTooLarge:
    @pytest.mark.fault("F78")
    def test_halved_and_remembered(self):
        """A batch too large is halved until it fits, in order; later ones are that small at once."""

        async def story(world: World) -> None:
            world.service.largest = 400
            world.put(*range(40))
            world.begin()
            await world.caught_up()
            assert list(range(40)) == stored(world)
            refused = len(world.service.requests) - len(world.service.taken)
            assert 1 <= refused <= 6
            at = len(world.service.requests)
            world.put(*range(40))
            await world.caught_up()
            assert all(request.stored for request in world.service.requests[at:])
            assert not world.record.gap

        World(batch_bytes=4000).run(story)

    @pytest.mark.fault("F78")
    def test_probes_upwards(self):
        """After a hundred batches a larger one is tried: a service that grew gets larger batches again."""

        async def story(world: World) -> None:
            world.service.largest = 400
            world.put(*range(40))
            world.begin()
            await world.caught_up()
            world.service.largest = 10**6
            small = world.sync.limit.value
            for _ in range(250):
                world.put(1)
                await world.clock.sleep(1)
            await world.caught_up()
            assert small * 2 <= world.sync.limit.value <= 4000

        World(batch_bytes=4000).run(story)

    def test_one_row(self):
        """A single row too large is refused like any other: the size is said, and the table."""

        async def story(world: World) -> None:
            world.service.largest = 120
            world.put(1)
            world.begin()
            await halted(world)
            assert "one row of" in world.progress.problem
            assert "table a" in world.progress.problem

        World().run(story)


class TestRejected:
    def test_halt(self):
        """By default the first refused row ends the sync, with everything before it delivered."""

        async def story(world: World) -> None:
            world.service.refuses = lambda event: event["id"] == 5
            world.put(*range(1, 10))
            world.begin()
            await halted(world)
            assert stored(world) == [1, 2, 3, 4]
            assert "422" in world.progress.problem
            assert "set_aside" in world.progress.fix
            assert world.sync.journal.rejected() == []

        World().run(story)

    def test_set_aside(self):
        """Told to, it sets the row aside on disk before anything behind it is sent, and goes on."""

        async def story(world: World) -> None:
            await world.following(0)
            world.service.refuses = lambda event: event["id"] == 5
            world.put(*range(1, 10))
            await world.until(lambda: 9 in stored(world))
            assert stored(world) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
            aside = world.steps.index("journal: a row is set aside")
            assert "service: answered" in world.steps[aside:]
            [row] = world.sync.journal.rejected()
            assert (row.table, row.status) == ("a", 422)
            assert b'"id":5' in row.event
            assert world.progress.rejected == 1

        World(on_reject="set_aside").run(story)

    def test_moves_the_place_not_the_index(self):
        """A row set aside at the end moves the place but is not acknowledged; it does not come again."""

        async def story(world: World) -> None:
            await world.following(1)
            world.service.refuses = lambda event: event["id"] == 3
            world.put(2)
            await world.until(lambda: 2 in stored(world))
            acknowledged = world.record.acknowledged
            world.put(3)
            await world.until(lambda: world.progress.rejected == 1)
            assert acknowledged == world.record.acknowledged == world.service.store.checkpoint
            await world.end()
            at = len(world.service.requests)
            world.begin()
            await world.clock.sleep(30)
            assert world.service.requests[at:] == []
            world.put(4)
            await world.until(lambda: 4 in stored(world))

        World(on_reject="set_aside").run(story)

    def test_no_row_passes(self):
        """Where no row of a batch passes the fault is not the rows': none is set aside, and it halts."""

        async def story(world: World) -> None:
            world.service.refuses = lambda event: True
            world.put(*range(1, 6))
            world.begin()
            await halted(world)
            assert "every row of a batch of 5" in world.progress.problem
            assert world.sync.journal.rejected() == []
            assert world.record.snapshots == 0

        World(on_reject="set_aside").run(story)

    def test_again_and_again_alone(self):
        """Single rows refused twice in a row end it too."""

        async def story(world: World) -> None:
            await world.following(1)
            world.service.refuses = lambda event: True
            world.put(2)
            await world.until(lambda: world.progress.rejected == 1)
            world.put(3)
            await halted(world)
            assert "row after row" in world.progress.problem
            assert world.sync.journal.rejected_count() == 1

        World(on_reject="set_aside").run(story)

    def test_alone_but_not_in_a_row(self):
        """With a row that passes between them they are single rows."""

        async def story(world: World) -> None:
            await world.following(1)
            world.service.refuses = lambda event: event["id"] % 2 == 0
            for key in (2, 3, 4, 5, 6, 7):
                world.put(key)
                await world.clock.sleep(1)
            assert world.sync.journal.rejected_count() == 3
            assert stored(world) == [1, 3, 5, 7]

        World(on_reject="set_aside").run(story)

    @pytest.mark.fault("S11")
    def test_limit(self):
        """No more are set aside than was said."""

        async def story(world: World) -> None:
            world.service.refuses = lambda event: event["id"] in (2, 4, 6)
            world.put(*range(1, 10))
            world.begin()
            await halted(world)
            assert "Already 2 rows" in world.progress.problem
            assert world.sync.journal.rejected_count() == 2
            assert stored(world)[-1] == 5

        World(on_reject="set_aside", rejected_limit=2).run(story)

    def test_empty_batch(self):
        """A service that refuses the end marker ends the sync; it is due again at the next start."""

        async def story(world: World) -> None:
            world.put(1)
            reject = Reply(replace(UNAVAILABLE, verdict=Verdict.REJECTED))
            world.service.rule = lambda batch: reject if batch.is_snapshot_end else None
            world.begin()
            await halted(world)
            assert "refuses an empty batch" in world.progress.problem
            await world.end()
            world.service.rule = lambda _batch: None
            world.begin()
            await world.caught_up()
            assert stored(world) == [1]

        World(on_reject="set_aside").run(story)


class TestHalt:
    @pytest.mark.fault("F81")
    def test_gone(self):
        """410 ends the sync with the service's sentence and what to do; nothing more is sent."""

        async def story(world: World) -> None:
            await world.following(1)
            world.service.script.append(Reply(GONE))
            world.put(2)
            await halted(world)
            assert "410" in world.progress.problem
            assert "memory://service" in world.progress.problem
            assert world.progress.fix == f"Remove the sync. {GO_ON}"

        World().run(story)
