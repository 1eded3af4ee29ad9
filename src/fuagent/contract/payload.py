"""The body of one POST: how a batch is written, read back, and how each type is written.

A body has five keys, always in this order::

    {"agent_id": …, "task_id": …, "is_snapshot_end": …, "snapshot_sync_suggested": …, "events": […]}

Events arrive here as JSON text already, so a body is a join, its size is known
to the byte before it is made (:func:`overhead`), and the same batch gives the
same bytes on every attempt.

How a value is written follows from its column's kind and, where the service's
document describes the event, from the type the document names. :data:`RULES`
is the one table of it: the first rule of a kind is how it is written when
nobody asks for anything else, the others are the forms a document may ask for.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

import orjson

from fuagent.contract.text import clean
from fuagent.errors import HaltSyncError, PayloadError
from fuagent.model import INDEX_MAX, Batch, Column, Kind, Property
from fuagent.model_rows import Texts

CONTENT_TYPE = "application/json"
SEPARATOR = b","
"""Between two events; one byte for every event but the first."""

_WORDS = {False: b"false", True: b"true"}


def body(batch: Batch) -> bytes:
    """The exact bytes of the request.

    Raises:
        HaltSyncError: an id is not Unicode text.
    """
    head = _head(batch.agent_id, batch.task_id, batch.is_snapshot_end, batch.snapshot_sync_suggested)
    events = batch.events
    return b"".join((head, events.joined if isinstance(events, Texts) else SEPARATOR.join(events), b"]}"))


def overhead(
    agent_id: str, task_id: str, *, is_snapshot_end: bool = False, snapshot_sync_suggested: bool = False
) -> int:
    """Bytes of a body without its events: n events take ``overhead + their bytes + n - 1`` (n >= 1)."""
    return len(_head(agent_id, task_id, is_snapshot_end, snapshot_sync_suggested)) + 2


def _head(agent_id: str, task_id: str, end: bool, suggested: bool) -> bytes:
    try:
        ids = b'{"agent_id":%b,"task_id":%b' % (orjson.dumps(agent_id), orjson.dumps(task_id))
    except orjson.JSONEncodeError as error:
        message = "agent_id or the sync's name holds characters that no JSON text can carry"
        raise HaltSyncError(message, fix="use letters, digits and . _ : - only") from error
    return b'%b,"is_snapshot_end":%b,"snapshot_sync_suggested":%b,"events":[' % (ids, _WORDS[end], _WORDS[suggested])


@dataclass(frozen=True, slots=True)
class Payload:
    """A body as the receiving end sees it; every event is one row under its column names."""

    agent_id: str
    task_id: str
    is_snapshot_end: bool
    snapshot_sync_suggested: bool
    events: tuple[dict[str, Any], ...]

    @property
    def last_index(self) -> int | None:
        """The largest index in the batch: what to store as the checkpoint. None: leave it as it is."""
        return max((event["index"] for event in self.events if "index" in event), default=None)


_DIGITS = re.compile(rb"[0-9][0-9.]{15}|[0-9][eE][-+]?[0-9]")
"""Where a body may hold a number that 64 bits do not: of up to 15 digits all are safe."""


def read(data: bytes, *, exact: bool = False) -> Payload:
    """Read a request body and hold it against the contract.

    Args:
        data: The body.
        exact: Give a number that neither an integer nor a float of 64 bits holds as a Decimal, not rounded.

    Raises:
        PayloadError: it is not what the contract says; the text names the key and never a value.
    """
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise PayloadError(f"the body is not JSON: {clean(error.msg)} at character {error.pos}") from error
    if exact and _DIGITS.search(data):
        # Only what orjson has taken comes here, which is stricter than the standard library.
        document = json.loads(data, parse_int=_whole, parse_float=_fraction)
    if not isinstance(document, dict):
        raise PayloadError("the body is not a JSON object")
    payload = Payload(
        agent_id=_member(document, "agent_id", str),
        task_id=_member(document, "task_id", str),
        is_snapshot_end=_member(document, "is_snapshot_end", bool),
        snapshot_sync_suggested=_member(document, "snapshot_sync_suggested", bool),
        events=tuple(_member(document, "events", list)),
    )
    _verify(payload)
    return payload


def _whole(digits: str) -> int | Decimal:
    made = Decimal(digits)
    return int(made) if -(2**63) <= made < 2**64 else made


def _fraction(digits: str) -> float | Decimal:
    rough, made = float(digits), Decimal(digits)
    return rough if Decimal(repr(rough)) == made else made


_NAMES = {str: "string", bool: "boolean", list: "array"}


def _member(document: dict[str, Any], key: str, type_: type) -> Any:
    if key not in document:
        raise PayloadError(f"the body has no {key}")
    if not isinstance(document[key], type_):
        raise PayloadError(f"{key} is not a JSON {_NAMES[type_]}")
    return document[key]


def _verify(payload: Payload) -> None:
    for key, value in (("agent_id", payload.agent_id), ("task_id", payload.task_id)):
        if not value:
            raise PayloadError(f"{key} is empty")
    if payload.is_snapshot_end and payload.events:
        raise PayloadError("is_snapshot_end is true although the batch has events")
    for number, event in enumerate(payload.events):
        if not isinstance(event, dict):
            raise PayloadError(f"events[{number}] is not a JSON object")
        if "index" in event and not _is_index(event["index"]):
            raise PayloadError(f"events[{number}].index is not an integer from 1 to {INDEX_MAX}")


def _is_index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= INDEX_MAX


class Form(StrEnum):
    """Every way a value can be written.

    NULL is ``null`` in all of them. A moment that its form cannot say (a zero date, infinity, a year
    before Christ, a time beyond a day) is written as the kind's first rule says.
    """

    INTEGER = "integer"
    """A JSON number without fraction or exponent, every digit kept. A boolean: 1 or 0."""
    NUMBER = "number"
    """A JSON number. A decimal: its own digits, as many as there are. A float: the shortest digits that
    give the same value back at the column's own precision. What no JSON number can say is written as the
    strings "NaN", "Infinity", "-Infinity"."""
    STRING = "string"
    """What would be a bare JSON literal, in quotes: the digits of a number exactly as INTEGER or NUMBER
    writes them, ``true`` or ``false``, a set's labels joined by commas, a JSON value's text."""
    BOOLEAN = "boolean"
    """``true`` or ``false``. A number: 0 is false, any other true."""
    TEXT = "text"
    """The text itself as a JSON string, escaped as RFC 8259 section 7 demands and nothing more."""
    DATE = "date"
    """"2024-02-29"."""
    TIME = "time"
    """"23:59:58.125": no zone, as many fraction digits as the column declares."""
    DATETIME = "datetime"
    """"2024-02-29T23:59:58.125": no zone, as many fraction digits as the column declares."""
    TIMESTAMP = "timestamp"
    """"2024-02-29T23:59:58.125Z": UTC. A datetime without a zone is taken as UTC, a date as its midnight."""
    DURATION = "duration"
    """ISO 8601 duration: "P1Y2M3DT4H5M6.5S"."""
    BASE64 = "base64"
    """RFC 4648 section 4: the standard alphabet, padded, one line."""
    LABEL = "label"
    """The enum's label as a JSON string."""
    LABELS = "labels"
    """A JSON array of the set's labels, in the order the column declares them."""
    JSON = "json"
    """The JSON value itself, digits and key order untouched."""
    TEXT_FORM = "text form"
    """The database's own text for the value, as a JSON string."""
    DYNAMIC = "dynamic"
    """As stored: an integer as INTEGER, a real as NUMBER, text as TEXT, a blob as BASE64."""


