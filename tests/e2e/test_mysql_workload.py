"""A real agent between a real MariaDB under random load and a service, while everything is killed and cut."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.agent import Agent, config, until
from harness.convergence import assert_converged, has_converged
from harness.mariadb import PASSWORD, USER, MariaDB
from harness.proxy import Proxy
from harness.service import Service
from harness.workload import Workload

WORKLOAD = float(os.environ.get("WORKLOAD", "60"))
"""Seconds of load with faults."""
SEED = int(os.environ.get("SEED", "1"))
DURABLE = {"innodb_flush_log_at_trx_commit": 1, "sync_binlog": 1}


def settings(port: int, service: Service, database: str = "shop", **sync: Any) -> dict[str, Any]:
    """A configuration of one MariaDB source behind ``port``."""
    source = {
        "driver": "mysql",
        "endpoint": f"mysql://127.0.0.1:{port}/{database}",
        "credential": {"user": USER, "password": PASSWORD},
        "driver_params": {"heartbeat": 0.5},
    }
    return config(Path("none"), service.openapi, source=source, sync={"tables": ["w"], "batch_size": 100, **sync})


class Nemesis:
    """Breaks one thing after the other, as chance will have it."""

    def __init__(self, server: MariaDB, proxy: Proxy, agent: Agent, chance: random.Random) -> None:
        self.server = server
        self.proxy = proxy
        self.agent = agent
        self.chance = chance
        self.done: Counter[str] = Counter()

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
        await asyncio.sleep(self.chance.choice((0.2, 2.5)))  # beyond what heartbeats allow, or below
        self.proxy.go_on()

    async def flush(self) -> None:
        self.server.execute("FLUSH BINARY LOGS")

    async def purge(self) -> None:
        """All but a few files: more than the agent can lag behind by here."""
        kept = [*self.server.binlogs()][-6:]
        self.server.execute(f"PURGE BINARY LOGS TO '{kept[0]}'")

    async def strike(self) -> None:
        """One of them."""
        blow: Callable[[], Any] = self.chance.choice(
            [self.kill_agent] * 3
            + [self.cut, self.cut_in_the_middle, self.stall, self.flush, self.purge]
            + [self.kill_server, self.restart_server]
        )
        self.done[blow.__name__] += 1
        await blow()


@pytest.mark.slow
async def test_both_sides_are_equal_whatever_breaks(tmp_path: Path, private_mariadb: Callable[..., MariaDB]) -> None:
    """Nothing lost, no version back, every index unique, rising and stable: through kills, cuts, stalls and restarts."""
    chance = random.Random(SEED)
    server = private_mariadb(**DURABLE)
    workload = Workload(server.database(), SEED, pause=0.01)
    async with (
        Service() as service,
        Proxy(server.port) as proxy,
        Agent(tmp_path, settings(proxy.port, service)) as agent,
    ):
        await agent.start()
        await until(lambda: service.ends, "the first snapshot has ended")
        after = workload.ledger[-1].tx if workload.ledger else 0
        workload.start()
        nemesis = Nemesis(server, proxy, agent, chance)
        end = asyncio.get_running_loop().time() + WORKLOAD
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(chance.uniform(0.3, 2.0))
            await nemesis.strike()
        await asyncio.to_thread(workload.stop)
        await until(lambda: asyncio.to_thread(has_converged, service, workload), "both sides are equal", 120)
        await agent.state("caught up")
        assert await agent.end() == 0

    if evidence := os.environ.get("EVIDENCE"):
        with (Path(evidence) / "mysql-workload.txt").open("a") as file:
            file.write(
                f"seed {SEED}, {WORKLOAD:g} s: {len(workload.ledger)} transactions, {workload.rolled_back} rolled back,"
                f" {workload.schemas} DDLs; {dict(sorted(nemesis.done.items()))}; {len(service.posts)} requests\n"
            )
    assert len(workload.ledger) >= 10 * WORKLOAD, "there was hardly any load"
    assert_converged(service, workload, after=after)
