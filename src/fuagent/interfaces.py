"""The two promises a driver makes, and the clock they may rely on.

A *source* reads one sync's tables; a *pusher* delivers batches to one service.
The engine calls each from a single asyncio task per sync and never calls two
methods of one driver at once, with two exceptions said below.

What every method may raise, and what the engine then does:

``TryAgainError``
    Passes by itself. The engine waits (0.5 s to 60 s, full jitter), closes the
    driver, opens it and goes on from the last acknowledged place.
``LostPlaceError``
    Continuity cannot be proven. The engine records the gap on disk, tells the
    service (``snapshot_sync_suggested``) and goes on from the error's ``place``, or
    without one from ``Source.oldest``.
``HaltSyncError``
    Needs a person. This sync stops with the error's text; the others go on.
``StopAgentError``
    The whole agent cannot run.
Anything else is a defect of the driver; the sync halts with its type named.

Cancellation: any await may be cancelled. A driver then leaves nothing behind
that ``close`` does not clean up; ``close`` may be called at any time, twice, and
without ``open`` having succeeded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from fuagent.model import (
    Anchor,
    Batch,
    Checkpoint,
    Credential,
    EventSchema,
    Finding,
    Outcome,
    Place,
    Rows,
    Table,
    TableSpec,
)


@dataclass(frozen=True, slots=True)
class SourceContext:
    """What a source is made from: one per sync.

    ``options`` are the validated options of the driver (its ``Options`` model);
    ``credential`` reads the credential afresh, so that a rotated file is seen;
    ``sync`` and ``agent_id`` name whatever the source keeps inside the database.
    ``warn`` takes a Finding the operator should see while it runs.
    """

    sync: str
    agent_id: str
    endpoint: str
    credential: Callable[[], Credential | None]
    options: object
    tables: tuple[str, ...]
    """Names and shell-style patterns, as configured."""
    exclude: tuple[str, ...] = ()
    base_dir: Path = Path()
    """Directory of the configuration: what relative paths in it are relative to."""
    warn: Callable[[Finding], None] = field(default=lambda _finding: None)


@dataclass(frozen=True, slots=True)
class PusherContext:
    """What a pusher is made from: one per sync. ``cache`` is a directory it may keep documents in."""

    sync: str
    agent_id: str
    endpoint: str
    credential: Callable[[], Credential | None]
    options: object
    timeout: float
    """Seconds one attempt may take, from the first byte out to the last byte in."""
    outcomes: dict[int, str] = field(default_factory=dict)
    base_dir: Path = Path()
    cache: Path = Path()
    warn: Callable[[Finding], None] = field(default=lambda _finding: None)


@dataclass(frozen=True, slots=True)
class Head:
    """Where the source's log ends now, and how much of it lies behind a place."""

    position: str
    rows_behind: int | None = None
    bytes_behind: int | None = None


# A driver is a class behind an entry point (``fuagent.sources`` or
# ``fuagent.pushers``): called with its context it gives a Source or a Pusher.
# It carries ``Options``, a frozen pydantic model that refuses unknown keys and
# declares every ``driver_params`` key once (type, default, description), and its
# docstring's first line is what ``fuagent drivers`` prints.