DATE_TIME = "date-time"
_MOMENTS = frozenset({DATE_TIME, "date", "time", "duration"})
"""The formats (JSON Schema, format vocabulary) that say how a moment is spelled; any other one is no promise."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table: a column of ``kind`` may be written in ``form``.

    ``types`` are the JSON types that gives; ``formats`` the moments it spells, None where the text is
    the user's own and may spell any. ``whole`` limits it to columns declared without fraction digits.
    """

    kind: Kind
    form: Form
    types: frozenset[str]
    explanation: str
    formats: frozenset[str] | None = frozenset()
    whole: bool = False


_STRING = frozenset({"string"})
_NUMBER = frozenset({"number"})
_WHOLE = frozenset({"integer", "number"})
_BOOLEAN = frozenset({"boolean"})
_ARRAY = frozenset({"array"})
_TREE = frozenset({"object", "array"})
_LITERAL = frozenset({"object", "array", "number", "integer", "boolean"})
_ISO = frozenset({DATE_TIME})

RULES: tuple[Rule, ...] = (
    Rule(Kind.INTEGER, Form.INTEGER, _WHOLE, "number, exact digits"),
    Rule(Kind.INTEGER, Form.STRING, _STRING, "the digits as a string, for readers that lose digits beyond 2^53"),
    Rule(Kind.INTEGER, Form.BOOLEAN, _BOOLEAN, "0 is false, any other number true"),
    Rule(Kind.DECIMAL, Form.STRING, _STRING, 'string, exact digits; "NaN", "Infinity", "-Infinity" likewise'),
    Rule(Kind.DECIMAL, Form.NUMBER, _NUMBER, "number, exact digits; what is not finite stays a string"),
    Rule(Kind.DECIMAL, Form.INTEGER, _WHOLE, "number; only a column declared without fraction digits", whole=True),
    Rule(
        Kind.FLOAT,
        Form.NUMBER,
        _NUMBER,
        'number, shortest digits that round-trip at the column\'s precision; otherwise "NaN", "Infinity", "-Infinity"',
    ),
    Rule(Kind.FLOAT, Form.STRING, _STRING, "the same digits as a string"),
    Rule(Kind.BOOLEAN, Form.BOOLEAN, _BOOLEAN, "true or false"),
    Rule(Kind.BOOLEAN, Form.INTEGER, _WHOLE, "1 or 0"),
    Rule(Kind.BOOLEAN, Form.STRING, _STRING, '"true" or "false"'),
    Rule(Kind.TEXT, Form.TEXT, _STRING, "string, whatever the column's charset", None),
    Rule(Kind.DATE, Form.DATE, _STRING, "ISO 8601 date; a zero date is null", frozenset({"date"})),
    Rule(Kind.DATE, Form.TIMESTAMP, _STRING, "midnight of that day, in UTC with Z", _ISO),
    Rule(
        Kind.TIME,
        Form.TIME,
        _STRING,
        "ISO 8601 time without zone, fraction digits as declared; a time beyond a day as the database's text",
        frozenset({"time"}),
    ),
    Rule(
        Kind.DATETIME,
        Form.DATETIME,
        _STRING,
        "ISO 8601 without zone, fraction as declared; a zero date is null; infinity and BC as the database's text",
    ),
    Rule(Kind.DATETIME, Form.TIMESTAMP, _STRING, "the same taken as UTC, with Z: a date-time must name its zone", _ISO),
    Rule(
        Kind.TIMESTAMP, Form.TIMESTAMP, _STRING, "ISO 8601 in UTC with Z; infinity and BC as the database's text", _ISO
    ),
    Rule(Kind.INTERVAL, Form.DURATION, _STRING, "ISO 8601 duration", frozenset({"duration"})),
    Rule(Kind.BINARY, Form.BASE64, _STRING, "base64"),
    Rule(Kind.ENUM, Form.LABEL, _STRING, "the label", None),
    Rule(Kind.SET, Form.LABELS, _ARRAY, "array of the labels"),
    Rule(Kind.SET, Form.STRING, _STRING, "the labels joined by commas"),
    Rule(Kind.JSON, Form.JSON, _LITERAL, "the JSON itself; arrays likewise"),
    Rule(Kind.JSON, Form.STRING, _STRING, "the JSON text as a string", None),
    Rule(Kind.OTHER, Form.TEXT_FORM, _STRING, "the database's own text form; geometry as WKB in base64", None),
    Rule(Kind.DYNAMIC, Form.DYNAMIC, frozenset(), "as stored: number, string, or base64 for a blob", None),
    Rule(
        Kind.DYNAMIC,
        Form.STRING,
        _STRING,
        "numbers as their digits in a string; others as stored",
        _MOMENTS - _ISO,
    ),
    Rule(
        Kind.DYNAMIC,
        Form.TIMESTAMP,
        _STRING,
        "text that spells a date or date and time, and an integer as Unix seconds: in UTC with Z; others as stored",
        _ISO,
    ),
    Rule(
        Kind.DYNAMIC,
        Form.INTEGER,
        frozenset({"integer"}),
        "a real without fraction and text that is a whole number as number; others as stored",
    ),
    Rule(Kind.DYNAMIC, Form.NUMBER, _NUMBER, "text that is a number as number; others as stored"),
    Rule(Kind.DYNAMIC, Form.BOOLEAN, _BOOLEAN, "0 is false, any other integer true; others as stored"),
    Rule(Kind.DYNAMIC, Form.JSON, _TREE, "text that is JSON as the JSON itself; others as stored"),
)

