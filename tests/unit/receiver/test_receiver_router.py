"""The receiver over real HTTP: who is let in, what is refused and how, and what its document says."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
import zstandard
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel

from fuagent.contract import document, spec
from fuagent.errors import PayloadError
from fuagent.receiver.access import Access
from fuagent.receiver.cases import SERVICE_CASES, Reply, Setup
from fuagent.receiver.memory import MemoryStore
from fuagent.receiver.router import Receiver
from fuagent.receiver.service import MOST_REJECTED, Changes
from harness.receiving import AGENT, KEY, Running, batch, served

LIMIT = 2000
ROW = {"id": 1, "name": "a"}


class Order(BaseModel):
    id: int
    name: str = ""


def basic(user: str, password: str) -> dict[str, str]:
    return {"x-api-key": "", "authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}


class World:
    """A receiver with some tasks, and its store."""

    def __init__(self, **options: Any) -> None:
        self.store = MemoryStore()
        self.taken: list[Changes[Order]] = []
        limit = options.pop("max_bytes", LIMIT)
        options = {"keys": {KEY: None, "for orders": ["orders"], "schlüssel": None}, "users": {"ü": "p:w"}} | options
        self.receiver = Receiver(self.store, max_bytes=limit, **options)
        self.receiver.task("orders", key="id", sweep=True)(Order)

        @self.receiver.task("people", key="id", snapshots="never")
        def people(changes: Changes[Order]) -> None:
            if any(one.name == "refuse" for one in changes.rows):
                raise PayloadError("people are refused")
            if any(one.name == "secret" for one in changes.rows):
                message = f"SELECT {changes.rows}"
                raise RuntimeError(message)
            self.taken.append(changes)

        @self.receiver.task("loose", key=["a", "b"], table="elsewhere", path="/loose")
        def loose(changes) -> None:
            """Take rows as they come."""


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def service(world: World) -> Iterator[Running]:
    with served(world.receiver.app()) as running:
        yield running


def test_rows_and_checkpoint_are_stored(service, world):
    """A batch is answered as the contract says, and its index is what the status endpoint tells."""
    assert service.post(batch("people", ROW | {"index": 4})) == (200, {"snapshot_needed": False})
    assert service.ask("people") == (200, {"index": 4})
    assert world.store.rows("people") == [ROW]
    assert world.taken[0].rows == (Order(id=1, name="a"),)


def test_a_task_may_have_a_table_and_a_path_of_its_own(service, world):
    """The row goes where the declaration says, and the task is unknown at any other path."""
    body = batch("loose", {"a": 1, "b": 2, "c": 3})

    assert service.post(body, path="/loose")[0] == 200
    assert world.store.rows("elsewhere") == [{"a": 1, "b": 2, "c": 3}]
    assert service.post(body)[0] == 404


def test_the_repeated_and_the_late_batch(service, world):
    """The last number is answered again, an earlier one is told to come later, and neither is applied."""
    agent = "agent-late"

    def send(number, name):
        body = batch("orders", {"id": 9, "name": name}, agent_id=agent)
        return service.post(body, {"idempotency-key": f"a.1.{number}"})

    assert send(2, "new") == send(2, "old") == (200, {"snapshot_needed": False})
    status, answer = send(1, "older")

    assert status == 425
    assert "not applied" in answer["error"]
    assert {"id": 9, "name": "new"} in world.store.rows("orders")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": "", "authorization": f"Bearer {KEY}"},
        {"x-api-key": "schlüssel".encode()},
        {"x-api-key": "", "authorization": "Bearer schlüssel".encode()},
        basic("ü", "p:w"),
    ],
)
def test_who_proves_it_is_let_in(service, headers):
    """Either header of a key, and user and password, whatever their letters."""
    assert service.post(batch("people", agent_id="agent-in"), headers)[0] == 200
    assert service.ask("people", "agent-in", {"x-api-key": KEY} | headers)[0] == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": ""},
        {"x-api-key": KEY + "x"},
        {"x-api-key": b"\xff\xfe"},
        {"x-api-key": "schlussel"},
        {"x-api-key": "", "authorization": "Basic !"},
        {"x-api-key": "", "authorization": b"Bearer \xe9"},
        {"x-api-key": "", "authorization": KEY},
        basic("ü", "wrong"),
        basic("ü", ""),
    ],
)
def test_who_does_not_is_kept_out_of_both_endpoints(service, headers):
    """A wrong credential of any kind is a 401, for rows as for the question, and no more is looked at."""
    assert service.post(b"no batch", headers)[0] == 401
    assert service.ask("people", headers={"x-api-key": KEY} | headers)[0] == 401


@pytest.mark.fault("S40")
def test_a_key_opens_its_own_tasks_only(service):
    """Neither rows nor checkpoint of another task, declared or not, can be reached with it."""
    bound = {"x-api-key": "for orders"}

    assert service.post(batch("orders", agent_id="agent-bound"), bound)[0] == 200
    assert service.ask("orders", "agent-bound", bound)[0] == 404
    for task in ("people", "nowhere"):
        assert service.post(batch(task), bound)[0] == 403
        assert service.ask(task, headers=bound)[0] == 403


@pytest.mark.parametrize(
    ("body", "headers", "status", "text"),
    [
        (b'{"agent_id": "agent', {}, 422, "not JSON"),
        (b"[1]", {}, 422, "not a JSON object"),
        (b"\xff", {}, 422, "not JSON"),
        (b"[" * 1500, {}, 422, "not JSON"),
        (batch("people", {"id": "secret"}), {}, 422, "events[0].id does not fit"),
        (batch("people", {"id": 1, "name": "refuse"}), {}, 422, "people are refused"),
        (batch("people", {"id": 1, "index": 0}), {}, 422, "events[0].index"),
        (batch("people", agent_id="a" * 300), {}, 422, "agent_id"),
        (batch("nowhere"), {}, 404, "no such task"),
        (b"x" * (LIMIT + 1), {}, 413, "larger than 2000 bytes"),
        (gzip.compress(b"x" * 1_000_000, mtime=0), {"content-encoding": "gzip"}, 413, "larger than 2000 bytes"),
        (zstandard.compress(b"x" * 1_000_000), {"content-encoding": "zstd"}, 413, "larger than 2000 bytes"),
        (b"no gzip", {"content-encoding": "gzip"}, 400, "no gzip"),
        (b"x", {"content-encoding": "br"}, 415, "content coding"),
        (batch("people", {"id": 1, "name": "secret"}), {}, 500, "the request failed"),
    ],
)
def test_what_is_refused_says_why_and_no_more(service, caplog, body, headers, status, text):
    """Each refusal has its status, a plain text, and an id that stands in the log."""
    with caplog.at_level(logging.WARNING, "fuagent.receiver"):
        found, answer = service.post(body, headers)

    assert found == status
    assert answer.keys() == {"error", "id"}
    assert text in answer["error"]
    assert "secret" not in answer["error"]
    assert answer["id"] in caplog.text


def test_a_body_far_beyond_the_limit_still_hears_the_answer(service):
    """The sender, who writes it all before it reads, learns that it should send less."""
    assert service.post(b"x" * (LIMIT * 7))[0] == 413


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_packed_bodies_are_taken(service, coding):
    """What the agent sends with compression set."""
    packed = {"gzip": gzip.compress, "zstd": zstandard.compress}[coding](batch("people", agent_id="agent-packed"))

    assert service.post(packed, {"content-encoding": coding})[0] == 200


def test_the_question_needs_both_ids(service):
    """A question that names no task or no agent, or an agent that cannot be, is refused; an unknown one has none."""
    assert service.ask("")[0] == 400
    assert service.ask("people", "")[0] == 400
    assert service.ask("people", "a\x00")[0] == 422
    assert service.ask("nowhere")[0] == 404


def test_the_document_says_what_the_agent_needs(service):
    """The agent's own reading of it finds the paths, the credential and the events of each path."""
    told = service.document()
    post = told["paths"]["/ingest-batch"]["post"]
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    names = {"id", "name", "index"}

    assert told["servers"] == [{"url": "/", "x-fuagent-status-endpoint": "/fuagent-sync-status"}]
    assert [one["properties"].keys() for one in schema["properties"]["events"]["items"]["anyOf"]] == [names, names]
    assert schema["properties"]["task_id"]["enum"] == ["orders", "people"]
    assert told["components"]["securitySchemes"] == {
        "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        "user": {"type": "http", "scheme": "basic"},
    }
    assert len({one["operationId"] for path in told["paths"].values() for one in path.values()}) == 3


