"""Reads ahead of the sender: the next batch is read and encoded while the current one is on its way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from fuagent.engine.batcher import Batcher
from fuagent.model import Rows


class Reader:
    """Moves rows from a source into a batcher in a task of its own, as long as there is room."""

    def __init__(self, rows: AsyncIterator[Rows], batcher: Batcher) -> None:
        self._rows = rows
        self._batcher = batcher
        self._room = asyncio.Event()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        # Not "await task": a cancellation of this task must not be taken for that of the other.
        await asyncio.gather(self._task, return_exceptions=True)
        await close(self._rows)

    @property
    def done(self) -> bool:
        """True once the source has given everything; its error is raised here."""
        assert self._task is not None
        if not self._task.done():
            return False
        self._task.result()
        return True

    def taken(self) -> None:
        """There is room again."""
        self._room.set()

    def wake(self) -> None:
        """Make a waiter look again."""
        self._news.set()

    async def news(self) -> None:
        """Wait until rows came, the source ended, or someone called :meth:`wake`."""
        await self._news.wait()
        self._news.clear()

    async def _read(self) -> None:
        try:
            async for rows in self._rows:
                self._batcher.add(rows)
                self._news.set()
                while self._batcher.full:
                    self._room.clear()
                    await self._room.wait()
                    await asyncio.sleep(0)  # the request goes out first, and is answered meanwhile
        finally:
            self._news.set()


async def close(rows: AsyncIterator[Rows]) -> None:
    """End an iterator that may stand in the middle, so that the source is free at once."""
    end = getattr(rows, "aclose", None)
    if end is not None:
        await end()
