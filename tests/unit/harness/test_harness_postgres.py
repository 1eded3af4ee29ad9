"""The PostgreSQL servers that other tests read from do what is asked of them, and leave nothing behind."""

import os
import select
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from harness.postgres import DEADLINE, OWNER, PASSWORD, USER, make_template, program

ROOT = Path(__file__).parents[3]
SYSTEM = "SELECT system_identifier FROM pg_control_system()"
READ = b"START_REPLICATION SLOT fuagent LOGICAL 0/0 (proto_version '1', publication_names 'fuagent')"

LEFT_ALONE = """
import sys, pathlib
from harness.postgres import Postgres
server = Postgres(pathlib.Path(sys.argv[1]))
server.start()
if sys.argv[2] == "paused":
    server.pause()
print(server.process.pid, server.folder, flush=True)
sys.stdin.read()
"""


def segments() -> set[str]:
    """The machine's segments of shared memory, by their identifiers."""
    return {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


def test_a_database_is_fresh_and_ours(postgres_database):
    """Each test has a database of its own, and statements take values."""
    database = postgres_database
    database.execute("CREATE TABLE t (id INT PRIMARY KEY, name TEXT)")
    database.execute("INSERT INTO t VALUES (%s, %s)", 1, "Zoë 🦉")

    assert database.execute("SELECT * FROM t") == [(1, "Zoë 🦉")]
    assert database.rows("t") == [{"id": 1, "name": "Zoë 🦉"}]
    assert database.execute("SELECT 1; SELECT 2") == [(2,)]
    assert database.url("me") == f"postgres://me@127.0.0.1:{database.server.port}/{database.name}"
    assert database.server.url() == f"postgres://127.0.0.1:{database.server.port}/shop"


def test_the_database_of_the_test_before_is_gone(postgres_database):
    """Nothing of one test is seen by the next."""
    assert postgres_database.execute("SELECT * FROM pg_tables WHERE schemaname = 'public'") == []
    databases = "SELECT datname FROM pg_database WHERE datname LIKE 'shop\\_%'"
    assert postgres_database.execute(databases) == [(postgres_database.name,)]


def test_a_block_that_raises_is_rolled_back(postgres_database):
    """A transaction that fails leaves nothing, and one that ends is kept."""
    postgres_database.execute("CREATE TABLE t (id INT PRIMARY KEY)")

    def insert(*numbers: int) -> None:
        with postgres_database.transaction() as cursor:
            for number in numbers:
                cursor.execute("INSERT INTO t VALUES (%s)", (number,))

    insert(1)
    with pytest.raises(psycopg.errors.UniqueViolation):
        insert(2, 1)

    assert postgres_database.execute("SELECT id FROM t") == [(1,)]


def test_the_reader_reads_and_no_more(postgres_database):
    """The agent's user reads tables, and neither writes them nor publishes them."""
    postgres_database.execute("CREATE TABLE t (id INT PRIMARY KEY)")
    with postgres_database.connect(USER) as session:
        assert session.execute("SELECT * FROM t").fetchall() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("CREATE PUBLICATION p FOR TABLE t")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("SELECT * FROM pg_authid")
    assert postgres_database.execute("SELECT tableowner FROM pg_tables WHERE tablename = 't'") == [(OWNER,)]


def test_the_reader_needs_its_password(postgres_database):
    """The agent's user logs in with SCRAM, and not with another password."""
    assert PASSWORD not in str(postgres_database.rows("pg_authid", "rolname"))
    [(secret,)] = postgres_database.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", USER)
    assert secret.startswith("SCRAM-SHA-256$")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        postgres_database.connect(USER, password="another")


def test_an_owner_publishes_and_reads_the_log(postgres_database):
    """The agent's user makes a publication and a slot, and its reading ends when it is terminated."""
    server = postgres_database.server
    postgres_database.create("t", "id INT PRIMARY KEY")
    with postgres_database.connect(USER) as session:
        session.execute("CREATE PUBLICATION fuagent FOR TABLE t")
    with closing(postgres_database.connect(USER, replication="database")) as session:
        session.execute("CREATE_REPLICATION_SLOT fuagent LOGICAL pgoutput")
        session.pgconn.send_query(READ)
        assert session.pgconn.get_result().status == psycopg.pq.ExecStatus.COPY_BOTH
        [slot] = server.slots()
        assert (slot["slot_name"], slot["database"]) == ("fuagent", postgres_database.name)
        assert server.senders() == [slot["active_pid"]] == [session.info.backend_pid]

        server.terminate(session.info.backend_pid)
        assert server.senders() == []


def test_slots_go_with_their_database(postgres):
    """A slot that a test left, and one in use, are gone with the database they were made in."""
    database = postgres.database("brief")
    database.execute("CREATE PUBLICATION fuagent FOR ALL TABLES")
    with closing(database.connect(USER, replication="database")) as session:
        session.execute("CREATE_REPLICATION_SLOT left_alone LOGICAL pgoutput")
        session.execute("CREATE_REPLICATION_SLOT fuagent LOGICAL pgoutput")
        session.pgconn.send_query(READ)
        assert session.pgconn.get_result().status == psycopg.pq.ExecStatus.COPY_BOTH
        assert len(postgres.slots()) == 2
        postgres.drop("brief")

    assert postgres.slots() == []
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        database.connect()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_is_committed_survives(private_postgres, end):
    """Stopped or killed, even among its sessions, it comes back on its port with every row and every slot."""
    server = private_postgres()
    port = server.port
    server.execute("CREATE TABLE t (id INT PRIMARY KEY)")
    server.execute("SELECT pg_create_logical_replication_slot('fuagent', 'pgoutput')")
    with server.connect() as session:
        for number in range(50):
            session.execute("INSERT INTO t VALUES (%s)", [number])
        before = server.lsn()
        getattr(server, end)()

    with pytest.raises(psycopg.OperationalError):
        server.connect()
    server.start()
    assert server.port == port
    assert server.execute("SELECT count(*) FROM t") == [(50,)]
    assert server.execute("SELECT %s::pg_lsn <= %s::pg_lsn", before, server.lsn()) == [(True,)]
    assert [slot["slot_name"] for slot in server.slots()] == ["fuagent"]


def test_a_server_recovers_from_the_crash_of_one_process(private_postgres):
    """It goes on by itself, with what is committed, and every session has ended."""
    server = private_postgres()
    database = server.database()
    database.execute("CREATE TABLE t (id INT PRIMARY KEY)")
    with database.connect() as first, database.connect() as second:
        second.execute("INSERT INTO t VALUES (1)")
        before = server.process.pid
        assert server.crash(first.info.backend_pid)
        with pytest.raises(psycopg.OperationalError):
            second.execute("SELECT 1")

    assert database.rows("t") == [{"id": 1}]
    assert server.process.pid == before


def test_a_process_that_has_ended_cannot_be_crashed(postgres):
    """Whoever chose it chose too late: no other session notices."""
    with postgres.connect() as gone, postgres.connect() as other:
        pid = gone.info.backend_pid
        postgres.terminate(pid)

        assert not postgres.crash(pid)
        assert other.execute("SELECT 1").fetchone() == (1,)


def test_options_hold_from_a_start_on(private_postgres):
    """A server takes options when it is made and when it is started again."""
    server = private_postgres(max_replication_slots=3)
    asked = "SELECT current_setting('max_replication_slots'), current_setting('work_mem'), current_setting('wal_level')"
    assert server.execute(asked) == [("3", "4MB", "logical")]
    server.restart(work_mem="1MB")

    assert server.execute(asked) == [("3", "1MB", "logical")]
    assert f"PostgreSQL {server.version()}" in server.execute("SELECT version()")[0][0]


def test_a_server_that_cannot_start_says_why(private_postgres):
    """What stands in the log stands in the failure."""
    with pytest.raises(AssertionError, match="no_such_option"):
        private_postgres(no_such_option=1)


def test_a_paused_server_keeps_quiet(private_postgres):
    """It answers nothing while it is paused, and all of it afterwards; it can be ended paused."""
    server = private_postgres()
    with closing(server.connect()) as session:
        server.pause()
        server.pause()
        session.pgconn.send_query(b"SELECT 1")
        assert select.select([session.fileno()], [], [], 0.1)[0] == []
        server.resume()
        assert session.pgconn.get_result().get_value(0, 0) == b"1"
    assert server.execute("SELECT 1") == [(1,)]
    server.pause()
    server.stop()
    server.start()
    server.pause()
    server.kill()
    assert server.process is None


def test_a_standby_takes_over(private_postgres):
    """A standby has the other's rows, takes none of its own, and goes on with both after its promotion."""
    first = private_postgres(work_mem="1MB")
    first.execute("CREATE TABLE t (id INT PRIMARY KEY)")
    second = private_postgres(standby_of=first)
    first.execute("INSERT INTO t VALUES (1)")
    second.wait_for(first.lsn())
    assert second.execute("SELECT * FROM t") == [(1,)]
    assert second.execute("SHOW work_mem") == [("1MB",)]
    assert second.execute(SYSTEM) == first.execute(SYSTEM)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        second.execute("INSERT INTO t VALUES (2)")
    assert len(first.senders()) == 1

    first.kill()
    second.promote()
    second.execute("INSERT INTO t VALUES (2)")
    assert second.execute("SELECT id FROM t ORDER BY id") == [(1,), (2,)]
    assert second.execute("SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)") == [("00000002",)]


def test_two_servers_know_nothing_of_each_other(postgres_database, private_postgres, tmp_path):
    """Two at once have databases of their own, and one of another template is another system."""
    first, second = postgres_database.server, private_postgres(template=make_template(tmp_path))

    assert first.port != second.port
    assert second.execute("SELECT * FROM pg_database WHERE datname = %s", postgres_database.name) == []
    assert first.execute(SYSTEM) != second.execute(SYSTEM)


def test_who_may_connect_is_said_anew(private_postgres):
    """Lines for pg_hba.conf hold at once, and one it does not take is refused."""
    server = private_postgres()
    assert server.connect(USER).close() is None
    server.admit(f"host all {USER} 127.0.0.1/32 reject")
    with pytest.raises(psycopg.OperationalError, match="rejects connection"):
        server.connect(USER)
    with pytest.raises(AssertionError, match="does not take"):
        server.admit("nonsense")


def test_a_kept_file_is_the_servers_alone(postgres):
    """A key that a test hands over is read by the server, and by no other user."""
    kept = postgres.keep("server.key", "secret")

    assert kept.read_text() == "secret"
    assert kept.stat().st_mode & 0o077 == 0
    assert kept.stat().st_uid == kept.parent.stat().st_uid


def test_programs_are_found_where_they_are_asked_for(monkeypatch, tmp_path):
    """The folder that is named counts, and no other one then."""
    for folder in ("named", "chosen"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "postgres").touch(0o755)
    monkeypatch.setenv("POSTGRES_BIN", str(tmp_path / "chosen"))

    assert program("postgres") == str(tmp_path / "chosen/postgres")
    assert program("postgres", tmp_path / "named") == str(tmp_path / "named/postgres")
    assert program("initdb") is None
    monkeypatch.delenv("POSTGRES_BIN")
    assert str(tmp_path) not in str(program("postgres"))


@pytest.mark.parametrize("end", ["close", "kill"])
def test_a_server_gives_everything_back(private_postgres, end):
    """Neither files nor shared memory stay, whether it was running or killed."""
    server = private_postgres()
    ours = (server.data / "postmaster.pid").read_text().splitlines()[6].split()[1]
    assert ours in segments()
    getattr(server, end)()
    server.close()

    assert not server.folder.exists()
    assert ours not in segments()


@pytest.mark.parametrize("state", ["running", "paused"])
def test_nothing_is_left_when_the_tests_are_killed(postgres_template, state):
    """A server does not outlive the process that made it, however that one ends."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-c", LEFT_ALONE, str(postgres_template), state]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as maker:
        pid, _, folder = maker.stdout.readline().strip().partition(" ")
        watched = os.pidfd_open(int(pid))
        os.kill(maker.pid, signal.SIGKILL)
        # The reaper holds the same output, and ends when it has done its work.
        maker.stdout.read()

    ended, _, _ = select.select([watched], [], [], DEADLINE)
    os.close(watched)
    assert ended
    assert not Path(folder).exists()
