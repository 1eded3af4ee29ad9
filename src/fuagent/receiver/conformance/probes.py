"""What a service is asked, as data: each probe is one statement and the conversations in which it shows.

:data:`PROBES` is the whole list, in the order it is played. Every statement the contract makes about the
service (:data:`~fuagent.receiver.cases.SERVICE_CASES`) is a *must*; what is added to them here is what
the agent needs beyond the letter, and what else goes wrong in services.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fuagent.contract import outcome
from fuagent.model import INDEX_MAX
from fuagent.receiver.cases import SERVICE_CASES, Expect, Reply, Request, Setup, Step
from fuagent.receiver.cases.exchange import Row
from fuagent.receiver.cases.service import FIRST, TAKEN, batch, found, post, posted, question, takes
from fuagent.receiver.conformance.findings import About, Grade
from fuagent.receiver.conformance.rows import Maker

WRONG = "wrong-fuagent-conformance"
"""Stands in a credential's place; no secret, so it may be shown."""

Lane = tuple[Step, ...]
Rows = Callable[[Maker, int], tuple[Row, ...] | str]


@dataclass(frozen=True, slots=True)
class Probe:
    """One statement; ``lanes`` are conversations held at the same time, each of them in order."""

    about: About
    lanes: tuple[Lane, ...]
    rows: Rows = lambda maker, _large: maker.few()
    """The rows for it, from a maker and the size of the large batch; a text says why there are none."""
    needs_status: bool = False
    needs_credential: bool = False
    is_slow: bool = False
    """Bodies arrive in pieces."""


def _replied(statuses: Callable[[int], bool]) -> Callable[[Setup, Sequence[Reply]], bool]:
    return lambda _setup, replies: statuses(replies[-1].status)


DELIVERED = Expect("the batch is answered with 2xx and no page", takes)
"""What the agent needs; that it should be 200 or 204 is asked for once, not by every probe."""
REFUSED = Expect("the answer is 401 or 403", _replied(lambda status: status in {401, 403}))
NOT_SUCCESS = Expect("the answer is 4xx, and neither 2xx nor 5xx", _replied(lambda status: 400 <= status < 500))
NO_PAGE = Expect(
    "the answer is for a program and no page (HTML or XML)",
    lambda _setup, replies: not outcome.is_page(replies[-1].headers, replies[-1].body),
)
TAKEN_OR_TOO_LARGE = Expect(
    "the batch is answered with 2xx, or with 413 where it is too large",
    lambda setup, replies: replies[-1].status == 413 or takes(setup, replies),
)
NAMED_JSON = Expect(
    "an answer with a body says Content-Type: application/json",
    lambda _setup, replies: not replies[-1].body.strip() or "json" in replies[-1].headers.get("content-type", ""),
)


def _lane(number: int, batches: int, *, ask: bool) -> Lane:
    """Batches of one sync of its own, one after the other, and the question for its checkpoint.

    Where the service knows one task only, two agents have it: a checkpoint is of both together.
    """

    def own(setup: Setup) -> Setup:
        if setup.one_task:
            return replace(setup, agent_id=f"{setup.agent_id}-{number}")
        return replace(setup, task_id=f"{setup.task_id}-{number}")

    def nth(index: int) -> Callable[[Setup], Request]:
        return lambda setup: post(own(setup), index, index + 1)

    last = FIRST + number * 1000 + 2 * batches
    steps = [Step(nth(last - 2 * later + 1), (DELIVERED,)) for later in range(batches, 0, -1)]
    asked = (Step(lambda setup: question(own(setup)), (found(last),)),) if ask else ()
    return (*steps, *asked)


def _stranger(setup: Setup) -> Setup:
    """The same with a wrong secret of the same kind."""
    return replace(setup, key=WRONG) if setup.key is not None else replace(setup, password=WRONG)


_AUTHENTICATION = (
    "Check x-api-key or Authorization before anything else, on this endpoint too, and answer 401 or 403; "
    "404 would tell the agent to start from the beginning."
)
_CASE_MENDS = {
    "2.1-takes-batches": "Take a POST of application/json here and answer 200 or 204. On 401 or 403 give the credential "
    "(--key, or --user and --password); on 404 or 405 give the path (--batch-endpoint); on 400 or 422 describe in the "
    "document what an event has to look like, since the rows are made from it; a pattern needs an example beside it.",
    "2.2-no-checkpoint": "Answer 404 where nothing is stored for this task_id and agent_id; not 200 with null, 0 or {}.",
    "2.2-checkpoint": "Store the largest index of each batch together with its rows, and answer with it as a JSON "
    'number, bare or as {"index": n}: no text, no fraction.',
    "2.2-per-task": "Store the checkpoint under task_id and agent_id together.",
    "2.2-same-authentication": "Put the same check of the credential before both endpoints.",
    "3-end-marker": "Take a batch whose events are empty and whose is_snapshot_end is true, and answer 200.",
    "3-suggestion": "Take snapshot_sync_suggested: true with rows and without; answer nothing, {} or "
    '{"snapshot_needed": true} or false, with a boolean.',
    "3-upsert": "Insert or replace by key: the agent repeats a batch whose answer it did not get.",
    "3-index-is-optional": "Make index optional: rows of a snapshot carry none, and they leave the checkpoint alone.",
    "3-largest-index": "Take the maximum over the batch, not the last event's index.",
    "4-answer": 'Answer with no body, {}, or an object whose snapshot_needed, if there, is true or false, not "false".',
    "4-failure": "Answer 400 to a body that is no JSON: a 2xx means stored.",
}

