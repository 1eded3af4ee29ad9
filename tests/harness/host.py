"""What goes wrong on the machine an agent runs on: its disk, its kernel's answers, its clock, its network.

Everything here belongs to the test that asked for it and is gone when it ends: a file system of
its own, a network namespace of its own, faults in one process alone.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from harness.agent import DEADLINE

_numbers = count(1)


def _needs_root(why: str) -> None:
    if os.geteuid() != 0:
        pytest.skip(f"{why} takes root")


# ---------------------------------------------------------------- disks


@contextmanager
def _mounted(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a file system with little room: ``small_disk("600k")`` gives the folder it is mounted at."""
    _needs_root("mounting a small file system")
    with ExitStack() as stack:
        yield lambda size: stack.enter_context(_mounted(tmp_path / f"disk-{next(_numbers)}", size))


def fill(disk: Path) -> Path:
    """Take all the room that is left; gives the file that holds it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for piece in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"x" * piece) == piece:
                    pass
            except OSError:
                continue
    return filler


# ---------------------------------------------------------------- the kernel's answers


@asynccontextmanager
async def failing(process: int, calls: str, error: str, path: Path | None = None) -> AsyncIterator[None]:
    """While the block runs, system calls of a process fail: ``failing(pid, "fsync,fdatasync", "EIO")``.

    Args:
        process: Its id. Threads that it has by then, and those to come, are meant too.
        calls: Their names, with commas.
        error: What they answer.
        path: Only calls about this file; None means all.
    """
    tracer = shutil.which("strace")
    assert tracer is not None, "needs strace: scripts/system-packages tests"
    only = [] if path is None else ["-P", str(path)]
    what = ["-e", f"trace={calls}", "-e", f"inject={calls}:error={error}", *only]
    strace = await asyncio.create_subprocess_exec(
        *(tracer, "-f", "-o", os.devnull, "-p", str(process), *what), stderr=asyncio.subprocess.PIPE
    )
    assert strace.stderr is not None
    said = await asyncio.wait_for(strace.stderr.readline(), DEADLINE)
    assert b"attached" in said, f"faults cannot be injected here: {said.decode()}"
    try:
        yield
    finally:
        strace.terminate()  # it lets go of the process, which goes on without faults
        await asyncio.wait_for(strace.wait(), DEADLINE)


# ---------------------------------------------------------------- the clock


@dataclass(frozen=True, slots=True)
class WallClock:
    """The time of day that one process sees; ``env`` makes it see it. Monotonic clocks stay as they are."""

    file: Path
    env: dict[str, str]

    def jump(self, seconds: int) -> None:
        """Be that far from the true time from now on."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self.file)


@pytest.fixture
def wall_clock(tmp_path: Path) -> WallClock:
    """A clock to be set while a process runs on it."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert found, "needs libfaketime: scripts/system-packages tests"
    file = tmp_path / "wall-clock"
    env = {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    clock = WallClock(file, env)
    clock.jump(0)
    return clock


# ---------------------------------------------------------------- the network


@dataclass(frozen=True, slots=True)
class Island:
    """A network namespace with one cable to this machine.

    Attributes:
        run: What to put in front of a command that is to run there.
        shore: This machine's address at the other end of the cable.
    """

    name: str
    cable: str
    shore: str

    @property
    def run(self) -> list[str]:
        """What to put in front of a command that is to run there."""
        return ["ip", "netns", "exec", self.name]

    def cut(self) -> None:
        """Pull the cable: nobody is told, packets are just gone."""
        subprocess.run(["ip", "link", "set", self.cable, "down"], check=True)

    def mend(self) -> None:
        """Plug it in again."""
        subprocess.run(["ip", "link", "set", self.cable, "up"], check=True)


def _free_pair() -> tuple[str, str]:
    """Two addresses of a net that no cable of another test uses; 198.18.0.0/15 is kept free for tests (RFC 2544)."""
    used = subprocess.run(["ip", "-o", "-4", "address"], check=True, capture_output=True, text=True).stdout
    start = os.getpid() * 7  # tests that begin at the same moment look in different places first
    for number in range(start, start + 16384):
        base, last = f"198.18.{number // 64 % 256}", number % 64 * 4
        if f" {base}.{last + 1}/" not in used:
            return f"{base}.{last + 1}", f"{base}.{last + 2}"
    message = "no net is free"
    raise AssertionError(message)


@contextmanager
def _island() -> Iterator[Island]:
    number = next(_numbers)
    name, cable, inner = (f"fu{os.getpid()}-{number}{end}" for end in ("", "a", "b"))
    shore, there = _free_pair()
    steps = (
        f"ip netns add {name}",
        f"ip link add {cable} type veth peer name {inner} netns {name}",
        f"ip address add {shore}/30 dev {cable}",
        f"ip link set {cable} up",
        f"ip -n {name} address add {there}/30 dev {inner}",
        f"ip -n {name} link set {inner} up",
        f"ip -n {name} link set lo up",
    )
    try:
        for step in steps:
            subprocess.run(step.split(), check=True)
        yield Island(name, cable, shore)
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False)  # the cable goes with it


@pytest.fixture
def island() -> Iterator[Island]:
    """A network of its own, to be cut off."""
    _needs_root("making a network namespace")
    assert shutil.which("ip"), "needs iproute2: scripts/system-packages tests"
    with _island() as made:
        yield made


# ---------------------------------------------------------------- names


@dataclass(frozen=True, slots=True)
class Names:
    """The host names that one process can look up; ``run`` goes in front of its command."""

    file: Path

    @property
    def run(self) -> list[str]:
        """What to put in front of a command that is to see these names alone."""
        script = 'mount --bind "$0" /etc/hosts && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, str(self.file)]

    def say(self, **addresses: str) -> None:
        """From now on there are these names and no others; an underscore stands for a dot."""
        # Written in place: a new file would not be the one that is mounted.
        text = "".join(f"{address} {name.replace('_', '.')}\n" for name, address in addresses.items())
        self.file.write_text(text)


@pytest.fixture
def names(tmp_path: Path) -> Names:
    """Host names to be changed while a process runs."""
    _needs_root("a hosts file of one's own")
    made = Names(tmp_path / "hosts")
    made.say()
    return made
