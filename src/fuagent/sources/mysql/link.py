"""One connection to a server, and the one way its errors become ours.

asyncmy (0.2.18) logs in and keeps the receive buffer; results are read here, because
a snapshot needs raw bytes in a bounded memory: asyncmy's protocol takes whatever the server
sends, so the socket is not listened to while nobody reads. Text protocol:
https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response.html
"""

# ruff: noqa: SLF001 - asyncmy has no public names for its receive buffer and its packet numbers

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from typing import Any, Self

from asyncmy.connection import Connection
from asyncmy.constants import CLIENT, FIELD_TYPE
from asyncmy.errors import MySQLError
from asyncmy.protocol import FieldDescriptorPacket, parse_rows_from_buffer

from fuagent.errors import FuagentError, HaltSyncError, TryAgainError
from fuagent.sources.address import Address, Dialect, Tls, context_of
from fuagent.sources.mysql import faults
from fuagent.sources.mysql.ed25519 import signature
from fuagent.sources.mysql.faults import translate

__all__ = ["Address", "Link", "RawRow", "Row", "translate"]

Row = tuple[Any, ...]
"""int for integers, str for other values, bytes for binary ones, None for NULL."""
RawRow = tuple[bytes | None, ...]

DIALECT = Dialect("MySQL", ("mysql", "mariadb"), 3306, "/run/mysqld/mysqld.sock")

QUERY_FOR = 120.0
"""Seconds an ordinary query may take until its last row is there."""
SILENT_FOR = 600.0
"""Seconds the server may be silent in the middle of a long result."""
IDLE_FOR = 86_400
"""Seconds a connection of ours may stand idle before the server ends it."""
_CHUNK_BYTES = 1 << 20
_CLOSE_FOR = 2.0
_MOST = 0xFFFFFF
"""Bytes one packet holds."""
_REFUSALS = frozenset(
    {1044, 1045, 1064, 1142, 1143, faults.NO_PRIVILEGE, faults.UNKNOWN_VARIABLE, 1231, 1235, 1238, 1289}
)
"""What a server says to a statement it does not know, or does not allow this account; 1045 is Amazon RDS's word."""

_SESSION = (
    "SET NAMES utf8mb4, SESSION time_zone = '+00:00', SESSION sql_mode = '', SESSION autocommit = 1, "
    "SESSION sql_select_limit = 18446744073709551615, SESSION sql_big_selects = 1, SESSION lock_wait_timeout = 60, "
    f"SESSION net_read_timeout = 600, SESSION wait_timeout = {IDLE_FOR}, "
    "SESSION net_write_timeout = 86400"  # a service may stand still for an hour while a snapshot is sent
)
_MARIADB = "SET SESSION max_statement_time = 0"
_MYSQL = (
    "SET SESSION max_execution_time = 0",
    "SET SESSION show_gipk_in_create_table_and_information_schema = 1",  # the log holds such keys anyway
)
_PLAIN = (0, None, None)
_WHOLE = (0, None, int)
_TEXT = (1, "utf8", None)
_INTEGERS = frozenset(
    {FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG, FIELD_TYPE.INT24, FIELD_TYPE.YEAR}
)
_STRINGS = frozenset({FIELD_TYPE.BIT, *range(FIELD_TYPE.TINY_BLOB, FIELD_TYPE.GEOMETRY + 1)})
_BINARY = 63
"""The collation number of bytes that are no text."""


