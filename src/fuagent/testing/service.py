"""A service in memory, and the pusher that delivers to it.

It keeps rows and checkpoint together, as the contract wants it: the rows of a batch
and its largest index are stored in one step, or neither is. What it answers instead
comes from ``script`` (once each) or ``rule`` (as long as it stands).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from fuagent.contract import payload
from fuagent.errors import FuagentError
from fuagent.interfaces import Clock, PusherContext
from fuagent.model import Answer, Batch, Checkpoint, EventSchema, Finding, Outcome, Refused, Table, Verdict

Event = dict[str, Any]
DELETED = "_deleted"

TAKEN = Outcome(Verdict.ACKNOWLEDGED, status=200)
UNAVAILABLE = Outcome(Verdict.RETRY, "the service answers 503.", status=503)
TOO_LARGE = Outcome(Verdict.SPLIT, "the service answers 413.", status=413)
REJECTED = Outcome(Verdict.REJECTED, "the service answers 422.", status=422)
GONE = Outcome(Verdict.HALT, "the service answers 410.", "Remove the sync.", status=410)
REFUSED = Outcome(Verdict.UNAUTHORISED, "the service answers 401.", status=401)
WORDS = "there is no such colour"
"""Why it names an event as rejected."""
PAGE = Outcome(Verdict.WRONG_ANSWER, "a page came back.", status=200)


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered instead of the ordinary; ``stored`` says whether the batch was taken all the same."""

    outcome: Outcome
    stored: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """One POST as it arrived."""

    batch: Batch
    body: bytes
    events: tuple[Event, ...]
    outcome: Outcome
    stored: bool
    at: float

    @property
    def indexes(self) -> list[int]:
        """The indexes of its events, those that have one."""
        return [event["index"] for event in self.events if "index" in event]


@dataclass(slots=True)
class Store:
    """What a backup of the service holds."""

    rows: dict[object, Event] = field(default_factory=dict)
    checkpoint: int | None = None
    seen: set[object] | None = None
    """Keys that came since a snapshot was asked for; None when none is awaited."""


