"""One connection and the one thread that uses it.

SQLite waits inside a call (for a lock, for the disk), so calls run on a thread
of their own and the event loop never stands still. Whole chunks are worked on
there, encoding included: what comes back is bytes.

The file is never opened by any other means: closing a plain file descriptor drops every
POSIX lock this process holds on the file (https://sqlite.org/howtocorrupt.html section 2.2).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from fuagent.sources.sqlite.faults import UNREADABLE_TEXT, translate
from fuagent.sources.sqlite.names import uri_of

T = TypeVar("T")


class Worker:
    """Runs functions on its connection, one after the other."""

    def __init__(self, path: Path, busy_timeout: float, name: str) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"sqlite-{name}")
        self._connection: sqlite3.Connection | None = None

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Call ``work`` with the connection; it is opened the first time.

        Raises:
            FuagentError: what SQLite raised, by what happens next.
        """
        return await self.soon(work)

    def soon(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """As :meth:`run`, begun at once and awaited later, or never."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, self._call, work)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future

    def _call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = connect(self._path, self._busy_timeout)
            return work(self._connection)
        except sqlite3.Error as error:
            # "from None": the first error's text may show a value.
            raise translate(error, self._path) from None

    async def close(self) -> None:
        """End what is running and let go of the file, also if whoever waits for it is cancelled. May be called twice."""
        if self._connection is not None:
            self._connection.interrupt()
        try:
            closing = asyncio.get_running_loop().run_in_executor(self._pool, self._close)
        except RuntimeError:
            return  # closed before
        self._pool.shutdown(wait=False)
        await asyncio.shield(closing)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def connect(path: Path, busy_timeout: float) -> sqlite3.Connection:
    """Open the file, which must be there, and read from it once: opening alone proves nothing."""
    connection = sqlite3.connect(
        uri_of(path),
        uri=True,
        timeout=busy_timeout,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


@contextmanager
def reading(connection: sqlite3.Connection) -> Iterator[None]:
    """One picture of the database for as long as it lasts."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.rollback()


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction that holds the write lock from the start: all of it happens, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.commit()
    finally:
        connection.rollback()


def lenient(connection: sqlite3.Connection, read: Callable[[], T]) -> T:
    """``read()``; where a TEXT is not UTF-8, once more with U+FFFD for what cannot be read."""
    try:
        return read()
    except sqlite3.OperationalError as error:
        if not str(error).startswith(UNREADABLE_TEXT):
            raise
    connection.text_factory = _replacing
    try:
        return read()
    finally:
        connection.text_factory = str


def _replacing(text: bytes) -> str:
    return text.decode("utf-8", "replace")
