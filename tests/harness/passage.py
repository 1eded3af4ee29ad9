"""What stands between an agent and a service that is killed: it hands requests on, and remembers the batches.

While it is shut, requests wait in it, so that the agent does not spend the test waiting ever longer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
from aiohttp import web

from harness.agent import until


@dataclass
class Batch:
    """One attempt at a batch. ``status`` None: no answer came."""

    body: bytes
    key: str
    status: int | None = None
    done: bool = False


class Passage:
    """Listens on a port of its own and hands on to ``target``; ``async with`` runs it."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.url = ""
        self.batches: list[Batch] = []
        self.lasted = 0.01
        """Seconds that the last answered batch took."""
        self.on_batch: Callable[[], None] = lambda: None
        """Called when a batch is about to be handed on."""
        self._open = asyncio.Event()
        self._free = asyncio.Event()

    async def __aenter__(self) -> Self:
        made = web.Application(client_max_size=1 << 30)
        made.router.add_route("*", "/{path:.*}", self._hand_on)
        self._client = aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True))
        self._runner = web.AppRunner(made, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._open.set()
        await self._client.close()
        await self._runner.cleanup()

    def open(self) -> None:
        """Let requests through."""
        self._open.set()

    def shut(self) -> None:
        """Let no more through; what is under way goes on."""
        self._open.clear()

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        await until(lambda: all(batch.done for batch in self.batches), "the request under way ends")

    async def _hand_on(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        await self._open.wait()
        if request.transport is None or request.transport.is_closing():
            return web.Response()  # the agent did not wait so long and has sent it anew
        if request.method != "POST":
            return await self._forward(request, body)
        batch = Batch(body, request.headers.get("idempotency-key", ""))
        self.batches.append(batch)
        begun = time.monotonic()
        self.on_batch()
        try:
            response = await self._forward(request, body)
            batch.status, self.lasted = response.status, time.monotonic() - begun
            return response
        except aiohttp.ClientError:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()  # nobody hears it
        finally:
            batch.done = True

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        headers: Any = request.headers
        async with self._client.request(
            request.method, self.target + request.path_qs, data=body or None, headers=headers
        ) as got:
            return web.Response(
                status=got.status, body=await got.read(), content_type=got.headers["content-type"].partition(";")[0]
            )
