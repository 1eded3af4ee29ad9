"""A receiver under fire: whatever it is sent, it never fails, never keeps a row of a refused request, and goes on.

``SEEDS=1000`` tries that many examples of each kind.
"""

from __future__ import annotations

import json
import logging
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import hostile
import pytest
import schemathesis
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks
from sqlalchemy.dialects import mysql

from fuagent.receiver.database import DatabaseStore
from fuagent.receiver.memory import MemoryStore
from fuagent.receiver.router import Receiver
from harness.receiving import AGENT, KEY, Running, batch, served

META = sa.MetaData()
ORDERS = sa.Table(
    "orders",
    META,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(50)),
    sa.Column("price", sa.Numeric(12, 3)),
    sa.Column("at", sa.DateTime(timezone=True)),
    sa.Column("fuagent_run", sa.String(100)),
)
LOOSE = sa.Table(
    "loose",
    META,
    sa.Column("a", sa.String(20), primary_key=True),
    sa.Column("b", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("flag", sa.Boolean),
    sa.Column("raw", sa.LargeBinary),
    sa.Column("tree", sa.JSON),
    sa.Column("mark", sa.Uuid),
    sa.Column("rough", sa.Double),
    sa.Column("price", sa.Numeric(12, 3)),
    sa.Column("day", sa.Date),
    sa.Column("hour", sa.Time),
    sa.Column("at", sa.DateTime),
    sa.Column(hostile.ODD_NAME, sa.String(20)),
)
TABLES = {table.name: table for table in META.sorted_tables}
TOLD = [checks.status_code_conformance, checks.content_type_conformance, checks.response_schema_conformance]
FIRE = settings(suppress_health_check=list(HealthCheck))


class Order(BaseModel):
    id: int
    name: str | None = None
    price: Decimal | None = None
    at: datetime | None = None


class Errors(logging.Handler):
    """What is logged as an error, by whomever."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


@dataclass
class Target:
    """A receiver that listens, and how to see all that its store holds."""

    service: Running
    contents: Callable[[], Any]
    errors: Errors = field(default_factory=Errors)

    def answers(self, raw: bytes) -> list[int]:
        """Send bytes, end the sending where no answer comes, and give the statuses of all answers."""
        with socket.create_connection(("127.0.0.1", self.service.port), timeout=30) as connection:
            received = b""
            try:
                connection.sendall(raw)
                connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(65536):
                    received += part
            except OSError:
                pass  # it need not hear all of this
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]

    def post(self, raw: bytes) -> int:
        """Send one whole request; gives the status."""
        with socket.create_connection(("127.0.0.1", self.service.port), timeout=30) as connection:
            connection.sendall(raw)
            received = b""
            while part := connection.recv(65536):
                received += part
        return int(received.split(b" ", 2)[1])

    def verify(self, status: int, before: Any) -> None:
        """It did not fail, and if it refused, nothing has changed."""
        errors, self.errors.found = self.errors.found, []
        assert not errors
        assert status < 500
        if not 200 <= status < 300:
            assert self.contents() == before


@pytest.fixture(scope="module", params=["memory", "sqlite", "postgres", "mariadb"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A receiver with one task of a model, and one that takes rows as they come."""
    store, contents = _memory() if request.param == "memory" else _database(request, tmp_path_factory)
    receiver = Receiver(store, keys=KEY, delete_field="_deleted", max_bytes=1_000_000)
    receiver.task("orders", key="id", sweep=True)(Order)
    receiver.task("loose", key=["a", "b"])(dict[str, Any])
    with served(receiver.app()) as service:
        made = Target(service, contents)
        loggers = [logging.getLogger(name) for name in ("", "uvicorn", "uvicorn.error", "asyncio")]
        for logger in loggers:
            logger.addHandler(made.errors)
        yield made
        for logger in loggers:
            logger.removeHandler(made.errors)


@pytest.fixture(autouse=True)
def calm(target: Target) -> Iterator[None]:
    """Each test begins without errors, and behind each the receiver still takes rows."""
    target.errors.found.clear()
    yield
    row = {"id": 1, "name": "after"}
    assert target.service.post(batch("orders", row, agent_id="agent-after"))[0] == 200


def _memory() -> tuple[MemoryStore, Callable[[], Any]]:
    store = MemoryStore()
    return store, lambda: repr((store._tables, store._states))


def _database(request, tmp_path_factory) -> tuple[DatabaseStore, Callable[[], Any]]:
    tables = TABLES
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('fuzz')}/rows.db"
    elif request.param == "mariadb":
        server = request.getfixturevalue("mariadb")
        url = (
            f"mysql+pymysql://{server.superuser}@127.0.0.1:{server.port}/{server.database('fuzz').name}?charset=utf8mb4"
        )
        tables = {name: _for_mysql(table) for name, table in TABLES.items()}
    else:
        server = request.getfixturevalue("postgres")
        url = f"postgresql+psycopg://{server.superuser}@127.0.0.1:{server.port}/{server.database('fuzz').name}"
    engine = sa.create_engine(url, hide_parameters=True)
    request.addfinalizer(engine.dispose)
    store = DatabaseStore(engine, tables)
    store.create()
    names = [*TABLES, "fuagent_state"]

    def contents() -> Any:
        with engine.connect() as connection:
            return [repr(sorted(map(repr, connection.execute(sa.text(f"SELECT * FROM {name}"))))) for name in names]

    return store, contents


