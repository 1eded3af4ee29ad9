"""Many rows into PostgreSQL at once: COPY into a temporary table, then one INSERT from there.

COPY takes rows several times as fast as INSERT does, but knows no ``ON CONFLICT``.
https://www.postgresql.org/docs/current/sql-copy.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, column, select, text
from sqlalchemy import table as named
from sqlalchemy.dialects.postgresql import Insert

from fuagent.errors import PayloadError

FEWEST = 50
"""Rows from which the temporary table is worth its statements."""
_NAME = "fuagent_rows"


def is_worth_it(connection: Connection, rows: Sequence[object]) -> bool:
    """Whether there is COPY (through psycopg 3) and rows enough."""
    return connection.dialect.driver == "psycopg" and len(rows) >= FEWEST


def upsert(connection: Connection, table: Table, statement: Insert, rows: Sequence[Mapping[str, Any]]) -> None:
    """Run ``statement``, an INSERT into ``table``, with many rows.

    Args:
        rows: Values by column, the same columns in each.

    Raises:
        PayloadError: a value does not fit its column.
    """
    names = list(rows[0])
    quote = connection.dialect.identifier_preparer
    columns = ", ".join(quote.quote(table.c[name].name) for name in names)
    shape = f"SELECT {columns} FROM {quote.format_table(table)}"  # noqa: S608 - names that were declared, quoted
    connection.execute(text(f"CREATE TEMPORARY TABLE {_NAME} ON COMMIT DROP AS {shape} WITH NO DATA"))
    _copy(connection, table, f"COPY {_NAME} ({columns}) FROM STDIN", names, rows)
    copied = named(_NAME, *(column(table.c[name].name) for name in names))
    connection.execute(statement.from_select(names, select(*copied.c)))
    connection.execute(text(f"DROP TABLE {_NAME}"))


def _copy(
    connection: Connection, table: Table, statement: str, names: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    dialect = connection.dialect
    readers = [(name, table.c[name].type.dialect_impl(dialect).bind_processor(dialect)) for name in names]
    # Below SQLAlchemy, what it does for every statement is done here, and errors are the driver's own.
    try:
        values = [[read(row[name]) if read else row[name] for name, read in readers] for row in rows]
    except (LookupError, TypeError, ValueError):
        raise PayloadError("a value does not fit its column") from None
    cursor: Any = connection.connection.cursor()
    try:
        with cursor, cursor.copy(statement) as stream:
            for row_values in values:
                stream.write_row(row_values)
    except dialect.loaded_dbapi.DataError:
        raise PayloadError("the database refuses a row") from None
