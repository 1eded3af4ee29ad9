"""Making the change log fit the tables, and noticing where it no longer did.

Everything happens in one transaction that holds the write lock: either log,
meta table and triggers all fit the tables when it ends, or nothing was touched.

A table rebuilt the way SQLite's manual teaches it loses its triggers, and so do changes
made from then on (https://sqlite.org/lang_altertable.html section 7). That is a loss and
raised as one; only when the engine has written it down may it be put right (``mend``).
Columns that were added or renamed lose nothing: SQLite itself keeps the triggers going,
with the columns they know, and rows logged that way are read again by their key.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fuagent.encode.shown import shown
from fuagent.errors import HaltSyncError, LostPlaceError
from fuagent.sources.sqlite import triggers, versions
from fuagent.sources.sqlite.layout import Layout, layout
from fuagent.sources.sqlite.names import Names, quote
from fuagent.sources.sqlite.versions import Version

FORMAT = 1
ACKNOWLEDGED = "acknowledged"
BASE = "base"
_FORMAT = "format"


@dataclass(frozen=True, slots=True)
class State:
    """The change log as it stands after it was made to fit.

    ``grown`` names tables that gained or renamed columns, each with what to say about it.
    """

    versions: dict[int, Version]
    base: int
    keys: int
    """How many ``k`` columns the log has."""
    columns: int
    """How many ``c`` columns it has."""
    schema: int
    """``PRAGMA schema_version`` it was seen under."""
    grown: tuple[str, ...] = ()

    def current(self, table: str) -> Version | None:
        """The version whose triggers write this table's changes now."""
        return next((one for one in self.versions.values() if one.current and one.table == table), None)


def install(
    connection: sqlite3.Connection, names: Names, tables: Sequence[str], owner: tuple[str, str], *, mend: bool
) -> State:
    """Make the log fit ``tables``; to be called inside a writing transaction.

    Args:
        connection: In a writing transaction.
        names: What our things are called.
        tables: The tables whose changes are kept; those of any other table no longer are.
        owner: Agent id and sync, written down for people who look into the database.
        mend: Put right what means that changes were missed, instead of raising it.

    Raises:
        LostPlaceError: changes may have been missed.
        HaltSyncError: the log was written by a newer fuagent.
    """
    _start(connection, names, owner, mend=mend)
    known = versions.read(connection, names)
    fitting = _Fitting(connection, names, known, mend=mend)
    for table in tables:
        fitting.fit(table)
    fitting.retire(tables)
    return replace(state(connection, names), grown=tuple(fitting.grown))


def state(connection: sqlite3.Connection, names: Names) -> State:
    """The change log as it stands."""
    known = versions.read(connection, names)
    columns = [row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (names.log,))]
    base = versions.get(connection, names, BASE)
    return State(
        known,
        base if isinstance(base, int) else 0,
        sum(name.startswith("k") for name in columns),
        sum(name.startswith("c") for name in columns),
        schema_version(connection),
    )


def schema_version(connection: sqlite3.Connection) -> int:
    """A number that changes with every change of any table or trigger."""
    return int(connection.execute("PRAGMA schema_version").fetchone()[0])


def ours(connection: sqlite3.Connection, names: Names) -> dict[str, tuple[str, str]]:
    """Name to type and SQL of everything that is ours."""
    query = "SELECT name, type, sql FROM sqlite_master WHERE type IN ('table', 'trigger') AND substr(name, 1, ?) = ?"
    rows = connection.execute(query, (len(names.prefix), names.prefix))
    return {name: (type_, sql) for name, type_, sql in rows}


def remove(connection: sqlite3.Connection, names: Names) -> list[str]:
    """Take out everything that is ours, triggers first; one line for each."""
    found = sorted(ours(connection, names).items(), key=lambda item: (item[1][0] != "trigger", item[0]))
    for name, (type_, _) in found:
        connection.execute(f"DROP {type_} {quote(name)}")
    return [f"{type_} {name} dropped" for name, (type_, _) in found]


def _start(connection: sqlite3.Connection, names: Names, owner: tuple[str, str], *, mend: bool) -> None:
    """See that log and meta table are there: both, or neither and both are made."""
    found = ours(connection, names)
    parts = (names.log in found, names.meta in found)
    if all(parts):
        _readable(connection, names)
        _standing(connection, names, mend=mend)
        return
    if found and not mend:
        raise LostPlaceError(
            "part of the change log in the database is gone: changes may be missing",
            fix="leave tables and triggers that begin with _fuagent_ alone; fuagent source remove takes them out",
        )
    remove(connection, names)
    connection.execute(triggers.create_log(names))
    connection.execute(triggers.create_meta(names))
    agent_id, sync = owner
    for key, value in ((_FORMAT, FORMAT), (BASE, 0), (ACKNOWLEDGED, 0), ("agent_id", agent_id), ("sync", sync)):
        versions.put(connection, names, key, value)
    connection.execute(triggers.mark(names)).fetchall()


