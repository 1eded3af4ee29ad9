"""Rate, lag and pace from looks at a counter, with time that the test moves."""

from __future__ import annotations

import pytest
from console_agent import sync

from fuagent.console.samples import MINUTES, Hour


def looked(*looks, hour=None):
    """Samples of one sync after looks at (time, changes)."""
    hour = hour or Hour(looks[0][0])
    told = sync()
    for now, changes in looks:
        told = sync(**changes)
        hour.look(now, [told])
    return hour.of(told)


def test_a_rate_is_taken_over_seconds():
    """What came before them counts no more, and a single look is no rate."""
    first = looked((0.0, {"rows": 50}))
    many = looked(*((float(now), {"rows": 1000 * min(now, 5)}) for now in range(11)))
    later = looked(*((float(now), {"rows": 1000 * min(now, 5)}) for now in range(31)))

    assert first.rate == 0.0
    assert many.rate == 500.0
    assert later.rate == 0.0


def test_minutes_follow_each_other():
    """Each holds its own mean rate and its largest lag; the last still grows, and those before are unknown."""
    samples = looked(
        (0.0, {}),
        (30.0, {"rows": 600, "lag": 9.0}),
        (59.0, {"rows": 1180, "lag": 1.0}),
        (60.0, {"rows": 1200, "lag": 2.0}),
        (90.0, {"rows": 1200, "lag": 3.04}),
    )

    assert len(samples.rates) == len(samples.lags) == MINUTES
    assert list(samples.rates)[-3:] == [None, 20.0, pytest.approx(20 / 30, abs=0.1)]
    assert list(samples.lags)[-3:] == [None, 9.0, 3.0]


def test_a_minute_that_begins_makes_no_peak():
    """A batch in its first second counts over the last seconds, not over that second."""
    samples = looked(*((float(now), {"rows": 10_000 if now > 60 else 0}) for now in range(50, 62)))

    assert list(samples.rates)[-2:] == [0.0, 1000.0]


def test_a_minute_that_nobody_saw_is_unknown():
    """A machine that slept leaves a hole and no zero; hours of sleep leave nothing."""
    nap = looked((0.0, {}), (10.0, {"lag": 1.0}), (190.0, {"lag": 2.0}))
    night = looked((0.0, {}), (10.0, {"lag": 1.0}), (90_000.0, {"lag": 2.0}))

    assert list(nap.lags)[-4:] == [1.0, None, None, 2.0]
    assert list(night.lags) == [None] * (MINUTES - 1) + [2.0]


def test_a_sync_made_anew_counts_from_nothing():
    """A reload is no negative rate."""
    samples = looked((0.0, {"rows": 5000}), (1.0, {"rows": 6000}), (2.0, {"rows": 0}), (4.0, {"rows": 20}))

    assert samples.rate == 10.0
    assert samples.rates[-1] == 10.0


def test_who_is_gone_is_forgotten():
    """A sync that comes back begins its history anew, and one that was never seen has none."""
    hour = Hour(0.0)
    hour.look(0.0, [sync("a", lag=5.0), sync("b")])
    hour.look(1.0, [sync("b")])
    hour.look(2.0, [sync("a"), sync("b")])

    assert hour.of(sync("a")).lags[-1] == 0.0
    assert hour.of(sync("c")).rates[-1] is None
    assert hour.rest == 58.0


def test_the_time_to_loss_comes_from_the_pace():
    """So many bytes more at the pace of the last minutes; unknown at rest, without a limit, or without a log."""
    hour = Hour(0.0)
    samples = looked((0.0, {}), hour=hour)
    hour.measured(0.0, [sync(kept_bytes=1000), sync("stranger", kept_bytes=1)])
    once = samples.loss_in(5000)
    for now in range(100, 1300, 100):
        hour.measured(float(now), [sync(kept_bytes=1000 + 10 * now)])
    growing, unlimited = samples.loss_in(5000), samples.loss_in(None)
    reach = samples.kept[-1][0] - samples.kept[0][0]
    hour.measured(2000.0, [sync(kept_bytes=0)])
    shrinking = samples.loss_in(5000)
    hour.measured(2100.0, [sync()])

    assert (once, growing, unlimited, shrinking) == (None, 500, None, None)
    assert reach <= 700
    assert not samples.kept
