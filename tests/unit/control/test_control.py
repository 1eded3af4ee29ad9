"""Commands reach a running agent through its socket, and failures come back as sentences."""

import asyncio
import stat
from contextlib import suppress
from pathlib import Path

import orjson
import pytest

from fuagent import control
from fuagent.errors import FuagentError


async def _echo(arguments: dict[str, object]) -> object:
    return arguments


async def _fail(_arguments: dict[str, object]) -> object:
    raise FuagentError("it cannot be done.", where="here", fix="Do something else.")


async def _defect(_arguments: dict[str, object]) -> object:
    raise ValueError("k-1234")


COMMANDS = {"echo": _echo, "fail": _fail, "defect": _defect}


async def raw(directory: Path, line: bytes) -> dict[str, object]:
    """Send a line as it is; gives the answer."""
    reader, writer = await asyncio.open_unix_connection(str(directory / control.SOCKET))
    writer.write(line)
    await writer.drain()
    answer = orjson.loads(await reader.readline())
    writer.close()
    return answer


async def test_a_command_and_its_result(tmp_path):
    """Arguments go in, the result comes back, and only the owner may connect."""
    async with control.serve(tmp_path, COMMANDS):
        result = await control.call(tmp_path, "echo", sync="orders", count=3)
        mode = (tmp_path / control.SOCKET).stat().st_mode

    assert result == {"sync": "orders", "count": 3}
    assert stat.S_IMODE(mode) == 0o600
    assert not (tmp_path / control.SOCKET).exists()


async def test_an_answer_may_be_long(tmp_path):
    """What there is to tell of many syncs is longer than any request."""
    long = "x" * (2 * control.LINE)

    async def tell(_arguments: dict[str, object]) -> object:
        return long

    async with control.serve(tmp_path, {"tell": tell}):
        told = await control.call(tmp_path, "tell")

    assert told == long


async def test_a_failure_comes_back_whole(tmp_path):
    """What, where and fix are those of the agent."""
    async with control.serve(tmp_path, COMMANDS):
        with pytest.raises(FuagentError) as caught:
            await control.call(tmp_path, "fail")

    assert (caught.value.what, caught.value.where, caught.value.fix) == (
        "it cannot be done.",
        "here",
        "Do something else.",
    )


async def test_a_defect_is_answered_too(tmp_path):
    """Whoever asked hears of it at once, by its type alone, and the agent goes on."""
    async with control.serve(tmp_path, COMMANDS):
        with pytest.raises(FuagentError) as caught:
            await control.call(tmp_path, "defect")
        again = await control.call(tmp_path, "echo")

    assert caught.value.what == "a defect: ValueError."
    assert again == {}


async def test_an_unknown_command_is_refused(tmp_path):
    """A newer command line meets an older agent."""
    async with control.serve(tmp_path, COMMANDS):
        with pytest.raises(FuagentError, match="knows no command 'dance'"):
            await control.call(tmp_path, "dance")


@pytest.mark.parametrize("line", [b"nonsense\n", b"[]\n", b'{"command": "echo"}\n', b"1\n"])
async def test_what_is_no_request_is_answered_all_the_same(line, tmp_path):
    """Nothing that is sent can end the server."""
    async with control.serve(tmp_path, COMMANDS):
        answer = await raw(tmp_path, line)
        again = await control.call(tmp_path, "echo")

    assert "not a request" in answer["error"]["what"]
    assert again == {}


async def test_a_line_without_end_ends_the_connection_alone(tmp_path):
    """More than a request may have is not kept; the next one is served."""
    async with control.serve(tmp_path, COMMANDS):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / control.SOCKET))
        writer.write(b"x" * (2 * control.LINE))
        left = b""
        with suppress(ConnectionResetError):
            left = await reader.read()
        writer.close()
        again = await control.call(tmp_path, "echo")

    assert left == b""
    assert again == {}


async def test_nobody_is_there(tmp_path):
    """No socket, and a socket left by an agent that was killed, both mean: not running."""
    with pytest.raises(control.NotRunningError):
        await control.call(tmp_path, "echo")

    (tmp_path / control.SOCKET).touch()

    with pytest.raises(control.NotRunningError):
        await control.call(tmp_path, "echo")


async def test_an_agent_that_says_nothing_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    """A closed connection and silence both give a sentence."""
    monkeypatch.setattr(control, "PATIENCE", 0.2)

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_unix_server(hang_up, str(tmp_path / control.SOCKET))
    with pytest.raises(FuagentError, match="does not answer"):
        await control.call(tmp_path, "echo")
    server.close()
    (tmp_path / control.SOCKET).unlink(missing_ok=True)

    ended = asyncio.Event()

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the caller gives up
        writer.close()
        await writer.wait_closed()
        ended.set()

    server = await asyncio.start_unix_server(silence, str(tmp_path / control.SOCKET))
    with pytest.raises(FuagentError, match="does not answer"):
        await control.call(tmp_path, "echo")
    await ended.wait()
    server.close()


async def test_a_path_longer_than_a_socket_address(tmp_path):
    """A state directory may lie deep; the kernel's hundred bytes are no limit."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    async with control.serve(deep, COMMANDS):
        result = await control.call(deep, "echo", here=True)

    assert result == {"here": True}
