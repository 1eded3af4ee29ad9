"""A service that keeps the contract, and the same with one fault planted, over real HTTP on a port of its own."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import struct
from typing import Any, Self

from aiohttp import web

KEY = "the right key"
USER, PASSWORD = "fuagent", "pässword:1"
NAMED = {"id", "name", "email", "visits", "settings"}

HTML = web.Response(text="<!doctype html><title>Log in</title>", content_type="text/html").text


class Refused(Exception):  # noqa: N818 - it is an answer, not a defect
    """An answer that ends the request at once."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text)
        self.status = status


def document(fault: str) -> dict[str, Any]:
    """What the service says of itself."""
    server = {"url": "/v1", "x-fuagent-status-endpoint": "/fuagent-sync-status"}
    if fault == "the document names no status endpoint":
        del server["x-fuagent-status-endpoint"]
    if fault == "the document names a server elsewhere":
        server["url"] = "https://elsewhere.example.org/v1"
    properties = {
        "id": {"type": "integer"},
        "name": {"type": "string"},
        "email": {"type": ["string", "null"]},
        "visits": {"type": "integer"},
        "settings": {"type": "object"},
        "index": {"type": "integer"},
    }
    event = {"type": "object", "properties": properties, "required": ["id", "name"]}
    if fault == "the document allows no other columns":
        event["additionalProperties"] = False
    body = {"type": "object", "properties": {"events": {"type": "array", "items": event}}}
    if fault == "the document wants what is never sent":
        body["required"] = ["events", "checksum"]
    content = {"application/json": {"schema": body}}
    taken = {"200": {"description": "taken"}}
    path = "/rows" if fault == "the document has another path" else "/ingest-batch"
    paths: dict[str, Any] = {path: {"post": {"requestBody": {"content": content}, "responses": taken}}}
    if fault == "the path names a server of its own":
        paths[path]["post"]["servers"] = [{"url": "/v2"}]
    if fault != "the document leaves the status path out":
        paths["/fuagent-sync-status"] = {"get": {"responses": taken}}
    told = {"openapi": "3.1.0", "info": {"title": "test", "version": "1"}, "servers": [server], "paths": paths}
    if fault == "the key belongs into the query too":
        scheme = {"type": "apiKey", "in": "query", "name": "api_key"}
        told |= {"components": {"securitySchemes": {"key": scheme}}, "security": [{"key": []}]}
    return told


