"""The course of one soak: writers, agent, service and nemesis, looked at five times a second, and what came of it."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from soak_dialects import rows_of
from soak_ground import WRITERS, Ground
from soak_nemesis import SERVERS, SoakedSqlite, SoakNemesis, Strike
from soak_table import SHARED

from fuagent.errors import FuagentError
from harness.agent import Agent, config, until
from harness.proxy import Proxy

LOOK = 0.2
"""Seconds between two looks."""
AT_REST = 1.0
"""Seconds: the lag counts as zero when nothing is missing that was committed so long ago."""
PATIENCE = 120.0
"""Seconds after the last fault until it is given up that both sides become equal."""
SHOWN = 10
"""Differences that are told in words."""
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for. All times are seconds."""

    seconds: float
    rate: float
    seed: int
    pauses: tuple[float, float] = (5.0, 20.0)
    """Between two faults, at least and at most."""
    scale: float = 1.0
    """What the faults' own durations are multiplied by."""
    ddl: float = 20.0
    """Between two alterations of the table, about."""
    strikes: int = 0
    """Faults that there are in any case, however long that takes."""
    killing: float = 1 / 7
    """For how large a share of the time the agent may be killed; then one process lives on, so that growth shows."""

    @property
    def calm(self) -> float:
        """When the last fault must be over."""
        return self.seconds - min(45.0, 0.3 * self.seconds)

    @property
    def kills(self) -> float:
        """Until when the agent may be killed."""
        return self.killing * self.seconds


@dataclass(frozen=True, slots=True)
class Sample:
    """One second's look. ``rss`` and ``journal`` are bytes; ``life`` counts the agent's processes."""

    time: float
    committed: int
    applied: int
    lag: float
    events: int
    life: int
    rss: int
    fds: int
    threads: int
    journal: int


@dataclass(slots=True)
class Course:
    """What was seen."""

    samples: list[Sample] = field(default_factory=list)
    strikes: list[Strike] = field(default_factory=list)
    writers: dict[str, Any] = field(default_factory=dict)
    service: dict[str, Any] = field(default_factory=dict)
    to_zero: float | None = None
    """Seconds from the end of the last fault until the lag was zero; None when it never was."""
    worst: float = 0.0
    """The longest lag of all looks."""
    audits: int = 0
    """How often the agent's own word was held against the service."""
    faults: list[str] = field(default_factory=list)
    """What may not be."""


class Child:
    """One of our processes beside this one; it ends when its input does."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        """The next line it prints; raises when there is none, for then it has failed."""
        assert self._process.stdout is not None
        text = (await self._process.stdout.readline()).decode()
        assert text, f"a process of the soak ended with {await self._process.wait()}; what it said stands above"
        return text

    def order(self, word: str) -> None:
        """Tell it something."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())

    @classmethod
    @asynccontextmanager
    async def running(cls, program: str, *arguments: str) -> AsyncIterator[Child]:
        """Start one, and end it at the end."""
        command = [sys.executable, str(HERE / program), *arguments]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=1 << 26)
        try:
            yield cls(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), 20)
            except TimeoutError:
                process.kill()
                await process.wait()


