"""What a sync says: its state, its troubles, in the log and in :class:`Progress`.

The same trouble is one line at once and then one in thirty seconds with a count,
however often it is met.
"""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from fuagent.engine.lifecycle import Event, State
from fuagent.engine.progress import Progress
from fuagent.errors import FuagentError
from fuagent.interfaces import Clock

_MOVING = {State.STREAMING, State.CAUGHT_UP}
QUIET = 30.0
"""Seconds for which the same trouble is only counted."""


class Reporter:
    """The voice of one sync."""

    def __init__(self, progress: Progress, log: FilteringBoundLogger, clock: Clock) -> None:
        self.progress = progress
        self._log = log.bind(sync=progress.name)
        self._clock = clock
        self._resume = Event.START
        self._said = ""
        self._said_at = 0.0
        self._unsaid = 0

    def meet(self, event: Event) -> None:
        """Step through the lifecycle; a change of state is one line in the log."""
        before = self.progress.state
        self.progress.meet(event, self._clock.time())
        if event in (Event.START, Event.SNAPSHOT, Event.STREAM, Event.LOSE):
            self._resume = event
        after = self.progress.state
        if after is before:
            return
        if after is State.STOPPED:
            self.progress.problem = self.progress.fix = ""
        # Under load a sync catches up and moves on many times a second, and in an outage
        # every attempt starts anew: neither is news.
        quiet = {before, after} == _MOVING or (event is Event.START and self._said)
        say = self._log.debug if quiet else self._log.info
        say("state", state=str(after), index=self.progress.index)

    def trouble(self, event: Event, problem: str, fix: str, wait: float) -> None:
        """Something failed and is tried again in ``wait`` seconds."""
        self.progress.retries += 1
        self.progress.problem, self.progress.fix = problem, fix
        self.progress.meet(event, self._clock.time())
        now = self._clock.monotonic()
        if problem == self._said and now - self._said_at < QUIET:
            self._unsaid += 1
            return
        self._log.warning(
            "trying again",
            problem=problem,
            fix=fix,
            wait=round(wait, 1),
            batch=self.progress.batches,
            more=self._unsaid,
        )
        self._said, self._said_at, self._unsaid = problem, now, 0

    def recovered(self, attempts: int) -> None:
        """What failed works again."""
        self._log.info("recovered", attempts=attempts)
        self.progress.problem = self.progress.fix = self._said = ""
        self.progress.meet(self._resume, self._clock.time())

    def notice(self, text: str, **facts: object) -> None:
        """One line the operator should see, whatever the state."""
        self.progress.notice(text)
        self._log.warning("notice", text=text, **facts)

    def info(self, text: str, **facts: object) -> None:
        """One line for the log only."""
        self._log.info(text, **facts)

    def halt(self, error: FuagentError) -> None:
        """The sync stops until a person has acted."""
        self.progress.problem, self.progress.fix = (
            f"{error.where}: {error.what}" if error.where else error.what,
            error.fix,
        )
        self.progress.meet(Event.HALT, self._clock.time())
        self._log.error("halted", problem=self.progress.problem, fix=error.fix, index=self.progress.index)

    def defect(self, error: BaseException) -> None:
        """What a person who mends the driver needs, in the log alone."""
        self._log.error("defect", exc_info=error)
