"""The two promises a driver makes, and the clock they may rely on.

A *source* reads one sync's tables; a *pusher* delivers batches to one service.
MUST and MUST NOT say what the engine relies on; a driver that breaks one loses rows
or stops a sync. ``fuagent.testing.source_suite`` and ``pusher_suite`` test what can be
seen from outside.

Who calls. Each driver object belongs to one sync and is called from one asyncio
event loop, one method at a time. The exceptions: while an iterator of ``stream`` is
being read, ``head`` and ``acknowledge`` may be called; and ``Pusher.push`` runs while
the same sync's source is read. Two syncs on one database are two objects that know
nothing of each other. A driver MUST NOT block the event loop: what waits for a disk, a lock or
a library without asyncio goes to a thread of the driver's own.

Making a driver does nothing: no connection, no file, no thread before ``open``.
Then ``open``, ``discover``, ``prepare``, and whatever the sync needs; after any error
``close``, and perhaps the same again on the same object. ``check`` and ``remove`` are
also called on a driver that was never prepared.

What every method may raise, and what the engine then does:

``TryAgainError``
    Passes by itself: not reachable, locked, restarting. The engine waits (0.5 s to 60 s,
    full jitter), closes the driver, opens it and goes on from the last acknowledged
    place, for ever. ``retry_after`` is a floor for that wait.
``LostPlaceError``
    Continuity cannot be proven: purged, replaced, restored, truncated. The engine
    records the gap on disk, tells the service (``snapshot_sync_suggested``) and goes on
    from the error's ``place``, or without one from ``Source.oldest``. Only a source raises it.
``HaltSyncError``
    Needs a person. This sync stops with the error's text; the others go on.
``StopAgentError``
    The whole agent cannot run.
Anything else is a defect of the driver; the sync halts with its type named. So a
driver MUST turn every error of its libraries into one of these, and no text may hold
a secret or a row's value.

Cancellation: any await may be cancelled, and an iterator may be closed at any
``yield``. A driver MUST NOT swallow the cancellation, and then leaves nothing behind
that ``close`` does not clean up: no task, thread, connection, transaction or
watcher. ``close`` may be called at any time, twice, and without ``open`` having
succeeded; it MUST NOT raise for that. After it ``open`` begins anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from fuagent.model import (
    Anchor,
    Batch,
    Checkpoint,
    Credential,
    EventSchema,
    Finding,
    Outcome,
    Place,
    Request,
    Rows,
    Table,
    TableSpec,
    Written,
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
    accept_rejected: bool = False
    """Whether a 2xx may name rows as rejected (:attr:`fuagent.model.Outcome.rejected`)."""
    base_dir: Path = Path()
    cache: Path = Path()
    warn: Callable[[Finding], None] = field(default=lambda _finding: None)
    headers: Callable[[], Sequence[tuple[str, str]]] = field(default=lambda: ())
    """What a pusher that speaks HTTP sends with the batch under way besides its own headers: which trace it belongs to."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where the source's log ends now, and how much of it lies behind a place."""

    position: str
    rows_behind: int | None = None
    bytes_behind: int | None = None
    bytes_kept: int | None = None
    """How much of its log the database keeps for this sync, where it keeps some for each reader."""
    bytes_room: int | None = None
    """How much more it will keep, where there is a limit: then it lets go of what was not read."""
    seconds_kept: float | None = None
    """For how long after its commit it keeps a change at least, read or not, where it goes by age alone."""
    since: float | None = None
    """Unix time before which nothing behind the place was committed, where the place tells."""


# A driver is a class behind an entry point (``fuagent.sources`` or
# ``fuagent.pushers``): called with its context it gives a Source or a Pusher.
# It carries ``Options``, a frozen pydantic model that refuses unknown keys and
# declares every ``driver_params`` key once (type, default, description), and its
# docstring's first line is what ``fuagent drivers`` prints.


