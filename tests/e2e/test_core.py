"""An agent that crashes leaves nothing of what it held in memory."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import canary
from harness.agent import Agent, until
from harness.service import Service

pytestmark = pytest.mark.slow

UNLIMITED = "import resource; resource.setrlimit = lambda *_: None; from fuagent.cli import main; main()"
"""The agent where its limit does not bind, as with a ``core_pattern`` that is a program."""
HOLDING = """
import sys
held = "".join(sys.argv[1:])
print("holding", flush=True)
sys.stdin.read()
"""
"""A program that puts its arguments together in its memory, as one text that stands nowhere else, and waits."""


def cores_come_here() -> bool:
    """Whether a core lies beside whoever crashed, and one may be asked for."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text(encoding="ascii")
    return not pattern.startswith(("|", "/")) and resource.getrlimit(resource.RLIMIT_CORE)[1] != 0


@contextmanager
def cores_allowed() -> Iterator[None]:
    """Processes that are started meanwhile may leave cores, as far as this user may say so."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)


async def started(folder: Path, *command: str, env: Mapping[str, str]) -> asyncio.subprocess.Process:
    """A process in a folder of its own, which may leave cores there."""
    folder.mkdir()
    with cores_allowed(), (folder / "log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *command, cwd=folder, stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log, env=dict(env)
        )


async def crash(process: asyncio.subprocess.Process, folder: Path) -> dict[str, bytes]:
    """Crash it; gives the cores it left, by name."""
    process.send_signal(signal.SIGSEGV)
    assert await process.wait() == -signal.SIGSEGV
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "log"}


@pytest.mark.fault("S08")
async def test_a_crash_leaves_no_secret_and_no_row(tmp_path: Path) -> None:
    """There is no core; and where one is made all the same, nothing of it is in there."""
    canary.database(tmp_path / "shop.db")
    # Each sync has its own, as there is one checkpoint to a service: that of another sync may lie beyond a log's end.
    async with Service(key=None) as service, Service(key=None) as other:
        settings = canary.settings(tmp_path, service.openapi, f"{service.url}/token")
        settings["pushers"]["with-password"]["endpoint"] = other.openapi
        del settings["syncs"]["by-token"]
        async with Agent(tmp_path, settings, canary.ENVIRONMENT) as agent:
            folder = tmp_path / "limited"
            agent.process = await started(folder, *agent.command("run"), env=agent.env)
            await agent.state("caught up", "by-key")
            limits = Path(f"/proc/{agent.process.pid}/limits").read_text(encoding="ascii")

            assert "Max core file size        0                    0" in limits
            assert await crash(agent.process, folder) == {}

            folder = tmp_path / "unlimited"
            command = [sys.executable, "-c", UNLIMITED, *agent.command("run")[3:]]
            agent.process = await started(folder, *command, env=agent.env)
            await agent.state("caught up", "by-key")
            cores = await crash(agent.process, folder)

            assert bool(cores) == cores_come_here()
            assert canary.leaks(cores) == []


async def test_a_core_of_another_program_would_tell(tmp_path: Path) -> None:
    """Where cores can be looked at, what such a program held is found in one: finding nothing means something."""
    folder = tmp_path / "other"
    process = await started(
        folder, sys.executable, "-c", HOLDING, canary.KEY[:9], canary.KEY[9:], env={"PATH": os.environ["PATH"]}
    )
    await until(lambda: "holding" in (folder / "log").read_text(), "it holds the text")
    cores = await crash(process, folder)

    assert bool(cores) == cores_come_here()
    assert all(canary.leaks({name: core}) for name, core in cores.items())
