"""What the service owes, section by section.

Only what the contract asks for is asked for here; advice (keeping the largest
index over a late repeat, say) is no case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import orjson

from fuagent.contract import outcome, payload, status
from fuagent.errors import FuagentError
from fuagent.model import Answer, Batch, Checkpoint, Verdict
from fuagent.receiver.cases.exchange import Case, Expect, Reply, Request, Row, Setup, Step, credential_headers

FIRST = 1_700_000_000_000
"""An index the size real ones have: beyond 32 bits, so that a column too narrow for it shows."""


def _event(row: Row, index: int | None) -> bytes:
    return orjson.dumps(dict(row) if index is None else {**row, "index": index})


def post(setup: Setup, *indexes: int | None, end: bool = False, suggested: bool = False, known: bool = True) -> Request:
    """A batch of the setup's rows in turn, one for each index; None: an event without."""
    rows = (setup.rows[place % len(setup.rows)] for place in range(len(indexes)))
    events = tuple(_event(row, index) for row, index in zip(rows, indexes, strict=True))
    body = payload.body(Batch(setup.task_id, setup.agent_id, "", events, "", end, suggested))
    return posted(setup, body, known=known)


def posted(setup: Setup, body: bytes, *, known: bool = True) -> Request:
    """Any body, sent to where batches go; ``known``: with the credential."""
    headers = {"content-type": payload.CONTENT_TYPE, "task-id": setup.task_id}
    return Request("POST", setup.batch_path, (), headers | (credential_headers(setup) if known else {}), body)


def question(setup: Setup, task: str = "", agent: str = "", *, known: bool = True) -> Request:
    """The question for the checkpoint; ``task`` and ``agent`` are put behind the setup's own ids."""
    query = (("task_id", setup.task_id + task), ("agent_id", setup.agent_id + agent))
    return Request("GET", setup.status_path or "", query, credential_headers(setup) if known else {})


def batch(*indexes: int | None, end: bool = False, suggested: bool = False) -> Callable[[Setup], Request]:
    """:func:`post` for a step."""
    return lambda setup: post(setup, *indexes, end=end, suggested=suggested)


def takes(_setup: Setup, replies: Sequence[Reply]) -> bool:
    """Whether the agent would take the last batch for delivered."""
    last = replies[-1]
    return outcome.read(last.status, last.headers, last.body, now=0.0).verdict is Verdict.ACKNOWLEDGED


def _checkpoint(replies: Sequence[Reply]) -> Checkpoint | None:
    last = replies[-1]
    try:
        return status.read(last.status, last.headers, last.body, url="", now=0.0)
    except FuagentError:
        return None


def _refused(reply: Reply) -> bool:
    return reply.status in {401, 403}


def _readable(_setup: Setup, replies: Sequence[Reply]) -> bool:
    body = replies[-1].body.strip()
    if not body:
        return True
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(answer, dict) and isinstance(answer.get("snapshot_needed", False), bool)


TAKEN = Expect("the batch is answered with 200 or 204", lambda s, r: takes(s, r) and r[-1].status in {200, 204})
ANSWER = Expect("the body is empty, or an object whose snapshot_needed, if there, is true or false", _readable)
NONE = Expect("the answer is 404", lambda _s, r: _checkpoint(r) == Checkpoint(Answer.NONE))
ERROR = Expect("the answer is an error status (4xx or 5xx)", lambda _s, r: 400 <= r[-1].status < 600)
ALIKE = Expect(
    "both endpoints refuse it with 401 or 403, or neither does", lambda _s, r: _refused(r[-2]) == _refused(r[-1])
)


def found(index: int) -> Expect:
    """The checkpoint is this index."""
    text = f'the answer is 200 with {index} or {{"index": {index}}}'
    return Expect(text, lambda _s, r: r[-1].status == 200 and _checkpoint(r) == Checkpoint(Answer.INDEX, index))


SERVICE_CASES: tuple[Case, ...] = (
    Case(
        "2.1-takes-batches",
        "2.1",
        "A POST to the batch path with rows and an index each is taken.",
        steps=(Step(batch(FIRST, FIRST + 1), (TAKEN,)),),
    ),
    Case(
        "2.2-no-checkpoint",
        "2.2",
        "For a task it has never seen, the status endpoint answers 404.",
        steps=(Step(question, (NONE,)),),
        needs_status=True,
    ),
    Case(
        "2.2-checkpoint",
        "2.2",
        "After a batch, the status endpoint answers 200 with its last index, bare or as an object.",
        steps=(
            Step(batch(FIRST), (TAKEN,)),
            Step(question, (found(FIRST),)),
            Step(batch(FIRST + 7), (TAKEN,)),
            Step(question, (found(FIRST + 7),)),
        ),
        needs_status=True,
    ),
    Case(
        "2.2-per-task",
        "2.2",
        "A checkpoint belongs to one task and one agent.",
        steps=(
            Step(batch(FIRST), (TAKEN,)),
            Step(lambda setup: question(setup, task="-other"), (NONE,)),
            Step(lambda setup: question(setup, agent="0"), (NONE,)),
            Step(question, (found(FIRST),)),
        ),
        needs_status=True,
    ),
    Case(
        "2.2-same-authentication",
        "2.2",
        "The status endpoint asks for the same credential as the batch endpoint.",
        steps=(
            Step(lambda setup: post(setup, known=False)),
            Step(lambda setup: question(setup, known=False), (ALIKE,)),
        ),
        needs_status=True,
        needs_credential=True,
    ),
    Case(
        "3-end-marker",
        "3",
        "A batch without events that ends a snapshot is taken.",
        steps=(Step(batch(None, None), (TAKEN,)), Step(batch(end=True), (TAKEN,))),
    ),
    Case(
        "3-suggestion",
        "3",
        "A batch that suggests a snapshot is taken, with rows or without.",
        steps=(Step(batch(suggested=True), (TAKEN, ANSWER)), Step(batch(FIRST, suggested=True), (TAKEN, ANSWER))),
    ),
    Case(
        "3-upsert",
        "3",
        "A row that comes again is taken again: nothing says whether it is new.",
        steps=(Step(batch(FIRST), (TAKEN,)), Step(batch(FIRST), (TAKEN,)), Step(batch(FIRST + 1), (TAKEN,))),
    ),
    Case(
        "3-index-is-optional",
        "3",
        "Rows without an index are taken and leave the checkpoint as it is.",
        steps=(
            Step(batch(None), (TAKEN,)),
            Step(question, (NONE,)),
            Step(batch(FIRST), (TAKEN,)),
            Step(batch(None), (TAKEN,)),
            Step(question, (found(FIRST),)),
        ),
        needs_status=True,
    ),
    Case(
        "3-largest-index",
        "3",
        "The largest index of a batch is the checkpoint, wherever it stands in it.",
        steps=(Step(batch(FIRST + 9, FIRST + 2, None), (TAKEN,)), Step(question, (found(FIRST + 9),))),
        needs_status=True,
    ),
    Case(
        "4-answer",
        "4",
        "A batch is answered with 200 or 204, and with nothing or with an object that may hold snapshot_needed.",
        steps=(Step(batch(FIRST), (TAKEN, ANSWER)),),
    ),
    Case(
        "4-failure",
        "4",
        "What it cannot take is answered with an error status: here, a body that breaks off.",
        steps=(Step(lambda setup: posted(setup, b'{"agent_id": "agent'), (ERROR,)),),
    ),
)
