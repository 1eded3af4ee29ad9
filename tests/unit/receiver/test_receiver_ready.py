"""The ready-made receiver over real HTTP: what a path may name, what its document says, and what it is not started with."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
import sqlalchemy as sa

from fuagent.contract import document, payload, spec
from fuagent.errors import PayloadError, StopAgentError
from fuagent.model import Column, Kind, Mapping, Table, TableSpec
from fuagent.receiver import ready, ready_server, ready_sql
from fuagent.receiver.cases import SERVICE_CASES, Reply, Request, Setup
from fuagent.schemas import sql
from fuagent.schemas.events import shapes
from harness.receiving import AGENT, KEY, Running, served

SCRIPT = """-- Rows; of "orders", as they are sent.
CREATE TABLE orders (
    id BIGINT NOT NULL, -- the key; no other
    name TEXT NOT NULL,
    price DECIMAL(10,2),
    at TIMESTAMP,
    PRIMARY KEY (id)
);
create table if not exists "odd "";"" name" (a VARCHAR(255) NOT NULL DEFAULT 'x;y', b INTEGER, PRIMARY KEY (a));
CREATE TABLE fuagent_checkpoint (task_id VARCHAR(255));
"""


@pytest.fixture
def engine(tmp_path) -> Iterator[sa.Engine]:
    made = ready_server.open_database(f"sqlite:///{tmp_path}/copy.db")
    yield made
    made.dispose()


@pytest.fixture
def service(engine) -> Iterator[Running]:
    with served(ready.application(engine, ready.Settings(KEY, deletes=True))) as running:
        yield running


def batch(*events: dict[str, Any], task: str = "any task", raw: str = "") -> bytes:
    body = {"agent_id": AGENT, "task_id": task, "is_snapshot_end": False, "snapshot_sync_suggested": False}
    return json.dumps(body | {"events": list(events)}).encode().replace(b'"RAW"', raw.encode())


def rows(engine: sa.Engine, table: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(f'SELECT * FROM "{table}"'))]


def paths(service: Running) -> dict[str, Any]:
    return {path: item for path, item in service.document()["paths"].items() if path != "/fuagent-sync-status"}


def test_any_task_may_send_to_any_table(service, engine):
    """The path alone names the table: a task's id that looks like a name is none."""
    for task in ("orders", "others", "fuagent_state", 'x"; DROP TABLE orders; --'):
        assert service.post(batch({"id": 1, "n": task, "index": 4}, task=task), path="/ingest/orders")[0] == 200
        assert service.ask(task) == (200, {"index": 4})

    assert {row[0] for row in rows(engine, "orders")} == {1}
    assert sorted(sa.inspect(engine).get_table_names()) == ["fuagent_state", "orders"]


@pytest.mark.parametrize(
    "name",
    [
        "fuagent_state",
        "FUAGENT_State",
        "sqlite_master",
        "pg_class",
        "a.b",
        "a%20b",
        "a%22",
        "%60",
        "a;b",
        "x" * 64,
        "%C3%BC" * 32,
    ],
)
def test_a_path_that_names_no_table_is_not_found(service, engine, name):
    """A name that no table is given, and the receiver's own: 404, which says what a name is."""
    status, answer = service.post(batch({"id": 1}), path=f"/ingest/{name}")

    assert status == 404
    assert "letters, digits and _" in answer["error"]
    assert sa.inspect(engine).get_table_names() == ["fuagent_state"]


def test_without_a_key_nothing_is_let_in(service, engine):
    """Neither batches nor questions; health and document tell no row and no name of a database."""
    assert service.post(batch({"id": 1}), {"x-api-key": "wrong"}, path="/ingest/orders")[0] == 401
    assert service.ask("any", headers={})[0] == 401
    reply = service.send(Request("GET", "/healthz", (), {}, b""))

    assert (reply.status, reply.body) == (200, b"ok\n")
    assert sa.inspect(engine).get_table_names() == ["fuagent_state"]


def test_health_says_when_the_database_does_not_answer(tmp_path):
    """503 and nothing about what is wrong; well again as soon as the database is."""
    (tmp_path / "folder").mkdir()
    engine = ready_server.open_database(f"sqlite:///{tmp_path}/folder/copy.db")
    with served(ready.application(engine, ready.Settings(KEY))) as running:
        engine.dispose()
        (tmp_path / "folder").rename(tmp_path / "away")
        ill = running.send(Request("GET", "/healthz", (), {}, b""))
        (tmp_path / "away").rename(tmp_path / "folder")
        well = running.send(Request("GET", "/healthz", (), {}, b""))
    engine.dispose()

    assert (ill.status, ill.body) == (503, b"the database does not answer\n")
    assert well.status == 200