class BrokenService:
    """Serves from ``async with`` on; ``fault`` "" keeps the contract. ``basic``: user and password, not a key."""

    def __init__(self, fault: str = "", *, basic: bool = False, tls: ssl.SSLContext | None = None) -> None:
        self.fault = fault
        self.basic = basic
        self.tls = tls
        self.checkpoints: dict[tuple[str, ...], int] = {}
        self.busy: set[str] = set()
        self.events = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_get("/openapi.json", self.describe)
        application.router.add_get("/moved.json", self.move)
        application.router.add_get("/round.json", self.move)
        application.router.add_post("/v1/ingest-batch", self.take)
        application.router.add_get("/v1/fuagent-sync-status", self.tell)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls)
        await site.start()
        scheme = "https" if self.tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def describe(self, request: web.Request) -> web.Response:
        if self.fault == "the document is a page":
            return web.Response(text=str(HTML), content_type="text/html")
        if self.fault == "the document wants the key":
            try:
                self.admit(request, "")
            except Refused as refused:
                return web.json_response({}, status=refused.status)
        return web.json_response(document(self.fault))

    async def move(self, request: web.Request) -> web.Response:
        target = "/openapi.json" if request.path == "/moved.json" else "/round.json"
        return web.Response(status=307, headers={"location": target})

    def admit(self, request: web.Request, where: str) -> None:
        """Let nobody in who does not prove who it is."""
        header = request.headers.get("authorization", "")
        given = header if self.basic else request.headers.get("x-api-key", "")
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        right = f"Basic {pair}" if self.basic else KEY
        if self.fault == "the key belongs into the query too" and request.query.get("api_key") != KEY:
            raise Refused(401)
        if given == right:
            return
        lax = {
            "a wrong key is taken": bool(given),
            "no key is taken": not given,
            "a wrong key may ask": bool(given) and where == "status",
            "no key may ask": not given and where == "status",
        }
        if lax.get(self.fault):
            return
        raise Refused(404 if self.fault == "a stranger gets 404" else 401)

    async def take(self, request: web.Request) -> web.Response:
        if self.fault == "batches are redirected":
            return web.Response(status=307, headers={"location": "/v1/elsewhere"})
        try:
            self.admit(request, "batch")
            status, answer = await self.stored(request)
        except Refused as refused:
            return web.json_response({"detail": str(refused)}, status=refused.status)
        return self.answer(status, answer)

    def answer(self, status: int, answer: dict[str, Any]) -> web.Response:
        match self.fault:
            case "a page answers":
                return web.Response(text=str(HTML), content_type="text/html")
            case "the answer is a word":
                return web.Response(text="ok")
            case "the answer is no object":
                return web.json_response([])
            case "the answer does not say what it is":
                return web.Response(text=json.dumps(answer), content_type="text/plain")
            case "the answer is 202":
                return web.json_response(answer, status=202)
            case _:
                return web.json_response(answer, status=status)

    async def stored(self, request: web.Request) -> tuple[int, dict[str, Any]]:
        length = request.content_length or 0
        # What has more than a packet takes several also when it is sent at once.
        if self.fault == "a slow body is refused" and length < 1000 and not request.content.is_eof():
            first = await request.content.readany()
            if len(first) < length:
                raise Refused(400, "the body is not whole")
            request._read_bytes = first
        batch = self.parsed(await request.read())
        await self.refuse(batch)
        if self.fault == "a large batch hangs" and len(batch["events"]) > 1000:
            await asyncio.sleep(60)
        if self.fault == "the end marker cuts the connection" and batch["is_snapshot_end"]:
            assert request.transport is not None
            request.transport.abort()
        await self.concurrently(batch)
        self.remember(batch)
        self.events += len(batch["events"])
        if batch["snapshot_sync_suggested"]:
            return 200, {"snapshot_needed": "true" if self.fault == "a wish is a text" else True}
        return 200, {"snapshot_needed": False}

    def parsed(self, body: bytes) -> dict[str, Any]:
        try:
            batch = json.loads(body)
        except ValueError as error:
            if self.fault == "500 on broken JSON":
                raise Refused(500) from error
            if self.fault == "200 on broken JSON":
                raise Refused(200) from error
            raise Refused(400) from error
        fits = isinstance(batch, dict) and isinstance(batch.get("events"), list)
        if not (fits and all(isinstance(event, dict) for event in batch["events"])):
            raise Refused(
                {"200 on JSON that is no batch": 200, "500 on JSON that is no batch": 500}.get(self.fault, 422)
            )
        return batch

    async def refuse(self, batch: dict[str, Any]) -> None:
        """What this service wrongly cannot take."""
        events = batch["events"]
        text = json.dumps(events)
        names = set().union(*events)
        keys = [event.get("id") for event in events]
        broken = {
            "500 on an empty batch": (
                500,
                not events and not (batch["is_snapshot_end"] or batch["snapshot_sync_suggested"]),
            ),
            "400 on the end marker": (400, batch["is_snapshot_end"]),
            "422 without an index": (422, any("index" not in event for event in events)),
            "500 on unicode": (500, "\\ud83d" in text),
            "500 on control characters": (500, "\\u0001" in text),
            "422 on unknown fields": (422, bool(names - NAMED - {"index"})),
            "500 on a large batch": (500, len(events) > 1000),
            "500 on large integers": (500, any(event.get("visits", 0) > 2**31 for event in events)),
            "500 on nested values": (500, any(event.get("settings", {}) for event in events)),
            "500 on the same row twice": (500, len(set(keys)) < len(keys)),
            "500 on a suggestion": (500, batch["snapshot_sync_suggested"]),
            "500 on everything": (500, True),
            "a repeated row is a conflict": (409, self.fault.startswith("a repeated") and self.seen(batch)),
        }
        status, is_met = broken.get(self.fault, (0, False))
        if is_met:
            raise Refused(status)

    def seen(self, batch: dict[str, Any]) -> bool:
        """Whether a row with this index was here before."""
        place = (batch["agent_id"], batch["task_id"])
        return any(event.get("index", 0) == self.checkpoints.get(place) for event in batch["events"])

    async def concurrently(self, batch: dict[str, Any]) -> None:
        if self.fault != "500 with two tasks at once":
            return
        if self.busy:
            raise Refused(500, "database is locked")
        self.busy.add(batch["task_id"])
        await asyncio.sleep(0.02)
        self.busy.discard(batch["task_id"])

    def place(self, agent: str, task: str) -> tuple[str, ...]:
        match self.fault:
            case "agents share a checkpoint":
                return (task,)
            case "tasks share a checkpoint":
                return (agent,)
            case _:
                return (agent, task)

    def remember(self, batch: dict[str, Any]) -> None:
        indexes = [event["index"] for event in batch["events"] if "index" in event]
        if not indexes:
            if self.fault == "a row without an index takes the checkpoint back":
                self.checkpoints[self.place(batch["agent_id"], batch["task_id"])] = 0
            return
        place = self.place(batch["agent_id"], batch["task_id"])
        reached = self.checkpoints.get(place, 0)
        match self.fault:
            case "a replay takes the checkpoint back":
                self.checkpoints[place] = max(indexes)
            case "the last index counts, not the largest":
                self.checkpoints[place] = max(reached, indexes[-1])
            case "the checkpoint stays at the first":
                self.checkpoints.setdefault(place, max(indexes))
            case "the checkpoint is kept as a 32-bit float":
                self.checkpoints[place] = int(struct.unpack("f", struct.pack("f", max(reached, *indexes, 0)))[0])
            case "the checkpoint is kept as text of 15 digits":
                self.checkpoints[place] = int(float(f"{max(reached, *indexes, 0):.14e}"))
            case _:
                self.checkpoints[place] = max(reached, *indexes)

    async def tell(self, request: web.Request) -> web.Response:
        try:
            self.admit(request, "status")
        except Refused as refused:
            return web.json_response({"detail": "no"}, status=refused.status)
        index = self.checkpoints.get(self.place(request.query["agent_id"], request.query["task_id"]))
        if index is None:
            none = {"200 with null for none": None, "200 with 0 for none": 0, "200 with {} for none": {}}
            if self.fault in none:
                return web.json_response(none[self.fault])
            return web.json_response({"detail": "none"}, status=500 if self.fault == "500 for none" else 404)
        shapes = {
            "the checkpoint is a text": {"index": str(index)},
            "the checkpoint is called otherwise": {"checkpoint": index},
            "the checkpoint is bare": index,
            "the checkpoint has a fraction": index + 0.5,
        }
        return web.json_response(shapes.get(self.fault, {"index": index}))
