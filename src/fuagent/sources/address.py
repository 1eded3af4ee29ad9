"""Where a server is, as whom to go there, and how the way is protected."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from fuagent.errors import HaltSyncError
from fuagent.model import Credential, Secret
from fuagent.sources.options import ServerOptions


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the endpoints of one kind of server are written."""

    name: str
    """As people call the server."""
    schemes: tuple[str, ...]
    port: int
    """Where no other is named."""
    socket: str
    """Where a socket file usually stands."""

    @property
    def spelling(self) -> str:
        """What to write."""
        scheme, socket = self.schemes[0], quote(self.socket, safe="")
        return f"write {scheme}://db.internal:{self.port}/shop, or {scheme}://{socket}/shop for a socket file"


class Tls(StrEnum):
    """How a connection is encrypted."""

    OFF = "off"
    PREFER = "prefer"
    """Where the server offers it, without proof of who the server is."""
    REQUIRE = "require"
    """Always, without proof of who the server is."""
    VERIFY = "verify"
    """Always, and the certificate and the name in it are proven."""


@dataclass(frozen=True, slots=True)
class Address:
    """One database on one server, and who asks for it. A host with a leading slash is a socket file."""

    host: str
    port: int
    database: str
    user: str
    password: Secret
    tls: Tls
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    key_password: Secret | None = None
    timeout: float = 10.0
    """Seconds until a connection stands, or has failed."""

    @property
    def socket(self) -> bool:
        """Whether it is a socket file on this machine."""
        return self.host.startswith("/")

    @property
    def where(self) -> str:
        """Server and port for messages: no user, no password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.host if self.socket else f"{host}:{self.port}"


def address_of(
    dialect: Dialect, endpoint: str, credential: Credential | None, options: ServerOptions, base_dir: Path = Path()
) -> Address:
    """The address behind ``scheme://host:port/database``, with the credential as it is now.

    Raises:
        HaltSyncError: endpoint, credential or TLS options are wrong; ``where`` is their key.
    """
    host, port, database = _parts(dialect, endpoint)
    if credential is None or not credential.user:
        raise HaltSyncError(
            f"a {dialect.name} source needs a user",
            where="credential.user",
            fix="write credential: {user: …, password: …}",
        )
    if credential.key is not None or credential.client_id is not None:
        raise HaltSyncError(
            f"a {dialect.name} source takes user and password",
            where="credential",
            fix="write credential: {user: …, password: …}",
        )
    tls = Tls(options.tls) if options.tls else (Tls.PREFER if _near(host) else Tls.VERIFY)
    if options.tls_ca and tls is not Tls.VERIFY:
        raise HaltSyncError(
            f"tls_ca proves a server, and tls: {tls} proves none",
            where="driver_params.tls_ca",
            fix="write tls: verify, or leave tls_ca out",
        )
    return Address(
        host=host,
        port=port,
        database=database,
        user=credential.user,
        password=credential.password or Secret(""),
        tls=Tls.OFF if host.startswith("/") else tls,
        ca_file=_file(base_dir, options.tls_ca),
        cert_file=_file(base_dir, credential.cert_file),
        key_file=_file(base_dir, credential.key_file),
        key_password=credential.key_password,
        timeout=options.connect_timeout,
    )


def _parts(dialect: Dialect, endpoint: str) -> tuple[str, int, str]:
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        raise _misspelt(dialect, "the endpoint's host or port cannot be read") from None
    if parts.scheme not in dialect.schemes:
        begins = " or ".join(f"{scheme}://" for scheme in dialect.schemes)
        raise _misspelt(dialect, f"the endpoint of a {dialect.name} source begins with {begins}")
    if "@" in parts.netloc:
        raise HaltSyncError(
            "a user or password stands in the endpoint",
            where="endpoint",
            fix="move it: credential: {user: …, password: …}",
        )
    if parts.query or parts.fragment:
        raise _misspelt(
            dialect, f"the endpoint of a {dialect.name} source has no ? and no #: options stand under driver_params"
        )
    # hostname is in small letters, and the name of a socket file must not be.
    host = unquote(parts.netloc) if parts.netloc.lower().startswith("%2f") else parts.hostname or ""
    database = unquote(parts.path)[1:]
    if not host or "\0" in host or port == 0:
        raise _misspelt(dialect, "the endpoint names no server")
    if not database or "/" in parts.path[1:] or "\0" in database:
        raise _misspelt(dialect, "the endpoint names no database")
    return host, port or dialect.port, database


def _misspelt(dialect: Dialect, what: str) -> HaltSyncError:
    return HaltSyncError(what, where="endpoint", fix=dialect.spelling)


def _near(host: str) -> bool:
    """Whether no other machine lies between here and the host."""
    if host.startswith("/") or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _file(base_dir: Path, name: str | None) -> str:
    return str(base_dir / name) if name else ""


def context_of(address: Address) -> ssl.SSLContext | None:
    """What TLS needs; None where it is off. Reads files: not for the event loop's thread.

    Raises:
        HaltSyncError: a certificate or key cannot be read.
    """
    if address.tls is Tls.OFF:
        return None
    context = _proving(address) if address.tls is Tls.VERIFY else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Stricter rules that came with Python 3.13 refuse what servers make for themselves.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if address.tls is not Tls.VERIFY:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if address.cert_file:
        _own(context, address)
    return context


def _proving(address: Address) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=address.ca_file or None)
    except OSError as error:
        raise HaltSyncError(
            f"the certificates cannot be read: {_reason(error)}",
            where="driver_params.tls_ca",
            fix="name a file of PEM certificates the agent may read",
        ) from None


def _own(context: ssl.SSLContext, address: Address) -> None:
    password = address.key_password.reveal() if address.key_password else ""
    try:
        # A password is always given: without one OpenSSL would ask the terminal.
        context.load_cert_chain(address.cert_file, address.key_file or None, password)
    except (OSError, ValueError) as error:
        raise HaltSyncError(
            f"the client certificate cannot be used: {_reason(error)}",
            where="credential.client_cert",
            fix="name PEM files the agent may read, a certificate and its own key; give client_key_password if it has one",
        ) from None


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return "this is no PEM file, or its parts do not fit"
    return (error.strerror if isinstance(error, OSError) else None) or "it does not fit"
