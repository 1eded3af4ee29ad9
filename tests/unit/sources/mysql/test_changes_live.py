"""What sessions may do to a live server's log, and what becomes of it: images in part, statements, tables changed.

Every test reads on behind what it shows: a place that is lost goes on where the log does.
"""

import contextlib
from itertools import count

import pytest
from mysql_following import following, found, gather, left_out, pictured, session, standing

from fuagent.errors import HaltSyncError, LostPlaceError
from fuagent.model import Deletes
from harness.mariadb import MariaDB

LONG = "CREATE TABLE t (id INT PRIMARY KEY, a INT NOT NULL DEFAULT 5, b TEXT, c VARCHAR(9) DEFAULT 'c')"
_names = count(1)
SMALL = "CREATE TABLE t (id INT PRIMARY KEY, a INT)"


@pytest.fixture(scope="module")
def server(mariadb_template):
    """A server of its own: nobody else has to read over what is done to its log."""
    with MariaDB(mariadb_template) as started:
        yield started


@pytest.fixture
def database(server):
    """An empty database there."""
    made = server.database(f"shop_live_{next(_names)}")
    yield made
    server.execute(f"DROP DATABASE {made.name}")


async def changes(source, place):
    """All that came behind a place."""
    return found(await gather(source, place))


async def lost(source, place):
    """Why the place is lost behind it, what came before, and what comes behind."""
    before = []

    async def read(end):
        async for rows in source.stream(place, end):
            before.extend(found([rows]))

    with pytest.raises(LostPlaceError) as raised:
        await read((await source.head(place)).position)
    assert raised.value.place is not None
    return raised.value.what, before, await changes(source, raised.value.place)


# ------------------------------------------------------------------ images in part


@pytest.mark.fault("F08")
@pytest.mark.parametrize("image", ["MINIMAL", "NOBLOB"])
async def test_rows_in_part_are_completed(database, image):
    """Columns that the images leave out come from the image before, or from the row as it is now; never as null."""
    database.execute(LONG)
    database.execute("INSERT INTO t VALUES (1, 1, 'one', 'x'), (2, 2, 'two', 'y')")
    async with following(database, "t", chunk_rows=2) as source:
        place = await standing(source)
        session(
            database,
            f"SET SESSION binlog_row_image = {image}",
            "INSERT INTO t (id) VALUES (3)",
            "UPDATE t SET a = a + 10 WHERE id < 3",
            "UPDATE t SET id = 4 WHERE id = 3",
            "DELETE FROM t WHERE id = 1",
        )
        rows = await gather(source, place)

    sent = [row for _, row in found(rows)]
    assert {"id": 2, "a": 12, "b": "two", "c": "y"} in sent
    assert {"id": 4, "a": 5, "b": None, "c": "c"} in sent
    assert {row["id"] for row in sent} <= {2, 4} if image == "MINIMAL" else {1, 2, 3, 4}
    assert all(row.keys() == {"id", "a", "b", "c"} and row["c"] for row in sent)
    assert len(sent) + left_out(rows) == 6  # two inserts, four updates of which one has a new key, and a delete
    numbers = [number for one in rows for number in one.indexes]
    assert numbers == sorted(set(numbers))


@pytest.mark.fault("F08")
async def test_a_delete_in_part_is_marked_by_its_key(database):
    """The key is enough to say that a row is gone."""
    database.execute(LONG)
    database.execute("INSERT INTO t VALUES (1, 1, 'one', 'x')")
    async with following(database, "t", deletes=Deletes.MARK) as source:
        place = await standing(source)
        session(database, "SET SESSION binlog_row_image = MINIMAL", "DELETE FROM t WHERE id = 1")

        assert await changes(source, place) == [("t", {"id": 1, "_deleted": True})]


@pytest.mark.parametrize(("old", "new"), [("'a'", "'A'"), ("'é'", "'E '")])
async def test_a_key_in_part_stays_the_one_it_was(database, old, new):
    """A row that is read again has by now another spelling of its key: no key changed before the log says so."""
    database.execute("CREATE TABLE t (k VARCHAR(9) PRIMARY KEY, n INT, b INT DEFAULT 1)")
    database.execute(f"INSERT INTO t VALUES ({old}, 1, 1)")
    async with following(database, "t", deletes=Deletes.MARK) as source:
        place = await standing(source)
        session(
            database,
            "SET SESSION binlog_row_image = MINIMAL",
            "UPDATE t SET n = 2",
            f"UPDATE t SET k = {new}",
        )
        rows = [(row["k"], row["_deleted"]) for _, row in await changes(source, place)]

    assert rows == [(old[1:-1], False), (old[1:-1], True), (new[1:-1], False)]


