"""What an answer means for the batch that was sent: one row per case.

:data:`ROWS` is the table; nothing else decides. Retrying is the normal case:
the contract names 5xx only, but an answer that says nothing about the rows
themselves (a proxy, a limit, a page in the service's place) must never drop
them either, so everything that is not a clear yes or no is tried again with
the same bytes.

A redirect is never followed: a 301 or 302 turns a POST into a GET without body
at the next stop (RFC 9110 section 15.4.2), whose 200 would then count as
delivered.

Reasons name statuses and places in the request, never the answer's own words:
services echo what they were sent, and row values do not belong into a log.

A 2xx may refuse single events, where the operator says that this service does so
(``accept_rejected``)::

    {"rejected": [{"row": 3, "reason": "no such colour"}]}

``row`` counts the batch's events from 0. A list that cannot be meant so refuses nothing, and
:attr:`fuagent.model.Outcome.warning` says what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import Any

import orjson

from fuagent.contract import retry_after
from fuagent.contract.text import address, clean
from fuagent.errors import MENDED_CREDENTIAL
from fuagent.model import Outcome, Refused, Verdict

BODY_LIMIT = 65_536
"""Bytes of an answer that are read; more are left on the wire."""

OVERRIDES: Mapping[str, Verdict] = MappingProxyType(
    {
        "acknowledge": Verdict.ACKNOWLEDGED,
        "retry": Verdict.RETRY,
        "split": Verdict.SPLIT,
        "reject": Verdict.REJECTED,
        "halt": Verdict.HALT,
    }
)
"""What ``outcomes`` in the configuration may say of a status."""


@dataclass(frozen=True, slots=True)
class Row:
    """One case: which answers, what follows, why, and what the operator does.

    ``statuses`` is empty where something else than the status decides.
    """

    answer: str
    statuses: frozenset[int]
    verdict: Verdict
    reason: str
    fix: str = ""


def _span(*parts: int | range) -> frozenset[int]:
    return frozenset(code for part in parts for code in (part if isinstance(part, range) else (part,)))


SUCCESS = _span(range(200, 300))
TRANSIENT = _span(408, 425, 429, range(500, 600))
UNAUTHORISED = _span(401, 403)
REDIRECT = _span(range(300, 400))

_REJECTED = _span(400, 409, 422)
_NAMED = SUCCESS | TRANSIENT | UNAUTHORISED | REDIRECT | _REJECTED | _span(404, 405, 407, 410, 413)

_STATUS_ROWS: tuple[Row, ...] = (
    Row("2xx", SUCCESS - {202}, Verdict.ACKNOWLEDGED, "delivered, whatever the body says"),
    Row(
        "202",
        _span(202),
        Verdict.ACKNOWLEDGED,
        "delivered, but only queued at the service: its checkpoint may lag behind what it took",
        "answer 200 once the rows are stored",
    ),
    Row(
        "3xx",
        REDIRECT,
        Verdict.WRONG_ANSWER,
        "a redirect, which is never followed",
        "put the final URL into the service's document, or into driver_params.base_url",
    ),
    Row(
        "400, 409, 422",
        _REJECTED,
        Verdict.REJECTED,
        "the service refuses what is in the batch; it is cut down to the row",
        "see which row it is with fuagent status; mend it or the service, or set on_reject",
    ),
    Row(
        "401, 403",
        UNAUTHORISED,
        Verdict.UNAUTHORISED,
        "the service refuses the credential; tried again slowly",
        f"check the pusher's credential and what it may do at the service; {MENDED_CREDENTIAL}",
    ),
    Row(
        "404",
        _span(404),
        Verdict.WRONG_ANSWER,
        "nothing answers at this path; tried again slowly",
        "check driver_params.batch_endpoint and servers in the service's document",
    ),
    Row(
        "405",
        _span(405),
        Verdict.WRONG_ANSWER,
        "this path takes no POST; tried again slowly",
        "check driver_params.batch_endpoint: the path must accept POST",
    ),
    Row(
        "407",
        _span(407),
        Verdict.WRONG_ANSWER,
        "the proxy wants a credential; tried again slowly",
        "check the proxy setting and its user and password",
    ),
    Row(
        "408, 425, 429, 5xx",
        TRANSIENT,
        Verdict.RETRY,
        "passes by itself; the same bytes are sent again",
        "if it lasts, look at the service's own log",
    ),
    Row(
        "410",
        _span(410),
        Verdict.HALT,
        "the service says this endpoint is gone for good",
        "remove the sync, or correct the endpoint and resume it",
    ),
    Row(
        "413",
        _span(413),
        Verdict.SPLIT,
        "the batch is too large for the service or a proxy before it; it is sent in halves",
        "raise the limit at the service, or lower batch_bytes",
    ),
    Row(
        "other 4xx",
        _span(range(400, 500)) - _NAMED,
        Verdict.WRONG_ANSWER,
        "an answer the contract does not know; tried again slowly",
        "look at the service's log, or say under outcomes what this status means",
    ),
)
_ODD = Row(
    "anything else",
    frozenset(),
    Verdict.WRONG_ANSWER,
    "not a final HTTP status; tried again slowly",
    "check what stands between the agent and the service",
)
_PAGE = Row(
    "2xx with a page",
    frozenset(),
    Verdict.WRONG_ANSWER,
    "a page answers in the service's place, so nothing counts as delivered; tried again slowly",
    "check for a login page, a proxy or a wrong URL; set driver_params.accept_html if the service means it",
)
_SINGLY = Row(
    "2xx that names rejected rows",
    frozenset(),
    Verdict.ACKNOWLEDGED,
    "delivered but for the rows it names, which go the way of on_reject (with accept_rejected alone)",
    "see which rows with fuagent rejected, or in the service's own log; mend them or the service, or set on_reject",
)
_TOO_LONG = Row(
    "2xx too long to be read, where it may name rejected rows",
    frozenset(),
    Verdict.SPLIT,
    f"the answer is longer than {BODY_LIMIT} bytes, so it is not known which rows it refuses; the batch is sent in halves",
    "let the service answer in fewer words, or lower batch_size",
)
_UNSEEN = Row(
    "2xx that cannot be read, where it may name rejected rows",
    frozenset(),
    Verdict.WRONG_ANSWER,
    "the answer cannot be read, so it is not known which rows it refuses; tried again slowly",
    "let the service answer with plain JSON, or take accept_rejected away",
)
_EMPTY = Row(
    "400, 409, 413, 422 to a batch without events",
    frozenset(),
    Verdict.HALT,
    "the service refuses a batch that has no events, so there is no row to blame",
    'the service must accept "events": []',
)


class Fault(Enum):
    """What went wrong before there was an answer."""

    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    RESET = "reset"
    EARLY_ANSWER = "early answer"
    """2xx before the body was written: the service cannot have read it."""
    DNS = "dns"
    PROXY = "proxy"
    """The proxy itself refuses (407 and the like); one that cannot be reached is CONNECT."""


def _fault_row(what: str, reason: str, fix: str, verdict: Verdict = Verdict.RETRY) -> Row:
    return Row(what, frozenset(), verdict, reason, fix)


_REACH = "check that the service runs and can be reached from here"
FAULTS: Mapping[Fault, Row] = MappingProxyType(
    {
        Fault.CONNECT: _fault_row("no connection", "no connection to the service", _REACH),
        Fault.TLS: _fault_row(
            "TLS failure",
            "the encrypted connection failed",
            "check the certificate's dates and names, and ca_file for a private authority",
        ),
        Fault.TIMEOUT: _fault_row(
            "timeout", "no complete answer in time", "if it lasts, raise timeout or lower batch_size"
        ),
        Fault.RESET: _fault_row("reset", "the connection broke before the answer was complete", _REACH),
        Fault.EARLY_ANSWER: _fault_row(
            "2xx before the body was read",
            "success was answered before the batch was sent, so it cannot have been stored",
            "the service must read the whole body before it answers",
        ),
        Fault.DNS: _fault_row(
            "no such host", "the service's host name was not found", "check the name and the resolver"
        ),
        Fault.PROXY: _fault_row(
            "proxy refuses",
            "the proxy refused to connect to the service; tried again slowly",
            "check the proxy setting and its user and password",
            Verdict.WRONG_ANSWER,
        ),
    }
)

ROWS: tuple[Row, ...] = (*_STATUS_ROWS, _ODD, _PAGE, _SINGLY, _TOO_LONG, _UNSEEN, _EMPTY, *FAULTS.values())
"""Every case, for the reference page and the tests."""

CASES = frozenset(row.answer for row in ROWS)
"""What :attr:`Outcome.case` may be: few and fixed, so that outcomes can be counted by it."""

_BY_STATUS = {status: row for row in _STATUS_ROWS for status in row.statuses}


def read(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: float,
    overrides: Mapping[int, str] = MappingProxyType({}),
    accept_html: bool = False,
    empty: bool = False,
    refusable: int = 0,
) -> Outcome:
    """Read the answer to one POST.

    Args:
        status: The status code as it came.
        headers: The answer's headers, names in lower case.
        body: The answer's body, at least its first :data:`BODY_LIMIT` bytes, without content decoding.
        now: Unix time, to read a date in ``Retry-After``.
        overrides: Statuses the configuration gives another meaning, as words of :data:`OVERRIDES`.
        accept_html: The service answers with pages and means it.
        empty: The batch had no events.
        refusable: How many events a 2xx may refuse some of: all that the batch had, where ``accept_rejected``
            is set, else none.
    """
    success = status in SUCCESS
    if success and not accept_html and is_page(headers, body):
        return _outcome(_PAGE, status, headers, now, "")
    row = _BY_STATUS.get(status, _ODD)
    if status in overrides:
        verdict = OVERRIDES[overrides[status]]
        row = replace(row, verdict=verdict, reason=f'"{overrides[status]}" by outcomes in the configuration', fix="")
    if empty and row.verdict in {Verdict.REJECTED, Verdict.SPLIT}:
        row = _EMPTY
    if row.verdict is Verdict.ACKNOWLEDGED:
        answer, unread = _answer(headers, body)
        if refusable and unread:
            hidden = _TOO_LONG if len(body) > BODY_LIMIT else _UNSEEN
            return _outcome(hidden, status, headers, now, "")
        return _acknowledged(row, status, answer if isinstance(answer, dict) else {}, unread, refusable)
    return _outcome(row, status, headers, now, _detail(row, headers, body))


def fault(kind: Fault, detail: str = "") -> Outcome:
    """The outcome of an attempt that got no answer; ``detail`` says more, without secrets."""
    row = FAULTS[kind]
    return Outcome(row.verdict, _sentence(row.reason, clean(detail)), row.fix, case=row.answer)


def is_page(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether the body is a page (HTML, XML) rather than an answer to a program."""
    if _is_coded(headers):
        return "html" in headers.get("content-type", "").lower()
    return _first(body).startswith(b"<")


