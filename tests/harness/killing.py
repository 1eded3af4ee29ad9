"""Kills a real agent at random moments while a writer works, and then judges what the service got."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from harness.agent import Agent, config, until
from harness.orders import Orders
from harness.service import Request, Service


@dataclass
class Report:
    """What a run did and what was found; ``faults`` is empty when every promise held."""

    seed: int
    kills: int = 0
    killed_in: Counter[str] = field(default_factory=Counter)
    changes: int = 0
    requests: int = 0
    events: int = 0
    repeated: int = 0
    snapshots: int = 0
    faults: list[str] = field(default_factory=list)


class Writer:
    """Random transactions on table ``orders``; every change of a row has a version above all before it."""

    def __init__(self, orders: Orders, chance: random.Random, first_version: int = 1000) -> None:
        self._orders = orders
        self._chance = chance
        self._version = first_version
        self._next_id = 1_000_000
        self.changes = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write in the background."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Finish the transaction under way."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self.transaction(self._chance.choice([1, 1, 1, 2, 5, 40]))
            await asyncio.sleep(self._chance.random() * 0.1)

    def transaction(self, size: int) -> None:
        """One transaction of ``size`` changes; one in twenty is rolled back."""
        self._orders.execute(self._orders.begin)
        for _ in range(size):
            self._change()
        if self._chance.random() < 0.05:
            self._orders.execute("ROLLBACK")
            return
        self._orders.execute("COMMIT")
        self.changes += size

    def _change(self) -> None:
        self._version += 1
        kind, execute = self._chance.random(), self._orders.execute
        if kind < 0.3:
            self._next_id += 1
            new = (self._next_id, f"new {self._version}", 0.5, self._version)
            execute("INSERT INTO orders VALUES (?, ?, ?, ?)", *new)
            return
        [(chosen,)] = execute("SELECT id FROM orders ORDER BY random() LIMIT 1") or [(0,)]
        if kind < 0.8:
            values = (f"changed {self._version}", self._chance.random(), self._version, chosen)
            execute("UPDATE orders SET name = ?, price = ?, ver = ? WHERE id = ?", *values)
        elif kind < 0.93:
            execute("DELETE FROM orders WHERE id = ?", chosen)
        else:
            self._next_id += 1
            execute("UPDATE orders SET id = ?, ver = ? WHERE id = ?", self._next_id, self._version, chosen)


async def run(directory: Path, orders: Orders, kills: int, seed: int) -> Report:
    """Start, kill, start again, ``kills`` times; then let it catch up, and judge."""
    chance = random.Random(seed)
    report = Report(seed)
    async with Service() as service:
        service.answer = _slowly(service, chance, report)
        settings = config(directory, service.openapi, source=orders.source, sync={"batch_size": 50})
        async with Agent(directory, settings) as agent:
            writer = Writer(orders, chance)
            writer.start()
            for _ in range(kills):
                await _live_and_die(agent, service, chance, report)
            await writer.stop()
            await agent.start()
            await agent.state("caught up")
            await until(lambda: service.rows == orders.rows(), "service and source hold the same rows")
            await agent.end()
        report.changes, report.requests = writer.changes, len(service.posts)
        _judge(service, report)
    return report


def _slowly(service: Service, chance: random.Random, report: Report) -> Any:
    """Answers take a moment; now and then the reply is lost after the rows were taken, or comes without them."""

    async def answer(request: Request) -> web.StreamResponse | None:
        await asyncio.sleep(chance.random() * 0.01)
        fate = chance.random()
        if fate < 0.03:
            return web.json_response({}, status=503)
        if fate < 0.06:
            service.apply(request)
            assert request.raw.transport is not None
            request.raw.transport.abort()
            return web.Response()  # nobody hears it
        return None

    return answer


async def _live_and_die(agent: Agent, service: Service, chance: random.Random, report: Report) -> None:
    """One life of the agent: killed after a random number of requests, or a random time into its start."""
    await agent.start()
    if chance.random() < 0.15:
        await asyncio.sleep(chance.random() * 0.8)
    else:
        enough = len(service.posts) + chance.randrange(1, 25)
        await until(lambda: len(service.posts) >= enough or _ended(agent), "the agent sends requests")
    assert not _ended(agent), agent.text()[-3000:]
    report.killed_in["stream" if service.ends else "snapshot"] += 1
    await agent.kill()
    report.kills += 1


def _ended(agent: Agent) -> bool:
    return agent.process is not None and agent.process.returncode is not None


def _judge(service: Service, report: Report) -> None:
    """Versions never go back, stream rows are applied once, one index is one row, new indexes rise."""
    seen: dict[int, str] = {}
    highest = 0
    for post in service.posts:
        for event in post.json["events"]:
            report.events += 1
            index = event.get("index")
            if index is None:
                continue
            text = json.dumps(event)
            if index in seen:
                report.repeated += 1
                if seen[index] != text:
                    report.faults.append(f"index {index} had two contents")
                continue
            if index <= highest:
                report.faults.append(f"index {index} was new after {highest}")
            seen[index], highest = text, max(highest, index)
    newest: dict[int, int] = {}
    applied: set[int] = set()
    before: set[str] = set()
    for index, event in service.versions:
        # Rows of a first snapshot carry no index to know a repeat by: their order is that of first deliveries.
        text = json.dumps(event)
        if index is None and text in before:
            continue
        before.add(text)
        if index is not None and index in applied:
            report.faults.append(f"index {index} was applied twice")
        applied.add(index or 0)
        if "ver" not in event:
            continue  # the old key of a key change is sent as a mark of the key alone
        number, version = event["id"], event["ver"]
        if version < newest.get(number, 0):
            report.faults.append(f"row {number} went back from version {newest[number]} to {version}")
        newest[number] = max(version, newest.get(number, 0))
    report.snapshots = service.ends
    if service.ends < 1:
        report.faults.append("no snapshot ever ended")
