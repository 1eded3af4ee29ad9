"""What a statement in the log does, as far as that can be told without knowing the server's grammar.

A log in row format still carries statements as text: the borders of transactions, and all
that changes schemas or empties tables. :func:`statement` sorts them into kinds. It is built
to be careful, not complete: a text becomes a kind other than OTHER only when it was
understood from its first word to its last, and OTHER never means "harmless".

Comments are passed over; those that servers run (``/*! … */``, ``/*M! … */``) count as SQL.
Sources: https://dev.mysql.com/doc/refman/8.4/en/sql-statements.html, https://mariadb.com/kb/en/sql-statements/.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from fuagent.wire.mysql.sql import Name, Scanner, Unclear


class Kind(StrEnum):
    """What a statement is."""

    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"
    ROLLBACK_TO = "rollback to"
    RELEASE = "release"
    XA_START = "xa start"
    XA_END = "xa end"
    XA_PREPARE = "xa prepare"
    XA_COMMIT = "xa commit"
    XA_ROLLBACK = "xa rollback"
    TRUNCATE = "truncate"
    DROP_TABLE = "drop table"
    RENAME_TABLE = "rename table"
    ALTER_TABLE = "alter table"
    CREATE_TABLE = "create table"
    DROP_DATABASE = "drop database"
    DML = "dml"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement, understood.

    ``words`` are its first keywords in upper case, at most four: fit for a message, free of values.
    ``tables`` are the tables it names, the altered or created one first; empty for DML where they
    were not easily found, which then may concern any. ``renames`` are (old, new), of RENAME TABLE
    and of ALTER TABLE … RENAME TO. ``name`` is the xid (as :class:`~fuagent.wire.mysql.events.XaId`
    writes it), the savepoint or the database. ``untold`` says that rows come or go that no row
    event tells of: partitions emptied, dropped or exchanged, tablespaces imported or discarded,
    duplicates dropped by ALTER IGNORE, a table replaced or filled from a query. ``opens`` says that a
    transaction begins with it, although it is no BEGIN (CREATE TABLE … START TRANSACTION).
    """

    kind: Kind
    words: tuple[str, ...] = ()
    tables: tuple[Name, ...] = ()
    renames: tuple[tuple[Name, Name], ...] = ()
    name: str = ""
    temporary: bool = False
    untold: bool = False
    opens: bool = False


def statement(text: bytes, mode: int | None = None) -> Statement:
    """Sort a statement of the log into a kind; never raises.

    Args:
        text: The statement, in UTF-8 or in a character set that holds ASCII as it is.
        mode: The ``sql_mode`` it was written under, which :class:`~fuagent.wire.mysql.events.Query` tells.
            Without it, what depends on the mode is OTHER.
    """
    return _read(Scanner(text, mode))


def _read(scanner: Scanner) -> Statement:
    words = scanner.leading()
    read = _READERS.get(words[0]) if words else None
    try:
        if read is not None:
            scanner.word()
            found = read(scanner, words)
            scanner.end()
            return found
    except Unclear:
        pass
    scanner.stop()
    return Statement(Kind.OTHER, words)


def _set(scanner: Scanner, words: tuple[str, ...]) -> Statement:
    """MariaDB's SET STATEMENT variable = value, … FOR statement; it is the latter that counts."""
    del words  # it has words of its own
    scanner.expect("STATEMENT")
    while not scanner.skip("FOR"):
        scanner.skip_piece()
    return _read(scanner)


def _analyze(scanner: Scanner, words: tuple[str, ...]) -> Statement:
    """MariaDB's ANALYZE runs the change it is put before."""
    if scanner.skip("FORMAT", "="):
        scanner.word()
    scanner.expect(*_BEHIND_TABLE, "WITH", "SELECT")
    scanner.stop()
    return Statement(Kind.DML, words)


def _begin(scanner: Scanner, words: tuple[str, ...]) -> Statement:
    scanner.skip("WORK")
    return Statement(Kind.BEGIN, words)


def _start(scanner: Scanner, words: tuple[str, ...]) -> Statement:
    scanner.expect("TRANSACTION")
    scanner.stop()  # READ ONLY and the like
    return Statement(Kind.BEGIN, words)


def _commit(scanner: Scanner, words: tuple[str, ...]) -> Statement:
    scanner.skip("WORK")
    return Statement(Kind.COMMIT, words)


def _rollback(scanner: Scanner, words: tuple[str, ...]) -> Statement:
    scanner.skip("WORK")
    if scanner.skip("TO"):
        scanner.skip("SAVEPOINT")
        return Statement(Kind.ROLLBACK_TO, words, name=scanner.identifier())
    return Statement(Kind.ROLLBACK, words)


def _savepoint(scanner: Scanner, words: tuple[str, ...]) -> Statement:
    return Statement(Kind.SAVEPOINT, words, name=scanner.identifier())


def _release(scanner: Scanner, words: tuple[str, ...]) -> Statement:
    scanner.expect("SAVEPOINT")
    return Statement(Kind.RELEASE, words, name=scanner.identifier())


_XA = {
    "START": Kind.XA_START,
    "BEGIN": Kind.XA_START,
    "END": Kind.XA_END,
    "PREPARE": Kind.XA_PREPARE,
    "COMMIT": Kind.XA_COMMIT,
    "ROLLBACK": Kind.XA_ROLLBACK,
}


def _xa(scanner: Scanner, words: tuple[str, ...]) -> Statement:
    kind = _XA.get(scanner.word())
    if kind is None:
        raise Unclear
    name = scanner.xid()
    if kind is Kind.XA_COMMIT:
        scanner.skip("ONE", "PHASE")
    return Statement(kind, words, name=name)


