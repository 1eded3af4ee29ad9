"""Lives of a real agent that dies at chosen points, in front of a real database that is written to and a rough service.

A `Story` has chapters: the first start, a snapshot, changes, a snapshot that is asked for, a lost place. In each the
agent dies at every point there is, and the next life goes on with what the dead one left. Behind the changes, and at
the end, both sides are compared.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Self

from aiohttp import web

from harness.agent import DEADLINE, Agent, config
from harness.convergence import assert_converged
from harness.failpoints import HALF
from harness.nursery import Life
from harness.service import Request, Service, document
from harness.workload import Workload

TESTS = Path(__file__).parents[1]
LARGEST = 30_000
"""Bytes of a body that the service takes at most: less than most batches of rows with large values."""
INSIDE, MOVED = "journal written inside a transaction", "place moved without rows"
TAKEN, APPLIED = "request taken by the service", "request applied by the service"
MARKED, HEARD = "end marker applied by the service", "suggestion accepted by the service"


class Chapter(NamedTuple):
    """Points where the agent dies, in this order unless it may be ``shuffled``.

    ``written``: whether the tables are written to meanwhile. ``again``: the highest number of times that a point is
    passed before the agent dies of it.
    """

    points: tuple[str, ...]
    written: bool = True
    shuffled: bool = False
    again: int = 1


OPENING = {
    "sqlite": ("triggers half installed", "triggers installed"),
    "mysql": (),
    "postgres": ("publication made", "slot made", "publication marked"),
}
BEGIN = ("journal half made", "journal made", "agent id noted", "document's copy kept")
SNAPSHOT = Chapter(
    (
        "run counted",
        "picture taken",
        "snapshot begun",
        "changes before the snapshot sent",
        "last row's index noted",
        "snapshot rows acknowledged",
    ),
    shuffled=True,
)
LAST_ROWS = Chapter(
    ("last row acknowledged", "all rows noted", MARKED, "end marker acknowledged", "snapshot noted as done"),
    written=False,
)
CHANGES = (
    "place found",
    "rows read",
    "request made",
    HALF,
    "request sent",
    TAKEN,
    APPLIED,
    "answer begun",
    "answer read",
    "journal half written",
    "journal written",
    INSIDE,
    "journal flushed",
    "source told",
)
ONCE = ("place found",)
"""What may be passed but once in a life."""
CONFIRMED = {"sqlite": ("log half cut", "log cut"), "mysql": (), "postgres": ("server told",)}
ASKED = Chapter(("snapshot asked for noted", "snapshot begun", "last row acknowledged", MARKED))
LOST = {
    "sqlite": ("loss noted", "source put right", "oldest place found", "place found", HEARD),
    "mysql": ("loss noted", "oldest place found", "place found", HEARD),
    "postgres": ("loss noted", "slot dropped", "publication made", "slot made", "oldest place found", HEARD),
}


class Mortal(Agent):
    """An agent of which `harness.failpoints` is a part, so that each life can be given its end."""

    def __init__(self, directory: Path, settings: Mapping[str, Any], source: str, bug: str = "") -> None:
        super().__init__(directory, settings)
        self.passed = directory / "passed"
        self._source = source
        self._planted = bug
        self._nursery: asyncio.subprocess.Process | None = None
        self.doomed = ""
        """Where the next life is to end: a point's name, and the number of times that it is passed."""

    async def start(self, *arguments: str) -> None:
        """Begin a life of ``fuagent run``."""
        if self._nursery is None:
            self._nursery = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "harness.failpoints", self._source),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**self.env, "PYTHONPATH": str(TESTS)},
            )
        into, out = self._nursery.stdin, self._nursery.stdout
        assert into is not None
        assert out is not None
        told = {"FAILPOINT": self.doomed, "FAILPOINT_LOG": str(self.passed), "PLANTED": self._planted}
        argv = ["fuagent", "--config", str(self.path), "run", *arguments]
        into.write(json.dumps({"env": told, "log": str(self.log), "argv": argv}).encode() + b"\n")
        self.process = Life(int(await out.readline()), out)

    @property
    def dead(self) -> bool:
        """Whether its last process has ended."""
        return self.process is not None and self.process.returncode is not None

    async def close(self) -> None:
        """End whatever there is of it."""
        if self.process is not None:
            await self.kill()
        if self._nursery is not None and self._nursery.stdin is not None:
            self._nursery.stdin.close()
            await self._nursery.wait()


