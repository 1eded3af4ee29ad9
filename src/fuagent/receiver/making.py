"""Tables of a database as they are found, made and changed: columns by their width.

MySQL commits what is under way when a table is made or changed, so all of this runs before the
transaction of a batch begins, in one of its own. What another process makes at the same time is
taken as it is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Engine,
    MetaData,
    String,
    Table,
    Text,
    exists,
    inspect,
    or_,
    select,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import quoted_name
from sqlalchemy.types import NullType, TypeEngine, UserDefinedType

from fuagent.receiver.growing import EXACT

KEY_LENGTH = 255
"""Characters of a text that is part of a key on MySQL and MariaDB, which index no long ones."""
RUN_LENGTH = 100
MYSQL = frozenset({"mysql", "mariadb"})


class Untyped(UserDefinedType[Any]):
    """A column of SQLite without a type, which stores what it is given.

    https://www.sqlite.org/datatype3.html#determination_of_column_affinity
    """

    cache_ok = True

    def get_col_spec(self, **_options: object) -> str:
        """Nothing stands behind the name."""
        return ""


def folds_names(engine: Engine) -> bool:
    """Whether columns whose names differ in case alone are the same."""
    return engine.dialect.name != "postgresql"


def names(engine: Engine) -> list[str]:
    """All tables of the database."""
    return inspect(engine).get_table_names()


def find(engine: Engine, name: str) -> Table | None:
    """A table as it is in the database; None: there is none of exactly this name."""
    if name not in names(engine):
        return None
    return Table(quoted_name(name, quote=True), MetaData(), autoload_with=engine, resolve_fks=False)


def find_more(engine: Engine, declared: Table) -> Table | None:
    """A table as it was declared, and with the columns that the database has besides."""
    if not inspect(engine).has_table(declared.name, declared.schema):
        return None
    found = Table(declared.name, MetaData(), schema=declared.schema, autoload_with=engine, resolve_fks=False)
    made = declared.to_metadata(MetaData())
    known = {column.name for column in declared.columns}
    for column in found.columns:
        if column.name not in known:
            made.append_column(Column(quoted_name(column.name, quote=True), column.type))
    return made


def found_width(engine: Engine, column: Column[Any]) -> str | None:
    """The width of a column; None: it was not made here."""
    kind = column.type
    if engine.dialect.name == "sqlite":
        return "any" if isinstance(kind, NullType) else None
    if engine.dialect.name in MYSQL:
        return _found_in_mysql(column)
    known = ((Boolean, "boolean"), (BigInteger, "integer"), (Double, "number"))
    return next((wide for type_, wide in known if isinstance(kind, type_)), "text" if isinstance(kind, Text) else None)


def _found_in_mysql(column: Column[Any]) -> str | None:
    kind = column.type
    if isinstance(kind, mysql.BIGINT):
        return None if kind.unsigned else "integer"
    if isinstance(kind, mysql.VARCHAR):
        return "text" if column.primary_key and kind.length == KEY_LENGTH else None
    known = ((mysql.TINYINT, "boolean"), (mysql.DOUBLE, "number"), (mysql.LONGTEXT, "text"))
    return next((wide for type_, wide in known if isinstance(kind, type_)), None)


def make(engine: Engine, name: str, key: Mapping[str, str], run_column: str) -> None:
    """Make a table of its key alone, whose columns have these widths, unless it is there."""
    columns = [
        Column(quoted_name(one, quote=True), _type(engine, wide, key=True), primary_key=True, autoincrement=False)
        for one, wide in key.items()
    ]
    table = Table(quoted_name(name, quote=True), MetaData(), *columns, Column(run_column, String(RUN_LENGTH)))
    try:
        table.create(engine)
    except DBAPIError:
        if find(engine, name) is None:
            raise


def add(engine: Engine, table: Table, widths: Mapping[str, str]) -> None:
    """Add columns of these widths; one that is there already stays as it is."""
    for name, wide in widths.items():
        add_column(engine, table, name, _type(engine, wide))


def add_column(engine: Engine, table: Table, name: str, type_: TypeEngine[Any]) -> None:
    """Add a column unless it is there."""
    try:
        _alter(engine, table, f"ADD COLUMN {_quoted(engine, name)} {_spelled(engine, type_)}")
    except DBAPIError:
        there = inspect(engine).get_columns(table.name, schema=table.schema)
        if name not in {column["name"] for column in there}:
            raise


def widen(engine: Engine, table: Table, widths: Mapping[str, str]) -> None:
    """Give columns more width; their values stay what they are."""
    for name, wide in widths.items():
        column = table.c[name]
        quoted, spelled = _quoted(engine, name), _spelled(engine, _type(engine, wide, key=column.primary_key))
        if engine.dialect.name in MYSQL:
            never_null = " NOT NULL" if column.primary_key else ""
            _alter(engine, table, f"MODIFY COLUMN {quoted} {spelled}{never_null}")
            if found_width(engine, column) == "boolean":
                _spell_booleans(engine, table, quoted)
        else:
            _alter(engine, table, f"ALTER COLUMN {quoted} TYPE {spelled} USING {quoted}::{spelled}")


def holds_long(engine: Engine, table: Table, name: str) -> bool:
    """Whether an integer stands in the column that no float holds."""
    column = table.c[name]
    with engine.connect() as connection:
        return bool(connection.execute(select(exists().where(or_(column > EXACT, column < -EXACT)))).scalar())


def _type(engine: Engine, wide: str, *, key: bool = False) -> TypeEngine[Any]:
    if engine.dialect.name == "sqlite":
        return Untyped()
    plain: dict[str, TypeEngine[Any]] = {"boolean": Boolean(), "integer": BigInteger(), "number": Double()}
    if wide in plain:
        return plain[wide]
    if engine.dialect.name not in MYSQL:
        return Text()
    return key_text(engine) if key else mysql.LONGTEXT(charset="utf8mb4")


def key_text(engine: Engine) -> mysql.VARCHAR:
    """Text on MySQL and MariaDB that is the same only if its characters are.

    Their usual collations hold "a" and "A" for the same key, ``utf8mb4_bin`` still holds "a" and "a " for the
    same, and one row would take the other's place.
    https://dev.mysql.com/doc/refman/8.0/en/charset-unicode-sets.html
    """
    collation = "utf8mb4_nopad_bin" if getattr(engine.dialect, "is_mariadb", False) else "utf8mb4_0900_bin"
    return mysql.VARCHAR(KEY_LENGTH, charset="utf8mb4", collation=collation)


def collation(column: Column[Any]) -> str | None:
    """The collation of a text, its own or its table's; None where neither says."""
    own = getattr(column.type, "collation", None)
    return own or next(
        (column.table.kwargs[f"{name}_collate"] for name in MYSQL if f"{name}_collate" in column.table.kwargs), None
    )


