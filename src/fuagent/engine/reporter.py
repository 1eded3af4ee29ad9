"""What a sync says: its state, its troubles, in the log and in :class:`Progress`.

Every line carries the sync, the batch under way (or the last one) and the last
acknowledged index: they are asked for as the line is written, so that nobody has to
think of them. The same trouble is one line at once and then one in thirty seconds
with a count, however often it is met and whatever other troubles lie between.
"""

from __future__ import annotations

from collections.abc import Callable

from structlog.contextvars import bind_contextvars
from structlog.typing import FilteringBoundLogger

from fuagent.engine.lifecycle import Event, State
from fuagent.engine.progress import Progress
from fuagent.engine.recent import Recent
from fuagent.engine.repeats import QUIET, Repeats
from fuagent.errors import FuagentError, JournalWriteError
from fuagent.interfaces import Clock

_MOVING = {State.STREAMING, State.CAUGHT_UP}
GO_ON = "Then start the agent again, or run fuagent reload if only config.yaml was changed."
"""What ends a halt, once its cause is mended: it does not end by itself."""


class Reporter:
    """The voice of one sync."""

    def __init__(self, progress: Progress, log: FilteringBoundLogger, clock: Clock) -> None:
        self.progress = progress
        self.recent = Recent()
        self._log = log.bind(about=self._about)
        self._clock = clock
        self._repeats = Repeats(clock)
        self._resume = Event.START
        self._troubled = False
        self._failed_at = clock.monotonic() - QUIET
        self._owes_the_end = False
        """Whether a trouble was said whose end was not."""

    def _about(self) -> dict[str, object]:
        return {"sync": self.progress.name, "batch": self.progress.batch or None, "index": self.progress.index}

    def speak(self) -> None:
        """What libraries log in this task, and in those that it starts, is about this sync too."""
        bind_contextvars(about=self._about)

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
        quiet = {before, after} == _MOVING or (event is Event.START and self._troubled)
        if not quiet and self._clock.monotonic() - self._failed_at < QUIET:
            quiet = self._repeats.met(f"state {after}") is None
        say = self._log.debug if quiet else self._log.info
        say("state", state=str(after))

    def sending(self, batch: str, *, rows: bool) -> None:
        """An attempt to deliver the batch of this key begins."""
        self.progress.batch = batch
        if rows:
            self.progress.busy(self._clock.time())

    def trouble(self, event: Event, problem: str, fix: str, wait: float, reason: str) -> None:
        """Something failed and is tried again in ``wait`` seconds; ``reason`` is the word it is counted as."""
        self.progress.retry(reason)
        self.recent.failed(reason, self._clock.time() + wait)
        self._fail(event, problem, fix)
        if self._say_once(self._log.warning, "trying again", problem, fix=fix, wait=round(wait, 1)):
            self._owes_the_end = True

    def recovered(self, attempts: int) -> None:
        """What failed works again."""
        # Where a failure was only counted, its end is no news either: it may come and go many times a second.
        say = self._log.info if self._owes_the_end else self._log.debug
        say("recovered", attempts=attempts)
        self._troubled = self._owes_the_end = False
        self.recent.waiting = None
        self.progress.problem = self.progress.fix = ""
        self.progress.meet(self._resume, self._clock.time())

    def notice(self, text: str, **facts: object) -> None:
        """One line the operator should see, whatever the state."""
        self.progress.notice(text)
        more = self._repeats.met(text)
        if more is not None:
            self._log.warning("notice", text=text, more=more, **facts)

    def unclear(self, text: str, problem: str) -> None:
        """Something failed that nothing waits for."""
        self._say_once(self._log.info, text, problem)

    def info(self, text: str, **facts: object) -> None:
        """One line for the log only."""
        self._log.info(text, **facts)

    def halt(self, error: FuagentError) -> None:
        """The sync stops until a person has acted, or until the journal takes writes again."""
        problem = f"{error.where}: {error.what}" if error.where else error.what
        if isinstance(error, JournalWriteError):
            self._fail(Event.HALT, problem, error.fix)
            self._owes_the_end |= self._say_once(self._log.error, "halted", problem, fix=error.fix)
        else:
            mended = error.fix or "Mend it."
            fix = f"{mended}{'' if mended.endswith(('.', ';', '?')) else '.'} {GO_ON}"
            self._fail(Event.HALT, problem, fix)
            self._log.error("halted", problem=problem, fix=fix, more=0)

    def defect(self, error: BaseException) -> None:
        """What a person who mends the driver needs, in the log alone."""
        self._log.error("defect", exc_info=error)

    def _fail(self, event: Event, problem: str, fix: str) -> None:
        self.progress.problem, self.progress.fix = problem, fix
        self.progress.meet(event, self._clock.time())
        self._troubled, self._failed_at = True, self._clock.monotonic()

    def _say_once(self, say: Callable[..., object], text: str, problem: str, **facts: object) -> bool:
        """Write the line unless this problem was said a moment ago; gives whether it was written."""
        more = self._repeats.met(f"{text}: {problem}")
        if more is not None:
            say(text, problem=problem, **facts, more=more)
        return more is not None
