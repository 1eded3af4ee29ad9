"""The database of a soak: a server of its own or a file, with the tables made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soak_dialects import DIALECTS, Dialect

from harness import mariadb, postgres
from harness.server import PASSWORD, USER, Server

DURABLE: dict[str, dict[str, object]] = {
    "mariadb": {
        "innodb_buffer_pool_size": "256M",
        "innodb_flush_log_at_trx_commit": 1,
        "innodb_log_file_size": "128M",
        "sync_binlog": 1,
    },
    "postgres": {"fsync": "on", "full_page_writes": "on", "shared_buffers": "128MB"},
}
"""Every commit reaches the disk, as a server that matters is run; and room for its rows."""
WRITERS = {"mariadb": 8, "postgres": 8, "sqlite": 2}
"""Sessions that write: enough for servers to sync several commits at once; SQLite takes one at a time."""


@dataclass(frozen=True, slots=True)
class Ground:
    """One database."""

    kind: str
    place: str
    """A port, or a file."""
    version: str
    dialect: Dialect
    server: Server | None

    def source(self, port: int) -> dict[str, Any]:
        """An agent's source; a server is reached through this port."""
        if self.server is None:
            return {"driver": "sqlite", "endpoint": f"sqlite:///{self.place}"}
        driver = "mysql" if self.kind == "mariadb" else "postgres"
        endpoint = f"{driver}://127.0.0.1:{port}/shop"
        credential = {"user": USER, "password": PASSWORD}
        # A stall of some seconds is to be more than the agent puts up with.
        return {"driver": driver, "endpoint": endpoint, "credential": credential, "driver_params": {"heartbeat": 1}}


@contextmanager
def ground(kind: str, folder: Path, template: Path | None = None) -> Iterator[Ground]:
    """A database with both tables; it goes away at the end.

    Args:
        folder: Empty; a file goes there, and the template of a server where none is given.
    """
    if kind == "sqlite":
        yield _made(kind, str(folder / "shop.db"), None)
        return
    harness: Any = mariadb if kind == "mariadb" else postgres
    server: type[Server] = mariadb.MariaDB if kind == "mariadb" else postgres.Postgres
    with server(template or harness.make_template(folder), **DURABLE[kind]) as running:
        running.database()
        yield _made(kind, str(running.port), running)


def _made(kind: str, place: str, server: Server | None) -> Ground:
    dialect = DIALECTS[kind](place)
    session = dialect.connect()
    try:
        for statement in dialect.create(WRITERS[kind]):
            session.run([statement])
        [(version,)] = session.rows("SELECT sqlite_version()" if server is None else "SELECT version()")
    finally:
        session.close()
    return Ground(kind, place, version.partition(" (")[0], dialect, server)
