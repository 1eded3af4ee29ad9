"""The contract's own quickstart, word for word, as one of the services."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from harness import shop
from harness.agent import Agent, config, unmeasured, until
from harness.server import free_port

ROOT = Path(__file__).parents[2]
CONTRACT = Path(os.environ.get("FUAGENT_CONTRACT", ROOT / ".." / "shared" / "contract.md"))

pytestmark = pytest.mark.skipif(
    not CONTRACT.exists(), reason=f"no contract to read the quickstart from at {CONTRACT.name}"
)


def quickstart(directory: Path, servers: str = "") -> None:
    """Write the quickstart's code to main.py; ``servers`` is put into ``FastAPI()``."""
    code = CONTRACT.read_text().split("```python\n")[-1].split("```")[0]
    assert "@app.post" in code
    (directory / "main.py").write_text(code.replace("app = FastAPI()", f"app = FastAPI({servers})"))


class Uvicorn:
    """``uvicorn main:app`` as a process, on one port through all its lives."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.log = directory / "service.log"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *[sys.executable, "-m", "uvicorn", "main:app", "--port", str(self.port)],
                cwd=self.directory,
                env=unmeasured() | {"PYTHONUNBUFFERED": "1"},
                stdout=log,
                stderr=log,
            )
        await until(self.answers, "the quickstart answers")

    def answers(self) -> bool:
        """Whether the document can be read."""
        try:
            with urllib.request.urlopen(self.document, timeout=5) as reply:
                return bool(json.load(reply)["openapi"])
        except OSError:
            return False

    @property
    def document(self) -> str:
        """The address of its document."""
        return f"http://127.0.0.1:{self.port}/openapi.json"

    def received(self) -> int:
        """Events received, by what the quickstart itself prints."""
        return sum(int(line.split()[1]) for line in self.log.read_text().splitlines() if line.startswith("Received"))

    async def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def street(directory: Path, servers: str = "") -> AsyncIterator[tuple[sqlite3.Connection, Uvicorn, Agent]]:
    """A shop, the quickstart running, and an agent not started."""
    quickstart(directory, servers)
    database = shop.make(directory / "shop.db", 20)
    service = Uvicorn(directory)
    await service.start()
    try:
        async with Agent(directory, config(directory / "shop.db", service.document)) as agent:
            yield database, service, agent
    finally:
        await service.kill()
        database.close()


STATUS = 'servers=[{"url": "/", "x-fuagent-status-endpoint": "/fuagent-sync-status"}]'


@pytest.mark.parametrize("servers", ["", STATUS], ids=["as it is", "with servers"])
async def test_rows_and_changes_arrive(servers: str, tmp_path: Path) -> None:
    """The snapshot, its end marker, then each change once; a restarted agent goes on where it was."""
    async with street(tmp_path, servers) as (database, service, agent):
        await agent.start()
        await agent.state("caught up")
        await agent.end()
        database.execute("UPDATE orders SET name = 'changed' WHERE id = 3")
        await agent.start()
        await until(lambda: service.received() == 21, "the change arrives")
        status = await agent.state("caught up")

        assert service.received() == 21
        assert status["gap"] == ""


async def test_without_servers_the_journal_is_the_checkpoint(tmp_path: Path) -> None:
    """Its checkpoints are in memory and its document does not name them: a restart of it changes nothing."""
    async with street(tmp_path) as (database, service, agent):
        await agent.start()
        await agent.state("caught up")
        await service.kill()
        database.execute("UPDATE orders SET name = 'changed' WHERE id = 3")
        await agent.state("retrying")
        await service.start()
        await until(lambda: service.received() == 21, "the change arrives")

        assert "fuagent-sync-status" not in service.log.read_text()


async def test_with_servers_a_forgotten_checkpoint_is_a_full_snapshot(tmp_path: Path) -> None:
    """Restarted in mid-sync it answers 404: asked again for 30 s, then everything is sent from the beginning."""
    async with street(tmp_path, STATUS) as (_, service, agent):
        await agent.start()
        await agent.state("caught up")
        await agent.end()
        await service.kill()
        await service.start()
        await agent.start()
        await until(lambda: service.received() == 40, "all rows arrive a second time", 90)
        await agent.state("caught up")

        assert "asking again" in agent.text()
