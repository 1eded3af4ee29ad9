"""What a sync tells about itself: state, counters, last trouble. Read by ``status`` and the live display."""

from __future__ import annotations

from dataclasses import dataclass, field

from fuagent.engine.lifecycle import Event, State, step


@dataclass(slots=True)
class Progress:
    """Mutable on purpose: the one value of a sync that others watch.

    ``since`` and the other times are Unix time, for people. ``problem`` is the last
    trouble and ``fix`` what to do about it; both are empty when all is well.
    """

    name: str
    state: State = State.STARTING
    since: float = 0.0
    problem: str = ""
    fix: str = ""
    gap: str = ""
    unproven: bool = False
    rows: int = 0
    """Rows acknowledged since this agent started."""
    bytes: int = 0
    batches: int = 0
    retries: int = 0
    left_out: int = 0
    rejected: int = 0
    index: int = 0
    """The last acknowledged index."""
    answered: int = 0
    """The last checkpoint the service named."""
    deletes: str = ""
    tables: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    snapshot_rows: int = 0
    snapshot_total: int | None = None
    snapshot_cause: str = ""
    snapshot_allowed_in: float | None = None
    """Seconds of streaming still owed before a requested snapshot is taken."""
    behind_rows: int | None = None
    behind_bytes: int | None = None
    last_change: float | None = None
    """When the last change acknowledged was committed, where the log says it."""
    last_sent: float | None = None
    notices: list[str] = field(default_factory=list)
    """What the operator should have seen, newest last, at most twenty."""

    def meet(self, event: Event, now: float) -> None:
        """Take the step the lifecycle table names for ``event``."""
        after = step(self.state, event)
        if after is not self.state:
            self.state, self.since = after, now

    @property
    def shown(self) -> State:
        """The state people see: a gap stays visible while rows go on."""
        moving = self.state in (State.STREAMING, State.CAUGHT_UP)
        return State.LOST_PLACE if self.gap and moving else self.state

    def notice(self, text: str) -> None:
        """Remember one line for the operator."""
        self.notices.append(text)
        del self.notices[:-20]
