"""The promises of a pusher as tests: subclass :class:`PusherSuite`, name your kit, and let pytest run it.

::

    class TestMyPusher(PusherSuite):
        Kit = MyKit
        no_act = {Act.MOVE: "a file does not send anyone elsewhere"}
        no_checkpoint = "a file remembers nothing; the journal does"

As with the suite for sources, what the kit cannot show has a reason, which pytest prints.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fuagent.errors import HaltSyncError, TryAgainError
from fuagent.interfaces import Pusher
from fuagent.model import Answer, Checkpoint, Column, EventSchema, Kind, Outcome, Table, Verdict
from fuagent.testing.leftovers import cancelled_at, held, left_behind
from fuagent.testing.pusher_kit import LATER, TABLES, Act, PusherKit, Said, batch
from fuagent.testing.running import needs, with_kit

VERDICTS = {
    Act.WISH: Verdict.ACKNOWLEDGED,
    Act.BUSY: Verdict.RETRY,
    Act.LATER: Verdict.RETRY,
    Act.CUT: Verdict.RETRY,
    Act.SILENT: Verdict.RETRY,
    Act.LARGE: Verdict.SPLIT,
    Act.REFUSE: Verdict.REJECTED,
    Act.DENY: Verdict.UNAUTHORISED,
    Act.MOVE: Verdict.WRONG_ANSWER,
    Act.PAGE: Verdict.WRONG_ANSWER,
    Act.GONE: Verdict.HALT,
}
CHECKPOINTS = {Said.INDEX: Checkpoint(Answer.INDEX, 42), Said.NONE: Checkpoint(Answer.NONE)}
SHORT = 1.0
"""Seconds until silence counts as a fault."""
MOST_AWAITS = 1000


def tables() -> list[Table]:
    """Two tables with a key."""
    columns = (Column("id", Kind.INTEGER), Column("v", Kind.TEXT))
    return [Table(name, columns, ("id",)) for name in TABLES]


async def _session(pusher: Pusher) -> Outcome:
    """All that the engine does with a driver between opening and closing it."""
    await pusher.open()
    await pusher.check(tables())
    await pusher.checkpoint()
    await pusher.push(batch(1))
    await pusher.refresh()
    return await pusher.push(batch(2, 3, number=2))


class PusherSuite:
    """Everything in ``fuagent.interfaces.Pusher`` that can be seen from outside."""

    Kit: type[PusherKit]
    no_act: Mapping[Act, str] = {}
    """What the receiving end cannot do to a batch, each with the reason."""
    no_said: Mapping[Said, str] = {}
    """What it cannot answer to the checkpoint question, each with the reason."""
    no_checkpoint = ""
    """Why it keeps none at all: the driver then says NO_ENDPOINT."""
    no_rotate = ""

    # ------------------------------------------------------------ batches

    @with_kit
    async def test_a_batch_arrives_whole(self, kit: PusherKit) -> None:
        """Every event, in order, exactly as it is written, and the outcome says no more than that."""
        pusher = await kit.ready()
        outcome = await pusher.push(batch(3, 1, 2))
        [body] = await kit.received()

        assert outcome.verdict is Verdict.ACKNOWLEDGED
        assert not outcome.snapshot_needed
        assert kit.events(body) == [{"id": key, "v": "},{\u00e9\n", "index": key + 100} for key in (3, 1, 2)]
        assert all(text in body for text in batch(3, 1, 2).events)

    @with_kit
    async def test_the_same_batch_is_the_same_bytes(self, kit: PusherKit) -> None:
        """At once and after a restart."""
        for pusher in (await kit.ready(), await kit.ready()):
            for _ in range(2):
                await pusher.push(batch(1, 2))
        bodies = await kit.received()

        assert len(bodies) == 4
        assert len(set(bodies)) == 1

    @with_kit
    async def test_batches_arrive_in_order(self, kit: PusherKit) -> None:
        """The one acknowledged first is the one received first."""
        pusher = await kit.ready()
        for number in range(1, 6):
            await pusher.push(batch(number, number=number))

        assert [kit.events(body)[0]["id"] for body in await kit.received()] == [1, 2, 3, 4, 5]

    @with_kit
    async def test_a_batch_without_events_is_delivered(self, kit: PusherKit) -> None:
        """The end of a snapshot and a suggestion are told like any rows, and told apart."""
        pusher = await kit.ready()
        for told in (batch(end=True), batch(suggested=True, number=2)):
            assert (await pusher.push(told)).verdict is Verdict.ACKNOWLEDGED
        bodies = await kit.received()

        assert [kit.events(body) for body in bodies] == [[], []]
        assert len(set(bodies)) == 2

    @pytest.mark.parametrize("act", list(Act))
    @with_kit
    async def test_what_happens_to_a_batch_is_an_outcome(self, kit: PusherKit, act: Act) -> None:
        """Never an exception, and never a second attempt; the next batch is delivered."""
        self._needs(f"no_act[{act.name}]", self.no_act.get(act, ""))
        kit.timeout = SHORT if act is Act.SILENT else kit.timeout
        pusher = await kit.ready()
        await kit.play(act)
        outcome = await pusher.push(batch(1))
        attempts = len(await kit.received())

        assert outcome.verdict is VERDICTS[act], outcome
        assert attempts <= 1
        assert outcome.snapshot_needed is (act is Act.WISH)
        assert outcome.retry_after == (LATER if act is Act.LATER else None)
        if outcome.verdict is not Verdict.ACKNOWLEDGED:
            assert outcome.reason
        if kit.secret:
            assert kit.secret not in repr(outcome)
        if outcome.verdict is not Verdict.HALT:
            assert (await pusher.push(batch(2, number=2))).verdict is Verdict.ACKNOWLEDGED

    # ------------------------------------------------------------ the checkpoint

    @pytest.mark.parametrize("said", list(Said))
    @with_kit
    async def test_the_checkpoint_is_a_clear_answer_or_none_at_all(self, kit: PusherKit, said: Said) -> None:
        """An index and a clear "none" are believed, nonsense halts, and all else is asked again later."""
        self._needs("no_checkpoint", self.no_checkpoint)
        self._needs(f"no_said[{said.name}]", self.no_said.get(said, ""))
        kit.timeout = SHORT if said is Said.SILENT else kit.timeout
        pusher = await kit.ready()
        await kit.say(said)

        if said in CHECKPOINTS:
            assert await pusher.checkpoint() == CHECKPOINTS[said]
        else:
            with pytest.raises(HaltSyncError if said is Said.NONSENSE else TryAgainError):
                await pusher.checkpoint()

    @with_kit
    async def test_without_a_checkpoint_it_says_so(self, kit: PusherKit) -> None:
        """NO_ENDPOINT every time where the other side keeps none, and never where it does."""
        pusher = await kit.ready()
        first = (await pusher.checkpoint()).answer
        await pusher.push(batch(1))
        second = (await pusher.checkpoint()).answer

        assert (
            {first, second} == {Answer.NO_ENDPOINT} if self.no_checkpoint else Answer.NO_ENDPOINT not in {first, second}
        )

    # ------------------------------------------------------------ around them

    @with_kit
    async def test_a_rotated_credential_is_read_again(self, kit: PusherKit) -> None:
        """The old one is refused; after ``refresh`` the new one is shown."""
        needs(self, "rotate")
        pusher = await kit.ready()
        assert (await pusher.push(batch(1))).verdict is Verdict.ACKNOWLEDGED
        await kit.rotate()
        refused = await pusher.push(batch(2, number=2))
        await pusher.refresh()
        taken = await pusher.push(batch(2, number=2))

        assert refused.verdict is Verdict.UNAUTHORISED
        assert taken.verdict is Verdict.ACKNOWLEDGED

    @with_kit
    async def test_checking_sends_nothing(self, kit: PusherKit) -> None:
        """It gives its findings, shows no secret, and no batch arrives."""
        pusher = kit.made()
        findings = await pusher.check(tables())

        assert await kit.received() == []
        assert all(finding.what for finding in findings)
        if kit.secret:
            assert kit.secret not in repr(findings)

    @with_kit
    async def test_a_route_is_always_the_same(self, kit: PusherKit) -> None:
        """A text without a secret, the same for the same table, in every life."""
        first, second = await kit.ready(), await kit.ready()
        routes = [first.route(table.label) for table in tables()]

        assert all(routes)
        assert routes == [second.route(table.label) for table in tables()]
        if kit.secret:
            assert kit.secret not in repr(routes)

    @with_kit
    async def test_an_event_schema_is_one_or_none(self, kit: PusherKit) -> None:
        """Where nothing is known of an event, the answer is None."""
        pusher = await kit.ready()

        assert all(isinstance(pusher.event_schema(table), EventSchema | None) for table in tables())

    @with_kit
    async def test_closing_is_always_allowed(self, kit: PusherKit) -> None:
        """Without opening, twice, and then it delivers again."""
        pusher = kit.made()
        await pusher.close()
        await pusher.close()
        await pusher.open()
        await pusher.open()
        await pusher.close()
        await pusher.close()
        await pusher.open()

        assert (await pusher.push(batch(1))).verdict is Verdict.ACKNOWLEDGED

    @with_kit
    async def test_making_one_opens_nothing(self, kit: PusherKit) -> None:
        """A driver that is not opened holds nothing."""
        before = held()
        kit.made()

        assert held().beyond(before) == []

    @with_kit
    async def test_a_cancelled_await_leaves_nothing_open(self, kit: PusherKit) -> None:
        """Each await of a whole session is cancelled in turn; closed, nothing is left, and the next session is whole."""
        pusher = kit.made()
        await _session(pusher)
        await pusher.close()
        before = held()
        step = 1
        while await cancelled_at(step, lambda: _session(pusher)):
            await pusher.close()
            assert await left_behind(before) == [], f"cancelled at await {step}"
            step += 1
            assert step < MOST_AWAITS

        assert (await _session(pusher)).verdict is Verdict.ACKNOWLEDGED
        await pusher.close()
        assert await left_behind(before) == []

    def _needs(self, attribute: str, reason: str) -> None:
        """Leave the test out if there is a reason."""
        if reason:
            pytest.skip(f"{type(self).__name__}.{attribute}: {reason}")
