"""Connections for the tests of PostgreSQL's parts."""

from dataclasses import replace

import pytest

from fuagent.model import Secret
from fuagent.sources.address import Address, Tls
from fuagent.sources.postgres.dump import Dump
from fuagent.sources.postgres.link import Link
from harness.postgres import PASSWORD, USER

BASE = Address("127.0.0.1", 5432, "shop", USER, Secret(PASSWORD), Tls.PREFER, timeout=30.0)


@pytest.fixture
def patient(monkeypatch):
    """A busy server is no silent one, however often signs of life are wanted."""
    monkeypatch.setattr("fuagent.sources.postgres.dump.MISSED", 300)


@pytest.fixture
def address():
    """Where a database of a test is, as the reader's own account: ``address(database, tls=…)``."""

    def where(database, **changes):
        return replace(BASE, port=database.server.port, database=database.name, **changes)

    return where


@pytest.fixture
async def opened():
    """Opens links that the test need not close."""
    made = []

    async def link(where):
        made.append(await Link.open(where))
        return made[-1]

    yield link
    for one in made:
        await one.close()


@pytest.fixture
async def dumping(address):
    """Opens readers of the slot ``s`` and the publication ``p`` that the test need not close."""
    made = []

    async def dump(database, position=0, heartbeat=10.0, **changes):
        made.append(await Dump.open(address(database, **changes), "s", "p", position, heartbeat))
        return made[-1]

    yield dump
    for one in made:
        await one.close()
