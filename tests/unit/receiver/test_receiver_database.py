"""The store over SQLAlchemy, on real databases: what is kept, what is refused, and what is kept together."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from fuagent.contract.payload import Payload
from fuagent.errors import FuagentError, PayloadError
from fuagent.receiver import ready_server
from fuagent.receiver.cases import SERVICE_CASES, Reply, Setup
from fuagent.receiver.copying import FEWEST, Luck
from fuagent.receiver.database import DatabaseStore
from fuagent.receiver.router import Receiver
from fuagent.receiver.rows import RowType
from fuagent.receiver.service import Route, receive
from fuagent.receiver.store import Target
from harness.deliveries import AGENT, ROUTE, ROWS, TASK, Life, payload
from harness.receiving import KEY, batch, served
from harness.server import until

ODD = 'odd "name`; --'
"""A column's name that breaks out of every kind of quotes."""
MANY = FEWEST + 10
META = sa.MetaData()
ORDERS = sa.Table(
    TASK,
    META,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("value", sa.Integer),
    sa.Column("name", sa.String(50), server_default="none", unique=False),
    sa.Column("fuagent_run", sa.String(100)),
)
PAIRS = sa.Table(
    "pairs",
    META,
    sa.Column("serial", sa.Integer, primary_key=True),
    sa.Column("a", sa.String(20), nullable=False),
    sa.Column("b", sa.Integer, nullable=False),
    sa.Column(ODD, sa.String(20), nullable=False, server_default="none"),
    sa.UniqueConstraint("a", "b"),
)
BARE = sa.Table("bare", META, sa.Column("id", sa.Integer, primary_key=True, autoincrement=False))
RULED = sa.Table(
    "ruled",
    META,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("n", sa.Integer),
    sa.Column("name", sa.String(20), nullable=False, server_default="none"),
    sa.CheckConstraint("n > 0", name="positive"),
)
KINDS = sa.Table(
    "kinds",
    META,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("flag", sa.Boolean),
    sa.Column("big", sa.BigInteger),
    sa.Column("exact", sa.Numeric(20, 4)),
    sa.Column("rough", sa.Float(53)),
    sa.Column("text", sa.Text),
    sa.Column("raw", sa.LargeBinary),
    sa.Column("day", sa.Date),
    sa.Column("hour", sa.Time),
    sa.Column("naive", sa.DateTime),
    sa.Column("span", sa.Interval),
    sa.Column("mark", sa.Uuid),
    sa.Column("tree", sa.JSON),
    sa.Column("label", sa.Enum("red", "green", name="colour", validate_strings=True)),
)
TABLES = {table.name: table for table in META.sorted_tables}


def routed(table: str, *key: str) -> Route:
    return Route(
        TASK, Target(table, key), RowType(dict[str, Any], key, "_deleted"), sweep="fuagent_run" in TABLES[table].c
    )


PAIR, KIND = routed("pairs", "a", "b"), routed("kinds", "id")


