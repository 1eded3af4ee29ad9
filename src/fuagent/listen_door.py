"""The door of the window: few connections come in, each serves one request, and none of them stays."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

DEADLINE = 10.0
"""Seconds a connection may live."""
CONNECTIONS = 32
"""Connections at one time; the next one is cut."""
GRACE = 0.1
"""Seconds for what is being answered when the door is shut."""


class Door(web.Server):
    """Cuts every connection at its deadline; a request that may take longer is let :meth:`stay`."""

    def __init__(self, answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(answer, access_log=None, lingering_time=0)
        self._ends: dict[RequestHandler, asyncio.TimerHandle] = {}
        self._staying: set[RequestHandler] = set()

    def connection_made(self, connection: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(connection, transport)
        if len(self.connections) - len(self._staying) > CONNECTIONS:
            transport.abort()
            return
        self._ends[connection] = asyncio.get_running_loop().call_later(DEADLINE, transport.abort)

    def connection_lost(self, connection: RequestHandler, error: BaseException | None = None) -> None:
        super().connection_lost(connection, error)
        self._staying.discard(connection)
        if end := self._ends.pop(connection, None):
            end.cancel()

    def stay(self, request: web.BaseRequest, seconds: float) -> None:
        """Let the connection of a request live for so long from now; it counts as one of the many no more.

        Whoever calls it sees to it that these are few.
        """
        connection, transport = request.protocol, request.transport
        if transport is None or connection not in self._ends:
            return
        self._ends[connection].cancel()
        self._ends[connection] = asyncio.get_running_loop().call_later(seconds, transport.abort)
        self._staying.add(connection)
