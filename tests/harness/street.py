"""A table of orders, a service, and an agent between them: the street that tests of faults break in one place."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.agent import Agent, config, until
from harness.orders import Orders
from harness.service import Service


@dataclass(frozen=True, slots=True)
class Street:
    """What stands in it."""

    orders: Orders
    service: Service
    agent: Agent

    def put(self, *ids: int) -> None:
        """Insert orders, each in a transaction of its own."""
        for number in ids:
            self.orders.execute("INSERT INTO orders VALUES (?, 'new', 0.5, 1)", number)

    async def ready(self) -> None:
        """Start the agent and wait until it has caught up."""
        await self.agent.start()
        await self.agent.state("caught up")

    async def arrived(self) -> None:
        """Wait until the service holds what the table holds."""

        def equal() -> bool:
            return self.service.rows == self.orders.rows()

        await until(equal, lambda: f"all rows arrive; the log says:\n{self.agent.text()[-3000:]}")

    def indexes(self) -> list[int]:
        """The index of every event that was taken, in the order in which they came."""
        return [event["index"] for event in self.service.events() if "index" in event]


@asynccontextmanager
async def street(
    directory: Path,
    orders: Orders,
    service: Service | None = None,
    *,
    through: int | None = None,
    env: Mapping[str, str] | None = None,
    params: Mapping[str, Any] | None = None,
    **parts: Any,
) -> AsyncIterator[Street]:
    """A street whose agent is not started.

    Args:
        directory: Where configuration, journal and log of the agent lie.
        orders: The table.
        service: The service, if not one that does all right.
        through: The port at which the database is found, where it is not its own: that of a proxy.
        env: Variables of the agent's environment.
        params: The source's ``driver_params``.
        parts: More of the configuration, as `config` takes it.
    """
    source = dict(orders.source)
    if through is not None:
        parts_of = urlsplit(source["endpoint"])
        source["endpoint"] = parts_of._replace(netloc=f"127.0.0.1:{through}").geturl()
    if params:
        source["driver_params"] = dict(params)
    async with service or Service() as there, Agent(directory, {}, env) as agent:
        agent.configure(config(Path("none"), parts.pop("document", there.openapi), source=source, **parts))
        yield Street(orders, there, agent)


def port_of(orders: Orders) -> int:
    """Where the database of ``orders`` listens."""
    port = urlsplit(orders.source["endpoint"]).port
    assert port is not None
    return port
