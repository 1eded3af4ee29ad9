"""A service that fuagent keeps in step, in FastAPI: rows and checkpoint share one transaction.

Run it with ``SERVICE_KEY=secret SERVICE_DATABASE=service.db python service_fastapi.py --port 8000``.
"""

import argparse
import hmac
import os
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Annotated, Generic, Self, TypeVar

import uvicorn
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, ConfigDict, Field, model_validator

KEY = os.environ.get("SERVICE_KEY") or sys.exit("SERVICE_KEY is empty: whoever asks would be let in")
DATABASE = os.environ.get("SERVICE_DATABASE", "service.db")


class Event(BaseModel):
    """What every row may carry beside its columns; the agent reads this schema before the first row."""

    model_config = ConfigDict(json_schema_extra={"x-fuagent-delete-field": "_deleted"})

    index: int | None = None  # rises with every change; snapshot rows carry none
    deleted: bool = Field(default=False, alias="_deleted")

    @model_validator(mode="after")
    def complete(self) -> Self:
        """A row has all its columns; the mark of one that is gone may carry its key alone."""
        missing = type(self).model_fields.keys() - Event.model_fields.keys() - self.model_fields_set
        if missing and not self.deleted:
            raise ValueError(f"without {', '.join(sorted(missing))}")
        return self


class Customer(Event):
    id: int
    name: str = ""
    email: str | None = None
    city: str = ""


class Order(Event):
    id: int
    customer_id: int = 0
    status: str = ""
    total_cents: int = 0
    placed_at: str = ""
    note: str | None = None


class OrderItem(Event):
    id: int
    order_id: int = 0
    product: str = ""
    quantity: int = 0
    price: float = 0.0


TABLES: dict[str, type[Event]] = {"customers": Customer, "orders": Order, "order_items": OrderItem}
Row = TypeVar("Row", bound=Event)


class Batch(BaseModel, Generic[Row]):
    agent_id: str
    task_id: str
    is_snapshot_end: bool
    snapshot_sync_suggested: bool
    events: list[Row]


@contextmanager
def transaction() -> Iterator[sqlite3.Connection]:
    """All or nothing; IMMEDIATE, so that no other request writes between our reading and our writing."""
    with closing(sqlite3.connect(DATABASE, timeout=30)) as database, database:
        database.execute("BEGIN IMMEDIATE")
        yield database


def columns(table: str) -> list[str]:
    return [name for name in TABLES[table].model_fields if name not in Event.model_fields]


def stored_index(database: sqlite3.Connection, agent_id: str, task_id: str) -> int | None:
    question = "SELECT last_index FROM checkpoints WHERE agent_id = ? AND task_id = ?"
    found = database.execute(question, (agent_id, task_id)).fetchone()
    return found[0] if found else None


def store(table: str, batch: Batch[Row]) -> dict[str, bool]:
    """Apply one batch and its checkpoint together; what was applied before is not applied again."""
    names = columns(table)
    upsert = f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(names))})"
    with transaction() as database:
        reached = stored_index(database, batch.agent_id, batch.task_id) or 0
        for event in batch.events:
            if event.index is not None and event.index <= reached:
                continue  # a replay: applying it would take the row back to an older version
            row = [getattr(event, name) for name in names]
            if event.deleted:
                database.execute(f"DELETE FROM {table} WHERE id = ?", (row[0],))
            else:
                database.execute(upsert, row)
        highest = max((event.index or 0 for event in batch.events), default=0)
        if highest > reached:
            point = (batch.agent_id, batch.task_id, highest)
            database.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?)", point)
    return {"snapshot_needed": batch.snapshot_sync_suggested}  # accept whenever one is suggested


def authorised(key: Annotated[str | None, Depends(APIKeyHeader(name="x-api-key", auto_error=False))]) -> None:
    if not hmac.compare_digest((key or "").encode(), KEY.encode()):
        raise HTTPException(401, "wrong or missing x-api-key")


app = FastAPI(
    title="Shop copy",
    servers=[{"url": "/", "x-fuagent-status-endpoint": "/fuagent-sync-status"}],
    dependencies=[Depends(authorised)],
)


@app.post("/ingest/customers")
def ingest_customers(batch: Batch[Customer]) -> dict[str, bool]:
    return store("customers", batch)


@app.post("/ingest/orders")
def ingest_orders(batch: Batch[Order]) -> dict[str, bool]:
    return store("orders", batch)


@app.post("/ingest/order_items")
def ingest_order_items(batch: Batch[OrderItem]) -> dict[str, bool]:
    return store("order_items", batch)


@app.get("/fuagent-sync-status")
def sync_status(agent_id: str, task_id: str) -> dict[str, int]:
    with transaction() as database:
        index = stored_index(database, agent_id, task_id)
    if index is None:
        raise HTTPException(404, "no checkpoint yet")
    return {"index": index}


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    listening = socket.create_server(("127.0.0.1", arguments.parse_args().port))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or the end of each answer waits for 40 ms
    with transaction() as database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS checkpoints (agent_id, task_id, last_index, PRIMARY KEY (agent_id, task_id))"
        )
        for table in TABLES:
            database.execute(f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(columns(table))}, PRIMARY KEY (id))")
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main()
