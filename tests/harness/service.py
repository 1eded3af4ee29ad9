"""A real HTTP service in the test's own process: keeps rows and checkpoint, remembers every request.

By default it is a good one: rows and checkpoint change together, what carries an
index at or below the checkpoint is not applied twice, deletes come as marks. A
test bends it by putting answers into ``script`` (used up one after the other by
POSTs) or by replacing ``answer``.
"""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from harness.server import free_port

Answer = Callable[["Request"], Awaitable[web.StreamResponse | None]]


@dataclass
class Request:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    raw: web.Request = field(repr=False)
    status: int = 0
    applied: bool = False

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def document(*, status: str | None = "/fuagent-sync-status", servers: bool = True, **items: Any) -> dict[str, Any]:
    """An OpenAPI document of such a service; ``items`` go into the event schema."""
    schema = {"type": "object", "properties": {"events": {"type": "array", "items": {"type": "object", **items}}}}
    server: dict[str, Any] = {"url": "/"}
    if status:
        server["x-fuagent-status-endpoint"] = status
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "test", "version": "1"},
        "paths": {
            "/ingest-batch": {
                "post": {
                    "requestBody": {"content": {"application/json": {"schema": schema}}},
                    "responses": {"200": {"description": "taken"}},
                }
            }
        },
    }
    return {**found, "servers": [server]} if servers else found


class Service:
    """The service; ``async with`` runs it on a free port, of the loopback address unless told otherwise."""

    def __init__(
        self, doc: dict[str, Any] | None = None, *, key: str | None = "k-1234", port: int = 0, host: str = "127.0.0.1"
    ) -> None:
        self.document: Any = doc or document(**{"x-fuagent-delete-field": "_deleted"})
        self.key = key
        self.host = host
        self.port = port
        self.requests: list[Request] = []
        self.posts: list[Request] = []
        self.script: deque[Answer | int] = deque()
        self.answer: Answer | None = None
        self.answer_status: Answer | None = None
        self.rejects: dict[Any, str] = {}
        """Ids of the rows that it names as rejected in its 2xx, with its reason; it takes the others."""
        self.rows: dict[Any, dict[str, Any]] = {}
        self.versions: list[tuple[int | None, dict[str, Any]]] = []
        """Every event applied, in order, with its index."""
        self.checkpoint = 0
        self.ends = 0
        self.reply: dict[str, Any] | None = {"snapshot_needed": False}
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Base address."""
        return f"http://{self.host}:{self.port}"

    @property
    def openapi(self) -> str:
        """Address of the document."""
        return f"{self.url}/openapi.json"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        self.port = self.port or free_port()
        await web.TCPSite(self._runner, self.host, self.port, reuse_address=True).start()

    async def stop(self) -> None:
        """Stop listening; the data stay."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def events(self) -> list[dict[str, Any]]:
        """All events of requests that were answered 2xx, in order."""
        return [event for post in self.posts if 200 <= post.status < 300 for event in post.json["events"]]

    async def _handle(self, raw: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in raw.headers.items()}
        request = Request(raw.method, raw.path, dict(raw.query), headers, await raw.read(), raw)
        self.requests.append(request)
        response = await self._answer(request)
        request.status = response.status
        return response

    async def _answer(self, request: Request) -> web.StreamResponse:
        if request.path == "/openapi.json":
            if isinstance(self.document, dict):
                return web.json_response(self.document)
            return web.Response(body=self.document, content_type="text/html")
        if request.method == "POST":
            return await self._post(request)
        if self.answer_status is not None and (answer := await self.answer_status(request)) is not None:
            return answer
        if not self._known(request):
            return web.json_response({"detail": "no"}, status=401)
        if not self.checkpoint:
            return web.json_response({"detail": "none"}, status=404)
        return web.json_response({"index": self.checkpoint})

    async def _post(self, request: Request) -> web.StreamResponse:
        self.posts.append(request)
        if self.script:
            step = self.script.popleft()
            if isinstance(step, int):
                return web.json_response({"detail": "scripted"}, status=step)
            if (answer := await step(request)) is not None:
                return answer
        if self.answer is not None and (answer := await self.answer(request)) is not None:
            return answer
        if not self._known(request):
            return web.json_response({"detail": "no"}, status=401)
        self.apply(request)
        if named := [
            (at, event["id"]) for at, event in enumerate(request.json["events"]) if event["id"] in self.rejects
        ]:
            rejected = [{"row": at, "reason": self.rejects[id_]} for at, id_ in named]
            return web.json_response({**(self.reply or {}), "rejected": rejected})
        return web.json_response(self.reply) if self.reply is not None else web.Response(status=204)

    def _known(self, request: Request) -> bool:
        if self.key is None:
            return True
        basic = "Basic " + base64.b64encode(f"user:{self.key}".encode()).decode()
        given = request.headers.get("authorization", "")
        return given == basic or (request.headers.get("x-api-key") == self.key and given == f"Bearer {self.key}")

    def apply(self, request: Request) -> None:
        """Take the rows in, and the checkpoint with them."""
        request.applied = True
        body = request.json
        self.ends += body["is_snapshot_end"]
        for event in body["events"]:
            index = event.get("index")
            if (index is not None and index <= self.checkpoint) or event.get("id") in self.rejects:
                continue
            row = {name: value for name, value in event.items() if name not in ("index", "_deleted")}
            self.versions.append((index, event))
            if event.get("_deleted"):
                self.rows.pop(row.get("id"), None)
            else:
                self.rows[row.get("id")] = row
        indexes = [event["index"] for event in body["events"] if "index" in event]
        self.checkpoint = max([self.checkpoint, *indexes])
