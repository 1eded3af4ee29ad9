"""The tables of a server as they stand: which a sync selects, their columns and keys.

``information_schema`` is read, in a few queries for all tables. What a table map of the log leaves
unsaid (that a text is JSON, that 16 bytes are a UUID) is known from here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fuagent.encode.shown import shown
from fuagent.errors import HaltSyncError, TryAgainError
from fuagent.model import Table
from fuagent.sources.mysql.columns import Declared, Said, declare
from fuagent.sources.mysql.link import Link, Row
from fuagent.sources.selection import VIEW, Listing, Name, within

SYSTEM = frozenset({"information_schema", "mysql", "performance_schema", "sys"})
"""Databases of the server's own."""

_BASE = "BASE TABLE"
_OTHERS = {"VIEW": VIEW, "SYSTEM VIEW": VIEW, "SYSTEM VERSIONED": "a system-versioned table"}
_TRANSACTIONAL = frozenset({"innodb", "rocksdb", "tokudb", "ndbcluster"})
_JSON_CHECK = re.compile(r"\s*json_valid\(`((?:[^`]|``)+)`\)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Layout:
    """One table as it stands. Two are equal if rows are read and written alike."""

    name: Name
    table: Table
    """Its ``schema`` is empty for tables of the endpoint's own database."""
    columns: tuple[Declared, ...]
    """All of them, invisible and generated ones too, in the table's order: that of the log's row images."""
    engine: str = field(default="", compare=False)
    estimate: int | None = field(default=None, compare=False)
    """About how many rows there are."""

    @property
    def transactional(self) -> bool:
        """Whether a transaction shows one state of it."""
        return self.engine.lower() in _TRANSACTIONAL


async def listing(link: Link, database: str, wanted: Sequence[str]) -> Listing:
    """The tables of the databases that ``wanted`` may mean, in the order of their names."""
    schemas = await _schemas(link, database, wanted)
    tables, others = [], {}
    for schema in schemas:
        query = "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s"
        for table, type_ in sorted(await link.rows(query, (schema,))):
            name = Name(schema, table)
            if type_ == _BASE:
                tables.append(name)
            elif type_ != "TEMPORARY":
                others[name] = _OTHERS.get(type_) or f"a {shown(type_.lower())}"
    return Listing(database, tuple(tables), others)


async def _schemas(link: Link, database: str, wanted: Sequence[str]) -> list[str]:
    """The endpoint's own database, and those a name with a dot can mean."""
    found = [row[0] for row in await link.rows("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA ORDER BY 1")]
    if database not in found:
        exact = [name for name in found if name.lower() == database.lower()]
        fix = (
            f"write {shown(exact[0])}: letter case counts"
            if exact
            else "correct the database in endpoint, or GRANT SELECT"
        )
        raise HaltSyncError(
            f"there is no database {shown(database)} that the account may read", where=link.where, fix=fix
        )
    dotted = [entry.lower() for entry in wanted if "." in entry]
    others = [
        name for name in found if name not in {database, *SYSTEM} and any(within(name, entry) for entry in dotted)
    ]
    return [database, *others]


# ------------------------------------------------------------------ layouts


async def layouts(link: Link, names: Sequence[Name], database: str) -> list[Layout]:
    """The layouts of these tables, in their order; one that is gone is left out.

    Raises:
        HaltSyncError: a column has a type that is not known.
        TryAgainError: a table is being altered, and was seen in part.
    """
    facts: dict[Name, _Facts] = {}
    for schema in dict.fromkeys(name.schema for name in names):
        tables = sorted({name.table for name in names if name.schema == schema})
        await _gather(link, schema, tables, facts)
    for name, one in facts.items():
        if one.keyed and not one.indexes:
            raise TryAgainError(f"table {shown(name.table)} is being altered; it is looked at again", where=link.where)
    return [_layout(name, facts[name], database) for name in names if name in facts and facts[name].columns]


async def changed(link: Link, name: Name) -> int | None:
    """When a table was last given its definition, Unix seconds of the server's clock; None where it does not say."""
    query = (
        "SELECT UNIX_TIMESTAMP(CREATE_TIME) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    )
    row = await link.one(query, (name.schema, name.table))
    return None if row is None or row[0] is None else int(float(row[0]))


@dataclass(slots=True)
class _Facts:
    engine: str
    estimate: int | None
    columns: list[Said] = field(default_factory=list)
    json: set[str] = field(default_factory=set)
    keyed: bool = False
    """Whether a column says that it belongs to the key."""
    indexes: dict[str, list[str | None]] = field(default_factory=dict)
    """Unique ones: their columns, None for a part of a column or an expression."""


_TABLES = "SELECT TABLE_NAME, ENGINE, TABLE_ROWS FROM information_schema.TABLES"
_COLUMNS = (
    "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, IS_NULLABLE, CHARACTER_SET_NAME, COLLATION_NAME, EXTRA, "
    "CHARACTER_MAXIMUM_LENGTH, COLUMN_KEY FROM information_schema.COLUMNS"
)
_INDEXES = "SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS"
_CHECKS = (
    "SELECT TABLE_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = %s "
    "AND CHECK_CLAUSE LIKE '%%json_valid%%'"
)


async def _gather(link: Link, schema: str, tables: Sequence[str], facts: dict[Name, _Facts]) -> None:
    some = f" WHERE TABLE_SCHEMA = %s AND TABLE_NAME IN ({', '.join(['%s'] * len(tables))})"
    args = (schema, *tables)

    async def ask(query: str, rest: str = "") -> list[tuple[_Facts, Row]]:
        rows = await link.rows(query + some + rest, args)
        # The server may not tell letter cases apart here, and tables may differ in nothing else.
        return [(facts[Name(schema, row[0])], row[1:]) for row in rows if Name(schema, row[0]) in facts]

    for table, engine, estimate in await link.rows(_TABLES + some, args):
        if table in tables:
            facts[Name(schema, table)] = _Facts(engine or "", None if estimate is None else int(estimate))
    for one, row in await ask(_COLUMNS, " ORDER BY TABLE_NAME, ORDINAL_POSITION"):
        one.columns.append(_said(row[:-1]))
        one.keyed = one.keyed or row[-1] == "PRI"
    for one, (index, column, part) in await ask(
        _INDEXES, " AND NON_UNIQUE = 0 ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"
    ):
        one.indexes.setdefault(index, []).append(column if part is None else None)
    if "mariadb" in link.version.lower():
        for table, clause in await link.rows(_CHECKS, (schema,)):
            match = _JSON_CHECK.fullmatch(clause)
            if match and Name(schema, table) in facts:
                facts[Name(schema, table)].json.add(match[1].replace("``", "`"))


def _said(row: Row) -> Said:
    name, data_type, column_type, nullable, charset, collation, extra, length = row
    return Said(
        name=name,
        data_type=_text(data_type),
        column_type=_text(column_type),
        nullable=nullable == "YES",
        charset=charset or "",
        collation=collation or "",
        extra=extra or "",
        length=int(length or 0),
    )


def _text(value: Any) -> str:
    """MySQL 8 calls some of these texts binary."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _layout(name: Name, facts: _Facts, database: str) -> Layout:
    schema = "" if name.schema == database else name.schema
    label = f"{schema}.{name.table}" if schema else name.table
    columns = tuple(
        declare(said, label, is_json=said.name in facts.json and said.data_type == "longtext") for said in facts.columns
    )
    key = _key(facts)
    table = Table(name.table, tuple(one.column for one in columns), key, schema)
    return Layout(name, table, columns, facts.engine, facts.estimate)


def _key(facts: _Facts) -> tuple[str, ...]:
    """The primary key; else the first unique one, by name, of whole columns that are never NULL."""
    never_null = {said.name for said in facts.columns if not said.nullable}
    for _, columns in sorted(facts.indexes.items(), key=lambda one: (one[0] != "PRIMARY", one[0])):
        whole = [column for column in columns if column in never_null]
        if len(whole) == len(columns):
            return tuple(whole)
    return ()
