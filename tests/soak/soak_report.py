"""What a soak found, as text: the load, what broke, how far the service fell behind, what the agent took, the verdict."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median

from soak_course import Course, Plan, Sample

TO_ZERO = 30.0
"""Seconds after the last fault within which the lag must be zero."""
GROWTH = 1.10
"""What memory may grow by from the second sixth of the time to the last."""
MORE = 2
"""File descriptors, and threads, that may be there more at the end: one connection is being made anew at any time."""
LONG = 1500.0
"""Seconds from which on a run says something about growth.

Each larger backlog than any before makes a process grow a little: it takes some minutes to have met them all.
"""
MEGABYTE = 1e6


def windows(course: Course, plan: Plan) -> tuple[list[Sample], list[Sample]]:
    """The samples of the second sixth of the time and of the last: minutes 5 to 10 and 25 to 30 of 30."""
    sixth = plan.seconds / 6
    alive = [sample for sample in course.samples if sample.rss]
    first = [sample for sample in alive if sixth <= sample.time < 2 * sixth]
    return first, [sample for sample in alive if 5 * sixth <= sample.time < plan.seconds]


def failures(course: Course, plan: Plan) -> list[str]:
    """Everything that is not as it should be, one line each."""
    found = list(course.faults)
    if course.to_zero is None or course.to_zero > TO_ZERO:
        took = "never" if course.to_zero is None else f"only {course.to_zero:.1f} s after it"
        found.append(f"the lag was zero {took}, and {TO_ZERO:.0f} s after the last fault it should have been")
    return found + _grown(course, plan) if plan.seconds >= LONG else found


def _grown(course: Course, plan: Plan) -> list[str]:
    first, last = windows(course, plan)
    found = []
    if len({sample.life for sample in first + last}) > 1:
        found.append("the agent's process ended although nobody killed it")
    if _mean_rss(last) > GROWTH * _mean_rss(first):
        found.append(f"memory grew from {_mean_rss(first):.1f} to {_mean_rss(last):.1f} MB")
    for name in ("fds", "threads"):
        before, after = _middle(first, name), _middle(last, name)
        if after > before + MORE:
            found.append(f"{name} grew from {before:g} to {after:g}")
    return found


def _mean_rss(samples: Sequence[Sample]) -> float:
    return fmean([sample.rss for sample in samples] or [0]) / MEGABYTE


def _middle(samples: Sequence[Sample], name: str) -> float:
    return float(median([getattr(sample, name) for sample in samples] or [0]))


def text(course: Course, plan: Plan, title: str, ended: str) -> str:
    """The report."""
    found = failures(course, plan)
    parts = [
        [f"{title}, {plan.seconds / 60:g} minutes, seed {plan.seed}", f"{_machine()}; {ended}"],
        _load(course, plan),
        _broken(course),
        _lag(course),
        _agent(course, plan),
        ["Result: nothing lost, order kept, both sides equal"] if not found else ["Result: FAILED", *found],
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def _load(course: Course, plan: Plan) -> list[str]:
    writers, counts = course.writers, course.service["counts"]
    done = sum(writers["tx"].values())
    rates = [after.committed - before.committed for before, after in pairwise(course.samples)]
    return [
        (
            f"Load: {plan.rate:g} commits/s asked of {len(writers['tx'])} sessions; {done / max(plan.seconds, course.samples[-1].time):.0f}/s seen over all,"
            f" outages of the database included; {median(rates or [0]):.0f}/s in the median second"
        ),
        f"  {done} commits, {writers.get('rolled back', 0)} transactions rolled back, {writers['altered']} DDLs",
        (
            f"  {counts.get('changes', 0)} changes applied, in {counts.get('requests', 0)} requests with"
            f" {counts.get('events', 0)} events"
        ),
        f"  connections the writers lost: {writers.get('connections lost', 0)}",
    ]


def _broken(course: Course) -> list[str]:
    done = Counter((strike.place, strike.name) for strike in course.strikes)
    lines = [f"Faults: {len(course.strikes)}"]
    for place in ("agent", "database", "service"):
        told = [f"{name} {count}" for (where, name), count in sorted(done.items()) if where == place]
        lines.append(f"  {place}: {', '.join(told) or 'none'}")
    doubled = {name: count for name, count in course.service["counts"].items() if name.startswith("duplicates")}
    told = [f"{count} because {name.partition(', ')[2]}" for name, count in sorted(doubled.items())]
    lines.append(f"  changes that came again after they had been applied: {', '.join(told) or 'none'}")
    lines.append(f"  attempts of a batch beyond its first: {course.service['counts'].get('attempts again', 0)}")
    return [*lines, f"  the agent's own word on what was acknowledged, held against the service: {course.audits} times"]


def _lag(course: Course) -> list[str]:
    delay = course.service["delay"]
    behind = max((sample.committed - sample.applied for sample in course.samples), default=0)
    zero = "never" if course.to_zero is None else f"{course.to_zero:.1f} s"
    return [
        (
            "Lag, from writing a row to its being applied, of each commit:"
            f" median {delay['0.5']:.3f} s, 99 of 100 within {delay['0.99']:.2f} s, longest {delay['max']:.1f} s"
        ),
        f"  most commits behind in any second: {behind}; longest wait of what had not arrived: {course.worst:.1f} s",
        f"  from the end of the last fault to zero, under load: {zero}",
    ]


def _agent(course: Course, plan: Plan) -> list[str]:
    first, last = windows(course, plan)
    if not first or not last:
        return ["The agent: too short a run to compare its beginning and end"]
    journal = max(sample.journal for sample in course.samples)
    sixth = plan.seconds / 360
    span = f"minutes {sixth:.3g} to {2 * sixth:.3g} and {5 * sixth:.3g} to {6 * sixth:.3g}"
    lives = len({sample.life for sample in first + last})
    return [
        (
            f"The agent, {span} ({'one process' if lives == 1 else f'{lives} processes'}; it is killed before minute"
            f" {plan.kills / 60:.2g} only):"
        ),
        (
            f"  memory {_mean_rss(first):.1f} and {_mean_rss(last):.1f} MB,"
            f" {(_mean_rss(last) / (_mean_rss(first) or 1) - 1) * 100:+.1f} %;"
            f" at most {max(sample.rss for sample in course.samples) / MEGABYTE:.1f} MB"
        ),
        (
            f"  file descriptors {_middle(first, 'fds'):g} and {_middle(last, 'fds'):g},"
            f" threads {_middle(first, 'threads'):g} and {_middle(last, 'threads'):g}"
        ),
        f"  journal and all else in its directory: at most {journal} bytes",
    ]