def _truncate(scanner: Scanner, words: tuple[str, ...]) -> Statement:
    scanner.skip("TABLE")
    tables = (scanner.table(),)
    scanner.skip_wait()
    return Statement(Kind.TRUNCATE, words, tables)


def _drop(scanner: Scanner, words: tuple[str, ...]) -> Statement:
    if scanner.skip_any("DATABASE", "SCHEMA"):
        scanner.skip("IF", "EXISTS")
        return Statement(Kind.DROP_DATABASE, words, name=scanner.identifier())
    temporary = scanner.skip("TEMPORARY")
    _expect_table(scanner)
    scanner.skip("IF", "EXISTS")
    tables = [scanner.table()]
    while scanner.skip(","):
        tables.append(scanner.table())
    scanner.skip_any("RESTRICT", "CASCADE")
    scanner.skip_wait()
    return Statement(Kind.DROP_TABLE, words, tuple(tables), temporary=temporary)


def _expect_table(scanner: Scanner) -> None:
    scanner.expect("TABLE", "TABLES")


def _rename(scanner: Scanner, words: tuple[str, ...]) -> Statement:
    _expect_table(scanner)
    scanner.skip("IF", "EXISTS")
    pairs: list[tuple[Name, Name]] = []
    while not pairs or scanner.skip(","):
        old = scanner.table()
        scanner.skip_wait()
        scanner.expect("TO")
        pairs.append((old, scanner.table()))
    return Statement(Kind.RENAME_TABLE, words, tuple(old for old, _ in pairs), tuple(pairs))


_UNTOLD = (
    *(("TRUNCATE", "PARTITION"), ("DROP", "PARTITION"), ("EXCHANGE", "PARTITION"), ("CONVERT", "PARTITION")),
    *(("IMPORT", "PARTITION"), ("DISCARD", "PARTITION"), ("IMPORT", "TABLESPACE"), ("DISCARD", "TABLESPACE")),
)
"""What takes rows away or brings some, wherever in an ALTER TABLE: all but the verbs are reserved words."""


def _alter(scanner: Scanner, words: tuple[str, ...]) -> Statement:
    scanner.skip_any("ONLINE", "OFFLINE")
    untold = scanner.skip("IGNORE")  # which drops rows that break a new unique key
    scanner.expect("TABLE")
    scanner.skip("IF", "EXISTS")
    tables = [scanner.table()]
    renames = []
    scanner.skip_wait()
    while not scanner.ended:
        if scanner.skip("RENAME"):
            if not scanner.skip_any("COLUMN", "INDEX", "KEY"):
                scanner.skip_any("TO", "AS", "=")
                renames.append((tables[0], scanner.table()))
        elif any(scanner.skip(*pair) for pair in _UNTOLD):
            untold = True
        elif any(scanner.skip(word, "TABLE") for word in ("WITH", "TO", "CONVERT")):
            untold = True
            tables.append(scanner.table())
        else:
            scanner.skip_piece()
    return Statement(Kind.ALTER_TABLE, words, tuple(tables), tuple(renames), untold=untold)


def _create(scanner: Scanner, words: tuple[str, ...]) -> Statement:
    untold = scanner.skip("OR", "REPLACE")
    temporary = scanner.skip("TEMPORARY")
    scanner.expect("TABLE")
    scanner.skip("IF", "NOT", "EXISTS")
    tables = (scanner.table(),)
    last = ("", "")
    for word in scanner.rest():
        last = (last[1], word)
        untold = untold or word in {"SELECT", "TABLE"} or last == ("VALUES", "ROW")
    return Statement(
        Kind.CREATE_TABLE, words, tables, temporary=temporary, untold=untold, opens=last == ("START", "TRANSACTION")
    )


_BEFORE_TABLE = ("LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "QUICK", "IGNORE")

_BEHIND_TABLE = {
    "INSERT": ("VALUES", "VALUE", "SET", "SELECT", "(", "WITH"),
    "REPLACE": ("VALUES", "VALUE", "SET", "SELECT", "(", "WITH"),
    "UPDATE": ("SET",),
    "DELETE": ("WHERE", "ORDER", "LIMIT", "RETURNING"),
}
"""What follows the table of a statement that names one and no other."""


def _dml(scanner: Scanner, words: tuple[str, ...]) -> Statement:
    try:
        tables = _written(scanner, words[0])
    except Unclear:
        tables = ()
    scanner.stop()
    return Statement(Kind.DML, words, tables)


def _written(scanner: Scanner, verb: str) -> tuple[Name, ...]:
    while scanner.skip_any(*_BEFORE_TABLE):
        pass
    scanner.skip("INTO")
    if verb == "DELETE":
        scanner.expect("FROM")
    table = scanner.table()
    if not scanner.ended or verb != "DELETE":
        scanner.expect(*_BEHIND_TABLE[verb])
    return (table,)


def _any_table(scanner: Scanner, words: tuple[str, ...]) -> Statement:
    scanner.stop()
    return Statement(Kind.DML, words)


_READERS: dict[str, Callable[[Scanner, tuple[str, ...]], Statement]] = {
    "BEGIN": _begin,
    "START": _start,
    "COMMIT": _commit,
    "ROLLBACK": _rollback,
    "SAVEPOINT": _savepoint,
    "RELEASE": _release,
    "XA": _xa,
    "TRUNCATE": _truncate,
    "DROP": _drop,
    "RENAME": _rename,
    "ALTER": _alter,
    "CREATE": _create,
    "SET": _set,
    "ANALYZE": _analyze,
    **dict.fromkeys(_BEHIND_TABLE, _dml),
    **dict.fromkeys(("LOAD", "CALL", "WITH", "MERGE", "SELECT", "DO"), _any_table),
}
"""First word → what reads the rest."""
