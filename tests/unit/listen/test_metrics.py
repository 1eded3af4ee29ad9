"""Metrics as Prometheus' own parser reads them, and when the agent counts as ready."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fuagent import metrics
from fuagent.contract.outcome import CASES
from fuagent.engine import retry
from fuagent.engine.lifecycle import Event, State
from fuagent.engine.progress import DURATIONS, Progress
from fuagent.metrics import STUCK_AFTER, Exhibit, unready

NOW = 1_700_000_000.0


def figures(*syncs: Progress, now: float = NOW) -> dict[tuple[str, ...], float]:
    """Every sample on the page of ours, by its name and label values, the sync's first."""
    text = metrics.page(Exhibit(lambda: syncs, lambda: 4096, lambda: now)).decode()
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels, key=lambda name: name != "sync"))): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("fuagent_")
    }


def streaming(name: str = "orders") -> Progress:
    """A sync that has delivered something."""
    progress = Progress(name, since=NOW)
    progress.meet(Event.STREAM, NOW)
    progress.meet(Event.SENT, NOW)
    return progress


@pytest.mark.fault("F37", "F91", "F105")
def test_every_figure_of_a_sync_is_there():
    """What was counted is what is read, under the name of the sync."""
    progress = streaming()
    progress.rows, progress.bytes, progress.batches, progress.index = 7, 700, 3, 41
    progress.rejected, progress.left_out = 2, 5
    progress.behind_bytes, progress.behind_rows = 900, 9
    progress.kept_bytes, progress.room_bytes = 1000, 77
    progress.kept_seconds, progress.last_change = 3600, NOW - 100
    progress.snapshot_rows, progress.snapshot_total, progress.last_sent = 4, 8, NOW - 1
    progress.snapshot_since = NOW - 60
    progress.retry("timeout")

    found = figures(progress, now=NOW + 3)

    assert {name[0].removeprefix("fuagent_"): value for name, value in found.items() if name[1:] == ("orders",)} == {
        "rows_total": 7,
        "bytes_total": 700,
        "batches_total": 3,
        "lag_seconds": 3,
        "lag_bytes": 900,
        "lag_rows": 9,
        "log_kept_bytes": 1000,
        "log_room_bytes": 77,
        "log_kept_seconds": 3600,
        "log_room_seconds": 3497,
        "gap": 0,
        "acknowledged_index": 41,
        "last_sent_timestamp_seconds": NOW - 1,
        "rejected_rows": 2,
        "left_out_rows_total": 5,
        "snapshot_rows": 4,
        "snapshot_expected_rows": 8,
        "snapshot_held_seconds": 63,
        "attempt_duration_seconds_count": 0,
        "attempt_duration_seconds_sum": 0,
    }
    assert found["fuagent_retries_total", "orders", "timeout"] == 1
    assert found["fuagent_journal_bytes",] == 4096


def test_what_is_not_known_is_left_out():
    """A source that cannot tell bytes gives none, and not a zero that looks like no lag."""
    found = figures(streaming())

    assert ("fuagent_lag_bytes", "orders") not in found
    assert ("fuagent_snapshot_expected_rows", "orders") not in found
    assert ("fuagent_log_kept_seconds", "orders") not in found
    assert ("fuagent_log_room_seconds", "orders") not in found


def test_exactly_one_state_is_in_force():
    """Every state of the lifecycle is a series; a gap is shown as status shows it."""
    progress = streaming()
    progress.gap = "purged"
    found = {name[2]: value for name, value in figures(progress).items() if name[0] == "fuagent_sync_state"}

    assert found == {str(state): float(state is State.LOST_PLACE) for state in State}


def test_durations_are_a_histogram():
    """Each bucket holds those below it, and the last holds all."""
    progress = streaming()
    for seconds in (0.001, 0.02, 100.0):
        progress.attempted(seconds)
    found = figures(progress)
    buckets = [found["fuagent_attempt_duration_seconds_bucket", "orders", str(bound)] for bound in DURATIONS]

    assert buckets == [1, 1, *[2] * (len(DURATIONS) - 2)]
    assert found["fuagent_attempt_duration_seconds_bucket", "orders", "+Inf"] == 3
    assert found["fuagent_attempt_duration_seconds_sum", "orders"] == pytest.approx(100.021)


def test_series_do_not_grow_with_data():
    """All reasons there can be, once each, for one sync: a bounded page."""
    progress = streaming()
    words = [*CASES, *retry.REASONS]
    for word in words * 2:
        progress.retry(word)

    found = figures(progress)

    assert len([name for name in found if name[0] == "fuagent_retries_total"]) == len(words)
    assert len(found) < 90


def test_a_name_cannot_break_out_of_its_label():
    """Quotes and line breaks in a name stay in it."""
    found = figures(streaming('a"} 1\nfuagent_rows_total{sync="b'))

    assert {name[1] for name in found if name[0] == "fuagent_rows_total"} == {'a"} 1\nfuagent_rows_total{sync="b'}


def reasons(progress: Progress, later: float = 0.0) -> list[str]:
    return list(unready([progress], NOW + later))


def test_ready_is_an_agent_whose_syncs_work():
    """Streaming, retrying for a moment, paused: none of it wants a person."""
    retrying = streaming()
    retrying.meet(Event.RETRY, NOW)
    paused = streaming()
    paused.meet(Event.RETRY, NOW)
    paused.meet(Event.PAUSE, NOW)

    assert reasons(streaming(), 1e6) == []
    assert reasons(retrying, STUCK_AFTER) == []
    assert reasons(paused, 1e6) == []


@pytest.mark.parametrize("event", [Event.RETRY, Event.WRONG_ANSWER, Event.UNAUTHORISED, Event.START])
def test_stuck_is_trouble_without_a_delivery_for_minutes(event):
    """It counts from the first failure, through sessions that start anew and come no further."""
    progress = streaming()
    progress.meet(event, NOW)
    progress.meet(Event.START, NOW + 200)
    progress.meet(Event.STREAM, NOW + 201)
    before = reasons(progress, STUCK_AFTER)
    [line] = reasons(progress, STUCK_AFTER + 1)
    progress.meet(Event.SENT, NOW + STUCK_AFTER + 2)

    assert before == []
    assert line == "orders: stuck; streaming, and nothing was delivered for 301 s"
    assert reasons(progress, 1e6) == []


def test_a_start_that_never_ends_is_stuck():
    """A source that neither opens nor fails does not look ready for ever."""
    progress = Progress("orders", since=NOW)

    assert reasons(progress) == []
    assert len(reasons(progress, STUCK_AFTER + 1)) == 1


def test_halted_and_lost_are_not_ready_at_once():
    """One line each, with the name of the sync and without the text of the trouble."""
    halted = streaming("a")
    halted.problem = "one row is refused"
    halted.meet(Event.HALT, NOW)
    lost = streaming("b")
    lost.gap = "binlog.000007 is gone"

    found = list(unready([halted, streaming("c"), lost], NOW))

    assert [line.partition(":")[0] for line in found] == ["a", "b"]
    assert "refused" not in found[0]
    assert "binlog" not in found[1]
