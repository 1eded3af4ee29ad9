"""What the console is told of a running agent, and what it may ask of it.

These values are the list of what may leave through the console: a field that is not here
cannot get out. None of them holds a row's value, a key of a row, a credential or a request's body.
Times named ``at``, ``since`` and ``until`` are Unix time, all others seconds; sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

ACTIONS = ("pause", "resume", "snapshot", "accept-gap", "retry-rejected", "drop-rejected")
"""What can be asked of a sync."""
ON_REJECTED = frozenset({"retry-rejected", "drop-rejected"})
"""Those that concern single rows set aside, named by number."""


@dataclass(frozen=True, slots=True)
class About:
    """The agent itself."""

    version: str
    agent_id: str
    started: float
    host: str
    healthy: bool
    journal_bytes: int


@dataclass(frozen=True, slots=True)
class SnapshotTold:
    """A snapshot that runs, or waits for ``waits`` seconds until it may."""

    rows: int
    total: int | None
    cause: str
    since: float | None
    waits: float | None


@dataclass(frozen=True, slots=True)
class Told:
    """One sync at one moment. ``state`` is the word people see; None is what is not known."""

    name: str
    state: str
    since: float
    needs_person: bool
    problem: str
    fix: str
    gap: str
    rows: int
    batches: int
    bytes: int
    retries: int
    rejected: int
    lag: float
    behind_rows: int | None
    behind_bytes: int | None
    kept_bytes: int | None
    room_bytes: int | None
    kept_seconds: float | None
    room_seconds: float | None
    """At the earliest so long until the source lets go, by age, of what was not delivered."""
    loss_is_near: bool
    """Whether that is worth a person's look."""
    snapshot: SnapshotTold | None


@dataclass(frozen=True, slots=True)
class TableTold:
    """One table: where its rows go, and how many of them are set aside."""

    name: str
    route: str
    rejected: int


@dataclass(frozen=True, slots=True)
class FieldTold:
    """One property of an event and what it is made from: ``column x``, ``$operation``, ``constant``."""

    name: str
    source: str


@dataclass(frozen=True, slots=True)
class MaskTold:
    """One column that is covered, and how."""

    column: str
    cover: str


@dataclass(frozen=True, slots=True)
class MappingTold:
    """How rows become events, as configured; ``fields`` None means every column under its own name."""

    tables: tuple[str, ...]
    exclude: tuple[str, ...]
    fields: tuple[FieldTold, ...] | None
    where: str
    masks: tuple[MaskTold, ...]
    transform: str | None
    delete_field: str


@dataclass(frozen=True, slots=True)
class BatchTold:
    """One request and its answer, in words of ours."""

    at: float
    rows: int
    bytes: int
    seconds: float
    attempts: int
    status: int | None
    answer: str


@dataclass(frozen=True, slots=True)
class RetryTold:
    """The wait a sync is in: after ``attempt`` failures in a row it tries again in ``next_in`` seconds."""

    attempt: int
    reason: str
    next_in: float


@dataclass(frozen=True, slots=True)
class RejectedTold:
    """One row set aside: its number on the list, and nothing of the row itself."""

    number: int
    table: str
    at: float
    status: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Detail:
    """What is shown of one sync beside its :class:`Told`."""

    tables: tuple[TableTold, ...]
    mapping: MappingTold
    deletes: str
    driver: str
    position: str
    document: str
    batch_endpoints: tuple[str, ...]
    status_endpoint: str | None
    here: int
    service: int
    batches: tuple[BatchTold, ...]
    retrying: RetryTold | None
    notices: tuple[str, ...]
    rejected_rows: tuple[RejectedTold, ...]
    actions: tuple[str, ...]


class Watched(Protocol):
    """The agent as the console meets it."""

    def about(self) -> About:
        """The agent itself, now."""
        ...

    def syncs(self) -> list[Told]:
        """Every sync there is now, in the order of the configuration. Cheap: it is called every second."""
        ...

    def detail(self, name: str) -> Detail:
        """One sync, closely.

        Raises:
            FuagentError: there is none of that name.
        """
        ...

    async def measure(self) -> None:
        """Ask the sources how far each sync is behind; what they say is in the next :meth:`syncs`."""
        ...

    async def act(self, name: str, action: str, numbers: Sequence[int] | None) -> str:
        """Do one of :data:`ACTIONS`; gives what happens next in a sentence.

        Raises:
            FuagentError: the agent refuses, or could not do it.
        """
        ...