class Rough(Service):
    """A service in the same good faith as any, with bad moments.

    It answers 503, 413 and 302, loses requests and replies, asks for a snapshot when it is told to, accepts every suggestion, and
    takes away what a snapshot did not hold.
    """

    def __init__(self, doc: dict[str, Any], chance: random.Random) -> None:
        super().__init__(doc)
        self._chance = chance
        self.answer, self.answer_status = self._roughly, self._status
        self.wants_snapshot = False
        self.at_once = 0
        """Requests that came while another one was not answered."""
        self.suggested = 0
        self.refused: int | None = None
        """The key of a row that no request may hold."""
        self.on: Callable[[str, Request], Any] = _nothing
        """Called before and behind the taking in of a request."""
        self._under_way = self._asked = self._came = 0
        self._seen: dict[str, set[int]] = {}
        """The keys of a snapshot under way, by path."""
        self._home: dict[int, str] = {}

    async def _post(self, request: Request) -> web.StreamResponse:
        self.at_once += self._under_way > 0
        self._under_way += 1
        try:
            return await super()._post(request)
        finally:
            self._under_way -= 1

    async def _status(self, request: Request) -> web.StreamResponse | None:
        if request.path == "/elsewhere":
            return web.json_response({})
        self._asked += 1
        return web.json_response({}, status=500) if self._asked % 6 > 3 else None

    async def _roughly(self, request: Request) -> web.StreamResponse | None:
        await asyncio.sleep(self._chance.random() * 0.005)
        fate = self._chance.random()
        if len(request.body) > LARGEST:
            return web.json_response({}, status=413)
        if any(event["id"] == self.refused for event in request.json["events"]):
            return web.json_response({}, status=422)
        if fate < 0.03:
            return web.json_response({}, status=503)
        if fate < 0.05:
            return web.Response(status=302, headers={"location": "/elsewhere"})
        self._came += 1
        if self._came % 12 in (9, 10):  # twice in a row: behind the first the same bytes come again at once
            _hang_up(request)
            return web.Response()  # which nobody hears, and nothing was taken
        await self._reach(TAKEN, request)
        self.apply(request)
        await self._reach(APPLIED, request)
        if request.json["is_snapshot_end"]:
            await self._reach(MARKED, request)
        if request.json["snapshot_sync_suggested"]:
            self.suggested += 1
            await self._reach(HEARD, request)
            return web.json_response({"snapshot_needed": True})
        if fate < 0.07:
            _hang_up(request)
            return web.Response()  # which nobody hears: a wish stays one
        wanted, self.wants_snapshot = self.wants_snapshot, False
        return web.json_response({"snapshot_needed": wanted})

    async def _reach(self, point: str, request: Request) -> None:
        await self.on(point, request)

    def apply(self, request: Request) -> None:
        """See `Service`; behind an end marker only the rows of its snapshot, and what came with it, are left."""
        path, events = request.path, request.json["events"]
        if any("index" not in event for event in events):
            self._seen.setdefault(path, set())
        if path in self._seen:
            self._seen[path].update(event["id"] for event in events)
        self._home.update((event["id"], path) for event in events)
        super().apply(request)
        if request.json["is_snapshot_end"] and path in self._seen:
            seen = self._seen.pop(path)
            for key in [key for key in self.rows if self._home[key] == path and key not in seen]:
                del self.rows[key]


async def _nothing(_point: str, _request: Request) -> None:
    pass


def _hang_up(request: Request) -> None:
    assert request.raw.transport is not None
    request.raw.transport.abort()


