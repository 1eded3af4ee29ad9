"""A soak's report says what was seen, and fails for what it must; its picture marks every fault."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from soak_course import Course, Plan, Sample
from soak_nemesis import Strike
from soak_picture import COLUMNS, ceiling, picture
from soak_report import failures, text

PLAN = Plan(seconds=1800, rate=1000, seed=1)


def course(**parts):
    """Half an hour in which all went well."""
    samples = [Sample(t, 1000 * t, 1000 * t - 5, 0.1, 2000 * t, 1, 70_000_000, 19, 4, 9000) for t in range(1, 1800)]
    service = {
        "counts": {"changes": 9, "duplicates, its reply was lost": 4},
        "delay": {"0.5": 0.01, "0.99": 1, "max": 5},
    }
    strikes = [Strike("agent", "kill agent", 10, 11), Strike("service", "service 503", 30, 34)]
    writers = {"tx": {"1": 900_000, "2": 900_000}, "altered": 3, "rolled back": 7}
    whole = {"samples": samples, "strikes": strikes, "writers": writers, "service": service, "to_zero": 1.5}
    return Course(**{**whole, **parts})


def grown(**parts):
    """Samples whose last third differs."""
    return [replace(one, **parts) if one.time > 1200 else one for one in course().samples]


def test_a_good_run_is_told():
    """The load, the faults by place, repeats with their reason, lag, memory and the verdict stand in it."""
    told = text(course(), PLAN, "a soak", "ended today")

    assert failures(course(), PLAN) == []
    for part in (
        "1000 commits/s asked of 2 sessions; 1000/s seen",
        "agent: kill agent 1",
        "service: service 503 1",
        "4 because its reply was lost",
        "to zero, under load: 1.5 s",
        "minutes 5 to 10 and 25 to 30",
        "memory 70.0 and 70.0 MB, +0.0 %",
        "file descriptors 19 and 19, threads 4 and 4",
        "Result: nothing lost",
    ):
        assert part in told


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"faults": ["row 5 is missing"]}, "row 5 is missing"),
        ({"to_zero": None}, "the lag was zero never"),
        ({"to_zero": 31.0}, "the lag was zero only 31.0 s"),
        ({"samples": grown(rss=78_000_000)}, "memory grew from 70.0 to 78.0 MB"),
        ({"samples": grown(fds=22)}, "fds grew from 19 to 22"),
        ({"samples": grown(threads=7)}, "threads grew from 4 to 7"),
        ({"samples": grown(life=2)}, "the agent's process ended"),
    ],
)
def test_each_promise_can_fail(parts, reason):
    """A fault, a lag that stays, and growth of each kind make the run fail and say why."""
    told = text(course(**parts), PLAN, "a soak", "ended today")

    assert [line for line in failures(course(**parts), PLAN) if line.startswith(reason)]
    assert "Result: FAILED" in told


def test_a_short_run_says_nothing_about_growth():
    """A process that has not yet met its largest backlog may grow."""
    short = replace(PLAN, seconds=600)

    assert failures(course(samples=grown(rss=140_000_000)), short) == []


def test_the_picture_shows_every_fault_and_few_points():
    """It is well-formed, has a mark with a name for each fault, and each curve is thinned."""
    drawn = ET.fromstring(picture(course(), PLAN, "a & b"))
    space = "{http://www.w3.org/2000/svg}"

    titles = [mark.findtext(f"{space}title") for mark in drawn.iter(f"{space}circle")]
    assert titles == ["kill agent, 10 s", "service 503, 30 s"]
    curves = [curve.get("points", "").split() for curve in drawn.iter(f"{space}polyline")]
    assert len(curves) == 4
    assert all(100 < len(points) <= COLUMNS for points in curves)


@pytest.mark.parametrize(
    ("value", "expected"), [(0, 1), (0.7, 1), (1, 1), (1.2, 2), (73, 100), (2300, 2500), (4001, 5000)]
)
def test_axes_end_at_round_numbers(value, expected):
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    assert ceiling(value) == pytest.approx(expected)
