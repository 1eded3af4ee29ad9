"""A real PostgreSQL server on a data directory of its own: started, asked, stopped and killed by saved process ids.

The data directory is a copy of a template, made once per test session, so that a
server is there in less than a second. It holds an empty database ``shop`` and two
users: ``postgres``, a superuser without a password, and ``fuagent``, who may make slots,
read what ``postgres`` makes in the schema ``public``, and owns nothing. Options are the server's own.

What is committed survives `Postgres.kill`: the log reaches the kernel at every commit.
Only the machine's own crash would lose it, and no test makes one.

Servers of one template share a system identifier, as a server and its copy do; one of
another template, made in another folder, is a stranger to them.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg.rows import dict_row

from harness.server import DEADLINE, PASSWORD, USER, Server, ServerDatabase, made_once, until

OWNER = "postgres"
"""Who owns what tests make, until `Database.own` gives it to `USER`."""

SMALL: dict[str, object] = {
    "dynamic_shared_memory_type": "mmap",  # files of the data directory: a killed server leaves none elsewhere
    "fsync": "off",
    "full_page_writes": "off",
    "jit": "off",
    "shared_buffers": "16MB",
    "synchronous_commit": "on",
}
LOGICAL: dict[str, object] = {
    "max_replication_slots": 10,
    "max_wal_senders": 10,
    "password_encryption": "scram-sha-256",
    "wal_level": "logical",
    "wal_sender_timeout": "60s",
}
ACCESS = (
    "local all,replication postgres trust",
    "host all,replication postgres 127.0.0.1/32 trust",
    "host all,replication all 127.0.0.1/32 scram-sha-256",
)
GRANTS = (
    'GRANT CREATE ON DATABASE "{name}" TO ' + USER,  # a publication takes it
    f"ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA public GRANT SELECT ON TABLES TO {USER}",
)
NOT_COPIED = (
    ("pg_wal", "pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans"),
    ("postmaster.pid", "postmaster.opts", "pg_internal.init", "pgsql_tmp"),
)
"""What a copy leaves out, as pg_basebackup does: the contents of the first, and the second altogether."""


def program(name: str, folder: Path | None = None) -> str | None:
    """Where a program of the server's is: in ``folder``, or ``$POSTGRES_BIN``, or else the newest installed."""
    chosen = folder or os.environ.get("POSTGRES_BIN")
    if chosen:
        return shutil.which(name, path=str(Path(chosen).resolve()))
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    return shutil.which(name, path=":".join([*map(str, installed), os.environ.get("PATH", "")]))


@functools.cache
def installed() -> int:
    """The major version of the server that tests get, such as 15; 0 where there is none."""
    found = program("postgres")
    if found is None:
        return 0
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    return int(told.split()[2].partition(".")[0])


def since(major: int) -> pytest.MarkDecorator:
    """Leaves a test, or a case of one, to servers of this major version and later."""
    return pytest.mark.skipif(installed() < major, reason=f"needs PostgreSQL {major} or later")


def before(major: int) -> pytest.MarkDecorator:
    """Leaves a test, or a case of one, to servers older than this major version."""
    return pytest.mark.skipif(installed() >= major, reason=f"needs PostgreSQL before {major}")


def account() -> dict[str, Any]:
    """Whose processes the server's are, as subprocess takes it: the server refuses to be root's."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise AssertionError("the server refuses to run as root, and there is no user postgres or nobody")


def give(folder: Path) -> None:
    """Make a folder and all in it the server's own."""
    owner = account()
    if not owner:
        return
    os.chown(folder, owner["user"], owner["group"])
    for place, folders, files in os.walk(folder):
        for name in folders + files:
            os.chown(Path(place, name), owner["user"], owner["group"], follow_symlinks=False)


def arguments(options: dict[str, object]) -> list[str]:
    """Options as the command line takes them; None leaves one out."""
    return [part for name, value in options.items() if value is not None for part in ("-c", f"{name}={value}")]


def make_template(folder: Path) -> Path:
    """The data directory every server starts from; all who ask for it in this folder share it."""

    def make(unfinished: Path) -> None:
        scratch = Path(tempfile.mkdtemp(prefix="postgres-"))  # pytest's own folders are closed to the server's user
        try:
            _initialize(scratch)
            with Postgres(scratch / "data") as server:
                server.execute(f"CREATE ROLE {USER} LOGIN REPLICATION PASSWORD '{PASSWORD}'", database="postgres")
                server.database("shop")
                server.stop()
                shutil.copytree(server.data, unfinished)
        finally:
            shutil.rmtree(scratch)

    return made_once(folder / "postgres-template", make)


