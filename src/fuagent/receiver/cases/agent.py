"""What the agent owes, section by section."""

from __future__ import annotations

from dataclasses import replace

from fuagent.receiver.cases import checks as owed
from fuagent.receiver.cases.exchange import ROWS, Act, Answer, Ask, Case, Check, Do, Exchange, Reply, Row, Scene, Setup

OK = Reply(200, b"{}")
NONE = Reply(404, b'{"detail":"no checkpoint"}', {"content-type": "application/json"})
DAVID = {"id": 4, "name": "David", "email": "david@example.org"}
ERIN = {"id": 5, "name": "Erin", "email": "erin@example.org"}
ADA_MOVED = {"id": 1, "name": "Ada", "email": "ada@example.net"}

KEY = Setup()
BASIC = Setup(key=None, user="fuagent", password="pässword:1")  # noqa: S106 - of a service that lives in a test
ALONE = Setup(status_endpoint=None)
"""The journal is the checkpoint."""


def _asked(*checks: Check, answer: Answer = NONE, acts: tuple[Act, ...] = ()) -> Exchange:
    return Exchange(Ask.QUESTION, answer, checks, acts)


def _snapshot(*checks: Check, rows: tuple[Row, ...] = ROWS, answer: Answer = OK) -> tuple[Exchange, ...]:
    every = (owed.NOT_END, owed.NOT_SUGGESTED, *checks)
    end = (owed.END, owed.NOT_SUGGESTED, owed.all_rows_came(*rows), *checks)
    return (Exchange(Ask.ROWS, answer, every, many=True), Exchange(Ask.END, answer, end))


def _insert(row: Row, *checks: Check, answer: Answer = OK) -> Exchange:
    return _change(Act(Do.INSERT, row), *checks, answer=answer)


def _change(act: Act, *checks: Check, answer: Answer = OK) -> Exchange:
    rows = (owed.rows_are(act.row),) if act.row is not None else ()
    return Exchange(Ask.ROWS, answer, (*rows, owed.NOT_END, owed.NOT_SUGGESTED, *checks), (act,))


def _start(*checks: Check) -> tuple[Exchange, ...]:
    """From nothing to a finished snapshot."""
    return (_asked(), *_snapshot(*checks))


def _everywhere(*checks: Check, setup: Setup = KEY) -> tuple[Exchange, ...]:
    """A whole short life (snapshot, end marker, one change) with the checks on every batch."""
    question = () if setup.status_endpoint is None else (_asked(),)
    return (*question, *_snapshot(*checks), _insert(DAVID, *checks))


def _bare_index(scene: Scene) -> Reply:
    return Reply(200, b"%d" % (scene.checkpoint or 0), {"content-type": "application/json"})


def _index_object(scene: Scene) -> Reply:
    return Reply(200, b'{"index":%d}' % (scene.checkpoint or 0), {"content-type": "application/json"})


_RESTART = (Act(Do.RESTART),)
_AGAIN = Exchange(Ask.ROWS, OK, (owed.SAME_BYTES,))
_WANTED = Reply(200, b'{"snapshot_needed": true}')


def _resumed(answer: Answer) -> tuple[Exchange, ...]:
    """A restart after which the service names its checkpoint: only what is new may come."""
    return (*_start(), _insert(DAVID), _asked(answer=answer, acts=_RESTART), _insert(ERIN, owed.INDEXED))


def _taken_by(reply: Reply) -> tuple[Exchange, ...]:
    """Every batch is answered like this, and each counts as delivered."""
    return (_asked(), *_snapshot(answer=reply), _insert(DAVID, answer=reply), _insert(ERIN, answer=reply))


def _refused_with(status: int) -> tuple[Exchange, ...]:
    refused = _insert(DAVID, answer=Reply(status, b"<h1>not now</h1>", {"content-type": "text/html"}))
    return (*_start(), refused, _AGAIN, _insert(ERIN))


def _lost(answer: Answer) -> tuple[Exchange, ...]:
    acts = (Act(Do.LOSE_PLACE, DAVID),)
    return (*_start(), Exchange(Ask.SUGGESTION, answer, (owed.SUGGESTED, owed.NOT_END), acts, many=answer is OK))


_SECTION_2_1 = (
    Case(
        "2.1-post",
        "2.1",
        "Batches are POSTed to /ingest-batch below the server's URL.",
        exchanges=_everywhere(owed.POSTED),
    ),
    Case(
        "2.1-no-base",
        "2.1",
        "A server URL without a path is the base like any other.",
        Setup(base=""),
        _everywhere(owed.POSTED),
    ),
    Case(
        "2.1-batch-endpoint",
        "2.1",
        "driver_params.batch_endpoint replaces the default path.",
        Setup(batch_endpoint="/rows/in"),
        _everywhere(owed.POSTED),
    ),
    Case("2.1-content-type", "2.1", "Content-Type is application/json.", exchanges=_everywhere(owed.JSON)),
    Case("2.1-task-id", "2.1", "The header task-id names the sync.", exchanges=_everywhere(owed.TASK)),
    Case("2.1-x-api-key", "2.1", "With a key, x-api-key carries it.", exchanges=_everywhere(owed.KEY)),
    Case(
        "2.1-bearer", "2.1", "With a key, Authorization carries it as Bearer too.", exchanges=_everywhere(owed.BEARER)
    ),
    Case(
        "2.1-basic",
        "2.1",
        "With user and password, Authorization is Basic; no x-api-key is sent.",
        BASIC,
        _everywhere(owed.BASIC, owed.CREDENTIAL),
    ),
    Case(
        "2.1-no-credential",
        "2.1",
        "Without a credential neither header is sent.",
        Setup(key=None),
        _everywhere(owed.CREDENTIAL),
    ),
)

