"""Table versions: what a number in the log's ``tab`` column stands for.

Every time a table's columns change it gets a new number and new triggers. Rows
written before keep their old number, and what it stood for stays in the meta table.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

import orjson

from fuagent.model import Column, Kind, Table
from fuagent.sources.sqlite.names import Names, quote

_KEY = "table:"


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one table. ``current`` is the one its triggers write now."""

    number: int
    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    current: bool = True

    @classmethod
    def of(cls, number: int, table: Table) -> Version:
        """The version that describes the table as it stands."""
        return cls(number, table.name, tuple(column.name for column in table.columns), table.key)

    def describes(self, table: Table) -> bool:
        """Whether the table still looks like this."""
        return self == Version.of(self.number, table)

    def as_table(self) -> Table:
        """The table as it stood; what its columns were declared as is not remembered, and nothing depends on it."""
        return Table(self.table, tuple(Column(name, Kind.DYNAMIC) for name in self.columns), self.key)

    def places_of_key(self) -> tuple[int, ...]:
        """Where the key's columns stand in a row."""
        return tuple(self.columns.index(name) for name in self.key)


def read(connection: sqlite3.Connection, names: Names) -> dict[int, Version]:
    """All versions by number."""
    query = f"SELECT key, value FROM {quote(names.meta)} WHERE key GLOB '{_KEY}*'"  # noqa: S608
    found = {}
    for key, value in connection.execute(query):
        number = int(key.removeprefix(_KEY))
        said = orjson.loads(value)
        found[number] = Version(
            number, said["table"], tuple(said["columns"]), tuple(said["key"]), current=said["current"]
        )
    return dict(sorted(found.items()))


def write(connection: sqlite3.Connection, names: Names, version: Version) -> None:
    """Put one version into the meta table."""
    value = orjson.dumps(
        {"table": version.table, "columns": version.columns, "key": version.key, "current": version.current}
    )
    put(connection, names, f"{_KEY}{version.number}", value.decode())


def put(connection: sqlite3.Connection, names: Names, key: str, value: object) -> None:
    """Set one key of the meta table."""
    connection.execute(f"INSERT OR REPLACE INTO {quote(names.meta)} VALUES (?, ?)", (key, value))  # noqa: S608


def get(connection: sqlite3.Connection, names: Names, key: str) -> object:
    """One key of the meta table; None without it."""
    row = connection.execute(f"SELECT value FROM {quote(names.meta)} WHERE key = ?", (key,)).fetchone()  # noqa: S608
    return row[0] if row else None
