"""TLS, proxies and access tokens."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import parse_qs

import pytest
from raw_service import Authority, Exchange, answering, batch, document, hurry

from fuagent.errors import HaltSyncError, TryAgainError
from fuagent.model import Credential, Level, Secret, Table, Verdict
from fuagent.pushers import tls

PATH = "/v1/ingest-batch"
CLIENT = Credential(client_id="id", client_secret=Secret("canary-secret"))


@pytest.mark.fault("S03")
def test_what_a_connection_demands():
    """The certificate, the name in it, and no version of TLS that has been broken."""
    made = tls.context(None, None)

    assert (made.verify_mode, made.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert made.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.fault("S03")
async def test_private_authority(serving, pushing, authority):
    """A private authority is trusted through ca_file, and TLS bodies of every size arrive."""
    service = await serving(authority.server())
    pusher = pushing(service.url, ca_file=str(authority.file), require_tls=True)
    await pusher.open()

    for size in (0, 1_000_000, 5_000_000):
        assert (await pusher.push(batch(size=size))).verdict is Verdict.ACKNOWLEDGED
    assert service.connections == 1


@pytest.mark.fault("F85")
async def test_early_answer_over_tls(serving, pushing, authority):
    """Success before the body was read is none over TLS either."""
    service = await serving(authority.server())
    service.unread_bodies.add(PATH)
    pusher = pushing(service.url, ca_file=str(authority.file))
    await pusher.open()

    for size in (1_000_000, 20_000_000):
        assert "before the batch was sent" in (await pusher.push(batch(size=size))).reason


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ({"expired": True}, "expired"),
        ({"name": "other.example.test"}, "another host name"),
    ],
)
@pytest.mark.fault("F93", "S03")
async def test_wrong_certificates(serving, pushing, authority, made, told):
    """An expired certificate and one for another host are told apart."""
    service = await serving(authority.server(**made))

    with pytest.raises(TryAgainError, match=told) as caught:
        await pushing(service.url, ca_file=str(authority.file)).open()

    assert caught.value.where == f"{service.url}/openapi.json"


@pytest.mark.fault("S03")
async def test_certificate_for_another_address(serving, pushing, authority):
    """An address is checked like a name."""
    service = await serving(authority.server("other.example.test"))

    with pytest.raises(TryAgainError, match="another IP address"):
        await pushing(service.url.replace("localhost", "127.0.0.1"), ca_file=str(authority.file)).open()


@pytest.mark.fault("F93", "S03")
async def test_unknown_authority(serving, pushing, authority):
    """A certificate of an unknown authority is refused, naming the setting; a push gives an outcome."""
    service = await serving(authority.server())
    with pytest.raises(TryAgainError, match="ca_file"):
        await pushing(service.url).open()
    plain = await serving()
    pusher = pushing(plain.url, base_url=service.url)
    await pusher.open()

    outcome = await pusher.push(batch())

    assert outcome.verdict is Verdict.RETRY
    assert "authority is not known" in outcome.reason
    assert service.requests == []


@pytest.mark.fault("F93")
async def test_renewed_authority(serving, pushing, authority, tmp_path):
    """Files are read again for new connections, so that renewal needs no restart."""
    service = await serving(authority.server())
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(Authority(tmp_path / "other", "other").file.read_bytes())
    pusher = pushing(service.url, ca_file=str(trusted))
    with pytest.raises(TryAgainError, match="not known"):
        await pusher.open()
    trusted.write_bytes(authority.file.read_bytes())

    await pusher.refresh()
    await pusher.open()


async def test_not_tls(pushing):
    """A port that speaks no TLS is said to speak none."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        finally:
            writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(TryAgainError, match="does not speak TLS"):
            await pushing(f"https://127.0.0.1:{port}").open()


async def test_client_certificate(serving, pushing, authority):
    """A service that demands a client certificate gets it, with its locked key."""
    service = await serving(authority.server(clients=True))
    certificate, key = authority.sign("agent", client=True, password=b"pw")
    credential = Credential(cert_file=str(certificate), key_file=str(key), key_password=Secret("pw"))
    pusher = pushing(service.url, ca_file=str(authority.file), credential=credential)
    await pusher.open()

    assert (await pusher.push(batch())).verdict is Verdict.ACKNOWLEDGED


