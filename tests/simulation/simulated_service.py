"""A service as the wire sees it: requests in, answers out, rows and checkpoint in one step."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from fuagent.contract import payload

Event = dict[str, Any]
Identity = tuple[str, int, int, bool]
MARK = "_deleted"
STATUS = "/fuagent-sync-status"


def identity(event: Event) -> Identity:
    """Which version of which row this is, and whether it says that the row is gone."""
    return event["t"], event["id"], event["v"], bool(event.get(MARK))


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.url).query).items()}

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)


@dataclass(slots=True)
class Store:
    """What a backup of the service holds; below the line what the oracle knows of it."""

    rows: dict[object, Event] = field(default_factory=dict)
    checkpoint: int = 0
    run: str = ""
    """The snapshot or stream the last batch belonged to: the first two parts of its key."""
    came: set[object] = field(default_factory=set)
    """Keys that came in that run."""

    cursor: int = -1
    """The last change, in commit order, up to which everything owed has arrived."""
    owed: set[Identity] | None = None
    """Rows of the latest snapshot that have not arrived; None when no end marker is due."""
    picture: int = -1
    """The last change that snapshot shows."""
    covered: frozenset[str] = frozenset()
    """The tables whose changes are owed."""


class Service:
    """One service for one sync."""

    def __init__(self, applied: Callable[[Request, payload.Payload], None]) -> None:
        self.store = Store()
        self.remembers = True
        self.sweeps = False
        """Whether rows that did not come in a snapshot are dropped at its end marker."""
        self.accepts = True
        """Whether a suggestion is answered with ``snapshot_needed``."""
        self.wishes = 0
        """How many of the next batches are answered with ``snapshot_needed``."""
        self.largest = 10**9
        self.refuses: Callable[[Event], bool] | None = None
        self.refused: set[Identity] = set()
        """Every row ever refused: nobody is owed it."""
        self.quiet = False
        """Whether success is answered with 204 and nothing else."""
        self._applied = applied

    def backup(self) -> Store:
        """A copy of all it holds."""
        return deepcopy(self.store)

    def answer(self, request: Request) -> Answer:
        """Take one request."""
        return self._status() if request.method == "GET" else self._ingest(request)

    def _status(self) -> Answer:
        if not self.store.checkpoint:
            return Answer(404, b'{"detail":"no checkpoint"}')
        return Answer(200, orjson.dumps({"index": self.store.checkpoint}))

    def _ingest(self, request: Request) -> Answer:
        if len(request.body) > self.largest:
            return Answer(413)
        batch = payload.read(request.body)
        refused = [event for event in batch.events if self.refuses and self.refuses(event)]
        if refused:
            self.refused |= set(map(identity, refused))
            return Answer(422, b'{"detail":"a row is not to my liking"}')
        self._applied(request, batch)
        self._keep(batch, request.header("idempotency-key").rpartition(".")[0])
        wanted = self.wishes > 0 or (batch.snapshot_sync_suggested and self.accepts)
        self.wishes = max(0, self.wishes - 1)
        if self.quiet and not wanted:
            return Answer(204, headers=())
        return Answer(200, orjson.dumps({"snapshot_needed": wanted}))

    def _keep(self, batch: payload.Payload, run: str) -> None:
        store = self.store
        if run != store.run:
            store.run, store.came = run, set()
        for event in batch.events:
            store.rows[event["t"], event["id"]] = event
        store.came.update((event["t"], event["id"]) for event in batch.events)
        if batch.is_snapshot_end and self.sweeps and store.came:
            # A marker sent again after a crash is a run of its own, without rows: it sweeps nothing.
            store.rows = {key: event for key, event in store.rows.items() if key in store.came}
        store.checkpoint = max(store.checkpoint, batch.last_index or 0)

    def rows(self) -> dict[object, Event]:
        """What it holds: rows not marked as deleted, as the source knows them."""
        return {
            key: {name: value for name, value in event.items() if name not in ("index", MARK)}
            for key, event in self.store.rows.items()
            if not event.get(MARK)
        }
