"""Compares both ends row by row: every table of the source with the table of that name at the service."""

import sqlite3
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How one table fared; the three counts are zero where both ends are equal."""

    table: str
    rows: int
    missing: int = 0
    extra: int = 0
    different: int = 0

    @property
    def equal(self) -> bool:
        return not (self.missing or self.extra or self.different)

    def __str__(self) -> str:
        if self.equal:
            return f"{self.table}: {self.rows} rows, all equal"
        wrong = f"{self.missing} missing, {self.extra} too many, {self.different} different at the service"
        return f"{self.table}: {self.rows} rows, NOT equal: {wrong}"


def compare(source: Path, service: Path, tables: Sequence[str]) -> list[Comparison]:
    """Read both databases in key order, side by side, and count what differs."""
    with closing(_open(source)) as left, closing(_open(service)) as right:
        return [_compare_table(left, right, table) for table in tables]


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _compare_table(left: sqlite3.Connection, right: sqlite3.Connection, table: str) -> Comparison:
    described = left.execute(f"PRAGMA table_info({_quoted(table)})").fetchall()
    columns = [str(column[1]) for column in described]
    key = [str(column[1]) for column in sorted(described, key=lambda column: int(column[5])) if column[5]]
    here, there = _rows(left, table, key, columns), _rows(right, table, key, columns)
    rows = missing = extra = different = 0
    ours, theirs = next(here, None), next(there, None)
    while ours is not None or theirs is not None:
        if theirs is None or (ours is not None and ours[0] < theirs[0]):
            rows, missing, ours = rows + 1, missing + 1, next(here, None)
        elif ours is None or theirs[0] < ours[0]:
            extra, theirs = extra + 1, next(there, None)
        else:
            rows, different = rows + 1, different + (ours[1] != theirs[1])
            ours, theirs = next(here, None), next(there, None)
    return Comparison(table, rows, missing, extra, different)


def _rows(
    database: sqlite3.Connection, table: str, key: Sequence[str], columns: Sequence[str]
) -> Iterator[tuple[Row, Row]]:
    """Key and values of each row in key order; a value counts with its type, so 5 is not 5.0."""
    order, chosen = ", ".join(map(_quoted, key)), ", ".join(map(_quoted, columns))
    places = [columns.index(name) for name in key]
    for row in database.execute(f"SELECT {chosen} FROM {_quoted(table)} ORDER BY {order}"):
        yield tuple(row[place] for place in places), tuple((type(value), value) for value in row)


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m fuagent.demo.compare SOURCE SERVICE TABLE...``: 0 if all is equal, 1 if not, 2 for wrong words."""
    words = sys.argv[1:] if arguments is None else arguments
    if len(words) < 3:
        print("usage: python -m fuagent.demo.compare SOURCE SERVICE TABLE...", file=sys.stderr)
        return 2
    source, service, *tables = words
    comparisons = compare(Path(source), Path(service), tables)
    print(*comparisons, sep="\n")
    return 0 if all(comparison.equal for comparison in comparisons) else 1


if __name__ == "__main__":
    sys.exit(main())
