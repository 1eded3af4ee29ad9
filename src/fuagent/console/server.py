"""The console's paths: the page, what it reads, and the actions.

Whoever listens hands over every request below ``/console``, after it has looked at its host.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import unquote

import orjson
import structlog
from aiohttp import web

from fuagent.console import answers, picture
from fuagent.console.access import Access, RefusedError, make_token
from fuagent.console.feed import Feed
from fuagent.console.told import ACTIONS, ON_REJECTED, Watched
from fuagent.errors import FuagentError

BODY = 65_536
"""Bytes of a request that are read."""
NUMBERS = 1000
"""Rows set aside that one action may name."""
ACTING = 40.0
"""Seconds an action may take; rows that are sent again have to wait for their turn."""

Stay = Callable[[web.BaseRequest, float], None]
"""Lets a request's connection live for so many seconds, and counts it apart."""
Room = Callable[[web.BaseRequest, Stay], Awaitable[web.StreamResponse]]
"""What answers the requests of the console."""


class Console:
    """Everything below ``/console``.

    Args:
        watched: The agent.
        loopback: Whether only this machine can reach the address.
    """

    def __init__(self, watched: Watched, *, loopback: bool) -> None:
        self._watched = watched
        self._access = Access(make_token(), looking_is_free=loopback)
        self._feed = Feed(watched)
        self._files = answers.page_files()

    @property
    def token(self) -> str:
        """What proves that one may act."""
        return self._access.token

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the history and the streams going; when the block ends, so do they."""
        async with self._feed.running():
            yield

    async def answer(self, request: web.BaseRequest, stay: Stay) -> web.StreamResponse:
        """The answer to one request."""
        try:
            return await self._answer(request, stay)
        except RefusedError as error:
            return answers.refusal(error)

    async def _answer(self, request: web.BaseRequest, stay: Stay) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if path.startswith("/console/api/"):
            return await self._api(request, path.split("/")[3:], stay)
        _only(request, "GET", "HEAD")
        if path in {"/", "/console"}:
            return answers.moved("/console/")
        if path not in self._files:
            raise RefusedError(404, "there is no such page.", fix="The console is at /console/.")
        return answers.file(request, self._files[path])

    async def _api(self, request: web.BaseRequest, parts: list[str], stay: Stay) -> web.StreamResponse:
        match parts:
            case ["state"]:
                _only(request, "GET")
                writable = await self._access.may_look(request)
                self._feed.picture.look()
                return answers.json(self._feed.picture.whole(time.time(), writable=writable))
            case ["events"]:
                _only(request, "GET")
                writable = await self._access.may_look(request)
                return await self._feed.stream(request, stay, writable=writable)
            case ["syncs", name]:
                _only(request, "GET")
                await self._access.may_look(request)
                return answers.json(self._detail(unquote(name)))
            case ["syncs", name, action] if action in ACTIONS:
                _only(request, "POST")
                return await self._act(request, unquote(name), action, stay)
        raise RefusedError(404, "the console knows no such question.", fix="Reload the page; the agent may be newer.")

    def _detail(self, name: str) -> picture.Json:
        told = next((one for one in self._watched.syncs() if one.name == name), None)
        if told is None:
            raise RefusedError(404, "there is no such sync.", fix="It may have been taken out of the configuration.")
        return {**self._feed.picture.one(told, time.time()), **picture.detail(self._watched.detail(name))}

    async def _act(self, request: web.BaseRequest, name: str, action: str, stay: Stay) -> web.StreamResponse:
        log = structlog.get_logger().bind(sync=name, action=action, by=request.remote)
        try:
            await self._access.may_act(request)
            numbers = _numbers(await _body(request), action)
            if name not in [one.name for one in self._watched.syncs()]:
                raise RefusedError(
                    404, "there is no such sync.", fix="It may have been taken out of the configuration."
                )
            stay(request, ACTING)
            said = await self._watched.act(name, action, numbers)
        except RefusedError as error:
            log.warning("action refused", status=error.status, problem=error.what)
            raise
        except FuagentError as error:
            log.warning("action failed", problem=error.what, numbers=numbers)
            raise RefusedError(409, error.what, where=error.where, fix=error.fix) from error
        log.info("action", numbers=numbers, said=said)
        return answers.json({"done": said})


def _only(request: web.BaseRequest, *methods: str) -> None:
    if request.method not in methods:
        raise RefusedError(405, f"this takes {' and '.join(methods)}.")


async def _body(request: web.BaseRequest) -> dict[str, object]:
    if (request.content_length or 0) > BODY:
        raise RefusedError(413, "this is longer than any action.")
    try:
        body = orjson.loads(await request.read() or b"{}")
    except web.HTTPRequestEntityTooLarge:
        raise RefusedError(413, "this is longer than any action.") from None
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise RefusedError(400, "the body is no JSON object.")
    return body


def _numbers(body: dict[str, object], action: str) -> list[int] | None:
    """The rows an action concerns; None for one that concerns no row."""
    if body.get("table") is not None:
        raise RefusedError(400, "a snapshot is of the whole sync.", fix="Leave table out, or null.")
    if action not in ON_REJECTED:
        return None
    numbers = body.get("numbers")
    if not isinstance(numbers, list) or not 0 < len(numbers) <= NUMBERS:
        raise RefusedError(400, f"numbers is a list of one to {NUMBERS} rows.")
    if not all(type(one) is int and 0 < one < 2**53 for one in numbers):
        raise RefusedError(400, "numbers holds something that is no number of a row.")
    return numbers
