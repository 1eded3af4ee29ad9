"""What the console tells, as JSON: field by field, never a whole value of somebody else's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from fuagent.console.samples import STEP, Hour, Samples
from fuagent.console.told import About, Detail, SnapshotTold, Told, Watched

Json = dict[str, object]
HOUR, DAY = 3600, 86400


def agent(about: About, now: float, *, writable: bool) -> Json:
    """The agent itself."""
    return {
        "version": about.version,
        "agent_id": about.agent_id,
        "started": about.started,
        "now": now,
        "host": about.host,
        "healthy": about.healthy,
        "journal_bytes": about.journal_bytes,
        "writable": writable,
    }


def overview(told: Told, samples: Samples) -> Json:
    """One sync in a list of many."""
    loss = _loss(told, samples.loss_in(told.room_bytes))
    return {
        "name": told.name,
        "state": told.state,
        "since": told.since,
        "needs_person": told.needs_person,
        "problem": told.problem,
        "fix": told.fix,
        "gap": told.gap,
        "rows": told.rows,
        "batches": told.batches,
        "bytes": told.bytes,
        "retries": told.retries,
        "rejected": told.rejected,
        "rate": samples.rate,
        "lag": round(told.lag, 1),
        "behind_rows": told.behind_rows,
        "behind_bytes": told.behind_bytes,
        "kept_bytes": told.kept_bytes,
        "room_bytes": told.room_bytes,
        "kept_seconds": told.kept_seconds,
        **loss,
        "snapshot": told.snapshot and _snapshot(told.snapshot, samples.rate),
    }


def _loss(told: Told, by_pace: float | None) -> Json:
    """When the source lets go of what was not delivered, what that goes by, and whether it is near."""
    by_age = told.room_seconds
    if by_age is not None and (by_pace is None or by_age <= by_pace):
        # To the minute, so that a lag of moments shows what is kept as it is.
        shown = round(by_age / 60) * 60 if by_age >= HOUR else round(by_age)
        return {"loss_in": shown, "loss_by": "age", "loss_is_near": told.loss_is_near}
    near = by_pace is not None and by_pace < DAY
    return {"loss_in": by_pace, "loss_by": None if by_pace is None else "pace", "loss_is_near": near}


def _snapshot(told: SnapshotTold, rate: float) -> Json:
    left = None if told.total is None else max(0, told.total - told.rows)  # the total is an estimate
    return {
        "rows": told.rows,
        "total": told.total,
        "percent": round(min(100.0, 100 * told.rows / told.total), 1) if told.total else None,
        "left_seconds": round(left / rate) if left is not None and rate else None,
        "cause": told.cause,
        "since": told.since,
        "waits": None if told.waits is None else round(told.waits),
    }


def history(samples: Samples, until: float) -> Json:
    """Rate and lag of the last hour; ``until`` is the end of the last minute, which may not be over."""
    return {"step": STEP, "until": until, "rate": list(samples.rates), "lag": list(samples.lags)}


def detail(told: Detail) -> Json:
    """One sync closely, beside its overview."""
    return {
        "tables": [asdict(table) for table in told.tables],
        "mapping": asdict(told.mapping),
        "deletes": told.deletes,
        "source": {"driver": told.driver, "position": told.position},
        "service": {
            "document": told.document,
            "batch_endpoints": told.batch_endpoints,
            "status_endpoint": told.status_endpoint,
        },
        "checkpoint": {"here": told.here, "service": told.service},
        "batches": [asdict(batch) for batch in told.batches],
        "retrying": told.retrying and asdict(told.retrying),
        "notices": told.notices,
        "rejected_rows": [asdict(row) for row in told.rejected_rows],
        "actions": told.actions,
    }


class Picture:
    """All overviews as they were last looked at, and which of them changed when.

    ``number`` counts the looks. A client that has seen look n is told of what changed after it.
    """

    def __init__(self, watched: Watched, hour: Hour) -> None:
        self._watched = watched
        self._hour = hour
        self._overviews: dict[str, Json] = {}
        self._changed: dict[str, int] = {}
        self._whole = 0
        self._minute = hour.minute
        self._minute_began = 0
        self.number = 0

    def look(self) -> None:
        """Look at every sync."""
        self.number += 1
        now = {told.name: overview(told, self._hour.of(told)) for told in self._watched.syncs()}
        for name, shown in now.items():
            if shown != self._overviews.get(name):
                self._changed[name] = self.number
        if list(now) != list(self._overviews):
            self._whole = self.number
            self._changed = {name: self._changed[name] for name in now}
        if self._hour.minute != self._minute:
            self._minute, self._minute_began = self._hour.minute, self.number
        self._overviews = now

    def whole(self, now: float, *, writable: bool) -> Json:
        """Everything, as at the last look."""
        return {
            "agent": agent(self._watched.about(), now, writable=writable),
            "syncs": list(self._with_history(self._overviews, now)),
        }

    def other_syncs(self, seen: int) -> bool:
        """Whether syncs came or went after the look of this number."""
        return self._whole > seen

    def changes(self, seen: int, now: float) -> list[Json]:
        """The syncs that changed after the look of this number, with their history where a minute began."""
        if self._minute_began > seen:
            return list(self._with_history(self._overviews, now))
        return [self._overviews[name] for name, number in self._changed.items() if number > seen]

    def one(self, told: Told, now: float) -> Json:
        """The overview of one sync with its history."""
        samples = self._hour.of(told)
        return {**overview(told, samples), "history": history(samples, self._until(now))}

    def _with_history(self, overviews: dict[str, Json], now: float) -> Iterable[Json]:
        for told in self._watched.syncs():
            if told.name in overviews:
                past = history(self._hour.of(told), self._until(now))
                yield {**overviews[told.name], "history": past}

    def _until(self, now: float) -> float:
        return round(now + self._hour.rest)