_FIRST_CASE = "2.1-takes-batches"


def _relaxed(step: Step) -> Step:
    return replace(step, expects=tuple(DELIVERED if one is TAKEN else one for one in step.expects))


_CASES = tuple(
    Probe(
        About(case.id, case.section, Grade.MUST, case.statement, _CASE_MENDS[case.id]),
        (case.steps if case.id == _FIRST_CASE else tuple(_relaxed(step) for step in case.steps),),
        needs_status=case.needs_status,
        needs_credential=case.needs_credential,
    )
    for case in SERVICE_CASES
)

_BODY = b'{"agent_id":"%b","task_id":"%b","is_snapshot_end":false,"snapshot_sync_suggested":false,"events":%b}'


def _events(text: bytes) -> Callable[[Setup], Request]:
    """A body whose events are this JSON text."""
    return lambda setup: posted(setup, _BODY % (setup.agent_id.encode(), setup.task_id.encode(), text))


_BATCHES = (
    Probe(
        About(
            "4-no-page",
            "4",
            Grade.MUST,
            "A batch is never answered with a page.",
            "Answer JSON or nothing. A page often comes from a login, a proxy or a catch-all route in front: the agent "
            "takes it for somebody else's answer and sends the batch again.",
        ),
        ((Step(batch(FIRST), (NO_PAGE,)),),),
    ),
    Probe(
        About(
            "3-no-index",
            "3",
            Grade.MUST,
            "Events without an index are taken.",
            "Make index optional: rows of a snapshot carry none.",
        ),
        ((Step(batch(None, None), (DELIVERED,)),),),
    ),
    Probe(
        About(
            "3-empty",
            "3",
            Grade.SHOULD,
            "A batch without events is taken.",
            "Answer 200 and do nothing; the maximum over no events must not fail.",
        ),
        ((Step(batch(), (DELIVERED,)),),),
    ),
    Probe(
        About(
            "3-row-twice",
            "3",
            Grade.MUST,
            "One batch may hold the same row several times: its later state comes last.",
            "Apply the events one after the other, or keep the last one of each key before one statement writes all.",
        ),
        ((Step(batch(FIRST, FIRST + 1), (DELIVERED,)),),),
        lambda maker, _large: maker.one(),
    ),
    Probe(
        About(
            "3-large",
            "3",
            Grade.MUST,
            "A large batch is taken, or answered with 413 so that the agent halves it.",
            "Raise the limits on the body's size and on the time a request may take, here and in whatever stands before "
            "the service; write the rows in one statement and one transaction.",
        ),
        ((Step(lambda setup: post(setup, *range(FIRST, FIRST + len(setup.rows))), (TAKEN_OR_TOO_LARGE,)),),),
        lambda maker, large: maker.rows(large),
    ),
    Probe(
        About(
            "3-unicode",
            "3",
            Grade.MUST,
            "Any text is taken: emoji, right-to-left, combining and control characters.",
            "Read the body as UTF-8 and store it as such (MySQL: utf8mb4).",
        ),
        ((Step(batch(FIRST), (DELIVERED,)),),),
        lambda maker, _large: maker.unicode(),
    ),
    Probe(
        About(
            "3-unknown-fields",
            "3",
            Grade.SHOULD,
            "A column that the service does not know is no reason to refuse the row.",
            "Ignore properties you do not know: a column added at the source otherwise stops the sync. If you mean to "
            "refuse them, say additionalProperties: false in the document.",
        ),
        ((Step(batch(FIRST), (DELIVERED,)),),),
        lambda maker, _large: maker.unknown(),
    ),
    Probe(
        About(
            "3-large-numbers",
            "3",
            Grade.SHOULD,
            f"Integers up to {INDEX_MAX} are taken.",
            "Use 64-bit integers, or say format: int32 or maximum in the document.",
        ),
        ((Step(batch(FIRST), (DELIVERED,)),),),
        lambda maker, _large: maker.large_numbers(),
    ),
    Probe(
        About(
            "3-nested",
            "3",
            Grade.SHOULD,
            "A value may be an object or an array.",
            "Take JSON columns as they come, or name the types in the document.",
        ),
        ((Step(batch(FIRST), (DELIVERED,)),),),
        lambda maker, _large: maker.nested(),
    ),
    Probe(
        About(
            "2.1-slow-body",
            "2.1",
            Grade.SHOULD,
            "A body that arrives slowly is taken.",
            "Read as many bytes as Content-Length says, in as many pieces as they come.",
        ),
        ((Step(batch(FIRST, FIRST + 1), (DELIVERED,)),),),
        is_slow=True,
    ),
)

