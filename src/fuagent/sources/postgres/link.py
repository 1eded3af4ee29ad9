"""Connections to a server through psycopg, and the one way its errors become ours.

libpq logs in, encrypts and runs statements. What comes in bulk (COPY, the log) goes through ``channel``.
Nothing of libpq's own settings (files in the home directory, PG… variables) may decide where to go or as whom.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any, Self

import psycopg
from psycopg import conninfo, pq, waiting

from fuagent.errors import FuagentError
from fuagent.sources.address import Address, Dialect, Tls
from fuagent.sources.postgres import channel, faults
from fuagent.sources.postgres.faults import translate

DIALECT = Dialect("PostgreSQL", ("postgres", "postgresql"), 5432, "/var/run/postgresql")

Row = tuple[Any, ...]

QUERY_FOR = 120.0
"""Seconds an ordinary query may take."""
SILENT_FOR = 600.0
"""Seconds the server may be silent in the middle of a long result."""
_NO_FILE = f"{os.devnull}/none"
"""A file that cannot be there."""
_USUAL = {b"sslcertmode": b"allow", b"min_protocol_version": b"3.0", b"max_protocol_version": b"3.0"}
"""What libpq takes where a variable has no value of its own and must not be empty."""
_MODES = {Tls.OFF: "disable", Tls.PREFER: "prefer", Tls.REQUIRE: "require", Tls.VERIFY: "verify-full"}
WRITTEN = {
    "datestyle": "ISO",
    "intervalstyle": "iso_8601",
    "timezone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
}
"""How values are written: see ``wire/postgres/values.py``."""
PATIENT = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",
}
"""No limit of the account's or the database's ends a session of ours: it may wait for a slow service."""
_SINCE = {"idle_session_timeout": 140_000, "transaction_timeout": 170_000}
"""The versions that brought settings which older ones do not know."""
_SESSION = {
    **WRITTEN,
    **PATIENT,
    "search_path": "",
    "standard_conforming_strings": "on",  # keys are written into statements that read rows again
    "row_security": "off",  # rows that a policy hides would be missing without a word
    "lock_timeout": "60s",
    "default_transaction_read_only": "off",  # publications are made
}


def parameters(address: Address, **more: str) -> dict[str, str]:
    """What libpq is told; all that it would look up elsewhere is said. (A service cannot be: see ``faults``.)"""
    known = (one for one in pq.Conninfo.get_defaults() if one.envvar and one.keyword != b"service")
    told = {one.keyword.decode(): (one.compiled or _USUAL.get(one.keyword, b"")).decode() for one in known} | {
        "host": address.host,
        "hostaddr": "",
        "port": str(address.port),
        "dbname": address.database,
        "user": address.user,
        "password": address.password.reveal(),
        "passfile": _NO_FILE,
        "sslmode": _MODES[address.tls],
        "sslcert": address.cert_file or _NO_FILE,
        "sslkey": address.key_file or address.cert_file or _NO_FILE,
        "sslpassword": address.key_password.reveal() if address.key_password else "",
        "sslrootcert": _NO_FILE,  # the home directory's own would be proven against, also where no proof is asked for
        "sslcrl": _NO_FILE,
        "gssencmode": "disable",
        "client_encoding": "UTF8",
        "application_name": "fuagent",
        "connect_timeout": str(max(2, round(address.timeout))),
        "keepalives_idle": "30",
        "keepalives_interval": "10",
        "keepalives_count": "3",
        "options": "",
    }
    if address.tls is Tls.VERIFY:
        told["sslrootcert"] = address.ca_file or ssl.get_default_verify_paths().cafile or "system"
    if "require_auth" in told:  # libpq 16
        sheltered = address.socket or address.tls in (Tls.REQUIRE, Tls.VERIFY)
        # Whoever answers may ask for the password itself; it is not sent where others could read it.
        told["require_auth"] = "!sspi" if sheltered else "!sspi,!password"
    return told | more


class Connection(psycopg.AsyncConnection[Row]):
    """One that ends where its caller is cancelled.

    psycopg would ask the server to cancel the statement, on a connection that nobody closes, and wait.
    """

    async def wait(self, gen: Any, interval: float = 60.0, timeout: float | None = None) -> Any:
        """Run one of psycopg's conversations."""
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)
        except asyncio.CancelledError:
            self.end()
            raise

    def end(self) -> None:
        """Let go of the connection at once: to wait for that could be cancelled too."""
        self.pgconn.finish()


