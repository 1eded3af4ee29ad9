"""What was said a moment ago is only counted: one line for each problem in thirty seconds.

Problems that take turns (A, B, A, B) are told apart, so that neither makes the other news again.
"""

from __future__ import annotations

from fuagent.interfaces import Clock

QUIET = 30.0
"""Seconds for which the same problem is only counted."""
KEPT = 64
"""Problems told apart; beyond them the one met longest ago is forgotten."""


class Repeats:
    """When each problem was said, and how often it was met since."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._met: dict[str, tuple[float, int]] = {}

    def met(self, problem: str) -> int | None:
        """The problem is there; gives how often it was met unsaid before it is said now, None if it is only counted."""
        now = self._clock.monotonic()
        said_at, unsaid = self._met.pop(problem, (now - QUIET, 0))
        quiet = now - said_at < QUIET
        self._met[problem] = (said_at, unsaid + 1) if quiet else (now, 0)
        if len(self._met) > KEPT:
            del self._met[next(iter(self._met))]
        return None if quiet else unsaid
