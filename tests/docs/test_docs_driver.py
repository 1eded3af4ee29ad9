"""The pusher of the driver guide is a driver, and does what the guide says."""

import json

import pytest
from jsonlines import JsonLines

from fuagent import Batch, Column, HaltSyncError, Kind, Pusher, PusherContext, Table, Verdict

TABLE = Table("orders", (Column("id", Kind.INTEGER),), ("id",))


@pytest.fixture
def pusher(tmp_path):
    return JsonLines(
        PusherContext("s", "agent-1", "", lambda: None, JsonLines.Options(file="out.jsonl"), 30.0, base_dir=tmp_path)
    )


async def test_each_batch_becomes_one_line(pusher, tmp_path):
    """Two batches are two JSON lines, in order."""
    await pusher.open()
    for number in (1, 2):
        event = b'{"id":%d,"index":%d}' % (number, number)
        outcome = await pusher.push(Batch("s", "agent-1", f"a.1.{number}", (event,), "orders"))
        assert outcome.verdict is Verdict.ACKNOWLEDGED
    await pusher.close()

    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [{"table": "orders", "events": [{"id": n, "index": n}]} for n in (1, 2)] == lines


async def test_a_missing_directory_halts_with_a_fix(tmp_path):
    """The error names the directory and what to do."""
    options = JsonLines.Options(file="no/out.jsonl")
    pusher = JsonLines(PusherContext("s", "a", "", lambda: None, options, 30.0, base_dir=tmp_path))

    with pytest.raises(HaltSyncError, match=r"no such directory. Fix: Make it"):
        await pusher.open()


async def test_it_makes_every_promise_of_a_pusher(pusher):
    """It has every method the engine calls, and refuses unknown options."""
    promised = [name for name in vars(Pusher) if not name.startswith("_")]

    assert [name for name in promised if not callable(getattr(pusher, name, None))] == []
    assert JsonLines.Options.model_config["extra"] == "forbid"
    assert (await pusher.check([TABLE]))[0].where.endswith("out.jsonl")
    assert pusher.route("a") != pusher.route("b")
    assert pusher.event_schema(TABLE) is None