async def test_rows_in_part_without_a_key(database):
    """Images before the change hold all columns then."""
    database.execute("CREATE TABLE t (a INT, b INT DEFAULT 3)")
    database.execute("INSERT INTO t VALUES (1, 2)")
    async with following(database, "t") as source:
        place = await standing(source)
        session(
            database,
            "SET SESSION binlog_row_image = MINIMAL",
            "UPDATE t SET a = 9",
            "DELETE FROM t",
            "INSERT INTO t (a) VALUES (4)",
        )
        rows = [row for _, row in await changes(source, place)]

    assert rows == [{"a": 9, "b": 2}, {"a": 9, "b": 2}, {"a": 4, "b": 3}]


@pytest.mark.fault("F08")
async def test_rows_in_part_that_nothing_finds_again_stop_the_sync(database):
    """The server tells its rows apart by another key than the one that the sync knows them by."""
    database.execute("CREATE TABLE t (a INT NOT NULL, b INT NOT NULL, c INT, UNIQUE z (a), UNIQUE y (b))")
    database.execute("INSERT INTO t VALUES (1, 2, 3)")
    async with following(database, "t") as source:
        place = await standing(source)
        session(database, "SET SESSION binlog_row_image = MINIMAL", "UPDATE t SET c = 4")

        with pytest.raises(HaltSyncError, match="lack columns in the log and have no key"):
            await changes(source, place)


@pytest.mark.fault("F08")
async def test_rows_in_part_of_a_table_that_is_gone(database):
    """The table cannot be asked any more: it stops before anything is made up."""
    database.execute(LONG)
    async with following(database, "t") as source:
        place = await standing(source)
        session(database, "SET SESSION binlog_row_image = MINIMAL", "INSERT INTO t (id) VALUES (3)", "DROP TABLE t")

        with pytest.raises(HaltSyncError, match="a table is not there any more"):
            await changes(source, place)


@pytest.mark.parametrize("known", [False, True])
async def test_rows_in_part_of_other_types_by_now_are_not_read_again(database, known):
    """A number that is text by now would be written as it stands; it stops, whether the table was met before or not."""
    database.execute("CREATE TABLE t (id INT PRIMARY KEY, a INT, b TEXT)")
    database.execute("INSERT INTO t VALUES (1, 2, 'x')")
    async with following(database, "t") as source:
        place = await standing(source)
        session(
            database,
            *(["UPDATE t SET a = 3"] if known else []),
            "SET SESSION binlog_row_image = MINIMAL",
            "UPDATE t SET b = 'y'",
            "ALTER TABLE t MODIFY a TEXT",
            "UPDATE t SET a = 'q\"c'",
        )

        with pytest.raises(HaltSyncError, match="lack columns in the binlog"):
            await changes(source, place)


# ------------------------------------------------------------------ statements


@pytest.mark.fault("F09")
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO t VALUES (2, 2)",
        "REPLACE INTO t VALUES (1, 2)",
        "UPDATE t SET a = 7 WHERE id = 1",
        "DELETE FROM t WHERE id = 1",
        "UPDATE other, t SET t.a = 5 WHERE t.id = other.id + 1",
    ],
)
async def test_a_change_logged_as_a_statement_is_lost(database, statement):
    """Nobody knows which rows it changed; where it cannot have been ours, it is nothing."""
    database.execute(SMALL)
    database.execute("CREATE TABLE other (id INT PRIMARY KEY)")
    database.execute("INSERT INTO t VALUES (1, 1)")
    database.execute("INSERT INTO other VALUES (0)")
    async with following(database, "t") as source:
        place = await standing(source)
        database.execute("INSERT INTO t VALUES (10, 10)")
        session(database, "SET SESSION binlog_format = STATEMENT", statement)
        database.execute("INSERT INTO t VALUES (11, 11)")
        what, before, behind = await lost(source, place)

    assert "binlog holds a change as a statement" in what
    assert before == [("t", {"id": 10, "a": 10})]
    assert behind == [("t", {"id": 11, "a": 11})]


