"""The judge of a soak lets pass what is right and names everything that is not."""

from __future__ import annotations

import copy
import json

import pytest
import soak_judge
from soak_judge import Delays, Judge
from soak_table import check


def row(key, ver, tx, seq=1, writer=1, **more):
    """One event as a service gets it."""
    found = {"id": key, "ver": ver, "writer": writer, "tx": tx, "seq": seq, "born": 1000, "val": "Zoë", **more}
    return {**found, "chk": check(found), "_deleted": False}


def gone(key, index):
    """A mark that a row is deleted."""
    return {"id": key, "index": index, "_deleted": True}


SNAPSHOT = [row(1, 1, 1), row(2, 1, 1), row(3, 1, 1, index=10)]
STREAM = [
    row(1, 2, 2, index=12),
    row(2, 2, 3, index=14),
    row(4, 1, 3, seq=2, index=16),
    gone(3, 18),
    row(3, 3, 4, index=20),
    row(1, 3, 1, writer=2, index=22),
    row(1, 4, 5, index=24),
]


def batch(events, *, end=False, suggested=False):
    return {"events": events, "is_snapshot_end": end, "snapshot_sync_suggested": suggested}


def send(judge, events, key="1.s.1", **flags):
    """A batch that arrives and is applied."""
    told = judge.look(json.dumps(batch(events, **flags)).encode(), key)
    judge.apply(told, key, 1.5)


def judged(*batches):
    """A judge that saw the snapshot, and then these batches."""
    judge = Judge()
    send(judge, SNAPSHOT)
    send(judge, [], key="1.s.2", end=True)
    for number, events in enumerate(batches):
        send(judge, events, key=f"1.2.{number}")
    return judge


def test_what_is_right_passes():
    """A snapshot and a stream with updates, a delete, a return and two writers are without fault, and are held."""
    judge = judged(STREAM)

    assert judge.told == []
    assert {key: held["ver"] for key, held in judge.rows.items()} == {1: 4, 2: 2, 3: 3, 4: 1}
    assert judge.report()["tx"] == {"1": 5, "2": 1}
    assert judge.checkpoint == 24
    assert judge.counts["commits"] == 5
    assert judge.counts["changes"] == 7
    assert judge.delays.quantile(0.5) == pytest.approx(0.5, rel=0.1)


def test_batches_that_come_again_are_counted_and_not_applied():
    """After a lost reply, and after a restart: no fault, as long as it is the same."""
    judge = judged(STREAM)
    send(judge, STREAM, key="1.2.0")
    send(judge, STREAM[-1:], key="2.2.0")

    assert judge.told == []
    assert judge.counts["duplicates, its reply was lost"] == 7
    assert judge.counts["duplicates, read again after a restart"] == 1
    assert judge.counts["changes"] == 7


def test_what_was_refused_may_come_again():
    """A batch seen and not applied is applied later, in other pieces too."""
    judge = judged(STREAM[:2])
    judge.look(json.dumps(batch(STREAM[2:])).encode(), "1.2.1")
    send(judge, STREAM[2:4], key="2.2.0")
    send(judge, STREAM[4:], key="2.2.1")

    assert judge.told == []
    assert judge.counts["changes"] == 7


def changed(place, **values):
    """The stream with one event changed, whole in itself."""
    events = copy.deepcopy(STREAM)
    events[place] |= values
    events[place]["chk"] = check(events[place])
    return events


@pytest.mark.parametrize(
    ("stream", "kind"),
    [
        (STREAM[1:], "lost"),
        (STREAM[:3] + STREAM[4:], "lost"),
        (STREAM[:4] + STREAM[5:6], "transaction"),
        (changed(0, ver=1), "back"),
        (changed(6, ver=3), "back"),
        (changed(1, tx=2, seq=3), "statement"),
        (changed(1, tx=4), "transaction"),
        (changed(6, tx=4, seq=2), "torn"),
        (changed(2, index=13), "index"),
        ([STREAM[0], gone(4, 14)], "delete"),
        ([{**STREAM[0], "chk": 7}], "row"),
        ([{**STREAM[0], "val": "other"}], "row"),
    ],
)
def test_each_fault_in_a_stream_is_named(stream, kind):
    """A change left out, doubled, out of order, of another row or not whole."""
    judge = judged(stream)
    if kind == "transaction" and len(stream) == 5:
        send(judge, [row(2, 3, 6, index=30)], key="1.2.9")

    assert kind in judge.faults, judge.told


@pytest.mark.parametrize(
    ("events", "key", "flags", "kind"),
    [
        ([{**STREAM[-1], "val": "other"}], "2.2.0", {}, "index"),
        (STREAM[:3], "1.2.0", {}, "retry"),
        ([], "2.2.0", {"suggested": True}, "lost place"),
        ([], "2.2.0", {"end": True}, "snapshot"),
        ([row(9, 1, 1)], "2.2.0", {}, "snapshot"),
        ([row(2, 3, 6, index=23)], "2.2.0", {}, "index"),
    ],
)
def test_each_fault_in_a_later_batch_is_named(events, key, flags, kind):
    """Another content under an index, other bytes at a retry, a place lost, a snapshot nobody asked for."""
    judge = judged(STREAM)
    send(judge, events, key=key, **flags)

    assert list(judge.faults) == [kind]


def test_what_was_acknowledged_long_before_may_not_come_again(monkeypatch):
    """Beyond the indexes it remembers, a repeat is a fault, and what it remembers is bounded."""
    monkeypatch.setattr(soak_judge, "WINDOW", 3)
    judge = judged(STREAM)
    send(judge, STREAM[:1], key="2.2.0")

    assert list(judge.faults) == ["replay"]


def test_delays_are_told_by_their_share():
    """A median and a high quantile within a tenth, and the longest exactly."""
    delays = Delays()
    for number in range(1, 101):
        delays.add(number / 100)

    assert delays.quantile(0.5) == pytest.approx(0.5, rel=0.1)
    assert delays.quantile(0.99) == pytest.approx(0.99, rel=0.1)
    assert delays.longest == 1.0
    assert Delays().quantile(0.5) == 0.0
