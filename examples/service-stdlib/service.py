"""Keeps a copy of a table of orders, with the standard library alone: rows and checkpoint share one transaction.

``SERVICE_KEY=secret python service.py --port 8000`` serves it.
"""

import argparse
import hmac
import json
import os
import sqlite3
import sys
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = os.environ.get("SERVICE_KEY") or sys.exit("SERVICE_KEY is missing: set it to the key the agent sends")
DATABASE = os.environ.get("SERVICE_DATABASE", "service.db")
LARGEST_BODY = 16 * 1024 * 1024

COLUMNS = {"id": ["integer"], "name": ["string", "null"], "price": ["number", "null"], "reference": ["integer", "null"]}
TYPES = {"integer": {int}, "number": {int, float}, "string": {str}, "null": {type(None)}}
BATCH = {"agent_id": str, "task_id": str, "is_snapshot_end": bool, "snapshot_sync_suggested": bool, "events": list}

EVENT = {
    "type": "object",
    "properties": {name: {"type": types} for name, types in COLUMNS.items()}
    | {"index": {"type": "integer"}, "_deleted": {"type": "boolean"}},
    "required": ["id"],  # the mark of a row that is gone carries its key alone
    "x-fuagent-delete-field": "_deleted",
}
BODY = {"type": "object", "properties": {"events": {"type": "array", "items": EVENT}}}
DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "Copy of orders", "version": "1"},
    "servers": [{"url": "/", "x-fuagent-status-endpoint": "/fuagent-sync-status"}],
    "security": [{"key": []}, {"bearer": []}],
    "components": {
        "securitySchemes": {
            "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            "bearer": {"type": "http", "scheme": "bearer"},
        }
    },
    "paths": {
        "/ingest-batch": {
            "post": {
                "requestBody": {"content": {"application/json": {"schema": BODY}}},
                "responses": {"200": {"description": "stored"}},
            }
        },
        "/fuagent-sync-status": {"get": {"responses": {"200": {"description": "the largest index stored"}}}},
    },
}


class RefusedError(Exception):
    """A request that is answered with an error: status and reason, which never holds a value of a row."""


@contextmanager
def transaction() -> Iterator[sqlite3.Connection]:
    """All or nothing; IMMEDIATE, so that no other request writes between our reading and our writing."""
    with closing(sqlite3.connect(DATABASE, timeout=30)) as database, database:
        database.execute("BEGIN IMMEDIATE")
        yield database


def checkpoint(database: sqlite3.Connection, agent_id: str, task_id: str) -> int:
    question = "SELECT last_index FROM checkpoints WHERE agent_id = ? AND task_id = ?"
    found = database.execute(question, (agent_id, task_id)).fetchone()
    return found[0] if found else 0


def fits(batch: object) -> bool:
    """Whether the body is a batch of the contract, and every event a row of this table."""
    return (
        isinstance(batch, dict)
        and all(isinstance(batch.get(name), kind) for name, kind in BATCH.items())
        and all(isinstance(event, dict) and fits_row(event) for event in batch["events"])
    )


def fits_row(event: dict[str, Any]) -> bool:
    """Without a column it would erase what stands there, so only the mark of a row that is gone may be short."""
    names = ["id"] if event.get("_deleted") is True else COLUMNS
    return type(event.get("index", 0)) is int and all(
        name in event and any(type(event[name]) in TYPES[kind] for kind in COLUMNS[name]) for name in names
    )


def store(batch: dict[str, Any]) -> None:
    """Apply a batch and its checkpoint together; what was applied before is not applied again."""
    agent_id, task_id = batch["agent_id"], batch["task_id"]
    with transaction() as database:
        reached = highest = checkpoint(database, agent_id, task_id)
        for event in batch["events"]:
            # A replay would take the row back to an older version. Rows of a snapshot carry no index.
            if "index" in event and event["index"] <= reached:
                continue
            highest = max(highest, event.get("index", 0))
            if event.get("_deleted") is True:
                database.execute("DELETE FROM orders WHERE id = ?", (event["id"],))
            else:  # our names choose from the event, never the other way round
                row = [event[name] for name in COLUMNS]
                database.execute("INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?)", row)
        if highest > reached:
            database.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?)", (agent_id, task_id, highest))