def test_the_document_serves_tables_before_their_first_row(service):
    """The path with the placeholder stands for tables to come; one that is there has its own, with its key."""
    before = paths(service)
    assert list(before) == ["/ingest/{table}"]
    assert before["/ingest/{table}"]["post"]["security"] == [{"key": []}]
    found = spec.service(
        document.read(json.dumps(service.document()).encode(), service.origin + "/openapi.json"),
        spec.Settings("/ingest/{table}"),
    )
    assert found.route_findings("sync", "orders") == ()
    schema = found.event_schema("sync", "orders")
    assert schema is not None
    assert schema.delete_field == "_deleted"

    service.post(batch({"id": 1}), path="/ingest/orders")
    after = paths(service)
    assert list(after) == ["/ingest/orders", "/ingest/{table}"]
    event = after["/ingest/orders"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"][
        "events"
    ]
    assert event["items"]["required"] == ["id"]
    assert "enum" not in json.dumps(after)


def test_what_is_there_after_a_restart(service, engine):
    """Tables that were made before have their paths and keys at once."""
    service.post(batch({"id": 1, "n": 1}), path="/ingest/orders")
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE foreigner (id INTEGER PRIMARY KEY)"))
    with served(ready.application(engine, ready.Settings(KEY))) as again:
        assert list(paths(again)) == ["/ingest/orders", "/ingest/{table}"]
        status, answer = again.post(batch({"id": 1}), path="/ingest/foreigner")

    assert status == 422
    assert "was not made from rows" in answer["error"]
    assert rows(engine, "foreigner") == []


def test_numbers_come_as_they_were_sent(service, engine):
    """Beyond 64 bits and beyond a float's digits nothing is rounded, nested or not."""
    digits = "12345678901234567890123.4567890123456789"
    for number, raw in enumerate([digits, "-98765432109876543210", f'{{"a": [{digits}, 1e2]}}', "1.5", "0.1"]):
        assert service.post(batch({"id": number, "n": "RAW"}, raw=raw), path="/ingest/numbers")[0] == 200

    kept = [row[-1] for row in rows(engine, "numbers")]
    assert kept == [digits, "-98765432109876543210", f'{{"a":[{digits},100.0]}}', 1.5, 0.1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"18446744073709551615", 2**64 - 1),
        (b"18446744073709551616", Decimal(2**64)),
        (b"0.10000000000000001", Decimal("0.10000000000000001")),
        (b"0.1000000000000000055511151231257827", Decimal("0.1000000000000000055511151231257827")),
        (b"1.0000000000000000", 1.0),
        (b"1e3", 1000.0),
        (b"-0.0", -0.0),
        (b'"12345678901234567890.5"', "12345678901234567890.5"),
    ],
)
def test_only_what_64_bits_do_not_hold_is_a_decimal(text, expected):
    """The rest is what orjson makes of it."""
    body = batch({"id": "RAW"}, raw=text.decode())
    found = payload.read(body, exact=True).events[0]["id"]

    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("text", ["1e400", '"\\ud800"', "NaN", "1234567890123456 5", "[" * 2000 + "]" * 2000])
def test_exact_reading_takes_nothing_more(text):
    """What orjson refuses is refused, whatever the standard library would take."""
    with pytest.raises(PayloadError, match="the body is not JSON"):
        payload.read(batch({"id": 1234567890123456789, "n": "RAW"}, raw=text), exact=True)


def test_a_missing_key_says_which_option_names_another(service):
    """The first rows have no id: the answer is what to start with."""
    status, answer = service.post(batch({"number": 1}), path="/ingest/lines")

    assert status == 422
    assert "--key lines=COLUMN" in answer["error"]


def test_the_key_of_a_table_is_named(engine):
    """Of several columns; a table that has another one already is told at the start."""
    named = ready.Settings(KEY, keys={"lines": ("order", "line")}, deletes=True)
    with served(ready.application(engine, named)) as running:
        running.post(batch({"order": 1, "line": 1}, {"order": 1, "line": 2}), path="/ingest/lines")
        running.post(batch({"order": 1, "line": 1, "_deleted": True}), path="/ingest/lines")
    assert [row[:2] for row in rows(engine, "lines")] == [(1, 2)]

    with pytest.raises(ValueError, match="made with the key order, line"):
        ready.application(engine, ready.Settings(KEY, keys={"lines": ("id",)}))


