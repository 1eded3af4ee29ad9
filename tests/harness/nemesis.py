"""Breaks one thing after the other around a real agent, its database and its service, and has the end judged."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from harness.agent import Agent, config, until
from harness.convergence import assert_converged, differences, has_converged
from harness.proxy import Proxy
from harness.service import Service, document
from harness.workload import Workload

WORKLOAD = float(os.environ.get("WORKLOAD") or 15)
"""Seconds of load with faults, on each kind of server."""
SEED = int(os.environ.get("SEED") or 1)

Blow = Callable[[], Awaitable[None]]


class Nemesis:
    """What can be done to every server; one kind adds its own `blows`, as often as they are to be chosen."""

    def __init__(self, server: Any, proxy: Proxy, agent: Agent, chance: random.Random) -> None:
        self.server = server
        self.proxy = proxy
        self.agent = agent
        self.chance = chance
        self.done: Counter[str] = Counter()

    def blows(self) -> list[Blow]:
        """All of them."""
        usual = [self.cut, self.cut_in_the_middle, self.stall, self.kill_server, self.restart_server]
        return [self.kill_agent] * 3 + usual

    async def kill_agent(self) -> None:
        await self.agent.kill()
        await self.agent.start()

    async def kill_server(self) -> None:
        await asyncio.to_thread(self.server.kill)
        await asyncio.to_thread(self.server.start)

    async def restart_server(self) -> None:
        await asyncio.to_thread(self.server.restart)

    async def cut(self) -> None:
        self.proxy.cut(reset=self.chance.random() < 0.5)

    async def cut_in_the_middle(self) -> None:
        self.proxy.cut_after(self.chance.randrange(1, 50_000))

    async def stall(self) -> None:
        self.proxy.hold()
        await asyncio.sleep(self.chance.choice((0.2, 2.5)))  # beyond what the agent's heartbeats allow, or below
        self.proxy.go_on()

    async def strike(self) -> None:
        """One of them."""
        blow = self.chance.choice(self.blows())
        self.done[blow.__name__] += 1
        await blow()


class MariaDBNemesis(Nemesis):
    """Knows of the binlog's files."""

    def blows(self) -> list[Blow]:
        """All of them."""
        return [*super().blows(), self.flush, self.purge]

    async def flush(self) -> None:
        await asyncio.to_thread(self.server.execute, "FLUSH BINARY LOGS")

    async def purge(self) -> None:
        """All but a few files: more than the agent can lag behind by here."""
        kept = [*self.server.binlogs()][-6:]
        await asyncio.to_thread(self.server.execute, f"PURGE BINARY LOGS TO '{kept[0]}'")


class PostgresNemesis(Nemesis):
    """Knows of the processes that send the log, and of its segments."""

    def blows(self) -> list[Blow]:
        """All of them."""
        return [*super().blows(), self.terminate_senders, self.crash_sender, self.switch]

    async def terminate_senders(self) -> None:
        for pid in await asyncio.to_thread(self.server.senders):
            await asyncio.to_thread(self.server.terminate, pid)

    async def crash_sender(self) -> None:
        """SIGKILL to one, if it is still there: the server ends all sessions and recovers by itself."""
        for pid in (await asyncio.to_thread(self.server.senders))[:1]:
            await asyncio.to_thread(self.server.crash, pid)

    async def switch(self) -> None:
        """The log goes on in a new segment, and the server lets go of old ones."""
        await asyncio.to_thread(self.server.execute, "SELECT pg_switch_wal(); CHECKPOINT")


async def assert_endures(
    directory: Path, server: Any, workloads: list[Workload], source: Mapping[str, Any], kind: type[Nemesis]
) -> None:
    """Let the workloads write while ``kind`` strikes, for `WORKLOAD` seconds; then both sides must be equal.

    Args:
        source: The configuration's source; ``{port}`` in its endpoint becomes the proxy's.
    """
    chance = random.Random(SEED)
    async with Service(_document(workloads)) as service, Proxy(server.port) as proxy:
        settings = _settings(service, {**source, "endpoint": source["endpoint"].format(port=proxy.port)}, workloads)
        async with Agent(directory, settings) as agent:
            nemesis = kind(server, proxy, agent, chance)
            try:
                await _live(nemesis, service, workloads)
            except AssertionError as error:
                error.add_note(f"the agent's log ends with\n{agent.text()[-3000:]}")
                raise
    _keep(source["driver"], workloads, nemesis, service)
    assert sum(len(workload.ledger) for workload in workloads) >= 3 * WORKLOAD, "there was hardly any load"
    assert_converged(service, *workloads)


def _document(workloads: list[Workload]) -> dict[str, Any]:
    """A service with a path for each table: one event does not say which it is of."""
    found = document(**{"x-fuagent-delete-field": "_deleted"})
    [path] = found["paths"].values()
    return found | {"paths": {f"/{workload.table}": path for workload in workloads}}


def _settings(service: Service, source: Mapping[str, Any], workloads: list[Workload]) -> dict[str, Any]:
    source = {"driver_params": {"heartbeat": 0.5}, **source}
    sync = {"tables": [workload.table for workload in workloads], "batch_size": 100}
    pusher = {"driver_params": {"batch_endpoint": "/{table}"}}
    return config(Path("none"), service.openapi, source=source, sync=sync, pusher=pusher)


async def _live(nemesis: Nemesis, service: Service, workloads: list[Workload]) -> None:
    """All of it, from the agent's first start to its end."""
    await nemesis.agent.start()
    await until(lambda: service.ends == len(workloads), "the first snapshot has ended")
    await _strike(nemesis, workloads)
    try:
        await until(lambda: asyncio.to_thread(has_converged, service, *workloads), "both sides are equal", 120)
    except AssertionError as error:
        error.add_note("\n".join(differences(service, *workloads)[:10]))
        raise
    await nemesis.agent.state("caught up")
    assert await nemesis.agent.end() == 0


async def _strike(nemesis: Nemesis, workloads: list[Workload]) -> None:
    clock = asyncio.get_running_loop().time
    for workload in workloads:
        workload.after = workload.ledger[-1].tx
        workload.start()
    try:
        end = clock() + WORKLOAD
        while clock() < end:
            await asyncio.sleep(nemesis.chance.uniform(0.3, 2.0))
            await nemesis.strike()
    finally:
        for workload in workloads:
            await asyncio.to_thread(workload.stop)


def _keep(name: str, workloads: list[Workload], nemesis: Nemesis, service: Service) -> None:
    """The evidence, where it is wanted."""
    if evidence := os.environ.get("EVIDENCE"):
        done = sum(len(workload.ledger) for workload in workloads)
        undone = sum(workload.rolled_back for workload in workloads)
        altered = sum(workload.schemas for workload in workloads)
        with (Path(evidence) / f"{name}-workload.txt").open("a") as file:
            file.write(
                f"seed {SEED}, {WORKLOAD:g} s: {done} transactions, {undone} rolled back,"
                f" {altered} DDLs; {dict(sorted(nemesis.done.items()))}; {len(service.posts)} requests\n"
            )