class Link:
    """A session of ours on a server: UTC, UTF-8, no SQL mode. One statement at a time."""

    def __init__(self, connection: Any, where: str) -> None:
        self.connection = connection
        """asyncmy's Connection, for what is no statement."""
        self.where = where
        self.version = str(connection.server_version)
        """As the server greets: ``10.11.6-MariaDB-log``."""
        self._reading = False
        self._taken = 0

    @classmethod
    async def open(cls, address: Address) -> Self:
        """Connect, log in and set the session up.

        Raises:
            TryAgainError: not reachable, or the login is refused (UnauthorisedError).
            HaltSyncError: certificates, a login plugin or the database are not as they should be.
        """
        context = await asyncio.to_thread(context_of, address)
        link = cls(await _connect(address, context), address.where)
        try:
            await link._set_up()
        except BaseException:
            await link.close()
            raise
        return link

    async def _set_up(self) -> None:
        _keep_alive(self.connection)
        await self.rows(_SESSION)
        for statement in (_MARIADB,) if "mariadb" in self.version.lower() else _MYSQL:
            await self.attempt(statement)

    async def close(self) -> None:
        """Let go of the connection; may be called twice."""
        transport = self.connection._transport
        if transport is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_FOR):
                if self._reading:
                    transport.abort()
                else:
                    await self.connection.ensure_closed()
        except (MySQLError, OSError):
            pass  # gone already, or it does not answer
        finally:
            transport.abort()
            self.connection.close()
            self._reading = False

    # ------------------------------------------------------------ statements

    async def rows(self, sql: str, args: Sequence[str | int] = (), *, within: float = QUERY_FOR) -> list[Row]:
        """All rows of a small result; empty where the statement gives none. Each ``%s`` takes one of ``args``."""
        with self._translating():
            return await self._rows(sql, args, within)

    async def one(self, sql: str, args: Sequence[str | int] = ()) -> Row | None:
        """The first row, if there is one."""
        found = await self.rows(sql, args)
        return found[0] if found else None

    async def attempt(self, sql: str) -> bool:
        """Run a statement that this server may not know or not allow; says whether it did."""
        with self._translating():
            try:
                await self._rows(sql, (), QUERY_FOR)
            except MySQLError as error:
                if faults.number_of(error) not in _REFUSALS:
                    raise
                return False
            return True

    async def _rows(self, sql: str, args: Sequence[str | int], within: float) -> list[Row]:
        found: list[Row] = []
        async with asyncio.timeout(within):
            fields = await self._ask(sql % tuple(map(_literal, args)) if args else sql)
            if fields:
                converters = tuple(map(_converter, fields))
                while (more := await self._some(converters)) is not None:
                    found += more
        return found

    async def raw(self, sql: str, size: int = 1000) -> AsyncGenerator[list[RawRow], None]:
        """The rows of a result of any size, as the bytes the server sent, at most ``size`` at a time.

        Nothing is taken from the network while a chunk is in the caller's hands. Closing the
        iterator before its end closes the connection: there is no other way to stop a result.
        """
        with self._translating():
            async with asyncio.timeout(SILENT_FOR):
                fields = await self._ask(sql)
        converters = (_PLAIN,) * len(fields)
        try:
            ended, rest = not fields, list[RawRow]()
            while not ended:
                before = self._taken
                with self._translating():
                    chunk, ended = await self._chunk(converters, size - len(rest))
                self.hold()
                rest += chunk
                # Chunks of one size are cut nowhere else any more; but wide rows are not gathered for long.
                last = ended or self._taken - before >= _CHUNK_BYTES
                whole = len(rest) if last else len(rest) - len(rest) % size
                for start in range(0, whole, size):
                    yield rest[start : min(start + size, whole)]
                del rest[:whole]
        finally:
            if self._reading:
                await self.close()

    async def _chunk(self, converters: tuple[object, ...], size: int) -> tuple[list[RawRow], bool]:
        chunk: list[RawRow] = []
        enough = self._taken + _CHUNK_BYTES
        self.go_on()
        while len(chunk) < size and self._taken < enough:
            async with asyncio.timeout(SILENT_FOR):
                more = await self._some(converters)
            if more is None:
                return chunk, True
            chunk += more
        return chunk, False

    # ------------------------------------------------------------ packets

    async def _ask(self, sql: str) -> list[FieldDescriptorPacket]:
        """Send a statement; the columns of its result, none where it has no result."""
        if self._reading:
            raise TryAgainError("a result is still being read on this connection", where=self.where)
        self.go_on()
        self._reading = True
        self.send(b"\x03" + sql.encode())  # COM_QUERY
        first = await self._packet()
        if first.is_load_local_packet():
            await self.close()
            raise HaltSyncError(
                "the server asks for a file of this machine: this is refused",
                where=self.where,
                fix="see who answers at this address; no MySQL server asks that of its own accord",
            )
        if first.is_ok_packet():
            self._reading = False
            return []
        connection = self.connection
        fields = [
            await connection.read_packet(FieldDescriptorPacket) for _ in range(first.read_length_encoded_integer())
        ]
        if not connection._deprecate_eof:
            await connection.read_packet()
        return fields

    async def _packet(self) -> Any:
        try:
            return await self.connection.read_packet()
        except MySQLError as error:
            if faults.number_of(error) and self.connection.connected:
                self._reading = False  # an error packet ends the result
            raise

    async def _some(self, converters: tuple[object, ...]) -> list[Row] | None:
        """At least one row; None at the end of the result."""
        connection, state = self.connection, self.received
        rows: list[Row] = []
        start, number, short = state.pos, connection._next_seq_id, connection._deprecate_eof
        state.pos, connection._next_seq_id = parse_rows_from_buffer(
            state.buffer, start, state.length, converters, number, rows, short
        )
        if rows:
            self._taken += state.pos - start
            return rows
        packet = await self._packet()
        size = len(packet.get_all_data())
        self._taken += size
        # Both ends begin with 254, and so does a row whose first value is longer than any such packet.
        if packet.is_eof_packet() or (short and size < _MOST and packet.is_auth_switch_request()):
            self._reading = False
            return None
        return [packet.read_row(converters)]

    @property
    def received(self) -> Any:
        """asyncmy's receive state: ``buffer[pos:length]`` has arrived and was not taken yet."""
        return self.connection._proto

    def send(self, command: bytes) -> None:
        """Send a command as it is; the next packets are its answer."""
        self.connection._next_seq_id = 0
        with self._translating():
            self.connection.write_packet(command)

    async def acknowledged(self, within: float = QUERY_FOR) -> None:
        """Wait for the OK that answers a command."""
        with self._translating():
            async with asyncio.timeout(within):
                await self.connection.read_packet()

    def hold(self) -> None:
        """Take nothing from the network for now."""
        if self.connection._transport is not None:
            self.connection._transport.pause_reading()

    def go_on(self) -> None:
        """Take again what comes."""
        if self.connection._transport is not None:
            self.connection._transport.resume_reading()

    def _translating(self) -> contextlib.AbstractContextManager[None]:
        return translating(self.where)


