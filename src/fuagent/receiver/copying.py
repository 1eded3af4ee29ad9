"""Many rows into PostgreSQL at once: COPY into a temporary table, then one INSERT from there.

COPY takes rows several times as fast as INSERT does, but knows no ``ON CONFLICT``.
https://www.postgresql.org/docs/current/sql-copy.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Insert, Table, column, select
from sqlalchemy import table as named

from fuagent.errors import PayloadError

FEWEST = 50
"""Rows from which the temporary table is worth its statements."""
_NAME = "fuagent_rows"


def is_worth_it(connection: Connection, rows: Sequence[object]) -> bool:
    """Whether there is COPY (through psycopg 3) and rows enough."""
    return connection.dialect.driver == "psycopg" and len(rows) >= FEWEST


def upsert(
    connection: Connection, table: Table, statement: Insert, names: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Run ``statement``, an INSERT into ``table``, with many rows.

    Args:
        names: The columns.
        rows: Their values as the driver takes them.

    Raises:
        PayloadError: the database refuses a row.
    """
    quote = connection.dialect.identifier_preparer
    columns = ", ".join(quote.quote(table.c[name].name) for name in names)
    shape = f"SELECT {columns} FROM {quote.format_table(table)}"  # noqa: S608 - names that were declared, quoted
    connection.exec_driver_sql(f"CREATE TEMPORARY TABLE {_NAME} ON COMMIT DROP AS {shape} WITH NO DATA")
    _copy(connection, f"COPY {_NAME} ({columns}) FROM STDIN", rows)
    copied = named(_NAME, *(column(table.c[name].name) for name in names))
    connection.execute(statement.from_select(list(names), select(*copied.c)))
    connection.exec_driver_sql(f"DROP TABLE {_NAME}")


def _copy(connection: Connection, statement: str, rows: Sequence[Sequence[Any]]) -> None:
    # Below SQLAlchemy, what it does for every statement is done here, and errors are the driver's own.
    cursor: Any = connection.connection.cursor()
    try:
        # There are no parameters, so that a % of a name stands for itself.
        with cursor, cursor.copy(statement.replace("%%", "%")) as stream:
            for row in rows:
                stream.write_row(row)
    except connection.dialect.loaded_dbapi.DataError:
        raise PayloadError("the database refuses a row") from None
