"""JSON values as values of columns, type by type."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import mysql, postgresql

from fuagent.errors import PayloadError
from fuagent.receiver.columns import reader


class Own(sa.types.UserDefinedType):
    """A type that says no more of itself than those of one database did before SQLAlchemy 2.1."""

    @property
    def python_type(self):
        raise NotImplementedError


MOMENT = datetime(2024, 2, 29, 12, 30, tzinfo=UTC)
BARE = MOMENT.replace(tzinfo=None)
MARK = UUID("12345678-1234-5678-1234-567812345678")


def read(type_, value):
    return reader(sa.Column("c", type_))(value)


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        (sa.Boolean(), True, True),
        (sa.Boolean(), 0, False),
        (sa.Integer(), "12", 12),
        (sa.Integer(), 3.0, 3),
        (sa.Float(), "NaN", pytest.approx(float("nan"), nan_ok=True)),
        (sa.Numeric(), 0.1, Decimal("0.1")),
        (sa.Numeric(), Decimal("1.50"), Decimal("1.50")),
        (sa.Text(), "x", "x"),
        (sa.Text(), 1.5, "1.5"),
        (sa.Text(), ["a"], '["a"]'),
        (sa.Text(), Decimal("1.50"), "1.50"),
        (sa.Text(), {"a": Decimal("1e30")}, '{"a":1E+30}'),
        (sa.LargeBinary(), "AP8=", b"\0\xff"),
        (sa.LargeBinary(), b"x", b"x"),
        (sa.Date(), "2024-02-29", date(2024, 2, 29)),
        (sa.Date(), date(2024, 2, 29), date(2024, 2, 29)),
        (sa.Date(), MOMENT, date(2024, 2, 29)),
        (sa.Time(), "12:30:00.5", time(12, 30, 0, 500_000)),
        (sa.Time(), time(1), time(1)),
        (sa.DateTime(), "2024-02-29T12:30:00Z", BARE),
        (sa.DateTime(), "2024-02-29T13:30:00+01:00", BARE),
        (sa.DateTime(), BARE, BARE),
        (sa.DateTime(timezone=True), "2024-02-29T12:30:00", MOMENT),
        (sa.DateTime(timezone=True), MOMENT, MOMENT),
        (sa.Interval(), "PT1.5S", timedelta(seconds=1.5)),
        (sa.Interval(), "-P1DT2H", -timedelta(days=1, hours=2)),
        (sa.Interval(), timedelta(1), timedelta(1)),
        (sa.Uuid(), str(MARK), MARK),
        (sa.Uuid(), MARK, MARK),
        (sa.JSON(), {"a": 1}, {"a": 1}),
        (sa.types.NullType(), "any", "any"),
        (Own(), "any", "any"),
        (mysql.SET("a", "b"), ["a", "b"], "a,b"),
        (mysql.SET("a", "b"), "a", "a"),
    ],
    ids=str,
)
def test_a_value_becomes_the_columns_own(type_, value, expected):
    """From JSON, and from what a model has made of it already."""
    assert read(type_, value) == expected


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (sa.Integer(), Decimal("1.5")),
        (sa.Integer(), float("inf")),
        (sa.Boolean(), []),
        (sa.Boolean(), "true"),
        (mysql.SET("a"), [1]),
        (sa.Interval(), "P"),
        (sa.Interval(), "P1M"),
        (sa.Interval(), 5),
        (sa.Date(), "2024-02-30"),
        (sa.Numeric(), "one"),
        (sa.LargeBinary(), "ü"),
        (sa.DateTime(), "2024-02-29T12:30:00-05:00Z"),
        (sa.Numeric(12, 2), "1.234"),
        (sa.Numeric(12, 0), "1.5"),
    ],
    ids=str,
)
def test_what_cannot_be_one_is_refused(type_, value):
    """With the column's name, and nothing of the value."""
    with pytest.raises(PayloadError, match=r"^column c does not take the value of a row$"):
        read(type_, value)


TYPES = (sa.Boolean, sa.Integer, sa.Float, sa.Numeric, sa.Text, sa.LargeBinary, sa.Date, sa.Time, sa.DateTime, sa.Uuid)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=2)
)


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        (sa.DateTime(), "2024-02-29T12:30:00Z", "2024-02-29T12:30:00Z"),
        (sa.DateTime(), "2024-02-29T12:30:00.123456", "2024-02-29T12:30:00.123456"),
        (sa.DateTime(), "2024-02-29T13:30:00+01:00", BARE),
        (sa.DateTime(timezone=True), "2024-02-29T12:30:00.5Z", "2024-02-29T12:30:00.5Z"),
        (sa.DateTime(timezone=True), "2024-02-29T12:30:00", MOMENT),
        (postgresql.TIMESTAMP(precision=0), "2024-02-29T12:30:00", "2024-02-29T12:30:00"),
        (sa.Numeric(12, 2), "1.50", "1.50"),
        (sa.Numeric(12, 2), 1.5, "1.5"),
        (sa.Numeric(12, 2), "1.5e0", Decimal("1.5")),
    ],
    ids=str,
)
def test_what_postgresql_reads_alike_stays_a_text(type_, value, expected):
    """And nothing else does: a moment without a zone would be taken to be in the zone of the session."""
    assert reader(sa.Column("c", type_), "postgresql")(value) == expected


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (sa.DateTime(), "2023-02-29T12:30:00Z"),
        (sa.DateTime(), "2024-02-29T25:30:00Z"),
        (postgresql.TIMESTAMP(precision=0), "2024-02-29T12:30:00.5"),
        (postgresql.TIMESTAMP(precision=2), "2024-02-29T12:30:00.123"),
        (sa.Numeric(12, 2), "1.501"),
    ],
    ids=str,
)
def test_what_postgresql_would_refuse_or_round_is_refused(type_, value):
    """A text that looks plain may still be no day, or finer than its column."""
    with pytest.raises(PayloadError, match="column c does not take the value of a row"):
        reader(sa.Column("c", type_), "postgresql")(value)


VALUES = [
    None,
    True,
    0,
    7,
    2**70,
    1.5,
    "a",
    "7",
    "1.5",
    "1.234",
    "2024-02-29",
    "2024-02-29T12:30:00Z",
    "2024-02-30T12:30:00Z",
    ["a"],
    {"a": 1},
]


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "mysql"])
@pytest.mark.parametrize("type_", [*TYPES, sa.JSON, sa.Numeric(6, 2), mysql.SET("a"), sa.Enum("a")], ids=str)
def test_a_whole_column_is_read_as_its_values_are(type_, dialect):
    """What is passed on without a look is what a look would give."""
    one = reader(sa.Column("c", type_() if isinstance(type_, type) else type_), dialect)

    def outcome(read, *values):
        try:
            return [(type(value), repr(value)) for value in read(values)]
        except PayloadError as error:
            return str(error)

    for value in VALUES:
        assert outcome(one.column, value) == outcome(lambda values: map(one, values), value)
    taken = [value for value in VALUES if isinstance(outcome(one.column, value), list)]
    assert outcome(one.column, *taken) == outcome(lambda values: map(one, values), *taken)


@given(type_=st.sampled_from([*TYPES, sa.Interval]), value=JSON | st.from_regex(r"-?P[0-9T.DHMS-]*", fullmatch=True))
def test_any_value_is_taken_or_refused(type_, value):
    """No value of JSON leads to anything else."""
    try:
        made = read(type_(), value)
    except PayloadError:
        return
    assert made is None or isinstance(made, type_().python_type)
