"""A look into a journal from outside, beside the agent that works on it: nothing is locked, made or mended."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from fuagent import journal_records as records
from fuagent import journal_versions as versions

ANCHORS = 5
"""Anchors told of each sync, the newest."""
REJECTED = 100
"""Rows set aside told of each sync, the oldest."""


def look(path: Path) -> dict[str, object]:
    """What the journal at ``path`` holds: no row set aside, nor why it was refused, which may hold its values.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        database.text_factory = _text
        database.execute("BEGIN")  # one picture, whatever is written meanwhile
        names = [name for (name,) in database.execute("SELECT name FROM sync ORDER BY name")]
        return {
            "version": versions.version_of(database),
            "readable_by": versions.told(database, "readable_by"),
            "agent_id": versions.told(database, "agent_id"),
            "syncs": {name: _sync(database, name) for name in names},
        }


def _sync(database: sqlite3.Connection, name: str) -> dict[str, object]:
    [(text, checksum)] = database.execute("SELECT record, sum FROM sync WHERE name = ?", (name,)).fetchall()
    anchors = database.execute(
        "SELECT at, anchor, sum FROM anchor WHERE sync = ? ORDER BY id DESC LIMIT ?", (name, ANCHORS)
    )
    rejected = database.execute(
        "SELECT id, at, source_table, number, status FROM rejected WHERE sync = ? ORDER BY id LIMIT ?", (name, REJECTED)
    )
    return {
        "record": _whole(name, text, checksum),
        "anchors": [{"at": at, "anchor": _whole(name, text, checksum)} for at, text, checksum in anchors],
        "anchors_kept": _count(database, "anchor", name),
        "rejected": [dict(zip(("id", "at", "table", "index", "status"), row, strict=True)) for row in rejected],
        "rejected_kept": _count(database, "rejected", name),
    }


def _whole(name: str, text: str, checksum: int) -> Any:
    return orjson.loads(text) if checksum == records.checksum(name, text) else "damaged"


def _count(database: sqlite3.Connection, table: str, name: str) -> int:
    [(count,)] = database.execute(f"SELECT count(*) FROM {table} WHERE sync = ?", (name,))  # noqa: S608 - names of ours
    return int(count)


def _text(data: bytes) -> str:
    return data.decode(errors="replace")