def test_the_document_tells_keys_before_the_first_row(engine):
    """So `fuagent check` finds a table whose key is another one, which would be refused row by row."""
    settings = ready.Settings(KEY, keys={"lines": ("order", "line")})
    with served(ready.application(engine, settings)) as running:
        told = paths(running)
    items = [
        item["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]["events"]["items"]
        for item in told.values()
    ]

    assert list(told) == ["/ingest/lines", "/ingest/{table}"]
    assert [item["required"] for item in items] == [["order", "line"], ["id"]]


def test_tables_of_a_schema_are_the_only_ones(engine):
    """They are made, described column by column, and take what fits; nothing else has a place."""
    with served(ready.application(engine, ready.Settings(KEY, SCRIPT, sweep=True))) as running:
        told = paths(running)
        assert list(told) == ['/ingest/odd ";" name', "/ingest/orders"]
        body = told["/ingest/orders"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        event = body["properties"]["events"]["items"]
        assert event["required"] == ["id", "name"]
        assert event["properties"]["price"] == {"type": ["string", "number", "null"]}
        assert event["properties"]["id"] == {"type": ["integer", "string"]}
        assert running.post(batch({"id": 1}), path="/ingest/others")[0] == 404
        assert running.post(batch({"id": 1, "name": "a", "more": 1}), path="/ingest/orders")[0] == 200
        assert running.post(batch({"a": "x", "b": 2}), path="/ingest/odd%20%22;%22%20name")[0] == 200
        status, answer = running.post(batch({"id": 1, "name": "a", "price": "1.234"}), path="/ingest/orders")
        assert (status, answer["error"]) == (422, "column price does not take the value of a row")

    tables = sa.inspect(engine).get_table_names()
    assert sorted(tables) == ["fuagent_state", 'odd ";" name', "orders"]
    assert [row[:2] for row in rows(engine, "orders")] == [(1, "a")]


def test_a_schema_may_grow_or_be_closed(engine):
    """add makes columns beside those of the file; reject refuses, and the document says so."""
    with served(ready.application(engine, ready.Settings(KEY, SCRIPT, unknown="reject"))) as running:
        assert running.post(batch({"id": 1, "name": "a", "more": 1}), path="/ingest/orders")[0] == 422
        assert '"additionalProperties": false' in json.dumps(paths(running)["/ingest/orders"])
    with served(ready.application(engine, ready.Settings(KEY, SCRIPT, unknown="add"))) as running:
        assert running.post(batch({"id": 1, "name": "a", "more": 1}), path="/ingest/orders")[0] == 200

    assert rows(engine, "orders")[0][-1] == 1


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("", "there is no CREATE TABLE"),
        ("-- nothing; at all", "there is no CREATE TABLE"),
        ("CREATE TABLE a (id INTEGER PRIMARY KEY); DROP TABLE a", "statement 2 is no CREATE TABLE"),
        ("CREATE TABLE a (", "does not make table a"),
        ("CREATE TABLE a (id INTEGER)", "has no primary key"),
    ],
)
def test_a_schema_that_makes_no_tables_is_refused(engine, script, text):
    """With what is wrong; nothing but CREATE TABLE is run."""
    with pytest.raises(ValueError, match=text):
        ready.application(engine, ready.Settings(KEY, script))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"unknown": "ignore"}, "grow with them"),
        ({"schema": SCRIPT, "keys": {"nothing": ("id",)}}, "has no table nothing"),
        ({"schema": SCRIPT, "keys": {"orders": ("name",)}}, "neither primary key nor unique"),
        ({"schema": SCRIPT, "keys": {"orders": ("nothing",)}}, "no column nothing"),
    ],
)
def test_settings_that_do_not_suit_each_other(engine, settings, text):
    """They are told before anything listens."""
    with pytest.raises(ValueError, match=text):
        ready.application(engine, ready.Settings(KEY, **settings))


def test_names_of_a_script_are_taken_apart():
    """Comments, quotes and what stands in them end no statement."""
    assert [name for name, _ in ready_sql.statements(SCRIPT)] == ["orders", 'odd ";" name']


def test_keys_of_a_script_tell_texts_apart_on_mysql(database):
    """A text in the key is given a collation that does; one that is there with another is refused."""
    url = f"mysql://{database.server.superuser}@127.0.0.1:{database.server.port}/{database.name}"
    engine = ready_server.open_database(url)
    script = 'CREATE TABLE "words" (word VARCHAR(255) NOT NULL, n BIGINT, PRIMARY KEY (word));'
    with served(ready.application(engine, ready.Settings(KEY, script))) as running:
        sent = [{"word": word, "n": number} for number, word in enumerate(["a", "A", "a ", "ä"])]
        assert running.post(batch(*sent), path="/ingest/words")[0] == 200
    kept = rows_of_words(engine)
    for own in ("COLLATE utf8mb4_general_ci", ""):
        database.execute(f"CREATE OR REPLACE TABLE loose (word VARCHAR(255) {own} PRIMARY KEY) COLLATE utf8mb4_bin")
        with pytest.raises(ValueError, match="which holds different texts for the same row"):
            ready.application(engine, ready.Settings(KEY, script.replace("words", "loose")))
    database.execute("CREATE OR REPLACE TABLE loose (word VARCHAR(255) PRIMARY KEY) COLLATE utf8mb4_nopad_bin")
    ready.application(engine, ready.Settings(KEY, script.replace("words", "loose")))
    engine.dispose()

    assert kept == [0, 1, 2, 3]


