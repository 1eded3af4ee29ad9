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
import fcntl
import functools
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
import pytest
from psycopg.rows import dict_row

from harness.mariadb import free_port

DEADLINE = 60.0
"""Seconds a server may take to start or to stop on a busy machine before the test fails."""
USER, PASSWORD = "fuagent", "fuagent-password"
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

REAPER = """
import os, pathlib, select, shutil, signal, sys
def parent(entry):
    try:
        return entry.name.isdigit() and int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
def send(number, *pids):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
def end(pid):
    watched = os.pidfd_open(pid)
    children = [int(entry.name) for entry in pathlib.Path("/proc").iterdir() if parent(entry) == pid]
    send(signal.SIGQUIT, pid)
    send(signal.SIGCONT, *children, pid)
    if not select.select([watched], [], [], 15)[0]:
        send(signal.SIGKILL, pid, *children)
for line in sys.stdin.readlines():
    pid, _, folder = line.strip().partition(" ")
    try:
        if folder in pathlib.Path(f"/proc/{pid}/cmdline").read_text():
            end(int(pid))
    except OSError:
        pass
    shutil.rmtree(folder, ignore_errors=True)
"""
"""Ends each server at once, and by force where it does not follow: SIGQUIT lets it give shared memory back."""
_reapers: list[subprocess.Popen[bytes]] = []


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
    """The data directory every server starts from; made by whoever comes first, others wait for it."""
    template = folder / "postgres-template"
    with (folder / "postgres-template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if template.exists():
            return template
        unfinished = folder / "postgres-template.part"
        shutil.rmtree(unfinished, ignore_errors=True)
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
        unfinished.rename(template)
    return template


def _initialize(folder: Path) -> None:
    give(folder)
    command = [program("initdb"), f"--pgdata={folder / 'data'}", "--username=postgres", "--auth=trust"]
    # Small segments: a test that has the server throw some away need not fill large ones first.
    command += ["--encoding=UTF8", "--locale=C", "--wal-segsize=1", "--no-sync"]
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True, **account())
    assert made.returncode == 0, made.stdout + made.stderr
    (folder / "data/pg_hba.conf").write_text("\n".join([*ACCESS, ""]))


