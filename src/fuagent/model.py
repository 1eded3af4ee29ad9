"""The nouns of fuagent as frozen values. Imports nothing of ours.

Data runs left to right: a source yields :class:`Rows`, the engine cuts them
into a :class:`Batch`, a pusher turns an attempt to deliver it into an
:class:`Outcome`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Final, Literal

INDEX_MAX = 2**53 - 1
"""Largest index: the largest integer every JSON reader keeps exact (RFC 8259 section 6)."""


class Kind(StrEnum):
    """What a column holds, as far as writing it as JSON is concerned."""

    INTEGER = "integer"
    DECIMAL = "decimal"
    FLOAT = "float"
    BOOLEAN = "boolean"
    TEXT = "text"
    DATE = "date"
    TIME = "time"
    DATETIME = "datetime"
    TIMESTAMP = "timestamp"
    INTERVAL = "interval"
    BINARY = "binary"
    ENUM = "enum"
    SET = "set"
    JSON = "json"
    OTHER = "other"
    DYNAMIC = "dynamic"
    """The value itself says what it is: SQLite's storage classes."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``type`` is the database's own spelling, for messages."""

    name: str
    kind: Kind
    type: str = ""
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """One table as it stands in one version. ``key`` is empty for a table without one."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    schema: str = ""

    @property
    def label(self) -> str:
        """The name as people write it: ``schema.table``, or just ``table``."""
        return f"{self.schema}.{self.name}" if self.schema else self.name


class Deletes(StrEnum):
    """What is sent for a deleted row (and for the old key of a key change)."""

    ROW = "row"
    MARK = "mark"
    SKIP = "skip"


class Fact(StrEnum):
    """What a property may tell of the change itself, as it is written under ``fields``."""

    OPERATION = "$operation"
    """``insert``, ``update``, ``delete``, or ``snapshot``."""
    TABLE = "$table"
    SCHEMA = "$schema"
    COMMIT_TIME = "$commit_time"
    """ISO 8601 in UTC; null in a snapshot."""
    TRANSACTION = "$transaction"
    """The source's own name for the transaction; null in a snapshot."""
    SNAPSHOT = "$snapshot"
    """Whether the row comes from a snapshot."""


@dataclass(frozen=True, slots=True)
class Field:
    """One property of the event: a column, a constant, or a fact of the change itself.

    A dot in ``name`` nests: ``customer.email`` is the property ``email`` of the object ``customer``.
    """

    name: str
    column: str | None = None
    constant: object = None
    fact: Fact | None = None


class Cover(StrEnum):
    """How a column is made unreadable."""

    HASH = "hash"
    REDACT = "redact"
    TRUNCATE = "truncate"


@dataclass(frozen=True, slots=True)
class Mask:
    """What becomes of one column's values, in snapshot and stream alike; NULL stays null.

    ``salt`` belongs to HASH, ``length`` (characters kept) to TRUNCATE.
    """

    column: str
    cover: Cover
    salt: Secret | None = None
    length: int = 0


@dataclass(frozen=True, slots=True)
class Transform:
    """A function of the user's: an event as it would be sent, without its index, to an event or None (leave it out)."""

    name: str
    """``package.module:function``."""
    function: Callable[[dict[str, object]], dict[str, object] | None]


@dataclass(frozen=True, slots=True)
class Mapping:
    """How rows become events. ``fields`` None means every column under its own name.

    ``where`` is a condition over the columns; only rows that meet it are sent.
    """

    fields: tuple[Field, ...] | None = None
    deletes: Deletes = Deletes.ROW
    delete_field: str = "_deleted"
    where: str = ""
    masks: tuple[Mask, ...] = ()
    transform: Transform | None = None


@dataclass(frozen=True, slots=True)
class Property:
    """One property of the service's event schema; ``types`` empty means anything goes."""

    types: frozenset[str] = frozenset()
    format: str = ""
    values: frozenset[str] = frozenset()
    """The only values it may have, each as JSON text; empty means any."""
    inside: EventSchema | None = field(default=None, repr=False)
    """What is said of the properties of an object; None where nothing is."""


@dataclass(frozen=True, slots=True)
class EventSchema:
    """What the service's document says about one event (``properties.events.items``)."""

    properties: AbstractMapping[str, Property] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    closed: bool = False
    """True where ``additionalProperties`` is false."""
    delete_field: str | None = None
    """The value of ``x-fuagent-delete-field``."""
    where: str = ""
    """Where it stands in the document, for messages."""
    whole: Callable[[], dict[str, object]] | None = field(default=None, compare=False, repr=False)
    """Gives all that it says, as JSON Schema 2020-12 that stands by itself; None where that is not to be had."""


@dataclass(frozen=True, slots=True)
class TableSpec:
    """One table of a sync with all that decides how its rows are written."""

    table: Table
    mapping: Mapping
    schema: EventSchema | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where to go on reading.

    ``position`` is the source's own text and opaque to everyone else;
    ``previous`` is the number of the last row image before it;
    images numbered ``resume_after`` or lower were delivered and are dropped.
    """

    position: str
    previous: int
    resume_after: int = 0


@dataclass(frozen=True, slots=True)
class Anchor:
    """A remembered pair of index and place, proven once by an acknowledgement.

    ``shape`` is the hash of tables, filters and delete mode under which rows were chosen;
    ``boundary`` says that no transaction is cut here.
    """

    index: int
    place: Place
    shape: str = ""
    boundary: bool = True


class Absent(Enum):
    """The type of :data:`ABSENT`."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return self.name


