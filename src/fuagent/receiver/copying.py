"""Many rows into PostgreSQL at once, with COPY.

COPY takes rows several times as fast as INSERT does, but knows no ``ON CONFLICT``. So rows go straight into their table
as long as all of them are new there, which they are while a table is filled for the first time; once one is not, they
go into a temporary table, and from there with one INSERT.
https://www.postgresql.org/docs/current/sql-copy.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Insert, Table, column, select
from sqlalchemy import table as named

FEWEST = 50
"""Rows from which COPY is worth its statements."""
_NAME = "fuagent_rows"
_LONGEST_WAIT = 1024


class Luck:
    """Whether it is worth a try that all rows are new in their table.

    A try that fails costs a COPY and leaves dead rows behind, so after each the wait for the next is twice as long.
    """

    def __init__(self) -> None:
        self._left = 0
        self._wait = 1

    def is_worth_a_try(self) -> bool:
        """Asked once for each batch."""
        self._left = max(self._left - 1, 0)
        return self._left == 0

    def tried(self, *, were_new: bool) -> None:
        """Learn from it."""
        self._wait = 1 if were_new else min(2 * self._wait, _LONGEST_WAIT)
        self._left = 0 if were_new else self._wait


def is_worth_it(connection: Connection, rows: Sequence[object]) -> bool:
    """Whether there is COPY (through psycopg 3) and rows enough."""
    return connection.dialect.driver == "psycopg" and len(rows) >= FEWEST


def upsert(
    connection: Connection,
    table: Table,
    statement: Insert,
    names: Sequence[str],
    rows: Sequence[Sequence[Any]],
    luck: Luck,
) -> None:
    """Run ``statement``, an INSERT into ``table``, with many rows.

    Args:
        names: The columns.
        rows: Their values as the driver takes them.
        luck: What is known of rows that came for this table.
    """
    quote = connection.dialect.identifier_preparer
    target, columns = quote.format_table(table), ", ".join(quote.quote(table.c[name].name) for name in names)
    if luck.is_worth_a_try():
        were_new = _insert(connection, f"COPY {target} ({columns}) FROM STDIN", rows)
        luck.tried(were_new=were_new)
        if were_new:
            return
    shape = f"SELECT {columns} FROM {target}"  # noqa: S608 - names that were declared, quoted
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {_NAME} ON COMMIT DROP AS {shape} WITH NO DATA")
    _copy(connection, f"COPY {_NAME} ({columns}) FROM STDIN", rows)
    copied = named(_NAME, *(column(table.c[name].name) for name in names))
    connection.execute(statement.from_select(list(names), select(*copied.c)))
    connection.exec_driver_sql(f"DROP TABLE {_NAME}")


def _insert(connection: Connection, statement: str, rows: Sequence[Sequence[Any]]) -> bool:
    """Put rows where they belong if none of them is there, and tell whether that was so."""
    errors = connection.dialect.loaded_dbapi.errors
    try:
        with connection.begin_nested():
            _copy(connection, statement, rows)
    except (errors.UniqueViolation, errors.FeatureNotSupported, errors.WrongObjectType):
        # The latter two: a table whose rows are guarded one by one, and a view, take an INSERT alone.
        return False
    return True


def _copy(connection: Connection, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    # Below SQLAlchemy, what it does for every statement is done here, and errors are the driver's own.
    cursor: Any = connection.connection.cursor()
    # There are no parameters, so that a % of a name stands for itself.
    with cursor, cursor.copy(statement.replace("%%", "%")) as stream:
        for row in rows:
            stream.write_row(row)
