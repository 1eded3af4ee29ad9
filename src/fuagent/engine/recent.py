"""The last batches of one sync and the wait it is in, for whoever looks closely; in memory alone.

Sizes, times and answers: nothing of a row, and of an answer only words of ours.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

KEPT = 20
"""Batches that are remembered."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One request whose answer said what to do with it. ``at`` is Unix time, ``bytes`` JSON of the events."""

    at: float
    rows: int
    bytes: int
    seconds: float
    """How long the last attempt took."""
    attempts: int
    status: int | None
    answer: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """The same work is tried again at Unix time ``until``, after so many attempts in a row that failed."""

    attempt: int
    reason: str
    until: float


@dataclass(slots=True)
class Recent:
    """Mutable on purpose, like the sync's progress."""

    batches: deque[Answered] = field(default_factory=lambda: deque(maxlen=KEPT))
    waiting: Waiting | None = None

    def failed(self, reason: str, until: float) -> None:
        """One more attempt failed; the next one is at ``until``."""
        before = self.waiting.attempt if self.waiting else 0
        self.waiting = Waiting(before + 1, reason, until)
