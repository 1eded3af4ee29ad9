"""Errors of a database: which are a row's fault, and what a log may tell of them.

The drivers' own classes say it of most. Of the others PostgreSQL's are known by their SQLSTATE
(https://www.postgresql.org/docs/current/errcodes-appendix.html) and MySQL's by their number
(https://mariadb.com/kb/en/mariadb-error-code-reference/); whatever is left passes by itself or is ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, StatementError

from fuagent.errors import FuagentError, PayloadError

_STATES = frozenset({"21000", "42701", "54000", "54011"})
"""A row twice in one INSERT, a column that is there already, an index entry or row too long, too many columns."""
_NUMBERS = frozenset({1117, 1118, 1292, 3819, 4025})
"""Too many columns, a row too long, a moment out of range, and two of a CHECK."""
_COPIED = re.compile(r"COPY .*, line [0-9]+, column ([^:]*)")
_MYSQL_NAMES = re.compile(
    r" for (column \S+) at row [0-9]+$| for (key '[^']*')$|^(Column '[^']*') cannot|(CONSTRAINT `[^`]*`) (?:failed|FOREIGN)"
)


@contextmanager
def told(engine: Engine) -> Iterator[None]:
    """Turn the driver's errors into those whose ``where`` may stand in a log.

    Raises:
        PayloadError: the database refuses what is in a row.
        FuagentError: it fails otherwise.
    """
    driver: Any = engine.dialect.loaded_dbapi
    try:
        yield
    except (StatementError, driver.Error) as error:
        own = error.orig if isinstance(error, StatementError) else error
        # One that is not the driver's is SQLAlchemy's own, of a value that it could not prepare.
        is_driver = isinstance(error, DBAPIError | driver.Error)
        if is_driver and not _is_of_a_row(own, driver):
            raise FuagentError("the database does not do its part", where=_name(own)) from error
        raise PayloadError("the database refuses a row", where=_name(own)) from None


def _is_of_a_row(error: Any, driver: Any) -> bool:
    known = isinstance(error, driver.DataError | driver.IntegrityError)
    return known or getattr(error, "sqlstate", None) in _STATES or _number(error) in _NUMBERS


def _number(error: Any) -> object:
    return error.args[0] if error.args else None


def _name(error: Any) -> str:
    """Its kind, and the column or rule it names; the rest of its text may hold what the row holds."""
    kind = type(error).__name__
    if (facts := getattr(error, "diag", None)) is not None:
        copied = _COPIED.match(facts.context or "")
        names = [facts.constraint_name, facts.column_name, copied and copied[1]]
        if "NUL (0x00)" in str(error):  # psycopg's own, of a text that MySQL and SQLite can hold
            names.append("a text holds a NUL byte")
        return " ".join([kind, *filter(None, names)])
    if isinstance(number := _number(error), int):
        found = _MYSQL_NAMES.search(str(error.args[-1]))
        return f"{kind} {number} {found[found.lastindex or 0] if found else ''}".strip()
    # SQLite names the rule and its columns: https://www.sqlite.org/rescode.html#constraint
    said = number if " constraint failed" in str(number) else getattr(error, "sqlite_errorname", "")
    return f"{kind} {said}".strip()