class Service:
    """One service for one sync.

    Args:
        clock: Stamps requests; with ``latency``, how long one takes.
        key: Gives the key under which an event is stored.
        remembers: Whether it has a status endpoint.
    """

    def __init__(
        self,
        clock: Clock,
        key: Callable[[Event], object] = lambda event: event["id"],
        *,
        remembers: bool = True,
        latency: float = 0.0,
    ) -> None:
        self.hook: Callable[[str], None] = lambda _step: None
        self.remembers = remembers
        self.latency = latency
        self.store = Store()
        self.requests: list[Request] = []
        self.script: deque[Reply] = deque()
        self.rule: Callable[[Batch], Reply | None] = lambda _batch: None
        self.questions: deque[Checkpoint | FuagentError] = deque()
        """Answers to the checkpoint question that come before the true one."""
        self.asked = 0
        self.refreshed = 0
        self.wishes = 0
        """How many of the next taken batches are answered with ``snapshot_needed``."""
        self.accepts = True
        """Whether a suggestion is answered with ``snapshot_needed``."""
        self.largest = 2**63
        """Most bytes of a body."""
        self.sweeps = False
        """Whether rows that did not come in a snapshot it asked for are dropped at the end marker."""
        self.refuses: Callable[[Event], bool] = lambda _event: False
        """Which events make it refuse their whole batch."""
        self.names: Callable[[Event], bool] = lambda _event: False
        """Which events it names as rejected when it takes the others."""
        self._clock = clock
        self._key = key
        self._busy = False

    @property
    def taken(self) -> list[Request]:
        """The requests whose batches were stored."""
        return [request for request in self.requests if request.stored]

    @property
    def events(self) -> list[Event]:
        """Every event stored, in order."""
        return [event for request in self.taken for event in request.events]

    @property
    def markers(self) -> list[Request]:
        """The end markers taken."""
        return [request for request in self.taken if request.batch.is_snapshot_end]

    def rows(self) -> dict[object, Event]:
        """What it holds: rows not deleted, as the source knows them."""
        return {
            key: {name: value for name, value in event.items() if name not in ("index", DELETED)}
            for key, event in self.store.rows.items()
            if not event.get(DELETED)
        }

    def backup(self) -> Store:
        """A copy of all it holds."""
        return deepcopy(self.store)

    async def receive(self, batch: Batch) -> Outcome:
        """Answer one POST."""
        assert not self._busy, "two requests of one sync at once"
        self._busy = True
        try:
            return await self._receive(batch)
        finally:
            self._busy = False

    async def _receive(self, batch: Batch) -> Outcome:
        self.hook("received")
        await (self._clock.sleep(self.latency) if self.latency else asyncio.sleep(0))
        body = payload.body(batch)
        events = payload.read(body).events
        reply = self.script.popleft() if self.script else self.rule(batch)
        reply = reply or self._judge(batch, body, events)
        if reply.stored:
            named = {refused.row for refused in reply.outcome.rejected}
            self._keep(batch, events, [event for at, event in enumerate(events) if at not in named])
            if reply.outcome.snapshot_needed:
                self.store.seen = set()
        self.requests.append(Request(batch, body, events, reply.outcome, reply.stored, self._clock.monotonic()))
        self.hook("answered")
        await asyncio.sleep(0)
        return reply.outcome

    def question(self) -> Checkpoint:
        """Answer the checkpoint question."""
        self.hook("asked")
        self.asked += 1
        if self.questions:
            answer = self.questions.popleft()
            if isinstance(answer, FuagentError):
                raise answer
            return answer
        if not self.remembers:
            return Checkpoint(Answer.NO_ENDPOINT)
        if self.store.checkpoint is None:
            return Checkpoint(Answer.NONE)
        return Checkpoint(Answer.INDEX, self.store.checkpoint)

    def _judge(self, batch: Batch, body: bytes, events: Sequence[Event]) -> Reply:
        if len(body) > self.largest:
            return Reply(TOO_LARGE)
        if any(map(self.refuses, events)):
            return Reply(REJECTED)
        wished = self.wishes > 0
        self.wishes -= wished
        accepted = batch.snapshot_sync_suggested and self.accepts
        rejected = tuple(Refused(at, WORDS) for at, event in enumerate(events) if self.names(event))
        alone = bool(rejected) and len(events) == 1  # as fuagent.contract.outcome reads it
        verdict = Verdict.REJECTED if alone else Verdict.ACKNOWLEDGED
        needed = wished or accepted
        return Reply(Outcome(verdict, status=200, snapshot_needed=needed, rejected=rejected), stored=True)

    def _keep(self, batch: Batch, events: Sequence[Event], good: Sequence[Event]) -> None:
        store = self.store
        for event in good:
            store.rows[self._key(event)] = event
        if store.seen is not None:
            store.seen.update(map(self._key, events))
            if batch.is_snapshot_end:
                if self.sweeps:
                    store.rows = {key: event for key, event in store.rows.items() if key in store.seen}
                store.seen = None
        highest = max((event["index"] for event in events if "index" in event), default=None)
        if highest is not None:
            store.checkpoint = max(store.checkpoint or 0, highest)


class MemoryPusher:
    """Implements ``fuagent.interfaces.Pusher`` for a :class:`Service`.

    Args:
        context: As for any pusher.
        service: Whom to deliver to.
        routed: Whether every table has a route of its own.
        schema: What the document says about events.
    """

    def __init__(
        self, context: PusherContext, service: Service, *, routed: bool = False, schema: EventSchema | None = None
    ) -> None:
        self._context = context
        self._service = service
        self._routed = routed
        self._schema = schema

    async def open(self) -> None:
        self._service.hook("document")

    async def close(self) -> None:
        """Nothing is held open."""

    async def check(self, tables: Sequence[Table]) -> list[Finding]:  # noqa: ARG002
        return []

    def event_schema(self, table: Table) -> EventSchema | None:  # noqa: ARG002
        return self._schema

    def route(self, table: str) -> str:
        return f"memory://service/{table if self._routed else 'ingest-batch'}"

    async def checkpoint(self) -> Checkpoint:
        await asyncio.sleep(0)
        return self._service.question()

    async def push(self, batch: Batch) -> Outcome:
        return await self._service.receive(batch)

    async def refresh(self) -> None:
        self._service.refreshed += 1
