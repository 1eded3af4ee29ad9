"""The wire between the agent and the service: the real pusher, on a connection that may do anything.

It stands where the pusher has its HTTP client, so everything from a batch to headers and
body, and from an answer to an outcome, is the real thing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import orjson
from simulated_service import STATUS, Answer, Request

from fuagent.contract import document, spec
from fuagent.contract.outcome import Fault
from fuagent.contract.spec import Service
from fuagent.pushers.client import Reply
from fuagent.pushers.faults import Broken
from fuagent.pushers.openapi import OpenAPI

ORIGIN = "http://service.example"
KEY = "the-key-of-the-service"
TIMEOUT = 30.0

LOST_REQUEST = "the request is lost"
LOST_REPLY = "the reply is lost"
REFUSED = "no connection"
STALLED = "the request stalls"
DRIP = "the reply drips"
EARLY = "answered before the body was read"
MISSING = "404 for a moment"
ANSWERS: dict[str, Answer] = {
    "500": Answer(500, b'{"detail":"oh"}'),
    "503": Answer(503),
    "503 with Retry-After": Answer(503, headers=(("retry-after", "90"),)),
    "429": Answer(429, headers=(("retry-after", "3"),)),
    "408": Answer(408),
    "401": Answer(401),
    "302": Answer(302, headers=(("location", f"{ORIGIN}/login"),)),
    "a page": Answer(200, b"<html>soon back</html>", headers=(("content-type", "text/html"),)),
}
APPLIED = ("503",)
"""Answers that may come from a service that took the batch all the same."""
FAULTS = (LOST_REQUEST, LOST_REPLY, LOST_REPLY, REFUSED, STALLED, DRIP, EARLY, *ANSWERS)


class Wire:
    """Implements what the pusher asks of ``fuagent.pushers.client.Client``."""

    def __init__(self, world) -> None:
        self._world = world

    async def show(self, credential) -> None:
        """A new credential is no matter here."""

    async def close(self) -> None:
        """Nothing is held open."""

    async def get(self, url: str, headers: Sequence[tuple[str, str]] = (), limit: int = 0) -> Reply | Broken:
        return await self._exchange(Request("GET", url, tuple(headers), b""))

    async def post(self, url: str, headers: Sequence[tuple[str, str]], body: bytes) -> Reply | Broken:
        return await self._exchange(Request("POST", url, tuple(headers), body))

    async def _exchange(self, request: Request) -> Reply | Broken:
        world = self._world
        world.oracle.leaves(request)
        try:
            fault = world.fault(request)
            answer = await self._travel(request, fault)
        finally:
            world.oracle.is_back(request)
        world.oracle.answered(request, answer)
        world.told(f"{request.method} {request.url} {request.body!r} -> {fault or ''} {answer}")
        world.step("wire: back")
        return answer

    async def _travel(self, request: Request, fault: str) -> Reply | Broken:
        world = self._world
        world.step("wire: leaves")
        if fault == REFUSED:
            return Broken(Fault.CONNECT)
        await (world.clock.sleep(world.latency) if world.latency else asyncio.sleep(0))
        world.step("wire: arrives")
        if fault == LOST_REQUEST:
            return Broken(Fault.RESET)
        if fault == STALLED:
            await world.clock.sleep(TIMEOUT)
            return Broken(Fault.TIMEOUT)
        if fault == EARLY:
            return Broken(Fault.EARLY_ANSWER, "200")
        answer = self._answer(request, fault)
        world.step("wire: answered")
        await asyncio.sleep(0)
        if fault == LOST_REPLY:
            return Broken(Fault.RESET)
        if fault == DRIP:
            await world.clock.sleep(TIMEOUT)
            return Broken(Fault.TIMEOUT)
        return Reply(answer.status, dict(answer.headers), answer.body, request.url)

    def _answer(self, request: Request, fault: str) -> Answer:
        world = self._world
        if fault == MISSING:
            return Answer(404)
        if fault in ANSWERS:
            if fault in APPLIED and world.random.random() < 0.5:
                world.service.answer(request)
            return ANSWERS[fault]
        return world.service.answer(request)


class Pusher(OpenAPI):
    """The real pusher of a service whose document is at hand."""

    def __init__(self, context, world) -> None:
        super().__init__(context)
        self._client = Wire(world)
        self._world = world

    async def _find(self) -> Service:
        self._world.step("wire: the document")
        read = document.read(_document(status=self._world.service.remembers), f"{ORIGIN}/openapi.json")
        return spec.service(read, self._settings)


def _document(*, status: bool) -> bytes:
    server = {"url": ORIGIN} | ({"x-fuagent-status-endpoint": STATUS} if status else {})
    post = {"post": {"requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}}}}
    return orjson.dumps(
        {
            "openapi": "3.1.0",
            "info": {"title": "a service", "version": "1"},
            "servers": [server],
            "paths": {"/ingest-batch": post, "/ingest/{table}": post, STATUS: {"get": {}}},
        }
    )
