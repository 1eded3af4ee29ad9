"""The service of a soak: a process of its own that judges what it gets, and behaves badly when it is told to.

    python tests/soak/soak_service.py

It prints its port. Below ``/soak/`` whoever runs the soak asks what was seen and says what is to go wrong; all else
is what an agent meets. It ends with its input.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # run by path, without pytest's settings

import orjson
from aiohttp import web
from soak_judge import Judge

from harness.service import document

KEY = "k-1234"
LARGE = 5
"""Events a batch may have while larger ones are refused."""
REFUSALS = {"500", "503", "429"}
Answer = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


class CheckingService:
    """One agent's service. ``fate`` is what happens to batches until ``until``."""

    def __init__(self) -> None:
        self.judge = Judge()
        self.port = 0
        self.fate = ""
        self.until = 0.0
        self.under_way: dict[str, web.Request] = {}
        """The request each start of the agent has under way."""
        self._runner: web.AppRunner | None = None
        self._fates: dict[str, Answer] = {
            "slow": self._slowly,
            "hang": self._never,
            "reset": self._reset,
            "lost": self._lost_reply,
        }

    async def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/openapi.json", self._document)
        app.router.add_get("/fuagent-sync-status", self._status)
        app.router.add_post("/ingest-batch", self._batch)
        app.router.add_get("/soak/report", self._report)
        app.router.add_get("/soak/rows", self._rows)
        app.router.add_post("/soak/fate", self._set_fate)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Refuse connections and end those there are; what is known stays."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _set_fate(self, request: web.Request) -> web.Response:
        wanted = orjson.loads(await request.read())
        if wanted["fate"] == "down":
            asyncio.get_running_loop().create_task(self._go_down(wanted["seconds"]))
        else:
            self.fate, self.until = wanted["fate"], time.monotonic() + wanted["seconds"]
        return web.Response()

    async def _go_down(self, seconds: float) -> None:
        await asyncio.sleep(0.05)  # this order's own answer goes out before
        await self.stop()
        await asyncio.sleep(seconds)
        await self.start()

    async def _report(self, _request: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps(self.judge.report()), content_type="application/json")

    async def _rows(self, _request: web.Request) -> web.Response:
        body = {
            "rows": list(self.judge.rows.values()),
            "versions": [(k, v.version) for k, v in self.judge.keys.items()],
        }
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    async def _document(self, _request: web.Request) -> web.Response:
        return web.json_response(document(**{"x-fuagent-delete-field": "_deleted"}))

    async def _status(self, request: web.Request) -> web.Response:
        if request.headers.get("x-api-key") != KEY:
            return web.Response(status=401)
        if self._fated() in REFUSALS:
            return web.Response(status=int(self.fate))
        if not self.judge.checkpoint:
            return web.Response(status=404)
        return web.json_response({"index": self.judge.checkpoint})

    def _fated(self) -> str:
        return self.fate if time.monotonic() < self.until else ""

    async def _batch(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.headers.get("x-api-key") != KEY:
            return web.Response(status=401)
        start = self._key(request).partition(".")[0]
        other = self.under_way.get(start)
        if other is not None and not _is_gone(other):
            self.judge.fault("two at once", f"batch {self._key(request)} came while {self._key(other)} was under way")
        self.under_way[start] = request
        try:
            return await self._answer(request, body)
        finally:
            if self.under_way.get(start) is request:
                del self.under_way[start]

    async def _answer(self, request: web.Request, body: bytes) -> web.StreamResponse:
        batch = self.judge.look(body, self._key(request))
        fate = self._fated()
        if fate in REFUSALS:
            return web.Response(status=int(fate), headers={} if fate == "500" else {"Retry-After": "1"})
        if fate == "413" and len(batch["events"]) > LARGE:
            return web.Response(status=413)
        return await self._fates.get(fate, self._take)(request, batch)

    async def _take(self, request: web.Request, batch: dict[str, Any]) -> web.StreamResponse:
        self.judge.apply(batch, self._key(request), time.time())
        return web.json_response({"snapshot_needed": False})

    async def _slowly(self, request: web.Request, batch: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(random.uniform(0.2, 1.0))
        # Whoever has given up meanwhile sends it again: applied now, it could come after its successor.
        return self._hang_up(request) if _is_gone(request) else await self._take(request, batch)

    async def _never(self, request: web.Request, _batch: dict[str, Any]) -> web.StreamResponse:
        while self._fated() == "hang" and not _is_gone(request):
            await asyncio.sleep(0.05)
        return self._hang_up(request)

    async def _reset(self, request: web.Request, _batch: dict[str, Any]) -> web.StreamResponse:
        return self._hang_up(request)

    async def _lost_reply(self, request: web.Request, batch: dict[str, Any]) -> web.StreamResponse:
        answer = await self._take(request, batch)
        return self._hang_up(request) if random.random() < 0.5 else answer

    @staticmethod
    def _hang_up(request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()  # nobody hears it

    @staticmethod
    def _key(request: web.Request) -> str:
        return request.headers.get("idempotency-key", "")


async def main() -> None:
    """Serve until the input ends."""
    service = CheckingService()
    await service.start()
    sys.stdout.write(f"{service.port}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await service.stop()


if __name__ == "__main__":
    asyncio.run(main())
