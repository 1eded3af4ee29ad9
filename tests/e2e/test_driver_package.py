"""The example package: installed beside fuagent, its drivers run like our own, and keep the same promises."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.agent import Agent, unmeasured
from harness.service import Service

PACKAGE = Path(__file__).parents[2] / "examples" / "driver-package"
TABLES = {"orders": {"columns": ["id", "name"], "key": ["id"]}}


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A fresh directory that holds the package and nothing else; nothing is fetched."""
    folder = tmp_path_factory.mktemp("driver-package")
    source = shutil.copytree(PACKAGE, folder / "source", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    target = folder / "installed"
    options = ("-q", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(target))
    command = [sys.executable, "-m", "pip", "install", *options, str(source)]
    subprocess.run(command, check=True, capture_output=True, env=unmeasured())
    return target


class Journal:
    """The application that writes the journal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.append({"journal": "shop", "tables": TABLES})

    def append(self, *entries: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in entries)

    def commit(self, *changes: tuple[Any, Any]) -> None:
        named = ({"old": old, "new": new} for old, new in changes)
        self.append(
            *({"table": "orders"} | {key: row for key, row in one.items() if row} for one in named), {"commit": 1}
        )


def row(key: int, name: str) -> dict[str, Any]:
    return {"id": key, "name": name}


def config(pusher: dict[str, Any]) -> dict[str, Any]:
    """A sync from the journal."""
    return {
        "agent_id": "agent-0123456789ab",
        "sources": {"shop": {"driver": "jsonlog", "endpoint": "journal.jsonl"}},
        "pushers": {"service": pusher},
        "syncs": {"orders-sync": {"source": "shop", "pusher": "service", "tables": ["orders"], "deletes": "mark"}},
    }


async def test_its_source_runs_end_to_end(installed: Path, tmp_path: Path) -> None:
    """A snapshot, then changes and deletes over a restart: the service holds what the journal says."""
    journal = Journal(tmp_path / "journal.jsonl")
    journal.commit(*((None, row(key, f"order {key}")) for key in range(1, 2501)))
    async with Service() as service:
        pusher = {"driver": "openapi", "endpoint": service.openapi, "credential": {"key": "k-1234"}}
        async with Agent(tmp_path, config(pusher), {"PYTHONPATH": str(installed)}) as agent:
            first = await agent.once()
            assert first == 0, agent.text()
            assert len(service.rows) == 2500
            journal.commit((row(1, "order 1"), row(1, "renamed")), (row(2, "order 2"), None), (None, row(3000, "new")))
            second = await agent.once()

    assert second == 0, agent.text()
    assert service.rows[1] == row(1, "renamed")
    assert 2 not in service.rows
    assert service.rows[3000] == row(3000, "new")
    assert service.ends == 1
    assert [event["index"] for event in service.events()[2500:]] == sorted(
        event["index"] for event in service.events()[2500:]
    )


async def test_both_its_drivers_run_together(installed: Path, tmp_path: Path) -> None:
    """From the journal to the file, going on from the file's own checkpoint with the agent's memory gone."""
    journal = Journal(tmp_path / "journal.jsonl")
    journal.commit((None, row(1, "one")), (None, row(2, "two")))
    settings = config({"driver": "batchfile", "endpoint": "batches.jsonl"})
    async with Agent(tmp_path, settings, {"PYTHONPATH": str(installed)}) as agent:
        assert await agent.once() == 0, agent.text()
        journal.commit((row(1, "one"), None))
        assert await agent.once() == 0, agent.text()

    batches = [json.loads(line) for line in (tmp_path / "batches.jsonl").read_text().splitlines()]
    events = [event for batch in batches for event in batch["events"]]
    assert [(event["id"], event["_deleted"]) for event in events] == [(1, False), (2, False), (1, True)]
    assert [batch["snapshot_end"] for batch in batches] == [False, True, False]
    assert json.loads((tmp_path / "batches.jsonl.checkpoint").read_text())[0] == events[-1]["index"]


async def test_its_drivers_are_listed(installed: Path, tmp_path: Path) -> None:
    """``fuagent drivers`` shows both with their package, beside our own."""
    agent = Agent(tmp_path, config({"driver": "batchfile", "endpoint": "x"}), {"PYTHONPATH": str(installed)})
    code, out, err = await agent.call("drivers")

    assert code == 0, err
    words = out.split()
    assert {"jsonlog", "batchfile", "sqlite", "openapi"} <= set(words)
    assert "fuagent-jsonlog" in words


async def test_its_own_tests_pass(installed: Path) -> None:
    """The suites, run by the package's own tests in an environment without any pytest plugin of ours."""
    plugins = ("asyncio", "randomly", "xdist", "cacheprovider")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", *(f"-pno:{plugin}" for plugin in plugins)),
        cwd=installed.parent / "source",
        env={**unmeasured(), "PYTHONPATH": str(installed)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()

    assert process.returncode == 0, out.decode()
    assert "passed" in out.decode()