@contextmanager
def refusing_clients(context: ssl.SSLContext) -> Iterator[str]:
    """A server on plain sockets, which sends its alerts; asyncio's closes without them."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def refuse(connection: socket.socket) -> None:
            with connection, connection.dup() as raw:
                with suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(1)
                # Closing with unread bytes would be a reset, which overtakes the alert.
                raw.settimeout(5)
                raw.shutdown(socket.SHUT_WR)
                while raw.recv(65536):
                    pass

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with suppress(OSError):
                        refuse(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://localhost:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_client_certificate_that_is_missing(pushing, authority, version):
    """Without the certificate a service demands the reason is clear, also where it is told after the handshake."""
    context = authority.server(clients=True)
    context.maximum_version = version
    with refusing_clients(context) as url, pytest.raises(TryAgainError, match="demands a client certificate"):
        await pushing(url, ca_file=str(authority.file)).open()


async def test_foreign_client_certificate(pushing, authority, tmp_path):
    """A client certificate of an authority the service does not know is said to be that."""
    certificate, key = Authority(tmp_path / "x", "foreign").sign("agent", client=True)
    credential = Credential(cert_file=str(certificate), key_file=str(key))

    with (
        refusing_clients(authority.server(clients=True)) as url,
        pytest.raises(TryAgainError, match="does not know the authority of the client certificate"),
    ):
        await pushing(url, ca_file=str(authority.file), credential=credential).open()


async def test_files_that_cannot_be_used(serving, pushing, authority, tmp_path):
    """Missing, wrong and locked certificate files name the setting, and never ask on the terminal."""
    service = await serving(authority.server())
    certificate, key = authority.sign("agent", client=True, password=b"canary")
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    trusted = str(authority.file)
    cases = [
        ({"ca_file": str(tmp_path / "none.pem")}, None, "No such file"),
        ({"ca_file": str(nonsense)}, None, "not what is wanted"),
        ({"ca_file": trusted}, Credential(cert_file=str(tmp_path / "none.pem")), "No such file"),
        ({"ca_file": trusted}, Credential(cert_file=str(certificate), key_file=str(key)), "not what is wanted"),
        ({"ca_file": trusted}, Credential(cert_file=str(nonsense)), "not what is wanted"),
        (
            {"ca_file": trusted},
            Credential(cert_file=str(certificate), key_file=str(key), key_password=Secret("canary" * 500)),
            "not what is wanted",
        ),
    ]
    for options, credential, told in cases:
        with pytest.raises(TryAgainError, match=told) as caught:
            await pushing(service.url, credential=credential, **options).open()
        assert "ca_file" in str(caught.value) or "credential.cert_file" in str(caught.value)
        assert "canary" not in str(caught.value)


@pytest.mark.fault("F94")
async def test_proxy(serving, pushing, monkeypatch):
    """A proxy is used where it is set, with its password, and never for this machine."""
    service, proxy = await serving(), await serving()
    body = json.dumps(document(servers=[{"url": "http://service.example.test/v1"}])).encode()
    service.routes["/openapi.json"] = answering(body=body)
    proxy.routes["http://service.example.test/v1/ingest-batch"] = answering()
    setting = proxy.url.replace("http://", "http://ann:pw@")
    pusher = pushing(service.url, proxy=setting, allowed_hosts=["service.example.test"])
    await pusher.open()

    assert (await pusher.push(batch())).verdict is Verdict.ACKNOWLEDGED
    (request,) = proxy.requests
    assert request.target == "http://service.example.test/v1/ingest-batch"
    assert request.values("Proxy-Authorization") == ["Basic YW5uOnB3"]
    assert "pw" not in repr(pusher.Options(proxy=setting))


@pytest.mark.fault("F94")
async def test_proxy_of_the_environment(serving, pushing, monkeypatch):
    """The environment's proxy does not count."""
    service, proxy = await serving(), await serving()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    body = json.dumps(document(servers=[{"url": "http://service.invalid/v1"}])).encode()
    service.routes["/openapi.json"] = answering(body=body)
    pusher = pushing(service.url, allowed_hosts=["service.invalid"])
    await pusher.open()

    assert "host name was not found" in (await pusher.push(batch())).reason
    assert proxy.requests == []


@pytest.mark.fault("F94")
async def test_proxy_that_refuses(serving, pushing):
    """A proxy that wants a password, and one that is not there, are told apart."""
    proxy = await serving()

    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(407)

    proxy.routes["service.example.test:443"] = refuse
    endpoint = "https://service.example.test/openapi.json"
    with pytest.raises(TryAgainError, match=r"proxy refused.*407"):
        await pushing(endpoint, proxy=proxy.url).open()
    with pytest.raises(TryAgainError, match="proxy cannot be reached"):
        await pushing(endpoint, proxy="http://127.0.0.1:1").open()


def token_service(service, *, token="/token", **more):
    """Describe a service behind client credentials, and let it know its newest token only."""
    flows = {"clientCredentials": {"tokenUrl": token, "scopes": {}}}
    service.describe(
        security=[{"oauth": ["rows:write"]}],
        components={"securitySchemes": {"oauth": {"type": "oauth2", "flows": flows}}},
    )
    issued: list[str] = []

    async def issue(exchange: Exchange) -> None:
        issued.append(f"token-{len(issued)}")
        await exchange.answer(200, json.dumps({"access_token": issued[-1], "token_type": "bearer"} | more).encode())

    async def ingest(exchange: Exchange) -> None:
        known = exchange.request.values("Authorization") == [f"Bearer {issued[-1]}"]
        await exchange.answer(200 if known else 401)

    service.routes["/token"] = issue
    service.routes[PATH] = ingest
    return issued