_OF_KIND = {kind: tuple(rule for rule in RULES if rule.kind is kind) for kind in Kind}


def natural(kind: Kind) -> Form:
    """How a value of this kind is written when the service's document asks for nothing else."""
    return _OF_KIND[kind][0].form


def form(column: Column, wanted: Property | None, *, where: str, table: str = "") -> Form:
    """How the column is written for a property of the service's event schema.

    The natural form wherever the property admits it, else the first one it admits.

    Args:
        column: The column that feeds the property.
        wanted: What the document says of the property; None where it says nothing.
        where: The property's place in the document, for the error.
        table: The table's name, likewise.

    Raises:
        HaltSyncError: nothing the column can be written as is what the property wants.
    """
    if wanted is None or not (wanted.types or wanted.format in _MOMENTS):
        return natural(column.kind)
    types = _types(wanted)
    if column.kind is Kind.DYNAMIC and len(types) > 1:
        return Form.DYNAMIC  # each value finds the type that suits it
    met = [rule.form for rule in _OF_KIND[column.kind] if _meets(rule, column, types, wanted.format)]
    for one in met:
        possible = _possible(column, one)
        if not possible or not wanted.values or wanted.values & possible:
            return one
    name = f'column "{clean(column.name)}"' + (f" of table {clean(table)}" if table else "")
    raise _unlisted(column, name, wanted, met, where) if met else _unmet(column, name, wanted, where)