def _for_mysql(table: sa.Table) -> sa.Table:
    """With texts that tell all keys apart."""
    columns = [column._copy() for column in table.columns]
    for column in columns:
        if isinstance(column.type, sa.String):
            column.type = mysql.VARCHAR(column.type.length, charset="utf8mb4", collation="utf8mb4_nopad_bin")
    return sa.Table(table.name, sa.MetaData(), *columns)


@given(data=st.data())
@FIRE
def test_rows_of_every_kind(target: Target, data: st.DataObject) -> None:
    """Values, names and structures that no agent sends are stored whole or refused whole, and never a failure."""
    body = data.draw(hostile.bodies(data.draw(st.sampled_from(["orders", "loose"]))))
    before = target.contents()

    status = target.post(hostile.request(body, key=data.draw(hostile.keys)))

    target.verify(status, before)


@pytest.mark.parametrize(
    ("task", "name"),
    [
        *(("orders", name) for name in ("id", "name", "index", "_deleted")),
        *(("loose", column.name) for column in LOOSE.columns),
    ],
)
def test_every_odd_value(target: Target, task: str, name: str) -> None:
    """Each of the values that have broken other services, as key, index, mark, and in every kind of column."""
    for value in [*map(json.dumps, hostile.TEXTS), *hostile.NUMBERS, *hostile.WORDS, *hostile.TREES]:
        before = target.contents()

        status = target.post(hostile.request(hostile.body(task, [hostile.event({name: value})])))

        target.verify(status, before)


@pytest.mark.parametrize("name", hostile.RAW)
def test_requests_of_every_kind(target: Target, name: str) -> None:
    """Broken HTTP, broken bodies, bombs and odd questions change nothing, and the receiver goes on."""
    before = target.contents()

    answers = target.answers(hostile.RAW[name])

    assert all(status < 500 for status in answers)
    assert 200 not in answers
    target.verify(400, before)


@given(at=st.integers(0, 500), new=st.binary(max_size=3), cut=st.booleans())
@FIRE
def test_requests_with_a_few_bytes_changed(target: Target, at: int, new: bytes, cut: bool) -> None:
    """A request that is damaged or broken off anywhere changes nothing."""
    whole = hostile.request(hostile.REFUSED)
    before = target.contents()

    answers = target.answers(whole[:at] + new + (b"" if cut else whole[at + len(new) :]))

    assert all(status < 500 for status in answers)
    target.verify(400, before)


@pytest.mark.parametrize("path", ["/ingest-batch", "/fuagent-sync-status"])
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["good", "bad"])
@pytest.mark.parametrize("key", [KEY, "wrong"], ids=["key", "no-key"])
def test_what_its_own_document_allows_and_forbids(target: Target, path: str, mode: GenerationMode, key: str) -> None:
    """Requests made from the document, by its rules and against them; without the key all are refused alike."""
    schema = schemathesis.openapi.from_url(f"{target.service.origin}/openapi.json")
    operation = schema[path]["POST" if path == "/ingest-batch" else "GET"]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(FIRE, max_examples=max(10, settings().max_examples // 10))
    def fire(case: Any) -> None:
        before = target.contents()
        response = case.call(headers={"x-api-key": key})
        target.verify(response.status_code, before)
        assert key == KEY or response.status_code == 401
        case.validate_response(response, checks=TOLD)

    fire()
    assert target.service.ask("orders", AGENT)[0] in {200, 404}
