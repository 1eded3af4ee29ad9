"""A clock that a test moves, or that moves by itself when nothing else can happen.

Hours of waiting pass in no time, and in the same order every time: an event loop
that has nothing ready asks its selector to wait, and here the selector moves the
clock to the next sleeper instead. What waits for a socket or a thread really waits.
"""

from __future__ import annotations

import asyncio
import heapq
import selectors
from collections.abc import Coroutine
from itertools import count
from typing import TypeVar

T = TypeVar("T")


class ManualClock:
    """Implements ``fuagent.interfaces.Clock``.

    Args:
        unix: What :meth:`time` gives at the beginning.
    """

    def __init__(self, unix: float = 1_700_000_000.0) -> None:
        self._unix = unix
        self._now = 0.0
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._now

    def time(self) -> float:
        """Unix time, moved along with :meth:`monotonic`."""
        return self._unix + self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has moved this far."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), waiter))
        await waiter

    def advance(self, seconds: float) -> None:
        """Move on by ``seconds``, waking sleepers in the order of their time."""
        until = self._now + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            self.step()
        self._now = until

    def step(self) -> bool:
        """Move to the next sleeper and wake it; False if nobody sleeps."""
        while self._sleepers:
            at, _, waiter = heapq.heappop(self._sleepers)
            if not waiter.done():
                self._now = max(self._now, at)
                waiter.set_result(None)
                return True
        return False

    def run(self, main: Coroutine[object, object, T]) -> T:
        """Run ``main`` in a loop of its own in which this clock moves by itself."""
        with asyncio.Runner(loop_factory=self._loop) as runner:
            return runner.run(main)

    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(_Selector(self))


class _Selector(selectors.DefaultSelector):
    """Never waits as long as a sleeper can be woken instead."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        return [] if self._clock.step() else super().select(timeout)
