"""Tables made from rows and columns added to them, on real databases: nothing rounded, nothing mixed, nothing without end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import mysql, postgresql

from fuagent.errors import PayloadError
from fuagent.receiver import growing, making, ready_server
from fuagent.receiver.columns import reader
from fuagent.receiver.copying import FEWEST
from fuagent.receiver.database import DatabaseStore
from fuagent.receiver.rows import RowType
from fuagent.receiver.service import Route, receive
from fuagent.receiver.store import Target
from harness.deliveries import TASK, payload

NAME = "things"
BIG = 2**53 + 1
Stores = Callable[..., DatabaseStore]


def mariadb_url(database: Any) -> str:
    return (
        f"mysql+pymysql://{database.server.superuser}@127.0.0.1:{database.server.port}/{database.name}?charset=utf8mb4"
    )


def postgres_url(database: Any) -> str:
    return f"postgresql+psycopg://{database.server.superuser}@127.0.0.1:{database.server.port}/{database.name}"


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def engine(request, tmp_path) -> Iterator[sa.Engine]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/rows.db"
    elif request.param == "mariadb":
        url = mariadb_url(request.getfixturevalue("database"))
    else:
        url = postgres_url(request.getfixturevalue("postgres_database"))
    patient = {"connect_args": {"timeout": ready_server.BUSY}} if request.param == "sqlite" else {}
    engine = sa.create_engine(url, hide_parameters=True, **patient)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine) -> DatabaseStore:
    return opened(engine)


def opened(engine: sa.Engine, tables: dict[str, sa.Table] | None = None, *, make: bool = True) -> DatabaseStore:
    made = DatabaseStore(engine, tables or {}, unknown="add", make=make)
    made.create()
    return made


def send(store: DatabaseStore, *events: dict[str, Any], key: tuple[str, ...] = ("id",), table: str = NAME) -> None:
    route = Route(TASK, Target(table, key), RowType(dict[str, Any], key, "_deleted"), sweep=True)
    receive(store, route, payload(*events))


def stored(engine: sa.Engine, *names: str, table: str = NAME) -> list[tuple[Any, ...]]:
    found = making.find(engine, table)
    assert found is not None
    wanted = names or [column.key for column in found.c if column.key != "fuagent_run"]
    columns = [
        sa.column(sa.sql.quoted_name(name, quote=True)) for name in wanted
    ]  # without types: as the driver reads them
    with engine.connect() as connection:
        question = sa.select(*columns).select_from(found).order_by(*found.primary_key)
        return [tuple(row) for row in connection.execute(question)]


def widths(engine: sa.Engine) -> dict[str, str | None]:
    found = making.find(engine, NAME)
    assert found is not None
    return {column.key: making.found_width(engine, column) for column in found.c if column.key != "fuagent_run"}


def test_a_table_is_made_from_its_first_rows(engine, store):
    """Each property is a column as wide as its values, and null alone is none yet."""
    send(
        store,
        {
            "id": 1,
            "flag": True,
            "count": 2**62,
            "rate": 0.1,
            "name": "ß😀 '\\",
            "tree": {"a": [1, None]},
            "empty": None,
        },
        {"id": 2, "Größe": "é"},
    )

    assert stored(engine, "id", "flag", "count", "rate", "name", "tree", "Größe") == [
        (1, True, 2**62, 0.1, "ß😀 '\\", '{"a":[1,null]}', None),
        (2, None, None, None, None, None, "é"),
    ]
    made = widths(engine)
    assert "empty" not in made
    if engine.dialect.name != "sqlite":
        assert made == {
            "id": "integer",
            "flag": "boolean",
            "count": "integer",
            "rate": "number",
            "name": "text",
            "tree": "text",
            "Größe": "text",
        }

    send(store, {"id": 1, "empty": 5})
    assert stored(engine, "id", "empty") == [(1, 5), (2, None)]


DIGITS = Decimal("123456789012345678901234567890.123456789")


WIDER = [
    (1, 2.5, [1, 2.5]),
    (2.5, 1, [2.5, 1]),
    (BIG, 2.5, [str(BIG), "2.5"]),
    (2.5, BIG, ["2.5", str(BIG)]),
    (BIG, 2**63 + 1, [str(BIG), str(2**63 + 1)]),
    (0.1, DIGITS, ["0.1", str(DIGITS)]),
    (0.1 + 0.2, "x", ["0.30000000000000004", "x"]),
    (1, "one", ["1", "one"]),
    (0.1, "NaN", ["0.1", "NaN"]),
    (True, "yes", ["true", "yes"]),
    (False, 5, ["false", "5"]),
    ("007", 7, ["007", "7"]),
    ("1.50", {"a": DIGITS}, ["1.50", f'{{"a":{DIGITS}}}']),
    ([1], True, ["[1]", "true"]),
]
"""What a column holds, what comes then, and what stands there at the end."""


@pytest.mark.parametrize("how", ["one batch", "two batches", "another process"])
def test_a_value_that_does_not_fit_widens_its_column(engine, store, how):
    """What stands there stays what it is, what comes is not rounded, and rows of one batch count alike."""
    names = [f"c{number}" for number in range(len(WIDER))]
    first = {"id": 1} | {name: one[0] for name, one in zip(names, WIDER, strict=True)}
    second = {"id": 2} | {name: one[1] for name, one in zip(names, WIDER, strict=True)}
    if how == "one batch":
        send(store, first, second)
    else:
        send(store, first)
        send(store if how == "two batches" else opened(engine), second)

    found = list(zip(*stored(engine, *names), strict=True))
    expected = [tuple(one[2]) for one in WIDER]
    if engine.dialect.name == "sqlite":  # a column has no type there, so each value is as it came
        expected = [
            tuple(
                value if isinstance(value, str) or growing.width(value) not in {"digits", "text"} else spelled
                for value, spelled in zip(one[:2], one[2], strict=True)
            )
            for one in WIDER
        ]
    assert found == expected
    assert [[type(value) is str for value in pair] for pair in found] == [
        [type(value) is str for value in pair] for pair in expected
    ]


def test_deletes_and_sweeps_before_the_first_row_do_nothing(engine, store):
    """A table that is not there has no rows; it is made with its first one, and rows are deleted from then on."""
    send(store, {"id": 1, "_deleted": True})
    assert making.find(engine, NAME) is None
    with store.transaction("agent", TASK) as transaction:
        transaction.sweep(Target(NAME, ("id",)), "run")

    send(store, {"id": 1, "name": "a"}, {"id": 2, "name": "b"})
    send(store, {"id": 1, "_deleted": True})

    assert stored(engine, "id", "name") == [(2, "b")]


def test_texts_of_a_key_are_the_same_only_if_their_characters_are(engine, store):
    """Case, accents and blanks at the end make another row, in what order the parts of the key may come."""
    names = ["a", "A", "a ", "ä", "a\t", "ß", "ss"]
    send(store, *({"name": name, "part": 1, "n": number} for number, name in enumerate(names)), key=("part", "name"))
    send(store, {"name": "A", "part": 1, "_deleted": True}, key=("part", "name"))

    assert sorted(stored(engine, "n")) == [(0,), *((number,) for number in range(2, len(names)))]


def test_a_key_grows_only_where_no_rows_can_become_one(engine, store):
    """An integer beyond 64 bits makes the column text; text beside integers is refused, since "1" and 1 are two rows."""
    send(store, {"id": 1, "n": 1})
    if engine.dialect.name == "sqlite":
        send(store, {"id": "1", "n": 2})
        assert sorted(stored(engine, "n")) == [(1,), (2,)]
        return
    with pytest.raises(PayloadError, match="column id is part of the key"):
        send(store, {"id": "1", "n": 2})
    send(store, {"id": 2**63, "n": 3}, {"id": 2, "n": 4})

    assert sorted(stored(engine, "id", "n")) == [("1", 1), ("2", 4), (str(2**63), 3)]
    send(store, {"id": 1, "n": 5})
    assert ("1", 5) in stored(engine, "id", "n")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ('x"; DROP TABLE things; --', "takes letters"),
        ("x`", "takes letters"),
        ("", "takes letters"),
        ("a b", "takes letters"),
        ("%s", "takes letters"),
        ("ü" * 32, "takes letters"),
        ("fuagent_run", "is taken"),
    ],
)
def test_a_name_that_is_none_is_refused_by_its_place(engine, store, name, reason):
    """The text tells the place of the property and the way out, and never repeats the name; nothing is stored."""
    send(store, {"id": 1})
    with pytest.raises(PayloadError, match=rf"events\[1\], property 3: .* {reason}") as caught:
        send(store, {"id": 2, "_deleted": True}, {"id": 3, "good": 1, name: "x"})

    assert not name or name not in str(caught.value)
    assert stored(engine, "id") == [(1,)]


def test_names_that_differ_in_case_alone(engine, store):
    """Two columns where the database tells them apart, a refusal where it does not."""
    row = {"id": 1, "Name": "a", "name": "b"}
    if engine.dialect.name == "postgresql":
        send(store, row)
        assert stored(engine, "Name", "name") == [("a", "b")]
        return
    with pytest.raises(PayloadError, match="taken already"):
        send(store, row)
    send(store, {"id": 1})
    with pytest.raises(PayloadError, match="differs from that of another one in case alone"):
        send(store, {"id": 1}, table=NAME.upper())


def test_a_sender_cannot_add_columns_or_tables_without_end(engine, store, monkeypatch):
    """Above the limits the rows are refused, and rows without new properties are still taken."""
    monkeypatch.setattr(growing, "MOST_COLUMNS", 6)
    monkeypatch.setattr(growing, "MOST_TABLES", 2)
    send(store, {"id": 1, "a": 1, "b": 1})
    with pytest.raises(PayloadError, match="grows up to 6 columns"):
        send(store, {"id": 2} | {f"c{number}": 1 for number in range(5)})
    with pytest.raises(PayloadError, match="no more than 2 are made"):
        send(store, {"id": 1}, table="others")
    send(store, {"id": 2, "a": 2.5})

    assert stored(engine, "id", "a") == [(1, 1), (2, 2.5)]


def test_a_table_that_was_not_made_from_rows_is_not_touched(engine, store):
    """Somebody else's table in the same database is refused by the column it lacks."""
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE others (id INTEGER PRIMARY KEY)"))
    with pytest.raises(PayloadError, match="was not made from rows"):
        send(store, {"id": 1, "name": "x"}, table="others")

    assert stored(engine, table="others") == []


