"""A network of its own with nothing in it but the loopback: what is made inside reaches nobody else. Needs root."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CLONE_NEWNET = 0x40000000
"""unshare(2), setns(2)."""

_libc = ctypes.CDLL(None, use_errno=True)


def possible() -> bool:
    """Whether this process may make one; it is left again at once."""
    with suppress(OSError), lonely():
        return True
    return False


@contextmanager
def lonely() -> Iterator[None]:
    """Sockets opened and processes started in this block, by this thread, belong to a new network; it goes with the last."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _done(_libc.unshare(CLONE_NEWNET))
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            _done(_libc.setns(home, CLONE_NEWNET))
    finally:
        os.close(home)


def _done(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
