"""How the journal's file is laid out, version by version, and how an older one is carried over.

Each version is made of the one before by a step. A new journal walks all of them from an
empty file, an old one those it lacks, in one transaction: a crash on the way leaves the
old one as it was. Before that it is copied aside, for whoever wants to go back.

The way back: the file says which programs may go on with it (``readable_by``). One that
is too old for that is refused, and told of the copy.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from fuagent.errors import StateError
from fuagent.journal_records import checksum

STEPS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE sync (name TEXT PRIMARY KEY, record TEXT NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID",
        """CREATE TABLE anchor (
    id INTEGER PRIMARY KEY, sync TEXT NOT NULL, at REAL NOT NULL, anchor TEXT NOT NULL, sum INTEGER NOT NULL
)""",
        "CREATE INDEX anchor_by_sync ON anchor (sync, id)",
        """CREATE TABLE rejected (
    id INTEGER PRIMARY KEY, sync TEXT NOT NULL, at REAL NOT NULL, source_table TEXT NOT NULL,
    number INTEGER NOT NULL, status INTEGER, reason TEXT NOT NULL, event BLOB NOT NULL,
    sum INTEGER NOT NULL,
    UNIQUE (sync, source_table, number, event)
)""",
    ),
)
"""The statements of each step; the last one makes the version of this program.

A step that was released is never changed, not by a blank: SQLite keeps the text of what
made a table, and a journal is taken for damaged whose text is another.
"""
READABLE_BY = 1
"""The oldest version whose programs may read and write a journal of the version made here.

True of it while a step only adds tables, or columns with a default, which they have again in each
row that an older program writes. A step that changes what is there already raises this to its own number.
"""


def layout(version: int) -> list[tuple[Any, ...]]:
    """What SQLite's schema table holds in a whole journal of this version."""
    with closing(sqlite3.connect(":memory:")) as database:
        _walk(database, 0, version)
        return layout_of(database)


def layout_of(database: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """What SQLite's schema table holds."""
    return database.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name").fetchall()


def version_of(database: sqlite3.Connection) -> int:
    """The journal's version; 0 while it has no tables."""
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def told(database: sqlite3.Connection, key: str) -> str | None:
    """What the journal says of itself under ``key``; None if it says nothing, or what it says is damaged."""
    rows = database.execute("SELECT value, sum FROM meta WHERE key = ?", (key,)).fetchall()
    return next((str(value) for value, found in rows if found == checksum(key, value)), None)


def tell(database: sqlite3.Connection, key: str, value: str) -> None:
    """Write something of the journal itself down."""
    database.execute(
        "INSERT OR REPLACE INTO meta (key, value, sum) VALUES (?, ?, ?)", (key, value, checksum(key, value))
    )


def carry_over(database: sqlite3.Connection, path: Path) -> Path | None:
    """Make of a journal that was found whole one this program works on; gives where an older one is kept, if it was one.

    Raises:
        StateError: its version is newer, and no longer for this program.
        sqlite3.Error, OSError: the disk does not take it; then the journal is as it was.
    """
    version = version_of(database)
    if version >= len(STEPS):
        _refuse_newer(database, path, version)
        return None
    kept = _keep(database, path, version) if version else None
    with database:
        database.execute("BEGIN IMMEDIATE")
        _walk(database, version, len(STEPS))
        database.execute(f"PRAGMA user_version = {len(STEPS)}")
        # The version decides whether the file is refused, so it stands there twice.
        tell(database, "version", str(len(STEPS)))
        tell(database, "readable_by", str(READABLE_BY))
    return kept


def _walk(database: sqlite3.Connection, start: int, end: int) -> None:
    for statements in STEPS[start:end]:
        for statement in statements:
            database.execute(statement)


def _refuse_newer(database: sqlite3.Connection, path: Path, version: int) -> None:
    ours = len(STEPS)
    if ours >= int(told(database, "readable_by") or version):
        return
    fix = "Install the fuagent that wrote it, or a newer one."
    copies = [copy for known in range(1, ours + 1) if (copy := _copy(path, known)).exists()]
    if copies:
        fix += (
            f" To go back to this one, remove {path.name} and what stands beside it with -wal and -shm, and rename"
            f" {copies[-1]} to {path.name}; docs/how-to/upgrade.md says what follows."
        )
    raise StateError(f"the journal has version {version}; this fuagent knows up to {ours}.", where=str(path), fix=fix)


def _copy(path: Path, version: int) -> Path:
    return path.with_name(f"{path.name}.version-{version}")


def _keep(database: sqlite3.Connection, path: Path, version: int) -> Path:
    """Copy the journal aside; there is a whole copy under the name, or none."""
    kept = _copy(path, version)
    unfinished = kept.with_name(f"{kept.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    # Rows set aside are in it: it is as closed as the journal, from the first byte on.
    os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(unfinished)) as copy:
        database.backup(copy)  # synced to the disk as it ends, as every commit of SQLite's
    unfinished.rename(kept)
    folder = os.open(kept.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return kept
