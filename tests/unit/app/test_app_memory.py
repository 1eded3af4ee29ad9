"""Memory that is free goes back to the system, also from between what is still in use."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import psutil

from fuagent import app_memory
from harness.agent import unmeasured, until

BLOCKS, BYTES = 4000, 32_000
"""Each too small for a mapping of its own, which would go back by itself."""


def resident() -> int:
    return psutil.Process().memory_info().rss


MAPPED = """
import ctypes
from fuagent import app_memory

class Info(ctypes.Structure):  # struct mallinfo2 of malloc.h
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

info = ctypes.CDLL(None).mallinfo2
info.restype = Info
app_memory.keep_large_apart()
del (huge := [bytearray(8 << 20)])[0]
before = info().hblks
large = bytearray(300_000)
print(info().hblks - before)
"""
"""Tells how many mappings of its own a large buffer has, after a larger one was freed."""


def test_a_large_buffer_goes_back_by_itself() -> None:
    """It has a mapping of its own, whatever was freed before; in a process of its own, for it holds for all of it."""
    said = subprocess.run([sys.executable, "-c", MAPPED], capture_output=True, text=True, check=True, env=unmeasured())

    assert said.stdout == "1\n"


class Ring:
    """Something that holds itself, as a connection holds what it calls back."""

    def __init__(self) -> None:
        self.itself = self


async def test_what_only_holds_itself_is_collected() -> None:
    """It goes although the collector does not come by itself."""
    gc.disable()
    try:
        gone = weakref.ref(Ring())
        assert gone() is not None
        async with app_memory.giving_back(every=0.01):
            await until(lambda: gone() is None, "it is gone")
    finally:
        gc.enable()


async def test_pages_between_those_in_use_go_back() -> None:
    """Of a hundred megabytes one block in fifty stays, the last among them: nearly all the rest is handed back."""
    blocks = [bytearray(BYTES) for _ in range(BLOCKS)]
    full = resident()
    kept = blocks[49::50]
    del blocks
    gc.collect()
    async with app_memory.giving_back(every=0.05):
        await until(lambda: resident() < full - BLOCKS * BYTES // 2, "half of it has gone back")

    assert len(kept) == BLOCKS // 50
    assert kept[-1] == bytearray(BYTES)