class SnapshotRun(Protocol):
    """One consistent picture of some tables, and the log position it belongs to.

    Entered as a context manager once, as soon as it is there; leaving it releases whatever
    holds the picture, also in the middle of ``rows`` and under an error.

    ``place`` is S: the place in the log the picture shows. Every change up to S MUST be
    in the picture and every one behind it MUST NOT be, across all its tables: whoever
    applies the stream from S to the picture has the tables, with nothing lost or doubled.
    ``index`` is the number S has: above every row image before S and below every
    one after it, and ``locate`` finds S by it. ``total`` is an estimate of the rows,
    None where unknown.
    """

    place: Place
    index: int
    total: int | None

    def rows(self) -> AsyncIterator[Rows]:
        """All rows, table by table, without indexes. ``start`` and ``end`` are S throughout.

        Asked for once. A value MUST be written here exactly as ``stream`` writes it.
        Memory MUST NOT grow with the size of a table.
        """
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Source(Protocol):
    """Reads the tables of one sync: once whole, then every change in commit order.

    Order. ``stream`` yields committed changes only, in the order of their commits, and
    inside a transaction in the order they were made. Nothing is left out but what the
    sync's settings leave out, and that is counted (``Rows.left_out``).

    Duplicates. Reading again from a place gives what it gave before and nothing twice.
    The engine asks again after every fault, so a source never has to remember what it gave.

    Numbers. Every row image in the log has a number. Numbers rise strictly, lie
    between 1 and 2**53 - 1, and depend on nothing but the log and ``Place.previous``:
    reading again from the same place gives the same numbers and the same bytes, before
    and after a restart. An update takes two (first the old row, then the row),
    whichever of them is sent; any other change takes one. Images are numbered before
    settings choose among them: filters, mapping and delete modes MUST NOT change a number.
    The number of an image is what the log gives it, or ``previous + 1`` where that is larger.
    A source whose numbers cannot fall below ``previous`` may go by the log alone.

    Places. A Rows holds consecutive rows of one table, of one transaction or several.
    ``Rows.boundary`` says that a transaction ends behind the last of them, and MUST be False
    where one may be cut. Behind it the engine goes on from ``Rows.end``. Anywhere
    else, in the middle of a Rows too, it goes on from ``Rows.start`` with
    ``resume_after`` set to the last number delivered: images numbered so or lower are
    dropped, all others come as they came before. The text of a position is kept in
    the journal and read by later versions of the driver.

    Letting go. What lies behind the last acknowledged place MUST stay in the log, or its loss
    must be noticed (``LostPlaceError``). What lies before it may go; keeping some of it lets a
    service that was restored from a backup be brought up to date.

    Schema. A table's definition may change while it is followed. ``Rows.version`` MUST rise
    with it, no Rows holds two versions, and no change may be lost or come with
    columns missing. A change that makes that impossible is a LostPlaceError (a table truncated,
    dropped, exchanged) or a HaltSyncError. A table that is new, or gone, counts from the next
    ``discover`` on.

    Deletes. The table's ``mapping.deletes`` says what is sent for a deleted row: the old
    row like any other (``row``), the old row or its key with ``mapping.delete_field`` true, which
    every other event carries as false (``mark``), or nothing (``skip``). A changed key is a
    delete of the old one followed by the new row. An old row that the log does not hold
    is left out, and counted, except under ``mark``, which needs the key alone.
    """

    async def open(self) -> None:
        """Connect and prove that this is the database it was. Idempotent."""
        ...

    async def close(self) -> None:
        """Let go of every connection and watcher."""
        ...

    async def discover(self) -> list[Table]:
        """The tables the sync's patterns select now, less those excluded, in a stable order.

        Raises:
            HaltSyncError: a name or pattern selects nothing; it names close matches.
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
        Every change committed after it has returned MUST be in the log.

        Raises:
            LostPlaceError: changes may have been missed since the log was last kept. Not the first time.
            HaltSyncError: table, mapping and event schema do not fit, or the database forbids a log.
        """
        ...

    async def locate(self, anchors: Sequence[Anchor], index: int) -> Place:
        """Find the place right behind ``index`` and prove it.

        ``anchors`` (newest first) come from the journal and are pairs of an index and the
        place behind it; they also tell this log from another one. Empty means the journal was
        lost, and the number alone has to do, or not: a source that cannot prove it MUST raise
        and MUST NOT guess. The index must be met exactly: as a row image, a transaction
        end, or a snapshot's S. The stream from the place that is given holds every image
        above ``index`` and none at or below it.

        Raises:
            LostPlaceError: it is not in the log any more, lies beyond its end,
                or falls between two numbers.
        """
        ...

    async def oldest(self, above: int) -> Place:
        """The oldest place that can be proven, numbered so that all that follows is above ``above``.

        The numbers hold from then on, also for a new object that reads from the same place.

        Raises:
            HaltSyncError: there is no number left above ``above``.
        """
        ...

    async def head(self, place: Place | None) -> Head:
        """The end of the log as it stands; its position may be given to ``stream`` as ``until``.

        ``place`` is where the sync stands, to count what lies behind it. May be called while
        ``stream`` or a snapshot is running, and of a sync at rest right behind ``open``.
        """
        ...

    def stream(self, place: Place, until: str | None = None, *, numbered: bool = True) -> AsyncIterator[Rows]:
        """Every change behind ``place``, for ever, or up to position ``until`` inclusive.

        Yields soon after each commit; when it has nothing more it yields once with
        ``at_end`` set (rows may be empty) and then waits, without a further word until there
        is more. With ``until`` it ends by itself, also where that lies behind ``place``.
        Each event ends with its number as the property ``index``; ``numbered=False``
        leaves that out of the text (changes repeated under a snapshot), and
        ``Rows.indexes`` is there all the same.
        Where other tables or left-out rows fill the log it yields Rows without rows now and
        then, so that the place moves on.
        Reading ahead is bounded by the caller: a Rows is asked for when there is room, and
        memory MUST NOT grow with the size of a transaction or of the backlog.

        Raises:
            LostPlaceError: ``place`` is not in this log (any more), or what follows cannot be delivered.
        """
        ...

    async def snapshot(self, tables: Sequence[str]) -> SnapshotRun:
        """Take a consistent picture of these tables (labels of prepared tables).

        Other programs MUST be able to write while it is read, if the database can do that at all.
        No stream is read meanwhile but one that ends at its S.
        """
        ...

    async def acknowledge(self, place: Place) -> None:
        """Everything up to ``place`` is delivered and remembered on disk; the log may let go of it.

        The one permission to do so: what was only yielded, or only pushed, MUST stay.
        May be called while ``stream`` is running, and with a place that was acknowledged before.
        Cheap to call often.
        """
        ...

    async def reread(self, spec: TableSpec, events: Sequence[bytes]) -> list[Written]:
        """The rows these events told of, as they are now; one answer for each, in their order.

        The events were written by this source for this table, some time ago and perhaps under
        other settings. A row is found by its key's columns, whose values stand in the event under
        the names and in the forms of ``spec``. Where they cannot be told from it (masked, left
        out, written in a form with no way back), the answer MUST say so in ``refused``, and MUST NOT
        be another row. A row that is gone, or that meets the sync's condition no more, has no
        event, unless the old event was the mark of a deleted row: then it is that mark again, the key alone.
        Changes nothing, needs no ``prepare``, and is never called while ``stream`` or a snapshot runs.
        """
        ...

    async def sample(self, spec: TableSpec, most: int) -> list[Written]:
        """The first rows of a table as a snapshot would write them, at most ``most``.

        Changes nothing, needs no ``prepare``, and is never called while ``stream`` or a snapshot runs.
        """
        ...

    async def remove(self) -> list[str]:
        """Take out of the database all that fuagent put there for this sync; say what, one line each.

        Called without ``open`` or ``prepare``, perhaps twice; with nothing there it says so or nothing.
        """
        ...