def test_the_agent_understands_the_document():
    """Base, status endpoint, security and event schema as the agent reads them, with marks of deletes."""
    world = World(delete_field="_gone", path="/in", status_path="/status")
    text = json.dumps(world.receiver.app().openapi()).encode()

    read = spec.service(document.read(text, "http://localhost:1/openapi.json"), spec.Settings(batch_endpoint="/in"))
    events = read.event_schema("orders")

    assert read.status_url == "http://localhost:1/status"
    assert read.findings == read.route_findings("orders") == ()
    assert [scheme.way.value for [scheme] in read.demands("orders")] == ["apiKey", "http basic"]
    assert events is not None
    assert events.delete_field == "_gone"
    assert events.required == {"id"}


@pytest.mark.parametrize("case", SERVICE_CASES, ids=lambda case: case.id)
@pytest.mark.parametrize("credential", [{"key": KEY}, {"key": None, "user": "ü", "password": "p:w"}], ids=str)
def test_the_receiver_keeps_the_contract(case, credential, service):
    """Every statement that a service owes holds, with either kind of credential."""
    setup = Setup(agent_id=f"agent-{case.id}-{len(credential)}", task_id="orders", base="", **credential)
    replies: list[Reply] = []
    for step in case.steps:
        replies.append(service.send(step.send(setup)))
        broken = [expect.text for expect in step.expects if not expect.met(setup, replies)]

        assert broken == [], replies[-1]


