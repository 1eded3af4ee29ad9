"""A MySQL server that says what a test tells it to: logins, answers to statements, recorded binlogs.

It knows no SQL. A statement is answered by the last pattern that matches it; what
nothing matches is refused and kept in ``unanswered``. All that clients asked for
is kept to be looked at.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self

from harness import mysql_login, mysql_wire
from harness.binlog_feed import Dump, by_gtid, feed, has_checksums, heartbeat, parse_dump
from harness.mysql_login import SHA2, Login
from harness.mysql_wire import CAPABILITIES, DEPRECATE_EOF, SSL, Answer, Error, Ok, Rows, Wire

DEADLINE = 60.0
QUIT, INIT_DB, QUERY, PING, DUMP, REGISTER, DUMP_GTID, RESET = 0x01, 0x02, 0x03, 0x0E, 0x12, 0x15, 0x1E, 0x1F
NON_BLOCK = 1
"""The flag of a dump that wants the end instead of waiting for more."""

Answering = Answer | Callable[["Session", str], Answer]


@dataclass(frozen=True, slots=True)
class Registered:
    """What a replica said of itself: COM_REGISTER_SLAVE."""

    server_id: int
    host: str
    user: str
    port: int


@dataclass
class Session:
    """One connection and what its client asked for."""

    number: int
    wire: Wire = field(repr=False)
    login: Login
    statements: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    registered: Registered | None = None
    dump: Dump | None = None
    sent: int = 0
    """Binlog events sent to it."""
    caught_up: bool = False
    """All that is recorded was sent, and it waits for more."""
    live: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue, repr=False)

    @property
    def deprecate_eof(self) -> bool:
        """Whether both sides leave EOF packets out."""
        return bool(self.login.capabilities & DEPRECATE_EOF)


class ScriptedMySQL:
    """The server; ``async with`` runs it on a free port of the loopback address.

    Args:
        version: What it calls itself; MariaDB's begin with ``5.5.5-``.
        plugin: How users prove their password, ``caching_sha2_password`` or ``mysql_native_password``.
        offered: The method its greeting names, when it is another one: clients then have to switch.
        tls: Lets clients encrypt; None says that it cannot.
        deprecate_eof: Whether it offers to leave EOF packets out.

    Attributes:
        users: Names and passwords.
        cached: Users whose password is known, so that the fast way is enough; logins add to it.
        binlogs: Recorded files, oldest first.
        fails: What ends a stream when all that is recorded was sent; None waits for more.
    """

    def __init__(
        self,
        version: str = "8.0.36",
        *,
        plugin: str = SHA2,
        offered: str | None = None,
        tls: ssl.SSLContext | None = None,
        deprecate_eof: bool = True,
    ) -> None:
        self.version = version
        self.plugin = plugin
        self.offered = offered or plugin
        self.tls = tls
        self.capabilities = CAPABILITIES & ~(0 if deprecate_eof else DEPRECATE_EOF) | (SSL if tls else 0)
        if "MariaDB" in version:
            self.capabilities &= ~1  # CLIENT_MYSQL is unset: extended capabilities follow, and it has none
        self.users = {"fuagent": "fuagent-password"}
        self.cached: set[str] = set()
        self.binlogs: dict[str, bytes] = {}
        self.fails: Error | None = None
        self.found = asyncio.Event()
        """Unset: whoever asks by GTID gets no more than the head of a file, as from a server that looks for the place."""
        self.found.set()
        self.sessions: list[Session] = []
        self.logins: list[Login] = []
        self.unanswered: list[str] = []
        self.port = 0
        self._answers: list[tuple[re.Pattern[str], Answering]] = []
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._numbers = count(1)
        self._changed = asyncio.Condition()
        self.answer(r"SET\b.*|USE\b.*|START TRANSACTION.*|BEGIN|COMMIT|ROLLBACK", Ok())

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._listener is not None
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def answer(self, pattern: str, answer: Answering) -> None:
        """Answer statements that match as a whole, whatever their case; what was said last goes first."""
        self._answers.append((re.compile(pattern, re.IGNORECASE | re.DOTALL), answer))

    def rows(self, pattern: str, columns: list[str | tuple[str, int]], *rows: tuple[Any, ...]) -> None:
        """Answer statements with rows."""
        self.answer(pattern, Rows(columns, rows))

    def url(self, database: str = "shop") -> str:
        """The endpoint as a configuration names it."""
        return f"mysql://127.0.0.1:{self.port}/{database}"

    def streams(self) -> list[Session]:
        """Sessions that read the binlog and have been sent all that is recorded."""
        return [session for session in self.sessions if session.caught_up]

    def send(self, *events: bytes) -> None:
        """Send events to everyone who has been sent all that is recorded."""
        for session in self.streams():
            for event in events:
                session.live.put_nowait(b"\0" + event)

    def send_heartbeat(self) -> None:
        """Send a heartbeat to everyone who waits for events."""
        name, data = list(self.binlogs.items())[-1]
        self.send(heartbeat(name, len(data), crc=has_checksums(data)))

    def fail(self, text: str, code: int = 1236) -> None:
        """End every stream with an error."""
        for session in self.streams():
            session.live.put_nowait(mysql_wire.error(Error(code, text)))

    def end(self) -> None:
        """End every stream with EOF, as a server does that shuts down."""
        for session in self.streams():
            session.live.put_nowait(mysql_wire.eof())

    async def until(self, condition: Callable[[ScriptedMySQL], bool], what: str = "the condition") -> None:
        """Wait until the condition is true; it is looked at whenever something happened here."""
        try:
            async with asyncio.timeout(DEADLINE), self._changed:
                await self._changed.wait_for(lambda: condition(self))
        except TimeoutError:
            message = f"never came true: {what}"
            raise AssertionError(message) from None

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._take(Wire(reader, writer)))
        self._tasks.add(task)
        # Not in the task: one that is cancelled before it began would leave the connection open.
        task.add_done_callback(lambda _done: writer.close())

    async def _take(self, wire: Wire) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            with suppress(EOFError, OSError):  # the client is gone, or does not trust our certificate
                await self._converse(wire)
        finally:
            self._tasks.discard(task)
            await self._tell()

    async def _converse(self, wire: Wire) -> None:
        session = await self._let_in(wire)
        while session is not None:
            await self._tell()
            wire.begin()
            payload = await wire.read()
            if payload[0] == QUIT:
                return
            await self._command(session, payload)

    async def _let_in(self, wire: Wire) -> Session | None:
        number = next(self._numbers)
        await wire.write(mysql_login.greeting(self.version, self.capabilities, self.offered, number))
        payload = await wire.read()
        if mysql_login.wants_tls(payload):
            assert self.tls is not None, "TLS was asked for and not offered"
            await wire.start_tls(self.tls)
            payload = await wire.read()
        login = mysql_login.parse(payload, self.capabilities)
        login.secure = wire.secure
        self.logins.append(login)
        password = self.users.get(login.user, "nobody has this password")
        await mysql_login.check(wire, login, self.plugin, password, cached=login.user in self.cached)
        if not login.granted:
            text = f"Access denied for user '{login.user}'@'localhost' (using password: YES)"
            await wire.write(mysql_wire.error(Error(1045, text, "28000")))
            return None
        self.cached.add(login.user)
        await wire.write(mysql_wire.ok())
        session = Session(number, wire, login)
        self.sessions.append(session)
        return session

    async def _command(self, session: Session, payload: bytes) -> None:
        code = payload[0]
        if code == QUERY:
            await self._query(session, payload[1:].decode())
        elif code in (DUMP, DUMP_GTID):
            session.dump = parse_dump(payload, session.variables)
            await self._stream(session, session.dump)
            raise EOFError  # a dump's end, whatever it was, is the connection's
        elif code in (PING, INIT_DB, REGISTER, RESET):
            if code == REGISTER:
                session.registered = _registered(payload)
            await session.wire.write(mysql_wire.ok())
        else:
            await session.wire.write(mysql_wire.error(Error(1047, f"Unknown command {code:#x}", "08S01")))

    async def _query(self, session: Session, statement: str) -> None:
        session.statements.append(statement)
        self._set_variables(session, statement)
        answer = self._find(session, statement)
        if isinstance(answer, Rows):
            await session.wire.write(*mysql_wire.result(answer, deprecate_eof=session.deprecate_eof))
        elif isinstance(answer, Error):
            await session.wire.write(mysql_wire.error(answer))
        else:
            await session.wire.write(mysql_wire.ok(answer))

    def _find(self, session: Session, statement: str) -> Answer:
        for pattern, answer in reversed(self._answers):
            if pattern.fullmatch(statement.strip()):
                return answer(session, statement) if callable(answer) else answer
        self.unanswered.append(statement)
        return Error(1064, f"nothing was scripted for: {statement[:200]}", "42000")

    def _set_variables(self, session: Session, statement: str) -> None:
        if not statement.lstrip().upper().startswith("SET"):
            return
        for name, value in re.findall(r"(?<!@)@(\w+)\s*:?=\s*('[^']*'|[^,\s]+)", statement):
            said = value.strip("'")
            if said.lower().endswith("binlog_checksum"):  # @@global.binlog_checksum
                crc = any(has_checksums(data) for data in list(self.binlogs.values())[-1:])
                said = "CRC32" if crc else "NONE"
            session.variables[name.lower()] = said

    async def _stream(self, session: Session, dump: Dump) -> None:
        wire = session.wire
        for item in feed(self.binlogs, dump):
            if isinstance(item, Error):
                await wire.write(mysql_wire.error(item))
                return
            if session.sent > 1 and by_gtid(dump):
                await self.found.wait()
            await wire.write(b"\0" + item)
            session.sent += 1
        if self.fails is not None or dump.flags & NON_BLOCK:
            await wire.write(mysql_wire.error(self.fails) if self.fails else mysql_wire.eof())
            return
        session.caught_up = True
        await self._tell()
        # A client that goes away is noticed: the reader ends, or sends the command that it quits.
        gone = asyncio.ensure_future(wire.read())
        try:
            await self._live(session, gone)
        finally:
            session.caught_up = False
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)

    async def _live(self, session: Session, gone: asyncio.Future[bytes]) -> None:
        while True:
            item = asyncio.ensure_future(session.live.get())
            await asyncio.wait({item, gone}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                item.cancel()
                raise EOFError
            await session.wire.write(item.result())
            if item.result()[0]:  # an error or the end
                return
            session.sent += 1


def _registered(payload: bytes) -> Registered:
    [server_id] = struct.unpack_from("<I", payload, 1)
    words, at = [], 5
    for _ in range(3):  # host, user, password
        words.append(payload[at + 1 : at + 1 + payload[at]].decode())
        at += 1 + payload[at]
    [port] = struct.unpack_from("<H", payload, at)
    return Registered(server_id, words[0], words[1], port)
