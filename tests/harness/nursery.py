"""Processes of ``fuagent``, and of ``uvicorn``, that need not load it first: each is forked off one that has.

To load the program takes ten times what most tests ask of it, and a run of all tests starts it
a thousand times. A process from here differs from one that was started anew in two things: its
command line in ``/proc`` is this module's, and it has in memory what others of its kind have too.
Each worker of a run has one nursery for agents and one for receivers. All that came from them end with the worker.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

TESTS = Path(__file__).parents[1]
AGENT = (
    "aiohttp.web",
    "asyncmy",
    "fuagent.app",
    "fuagent.listen",
    "fuagent.pushers.openapi",
    "fuagent.screen",
    "fuagent.sources.mysql",
    "fuagent.sources.postgres",
    "fuagent.sources.sqlite",
    "psycopg",
)
RECEIVER = (
    "fastapi",
    "fuagent.receiver.ready",
    "fuagent.receiver.ready_server",
    "fuagent.receiver.redis",
    "psycopg",
    "pymysql",
    "sqlalchemy.dialects.mysql.pymysql",
    "sqlalchemy.dialects.postgresql.psycopg",
    "uvicorn.loops.auto",
    "uvicorn.main",
    "uvicorn.protocols.http.auto",
)
LOADED = {"agent": AGENT, "receiver": RECEIVER}
"""What each nursery loads beside the command line.

Of our own modules only those that tests load into their own process too: here their loading is not counted for coverage.
"""
PROGRAMS = {"fuagent": "fuagent.cli", "uvicorn": "uvicorn.main"}
"""Where the function ``main`` of each program is."""
DEADLINE = 120.0
"""Seconds a command may take on a busy machine before the test fails."""
MESSAGE = 1 << 17
"""Bytes that a message to the nursery may have: command line and environment."""
_nurseries: dict[str, tuple[socket.socket, subprocess.Popen[bytes]]] = {}


class Life:
    """A process that was forked off, as far as it need be one of asyncio's."""

    def __init__(self, pid: int, told: asyncio.StreamReader, line: asyncio.StreamWriter | None = None) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._end = asyncio.create_task(self._heard(told, line))

    async def _heard(self, told: asyncio.StreamReader, line: asyncio.StreamWriter | None) -> None:
        try:
            self.returncode = int(await told.readline())
        finally:
            if line is not None:
                line.close()

    def send_signal(self, number: signal.Signals) -> None:
        """Send it, unless the process has ended."""
        if self.returncode is None:
            with suppress(ProcessLookupError):  # the news of its end may be on the way
                os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """The exit code; negative for a signal."""
        await asyncio.shield(self._end)
        assert self.returncode is not None
        return self.returncode


async def begin(
    arguments: Sequence[str], env: Mapping[str, str], out: IO[Any], err: IO[Any], *, program: str = "fuagent"
) -> Life:
    """Begin a program with these arguments in this environment, with nothing to read and two files to write to.

    The program counts for coverage where the environment says so, from its first function on.
    """
    kind = "receiver" if program == "uvicorn" or "receive" in arguments[:1] else "agent"
    if kind not in _nurseries:
        _nurseries[kind] = _open(kind)
    ours, theirs = socket.socketpair()
    with theirs:
        job = {"argv": [program, *arguments], "env": dict(env), "cwd": str(Path.cwd())}
        files = [theirs.fileno(), out.fileno(), err.fileno()]
        socket.send_fds(_nurseries[kind][0], [json.dumps(job).encode()], files)
    told, line = await asyncio.open_connection(sock=ours)
    return Life(int(await told.readline()), told, line)


async def call(arguments: Sequence[str], env: Mapping[str, str]) -> tuple[int, str, str]:
    """Run ``fuagent`` to its end: exit code, output, errors."""
    return await said(lambda out, err: begin(arguments, env, out, err))


async def said(start: Callable[[IO[bytes], IO[bytes]], Awaitable[Any]]) -> tuple[int, str, str]:
    """Wait for the end of a process that ``start`` begins, with two files to write to: exit code, output, errors."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = await start(out, err)
        code = await asyncio.wait_for(process.wait(), DEADLINE)
        out.seek(0)
        err.seek(0)
        return code, out.read().decode(), err.read().decode()


def _open(kind: str) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start the nursery; it ends when the socket is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.nursery", kind, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**env, "PYTHONPATH": str(TESTS)},
        )
    atexit.register(_close, ours, process)
    return ours, process


def _close(line: socket.socket, process: subprocess.Popen[bytes]) -> None:
    line.close()
    process.wait()


# ---------------------------------------------------------------- in the nursery


def end_with_parent() -> None:
    """Be killed when whoever began this process ends, so that nothing is left behind (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))


def _born(orders: socket.socket) -> list[str]:
    """Fork for each order; returns in the children alone, each with its command line, and all else as ordered."""
    signal.signal(signal.SIGCHLD, _collect)
    while True:
        message, files, _, _ = socket.recv_fds(orders, MESSAGE, 3)
        if not message:
            os._exit(0)
        if not os.fork():
            orders.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            end_with_parent()
            _watch(files[0])
            return _dressed(json.loads(message), *files)
        for file in files:
            os.close(file)


def _collect(*_signal: object) -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _watch(line: int) -> None:
    """Fork once more; the first process tells of the second, and only the second returns."""
    pid = os.fork()
    if pid:
        os.write(line, b"%d\n" % pid)
        os.write(line, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        os._exit(0)
    end_with_parent()


def _dressed(job: dict[str, Any], line: int, out: int, err: int) -> list[str]:
    os.dup2(out, 1)
    os.dup2(err, 2)
    for file in (line, out, err):
        os.close(file)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    return list(job["argv"])


def main() -> None:
    """Load everything, and be whatever is ordered."""
    end_with_parent()
    kind, number = sys.argv[1:]
    for module in ("coverage", "fuagent.cli", *LOADED[kind]):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # the children share what is not touched
    sys.argv = _born(socket.socket(fileno=int(number)))
    importlib.import_module("coverage").process_startup()  # if the environment says so
    importlib.import_module(PROGRAMS[sys.argv[0]]).main()


if __name__ == "__main__":
    main()
