"""Every key of config.yaml, declared once: type, default, description, example.

Reading, the reference page, the JSON Schema for editors and the commented
example all come from these models.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from fuagent.model import Cover, Fact

NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}")
RESERVED = "index"

_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600}
_SIZE = re.compile(r"([0-9]{1,12})\s*(B|kB|KB|MB|KiB|MiB|)", re.ASCII)
_BYTES = {"": 1, "B": 1, "kB": 1000, "KB": 1000, "MB": 1_000_000, "KiB": 1024, "MiB": 1024**2}
_MAX_LENGTH = 1024
_LONGEST = 1e9
_INTEGERS = 2**63


def wrong(what: str, fix: str) -> PydanticCustomError:
    """A mistake with its repair; neither may hold the value itself."""
    return PydanticCustomError("refused", "{what}", {"what": what, "fix": fix})


def _name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise wrong("a name is 1 to 128 of the characters A-Z a-z 0-9 . _ : -", "Choose another name.")
    return value


def _seconds(value: object) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LONGEST:
        return float(value)
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) and len(value) < _MAX_LENGTH else None
    if match is None:
        raise wrong("this is not a duration", "Write seconds, or a number with its unit: 30, 500ms, 30s, 5m, 1h.")
    return float(match[1]) * _SECONDS[match[2]]


def _bytes(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) and len(value) < _MAX_LENGTH else None
    if match is None:
        raise wrong("this is not a size", "Write bytes, or a number with its unit: 1000000, 512KiB, 1MB.")
    return int(match[1]) * _BYTES[match[2]]


def _no_switch(value: object) -> object:
    if isinstance(value, bool):
        raise wrong("a number belongs here, not true or false", "Write a number.")
    return value


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _tables(value: list[str]) -> list[str]:
    for name in value:
        if not name.strip():
            raise wrong("a table name is empty", "Write names like orders, public.orders or log_*.")
    if len(set(value)) < len(value):
        raise wrong("a table stands here twice", "Name each table or pattern once.")
    return value


def _url(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise wrong("the URL holds blanks or control characters", "Write it without them.")
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - a port that is no number shows only when asked for
    except ValueError:
        raise wrong(
            "the URL's host or port cannot be read",
            "Write scheme://host:port/path; user and password go into credential, an IPv6 host into [ ].",
        ) from None
    if "@" in parts.netloc:
        raise wrong("a user or password stands in the URL", "Move it: credential: {user: …, password: …}.")
    return value


def _token_url(value: str) -> str:
    if not value.startswith(("https://", "http://")):
        raise wrong("the token URL does not begin with https:// or http://", "Write the whole URL.")
    return _url(value)


def _scopes(value: object) -> object:
    return value.split() if isinstance(value, str) else value


def _property(value: str) -> str:
    """Names that mean something already must not be taken as plain ones; a dot nests."""
    if value.startswith("$"):
        raise wrong(f"{_brief(value)} is no name of a property", f"Write property: {_brief(value)}.")
    if "." in value and not all(value.split(".")):
        raise wrong("a nested property has an empty name in it", "Write it like customer.email: column.")
    if value.split(".", maxsplit=1)[0] == RESERVED:
        raise wrong("the property index is taken: the event's number goes there", "Give the column another property.")
    if not value:
        raise wrong("a property needs a name", "Write property: column.")
    return value


def _brief(name: str) -> str:
    return name if len(name) <= 60 and name.isprintable() else "name"


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that stands in every event."""

    value: str | int | float | bool | None


def _rule(value: object) -> str | Constant | Fact:
    """What feeds one property: a column, a ``$fact`` of the change, or ``{constant: value}``."""
    if isinstance(value, str) and value.startswith("$"):
        if value in Fact.__members__.values():
            return Fact(value)
        raise wrong(f"a change tells nothing called {_brief(value)}", f"Write one of {', '.join(Fact)}.")
    if isinstance(value, str) and value:
        return value
    if not isinstance(value, dict) or list(value) != ["constant"]:
        raise wrong("neither a column nor a constant", "Write property: column, or property: {constant: value}.")
    constant = value["constant"]
    if isinstance(constant, (dict, list)) or (isinstance(constant, float) and not math.isfinite(constant)):
        raise wrong("a constant is one text, number, true, false or null", "Write {constant: value} with one value.")
    if isinstance(constant, int) and not -_INTEGERS <= constant < _INTEGERS:
        raise wrong("the constant is an integer beyond 64 bits", "Put it in quotes.")
    return Constant(constant)


@dataclass(frozen=True, slots=True)
class Masked:
    """How one column is covered; ``length`` counts for truncate alone."""

    cover: Cover
    length: int = 0


def _cover(value: object) -> Masked:
    if value in (Cover.HASH, Cover.REDACT):
        return Masked(Cover(str(value)))
    length = value.get(Cover.TRUNCATE.value) if isinstance(value, dict) and len(value) == 1 else None
    if isinstance(length, int) and not isinstance(length, bool) and 0 < length <= _MAX_LENGTH:
        return Masked(Cover.TRUNCATE, length)
    raise wrong("this is no way to mask a column", "Write hash, redact, or {truncate: 3}.")


def _function(value: str) -> str:
    if not _FUNCTION.fullmatch(value):
        raise wrong("this is not the name of a function", "Write package.module:function.")
    return value


def _select(value: object) -> object:
    """A list is the short form: each column under its own name."""
    if not isinstance(value, list):
        return value
    if not all(isinstance(name, str) for name in value):
        raise wrong("a list of fields holds names only", "Write [id, name], or a mapping property: column.")
    if len(set(value)) < len(value):
        raise wrong("a field stands here twice", "Name each field once.")
    return {name: name for name in value}


def _status(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"[2-5][0-9][0-9]", value, re.ASCII):
        return int(value)
    raise wrong("this is not an HTTP status", "Write a number from 200 to 599.")


def _params(value: object) -> object:
    """All keys commented out leaves nothing after the colon."""
    return {} if value is None else value


_DURATION_SCHEMA = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}], "x-type": "duration"}
_SIZE_SCHEMA = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}], "x-type": "size"}
_NAMES_SCHEMA = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
    "x-type": "list of names",
}
_FIELDS_SCHEMA = {
    "anyOf": [
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "anyOf": [
                    {"type": "string"},
                    {
                        "type": "object",
                        "properties": {"constant": {"type": ["string", "number", "boolean", "null"]}},
                        "required": ["constant"],
                        "additionalProperties": False,
                    },
                ]
            },
        },
    ],
    "x-type": "list of names, or mapping property: column",
}

Name = Annotated[str, AfterValidator(_name)]
Url = Annotated[str, AfterValidator(_url)]
TokenUrl = Annotated[str, AfterValidator(_token_url)]
Count = Annotated[int, BeforeValidator(_no_switch)]
Duration = Annotated[float, BeforeValidator(_seconds), WithJsonSchema(_DURATION_SCHEMA)]
Size = Annotated[int, BeforeValidator(_bytes), WithJsonSchema(_SIZE_SCHEMA)]
Tables = Annotated[list[str], BeforeValidator(_one_or_more), AfterValidator(_tables), WithJsonSchema(_NAMES_SCHEMA)]
Scopes = Annotated[list[str], BeforeValidator(_scopes), WithJsonSchema(_NAMES_SCHEMA)]
Rules = Annotated[
    dict[Annotated[str, AfterValidator(_property)], Annotated[str | Constant | Fact, PlainValidator(_rule)]],
    BeforeValidator(_select),
    Field(min_length=1),
    WithJsonSchema(_FIELDS_SCHEMA),
]
_MASKS_SCHEMA = {
    "type": "object",
    "additionalProperties": {
        "anyOf": [
            {"enum": ["hash", "redact"]},
            {
                "type": "object",
                "properties": {"truncate": {"type": "integer", "minimum": 1}},
                "required": ["truncate"],
                "additionalProperties": False,
            },
        ]
    },
    "x-type": "mapping column: hash, redact or {truncate: n}",
}
Masks = Annotated[dict[str, Annotated[Masked, PlainValidator(_cover)]], WithJsonSchema(_MASKS_SCHEMA)]
FunctionName = Annotated[str, AfterValidator(_function)]
OnStatus = Literal["acknowledge", "retry", "halt", "reject", "split"]
Outcomes = dict[Annotated[int, BeforeValidator(_status), WithJsonSchema({"type": "string"})], OnStatus]
Params = Annotated[dict[str, object], BeforeValidator(_params), WithJsonSchema({"type": ["object", "null"]})]
DeleteMode = Literal["row", "mark", "skip"]
OnReject = Literal["halt", "set_aside"]
OnLostPlace = Literal["continue", "wait", "snapshot"]
OnSchemaChange = Literal["follow", "halt"]
Validate = Literal["start", "rows"]


