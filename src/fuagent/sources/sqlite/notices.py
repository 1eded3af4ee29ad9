"""Linux telling which files of a directory are written, once for the whole process.

inotify (https://man7.org/linux/man-pages/man7/inotify.7.html) gives a user 128 instances by
default, and an agent may follow more databases and syncs than that: so there is one
instance for all of them, with one watch for each directory. A library that polls for
notifications every few milliseconds costs half a percent of a core for each
sync; waiting on the descriptor costs nothing.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

_CREATE_MODIFY_MOVED = 0x100 | 0x2 | 0x80  # IN_CREATE, IN_MODIFY, IN_MOVED_TO
_OVERFLOW, _IGNORED = 0x4000, 0x8000
_HEADER = struct.Struct("iIII")
_BUFFER = 65536


@dataclass(frozen=True, slots=True, eq=False)
class Notice:
    """One who wants to know: ``names`` are the files, ``tell`` is called when one of them is written."""

    directory: Path
    names: frozenset[bytes]
    tell: Callable[[], None]


class _Notices:
    """The notifications of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._add, self._remove = library.inotify_add_watch, library.inotify_rm_watch
        self._descriptor: int = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._loop = loop
        self._watches: dict[int, set[Notice]] = {}
        loop.add_reader(self._descriptor, self._drain)

    @property
    def idle(self) -> bool:
        """Whether nobody listens."""
        return not self._watches

    def add(self, notice: Notice) -> None:
        watch: int = self._add(self._descriptor, os.fsencode(notice.directory), _CREATE_MODIFY_MOVED)
        if watch < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch")
        self._watches.setdefault(watch, set()).add(notice)

    def discard(self, notice: Notice) -> None:
        for watch, told in list(self._watches.items()):
            told.discard(notice)
            if not told:
                self._remove(self._descriptor, watch)
                del self._watches[watch]

    def close(self) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _drain(self) -> None:
        """Take what was told so far, and pass it on; a queue that ran over concerns everybody."""
        written: dict[int, set[bytes]] = {}
        over = False
        try:
            data = os.read(self._descriptor, _BUFFER)
        except BlockingIOError:
            return
        place = 0
        while place < len(data):
            watch, mask, _, length = _HEADER.unpack_from(data, place)
            place += _HEADER.size + length
            # A directory that is gone and comes back is found by the slow poll.
            over |= bool(mask & (_OVERFLOW | _IGNORED))
            written.setdefault(watch, set()).add(data[place - length : place].rstrip(b"\0"))
        for watch, told in list(self._watches.items()):
            names = written.get(watch, set())
            for notice in list(told):
                if over or not names.isdisjoint(notice.names):
                    notice.tell()


_of: WeakKeyDictionary[asyncio.AbstractEventLoop, _Notices] = WeakKeyDictionary()
"""Made by the first who asks, gone with the last."""


def ask(notice: Notice) -> None:
    """Tell ``notice`` from now on.

    Raises:
        OSError: the system has no notifications, or no more of them.
        AttributeError: it is no Linux.
    """
    loop = asyncio.get_running_loop()
    found = _of.get(loop) or _Notices(loop)
    _of[loop] = found
    try:
        found.add(notice)
    finally:
        _rest(loop, found)


def drop(notice: Notice) -> None:
    """Tell it nothing more. May be called twice."""
    loop = asyncio.get_running_loop()
    found = _of.get(loop)
    if found is not None:
        found.discard(notice)
        _rest(loop, found)


def _rest(loop: asyncio.AbstractEventLoop, found: _Notices) -> None:
    if found.idle:
        found.close()
        del _of[loop]
