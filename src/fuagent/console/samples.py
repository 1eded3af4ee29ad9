"""Rate, lag and pace of each sync, from a look at its counters every second.

The last minute still grows. A minute in which nobody looked, because the agent or the sync
was not there yet, is None. Time is the clock that never goes back, in seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from fuagent.console.told import Told

MINUTES = 60
STEP = 60.0
RATE_OVER = 10.0
"""Seconds a rate is taken over."""
PACE_OVER = 600.0
"""Seconds over which it is seen how fast the log that a database keeps grows."""


@dataclass(slots=True)
class Samples:
    """What was seen of one sync."""

    began: float
    rows_before: int
    """Its counter as the minute began."""
    seen: deque[tuple[float, int]] = field(default_factory=deque)
    kept: deque[tuple[float, int]] = field(default_factory=deque)
    rates: deque[float | None] = field(default_factory=lambda: deque([None] * MINUTES, MINUTES))
    lags: deque[float | None] = field(default_factory=lambda: deque([None] * MINUTES, MINUTES))

    def look(self, now: float, told: Told) -> None:
        """Take what one look tells."""
        self.seen.append((now, told.rows))
        if self.seen[0][1] > told.rows:  # a reload made the sync anew, and it counts from nothing
            self.seen = deque([(now, told.rows)])
            self.began, self.rows_before = now, told.rows
        while now - self.seen[0][0] > RATE_OVER and len(self.seen) > 2:
            self.seen.popleft()
        if len(self.seen) > 1:
            self.rates[-1] = self._rate_of_minute(now - self.began, told.rows)
        self.lags[-1] = round(max(self.lags[-1] or 0.0, told.lag), 1)

    def _rate_of_minute(self, elapsed: float, rows: int) -> float:
        """Its mean; of a minute that just began, one batch would make a peak, so it shows the last seconds."""
        return round((rows - self.rows_before) / elapsed, 1) if elapsed >= RATE_OVER else self.rate

    def next_minutes(self, now: float, minutes: int) -> None:
        """The minute is over; ``minutes`` later another one begins."""
        for _ in range(min(minutes, MINUTES)):
            self.rates.append(None)
            self.lags.append(None)
        self.began, self.rows_before = now, self.seen[-1][1] if self.seen else 0

    def measured(self, now: float, kept: int | None) -> None:
        """Take how much of its log the database keeps."""
        if kept is None:
            self.kept.clear()
            return
        self.kept.append((now, kept))
        while now - self.kept[0][0] > PACE_OVER and len(self.kept) > 2:
            self.kept.popleft()

    @property
    def rate(self) -> float:
        """Rows a second over the last seconds."""
        return round(_slope(self.seen), 1)

    def loss_in(self, room: int | None) -> float | None:
        """Seconds until so many bytes more are kept, at the pace of the last minutes; None where it is not so."""
        pace = _slope(self.kept)
        return None if room is None or pace <= 0 else round(room / pace)


def _slope(points: deque[tuple[float, int]]) -> float:
    if len(points) < 2 or points[-1][0] <= points[0][0]:
        return 0.0
    return (points[-1][1] - points[0][1]) / (points[-1][0] - points[0][0])


class Hour:
    """The samples of all syncs, minute by minute."""

    def __init__(self, now: float) -> None:
        self.minute = int(now // STEP)
        """Rises as a minute begins."""
        self._now = now
        self._of: dict[str, Samples] = {}

    def look(self, now: float, syncs: Iterable[Told]) -> None:
        """Look at all of them; those that are gone are forgotten."""
        minutes = int(now // STEP) - self.minute
        if minutes:
            for one in self._of.values():
                one.next_minutes(now, minutes)
        self.minute += minutes
        self._now = now
        before, self._of = self._of, {}
        for told in syncs:
            self._of[told.name] = before.get(told.name) or Samples(now, told.rows)
            self._of[told.name].look(now, told)

    def measured(self, now: float, syncs: Iterable[Told]) -> None:
        """Take what the sources just said."""
        for told in syncs:
            if told.name in self._of:
                self._of[told.name].measured(now, told.kept_bytes)

    def of(self, told: Told) -> Samples:
        """What was seen of one sync."""
        return self._of.get(told.name) or Samples(self._now, told.rows)

    @property
    def rest(self) -> float:
        """Seconds until the minute is over."""
        return STEP * (self.minute + 1) - self._now