def test_two_processes_may_make_and_add_the_same_at_once(engine):
    """Whoever comes second finds what the first has made, and every row is there."""
    stores = [opened(engine) for _ in range(2)]
    barrier = threading.Barrier(2)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(5):
                barrier.wait(30)
                send(stores[number], {"id": 10 * step + number, f"c{step}": step, f"d{step}": "x"})
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert failures == []
    assert len(stored(engine)) == 10
    assert stored(engine, "c4").count((4,)) == 2


def test_columns_are_added_to_a_declared_table(engine):
    """What was declared stays as it is; a column beside it comes, and is found again after a restart."""
    table = sa.Table(
        NAME,
        sa.MetaData(),
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("flag", sa.Boolean),
        sa.Column("count", sa.Integer),
    )
    store = opened(engine, {NAME: table}, make=False)
    send(store, {"id": 1, "flag": True, "more": 1})
    send(opened(engine, {NAME: table}, make=False), {"id": 2, "flag": False, "more": "two"})
    with pytest.raises(PayloadError, match="column count does not take"):
        send(store, {"id": 3, "count": "three"})

    assert [(row[0], bool(row[1])) for row in stored(engine, "id", "flag")] == [(1, True), (2, False)]
    assert [str(row[0]) for row in stored(engine, "more")] == ["1", "two"]


