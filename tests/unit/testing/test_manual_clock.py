"""A clock that a test moves, or that moves by itself when nothing else can happen."""

from __future__ import annotations

import asyncio

from fuagent.testing.clock import ManualClock


async def _sleeper(clock: ManualClock, seconds: float, woken: list[float]) -> None:
    await clock.sleep(seconds)
    woken.append(seconds)


async def test_moved_by_hand():
    """In an ordinary loop it stands still until it is moved, and wakes in the order of time."""
    clock = ManualClock(unix=1000.0)
    woken: list[float] = []
    tasks = [asyncio.create_task(_sleeper(clock, seconds, woken)) for seconds in (3.0, 1.0, 2.0, 9.0)]
    await asyncio.sleep(0)
    clock.advance(2.5)
    await asyncio.sleep(0)

    assert woken == [1.0, 2.0]
    assert (clock.monotonic(), clock.time()) == (2.5, 1002.5)
    clock.advance(100)
    await asyncio.gather(*tasks)
    assert woken == [1.0, 2.0, 3.0, 9.0]
    assert not clock.step()


def test_moves_by_itself():
    """In its own loop hours pass as soon as nothing else is left to do."""
    clock = ManualClock()
    woken: list[float] = []

    async def whole() -> str:
        await asyncio.gather(*(_sleeper(clock, hours * 3600.0, woken) for hours in (24, 1, 12)))
        return "done"

    assert clock.run(whole()) == "done"
    assert woken == [3600.0, 43_200.0, 86_400.0]
    assert clock.monotonic() == 86_400.0


def test_cancelled_sleepers_do_not_count():
    """Who sleeps no more does not move the clock."""
    clock = ManualClock()

    async def whole() -> None:
        task = asyncio.create_task(clock.sleep(1000.0))
        await asyncio.sleep(0)
        task.cancel()
        await clock.sleep(1.0)
        await clock.sleep(0)

    clock.run(whole())

    assert clock.monotonic() == 1.0


def test_threads_are_waited_for():
    """What runs in a thread is really waited for while nobody sleeps."""
    clock = ManualClock()

    async def whole() -> int:
        return await asyncio.to_thread(sum, [1, 2])

    assert clock.run(whole()) == 3
    assert clock.monotonic() == 0.0
