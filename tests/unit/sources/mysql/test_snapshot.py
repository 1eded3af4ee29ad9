"""Snapshots: one picture of all tables, and the very place in the log it shows."""

import asyncio
from dataclasses import replace

import pytest
from mysql_links import address, as_root, layouts_of, scripted

from fuagent.errors import HaltSyncError, TryAgainError
from fuagent.model import Level
from fuagent.sources.mysql import snapshot
from fuagent.sources.mysql.columns import pieces
from fuagent.sources.mysql.server import server as facts
from fuagent.sources.picture import total
from harness.mysql_wire import Error, Ok

LIKE_MYSQL = {"mariadb": False, "version": (8, 0, 36)}
"""MariaDB takes MySQL 8's statements as well: read the way MySQL is read, it has to give the same."""


async def rows_of(picture, chunk=1000):
    """All rows by table."""
    found = {}
    async for layout, rows in picture.rows(chunk):
        found.setdefault(layout.table.label, []).extend(pieces(layout.columns, rows))
    return found


@pytest.fixture
async def take(opened):
    """Takes pictures that are closed at the end, whatever happens."""
    taken = []

    async def made(*args):
        taken.append(await snapshot.take(*args))
        return taken[-1]

    yield made
    for picture in taken:
        await picture.close()


@pytest.fixture
async def shop(opened, database):
    """Two tables with rows, and an account that may lock them."""
    root = await opened(as_root(database))
    await root.rows("CREATE TABLE a (id INT PRIMARY KEY, at DATETIME)")
    await root.rows("CREATE TABLE b (id INT PRIMARY KEY)")
    await root.rows("INSERT INTO a SELECT seq, '2024-02-29 01:02:03' FROM seq_1_to_2500")
    await root.rows("INSERT INTO b VALUES (1)")
    return root


@pytest.fixture(params=["REPEATABLE READ", "READ COMMITTED"])
async def isolation(request, shop):
    """How far transactions are kept apart where a session does not say it."""
    await shop.rows(f"SET GLOBAL TRANSACTION ISOLATION LEVEL {request.param}")
    yield
    await shop.rows("SET GLOBAL TRANSACTION ISOLATION LEVEL REPEATABLE READ")


@pytest.mark.usefixtures("isolation")
@pytest.mark.parametrize("changes", [{}, LIKE_MYSQL], ids=["mariadb", "mysql"])
async def test_a_picture_and_its_place_belong_together(take, shop, opened, database, changes):
    """What is committed later is in neither; the place is where the log ended. The server's own isolation is no matter."""
    link = await opened(address(database))
    server = replace(await facts(link), **changes)
    tables = await layouts_of(link, database.name, "a", "b")
    before = database.server.position()
    picture = await take(as_root(database), server, tables)
    await shop.rows("INSERT INTO b VALUES (2)")
    await shop.rows("DELETE FROM a")
    found = await rows_of(picture)
    await picture.close()
    await picture.close()

    assert (picture.file, picture.position) == (before.file, before.offset)
    assert picture.gtid == ("" if changes else before.gtid)
    assert found["a"] == [(b"%d" % n, b"2024-02-29T01:02:03") for n in range(1, 2501)]
    assert found["b"] == [(b"1",)]
    assert total(picture.layouts) is not None


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, LIKE_MYSQL], ids=["mariadb", "mysql"])
async def test_pictures_hold_under_writers(take, shop, opened, database, changes):
    """Each transaction writes both tables and its own number: a picture shows whole ones, and the log up to there."""
    link = await opened(address(database))
    server = replace(await facts(link), **changes)
    tables = await layouts_of(link, database.name, "a", "b")
    await shop.rows("DELETE FROM a")
    await shop.rows("DELETE FROM b")
    done = asyncio.Event()

    async def write(first):
        writer = await opened(as_root(database))
        number = first
        while not done.is_set():
            await writer.rows("BEGIN")
            await writer.rows(f"INSERT INTO a VALUES ({number}, NULL)")
            await writer.rows(f"INSERT INTO b VALUES ({number})")
            await writer.rows("COMMIT")
            number += 1

    writers = [asyncio.create_task(write(first)) for first in (1_000_000, 2_000_000, 3_000_000)]
    seen = []
    for _ in range(10):
        picture = await take(as_root(database), server, tables)
        found = await rows_of(picture)
        seen.append((picture.file, picture.position, found.get("a", []), found.get("b", [])))
        await picture.close()
    done.set()
    await asyncio.gather(*writers)

    for file, position, a, b in seen:
        assert [n for n, _ in a] == [n for (n,) in b]
        logged = await shop.rows(f"SHOW BINLOG EVENTS IN '{file}'")
        after = sum(1 for row in logged if row[1] >= position and row[2] == "Xid")
        assert len(a) + after == await count(shop, "a")


async def count(link, table):
    """How many rows a table has."""
    [number] = await link.one(f"SELECT COUNT(*) FROM {table}")
    return number


async def test_a_table_without_transactions_is_locked(take, shop, opened, database):
    """Until its rows are read, and this is said."""
    await shop.rows("ALTER TABLE b ENGINE = MyISAM")
    link = await opened(address(database))
    server, tables = await facts(link), await layouts_of(link, database.name, "*")
    said = []
    picture = await take(as_root(database), server, tables, said.append)
    await shop.rows("SET SESSION lock_wait_timeout = 1")
    with pytest.raises(TryAgainError, match="lock"):
        await shop.rows("INSERT INTO b VALUES (2)")
    await shop.rows("SET SESSION lock_wait_timeout = 60")
    await shop.rows("INSERT INTO a VALUES (0, NULL)")
    found = await rows_of(picture)
    await picture.close()
    await shop.rows("INSERT INTO b VALUES (2)")

    assert [(one.level, "b wait" in one.what) for one in said] == [(Level.WARNING, True)]
    assert found["b"] == [(b"1",)]


