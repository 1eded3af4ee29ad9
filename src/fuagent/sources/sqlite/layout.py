"""The tables of a database as they stand: which there are, their columns and keys.

``PRAGMA table_list`` and ``table_xinfo`` (https://sqlite.org/pragma.html) are read,
never a CREATE statement: generated columns count, hidden ones do not exist.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from fuagent.encode.shown import shown
from fuagent.errors import HaltSyncError
from fuagent.model import Column, Kind, Table
from fuagent.sources.sqlite.names import PREFIX

MOST_COLUMNS = 1900
"""SQLite takes 2000 columns in a table, and the change log needs some of its own."""

VIEW = "a view"
VIRTUAL = "a virtual table"
_ROWID_NAMES = ("rowid", "_rowid_", "oid")
_WILD = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Layout:
    """One table. ``rowid`` is a name its rowid answers to; empty for WITHOUT ROWID, or where columns hide all three."""

    table: Table
    rowid: str
    without_rowid: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """Every table by name: those that can be synced, and why the others cannot."""

    ordinary: tuple[str, ...]
    others: dict[str, str]


def listing(connection: sqlite3.Connection) -> Listing:
    """What is there, in the order of the names."""
    ordinary, others = [], {}
    query = "SELECT name, type FROM pragma_table_list WHERE schema = 'main' ORDER BY name"
    for name, type_ in connection.execute(query):
        if type_ == "table" and not name.startswith((PREFIX, "sqlite_")):
            ordinary.append(name)
        elif type_ == "table":
            others[name] = "a table SQLite or fuagent keeps for itself"
        else:
            others[name] = {"view": VIEW, "virtual": VIRTUAL}.get(type_, "part of a virtual table")
    return Listing(tuple(ordinary), others)


def layout(connection: sqlite3.Connection, name: str) -> Layout | None:
    """One table's layout; None if there is no such ordinary table."""
    query = "SELECT name, wr FROM pragma_table_list(?) WHERE schema = 'main' AND type = 'table'"
    found = connection.execute(query, (name,)).fetchone()
    if found is None:
        return None
    query = 'SELECT name, type, "notnull", pk FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid'
    rows = connection.execute(query, (name,)).fetchall()
    columns = tuple(Column(column, Kind.DYNAMIC, type_, not notnull) for column, type_, notnull, _ in rows)
    key = tuple(column for _, column in sorted((pk, column) for column, _, _, pk in rows if pk))
    taken = {column.name.lower() for column in columns}
    rowid = next((alias for alias in _ROWID_NAMES if alias not in taken and not found[1]), "")
    return Layout(Table(found[0], columns, key), rowid, bool(found[1]))


def narrow(table: Table) -> Table:
    """The table, if the change log can hold its rows.

    Raises:
        HaltSyncError: it has too many columns.
    """
    if len(table.columns) > MOST_COLUMNS:
        raise HaltSyncError(
            f"table {shown(table.name)} has {len(table.columns)} columns; the change log holds {MOST_COLUMNS}",
            fix="split the table, or exclude it",
        )
    return table


def unique_constraints(connection: sqlite3.Connection, name: str) -> int:
    """How many unique constraints a table has besides its primary key."""
    query = "SELECT count(*) FROM pragma_index_list(?) WHERE \"unique\" AND origin <> 'pk'"
    return int(connection.execute(query, (name,)).fetchone()[0])


def select(found: Listing, wanted: Sequence[str], exclude: Iterable[str]) -> list[str]:
    """The tables that names and patterns select, in the order they are asked for; letter case does not count.

    Raises:
        HaltSyncError: a name or pattern selects nothing.
    """
    out = _matcher(found, exclude)
    chosen: dict[str, None] = {}
    for entry in wanted:
        names = [name for name in found.ordinary if name.lower() == entry.lower()]
        if not names and _WILD & set(entry):
            names = [name for name in found.ordinary if fnmatchcase(name.lower(), entry.lower())]
        if not names:
            raise _nothing(found, entry)
        chosen.update(dict.fromkeys(name for name in names if not out(name)))
    if not chosen:
        raise HaltSyncError("exclude takes away every table that tables selects", where="exclude")
    return list(chosen)


def _matcher(found: Listing, entries: Iterable[str]) -> Callable[[str], bool]:
    exact = {name.lower() for name in found.ordinary}
    patterns = [entry.lower() for entry in entries]

    def matches(name: str) -> bool:
        low = name.lower()
        return any(low == entry or (entry not in exact and fnmatchcase(low, entry)) for entry in patterns)

    return matches


def _nothing(found: Listing, entry: str) -> HaltSyncError:
    kind = next((kind for name, kind in found.others.items() if name.lower() == entry.lower()), "")
    if kind:
        return HaltSyncError(
            f"{shown(entry)} is {kind}, whose changes cannot be followed", fix="name the tables behind it"
        )
    if _WILD & set(entry):
        return HaltSyncError(f'no table matches "{shown(entry)}"', fix=f"there are: {_names(found.ordinary)}")
    lower = {name.lower(): name for name in found.ordinary}
    close = [lower[low] for low in get_close_matches(entry.lower(), lower, 3, 0.5)]
    fix = f"did you mean {' or '.join(map(shown, close))}?" if close else f"there are: {_names(found.ordinary)}"
    return HaltSyncError(f'there is no table "{shown(entry)}"', fix=fix)


def _names(names: Sequence[str]) -> str:
    return shown(", ".join(names)) or "none"
