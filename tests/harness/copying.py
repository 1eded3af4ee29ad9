"""``fuagent receive`` as a process of its own, and the configuration of an agent that sends to it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import URLError
from urllib.request import urlopen

from harness import nursery
from harness.agent import DEADLINE, until
from harness.server import free_port

KEY = "k-1234"
"""What `harness.agent.config` sends too."""


class Copy:
    """One receiving service and the processes that run it, one after the other."""

    def __init__(self, directory: Path, database: str, *options: str, env: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.log = directory / "receive.log"
        self.options = ("--listen", f"127.0.0.1:{self.port}", *options)
        self.env = os.environ | {"SERVICE_KEY": KEY, "FUAGENT_DATABASE": database} | dict(env or {})
        self.process: nursery.Life | None = None

    @property
    def origin(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self, *, ready: bool = True) -> None:
        """Start it, and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = await nursery.begin(["receive", *self.options], self.env, log, log)
        if ready:
            await until(
                lambda: self.process.returncode is not None or self.health() == 200, f"it answers: {self.text()}"
            )
            assert self.process.returncode is None, self.text()

    def health(self) -> int:
        """The status of its page for health; 0 where nobody answers."""
        try:
            with urlopen(f"{self.origin}/healthz", timeout=5) as reply:
                return reply.status
        except URLError as error:
            return getattr(error, "code", 0)
        except OSError:
            return 0

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to the saved process and wait; gives the exit code."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), DEADLINE)

    def text(self) -> str:
        """Everything it printed so far."""
        return self.log.read_text() if self.log.exists() else ""

    def settings(self, source: Mapping[str, Any], tables: list[str], *, deletes: str | None = "mark") -> dict[str, Any]:
        """A configuration of one sync that sends here."""
        pusher = {
            "driver": "openapi",
            "endpoint": f"{self.origin}/openapi.json",
            "credential": {"key": KEY},
            "driver_params": {"batch_endpoint": "/ingest/{table}"},
        }
        return {
            "agent_id": "agent-0123456789ab",
            "sources": {"shop": dict(source)},
            "pushers": {"copy": pusher},
            "syncs": {"orders-sync": {"source": "shop", "pusher": "copy", "tables": tables}},
        }

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
