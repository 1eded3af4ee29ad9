"""What is told: the listed fields and no other, and only what changed."""

from __future__ import annotations

import pytest
from console_agent import DETAIL, Standing, sync

from fuagent.console import picture
from fuagent.console.picture import Picture
from fuagent.console.samples import MINUTES, Hour
from fuagent.console.told import SnapshotTold


def words(text):
    return set(text.split())


OVERVIEW = words(
    "name state since needs_person problem fix gap rows batches bytes retries rejected rate lag behind_rows"
    " behind_bytes kept_bytes room_bytes kept_seconds loss_in loss_by loss_is_near snapshot"
)
DETAILS = words("tables mapping deletes source service checkpoint batches retrying notices rejected_rows actions")
ROW = words("number table at status reason")
AGENT = words("version agent_id started now host healthy journal_bytes writable")


def one(told, rate=0.0):
    """The overview of one sync that sends at this rate."""
    hour = Hour(0.0)
    hour.look(0.0, [sync(rows=told.rows - int(10 * rate))])
    hour.look(10.0, [told])
    return picture.overview(told, hour.of(told))


@pytest.mark.fault("S34")
def test_only_what_is_listed_gets_out():
    """The fields of every answer, each by its name; of a row set aside its number, table, time, status and reason."""
    detail = picture.detail(DETAIL)

    assert set(one(sync())) == OVERVIEW
    assert set(detail) == DETAILS
    assert [set(row) for row in detail["rejected_rows"]] == [ROW]
    assert set(picture.agent(Standing().about(), 2.0, writable=True)) == AGENT


@pytest.mark.parametrize(
    ("told", "rate", "percent", "left"),
    [
        (SnapshotTold(250, 1000, "asked", 1.0, None), 50.0, 25.0, 15),
        (SnapshotTold(1100, 1000, "asked", 1.0, None), 50.0, 100.0, 0),
        (SnapshotTold(250, 1000, "asked", 1.0, None), 0.0, 25.0, None),
        (SnapshotTold(250, None, "asked", 1.0, None), 50.0, None, None),
        (SnapshotTold(0, 0, "asked", None, 12.4), 0.0, None, None),
    ],
)
def test_how_far_a_snapshot_is(told, rate, percent, left):
    """Never more than all, and nothing that is not known."""
    shown = one(sync(snapshot=told, rows=5000), rate)["snapshot"]

    assert (shown["percent"], shown["left_seconds"]) == (percent, left)
    assert shown["waits"] == (None if told.waits is None else 12)


def test_the_time_to_loss_is_the_smaller_one():
    """By pace or by age, and which of them it is; near is a day at this pace, and for an age what the agent says."""
    seen = {}
    for name, (room, by_age, near) in {
        "neither": (None, None, False),
        "pace": (864_000, None, False),
        "pace, near": (863_000, None, False),
        "age": (None, 604_799.6, False),
        "age, short": (None, 95.4, True),
        "age before pace": (864_000, 3600.0, True),
        "pace before age": (863_000, 604_800.0, False),
    }.items():
        hour = Hour(0.0)
        told = sync(kept_bytes=1000, room_bytes=room, room_seconds=by_age, loss_is_near=near)
        hour.look(0.0, [told])
        hour.measured(0.0, [sync(kept_bytes=0)])
        hour.measured(100.0, [told])
        shown = picture.overview(told, hour.of(told))
        seen[name] = (shown["loss_in"], shown["loss_by"], shown["loss_is_near"])

    assert seen == {
        "neither": (None, None, False),
        "pace": (86_400, "pace", False),
        "pace, near": (86_300, "pace", True),
        "age": (604_800, "age", False),
        "age, short": (95, "age", True),
        "age before pace": (3600, "age", True),
        "pace before age": (86_300, "pace", True),
    }


@pytest.fixture
def scene():
    """Two syncs, and their picture looked at once."""
    agent = Standing(sync("a"), sync("b"))
    hour = Hour(0.0)
    hour.look(0.0, agent.syncs())
    shown = Picture(agent, hour)
    shown.look()
    return agent, hour, shown


def test_only_what_changed_is_told(scene):
    """A sync that stands still is not sent again; whoever saw less is told more."""
    agent, _, shown = scene
    first = shown.number
    shown.look()
    still = shown.changes(first, 0.0)
    agent.all[1] = sync("b", state="halted")
    shown.look()
    second = shown.number
    agent.all[0] = sync("a", rows=5)
    shown.look()

    assert still == []
    assert [told["name"] for told in shown.changes(second, 0.0)] == ["a"]
    assert {told["name"] for told in shown.changes(first, 0.0)} == {"a", "b"}
    assert "history" not in shown.changes(first, 0.0)[0]
    assert not shown.other_syncs(first)


def test_a_new_minute_brings_the_history_along(scene):
    """To all of them, once."""
    agent, hour, shown = scene
    seen = shown.number
    hour.look(61.0, agent.syncs())
    shown.look()
    told = shown.changes(seen, 1000.0)
    seen = shown.number
    shown.look()

    assert [one["name"] for one in told] == ["a", "b"]
    assert told[0]["history"]["until"] == 1059
    assert len(told[0]["history"]["rate"]) == len(told[0]["history"]["lag"]) == MINUTES
    assert shown.changes(seen, 1001.0) == []


def test_syncs_that_come_or_go_are_seen(scene):
    """Then a page needs everything anew, in the order of the configuration."""
    agent, _, shown = scene
    seen = shown.number
    agent.all = [sync("c"), sync("a")]
    shown.look()

    assert shown.other_syncs(seen)
    assert not shown.other_syncs(shown.number)
    assert [told["name"] for told in shown.whole(0.0, writable=False)["syncs"]] == ["c", "a"]