async def connect(address: Address, settings: dict[str, str], **more: str) -> Connection:
    """A connection, logged in.

    Raises:
        TryAgainError: not reachable, or the login is refused (UnauthorisedError).
        HaltSyncError: TLS or the database are not as they should be.
    """
    told = parameters(address, **more)
    with translating(address.where):
        async with asyncio.timeout(address.timeout):
            logged_in = await _logged_in(conninfo.make_conninfo(**told | await _found(address)).encode())
            made = Connection(logged_in)
            made.prepare_threshold = None  # what is asked here is asked rarely, and poolers keep no statements
            try:
                await made.set_autocommit(True)
                # Not as libpq's options: variables such as PGTZ would go before those.
                known = [name for name in settings if made.info.server_version >= _SINCE.get(name, 0)]
                statements = "; ".join(f"SET {name} = '{settings[name]}'" for name in known)
                if statements:
                    await made.execute(statements)
            except BaseException:
                made.end()
                raise
    return made


async def _found(address: Address) -> dict[str, str]:
    """The addresses behind the host's name: libpq would stand still while it looks them up."""
    if address.socket:
        return {}
    loop = asyncio.get_running_loop()
    told = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    found = list(dict.fromkeys(str(one[4][0]) for one in told))
    return {"host": ",".join([address.host] * len(found)), "hostaddr": ",".join(found)}


async def _logged_in(told: bytes) -> pq.abc.PGconn:
    """A connection that is closed where it does not come to stand; psycopg's own is not when it is cancelled."""
    made = pq.PGconn.connect_start(told)
    try:
        while (status := made.connect_poll()) != pq.PollingStatus.OK:
            if status == pq.PollingStatus.FAILED:
                raise psycopg.OperationalError(made.get_error_message())
            await channel.ready(made.socket, writing=status == pq.PollingStatus.WRITING)
    except BaseException:
        made.finish()
        raise
    made.nonblocking = 1
    return made


class Link:
    """A session of ours on a server: UTC, UTF-8, no search path. One statement at a time."""

    def __init__(self, connection: Connection, where: str) -> None:
        self.where = where
        self.version = connection.info.server_version
        """As a number: 150018 is 15.18."""
        self.pid = connection.info.backend_pid
        """The process of the server that works for it."""
        self._connection = connection

    @classmethod
    async def open(cls, address: Address) -> Self:
        """Connect and log in; see :func:`connect`."""
        return cls(await connect(address, _SESSION), address.where)

    async def close(self) -> None:
        """Let go of the connection; may be called twice."""
        self._connection.end()

    async def rows(self, query: str, args: Sequence[object] = (), *, within: float = QUERY_FOR) -> list[Row]:
        """All rows of a small result; empty where the statement gives none. Each ``%s`` takes one of ``args``."""
        with translating(self.where):
            async with asyncio.timeout(within):
                cursor = await self._connection.execute(query, tuple(args) or None)
                return await cursor.fetchall() if cursor.description else []

    async def one(self, query: str, args: Sequence[object] = ()) -> Row | None:
        """The first row, if there is one."""
        found = await self.rows(query, args)
        return found[0] if found else None

    async def attempt(self, query: str) -> bool:
        """Run a statement that this server may not know or not allow; says whether it did."""
        with translating(self.where):
            async with asyncio.timeout(QUERY_FOR):
                try:
                    await self._connection.execute(query)
                except psycopg.Error as error:
                    if faults.state_of(error) not in faults.REFUSALS:
                        raise
                    return False
        return True

    async def copy(self, query: str, most: int | None = None) -> AsyncGenerator[bytes, None]:
        """What COPY … TO STDOUT gives, in blocks of whole lines; servers send them one by one, so each has ``most``.

        Nothing is taken from the network while a block is in the caller's hands. Closing the
        iterator before its end closes the connection: there is no other way to stop a result.
        """
        made = channel.on(self._connection.pgconn, self.where)
        try:
            with translating(self.where):
                await made.begin(query, SILENT_FOR)
            while True:
                with translating(self.where):
                    frames = await made.received(SILENT_FOR, most)
                if not frames:
                    return
                yield channel.lines(frames)
        finally:
            made.close()
            if not made.ended:
                await self.close()


@contextlib.contextmanager
def translating(where: str) -> Iterator[None]:
    """Every error of psycopg and of the network leaves as one of ours."""
    try:
        yield
    except FuagentError:
        raise
    except (psycopg.Error, OSError, TimeoutError) as error:
        raise translate(error, where) from None
