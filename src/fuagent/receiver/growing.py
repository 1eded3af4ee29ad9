"""Columns and tables that are made from the rows that come.

A column is no wider than its values ask for, and grows wider when one comes that it cannot hold::

    boolean ─────────────────┐
    integer ── number ───────┴── text

``integer`` is BIGINT, ``number`` DOUBLE PRECISION, and ``text`` holds everything: text as it is, and
the JSON text of anything else. Nothing is rounded on the way: an integer beyond 2^53 beside a
fraction leads to text, and so does a number that 64 bits do not hold. Columns that were declared,
or that somebody else made, are never changed.

SQLite stores a type with each value, so there a column has none and holds all of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from fuagent.errors import PayloadError
from fuagent.receiver.columns import Reader, of, text
from fuagent.receiver.store import Row

MOST_COLUMNS = 500
"""Columns up to which a table grows: names come from outside, and could come without end."""
MOST_TABLES = 500
"""Tables in the database up to which more are made."""
_NAME = re.compile(r"\w+")
_LONGEST_NAME = 63
"""Bytes: PostgreSQL cuts longer names off without a word, so that two could become one."""
EXACT = 2**53
"""Up to here a float holds every integer."""

HOLDS: Mapping[str, frozenset[str]] = {
    "boolean": frozenset({"boolean"}),
    "integer": frozenset({"integer", "long"}),
    "number": frozenset({"number", "integer"}),
    "text": frozenset({"boolean", "integer", "long", "number", "digits", "text"}),
}
"""What a column of each width holds.

``long`` is an integer beyond 2^53 that 64 bits still hold, and ``digits`` a number that they do not.
"""
SETTLED = frozenset({"text", "any"})
"""Widths that are never too narrow."""
_STAY = {"boolean": of(bool), "text": of(str), "any": of(str, bool, float)}
"""What sees that a column takes values as they are."""


def width(value: object) -> str:
    """The narrowest that holds a JSON value, which is not null."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        if abs(value) <= EXACT:
            return "integer"
        return "long" if -(2**63) <= value < 2**63 else "digits"
    return "number" if isinstance(value, float) else "digits" if isinstance(value, Decimal) else "text"


def narrowest(widths: Iterable[str]) -> str:
    """The column that holds all of these values."""
    wanted = frozenset(widths)
    return next(name for name, held in HOLDS.items() if wanted <= held)


def reader(name: str, wide: str) -> Reader:
    """What turns a JSON value into one for a column that was made here."""

    def read(value: Any) -> Any:
        if value is None or (wide == "any" and isinstance(value, bool | float | str)):
            return value
        if wide in SETTLED:
            stored_as_it_is = wide == "any" and isinstance(value, int) and width(value) != "digits"
            return value if stored_as_it_is else text(value)
        if width(value) not in HOLDS[wide]:
            raise PayloadError(f"column {name} does not take the value of a row")
        return float(value) if wide == "number" else value

    return Reader(read, _STAY.get(wide, lambda _values: False))


def is_name(name: str) -> bool:
    """Whether a table or column may go by this name."""
    return bool(_NAME.fullmatch(name)) and len(name.encode()) <= _LONGEST_NAME


def verify_names(new: Iterable[str], rows: Sequence[Row | None], *, taken: Collection[str], folds: bool) -> None:
    """Hold properties that are to become columns against what a column may be called.

    Args:
        new: What the properties are called.
        rows: The rows of the batch in their order, for the error.
        taken: The names that columns have, or must not have.
        folds: Whether the database holds names for the same that differ in case alone.

    Raises:
        PayloadError: one may not; its place is told, and not what it is called.
    """
    fold = str.casefold if folds else str
    known = set(map(fold, taken))
    for name in new:
        if not is_name(name):
            raise _unnamed(name, rows, f"takes letters, digits and _, and at most {_LONGEST_NAME} bytes")
        if fold(name) in known:
            raise _unnamed(name, rows, "is taken already, if only in another case")
        known.add(fold(name))
    if len(known) > MOST_COLUMNS > len(taken):
        raise PayloadError(f"the rows have new properties, and a table grows up to {MOST_COLUMNS} columns")


def _unnamed(name: str, rows: Sequence[Row | None], reason: str) -> PayloadError:
    number, row = next((number, row) for number, row in enumerate(rows) if row is not None and name in row)
    where = f"events[{number}], property {list(row).index(name) + 1}"
    return PayloadError(f"{where}: a column cannot have its name, which {reason}; rename it under fields of the sync")