@pytest.fixture(scope="module", params=["sqlite", "postgres", "mariadb"])
def engine(request, tmp_path_factory) -> Iterator[sa.Engine]:
    """One database of each kind for all tests here."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('receiver')}/rows.db"
    elif request.param == "mariadb":
        made = request.getfixturevalue("mariadb").database("receiver")
        url = f"mysql+pymysql://{made.server.superuser}@127.0.0.1:{made.server.port}/{made.name}?charset=utf8mb4"
    else:
        url = postgres_url(request.getfixturevalue("postgres").database("receiver"))
    patient = {"connect_args": {"timeout": ready_server.BUSY}} if request.param == "sqlite" else {}
    engine = sa.create_engine(url, hide_parameters=True, **patient)
    yield engine
    engine.dispose()


def postgres_url(database: Any) -> str:
    return f"postgresql+psycopg://{database.server.superuser}@127.0.0.1:{database.server.port}/{database.name}"


@pytest.fixture
def store(engine) -> DatabaseStore:
    made = DatabaseStore(engine, TABLES)
    made.create()
    empty(engine)
    return made


def empty(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        for table in META.sorted_tables:
            connection.execute(sa.delete(table))
        connection.execute(sa.text("DELETE FROM fuagent_state"))


def rows_of(engine: sa.Engine, table: str = TASK) -> list[tuple[Any, ...]]:
    known = TABLES[table]
    columns = [column for column in known.c if column.key not in {"fuagent_run", "serial"}]
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.select(*columns).order_by(*known.primary_key))]


@given(
    changes=st.lists(st.tuples(st.integers(1, 4), st.none() | st.integers(0, 99)), max_size=20),
    steps=st.lists(
        st.tuples(st.sampled_from(["stream", "repeat", "restart", "snapshot"]), st.integers(0, 6)), max_size=12
    ),
    marks=st.booleans(),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@pytest.mark.fault("F82")
def test_the_tables_hold_the_last_rows_whatever_happens(engine, store, changes, steps, marks):
    """Replays, cuts and late batches leave the last rows and the highest index, on every database."""
    empty(engine)
    numbered = [(10 * place, key, value) for place, (key, value) in enumerate(changes, 1)]
    life = Life(store, numbered, marks)
    for step, size in steps:
        getattr(life, step)(size)

    assert {row[0]: row[1] for row in rows_of(engine)} == life.expected
    assert (store.checkpoint(AGENT, TASK) or 0) == life.highest


@pytest.mark.parametrize("count", [1, MANY])
def test_rows_are_inserted_and_updated(engine, store, count):
    """Few rows and many come to the same; a property that does not come keeps its value or the column's default."""
    receive(store, ROUTE, payload(*({"id": number, "value": 1, "index": number} for number in range(1, count + 1))))
    receive(store, ROUTE, payload(*({"id": number, "name": "ß😀\\\t'"} for number in range(1, count + 2))))

    expected = [(number, 1, "ß😀\\\t'") for number in range(1, count + 1)]
    assert rows_of(engine) == [*expected, (count + 1, None, "ß😀\\\t'")]
    assert store.checkpoint(AGENT, TASK) == count


def test_rows_with_different_properties_share_a_batch(engine, store):
    """Each row changes its own columns only."""
    receive(store, ROUTE, payload({"id": 1, "value": 1}, {"id": 2, "name": "b"}, {"id": 3}))

    assert rows_of(engine) == [(1, 1, "none"), (2, None, "b"), (3, None, "none")]


@pytest.mark.parametrize("count", [2, MANY])
def test_a_key_of_several_columns_and_odd_names(engine, store, count):
    """A unique constraint serves as key, and a column's name is quoted whatever it holds."""
    receive(store, PAIR, payload(*({"a": f"x{n}", "b": n, ODD: "old"} for n in range(count))))
    receive(store, PAIR, payload({"a": "x1", "b": 1, ODD: "new"}, {"a": "x0", "b": 0, "_deleted": True}))

    rows = rows_of(engine, "pairs")
    assert len(rows) == count - 1
    assert rows[0] == ("x1", 1, "new")


@pytest.mark.parametrize("count", [2, MANY])
def test_a_name_with_a_percent_sign(engine, store, count):
    """It stands for itself in every statement; where it cannot, the table is refused when it is declared."""
    name = "at 7 % or %s, say"
    table = sa.Table("percents", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column(name, sa.Text))
    kept, route = DatabaseStore(engine, {"percents": table}), routed("bare", "id")
    route = replace(route, target=Target("percents", ("id",)))
    if engine.dialect.name in {"mysql", "mariadb"}:
        with pytest.raises(ValueError, match="has a % in its name"):
            kept.check(route.target, sweep=False)
        return
    kept.create()
    for value in ("old", "new"):
        receive(kept, route, payload(*({"id": number, name: value} for number in range(count))))
    with engine.begin() as connection:
        found = connection.execute(sa.select(table).order_by(table.c.id)).all()
        connection.execute(sa.delete(table))

    assert found == [(number, "new") for number in range(count)]


