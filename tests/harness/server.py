"""What real servers have in common: a data directory of their own, a process that is started, paused, stopped and killed.

Every process is ended by its saved id. Options are the server's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import Any, Self

import psutil

DEADLINE = 60.0
"""Seconds a server may take to start or to stop on a busy machine before the test fails."""
USER, PASSWORD = "fuagent", "fuagent-password"

REAPER = """
import os, pathlib, select, shutil, signal, sys
def parent(entry):
    try:
        return entry.name.isdigit() and int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
def send(number, *pids):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
def end(pid):
    watched = os.pidfd_open(pid)
    children = [int(entry.name) for entry in pathlib.Path("/proc").iterdir() if parent(entry) == pid]
    send(signal.SIGQUIT, pid)
    send(signal.SIGCONT, *children, pid)
    if not select.select([watched], [], [], 15)[0]:
        send(signal.SIGKILL, pid, *children)
for line in sys.stdin.readlines():
    pid, _, folder = line.strip().partition(" ")
    try:
        if folder in pathlib.Path(f"/proc/{pid}/cmdline").read_text():
            end(int(pid))
    except OSError:
        pass
    shutil.rmtree(folder, ignore_errors=True)
"""
"""Ends each server, and by force where it does not follow: SIGQUIT lets it give shared memory back."""
_reapers: list[subprocess.Popen[bytes]] = []
_ports: set[int] = set()
"""Those that were given out."""


def free_port() -> int:
    """A port nobody listens on, below those that outgoing connections take while a server restarts.

    It is taken only later: no worker of a run gets one that another may have got, nor the same one twice.
    """
    chance = SystemRandom()
    worker, workers = os.environ.get("PYTEST_XDIST_WORKER", "gw0"), os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    while True:
        port = chance.randrange(15_000 + int(worker.removeprefix("gw")), 32_000, int(workers))
        if port in _ports:
            continue
        _ports.add(port)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def made_once(template: Path, make: Callable[[Path], None]) -> Path:
    """A data directory that servers start from; made by whoever comes first, others wait for it."""
    with template.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not template.exists():
            unfinished = template.with_suffix(".part")
            shutil.rmtree(unfinished, ignore_errors=True)
            make(unfinished)
            unfinished.rename(template)
    return template


class Server:
    """A server; ``with`` starts it, and takes processes and files away at the end."""

    scheme: str
    superuser: str
    first: str | None
    """The database that is always there."""
    refusal: type[Exception]
    """What a connection fails with while the server is not there."""
    orderly: signal.Signals
    abrupt: signal.Signals
    """Ends it at once, with nothing left behind."""

    def __init__(self, **options: object) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.scheme}-"))  # a socket's path must be short
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.options = options
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def command(self) -> list[str]:
        """What starts it."""
        raise NotImplementedError

    def account(self) -> dict[str, Any]:
        """Whose its processes are, as subprocess takes it; ours if nothing is said."""
        return {}

    def connect(self, user: str = "", database: str | None = "shop", **options: Any) -> Any:
        """A connection of its own over TCP, in autocommit mode; as the superuser if nobody is named."""
        raise NotImplementedError

    def start(self, **options: object) -> None:
        """Start, on the same port as before, and wait until it answers; ``options`` hold from now on."""
        assert self.process is None, "it runs already"
        self.options.update(options)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self.account()
            )
        _reap_after_us(self.process.pid, self.folder)
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        end = time.monotonic() + DEADLINE
        while True:
            try:
                self.connect(database=self.first).close()
            except self.refusal as error:
                assert self.process is not None
                assert self.process.poll() is None, f"it ended at once; its log says:\n{self.text()[-3000:]}"
                assert time.monotonic() < end, f"it never answered ({error}); its log says:\n{self.text()[-3000:]}"
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        """An orderly end."""
        self._end(self.orderly)

    def kill(self) -> None:
        """SIGKILL to the server and all its processes, and wait until the last is gone."""
        family = self._pause_first_process()
        assert self.process is not None
        with contextlib.ExitStack() as stack:
            handles = [stack.enter_context(_watch(child.pid)) for child in family]
            self.process.kill()
            for child in family:
                _send(child.pid, signal.SIGKILL)
            self.process.wait(DEADLINE)
            self.process = None
            for handle in handles:
                assert not handle or select.select([handle], [], [], DEADLINE)[0], "a process of the server stays"

    def restart(self, **options: object) -> None:
        """Stop in order and start again."""
        self.stop()
        self.start(**options)

    def pause(self) -> None:
        """SIGSTOP to all its processes: it keeps its connections and says nothing."""
        for child in self._pause_first_process():
            _send(child.pid, signal.SIGSTOP)
            until(lambda child=child: _state(child) != "running", f"process {child.pid} never stopped")

    def _pause_first_process(self) -> list[psutil.Process]:
        """Stop the one that starts all others, so that the list of them is whole."""
        assert self.process is not None, "it does not run"
        self.process.send_signal(signal.SIGSTOP)
        # WNOWAIT leaves the news there for a second call: the server may be paused already.
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return self._children()

    def _children(self) -> list[psutil.Process]:
        assert self.process is not None, "it does not run"
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children()
        return []

    def resume(self) -> None:
        """SIGCONT to all its processes."""
        assert self.process is not None, "it does not run"
        for child in self._children():
            _send(child.pid, signal.SIGCONT)
        self.process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        assert self.process is not None, "it does not run"
        self.process.send_signal(number)
        self.resume()  # a paused one sees no signal
        self.process.wait(DEADLINE)
        self.process = None

    def close(self) -> None:
        """End it whatever its state, and take its files away."""
        if self.process is not None:
            try:
                self._end(self.abrupt)
            except subprocess.TimeoutExpired:
                self.kill()
        self.clear()

    def clear(self) -> None:
        """Take away what is left of it once it has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def text(self) -> str:
        """What it wrote to its log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def url(self, user: str = "", database: str = "shop") -> str:
        """The endpoint as a configuration names it."""
        return f"{self.scheme}://{user + '@' if user else ''}127.0.0.1:{self.port}/{database}"


@dataclass(frozen=True, slots=True)
class ServerDatabase:
    """One database of a server."""

    server: Any
    name: str = "shop"

    def connect(self, user: str = "", **options: Any) -> Any:
        """A connection to it; as the superuser if nobody is named."""
        return self.server.connect(user, self.name, **options)

    def execute(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement as the superuser, in a session of its own; gives the rows."""
        return self.server.execute(sql, *values, database=self.name)

    def url(self, user: str = "") -> str:
        """The endpoint as a configuration names it."""
        return self.server.url(user, self.name)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        """A cursor in a transaction of its own: committed at the end, rolled back when the block raises."""
        with self.connect(autocommit=False) as session, session.cursor() as cursor:
            yield cursor
            session.commit()


def until(condition: Callable[[], bool], failure: str) -> None:
    """Ask until it holds."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, failure
        time.sleep(0.01)


def _state(process: psutil.Process) -> str:
    """``running``, or else what it is instead."""
    with contextlib.suppress(psutil.NoSuchProcess):
        halted = process.status() in {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP, psutil.STATUS_ZOMBIE}
        return "halted" if halted else "running"
    return "gone"


@contextlib.contextmanager
def _watch(pid: int) -> Iterator[int | None]:
    """A handle that becomes readable when the process ends, even where nobody collects it; None if it has."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _reap_after_us(pid: int, folder: Path) -> None:
    """Have the server ended and its files removed even when this process is killed before it can do so itself.

    One child waits for the end of a pipe that only this process holds open.
    """
    if not _reapers:
        command = [sys.executable, "-I", "-S", "-c", REAPER]
        _reapers.append(subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True))
    pipe = _reapers[0].stdin
    assert pipe is not None
    pipe.write(f"{pid} {folder}\n".encode())
    pipe.flush()