def unpacked(body: bytes, coding: str) -> bytes:
    """A kilobyte of gzip can stand for a megabyte, so it is unpacked only as far as the limit goes."""
    if coding not in {"", "gzip"}:
        raise RefusedError(415, "the only content coding is gzip")
    try:
        found = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(body, LARGEST_BODY + 1) if coding else body
    except zlib.error:
        raise RefusedError(400, "the body is no gzip") from None
    if len(found) > LARGEST_BODY:
        raise RefusedError(413, f"at most {LARGEST_BODY} bytes")
    return found


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps the connection open between batches
    wbufsize = -1  # headers and body leave in one packet
    timeout = 120

    def do_GET(self) -> None:
        self.answer(self.told)

    def do_POST(self) -> None:
        self.answer(self.taken)

    def told(self) -> object:
        url = urlsplit(self.path)
        if url.path == "/openapi.json":
            return DOCUMENT
        self.check_key()
        asked = parse_qs(url.query)
        if url.path != "/fuagent-sync-status" or not {"agent_id", "task_id"} <= set(asked):
            raise RefusedError(404, "nothing here")
        with transaction() as database:
            index = checkpoint(database, asked["agent_id"][0], asked["task_id"][0])
        if not index:
            raise RefusedError(404, "no checkpoint yet")
        return {"index": index}

    def taken(self) -> object:
        body = self.body()  # first, or its bytes would be taken for the next request
        self.check_key()
        if self.path != "/ingest-batch":
            raise RefusedError(404, "nothing here")
        try:
            batch = json.loads(unpacked(body, self.headers.get("Content-Encoding", "")))
        except (ValueError, RecursionError):
            raise RefusedError(400, "the body is not JSON") from None
        if not fits(batch):
            raise RefusedError(422, "the body does not fit the schema")
        try:
            store(batch)
        except (OverflowError, UnicodeEncodeError, sqlite3.IntegrityError):
            raise RefusedError(422, "a row holds what the table cannot") from None
        return {"snapshot_needed": batch["snapshot_sync_suggested"]}  # accept whenever one is suggested

    def body(self) -> bytes:
        told = self.headers.get("Content-Length", "")
        length = int(told) if told.isdecimal() else -1
        if 0 <= length <= LARGEST_BODY:
            return self.rfile.read(length)
        self.close_connection = True
        if length < 0:
            raise RefusedError(411, "the body needs a Content-Length")
        # Read all the same: who is cut off while sending never hears the answer.
        for _ in range(min(length, 8 * LARGEST_BODY) // 65536 + 1):
            self.rfile.read(min(length, 65536))
            length -= min(length, 65536)
        raise RefusedError(413, f"at most {LARGEST_BODY} bytes")

    def check_key(self) -> None:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        given = self.headers.get("x-api-key") or (token if kind.lower() == "bearer" else "")
        if not hmac.compare_digest(given.encode(), KEY.encode()):
            raise RefusedError(401, "wrong or missing key")

    def answer(self, ask: Any) -> None:
        try:
            status, value = 200, ask()
        except RefusedError as error:
            status, value = error.args[0], {"error": error.args[1]}
        except sqlite3.Error:
            status, value = 500, {"error": "not stored"}  # nothing of it was: the agent sends the same batch again
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
    arguments.add_argument("--port", type=int, default=8000)
    server = ThreadingHTTPServer(("127.0.0.1", arguments.parse_args().port), Service)
    with transaction() as database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, name TEXT, price REAL, reference INTEGER)"
        )
        database.execute(
            "CREATE TABLE IF NOT EXISTS checkpoints (agent_id, task_id, last_index, PRIMARY KEY (agent_id, task_id))"
        )
    server.serve_forever()


if __name__ == "__main__":
    main()
