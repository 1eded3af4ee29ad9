"""What a batch means, whatever it came over.

One batch is one transaction: rows, checkpoint and state change together. Three things
make a repeated or a late batch harmless.

1. An event whose index is not above the checkpoint was applied before, perhaps in a newer
   version, and is passed over. Within a batch the last row of a key wins.
2. Events without an index (rows of a snapshot) are always applied. What keeps a late
   attempt of them out is the ``Idempotency-Key``, ``<start of the agent>.<run>.<number>``:
   the one answered last is answered alike without applying it, and an earlier one of the
   same start is not applied.
3. Rows carry the run, that is the snapshot or stream, in which they came. So the end
   marker of a snapshot tells which rows it did not contain.

Starts of the agent are numbered by its clock, which may be set back. A batch of an earlier
start is applied as far as 1 and 2 allow, but never becomes the last one and sweeps nothing.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, Protocol, TypeVar

from fuagent.contract.payload import Payload
from fuagent.errors import PayloadError
from fuagent.receiver.rows import Event, RowType
from fuagent.receiver.store import Growing, Key, State, Store, Target, Transaction

Snapshots = Literal["ask", "never"]
LONGEST_ID = 200
"""Characters of an ``agent_id`` that are taken; the agent's own have 18."""
MOST_REJECTED = 200
"""Rows of a batch that are named: an agent reads 64 KiB of an answer, and more refused rows mean another fault."""
_BATCH_KEY = re.compile(r"([0-9a-f]{1,16})\.([0-9]{1,18})\.([0-9]{1,18})")

_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Changes(Generic[_Row]):
    """What one batch changes in one table, each key at most once."""

    rows: tuple[_Row, ...]
    """Rows as they are now, in the declared type."""
    gone: tuple[Key, ...]
    """Keys of rows that are deleted."""
    session: Any
    """The store's transaction: what is written through it is kept with the rows or not at all."""
    agent_id: str
    task_id: str


@dataclass(frozen=True, slots=True)
class Route:
    """One task at one path, or whatever task comes there."""

    task: str | None
    """None: every task."""
    target: Target
    rows: RowType
    take: Callable[[Changes[Any]], object] | None = None
    """Called inside the transaction once the rows are stored; what it raises undoes them."""
    sweep: bool = False
    snapshots: Snapshots = "ask"


class NoRouteError(Exception):
    """There is no place for the rows of this path; the text says why, for the sender."""


class Tables(Protocol):
    """Routes that are found by the name of a table in the path, whatever task comes there."""

    def route(self, table: str) -> Route:
        """The route of a table. It may block.

        Raises:
            NoRouteError: no table goes by this name.
        """
        ...

    def known(self) -> Iterable[tuple[str, RowType]]:
        """The tables that are there by now and their rows, for the document."""
        ...

    @property
    def unknown(self) -> RowType | None:
        """What the rows of tables look like that are not there yet; None: there will be no others."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer.

    ``late``: the batch came after newer ones and was not applied. ``rejected``: rows that were left out, each with its
    place in the batch and why.
    """

    snapshot_needed: bool = False
    late: bool = False
    rejected: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class BatchKey:
    """An ``Idempotency-Key`` of the agent, taken apart; later batches compare as greater."""

    start: int
    run: int
    number: int

    @classmethod
    def read(cls, text: str) -> BatchKey | None:
        """None for a key of another form, which says nothing."""
        match = _BATCH_KEY.fullmatch(text)
        return cls(int(match[1], 16), int(match[2]), int(match[3])) if match else None

    @property
    def run_name(self) -> str:
        """The run, unlike that of any other start."""
        return f"{self.start:x}.{self.run}"


def verify_agent(agent_id: str) -> None:
    """Hold an agent's id against what any store can keep.

    Raises:
        PayloadError: it cannot be kept.
    """
    if len(agent_id) > LONGEST_ID or not agent_id.isprintable():
        raise PayloadError(f"agent_id is longer than {LONGEST_ID} characters or not printable")


def receive(store: Store, route: Route, payload: Payload, key: str = "", *, name_rejected: bool = False) -> Answer:
    """Apply one batch.

    Args:
        store: Where to.
        route: What the rows are.
        payload: The batch.
        key: Its ``Idempotency-Key``; empty for none.
        name_rejected: Leave out rows that are not what the route takes and name them, up to ``MOST_REJECTED``.

    Raises:
        PayloadError: a row is not what the route takes; nothing of the batch is kept.
    """
    verify_agent(payload.agent_id)
    events, rejected = _read(route, payload, MOST_REJECTED if name_rejected else 0)
    # Read before it is known whether the batch was applied already, so that a replay names the same rows.
    return replace(_receive(store, route, payload, events, key), rejected=rejected)


