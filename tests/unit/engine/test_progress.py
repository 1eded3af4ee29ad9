"""What a sync counts: lag, attempts by how long they took, retries by a word, since when nothing is delivered."""

from __future__ import annotations

import pytest

from fuagent.engine import retry
from fuagent.engine.lifecycle import Event
from fuagent.engine.progress import DAY, DURATIONS, Progress
from fuagent.errors import TryAgainError, UnauthorisedError, WrongAnswerError
from fuagent.model import Outcome, Verdict


@pytest.fixture
def progress():
    found = Progress("orders")
    found.meet(Event.STREAM, 100.0)
    return found


def test_lag_begins_with_the_agent(progress):
    """Until it has caught up once, the service may be behind since the start."""
    assert progress.lag(130.0) == 30.0


def test_caught_up_is_no_lag_until_a_batch_is_on_its_way(progress):
    """From the first attempt on there is something that may not be there; caught up again, there is not."""
    progress.meet(Event.CAUGHT_UP, 110.0)
    quiet = progress.lag(150.0)
    progress.busy(150.0)
    waiting = progress.lag(157.0)
    progress.meet(Event.SENT, 158.0)
    progress.meet(Event.CAUGHT_UP, 158.0)

    assert (quiet, waiting, progress.lag(200.0)) == (0.0, 7.0, 0.0)


def test_a_commit_time_of_the_source_makes_the_lag_smaller(progress):
    """Under load nobody catches up, but what was delivered last tells how far it is; a clock ahead is no debt."""
    progress.last_change = 125.0
    behind = progress.lag(130.0)
    progress.last_change = 131.0

    assert (behind, progress.lag(130.0)) == (5.0, 0.0)


def test_the_time_to_loss_by_age_goes_by_what_surely_was_delivered(progress):
    """Lag alone does not tell it after a start: what waits may be days old. Unknown is unknown, and never too late."""
    untold = progress.room_seconds(130.0)
    progress.kept_seconds = 1000.0
    started = progress.room_seconds(130.0)
    progress.unread_since = 50.0
    by_place = progress.room_seconds(130.0)
    progress.last_change = 90.0
    by_change = progress.room_seconds(130.0)
    progress.meet(Event.CAUGHT_UP, 140.0)
    current = progress.room_seconds(500.0)
    progress.busy(500.0)
    waiting, gone = progress.room_seconds(530.0), progress.room_seconds(9000.0)
    progress.went_back()

    assert (untold, started, by_place, by_change) == (None, None, 920.0, 960.0)
    assert (current, waiting, gone, progress.room_seconds(530.0)) == (1000.0, 970.0, 0.0, None)


@pytest.mark.parametrize(
    ("kept", "passed", "near"),
    [
        (3600.0, 0.0, False),
        (3600.0, 1700.0, False),
        (3600.0, 1900.0, True),
        (7 * DAY, 5.9 * DAY, False),
        (7 * DAY, 6.1 * DAY, True),
        (7 * DAY, 8 * DAY, True),
        (None, 8 * DAY, False),
    ],
)
def test_loss_is_near_below_a_day_and_below_half(progress, kept, passed, near):
    """A server that keeps its log for an hour is no alarm by itself."""
    progress.kept_seconds = kept
    progress.meet(Event.CAUGHT_UP, 100.0)
    progress.busy(100.0)

    assert progress.loss_is_near(100.0 + passed) is near


def test_trouble_counts_from_its_beginning_until_something_is_delivered(progress):
    """Sessions that start anew and come no further do not begin the count again; a delivery ends it."""
    progress.meet(Event.RETRY, 110.0)
    progress.meet(Event.START, 120.0)
    progress.meet(Event.STREAM, 121.0)
    progress.meet(Event.RETRY, 122.0)
    since = progress.stalled_since
    progress.meet(Event.STREAM, 130.0)
    progress.meet(Event.SENT, 131.0)

    assert since == 110.0
    assert progress.stalled_since is None


def test_attempts_are_counted_by_how_long_they_took(progress):
    """A bound belongs to what lies below it; what took longer than all of them comes last."""
    for seconds in (0.001, DURATIONS[0], 0.3, 61.0):
        progress.attempted(seconds)

    assert progress.attempts[0] == 2
    assert progress.attempts[DURATIONS.index(0.5)] == 1
    assert progress.attempts[-1] == 1
    assert progress.attempt_seconds == pytest.approx(61.306)


@pytest.mark.parametrize(
    ("failure", "word"),
    [
        (Outcome(Verdict.RETRY, "503: at 10.0.0.7", case="408, 425, 429, 5xx"), "408, 425, 429, 5xx"),
        (Outcome(Verdict.RETRY, case="request 4711 failed"), "retry"),
        (Outcome(Verdict.WRONG_ANSWER), "wrong answer"),
        (UnauthorisedError("no."), "unauthorised"),
        (WrongAnswerError("a page."), "wrong answer"),
        (TryAgainError("the database is locked."), retry.SESSION),
    ],
)
def test_retries_are_counted_by_few_words(failure, word, progress):
    """A case of the table, or what kind of failure it was: never what a driver or a service says."""
    progress.retry(retry.reason(failure))

    assert progress.retried == {word: 1}
    assert progress.retries == 1