def json_text(value: object) -> str:
    """A value as JSON text, the same for numbers that JSON Schema calls equal (draft 2020-12, core, section 4.2.2)."""
    plain = int(value) if isinstance(value, float) and value.is_integer() else value
    return json.dumps(plain, sort_keys=True, ensure_ascii=False)


_BOOLEANS = {
    Form.BOOLEAN: frozenset({"true", "false"}),
    Form.INTEGER: frozenset({"0", "1"}),
    Form.STRING: frozenset({'"true"', '"false"'}),
}
_LABELS = re.compile(r"'((?:[^']|'')*)'")


def _possible(column: Column, one: Form) -> frozenset[str]:
    """All that a column can give in this form, as JSON text; empty where nobody knows."""
    if column.kind is Kind.BOOLEAN or one is Form.BOOLEAN:
        return _BOOLEANS[one]
    if column.kind is Kind.ENUM:  # MySQL spells the labels out in the type, others only its name
        return frozenset(json_text(label.replace("''", "'")) for label in _LABELS.findall(column.type))
    return frozenset()


def _types(wanted: Property) -> frozenset[str]:
    """The types asked for; a format that spells a moment asks for a string even where no type stands beside it."""
    types = (wanted.types or _STRING) - {"null"}
    return types - {"integer"} if types >= _WHOLE else types


def _meets(rule: Rule, column: Column, types: frozenset[str], format_: str) -> bool:
    given = rule.types & types
    if not given or (rule.whole and not _is_whole(column.type)):
        return False
    return given != _STRING or format_ not in _MOMENTS or rule.formats is None or format_ in rule.formats


_SCALE = re.compile(r"\(\s*[0-9]+\s*(?:,\s*(-?[0-9]+)\s*)?\)")


def _is_whole(type_: str) -> bool:
    """Whether a decimal was declared without fraction digits, as in ``decimal(20)`` or ``numeric(20,0)``."""
    match = _SCALE.search(type_)
    return match is not None and int(match[1] or "0") <= 0


def _unlisted(column: Column, name: str, wanted: Property, met: list[Form], where: str) -> HaltSyncError:
    possible = " or ".join(sorted({text for one in met for text in _possible(column, one)}))
    return HaltSyncError(
        f"the service wants {clean(' or '.join(sorted(wanted.values)))}, but {name} is "
        f"{clean(column.type) or column.kind} and can only be {clean(possible)}",
        where=where,
        fix="add what the column can be to the enum in the service's document, or map another column under fields",
    )


def _unmet(column: Column, name: str, wanted: Property, where: str) -> HaltSyncError:
    types = " or ".join(sorted(wanted.types)) or "string"
    asked = f"{types} with format {wanted.format}" if wanted.format in _MOMENTS else types
    possible = [_in_words(rule) for rule in _OF_KIND[column.kind] if not rule.whole or _is_whole(column.type)]
    return HaltSyncError(
        f"the service wants {clean(asked)}, but {name} is {clean(column.type) or column.kind} "
        f"and can only be written as {', '.join(possible)}",
        where=where,
        fix="change the type in the service's document, or map another column to this property under fields",
    )


def _in_words(rule: Rule) -> str:
    types = " or ".join(sorted(rule.types)) or "any type"
    return f"{types} with format {', '.join(sorted(rule.formats))}" if rule.formats else types
