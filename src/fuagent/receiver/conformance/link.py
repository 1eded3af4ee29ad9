"""One request at a time over real HTTP, each on a connection of its own, and nothing followed by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Self

import aiohttp
from yarl import URL

from fuagent.contract import answer
from fuagent.contract.outcome import BODY_LIMIT
from fuagent.contract.text import clean
from fuagent.receiver.cases import Reply
from fuagent.version import __version__

PIECES = 4
PAUSE = 0.1
"""A slow body comes in so many pieces, with so many seconds between them."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A request that got no whole answer, and why; ``unreachable`` where not even a connection was made."""

    why: str
    unreachable: bool = False


class Link:
    """The way to one service; ``timeout`` is the total of one request, in seconds."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # A connection kept open may be closed by the other end at any moment, which is no fault of its service.
            connector=aiohttp.TCPConnector(force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            headers={"User-Agent": f"fuagent/{__version__}", "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        slow: bool = False,
        limit: int = BODY_LIMIT,
    ) -> Reply | Broken:
        """Send once; of the answer's body at most one byte more than ``limit`` is read."""
        assert self._session is not None
        sent = dict(headers) | ({"Content-Length": str(len(body))} if slow else {})
        data = _pieces(body) if slow else (body or None)
        try:
            async with self._session.request(
                method, URL(url), data=data, headers=sent, allow_redirects=False
            ) as response:
                read = await answer.body(response.content.read, limit)
                return Reply(response.status, read, answer.headers(response.headers))
        except TimeoutError:
            return Broken(f"no whole answer within {self._timeout:g} s")
        except aiohttp.ClientConnectorError as error:
            return Broken(f"cannot be reached: {_reason(error)}", unreachable=True)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Broken(f"the connection ended before the answer was whole ({type(error).__name__})")


def _reason(error: aiohttp.ClientConnectorError) -> str:
    """The system's own words, or OpenSSL's; the library's repeat the URL."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
    return clean(
        str(getattr(cause, "verify_message", None) or getattr(cause, "strerror", None) or type(cause).__name__)
    )


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    size = max(1, -(-len(body) // PIECES))
    for start in range(0, len(body), size):
        yield body[start : start + size]
        await asyncio.sleep(PAUSE)