_TWO_TASKS = About(
    "2.1-two-tasks",
    "2.1",
    Grade.MUST,
    "Two tasks at the same time do not disturb each other.",
    "Let requests share nothing that is not locked, and let a database that is busy wait rather than fail.",
)
_CONCURRENT = (
    Probe(_TWO_TASKS, (_lane(1, 8, ask=False), _lane(2, 8, ask=False))),
    Probe(
        replace(
            _TWO_TASKS,
            id="2.2-two-tasks",
            section="2.2",
            statement="Two tasks at the same time each keep a checkpoint.",
        ),
        (_lane(3, 4, ask=True), _lane(4, 4, ask=True)),
        needs_status=True,
    ),
)

_CREDENTIALS = (
    Probe(
        About(
            "2.1-wrong-credential", "2.1", Grade.MUST, "A batch with a wrong credential is refused.", _AUTHENTICATION
        ),
        ((Step(lambda setup: post(_stranger(setup), FIRST), (REFUSED,)),),),
        needs_credential=True,
    ),
    Probe(
        About("2.1-no-credential", "2.1", Grade.MUST, "A batch without a credential is refused.", _AUTHENTICATION),
        ((Step(lambda setup: post(setup, FIRST, known=False), (REFUSED,)),),),
        needs_credential=True,
    ),
    Probe(
        About(
            "2.2-wrong-credential",
            "2.2",
            Grade.MUST,
            "The question for the checkpoint with a wrong credential is refused.",
            _AUTHENTICATION,
        ),
        ((Step(lambda setup: question(_stranger(setup)), (REFUSED,)),),),
        needs_status=True,
        needs_credential=True,
    ),
    Probe(
        About(
            "2.2-no-credential",
            "2.2",
            Grade.MUST,
            "The question for the checkpoint without a credential is refused.",
            _AUTHENTICATION,
        ),
        ((Step(lambda setup: question(setup, known=False), (REFUSED,)),),),
        needs_status=True,
        needs_credential=True,
    ),
)

_CHECKPOINTS = (
    Probe(
        About(
            "2.2-never-falls",
            "2.2",
            Grade.SHOULD,
            "A batch that comes again late does not take the checkpoint back.",
            "Store an index only if it is larger than the one stored: a repeated batch can overtake its own answer.",
        ),
        (
            (
                Step(batch(FIRST + 5), (DELIVERED,)),
                Step(batch(FIRST), (DELIVERED,)),
                Step(question, (found(FIRST + 5),)),
            ),
        ),
        needs_status=True,
    ),
    Probe(
        About(
            "2.2-largest-possible",
            "2.2",
            Grade.MUST,
            f"An index of {INDEX_MAX} comes back to the digit.",
            "Store the index as a 64-bit integer, never as a float or a 32-bit one, and write it without exponent.",
        ),
        ((Step(batch(INDEX_MAX), (DELIVERED,)), Step(question, (found(INDEX_MAX),))),),
        needs_status=True,
    ),
)

_UNFIT = (
    Probe(
        About(
            "4-broken-json",
            "4",
            Grade.SHOULD,
            "A body that is no JSON is the sender's fault: 4xx.",
            "Catch the parser's error and answer 400: the agent sends the same bytes again after a 5xx, for ever.",
        ),
        (
            (
                Step(lambda setup: posted(setup, b'{"agent_id": "agent'), (NOT_SUCCESS,)),
                Step(lambda setup: posted(setup, b"\xff\xfe{"), (NOT_SUCCESS,)),
            ),
        ),
    ),
    Probe(
        About(
            "4-wrong-shape",
            "4",
            Grade.SHOULD,
            "JSON that is no batch is the sender's fault: 4xx.",
            "Check that the body is an object and events an array of objects, and answer 400 or 422 if not: "
            "a 2xx would mean stored.",
        ),
        (
            (
                Step(lambda setup: posted(setup, b"[]"), (NOT_SUCCESS,)),
                Step(_events(b'"none"'), (NOT_SUCCESS,)),
                Step(_events(b'["none"]'), (NOT_SUCCESS,)),
            ),
        ),
    ),
    Probe(
        About(
            "4-json-answer",
            "4",
            Grade.NICE,
            "An answer with a body says what it is.",
            "Send Content-Type: application/json with a JSON body.",
        ),
        ((Step(batch(FIRST), (NAMED_JSON,)),),),
    ),
)

PROBES: tuple[Probe, ...] = (
    *_CASES,
    *_BATCHES,
    *_CONCURRENT,
    *_CREDENTIALS,
    *_CHECKPOINTS,
    *_UNFIT,
)
"""Every probe of the endpoints; the first one decides whether the others can be played."""
