"""Transactions of every kind on a live server, and what may happen to the server itself while it is followed."""

import asyncio
import contextlib
import os
import re
from contextlib import aclosing
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
from mysql_following import following, found, gather, pictured, session, standing, unopened

from fuagent.errors import HaltSyncError, LostPlaceError, TryAgainError
from fuagent.model import Anchor, Place
from fuagent.sources.mysql import dump, places
from harness.mariadb import MariaDB
from harness.proxy import Proxy

_names = count(1)
SMALL = "CREATE TABLE t (id INT PRIMARY KEY, a INT)"


@pytest.fixture(scope="module")
def server(mariadb_template):
    """A server that tests may stop, kill, reset and set up anew; each leaves it running."""
    with MariaDB(mariadb_template, max_binlog_size=1 << 30) as started:
        yield started


@pytest.fixture
def database(server):
    """A database with an empty table."""
    made = server.database(f"shop_servers_{next(_names)}")
    made.execute(SMALL)
    yield made
    server.execute(f"DROP DATABASE {made.name}", database=None)


def ids(rows):
    """The keys of what came."""
    return [row["id"] for _, row in found(rows)]


def behind(rows, place):
    """Where the engine would go on: at an end, behind a row, or still where it was."""
    if rows.boundary:
        return rows.end
    return Place(rows.start.position, rows.start.previous, rows.indexes[-1]) if rows.indexes else place