VALUES = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.decimals()


@given(values=st.lists(VALUES, min_size=1, max_size=5))
def test_the_narrowest_column_holds_every_value(values):
    """Whatever comes together, its column takes each value, and no number changes on the way."""
    wide = growing.narrowest(map(growing.width, values))
    read = growing.reader("c", wide)
    for value in values:
        made = read(value)
        same = Decimal(made) if wide == "text" and type(value) in {int, float} else made
        assert (
            same == (Decimal(repr(value)) if wide == "text" and isinstance(value, float) else value) or wide == "text"
        )


@pytest.mark.parametrize("wide", ["boolean", "integer", "number"])
def test_a_column_that_is_too_narrow_refuses(wide):
    """A key of a delete is not grown for: it is refused where it cannot be in the column."""
    with pytest.raises(PayloadError, match="column c does not take the value of a row"):
        growing.reader("c", wide)("text")


SECOND = sa.Table(
    "second",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("email", sa.String(50), unique=True),
)
INDEXED = sa.Table(
    "indexed",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("email", sa.String(50)),
    sa.Index("one_email", "email", unique=True),
)
LOOSE = sa.Table("loose", sa.MetaData(), sa.Column("id", sa.String(50), primary_key=True))


@pytest.mark.parametrize(
    ("table", "text"),
    [(SECOND, "second unique key .email."), (INDEXED, "second unique key"), (LOOSE, "without a collation")],
)
def test_what_would_mix_rows_on_mysql_is_refused(database, table, text):
    """Another unique key than the one, or a key whose collation holds two texts for the same."""
    engine = sa.create_engine(mariadb_url(database))
    store = DatabaseStore(engine, {table.name: table})
    with pytest.raises(ValueError, match=text):
        store.check(Target(table.name, ("id",)), sweep=False)
    engine.dispose()


