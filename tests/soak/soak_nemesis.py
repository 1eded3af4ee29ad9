"""What a soak breaks: one thing after the other, in the agent, its database, its service and the ways between."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from harness.agent import Agent, until
from harness.nemesis import Blow, MariaDBNemesis, Nemesis, PostgresNemesis
from harness.proxy import Proxy

Fate = Callable[[str, float], Awaitable[None]]
"""Tells the service what happens to batches, and for how many seconds."""
FATES = {
    "500": (1, 5),
    "503": (1, 5),
    "429": (1, 5),
    "413": (2, 6),
    "slow": (2, 6),
    "hang": (2, 8),
    "reset": (1, 4),
    "lost": (2, 6),
    "down": (1, 4),
}
"""What a service may do, and for how many seconds at least and at most; a hang may outlast the agent's patience."""


@dataclass(frozen=True, slots=True)
class Strike:
    """What was done, from when to when, in seconds from the start."""

    place: str
    name: str
    start: float
    end: float


class SoakedMariaDB(MariaDBNemesis):
    """Lets go of the log up to the file that the service's checkpoint lies in, and no further."""

    checkpoint: Callable[[], int]

    async def purge(self) -> None:
        """An index is the number of the file times 2^32, and the place in it."""
        name = f"binlog.{self.checkpoint() >> 32:06}"
        if name in await asyncio.to_thread(self.server.binlogs):
            await asyncio.to_thread(self.server.execute, f"PURGE BINARY LOGS TO '{name}'")


class SoakedSqlite:
    """Nobody can kill it: other programs hold its locks."""

    def __init__(self, path: str, chance: random.Random, scale: float) -> None:
        self._path = path
        self._chance = chance
        self._scale = scale

    def blows(self) -> list[Blow]:
        """All of them."""
        return [self.hold_the_lock, self.hold_a_reader, self.end_the_wal]

    async def hold_the_lock(self) -> None:
        """Nobody else writes meanwhile; for longer than the agent waits, or for less."""
        await asyncio.to_thread(self._hold, "BEGIN IMMEDIATE", self._chance.choice((1.0, 7.0)))

    async def hold_a_reader(self) -> None:
        """The WAL cannot be emptied meanwhile."""
        await asyncio.to_thread(self._hold, "BEGIN; SELECT COUNT(*) FROM w", self._chance.uniform(2, 8))

    async def end_the_wal(self) -> None:
        """All of it goes into the database."""
        await asyncio.to_thread(self._run, "PRAGMA wal_checkpoint(TRUNCATE)", 0.0)

    def _hold(self, script: str, seconds: float) -> None:
        self._run(script, seconds * self._scale)

    def _run(self, script: str, seconds: float) -> None:
        with contextlib.closing(sqlite3.connect(self._path, timeout=60, isolation_level=None)) as session:
            for statement in script.split("; "):
                session.execute(statement).fetchall()
            time.sleep(seconds)


class SoakNemesis:
    """Chooses a place, then something that can happen there.

    Args:
        database: Something with ``blows``; the agent is none of its business.
        proxy: Between the agent and its service.
        requests: How many the service has seen.
        scale: What all durations are multiplied by.
    """

    def __init__(
        self,
        agent: Agent,
        database: Any,
        proxy: Proxy,
        fate: Fate,
        requests: Callable[[], int],
        chance: random.Random,
        scale: float,
    ) -> None:
        self.agent = agent
        self.proxy = proxy
        self.struck: list[Strike] = []
        self._fate = fate
        self._requests = requests
        self._before = -1
        """Requests there had been when the agent was started last."""
        self._chance = chance
        self._scale = scale
        told = {f"service {fate}": partial(self.tell, fate) for fate in FATES}
        between = (self.cut_service, self.cut_reply, self.stall_service)
        self._database = named(blow for blow in database.blows() if blow.__name__ != "kill_agent")
        self._service: dict[str, Blow] = {**told, **named(between)}

    async def strike(self, since: float, *, kills: bool) -> None:
        """Do one thing, and wait until it is over.

        Args:
            since: When the soak began, on the loop's clock.
            kills: Whether the agent may be killed.
        """
        clock = asyncio.get_running_loop().time
        place, blows = self._chosen(self._chance.random(), kills=kills)
        name = self._chance.choice(sorted(blows))
        start = clock() - since
        await blows[name]()
        self.struck.append(Strike(place, name, start, clock() - since))

    def _chosen(self, kind: float, *, kills: bool) -> tuple[str, dict[str, Blow]]:
        if kills and kind < 0.4:
            return "agent", named([self.kill_agent])
        if kind > 0.92:
            return "agent", named([self.pause_agent])
        return ("database", self._database) if self._chance.random() < 0.5 else ("service", self._service)

    async def kill_agent(self) -> None:
        """Mostly while it is at work; else at any moment of its start."""
        if self._chance.random() < 0.8:
            await until(lambda: self._requests() > self._before, "the agent goes on where it was killed")
        await self.agent.kill()
        self._before = self._requests()
        await self.agent.start()

    async def pause_agent(self) -> None:
        """Its clocks go on while it stands still."""
        assert self.agent.process is not None
        self.agent.process.send_signal(signal.SIGSTOP)
        await self.rest(1, 6)
        self.agent.process.send_signal(signal.SIGCONT)

    async def cut_service(self) -> None:
        self.proxy.cut(reset=self._chance.random() < 0.5)

    async def cut_reply(self) -> None:
        """In the middle of an answer to come."""
        self.proxy.cut_after(self._chance.randrange(1, 400))

    async def stall_service(self) -> None:
        self.proxy.hold()
        await self.rest(1, 7)
        self.proxy.go_on()

    async def tell(self, fate: str) -> None:
        """Let the service be like this for a while."""
        seconds = self._chance.uniform(*FATES[fate]) * self._scale
        await self._fate(fate, seconds)
        await asyncio.sleep(seconds)

    async def rest(self, least: float, most: float) -> None:
        await asyncio.sleep(self._chance.uniform(least, most) * self._scale)


def named(blows: Iterable[Blow]) -> dict[str, Blow]:
    """Blows by their names, as a report tells them."""
    return {blow.__name__.replace("_", " "): blow for blow in blows}


SERVERS: dict[str, type[Nemesis]] = {"mariadb": SoakedMariaDB, "postgres": PostgresNemesis}
