"""The comparison of both ends finds every kind of difference, and nothing where there is none."""

import sqlite3
from contextlib import closing

import pytest

from fuagent.demo.compare import Comparison, compare, main

ROWS = [(1, "a", 1.5), (2, "b", None), (3, "c", 2.0)]


def write(path, rows, key="id"):
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f'CREATE TABLE "it""em" (id, name, price, PRIMARY KEY ({key}))')
        database.executemany('INSERT INTO "it""em" VALUES (?, ?, ?)', rows)
    return path


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "source.db", ROWS)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (ROWS, Comparison('it"em', 3)),
        (list(reversed(ROWS)), Comparison('it"em', 3)),
        (ROWS[1:], Comparison('it"em', 3, missing=1)),
        (ROWS[:1], Comparison('it"em', 3, missing=2)),
        ([], Comparison('it"em', 3, missing=3)),
        ([(0, "z", 0.0), *ROWS, (9, "y", 0.0)], Comparison('it"em', 3, extra=2)),
        ([(1, "a", 1.5), (2, "B", None), (3, "c", 2.0)], Comparison('it"em', 3, different=1)),
        ([(1, "a", 1.5), (2, "b", None), (3, "c", 2)], Comparison('it"em', 3, different=1)),
        ([(1, "a", 1.5), (4, "b", None), (3, "c", 2.0)], Comparison('it"em', 3, missing=1, extra=1)),
    ],
    ids=["equal", "other order", "first missing", "tail missing", "all missing", "extra", "value", "type", "key"],
)
def test_every_difference_is_counted(source, tmp_path, rows, expected):
    """Missing, extra and different rows are told apart; 2 and 2.0 differ."""
    service = write(tmp_path / "service.db", rows)

    assert compare(source, service, ['it"em']) == [expected]


def test_rows_are_matched_by_the_whole_key(tmp_path):
    """A key of several columns counts in its declared order."""
    rows = [(1, "b", 1.0), (2, "a", 2.0), (1, "a", 3.0)]
    source = write(tmp_path / "source.db", rows, key="name, id")
    service = write(tmp_path / "service.db", [(1, "b", 1.0), (1, "a", 3.0), (2, "c", 2.0)], key="name, id")

    assert compare(source, service, ['it"em']) == [Comparison('it"em', 3, missing=1, extra=1)]


def test_the_verdict_is_printed_and_is_the_exit_code(source, tmp_path, capsys):
    """0 and `all equal`, or 1 and the three counts."""
    equal = write(tmp_path / "equal.db", ROWS)
    other = write(tmp_path / "other.db", [(1, "a", 1.5), (2, "x", None), (7, "c", 2.0)])

    assert main([str(source), str(equal), 'it"em']) == 0
    assert capsys.readouterr().out == 'it"em: 3 rows, all equal\n'
    assert main([str(source), str(other), 'it"em']) == 1
    expected = 'it"em: 3 rows, NOT equal: 1 missing, 1 too many, 1 different at the service\n'
    assert capsys.readouterr().out == expected


def test_too_few_words_are_answered_with_the_usage(capsys):
    """Exit code 2 and one line, no traceback."""
    assert main(["--help"]) == 2
    assert "SOURCE SERVICE TABLE" in capsys.readouterr().err
