"""Both services of the demonstration as real processes, and a client that talks to them as the agent does."""

import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import pytest

from harness.server import free_port

KEY = "correct horse battery staple"


class ServiceProcess:
    """One service on a free port of its own; started again it keeps port and database."""

    def __init__(self, module: str, database: Path) -> None:
        self.module = module
        self.database = database
        self.port = free_port()
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        environment = os.environ | {"SERVICE_KEY": KEY, "SERVICE_DATABASE": str(self.database)}
        command = [sys.executable, "-m", f"fuagent.demo.{self.module}", "--port", str(self.port)]
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        first_line = self._process.stdout.readline()
        assert first_line == f"http://127.0.0.1:{self.port}\n", f"{self.module} did not start"

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=20)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def is_writing(self) -> bool:
        """Whether the service is in the middle of a transaction just now."""
        with closing(sqlite3.connect(self.database, timeout=0)) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
        return False

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, object]:
        """Status and JSON body; None for a body that is no JSON."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request(method, path, body, {"x-api-key": KEY} if headers is None else headers)
            response = connection.getresponse()
            text = response.read()
        try:
            return response.status, json.loads(text)
        except ValueError:
            return response.status, None

    def push(
        self, table: str, *events: dict[str, object], task: str = "shop", agent: str = "agent-1", **flags: bool
    ) -> tuple[int, object]:
        payload = {
            "agent_id": agent,
            "task_id": task,
            "is_snapshot_end": False,
            "snapshot_sync_suggested": False,
            "events": events,
        }
        headers = {"Content-Type": "application/json", "task-id": task}
        headers |= {"x-api-key": KEY, "Authorization": f"Bearer {KEY}"}
        return self.request("POST", f"/ingest/{table}", json.dumps(payload | flags).encode(), headers)

    def checkpoint(self, task: str = "shop", agent: str = "agent-1") -> tuple[int, object]:
        status, body = self.request("GET", f"/fuagent-sync-status?{urlencode({'task_id': task, 'agent_id': agent})}")
        return status, body if status == 200 else None

    def rows(self, table: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.database, timeout=20)) as database:
            return database.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()


@pytest.fixture(params=["service_fastapi", "service_plain"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServiceProcess]:
    process = ServiceProcess(request.param, tmp_path / "service.db")
    process.start()
    yield process
    process.stop()
