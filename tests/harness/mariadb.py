"""A real MariaDB server on a data directory of its own: started, asked, stopped and killed by its saved process id.

The data directory is a copy of a template, made once per test session, so that a
server is there in less than a second. It holds an empty database ``shop`` and two
users: ``root`` without a password, and ``fuagent`` with what a reader of the binlog
needs and no more. Options are the server's own, with underscores.

What is committed survives `MariaDB.kill`: redo log and binlog reach the kernel at
every commit. Only the machine's own crash would lose it, and no test makes one.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import Any, Self

import pymysql
from pymysql.connections import Connection

ROOT = Path(__file__).parents[2]
DEADLINE = 60.0
"""Seconds a server may take to start or to stop on a busy machine before the test fails."""
USER, PASSWORD = "fuagent", "fuagent-password"

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

REAPER = """
import os, pathlib, shutil, signal, sys
for line in sys.stdin.readlines():
    pid, _, folder = line.strip().partition(" ")
    try:
        if folder in pathlib.Path(f"/proc/{pid}/cmdline").read_text():
            os.kill(int(pid), signal.SIGKILL)
    except OSError:
        pass
    shutil.rmtree(folder, ignore_errors=True)
"""
_reapers: list[subprocess.Popen[bytes]] = []


def program(name: str) -> str | None:
    """Where a program of the server's is; Debian keeps the server itself off most users' path."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/libexec")


def arguments(options: dict[str, object]) -> list[str]:
    """Options as the command line takes them; None leaves one out."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not None]


def free_port() -> int:
    """A port nobody listens on, below those that outgoing connections take while a server restarts."""
    chance = SystemRandom()
    while True:
        port = chance.randrange(15_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def make_template(folder: Path) -> Path:
    """The data directory every server starts from; made by whoever comes first, others wait for it."""
    template = folder / "mariadb-template"
    with (folder / "mariadb-template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if template.exists():
            return template
        unfinished = folder / "mariadb-template.part"
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [program("mariadb-install-db"), "--no-defaults", f"--user={getpass.getuser()}"]
        command += [
            f"--datadir={unfinished}",
            f"--tmpdir={folder}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ]
        made = subprocess.run([*command, *arguments(SMALL)], capture_output=True, text=True)
        assert made.returncode == 0, made.stdout + made.stderr
        with MariaDB(unfinished, log_bin=None, log_slave_updates=None) as server:
            for statement in USERS:
                server.execute(statement, database=None)
            server.stop()
            shutil.rmtree(unfinished)
            shutil.copytree(server.data, unfinished)
        unfinished.rename(template)
    return template


@dataclass(frozen=True, slots=True)
class Position:
    """Where the binlog ends: its last file, the offset in it, and the GTIDs written to it."""

    file: str
    offset: int
    gtid: str


class MariaDB:
    """A server; ``with`` starts it, and takes process and files away at the end.

    Args:
        template: What `make_template` made.
        options: The server's options; they go before `BINLOG` and `SMALL`, and None leaves one out.
    """

    def __init__(self, template: Path, **options: object) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mariadb-"))  # a socket's path must be short
        self.data = self.folder / "data"
        self.socket = self.folder / "socket"
        self.log = self.folder / "error.log"
        self.options: dict[str, object] = {**SMALL, **BINLOG, **options}
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        shutil.copytree(template, self.data)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def start(self, **options: object) -> None:
        """Start, on the same port as before, and wait until it answers; ``options`` hold from now on."""
        assert self.process is None, "it runs already"
        self.options.update(options)
        own = {"user": getpass.getuser(), "datadir": self.data, "socket": self.socket, "port": self.port}
        own |= {
            "bind_address": "127.0.0.1",
            "pid_file": self.folder / "pid",
            "log_error": self.log,
            "tmpdir": self.folder,
        }
        command = [program("mariadbd") or "mariadbd", "--no-defaults", *arguments(self.options | own)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        reap_after_us(self.process.pid, self.folder)
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        end = time.monotonic() + DEADLINE
        while True:
            try:
                self.connect(database=None).close()
            except pymysql.err.OperationalError as error:
                assert self.process is not None
                assert self.process.poll() is None, f"it ended at once; its log says:\n{self.text()[-3000:]}"
                assert time.monotonic() < end, f"it never answered ({error}); its log says:\n{self.text()[-3000:]}"
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        """SIGTERM, and wait: an orderly end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, by the saved process id."""
        self._end(signal.SIGKILL)

    def restart(self, **options: object) -> None:
        """Stop in order and start again."""
        self.stop()
        self.start(**options)

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and says nothing."""
        self._signal(signal.SIGSTOP)
        assert self.process is not None
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)  # its threads stop one by one

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None, "it does not run"
        self.process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        self._signal(number)
        self.resume()  # a paused one sees no SIGTERM
        assert self.process is not None
        self.process.wait(DEADLINE)
        self.process = None

    def close(self) -> None:
        """End it whatever its state, and take its files away."""
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def text(self) -> str:
        """What it wrote to its error log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def connect(self, user: str = "root", database: str | None = "shop", **options: Any) -> Connection[Any]:
        """A connection of its own over TCP, in autocommit mode and UTF-8."""
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

    def url(self, user: str = "", database: str = "shop") -> str:
        """The endpoint as a configuration names it."""
        return f"mysql://{user + '@' if user else ''}127.0.0.1:{self.port}/{database}"

    def database(self, name: str = "shop") -> Database:
        """One database of the server, made if it is not there."""
        self.execute(f"CREATE DATABASE IF NOT EXISTS `{name}`", database=None)
        return Database(self, name)

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


@dataclass(frozen=True, slots=True)
class Database:
    """One database of a server."""

    server: MariaDB
    name: str = "shop"

    def connect(self, user: str = "root", **options: Any) -> Connection[Any]:
        """A connection to it."""
        return self.server.connect(user, self.name, **options)

    def execute(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement as root, in a session of its own; gives the rows."""
        return self.server.execute(sql, *values, database=self.name)

    def rows(self, table: str, order: str = "1") -> list[dict[str, Any]]:
        """What a table holds."""
        with self.connect(cursorclass=pymysql.cursors.DictCursor) as session, session.cursor() as cursor:
            cursor.execute(f"SELECT * FROM `{table}` ORDER BY {order}")
            return list(cursor.fetchall())

    def url(self, user: str = "") -> str:
        """The endpoint as a configuration names it."""
        return self.server.url(user, self.name)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[pymysql.cursors.Cursor]:
        """A transaction of its own: committed at the end, rolled back when the block raises."""
        with self.connect(autocommit=False) as session, session.cursor() as cursor:
            yield cursor
            session.commit()


def reap_after_us(pid: int, folder: Path) -> None:
    """Have the server ended and its files removed even when this process is killed before it can do so itself.

    One child waits for the end of a pipe that only this process holds open.
    """
    if not _reapers:
        command = [sys.executable, "-I", "-S", "-c", REAPER]
        _reapers.append(subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True))
    pipe = _reapers[0].stdin
    assert pipe is not None
    pipe.write(f"{pid} {folder}\n".encode())
    pipe.flush()
