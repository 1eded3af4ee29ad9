"""The start table, row by row, each driven through a whole pipeline: what is sent, what is remembered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import pytest
from engine_world import World

from fuagent.engine.lifecycle import State
from fuagent.engine.start import TABLE, Do, Facts, decide
from fuagent.errors import HaltSyncError, TryAgainError, UnauthorisedError, WrongAnswerError
from fuagent.journal import SnapshotRecord, SyncRecord
from fuagent.model import Answer, Batch, Checkpoint
from fuagent.testing.database import STRIDE
from fuagent.testing.service import UNAVAILABLE, Reply, Request, Store

S = STRIDE // 2
"""What S lies above the last row image before it."""


async def lived(world: World) -> None:
    """A first life: three rows in a snapshot, then two changes of one row each; images 1 to 5."""
    world.put(1, 2, 3)
    world.begin()
    await world.caught_up()
    world.put(4)
    world.put(5)
    await world.caught_up()
    await world.end()


def sent(world: World, since: int) -> list[Request]:
    return world.service.taken[since:]


def ids(requests: list[Request]) -> list[int]:
    return [event["id"] for request in requests for event in request.events]


def indexes(requests: list[Request]) -> list[int]:
    return [index for request in requests for index in request.indexes]


def flags(requests: list[Request]) -> set[bool]:
    return {request.batch.snapshot_sync_suggested for request in requests}


def ends(requests: list[Request]) -> int:
    return sum(request.batch.is_snapshot_end for request in requests)


@dataclass(frozen=True, slots=True)
class Case:
    """``row``: the table's row it passes through, "" where there is none. ``play`` does it and says what holds."""

    name: str
    row: str
    play: Callable[[World], Awaitable[None]]


CASES: list[Case] = []


def case(name: str, row: str):
    def keep(play):
        CASES.append(Case(name, row, play))
        return play

    return keep


def _no_answer(error: Exception, state: State):
    async def play(world: World) -> None:
        await lived(world)
        at, before = len(world.service.requests), world.record
        world.service.questions.extend([error] * 5)
        asked = world.service.asked
        world.put(6)
        world.begin()
        await world.until(lambda: world.service.asked == asked + 3)
        assert world.progress.state in (state, State.STARTING)
        assert world.service.requests[at:] == []
        await world.until(lambda: world.service.asked == asked + 6)
        await world.caught_up()
        assert ids(sent(world, at)) == [6]
        assert world.record.snapshots == before.snapshots

    return play


for _name, _error, _state in (
    ("unreachable", TryAgainError("the service answers 503."), State.RETRYING),
    ("401", UnauthorisedError("the service answers 401."), State.UNAUTHORISED),
    ("a page", WrongAnswerError("a page came back."), State.WRONG_ANSWER),
):
    case(f"no answer: {_name}", "")(_no_answer(_error, _state))


@case("not an index", "")
async def _(world: World) -> None:
    await lived(world)
    at = len(world.service.requests)
    world.service.questions.append(HaltSyncError("the checkpoint is not an integer.", where="memory://status"))
    world.begin()
    await world.over()
    assert world.progress.state is State.HALTED
    assert "not an integer" in world.progress.problem
    assert world.service.requests[at:] == []


@case("no status endpoint, nothing yet", "nothing acknowledged")
async def _(world: World) -> None:
    world.service.remembers = False
    world.put(1, 2)
    world.begin()
    await world.caught_up()
    requests = sent(world, 0)
    assert (ids(requests), indexes(requests), ends(requests)) == ([1, 2], [2 * STRIDE + S], 1)


@case("no status endpoint, the journal knows", "known")
async def _(world: World) -> None:
    world.service.remembers = False
    await lived(world)
    at = len(world.service.taken)
    world.put(6)
    world.begin()
    await world.caught_up()
    requests = sent(world, at)
    assert (ids(requests), indexes(requests), flags(requests)) == ([6], [6 * STRIDE], {False})


@case("no status endpoint, only the end marker is due", "marker")
async def _(world: World) -> None:
    world.service.remembers = False
    await _cut_off_before_the_marker(world)
    world.put(6)
    world.begin()
    await world.caught_up()
    requests = sent(world, 1)
    assert requests[0].batch.is_snapshot_end
    assert (ids(requests), ends(requests)) == ([6], 1)