@pytest.mark.parametrize("count", [1, MANY])
def test_a_table_that_is_only_a_key(engine, store, count):
    """There is nothing to update where the row is there already."""
    for _ in range(2):
        receive(store, routed("bare", "id"), payload(*({"id": number} for number in range(count))))

    assert rows_of(engine, "bare") == [(number,) for number in range(count)]


def test_many_rows_are_deleted(engine, store):
    """More keys than go into one statement, and some that are not there."""
    receive(store, ROUTE, payload(*({"id": number} for number in range(1200))))
    receive(store, ROUTE, payload(*({"id": number, "_deleted": True} for number in range(1, 1300))))

    assert rows_of(engine) == [(0, None, "none")]


FULL = {
    "flag": 1,
    "big": -(2**63),
    "exact": "12345678901234.5678",
    "rough": 0.1,
    "text": {"a": [1, "ü"]},
    "raw": "AP9h",
    "day": "2024-02-29",
    "hour": "23:59:58",
    "naive": "2024-02-29T23:59:58+01:00",
    "span": "P1DT2H3M4S",
    "mark": "12345678-1234-5678-1234-567812345678",
    "tree": {"a": [1, None, "ü\\n"]},
    "label": "green",
}
READ = {
    "flag": True,
    "big": -(2**63),
    "exact": Decimal("12345678901234.5678"),
    "rough": 0.1,
    "text": '{"a":[1,"ü"]}',
    "raw": b"\0\xffa",
    "day": date(2024, 2, 29),
    "hour": time(23, 59, 58),
    "naive": datetime.fromisoformat("2024-02-29T22:59:58"),
    "span": timedelta(days=1, hours=2, minutes=3, seconds=4),
    "mark": UUID("12345678-1234-5678-1234-567812345678"),
    "tree": {"a": [1, None, "ü\\n"]},
    "label": "green",
}


@pytest.mark.filterwarnings("ignore:Dialect sqlite.* does .not. support Decimal")
@pytest.mark.parametrize("count", [1, MANY])
def test_every_kind_of_value_arrives(engine, store, count):
    """What the agent writes as JSON is the column's own value; null stays null; copied or inserted alike."""
    digits = "1234.5678" if engine.dialect.name == "sqlite" else FULL["exact"]  # SQLite has no decimals
    sent = FULL | {"exact": digits}
    rows = [{"id": number, **sent} for number in range(count)]
    receive(store, KIND, payload(*rows, {"id": count} | dict.fromkeys(sent)))

    *found, nulls = rows_of(engine, "kinds")
    assert found == [(number, *(READ | {"exact": Decimal(digits)}).values()) for number in range(count)]
    assert set(nulls) - {count} == {None}


@pytest.mark.filterwarnings("ignore:Dialect sqlite.* does .not. support Decimal")
@pytest.mark.parametrize("count", [1, MANY])
@pytest.mark.parametrize(
    "wrong",
    [
        {"flag": 2},
        {"big": 1.5},
        {"big": "x"},
        {"big": 2**64 - 1},
        {"exact": "secret"},
        {"raw": "no base64!"},
        {"day": "secret"},
        {"hour": []},
        {"naive": 5},
        {"span": "P1Y"},
        {"span": "PT"},
        {"mark": "secret"},
        {"label": "secret"},
    ],
    ids=str,
)
def test_a_value_that_does_not_fit_refuses_the_batch(engine, store, wrong, count):
    """The rows are at fault: the text says so without any value, and nothing of the batch is kept."""
    good = [{"id": number, **dict.fromkeys(wrong)} for number in range(2, count + 1)]
    with pytest.raises(PayloadError, match=r"does not take|does not fit|refuses|too large") as caught:
        receive(store, KIND, payload({"id": 1, "index": 5, **wrong}, *good))

    assert "secret" not in str(caught.value)
    assert rows_of(engine, "kinds") == []
    assert store.checkpoint(AGENT, TASK) is None


def test_what_the_database_refuses_is_the_rows_fault(engine, store):
    """A column that must not be null is a refusal, not a failure."""
    with pytest.raises(PayloadError, match="the database refuses a row"):
        receive(store, PAIR, payload({"a": "x", "b": 1}, {"a": "y", "b": 2, ODD: None}))

    assert rows_of(engine, "pairs") == []


