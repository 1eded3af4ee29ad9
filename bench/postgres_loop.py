"""What one would write by hand: psycopg2 reads the slot, a few lines read pgoutput, requests posts up to 1,000 changes.

Arguments, as one text of JSON: ``port``, ``user``, ``password``, ``slot``, the service's ``url``, and ``rows`` after
which to end (0: never). The place goes along with each request, so that the service can keep it as the checkpoint.
"""

from __future__ import annotations

import json
import select
import struct
import sys
from collections.abc import Callable

import psycopg2
import requests
from psycopg2.extras import LogicalReplicationConnection

BATCH = 1000
READ: dict[int, Callable[[str], object]] = {16: lambda text: text == "t", 20: int, 23: int, 701: float}
"""OID → what makes a value of its text; others stay text."""
Relation = list[tuple[str, Callable[[str], object]]]


def relation(message: bytes) -> tuple[int, Relation]:
    """Number, and names and readers of the columns."""
    (number,) = struct.unpack_from(">I", message, 1)
    place = message.index(0, message.index(0, 5) + 1) + 2
    (count,) = struct.unpack_from(">H", message, place)
    place += 2
    columns = []
    for _ in range(count):
        end = message.index(0, place + 1)
        (kind,) = struct.unpack_from(">I", message, end + 1)
        columns.append((message[place + 1 : end].decode(), READ.get(kind, str)))
        place = end + 9
    return number, columns


def row(message: bytes, place: int, columns: Relation) -> dict[str, object]:
    """A tuple's values by name."""
    values: dict[str, object] = {}
    place += 2
    for name, reader in columns:
        if message[place : place + 1] == b"t":
            (length,) = struct.unpack_from(">I", message, place + 1)
            values[name] = reader(message[place + 5 : place + 5 + length].decode())
            place += 5 + length
        else:
            values[name] = None
            place += 1
    return values


class Loop:
    """Reads and posts."""

    def __init__(self, told: dict[str, object]) -> None:
        text = f"host=127.0.0.1 port={told['port']} dbname=shop user={told['user']} password={told['password']}"
        self.connection = psycopg2.connect(text, connection_factory=LogicalReplicationConnection)
        self.cursor = self.connection.cursor()
        options = {"proto_version": "1", "publication_names": "bench"}
        self.cursor.start_replication(slot_name=told["slot"], decode=False, options=options)
        self.session = requests.Session()
        self.url = told["url"]
        self.relations: dict[int, Relation] = {}
        self.changes: list[dict[str, object]] = []
        self.place = self.sent = 0

    def take(self, message: bytes) -> None:
        """One message; inserts are all there are here."""
        kind = message[:1]
        if kind == b"I":
            columns = self.relations[int.from_bytes(message[1:5])]
            self.changes.append({"operation": "insert", "row": row(message, 6, columns)})
        elif kind == b"R":
            number, columns = relation(message)
            self.relations[number] = columns
        elif kind == b"C":
            (self.place,) = struct.unpack_from(">Q", message, 10)
            if len(self.changes) >= BATCH:
                self.post()

    def post(self) -> None:
        """All changes so far, and the server hears of it."""
        body = json.dumps({"place": self.place, "changes": self.changes})
        answer = self.session.post(self.url, data=body, headers={"content-type": "application/json"})
        answer.raise_for_status()
        self.sent += len(self.changes)
        self.changes = []
        self.cursor.send_feedback(flush_lsn=self.place)

    def run(self, rows: int) -> None:
        """Until so many rows are sent; 0: for ever."""
        while not 0 < rows <= self.sent:
            message = self.cursor.read_message()
            if message is not None:
                self.take(message.payload)
            elif self.changes:
                self.post()
            else:
                select.select([self.cursor], [], [], 1)


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    Loop(asked).run(asked["rows"])