def _read(route: Route, payload: Payload, most: int) -> tuple[list[Event], tuple[tuple[int, str], ...]]:
    """The events, and up to ``most`` that cannot be read."""
    events: list[Event] = []
    rejected: list[tuple[int, str]] = []
    for number, event in enumerate(payload.events):
        try:
            events.append(route.rows.read(number, event))
        except PayloadError as error:
            if len(rejected) == most:
                raise
            rejected.append((number, error.what))
    return events, tuple(rejected)


def _receive(store: Store, route: Route, payload: Payload, events: Sequence[Event], key: str) -> Answer:
    now = BatchKey.read(key)
    if isinstance(store, Growing):
        store.grow(route.target, [event.row for event in events])
    with store.transaction(payload.agent_id, payload.task_id) as transaction:
        last = BatchKey.read(transaction.state.key)
        if now and last and now.start == last.start and now <= last:
            return Answer(transaction.state.needed) if now == last else Answer(late=True)
        # An attempt of an earlier start of the agent, or an agent whose clock was set back.
        stale = bool(now and last and now.start < last.start)
        return _apply(transaction, route, payload, events, now, stale=stale)


def _apply(
    transaction: Transaction,
    route: Route,
    payload: Payload,
    events: Sequence[Event],
    now: BatchKey | None,
    *,
    stale: bool,
) -> Answer:
    before = transaction.state
    fresh = [event for event in events if event.index is None or event.index > (before.checkpoint or 0)]
    bare = any(event.index is None for event in fresh)
    run = _run(before, now, fresh=bool(fresh), bare=bare)
    _write(transaction, route, payload, fresh, run)
    if payload.is_snapshot_end and route.sweep and not stale:
        # A marker that no rows came with in its own run ends the snapshot of the run before: the
        # agent had stopped in between. Of a table that is empty now that removes less than it could,
        # and never a row that the source has.
        transaction.sweep(route.target, run)
    # A run of an earlier start says nothing of the one whose rows came last, nor is its answer the last one.
    after = _after(before, route, payload, None if stale else now, bare=bare, run=before.run if stale else run)
    if stale:
        transaction.save(replace(after, needed=before.needed))
    else:
        transaction.save(replace(after, key=f"{now.run_name}.{now.number}" if now else before.key))
    return Answer(after.needed)


def _run(before: State, now: BatchKey | None, *, fresh: bool, bare: bool) -> str:
    """The run that the rows of this batch carry."""
    if not fresh:
        return before.run
    if now:
        return now.run_name
    # Without the header a snapshot begins where rows without an index begin.
    return secrets.token_hex(8) if bare and not before.under_way else before.run


def _write(transaction: Transaction, route: Route, payload: Payload, fresh: Sequence[Event], run: str) -> None:
    last = {event.key: event for event in fresh}
    rows = [event for event in last.values() if event.row is not None]
    gone = tuple(event.key for event in last.values() if event.row is None)
    if rows:
        transaction.put(route.target, [event.row for event in rows if event.row is not None], run)
    if gone:
        transaction.remove(route.target, gone)
    if route.take and last:
        values = tuple(event.value for event in rows)
        route.take(Changes(values, gone, transaction.session, payload.agent_id, payload.task_id))


def _after(before: State, route: Route, payload: Payload, now: BatchKey | None, *, bare: bool, run: str) -> State:
    ended = payload.is_snapshot_end
    within = before.under_way and _within(before, payload, now)
    wanted = not ended and route.snapshots == "ask" and (before.wanted or _wishes(before, payload))
    return replace(
        before,
        checkpoint=max(before.checkpoint or 0, payload.last_index or 0) or None,
        needed=wanted and not bare and (payload.snapshot_sync_suggested or not within),
        run=run,
        seen=before.seen or ended,
        wanted=wanted,
        # Another run has begun: what was under way was broken off. Without the header nothing tells so.
        under_way=not ended and (bare or within or (now is None and before.under_way)),
    )


def _wishes(before: State, payload: Payload) -> bool:
    """Whether this batch is a reason to ask for a snapshot.

    The very last row of a snapshot carries an index: one that comes first and alone may be all of
    a table, and the end marker then follows.
    """
    only_changes = bool(payload.events) and (before.checkpoint is not None or len(payload.events) > 1)
    return payload.snapshot_sync_suggested or (only_changes and not before.seen)


def _within(before: State, payload: Payload, now: BatchKey | None) -> bool:
    """Whether a batch with no row of a snapshot belongs all the same to the one under way, as its very last row does.

    That row comes in the run of the others; without the header it is known by coming alone.
    """
    return now.run_name == before.run if now else len(payload.events) <= 1
