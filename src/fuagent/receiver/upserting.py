"""Many rows into a table at once, each by its key.

Rows come as columns: what has to be done for every value is then done for a whole column, and most columns need
nothing. SQLAlchemy makes the statement and says how values of a type are written; the statement is made once for
rows with the same properties, and many rows go to the driver as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Column, Connection, DateTime, Dialect, Insert, Table
from sqlalchemy.dialects import mysql, postgresql, sqlite

from fuagent.errors import PayloadError
from fuagent.receiver import copying, making

Values = Sequence[Any]
_Bind = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """One statement for rows with the same properties."""

    statement: Insert
    sql: str
    order: tuple[str, ...]
    """The columns in the order of the statement's parameters; empty where parameters go by name."""
    binds: tuple[_Bind | None, ...]
    """What the driver needs of each column's values; None: nothing."""


def upsert(
    connection: Connection, table: Table, key: tuple[str, ...], columns: dict[str, Values], luck: copying.Luck
) -> None:
    """Insert rows, and update those whose key is there.

    Args:
        connection: Where to, in its transaction.
        table: The table.
        key: The columns that tell rows apart.
        columns: Values by column, all of one length.
        luck: What is known of rows that came for this table.

    Raises:
        PayloadError: a value does not fit its column.
    """
    names = tuple(columns)
    prepared = _prepared(connection.dialect, table, key, names)
    if copying.is_worth_it(connection, columns[names[0]]):
        copying.upsert(connection, table, prepared.statement, names, _rows(prepared, columns), luck)
        return
    try:
        if prepared.order:
            connection.exec_driver_sql(prepared.sql, _rows(prepared, columns))
        else:
            connection.execute(
                prepared.statement, [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
            )
    except OverflowError:  # the driver of SQLite raises its own for an integer beyond 64 bits
        raise PayloadError("a number is too large for the database") from None


def _rows(prepared: _Prepared, columns: dict[str, Values]) -> list[tuple[Any, ...]]:
    """The rows as the driver takes them, in the order of the statement."""
    bound: dict[str, Values] = {}
    try:
        for (name, values), bind in zip(columns.items(), prepared.binds, strict=True):
            bound[name] = values if bind is None else [bind(value) for value in values]
    except (LookupError, TypeError, ValueError, ArithmeticError):
        raise PayloadError("a value does not fit its column") from None
    return list(zip(*(bound[name] for name in prepared.order or bound), strict=True))


@lru_cache(maxsize=256)
def _prepared(dialect: Dialect, table: Table, key: tuple[str, ...], names: tuple[str, ...]) -> _Prepared:
    others = [name for name in names if name not in key]
    made = statement(dialect.name, table, key, others)
    compiled: Any = made.compile(dialect=dialect, column_keys=names)
    order = tuple(compiled.positiontup or ())
    binds = tuple(_bind(table.c[name], dialect) for name in names)
    return _Prepared(made, str(compiled), order if set(order) == set(names) else (), binds)


def statement(dialect: str, table: Table, key: Sequence[str], others: Sequence[str]) -> Insert:
    """Insert, or where the key is there already update ``others``; without any leave it as it is."""
    if dialect in making.MYSQL:
        own = mysql.insert(table)
        return own.on_duplicate_key_update({name: own.inserted[name] for name in others or key[:1]})
    made = sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
    unique = [table.c[name] for name in key]
    if not others:
        return made.on_conflict_do_nothing(index_elements=unique)
    return made.on_conflict_do_update(index_elements=unique, set_={name: made.excluded[name] for name in others})


def _bind(column: Column[Any], dialect: Dialect) -> _Bind | None:
    if dialect.name == "sqlite" and type(column.type) is DateTime:
        return _moment  # what SQLAlchemy writes, in far less time; the reader has left no zone
    made: _Bind | None = column.type.dialect_impl(dialect).bind_processor(dialect)
    return made


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat(" ", "microseconds")
