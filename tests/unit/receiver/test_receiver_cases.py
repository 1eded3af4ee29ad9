"""The table of exchanges, played against models of both ends, right ones and broken ones.

A case is worth something only if an end that breaks its statement is caught by
it. So there is a model of an agent and one of a service here, each with a list
of defects to plant, and no case may be left that none of them trips.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from typing import Any

import pytest

from fuagent.contract.payload import PayloadError
from fuagent.receiver.cases import (
    AGENT_CASES,
    CASES,
    SERVICE_CASES,
    Act,
    Ask,
    Case,
    Do,
    Exchange,
    Exchanged,
    Reply,
    Request,
    Scene,
    Script,
    Setup,
    Side,
    credential_headers,
    document,
    pusher,
)
from fuagent.receiver.cases.checks import INDEXED

ATTEMPTS = 8
"""After so many tries without getting on, a model agent gives up: something is wrong with it or with the script."""


class GaveUpError(Exception):
    """The model agent got nowhere."""


class ModelAgent:
    """The agent as the contract describes it, with at most one planted defect."""

    def __init__(self, script: Script, bug: str = "") -> None:
        self.script, self.bug, self.setup = script, bug, script.case.setup
        self.table = {row["id"]: dict(row) for row in self.setup.rows}
        self.log: list[dict[str, Any]] = []
        self.numbers = count(100)
        self.acknowledged = 0
        self.lost = bug == "always suggests"

    def play(self) -> list[str]:
        """Run until the script is over."""
        try:
            self.start()
            while (act := self.script.due()) is not None or not self.script.done:
                if act is None:
                    break
                self.do(act)
        except GaveUpError:
            pass
        return self.script.failures()

    def do(self, act: Act) -> None:
        if act.do is Do.RESTART:
            self.start()
            return
        assert act.row is not None
        if act.do is Do.DELETE:
            row = self.table.pop(act.row["id"])
        else:
            row = self.table[act.row["id"]] = dict(act.row)
        self.lost = self.lost or (act.do is Do.LOSE_PLACE and self.bug != "silent gap")
        self.log.append({**row, "index": next(self.numbers)})
        self.stream()

    def start(self) -> None:
        answer = self.ask()
        if answer is None:
            self.snapshot()
            return
        self.acknowledged = 0 if self.bug == "ignores the checkpoint" else answer
        self.stream()

    def ask(self) -> int | None:
        if self.setup.status_path is None:
            first = not self.acknowledged or self.bug == "no journal"
            return None if first else self.acknowledged
        query = {"task_id": self.setup.task_id, "agent_id": self.setup.agent_id}
        if self.bug == "swaps the ids":
            query = {"task_id": self.setup.agent_id, "agent_id": self.setup.task_id}
        path = "/status" if self.bug == "guesses the status path" else self.setup.status_path
        headers = {} if self.bug == "asks without a credential" else self.credential()
        for _ in range(ATTEMPTS):
            reply = self.script.answer(Request("GET", path, tuple(query.items()), headers))
            if reply.status == 404 or (reply.status != 200 and self.bug == "503 is none"):
                return 5 if self.bug == "no snapshot at the beginning" else None
            if reply.status == 200:
                answer = json.loads(reply.body)
                return 0 if self.bug == "cannot read it" else answer["index"] if isinstance(answer, dict) else answer
        raise GaveUpError

    def credential(self) -> Mapping[str, str]:
        headers = credential_headers(self.setup)
        if self.bug in {"x-api-key", "authorization"}:
            headers.pop(self.bug, None)
        if self.bug == "always a key":
            headers["x-api-key"] = "other"
        return headers

    def snapshot(self) -> None:
        rows = list(self.table.values())
        last = next(self.numbers)
        if self.bug == "forgets a row":
            rows = rows[:-1]
        if self.bug == "end marker first":
            self.post([], end=True)
        for row in rows[:-1]:
            self.post([row])
        if rows:
            self.post([{**rows[-1], "index": last}], end=self.bug == "end marker with rows")
        if self.bug not in {"end marker first", "no end marker", "end marker with rows"}:
            self.post([], end=True)
        self.acknowledged, self.log = max(self.acknowledged, last), []

    def stream(self) -> None:
        news = [event for event in self.log if event["index"] > self.acknowledged]
        if self.bug == "skips deletes":
            news = [event for event in news if event["id"] in self.table]
        if self.bug == "names the operation":
            news = [{**event, "$operation": "u"} for event in news]
        if self.bug == "no index":
            news = [{name: value for name, value in event.items() if name != "index"} for event in news]
        if self.bug == "same index":
            news = [{**event, "index": 100} for event in news]
        if news:
            wanted = self.post(news)
            self.acknowledged = self.log[-1]["index"]
            if self.bug == "sends twice":
                self.post(news)
            if wanted:
                self.snapshot()

    def post(self, events: list[dict[str, Any]], *, end: bool = False) -> bool:
        """Send until it is taken; whether a snapshot is wanted."""
        request = self.request(events, end=end)
        for _ in range(ATTEMPTS):
            reply = self.script.answer(request)
            if reply.status in {200, 204} or (self.bug == "drops on 5xx" and reply.status >= 500):
                return self.taken(reply, events)
            if self.bug == "other bytes on a retry":
                request = self.request([*events, *events], end=end)
        raise GaveUpError

    def request(self, events: list[dict[str, Any]], *, end: bool) -> Request:
        body = {
            "agent_id": "other" if self.bug == "other agent_id" else self.setup.agent_id,
            "task_id": "other" if self.bug == "other task_id" else self.setup.task_id,
            "is_snapshot_end": end,
            "snapshot_sync_suggested": self.lost,
            "events": events,
        }
        if self.bug == "one key more":
            body["more"] = 1
        headers = {"content-type": "application/json", "task-id": self.setup.task_id, **self.credential()}
        if self.bug in {"content-type", "task-id"}:
            headers[self.bug] = "other"
        path = self.setup.batch_path
        if self.bug == "default path":
            path = f"{self.setup.base}/ingest-batch"
        if self.bug == "other path":
            path = "/other"
        return Request("PUT" if self.bug == "puts" else "POST", path, (), headers, json.dumps(body).encode())

    def taken(self, reply: Reply, events: list[dict[str, Any]]) -> bool:
        if self.bug == "needs a body" and not reply.body:
            raise GaveUpError
        if self.bug == "needs 200" and reply.status != 200:
            raise GaveUpError
        named = b"snapshot_needed" in reply.body
        wanted = named if self.bug == "any snapshot_needed" else b"true" in reply.body
        if wanted and self.bug != "the flag stays":
            self.lost = False
        if self.bug == "braces are a wish" and reply.body == b"{}" and self.acknowledged:
            wanted = True
        return wanted and self.bug != "ignores the wish" and bool(events)


AGENT_BUGS = {
    "puts": "2.1-post",
    "other path": "2.1-no-base",
    "default path": "2.1-batch-endpoint",
    "content-type": "2.1-content-type",
    "task-id": "2.1-task-id",
    "x-api-key": "2.1-x-api-key",
    "authorization": "2.1-basic",
    "always a key": "2.1-no-credential",
    "guesses the status path": "2.2-get",
    "asks without a credential": "2.2-key",
    "swaps the ids": "2.2-query",
    "ignores the checkpoint": "2.2-integer",
    "cannot read it": "2.2-object",
    "no snapshot at the beginning": "2.2-none",
    "no journal": "2.2-optional",
    "503 is none": "2.2-unclear",
    "one key more": "3-object",
    "other agent_id": "3-agent-id",
    "other task_id": "3-task-id",
    "no end marker": "3-snapshot-end",
    "end marker first": "3-snapshot-end",
    "end marker with rows": "3-snapshot-end",
    "forgets a row": "3-snapshot-end",
    "always suggests": "3-not-suggested",
    "silent gap": "3-suggested",
    "names the operation": "3-events",
    "skips deletes": "3-no-operation",
    "no index": "3-index",
    "same index": "3-index",
    "sends twice": "3-index-max",
    "needs a body": "4-200-empty",
    "needs 200": "4-204",
    "any snapshot_needed": "4-not-needed",
    "braces are a wish": "4-200",
    "ignores the wish": "4-needed",
    "the flag stays": "4-suggestion-taken",
    "drops on 5xx": "4-500",
    "other bytes on a retry": "4-503",
}


def play(case: Case, bug: str = "") -> list[str]:
    """What the script holds against a model agent."""
    return ModelAgent(Script(case), bug).play()


def identity(case: Case) -> str:
    """A case's name in the test's."""
    return case.id


@pytest.mark.parametrize("case", AGENT_CASES, ids=identity)
def test_a_right_agent_breaks_nothing(case: Case) -> None:
    """The scripts ask for nothing that the contract does not."""
    assert play(case) == []


@pytest.mark.parametrize(("bug", "case"), AGENT_BUGS.items())
def test_a_broken_agent_is_caught_by_the_case_for_it(bug: str, case: str) -> None:
    """Each planted defect shows in the case whose statement it breaks."""
    (found,) = (candidate for candidate in AGENT_CASES if candidate.id == case)

    assert play(found, bug)


def test_every_agent_case_catches_something() -> None:
    """A case that no defect trips would prove nothing."""
    useless = [case.id for case in AGENT_CASES if not any(play(case, bug) for bug in AGENT_BUGS)]

    assert useless == []


class ModelService:
    """A service as the contract describes it, with at most one planted defect."""

    def __init__(self, setup: Setup, bug: str = "") -> None:
        self.setup, self.bug = setup, bug
        self.stored: dict[tuple[str, str], int] = {}

    def answer(self, request: Request) -> Reply:
        wanted = credential_headers(self.setup).items()
        if not wanted <= request.headers.items() and not (self.bug == "open status" and request.method == "GET"):
            return Reply(401)
        return self.status(request) if request.method == "GET" else self.ingest(request)

    def status(self, request: Request) -> Reply:
        query = dict(request.query)
        index = self.stored.get(self.key(query["task_id"], query["agent_id"]))
        if index is None:
            return Reply(200, b"0") if self.bug == "0 for none" else Reply(404)
        return Reply(200, b'"%d"' % index if self.bug == "text" else b"%d" % index)

    def key(self, task: str, agent: str) -> tuple[str, str]:
        return ("" if self.bug == "one task" else task, "" if self.bug == "one agent" else agent)

    def ingest(self, request: Request) -> Reply:
        try:
            batch = json.loads(request.body)
        except ValueError:
            return Reply(200 if self.bug == "takes anything" else 400)
        if self.bug == "no end" and not batch["events"]:
            return Reply(422)
        key = self.key(batch["task_id"], batch["agent_id"])
        indexes = [event["index"] for event in batch["events"] if "index" in event]
        if self.bug == "needs an index" and len(indexes) < len(batch["events"]):
            return Reply(422)
        if self.bug == "inserts only" and indexes and self.stored.get(key, 0) >= max(indexes):
            return Reply(409)
        if indexes and self.bug != "keeps nothing":
            largest = indexes[-1] if self.bug == "last index" else max(indexes)
            self.stored[key] = largest % 2**31 if self.bug == "32 bits" else largest
        if not indexes and self.bug == "forgets":
            self.stored.pop(key, None)
        bodies = {"a page": b"<p>", "text flag": b'{"snapshot_needed": "false"}', "not JSON": b"OK"}
        return Reply(
            201 if self.bug == "201" else 200,
            bodies.get(self.bug, self.body(suggested=batch["snapshot_sync_suggested"])),
        )

    @staticmethod
    def body(*, suggested: bool) -> bytes:
        return b'{"snapshot_needed": true}' if suggested else b""


SERVICE_BUGS = {
    "a page": "2.1-takes-batches",
    "0 for none": "2.2-no-checkpoint",
    "keeps nothing": "2.2-checkpoint",
    "text": "2.2-checkpoint",
    "32 bits": "2.2-checkpoint",
    "one task": "2.2-per-task",
    "one agent": "2.2-per-task",
    "open status": "2.2-same-authentication",
    "no end": "3-end-marker",
    "text flag": "3-suggestion",
    "inserts only": "3-upsert",
    "needs an index": "3-index-is-optional",
    "forgets": "3-index-is-optional",
    "last index": "3-largest-index",
    "not JSON": "4-answer",
    "201": "4-answer",
    "takes anything": "4-failure",
}


def probe(case: Case, bug: str = "", setup: Setup | None = None) -> list[str]:
    """What a case holds against a model service."""
    setup = setup or Setup()
    service, replies, broken = ModelService(setup, bug), [], []
    for step in case.steps:
        replies.append(service.answer(step.send(setup)))
        broken += [expect.text for expect in step.expects if not expect.met(setup, replies)]
    return broken


@pytest.mark.parametrize("case", SERVICE_CASES, ids=identity)
@pytest.mark.parametrize("setup", [Setup(), Setup(key=None, user="u", password="p"), Setup(key=None)])
def test_a_right_service_breaks_nothing(case: Case, setup: Setup) -> None:
    """With every kind of credential."""
    assert probe(case, setup=setup) == []


@pytest.mark.parametrize(("bug", "case"), SERVICE_BUGS.items())
def test_a_broken_service_is_caught_by_the_case_for_it(bug: str, case: str) -> None:
    """Each planted defect shows in the case whose statement it breaks."""
    (found,) = (candidate for candidate in SERVICE_CASES if candidate.id == case)

    assert probe(found, bug)


def test_every_service_case_catches_something() -> None:
    """A case that no defect trips would prove nothing."""
    useless = [case.id for case in SERVICE_CASES if not any(probe(case, bug) for bug in SERVICE_BUGS)]

    assert useless == []


def test_the_table_is_complete() -> None:
    """Names are unique, every section from 2.1 to 5 is there, both sides have rows, and each row reads as a sentence."""
    assert len({case.id for case in CASES}) == len(CASES)
    assert {case.section for case in CASES} == {"2.1", "2.2", "3", "4", "5"}
    assert {case.side for case in AGENT_CASES} == {Side.AGENT}
    assert {case.side for case in SERVICE_CASES} == {Side.SERVICE}
    for case in CASES:
        assert case.id.startswith(f"{case.section}-")
        assert case.statement.endswith(".")
        assert bool(case.exchanges) != bool(case.steps)


def test_a_case_applies_where_it_can_be_asked() -> None:
    """No status endpoint: nothing about checkpoints; no credential: nothing about keys."""
    alone, open_ = Setup(status_endpoint=None), Setup(key=None)
    left_out = {case.id for case in SERVICE_CASES if not case.applies(alone)}

    assert left_out == {case.id for case in SERVICE_CASES if case.needs_status}
    assert [case.id for case in SERVICE_CASES if not case.applies(open_)] == ["2.2-same-authentication"]
    assert all(case.applies(Setup()) for case in CASES)


def test_setups_become_a_document_and_a_config_entry() -> None:
    """As the contract writes them; what is not set is left out."""
    plain = Setup(base="", status_endpoint=None, key=None)
    full = Setup(batch_endpoint="/in", key=None, user="u", password="p")

    assert json.loads(document(Setup(), "http://h:1"))["servers"] == [
        {"url": "http://h:1/v1", "x-fuagent-status-endpoint": "/fuagent-sync-status"}
    ]
    assert json.loads(document(plain, "http://h:1"))["servers"] == [{"url": "http://h:1"}]
    assert list(json.loads(document(full, "http://h:1"))["paths"]) == ["/in"]
    assert pusher(Setup(), "http://h:1") == {
        "driver": "openapi",
        "endpoint": "http://h:1/openapi.json",
        "credential": {"key": "key-for-the-cases"},
    }
    assert pusher(plain, "http://h:1") == {"driver": "openapi", "endpoint": "http://h:1/openapi.json"}
    assert pusher(full, "http://h:1")["credential"] == {"user": "u", "password": "p"}
    assert pusher(full, "http://h:1")["driver_params"] == {"batch_endpoint": "/in"}


def named(case: str) -> Case:
    """The case of that name."""
    (found,) = (candidate for candidate in CASES if candidate.id == case)
    return found


def batch(setup: Setup, *events: dict[str, object], end: bool = False, suggested: bool = False) -> Request:
    """One batch as a right agent sends it."""
    body = {
        "agent_id": setup.agent_id,
        "task_id": setup.task_id,
        "is_snapshot_end": end,
        "snapshot_sync_suggested": suggested,
        "events": events,
    }
    headers = {"content-type": "application/json", "task-id": setup.task_id, **credential_headers(setup)}
    return Request("POST", setup.batch_path, (), headers, json.dumps(body).encode())


def test_a_script_that_is_not_over_says_what_is_owed() -> None:
    """An agent that does nothing has broken the case."""
    script = Script(named("2.2-none"))

    assert not script.done
    assert script.failures() == [f"{Ask.QUESTION} never came"]


def test_what_is_not_owed_is_a_failure() -> None:
    """Rows before the question, unknown paths, and bodies that break the contract."""
    script = Script(named("2.2-none"))

    assert script.answer(batch(script.case.setup, {"id": 1})).status == 200
    assert script.answer(Request("GET", "/favicon.ico")).status == 404
    assert script.answer(Request("POST", "/v1/ingest-batch", body=b"{}")).status == 404
    assert script.failures() == [
        "a batch of rows came where the checkpoint question was owed",
        "GET /favicon.ico is nothing the contract knows",
        "POST /v1/ingest-batch is nothing the contract knows",
        "the checkpoint question never came",
    ]


def test_a_question_out_of_turn_gets_the_truth() -> None:
    """It may come at any time, and is answered with what was taken; its shape is checked all the same."""
    setup = Setup()
    script = Script(Case("x", "x", "x", setup, (Exchange(Ask.ROWS, many=True), Exchange(Ask.END))))
    query = (("task_id", setup.task_id), ("agent_id", setup.agent_id))
    question = Request("GET", "/v1/fuagent-sync-status", query, credential_headers(setup))

    assert script.answer(question).status == 404
    script.answer(batch(setup, {"id": 1, "index": 7}))
    assert script.answer(question).body == b'{"index":7}'
    script.answer(batch(setup, end=True))
    assert script.done
    assert script.failures() == []
    script.answer(Request("GET", "/v1/fuagent-sync-status"))
    script.answer(batch(setup, {"id": 1, "index": 8}))
    assert script.failures() == [
        "the checkpoint question: not so: task_id and agent_id are the query",
        "the checkpoint question: not so: the credential's headers, and no others, are sent",
        "a batch of rows came where nothing was owed",
    ]


def test_nothing_may_come_before_its_act() -> None:
    """A row that arrives before it was inserted is one that was sent twice."""
    setup = Setup()
    row = {"id": 9}
    script = Script(Case("x", "x", "x", setup, (Exchange(Ask.ROWS, acts=(Act(Do.INSERT, row),)),)))

    script.answer(batch(setup, row))
    assert script.failures()[0] == "a batch of rows came where nothing was owed"
    assert script.due() == Act(Do.INSERT, row)
    assert script.due() is None
    script.answer(batch(setup, row))
    assert script.done


def test_flagged_batches_may_go_on_coming() -> None:
    """A suggestion nobody takes stays on every batch."""
    script = Script(named("3-suggested"))
    agent = ModelAgent(script)

    assert agent.play() == []
    script.answer(batch(script.case.setup, suggested=True))
    assert script.done
    assert script.failures() == []


@pytest.mark.parametrize(
    ("indexes", "holds"),
    [((8, 9), True), ((9, 8), False), ((8, 8), False), ((7, 8), False), ((8, None), False), ((2**53 - 1,), True)],
)
def test_indexes_rise_within_a_batch_and_above_what_was_taken(indexes: tuple[int | None, ...], holds: bool) -> None:
    """7 was taken before; every event must be above the one in front of it."""
    setup = Setup()
    before = (Exchanged(batch(setup, {"index": 7}), Reply(204)), Exchanged(batch(setup, {"index": 8}), Reply(503)))
    events = [{} if index is None else {"index": index} for index in indexes]

    assert INDEXED.holds(Scene(setup, batch(setup, *events), before)) is holds


def test_a_scene_reads_the_body_it_is_asked_for() -> None:
    """A body that breaks the contract is an error there, not a guess."""
    with pytest.raises(PayloadError):
        _ = Scene(Setup(), Request("POST", "/", body=b"[]")).payload
