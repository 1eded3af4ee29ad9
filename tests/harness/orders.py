"""Table ``orders`` on every kind of database that an agent is killed in front of."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from harness import mariadb, shop
from harness.postgres import PASSWORD, USER, Database

Row = tuple[Any, ...]


class Orders(Protocol):
    """The table and a session that writes to it; it commits by itself outside of a transaction."""

    source: Mapping[str, Any]
    """The source of a configuration."""
    begin: str
    """What begins a transaction that will write."""

    def execute(self, sql: str, *values: object) -> list[Row]:
        """Run one statement, with ``?`` for each value; gives its rows."""

    def rows(self) -> dict[Any, dict[str, Any]]:
        """What the table holds, by id, as a service gets it."""


class SqliteOrders:
    """See `Orders`."""

    begin = "BEGIN IMMEDIATE"

    def __init__(self, path: Path, rows: int) -> None:
        self.source = {"driver": "sqlite", "endpoint": f"sqlite:///{path}"}
        self._session: sqlite3.Connection = shop.make(path, rows)

    def execute(self, sql: str, *values: object) -> list[Row]:
        """See `Orders`."""
        return self._session.execute(sql, values).fetchall()

    def rows(self) -> dict[Any, dict[str, Any]]:
        """See `Orders`."""
        return shop.rows(self._session)


class PostgresOrders:
    """See `Orders`."""

    begin = "BEGIN"

    def __init__(self, database: Database, rows: int) -> None:
        self.source = {
            "driver": "postgres",
            "endpoint": database.url(),
            "credential": {"user": USER, "password": PASSWORD},
        }
        database.create("orders", "id BIGINT PRIMARY KEY, name TEXT, price DOUBLE PRECISION, ver INT NOT NULL")
        made = "SELECT n, 'order ' || n, n / 8.0, 1 FROM generate_series(1, %s) n"
        database.execute(f"INSERT INTO orders {made}", rows)
        self._database = database
        self._session = database.connect()

    def execute(self, sql: str, *values: object) -> list[Row]:
        """See `Orders`."""
        cursor = self._session.execute(sql.replace("?", "%s"), values or None)
        return cursor.fetchall() if cursor.description else []

    def rows(self) -> dict[Any, dict[str, Any]]:
        """See `Orders`."""
        return {row["id"]: row for row in self._database.rows("orders")}

    def close(self) -> None:
        """End the session."""
        self._session.close()


class MariaDBOrders:
    """See `Orders`."""

    begin = "BEGIN"

    def __init__(self, database: mariadb.Database, rows: int) -> None:
        self.source = {
            "driver": "mysql",
            "endpoint": database.url(),
            "credential": {"user": USER, "password": PASSWORD},
        }
        columns = "id BIGINT PRIMARY KEY, name VARCHAR(100), price DOUBLE, ver INT NOT NULL"
        database.execute(f"CREATE TABLE orders ({columns})")
        self._database = database
        self._session = database.connect()
        with self._session.cursor() as cursor:
            made = [(number, f"order {number}", number / 8) for number in range(1, rows + 1)]
            cursor.executemany("INSERT INTO orders VALUES (%s, %s, %s, 1)", made)

    def execute(self, sql: str, *values: object) -> list[Row]:
        """See `Orders`."""
        with self._session.cursor() as cursor:
            cursor.execute(sql.replace("?", "%s").replace("random()", "rand()"), values or None)
            return list(cursor.fetchall())

    def rows(self) -> dict[Any, dict[str, Any]]:
        """See `Orders`."""
        return {row["id"]: row for row in self._database.rows("orders")}

    def close(self) -> None:
        """End the session."""
        self._session.close()
