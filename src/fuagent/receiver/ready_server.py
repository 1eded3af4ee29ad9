"""What ``fuagent receive`` runs: its database opened by URL, and its application served until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from fuagent.contract.text import clean
from fuagent.errors import StopAgentError
from fuagent.receiver.columns import json_text

BUSY = 30
"""Seconds that a statement of SQLite waits for somebody who reads or writes the copy."""
_DRIVERS = {
    "sqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mysql+pymysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "mariadb+pymysql": "mariadb+pymysql",
}
_INSTALL = {
    "postgresql+psycopg": "pip install 'fuagent[receiver,postgres]'",
    "mysql+pymysql": "pip install pymysql",
    "mariadb+pymysql": "pip install pymysql",
}


def open_database(text: str) -> Engine:
    """The database that a URL names, tried once.

    Raises:
        StopAgentError: it is no such URL, its library is missing, or the database does not let us in.
    """
    url = _url(text)
    try:
        engine = create_engine(
            url, hide_parameters=True, pool_pre_ping=True, json_serializer=json_text, **_options(url)
        )
    except (ModuleNotFoundError, NoSuchModuleError) as error:
        fix = _INSTALL.get(url.drivername, "install the library that it names")
        raise StopAgentError("the library for this database is missing.", where=shown(url), fix=fix) from error
    if url.drivername == "sqlite":
        event.listen(engine, "connect", _share)
    try:
        engine.connect().close()
    except DBAPIError as error:
        what = f"the database does not let us in: {clean(str(error.orig), 300)}"
        raise StopAgentError(what, where=shown(url), fix="Mend the URL, or start the database.") from None
    return engine


def _url(text: str) -> URL:
    fix = "Write sqlite:///copy.db, postgresql://user@host/database or mysql://user@host/database."
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise StopAgentError("this is no URL of a database.", where="--database", fix=fix) from None
    driver = _DRIVERS.get(url.drivername)
    if driver is None or not url.database or url.database == ":memory:":
        raise StopAgentError("the URL names no database that can be written here.", where="--database", fix=fix)
    if "pymysql" in driver and "charset" not in url.query:
        url = url.update_query_dict({"charset": "utf8mb4"})
    return url.set(drivername=driver)


def _options(url: URL) -> dict[str, Any]:
    return {"connect_args": {"timeout": BUSY}} if url.drivername == "sqlite" else {"pool_size": 10}


def shown(url: URL) -> str:
    """A URL without its password and whatever else stands behind the name of the database."""
    return url.set(query={}).render_as_string(hide_password=True)


def _share(connection: Any, _record: object) -> None:
    """Whoever reads the copy neither waits for the receiver nor holds it up, and what is answered is on the disk."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


def bind(host: str, port: int) -> socket.socket:
    """Take an address.

    Raises:
        StopAgentError: it cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # With the protocol named: asyncio turns off the delay of small packets only where it is known to be TCP.
        taken = socket.socket(*found[:3])
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(found[4])
        taken.listen(128)
    except OSError as error:
        what = f"cannot listen there: {(error.strerror or 'no such host').lower()}."
        fix = "Choose another address or port, or end what holds it."
        raise StopAgentError(what, where=f"--listen {host}:{port}", fix=fix) from None
    return taken


async def serve(application: FastAPI, taken: socket.socket, ready: Callable[[], None]) -> None:
    """Answer until SIGTERM or SIGINT: the first lets batches under way finish, the second does not."""
    server = _Server(uvicorn.Config(application, log_config=None, access_log=False, server_header=False), ready)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    await server.serve(sockets=[taken])


class _Server(uvicorn.Server):
    """One that leaves signals to us: uvicorn's would end the process by the signal even after a clean stop."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    def stop(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._ready()