@pytest.mark.fault("F09")
async def test_a_statement_about_another_table_is_passed_over(database):
    """A table that is not ours may be changed in any way."""
    database.execute(SMALL)
    database.execute("CREATE TABLE other (id INT PRIMARY KEY)")
    async with following(database, "t") as source:
        place = await standing(source)
        session(
            database,
            "SET SESSION binlog_format = STATEMENT",
            "INSERT INTO other VALUES (1)",
            "UPDATE other SET id = 2",
            "DELETE FROM other",
            "INSERT INTO other VALUES ((SELECT COUNT(*) FROM t) + 10)",
            "TRUNCATE other",
            "ALTER TABLE other ADD x INT",
            "RENAME TABLE other TO another",
            "DROP TABLE another",
        )
        database.execute("INSERT INTO t VALUES (1, 1)")

        assert await changes(source, place) == [("t", {"id": 1, "a": 1})]


@pytest.mark.fault("F23")
@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("TRUNCATE TABLE t", "emptied"),
        ("TRUNCATE `t` /* all of it */", "emptied"),
        ("CREATE OR REPLACE TABLE t (id INT PRIMARY KEY, a INT)", "came or went|dropped|replaced"),
        ("CREATE OR REPLACE TABLE t AS SELECT 5 AS id, 6 AS a", "came or went|dropped|replaced"),
        ("ALTER TABLE t TRUNCATE PARTITION p0", "came or went"),
        ("ALTER TABLE t DROP PARTITION p0", "came or went"),
        ("ALTER TABLE t EXCHANGE PARTITION p0 WITH TABLE plain", "came or went"),
        ("ALTER TABLE t CONVERT PARTITION p0 TO TABLE taken", "came or went"),
        ("RENAME TABLE t TO gone, plain TO t, gone TO plain", ""),
    ],
)
async def test_rows_that_go_without_an_event_are_lost(database, statement, why):
    """Emptied, replaced, or taken away in partitions; a table under the same name is followed on."""
    parts = "PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN MAXVALUE)"
    database.execute(f"CREATE TABLE t (id INT PRIMARY KEY, a INT) {parts}")
    database.execute("CREATE TABLE plain (id INT PRIMARY KEY, a INT)")
    async with following(database, "t") as source:
        place = await standing(source)
        database.execute("INSERT INTO t VALUES (1, 1)")
        database.execute(statement)
        database.execute("INSERT INTO t VALUES (20, 20)")
        if not why:
            assert await changes(source, place) == [("t", {"id": 1, "a": 1}), ("t", {"id": 20, "a": 20})]
            return
        what, before, behind = await lost(source, place)

    assert any(word in what for word in why.split("|"))
    assert before == [("t", {"id": 1, "a": 1})]
    assert ("t", {"id": 20, "a": 20}) in behind


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE t ADD PARTITION (PARTITION p2 VALUES LESS THAN (30))",
        "ALTER TABLE t REORGANIZE PARTITION p0, p1 INTO (PARTITION p VALUES LESS THAN (20))",
        "ALTER TABLE t REBUILD PARTITION p0",
        "ALTER TABLE t REMOVE PARTITIONING",
        "ALTER TABLE t ENGINE = Aria TRANSACTIONAL = 1",
        "ALTER TABLE t FORCE, ALGORITHM = COPY",
        "CREATE INDEX more ON t (a)",
        "OPTIMIZE TABLE t",
        "ANALYZE TABLE t",
    ],
)
async def test_tables_altered_without_harm_are_followed(database, statement):
    """Rows are where they were."""
    parts = "PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20))"
    database.execute(f"{SMALL} {parts}")
    async with following(database, "t") as source:
        place = await standing(source)
        database.execute("INSERT INTO t VALUES (1, 1)")
        database.execute(statement.replace(" TRANSACTIONAL = 1", ""))
        database.execute("INSERT INTO t VALUES (2, 2)")

        assert await changes(source, place) == [("t", {"id": 1, "a": 1}), ("t", {"id": 2, "a": 2})]


@pytest.mark.fault("F23")
@pytest.mark.parametrize(
    "statement", ["DROP TABLE t", "RENAME TABLE t TO u", "ALTER TABLE t RENAME TO u", "DROP DATABASE {}"]
)
async def test_a_table_that_goes_away_is_lost(database, statement):
    """With all that was written before; and the other tables go on."""
    more = database.server.database(f"{database.name}_more")
    more.execute(SMALL)
    database.execute("CREATE TABLE stays (id INT PRIMARY KEY)")
    async with following(database, "stays", f"{more.name}.t") as source:
        place = await standing(source)
        more.execute("INSERT INTO t VALUES (1, 1)")
        more.execute(statement.format(more.name))
        database.execute("INSERT INTO stays VALUES (1)")
        what, before, behind = await lost(source, place)
    with contextlib.suppress(Exception):
        database.server.execute(f"DROP DATABASE {more.name}")

    assert "dropped" in what or "renamed" in what
    assert before == [(f"{more.name}.t", {"id": 1, "a": 1})]
    assert behind == [("stays", {"id": 1})]