class Pusher(Protocol):
    """Delivers batches to one service and asks it for its checkpoint.

    One attempt each. ``push`` and ``checkpoint`` never retry: what comes back is what
    one attempt gave, and the engine decides. (A kept connection that the other side
    had closed before it took anything is no attempt.) Each ends within
    ``PusherContext.timeout``, whatever the other side does.

    Order. The engine has one batch in flight per sync and sends the next one when
    this one is acknowledged. ACKNOWLEDGED MUST mean that the other side has all of the
    batch for good: the engine then lets the source's log go.

    Duplicates. A batch whose answer was lost is pushed again, as the same value: same
    batch, same bytes, with the same ``Batch.key``, before and after a restart of the pusher.

    The other side is not trusted. What it answers MUST NOT lead rows or credentials to
    another place (a redirect of a POST is never followed), nor fill memory, nor appear
    unclean in a text.
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
        """What the document says about this table's events; None where it says nothing. After ``open``."""
        ...

    def route(self, table: str) -> str:
        """The URL this table's batches go to, without secrets; the same every time. After ``open``.

        Tables of one route share batches, so a pusher whose events do not name their table
        gives each table a route of its own. Empty batches go to every route in turn.
        """
        ...

    async def checkpoint(self) -> Checkpoint:
        """Ask the status endpoint once.

        NONE and NO_ENDPOINT MUST NOT be guessed: NONE is the other side's own clear word that it
        holds nothing of this sync, and begins everything anew. A pusher whose other side
        keeps no checkpoint says NO_ENDPOINT every time.

        Raises:
            TryAgainError: anything that is not a clear answer (5xx, timeout, 401, HTML).
            HaltSyncError: a clear answer that cannot be an index.
        """
        ...

    async def push(self, batch: Batch) -> Outcome:
        """Send one batch once. Same batch, same bytes. Faults of the wire are Outcomes, not exceptions.

        A batch without events is sent like any other: it carries the end of a snapshot, or a
        suggestion. What follows from the outcome:

        ACKNOWLEDGED
            The next batch. ``snapshot_needed`` asks for a snapshot.
        RETRY
            The same bytes again, for ever; ``retry_after`` is a floor for the wait.
        SPLIT
            Half of it, until it fits.
        REJECTED
            Half of it, until the row that is refused stands alone; a person decides about that one.
        UNAUTHORISED
            ``refresh``, then the same bytes, slowly.
        WRONG_ANSWER
            The same bytes, slowly: something else answers in the other side's place.
        HALT
            The sync stops with the outcome's ``reason`` and ``fix``.

        Raises:
            HaltSyncError: the batch cannot be written at all.
        """
        ...

    async def refresh(self) -> None:
        """Read credential files and tokens again: the service refused the ones in use."""
        ...


@runtime_checkable
class Previewing(Protocol):
    """What a pusher may offer besides: to show a request instead of sending it."""

    def preview(self, batch: Batch) -> Request:
        """The request ``push`` would send for this batch, with every secret covered. Called after ``open``; sends nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a pusher found its other side, for people: URLs without secrets. ``status`` None where it keeps no checkpoint."""

    document: str
    status: str | None


@runtime_checkable
class Locating(Protocol):
    """What a pusher may offer besides: to say where it found the other side's document and checkpoint."""

    def whereabouts(self) -> Whereabouts:
        """What ``open`` found; called after it."""
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