class Soak:
    """One run on one database."""

    def __init__(self, plan: Plan, ground: Ground, directory: Path) -> None:
        self.plan = plan
        self.course = Course()
        self._ground = ground
        self._directory = directory
        self._chance = random.Random(plan.seed)
        self._clock = asyncio.get_running_loop().time
        self._start = 0.0
        self._told: dict[str, Any] = {}
        """The writers' last line."""
        self._seen: dict[str, Any] = {"tx": {}, "counts": {}, "checkpoint": 0, "ends": 0}
        """The service's last report."""
        self._owed: dict[str, deque[tuple[float, int]]] = {}
        """For each writer when it was seen to have committed how much, from the first that has not arrived."""
        self._life = 0
        self._pid = 0

    async def run(self) -> Course:
        """From the first row to the comparison of both sides."""
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            writers = await enter(self._writers())  # it makes its rows while the service starts
            service = await enter(Child.running("soak_service.py"))
            port = int(await service.line())
            self._client = await enter(aiohttp.ClientSession(f"http://127.0.0.1:{port}"))
            to_service = await enter(Proxy(port))
            to_database = await enter(Proxy(self._ground.server.port if self._ground.server else 1))
            agent = await enter(Agent(self._directory, self._settings(to_service.port, to_database.port)))
            self._told = json.loads(await writers.line())
            try:
                await agent.start()
                await until(self._has_snapshot, "the first snapshot has ended")
                await self._live(agent, writers, self._nemesis(agent, to_service, to_database))
            except AssertionError as error:
                error.add_note(f"the agent's log ends with\n{agent.text()[-3000:]}")
                raise
        return self.course

    def _settings(self, service: int, database: int) -> dict[str, Any]:
        document = f"http://127.0.0.1:{service}/openapi.json"
        sync = {"tables": ["w"], "timeout": 5}  # less than a service that hangs may take
        return config(Path("none"), document, source=self._ground.source(database), sync=sync)

    def _writers(self) -> Any:
        kind, plan = self._ground.kind, self.plan
        options = {"--rate": plan.rate, "--writers": WRITERS[kind], "--seed": plan.seed, "--ddl": plan.ddl}
        told = [str(part) for option in options.items() for part in option]
        return Child.running("soak_writers.py", kind, self._ground.place, *told)

    def _nemesis(self, agent: Agent, to_service: Proxy, to_database: Proxy) -> SoakNemesis:
        server = self._ground.server
        if server is None:
            database: Any = SoakedSqlite(self._ground.place, self._chance, self.plan.scale)
        else:
            database = SERVERS[self._ground.kind](server, to_database, agent, self._chance)
            database.checkpoint = lambda: self._seen["checkpoint"]
        return SoakNemesis(agent, database, to_service, self._tell, self._requests, self._chance, self.plan.scale)

    def _requests(self) -> int:
        return int(self._seen["counts"].get("requests", 0))

    async def _tell(self, fate: str, seconds: float) -> None:
        async with self._client.post("/soak/fate", json={"fate": fate, "seconds": seconds}) as answer:
            answer.raise_for_status()

    async def _has_snapshot(self) -> bool:
        await self._ask()
        return bool(self._seen["ends"])

    async def _ask(self) -> bool:
        """What the service has seen; while it is down, what it had. Gives whether it answered."""
        with suppress(aiohttp.ClientError, OSError):
            async with self._client.get("/soak/report") as answer:
                self._seen = await answer.json()
                return True
        return False

    # The course

    async def _live(self, agent: Agent, writers: Child, nemesis: SoakNemesis) -> None:
        self._start = self._clock()
        writers.order("go")
        listening = asyncio.create_task(self._listen(writers))
        looking = asyncio.create_task(self._look_on(agent))
        auditing = asyncio.create_task(self._audit(agent))
        beside = (listening, looking, auditing)
        try:
            await self._first_of(self._strike(nemesis), *beside)
            await self._first_of(self._return_to_zero(nemesis), *beside)
            await self._first_of(asyncio.sleep(self._start + self.plan.seconds - self._clock()), *beside)
            writers.order("stop")
            await asyncio.wait_for(listening, PATIENCE)
            await self._compare()
            await self._hold_to_its_word(await agent.state("caught up"))
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        self.course.strikes = nemesis.struck
        self.course.service = self._seen
        self.course.writers = {name: told for name, told in self._told.items() if name != "held"}
        assert await agent.end() == 0

    @staticmethod
    async def _first_of(act: Any, *others: asyncio.Task[None]) -> None:
        """Do this; if one of the others fails meanwhile, so does this."""
        task = asyncio.ensure_future(act)
        done, _ = await asyncio.wait({task, *others}, return_when=asyncio.FIRST_COMPLETED)
        if task not in done:
            task.cancel()
        for one in done:
            await one

    async def _strike(self, nemesis: SoakNemesis) -> None:
        while True:
            pause = self._chance.uniform(*self.plan.pauses)
            enough = len(nemesis.struck) >= self.plan.strikes
            if enough and self._clock() + pause > self._start + self.plan.calm:
                return
            await asyncio.sleep(pause)
            await nemesis.strike(self._start, kills=self._clock() - self._start < self.plan.kills)

    async def _return_to_zero(self, nemesis: SoakNemesis) -> None:
        """Under load as before: everything that is older than a moment has arrived."""
        last = self._start + max((strike.end for strike in nemesis.struck), default=0.0)
        while self._lag() > AT_REST:
            if self._clock() > last + PATIENCE:
                return
            await asyncio.sleep(LOOK / 2)
        self.course.to_zero = self._clock() - last

    async def _listen(self, writers: Child) -> None:
        while "held" not in self._told:
            self._told = json.loads(await writers.line())
            for writer, tx in self._told["tx"].items():
                self._owed.setdefault(writer, deque()).append((self._clock(), tx))

    def _lag(self) -> float:
        """Seconds since the oldest commit that has not arrived, as far as looks can tell."""
        oldest = self._clock()
        for writer, owed in self._owed.items():
            while owed and owed[0][1] <= self._seen["tx"].get(writer, 0):
                owed.popleft()
            oldest = min([oldest, *(when for when, _ in list(owed)[:1])])
        return self._clock() - oldest

    async def _look_on(self, agent: Agent) -> None:
        while True:
            await self._ask()
            lag = self._lag()
            self.course.worst = max(self.course.worst, lag)
            if self._clock() - self._start >= len(self.course.samples) + 1:
                self.course.samples.append(self._sample(agent, lag))
            await asyncio.sleep(LOOK)

    async def _audit(self, agent: Agent) -> None:
        """Ask the agent now and then; it may be dead, or stand still."""
        while True:
            with suppress(TimeoutError, OSError, FuagentError):
                async with asyncio.timeout(1.0):  # wait_for may lose a cancellation, before Python 3.12
                    await self._hold_to_its_word(await agent.status())
            await asyncio.sleep(1.0)

    async def _hold_to_its_word(self, status: dict[str, Any]) -> None:
        """It never says that something was acknowledged which the service has not applied."""
        said = status.get("index") or 0
        if said and await self._ask():
            self.course.audits += 1
            applied = self._seen["checkpoint"]
            if said > applied:
                self.course.faults.append(f"the agent says that {said} was acknowledged, and {applied} was applied")

    def _sample(self, agent: Agent, lag: float) -> Sample:
        assert agent.process is not None
        if agent.process.pid != self._pid:
            self._pid, self._life = agent.process.pid, self._life + 1
        rss = fds = threads = journal = 0
        with suppress(psutil.Error):
            process = psutil.Process(self._pid)
            rss, fds, threads = process.memory_info().rss, process.num_fds(), process.num_threads()
        for path in agent.state_dir.rglob("*"):
            with suppress(OSError):
                journal += path.stat().st_size
        committed, applied = (sum(told["tx"].values()) for told in (self._told, self._seen))
        events = self._seen["counts"].get("events", 0)
        when = self._clock() - self._start
        return Sample(when, committed, applied, lag, events, self._life, rss, fds, threads, journal)

    # The end

    async def _compare(self) -> None:
        """Both sides row by row, once the service has everything; and the table with what the writers know."""
        ours = await asyncio.to_thread(rows_of, self._ground.dialect)
        found = ["nothing was compared"]

        async def equal() -> bool:
            nonlocal found
            async with self._client.get("/soak/rows") as answer:
                found = differences(ours, {row["id"]: row for row in (await answer.json())["rows"]})
            return not found

        with suppress(AssertionError):  # told below
            await until(equal, "both sides are equal", PATIENCE)
        await self._ask()
        if self._told["tx"] != self._seen["tx"]:
            found.append(f"transactions committed: {self._told['tx']}, seen by the service: {self._seen['tx']}")
        held = {int(key): version for key, version in self._told["held"].items()}
        own = {key: row["ver"] for key, row in ours.items() if key not in SHARED}
        if own != held:
            found.append(f"the table is not what the writers left: {sorted(own.items() ^ held.items())[:10]}")
        self.course.faults += [*self._seen["told"], *found[:SHOWN], *([f"… {len(found)} in all"] if found else [])]


def differences(ours: dict[int, dict[str, Any]], theirs: dict[int, dict[str, Any]]) -> list[str]:
    """Where the service's rows are not the table's."""
    found = [f"row {key} is missing at the service" for key in sorted(ours.keys() - theirs.keys())]
    found += [f"row {key} should be gone at the service" for key in sorted(theirs.keys() - ours.keys())]
    same = sorted(ours.keys() & theirs.keys())
    return found + [f"row {key} is {theirs[key]}, not {ours[key]}" for key in same if ours[key] != theirs[key]]