async def test_token(service, pushing):
    """A token is fetched once, for the demanded scopes, and kept until it is dropped."""
    issued = token_service(service, expires_in=3600)
    pusher = pushing(service.url, credential=CLIENT)
    await pusher.open()
    for _ in range(3):
        assert (await pusher.push(batch())).verdict is Verdict.ACKNOWLEDGED

    (request,) = service.to("/token")
    assert parse_qs(request.body.decode()) == {"grant_type": ["client_credentials"], "scope": ["rows:write"]}
    assert request.values("Authorization")[0].startswith("Basic ")
    assert service.to(PATH)[0].values("x-api-key") == []
    issued.append("revoked")
    assert (await pusher.push(batch())).verdict is Verdict.UNAUTHORISED
    await pusher.refresh()
    assert (await pusher.push(batch())).verdict is Verdict.ACKNOWLEDGED
    assert len(service.to("/token")) == 2


async def test_token_that_ends(service, pushing):
    """A token is fetched again once it has ended."""
    token_service(service, expires_in=1e-9)
    pusher = pushing(service.url, credential=CLIENT)
    await pusher.open()
    for _ in range(2):
        assert (await pusher.push(batch())).verdict is Verdict.ACKNOWLEDGED

    assert len(service.to("/token")) == 2


async def test_token_by_form(service, pushing):
    """A server that does not read the header is asked by form."""
    token_service(service)
    issue = service.routes["/token"]

    async def form_only(exchange: Exchange) -> None:
        if b"client_secret=canary-secret" in exchange.request.body:
            await issue(exchange)
        else:
            await exchange.answer(401, b'{"error": "invalid_client"}')

    service.routes["/token"] = form_only
    pusher = pushing(service.url, credential=CLIENT)
    await pusher.open()

    assert (await pusher.push(batch())).verdict is Verdict.ACKNOWLEDGED


@pytest.mark.parametrize(
    ("route", "verdict"),
    [
        (answering(401), Verdict.UNAUTHORISED),
        (answering(503), Verdict.RETRY),
        (answering(200, b"<html>"), Verdict.WRONG_ANSWER),
        (answering(302, headers={"Location": "/token2"}), Verdict.WRONG_ANSWER),
    ],
)
async def test_no_token(service, pushing, route, verdict):
    """Without a token nothing is sent, and the outcome says why, without the secret."""
    token_service(service)
    service.routes["/token"] = route
    pusher = pushing(service.url, credential=CLIENT)
    await pusher.open()

    outcome = await pusher.push(batch())

    assert outcome.verdict is verdict
    assert "/token" in outcome.reason
    assert "canary" not in repr(outcome)
    assert service.to(PATH) == []
    with pytest.raises(TryAgainError, match="/token"):
        await pusher.checkpoint()


async def test_token_in_time(service, pushing):
    """The deadline of an attempt holds for the token too, and a broken token endpoint is a fault."""
    token_service(service)

    async def silent(exchange: Exchange) -> None:
        await exchange.reader.read()

    service.routes["/token"] = silent
    pusher = pushing(service.url, credential=CLIENT)
    await pusher.open()
    hurry(pusher, 0.2)
    assert "in time" in (await asyncio.wait_for(pusher.push(batch()), 30)).reason
    hurry(pusher, 30)

    async def cut(exchange: Exchange) -> None:
        exchange.cut()

    service.routes["/token"] = cut
    assert "connection broke" in (await pusher.push(batch())).reason


async def test_token_elsewhere(service, pushing):
    """The client's secret goes to another host only where the operator says so."""
    token_service(service, token="https://evil.test/token")
    pusher = pushing(service.url, credential=CLIENT)
    await pusher.open()

    with pytest.raises(HaltSyncError, match="another origin for the token URL"):
        await pusher.push(batch())
    (finding,) = await pusher.check([Table("t", ())])
    assert finding.level is Level.ERROR
    assert "token URL" in finding.what


@pytest.mark.fault("S02")
async def test_token_in_clear(service, pushing):
    """A token URL off this machine without TLS is warned of."""
    token_service(service)
    credential = Credential(client_id="i", client_secret=Secret("s"), token_url="http://login.invalid/t")

    findings = await pushing(service.url, credential=credential).check([Table("t", ())])

    assert "http://login.invalid/t" in [finding.where for finding in findings if finding.level is Level.WARNING]


@pytest.mark.fault("S03")
def test_options(pushing):
    """Hosts and proxies are refused where they cannot be meant, unknown keys always, with words about it."""
    for wrong, told in (
        ({"allowed_hosts": ["https://h"]}, "without scheme"),
        ({"allowed_hosts": [""]}, "without scheme"),
        ({"proxy": "proxy:3128"}, "http://host:port"),
        ({"compression": "br"}, "gzip"),
        ({"max_connection_age": 0}, "greater than 0"),
        ({"require_tls": "yes"}, "boolean"),
        ({"verify": False}, "Extra inputs"),
    ):
        with pytest.raises(ValueError, match=told):
            pushing("http://h", **wrong)
