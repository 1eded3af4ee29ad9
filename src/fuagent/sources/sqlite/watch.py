"""Noticing that the database was written: within a millisecond or two, and at no cost while it is not.

The directory is watched (:mod:`fuagent.sources.sqlite.notices`) and not the file, because a commit
writes the write-ahead log or the journal beside it, and these come and go.

A notification comes with the write, a commit is visible a moment later, and a large
transaction writes long before it commits. So a look that found nothing is followed by another one
soon, at growing distances. Where notifications do not work (network file systems, no
watches left) the slow poll does it all: it looks at the files' sizes and times, and into
the database only where these differ, or have not for a while.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from fuagent.sources.sqlite import notices
from fuagent.sources.sqlite.notices import Notice

_FOLLOWING = 8
"""Looks that follow a vain one."""
_PAUSE = 0.0005
_PAUSE_MOST = 0.02
"""Seconds before the look after a vain one; doubled from the first to the second of these."""
_TRUSTED = 30
"""Polls in a row that may rest on sizes and times alone: the clock behind them ticks coarsely."""
_FILES = ("", "-wal", "-journal")

Stamp = tuple[tuple[int, int, int], ...]


class Watcher:
    """Waits for writes to one database file. Without :meth:`start`, or where it fails, by polling alone."""

    def __init__(self, path: Path, poll_interval: float) -> None:
        self._paths = [f"{path}{suffix}" for suffix in _FILES]
        names = frozenset(os.fsencode(f"{path.name}{suffix}") for suffix in _FILES)
        self._notice = Notice(path.parent, names, self._tell)
        self._poll_interval = poll_interval
        self._news = asyncio.Event()
        self._vain = 0
        self._stamp: Stamp = ()
        self._trusted = 0
        self._polled = False
        """Whether it is a poll that ended the wait."""

    def start(self) -> bool:
        """Begin to watch; False where the system cannot."""
        try:
            notices.ask(self._notice)
        except (OSError, AttributeError):
            return False
        return True

    def stop(self) -> None:
        """Watch no longer. May be called twice."""
        notices.drop(self._notice)

    async def wait(self) -> None:
        """Wait until it is worth looking: a write, or a poll that sees a difference."""
        pause = min(_PAUSE * 2**self._vain, _PAUSE_MOST)
        if self._vain:
            await asyncio.sleep(pause)
        following = 0 < self._vain <= _FOLLOWING
        if following:
            await self._told(min(pause, self._poll_interval))
            self._vain += 1
            return
        # A timer of its own and not a timeout around the wait: with hundreds of idle databases the difference counts.
        self._timer = asyncio.get_running_loop().call_later(self._poll_interval, self._poll)
        try:
            await self._news.wait()
        finally:
            self._timer.cancel()
        self._news.clear()
        self._vain = 0 if self._polled else self._vain + 1
        self._polled = False

    def _poll(self) -> None:
        self._vain = 0
        if self._differs():
            self._polled = True
            self._news.set()
        else:
            self._timer = asyncio.get_running_loop().call_later(self._poll_interval, self._poll)

    def seen(self) -> None:
        """The look found something: no other has to follow soon."""
        self._vain = 0

    def _tell(self) -> None:
        self._news.set()

    async def _told(self, seconds: float) -> bool:
        """Wait for a notification, this long at most."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True

    def _differs(self) -> bool:
        """Whether the files look otherwise than at the last poll, or have looked the same for too long."""
        before, self._stamp = self._stamp, tuple(map(_stamp, self._paths))
        self._trusted = self._trusted + 1 if before == self._stamp else 0
        if self._trusted < _TRUSTED:
            return before != self._stamp
        self._trusted = 0
        return True


def _stamp(path: str) -> tuple[int, int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - asked often
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns
