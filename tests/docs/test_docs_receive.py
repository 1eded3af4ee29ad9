"""The service of the guide, run as it stands, with a real agent in front of it."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import urllib.request
from pathlib import Path

from harness import shop
from harness.agent import Agent, config, unmeasured, until
from harness.server import free_port

SERVICE = Path(__file__).parents[2] / "examples" / "service-fastapi-kit"


def copied(path: Path) -> dict[int, tuple[str, float]]:
    with sqlite3.connect(path, timeout=30) as database:
        found = {row[0]: row[1:] for row in database.execute("SELECT id, name, price FROM orders")}
    database.close()
    return found


def answers(document: str) -> bool:
    try:
        with urllib.request.urlopen(document, timeout=5) as reply:
            return bool(reply.read())
    except OSError:
        return False


async def test_the_service_of_the_guide_keeps_a_copy(tmp_path):
    """Snapshot, changes and deletes arrive; a lost agent's snapshot sweeps what was deleted meanwhile."""
    source = shop.make(tmp_path / "shop.db", 30)
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(SERVICE), "service:app", "--port", str(port)]
    environment = unmeasured() | {"SERVICE_KEY": "k-1234"}
    with (tmp_path / "service.log").open("w") as log:
        service = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    document, copy = f"http://127.0.0.1:{port}/openapi.json", tmp_path / "copy.db"

    def same() -> bool:
        return copied(copy) == {
            row[0]: row[1:] for row in source.execute("SELECT id, name, price FROM orders").fetchall()
        }

    try:
        await until(lambda: answers(document), "the service answers")
        async with Agent(tmp_path, config(tmp_path / "shop.db", document)) as agent:
            code, out, _ = await agent.call("check")
            assert code == 0, out
            assert await agent.once() == 0, agent.text()
            assert same()
            source.execute("UPDATE orders SET name = 'other' WHERE id = 5")
            source.execute("DELETE FROM orders WHERE id = 6")
            assert await agent.once() == 0, agent.text()
            assert same()
            source.execute("DELETE FROM orders WHERE id < 10")

        (tmp_path / "new").mkdir()
        settings = config(tmp_path / "shop.db", document) | {"agent_id": "agent-ba9876543210"}
        async with Agent(tmp_path / "new", settings) as agent:
            assert await agent.once() == 0, agent.text()
    finally:
        service.terminate()
        await service.wait()

    assert same()
    assert 5 not in copied(copy)
    source.close()
