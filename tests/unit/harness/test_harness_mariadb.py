"""The servers that other tests read from do what is asked of them, and leave nothing behind."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pymysql
import pytest

from harness.mariadb import DEADLINE, USER

ROOT = Path(__file__).parents[3]

LEFT_ALONE = """
import sys, pathlib
from harness.mariadb import MariaDB
server = MariaDB(pathlib.Path(sys.argv[1]))
server.start()
print(server.process.pid, server.folder, flush=True)
sys.stdin.read()
"""


def test_a_database_is_fresh_and_ours(database):
    """Each test has a database of its own, and statements take values."""
    database.execute("CREATE TABLE t (id INT PRIMARY KEY, name TEXT)")
    database.execute("INSERT INTO t VALUES (%s, %s)", 1, "Zoë 🦉")

    assert database.execute("SELECT * FROM t") == [(1, "Zoë 🦉")]
    assert database.rows("t") == [{"id": 1, "name": "Zoë 🦉"}]
    assert database.url("me") == f"mysql://me@127.0.0.1:{database.server.port}/{database.name}"


def test_the_database_of_the_test_before_is_gone(database):
    """Nothing of one test is seen by the next."""
    assert database.execute("SHOW TABLES") == []
    assert database.execute("SHOW DATABASES LIKE 'shop\\_%%'") == [(database.name,)]


def test_a_block_that_raises_is_rolled_back(database):
    """A transaction that fails leaves nothing, and one that ends is kept."""
    database.execute("CREATE TABLE t (id INT PRIMARY KEY)")

    def insert(*numbers: int) -> None:
        with database.transaction() as cursor:
            for number in numbers:
                cursor.execute("INSERT INTO t VALUES (%s)", (number,))

    insert(1)
    with pytest.raises(pymysql.err.IntegrityError):
        insert(2, 1)

    assert database.execute("SELECT id FROM t") == [(1,)]


def test_the_reader_has_what_a_reader_needs(database):
    """The agent's user reads tables and the binlog's end, and writes nothing."""
    database.execute("CREATE TABLE t (id INT PRIMARY KEY)")
    with database.connect(USER) as session, session.cursor() as cursor:
        assert cursor.execute("SELECT * FROM t") == 0
        assert cursor.execute("SHOW MASTER STATUS") == 1
        assert cursor.execute("SHOW BINARY LOGS") > 0
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            cursor.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            cursor.execute("SELECT * FROM mysql.global_priv")


def test_the_binlog_is_written_with_names(database):
    """Row images are whole, and the metadata says the columns' names."""
    before = database.server.position()
    database.execute("CREATE TABLE t (id INT PRIMARY KEY)")
    after = database.server.position()

    assert (after.file, after.offset) > (before.file, before.offset)
    assert after.gtid != before.gtid
    assert database.server.binlogs()[after.file] == after.offset
    assert database.server.binlog(after.file).startswith(b"\xfebin")
    settings = "SELECT @@binlog_format, @@binlog_row_image, @@binlog_row_metadata"
    assert database.execute(settings) == [("ROW", "FULL", "FULL")]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_is_committed_survives(private_mariadb, end):
    """Stopped or killed, it comes back on its port with every row and every GTID."""
    server = private_mariadb()
    port = server.port
    server.execute("CREATE TABLE t (id INT PRIMARY KEY)")
    for number in range(50):
        server.execute("INSERT INTO t VALUES (%s)", number)
    before = server.position()
    getattr(server, end)()

    with pytest.raises(pymysql.err.OperationalError):
        server.connect()
    server.start()
    assert server.port == port
    assert server.execute("SELECT count(*) FROM t") == [(50,)]
    server.execute("INSERT INTO t VALUES (50)")
    assert server.position().gtid == "0-1-52"
    assert before.gtid == "0-1-51"


def test_options_hold_from_a_start_on(private_mariadb):
    """A server takes options when it is made and when it is started again."""
    server = private_mariadb(server_id=7, gtid_domain_id=3, log_bin_compress="ON")
    asked = "SELECT @@server_id, @@gtid_domain_id, @@log_bin_compress, @@binlog_row_image"
    assert server.execute(asked) == [(7, 3, 1, "FULL")]
    server.restart(binlog_row_image="MINIMAL")

    assert server.execute(asked) == [(7, 3, 1, "MINIMAL")]


def test_a_server_that_cannot_start_says_why(private_mariadb):
    """What stands in the error log stands in the failure."""
    with pytest.raises(AssertionError, match="unknown variable 'no-such-option"):
        private_mariadb(no_such_option=1)


def test_a_paused_server_keeps_quiet(private_mariadb):
    """It answers nothing while it is paused, the rest afterwards, and can be ended paused."""
    server = private_mariadb()
    with server.connect() as session, session.cursor() as cursor:
        server.pause()
        session._read_timeout = 0.1  # from now on: to log in takes as long as it takes
        with pytest.raises(pymysql.err.OperationalError):
            cursor.execute("SELECT 1")
    server.resume()
    assert server.execute("SELECT 1") == [(1,)]
    server.pause()
    server.stop()
    assert server.process is None


def test_a_replica_takes_over(private_mariadb):
    """A replica has the other's rows under the other's GTIDs, and goes on with its own."""
    first, second = private_mariadb(), private_mariadb(server_id=2)
    first.execute("CREATE TABLE t (id INT PRIMARY KEY)")
    second.replicate_from(first)
    first.execute("INSERT INTO t VALUES (1)")
    second.wait_for(first.position().gtid)
    assert second.execute("SELECT * FROM t") == [(1,)]
    assert second.position().gtid == first.position().gtid == "0-1-2"

    first.kill()
    second.promote()
    second.execute("INSERT INTO t VALUES (2)")
    assert second.position().gtid == "0-2-3"


def test_nothing_is_left_when_the_tests_are_killed(mariadb_template):
    """A server does not outlive the process that made it, however that one ends."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-c", LEFT_ALONE, str(mariadb_template)]
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