@pytest.mark.parametrize(
    "event",
    [
        {"id": Random(1).randbytes(9000).hex()},
        {"id": 1, "ctid": 1},
        {"id": 1, **{f"c{number}": Random(number).randbytes(2000).hex() for number in range(490)}},
    ],
    ids=["key", "name", "row"],
)
def test_limits_of_postgres_are_the_rows_fault(postgres_database, event):
    """What no table of PostgreSQL holds is refused; a failure would bring the same batch for ever."""
    engine = sa.create_engine(postgres_url(postgres_database), hide_parameters=True)
    with pytest.raises(PayloadError, match="the database refuses a row"):
        send(opened(engine), event)
    engine.dispose()


@pytest.mark.parametrize("count", [1, FEWEST])
def test_a_nul_byte_is_told(postgres_database, count):
    """MySQL and SQLite keep it in a text, PostgreSQL does not; the log says so."""
    engine = sa.create_engine(postgres_url(postgres_database), hide_parameters=True)
    with pytest.raises(PayloadError) as caught:
        send(opened(engine), *({"id": number, "name": "a\0b"} for number in range(count)))
    engine.dispose()

    assert "NUL" in caught.value.where


def test_a_key_spelled_in_two_ways_is_the_rows_fault(postgres_database):
    """PostgreSQL takes no row twice in one statement; the agent then sends fewer rows at once."""
    engine = sa.create_engine(postgres_url(postgres_database), hide_parameters=True)
    table = sa.Table("short", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer))
    store = DatabaseStore(engine, {"short": table})
    store.create()
    with pytest.raises(PayloadError, match="the database refuses a row"):
        send(store, *({"id": number, "n": 1} for number in range(FEWEST)), {"id": "5", "n": 2}, table="short")
    engine.dispose()