def _standing(connection: sqlite3.Connection, names: Names, *, mend: bool) -> None:
    """See that the log has a row to stand on."""
    if connection.execute(f"SELECT 1 FROM {quote(names.log)} LIMIT 1").fetchone():  # noqa: S608
        return
    if not mend:
        raise LostPlaceError(
            "the change log in the database was emptied: changes may be missing",
            fix="leave tables that begin with _fuagent_ alone; fuagent source remove takes them out",
        )
    connection.execute(triggers.mark(names)).fetchall()


def _readable(connection: sqlite3.Connection, names: Names) -> None:
    written = versions.get(connection, names, _FORMAT)
    if written != FORMAT:
        raise HaltSyncError(
            f"the change log in the database has format {written}; this fuagent reads format {FORMAT}",
            fix="use the newer fuagent that wrote it, or run fuagent source remove and take a snapshot",
        )


class _Fitting:
    """One run of fitting the log to the tables."""

    def __init__(self, connection: sqlite3.Connection, names: Names, known: dict[int, Version], *, mend: bool) -> None:
        self._connection = connection
        self._names = names
        self._current = {one.table: one for one in known.values() if one.current}
        self._next = max(known, default=0) + 1
        self._mend = mend
        self.grown: list[str] = []

    def fit(self, name: str) -> None:
        """Make the log keep one table's changes."""
        found = layout(self._connection, name)
        if found is None:
            raise _gone(name)
        version = self._current.get(name)
        if version is None:
            self._begin(found)
        elif version.describes(found.table) and self._intact(version, found):
            return
        elif self._intact(version, found):
            self._grow(version, found)
        else:
            self._loss(f"table {shown(name)} was rebuilt, or triggers of the change log on it were dropped or changed")
            self._replace(version, found)

    def retire(self, tables: Sequence[str]) -> None:
        """Stop keeping the changes of every other table."""
        for name in self._current.keys() - set(tables):
            if layout(self._connection, name) is None:
                self._loss(f"table {shown(name)} was dropped or renamed")
            self._end(self._current[name])

    def _loss(self, what: str) -> None:
        if not self._mend:
            raise LostPlaceError(
                f"{what}: changes between then and now may be missing",
                fix="take a snapshot; it brings the service in step again",
            )

    def _intact(self, version: Version, found: Layout) -> bool:
        """Whether the triggers are there, letter for letter, and cover the first columns of the table as it stands."""
        wanted = triggers.triggers(self._names, version.number, found, len(version.columns))
        there = {name: sql for name, (type_, sql) in ours(self._connection, self._names).items() if type_ == "trigger"}
        return len(version.columns) <= len(found.table.columns) and wanted.items() <= there.items()

    def _grow(self, version: Version, found: Layout) -> None:
        name = shown(version.table)
        if not version.key and self._pending(version):
            self._loss(f"columns of table {name} changed, and without a key its newest changes cannot be read again")
        self._replace(version, found)
        added = [shown(column.name) for column in found.table.columns[len(version.columns) :]]
        what = f"gained {', '.join(added)}" if added else "renamed a column"
        self.grown.append(f"table {name} {what}; rows that do not change are not sent again for it.")

    def _pending(self, version: Version) -> bool:
        acknowledged = versions.get(self._connection, self._names, ACKNOWLEDGED)
        query = f"SELECT 1 FROM {quote(self._names.log)} WHERE seq > ? AND tab = ? LIMIT 1"  # noqa: S608
        return self._connection.execute(query, (acknowledged, version.number)).fetchone() is not None

    def _replace(self, version: Version, found: Layout) -> None:
        self._end(version)
        self._begin(found)

    def _end(self, version: Version) -> None:
        versions.write(self._connection, self._names, replace(version, current=False))
        start = self._names.trigger(version.number, "")
        for name in ours(self._connection, self._names):
            if name.startswith(start):
                self._connection.execute(f"DROP TRIGGER {quote(name)}")

    def _begin(self, found: Layout) -> None:
        version = Version.of(self._next, found.table)
        self._next += 1
        self._widen(version)
        versions.write(self._connection, self._names, version)
        for sql in triggers.triggers(self._names, version.number, found).values():
            self._connection.execute(sql)

    def _widen(self, version: Version) -> None:
        """See that the log has a column for everything in a row of this version."""
        there = state(self._connection, self._names)
        new = [f"k{place}" for place in range(there.keys, len(version.key))]
        new += [f"c{place}" for place in range(there.columns, len(version.columns))]
        for column in new:
            self._connection.execute(f"ALTER TABLE {quote(self._names.log)} ADD COLUMN {column}")


def _gone(name: str) -> LostPlaceError:
    return LostPlaceError(
        f"table {shown(name)} is gone: it was dropped or renamed",
        fix="name the table that is there now under tables, or take this one out",
    )
