"""A real agent as a process of its own: started, asked, killed by its saved process id."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import yaml

from fuagent import control
from fuagent.errors import FuagentError
from harness import nursery

FOR_PYTHON = ("LD_", "PYTHON")
"""How variables begin that say how a process is to be loaded: it has to be a new one."""
DEADLINE = 60.0
"""Seconds a condition may take on a busy machine before the test fails."""


async def until(condition: Callable[[], Any], what: str | Callable[[], str], deadline: float = DEADLINE) -> Any:
    """Poll ``condition`` until it is true; fails with ``what`` when it never is, or with what that says then."""
    end = asyncio.get_running_loop().time() + deadline
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        if asyncio.get_running_loop().time() > end:
            message = f"never came true: {what() if callable(what) else what}"
            raise AssertionError(message)
        await asyncio.sleep(0.02)


def config(
    database: Path, document: str, *, sync: Mapping[str, Any] | None = None, name: str = "orders-sync", **parts: Any
) -> dict[str, Any]:
    """A configuration of one SQLite source, one service and one sync of table ``orders``."""
    pusher = {"driver": "openapi", "endpoint": document, "credential": {"key": "k-1234"}, **parts.pop("pusher", {})}
    source = {"driver": "sqlite", "endpoint": f"sqlite:///{database}", **parts.pop("source", {})}
    return {
        "agent_id": "agent-0123456789ab",
        "sources": {"shop": source},
        "pushers": {"service": pusher},
        "syncs": {name: {"source": "shop", "pusher": "service", "tables": ["orders"], **(sync or {})}},
        **parts,
    }


def unmeasured() -> dict[str, str]:
    """The environment of processes that do not count for coverage, whose start is then a third shorter."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}


class Agent:
    """One state directory and the processes that work on it, one after the other.

    ``measured``: whether they count for coverage. ``fresh``: whether each is a Python started anew, as where the
    interpreter has to see the environment, or what is in memory is the point; else it is of the `harness.nursery`.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, Any],
        env: Mapping[str, str] | None = None,
        *,
        measured: bool = False,
        fresh: bool = False,
    ) -> None:
        self.directory = directory
        self.path = directory / "config.yaml"
        self.state_dir = directory / ".fuagent"
        self.log = directory / "agent.log"
        self.env = {**(os.environ if measured else unmeasured()), **(env or {})}
        self.within: list[str] = []
        """What stands in front of the command line of ``run``: a network of its own, a limit; it has to become fuagent."""
        self.fresh = fresh
        self.process: asyncio.subprocess.Process | nursery.Life | None = None
        self.configure(settings)

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Write the configuration anew."""
        self.path.write_text(yaml.safe_dump(dict(settings), sort_keys=False))
        self.path.chmod(0o600)

    async def start(self, *arguments: str) -> None:
        """Start ``fuagent run``; it is killed when the block ends, if it still runs."""
        with self.log.open("ab") as log:
            self.process = await self._begin("run", *arguments, out=log, err=log, within=self.within)

    async def _begin(
        self, *arguments: str, out: IO[bytes], err: IO[bytes], within: Sequence[str] = ()
    ) -> asyncio.subprocess.Process | nursery.Life:
        told = any(os.environ.get(name) != value for name, value in self.env.items() if name.startswith(FOR_PYTHON))
        if not (self.fresh or told or within):
            return await nursery.begin(["--config", str(self.path), *arguments], self.env, out, err)
        return await asyncio.create_subprocess_exec(
            *within,
            *self.command(*arguments),
            stdout=out,
            stderr=err,
            stdin=asyncio.subprocess.DEVNULL,
            env=self.env,
        )

    def command(self, *arguments: str) -> list[str]:
        """The command line of one fuagent command."""
        return [sys.executable, "-m", "fuagent", "--config", str(self.path), *arguments]

    async def call(self, *arguments: str) -> tuple[int, str, str]:
        """Run one command to its end: exit code, output, errors."""
        return await nursery.said(lambda out, err: self._begin(*arguments, out=out, err=err))

    async def once(self, *arguments: str) -> int:
        """Run until caught up; gives the exit code."""
        await self.start("--once", *arguments)
        return await self.wait()

    async def wait(self, deadline: float = DEADLINE) -> int:
        """Wait for the end; gives the exit code."""
        assert self.process is not None
        return await asyncio.wait_for(self.process.wait(), deadline)

    async def kill(self) -> None:
        """SIGKILL, by the saved process id."""
        await self.end(signal.SIGKILL)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait; gives the exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.wait()

    async def status(self, name: str = "orders-sync") -> dict[str, Any]:
        """What the running agent says of one sync; empty while it does not answer."""
        try:
            report = await control.call(self.state_dir, "status")
        except (control.NotRunningError, FileNotFoundError):
            return {}
        except FuagentError as error:  # it may end in the midst of an answer, or stand still on a busy machine
            assert "does not answer" in error.what
            return {}
        assert isinstance(report, dict)
        return next((sync for sync in report["syncs"] if sync["name"] == name), {})

    async def state(self, wanted: str, name: str = "orders-sync", *, index: int = 0) -> dict[str, Any]:
        """Wait until the sync is in this state; gives its status.

        ``index``: and until it has acknowledged this one. A row is at the service before its answer is with the agent,
        and until then the state is that of before.
        """
        seen: dict[str, Any] = {}

        async def there() -> dict[str, Any] | None:
            assert self.process is None or self.process.returncode is None, self.text()
            seen.clear()
            seen.update(await self.status(name))
            return seen if seen.get("state") == wanted and seen["index"] >= index else None

        return await until(there, lambda: f"state {wanted} of {seen}; the log says:\n{self.text()[-3000:]}")

    async def window(self) -> str:
        """Where ``--listen`` put its pages: the base URL, once the log says it."""

        def told() -> str | None:
            whole, _, _ = self.text().rpartition("\n")  # the last line may be under way
            lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
            return next((line["address"] for line in reversed(lines) if line["event"] == "listening"), None)

        return f"http://{await until(told, 'the agent listens')}"

    def text(self) -> str:
        """Everything the agent printed so far."""
        return self.log.read_text() if self.log.exists() else ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
