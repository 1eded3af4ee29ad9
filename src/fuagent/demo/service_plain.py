"""A service that fuagent keeps in step, with the standard library alone: rows and checkpoint share one transaction.

Run it with ``SERVICE_KEY=secret SERVICE_DATABASE=service.db python service_plain.py --port 8000``.
"""

import argparse
import hmac
import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = os.environ.get("SERVICE_KEY") or sys.exit("SERVICE_KEY is empty: whoever asks would be let in")
DATABASE = os.environ.get("SERVICE_DATABASE", "service.db")
LARGEST_BODY = 16 * 1024 * 1024

INTEGER, NUMBER, TEXT = {"type": ["integer"]}, {"type": ["number"]}, {"type": ["string"]}
TEXT_OR_NULL = {"type": ["string", "null"]}
PYTHON_TYPES = {"integer": int, "number": int | float, "string": str, "null": type(None)}
TABLES = {
    "customers": {"id": INTEGER, "name": TEXT, "email": TEXT_OR_NULL, "city": TEXT},
    "orders": {"id": INTEGER, "customer_id": INTEGER, "status": TEXT, "total_cents": INTEGER}
    | {"placed_at": TEXT, "note": TEXT_OR_NULL},
    "order_items": {"id": INTEGER, "order_id": INTEGER, "product": TEXT, "quantity": INTEGER, "price": NUMBER},
}


def document() -> dict[str, Any]:
    """The OpenAPI document: where to send what; the agent checks its tables against it before the first row."""
    stored = {"200": {"description": "stored"}}
    paths: dict[str, Any] = {"/fuagent-sync-status": {"get": {"responses": {"200": {"description": "last index"}}}}}
    for table, columns in TABLES.items():
        properties = columns | {"index": INTEGER, "_deleted": {"type": ["boolean"]}}
        event = {"type": "object", "properties": properties, "required": ["id"]}
        events = {"type": "array", "items": event | {"x-fuagent-delete-field": "_deleted"}}
        content = {"application/json": {"schema": {"type": "object", "properties": {"events": events}}}}
        paths[f"/ingest/{table}"] = {"post": {"requestBody": {"content": content}, "responses": stored}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Shop copy", "version": "1"},
        "servers": [{"url": "/", "x-fuagent-status-endpoint": "/fuagent-sync-status"}],
        "security": [{"key": []}],
        "components": {"securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "x-api-key"}}},
        "paths": paths,
    }


@contextmanager
def transaction() -> Iterator[sqlite3.Connection]:
    """All or nothing; IMMEDIATE, so that no other request writes between our reading and our writing."""
    with closing(sqlite3.connect(DATABASE, timeout=30)) as database, database:
        database.execute("BEGIN IMMEDIATE")
        yield database


def stored_index(database: sqlite3.Connection, agent_id: str, task_id: str) -> int | None:
    question = "SELECT last_index FROM checkpoints WHERE agent_id = ? AND task_id = ?"
    found = database.execute(question, (agent_id, task_id)).fetchone()
    return found[0] if found else None


def fits(table: str, batch: object) -> bool:
    """Whether the body is a batch of the contract, and every event a row of this table."""
    wanted = {"agent_id": str, "task_id": str, "snapshot_sync_suggested": bool, "events": list}
    if not isinstance(batch, dict) or not all(isinstance(batch.get(name), kind) for name, kind in wanted.items()):
        return False
    return all(isinstance(event, dict) and fits_row(table, event) for event in batch["events"])


def fits_row(table: str, event: dict[str, Any]) -> bool:
    """A row has all its columns; the mark of one that is gone may carry its key alone."""
    names = {"id"} if event.get("_deleted") else set(TABLES[table])
    return isinstance(event.get("index", 0), int) and all(
        name in event and any(isinstance(event[name], PYTHON_TYPES[kind]) for kind in TABLES[table][name]["type"])
        for name in names
    )


def store(table: str, batch: dict[str, Any]) -> dict[str, bool]:
    """Apply one batch and its checkpoint together; what was applied before is not applied again."""
    names, agent_id, task_id = TABLES[table], batch["agent_id"], batch["task_id"]
    upsert = f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(names))})"
    with transaction() as database:
        reached = stored_index(database, agent_id, task_id) or 0
        for event in batch["events"]:
            if "index" in event and event["index"] <= reached:
                continue  # a replay: applying it would take the row back to an older version
            if event.get("_deleted"):
                database.execute(f"DELETE FROM {table} WHERE id = ?", (event["id"],))
            else:
                database.execute(upsert, [event[name] for name in names])
        highest = max((event.get("index", 0) for event in batch["events"]), default=0)
        if highest > reached:
            database.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?)", (agent_id, task_id, highest))
    return {"snapshot_needed": batch["snapshot_sync_suggested"]}  # accept whenever one is suggested


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps the connection open between batches
    wbufsize = -1  # headers and body leave in one packet
    timeout = 120

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = parse_qs(url.query)
        if url.path == "/openapi.json":
            self.answer(200, document())
        elif not self.authorised():
            self.answer(401, {"detail": "wrong or missing x-api-key"})
        elif url.path == "/fuagent-sync-status" and {"agent_id", "task_id"} <= set(asked):
            with transaction() as database:
                index = stored_index(database, asked["agent_id"][0], asked["task_id"][0])
            self.answer(200 if index else 404, {"index": index} if index else {"detail": "no checkpoint yet"})
        else:
            self.answer(404, {"detail": "nothing here"})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        if not 0 < length <= LARGEST_BODY:
            self.close_connection = True  # the body stays unread
            self.answer(413 if length else 411, {"detail": f"at most {LARGEST_BODY} bytes, with Content-Length"})
            return
        self.answer(*self.ingest(self.path.removeprefix("/ingest/"), self.rfile.read(length)))

    def ingest(self, table: str, body: bytes) -> tuple[int, object]:
        if not self.authorised():
            return 401, {"detail": "wrong or missing x-api-key"}
        if table not in TABLES:
            return 404, {"detail": "nothing here"}
        try:
            batch = json.loads(body)
            return (200, store(table, batch)) if fits(table, batch) else (422, {"detail": "does not fit the schema"})
        except ValueError:
            return 400, {"detail": "the body is not JSON"}
        except sqlite3.Error:
            return 500, {"detail": "not stored"}  # nothing of it was: the agent sends the same batch again

    def authorised(self) -> bool:
        return hmac.compare_digest(self.headers.get("x-api-key", "").encode(), KEY.encode())

    def answer(self, status: int, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet: one line per request says nothing new."""


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    server = ThreadingHTTPServer(("127.0.0.1", arguments.parse_args().port), Service)
    with transaction() as database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS checkpoints (agent_id, task_id, last_index, PRIMARY KEY (agent_id, task_id))"
        )
        for table, columns in TABLES.items():
            database.execute(f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(columns)}, PRIMARY KEY (id))")
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
