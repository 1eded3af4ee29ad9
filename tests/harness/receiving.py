"""The receiver kit served by uvicorn in a thread, and requests sent to it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import uvicorn

from fuagent.receiver.cases import Reply, Request

KEY = "key of the receiver"
AGENT = "agent-0123456789ab"
DEADLINE = 30.0


@dataclass(frozen=True)
class Running:
    """An application that listens."""

    port: int

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send(self, request: Request) -> Reply:
        """Send one request as it stands."""
        path = f"{request.path}?{urlencode(request.query)}" if request.query else request.path
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)) as connection:
            connection.request(request.method, path, request.body or None, dict(request.headers))
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, answer.read(), headers)

    def post(
        self, body: bytes, headers: Mapping[str, str] | None = None, path: str = "/ingest-batch"
    ) -> tuple[int, Any]:
        """POST a body with the right key, unless ``headers`` say otherwise; gives status and JSON."""
        sent = {"x-api-key": KEY, "content-type": "application/json"} | dict(headers or {})
        reply = self.send(Request("POST", path, (), sent, body))
        return reply.status, json.loads(reply.body)

    def ask(self, task_id: str, agent_id: str = AGENT, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        """Ask for the checkpoint."""
        query = (("task_id", task_id), ("agent_id", agent_id))
        sent = {"x-api-key": KEY} if headers is None else headers
        reply = self.send(Request("GET", "/fuagent-sync-status", query, sent))
        return reply.status, json.loads(reply.body)

    def document(self) -> Any:
        """The OpenAPI document."""
        return json.loads(self.send(Request("GET", "/openapi.json")).body)


def batch(
    task_id: str, *events: Mapping[str, Any], end: bool = False, suggested: bool = False, agent_id: str = AGENT
) -> bytes:
    """A body as the contract has it."""
    flags = {"is_snapshot_end": end, "snapshot_sync_suggested": suggested}
    return json.dumps({"agent_id": agent_id, "task_id": task_id, **flags, "events": events}).encode()


@contextmanager
def served(app: Any) -> Iterator[Running]:
    """Serve an application on a free port until the block ends."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio asks for the protocol
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    end = time.monotonic() + DEADLINE
    while not server.started:
        assert thread.is_alive(), "uvicorn ended at once"
        assert time.monotonic() < end, "uvicorn never started"
        time.sleep(0.005)
    try:
        yield Running(listening.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(DEADLINE)