def _spell_booleans(engine: Engine, table: Table, quoted: str) -> None:
    spelled = f"CASE {quoted} WHEN '1' THEN 'true' WHEN '0' THEN 'false' ELSE {quoted} END"
    _run(engine, f"UPDATE {_named(engine, table)} SET {quoted} = {spelled}")  # noqa: S608 - quoted names


def _alter(engine: Engine, table: Table, change: str) -> None:
    _run(engine, f"ALTER TABLE {_named(engine, table)} {change}")


def _run(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)


def _named(engine: Engine, table: Table) -> str:
    return engine.dialect.identifier_preparer.format_table(table)


def _quoted(engine: Engine, name: str) -> str:
    return engine.dialect.identifier_preparer.quote_identifier(name)


def _spelled(engine: Engine, type_: TypeEngine[Any]) -> str:
    return type_.compile(engine.dialect)


def run(engine: Engine, statement: str) -> None:
    """Run a statement of a file, whose names may stand in double quotes."""
    with engine.connect() as connection:
        if engine.dialect.name in MYSQL:
            connection.exec_driver_sql("SET SESSION sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')")
        connection.exec_driver_sql(statement if engine.dialect.name == "sqlite" else statement.replace("%", "%%"))
        connection.commit()
        connection.invalidate()  # it is not as the others are


def tell_keys_apart(engine: Engine, table: Table) -> None:
    """Give texts of the key of a new table a collation that holds no two of them for the same."""
    for column in table.primary_key:
        if isinstance(column.type, mysql.VARCHAR):
            spelled = _spelled(engine, key_text(engine))
            _alter(engine, table, f"MODIFY COLUMN {_quoted(engine, column.name)} {spelled} NOT NULL")
