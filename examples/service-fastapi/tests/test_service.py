"""The service is judged as an agent would find it: started, over HTTP, with a database of its own."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fuagent.receiver.conformance import Target, judge


@pytest.fixture
def service_url(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or each answer waits for 40 ms
        # It is given a socket that listens already, so nothing has to wait until it is up.
        command = [sys.executable, "-m", "uvicorn", "service:app", "--fd", str(listening.fileno())]
        environment = os.environ | {"SERVICE_KEY": "secret", "SERVICE_DATABASE": str(tmp_path / "service.db")}
        where = Path(__file__).parent.parent
        service = subprocess.Popen(command, cwd=where, env=environment, pass_fds=[listening.fileno()])
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        service.terminate()
        service.wait()


def test_keeps_the_contract(service_url):
    report = asyncio.run(judge(Target(service_url, key="secret", rows=100)))

    assert report.failed() == ()
