"""A small window into a running agent over HTTP: ``/metrics``, ``/healthz`` and ``/readyz``.

It only tells, and only to GET and HEAD; a console at ``/console/`` is somebody else's, who
has rules of its own. Off by default. On the loopback address a
request must name a loopback host: a page in the browser of whoever sits here could
otherwise read it under a name of its own that leads to 127.0.0.1 (DNS rebinding).
Every connection serves one request and ends after some seconds whatever it does,
and there are never many, so that nobody who dawdles can hold the agent up.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from aiohttp import web

from fuagent import metrics
from fuagent.engine.agent import Agent
from fuagent.engine.progress import Progress
from fuagent.errors import StopAgentError
from fuagent.listen_door import GRACE, Door

MEASURE_EVERY = 1.0
"""Seconds between two such looks, however often somebody asks: each is a question to a source."""
LOOPBACK = "127.0.0.1"
CONSOLE = "/console/"

_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^:\[\]]+)(?::[0-9]+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def reached(self) -> Address:
        """Where a program on this machine finds it: an address that stands for all of them is none to go to."""
        return Address({"0.0.0.0": LOOPBACK, "::": "::1"}.get(self.host, self.host), self.port)  # noqa: S104 - told, not bound

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return _loopback(self.host)


def address(text: str) -> Address:
    """Read ``host:port``, ``[host]:port`` or a bare port, which means the loopback address.

    Raises:
        ValueError: it is none of these.
    """
    host, colon, port = text.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or int(port) > 65535 or (colon and not host):
        raise ValueError("write host:port, [host]:port or a port alone")
    bare = host.removeprefix("[").removesuffix("]")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed != (":" in bare) or (host and not bare):
        raise ValueError("an IPv6 host stands in brackets, [::1]:8103")
    return Address(bare or LOOPBACK, int(port))


Stay = Callable[[web.BaseRequest, float], None]
Room = Callable[[web.BaseRequest, Stay], Awaitable[web.StreamResponse]]
"""Answers requests that are none of the window's own, and may let one stay for so many seconds."""


@asynccontextmanager
async def serve(
    where: Address, agent: Agent, journal: Callable[[], int], console: Room | None = None
) -> AsyncIterator[str]:
    """Answer for as long as the block runs; gives the URL at which a program on this machine finds it.

    Args:
        where: The address to listen on.
        agent: Whose figures there are to see.
        journal: Gives the journal's size.
        console: Answers everything at and below ``/console``.

    Raises:
        StopAgentError: the address cannot be listened on.
    """
    log = structlog.get_logger()
    window = Window(agent, journal, loopback=where.loopback)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return await window.answer(request, console, door.stay)

    door = Door(answer)
    try:
        server = await asyncio.get_running_loop().create_server(door, where.host, where.port)
    except OSError as error:
        raise StopAgentError(
            f"cannot listen there: {_reason(error)}.",
            where=f"--listen {where}",
            fix="Choose another address or port, or end what holds it.",
        ) from None
    bound = Address(where.host, server.sockets[0].getsockname()[1])
    log.info("listening", address=str(bound), pages=[*window.pages, *([CONSOLE] if console else [])])
    if not where.loopback:
        log.warning(
            "others can reach this address: the metrics need no key, and nothing is encrypted, the console's token included",
            address=str(bound),
            fix="Listen on 127.0.0.1, or let only the monitoring system reach this port.",
        )
    try:
        yield f"http://{bound.reached}"
    finally:
        server.close()
        await door.shutdown(GRACE)
        await server.wait_closed()


class Window:
    """What there is to see, by path."""

    def __init__(self, agent: Agent, journal: Callable[[], int], *, loopback: bool) -> None:
        self._agent = agent
        self._loopback = loopback
        self._measured_at = -MEASURE_EVERY
        self._measuring: asyncio.Task[list[Progress]] | None = None
        self._exhibit = metrics.Exhibit(lambda: agent.progress, journal, time.time)
        self.pages: dict[str, Callable[[], Awaitable[web.Response]]] = {
            "/metrics": self._metrics,
            "/healthz": self._health,
            "/readyz": self._readiness,
        }

    async def answer(self, request: web.BaseRequest, console: Room | None, stay: Stay) -> web.StreamResponse:
        """The host is looked at before anything else of the request."""
        if self._loopback and not _is_ours(request.headers.get("Host", "")):
            return _text(421, "this address answers to localhost alone")
        if console and (request.path == "/" or request.path.startswith("/console")):
            return await console(request, stay)
        page = self.pages.get(request.path)
        if page is None:
            return _text(404, "there are " + ", ".join(self.pages))
        if request.method not in {"GET", "HEAD"}:
            return _text(405, "GET or HEAD", Allow="GET, HEAD")
        return await page()

    async def _metrics(self) -> web.Response:
        page = metrics.page(self._exhibit)
        self._measure()
        return _response(200, page, _PROMETHEUS)

    def _measure(self) -> None:
        """Ask the sources how far each sync is behind: with many of them that takes longer than a page may."""
        now = time.monotonic()
        if now - self._measured_at >= MEASURE_EVERY:
            self._measured_at = now
            self._measuring = asyncio.create_task(self._agent.status())

    async def _health(self) -> web.Response:
        return _text(200, "ok")

    async def _readiness(self) -> web.Response:
        reasons = list(metrics.unready(self._agent.progress, time.time()))
        return _text(503 if reasons else 200, "\n".join(reasons) or "ok")


def _text(status: int, text: str, **headers: str) -> web.Response:
    return _response(status, f"{text}\n".encode(), _TEXT, **headers)


def _response(status: int, body: bytes, kind: str, **headers: str) -> web.Response:
    always = {
        "Content-Type": kind,
        "Cache-Control": "no-store",
        "Server": "fuagent",
        "X-Content-Type-Options": "nosniff",
    }
    response = web.Response(status=status, body=body, headers={**always, **headers})
    response.force_close()
    return response


def _is_ours(host: str) -> bool:
    """Whether a Host header names this machine's loopback, at whatever port: it may be reached through a tunnel."""
    match = _HOST.fullmatch(host)
    return match is not None and _loopback(match[1].removeprefix("[").removesuffix("]"))


def _loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _reason(error: OSError) -> str:
    """The system's own words; the event loop's text repeats the address and more."""
    if isinstance(error, socket.gaierror) or error.errno is None:
        return "no such host"

    return os.strerror(error.errno).lower()
