"""Every statement of the contract that the service owes, played over real HTTP against the services of the demonstration."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from fuagent.receiver.cases import AGENT_CASES, CASES, SERVICE_CASES, Case, Reply, Request, Setup, Side

KEY = "key for the services"
ROWS = tuple(
    {"id": number, "name": f"Customer {number}", "email": f"{number}@example.org", "city": "Utrecht"}
    for number in (1, 2, 3)
)


@dataclass
class Running:
    """One service as a process."""

    process: subprocess.Popen[str]
    port: int

    def send(self, request: Request) -> Reply:
        """Send one request as it stands."""
        path = f"{request.path}?{urlencode(request.query)}" if request.query else request.path
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request(request.method, path, request.body or None, dict(request.headers))
            answer = connection.getresponse()
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, answer.read(), headers)


@pytest.fixture(scope="module", params=["service_fastapi", "service_plain"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Each service of the demonstration in turn."""
    database: Path = tmp_path_factory.mktemp("service") / "service.db"
    environment = os.environ | {"SERVICE_KEY": KEY, "SERVICE_DATABASE": str(database)}
    command = [sys.executable, "-m", f"fuagent.demo.{request.param}", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    port = urlsplit(process.stdout.readline().strip()).port
    assert port is not None
    yield Running(process, port)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=20)
    process.stdout.close()


def test_no_statement_is_without_a_test() -> None:
    """The two files of this folder play the whole table."""
    played = {case.id for case in (*AGENT_CASES, *SERVICE_CASES)}

    assert played == {case.id for case in CASES}
    assert {case.side for case in CASES} == set(Side)


@pytest.mark.parametrize("case", SERVICE_CASES, ids=lambda case: case.id)
def test_the_service_keeps_the_contract(case: Case, service: Running) -> None:
    """What the statement owes is seen in the replies."""
    setup = Setup(
        agent_id=f"agent-{case.id}",
        task_id=f"task-{case.id}",
        base="",
        batch_endpoint="/ingest/customers",
        key=KEY,
        rows=ROWS,
    )
    assert case.applies(setup)
    replies: list[Reply] = []
    for step in case.steps:
        replies.append(service.send(step.send(setup)))
        broken = [expect.text for expect in step.expects if not expect.met(setup, replies)]

        assert broken == [], replies[-1]
