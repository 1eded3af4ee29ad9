"""A real MariaDB server on a data directory of its own: started, asked, stopped and killed by its saved process id.

The data directory is a copy of a template, made once per test session, so that a
server is there in less than a second. It holds an empty database ``shop`` and two
users: ``root`` without a password, and ``fuagent`` with what a reader of the binlog
needs and no more. Options are the server's own, with underscores.

What is committed survives `MariaDB.kill`: redo log and binlog reach the kernel at
every commit. Only the machine's own crash would lose it, and no test makes one.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
from pymysql.connections import Connection

from harness.server import DEADLINE, PASSWORD, USER, Server, ServerDatabase, made_once

ROOT = Path(__file__).parents[2]

SMALL: dict[str, object] = {
    "aria_pagecache_buffer_size": "1M",
    "innodb_buffer_pool_dump_at_shutdown": "OFF",
    "innodb_buffer_pool_load_at_startup": "OFF",
    "innodb_buffer_pool_size": "16M",
    "innodb_doublewrite": "OFF",
    "innodb_flush_log_at_trx_commit": 2,
    "innodb_log_file_size": "8M",
    "innodb_temp_data_file_path": "ibtmp1:4M:autoextend",
    "innodb_use_native_aio": "OFF",
    "key_buffer_size": "1M",
    "max_allowed_packet": "64M",
    "skip_name_resolve": "ON",
}
BINLOG: dict[str, object] = {
    "log_bin": "binlog",
    "binlog_format": "ROW",
    "binlog_row_image": "FULL",
    "binlog_row_metadata": "FULL",
    "character_set_server": "utf8mb4",
    "gtid_strict_mode": "ON",
    "log_slave_updates": "ON",
    "relay_log": "relay",
    "server_id": 1,
}
USERS = (
    "DELETE FROM mysql.global_priv WHERE User = '' OR (User = 'root' AND Host NOT IN ('localhost', '127.0.0.1'))",
    "FLUSH PRIVILEGES",
    "CREATE DATABASE shop",
    f"CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}'",
    f"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{USER}'@'%'",
    f"GRANT SELECT ON `shop%`.* TO '{USER}'@'%'",  # shop itself, and those of the fixture `database`
)
PLUGINS = next(
    (path for path in (ROOT / ".cache/mariadb", Path("/usr/lib/mysql/plugin")) if (path / "auth_ed25519.so").exists()),
    None,
)
"""Where plugins stand that the package of the bare server leaves out."""


def program(name: str) -> str | None:
    """Where a program of the server's is; Debian keeps the server itself off most users' path."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/libexec")


