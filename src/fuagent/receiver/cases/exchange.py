"""The nouns of the table: requests, replies, what is checked, and how the ends are set up."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

import orjson

from fuagent.contract import payload
from fuagent.contract.payload import Payload

Row = Mapping[str, Any]

ROWS: tuple[Row, ...] = (
    {"id": 1, "name": "Ada", "email": "ada@example.org"},
    {"id": 2, "name": "Grace", "email": "grace@example.org"},
    {"id": 3, "name": "Zoë 😀", "email": None},
)
"""What the table holds at the start."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; ``query`` decoded, in order; header names in lower case."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer; header names in lower case."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setup:
    """How both ends are set up: what stands in the agent's configuration and in the service's document.

    ``key``, or ``user`` and ``password``, or none of them. ``batch_endpoint`` None leaves the
    key out of the configuration; ``status_endpoint`` None leaves the field out of the document.
    ``one_task``: the service knows this task beforehand, and no other.
    """

    agent_id: str = "agent-0123456789ab"
    task_id: str = "items-to-service"
    base: str = "/v1"
    batch_endpoint: str | None = None
    status_endpoint: str | None = "/fuagent-sync-status"
    key: str | None = "key-for-the-cases"
    user: str | None = None
    password: str | None = None
    rows: tuple[Row, ...] = ROWS
    one_task: bool = False

    @property
    def batch_path(self) -> str:
        """Where batches go."""
        return self.base + (self.batch_endpoint or "/ingest-batch")

    @property
    def status_path(self) -> str | None:
        """Where the checkpoint is asked for."""
        return None if self.status_endpoint is None else self.base + self.status_endpoint


def credential_headers(setup: Setup) -> dict[str, str]:
    """The headers a credential gives, spelled out here apart from the code under test."""
    if setup.key is not None:
        return {"x-api-key": setup.key, "authorization": f"Bearer {setup.key}"}
    if setup.user is not None:
        pair = f"{setup.user}:{setup.password or ''}".encode()
        return {"authorization": f"Basic {b64encode(pair).decode()}"}
    return {}


def document(setup: Setup, origin: str) -> bytes:
    """The service's OpenAPI document; ``origin`` is scheme, host and port."""
    server: dict[str, str] = {"url": origin + setup.base}
    if setup.status_endpoint is not None:
        server["x-fuagent-status-endpoint"] = setup.status_endpoint
    paths = {setup.batch_endpoint or "/ingest-batch": {"post": {"responses": {"200": {"description": "taken"}}}}}
    info = {"title": "cases", "version": "1"}
    return orjson.dumps({"openapi": "3.1.0", "info": info, "servers": [server], "paths": paths})


def pusher(setup: Setup, origin: str) -> dict[str, Any]:
    """The entry under ``pushers`` of the agent's configuration."""
    entry: dict[str, Any] = {"driver": "openapi", "endpoint": f"{origin}/openapi.json"}
    if setup.key is not None:
        entry["credential"] = {"key": setup.key}
    elif setup.user is not None:
        entry["credential"] = {"user": setup.user, "password": setup.password}
    if setup.batch_endpoint is not None:
        entry["driver_params"] = {"batch_endpoint": setup.batch_endpoint}
    return entry


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A request that came and the answer it got."""

    request: Request
    reply: Reply

    @property
    def taken(self) -> bool:
        """Whether the service said yes."""
        return 200 <= self.reply.status < 300


@dataclass(frozen=True, slots=True)
class Scene:
    """A request of the agent with all that went before it."""

    setup: Setup
    request: Request
    before: tuple[Exchanged, ...] = ()

    @property
    def payload(self) -> Payload:
        """The body, read; PayloadError if it breaks the contract."""
        return payload.read(self.request.body)

    @property
    def batches(self) -> tuple[Exchanged, ...]:
        """The POSTs that went before."""
        return tuple(past for past in self.before if past.request.method == "POST")

    @property
    def checkpoint(self) -> int | None:
        """The largest index the service has taken so far."""
        indexes = (payload.read(past.request.body).last_index for past in self.batches if past.taken)
        return max((index for index in indexes if index is not None), default=None)


@dataclass(frozen=True, slots=True)
class Check:
    """Something a request owes, in words and as a predicate without effects."""

    text: str
    holds: Callable[[Scene], bool]


class Ask(StrEnum):
    """What a request of the agent is."""

    QUESTION = "the checkpoint question"
    ROWS = "a batch of rows"
    END = "the end marker of a snapshot"
    SUGGESTION = "a batch that suggests a snapshot"


class Do(Enum):
    """What the player of a case does, and to whom."""

    INSERT = "insert the row into the table"
    UPDATE = "update the row with this id to these values"
    DELETE = "delete the row with this id"
    RESTART = "stop the agent in an orderly way and start it again with its state"
    LOSE_PLACE = "make the source's log lose the agent's place, then insert the row"


@dataclass(frozen=True, slots=True)
class Act:
    """One thing to do before the next request is owed; ``row`` only where something is done to the table."""

    do: Do
    row: Row | None = None


Answer = Reply | Callable[[Scene], Reply]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request the agent owes, and the answer it gets.

    ``many``: the rows may come in any number of batches, each answered alike.
    """

    ask: Ask
    answer: Answer = Reply(200, b"{}")
    checks: tuple[Check, ...] = ()
    acts: tuple[Act, ...] = ()
    many: bool = False


@dataclass(frozen=True, slots=True)
class Expect:
    """Something the service owes once it has answered: ``holds`` sees all replies, the last one last."""

    text: str
    holds: Callable[[Setup, Sequence[Reply]], bool]

    def met(self, setup: Setup, replies: Sequence[Reply]) -> bool:
        """Whether it holds."""
        return self.holds(setup, replies)


@dataclass(frozen=True, slots=True)
class Step:
    """One request to the service, and what its reply owes."""

    send: Callable[[Setup], Request]
    expects: tuple[Expect, ...] = ()


class Side(StrEnum):
    """Who owes a statement."""

    AGENT = "agent"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Case:
    """One statement of the contract and a conversation that shows it."""

    id: str
    section: str
    statement: str
    setup: Setup = Setup()
    exchanges: tuple[Exchange, ...] = ()
    steps: tuple[Step, ...] = ()
    needs_status: bool = False
    needs_credential: bool = False

    @property
    def side(self) -> Side:
        """Who owes it."""
        return Side.SERVICE if self.steps else Side.AGENT

    def applies(self, setup: Setup) -> bool:
        """Whether a service set up like this can be asked for it."""
        has_status = setup.status_endpoint is not None
        return (has_status or not self.needs_status) and (bool(credential_headers(setup)) or not self.needs_credential)