# ------------------------------------------------------------------ tables changed


@pytest.mark.fault("F23")
async def test_a_table_exchanged_for_another_is_followed_by_its_name(database):
    """As gh-ost and pt-online-schema-change do it; rows from before the swap come as they were."""
    warned = []
    database.execute(SMALL)
    database.execute("INSERT INTO t VALUES (1, 1)")
    async with following(database, "t", warn=warned.append) as source:
        place = await standing(source)
        database.execute("CREATE TABLE _t_gho LIKE t")
        database.execute("ALTER TABLE _t_gho ADD n VARCHAR(9) NOT NULL DEFAULT 'n' FIRST")
        database.execute("INSERT INTO _t_gho (id, a) SELECT id, a FROM t")
        database.execute("UPDATE t SET a = 2")
        database.execute("REPLACE INTO _t_gho (id, a) SELECT id, a FROM t")
        database.execute("RENAME TABLE t TO _t_del, _t_gho TO t")
        database.execute("INSERT INTO t (id, a) VALUES (2, 2)")
        database.execute("DROP TABLE _t_del")
        rows = await gather(source, place)

    assert found(rows) == [("t", {"id": 1, "a": 2}), ("t", {"n": "n", "id": 2, "a": 2})]
    versions = [one.version for one in rows if one.rows]
    assert versions == sorted(set(versions))
    assert ["another table has taken the name of t" in one.what for one in warned] == [True]


@pytest.mark.fault("F07")
async def test_rows_from_before_an_alter_are_read_as_they_were(database):
    """Columns added, dropped, renamed, moved and of another type, all before the first row is read."""
    database.execute("CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(9) CHARACTER SET latin1, e ENUM('x', 'y'))")
    async with following(database, "t") as source:
        place = await standing(source)
        database.execute("INSERT INTO t VALUES (1, 1, 'é', 'y')")
        database.execute("ALTER TABLE t ADD c DATETIME DEFAULT '2024-02-29', ALGORITHM = INSTANT")
        database.execute("INSERT INTO t VALUES (2, 2, 'ü', 'x', NULL)")
        database.execute("ALTER TABLE t DROP b")
        database.execute("INSERT INTO t VALUES (3, 3, 'x', NULL)")
        database.execute("ALTER TABLE t RENAME COLUMN a TO z, MODIFY e ENUM('w', 'x', 'y')")
        database.execute("INSERT INTO t VALUES (4, 4, 'w', NULL)")
        database.execute("ALTER TABLE t MODIFY z VARCHAR(9) AFTER c, ADD b BLOB")
        database.execute("INSERT INTO t VALUES (5, 'w', NULL, '5', 'b')")
        rows = await gather(source, place)

    assert found(rows) == [
        ("t", {"id": 1, "a": 1, "b": "é", "e": "y"}),
        ("t", {"id": 2, "a": 2, "b": "ü", "e": "x", "c": None}),
        ("t", {"id": 3, "a": 3, "e": "x", "c": None}),
        ("t", {"id": 4, "z": 4, "e": "w", "c": None}),
        ("t", {"id": 5, "e": "w", "c": None, "z": "5", "b": "Yg=="}),
    ]
    assert [one.version for one in rows if one.rows] == [1, 2, 3, 4, 5]


async def test_times_in_the_old_format_of_mariadb(server, database):
    """Are read where they have no fraction; with one the sync stops, for their width is not told."""
    server.execute("SET GLOBAL mysql56_temporal_format = OFF")
    try:
        database.execute("CREATE TABLE t (id INT PRIMARY KEY, a DATETIME, b TIME, c TIMESTAMP NULL)")
        database.execute("CREATE TABLE u (id INT PRIMARY KEY, a DATETIME(3))")
    finally:
        server.execute("SET GLOBAL mysql56_temporal_format = ON")
    async with following(database, "t", "u") as source:
        place = await standing(source)
        database.execute("INSERT INTO t VALUES (1, '2020-02-03 04:05:06', '-12:13:14', '2021-02-03 04:05:06')")
        assert await changes(source, place) == [
            ("t", {"id": 1, "a": "2020-02-03T04:05:06", "b": "-12:13:14", "c": "2021-02-03T04:05:06Z"})
        ]
        database.execute("INSERT INTO u VALUES (1, '2020-02-03 04:05:06.789')")
        with pytest.raises(HaltSyncError, match="with a fraction is kept in an old format") as raised:
            await changes(source, place)

    assert "FORCE" in raised.value.fix


