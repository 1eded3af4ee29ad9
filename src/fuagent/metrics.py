"""What every sync counts, as Prometheus reads it, and whether the agent is ready.

Labels are ``sync`` and words of small fixed sets, so that the number of series hangs
on the configuration alone and never on data. A figure that is not known is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Literal

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from fuagent.contract.text import clean
from fuagent.engine.lifecycle import State
from fuagent.engine.progress import DURATIONS, Progress

STUCK_AFTER = 300.0
"""Seconds without a delivery because of trouble after which a sync counts as stuck."""
_TRIES = (State.STARTING, State.SNAPSHOT, State.STREAMING, State.CAUGHT_UP, State.LOST_PLACE)
_STUCK = frozenset((*_TRIES, State.RETRYING, State.WRONG_ANSWER, State.UNAUTHORISED))

Value = float | None | Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric: what it is called and means, and how it is read from a sync at a Unix time.

    ``label`` names the second label where there is more than one value.
    """

    name: str
    kind: Literal["counter", "gauge"]
    about: str
    read: Callable[[Progress, float], Value]
    label: str = ""


def _states(one: Progress) -> dict[str, float]:
    return {str(state): float(state is one.shown) for state in State}


FIGURES: tuple[Figure, ...] = (
    Figure(
        "fuagent_sync_state",
        "gauge",
        "1 for the state the sync is in, 0 for all others",
        lambda one, _: _states(one),
        "state",
    ),
    Figure("fuagent_rows_total", "counter", "rows acknowledged since the agent started", lambda one, _: one.rows),
    Figure("fuagent_bytes_total", "counter", "bytes of JSON of these rows", lambda one, _: one.bytes),
    Figure("fuagent_batches_total", "counter", "batches delivered since the agent started", lambda one, _: one.batches),
    Figure(
        "fuagent_retries_total",
        "counter",
        "failures after which the same work was tried again, by what went wrong",
        lambda one, _: dict(one.retried),
        "reason",
    ),
    Figure(
        "fuagent_lag_seconds",
        "gauge",
        "how long ago everything committed at the source was last surely at the service; 0 when caught up",
        lambda one, now: one.lag(now),
    ),
    Figure(
        "fuagent_lag_bytes",
        "gauge",
        "bytes of the source's log behind the last acknowledged place, where the source can tell",
        lambda one, _: one.behind_bytes,
    ),
    Figure(
        "fuagent_lag_rows",
        "gauge",
        "rows of the source's log behind the last acknowledged place, where the source can tell",
        lambda one, _: one.behind_rows,
    ),
    Figure(
        "fuagent_log_kept_bytes",
        "gauge",
        "bytes of its log that the source keeps for this sync, where it keeps some for each reader",
        lambda one, _: one.kept_bytes,
    ),
    Figure(
        "fuagent_log_room_bytes",
        "gauge",
        "bytes more that the source will keep before it lets go of what was not read, where there is a limit",
        lambda one, _: one.room_bytes,
    ),
    Figure(
        "fuagent_log_kept_seconds",
        "gauge",
        "for how long at least the source keeps its log, where it goes by age alone",
        lambda one, _: one.kept_seconds,
    ),
    Figure(
        "fuagent_log_room_seconds",
        "gauge",
        "seconds until the source, at the earliest, lets go by age of what was not delivered, where that is known",
        lambda one, now: one.room_seconds(now),
    ),
    Figure(
        "fuagent_gap",
        "gauge",
        "1 while changes may be missing at the service because the place in the log was lost",
        lambda one, _: float(bool(one.gap)),
    ),
    Figure(
        "fuagent_acknowledged_index",
        "gauge",
        "the last index the service acknowledged",
        lambda one, _: one.index or None,
    ),
    Figure(
        "fuagent_last_sent_timestamp_seconds", "gauge", "Unix time of the last delivery", lambda one, _: one.last_sent
    ),
    Figure(
        "fuagent_rejected_rows", "gauge", "rows the service refused that are set aside now", lambda one, _: one.rejected
    ),
    Figure(
        "fuagent_left_out_rows_total",
        "counter",
        "row images that the settings keep back, counted in the journal",
        lambda one, _: one.left_out,
    ),
    Figure(
        "fuagent_snapshot_rows", "gauge", "rows of the last snapshot delivered so far", lambda one, _: one.snapshot_rows
    ),
    Figure(
        "fuagent_snapshot_expected_rows",
        "gauge",
        "rows this snapshot will have, as the source estimates",
        lambda one, _: one.snapshot_total,
    ),
    Figure(
        "fuagent_snapshot_held_seconds",
        "gauge",
        "how long the database has held the picture of the running snapshot: behind it it cannot clean up",
        lambda one, now: None if one.snapshot_since is None else max(0.0, now - one.snapshot_since),
    ),
)
"""Every metric of a sync but the histogram; the reference page is made from this."""