@pytest.mark.parametrize("count", [1, MANY])
@pytest.mark.parametrize(("wrong", "rule"), [({"n": -4321}, "positive"), ({"name": None, "n": 4321}, "name")])
@pytest.mark.fault("S41")
def test_a_rule_of_a_table_refuses_a_batch_of_any_size(engine, store, caplog, wrong, rule, count):
    """With 422, since an answer of 500 would bring the same batch for ever; the log names the rule, and no value."""
    receiver = Receiver(store, keys=KEY)
    receiver.task(TASK, key="id", table="ruled")(dict[str, Any])
    good = [{"id": number, "n": 1, "name": "x"} for number in range(2, count + 1)]
    with served(receiver.app()) as running:
        status, answer = running.post(batch(TASK, {"id": 1, "name": "x", **wrong}, *good))

    assert (status, answer["error"]) == (422, "the database refuses a row")
    assert re.search(rf"{answer['id']} is answered with 422: the database refuses a row \(.*({rule})", caplog.text)
    assert "4321" not in caplog.text
    assert rows_of(engine, "ruled") == []


def test_another_fault_is_the_databases_own(engine, store):
    """Without its table the store fails, and no row is blamed; the log says what the driver calls it."""
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE kinds"))

    with pytest.raises(FuagentError, match="the database does not do its part") as caught:
        receive(store, KIND, payload({"id": 1}))

    assert not isinstance(caught.value, PayloadError)
    assert re.fullmatch("OperationalError SQLITE_ERROR|UndefinedTable|ProgrammingError 1146", caught.value.where)


@pytest.mark.parametrize("name", ['id") VALUES (1); DROP TABLE orders; --', "fuagent_run", "nothing", "value`"])
@pytest.mark.fault("S37")
def test_a_property_never_becomes_a_name(engine, store, name):
    """What no column is called is left out, or refused if so wished; the run is nobody's to set."""
    receive(store, ROUTE, payload({"id": 1, "value": 7, name: "evil"}))
    assert rows_of(engine) == [(1, 7, "none")]

    strict = DatabaseStore(engine, TABLES, unknown="reject")
    with pytest.raises(PayloadError, match="a property that table orders has no column for"):
        receive(strict, ROUTE, payload({"id": 1, "value": 8, name: "evil"}))
    with engine.connect() as connection:
        assert connection.execute(sa.select(ORDERS.c.fuagent_run)).scalar() != "evil"


@pytest.mark.fault("F90")
def test_rows_and_checkpoint_are_kept_together(engine, store):
    """A failure behind the rows undoes rows, checkpoint and key; the session of the function is the transaction."""

    def fail(changes) -> None:
        changes.session.execute(sa.insert(BARE), {"id": 99})
        assert changes.session.execute(sa.select(ORDERS.c.id)).scalars().all() == [1]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        receive(store, Route(TASK, ROUTE.target, ROWS, fail), payload({"id": 1, "index": 4}), "a.1.1")

    assert rows_of(engine) == rows_of(engine, "bare") == []
    assert store.checkpoint(AGENT, TASK) is None


def test_the_state_outlives_the_store(engine, store):
    """Another process goes on where this one stopped: the same key is known, an older one is late."""
    first = receive(store, ROUTE, payload({"id": 1, "index": 4}, {"id": 2, "index": 5}), "a.1.2")
    other = DatabaseStore(engine, TABLES)
    other.create()

    assert receive(other, ROUTE, payload({"id": 1, "value": 9}), "a.1.2") == first
    assert receive(other, ROUTE, payload({"id": 1, "value": 9}), "a.1.1").late
    assert rows_of(engine)[0] == (1, None, "none")


def test_agents_whose_names_a_collation_holds_alike_are_told_apart(engine, store):
    """Case, accents and blanks at the end make another agent, on MySQL too."""
    names = ["agent", "AGENT", "àgent", "agent "]
    for index, name in enumerate(names, 1):
        receive(store, ROUTE, payload({"id": index, "index": index}, agent_id=name))

    assert [store.checkpoint(name, TASK) for name in names] == [1, 2, 3, 4]