def strip_bom(body: bytes) -> bytes:
    """The body without a UTF-8 byte order mark, which RFC 8259 section 8.1 lets a reader ignore."""
    return body.removeprefix(b"\xef\xbb\xbf")


def _first(body: bytes) -> bytes:
    # Zeros and the other marks are what UTF-16 leaves of a page's first characters.
    for mark in (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"):
        body = body.removeprefix(mark)
    return body.lstrip(b" \t\r\n\x0b\x0c\x00")


def _is_coded(headers: Mapping[str, str]) -> bool:
    return headers.get("content-encoding", "").strip().lower() not in {"", "identity"}


def _outcome(row: Row, status: int, headers: Mapping[str, str], now: float, detail: str) -> Outcome:
    return Outcome(
        row.verdict,
        _sentence(f"{status}: {row.reason}", detail),
        row.fix,
        status=status,
        retry_after=retry_after.seconds(headers.get("retry-after"), now),
        case=row.answer,
    )


def _sentence(reason: str, detail: str) -> str:
    return f"{reason} ({detail})" if detail else reason


def _acknowledged(row: Row, status: int, told: Mapping[str, Any], unread: str, refusable: int) -> Outcome:
    refused, wrong = _refused(told.get("rejected"), refusable) if refusable else ((), "")
    reason = f"{status}: {row.reason}" if row.fix or status not in SUCCESS else ""
    outcome = Outcome(
        Verdict.ACKNOWLEDGED,
        "; ".join(filter(None, (reason, unread))),
        row.fix,
        status=status,
        snapshot_needed=told.get("snapshot_needed") is True,
        rejected=refused,
        warning=wrong,
    )
    if refused and refusable == 1:
        return replace(outcome, verdict=Verdict.REJECTED, reason=f"{status}: {REFUSED}", fix=_SINGLY.fix)
    return outcome


REFUSED = "its answer names the row as rejected"
_REFUSES_NOTHING = "so the list refuses nothing, and every row counts as delivered"
"""What follows from a list of rejected rows that cannot be meant."""


def _refused(found: object, count: int) -> tuple[tuple[Refused, ...], str]:
    """The events that ``rejected`` names, or why none of it can be meant: half of a wrong list may be wrong as well."""
    if found is None:
        return (), ""
    if not isinstance(found, list):
        return (), f"rejected is no list, {_REFUSES_NOTHING}"
    rows: dict[int, Refused] = {}
    for one in found:
        row = one.get("row") if isinstance(one, dict) else None
        if not isinstance(row, int) or isinstance(row, bool):
            return (), f'rejected holds something other than {{"row": n, "reason": "…"}}, {_REFUSES_NOTHING}'
        if not 0 <= row < count:
            return (), f"rejected names a row that the batch does not have (rows count from 0), {_REFUSES_NOTHING}"
        if row in rows:
            return (), f"rejected names a row twice, {_REFUSES_NOTHING}"
        words = one.get("reason")
        rows[row] = Refused(row, clean(words) if isinstance(words, str) else "")
    return tuple(rows[row] for row in sorted(rows)), ""


def _answer(headers: Mapping[str, str], body: bytes) -> tuple[Any, str]:
    """The body as JSON, or None and why it could not be read, where that may matter."""
    if _is_coded(headers):
        return None, "the answer is compressed although none was asked for, so a wish for a snapshot is not seen"
    if len(body) > BODY_LIMIT:
        return None, f"the answer is longer than {BODY_LIMIT} bytes, so a wish for a snapshot in it is not seen"
    try:
        return orjson.loads(strip_bom(body)), ""
    except orjson.JSONDecodeError:
        odd = _first(body).startswith(b"{")
        return None, "the answer looks like JSON but is not, so a wish for a snapshot in it is not seen" if odd else ""


_LOGGED = re.compile(r"[0-9a-f]{12}")
"""What the kit calls a request in its log; anything else may be a row's own id."""
_KIND = re.compile(r"[a-z_]{1,40}")


def _detail(row: Row, headers: Mapping[str, str], body: bytes) -> str:
    if row.verdict is Verdict.REJECTED:
        return _blamed(headers, body)
    if row.statuses == REDIRECT and headers.get("location"):
        return f"to {address(headers['location'])}"
    return ""


def _blamed(headers: Mapping[str, str], body: bytes) -> str:
    """Which property of which event FastAPI's validation errors point to, or where the kit's log says more.

    All else of such an answer may hold row values.
    """
    answer, _ = _answer(headers, body)
    if isinstance(answer, dict) and answer.keys() == {"error", "id"} and _LOGGED.fullmatch(str(answer["id"])):
        return f"the service's log says why under {answer['id']}"
    details = answer.get("detail") if isinstance(answer, dict) else None
    first = details[0] if isinstance(details, list) and details else None
    if not isinstance(first, dict) or not isinstance(first.get("loc"), list):
        return ""
    place = clean(".".join(_steps(first["loc"])), 100)
    kind = first.get("type")
    return f"{place}: {kind}" if isinstance(kind, str) and _KIND.fullmatch(kind) else place


def _steps(loc: Iterable[object]) -> Iterator[str]:
    """As far as an event's property: what lies deeper are keys of objects in the row."""
    numbered = False
    for step in loc:
        if isinstance(step, str | int):
            yield str(step)
        if numbered and isinstance(step, str):
            return
        numbered = numbered or isinstance(step, int)
