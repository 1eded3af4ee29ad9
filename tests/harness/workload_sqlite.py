"""What a `Workload` knows of SQLite, whose sessions are dressed up as those of a server."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.workload_table import Chance, Values

FIXED = {
    "id": "INTEGER PRIMARY KEY",
    "ver": "INTEGER NOT NULL",
    "tx": "INTEGER NOT NULL",
    "val": "TEXT NOT NULL",
    "chk": "INTEGER NOT NULL",
    "lump_no": "INTEGER NOT NULL",
    "lump": "TEXT NOT NULL",
    "z_big": "INTEGER",
    "z_dbl": "REAL",
    "z_text": "TEXT",
    "z_bin": "BLOB",
}
EXTRA = {"INTEGER DEFAULT 7": lambda chance: chance.randrange(1000), "TEXT DEFAULT 'new'": lambda _: "x" * 9}
AS_JSON = {"z_bin": ("{}", lambda value: base64.b64encode(value).decode())}


class Cursor:
    """A cursor that ends with its block, and takes ``%s`` for a value."""

    def __init__(self, session: sqlite3.Connection) -> None:
        self._cursor = session.cursor()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cursor.close()

    @property
    def rowcount(self) -> int:
        """Rows that the last statement wrote."""
        return self._cursor.rowcount

    def execute(self, sql: str, values: Sequence[Any] = ()) -> None:
        """Run one statement."""
        self._cursor.execute(sql.replace("%s", "?"), values)

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each row."""
        self._cursor.executemany(sql.replace("%s", "?"), rows)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """What the last statement gave."""
        return self._cursor.fetchall()


class Session:
    """A connection that commits by itself outside of BEGIN and COMMIT, and is closed with its block."""

    def __init__(self, path: Path) -> None:
        self._session = sqlite3.connect(path, isolation_level=None, timeout=60, check_same_thread=False)
        self._session.execute("PRAGMA synchronous = OFF")
        self._session.create_function("CONCAT", 2, lambda first, second: f"{first}{second}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def cursor(self) -> Cursor:
        """A new cursor."""
        return Cursor(self._session)

    def close(self) -> None:
        """End it."""
        self._session.close()


@dataclass(frozen=True, slots=True)
class File:
    """A database file in the place of a server's database."""

    path: Path

    def execute(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement in a session of its own; gives the rows."""
        with closing(Session(self.path)) as session, session.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall()


class SQLiteDialect:
    """See `harness.workload_table.Dialect`."""

    fixed, extra, as_json = FIXED, EXTRA, AS_JSON
    errors = (sqlite3.Error,)
    once = "INSERT OR IGNORE INTO {} VALUES (%s, %s)"
    leaves_out = False

    def create(self, database: File, table: str) -> None:
        """See `harness.workload_table.Dialect`."""
        database.execute("PRAGMA journal_mode = WAL")
        columns = ", ".join(f"{name} {declared}" for name, declared in self.fixed.items())
        database.execute(f"CREATE TABLE {table} ({columns})")

    def connect(self, database: File) -> Session:
        """See `harness.workload_table.Dialect`."""
        return Session(database.path)

    def is_lost(self, _error: Exception) -> bool:
        """See `harness.workload_table.Dialect`."""
        return False

    def forget(self, session: Session) -> None:
        """See `harness.workload_table.Dialect`."""
        session.close()

    def zoo(self, chance: Chance) -> Values:
        """See `harness.workload_table.Dialect`."""
        return {
            "z_big": chance.choice((0, 1, -(2**63), 2**63 - 1)),
            "z_dbl": chance.choice((0.0, -1.5, 1e300, chance.random())),
            "z_text": chance.choice(("", "café", "tab\tline\n", "🦉")),
            "z_bin": chance.randbytes(chance.choice((0, 1, 40, 300))),
        }

    def insert(self, cursor: Cursor, table: str, rows: Sequence[Values]) -> None:
        """See `harness.workload_table.Dialect`."""
        marks = ", ".join(["%s"] * len(rows[0]))
        cursor.executemany(
            f"INSERT INTO {table} ({', '.join(rows[0])}) VALUES ({marks})", [tuple(row.values()) for row in rows]
        )

    def upsert(self, names: Sequence[str]) -> str:
        """See `harness.workload_table.Dialect`."""
        return f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in names)}"

    def extras(self, cursor: Cursor, table: str) -> dict[str, str]:
        """See `harness.workload_table.Dialect`."""
        cursor.execute("SELECT name, type || ' DEFAULT ' || dflt_value FROM pragma_table_info(%s)", (table,))
        return {name: declared for name, declared in cursor.fetchall() if name not in self.fixed}

    def alteration(self, table: str, extra: Mapping[str, str], count: int, chance: Chance) -> str:
        """Columns come and are renamed; see `harness.workload_table.Dialect`."""
        if extra and (chance.random() < 0.5 or len(extra) >= 4):
            return f"ALTER TABLE {table} RENAME COLUMN {chance.choice(sorted(extra))} TO x_{count}"
        return f"ALTER TABLE {table} ADD COLUMN x_{count} {chance.choice(sorted(self.extra))}"
