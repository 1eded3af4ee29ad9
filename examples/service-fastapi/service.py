"""Keeps a copy of a table of orders, in FastAPI: rows and checkpoint share one transaction.

``SERVICE_KEY=secret uvicorn service:app`` serves it.
"""

import hmac
import logging
import os
import re
import sqlite3
import sys
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from typing import Annotated, Self

from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, model_validator

KEY = os.environ.get("SERVICE_KEY") or sys.exit("SERVICE_KEY is missing: set it to the key the agent sends")
DATABASE = os.environ.get("SERVICE_DATABASE", "service.db")
LARGEST_BODY = 16 * 1024 * 1024
BATCH_KEY = re.compile(r"([0-9a-f]{1,16})\.(\d{1,18})\.(\d{1,18})")

Integer = Annotated[int, Field(ge=-(2**63), lt=2**63)]  # what SQLite holds: more is the row's fault, and so 422


class Order(BaseModel):
    """The agent reads this schema before the first row, and writes values as it says."""

    model_config = ConfigDict(json_schema_extra={"x-fuagent-delete-field": "_deleted"})

    index: int | None = None  # rises with every change; rows of a snapshot carry none
    deleted: bool = Field(default=False, alias="_deleted")
    id: Integer
    name: str | None = None
    price: float | None = None
    reference: Integer | None = None

    @model_validator(mode="after")
    def complete(self) -> Self:
        """The mark of a row that is gone carries its key alone; any other row without a column would erase it."""
        if not self.deleted and not {"name", "price", "reference"} <= self.model_fields_set:
            raise ValueError("a row has all its columns")
        return self


class Batch(BaseModel):
    agent_id: str
    task_id: str
    is_snapshot_end: bool
    snapshot_sync_suggested: bool
    events: list[Order]


@contextmanager
def transaction() -> Iterator[sqlite3.Connection]:
    """All or nothing; IMMEDIATE, so that no other request writes between our reading and our writing."""
    with closing(sqlite3.connect(DATABASE, timeout=30)) as database, database:
        database.execute("BEGIN IMMEDIATE")
        yield database


with transaction() as first:
    first.execute(
        "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, name TEXT, price REAL, reference INTEGER)"
    )
    first.execute(
        "CREATE TABLE IF NOT EXISTS checkpoints "
        "(agent_id TEXT, task_id TEXT, last_index INTEGER, last_batch TEXT, PRIMARY KEY (agent_id, task_id))"
    )


def is_late(key: str, last: str | None) -> bool:
    """Whether a later batch of the same start of the agent is stored: this attempt was given up long ago."""
    now, then = (BATCH_KEY.fullmatch(one or "") for one in (key, last))
    if not now or not then or now[1] != then[1]:
        return False
    return (int(now[2]), int(now[3])) < (int(then[2]), int(then[3]))


def store(database: sqlite3.Connection, event: Order) -> None:
    if event.deleted:
        database.execute("DELETE FROM orders WHERE id = ?", (event.id,))
        return
    database.execute(
        "INSERT INTO orders VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE "
        "SET name = excluded.name, price = excluded.price, reference = excluded.reference",
        (event.id, event.name, event.price, event.reference),
    )


def apply(batch: Batch, key: str) -> None:
    """Apply a batch and its checkpoint together; what was applied before is not applied again."""
    sync = (batch.agent_id, batch.task_id)
    with transaction() as database:
        state = database.execute(
            "SELECT last_index, last_batch FROM checkpoints WHERE agent_id = ? AND task_id = ?", sync
        ).fetchone()
        reached, last = state or (None, None)
        if key and key == last:
            return  # applied, but the answer was lost
        if is_late(key, last):
            raise HTTPException(425, "a later batch of this sync is stored; this one was not applied")
        for event in batch.events:
            if event.index is None or event.index > (reached or 0):  # below it lies what would take rows back
                store(database, event)
        highest = max((event.index or 0 for event in batch.events), default=0)
        database.execute(
            "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?)",
            (*sync, max(highest, reached or 0) or None, key or last),
        )


def unpacked(body: bytes, coding: str) -> bytes:
    """A kilobyte of gzip can stand for a megabyte, so it is unpacked only as far as the limit goes."""
    if coding == "gzip":
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            body = unpacker.decompress(body, LARGEST_BODY + 1)
        except zlib.error:
            raise HTTPException(400, "the body is no gzip") from None
    elif coding:
        raise HTTPException(415, "the only content coding is gzip")
    if len(body) > LARGEST_BODY:
        raise HTTPException(413, f"at most {LARGEST_BODY} bytes")
    return body


class LimitedRequest(Request):
    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            kept = bytearray()
            size = 0
            async for chunk in self.stream():
                # On even where it is too long already: who is cut off while sending never hears the answer.
                size += len(chunk)
                kept += chunk[: LARGEST_BODY + 1 - len(kept)]
                if size > 8 * LARGEST_BODY:
                    break
            if size > LARGEST_BODY:
                raise HTTPException(413, f"at most {LARGEST_BODY} bytes")
            self._body = unpacked(bytes(kept), self.headers.get("content-encoding", ""))
        return self._body


class ClosedRoute(APIRoute):
    """FastAPI reads a body before it asks dependencies, so the key is looked at here: a stranger's is not read."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:
        answer = super().get_route_handler()

        async def closed(request: Request) -> Response:
            kind, _, token = request.headers.get("authorization", "").partition(" ")
            given = request.headers.get("x-api-key") or (token if kind.lower() == "bearer" else "")
            if not hmac.compare_digest(given.encode(), KEY.encode()):
                raise HTTPException(401, "wrong or missing key")
            return await answer(LimitedRequest(request.scope, request.receive))

        return closed


app = FastAPI(
    title="Copy of orders",
    servers=[{"url": "/", "x-fuagent-status-endpoint": "/fuagent-sync-status"}],
    # For the document: it says which credentials are taken.
    dependencies=[Depends(APIKeyHeader(name="x-api-key", auto_error=False)), Depends(HTTPBearer(auto_error=False))],
)
app.router.route_class = ClosedRoute


@app.exception_handler(RequestValidationError)
async def unfit(_: Request, error: RequestValidationError) -> JSONResponse:
    """Says where, never what: FastAPI's own answer repeats the row."""
    return JSONResponse({"detail": [{"loc": one["loc"], "type": one["type"]} for one in error.errors()]}, 422)


@app.exception_handler(sqlite3.Error)
async def failed(_: Request, error: sqlite3.Error) -> JSONResponse:
    """Nothing was stored: the agent sends the same batch again."""
    logging.getLogger("uvicorn.error").error("SQLite: %s", error)  # its texts hold no value of a row
    return JSONResponse({"detail": "not stored"}, 500)


@app.post("/ingest-batch")
def ingest(batch: Batch, idempotency_key: Annotated[str, Header()] = "") -> dict[str, bool]:
    apply(batch, idempotency_key)
    return {"snapshot_needed": batch.snapshot_sync_suggested}  # accept whenever one is suggested


@app.get("/fuagent-sync-status")
def sync_status(agent_id: str, task_id: str) -> dict[str, int]:
    with transaction() as database:
        found = database.execute(
            "SELECT last_index FROM checkpoints WHERE agent_id = ? AND task_id = ?", (agent_id, task_id)
        ).fetchone()
    if not found or not found[0]:
        raise HTTPException(404, "no checkpoint yet")
    return {"index": found[0]}