@case("no status endpoint, the anchors are damaged", "still missing")
async def _(world: World) -> None:
    world.service.remembers = False
    await lived(world)
    at = len(world.service.taken)
    world.begin()
    world.journal.sync("orders").forget_anchors()
    await world.end()
    world.begin()
    await world.until(lambda: world.record.snapshots == 2)
    assert ids(sent(world, at)) == [1, 2, 3, 4, 5]
    assert any("everything is sent again" in notice for notice in world.progress.notices)


@case("404, nothing acknowledged", "nothing acknowledged")
async def _(world: World) -> None:
    world.put(1, 2)
    world.begin()
    await world.caught_up()
    requests = sent(world, 0)
    assert (ids(requests), indexes(requests), flags(requests), ends(requests)) == ([1, 2], [2 * STRIDE + S], {False}, 1)
    assert world.service.store.checkpoint == 2 * STRIDE + S
    assert world.record.acknowledged == 2 * STRIDE + S
    assert world.record.snapshots == 1


@case("0, nothing acknowledged", "nothing acknowledged")
async def _(world: World) -> None:
    world.service.questions.append(Checkpoint(Answer.INDEX, 0))
    world.put(1)
    world.begin()
    await world.caught_up()
    assert ends(sent(world, 0)) == 1


@case("404 for a moment, rows acknowledged", "missing")
async def _(world: World) -> None:
    await lived(world)
    at = len(world.service.taken)
    world.service.questions.extend([Checkpoint(Answer.NONE)] * 3)
    world.put(6)
    began = world.clock.monotonic()
    world.begin()
    await world.until(lambda: world.progress.state is State.RETRYING)
    assert "asking again" in world.progress.problem
    await world.caught_up()
    assert 15 <= world.clock.monotonic() - began < 31
    assert (ids(sent(world, at)), world.record.snapshots, world.progress.problem) == ([6], 1, "")


@pytest.mark.parametrize("none", [Checkpoint(Answer.NONE), Checkpoint(Answer.INDEX, 0)], ids=["404", "0"])
@pytest.mark.fault("F100")
def test_missing_for_good(none):
    """404 or 0 for half a minute although rows were taken: said loudly, then from the beginning."""

    async def play(world: World) -> None:
        await lived(world)
        at = len(world.service.taken)
        world.service.store = Store()
        world.service.questions.extend([none] * 7)
        began = world.clock.monotonic()
        world.begin()
        await world.until(lambda: len(world.service.taken) > at)
        assert world.clock.monotonic() - began >= 30
        await world.caught_up()
        requests = sent(world, at)
        assert (ids(requests), indexes(requests), ends(requests)) == ([1, 2, 3, 4, 5], [5 * STRIDE + S], 1)
        assert any("everything is sent again from the beginning" in notice for notice in world.progress.notices)
        assert flags(requests) == {False}

    World().run(play)


@case("404 for good, rows acknowledged", "still missing")
async def _(world: World) -> None:
    await lived(world)
    world.service.store = Store()
    world.begin()
    await world.caught_up()
    assert world.record.snapshots == 2


async def _cut_off_before_the_marker(world: World) -> None:
    world.put(1, 2, 3)
    world.service.rule = lambda batch: Reply(UNAVAILABLE) if batch.is_snapshot_end else None
    world.begin()
    await world.until(lambda: any(request.batch.is_snapshot_end for request in world.service.requests))
    await world.end()
    world.service.rule = lambda _batch: None


@case("N is S of the snapshot that was cut off", "marker")
async def _(world: World) -> None:
    await _cut_off_before_the_marker(world)
    world.put(6)
    world.begin()
    await world.caught_up()
    requests = sent(world, 1)
    assert requests[0].batch.is_snapshot_end
    assert (ids(requests), indexes(requests), ends(requests)) == ([6], [4 * STRIDE], 1)
    assert world.record.snapshots == 1


@case("N, a snapshot is pending", "snapshot due")
async def _(world: World) -> None:
    await lived(world)
    at = len(world.service.taken)
    world.begin()
    world.sync.ledger.save(snapshot=SnapshotRecord(cause="by hand"))
    await world.end()
    world.put(6)
    world.begin()
    await world.caught_up()
    requests = sent(world, at)
    assert ids(requests) == [6, 1, 2, 3, 4, 5, 6]
    assert (indexes(requests), ends(requests)) == ([6 * STRIDE, 6 * STRIDE + S], 1)


