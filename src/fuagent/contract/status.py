"""The checkpoint question and its answers.

``GET <status endpoint>?task_id=…&agent_id=…`` gives the last index the service
processed, as a bare integer or as ``{"index": n}``, or 404 for none.

Three kinds of answer are kept apart. A clear index or a clear "none" is
believed. A clear answer that cannot be an index halts the sync: going on would
mean guessing, and a wrong guess loses rows or sends everything again. All else
(5xx, a page, a redirect) says nothing about the checkpoint and is asked again;
above all it never counts as "none".

Numbers are read from their text with a limit on the digits, never through a
float: beyond 2^53 two different integers are the same float.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from urllib.parse import quote as percent

from fuagent.contract import retry_after
from fuagent.contract.outcome import BODY_LIMIT, REDIRECT, SUCCESS, TRANSIENT, UNAUTHORISED, is_page, strip_bom
from fuagent.contract.text import address, clean
from fuagent.errors import MENDED_CREDENTIAL, HaltSyncError, TryAgainError, UnauthorisedError, WrongAnswerError
from fuagent.model import INDEX_MAX, Answer, Checkpoint

WANTED = (
    'the service must answer 200 with the last index it stored, as 42 or {"index": 42} '
    f"(an integer from 1 to {INDEX_MAX}), or 404 if it has none"
)
_DIGITS = 40
"""Longest number that is looked at; 2^53 has 16 digits."""


def query(task_id: str, agent_id: str) -> str:
    """The query string of the question, percent-encoded."""
    return (
        f"task_id={percent(task_id, safe='', errors='replace')}&agent_id={percent(agent_id, safe='', errors='replace')}"
    )


def read(status: int, headers: Mapping[str, str], body: bytes, *, url: str, now: float) -> Checkpoint:
    """Read the answer to the question.

    Args:
        status: The status code as it came.
        headers: The answer's headers, names in lower case.
        body: The answer's body, at least its first 64 KiB, without content decoding.
        url: Where it was asked, for messages; only scheme, host and path are shown.
        now: Unix time, to read a date in ``Retry-After``.

    Raises:
        HaltSyncError: a clear answer that cannot be an index.
        TryAgainError: not a clear answer; also as UnauthorisedError and WrongAnswerError.
    """
    where = address(url)
    if status == 404:
        return Checkpoint(Answer.NONE)
    if status == 200 and _says_something(headers, body):
        return _index(body, where)
    raise _unclear(status, headers, body, where, now)


def _says_something(headers: Mapping[str, str], body: bytes) -> bool:
    coded = headers.get("content-encoding", "").strip().lower() not in {"", "identity"}
    return bool(body.strip()) and not coded and not is_page(headers, body)


def _unclear(status: int, headers: Mapping[str, str], body: bytes, where: str, now: float) -> TryAgainError:
    wait = retry_after.seconds(headers.get("retry-after"), now)
    if status in UNAUTHORISED:
        what = f"the status endpoint refuses the credential ({status})"
        fix = f"check the pusher's credential; {MENDED_CREDENTIAL}"
        return UnauthorisedError(what, where=where, fix=fix, retry_after=wait)
    if status in TRANSIENT:
        return TryAgainError(f"the status endpoint answers {status}", where=where, retry_after=wait)
    if status in REDIRECT:
        what = f"the status endpoint redirects ({status}) to where it cannot be followed"
        return WrongAnswerError(what, where=where, fix="put the final URL into the document", retry_after=wait)
    if status in SUCCESS and not is_page(headers, body):
        what = f"the status endpoint answers {status} without a readable body, which says neither an index nor none"
        return TryAgainError(what, where=where, fix=WANTED, retry_after=wait)
    what = f"a page answers ({status}) in the service's place" if status in SUCCESS else f"{status} is no answer"
    fix = f"check x-fuagent-status-endpoint and what stands before the service; {WANTED}"
    return WrongAnswerError(f"{what} to the checkpoint question", where=where, fix=fix, retry_after=wait)


_HARMLESS = re.compile(r".{0,4}|[0-9 .,:TZ+-]{1,32}", re.ASCII | re.DOTALL)


def _shown(text: str, otherwise: str) -> str:
    """A very short text, or a number or time, in quotes; anything else may be the key, echoed, and is not repeated."""
    return f'"{clean(text)}"' if _HARMLESS.fullmatch(text) else otherwise


class _NotAnIndexError(ValueError):
    """Why a value is no index, in words that fit behind "the status endpoint answers"."""


@dataclass(frozen=True, slots=True)
class _Number:
    """A JSON number as its text, not yet believed."""

    text: str


@dataclass(frozen=True, slots=True)
class _Object:
    """A JSON object with its keys as they came, so that a repeated one is seen."""

    pairs: tuple[tuple[str, object], ...]


def _index(body: bytes, where: str) -> Checkpoint:
    try:
        return Checkpoint(Answer.INDEX, _number(_member(_parse(body))))
    except _NotAnIndexError as error:
        raise HaltSyncError(f"the status endpoint answers {error}", where=where, fix=WANTED) from None


def _parse(body: bytes) -> object:
    if len(body) > BODY_LIMIT:
        raise _NotAnIndexError(f"more than {BODY_LIMIT} bytes")
    try:
        return _DECODER.decode(strip_bom(body).decode("utf-8"))
    except (ValueError, RecursionError):
        told = _shown(body[:BODY_LIMIT].decode("utf-8", "replace"), f"{len(body)} bytes")
        raise _NotAnIndexError(f"{told}, which is not JSON") from None


def _constant(_name: str) -> object:
    raise ValueError


_DECODER = json.JSONDecoder(
    parse_int=_Number,
    parse_float=_Number,
    parse_constant=_constant,
    object_pairs_hook=lambda pairs: _Object(tuple(pairs)),
)


def _member(value: object) -> object:
    """The value that should be the index: the answer itself, or its member ``index``."""
    if not isinstance(value, _Object):
        return value
    names = [name for name, _ in value.pairs]
    if len(set(names)) < len(names):
        raise _NotAnIndexError("an object in which a key stands twice")
    if "index" not in names:
        shown = clean(", ".join(f'"{name}"' for name in names[:10])) or "none"
        raise _NotAnIndexError(f'an object without "index" (its keys: {shown})')
    return dict(value.pairs)["index"]


def _number(value: object) -> int:
    if not isinstance(value, _Number):
        raise _NotAnIndexError(f"{_in_words(value)}, which is no index")
    shown = clean(value.text, _DIGITS)
    try:
        number = Decimal(value.text) if len(value.text) <= _DIGITS else None
    except InvalidOperation:
        number = None
    if number is None or number > INDEX_MAX:
        raise _NotAnIndexError(f"{shown}, which is larger than any index ({INDEX_MAX}) or cannot be one")
    if number < 0:
        raise _NotAnIndexError(f"{shown}, which is negative")
    if number != number.to_integral_value():
        raise _NotAnIndexError(f"{shown}, which is not a whole number")
    return int(number)


def _in_words(value: object) -> str:
    match value:
        case str():
            return f"the string {_shown(value, f'of {len(value)} characters')}"
        case list():
            return "an array"
        case _Object():
            return "an object"
        case _:
            return json.dumps(value)