@dataclass
class Told:
    """What became of a story: how often the agent passed each point, and how often it died there."""

    passed: Counter[str] = field(default_factory=Counter)
    died: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    transactions: int = 0

    def text(self, source: str, stories: int) -> str:
        """The same for people."""
        deaths = f"{source}: {self.died.total()} deaths in {stories} stories (seeds 1 to {stories})"
        lines = [
            f"{deaths}, {self.transactions} transactions, {self.requests} requests.",
            "Nothing was lost, and the order was kept.",
            "",
            f"{'died':>6} {'passed':>8}  point",
            *(f"{self.died[point]:>6} {self.passed[point]:>8}  {point}" for point in everywhere(source)),
        ]
        return "\n".join(lines) + "\n"


def parts(source: str) -> dict[str, list[str]]:
    """The parts of a whole story, and the points where an agent dies in each, in the order of chapters."""
    kind = {"mariadb": "mysql"}.get(source, source)
    moved = () if kind == "sqlite" else (MOVED,)
    return {
        "snapshot": [*_opening(kind), *SNAPSHOT.points, *LAST_ROWS.points],
        "changes": [*CHANGES, *CONFIRMED[kind], *moved],
        "wishes and losses": [*ASKED.points, *LOST[kind]],
    }


def everywhere(source: str) -> list[str]:
    """Every point where an agent dies in a whole story, in the order of chapters."""
    return list(dict.fromkeys(chain.from_iterable(parts(source).values())))


def _opening(kind: str) -> tuple[str, ...]:
    return (*BEGIN, *OPENING[kind], "source prepared", "checkpoint heard", "first snapshot noted")


