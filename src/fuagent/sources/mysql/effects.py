"""What a statement in the log means for a sync."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from fuagent.encode.shown import shown
from fuagent.sources.mysql.versions import Versions
from fuagent.sources.selection import Name
from fuagent.wire.mysql.sql import Name as Named
from fuagent.wire.mysql.statements import Kind, Statement


class Effect(Enum):
    """What it does to the transaction under way."""

    NONE = 0
    BEGIN = 1
    KEEP = 2
    """Begin one that is prepared, to be committed later."""
    COMMIT = 3
    ROLLBACK = 4


@dataclass(frozen=True, slots=True)
class Meaning:
    """``lost``: why the place is lost. ``changed``: tables of the sync that have another definition now.

    ``note``: what the operator should hear. ``ends``: the transaction ends with it.
    """

    kind: Effect = Effect.NONE
    lost: str = ""
    changed: tuple[Name, ...] = ()
    note: str = ""
    ends: bool = False


_BORDERS = {
    Kind.BEGIN: Meaning(Effect.BEGIN),
    Kind.XA_START: Meaning(Effect.KEEP),
    Kind.COMMIT: Meaning(Effect.COMMIT, ends=True),
    Kind.ROLLBACK: Meaning(Effect.ROLLBACK, ends=True),
    Kind.ROLLBACK_TO: Meaning(Effect.ROLLBACK),
}
_HARMLESS = frozenset({Kind.SAVEPOINT, Kind.RELEASE, Kind.XA_END, Kind.XA_PREPARE, Kind.XA_COMMIT, Kind.XA_ROLLBACK})
_TAKING = frozenset({"ALTER", "DROP", "RENAME", "TRUNCATE"})
_HELD = frozenset({"TABLE", "TABLES", "DATABASE", "SCHEMA"})
"""With these words a statement may take rows away."""
_DDL = frozenset(
    {"CREATE", "ALTER", "DROP", "GRANT", "REVOKE", "SET", "FLUSH", "ANALYZE", "OPTIMIZE", "REPAIR", "RENAME"}
)
"""First words of what changes no row of a table, if it is not one of the kinds that are told apart."""


def effect(said: Statement, text: bytes, schema: str, versions: Versions) -> Meaning:
    """What ``said``, of ``text`` and run in ``schema``, means for the sync of ``versions``."""
    if said.kind in _BORDERS:
        return _BORDERS[said.kind]
    if said.kind in _HARMLESS or said.temporary:
        return Meaning()
    ours = tuple(_ours(said.tables, schema, versions))
    words = " ".join(said.words)
    if said.kind is Kind.DML or (said.kind is Kind.OTHER and not (said.words and said.words[0] in _DDL)):
        return _statement(said, ours, words)
    if said.kind is Kind.OTHER:
        return _unread(said, text, versions, words)
    if said.kind is Kind.DROP_DATABASE:
        gone = versions.of(said.name)
        return Meaning(lost=f"database {shown(said.name)} was dropped", changed=gone) if gone else Meaning()
    if said.kind in (Kind.RENAME_TABLE, Kind.ALTER_TABLE) and said.renames:
        return _renamed(said, schema, versions)
    if not ours:
        return Meaning()
    label = shown(versions.label(ours[0]))
    if said.kind is Kind.TRUNCATE:
        return Meaning(lost=f"table {label} was emptied (TRUNCATE)", changed=ours)
    if said.kind is Kind.DROP_TABLE:
        return Meaning(lost=f"table {label} was dropped", changed=ours)
    if said.untold:
        return Meaning(
            lost=f"rows of table {label} came or went without a word of them in the binlog: {words}", changed=ours
        )
    note = f"table {label} was altered; rows that were there before may have got new values, which no event tells"
    return Meaning(changed=ours, note=note if said.kind is Kind.ALTER_TABLE else "")


def _statement(said: Statement, ours: tuple[Name, ...], words: str) -> Meaning:
    """A change that the log holds as a statement instead of as rows."""
    if said.tables and not ours:
        return Meaning()
    if not said.words:
        # "Dummy event replacing event type …", which MariaDB sends to those who do not say what they know.
        return Meaning(lost="the server sent a comment in the place of an event")
    what = f"the binlog holds a change as a statement ({words}), without the rows that it changed"
    return Meaning(lost=f"{what}; binlog_format must be ROW for every session")


def _unread(said: Statement, text: bytes, versions: Versions, words: str) -> Meaning:
    """A statement about schemas that was not understood to its end; where it names a table of the sync it counts."""
    low = text.decode("utf-8", "replace").lower()
    ours = tuple(name for name in versions.names if re.search(rf"(?<!\w){re.escape(name.table.lower())}(?!\w)", low))
    if not ours or said.words[0] not in _TAKING or not _HELD & set(said.words):
        return Meaning(changed=ours)
    label = shown(versions.label(ours[0]))
    return Meaning(lost=f"a statement about table {label} was not understood ({words})", changed=ours)


def _renamed(said: Statement, schema: str, versions: Versions) -> Meaning:
    """A table of the sync that takes another's name is gone, unless another one takes its name at once."""
    olds = [*_ours([old for old, _ in said.renames], schema, versions)]
    news = [*_ours([new for _, new in said.renames], schema, versions)]
    if not olds and not news:
        return Meaning()
    gone = [name for name in olds if name not in news]
    if gone:
        return Meaning(lost=f"table {shown(versions.label(gone[0]))} was renamed", changed=(*olds, *news))
    lost = ""
    if said.untold and olds:
        lost = f"rows of table {shown(versions.label(olds[0]))} came or went without a word of them in the binlog"
    note = f"another table has taken the name of {shown(versions.label(news[0]))}; its rows are followed from here on"
    return Meaning(lost=lost, changed=(*olds, *news), note=note if news else "")


def _ours(tables: tuple[Named, ...] | list[Named], schema: str, versions: Versions) -> Iterator[Name]:
    for table in tables:
        name = versions.known(Name(table[0] or schema, table[1]))
        if name is not None:
            yield name
