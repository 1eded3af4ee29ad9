"""What a driver may leave behind, and cancelling it at each of its awaits in turn."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

_FILES = Path("/dev/fd")
_POOL = "asyncio_"
"""How the threads of the event loop's own pool are named: they live as long as the loop."""
PATIENCE = 20.0
"""Seconds until what should go by itself counts as left behind; only a failing test waits so long."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is open at one moment."""

    tasks: frozenset[asyncio.Task[Any]]
    threads: frozenset[threading.Thread]
    files: int

    def beyond(self, before: Held) -> list[str]:
        """What is here and was not there ``before``, one line each."""
        lines = [f"task {task.get_name()}: {task.get_coro()}" for task in self.tasks - before.tasks]
        lines += [f"thread {thread.name}" for thread in self.threads - before.threads]
        if self.files > before.files:
            lines.append(f"{self.files - before.files} open files or sockets")
        return lines


def held() -> Held:
    """What is open now: tasks of this event loop, threads and files of this process."""
    return Held(
        frozenset(task for task in asyncio.all_tasks() if not task.done()),
        frozenset(thread for thread in threading.enumerate() if not thread.name.startswith(_POOL)),
        len(os.listdir(_FILES)) if _FILES.is_dir() else 0,  # noqa: PTH208 - names are enough
    )


async def left_behind(before: Held) -> list[str]:
    """What is still open that was not ``before``, given time to go by itself; empty is as it should be."""
    end = asyncio.get_running_loop().time() + PATIENCE
    while lines := held().beyond(before):
        if asyncio.get_running_loop().time() > end:
            return lines
        await asyncio.sleep(0.001)
    return []


async def cancelled_at(step: int, work: Callable[[], Coroutine[Any, Any, object]]) -> bool:
    """Run ``work`` and cancel it as it comes to wait for the ``step``-th time; False if it ended before.

    Raises:
        AssertionError: it was cancelled and went on as if nothing had been asked of it.
    """
    run = _Counted(work(), step)
    task: asyncio.Task[object] = asyncio.create_task(run)
    await asyncio.wait({task})
    if task.cancelled():
        return True
    task.result()
    assert not run.reached, f"the cancellation at await {step} was swallowed"
    return False


class _Counted(Coroutine[Any, Any, object]):
    """A coroutine that cancels the task it runs in as it comes to wait for the n-th time."""

    def __init__(self, inner: Coroutine[Any, Any, object], at: int) -> None:
        self._inner = inner
        self._left = at

    @property
    def reached(self) -> bool:
        """Whether it came to wait so often."""
        return self._left <= 0

    def send(self, value: Any) -> Any:
        return self._counted(self._inner.send(value))

    def throw(
        self,
        kind: type[BaseException] | BaseException,
        error: BaseException | object = None,
        trace: TracebackType | None = None,
    ) -> Any:
        thrown = kind if isinstance(kind, BaseException) else error if isinstance(error, BaseException) else kind()
        return self._counted(self._inner.throw(thrown.with_traceback(trace) if trace else thrown))

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, object]:
        return self._inner.__await__()

    def _counted(self, waited: Any) -> Any:
        self._left -= 1
        task = asyncio.current_task()
        if self._left == 0 and task is not None:
            # The task is running: it is cancelled in whatever it is about to wait for.
            task.cancel()
        return waited