class Story:
    """One agent, one database, one service.

    Args:
        source: The source of a configuration.
        workloads: The tables, which nobody writes to yet.
        lose: What takes the log away from under the agent.
        bug: Of `harness.planted`.
        told: What is counted on.
        sync: More of the sync's configuration.
    """

    def __init__(
        self,
        directory: Path,
        source: Mapping[str, Any],
        workloads: list[Workload],
        lose: Callable[[], Any],
        seed: int,
        bug: str = "",
        told: Told | None = None,
        sync: Mapping[str, Any] | None = None,
    ) -> None:
        self.told = told or Told()
        self._sync = {"tables": [workload.table for workload in workloads], "batch_size": 25, **(sync or {})}
        self.workloads = workloads
        self._lose = lose
        self._chance = random.Random(seed)
        self._kind = str(source["driver"])
        self.service = Rough(_document(workloads), random.Random(seed))
        self._directory, self._source, self._bug = directory, source, bug

    async def __aenter__(self) -> Self:
        await self.service.start()
        pusher = {"driver_params": {"batch_endpoint": "/{table}"}}
        settings = config(Path("none"), self.service.openapi, source=self._source, sync=self._sync, pusher=pusher)
        self.agent = Mortal(self._directory, settings, self._kind, self._bug)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.agent.close()
        await self.service.stop()
        passed = self.agent.passed
        self.told.passed.update(passed.read_text().splitlines() if passed.exists() else ())
        self.told.requests += len(self.service.posts)
        self.told.transactions += sum(len(workload.ledger) for workload in self.workloads)

    async def whole(self, again: int = 2) -> None:
        """All chapters."""
        for part in parts(self._kind):
            await self.part(part, again)

    async def part(self, part: str, again: int = 2) -> None:
        """The chapters of one of `parts`; all but the first need a snapshot that was taken."""
        if part == "snapshot":
            await self.chapter(Chapter(_opening(self._kind)))
            await self.chapter(SNAPSHOT)
            await self.chapter(LAST_ROWS)
        elif part == "changes":
            await self.changes((*CHANGES, *CONFIRMED[self._kind]), again)
        else:
            await self.chapter(ASKED._replace(points=ASKED.points[:1]), self._ask)
            await self.chapter(ASKED._replace(points=ASKED.points[1:]))
            await self.rest()
            await self.losing()

    async def calm(self) -> None:
        """A life without a fault, which ends when all there is was sent."""
        self.agent.doomed = ""
        assert await self.agent.once() == 0, self.agent.text()[-3000:]

    async def changes(self, points: Iterable[str], again: int) -> None:
        """Changes are made, and every one of them has to arrive."""
        for workload in self.workloads:
            workload.after = workload.ledger[-1].tx
        ends = self.service.ends
        await self.chapter(Chapter(tuple(points), shuffled=True, again=again))
        await self.rest(ends)
        if self._kind != "sqlite":  # which logs no other tables
            await self.chapter(Chapter((MOVED,), written=False), self._write_elsewhere)
            await self.rest(ends)
        for workload in self.workloads:
            workload.after = None

    async def losing(self) -> None:
        """The log is gone, with changes that nobody has read."""
        await self._write(5)
        await asyncio.to_thread(self._lose)
        ends = self.service.ends
        await self.chapter(Chapter(LOST[self._kind]))
        await self.rest()
        assert self.service.suggested, "the gap was never told"
        assert self.service.ends > ends, "the gap was never closed"

    def _ask(self) -> None:
        self.service.wants_snapshot = True

    async def chapter(self, chapter: Chapter, before: Callable[[], Any] = lambda: None) -> None:
        """Die at each of its points; ``before`` is called before each of these lives."""
        points = list(chapter.points)
        if chapter.shuffled:
            self._chance.shuffle(points)
        for point in points:
            before()
            times = 1 if point in ONCE else self._chance.randint(1, chapter.again)
            await self._die(point, times, written=chapter.written)

    async def rest(self, ends: int | None = None) -> None:
        """Nobody writes any more; the agent comes to an end by itself, and both sides are compared.

        ``ends``: so many end markers had come before anything was owed change by change.
        """
        await self.calm()
        service = self.service
        found = ["two requests were under way at the same time"] if service.at_once else []
        found += ["a snapshot was taken without a cause"] if ends not in (None, service.ends) else []
        found += ["a snapshot was suggested without a cause"] if ends is not None and service.suggested else []
        try:
            await asyncio.to_thread(assert_converged, service, *self.workloads)
        except AssertionError as error:
            found.append(str(error))
        assert not found, "\n".join(found)

    async def _die(self, point: str, times: int, *, written: bool) -> None:
        left = times

        async def on(reached: str, _request: Request) -> None:
            nonlocal left
            self.told.passed[reached] += 1
            left -= reached == point
            if left == 0 and not self.agent.dead:
                await self.agent.kill()

        self.service.on = on
        if point == INSIDE:
            await self.calm()  # nothing else is left to be sent
            await asyncio.to_thread(self.workloads[0].run_large)
        elif written:
            await self._write(4)
        self.agent.doomed = f"{point}:{times}"
        await self.agent.start()
        end = asyncio.get_running_loop().time() + DEADLINE
        while not self.agent.dead:
            late = asyncio.get_running_loop().time() > end
            text = self.agent.text()[-3000:]
            assert not late, f"never reached: {point}, {times} times; the log says\n{text}"
            assert '"event":"halted"' not in text, f"halted before {point}, {times} times; the log says\n{text}"
            if written:
                await self._write(1)
            await asyncio.sleep(0.2)
        self.service.on = _nothing
        assert await self.agent.wait() == -signal.SIGKILL, f"{point}: {self.agent.text()[-3000:]}"
        self.told.died[point] += 1

    def _write_elsewhere(self) -> None:
        for one in self.workloads:
            one.database.execute(f"INSERT INTO {one.table}_log VALUES (-1, 'not captured')")

    async def _write(self, transactions: int) -> None:
        await asyncio.gather(*(asyncio.to_thread(one.run, transactions) for one in self.workloads))


def _document(workloads: list[Workload]) -> dict[str, Any]:
    """A service with a path for each table: one event does not say which it is of."""
    found = document(**{"x-fuagent-delete-field": "_deleted"})
    [path] = found["paths"].values()
    return found | {"paths": {f"/{workload.table}": path for workload in workloads}}


FEW_DEATHS = (INSIDE, APPLIED, INSIDE)


async def short(story: Story) -> None:
    """A first snapshot without a death; then changes, with a few."""
    async with story:
        await story.calm()
        await story.changes(FEW_DEATHS, 2)


async def shorts(story: Callable[[int], Story], seeds: Iterable[int] = range(1, 5)) -> None:
    """Short stories, one for each seed: in a single one a bug may be lucky, and not have done its harm when the agent dies."""
    for seed in seeds:
        await short(story(seed))