@case("N, a snapshot was under way", "snapshot due")
async def _(world: World) -> None:
    world.settings = replace(world.settings, batch_size=1)
    await lived(world)
    at = len(world.service.taken)

    def cut_off(batch: Batch) -> Reply | None:
        return Reply(UNAVAILABLE) if b'"id":3' in b"".join(batch.events) else None

    world.begin()
    world.sync.ledger.save(snapshot=SnapshotRecord(cause="by hand"))
    world.service.rule = cut_off
    await world.until(lambda: any(request.outcome is UNAVAILABLE for request in world.service.requests))
    await world.end()
    world.service.rule = lambda _batch: None
    assert ids(sent(world, at)) == [1, 2]
    world.delete(1)
    world.begin()
    await world.caught_up()
    assert ids(sent(world, at)) == [1, 2, 1, 2, 3, 4, 5]
    assert ends(sent(world, at)) == 1


@case("N is an anchor's index", "known")
async def _(world: World) -> None:
    await lived(world)
    at = len(world.service.taken)
    world.put(6)
    world.begin()
    await world.caught_up()
    requests = sent(world, at)
    assert (ids(requests), indexes(requests), flags(requests), ends(requests)) == ([6], [6 * STRIDE], {False}, 0)


@case("N is met behind an anchor, inside a transaction", "known")
async def _(world: World) -> None:
    world.settings = replace(world.settings, batch_size=2)
    await lived(world)
    world.crash_on = lambda step: step == "service: answered"
    world.put(6, 7, 8)
    at = len(world.service.taken)
    world.begin()
    await world.clock.sleep(5)
    await world.end()
    world.crash_on = lambda _step: False
    assert world.service.store.checkpoint == 7 * STRIDE
    world.begin()
    await world.caught_up()
    requests = sent(world, at)
    assert (ids(requests), indexes(requests)) == ([6, 7, 8], [6 * STRIDE, 7 * STRIDE, 8 * STRIDE])
    assert flags(requests) == {False}


@case("N lower, the log still has it", "known")
async def _(world: World) -> None:
    await lived(world)
    at = len(world.service.taken)
    world.service.store.checkpoint = 4 * STRIDE
    world.begin()
    await world.until(lambda: len(world.service.taken) > at)
    requests = sent(world, at)
    assert (ids(requests), indexes(requests), flags(requests)) == ([5], [5 * STRIDE], {False})
    assert any("went back" in notice for notice in world.progress.notices)


@case("N lower, the log has it no more", "known")
async def _(world: World) -> None:
    await lived(world)
    at = len(world.service.taken)
    world.service.store.checkpoint = 4 * STRIDE
    world.service.accepts = False
    world.database.purge(3)
    world.put(6)
    world.begin()
    await world.until(lambda: 6 in ids(sent(world, at)))
    requests = sent(world, at)
    assert flags(requests) == {True}
    assert min(indexes(requests)) > 5 * STRIDE
    assert "is gone" in world.record.gap or "is not in the log" in world.record.gap


@pytest.mark.parametrize("number", [3 * STRIDE + S + 1, 5 * STRIDE + 1, 1_000_000, 2**52])
def test_foreign_checkpoint(number):
    """A number this log never gave, inside it or beyond: a gap, and what follows is numbered above."""

    async def play(world: World) -> None:
        await lived(world)
        at = len(world.service.taken)
        world.service.accepts = False
        world.service.store.checkpoint = number
        world.put(6)
        world.begin()
        await world.until(lambda: 6 in ids(sent(world, at)))
        requests = sent(world, at)
        assert flags(requests) == {True}
        assert min(indexes(requests)) > max(number, 5 * STRIDE)
        assert world.record.gap
        assert world.progress.shown is State.LOST_PLACE

    World().run(play)


@case("foreign checkpoint", "known")
async def _(world: World) -> None:
    await lived(world)
    at = len(world.service.taken)
    world.service.store.checkpoint = 1_000_000
    world.begin()
    await world.until(lambda: world.record.snapshots == 2)
    requests = sent(world, at)
    assert requests[0].batch.snapshot_sync_suggested
    assert requests[-1].batch.is_snapshot_end
    assert indexes(requests)[-1] == world.service.store.checkpoint > 1_000_000


@case("journal lost, the number alone is exact", "journal lost")
async def _(world: World) -> None:
    await lived(world)
    at = len(world.service.taken)
    world.lose_journal()
    world.service.accepts = False
    world.begin()
    await world.until(lambda: world.progress.state is State.CAUGHT_UP)
    assert world.progress.unproven
    world.put(6)
    await world.caught_up()
    world.put(7)
    await world.caught_up()
    first, second = sent(world, at)
    assert (indexes([first]), indexes([second])) == ([6 * STRIDE], [7 * STRIDE])
    assert (flags([first]), flags([second])) == ({True}, {False})
    assert not world.progress.unproven


