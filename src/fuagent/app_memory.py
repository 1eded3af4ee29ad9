"""How the agent's process deals with memory: what is collected, and what goes back to the system."""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_EVERY = 30.0
_LARGE = 256 * 1024
"""Bytes from which on a buffer has pages of its own."""
_MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of malloc.h."""
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
_option = getattr(ctypes.CDLL(None), "mallopt", None)
"""Both are glibc's; other C libraries have none."""


def tame_collector() -> None:
    """Rows are many short-lived tuples and dicts in no cycle; looking through them cost an eighth of the time.

    The collector then hardly comes by itself: :func:`giving_back` calls it.
    """
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)


def keep_large_apart() -> None:
    """Give each large buffer pages of its own, which go back as it does.

    glibc begins so too, and then takes the size of each that is freed for the new limit: after a backlog its bodies
    lie among what is small and stays. https://man7.org/linux/man-pages/man3/mallopt.3.html
    """
    if _option is not None:
        _option(_MMAP_THRESHOLD, _LARGE)


@asynccontextmanager
async def giving_back(every: float = _EVERY) -> AsyncIterator[None]:
    """Collect what cycles keep, and hand free pages to the system, every so many seconds.

    A connection or an error that is done with is such a cycle, and may hold a buffer. Buffers of all sizes come and go, with a backlog larger ones, and what stays lies between the gaps that they leave
    behind. glibc hands back what is free at the end of its heap alone, so that the process would grow with every
    backlog, though little of it is in use. https://man7.org/linux/man-pages/man3/malloc_trim.3.html
    """
    task = asyncio.ensure_future(_give_back(every))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _give_back(every: float) -> None:
    while True:
        await asyncio.sleep(every)
        gc.collect()  # some milliseconds: what was there at the start is frozen, and rows are few at a time
        if _trim is not None:
            await asyncio.to_thread(_trim, 0)
