"""HTTP as the contract wants it: one request at a time, nothing followed, nothing unbounded.

- A POST is sent once and never redirected. Only if a *reused* connection turns out to
  have been closed before a byte of the answer came are the same bytes sent again at
  once, on a new one: servers close idle connections whenever they like.
- A GET follows redirects within one origin.
- Answers are read to a limit and no further, and no content coding is asked for.
- Connections live for a limited time, so that changed addresses and certificates count.
- Proxy settings of the environment do not count, and this machine is never asked through one.

Deadlines are the caller's: every method may be cancelled at any point.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
from aiohttp import AddrInfoType
from yarl import URL

from fuagent.contract import answer, urls
from fuagent.contract.outcome import BODY_LIMIT, SUCCESS, Fault
from fuagent.errors import TryAgainError
from fuagent.model import Credential
from fuagent.pushers import faults, tls
from fuagent.pushers.faults import Broken
from fuagent.pushers.upload import Upload
from fuagent.version import __version__

T = TypeVar("T")
Headers = Sequence[tuple[str, str]]

_IDLE = 60.0
_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux has it
_SEND_BUFFER = 1 << 20
"""Bytes; the largest batch of the default settings fits."""
_REDIRECTS = 5
_REDIRECT = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole answer; ``body`` holds one byte more than the limit where it was longer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    url: str


@dataclass(slots=True)
class _Attempt:
    reused: bool = False
    answered: bool = False


class Client:
    """Connections to one service (and to whoever issues tokens for it)."""

    def __init__(self, *, ca_file: str | None, proxy: str | None, max_age: float) -> None:
        self._ca_file = ca_file
        self._proxy = proxy
        self._max_age = max_age
        self._credential: Credential | None = None
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | None = None
        self._born = 0.0

    async def show(self, credential: Credential | None) -> None:
        """Use this credential's client certificate, on new connections."""
        self._credential = credential
        await self.close()

    async def close(self) -> None:
        """Close every connection; the next request opens new ones."""
        session, self._session, self._tls = self._session, None, None
        if session is not None:
            await session.close()

    async def get(self, url: str, headers: Headers = (), limit: int = BODY_LIMIT) -> Reply | Broken:
        """Ask once, following redirects within the URL's own origin.

        A redirect that leads elsewhere is the reply itself.
        """
        for _ in range(_REDIRECTS):
            reply = await self._once("GET", url, headers, None, limit, _Attempt())
            target = _redirect(reply)
            if target is None:
                return reply
            url = target
        return Broken(Fault.RESET, f"more than {_REDIRECTS} redirects")

    async def post(self, url: str, headers: Headers, body: bytes) -> Reply | Broken:
        """Send once."""
        attempt = _Attempt()
        reply = await self._once("POST", url, headers, Upload(body), BODY_LIMIT, attempt)
        stale = isinstance(reply, Broken) and reply.fault is Fault.RESET and attempt.reused and not attempt.answered
        if stale:
            reply = await self._once("POST", url, headers, Upload(body), BODY_LIMIT, _Attempt())
        return reply

    async def _once(
        self, method: str, url: str, headers: Headers, upload: Upload | None, limit: int, attempt: _Attempt
    ) -> Reply | Broken:
        try:
            session = await self._ready()
            response = await session.request(
                method,
                URL(url),
                data=upload,
                headers=list(headers),
                allow_redirects=False,
                proxy=None if urls.is_loopback(url) else self._proxy,
                ssl=True if urls.is_plain(url) else self._secured(),
                trace_request_ctx=attempt,
            )
            # Looked at before anything else can run: later the rest may have left.
            early = upload is not None and upload.unsent()
            attempt.answered = True
            return await _answer(response, url, limit, upload if early else None)
        except TryAgainError as error:
            return Broken(Fault.TLS, f"{error.where}: {error.what}")
        except faults.RAISED as error:
            return faults.read(error)

    async def _ready(self) -> aiohttp.ClientSession:
        now = asyncio.get_running_loop().time()
        if self._session is not None and now - self._born > self._max_age:
            await self.close()
        if self._session is None:
            self._session, self._born = _session(), now
        return self._session

    def _secured(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = tls.context(self._ca_file, self._credential)
        return self._tls


async def within(seconds: float, asked: Awaitable[T]) -> T | Broken:
    """The awaited value, or the fault that it took too long altogether."""
    try:
        async with asyncio.timeout(seconds):
            return await asked
    except TimeoutError:
        return Broken(Fault.TIMEOUT, f"{seconds:g} s")


async def _answer(response: aiohttp.ClientResponse, url: str, limit: int, unsent: Upload | None) -> Reply | Broken:
    """Read the answer; with an ``unsent`` body it is no success and its connection is not used again."""
    try:
        if unsent is not None and response.status in SUCCESS:
            return Broken(Fault.EARLY_ANSWER, f"{response.status}")
        _acknowledge(response)
        body = await answer.body(response.content.read, limit)
        return Reply(response.status, answer.headers(response.headers), body, url)
    finally:
        # What was read to its end is back in the pool by now; closing takes the rest out of it.
        response.close()
        if unsent is not None:
            unsent.abort()


def _acknowledge(response: aiohttp.ClientResponse) -> None:
    """Tell the server at once that the head of its answer has come.

    Many write head and body apart, and their kernel holds the body back until the head is acknowledged (RFC 896),
    which ours puts off for 40 ms (tcp(7), TCP_QUICKACK): more than most batches take. Without a connection the body
    came along.
    """
    if response.connection is not None and response.connection.transport is not None and _QUICK_ACK is not None:
        open_socket = response.connection.transport.get_extra_info("socket")
        open_socket.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)


def _redirect(reply: Reply | Broken) -> str | None:
    if isinstance(reply, Broken) or reply.status not in _REDIRECT:
        return None
    target = urls.resolve(reply.url, reply.headers.get("location", ""))
    same = urls.origin(target) == urls.origin(reply.url) and not urls.has_userinfo(target)
    return target.split("#", 1)[0] if same else None


def _session() -> aiohttp.ClientSession:
    watch = aiohttp.TraceConfig()
    watch.on_connection_reuseconn.append(_note_reuse)
    return aiohttp.ClientSession(
        # A name is looked up for every new connection; how long that holds is decided by their age.
        connector=aiohttp.TCPConnector(use_dns_cache=False, keepalive_timeout=_IDLE, socket_factory=_socket),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(),
        headers={"User-Agent": f"fuagent/{__version__}", "Accept-Encoding": "identity"},
        trace_configs=[watch],
    )


def _socket(address: AddrInfoType) -> socket.socket:
    """A socket whose send buffer takes a whole batch, so that one call hands it to the kernel."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
    return made


async def _note_reuse(_session: aiohttp.ClientSession, context: Any, _params: object) -> None:
    context.trace_request_ctx.reused = True