def test_the_router_stands_in_another_application():
    """Below a prefix, guarded by a dependency of FastAPI that may refuse."""

    def guard(request: Request) -> None:
        if request.headers.get("x-guard") != "open":
            raise HTTPException(418)

    world = World(keys=(), users=None, dependency=guard)
    app = FastAPI(servers=world.receiver.servers)
    app.include_router(world.receiver.router(), prefix="/v1")
    with served(app) as running:
        assert running.post(batch("orders"), {"x-guard": "open"}, "/v1/ingest-batch")[0] == 200
        assert running.post(batch("orders"), {}, "/v1/ingest-batch")[0] == 418
        assert "/v1/ingest-batch" in running.document()["paths"]
        assert "securitySchemes" not in running.document().get("components", {})


def test_a_key_and_a_dependency_are_both_asked():
    """A dependency that lets everybody pass does not stand in for a key."""
    with served(World(dependency=lambda: None).receiver.app()) as running:
        assert running.post(batch("orders"), {"x-api-key": "wrong"})[0] == 401
        assert running.post(batch("orders"))[0] == 200


@pytest.mark.parametrize("options", [{}, {"keys": ()}, {"users": {}}, {"keys": ""}, {"keys": {"": None}}])
def test_nobody_is_let_in_by_forgetting(options):
    """A receiver without any credential, or with an empty one, is not made."""
    with pytest.raises(ValueError, match=r"who may send|lets anybody in"):
        Receiver(MemoryStore(), **options)


@pytest.mark.parametrize("users", [{"": "password"}, {"user": ""}])
def test_an_empty_user_or_password_is_refused(users):
    """An unset variable of the environment does not open the door."""
    with pytest.raises(ValueError, match="lets anybody in"):
        Access(users=users)


def test_the_tasks_of_a_key_are_a_list():
    """A single name would be taken for its letters."""
    with pytest.raises(ValueError, match="list"):
        Access({"key": "orders"})


