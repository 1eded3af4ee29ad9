"""The SQL of the change log: its tables, and the triggers that fill them.

A change is one row of the log: ``seq`` rises, ``token`` is random and so tells
this log from a copy that went another way, ``tab`` is the number of the table's
version, ``op`` what happened, ``k0, k1, …`` the old key where it changed, and
``c0, c1, …`` the row (for a delete, the row that was). The columns have no type, so a
value is kept exactly as it is stored (https://sqlite.org/datatype3.html section 3.1,
affinity BLOB).

What a trigger writes for an insert or update is the row as it stands in the table at
that moment and not ``NEW``: another trigger that changes the same row again (the
usual way to keep an ``updated_at``) may run before ours, and its change would then
stand in the log before the older image.

Limits, which :mod:`~fuagent.sources.sqlite.findings` tells people about. SQLite fires
no delete trigger for a row that REPLACE removes unless the writer sets
``recursive_triggers`` (https://sqlite.org/lang_conflict.html): a row replaced under its own
key is an update here; a row removed because of *another* unique constraint is not
noticed. ``ALTER TABLE … DROP COLUMN`` is refused by SQLite while a trigger names the column.
"""

from __future__ import annotations

from collections.abc import Sequence

from fuagent.model import Table
from fuagent.sources.sqlite.layout import Layout
from fuagent.sources.sqlite.names import Names, quote

# Odd operations have two images, the old key and the row, and so take two numbers.
INSERT, UPDATE, DELETE, REKEY, MARK, GONE, LEFT = 0, 1, 2, 3, 4, 6, 7
"""What happened. REKEY is an update that changed the key; MARK a row of fuagent's own.
In memory only: GONE stands for a row that can no longer be read, LEFT for one that has a new key besides, so that
the old key is all there is to tell."""

FIXED = 4
"""Columns of a log row before the keys: seq, token, tab, op."""


def create_log(names: Names) -> str:
    """AUTOINCREMENT: a number is never given twice, even when the newest rows are gone."""
    return f"CREATE TABLE {quote(names.log)} (seq INTEGER PRIMARY KEY AUTOINCREMENT, token, tab, op)"


def create_meta(names: Names) -> str:
    """Keys and values: the format, the base, who it belongs to, and the table versions."""
    return f"CREATE TABLE {quote(names.meta)} (key TEXT PRIMARY KEY, value) WITHOUT ROWID"


def mark(names: Names) -> str:
    """A row of our own: something to stand on before the first change."""
    return f"INSERT INTO {quote(names.log)} (token, tab, op) VALUES (random(), 0, {MARK}) RETURNING seq, token"  # noqa: S608


def triggers(names: Names, number: int, layout: Layout, columns: int | None = None) -> dict[str, str]:
    """Every trigger of one table version by name; ``columns`` limits it to the first so many."""
    table = layout.table
    sent = [column.name for column in table.columns[:columns]]
    kinds = [
        ("insert", "INSERT", "", _logged(names, number, INSERT, layout, sent)),
        ("update", "UPDATE", _when(table, changed=False), _logged(names, number, UPDATE, layout, sent)),
        ("delete", "DELETE", "", _deleted(names, number, sent)),
    ]
    if table.key:
        rekeyed = _logged(names, number, REKEY, layout, sent)
        kinds.append(("rekey", "UPDATE", _when(table, changed=True), rekeyed))
    return {
        (name := names.trigger(number, kind)): (
            f"CREATE TRIGGER {quote(name)} AFTER {event} ON {quote(table.name)} FOR EACH ROW{when} BEGIN {body}; END"
        )
        for kind, event, when, body in kinds
    }


def _when(table: Table, *, changed: bool) -> str:
    """Keys are compared byte by byte and by storage class: 1 and '1' differ, and so do 'a' and 'A'."""
    if not table.key:
        return ""
    tests = []
    for name in table.key:
        old, new = f"OLD.{quote(name)}", f"NEW.{quote(name)}"
        tests.append(f"{old} COLLATE BINARY IS NOT {new} OR typeof({old}) <> typeof({new})")
    differs = " OR ".join(tests)
    return f" WHEN {differs}" if changed else f" WHEN NOT ({differs})"


def _into(names: Names, number: int, op: int, keys: int, columns: int) -> tuple[str, str]:
    own = ["token", "tab", "op", *(f"k{place}" for place in range(keys)), *(f"c{place}" for place in range(columns))]
    return f"INSERT INTO {quote(names.log)} ({', '.join(own)})", f"random(), {number}, {op}"


def _logged(names: Names, number: int, op: int, layout: Layout, sent: Sequence[str]) -> str:
    key = layout.table.key if op == REKEY else ()
    into, fixed = _into(names, number, op, len(key), len(sent))
    old = "".join(f", OLD.{quote(name)}" for name in key)
    same = layout.table.key if layout.without_rowid else (layout.rowid,) if layout.rowid else ()
    if not same:
        return f"{into} VALUES ({fixed}{old}, {', '.join(f'NEW.{quote(name)}' for name in sent)})"
    # Under a name of its own: a table may be called NEW or OLD.
    values = ", ".join(f"this.{quote(name)}" for name in sent)
    where = " AND ".join(f"this.{quote(name)} = NEW.{quote(name)}" for name in same)
    return f"{into} SELECT {fixed}{old}, {values} FROM {quote(layout.table.name)} AS this WHERE {where}"  # noqa: S608


def _deleted(names: Names, number: int, sent: Sequence[str]) -> str:
    into, fixed = _into(names, number, DELETE, 0, len(sent))
    return f"{into} VALUES ({fixed}, {', '.join(f'OLD.{quote(name)}' for name in sent)})"
