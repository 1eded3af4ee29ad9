"""Waiting on the engine's clock."""

from __future__ import annotations

import asyncio

from fuagent.interfaces import Clock


async def pause(clock: Clock, seconds: float, until: asyncio.Event) -> None:
    """Sleep on the clock, but no longer than until ``until`` is set."""
    sleeper = asyncio.ensure_future(clock.sleep(seconds))
    waker = asyncio.ensure_future(until.wait())
    try:
        await asyncio.wait({sleeper, waker}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeper.cancel()
        waker.cancel()