def _initialize(folder: Path) -> None:
    give(folder)
    command = [program("initdb"), f"--pgdata={folder / 'data'}", "--username=postgres", "--auth=trust"]
    # Small segments: a test that has the server throw some away need not fill large ones first.
    command += ["--encoding=UTF8", "--locale=C", "--wal-segsize=1", "--no-sync"]
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True, **account())
    assert made.returncode == 0, made.stdout + made.stderr
    (folder / "data/pg_hba.conf").write_text("\n".join([*ACCESS, ""]))


class Postgres(Server):
    """A server; ``with`` starts it, and takes processes and files away at the end.

    Args:
        template: What `make_template` made, or None where ``standby_of`` says.
        standby_of: A running server to become a copy of, and a hot standby; its options hold here too.
        options: The server's options; they go before `LOGICAL` and `SMALL`, and None leaves one out.
    """

    scheme, superuser, first, refusal = "postgres", OWNER, "postgres", psycopg.OperationalError
    orderly = signal.SIGINT
    """Sessions are ended, and readers of the log get the rest of it first."""
    abrupt = signal.SIGQUIT

    def __init__(self, template: Path | None, *, standby_of: Postgres | None = None, **options: object) -> None:
        super().__init__(**{**SMALL, **LOGICAL, **options})
        try:
            if standby_of is None:
                assert template is not None, "a server is made from a template or from another server"
                shutil.copytree(template, self.data)
            else:
                source = f"host=127.0.0.1 port={standby_of.port} user=postgres dbname=postgres"
                self.options = {**standby_of.options, "primary_conninfo": source, **options}
                standby_of.copy(self.data)
                (self.data / "standby.signal").touch()
            give(self.folder)
        except BaseException:
            self.close()
            raise

    def command(self) -> list[str]:
        """What starts it."""
        own = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.folder}
        return [program("postgres") or "postgres", "-D", str(self.data), *arguments(self.options | own)]

    def account(self) -> dict[str, Any]:
        """Not root's."""
        return account()

    def clear(self) -> None:
        """A killed server leaves a segment of shared memory as well, which only its next start would remove."""
        lock = self.data / "postmaster.pid"  # the seventh line: key and identifier of the segment
        lines = lock.read_text().splitlines() if lock.exists() else []
        if len(lines) > 6:
            ctypes.CDLL(None).shmctl(int(lines[6].split()[1]), 0, None)  # 0: IPC_RMID
        super().clear()

    def keep(self, name: str, content: bytes | str) -> Path:
        """A file that only the server can read, such as the key for its certificate; gives its path."""
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o600)
        give(self.folder)
        return path

    def admit(self, *lines: str) -> None:
        """Let these lines of pg_hba.conf go before `ACCESS`, from now on."""
        loaded = "SELECT pg_conf_load_time()"
        before = self.execute(loaded, database="postgres")
        (self.data / "pg_hba.conf").write_text("\n".join([*lines, *ACCESS, ""]))
        errors = self.execute("SELECT error FROM pg_hba_file_rules WHERE error IS NOT NULL", database="postgres")
        assert errors == [], f"pg_hba.conf does not take {lines}"
        self.execute("SELECT pg_reload_conf()", database="postgres")
        # It says so before it does so. Whoever connects after the time has changed meets the new lines.
        until(lambda: self.execute(loaded, database="postgres") != before, "pg_hba.conf was never read again")

    def connect(
        self, user: str = "", database: str | None = "shop", **options: Any
    ) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection of its own over TCP, in autocommit mode; as the superuser if nobody is named."""
        user = user or self.superuser
        secret = {"password": PASSWORD} if user == USER else {}
        options = {"autocommit": True, "connect_timeout": int(DEADLINE), "gssencmode": "disable", **secret, **options}
        return psycopg.connect(host="127.0.0.1", port=self.port, user=user, dbname=database, **options)

    def execute(self, sql: str, *values: object, database: str = "shop") -> list[tuple[Any, ...]]:
        """Run statements as the superuser, in a session of its own; gives the rows of the last."""
        with self.connect(database=database) as session, psycopg.ClientCursor(session) as cursor:
            cursor.execute(sql, values or None)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def database(self, name: str = "shop") -> Database:
        """One database of the server, made if it is not there."""
        if not self.execute("SELECT 1 FROM pg_database WHERE datname = %s", name, database="postgres"):
            self.execute(f'CREATE DATABASE "{name}"', database="postgres")
            for statement in GRANTS:
                self.execute(statement.format(name=name), database=name)
        return Database(self, name)

    def drop(self, name: str) -> None:
        """Take a database away, with the sessions and slots on it."""
        ask = "SELECT pid FROM pg_stat_activity WHERE datname = %s"
        self.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false', database="postgres")
        for (pid,) in self.execute(ask, name, database="postgres"):
            self.terminate(pid)
        # Up to version 13 a session leaves the list a moment before it lets go of its slot.
        active = "SELECT 1 FROM pg_replication_slots WHERE database = %s AND active"
        until(lambda: not self.execute(active, name, database="postgres"), f"a slot of {name} is never let go")
        drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s"
        self.execute(drop, name, database="postgres")
        self.execute(f'DROP DATABASE "{name}"', database="postgres")

    def version(self) -> int:
        """The major version, such as 15."""
        with self.connect(database="postgres") as session:
            return session.info.server_version // 10_000

    def lsn(self) -> str:
        """Where its log ends now; on a standby, what it has replayed."""
        standby, own = "pg_last_wal_replay_lsn()", "pg_current_wal_lsn()"
        [(place,)] = self.execute(f"SELECT CASE WHEN pg_is_in_recovery() THEN {standby} ELSE {own} END::text")
        return str(place)

    def senders(self) -> list[int]:
        """The processes that send the log to someone."""
        return [pid for (pid,) in self.execute("SELECT pid FROM pg_stat_replication ORDER BY pid")]

    def slots(self) -> list[dict[str, Any]]:
        """The replication slots, by name."""
        return Database(self, "postgres").rows("pg_replication_slots", "slot_name")

    def terminate(self, pid: int) -> None:
        """End one of its sessions, and wait until it is gone."""
        self.execute("SELECT pg_terminate_backend(%s)", pid, database="postgres")
        ask = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
        until(lambda: not self.execute(ask, pid, database="postgres"), f"session {pid} never ended")

    def crash(self, pid: int) -> bool:
        """SIGKILL to one of its processes, and wait until it has ended all sessions, recovered, and answers again.

        False, and nothing of that, where the process has ended by itself.
        """
        with self.connect(database="postgres") as witness:
            try:
                [child] = [child for child in self._children() if child.pid == pid]
                child.kill()
            except (ValueError, psutil.NoSuchProcess):
                return False
            until(lambda: not _answers(witness), "the server never noticed")
        self._wait_until_it_answers()
        return True

    def copy(self, folder: Path) -> None:
        """A backup of the running server, taken as pg_basebackup would, which some packages leave out.

        The log is not part of it: the copy reads that from this server when it starts.
        """
        modern = self.version() >= 15
        start, end = "pg_backup_start(%s, true)", "pg_backup_stop(false)"
        if not modern:
            start, end = "pg_start_backup(%s, true, false)", "pg_stop_backup(false, false)"
        with self.connect(database="postgres") as session:
            session.execute(f"SELECT {start}", ["copy"])
            shutil.copytree(self.data, folder, ignore=_left_out, copy_function=_copy_what_is_there)
            row = session.execute(f"SELECT labelfile FROM {end}").fetchone()
        assert row is not None
        (folder / "backup_label").write_text(row[0])

    def promote(self) -> None:
        """End being a standby, and wait until it takes writes."""
        assert self.execute("SELECT pg_promote(true, %s)", int(DEADLINE)) == [(True,)], self.text()[-3000:]

    def wait_for(self, lsn: str) -> None:
        """Wait until a standby has replayed this much, such as ``other.lsn()``."""
        ask = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        until(lambda: self.execute(ask, lsn) == [(True,)], f"{lsn} never came")


class Database(ServerDatabase):
    """One database of a server; tables are named as SQL names them, with quotes where it needs some."""

    def rows(self, table: str, order: str = "1") -> list[dict[str, Any]]:
        """What a table holds."""
        with self.connect() as session, session.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(f"SELECT * FROM {table} ORDER BY {order}").fetchall()

    def create(self, table: str, columns: str) -> None:
        """Make a table that is `USER`'s own."""
        self.execute(f"CREATE TABLE {table} ({columns})")
        self.own(table)

    def own(self, *tables: str) -> None:
        """Make `USER` the owner of tables, which a publication of them takes."""
        for table in tables:
            self.execute(f"ALTER TABLE {table} OWNER TO {USER}")


def _left_out(folder: str, names: list[str]) -> list[str]:
    emptied, absent = NOT_COPIED
    return [name for name in names if Path(folder).name in emptied or name.startswith(absent)]


def _copy_what_is_there(source: str, target: str) -> None:
    with contextlib.suppress(FileNotFoundError):  # the server goes on working; the log makes the copy whole
        shutil.copy2(source, target)


def _answers(session: psycopg.Connection[Any]) -> bool:
    try:
        session.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True
