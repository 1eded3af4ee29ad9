"""The tables of a file of SQL, such as ``fuagent schema ... --sql`` writes: read, made where they are not there.

Nothing but ``CREATE TABLE`` is taken from it, so that a file cannot do more than it seems to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlalchemy import Engine, String, Table
from sqlalchemy.exc import DBAPIError

from fuagent.contract.text import clean
from fuagent.receiver import making

_PIECE = re.compile(r"--[^\n]*|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|;|[^-'\"`;]+|.", re.DOTALL)
_CREATE = re.compile(r"CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\"(?:[^\"]|\"\")+\"|`[^`]+`|\w+)\s*\(", re.IGNORECASE)
_CHECKPOINT = "fuagent_checkpoint"
"""For services that keep the checkpoint by themselves; the receiver has a table of its own."""
_EXACT_COLLATION = re.compile(r"binary|\w+_nopad_bin|utf8mb4_0900_bin")


def statements(script: str) -> Iterator[tuple[str, str]]:
    """The name of each table and the statement that makes it.

    Raises:
        ValueError: there is something else, or nothing.
    """
    count = 0
    for statement in _split(script):
        match = _CREATE.match(statement)
        if match is None:
            raise ValueError(f"statement {count + 1} is no CREATE TABLE")
        count += 1
        name = match[1]
        name = name[1:-1].replace('""', '"') if name[0] in '"`' else name
        if name != _CHECKPOINT:
            yield name, statement
    if not count:
        raise ValueError("there is no CREATE TABLE")


def _split(script: str) -> Iterator[str]:
    pieces: list[str] = []
    for piece in (*_PIECE.findall(script), ";"):
        if piece == ";":
            if statement := "".join(pieces).strip():
                yield statement
            pieces = []
        elif not piece.startswith("--"):
            pieces.append(piece)


def tables(engine: Engine, script: str, *, run_column: str | None) -> dict[str, Table]:
    """The tables of a script as they are in the database, made if they are not there yet.

    Args:
        engine: The database.
        script: Statements of SQL.
        run_column: A column that each of them is given if it has none; None: they need none.

    Raises:
        ValueError: the script has no tables, or a table cannot tell its rows apart.
    """
    found = {}
    for name, statement in list(statements(script)):
        there = _made(engine, name, statement)
        if run_column and run_column not in there.c:
            making.add_column(engine, there, run_column, String(making.RUN_LENGTH))
            there = _again(engine, there)
        if engine.dialect.name in making.MYSQL:
            _verify_collations(there)
        found[str(there.name)] = there
    return found


def _made(engine: Engine, name: str, statement: str) -> Table:
    there = _there(engine, name)
    if there is None:
        try:
            making.run(engine, statement)
        except DBAPIError as error:
            raise ValueError(f"the database does not make table {name}: {clean(str(error.orig), 300)}") from None
        there = _there(engine, name)
        if there is None:
            raise ValueError(f"the database has made table {name} under another name: write it in small letters")
        if engine.dialect.name in making.MYSQL:
            making.tell_keys_apart(engine, there)
            return _again(engine, there)
    return there


def _there(engine: Engine, name: str) -> Table | None:
    """PostgreSQL takes a name without quotes as small letters."""
    found = making.find(engine, name)
    return making.find(engine, name.lower()) if found is None else found


def _again(engine: Engine, table: Table) -> Table:
    """A table that has just been changed."""
    found = making.find(engine, table.name)
    if found is None:
        raise ValueError(f"table {table.name} was taken away by somebody else")
    return found


def _verify_collations(table: Table) -> None:
    for column in table.primary_key:
        collation = making.collation(column) if isinstance(column.type, String) else None
        if collation and not _EXACT_COLLATION.fullmatch(collation):
            raise ValueError(
                f"the key {column.name} of table {table.name} has the collation {collation}, which holds different texts "
                "for the same row; give it utf8mb4_0900_bin (MySQL) or utf8mb4_nopad_bin (MariaDB)"
            )