@case("journal lost, checkpoint trusted", "journal lost")
async def _(world: World) -> None:
    world.settings = replace(world.settings, trust_checkpoint=True)
    await lived(world)
    at = len(world.service.taken)
    world.lose_journal()
    world.put(6)
    world.begin()
    await world.caught_up()
    requests = sent(world, at)
    assert (ids(requests), flags(requests)) == ([6], {False})


@case("journal lost, the number alone is no proof", "journal lost")
async def _(world: World) -> None:
    await lived(world)
    at = len(world.service.taken)
    world.lose_journal()
    world.database.purge(2)
    world.service.accepts = False
    world.service.store.checkpoint = 2 * STRIDE
    world.begin()
    await world.until(lambda: len(world.service.taken) > at)
    assert flags(sent(world, at)) == {True}
    assert world.record.gap


@case("an agent that never got through leaves no knowledge", "journal lost")
async def _(world: World) -> None:
    await lived(world)
    world.lose_journal()
    world.service.questions.extend([TryAgainError("down.")] * 2)
    world.begin()
    await world.until(lambda: world.progress.state is State.RETRYING)
    await world.end(kill=False)
    world.service.questions.clear()
    world.begin()
    await world.until(lambda: world.progress.state is State.CAUGHT_UP)
    assert world.progress.unproven


@pytest.mark.parametrize("each", CASES, ids=lambda each: each.name)
def test_row(each, monkeypatch):
    """The row that fits is the one named, and what follows is what the table says."""
    passed: list[str] = []

    def watched(facts: Facts):
        row = decide(facts)
        passed.append(row.name)
        return row

    monkeypatch.setattr("fuagent.engine.start.decide", watched)
    World().run(each.play)

    assert not each.row or each.row in passed


def test_every_row_is_played():
    """No row of the table is without its case, and every deed is among them."""
    assert {row.name for row in TABLE} <= {each.row for each in CASES}
    assert set(Do) == {row.do for row in TABLE}


def facts(answer: Checkpoint, record: SyncRecord, *, known: bool = True, waited: float = 0.0) -> Facts:
    return Facts(answer, record, known=known, waited=waited)


@pytest.mark.parametrize(
    ("given", "do"),
    [
        (facts(Checkpoint(Answer.INDEX, 5), SyncRecord(snapshot=SnapshotRecord("running", index=5))), Do.END_MARKER),
        (facts(Checkpoint(Answer.INDEX, 5), SyncRecord(snapshot=SnapshotRecord("pending", index=5))), Do.SNAPSHOT),
        (
            facts(Checkpoint(Answer.INDEX, 5), SyncRecord(snapshot=SnapshotRecord("rows_done", index=6))),
            Do.SNAPSHOT,
        ),
        (
            facts(Checkpoint(Answer.INDEX, 5), SyncRecord(snapshot=SnapshotRecord("running", index=5, tables=("b",)))),
            Do.SNAPSHOT,
        ),
        # A snapshot whose last row has no index yet is not there because the service has none either.
        (facts(Checkpoint(Answer.INDEX, 0), SyncRecord(snapshot=SnapshotRecord("running", index=0))), Do.BEGIN),
        (facts(Checkpoint(Answer.NONE), SyncRecord(snapshot=SnapshotRecord("rows_done", index=5))), Do.BEGIN),
        (facts(Checkpoint(Answer.NO_ENDPOINT), SyncRecord(snapshot=SnapshotRecord("rows_done"))), Do.END_MARKER),
        (facts(Checkpoint(Answer.NONE), SyncRecord(acknowledged=7), waited=29.9), Do.ASK_AGAIN),
        (facts(Checkpoint(Answer.NONE), SyncRecord(acknowledged=7), waited=30.0), Do.BEGIN),
        (facts(Checkpoint(Answer.NONE), SyncRecord(), waited=0.0), Do.BEGIN),
        (facts(Checkpoint(Answer.NO_ENDPOINT), SyncRecord(), known=False), Do.BEGIN),
        # An empty table: nothing was acknowledged, but the journal knows that it was snapshotted.
        (facts(Checkpoint(Answer.NO_ENDPOINT), SyncRecord(snapshots=1)), Do.RESUME),
        (facts(Checkpoint(Answer.INDEX, 5), SyncRecord(), known=False), Do.RESUME_UNPROVEN),
    ],
)
def test_decide(given, do):
    """What is known decides alone; edges between the rows."""
    assert do is decide(given).do
