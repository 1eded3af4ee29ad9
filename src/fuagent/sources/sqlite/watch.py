"""Noticing that the database was written: within a millisecond or two, and at no cost while it is not.

Linux tells which files of a directory are written (https://man7.org/linux/man-pages/man7/inotify.7.html).
The directory is watched and not the file, because a commit writes the write-ahead log or
the journal beside it, and these come and go. A library that polls for notifications every
few milliseconds costs half a percent of a core for each sync; waiting on the descriptor costs nothing.

A notification comes with the write, a commit is visible a moment later, and a large
transaction writes long before it commits. So a look that found nothing is followed by another one
soon, at growing distances. Where notifications do not work (network file systems, no
watches left) the slow poll does it all.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from pathlib import Path

_CREATE_MODIFY_MOVED = 0x100 | 0x2 | 0x80  # IN_CREATE, IN_MODIFY, IN_MOVED_TO
_OVERFLOW = 0x4000
_HEADER = struct.Struct("iIII")
_BUFFER = 65536
_FOLLOWING = 8
"""Looks that follow a vain one."""
_PAUSE = 0.0005
_PAUSE_MOST = 0.02
"""Seconds before the look after a vain one; doubled from the first to the second of these."""


class Watcher:
    """Waits for writes to one database file. Without :meth:`start`, or where it fails, by polling alone."""

    def __init__(self, path: Path, poll_interval: float) -> None:
        self._path = path
        self._names = {os.fsencode(f"{path.name}{suffix}") for suffix in ("", "-wal", "-journal")}
        self._poll_interval = poll_interval
        self._descriptor = -1
        self._vain = 0

    def start(self) -> bool:
        """Begin to watch; False where the system cannot."""
        try:
            self._descriptor = _inotify(self._path.parent)
        except (OSError, AttributeError):
            return False
        return True

    def stop(self) -> None:
        """Let go of the descriptor. May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    async def wait(self) -> None:
        """Wait until it is worth looking: a write, or the poll interval."""
        pause = min(_PAUSE * 2**self._vain, _PAUSE_MOST)
        if self._vain:
            await asyncio.sleep(pause)
        following = 0 < self._vain <= _FOLLOWING
        told = await self._told(min(pause, self._poll_interval) if following else self._poll_interval)
        self._vain = self._vain + 1 if told or following else 0

    def seen(self) -> None:
        """The look found something: no other has to follow soon."""
        self._vain = 0

    async def _told(self, seconds: float) -> bool:
        if self._descriptor < 0:
            await asyncio.sleep(seconds)
            return False
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                while not self._drain():
                    readable.clear()
                    # Asked for only while waiting: a busy writer costs nothing while its changes are being read.
                    loop.add_reader(self._descriptor, readable.set)
                    await readable.wait()
                    loop.remove_reader(self._descriptor)
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(self._descriptor)
        return True

    def _drain(self) -> bool:
        """Take what was told so far; whether any of it is about this database."""
        ours = False
        while True:
            try:
                data = os.read(self._descriptor, _BUFFER)
            except BlockingIOError:
                return ours
            place = 0
            while place < len(data):
                _, mask, _, length = _HEADER.unpack_from(data, place)
                place += _HEADER.size + length
                name = data[place - length : place].rstrip(b"\0")
                ours = ours or bool(mask & _OVERFLOW) or name in self._names


def _inotify(directory: Path) -> int:
    library = ctypes.CDLL(None, use_errno=True)
    descriptor: int = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "inotify_init1")
    if library.inotify_add_watch(descriptor, os.fsencode(directory), _CREATE_MODIFY_MOVED) < 0:
        os.close(descriptor)
        raise OSError(ctypes.get_errno(), "inotify_add_watch")
    return descriptor
