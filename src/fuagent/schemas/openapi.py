"""The event schema as a whole OpenAPI 3.1 document of the service that takes it.

The document is what ``fuagent check`` reads: the routes batches go to, the status endpoint, what a
caller proves, and the events. https://spec.openapis.org/oas/v3.1.1.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from fuagent.contract.schema import DELETE_FIELD
from fuagent.contract.spec import STATUS_FIELD
from fuagent.model import INDEX_MAX, Credential
from fuagent.schemas.events import BATCH, INDEX, EventShape, Tree, Value

INGEST = "/ingest-batch"
STATUS = "/fuagent-sync-status"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the configuration says about the service."""

    sync: str
    batch_endpoint: str = INGEST
    credential: Credential | None = None


def document(shapes: Sequence[EventShape], asked: Asked) -> str:
    """The document as JSON text."""
    schemes = _schemes(asked.credential)
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": f"Service of {asked.sync}", "version": "1.0.0"},
        "servers": [{"url": "/", STATUS_FIELD: STATUS}],
        "paths": {**_routes(shapes, asked), STATUS: {"get": _status()}},
        "components": {"schemas": _schemas(shapes)},
    }
    if schemes:
        made["components"]["securitySchemes"] = schemes
        made["security"] = [{name: [] for name in schemes}]
    return orjson.dumps(made, option=orjson.OPT_INDENT_2).decode() + "\n"


def _routes(shapes: Sequence[EventShape], asked: Asked) -> dict[str, Any]:
    return {_path(asked, shape.table): {"post": _ingest(shape)} for shape in shapes}


def _path(asked: Asked, table: str) -> str:
    values = {"task": asked.sync, "table": table}
    path = re.sub(r"\{(task|table)\}", lambda match: quote(values[match[1]], safe=""), asked.batch_endpoint)
    return "/" + path.partition("?")[0].lstrip("/")


def _ingest(shape: EventShape) -> dict[str, Any]:
    body = {"application/json": {"schema": _ref(f"{shape.name}{BATCH}")}}
    return {
        "summary": f"Takes a batch of rows of table {shape.table}",
        "operationId": f"ingest{shape.name}",
        "parameters": [
            _parameter("task-id", "header", "The sync's name, as in the body.", required=True),
            _parameter("Idempotency-Key", "header", "The same on every attempt to deliver one batch.", required=False),
        ],
        "requestBody": {"required": True, "content": body},
        "responses": {
            "200": {
                "description": "Taken. The answer may ask for a snapshot.",
                "content": {"application/json": {"schema": _ref("Answer")}},
            },
            "204": {"description": "Taken."},
            "422": {"description": "A row in it is refused."},
        },
    }


def _status() -> dict[str, Any]:
    index = {"oneOf": [_index(), {"type": "object", "properties": {INDEX: _index()}, "required": [INDEX]}]}
    return {
        "summary": "Tells the last index that was stored",
        "operationId": "syncStatus",
        "parameters": [
            _parameter("task_id", "query", "The sync's name.", required=True),
            _parameter("agent_id", "query", "The agent's id.", required=True),
        ],
        "responses": {
            "200": {"description": "The checkpoint.", "content": {"application/json": {"schema": index}}},
            "404": {"description": "There is none yet."},
        },
    }


def _schemas(shapes: Sequence[EventShape]) -> dict[str, Any]:
    answer = {"type": "object", "properties": {"snapshot_needed": {"type": "boolean"}}}
    made: dict[str, Any] = {"Answer": answer}
    for shape in shapes:
        made[shape.name] = event(shape)
        made[f"{shape.name}{BATCH}"] = _batch(shape)
    return made


def event(shape: EventShape) -> dict[str, Any]:
    """One event as a JSON Schema."""
    made = _object(shape.tree)
    about = [f"One row of table {shape.table}."]
    if shape.key:
        about.append(f"Its key: {', '.join('.'.join(path) for path in shape.key)}.")
    made["description"] = " ".join([*about, *(f"Note: {note}." for note in shape.notes)])
    if shape.mark is not None:
        made[DELETE_FIELD] = shape.mark
    return made


def _batch(shape: EventShape) -> dict[str, Any]:
    flags = ("is_snapshot_end", "snapshot_sync_suggested")
    texts: dict[str, Any] = {name: {"type": "string"} for name in ("agent_id", "task_id")}
    properties = {
        **texts,
        **{name: {"type": "boolean"} for name in flags},
        "events": {"type": "array", "items": _ref(shape.name)},
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


def _object(tree: Tree) -> dict[str, Any]:
    properties = {
        name: _index() if name == INDEX else _value(node) if isinstance(node, Value) else _object(node)
        for name, node in tree.items()
    }
    made: dict[str, Any] = {"type": "object", "properties": properties}
    required = [name for name, node in tree.items() if not isinstance(node, Value) or node.required]
    return {**made, "required": required} if required else made


def _value(value: Value) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if value.type:
        made["type"] = [value.type, "null"] if value.nullable else value.type
    if value.format:
        made["format"] = value.format
    if value.base64:
        made["contentEncoding"] = "base64"
    return {**made, "description": value.about} if value.about else made


def _index() -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": INDEX_MAX}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _parameter(name: str, place: str, about: str, *, required: bool) -> dict[str, Any]:
    return {"name": name, "in": place, "description": about, "required": required, "schema": {"type": "string"}}


def _schemes(credential: Credential | None) -> dict[str, Any]:
    """What a caller with this credential can prove."""
    if credential is None:
        return {}
    if credential.client_id is not None and credential.token_url:
        flow = {"tokenUrl": credential.token_url, "scopes": dict.fromkeys(credential.scopes, "")}
        return {"oauth2": {"type": "oauth2", "flows": {"clientCredentials": flow}}}
    if credential.user is not None:
        return {"basic": {"type": "http", "scheme": "basic"}}
    if credential.key is not None:
        return {"key": {"type": "apiKey", "in": "header", "name": "x-api-key"}}
    return {}
