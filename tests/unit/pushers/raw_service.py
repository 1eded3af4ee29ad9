"""A service that can be made to misbehave, and an authority to sign for it."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fuagent.model import Batch, Finding
from fuagent.pushers.openapi import OpenAPI

TASK, AGENT = "my-sync", "agent-1"


@dataclass
class Request:
    """One request as it came off the wire."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def value(self, name: str) -> str | None:
        return next(iter(self.values(name)), None)


@dataclass
class Exchange:
    """One request being answered by hand."""

    request: Request
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(self, status: int = 200, body: bytes = b"{}", headers: dict[str, str] | None = None) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        await self.raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def cut(self) -> None:
        """End the connection with a reset."""
        self.writer.transport.abort()


Route = Callable[[Exchange], Awaitable[None]]


def answering(status: int = 200, body: bytes = b"{}", headers: dict[str, str] | None = None) -> Route:
    async def route(exchange: Exchange) -> None:
        await exchange.answer(status, body, headers)

    return route


def document(**more: object) -> dict[str, object]:
    """A small document of a service with a status endpoint."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "t", "version": "1"},
        "servers": [{"url": "/v1", "x-fuagent-status-endpoint": "/fuagent-sync-status"}],
        "paths": {"/ingest-batch": {"post": {"requestBody": {"content": {"application/json": {"schema": {}}}}}}},
    } | more


@dataclass
class Service:
    """A raw HTTP server; ``routes`` say what happens, ``requests`` what came."""

    routes: dict[str, Route] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    unread_bodies: set[str] = field(default_factory=set)
    """Paths whose bodies are left on the wire."""
    closing: set[str] = field(default_factory=set)
    """Paths after whose answer the connection is closed without a word."""
    url: str = ""
    failures: list[BaseException] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def describe(self, **more: object) -> None:
        self.routes["/openapi.json"] = answering(body=json.dumps(document(**more)).encode())

    def to(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.target.split("?")[0] == path]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while await self.one(reader, writer, number):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError):
            pass
        except Exception as error:
            self.failures.append(error)
        finally:
            writer.close()

    async def one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = head[0].split(" ", 2)
        headers = [tuple(line.split(": ", 1)) for line in head[1:] if line]
        path = target.split("?")[0]
        length = int(next((value for name, value in headers if name.lower() == "content-length"), 0))
        body = b""
        if path in self.unread_bodies:
            writer.transport.pause_reading()  # or else the event loop takes in what nobody asked for
        else:
            body = await reader.readexactly(length)
        request = Request(method, target, headers, body, number)
        self.requests.append(request)
        await self.routes.get(path, answering(404))(Exchange(request, reader, writer))
        if path in self.closing or writer.is_closing():
            return False
        if path in self.unread_bodies:
            await self.ended.wait()
        return path not in self.unread_bodies


async def close(server: asyncio.Server) -> None:
    server.close()
    await server.wait_closed()


@dataclass
class Warnings:
    """What the operator was told."""

    findings: list[Finding] = field(default_factory=list)

    def __call__(self, finding: Finding) -> None:
        self.findings.append(finding)

    @property
    def texts(self) -> list[str]:
        return [finding.what for finding in self.findings]


def batch(*events: bytes, size: int = 0, table: str = "") -> Batch:
    """A batch; ``size`` pads it with one large event."""
    padding = (b'{"p":"' + b"x" * size + b'"}',) if size else ()
    return Batch(TASK, AGENT, "start.1.7", (*events, *padding) or (b'{"id":1,"index":5}',), table)


def hurry(pusher: OpenAPI, seconds: float) -> None:
    """Give the attempts to come so long; those before had their time."""
    pusher._context = replace(pusher._context, timeout=seconds)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclass
class Authority:
    """A certificate authority in a folder of its own."""

    folder: Path
    name: str = "root"

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"fuagent test {self.name}")])
        self.certificate = (
            self._builder(self.subject, self.key, now() + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(self._usage(sign=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = self.folder / f"{self.name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def sign(
        self, name: str, *, expired: bool = False, client: bool = False, password: bytes | None = None
    ) -> tuple[Path, Path]:
        """A certificate for this host (or client) and its key, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        until = now() + dt.timedelta(days=-1 if expired else 1)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names: list[x509.GeneralName] = [x509.DNSName(name)]
        if name == "localhost":
            names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        made = (
            self._builder(subject, key, until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        stem = f"{self.name}-{name}-{client}-{expired}"
        certificate, private = self.folder / f"{stem}.pem", self.folder / f"{stem}.key"
        certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        hidden = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        private.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden),
        )
        return certificate, private

    def server(self, name: str = "localhost", *, expired: bool = False, clients: bool = False) -> ssl.SSLContext:
        """TLS for a server; ``clients`` have to show a certificate of this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.sign(name, expired=expired))
        if clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.file)
        return context

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, until: dt.datetime):
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now() - dt.timedelta(days=2))
            .not_valid_after(until)
        )

    @staticmethod
    def _usage(*, sign: bool) -> x509.KeyUsage:
        return x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=sign,
            crl_sign=sign,
            encipher_only=False,
            decipher_only=False,
        )