async def test_an_account_that_may_not_lock_is_said(take, shop, opened, database):
    """With what to grant; nothing is left open."""
    await shop.rows("ALTER TABLE b ENGINE = MyISAM")
    link = await opened(address(database))
    server, tables = await facts(link), await layouts_of(link, database.name, "*")
    with pytest.raises(HaltSyncError, match="lock b, because") as caught:
        await take(address(database), server, tables)
    with pytest.raises(HaltSyncError, match="lock a, because"):
        await take(address(database), replace(server, **LIKE_MYSQL), tables[:1])

    assert "GRANT LOCK TABLES" in caught.value.fix


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE a ADD COLUMN c INT, ALGORITHM = INSTANT",
        "ALTER TABLE a MODIFY at DATETIME(3)",
        "TRUNCATE a",
        "ALTER TABLE a DROP PRIMARY KEY",
    ],
)
async def test_a_table_changed_under_the_picture_is_noticed(take, shop, opened, database, change):
    """Before its rows were read, whether or not the server minds."""
    link = await opened(address(database))
    picture = await take(address(database), await facts(link), await layouts_of(link, database.name, "a"))
    await shop.rows(change)
    with pytest.raises(TryAgainError, match=r"altered|definition changed"):
        await rows_of(picture)
    await picture.close()


async def test_a_table_that_was_read_may_be_altered(take, shop, opened, database):
    """Nobody waits for the tables that come after it; on MariaDB the account needs BINLOG ADMIN for that."""
    await shop.rows("SET SESSION lock_wait_timeout = 20")
    link = await opened(address(database))
    tables = await layouts_of(link, database.name, "b", "a")
    picture = await take(as_root(database), await facts(link), tables)
    seen = []
    async for layout, rows in picture.rows(10):
        if not seen and layout.table.name == "a":
            await shop.rows("ALTER TABLE b ADD COLUMN c INT")
        seen += rows if layout.table.name == "a" else []
    await picture.close()

    assert len(seen) == 2500


@pytest.mark.fault("F105")
async def test_a_picture_left_in_the_middle_holds_nothing(take, shop, opened, database):
    """Closing ends the transaction at once, and no session stays, once the server has seen that they were closed."""
    link = await opened(address(database))
    picture = await take(as_root(database), await facts(link), await layouts_of(link, database.name, "a"))
    numbers = [(await one.one("SELECT CONNECTION_ID()"))[0] for one in (picture.link, picture.beside)]
    rows = picture.rows(1)
    await anext(rows)
    await picture.close()
    await rows.aclose()
    await shop.rows("ALTER TABLE a ADD COLUMN c INT")
    there = f"SELECT 1 FROM information_schema.PROCESSLIST WHERE ID IN {tuple(numbers)}"
    async with asyncio.timeout(30):
        while left := await shop.rows(there):
            await asyncio.sleep(0.02)

    assert left == []


async def test_a_server_without_a_log_is_said(take, opened, private_mariadb):
    """There would be nothing to go on from."""
    server = private_mariadb(log_bin=None, log_slave_updates=None)
    where = as_root(server.database())
    server.execute("CREATE TABLE t (id INT PRIMARY KEY)")
    link = await opened(where)
    tables, found = await layouts_of(link, "shop", "t"), await facts(link)
    for asked in (found, replace(found, **LIKE_MYSQL)):
        with pytest.raises(HaltSyncError, match="writes no binlog"):
            await take(where, asked, tables)


async def test_mysql_tells_its_gtids(take, scripting, opened, database, shop):
    """The lock is taken, the transaction begun, the place asked for, the lock let go; in this order."""
    link = await opened(address(database))
    server = replace(await facts(link), mariadb=False, version=(8, 4, 0))
    tables = await layouts_of(link, database.name, "a")
    mysql = await scripting()
    mysql.answer("FLUSH TABLES WITH READ LOCK|UNLOCK TABLES|LOCK TABLES.*", Ok())
    columns = ["File", "Position", "Binlog_Do_DB", "Binlog_Ignore_DB", "Executed_Gtid_Set"]
    mysql.rows("SHOW BINARY LOG STATUS", columns, ("binlog.000007", 157, "", "", "u:1-5,\nv:1"))
    said = []
    picture = await take(scripted(mysql), server, tables, said.append)
    await picture.close()
    mysql.answer("FLUSH TABLES WITH READ LOCK", Error(1227, "Access denied; you need RELOAD"))
    again = await take(scripted(mysql), server, tables, said.append)
    await again.close()

    assert (picture.file, picture.position, picture.gtid) == ("binlog.000007", 157, "u:1-5,v:1")
    assert [one.what.partition(" wait")[0] for one in said] == ["writers of a"]
    beside = [one for one in mysql.sessions[3].statements if "LOCK" in one or "STATUS" in one]
    assert beside == [
        "FLUSH TABLES WITH READ LOCK",
        f"LOCK TABLES `{database.name}`.`a` READ",
        "SHOW BINARY LOG STATUS",
        "UNLOCK TABLES",
    ]
    assert "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY" in mysql.sessions[0].statements


async def test_a_picture_says_how_many_rows_there_may_be(shop, opened, database):
    """A table whose number is unknown makes the sum unknown."""
    link = await opened(address(database))
    tables = await layouts_of(link, database.name, "a")

    assert total(tables) is not None
    assert total([*tables, replace(tables[0], estimate=None)]) is None
