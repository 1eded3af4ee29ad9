"""Connections in replication mode: single commands, and the one on which the server sends its log.

Source: https://www.postgresql.org/docs/current/protocol-replication.html
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self, TypeVar

import psycopg

from fuagent.errors import FuagentError, TryAgainError
from fuagent.sources.address import Address
from fuagent.sources.postgres import channel, faults
from fuagent.sources.postgres.channel import Channel
from fuagent.sources.postgres.columns import quote
from fuagent.sources.postgres.link import PATIENT, QUERY_FOR, WRITTEN, Connection, Row, connect, translating
from fuagent.wire.postgres import frames, lsn

MISSED = 3
"""Signs of life that may be missed."""
_SENDER = {**WRITTEN, **PATIENT, "wal_sender_timeout": "60s", "client_min_messages": "warning"}
"""The server's own may be shorter than what is told in between; and its warnings are wanted."""
_TELL = 10.0
"""Seconds between two signs of life, at most."""
AGAIN = 0.05
"""Seconds between two words to the server, who has other things to do."""
LEAVING = 2.0
"""Seconds in which a server sees that a reader has gone, and lets go of its slot."""
T = TypeVar("T")


async def let_in(ask: Callable[[], Awaitable[T]]) -> T:
    """What it gives once nobody reads the slot any more; one who has just gone is waited for.

    Raises:
        TryAgainError: somebody reads on.
    """
    pause, waited = AGAIN, 0.0
    while True:
        try:
            return await ask()
        except TryAgainError as error:
            if not faults.in_use(error) or waited > LEAVING:
                raise
        await asyncio.sleep(pause)
        waited += pause
        pause *= 2  # each time the server writes an error into its log


class Commands:
    """A connection for single commands of replication."""

    def __init__(self, connection: Connection, where: str) -> None:
        self.where = where
        self.pid = connection.info.backend_pid
        """The process of the server that works for it."""
        self._connection = connection

    @classmethod
    async def open(cls, address: Address) -> Self:
        """Connect and log in; errors as in :func:`fuagent.sources.postgres.link.connect`."""
        return cls(await connect(address, PATIENT, replication="database"), address.where)

    async def rows(self, command: str, *, within: float = QUERY_FOR) -> list[Row]:
        """The rows that answer one command."""
        with translating(self.where):
            async with asyncio.timeout(within):
                cursor = await self._connection.execute(command)
                return await cursor.fetchall() if cursor.description else []

    async def close(self) -> None:
        """Let go of the connection."""
        self._connection.end()


class Dump:
    """One reader of one slot. After :meth:`close` there is nothing left of it."""

    def __init__(
        self, connection: Connection, made: Channel, where: str, heartbeat: float, reached: int, absent: asyncio.Event
    ) -> None:
        self._absent = absent
        self._connection = connection
        self._channel = made
        self._where = where
        self._heartbeat = heartbeat
        self._received = reached
        self._flushed = 0  # nothing, until it is confirmed: reading from a place lets go of no log
        self._due = asyncio.Event()
        self._asking = False
        self._telling = asyncio.create_task(self._tell())

    @classmethod
    async def open(cls, address: Address, slot: str, publication: str, position: int, heartbeat: float) -> Self:
        """Ask for everything that is committed behind ``position``.

        Raises:
            TryAgainError: the slot is being read by somebody else, or the server is not reachable.
            LostPlaceError: there is no such slot or publication (any more), or the log is gone.
        """
        connection = await connect(address, _SENDER, replication="database")
        absent = asyncio.Event()

        def heard(notice: frames.Failure) -> None:
            if _is_absence(notice, publication):
                absent.set()

        connection.add_notice_handler(
            lambda told: heard(frames.Failure(told.sqlstate or "", told.message_primary or ""))
        )
        try:
            names = quote(publication).replace("'", "''")
            text = (
                f"START_REPLICATION SLOT {quote(slot)} LOGICAL {lsn.text(position)} "
                f"(proto_version '1', publication_names '{names}')"
            )

            async def start() -> Channel:
                with translating(address.where):
                    return await channel.start(connection.pgconn, text, address.where, QUERY_FOR, heard)

            made = await let_in(start)
        except BaseException:
            connection.end()
            raise
        return cls(connection, made, address.where, heartbeat, position, absent)

    @property
    def skipped(self) -> bool:
        """Whether the server has passed over changes, because the publication was not there when they were made."""
        return self._absent.is_set()

    async def close(self) -> None:
        """Let go of the connection."""
        self._telling.cancel()
        self._channel.close()
        self._connection.end()
        await asyncio.gather(self._telling, return_exceptions=True)

    def let_go(self) -> None:
        """Have the server see that nobody reads on; what is here already can still be read, and then the end."""
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self._connection.pgconn.socket)) as ours:
            ours.shutdown(socket.SHUT_RDWR)

    async def received(self) -> bytes:
        """What has arrived: whole frames, at least one; waits for it.

        Raises:
            TryAgainError: the connection is gone, or was silent for too long.
            LostPlaceError: the log cannot be read on.
        """
        if self._telling.done():
            self._telling.result()
        with translating(self._where):
            data = await self._channel.received(self._heartbeat * MISSED)
        if not data:
            raise TryAgainError(
                "the server has ended sending its log; it is shutting down, it seems", where=self._where
            )
        return data

    async def more(self) -> bool:
        """Whether something has arrived that was not taken; waits for nothing."""
        await asyncio.sleep(0)
        with translating(self._where):
            return self._channel.waiting()

    def confirm(self, received: int, flushed: int) -> None:
        """Everything before ``received`` has arrived here; before ``flushed`` the server may let go of its log."""
        self._received = max(self._received, received)
        if flushed > self._flushed:
            self._flushed = flushed
            self._due.set()

    def answer(self) -> None:
        """Tell the server soon how far it is: it wants to hear."""
        self._due.set()

    def ask(self) -> None:
        """Have the server say how far it has come, soon."""
        self._asking = True
        self._due.set()

    async def _tell(self) -> None:
        """Tell the server how far it is: when that changes, and as a sign of life.

        It listens while it sends, so this keeps a connection alive of which nothing is read.
        """
        while True:
            try:
                async with asyncio.timeout(min(self._heartbeat, _TELL)):
                    await self._due.wait()
            except TimeoutError:
                self._asking = True  # for a sign of life
            self._due.clear()
            told = frames.status(self._received, self._flushed, time.time(), reply=self._asking)
            self._asking = False
            try:
                await self._channel.send(told)
            except (FuagentError, psycopg.Error, OSError):
                return  # reading will tell
            await asyncio.sleep(AGAIN)


def _is_absence(notice: frames.Failure, publication: str) -> bool:
    """Before version 18 a publication that is missing is an error; since then the server warns, and goes on without.

    The text is in the server's language. Of the warnings with this SQLSTATE one more may hold the name.
    """
    named = publication in notice.message and "synchronized_standby_slots" not in notice.message
    return notice.code == "55000" and named