def arguments(options: dict[str, object]) -> list[str]:
    """Options as the command line takes them; None leaves one out."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not None]


def make_template(folder: Path) -> Path:
    """The data directory every server starts from; all who ask for it in this folder share it."""
    return made_once(folder / "mariadb-template", _initialize)


def _initialize(folder: Path) -> None:
    command = [program("mariadb-install-db"), "--no-defaults", f"--user={getpass.getuser()}"]
    command += [
        f"--datadir={folder}",
        f"--tmpdir={folder.parent}",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
    ]
    made = subprocess.run([*command, *arguments(SMALL)], capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    with MariaDB(folder, log_bin=None, log_slave_updates=None) as server:
        for statement in USERS:
            server.execute(statement, database=None)
        server.stop()
        shutil.rmtree(folder)
        shutil.copytree(server.data, folder)


@dataclass(frozen=True, slots=True)
class Position:
    """Where the binlog ends: its last file, the offset in it, and the GTIDs written to it."""

    file: str
    offset: int
    gtid: str


class MariaDB(Server):
    """A server; ``with`` starts it, and takes process and files away at the end.

    Args:
        template: What `make_template` made.
        options: The server's options; they go before `BINLOG` and `SMALL`, and None leaves one out.
    """

    scheme, superuser, first, refusal = "mysql", "root", None, pymysql.err.OperationalError
    orderly, abrupt = signal.SIGTERM, signal.SIGKILL

    def __init__(self, template: Path, **options: object) -> None:
        super().__init__(**{**SMALL, **BINLOG, **options})
        self.socket = self.folder / "socket"
        shutil.copytree(template, self.data)

    def command(self) -> list[str]:
        """What starts it."""
        own = {"user": getpass.getuser(), "datadir": self.data, "socket": self.socket, "port": self.port}
        own |= {
            "bind_address": "127.0.0.1",
            "pid_file": self.folder / "pid",
            "log_error": self.log,
            "tmpdir": self.folder,
        }
        return [program("mariadbd") or "mariadbd", "--no-defaults", *arguments(self.options | own)]

    def connect(self, user: str = "", database: str | None = "shop", **options: Any) -> Connection[Any]:
        """A connection of its own over TCP, in autocommit mode and UTF-8; as root if nobody is named."""
        user = user or self.superuser
        secret = PASSWORD if user == USER else ""
        options = {"autocommit": True, "charset": "utf8mb4", "connect_timeout": DEADLINE, **options}
        options.setdefault("read_timeout", 2 * DEADLINE)  # an answer that never comes is a failure, no standstill
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user=user, password=secret, database=database, **options
        )

    def execute(self, sql: str, *values: object, database: str | None = "shop") -> list[tuple[Any, ...]]:
        """Run one statement as root, in a session of its own; gives the rows."""
        with self.connect(database=database) as session, session.cursor() as cursor:
            cursor.execute(sql, values or None)
            return list(cursor.fetchall())

    def database(self, name: str = "shop") -> Database:
        """One database of the server, made if it is not there."""
        self.execute(f"CREATE DATABASE IF NOT EXISTS `{name}`", database=None)
        return Database(self, name)

    def drop(self, name: str) -> None:
        """Take a database away."""
        self.execute(f"DROP DATABASE IF EXISTS `{name}`", database=None)

    def position(self) -> Position:
        """Where the binlog ends now."""
        [(file, offset, *_)] = self.execute("SHOW MASTER STATUS")
        [(gtid,)] = self.execute("SELECT @@gtid_binlog_pos")
        return Position(file, offset, gtid)

    def binlogs(self) -> dict[str, int]:
        """The binlog's files and their sizes, oldest first."""
        return {name: size for name, size, *_ in self.execute("SHOW BINARY LOGS")}

    def binlog(self, name: str) -> bytes:
        """One file of the binlog as it is on disk."""
        return (self.data / name).read_bytes()

    def replicate_from(self, other: MariaDB) -> None:
        """Become a replica of the other, by GTID from where this one is; its ``server_id`` must differ."""
        self.execute("STOP SLAVE")
        self.execute(
            "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = %s, MASTER_USER = %s, MASTER_PASSWORD = %s,"
            " MASTER_CONNECT_RETRY = 1, MASTER_USE_GTID = slave_pos",
            other.port,
            USER,
            PASSWORD,
        )
        self.execute("START SLAVE")

    def wait_for(self, gtid: str) -> None:
        """Wait until a replica has applied this much, such as ``other.position().gtid``."""
        [(timed_out,)] = self.execute("SELECT MASTER_GTID_WAIT(%s, %s)", gtid, DEADLINE)
        assert timed_out == 0, f"{gtid} never came; {self.execute('SHOW SLAVE STATUS')}"

    def promote(self) -> None:
        """Stop being a replica; what was applied counts as its own."""
        self.execute("STOP SLAVE")
        self.execute("RESET SLAVE ALL")


class Database(ServerDatabase):
    """One database of a server."""

    def rows(self, table: str, order: str = "1") -> list[dict[str, Any]]:
        """What a table holds."""
        with self.connect(cursorclass=pymysql.cursors.DictCursor) as session, session.cursor() as cursor:
            cursor.execute(f"SELECT * FROM `{table}` ORDER BY {order}")
            return list(cursor.fetchall())
