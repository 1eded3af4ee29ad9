"""News for open pages: the whole state first, then what changed, at most once a second.

Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), which the page reads
with ``fetch`` because the token goes in a header. A stream ends after some minutes and the page comes again,
so that none outlives its browser or its right for long.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import orjson
import structlog
from aiohttp import web

from fuagent.console import answers
from fuagent.console.access import RefusedError
from fuagent.console.picture import Picture
from fuagent.console.samples import Hour
from fuagent.console.told import Watched

EVERY = 1.0
"""Seconds between two looks at the syncs."""
STREAMS = 8
"""Streams at one time."""
LIFE = 600.0
"""Seconds a stream may last."""
LEAVING = 5.0
"""Seconds more for a stream that ends by itself; then its connection is cut."""
SILENCE = 15.0
"""Seconds without news after which a comment says that the stream still lives."""
MEASURE_WATCHED = 10.0
"""Seconds between two questions to the sources while somebody looks."""
MEASURE_ALONE = 60.0
"""Seconds between them while nobody does."""


class Feed:
    """Looks at the agent every second, and tells those who listen."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._hour = Hour(time.monotonic())
        self.picture = Picture(watched, self._hour)
        self._listening = 0
        self._news = asyncio.Event()
        self._somebody = asyncio.Event()
        self._ended = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look, for as long as the block runs; then end every stream."""
        tasks = [asyncio.create_task(self._look()), asyncio.create_task(self._measure())]
        try:
            yield
        finally:
            self._ended = True
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._news.set()

    async def _look(self) -> None:
        failed = False
        while True:
            try:
                self.look()
                failed = False
            except Exception as error:  # a picture that fails must not end the pages for good
                if not failed:
                    structlog.get_logger().warning("the console's look failed", exc_info=error)
                failed = True
            await asyncio.sleep(EVERY)

    def look(self) -> None:
        """Take one sample, and wake those who listen."""
        self._hour.look(time.monotonic(), self._watched.syncs())
        if self._listening:
            self.picture.look()
            news, self._news = self._news, asyncio.Event()
            news.set()

    async def _measure(self) -> None:
        while True:
            with suppress(Exception):  # sources that do not answer are a figure that is missing, no more
                await self._watched.measure()
                self._hour.measured(time.monotonic(), self._watched.syncs())
            if self._listening:
                await asyncio.sleep(MEASURE_WATCHED)
                continue
            self._somebody.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._somebody.wait(), MEASURE_ALONE)

    async def stream(
        self, request: web.BaseRequest, stay: Callable[[web.BaseRequest, float], None], *, writable: bool
    ) -> web.StreamResponse:
        """Tell one page until it goes, its time is over, or the agent ends.

        Raises:
            RefusedError: there are as many as there may be.
        """
        if self._listening >= STREAMS:
            raise RefusedError(503, f"{STREAMS} pages listen already.", fix="Close one of them, or reload later.")
        self._listening += 1
        try:
            stay(request, LIFE + LEAVING)
            self._somebody.set()
            response = web.StreamResponse(
                headers={**answers.HEADERS, **answers.KEEP_NONE, "Content-Type": "text/event-stream"}
            )
            response.force_close()
            await response.prepare(request)
            with suppress(ConnectionError):
                await self._tell(request, response, writable=writable)
            return response
        finally:
            self._listening -= 1

    async def _tell(self, request: web.BaseRequest, response: web.StreamResponse, *, writable: bool) -> None:
        end = time.monotonic() + LIFE
        spoken, seen = 0.0, -1
        while not self._ended and time.monotonic() < end and not _gone(request):
            text = self._text(seen, writable=writable)
            # What comes while the page is slow to take this is news for it all the same.
            seen, news = self.picture.number, self._news
            now = time.monotonic()
            if text or now - spoken > SILENCE:
                await response.write(text or b": still here\n\n")
                spoken = now
            await news.wait()

    def _text(self, seen: int, *, writable: bool) -> bytes:
        """The events for who has seen the look of this number; empty if there is nothing new."""
        now = time.time()
        if seen < 0:
            self.picture.look()
        if seen < 0 or self.picture.other_syncs(seen):
            return _event("state", self.picture.whole(now, writable=writable))
        changed = self.picture.changes(seen, now)
        return _event("changes", {"at": now, "syncs": changed}) if changed else b""


def _gone(request: web.BaseRequest) -> bool:
    return request.transport is None or request.transport.is_closing()


def _event(name: str, value: object) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(value) + b"\n\n"
