"""The receiver of the guide, started as it stands there, with an agent configured as it says."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import sys
from pathlib import Path

import yaml

from harness import shop
from harness.agent import Agent, config, unmeasured, until
from harness.copying import KEY, Copy

HERE = Path(__file__).parent


def copied(path: Path) -> dict[int, dict[str, object]]:
    with sqlite3.connect(path, timeout=30) as database:
        found = shop.rows(database)
    database.close()
    return {key: {name: value for name, value in row.items() if name != "fuagent_run"} for key, row in found.items()}


async def test_the_receiver_of_the_guide_keeps_a_copy(tmp_path, page):
    """The commands of the guide run in a shell, and the lines it prints are those of the guide and all an agent needs."""
    source = shop.make(tmp_path / "shop.db", 30)
    # A port of its own and the same key for the agent are all that differs from the guide.
    port = Copy(tmp_path, "").port
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "fuagent").write_text(
        f'#!/bin/sh\nprintf %s "$SERVICE_KEY" > key\nexec {sys.executable} -m fuagent "$@" --listen {port}\n'
    )
    (folder / "fuagent").chmod(0o755)
    environment = unmeasured() | {"PATH": f"{folder}:{os.environ['PATH']}"}
    # exec in place of a child keeps the process that a signal is for the one that was started.
    script = (HERE / "run_receiver.sh").read_text().replace("\nfuagent", "\nexec fuagent")
    receiver = await asyncio.create_subprocess_exec(
        *("sh", "-c", script), cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE, stderr=None
    )
    try:
        assert receiver.stdout is not None
        told = b""
        while b"driver_params" not in told:
            told += await asyncio.wait_for(receiver.stdout.readline(), 60)
            assert receiver.returncode is None
        lines = told.decode().partition("\n\n")[2]
        guide = re.search(r"```yaml\n(.*?)```", page("docs/how-to/run-a-receiver.md"), re.DOTALL)
        assert guide is not None
        assert lines.strip() == guide[1].replace("127.0.0.1:8000", f"127.0.0.1:{port}").strip()

        settings = config(tmp_path / "shop.db", "") | yaml.safe_load(lines)
        settings["syncs"]["orders-sync"]["pusher"] = "copy"
        key = (tmp_path / "key").read_text()
        async with Agent(tmp_path, settings, {"SERVICE_KEY": key}) as agent:
            code, out, _ = await agent.call("check")
            assert code == 0, out
            assert await agent.once() == 0, agent.text()
            assert copied(tmp_path / "copy.db") == shop.rows(source)
            source.execute("UPDATE orders SET name = 'other' WHERE id = 5")
            source.execute("DELETE FROM orders WHERE id = 6")
            assert await agent.once() == 0, agent.text()
    finally:
        if receiver.returncode is None:
            receiver.send_signal(signal.SIGTERM)
        code = await receiver.wait()

    assert code == 0
    assert len(key) > 30
    assert key != KEY
    assert copied(tmp_path / "copy.db") == shop.rows(source)
    source.close()


async def test_the_schema_of_the_guide_is_one_the_receiver_takes(tmp_path):
    """What `fuagent schema --sql` writes makes the tables; check then knows their columns, and others are refused."""
    source = shop.make(tmp_path / "shop.db", 20)
    async with Agent(tmp_path, config(tmp_path / "shop.db", "http://127.0.0.1:9/openapi.json")) as agent:
        code, script, err = await agent.call("schema", "orders-sync", "--sql")
        assert code == 0, err
    (tmp_path / "tables.sql").write_text(script)
    database = f"sqlite:///{tmp_path / 'copy.db'}"
    async with Copy(tmp_path, database, "--schema", str(tmp_path / "tables.sql"), "--deletes") as copy:
        settings = copy.settings({"driver": "sqlite", "endpoint": f"sqlite:///{tmp_path / 'shop.db'}"}, ["orders"])
        async with Agent(tmp_path, settings) as agent:
            code, out, _ = await agent.call("check")
            assert code == 0, out
            assert "fits the event schema" in out
            assert await agent.once() == 0, agent.text()
            assert copied(tmp_path / "copy.db") == shop.rows(source)

            source.execute("CREATE TABLE items (id INTEGER PRIMARY KEY)")
            settings["syncs"]["orders-sync"]["tables"] = ["orders", "items"]
            agent.configure(settings)
            code, out, _ = await agent.call("check")
            assert code == 1
            assert "no path /ingest/items" in out
        await until(lambda: copy.health() == 200, "it still answers")
    source.close()
