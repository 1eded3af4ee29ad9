"""The agent speaks to its database and its service and to nobody else: no telemetry, no look for updates, no name asked for."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import mariadb, namespace
from harness.agent import Agent, config, until
from harness.mariadb import MariaDB
from harness.service import Service

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("strace") and shutil.which("ip") and namespace.possible()),
        reason="needs root, strace and ip: scripts/system-packages tests",
    ),
]

CALL = re.compile(r"(?:connect|sendto|sendmsg|sendmmsg)\(.*?sa_family=(AF_\w+)(.*)")
PLACE = re.compile(r'sin_port=htons\((\d+)\), sin_addr=inet_addr\("([^"]+)"\)')


def called(trace: str) -> set[tuple[str, int]]:
    """Address and port of everybody who was called; what is no call over IPv4 stands there with its family."""
    found = set()
    for line in trace.splitlines():
        call = CALL.search(line)
        if call is not None and call[1] != "AF_UNIX":
            place = PLACE.search(call[2])
            found.add((place[2], int(place[1])) if place else (call[1], 0))
    return found


@pytest.mark.fault("S45")
async def test_nobody_else_is_called(tmp_path: Path, private_mariadb: Callable[..., MariaDB]) -> None:
    """In a network with nothing but the two in it, a whole life: snapshot, changes, metrics, an outage, an orderly end."""
    trace, service = tmp_path / "trace", Service()
    with namespace.lonely():
        server = private_mariadb()
        server.execute("CREATE TABLE orders (id INT PRIMARY KEY, name VARCHAR(50))")
        server.execute("INSERT INTO orders VALUES (1, 'one')")
        await service.start()
        source = {
            "driver": "mysql",
            "endpoint": server.url(),
            "credential": {"user": mariadb.USER, "password": mariadb.PASSWORD},
        }
        agent = Agent(tmp_path, config(Path("none"), service.openapi, source=source))
        watched = ["strace", "--daemonize", "--follow-forks", "--trace=%network", f"--output={trace}"]
        agent.process = await asyncio.create_subprocess_exec(
            *watched, *agent.command("run", "--log-level", "debug", "--listen", "0"), env=agent.env
        )
        async with agent:
            await until(lambda: service.rows, "the snapshot")
            server.execute("INSERT INTO orders VALUES (2, 'two')")
            await until(lambda: 2 in service.rows, "the change")
            await service.stop()
            server.execute("INSERT INTO orders VALUES (3, 'three')")
            await agent.state("retrying")
            await service.start()
            await until(lambda: 3 in service.rows, "what came during the outage")
            await agent.end()
        await service.stop()
        server.stop()
    last = re.compile(rf"{agent.process.pid} +\+\+\+ exited")
    await until(lambda: last.search(trace.read_text()), "everything is written down")

    assert called(trace.read_text()) == {("127.0.0.1", server.port), ("127.0.0.1", service.port)}


def test_calls_are_read() -> None:
    """Whoever was called is seen, by name server and by IPv6 too."""
    trace = """\
7 connect(3, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("192.0.2.1")}, 16) = 0
7 sendto(4, "x", 1, 0, {sa_family=AF_INET6, sin6_port=htons(443)}, 28) = -1 ENETUNREACH (Network is unreachable)
7 connect(5, {sa_family=AF_UNIX, sun_path="/run/x"}, 110) = 0
7 sendto(6, "y", 1, 0, NULL, 0) = 1
"""

    assert called(trace) == {("192.0.2.1", 53), ("AF_INET6", 0)}
