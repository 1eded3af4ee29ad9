"""What ``fuagent check`` says about an SQLite source. Nothing is changed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from fuagent.encode.shown import shown
from fuagent.model import Finding, Level
from fuagent.sources.sqlite.layout import MOST_COLUMNS, VIEW, VIRTUAL, Layout, Listing, unique_constraints


def findings(connection: sqlite3.Connection, path: Path, tables: Sequence[Layout]) -> list[Finding]:
    """Everything worth knowing before the first row, each with what to do."""
    where = str(path)
    found = [*_file(connection, path, where)]
    for one in tables:
        found += _table(one, where, unique_constraints(connection, one.table.name))
    return found


def _file(connection: sqlite3.Connection, path: Path, where: str) -> Iterator[Finding]:
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        yield Finding(
            Level.ERROR,
            where,
            "the triggers that keep the changes cannot be made: no permission to write the file or its directory.",
            "Give the user of the agent write permission on both.",
        )
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        yield Finding(
            Level.WARNING,
            where,
            "the database is not in WAL mode: other programs cannot write while a snapshot is read.",
            "sqlite3 FILE 'PRAGMA journal_mode=WAL' (once; the file remembers it).",
        )
    yield Finding(
        Level.INFO,
        where,
        "the agent writes a change log beside the tables, and its locks last milliseconds: every program that "
        "writes the database should have a busy timeout.",
        "PRAGMA busy_timeout=5000 in each of them.",
    )


def _table(one: Layout, where: str, unique: int) -> Iterator[Finding]:
    name = shown(one.table.name)
    if len(one.table.columns) > MOST_COLUMNS:
        what = f"table {name} has {len(one.table.columns)} columns; the change log holds {MOST_COLUMNS}."
        yield Finding(Level.ERROR, where, what, "Split the table, or exclude it.")
    if not one.table.key:
        yield Finding(
            Level.WARNING,
            where,
            f"table {name} has no primary key: the service cannot tell which row a change belongs to, "
            "and SQLite gives rowids of deleted rows to new ones.",
            "Declare a PRIMARY KEY.",
        )
    if unique:
        yield Finding(
            Level.WARNING,
            where,
            f"table {name} has unique constraints besides its key: a row that REPLACE removes because of one "
            "fires no delete trigger, and the service keeps it.",
            "Write with ON CONFLICT … DO UPDATE, or set PRAGMA recursive_triggers=ON in programs that use REPLACE.",
        )
    if any(column.name.casefold() == "index" for column in one.table.columns):
        yield Finding(
            Level.INFO,
            where,
            f'table {name} has a column "index", and that is where an event\'s own number goes.',
            "Rename it under fields.",
        )
    yield Finding(
        Level.INFO,
        where,
        f"triggers on table {name} keep its changes; ALTER TABLE … DROP COLUMN is refused while they are there.",
        "fuagent source remove takes them out; the next run makes them again and suggests a snapshot.",
    )


def passed_over(found: Listing, wanted: Sequence[str], where: str) -> list[Finding]:
    """What a pattern matches by name but cannot be synced."""
    patterns = [entry.lower() for entry in wanted]
    return [
        Finding(Level.INFO, where, f"{shown(name)} is {kind}: its changes cannot be followed, and it is left out.")
        for name, kind in found.others.items()
        if kind in {VIEW, VIRTUAL} and any(fnmatchcase(name.lower(), pattern) for pattern in patterns)
    ]