_SECTION_2_2 = (
    Case(
        "2.2-get",
        "2.2",
        "Before any row, the path in x-fuagent-status-endpoint is asked with GET.",
        exchanges=(_asked(owed.ASKED, owed.NO_ROWS_YET), *_snapshot()),
    ),
    Case("2.2-query", "2.2", "task_id and agent_id are the query.", exchanges=(_asked(owed.IDS), *_snapshot())),
    Case("2.2-integer", "2.2", "200 with a bare integer: goes on behind that index.", exchanges=_resumed(_bare_index)),
    Case("2.2-object", "2.2", 'So does 200 with {"index": n}.', exchanges=_resumed(_index_object)),
    Case("2.2-none", "2.2", "404: starts from the beginning, with a snapshot.", exchanges=_start()),
    Case(
        "2.2-key",
        "2.2",
        "With a key, the question carries both of the key's headers.",
        exchanges=(_asked(owed.KEY, owed.BEARER), *_snapshot()),
    ),
    Case(
        "2.2-basic",
        "2.2",
        "With user and password, the question carries Authorization: Basic.",
        BASIC,
        (_asked(owed.BASIC), *_snapshot()),
    ),
    Case(
        "2.2-optional",
        "2.2",
        "Without the field nothing is asked, and a restarted agent goes on by itself.",
        ALONE,
        (*_everywhere(setup=ALONE), replace(_insert(ERIN, owed.INDEXED), acts=(*_RESTART, Act(Do.INSERT, ERIN)))),
    ),
    Case(
        "2.2-unclear",
        "2.2",
        "Only 404 means none: after a 503 it asks again and sends nothing meanwhile.",
        exchanges=(_asked(answer=Reply(503)), _asked(owed.NO_ROWS_YET), *_snapshot()),
    ),
)

_SECTION_3 = (
    Case(
        "3-object", "3", "The body is an object of five keys with the types named.", exchanges=_everywhere(owed.OBJECT)
    ),
    Case("3-agent-id", "3", "agent_id is the agent's id.", exchanges=_everywhere(owed.AGENT_ID)),
    Case("3-task-id", "3", "task_id is the sync's name.", exchanges=_everywhere(owed.TASK_ID)),
    Case(
        "3-snapshot-end",
        "3",
        "After the snapshot's last row, one batch without events has is_snapshot_end true; no other has.",
        exchanges=(*_start(), _insert(DAVID)),
    ),
    Case(
        "3-not-suggested",
        "3",
        "As long as the place is known, snapshot_sync_suggested is false.",
        exchanges=(_asked(), *_snapshot(owed.NOT_SUGGESTED), _insert(DAVID, owed.NOT_SUGGESTED)),
    ),
    Case("3-suggested", "3", "Once the place is lost, snapshot_sync_suggested is true.", exchanges=_lost(OK)),
    Case(
        "3-events",
        "3",
        "Events are the raw rows: the columns under their names, and at most an index beside them.",
        exchanges=(*_start(), _insert(DAVID)),
    ),
    Case(
        "3-no-operation",
        "3",
        "Inserts, updates and deletes all come as plain rows.",
        exchanges=(*_start(), _insert(DAVID), _change(Act(Do.UPDATE, ADA_MOVED)), _change(Act(Do.DELETE, DAVID))),
    ),
    Case(
        "3-index",
        "3",
        "An index is unique and rises from event to event.",
        exchanges=(*_start(), _insert(DAVID, owed.INDEXED), _change(Act(Do.UPDATE, ADA_MOVED), owed.INDEXED)),
    ),
    Case(
        "3-index-max",
        "3",
        "The largest index of a batch is a checkpoint: given back, nothing of the batch comes again.",
        exchanges=_resumed(_index_object),
    ),
)

_SECTION_4 = (
    Case("4-200", "4", "200 with {}: delivered.", exchanges=_taken_by(OK)),
    Case("4-200-empty", "4", "200 with an empty body: delivered.", exchanges=_taken_by(Reply(200))),
    Case("4-204", "4", "204: delivered.", exchanges=_taken_by(Reply(204))),
    Case(
        "4-not-needed",
        "4",
        '{"snapshot_needed": false}: delivered, and no snapshot follows.',
        exchanges=_taken_by(Reply(200, b'{"snapshot_needed": false}')),
    ),
    Case(
        "4-needed",
        "4",
        '{"snapshot_needed": true}: delivered, then the whole table again and an end marker.',
        exchanges=(*_start(), _insert(DAVID, answer=_WANTED), *_snapshot(rows=(*ROWS, DAVID)), _insert(ERIN)),
    ),
    Case(
        "4-suggestion-taken",
        "4",
        "A suggestion that is answered with the wish for a snapshot leads to one, and the flag goes out.",
        exchanges=(*_lost(_WANTED), *_snapshot(rows=(*ROWS, DAVID)), _insert(ERIN)),
    ),
    Case("4-500", "4", "500: the same batch again until it is taken, then the next.", exchanges=_refused_with(500)),
    Case("4-503", "4", "503 likewise.", exchanges=_refused_with(503)),
)

_SECTION_5 = (
    Case(
        "5-config",
        "5",
        "driver, endpoint, credential.key and driver_params.batch_endpoint, written as the contract does, are all it takes.",
        Setup(batch_endpoint="/ingest-batch"),
        _everywhere(),
    ),
)

AGENT_CASES: tuple[Case, ...] = (*_SECTION_2_1, *_SECTION_2_2, *_SECTION_3, *_SECTION_4, *_SECTION_5)
