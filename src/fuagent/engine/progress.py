"""What a sync tells about itself: state, counters, last trouble. Read by ``status``, the live display and metrics."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from fuagent.engine.lifecycle import Event, State, step

DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds up to which attempts are counted together; what took longer comes last."""

DAY = 86400.0
"""Seconds before the source lets go of what was not delivered in which a person should know of it."""
_NOT_WORKING = frozenset({State.STARTING, State.RETRYING, State.WRONG_ANSWER, State.UNAUTHORISED})
_DELIVERED = frozenset({Event.SENT, Event.CAUGHT_UP})


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
    retried: dict[str, int] = field(default_factory=dict)
    """Retries by what went wrong: few and fixed words."""
    attempts: list[int] = field(default_factory=lambda: [0] * (len(DURATIONS) + 1))
    """Attempts to deliver a batch, by how long each took; see :data:`DURATIONS`."""
    attempt_seconds: float = 0.0
    """How long all of them took together."""
    left_out: int = 0
    rejected: int = 0
    index: int = 0
    """The last acknowledged index."""
    batch: str = ""
    """The key of the batch under way, or of the last one."""
    answered: int = 0
    """The last checkpoint the service named."""
    deletes: str = ""
    tables: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    snapshot_rows: int = 0
    snapshot_total: int | None = None
    snapshot_cause: str = ""
    snapshot_since: float | None = None
    """Since when the database holds the picture of the running snapshot, and cannot clean up behind it."""
    snapshot_allowed_in: float | None = None
    """Seconds of streaming still owed before a requested snapshot is taken."""
    behind_rows: int | None = None
    behind_bytes: int | None = None
    kept_bytes: int | None = None
    """How much of its log the database keeps for this sync."""
    room_bytes: int | None = None
    """How much more it will keep before it lets go of what was not read."""
    kept_seconds: float | None = None
    """For how long it keeps a change at least, read or not, where it goes by age alone."""
    unread_since: float | None = None
    """Unix time before which nothing was committed that is still to be read, as the source tells."""
    met_end: bool = False
    """Whether everything up to ``current_until`` was seen to be delivered, or is in the snapshot under way."""
    last_change: float | None = None
    """When the last change acknowledged was committed, where the log says it."""
    last_sent: float | None = None
    current_until: float | None = None
    """Up to when everything committed is surely delivered; None means now."""
    stalled_since: float | None = None
    """Since when nothing was delivered because of trouble; None while all is well."""
    notices: list[str] = field(default_factory=list)
    """What the operator should have seen, newest last, at most twenty."""

    def meet(self, event: Event, now: float) -> None:
        """Take the step the lifecycle table names for ``event``."""
        after = step(self.state, event)
        if after is not self.state:
            self.state, self.since = after, now
        if event in _DELIVERED:
            self.stalled_since = None
        elif after in _NOT_WORKING and self.stalled_since is None:
            self.stalled_since = now
        if after is State.CAUGHT_UP:
            self.current_until = None
            self.met_end = True
        else:
            self.busy(now)

    def busy(self, now: float) -> None:
        """There is something that may not be delivered yet."""
        if self.current_until is None:
            self.current_until = now

    def lag(self, now: float) -> float:
        """Seconds the service may be behind: how long ago everything committed was last surely delivered."""
        if self.current_until is None:
            return 0.0
        return max(0.0, now - max(self.current_until, self.last_change or 0.0))

    def went_back(self) -> None:
        """It reads on from an earlier place: what was delivered behind that says nothing of how old what waits now is."""
        self.met_end, self.last_change, self.unread_since = False, None, None

    def room_seconds(self, now: float) -> float | None:
        """Seconds until the database, at the earliest, lets go by age of what was not delivered; None where not known.

        Lag does not tell it: that begins with the agent, and what waits may be older.
        """
        if self.kept_seconds is None:
            return None
        delivered = [one for one in (self.unread_since, self.last_change) if one is not None]
        if self.met_end:
            delivered.append(now if self.current_until is None else self.current_until)
        return max(0.0, self.kept_seconds - max(0.0, now - max(delivered))) if delivered else None

    def loss_is_near(self, now: float) -> bool:
        """Whether that is worth a person's look: less than a day, and less than half of what the database keeps at all."""
        room = self.room_seconds(now)
        return room is not None and room < min(DAY, (self.kept_seconds or 0.0) / 2)

    def attempted(self, seconds: float) -> None:
        """Count one attempt to deliver a batch."""
        self.attempts[bisect_left(DURATIONS, seconds)] += 1
        self.attempt_seconds += seconds

    def retry(self, reason: str) -> None:
        """Count one failure that is tried again; ``reason`` is one of a few words."""
        self.retries += 1
        self.retried[reason] = self.retried.get(reason, 0) + 1

    @property
    def shown(self) -> State:
        """The state people see: a gap stays visible while rows go on."""
        moving = self.state in (State.STREAMING, State.CAUGHT_UP)
        return State.LOST_PLACE if self.gap and moving else self.state

    def notice(self, text: str) -> None:
        """Remember one line for the operator; the same again only moves to the end."""
        if text in self.notices:
            self.notices.remove(text)
        self.notices.append(text)
        del self.notices[:-20]
