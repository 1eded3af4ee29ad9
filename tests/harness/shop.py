"""A small database for tests: table ``orders`` and a writer that keeps versions."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any


def make(path: Path, rows: int = 10) -> sqlite3.Connection:
    """A database in WAL mode with ``rows`` orders; gives a connection in autocommit mode."""
    database = sqlite3.connect(path, isolation_level=None, timeout=30)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = OFF")
    database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT, price REAL, ver INTEGER NOT NULL)")
    with database:
        database.execute("BEGIN")
        database.executemany(
            "INSERT INTO orders VALUES (?, ?, ?, 1)",
            ((number, f"order {number}", number / 8) for number in range(1, rows + 1)),
        )
    return database


def rows(database: sqlite3.Connection, table: str = "orders") -> dict[Any, dict[str, Any]]:
    """What the table holds, by id."""
    cursor = database.execute(f'SELECT * FROM "{table}"')
    names = [column[0] for column in cursor.description]
    return {row[0]: dict(zip(names, row, strict=True)) for row in cursor}