@pytest.mark.fault("F11")
async def test_a_changed_key_is_two_events_and_cascades_are_the_parents_alone(database):
    """What the server does to children by itself is in no log: check says so."""
    database.execute(SMALL)
    database.execute("CREATE TABLE k (a INT NOT NULL UNIQUE, b INT)")
    child = "FOREIGN KEY (t) REFERENCES t (id) ON DELETE CASCADE ON UPDATE CASCADE"
    database.execute(f"CREATE TABLE child (id INT PRIMARY KEY, t INT, {child})")
    database.execute("INSERT INTO t VALUES (1, 1), (2, 2)")
    database.execute("INSERT INTO child VALUES (1, 1), (2, 2)")
    database.execute("INSERT INTO k VALUES (1, 1)")
    async with following(database, "t", "k", "child", deletes=Deletes.MARK) as source:
        said = [one.what for one in await source.check()]
        place = await standing(source)
        database.execute("UPDATE t SET id = 3 WHERE id = 1")
        database.execute("DELETE FROM t WHERE id = 2")
        database.execute("UPDATE k SET a = 2")

        assert [(table, row.pop("_deleted"), row) for table, row in await changes(source, place)] == [
            ("t", True, {"id": 1, "a": 1}),
            ("t", False, {"id": 3, "a": 1}),
            ("t", True, {"id": 2, "a": 2}),
            ("k", True, {"a": 1, "b": 1}),
            ("k", False, {"a": 2, "b": 1}),
        ]
    assert any("child" in what and "foreign key" in what for what in said)


# ------------------------------------------------------------------ names


@pytest.mark.parametrize("name", ["we`ird", 'it\'s "q"', "a.b", "日本 語", "index", "per%cent", "back\\slash", "Σ"])
@pytest.mark.fault("S25")
async def test_any_name_is_followed(database, name):
    """In rows, in statements, as a table's name and as a column's; whatever quotes it takes."""
    quoted = f"`{name.replace('`', '``')}`"
    ansi = '"{}"'.format(name.replace('"', '""'))
    column = quoted if name != "index" else "`order`"
    database.execute(f"CREATE TABLE {quoted} (id INT PRIMARY KEY, {column} INT)")
    async with following(database, name) as source:
        place = await standing(source)
        database.execute(f"INSERT INTO {quoted} VALUES (1, 2)")
        database.execute(f"UPDATE {quoted} SET {column} = 3")
        session(database, "SET SESSION binlog_row_image = MINIMAL", f"UPDATE {quoted} SET {column} = 4")
        session(database, "SET SESSION sql_mode = ANSI_QUOTES", f"TRUNCATE TABLE {ansi}")
        database.execute(f"INSERT INTO {quoted} VALUES (5, 5)")
        picture = await pictured(source)
        what, before, behind = await lost(source, place)

    key = column[1:-1].replace("``", "`")
    assert "emptied" in what
    assert before == [(name, {"id": 1, key: value}) for value in (2, 3, 4)]
    assert behind == found(picture.rows) == [(name, {"id": 5, key: 5})]


async def test_tables_of_other_databases_are_followed(database):
    """By schema.table; statements that name none of it mean the session's own database."""
    other = database.server.database(f"{database.name}_other")
    database.execute(SMALL)
    other.execute(SMALL)
    async with following(database, f"{other.name}.t") as source:
        place = await standing(source)
        database.execute("INSERT INTO t VALUES (1, 1)")
        database.execute(f"INSERT INTO {other.name}.t VALUES (2, 2)")
        database.execute("TRUNCATE t")
        other.execute("INSERT INTO t VALUES (3, 3)")
        other.execute("TRUNCATE t")
        what, before, _ = await lost(source, place)
    database.server.execute(f"DROP DATABASE {other.name}")

    label = f"{other.name}.t"
    assert f"{label} was emptied" in what
    assert before == [(label, {"id": 2, "a": 2}), (label, {"id": 3, "a": 3})]