class SnapshotRun(Protocol):
    """One consistent picture of some tables, and the log position it belongs to.

    Entered as a context manager; leaving it releases whatever holds the picture.

    ``place`` is S: the place in the log the picture shows. ``index`` is the
    number S has: above every row image before S and below every one after it.
    ``total`` is an estimate of the rows, None where unknown.
    """

    place: Place
    index: int
    total: int | None

    def rows(self) -> AsyncIterator[Rows]:
        """All rows, table by table, without indexes. ``start`` and ``end`` are S throughout."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Source(Protocol):
    """Reads the tables of one sync: once whole, then every change in commit order.

    Numbers. Every row image in the log has a number that rises with the log and
    depends on nothing but the log and ``Place.previous``: reading again from the
    same place gives the same numbers and the same bytes, whatever the settings
    of the sync leave out. An update takes two (old row, new row), any other
    change one. Numbers lie between 1 and 2**53 - 1.

    Order. ``stream`` yields committed changes only, in commit order.
    """

    async def open(self) -> None:
        """Connect and prove that this is the database it was. Idempotent."""
        ...

    async def close(self) -> None:
        """Let go of every connection and watcher."""
        ...

    async def discover(self) -> list[Table]:
        """The tables the sync's patterns select now, in a stable order.

        A configured name without a table is a HaltSyncError naming close matches.
        """
        ...

    async def check(self) -> list[Finding]:
        """Everything that would go wrong later, each with its exact fix. Changes nothing."""
        ...

    async def prepare(self, specs: Sequence[TableSpec], *, mend: bool = False) -> None:
        """Compile encoders and make the log ready to keep changes of these tables.

        Called after ``open``, and once more with ``mend`` where it raised
        LostPlaceError: changes may have been missed, and the engine has written
        that down. Without ``mend`` nothing that hides a loss may be put right.
        """
        ...

    async def locate(self, anchors: Sequence[Anchor], index: int) -> Place:
        """Find the place right behind ``index`` and prove it.

        ``anchors`` (newest first) come from the journal; empty means it was lost,
        and the number alone has to do. The index must be met exactly: as a row
        image, a transaction end, or a snapshot's S.

        Raises:
            LostPlaceError: it is not in the log any more, lies beyond its end,
                or falls between two numbers.
        """
        ...

    async def oldest(self, above: int) -> Place:
        """The oldest place that can be proven, numbered so that all that follows is above ``above``."""
        ...

    async def head(self, place: Place | None) -> Head:
        """The end of the log as it stands. May be called while ``stream`` is running."""
        ...

    def stream(self, place: Place, until: str | None = None, *, numbered: bool = True) -> AsyncIterator[Rows]:
        """Every change behind ``place``, for ever, or up to position ``until`` inclusive.

        Yields soon after each commit; when it has nothing more it yields once with
        ``at_end`` set (rows may be empty) and then waits. ``numbered=False`` leaves
        the index out of the rows' text (changes repeated under a snapshot);
        ``Rows.indexes`` is there all the same.
        Reading ahead is bounded by the caller: a Rows is asked for when there is room.
        """
        ...

    async def snapshot(self, tables: Sequence[str]) -> SnapshotRun:
        """Prepare a consistent picture of these tables (labels of prepared tables)."""
        ...

    async def acknowledge(self, place: Place) -> None:
        """Everything up to ``place`` is delivered and remembered on disk; the log may let go of it.

        May be called while ``stream`` is running. Cheap to call often.
        """
        ...

    async def remove(self) -> list[str]:
        """Take out of the database all that fuagent put there for this sync; say what, one line each."""
        ...


class Pusher(Protocol):
    """Delivers batches to one service and asks it for its checkpoint.

    Every request has a total deadline of its own. ``push`` and ``checkpoint``
    never retry: what comes back is what one attempt gave.
    """

    async def open(self) -> None:
        """Read the service's document, resolve endpoints and credentials. Idempotent."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...

    async def check(self, tables: Sequence[Table]) -> list[Finding]:
        """What is wrong with document, credentials or routes for these tables. Sends no row."""
        ...

    def event_schema(self, table: Table) -> EventSchema | None:
        """What the document says about this table's events; None where it says nothing."""
        ...

    def route(self, table: str) -> str:
        """The URL this table's batches go to, without secrets. Tables of one route share batches."""
        ...

    async def checkpoint(self) -> Checkpoint:
        """Ask the status endpoint once.

        Raises:
            TryAgainError: anything that is not a clear answer (5xx, timeout, 401, HTML).
            HaltSyncError: a clear answer that cannot be an index.
        """
        ...

    async def push(self, batch: Batch) -> Outcome:
        """Send one batch once. Same batch, same bytes. Faults of the wire are Outcomes, not exceptions.

        Raises:
            HaltSyncError: the batch cannot be written at all.
        """
        ...

    async def refresh(self) -> None:
        """Read credential files and tokens again: the service refused the ones in use."""
        ...


class Clock(Protocol):
    """Time as the engine sees it."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def time(self) -> float:
        """Unix time, for people only; no decision hangs on it."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...
