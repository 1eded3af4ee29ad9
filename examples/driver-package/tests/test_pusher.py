"""The pusher keeps the promises of a pusher."""

import asyncio
import json

import pytest
from fuagent_jsonlog.pusher import BatchFile

from fuagent import Answer, HaltSyncError
from fuagent.testing.pusher_kit import Act, PusherKit, Said, batch
from fuagent.testing.pusher_suite import PusherSuite

SAID = {Said.INDEX: "[42, 1000]", Said.NONE: "[0, 0]", Said.NONSENSE: "[-5, 1000]"}


class FileKit(PusherKit):
    """A file in a directory that can be away for a moment."""

    def __init__(self, directory):
        super().__init__(directory)
        self.there = directory / "there"
        self.away = directory / "away"
        self.there.mkdir()
        self.path = self.there / "batches.jsonl"

    def pusher(self):
        return BatchFile(self.context(endpoint=str(self.path), options=BatchFile.Options(sync=False)))

    async def received(self):
        if self.away.exists():
            self.away.rename(self.there)
        return self.path.read_bytes().splitlines() if self.path.exists() else []

    def events(self, body):
        return json.loads(body)["events"]

    async def play(self, act):
        self.there.rename(self.away)

    async def say(self, said):
        self.path.with_name("batches.jsonl.checkpoint").write_text(SAID[said])


class TestBatchFile(PusherSuite):
    """Every promise that a file can show."""

    Kit = FileKit
    no_act = dict.fromkeys(set(Act) - {Act.BUSY}, "a file can be written, or it cannot")
    no_said = dict.fromkeys(set(Said) - set(SAID), "a file can be read, or it cannot")
    no_rotate = "there is no credential"


async def crash_and_open(kit):
    """Half a line behind a whole one, and the pusher that comes next."""
    pusher = kit.pusher()
    await pusher.push(batch(1))
    whole = kit.path.read_bytes()
    kit.path.write_bytes(whole + b'{"key":')
    await pusher.open()
    return whole, await pusher.checkpoint()


def test_what_a_crash_cut_off_goes(tmp_path):
    """Half a line disappears at the start, and the checkpoint is that of the whole ones."""
    kit = FileKit(tmp_path)
    whole, checkpoint = asyncio.run(crash_and_open(kit))

    assert kit.path.read_bytes() == whole
    assert (checkpoint.answer, checkpoint.index) == (Answer.INDEX, 101)


def test_a_missing_directory_needs_a_person(tmp_path):
    """The error names the directory and what to do."""
    kit = FileKit(tmp_path)
    kit.there.rmdir()

    with pytest.raises(HaltSyncError, match="Make it"):
        asyncio.run(kit.pusher().open())