ABSENT: Final = Absent.ABSENT
"""Stands for a column that a row image in a log does not hold."""

Row = tuple[bytes | int | float | Literal[Absent.ABSENT] | None, ...]
"""A row image: for each column of the table what its event is made of, None for NULL."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows of one table in one version, each its JSON text.

    They may come out of several transactions; ``boundary`` says that one ends behind the last of them.

    ``rows`` may be any sequence; a :class:`fuagent.model_rows.Texts` spares joining what is sent together.
    ``indexes`` runs beside ``rows`` and is empty where rows have none (snapshot).
    ``start`` is a place to re-read them from; ``end`` is the place behind them,
    resumable by itself if ``boundary``. ``rows`` may be empty: the log moved on
    without anything for this sync. ``at_end``: the source had nothing more just now.
    """

    table: str
    rows: Sequence[bytes]
    indexes: Sequence[int]
    start: Place
    end: Place
    boundary: bool
    at_end: bool = False
    version: int = 0
    """Rises when the table's definition changes; a batch never spans two."""
    left_out: int = 0
    """Row images that this sync's settings keep back (counted, never silent)."""
    source_time: float | None = None
    """Unix time of the commit where the log says it."""
    refused: str = ""
    """Why this one row cannot be sent (a transform failed on it): it goes the way of ``on_reject``."""
    against: str = ""
    """The event schema that stands against it, where ``refused`` comes from there."""
    among: bool = False
    """Whether rows read together with it can be sent: then the fault is hardly the schema's own."""


@dataclass(frozen=True, slots=True)
class Written:
    """One row of a table as it is now, written as an event without an index.

    ``event`` is None where there is no such row (any more). ``refused`` says why the row cannot
    be found or sent; it holds nothing of the row.
    """

    event: bytes | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one POST carries, ready to be written; a retry sends the very same value."""

    task_id: str
    agent_id: str
    key: str
    """Idempotency key: ``<start of the agent>.<snapshot or stream id>.<batch number>``."""
    events: Sequence[bytes] = ()
    table: str = ""
    """The table whose route it goes to; empty for a sync of one route."""
    is_snapshot_end: bool = False
    snapshot_sync_suggested: bool = False
    index: int = 0
    """The highest index in it; 0 where no event carries one. Not a part of the body."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it would be sent, for people: whatever is secret in it is covered already."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    note: str = ""
    """What differs on the wire: a body that is compressed, say."""


class Verdict(Enum):
    """What an answer means for the batch that was sent."""

    ACKNOWLEDGED = "acknowledged"
    RETRY = "retry"
    SPLIT = "split"
    REJECTED = "rejected"
    UNAUTHORISED = "unauthorised"
    WRONG_ANSWER = "wrong answer"
    HALT = "halt"


@dataclass(frozen=True, slots=True)
class Refused:
    """One event that a 2xx refuses: its place in the batch, from 0, and the service's own words.

    The words may hold values of the row: they go where the row itself goes, and never into a log.
    """

    row: int
    words: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One answer, read. ``reason`` is a sentence for the operator, ``fix`` what to do."""

    verdict: Verdict
    reason: str = ""
    fix: str = ""
    status: int | None = None
    snapshot_needed: bool = False
    retry_after: float | None = None
    """Seconds the service asked for; a floor for the next attempt."""
    case: str = ""
    """Which case of the contract's table this is, for counting; empty where the table was not asked."""
    rejected: tuple[Refused, ...] = ()
    """The events that a 2xx refuses all the same, in order; the others are acknowledged."""
    warning: str = ""
    """What is wrong with an answer that counts all the same."""


class Answer(Enum):
    """What kind of answer the checkpoint question got."""

    INDEX = "index"
    NONE = "none"
    """404: no checkpoint."""
    NO_ENDPOINT = "no endpoint"
    """The document names no status endpoint: the journal is the checkpoint."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The service's answer to the checkpoint question; ``index`` counts only for INDEX."""

    answer: Answer
    index: int = 0


class Secret:
    """A value that must never be shown: every way of printing it gives ``***``."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself; call it only where it goes onto the wire."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __reduce__(self) -> str:
        message = "a Secret cannot be pickled"
        raise TypeError(message)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential with every reference (``${ENV}``, ``*_file``) already read.

    Which fields are set says what it is: ``key``; ``user`` and ``password``;
    ``client_id`` and ``client_secret`` (OAuth2 client credentials); ``cert_file``
    (client certificate, with ``key_file`` unless both are in one file).
    A certificate may stand beside any of the others.
    """

    key: Secret | None = None
    user: str | None = None
    password: Secret | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    token_url: str | None = None
    scopes: tuple[str, ...] = ()
    cert_file: str | None = None
    key_file: str | None = None
    key_password: Secret | None = None


class Level(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of ``fuagent check``: where, what, and the exact thing to do."""

    level: Level
    where: str
    what: str
    fix: str = ""