class Running:
    """A stream that is read in the background, as the engine reads it."""

    def __init__(self, source, place):
        self.rows = []
        self.place = place
        self._came = asyncio.Condition()
        self.task = asyncio.create_task(self._read(source))

    async def _read(self, source):
        async with aclosing(source.stream(self.place)) as stream:
            async for rows in stream:
                self.rows.append(rows)
                self.place = behind(rows, self.place)
                async with self._came:
                    self._came.notify_all()

    async def have(self, many):
        """Wait until so many rows are there, or the stream has failed."""
        await self._until(lambda: sum(len(one.rows) for one in self.rows) >= many)

    async def idle(self):
        """Wait until it says that there are no more just now."""
        await self._until(lambda: self.rows and self.rows[-1].at_end)

    async def _until(self, reached):
        async def wait():
            async with self._came:
                await self._came.wait_for(reached)

        waiting = asyncio.create_task(wait())
        await asyncio.wait([waiting, self.task], timeout=30, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        assert reached() or self.task.done(), "it never came"
        if self.task.done() and not reached():
            self.task.result()

    async def failed(self):
        """The error it ended with."""
        await asyncio.wait([self.task], timeout=30)
        assert self.task.done(), "it goes on"
        return self.task.exception()

    async def stop(self):
        """Leave it."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


# ------------------------------------------------------------------ transactions


@pytest.mark.fault("F22")
async def test_prepared_transactions_come_when_they_are_committed(database):
    """In the order of the commits; what is rolled back never, what is committed in one phase at once."""
    async with following(database, "t") as source:
        place = await standing(source)
        session(database, "XA START 'one'", "INSERT INTO t VALUES (1, 1), (2, 2)", "XA END 'one'", "XA PREPARE 'one'")
        session(
            database,
            "XA START 'two', 'b', 7",
            "INSERT INTO t VALUES (3, 3)",
            "XA END 'two', 'b', 7",
            "XA PREPARE 'two', 'b', 7",
        )
        session(database, "XA START 'no'", "INSERT INTO t VALUES (4, 4)", "XA END 'no'", "XA PREPARE 'no'")
        session(
            database,
            "XA START 'at once'",
            "INSERT INTO t VALUES (5, 5)",
            "XA END 'at once'",
            "XA COMMIT 'at once' ONE PHASE",
        )
        session(database, "INSERT INTO t VALUES (6, 6)")
        assert ids(await gather(source, place)) == [5, 6]

        for statement in (
            "XA COMMIT 'two', 'b', 7",
            "XA ROLLBACK 'no'",
            "INSERT INTO t VALUES (7, 7)",
            "XA COMMIT 'one'",
        ):
            database.execute(statement)
        rows = await gather(source, place)

    assert ids(rows) == [5, 6, 3, 7, 1, 2]
    numbers = [number for one in rows for number in one.indexes]
    assert numbers == sorted(set(numbers))


@pytest.mark.fault("F22")
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_restart_between_prepare_and_commit_loses_nothing(database, restarted):
    """The place remembers what was prepared before it; the server keeps it too, if it ends."""
    async with following(database, "t") as source:
        place = await standing(source)
        session(database, "XA START 'x'", "INSERT INTO t VALUES (1, 1), (2, 2)", "XA END 'x'", "XA PREPARE 'x'")
        session(database, "INSERT INTO t VALUES (3, 3)")
        before = await gather(source, place)
    if restarted:
        database.server.kill()
        database.server.start()
    session(database, "XA COMMIT 'x'", "INSERT INTO t VALUES (4, 4)")
    async with following(database, "t", chunk_rows=1) as source:
        after = await gather(source, before[-1].end)
        again = await gather(source, place)
        middle = Place(after[0].start.position, after[0].start.previous, after[0].indexes[0])
        rest = await gather(source, middle)

    assert (ids(before), ids(after)) == ([3], [1, 2, 4])
    assert [found([one]) for one in again if one.rows] == [found([one]) for one in (*before, *after) if one.rows]
    assert ids(rest) == [2, 4]


@pytest.mark.fault("F22")
@pytest.mark.parametrize("engine", ["MyISAM", "Aria"])
async def test_tables_without_transactions(database, engine):
    """Each statement stands for itself, also within a transaction that is rolled back."""
    database.execute(f"CREATE TABLE m (id INT PRIMARY KEY) ENGINE = {engine}")
    async with following(database, "t", "m") as source:
        place = (await pictured(source, "t")).place  # a snapshot of the other one would lock it
        session(database, "INSERT INTO m VALUES (1), (2)", "DELETE FROM m WHERE id = 1", "INSERT INTO t VALUES (3, 3)")
        session(database, "BEGIN", "INSERT INTO t VALUES (4, 4)", "INSERT INTO m VALUES (5)", "ROLLBACK")
        session(database, "BEGIN", "INSERT INTO m VALUES (6)", "INSERT INTO t VALUES (7, 7)", "COMMIT")

        assert ids(await gather(source, place)) == [1, 2, 1, 3, 5, 6, 7]


@pytest.mark.fault("F22")
async def test_what_is_undone_within_a_transaction_never_comes(database):
    """Savepoints, statements that fail halfway, and temporary tables that hide one of ours."""
    async with following(database, "t") as source:
        place = await standing(source)
        with database.transaction() as cursor:
            cursor.execute("INSERT INTO t VALUES (1, 1)")
            cursor.execute("SAVEPOINT `a``b`")
            cursor.execute("INSERT INTO t VALUES (2, 2)")
            cursor.execute("ROLLBACK TO `a``b`")
            cursor.execute("SAVEPOINT c")
            cursor.execute("INSERT INTO t VALUES (3, 3)")
            cursor.execute("RELEASE SAVEPOINT c")
            cursor.execute("INSERT IGNORE INTO t VALUES (4, 4), (1, 9), (5, 5)")
        session(
            database,
            "CREATE TEMPORARY TABLE t (id INT PRIMARY KEY, a INT)",
            "INSERT INTO t VALUES (6, 6)",
            "TRUNCATE t",
            "ALTER TABLE t ADD x INT",
            "DROP TEMPORARY TABLE t",
            "INSERT INTO t VALUES (7, 7)",
            "CREATE TEMPORARY TABLE t (id INT)",
            "DROP TABLE t",
        )
        session(database, "CREATE TEMPORARY TABLE t (id INT)", "SET SESSION pseudo_thread_id = 99")

        assert ids(await gather(source, place)) == [1, 3, 4, 5, 7]


@pytest.mark.fault("F21")
@pytest.mark.slow
async def test_a_giant_transaction_takes_no_memory(database):
    """Some 80 MB in one transaction, also read again from its middle."""
    database.execute("CREATE TABLE big (id INT PRIMARY KEY, v VARCHAR(600))")
    async with following(database, "big") as source:
        place = await standing(source)
        database.execute("INSERT INTO big SELECT seq, REPEAT(CHAR(97 + seq % 26), 400) FROM seq_1_to_200000")
        end = (await source.head(place)).position
        before, most, seen, middle = resident(), 0, 0, None
        async for rows in source.stream(place, end):
            seen += len(rows.rows)
            most = max(most, resident())
            if middle is None and seen > 190_000:
                middle = Place(rows.start.position, rows.start.previous, rows.indexes[-1])
                left = 200_000 - seen
        rest = [rows async for rows in source.stream(middle, end)]

    assert (seen, sum(len(rows.rows) for rows in rest)) == (200_000, left)
    assert most - before < 32 << 20


def resident():
    """Bytes of memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ------------------------------------------------------------------ a log without names


@pytest.fixture
def nameless(database):
    """The log names no columns; sessions may say what time it is."""
    database.server.execute("SET GLOBAL binlog_row_metadata = NO_LOG")
    yield database
    database.server.execute("SET GLOBAL binlog_row_metadata = FULL")


@pytest.mark.fault("F07")
@pytest.mark.parametrize(
    ("late", "statement", "halts"),
    [
        (60, "ALTER TABLE t RENAME COLUMN a TO b", False),
        (0, "ALTER TABLE t RENAME COLUMN a TO b", True),
        (-60, "ALTER TABLE t RENAME COLUMN a TO b, ALGORITHM = INSTANT", True),
        (-60, "ALTER TABLE t MODIFY id INT AFTER a", True),
        (-60, "RENAME TABLE t TO gone, other TO t", True),
        (60, "ALTER TABLE t ADD b INT", True),
    ],
)
async def test_without_names_a_changed_table_is_told_from_the_one_it_was(nameless, late, statement, halts):
    """By the time of its definition alone; what that does not prove stops the sync instead of giving wrong names."""
    nameless.execute("CREATE TABLE other (id INT PRIMARY KEY, b INT)")
    async with following(nameless, "t") as source:
        place = await standing(source)
        session(
            nameless, f"SET SESSION timestamp = UNIX_TIMESTAMP() + {late}", "INSERT INTO t VALUES (1, 2)", statement
        )
        if halts:
            with pytest.raises(HaltSyncError, match=r"rows of table t|table t was changed after rows"):
                await gather(source, place)
        else:
            assert [row for _, row in found(await gather(source, place))] == [{"id": 1, "b": 2}]


@pytest.mark.fault("F07")
async def test_without_names_an_alter_that_was_read_is_known(nameless):
    """Rows right behind it are of the table that it made, although the second is the same."""
    async with following(nameless, "t") as source:
        running = Running(source, await standing(source))
        session(nameless, "SET SESSION timestamp = UNIX_TIMESTAMP() + 60", "INSERT INTO t VALUES (1, 2)")
        await running.have(1)
        made = "SELECT UNIX_TIMESTAMP(CREATE_TIME) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
        now = f"SET SESSION timestamp = ({made})"
        session(nameless, "ALTER TABLE t RENAME COLUMN a TO b", now, "INSERT INTO t VALUES (3, 4)")
        await running.have(2)
        await running.stop()

    assert [row for _, row in found(running.rows)] == [{"id": 1, "a": 2}, {"id": 3, "b": 4}]


# ------------------------------------------------------------------ the server itself


@pytest.mark.fault("F27")
@pytest.mark.parametrize("end", ["restart", "kill"])
async def test_a_server_that_ends_under_a_stream_is_gone_on_with(database, end):
    """It is tried again; then everything comes, and nothing twice."""
    async with following(database, "t", chunk_rows=3) as source:
        running = Running(source, await standing(source))
        session(database, "INSERT INTO t SELECT seq, seq FROM seq_1_to_10", "INSERT INTO t VALUES (11, 11)")
        await running.have(11)
        database.server.stop() if end == "restart" else database.server.kill()
        assert isinstance(await running.failed(), TryAgainError)
        await source.close()
        with pytest.raises(TryAgainError):
            await source.open()
        database.server.start()
        session(database, "INSERT INTO t SELECT seq, seq FROM seq_12_to_20")
        await source.open()
        running.rows += await gather(source, running.place)

    assert ids(running.rows) == list(range(1, 21))
    numbers = [number for one in running.rows for number in one.indexes]
    assert numbers == sorted(set(numbers))


@pytest.mark.fault("F05", "F06")
async def test_a_connection_that_breaks_in_every_transaction(database):
    """Again and again, with events of it still in hand: behind each row that was taken comes the next, once."""
    async with Proxy(database.server.port) as proxy:
        far = SimpleNamespace(url=lambda: f"mysql://127.0.0.1:{proxy.port}/{database.name}")
        session(database, "ALTER TABLE t ADD c LONGTEXT")
        async with following(far, "t", chunk_rows=7) as source:
            place = await standing(source)
            for first in range(1, 1001, 100):
                session(database, f"INSERT INTO t SELECT seq, 0, REPEAT('x', 20000) FROM seq_{first}_to_{first + 99}")
            came, broken = [], 0
            while len(ids(came)) < 1000:
                place = await until_broken(source, place, proxy, came)
                broken += 1
                await source.close()
                await source.open()

    assert ids(came) == [*range(1, 1001)]
    numbers = [number for one in came for number in one.indexes]
    assert numbers == sorted(set(numbers))
    assert broken > 5


async def until_broken(source, place, proxy, came):
    """Read on, into ``came``, with the connection cut on the way; gives where to go on."""
    with contextlib.suppress(TryAgainError):
        async with aclosing(source.stream(place)) as stream:
            async for rows in stream:
                came.append(rows)
                place = behind(rows, place)
                if len(came) % 4 == 0:
                    proxy.cut()
                if rows.at_end:
                    break
    return place


@pytest.mark.fault("F20")
async def test_a_server_that_says_nothing_is_tried_again(database):
    """Connections stand, but no sign of life comes."""
    async with following(database, "t", heartbeat=1.0) as source:
        running = Running(source, await standing(source))
        session(database, "INSERT INTO t VALUES (1, 1)")
        await running.have(1)
        await running.idle()
        database.server.pause()
        try:
            error = await running.failed()
        finally:
            database.server.resume()

        assert isinstance(error, TryAgainError)
        assert "not even a sign of life" in error.what


@pytest.mark.fault("F19")
async def test_a_reader_that_is_held_up_is_not_cut_off(database):
    """By a service that takes nothing: the server may wait for hours, whatever its net_write_timeout."""
    database.server.execute("SET GLOBAL net_write_timeout = 1")
    sending = (
        "SELECT TIME_MS FROM information_schema.PROCESSLIST WHERE COMMAND = 'Binlog Dump' AND STATE LIKE 'Writing%'"
    )
    try:
        async with following(database, "t", chunk_rows=10) as source:
            place = await standing(source)
            session(
                database,
                "ALTER TABLE t ADD c LONGTEXT",
                "INSERT INTO t SELECT seq, 0, REPEAT('x', 500000) FROM seq_1_to_60",
            )
            async with aclosing(source.stream(place)) as stream:
                read = [await anext(stream)]
                since = []
                async with asyncio.timeout(30):
                    while not since or since[-1] - since[0] < 3000:  # what it does at once is over long before
                        since += [at for (at,) in database.server.execute(sending)]
                        await asyncio.sleep(0.05)
                while not read[-1].at_end:
                    read.append(await anext(stream))
    finally:
        database.server.execute("SET GLOBAL net_write_timeout = DEFAULT")

    assert ids(read) == list(range(1, 61))


@pytest.mark.fault("F10")
async def test_what_a_session_hides_is_in_the_next_snapshot(database):
    """sql_log_bin = 0 leaves no trace in the log: nothing comes of it until a snapshot is taken."""
    async with following(database, "t") as source:
        place = await standing(source)
        session(
            database,
            "SET sql_log_bin = 0",
            "INSERT INTO t VALUES (1, 1)",
            "SET sql_log_bin = 1",
            "INSERT INTO t VALUES (2, 2)",
        )

        assert ids(await gather(source, place)) == [2]
        assert sorted(ids((await pictured(source, "t")).rows)) == [1, 2]


async def test_the_log_goes_on_in_another_file(database):
    """While it is read, in the middle of nothing and between rows; sizes that the server keeps to by itself too."""
    database.server.execute("SET GLOBAL max_binlog_size = 4096")
    async with following(database, "t") as source:
        place = await standing(source)
        running = Running(source, place)
        for n in range(1, 60):
            database.execute(f"INSERT INTO t VALUES ({n}, 1)")
            if n % 20 == 0:
                database.execute("FLUSH BINARY LOGS")
        await running.have(59)
        await running.stop()
        again = await gather(source, place)
    database.server.execute("SET GLOBAL max_binlog_size = 1073741824")

    assert ids(running.rows) == ids(again) == list(range(1, 60))
    numbers = [number for one in again for number in one.indexes]
    assert numbers == sorted(set(numbers)) == [number for one in running.rows for number in one.indexes]
    assert len({number // places.FILE for number in numbers}) > 3


async def test_for_how_long_the_log_is_kept_is_looked_at_anew(database):
    """An operator changes it while the agent reads, and the next question tells; nothing waits that is older than its file."""
    [[before]] = database.execute("SELECT @@GLOBAL.binlog_expire_logs_seconds")
    try:
        async with following(database, "t") as source:
            database.execute("INSERT INTO t VALUES (1, 1)")
            place = await standing(source)
            found = []
            for seconds in (259_200, 0, 86_400):
                database.execute(f"SET GLOBAL binlog_expire_logs_seconds = {seconds}")
                found.append(await source.head(place))
            begun = await source._finder().created(places.read(place.position).file)
    finally:
        database.execute(f"SET GLOBAL binlog_expire_logs_seconds = {before}")

    assert [head.seconds_kept for head in found] == [259_200, None, 86_400]
    assert [head.since for head in found] == [begun] * 3


@pytest.mark.fault("F04")
async def test_the_millionth_file_comes_behind_the_one_before(database):
    """Its name is longer, and as a text it would come first: numbers rise, and each place is found again."""
    database.execute("RESET MASTER TO 999999")
    try:
        async with following(database, "t") as source:
            place = await standing(source)
            running = Running(source, place)
            session(database, "INSERT INTO t VALUES (1, 1)", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (2, 2)")
            await running.have(2)
            await running.stop()
            numbers = [number for one in running.rows for number in one.indexes]
            anchors = [Anchor(place.previous, place)]
            rest = [ids(await gather(source, await source.locate(anchors, number))) for number in numbers]
        files = [*database.server.binlogs()]
    finally:
        database.execute("RESET MASTER")

    assert [file.rpartition(".")[2] for file in files] == ["999999", "1000000"]
    assert ids(running.rows) == [1, 2]
    assert numbers == sorted(set(numbers))
    assert rest == [[2], []]


@pytest.mark.fault("F04")
async def test_a_log_that_is_reset_is_lost(database):
    """Under a running stream, and while nobody reads; also where file and offset are there again."""
    async with following(database, "t", heartbeat=1.0) as source:
        place = await standing(source)
        running = Running(source, place)
        session(database, "INSERT INTO t VALUES (1, 1)")
        await running.have(1)
        written = database.execute("SELECT UNIX_TIMESTAMP()")
        while database.execute("SELECT UNIX_TIMESTAMP()") == written:
            """A file is told from another of its name by the second it was begun in."""
        database.execute("RESET MASTER")
        session(database, *(f"INSERT INTO t VALUES ({n}, REPEAT('1', 9))" for n in range(2, 60)))
        error = await running.failed()
        assert isinstance(error, LostPlaceError | TryAgainError)
        await source.close()
        await source.open()
        with pytest.raises(LostPlaceError):
            await gather(source, running.place)
        with pytest.raises(LostPlaceError):
            await gather(source, place)
        fresh = await pictured(source)
        session(database, "INSERT INTO t VALUES (60, 60)")

        assert ids(await gather(source, fresh.place)) == [60]


@pytest.mark.fault("F01", "F02", "F26")
@pytest.mark.parametrize("change", ["purged", "ahead", "between"])
async def test_a_place_that_the_log_does_not_have_is_lost(database, change):
    """Purged, beyond the end as after a restored backup, or in the middle of an event."""
    async with following(database, "t") as source:
        place = await standing(source)
        spot = places.read(place.position)
        session(database, "INSERT INTO t VALUES (1, 1)")
    if change == "purged":
        session(database, "FLUSH BINARY LOGS")
        last = database.server.position().file
        while spot.file in database.server.binlogs():  # until the server has seen that its readers are gone
            database.execute(f"PURGE BINARY LOGS TO '{last}'")
    else:
        spot = replace(spot, offset=spot.offset + (1 << 20 if change == "ahead" else 5))
    async with following(database, "t") as source:
        with pytest.raises(LostPlaceError):
            [rows async for rows in source.stream(spot.place(place.previous))]


@pytest.mark.fault("F17", "F71")
async def test_two_readers_of_one_sync_do_not_both_read(database):
    """The second one waits for the first to end; another sync is nobody's business."""
    async with (
        following(database, "t") as first,
        following(database, "t") as second,
        following(database, "t", sync="b") as other,
    ):
        place = await standing(first)
        running = Running(first, place)
        await running.idle()
        with pytest.raises(TryAgainError, match="another reader works for sync suite"):
            await anext(second.stream(place))
        session(database, "INSERT INTO t VALUES (1, 1)")
        assert ids(await gather(other, place)) == [1]
        await running.stop()

        assert ids(await gather(second, place)) == [1]


@pytest.mark.fault("F17", "F20")
async def test_a_reader_that_was_cut_off_is_waited_for(database, monkeypatch):
    """The server does not know that nobody is there any more: it lets go of a lock that nobody speaks for."""
    monkeypatch.setattr("fuagent.sources.mysql.source._HELD_FOR", 4)
    async with Proxy(database.server.port) as proxy:
        far = SimpleNamespace(url=lambda: f"mysql://127.0.0.1:{proxy.port}/{database.name}")
        async with following(far, "t") as gone, following(database, "t") as source:
            place = await standing(source)
            running = Running(gone, place)
            await running.idle()
            proxy.hold()
            session(database, "INSERT INTO t VALUES (1, 1)")
            with pytest.raises(TryAgainError, match="another reader works for sync suite") as refused:
                await gather(source, place)
            came = await until_let_in(source, place)
            await running.stop()

    assert "within a minute" in refused.value.fix
    assert ids(came) == [1]


@pytest.mark.fault("F17")
async def test_two_readers_under_one_number(database, monkeypatch):
    """The server ends the older one, which comes back under another: numbers are drawn for each connection."""
    async with following(database, "t") as older, following(database, "t", sync="b") as newer:
        place = await standing(older)
        with monkeypatch.context() as patched:
            patched.setattr("secrets.randbelow", lambda _most: 5)
            first = Running(older, place)
            await first.idle()
            second = Running(newer, place)
            await second.idle()
            error = await first.failed()
        session(database, "INSERT INTO t VALUES (1, 1)")
        again = await gather(older, place)
        session(database, "INSERT INTO t VALUES (2, 2)")
        await second.have(2)
        await second.stop()

    assert isinstance(error, TryAgainError)
    assert (ids(again), ids(second.rows)) == ([1], [1, 2])


async def until_let_in(source, place):
    """What comes as soon as no other reader is there."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await gather(source, place)
            except TryAgainError as error:
                assert "another reader" in error.what
                await asyncio.sleep(0.05)


@pytest.mark.fault("F17")
async def test_a_lock_lasts_as_long_as_its_reader(database, monkeypatch):
    """Longer than the server waits for a word, though nothing is read meanwhile; a reader that has lost it reads no more."""
    monkeypatch.setattr("fuagent.sources.mysql.source._HELD_FOR", 4)
    session(database, "ALTER TABLE t ADD c LONGTEXT")
    async with following(database, "t", chunk_rows=1) as source, following(database, "t") as second:
        place = await standing(source)
        session(database, "INSERT INTO t SELECT seq, 0, REPEAT('x', 500000) FROM seq_1_to_40")
        async with aclosing(source.stream(place)) as stream:
            read = [await anext(stream)]
            [(start,)] = database.execute(NOW)
            now = start
            while now < start + 8:
                with pytest.raises(TryAgainError, match="another reader") as refused:
                    await gather(second, place)
                [(now,)] = database.execute(NOW)
            database.execute(f"KILL {re.search(r'connection ([0-9]+)', refused.value.what)[1]}")
            while any("_hold" in str(task.get_coro()) for task in asyncio.all_tasks()):
                await asyncio.sleep(0.02)
            with pytest.raises(TryAgainError, match="keeps a second reader away"):
                read += [rows async for rows in stream]
        came = await gather(second, place)

    assert ids(read) == [1]
    assert ids(came) == [*range(1, 41)]


NOW = "SELECT UNIX_TIMESTAMP()"


async def test_syncs_of_like_names_both_read(database):
    """Names that are alike for longer than the name of a lock may be are two syncs."""
    alike = "orders" * 12
    async with (
        following(database, "t", sync=f"{alike}-a") as first,
        following(database, "t", sync=f"{alike}-b") as other,
    ):
        place = await standing(first)
        running = Running(first, place)
        await running.idle()
        session(database, "INSERT INTO t VALUES (1, 1)")

        assert ids(await gather(other, place)) == [1]
        await running.stop()


@pytest.mark.fault("F28")
async def test_a_password_that_was_changed_is_asked_for_again(database):
    """A reader that is connected goes on; a new one is tried again until the right one is known."""
    async with following(database, "t") as source:
        place = await standing(source)
        database.execute("ALTER USER fuagent IDENTIFIED BY 'another'")
        try:
            session(database, "INSERT INTO t VALUES (1, 1)")
            again = unopened(database, "t")
            with pytest.raises((TryAgainError, HaltSyncError)) as raised:
                await again.open()
            await again.close()
        finally:
            database.execute("ALTER USER fuagent IDENTIFIED BY 'fuagent-password'")

        assert not isinstance(raised.value, LostPlaceError)
        assert ids(await gather(source, place)) == [1]


@pytest.mark.fault("F16")
async def test_a_server_that_is_not_told_what_is_known(database, monkeypatch):
    """It would send comments in the place of events; these are never passed over."""
    told = dump._session
    monkeypatch.setattr(dump, "_session", lambda *args: [one for one in told(*args) if "capability" not in one])
    async with following(database, "t") as source:
        place = await standing(source)
        database.execute("INSERT INTO t VALUES (1, 1)")
        database.execute("CREATE TABLE u (id INT)")
        with pytest.raises(LostPlaceError, match="a comment in the place of an event"):
            await gather(source, place)