class Postgres:
    """A server; ``with`` starts it, and takes processes and files away at the end.

    Args:
        template: What `make_template` made, or None where ``standby_of`` says.
        standby_of: A running server to become a copy of, and a hot standby; its options hold here too.
        options: The server's options; they go before `LOGICAL` and `SMALL`, and None leaves one out.
    """

    def __init__(self, template: Path | None, *, standby_of: Postgres | None = None, **options: object) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # a socket's path must be short
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.options: dict[str, object] = {**SMALL, **LOGICAL, **options}
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
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
        own = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.folder}
        command = [program("postgres") or "postgres", "-D", str(self.data), *arguments(self.options | own)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **account()
            )
        _reap_after_us(self.process.pid, self.folder)
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        end = time.monotonic() + DEADLINE
        while True:
            try:
                self.connect(database="postgres").close()
            except psycopg.OperationalError as error:
                assert self.process is not None
                assert self.process.poll() is None, f"it ended at once; its log says:\n{self.text()[-3000:]}"
                assert time.monotonic() < end, f"it never answered ({error}); its log says:\n{self.text()[-3000:]}"
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        """SIGINT, and wait: sessions are ended, and readers of the log get the rest of it first."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL to the server and all its processes, and wait until the last is gone."""
        assert self.process is not None, "it does not run"
        family = self._pause_first_process()
        with contextlib.ExitStack() as stack:
            handles = [stack.enter_context(_watch(child.pid)) for child in family]
            self.process.kill()
            for child in family:
                _send(child.pid, signal.SIGKILL)
            self.process.wait(DEADLINE)
            self.process = None
            for handle in handles:
                assert not handle or select.select([handle], [], [], DEADLINE)[0], "a process of the server stays"

    def restart(self, **options: object) -> None:
        """Stop in order and start again."""
        self.stop()
        self.start(**options)

    def pause(self) -> None:
        """SIGSTOP to all its processes: it keeps its connections and says nothing."""
        for child in self._pause_first_process():
            _send(child.pid, signal.SIGSTOP)
            _until(lambda child=child: _state(child) != "running", f"process {child.pid} never stopped")

    def _pause_first_process(self) -> list[psutil.Process]:
        """Stop the one that starts all others, so that the list of them is whole."""
        assert self.process is not None, "it does not run"
        self.process.send_signal(signal.SIGSTOP)
        # WNOWAIT leaves the news there for a second call: the server may be paused already.
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        return self._children()

    def _children(self) -> list[psutil.Process]:
        assert self.process is not None, "it does not run"
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children()
        return []

    def resume(self) -> None:
        """SIGCONT to all its processes."""
        assert self.process is not None, "it does not run"
        for child in self._children():
            _send(child.pid, signal.SIGCONT)
        self.process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        assert self.process is not None, "it does not run"
        self.process.send_signal(number)
        self.resume()  # a paused one sees no signal
        self.process.wait(DEADLINE)
        self.process = None

    def close(self) -> None:
        """End it whatever its state, and take its files away."""
        if self.process is not None:
            try:
                self._end(signal.SIGQUIT)
            except subprocess.TimeoutExpired:
                self.kill()
        self._give_back_memory()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _give_back_memory(self) -> None:
        """A killed server leaves a segment of shared memory, which only its next start would remove."""
        lock = self.data / "postmaster.pid"  # the seventh line: key and identifier of the segment
        lines = lock.read_text().splitlines() if lock.exists() else []
        if len(lines) > 6:
            ctypes.CDLL(None).shmctl(int(lines[6].split()[1]), 0, None)  # 0: IPC_RMID

    def text(self) -> str:
        """What it wrote to its log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

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
        _until(lambda: self.execute(loaded, database="postgres") != before, "pg_hba.conf was never read again")

    def connect(
        self, user: str = "postgres", database: str = "shop", **options: Any
    ) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection of its own over TCP, in autocommit mode."""
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

    def url(self, user: str = "", database: str = "shop") -> str:
        """The endpoint as a configuration names it."""
        return f"postgres://{user + '@' if user else ''}127.0.0.1:{self.port}/{database}"

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
        _until(lambda: not self.execute(active, name, database="postgres"), f"a slot of {name} is never let go")
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
        _until(lambda: not self.execute(ask, pid, database="postgres"), f"session {pid} never ended")

    def crash(self, pid: int) -> None:
        """SIGKILL to one of its processes, and wait until it has ended all sessions, recovered, and answers again."""
        [child] = [child for child in self._children() if child.pid == pid]
        with self.connect(database="postgres") as witness:
            child.kill()
            _until(lambda: not _answers(witness), "the server never noticed")
        self._wait_until_it_answers()

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
        _until(lambda: self.execute(ask, lsn) == [(True,)], f"{lsn} never came")


@dataclass(frozen=True, slots=True)
class Database:
    """One database of a server; tables are named as SQL names them, with quotes where it needs some."""

    server: Postgres
    name: str = "shop"

    def connect(self, user: str = "postgres", **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection to it."""
        return self.server.connect(user, self.name, **options)

    def execute(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run statements as the superuser, in a session of its own; gives the rows of the last."""
        return self.server.execute(sql, *values, database=self.name)

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

    def url(self, user: str = "") -> str:
        """The endpoint as a configuration names it."""
        return self.server.url(user, self.name)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[psycopg.Cursor[tuple[Any, ...]]]:
        """A transaction of its own: committed at the end, rolled back when the block raises."""
        with self.connect(autocommit=False) as session, session.cursor() as cursor:
            yield cursor


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


def _state(process: psutil.Process) -> str:
    """``running``, or else what it is instead."""
    with contextlib.suppress(psutil.NoSuchProcess):
        halted = process.status() in {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP, psutil.STATUS_ZOMBIE}
        return "halted" if halted else "running"
    return "gone"


@contextlib.contextmanager
def _watch(pid: int) -> Iterator[int | None]:
    """A handle that becomes readable when the process ends, even where nobody collects it; None if it has."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _until(condition: Callable[[], bool], failure: str) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, failure
        time.sleep(0.01)


def _reap_after_us(pid: int, folder: Path) -> None:
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