@contextlib.contextmanager
def translating(where: str) -> Iterator[None]:
    """Every error of asyncmy and of the network leaves as one of ours."""
    try:
        yield
    except FuagentError:
        raise
    except Exception as error:  # asyncmy meets nonsense with errors of every kind
        raise translate(error, where) from None


class _NoTlsError(HaltSyncError):
    """The server speaks no TLS."""


async def _connect(address: Address, context: ssl.SSLContext | None) -> Any:
    """A connection that is logged in."""
    try:
        return await _log_in(address, context)
    except _NoTlsError:
        if address.tls is not Tls.PREFER:
            raise
    return await _log_in(address, None)


async def _log_in(address: Address, context: ssl.SSLContext | None) -> Any:
    signed: list[bool] = []
    connection = _made(address, context, signed)
    try:
        with translating(address.where):
            async with asyncio.timeout(address.timeout):
                await connection.connect()
                if signed:
                    await connection.read_packet()
    except BaseException:
        connection.close()
        raise
    return connection


class _Connection(Connection):
    """asyncmy asks for TLS whether or not the server's greeting offers it."""

    async def _get_server_information(self: Any) -> None:
        await Connection._get_server_information(self)  # type: ignore[attr-defined]
        if self._ssl_context is not None and not self.server_capabilities & CLIENT.SSL:
            raise _NoTlsError(
                "the server offers no TLS",
                where=f"{self._host}:{self._port}",
                fix='set it up there; or set tls: "off", where nobody can listen on the way',
            )


def _made(address: Address, context: ssl.SSLContext | None, signed: list[bool]) -> Any:
    """asyncmy's connection, not connected yet. ``signed`` fills where the server's last word is still to be read."""
    sheltered = address.socket or address.tls in (Tls.REQUIRE, Tls.VERIFY)
    # Whoever answers may ask for the password itself; it is not sent where others could read it.
    refused = ("mysql_old_password", *(() if sheltered else ("mysql_clear_password", "dialog")))
    plugins: dict[str, Callable[[Any], object]] = dict.fromkeys(refused, lambda _connection: _Refusing(address.where))
    plugins["client_ed25519"] = lambda connection: _Signing(connection, signed)
    make: Any = _Connection
    connection = make(
        host=None if address.socket else address.host,
        port=address.port,
        unix_socket=address.host if address.socket else None,
        user=address.user,
        password=address.password.reveal().encode(),
        database=address.database,
        charset="utf8mb4",
        autocommit=None,  # set with all the rest
        local_infile=False,
        connect_timeout=address.timeout,
        ssl=context,
        auth_plugin_map=plugins,
        program_name="fuagent",
    )
    connection._client_flag &= ~(CLIENT.MULTI_STATEMENTS | CLIENT.LOCAL_FILES)
    return connection


class _Signing:
    """MariaDB's ed25519: asyncmy calls ``authenticate`` with the server's challenge."""

    def __init__(self, connection: Any, signed: list[bool]) -> None:
        self._connection = connection
        self._signed = signed

    def authenticate(self, packet: Any) -> None:
        """Send the signature. asyncmy does not wait for a login of ours: its caller reads the answer."""
        self._connection.write_packet(signature(self._connection._password, packet.read_all()))
        self._signed.append(True)


class _Refusing:
    """A login that would show the password to whoever listens."""

    def __init__(self, where: str) -> None:
        self._where = where

    def authenticate(self, _packet: Any) -> None:
        """Send nothing."""
        raise HaltSyncError(
            "the account's kind of login sends the password readable or hardly hidden: this is refused",
            where=self._where,
            fix="set tls: verify; or give the account caching_sha2_password, mysql_native_password or ed25519",
        )


def _keep_alive(connection: Any) -> None:
    """Let the system notice a peer that is gone: after a minute, not after two hours."""
    raw = connection._transport.get_extra_info("socket")
    if raw is None or raw.family == getattr(socket, "AF_UNIX", None):
        return
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _converter(field: FieldDescriptorPacket) -> tuple[object, ...]:
    if field.type_code in _INTEGERS:
        return _WHOLE
    return _PLAIN if field.type_code in _STRINGS and field.charsetnr == _BINARY else _TEXT


def _literal(value: str | int) -> str:
    """A value in a statement: as hexadecimal digits, nothing in a text can end it."""
    return str(value) if isinstance(value, int) else f"_utf8mb4 x'{value.encode().hex()}'"
