"""A cable that is pulled: connections neither end nor are refused, and only silence tells."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import mariadb, postgres
from harness.agent import Agent, until
from harness.host import Island
from harness.proxy import Proxy
from harness.service import Service

KINDS = ("mysql", "postgres")


@asynccontextmanager
async def apart(
    directory: Path, island: Island, servers: dict[str, Any], services: dict[str, Service]
) -> AsyncIterator[Agent]:
    """An agent on the island, with one sync for each kind of server."""
    async with AsyncExitStack() as stack:
        sources, pushers, syncs = {}, {}, {}
        for kind in KINDS:
            database = await stack.enter_async_context(Proxy(servers[kind].port, at=island.shore))
            service = await stack.enter_async_context(Proxy(services[kind].port, at=island.shore))
            sources[kind] = {
                "driver": kind,
                "endpoint": f"{kind}://{island.shore}:{database.port}/shop",
                "credential": {"user": mariadb.USER, "password": mariadb.PASSWORD},
                "driver_params": {"heartbeat": 0.5, "tls": "off"},
            }
            pushers[kind] = {
                "driver": "openapi",
                "endpoint": f"http://{island.shore}:{service.port}/openapi.json",
                "credential": {"key": "k-1234"},
            }
            syncs[kind] = {"source": kind, "pusher": kind, "tables": ["orders"], "timeout": 2}
        settings = {"agent_id": "agent-0123456789ab", "sources": sources, "pushers": pushers, "syncs": syncs}
        agent = await stack.enter_async_context(Agent(directory, settings))
        agent.within = island.run
        yield agent


@pytest.mark.slow
@pytest.mark.fault("F20", "F34")
async def test_a_cable_is_pulled_and_put_in_again(
    tmp_path: Path, island: Island, private_mariadb: Callable[..., Any], private_postgres: Callable[..., Any]
) -> None:
    """Silence is noticed on both; then everything comes, once and in order, with no snapshot, before the minute is long over
    for which a server keeps the reader that is gone."""
    assert (mariadb.USER, mariadb.PASSWORD) == (postgres.USER, postgres.PASSWORD)
    servers = {"mysql": private_mariadb().database(), "postgres": private_postgres().database()}
    servers["mysql"].execute("CREATE TABLE orders (id INT PRIMARY KEY, name TEXT)")
    servers["postgres"].create("orders", "id int PRIMARY KEY, name text")
    async with Service() as one, Service() as other:
        services = dict(zip(KINDS, (one, other), strict=True))
        ports = {kind: database.server for kind, database in servers.items()}
        async with apart(tmp_path, island, ports, services) as agent:

            def written(first: int, last: int) -> None:
                for database in servers.values():
                    for number in range(first, last + 1):
                        database.execute("INSERT INTO orders VALUES (%s, 'x')", number)

            async def arrived(last: int) -> None:
                def there() -> bool:
                    assert agent.process is not None
                    assert agent.process.returncode is None, agent.text()
                    return all(last in service.rows for service in services.values())

                await until(there, f"row {last} has arrived", 200)  # that minute, and the longest wait

            written(1, 2)
            await agent.start()
            await arrived(2)
            for kind in KINDS:
                await agent.state("caught up", kind)
            written(3, 4)
            await arrived(4)
            for kind in KINDS:  # an answer that the cut keeps back would have its row sent twice
                await agent.state("caught up", kind, index=services[kind].checkpoint)
            island.cut()
            written(5, 6)
            problems = [(await agent.state("retrying", kind))["problem"] for kind in KINDS]
            island.mend()
            await arrived(6)
            written(7, 7)
            await arrived(7)
            await agent.end()

    for problem in problems:
        assert island.shore in problem
    for service in services.values():
        assert [event["id"] for event in service.events()] == [*range(1, 8)]
        assert service.ends == 1