def test_a_row_too_wide_for_mysql_is_the_rows_fault(database):
    """About 200 columns of text are all that InnoDB takes; the one too many is refused and no failure."""
    engine = sa.create_engine(mariadb_url(database), hide_parameters=True)
    with pytest.raises(PayloadError, match="the database refuses a row"):
        send(opened(engine), {"id": 1, **{f"c{number}": "x" * 300 for number in range(450)}})
    engine.dispose()


@pytest.mark.parametrize(
    ("type_", "value"), [(mysql.TIMESTAMP(fsp=6), "9999-12-31T23:59:59Z"), (sa.Numeric(10, 2), "NaN")], ids=str
)
def test_values_that_mysql_has_no_place_for_are_the_rows_fault(database, type_, value):
    """A moment behind 2038, and what is no number: PostgreSQL has both."""
    engine = sa.create_engine(mariadb_url(database), hide_parameters=True)
    table = sa.Table("short", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("x", type_))
    store = DatabaseStore(engine, {"short": table})
    store.create()
    with pytest.raises(PayloadError, match=r"refuses a row|does not take"):
        send(store, {"id": 1, "x": value}, table="short")
    engine.dispose()


def test_a_value_nested_too_deep_is_the_rows_fault(store):
    """What can be read as JSON, and cannot be written again."""
    deep: Any = 1
    for _ in range(900):
        deep = {"x": deep}
    with pytest.raises(PayloadError, match="nested too deep"):
        send(store, {"id": 1, "tree": deep})


def test_moments_are_in_utc_on_mysql(database):
    """Its columns keep no zone, whatever a declared one says: the hour alone would be another moment."""
    engine = sa.create_engine(mariadb_url(database), hide_parameters=True)
    columns = sa.Column("id", sa.Integer, primary_key=True), sa.Column("at", sa.DateTime(timezone=True))
    store = DatabaseStore(engine, {"short": sa.Table("short", sa.MetaData(), *columns)})
    store.create()
    send(store, {"id": 1, "at": "2024-02-29T13:30:00+01:00"}, {"id": 2, "at": "2024-02-29T12:30:00Z"}, table="short")
    kept = database.execute("SELECT id, CAST(at AS CHAR) FROM short ORDER BY id")
    engine.dispose()

    assert kept == [(1, "2024-02-29 12:30:00"), (2, "2024-02-29 12:30:00")]


def test_mysql_is_made_strict(database):
    """A server that cuts what does not fit would keep another row than was sent."""
    engine = sa.create_engine(mariadb_url(database), connect_args={"init_command": "SET sql_mode = ''"})
    short = sa.Table(
        "short", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(3))
    )
    engine.connect().close()  # a connection of before, which waits to be used again
    store = DatabaseStore(engine, {"short": short})
    store.create()
    with pytest.raises(PayloadError, match="the database refuses a row"):
        send(store, {"id": 1, "name": "four"}, table="short")
    engine.dispose()


@pytest.mark.parametrize(
    ("type_", "dialect", "value"),
    [
        (sa.Numeric(6, 2), "postgresql", "1.234"),
        (sa.Numeric(40, 20), "sqlite", "1.23456789012345678901"),
        (sa.Float(), "postgresql", BIG),
        (sa.Float(), "sqlite", "NaN"),
        (sa.Float(), "mysql", "Infinity"),
        (sa.DateTime(), "mysql", "2024-02-29T12:00:00.5"),
        (mysql.DATETIME(fsp=3), "mysql", "2024-02-29T12:00:00.0005"),
        (postgresql.TIMESTAMP(precision=0), "postgresql", "2024-02-29T12:00:00.5"),
        (sa.DateTime(), "sqlite", "2024-02-29T12:00:00.0000001"),
        (sa.Time(), "mysql", "12:00:00.5"),
    ],
    ids=str,
)
def test_what_a_database_would_round_is_refused(type_, dialect, value):
    """Databases round or drop these without a word."""
    with pytest.raises(PayloadError, match="column c does not take the value of a row"):
        reader(sa.Column("c", type_), dialect)(value)
