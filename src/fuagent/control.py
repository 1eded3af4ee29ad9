"""How commands reach a running agent: one Unix socket in the state directory.

Only the owner of the directory can connect (mode 0600). A request is one line of
JSON, ``{"command": ..., "arguments": {...}}``; the answer is one line,
``{"result": ...}`` or ``{"error": {"what": ..., "where": ..., "fix": ...}}``.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import orjson
import structlog

from fuagent.errors import FuagentError

SOCKET = "control.sock"
LINE = 1 << 20
"""Longest request, bytes."""
ANSWER = 1 << 26
"""Longest answer, bytes: what there is to tell of thousands of syncs."""
PATIENCE = 30.0
"""Seconds a command waits for the agent's answer."""

Command = Callable[[dict[str, object]], Awaitable[object]]


class NotRunningError(Exception):
    """No agent listens on this state directory."""


@asynccontextmanager
async def serve(directory: Path, commands: Mapping[str, Command]) -> AsyncIterator[None]:
    """Answer ``commands`` for as long as the block runs."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, ValueError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                line = await reader.readline()
                writer.write(orjson.dumps(await _answer(line, commands)) + b"\n")
                await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, sock=_listen(directory), limit=LINE)
    try:
        yield
    finally:
        server.close()
        (directory / SOCKET).unlink(missing_ok=True)


async def call(directory: Path, command: str, **arguments: object) -> object:
    """Run one command in the agent that works on ``directory``; gives its result.

    Raises:
        NotRunningError: there is none.
        FuagentError: the command failed; the text is the agent's.
    """
    link = socket.socket(socket.AF_UNIX)
    link.setblocking(False)
    try:
        with _reachable(directory) as address:
            await asyncio.get_running_loop().sock_connect(link, address)
        reader, writer = await asyncio.open_unix_connection(sock=link, limit=ANSWER)
    except OSError as error:
        link.close()
        raise NotRunningError from error
    try:
        async with asyncio.timeout(PATIENCE):
            writer.write(orjson.dumps({"command": command, "arguments": arguments}) + b"\n")
            reply = orjson.loads(await reader.readline())
    except (TimeoutError, ConnectionError, orjson.JSONDecodeError) as error:
        raise FuagentError(
            "the agent does not answer.", where=str(directory), fix="See its log, or restart it."
        ) from error
    finally:
        writer.close()
    if "error" in reply:
        raise FuagentError(reply["error"]["what"], where=reply["error"]["where"], fix=reply["error"]["fix"])
    return reply["result"]


async def _answer(line: bytes, commands: Mapping[str, Command]) -> dict[str, object]:
    try:
        request = orjson.loads(line)
        name, arguments = request["command"], request["arguments"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return _failed(FuagentError("this is not a request."))
    if name not in commands:
        return _failed(FuagentError(f"the running agent knows no command {name!r}.", fix="Restart it: it is older."))
    try:
        return {"result": await commands[name](arguments)}
    except FuagentError as error:
        return _failed(error)
    except Exception as error:  # whoever asked is told, instead of waiting for an answer that never comes
        structlog.get_logger().exception("a command failed", command=name)
        return _failed(FuagentError(f"a defect: {type(error).__name__}.", fix="Report it; see the agent's log."))


def _failed(error: FuagentError) -> dict[str, object]:
    return {"error": {"what": error.what, "where": error.where, "fix": error.fix}}


class _reachable:  # noqa: N801 - a context manager, named for how it reads
    """An address for the socket in ``directory``, however long its path.

    A Unix socket's address holds about a hundred bytes (unix(7)); through an open
    directory the kernel takes the rest of the path from the descriptor.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._handle = -1

    def __enter__(self) -> str:
        path = str(self._directory / SOCKET)
        if len(os.fsencode(path)) < 100 or not Path("/proc/self/fd").exists():
            return path
        self._handle = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._handle}/{SOCKET}"

    def __exit__(self, *_error: object) -> None:
        if self._handle >= 0:
            os.close(self._handle)


def _listen(directory: Path) -> socket.socket:
    """A socket only the owner may connect to. The journal's lock says that a file left there is dead."""
    (directory / SOCKET).unlink(missing_ok=True)
    link = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        with _reachable(directory) as address:
            link.bind(address)
    finally:
        os.umask(before)
    return link
