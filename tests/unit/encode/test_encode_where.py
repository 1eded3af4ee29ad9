"""Conditions are SQL's own, read once, decided on values as they are stored."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.encode import where
from fuagent.errors import HaltSyncError
from fuagent.model import Column, Kind, Table

TABLE = Table(
    "orders", (Column("id", Kind.INTEGER), Column("status", Kind.TEXT), Column("total", Kind.DYNAMIC)), ("id",)
)


def verdict(condition, row, before=0):
    return where.read(condition, TABLE, before)(row)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("status = 'paid'", True),
        ("status <> 'paid'", False),
        ("status = 'open' or id = 3", True),
        ("NOT status = 'open' AND total >= 10", True),
        ("NOT (status = 'paid' AND total >= 10)", False),
        ("total BETWEEN 12.5 AND 12.5", True),
        ("total NOT BETWEEN 1 AND 5", True),
        ("id IN (1, 2, 3)", True),
        ("id NOT IN (1, NULL)", None),
        ("id IN (1, NULL)", None),
        ("status LIKE 'p%d'", True),
        ("status LIKE 'p_d'", False),
        ("id LIKE '3'", None),
        ("status IS NULL", False),
        ("status IS NOT NULL", True),
        ("NULL = NULL", None),
        ("TRUE = 1 AND FALSE = 0", True),
        ("NULL = 1 OR TRUE = 1", True),
        ("NULL = 1 AND TRUE = 0", False),
        ("-1 < id", True),
        ("\"id\" = 3 and `status` = 'paid'", True),
        ("status = 'it''s'", False),
        ("status = 3", None),
        ("'12.5' = 12.5", True),
        ("'x' < 1", None),
        ("'Infinity' > 1", None),
        ("total = 12.5", True),
        ("1e1 < total", True),
    ],
)
def test_verdicts(condition, expected):
    """A condition is true, false or unknown, as SQL has it."""
    assert verdict(condition, (3, "paid", 12.5)) is expected


def test_decimal_as_text():
    """A decimal that the source gives as text compares with all its digits."""
    assert verdict("total = 0.1", (1, "", "0.10")) is True
    assert verdict("total > 0.1", (1, "", "0.1000000000000000000000001")) is True
    assert (
        verdict("total = -0.12345678901234567890123456789012345", (1, "", "-0.12345678901234567890123456789")) is False
    )
    assert verdict("total = 0.1", (1, "", 0.1)) is True


def test_bytes_compare_with_bytes_alone():
    """A blob and a text are not comparable: unknown."""
    assert verdict("total = 'a'", (1, "", b"a")) is None
    assert verdict("total = 3", (1, "", b"a")) is None
    assert verdict("total = total", (1, "", b"a")) is True


def test_in_a_frame():
    """Values before the columns are passed over."""
    assert verdict("id = 3", ("seq", "token", 3, "paid", 1), before=2) is True


values = st.one_of(st.none(), st.integers(-3, 3), st.sampled_from([0.5, -0.5, 2.0]))
comparisons = st.builds(
    "{} {} {}".format,
    st.sampled_from(["id", "total", "1", "-2", "0.5", "NULL"]),
    st.sampled_from(["=", "<>", "!=", "<", "<=", ">", ">="]),
    st.sampled_from(["id", "total", "0", "2", "NULL"]),
)
predicates = st.one_of(
    comparisons,
    st.sampled_from(["id IS NULL", "total IS NOT NULL", "id IN (1, 2, NULL)", "total NOT IN (0, 2)"]),
    st.sampled_from(["id BETWEEN -1 AND total", "total NOT BETWEEN id AND 2"]),
)
conditions = st.recursive(
    predicates,
    lambda inner: st.one_of(
        st.builds("({} AND {})".format, inner, inner),
        st.builds("({} OR {})".format, inner, inner),
        st.builds("NOT {}".format, inner.map(lambda text: f"({text})")),
    ),
    max_leaves=8,
)


@given(conditions, values, values)
def test_as_a_database_decides(condition, one, other):
    """The verdict is the one SQLite itself gives on the same values."""
    database = sqlite3.connect(":memory:")
    [(expected,)] = database.execute(f"SELECT {condition} FROM (SELECT ? AS id, ? AS total)", (one, other)).fetchall()
    database.close()

    found = verdict(condition, (one, "", other))

    assert (None if found is None else int(found)) == expected


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("", "there is no condition"),
        ("status", "a comparison belongs here"),
        ("status =", "a column or a value is missing"),
        ("status = 'a", "this character means nothing here"),
        ("status = 'a' 3", "it should end here"),
        ("stauts = 'a'", 'did you mean "status"?'),
        ("Status = 'a'", 'did you mean "status"?'),
        ("nothing = 1", 'has no column "nothing"'),
        ("id = " + "1" * 5000, "a number is too long"),
        ("id = 1e" + "9" * 30, "character 6 (1e999999999999999999): a number is too long"),
        ("(status = 'a'", ") is missing"),
        ("status IS 3", "NULL is missing"),
        ("status LIKE 3", "LIKE wants a text"),
        ("status LIKE", "LIKE wants a text"),
        ("status = )", "a column or a value belongs here"),
        ("id = - x", "a column or a value belongs here"),
        ("id BETWEEN 1 OR 2", "AND is missing"),
        ("id IN 3", "( is missing"),
        ("; DROP TABLE orders", "this character means nothing here"),
        ("(" * 60 + "id = 1" + ")" * 60, "nested too deep"),
        ("id = 1 " + " " * 10_000 + "x", "longer than"),
    ],
)
def test_mistakes(condition, message):
    """What cannot be read is told with its place, and never guessed at."""
    with pytest.raises(HaltSyncError, match="cannot be read at character") as caught:
        where.read(condition, TABLE)

    assert message in caught.value.what
    assert caught.value.where == "where"


@given(st.text(max_size=30))
def test_garbage(condition):
    """Any text is a condition or one error, and never code."""
    try:
        found = where.read(condition, TABLE)((1, "a", None))
    except HaltSyncError:
        return

    assert found in (True, False, None)
