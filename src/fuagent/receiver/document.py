"""What the receiver's paths say of themselves in an OpenAPI 3.1 document.

The agent reads it before the first row: where to send what, how to prove who is sending, and
what an event looks like. https://spec.openapis.org/oas/v3.1.1.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi.openapi.models import APIKey, APIKeyIn, HTTPBase, SecurityBase
from fastapi.security.base import SecurityBase as Scheme

from fuagent.contract.spec import STATUS_FIELD
from fuagent.receiver.access import Access
from fuagent.receiver.rows import INDEX, RowType
from fuagent.receiver.service import Route, Tables

Json = dict[str, Any]

_NOT_TAKEN = {
    400: "The body cannot be read.",
    404: "No such task is declared here.",
    413: "The body is too large.",
    415: "The body's content coding is not known.",
    422: "A row in it is refused.",
    425: "A later batch of this sync has been stored.",
}


class ToldScheme(Scheme):
    """A security scheme that stands in the document; the endpoints themselves check it."""

    def __init__(self, name: str, model: SecurityBase) -> None:
        self.scheme_name = name
        self.model = model

    def __call__(self) -> None:
        """As a dependency it has nothing to do."""


def schemes(access: Access) -> list[ToldScheme]:
    """One way in for keys and one for users, as far as there are any."""
    made = []
    if access.has_keys:
        made.append(ToldScheme("key", APIKey.model_validate({"in": APIKeyIn.header, "name": "x-api-key"})))
    if access.has_users:
        made.append(ToldScheme("user", HTTPBase(scheme="basic")))
    return made


def servers(status_path: str) -> list[Json]:
    """The document's ``servers``."""
    return [{"url": "/", STATUS_FIELD: status_path}]


def ingest(routes: Sequence[Route]) -> Json:
    """The operation that takes batches of these routes, which share a path."""
    return _ingest([route.rows.schema() for route in routes], {"enum": [route.task for route in routes]})


def ingest_any(rows: RowType) -> Json:
    """The operation that takes batches of such rows, whatever the task."""
    return _ingest([rows.schema()], {})


def per_table(told: Json, path: str, tables: Tables) -> Json:
    """The document with a path for each table that is there, in place of its path that ends in ``{table}``.

    The path with the placeholder stays for tables that are not there yet, as far as there may be any.
    """
    paths = dict(told["paths"])
    general = paths.pop(path)
    own = general["post"]
    for table, rows in tables.known():
        post = {**own, **ingest_any(rows), "operationId": f"ingest_{table}"}
        paths[path.replace("{table}", table)] = {"post": post}
    if tables.unknown is not None:
        own = {**own, **ingest_any(tables.unknown)}
        own["parameters"] = [_parameter("table", "path", required=True), *own["parameters"]]
        paths[path] = {"post": own}
    return {**told, "paths": paths}


def _ingest(items: Sequence[Json], task: Json) -> Json:
    flags = {name: {"type": "boolean"} for name in ("is_snapshot_end", "snapshot_sync_suggested")}
    properties: Json = {
        "agent_id": {"type": "string"},
        "task_id": {"type": "string", **task},
        **flags,
        "events": {"type": "array", "items": items[0] if len(items) == 1 else {"anyOf": list(items)}},
    }
    body = {"type": "object", "properties": properties, "required": list(properties)}
    rejected = {"type": "object", "properties": {"row": {"type": "integer"}, "reason": {"type": "string"}}}
    told = {"snapshot_needed": {"type": "boolean"}, "rejected": {"type": "array", "items": rejected}}
    answer = {"type": "object", "properties": told}
    return {
        "summary": "Takes a batch of rows",
        "parameters": [
            _parameter("task-id", "header", required=False),
            _parameter("Idempotency-Key", "header", required=False),
        ],
        "requestBody": {"required": True, "content": _json(body)},
        "responses": {
            "200": {"description": "Stored. The answer may ask for a snapshot.", "content": _json(answer)},
            **_refusals(_NOT_TAKEN),
        },
    }


def status() -> Json:
    """The operation that tells the checkpoint."""
    found = {"type": "object", "properties": {"index": dict(INDEX)}, "required": ["index"]}
    return {
        "summary": "Tells the last index that was stored",
        "parameters": [_parameter(name, "query", required=True) for name in ("task_id", "agent_id")],
        "responses": {
            "200": {"description": "The last index that was stored.", "content": _json(found)},
            **_refusals({400: "An id is missing.", 404: "There is none yet.", 422: "The agent's id cannot be one."}),
        },
    }


def _refusals(more: dict[int, str]) -> Json:
    texts = {401: "The credential is missing or wrong.", 403: "The credential is not for this task.", **more}
    error = {"type": "object", "properties": {"error": {"type": "string"}, "id": {"type": "string"}}}
    return {str(code): {"description": text, "content": _json(error)} for code, text in sorted(texts.items())}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _parameter(name: str, place: str, *, required: bool) -> Json:
    return {"name": name, "in": place, "required": required, "schema": {"type": "string"}}
