"""The agent with points at which it can be made to die.

``python -m harness.failpoints sqlite`` loads all that an agent needs, and then becomes one after the other: a line of
JSON on its input names arguments, environment and log of a process that is forked off, whose id and, later, exit code
are the answer. So a life costs no start of Python, which takes longer than most lives.

The package knows nothing of them: its functions are wrapped here, before the command line is called.
A point lies before or behind one call, between two effects that outlive the process. The environment says:

* ``FAILPOINT`` - ``name:n``: the process ends itself by SIGKILL when it passes that point for the n-th time.
* ``FAILPOINT_LOG`` - a file that the name of each point passed is appended to, one a line.
* ``PLANTED`` - the bug to run with, of :mod:`harness.planted`.

What the agent does by the clock is hurried, so that a life of seconds holds all of it.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from harness.nursery import end_with_parent

Fits = Callable[[tuple[Any, ...], dict[str, Any], Any], bool]


def _always(_given: tuple[Any, ...], _named: dict[str, Any], _result: Any) -> bool:
    return True


class Point(NamedTuple):
    """Behind (or, with ``before``, in front of) those calls of ``target`` that fit."""

    name: str
    target: str
    fits: Fits = _always
    before: bool = False


HALF = "half of a request sent"
ENGINE = (
    # What is made once, when the agent starts for the first time.
    Point("journal half made", "fuagent.journal_versions:tell", lambda given, *_: given[1] == "version"),
    Point("journal made", "fuagent.journal:_connect"),
    Point("agent id noted", "fuagent.journal:Journal.remember_agent_id"),
    Point("document's copy kept", "fuagent.pushers.documents:LastGood.keep"),
    Point("source prepared", "fuagent.engine.pipeline:_Session._begin", before=True),
    Point("checkpoint heard", "fuagent.pushers.openapi:OpenAPI.checkpoint"),
    Point("first snapshot noted", "fuagent.engine.pipeline:_Session._from_the_beginning"),
    # A snapshot, from its beginning to its end.
    Point("run counted", "fuagent.engine.sync:Sync.next_run"),
    Point("picture taken", "{source}.snapshot"),
    Point("snapshot begun", "fuagent.engine.snapshot:Snapshot._begin"),
    Point("changes before the snapshot sent", "fuagent.engine.snapshot:Snapshot._changes"),
    Point("last row's index noted", "fuagent.engine.snapshot:Snapshot._number"),
    Point(
        "snapshot rows acknowledged",
        "fuagent.engine.ledger:Ledger.delivered",
        lambda _given, named, _result: not named["streaming"],
    ),
    Point("last row acknowledged", "fuagent.engine.snapshot:Snapshot._rows"),
    Point("all rows noted", "fuagent.engine.snapshot:Snapshot.finish", before=True),
    Point(
        "end marker acknowledged",
        "fuagent.engine.delivery:Delivery.flags",
        lambda _given, named, _result: named["end"],
    ),
    Point("snapshot noted as done", "fuagent.engine.snapshot:Snapshot.finish"),
    # A change, from the log to the confirmation.
    Point("place found", "fuagent.engine.pipeline:_Session._resume"),
    Point("rows read", "fuagent.engine.batcher:Batcher.add", lambda given, *_: bool(given[1].rows)),
    Point("request made", "fuagent.contract.payload:body"),
    Point("request sent", "fuagent.pushers.upload:Upload.write_with_length"),
    Point("answer begun", "fuagent.pushers.client:_answer", lambda given, *_: given[0].method == "POST", before=True),
    Point(
        "answer read",
        "fuagent.pushers.openapi:OpenAPI.push",
        lambda _given, _named, result: result.verdict.name == "ACKNOWLEDGED",
    ),
    Point("journal half written", "fuagent.journal:SyncJournal._write", lambda given, *_: given[3] is not None),
    Point("journal written", "fuagent.journal:SyncJournal.advance", lambda given, *_: given[2] is not None),
    Point(
        "journal written inside a transaction",
        "fuagent.journal:SyncJournal.advance",
        lambda given, *_: given[2] is not None and bool(given[2].place.resume_after),
    ),
    Point(
        "place moved without rows",
        "fuagent.engine.ledger:Ledger.moved",
        lambda given, *_: given[1] is not None,
    ),
    Point("journal flushed", "fuagent.journal:SyncJournal.flush"),
    Point("source told", "{source}.acknowledge"),
    # What is asked for, and what goes wrong.
    Point(
        "snapshot asked for noted",
        "fuagent.engine.ledger:Ledger.delivered",
        lambda _given, named, _result: named["asked"] is not None,
    ),
    Point("row set aside", "fuagent.journal:SyncJournal.set_aside"),
    Point("loss noted", "fuagent.engine.sync:Sync.lose"),
    Point("source put right", "{source}.prepare", lambda _given, named, _result: named.get("mend", False)),
    Point("oldest place found", "{source}.oldest"),
)
SOURCES = {
    "sqlite": "fuagent.sources.sqlite.source:SQLite",
    "mysql": "fuagent.sources.mysql.source:MySQL",
    "postgres": "fuagent.sources.postgres.source:Postgres",
}
OWN = {
    "sqlite": (
        Point("triggers half installed", "fuagent.sources.sqlite.install:install"),
        Point("triggers installed", "fuagent.sources.sqlite.source:SQLite._fit"),
        Point("mark written", "fuagent.sources.sqlite.source:SQLite._shot", before=True),
        Point(
            "log half cut",
            "fuagent.sources.sqlite.versions:put",
            lambda given, *_: given[2] == "acknowledged" and given[3] > 0,
        ),
        Point("log cut", "fuagent.sources.sqlite.cleaning:Cleaner._piece"),
    ),
    "mysql": (),
    "postgres": (
        Point("publication made", "fuagent.sources.postgres.slots:Keeper._make"),
        Point("slot made", "fuagent.sources.postgres.slots:make_slot"),
        Point("publication marked", "fuagent.sources.postgres.slots:Keeper._mark"),
        Point("slot dropped", "fuagent.sources.postgres.slots:drop_slot"),
        Point(
            "server told",
            "fuagent.sources.postgres.channel:Plain.send",
            lambda given, *_: given[1][:1] == b"r" and any(given[1][9:17]),
        ),
    ),
}
HURRIED = {
    "fuagent.engine.pipeline": {"ASK_AGAIN_EVERY": 0.05},
    "fuagent.engine.retry": {"FIRST": 0.05, "SLOW_FIRST": 0.05, "CEILING": 0.2},
    "fuagent.engine.snapshot": {"PAUSE_FIRST": 0.1, "PAUSE_MOST": 0.1},
    "fuagent.engine.sync": {"PAUSE_FIRST": 0.1, "PAUSE_MOST": 0.1},
    "fuagent.engine.watch": {"ASK_EVERY": 0.1, "SECOND_LOOK": 0.02},
    "fuagent.sources.sqlite.cleaning": {"EVERY": 0.05},
}
"""What is done by the clock, and how many seconds it waits here."""


class Fate:
    """Counts what is passed, and ends the process at the moment that was chosen."""

    def __init__(self, chosen: str, log: str) -> None:
        self._name, _, times = chosen.rpartition(":")
        self._times = int(times or 0)
        self._passed: Counter[str] = Counter()
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT) if log else None

    def strikes(self, name: str) -> bool:
        """Note that a point is passed; whether this is the moment."""
        self._passed[name] += 1
        if self._log is not None:
            os.write(self._log, f"{name}\n".encode())
        return name == self._name and self._passed[name] == self._times

    def meet(self, name: str) -> None:
        """Pass a point, or die there."""
        if self.strikes(name):
            die()


def die() -> None:
    """End this process with all its threads, so that nothing is closed, flushed or said."""
    os.kill(os.getpid(), signal.SIGKILL)


def points(source: str) -> tuple[Point, ...]:
    """Those of the engine and of one source."""
    return (
        *(point._replace(target=point.target.replace("{source}", SOURCES[source])) for point in ENGINE),
        *OWN[source],
    )


def place(target: str) -> tuple[Any, str]:
    """The module or class that holds a function, and the function's name."""
    module, _, path = target.partition(":")
    *owners, name = path.split(".")
    return functools.reduce(getattr, owners, importlib.import_module(module)), name


