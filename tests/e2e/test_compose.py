"""What compose.yaml puts together, put together here: its table, its service, its agent, its secrets."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import yaml

from harness.agent import Agent, until
from harness.server import free_port

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose"


def copied(path: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path, timeout=30)) as database:
        return database.execute("SELECT id, item, price FROM orders ORDER BY id").fetchall()


def answers(port: int) -> bool:
    """What the service's health check asks."""
    with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/healthz", timeout=4) as reply:
        return bool(reply.status == 200)
    return False


async def test_a_row_of_the_database_gets_to_the_copy(tmp_path: Path, postgres_database: Any) -> None:
    """Rows and a change arrive; containers' names and paths are all that differs here."""
    shutil.copy(COMPOSE / "secrets.sh", tmp_path)
    subprocess.run([tmp_path / "secrets.sh"], check=True)
    secrets = tmp_path / "secrets"
    first = {path.name: path.read_text() for path in secrets.iterdir()}
    subprocess.run([tmp_path / "secrets.sh"], check=True)
    services = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    settings = yaml.safe_load((COMPOSE / "config.yaml").read_text().replace("/run/secrets", str(secrets)))
    port = free_port()
    command = services["service"]["command"][0].replace("$$", "$").replace("/run/secrets", str(secrets))
    command = command.replace("exec fuagent", f"exec {sys.executable} -m fuagent").replace("0.0.0.0:8000", str(port))
    settings["sources"]["shop"]["endpoint"] = postgres_database.url()
    settings["sources"]["shop"]["credential"]["user"] = "postgres"
    settings["pushers"]["copy"]["endpoint"] = f"http://127.0.0.1:{port}/openapi.json"
    postgres_database.execute((COMPOSE / "tables.sql").read_text())

    service = await asyncio.create_subprocess_exec(
        *("sh", "-c", command), env=os.environ | {"FUAGENT_DATABASE": f"sqlite:///{tmp_path / 'copy.db'}"}
    )
    try:
        # As its depends_on has it: an agent that came first would try again ever more seldom.
        await until(lambda: answers(port), "the service is healthy")
        async with Agent(tmp_path, settings) as agent:
            await agent.start()
            await agent.state("caught up", "shop")
            before = copied(tmp_path / "copy.db")
            postgres_database.execute("UPDATE orders SET price = 20 WHERE item = 'lamp'")
            await until(lambda: copied(tmp_path / "copy.db") != before, "the change arrives")
            await agent.end()
    finally:
        service.send_signal(signal.SIGTERM)
        code = await service.wait()

    assert [(number, item, float(price)) for number, item, price in copied(tmp_path / "copy.db")] == [
        (1, "lamp", 20.0),
        (2, "chair", 75.0),
        (3, "table", 240.0),
    ]
    assert code == 0
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {name: len(text) > 40 for name, text in first.items()} == {"shop_password": True, "service_key": True}
    assert {path.name: path.read_text() for path in secrets.iterdir()} == first