def test_batches_of_one_sync_wait_for_each_other(engine, store):
    """While one batch is being applied the next stands still, and then sees what the first has stored."""
    first_is_in, second_asks, second_reads, go_on = (threading.Event() for _ in range(4))
    answers = {}

    def wait(changes) -> None:
        first_is_in.set()
        assert go_on.wait(30)

    def send(number: int, route: Route) -> None:
        answers[number] = receive(store, route, payload({"id": 1, "value": number}), f"a.1.{number}")

    def asks(*_: object) -> None:
        if threading.current_thread().name == "second":
            second_asks.set()

    def reads(connection, cursor, statement, *_: object) -> None:
        if threading.current_thread().name == "second" and statement.startswith("SELECT"):
            second_reads.set()

    def waits() -> bool:
        question = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        with engine.connect() as connection:
            return bool(connection.execute(sa.text(question)).scalar())

    send(1, ROUTE)
    sa.event.listen(engine, "before_cursor_execute", asks)
    sa.event.listen(engine, "after_cursor_execute", reads)
    first = threading.Thread(target=send, args=(5, Route(TASK, ROUTE.target, ROWS, wait)))
    second = threading.Thread(target=send, args=(4, ROUTE), name="second")
    first.start()
    assert first_is_in.wait(30)
    second.start()
    assert second_asks.wait(30)
    if engine.dialect.name == "postgresql":  # the others do not let it come as far as reading
        until(lambda: second_reads.is_set() or waits(), "the second batch neither waits nor reads")
    go_on.set()
    first.join(30)
    second.join(30)
    sa.event.remove(engine, "before_cursor_execute", asks)
    sa.event.remove(engine, "after_cursor_execute", reads)

    assert answers[4].late
    assert rows_of(engine) == [(1, 5, "none")]


@contextmanager
def noted(engine: sa.Engine) -> Iterator[list[str]]:
    """The statements that SQLAlchemy runs meanwhile; a COPY goes past it."""
    statements: list[str] = []
    note = lambda connection, cursor, statement, *_: statements.append(statement)  # noqa: E731
    sa.event.listen(engine, "before_cursor_execute", note)
    yield statements
    sa.event.remove(engine, "before_cursor_execute", note)


def numbered(numbers: range, value: int) -> Payload:
    return payload(*({"id": number, "value": value} for number in numbers))


@pytest.mark.parametrize("count", [FEWEST - 1, FEWEST])
def test_many_new_rows_are_copied_where_that_can_be_done(engine, store, count):
    """PostgreSQL gets many rows by COPY, few by INSERT; the others know INSERT alone."""
    with noted(engine) as statements:
        receive(store, ROUTE, numbered(range(count), 1))

    inserted = any(statement.startswith(f"INSERT INTO {TASK}") for statement in statements)
    assert inserted is not (engine.dialect.name == "postgresql" and count >= FEWEST)
    assert rows_of(engine) == [(number, 1, "none") for number in range(count)]


def test_many_rows_of_which_some_are_there_are_merged(engine, store):
    """Old and new ones beside each other, and those that came later in place of the earlier."""
    receive(store, ROUTE, numbered(range(MANY), 1))
    with noted(engine) as statements:
        receive(store, ROUTE, numbered(range(MANY - 1, 2 * MANY), 2))

    assert any(TASK in statement and "INSERT INTO" in statement for statement in statements)
    assert rows_of(engine) == [(number, 1 if number < MANY - 1 else 2, "none") for number in range(2 * MANY)]