def wrap(point: Point, fate: Fate) -> None:
    """Put the point where it belongs."""
    owner, name = place(point.target)
    whole = getattr(owner, name)

    def passed(given: tuple[Any, ...], named: dict[str, Any], result: Any) -> None:
        if point.fits(given, named, result):
            fate.meet(point.name)

    @functools.wraps(whole)
    async def slowly(*given: Any, **named: Any) -> Any:
        if point.before:
            passed(given, named, None)
        result = await whole(*given, **named)
        if not point.before:
            passed(given, named, result)
        return result

    @functools.wraps(whole)
    def at_once(*given: Any, **named: Any) -> Any:
        if point.before:
            passed(given, named, None)
        result = whole(*given, **named)
        if not point.before:
            passed(given, named, result)
        return result

    setattr(owner, name, slowly if inspect.iscoroutinefunction(whole) else at_once)


def _wrap_half(fate: Fate) -> None:
    """A request that breaks off in the middle of its body."""
    from fuagent.pushers.upload import Upload

    whole = Upload.write_with_length

    async def write(self: Upload, writer: Any, content_length: int | None) -> None:
        if fate.strikes(HALF):
            await whole(self, writer, self.size // 2)
            await asyncio.sleep(0)
            die()
        await whole(self, writer, content_length)

    Upload.write_with_length = write  # type: ignore[method-assign]


def _live(source: str) -> None:
    """Make the points, and be the agent."""
    from fuagent.cli import main as agent
    from harness.planted import plant

    for module, values in HURRIED.items():
        for name, value in values.items():
            setattr(importlib.import_module(module), name, value)
    plant(os.environ.get("PLANTED", ""))
    fate = Fate(os.environ.get("FAILPOINT", ""), os.environ.get("FAILPOINT_LOG", ""))
    _wrap_half(fate)
    for point in points(source):
        wrap(point, fate)
    agent()


def _fork(source: str, job: dict[str, Any]) -> int:
    """Begin a life; gives its process id."""
    pid = os.fork()
    if pid:
        return pid
    end_with_parent()
    log = os.open(job["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(job["env"])
    sys.argv = job["argv"]
    _live(source)
    raise SystemExit


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def main() -> None:
    """Load everything, and begin a life for each line of the input."""
    end_with_parent()
    [source] = sys.argv[1:]
    for point in points(source):
        place(point.target)
    for module in ("fuagent.cli", "fuagent.app", "fuagent.listen", "harness.planted"):
        importlib.import_module(module)
    for line in sys.stdin:
        pid = _fork(source, json.loads(line))
        _tell(pid)
        _tell(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    main()
