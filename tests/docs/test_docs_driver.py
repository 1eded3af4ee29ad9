"""The pusher of the driver guide is a driver, and does what the guide says."""

import json
import re

import pytest
from jsonlines import JsonLines
from jsonlines_kit import TestJsonLines as JsonLinesSuite

from fuagent import Batch, Column, HaltSyncError, Kind, Pusher, PusherContext, Table, TableSpec, Verdict
from fuagent.model import Mapping
from fuagent.testing.source_suite import SourceSuite

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
    flags = {"end": False, "suggested": False}
    assert [{"table": "orders", **flags, "events": [{"id": n, "index": n}]} for n in (1, 2)] == lines


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


class TestSuite(JsonLinesSuite):
    """The suite as the guide subclasses it."""


def test_the_guide_names_every_reason(root, page):
    """Each ``no_…`` attribute of the suites is in the guide, with what it leaves out."""
    text = page("docs/how-to/write-a-driver.md")
    names = {name for suite in (SourceSuite, JsonLinesSuite) for name in dir(suite) if name.startswith("no_")}

    assert sorted(name for name in names if f"`{name}`" not in text) == []


def test_the_encoder_is_used_as_the_guide_says(page):
    """The lines of the guide write rows, with and without numbers."""
    [code] = re.findall(r"```python\n(from fuagent\.encode.+?)```", page("docs/how-to/write-a-driver.md"), re.DOTALL)
    names = {"spec": TableSpec(TABLE, Mapping()), "rows": [(1,), (2,)], "indexes": [5, 6], "deleted": None}
    exec(code.replace("texts = encoder.rows(rows) ", "bare = encoder.rows(rows) "), names)

    assert list(names["bare"]) == [b'{"id":1}', b'{"id":2}']
    assert list(names["texts"]) == [b'{"id":1,"index":5}', b'{"id":2,"index":6}']


def test_the_guide_leads_to_the_example_package(root, page):
    """Everything the guide points to in the example package is there."""
    text = page("docs/how-to/write-a-driver.md")
    named = set(re.findall(r"\.\./\.\./(examples/[\w./-]+)", text))

    assert "examples/driver-package/README.md" in named
    assert [name for name in named if not (root / name).is_file()] == []