class Keys(BaseModel):
    """Base of every section: frozen, unknown keys refused, values never in an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class CredentialKeys(Keys):
    """What proves who the agent is; one of key, user and password, or client_id and client_secret."""

    key: str | None = Field(None, description="API key, sent as the service expects it.", examples=["${SERVICE_KEY}"])
    key_file: str | None = Field(
        None, description="File that holds the API key.", examples=["/run/secrets/service_key"]
    )
    user: str | None = Field(None, description="User name.", examples=["fuagent"])
    user_file: str | None = Field(None, description="File that holds the user name.", examples=["/run/secrets/user"])
    password: str | None = Field(None, description="Password of the user.", examples=["${SHOP_PASSWORD}"])
    password_file: str | None = Field(
        None, description="File that holds the password.", examples=["/run/secrets/shop_password"]
    )
    passwd: str | None = Field(None, description="Another spelling of password.", examples=["${SHOP_PASSWORD}"])
    passwd_file: str | None = Field(
        None, description="Another spelling of password_file.", examples=["/run/secrets/shop_password"]
    )
    client_id: str | None = Field(None, description="OAuth2 client credentials: the client.", examples=["fuagent"])
    client_id_file: str | None = Field(
        None, description="File that holds the client's id.", examples=["/run/secrets/client_id"]
    )
    client_secret: str | None = Field(
        None, description="OAuth2 client credentials: its secret.", examples=["${CLIENT_SECRET}"]
    )
    client_secret_file: str | None = Field(
        None, description="File that holds the client's secret.", examples=["/run/secrets/client_secret"]
    )
    token_url: TokenUrl | None = Field(
        None,
        description="Where tokens are fetched; taken from the service's document if left out.",
        examples=["https://login.example.com/oauth/token"],
    )
    scopes: Scopes = Field([], description="Scopes to ask for, a list or one text.", examples=[["events:write"]])
    client_cert: str | None = Field(
        None, description="PEM file with a client certificate.", examples=["/etc/fuagent/client.pem"]
    )
    client_key: str | None = Field(
        None,
        description="PEM file with its private key, unless both are in one file.",
        examples=["/etc/fuagent/client.key"],
    )
    client_key_password: str | None = Field(
        None, description="Password of the private key.", examples=["${CLIENT_KEY_PASSWORD}"]
    )
    client_key_password_file: str | None = Field(
        None, description="File that holds the private key's password.", examples=["/run/secrets/client_key_password"]
    )


class SourceKeys(Keys):
    """One database or file to read from."""

    driver: str = Field(description="Which source driver reads it; `fuagent drivers` lists them.", examples=["sqlite"])
    endpoint: Url = Field(
        "",
        description="Where the database is: mysql://db.internal:3306/shop, or sqlite:///data/shop.db. The latter is relative "
        "to this file, sqlite:////var/shop.db is not.",
        examples=["sqlite:///data/shop.db"],
    )
    credential: CredentialKeys | None = Field(
        None, description="How to log in.", examples=[{"user": "fuagent", "password": "${SHOP_PASSWORD}"}]
    )
    driver_params: Params = Field({}, description="Options of the driver itself.", examples=[{}])


class PusherKeys(Keys):
    """One service to deliver to."""

    driver: str = Field(description="Which pusher driver delivers; `fuagent drivers` lists them.", examples=["openapi"])
    endpoint: Url = Field(
        "",
        description="URL or path of the service's OpenAPI document.",
        examples=["https://api.your-service.com/openapi.json"],
    )
    credential: CredentialKeys | None = Field(
        None, description="How to prove who is sending.", examples=[{"key": "${SERVICE_KEY}"}]
    )
    driver_params: Params = Field(
        {},
        description="Options of the driver itself, such as the path that takes the rows; {table} is the table's name.",
        examples=[{"batch_endpoint": "/ingest/{table}"}],
    )


class SyncKeys(Keys):
    """Tables of one source on their way to one pusher; its name is the task_id."""

    source: str = Field(description="Name of the source, from sources.", examples=["shop"])
    pusher: str = Field(description="Name of the pusher, from pushers.", examples=["my-openapi-service"])
    tables: Tables = Field(
        min_length=1,
        description="Tables: names, schema.name, or patterns with * and ?.",
        examples=[["orders", "log_*"]],
    )
    exclude: Tables = Field([], description="Tables to leave out again, like tables.", examples=[["log_old"]])
    fields: Rules | None = Field(
        None,
        description="What an event holds: [names] to select, or property: column to rename, "
        "property: {constant: value}, or property: $operation and its kin ($table, $schema, $commit_time, $transaction, "
        "$snapshot). A dot nests: customer.email. Left out: every column under its own name.",
        examples=[{"id": "id", "customer.name": "name", "country": {"constant": "NL"}, "operation": "$operation"}],
    )
    where: str = Field(
        "",
        max_length=10_000,
        description="Only rows that meet this condition over the columns are sent; one that stops meeting it counts as deleted.",
        examples=["status = 'paid' AND total >= 10"],
    )
    mask: Masks = Field(
        {},
        description="Columns whose values are covered: hash (keyed with mask_salt), redact, or {truncate: n}. "
        "A key column can only be hashed.",
        examples=[{"email": "hash", "phone": "redact", "note": {"truncate": 20}}],
    )
    mask_salt: str | None = Field(
        None, description="Secret that hashes are keyed with; it must stay the same.", examples=["${MASK_SALT}"]
    )
    transform: FunctionName | None = Field(
        None,
        description="A Python function every event goes through, as a dict; it gives the event to send, or None for none.",
        examples=["shop_rules.events:tidy"],
    )
    deletes: DeleteMode | None = Field(
        None,
        description="A deleted row: row sends it like any other, mark adds a boolean to every event, skip sends nothing. "
        "Left out: mark where the service's document names a delete field, else row.",
        examples=["mark"],
    )
    delete_field: Name | None = Field(
        None, description="Name of the boolean with deletes: mark; _deleted if left out.", examples=["_deleted"]
    )
    batch_size: Count = Field(1000, ge=1, le=100_000, description="Most rows in one request.", examples=[1000])
    batch_bytes: Size = Field(
        1_000_000, ge=1000, le=100_000_000, description="Most bytes in one request.", examples=["512KiB"]
    )
    batch_wait: Duration = Field(
        0.0, ge=0, le=3600, description="How long a batch that is not full may wait for more rows.", examples=["500ms"]
    )
    whole_transactions: bool = Field(
        False,
        description="End a request where a transaction ends, as far as transactions fit into one.",
        examples=[False],
    )
    timeout: Duration = Field(
        30.0, ge=0.1, le=3600, description="How long one request may take in all.", examples=["30s"]
    )
    drain: Duration = Field(
        20.0,
        ge=0,
        le=3600,
        description="How long requests under way may finish when the agent stops.",
        examples=["20s"],
    )
    on_reject: OnReject = Field(
        "halt",
        description="A row the service refuses: halt the sync, or set the row aside and go on.",
        examples=["halt"],
    )
    rejected_limit: Count = Field(
        1000, ge=0, le=1_000_000, description="With set_aside: more rows than this halt the sync.", examples=[1000]
    )
    validation: Validate = Field(
        "start",
        alias="validate",  # which is a name that pydantic's own models have already
        description="What is held against the event schema of the service's document: the columns' names and types at start, "
        "or every row as well, before it is sent (needs fuagent[validate]); a row that does not fit goes the way of on_reject.",
        examples=["rows"],
    )
    on_lost_place: OnLostPlace = Field(
        "continue",
        description="When the place in the source's log is gone: continue with what is left and suggest a snapshot, "
        "wait until the service answers, or take a snapshot unasked.",
        examples=["continue"],
    )
    on_schema_change: OnSchemaChange = Field(
        "follow",
        description="When a table's definition changes while the agent runs: follow it, or halt before rows of the new form; "
        "a restart takes the new form as given.",
        examples=["follow"],
    )
    trust_checkpoint: bool = Field(
        False,
        description="Believe a checkpoint found by its number alone, without suggesting a snapshot.",
        examples=[False],
    )
    outcomes: Outcomes = Field(
        {}, description="What a status of the service means, where it differs.", examples=[{409: "acknowledge"}]
    )
    accept_rejected: bool = Field(
        False,
        description='Heed "rejected": [{"row": 0, "reason": "…"}] in a 2xx answer: these rows of the batch (counted from 0) '
        "go the way of on_reject, the others are delivered.",
        examples=[True],
    )


class FileKeys(Keys):
    """The whole of config.yaml."""

    agent_id: Name | None = Field(
        None,
        description="Who this agent is to every service; checkpoints hang on it, so keep it.",
        examples=["agent-c7a8b9d0e1f2"],
    )
    state_dir: str | None = Field(
        None,
        min_length=1,
        description="Where the journal lies; .fuagent beside this file if left out.",
        examples=[".fuagent"],
    )
    sources: dict[Name, SourceKeys] = Field(min_length=1, description="Databases to read from, by name.")
    pushers: dict[Name, PusherKeys] = Field(min_length=1, description="Services to deliver to, by name.")
    syncs: dict[Name, SyncKeys] = Field(min_length=1, description="What goes where; the name is the task_id.")