def test_tables_of_fuagent_schema_keep_values_on_mysql(database):
    """Whatever the server's zone, and where a TIMESTAMP that may be null has to say so: moments, nulls and floats."""
    columns = (Column("id", Kind.INTEGER, nullable=False), Column("at", Kind.TIMESTAMP), Column("x", Kind.FLOAT))
    table = Table("moments", columns, key=("id",))
    script = sql.script(shapes([TableSpec(table, Mapping())]), "any task")
    setting = "SET time_zone = '+02:00', explicit_defaults_for_timestamp = 0"
    url = f"mysql://{database.server.superuser}@127.0.0.1:{database.server.port}/{database.name}"
    engine = ready_server.open_database(f"{url}?init_command={quote_plus(setting)}")
    with served(ready.application(engine, ready.Settings(KEY, script, sweep=True))) as running:
        sent = [{"id": 1, "at": "2024-02-29T01:02:03.123456Z", "x": 1e300}, {"id": 2, "at": None, "x": -0.1}]
        assert running.post(batch(*sent), path="/ingest/moments")[0] == 200
    kept = database.execute("SELECT id, UNIX_TIMESTAMP(at), x FROM moments ORDER BY id")
    engine.dispose()

    assert kept == [(1, Decimal("1709168523.123456"), 1e300), (2, None, -0.1)]


def rows_of_words(engine: sa.Engine) -> list[int]:
    with engine.connect() as connection:
        return sorted(connection.execute(sa.text("SELECT n FROM words")).scalars())


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s3cret@127.0.0.1:1/b?sslpassword=s3cret", "postgresql+psycopg://me:***@127.0.0.1:1/b"),
        ("mariadb://me:s3cret@127.0.0.1:1/b", "mariadb+pymysql://me:***@127.0.0.1:1/b"),
        ("sqlite:////nowhere/copy.db", "sqlite:////nowhere/copy.db"),
        ("no url", "--database"),
        ("oracle://x/y", "--database"),
        ("sqlite:///:memory:", "--database"),
    ],
)
@pytest.mark.fault("S06")
def test_a_database_that_cannot_be_opened_is_told_without_its_password(url, shown):
    """Where, why, and what to do."""
    with pytest.raises(StopAgentError) as caught:
        ready_server.open_database(url)

    assert caught.value.where == shown
    assert "s3cret" not in str(caught.value)
    assert caught.value.fix


def test_the_copy_can_be_read_while_it_is_written(tmp_path):
    """WAL: a reader in the middle of a transaction neither waits nor makes the receiver wait."""
    engine = ready_server.open_database(f"sqlite:///{tmp_path}/copy.db")
    with served(ready.application(engine, ready.Settings(KEY))) as running:
        running.post(batch({"id": 1}), path="/ingest/orders")
        with engine.connect() as reader:
            reader.exec_driver_sql("BEGIN")
            assert reader.exec_driver_sql("SELECT count(*) FROM orders").scalar() == 1
            assert running.post(batch({"id": 2}), path="/ingest/orders")[0] == 200
            assert reader.exec_driver_sql("SELECT count(*) FROM orders").scalar() == 1
    engine.dispose()


@pytest.mark.parametrize("case", SERVICE_CASES, ids=lambda case: case.id)
def test_the_contract_is_kept(case, engine):
    """Every statement that a service owes holds for a table made from rows."""
    setup = Setup(task_id="orders", base="", key=KEY)
    replies: list[Reply] = []
    with served(ready.application(engine, ready.Settings(KEY, sweep=True))) as running:
        for step in case.steps:
            request = step.send(setup)
            path = request.path.replace("/ingest-batch", "/ingest/orders")
            replies.append(running.send(Request(request.method, path, request.query, request.headers, request.body)))
            broken = [expect.text for expect in step.expects if not expect.met(setup, replies)]

            assert broken == [], replies[-1]


def test_the_folder_of_a_file_must_be_there(tmp_path: Path):
    """SQLite makes files and no folders."""
    with pytest.raises(StopAgentError, match="does not let us in"):
        ready_server.open_database(f"sqlite:///{tmp_path}/no/copy.db")


def test_an_address_is_taken_as_one_of_tcp():
    """asyncio lets small packets go at once on no other socket: each answer would wait for 40 ms."""
    with ready_server.bind("127.0.0.1", 0) as taken:
        assert taken.proto == socket.IPPROTO_TCP