ATTEMPTS = ("fuagent_attempt_duration_seconds", "how long attempts to deliver a batch took, failed ones too")
JOURNAL = ("fuagent_journal_bytes", "size of the journal on disk")


@dataclass(frozen=True, slots=True)
class Exhibit:
    """Reads all syncs each time somebody asks: nothing is counted here.

    Args:
        progress: Gives every sync there is now.
        journal: Gives the journal's size in bytes.
        now: Gives Unix time.
    """

    progress: Callable[[], Sequence[Progress]]
    journal: Callable[[], int]
    now: Callable[[], float]


_PROCESS = CollectorRegistry()
ProcessCollector(registry=_PROCESS)


def page(exhibit: Exhibit) -> bytes:
    """The text Prometheus reads, with what the process itself takes of the machine.

    Written here for our own figures: with many syncs there are thousands of lines, and whoever writes them
    holds up every sync meanwhile.
    https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
    """
    syncs, now = exhibit.progress(), exhibit.now()
    labelled = [(one, f'sync="{_escaped(one.name)}"') for one in syncs]
    lines = [line for figure in FIGURES for line in _family(figure, labelled, now)]
    lines += _attempts(labelled)
    lines += [*_head(*JOURNAL, "gauge"), _line(JOURNAL[0], "", exhibit.journal())]
    return "".join(lines).encode() + generate_latest(_PROCESS)


def _family(figure: Figure, syncs: Sequence[tuple[Progress, str]], now: float) -> Iterator[str]:
    yield from _head(figure.name, figure.about, figure.kind)
    for one, label in syncs:
        value = figure.read(one, now)
        if isinstance(value, Mapping):
            for word, number in value.items():
                yield _line(figure.name, f'{label},{figure.label}="{_escaped(word)}"', number)
        elif value is not None:
            yield _line(figure.name, label, value)


def _attempts(syncs: Sequence[tuple[Progress, str]]) -> Iterator[str]:
    name, about = ATTEMPTS
    yield from _head(name, about, "histogram")
    bounds = [*map(str, DURATIONS), "+Inf"]
    for one, label in syncs:
        # Each bucket holds those below it too.
        for bound, count in zip(bounds, accumulate(one.attempts), strict=True):
            yield _line(f"{name}_bucket", f'{label},le="{bound}"', count)
        yield _line(f"{name}_count", label, sum(one.attempts))
        yield _line(f"{name}_sum", label, one.attempt_seconds)


def _head(name: str, about: str, kind: str) -> tuple[str, str]:
    return f"# HELP {name} {about}\n", f"# TYPE {name} {kind}\n"


def _line(name: str, labels: str, value: float) -> str:
    return f"{name}{{{labels}}} {float(value)!r}\n" if labels else f"{name} {float(value)!r}\n"


@cache
def _escaped(text: str) -> str:
    """A label's value. The names of syncs and a few words: the cache stays small."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def unready(syncs: Sequence[Progress], now: float) -> Iterator[str]:
    """Why the agent is not ready, one line each; none if it is.

    A line holds the name of the sync and words of ours, never a text from elsewhere:
    whoever reads it need not be allowed to read the log.
    """
    for one in syncs:
        since = one.stalled_since
        if since is None and one.state is State.STARTING:
            since = one.since
        if one.state is State.HALTED:
            yield f"{clean(one.name)}: halted; a person has to act"
        elif one.gap:
            yield f"{clean(one.name)}: lost place; changes may be missing at the service"
        elif one.state in _STUCK and since is not None and now - since > STUCK_AFTER:
            yield f"{clean(one.name)}: stuck; {one.state}, and nothing was delivered for {round(now - since)} s"
