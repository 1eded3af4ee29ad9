"""The pusher that prints."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import ValidationError

from fuagent.contract import payload
from fuagent.errors import HaltSyncError
from fuagent.interfaces import Pusher, PusherContext
from fuagent.model import Answer, Batch, Checkpoint, Level, Outcome, Table, Verdict
from fuagent.pushers.stdout import Stdout

BATCH = Batch("orders", "agent-1", "k", (b'{"id":1}', b'{"id":2,"note":"a,\\nb"}'))
END = Batch("orders", "agent-1", "k", (), is_snapshot_end=True)


def pusher(options: object = None) -> Stdout:
    """A pusher of the sync ``orders``."""
    return Stdout(PusherContext("orders", "agent-1", "", lambda: None, options or Stdout.Options(), 30.0))


@contextmanager
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Standard output as a file of its own (inside the test: pytest sets its own between fixture and test)."""
    path = tmp_path / "out"
    with path.open("w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        yield path


async def test_each_batch_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly the bytes a service would get, out before the batch counts as delivered."""
    stdout: Pusher = pusher()
    with output(tmp_path, monkeypatch) as path:
        await stdout.open()

        assert await stdout.push(BATCH) == Outcome(Verdict.ACKNOWLEDGED)
        assert path.read_bytes() == payload.body(BATCH) + b"\n"
        assert await stdout.push(END) == Outcome(Verdict.ACKNOWLEDGED)
        assert path.read_bytes() == payload.body(BATCH) + b"\n" + payload.body(END) + b"\n"
        await stdout.close()
        await stdout.close()


async def test_pretty_gives_every_event_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Still the same JSON."""
    stdout = pusher(Stdout.Options(pretty=True))
    with output(tmp_path, monkeypatch) as path:
        await stdout.push(BATCH)
        text = path.read_bytes()

    assert text.splitlines()[1:] == [b'  {"id":1},', b'  {"id":2,"note":"a,\\nb"}', b"]}"]
    assert json.loads(text) == json.loads(payload.body(BATCH))


async def test_pretty_leaves_an_empty_batch_on_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to spread."""
    with output(tmp_path, monkeypatch) as path:
        await pusher(Stdout.Options(pretty=True)).push(END)

        assert path.read_bytes() == payload.body(END) + b"\n"


async def test_a_closed_reader_halts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when ``| head`` has seen enough: nothing is dropped into nowhere."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        got = await pusher().push(BATCH)

    assert got.verdict is Verdict.HALT
    assert got.reason == "the program that read the output has closed it"
    assert got.fix


async def test_a_full_disk_halts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's own words say why."""
    with Path("/dev/full").open("wb") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        got = await pusher().push(BATCH)

    assert got.verdict is Verdict.HALT
    assert got.reason == "the output cannot be written: No space left on device"


@pytest.mark.parametrize("stream", [None, io.StringIO()])
async def test_without_an_output_nothing_starts(stream: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service manager may have closed it."""
    monkeypatch.setattr(sys, "stdout", stream)

    with pytest.raises(HaltSyncError, match=r"^syncs\.orders: there is no standard output"):
        await pusher().open()
    with pytest.raises(HaltSyncError):
        await pusher().push(BATCH)


@pytest.mark.parametrize("blocking", [True, False])
async def test_a_line_larger_than_a_pipe_comes_out_whole(blocking: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that takes only part of it, or nothing for now, is gone on with."""
    big = Batch("orders", "agent-1", "k", (b'{"x":"' + b"y" * 500_000 + b'"}',))
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, blocking)
    with os.fdopen(reader, "rb") as source, os.fdopen(writer, "wb") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        task = asyncio.create_task(pusher().push(big))
        got = b""
        while not task.done():
            got += source.read() or b""
            await asyncio.sleep(0)
        got += source.read() or b""

    assert got == payload.body(big) + b"\n"
    assert task.result().verdict is Verdict.ACKNOWLEDGED


async def test_it_promises_nothing_else() -> None:
    """No checkpoint, no schema, one route, no credential; ``check`` says that the rows go nowhere."""
    stdout = pusher()
    table = Table("orders", (), schema="shop")
    (finding,) = await stdout.check([table])

    assert await stdout.checkpoint() == Checkpoint(Answer.NO_ENDPOINT)
    assert stdout.event_schema(table) is None
    assert stdout.route("shop.orders") == stdout.route("")
    assert finding.level is Level.INFO
    assert "shop.orders" in finding.what
    assert await stdout.refresh() is None


@pytest.mark.parametrize("options", [{"prety": True}, {"pretty": "yes"}])
def test_options_are_checked(options: dict[str, object]) -> None:
    """An unknown key or a wrong type is an error, not a surprise later."""
    with pytest.raises(ValidationError):
        Stdout.Options.model_validate(options)