@pytest.mark.parametrize(
    "statements",
    [
        [
            f"ALTER TABLE {TASK} ENABLE ROW LEVEL SECURITY",
            f"CREATE POLICY everyone ON {TASK} USING (true)",
        ],
        [f"ALTER TABLE {TASK} RENAME TO kept", f"CREATE VIEW {TASK} AS SELECT * FROM kept"],
    ],
    ids=["row-level security", "view"],
)
def test_what_takes_no_copy_takes_many_rows(postgres, statements):
    """PostgreSQL refuses a COPY into a table with row-level security, and into a view."""
    engine = sa.create_engine(postgres_url(postgres.database(f"guarded{len(statements[0])}")))
    store = DatabaseStore(engine, TABLES)
    store.create()
    with engine.begin() as connection:
        for statement in [
            *statements,
            "DROP ROLE IF EXISTS guarded",
            "CREATE ROLE guarded",
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO guarded",
        ]:
            connection.exec_driver_sql(statement)
    theirs = sa.create_engine(engine.url, connect_args={"options": "-c role=guarded"})

    receive(DatabaseStore(theirs, TABLES), ROUTE, numbered(range(MANY), 1))

    assert len(rows_of(engine)) == MANY
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP OWNED BY guarded")
    theirs.dispose()
    engine.dispose()


def test_copying_is_tried_less_often_the_oftener_it_fails():
    """A try that fails is thrown away work, and dead rows for the database."""
    luck, tries = Luck(), []
    for number in range(64):
        if luck.is_worth_a_try():
            tries.append(number)
            luck.tried(were_new=number == 0)

    assert tries == [0, 1, 3, 7, 15, 31, 63]


@pytest.mark.parametrize(
    ("target", "sweep", "text"),
    [
        (Target("nowhere", ("id",)), False, "no table nowhere"),
        (Target(TASK, ("id", "nothing")), False, "no column nothing"),
        (Target(TASK, ("fuagent_run",)), False, "no column fuagent_run"),
        (Target(TASK, ("name",)), False, "neither primary key nor unique"),
        (Target("kinds", ("id",)), True, "no text column fuagent_run"),
    ],
)
def test_a_mistake_shows_where_the_task_is_declared(tmp_path, target, sweep, text):
    """Before the first batch, with the names that matter."""
    made = DatabaseStore(sa.create_engine(f"sqlite:///{tmp_path}/rows.db"), TABLES)

    with pytest.raises(ValueError, match=text):
        made.check(target, sweep=sweep)


@pytest.mark.parametrize("case", SERVICE_CASES, ids=lambda case: case.id)
def test_the_contract_is_kept(case, tmp_path):
    """Every statement that a service owes holds on a database too."""
    made = DatabaseStore(sa.create_engine(f"sqlite:///{tmp_path}/rows.db"), {TASK: ORDERS})
    made.create()
    receiver = Receiver(made, keys=KEY)

    @receiver.task(TASK, key="id", sweep=True)
    def orders(changes) -> None:
        """Take rows as they come."""

    setup = Setup(task_id=TASK, base="", key=KEY)
    replies: list[Reply] = []
    with served(receiver.app()) as running:
        for step in case.steps:
            replies.append(running.send(step.send(setup)))
            broken = [expect.text for expect in step.expects if not expect.met(setup, replies)]

            assert broken == [], replies[-1]


def test_types_of_one_database_are_left_to_it(postgres_database):
    """What SQLAlchemy has no Python type for is handed over as text, arrays as lists, moments with their zone."""
    own = sa.Table(
        "own",
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("address", postgresql.INET),
        sa.Column("labels", postgresql.ARRAY(sa.Text)),
        sa.Column("at", sa.DateTime(timezone=True)),
        sa.Column("tree", postgresql.JSONB),
    )
    made = sa.create_engine(postgres_url(postgres_database))
    store = DatabaseStore(made, {"own": own})
    store.create()
    event = {"address": "10.0.0.1", "labels": ["a", "ü,"], "tree": {"x": [1]}}
    for at in ("2024-02-29T12:00:00Z", "2024-02-29T12:00:00"):
        events = ({"id": number, "at": at, **event} for number in range(MANY))
        receive(store, Route(TASK, Target("own", ("id",)), ROWS), payload(*events))
    with made.connect() as connection:
        row = connection.execute(sa.select(own)).first()
    made.dispose()

    assert row is not None
    assert (str(row.address), row.labels, row.tree) == ("10.0.0.1", ["a", "ü,"], {"x": [1]})
    assert row.at == datetime(2024, 2, 29, 12, tzinfo=UTC)