def test_a_task_is_declared_once_at_a_path():
    """Twice at one path is a mistake; at two paths it is a sync of two tables."""
    receiver = World().receiver
    with pytest.raises(ValueError, match="declared twice"):
        receiver.task("orders", key="id")(Order)

    receiver.task("orders", key="id", table="items", path="/items")(Order)

    assert "/items" in receiver.app().openapi()["paths"]


@pytest.mark.parametrize("sweeps", [(True, False), (False, True)])
def test_no_task_sweeps_the_rows_of_another(sweeps):
    """Of two tasks that share a table, the one that sweeps would take the other's rows away."""
    receiver = Receiver(MemoryStore(), keys=KEY)
    receiver.task("north", key="id", table="shared", sweep=sweeps[0])(Order)
    with pytest.raises(ValueError, match="tasks north and south share the table shared"):
        receiver.task("south", key="id", table="shared", sweep=sweeps[1])(Order)

    receiver.task("north", key="id", table="shared", path="/more", sweep=sweeps[0])(Order)
    receiver.task("south", key="id", table="own", sweep=True)(Order)


def test_rows_may_be_taken_as_they_come():
    """A task may be declared with the type of dictionaries, which is no class."""
    world = World()
    world.receiver.task("bare", key="id")(dict[str, Any])
    with served(world.receiver.app()) as running:
        assert running.post(batch("bare", {"id": 1, "any": [2]}))[0] == 200

    assert world.store.rows("bare") == [{"id": 1, "any": [2]}]


def test_the_receiver_imports_no_driver():
    """It installs without the agent's drivers, and so must import without them."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['asyncmy', 'psycopg', 'aiohttp', 'typer', 'rich']));"
        "import fuagent.receiver.router, fuagent.receiver.memory; print('imported')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout == "imported\n", done.stderr


def test_the_status_is_per_agent(service):
    """A checkpoint of another agent is not told."""
    service.post(batch("people", ROW | {"index": 40}, agent_id="agent-a"))

    assert service.ask("people", "agent-b")[0] == 404
    assert service.ask("people", AGENT)[1] != {"index": 40}


def test_a_sender_that_goes_away_leaves_nothing(service, world, caplog):
    """A body that breaks off with its connection is no failure of the service, and stores nothing."""
    whole = batch("people", {"id": 77}, agent_id="agent-gone")
    head = f"POST /ingest-batch HTTP/1.1\r\nHost: x\r\nX-Api-Key: {KEY}\r\nContent-Length: {len(whole) + 1}\r\n\r\n"
    with caplog.at_level(logging.WARNING), socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(head.encode() + whole)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""

    assert caplog.records == []
    assert service.ask("people", "agent-gone")[0] == 404
    assert {"id": 77} not in world.store.rows("people")


def test_rows_that_do_not_fit_can_be_named():
    """The others of the batch are stored; a replay names the same rows; too many are another fault, and refused."""
    world = World(name_rejected=True, max_bytes=10 * LIMIT)
    sent = batch("orders", ROW | {"index": 5}, {"id": "x", "index": 6}, {"name": "no key", "index": 7})
    named = [
        {"row": 1, "reason": "events[1].id does not fit: int_parsing"},
        {"row": 2, "reason": "events[2].id does not fit: missing"},
    ]
    with served(world.receiver.app()) as running:
        first = running.post(sent, {"idempotency-key": "a.1.1"})
        again = running.post(sent, {"idempotency-key": "a.1.1"})
        restarted = running.post(sent, {"idempotency-key": "b.1.1"})
        checkpoint = running.ask("orders")
        many = [{"id": "x"}] * (MOST_REJECTED + 1)
        refused = running.post(batch("orders", {"id": 9}, *many), {"idempotency-key": "b.1.2"})

    assert first == again == restarted
    assert (first[0], first[1]["rejected"]) == (200, named)
    assert checkpoint == (200, {"index": 7})
    assert world.store.rows("orders") == [ROW]
    assert refused[0] == 422
