"""What somebody on the way between agent and database can read: nothing, where the line is encrypted."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import certificates, mariadb, postgres
from harness.agent import Agent, config, until
from harness.mariadb import MariaDB
from harness.postgres import Postgres
from harness.proxy import Proxy
from harness.service import Service

pytestmark = pytest.mark.slow

ROW = "canary-row"


def encrypted(kind: str, certs: certificates.Certificates, request: pytest.FixtureRequest) -> MariaDB | Postgres:
    """A server that speaks TLS to whoever wants to."""
    if kind == "mysql":
        return request.getfixturevalue("private_mariadb")(ssl_cert=certs.cert, ssl_key=certs.key)
    server = request.getfixturevalue("private_postgres")()
    cert, key = (server.keep(path.name, path.read_bytes()) for path in (certs.cert, certs.key))
    server.restart(ssl="on", ssl_cert_file=cert, ssl_key_file=key)
    return server


@pytest.mark.fault("S04")
@pytest.mark.parametrize("tls", ["verify", "require", "off"])
@pytest.mark.parametrize("kind", ["mysql", "postgres"])
async def test_nobody_on_the_way_reads_rows(
    kind: str, tls: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Snapshot and changes over a line with a listener on it; with tls off he reads them, so that he is known to hear."""
    certs = certificates.make(tmp_path)
    harness = mariadb if kind == "mysql" else postgres
    server = encrypted(kind, certs, request)
    server.execute("CREATE TABLE orders (id INT PRIMARY KEY, name VARCHAR(50))")
    if kind == "postgres":
        server.execute(f"ALTER TABLE orders OWNER TO {postgres.USER}")
    server.execute(f"INSERT INTO orders VALUES (1, '{ROW}')")
    heard = bytearray()
    async with Proxy(server.port, heard=heard) as wire, Service() as service:
        source = {
            "driver": kind,
            "endpoint": server.url().replace(f":{server.port}/", f":{wire.port}/"),
            "credential": {"user": harness.USER, "password": harness.PASSWORD},
            "driver_params": {"tls": tls, **({"tls_ca": str(certs.ca)} if tls == "verify" else {})},
        }
        async with Agent(tmp_path, config(Path("none"), service.openapi, source=source)) as agent:
            await agent.start()
            await agent.state("caught up")
            in_the_snapshot = ROW.encode() in heard
            heard.clear()
            server.execute(f"INSERT INTO orders VALUES (2, '{ROW}')")
            await until(lambda: 2 in service.rows, "the change")
            await agent.end()

    assert (in_the_snapshot, ROW.encode() in heard) == (tls == "off", tls == "off")
    assert heard
    assert harness.PASSWORD.encode() not in heard
