"""Faults that receivers of other projects have had: each was somebody's incident."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import zstandard

from fuagent.receiver.database import DatabaseStore
from fuagent.receiver.router import Receiver
from fuagent.receiver.service import Changes
from harness.receiving import AGENT, KEY, Running, batch, served

LIMIT = 5_000
BOUND = "key of one tenant"
ODD_KEY = "schlüssel"
ODD_NAME = 'id") values'


@dataclass
class World:
    """A receiver over SQLite with a task of each strictness, and one whose function fails."""

    service: Running
    engine: sa.Engine

    def contents(self) -> list[Any]:
        """All rows of all tables."""
        with self.engine.connect() as connection:
            names = sa.inspect(connection).get_table_names()
            return [(name, connection.execute(sa.text(f"SELECT * FROM {name}")).fetchall()) for name in names]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    meta = sa.MetaData()
    tables = {
        name: sa.Table(name, meta, sa.Column("id", sa.Integer, primary_key=True), sa.Column("secret", sa.String(20)))
        for name in ("orders", "strict", "admins")
    }
    engine = sa.create_engine(f"sqlite:///{tmp_path}/rows.db", hide_parameters=True)
    strict = DatabaseStore(engine, tables, unknown="reject")
    loose = DatabaseStore(engine, tables)
    loose.create()
    receivers = [
        Receiver(store, keys={KEY: None, ODD_KEY: None, BOUND: ["orders"]}, max_bytes=LIMIT)
        for store in (loose, strict)
    ]
    receivers[0].task("orders", key="id")(dict[str, Any])
    receivers[1].task("strict", key="id", path="/strict")(dict[str, Any])

    @receivers[0].task("failing", key="id", table="orders")
    def failing(changes: Changes[dict[str, Any]]) -> None:
        changes.session.execute(sa.text("SELECT secret FROM nowhere WHERE secret = 'tell nobody'"))

    app = receivers[0].app()
    app.include_router(receivers[1].router())
    with served(app) as service:
        yield World(service, engine)
    engine.dispose()


@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
@pytest.mark.fault("S35")
def test_a_credential_of_any_letters_is_an_answer(world, header):
    """Bytes beyond ASCII are compared as bytes in either header, right or wrong, and are no failure."""

    def status(key: bytes) -> int:
        value = key if header == "x-api-key" else b"Bearer " + key
        return world.service.post(batch("orders"), {"x-api-key": "", header: value})[0]

    assert status(ODD_KEY.encode()) == 200
    assert [status(key) for key in (b"\xe9", b"schl\xfcssel!", b"\xff\xfe", ODD_KEY.encode()[:-1])] == [401] * 4


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("identity", b" " * (LIMIT + 1)),
        ("gzip", gzip.compress(b" " * 10_000_000, mtime=0)),
        ("zstd", zstandard.compress(b" " * 10_000_000)),
    ],
)
@pytest.mark.fault("S36")
def test_a_body_has_a_limit_packed_and_unpacked(world, coding, body):
    """Too much on the wire, or too much behind it, is a 413."""
    assert world.service.post(body, {"content-encoding": coding})[0] == 413


@pytest.mark.parametrize(("task", "path", "status"), [("orders", "/ingest-batch", 200), ("strict", "/strict", 422)])
@pytest.mark.parametrize("name", [ODD_NAME, 'id"; DROP TABLE admins; --', "rowid", "fuagent_run"])
@pytest.mark.fault("S37")
def test_a_property_is_no_identifier(world, task, path, status, name):
    """A property that no column has the name of is left out or refused, whatever it says."""
    found, _ = world.service.post(batch(task, {"id": 1, "secret": "a", name: 5}), path=path)

    assert found == status
    assert dict(world.contents())[task] == ([(1, "a")] if status == 200 else [])


@pytest.mark.parametrize(("task", "path", "status"), [("orders", "/ingest-batch", 200), ("strict", "/strict", 422)])
@pytest.mark.fault("S38")
def test_properties_beyond_the_table_are_ignored_or_refused(world, task, path, status):
    """Which of the two is said where the store is made."""
    found, _ = world.service.post(batch(task, {"id": 1, "is_admin": True}), path=path)

    assert found == status
    assert dict(world.contents())[task] == ([(1, None)] if status == 200 else [])


@pytest.mark.parametrize(
    "task", ["admins", "fuagent_state", "orders; DROP TABLE orders", "../orders", "ORDERS", "orders "]
)
@pytest.mark.fault("S39")
def test_a_task_that_is_not_declared_reaches_no_table(world, task):
    """The table is the declaration's, never the request's."""
    before = world.contents()

    assert world.service.post(batch(task, {"id": 1}))[0] == 404
    assert world.service.ask(task)[0] == 404
    assert world.contents() == before


@pytest.mark.fault("S40")
def test_the_checkpoint_of_another_is_not_told(world):
    """Who may not send for a task does not learn how far it is, and who proves nothing learns nothing."""
    world.service.post(batch("strict", {"id": 1, "index": 77}), path="/strict")
    world.service.post(batch("orders", {"id": 1, "index": 78}))

    assert world.service.ask("orders", AGENT, {"x-api-key": BOUND}) == (200, {"index": 78})
    for headers, status in (({"x-api-key": BOUND}, 403), ({"x-api-key": "wrong"}, 401), ({}, 401)):
        found, answer = world.service.ask("strict", AGENT, headers)
        assert found == status
        assert "77" not in answer["error"]


@pytest.mark.fault("S41")
def test_a_failure_tells_nothing_but_its_number(world, caplog):
    """Neither statement nor value stands in the answer; the log has the statement under the number."""
    with caplog.at_level(logging.ERROR, "fuagent.receiver"):
        status, answer = world.service.post(batch("failing", {"id": 1, "secret": "hidden value"}))

    assert status == 500
    assert answer["error"] == "the request failed; the log says why under this id"
    assert answer["id"] in caplog.text
    assert "nowhere" in caplog.text
    assert "hidden value" not in caplog.text
    assert dict(world.contents())["orders"] == []
