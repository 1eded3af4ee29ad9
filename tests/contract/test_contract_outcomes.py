"""Every row of the table of answers, played over real HTTP against a running agent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fuagent.contract import outcome
from fuagent.model import Verdict
from harness import shop
from harness.agent import Agent, config, until
from harness.service import Request, Service

STATE = {
    Verdict.RETRY: "retrying",
    Verdict.WRONG_ANSWER: "wrong answer",
    Verdict.UNAUTHORISED: "unauthorised",
    Verdict.HALT: "halted",
}
ROWS = 6
LASTING = 1000
"""Times that an answer is given which the test ends as soon as its state was seen: a wait may be as short as chance likes."""


@dataclass
class Play:
    """How one row of the table is brought about."""

    bend: Callable[[Service], Awaitable[None]]
    words: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)


def status(number: int, times: int = LASTING, **headers: str) -> Play:
    """The first POSTs are answered with this status."""

    async def bend(service: Service) -> None:
        async def answer(_request: Request) -> web.Response:
            return web.json_response({"detail": "no"}, status=number, headers=headers)

        service.script.extend([answer] * times)

    return Play(bend, (str(number),))


def body(text: str, number: int = 200) -> Play:
    """The first POSTs are answered with this page."""

    async def bend(service: Service) -> None:
        async def answer(_request: Request) -> web.Response:
            return web.Response(text=text, status=number, content_type="text/html")

        service.script.extend([answer] * LASTING)

    return Play(bend, ("page",))


async def _taken_for_later(service: Service) -> None:
    async def answer(request: Request) -> web.Response:
        service.apply(request)
        return web.Response(status=202)

    service.script.append(answer)


async def _too_large(service: Service) -> None:
    async def answer(request: Request) -> web.Response | None:
        return web.Response(status=413) if len(request.json["events"]) > 2 else None

    service.answer = answer


async def _talkative(service: Service) -> None:
    async def answer(request: Request) -> web.Response | None:
        many = len(request.json["events"]) > 2
        return web.json_response({"rejected": [], "words": "x" * outcome.BODY_LIMIT}) if many else None

    service.answer = answer


async def _half_an_answer(service: Service) -> None:
    async def answer(_request: Request) -> web.Response:
        return web.Response(text='{"rejected": [')

    service.script.extend([answer] * LASTING)


async def _no_empty(service: Service) -> None:
    async def answer(request: Request) -> web.Response | None:
        return web.Response(status=422) if not request.json["events"] else None

    service.answer = answer


async def _reset(service: Service) -> None:
    async def answer(request: Request) -> web.Response:
        assert request.raw.transport is not None
        request.raw.transport.abort()
        return web.Response()

    service.script.extend([answer] * LASTING)


async def _silence(service: Service) -> None:
    async def answer(_request: Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    service.script.extend([answer] * LASTING)


PLAYS: dict[str, Play] = {
    "2xx": status(299, 0),
    "202": Play(_taken_for_later),
    "3xx": status(302, location="/elsewhere"),
    "400, 409, 422": status(422),
    "401, 403": status(403),
    "404": status(404),
    "405": status(405),
    "407": status(407),
    "408, 425, 429, 5xx": status(503, **{"retry-after": "1"}),
    "410": status(410),
    "413": Play(_too_large),
    "other 4xx": status(451),
    "2xx with a page": body("<html><title>Sign in</title></html>"),
    "2xx too long to be read, where it may name rejected rows": Play(_talkative, settings={"accept_rejected": True}),
    "2xx that cannot be read, where it may name rejected rows": Play(
        _half_an_answer, ("cannot be read",), {"accept_rejected": True}
    ),
    "400, 409, 413, 422 to a batch without events": Play(_no_empty, ("events",)),
    "timeout": Play(_silence, ("time",), {"timeout": 2}),
    "reset": Play(_reset, ("connection",)),
}
ELSEWHERE = {
    "2xx that names rejected rows": "tests/e2e: rows set aside, and a halt",
    "anything else": "no HTTP server can be made to answer it; the reader's unit tests hold it",
    "no connection": "tests/e2e: a service that is down at start",
    "TLS failure": "tests/unit/pushers: real certificates",
    "2xx before the body was read": "tests/unit/pushers: a raw socket",
    "no such host": "tests/unit/pushers: a name that does not resolve",
    "proxy refuses": "tests/unit/pushers: a refusing proxy",
}


def test_every_row_is_played() -> None:
    """No row of the table is without a test."""
    names = {row.answer for row in outcome.ROWS}

    assert names == PLAYS.keys() | ELSEWHERE.keys()


@pytest.mark.parametrize("row", [row for row in outcome.ROWS if row.answer in PLAYS], ids=lambda row: row.answer)
@pytest.mark.fault("F77", "F80", "F81", "F82", "F83", "F86")
async def test_the_answer_does_what_the_table_says(row: outcome.Row, tmp_path: Path) -> None:
    """The state is the verdict's, the reason is shown; what passes by itself ends with every row delivered once."""
    play = PLAYS[row.answer]
    database = shop.make(tmp_path / "shop.db", ROWS)
    async with Service() as service:
        settings = config(tmp_path / "shop.db", service.openapi, sync={"on_reject": "halt", **play.settings})
        await play.bend(service)
        async with Agent(tmp_path, settings) as agent:
            await agent.start()
            wanted = "halted" if row.verdict is Verdict.REJECTED else STATE.get(row.verdict)
            if wanted:
                seen = await agent.state(wanted)
                service.script.clear()

                assert all(word in seen["problem"] for word in play.words), seen["problem"]
            if wanted == "halted":
                return
            await until(lambda: service.rows == shop.rows(database) and service.ends == 1, "everything arrives")
            await agent.state("caught up")
        applied = [post for post in service.posts if post.applied]

        assert [event["id"] for post in applied for event in post.json["events"]] == list(range(1, ROWS + 1))
        _same_bytes(row, service)


def _same_bytes(row: outcome.Row, service: Service) -> None:
    """What failed and what was taken in its place are the same request."""
    if row.verdict in (Verdict.RETRY, Verdict.WRONG_ANSWER, Verdict.UNAUTHORISED):
        first, *_ = service.posts
        again = next(post for post in service.posts if post.applied)

        assert (first.body, first.headers["idempotency-key"]) == (again.body, again.headers["idempotency-key"])
