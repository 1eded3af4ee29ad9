"""Transactions as they really come: large, nested, rolled back, interleaved; tables with odd names, types and partitions that change."""

import os
from contextlib import aclosing

import psutil
import psycopg
import pytest
from postgres_following import following, gather, pictured, plain, prepared, session, standing, stored, unopened

from fuagent.errors import HaltSyncError, LostPlaceError, TryAgainError
from fuagent.model import Anchor, Deletes
from fuagent.sources.postgres.columns import quote
from harness.postgres import USER, since


def ids(rows):
    """The keys of what came."""
    return [row["id"] for row in plain(rows)]


def table(database, name="t", columns="id int PRIMARY KEY, v text"):
    """A table of the sync's."""
    database.create(name, columns)
    return database


# ------------------------------------------------------------------ snapshots


@pytest.mark.parametrize(
    "statement", ["TRUNCATE t", "ALTER TABLE t ALTER v TYPE text USING upper(v)", "ALTER TABLE t ADD w int"]
)
async def test_a_table_that_is_altered_under_its_snapshot(postgres_database, statement):
    """The snapshot begins anew: what is written anew is empty to an older picture, and no log tells of its rows."""
    database = table(postgres_database)
    database.execute("INSERT INTO t VALUES (1, 'a')")
    async with following(database, "t") as source, await source.snapshot(["t"]) as run:
        database.execute(statement)
        with pytest.raises(TryAgainError, match="table t was altered while its snapshot was read"):
            async for _ in run.rows():
                pass


# ------------------------------------------------------------------ transactions


@pytest.mark.fault("F46")
@since(13)
async def test_a_large_transaction_takes_no_memory(private_postgres):
    """The server spills it to its disk; here only what is in hand is held, however slowly it is taken."""
    database = table(private_postgres(logical_decoding_work_mem="64kB").database())
    own = psutil.Process(os.getpid())
    async with following(database, "t") as source:
        place = await standing(source)
        session(database, "INSERT INTO t SELECT n, repeat('x', 2000) FROM generate_series(1, 30000) n")
        [(spilled,)] = database.execute("SELECT pg_current_wal_lsn() - pg_lsn '0/0'")
        count, most, held = 0, 0, 0
        start = own.memory_info().rss
        async with aclosing(source.stream(place, (await source.head(place)).position)) as stream:
            async for rows in stream:
                count += len(rows.rows)
                most = max(most, len(rows.rows))
                held = max(held, own.memory_info().rss - start)

    assert count == 30000
    assert spilled > 60_000_000
    assert most <= 1000
    assert held < 25_000_000


@pytest.mark.fault("F47")
async def test_only_what_is_committed_comes(postgres_database):
    """Of subtransactions, rolled back and kept, nested and of procedures' own blocks; in the order it was written."""
    database = table(postgres_database)
    async with following(database, "t") as source:
        place = await standing(source)
        with database.connect(autocommit=False) as one:
            for statement in (
                "INSERT INTO t VALUES (1)",
                "SAVEPOINT a",
                "INSERT INTO t VALUES (2)",
                "SAVEPOINT b",
                "INSERT INTO t VALUES (3)",
                "ROLLBACK TO b",
                "INSERT INTO t VALUES (4)",
                "RELEASE a",
                "SAVEPOINT c",
                "INSERT INTO t VALUES (5)",
                "UPDATE t SET v = 'gone' WHERE id = 1",
                "ROLLBACK TO c",
                "DO $$ BEGIN INSERT INTO t VALUES (6); RAISE 'x'; EXCEPTION WHEN OTHERS THEN INSERT INTO t VALUES (7); END $$",
            ):
                one.execute(statement)
            one.commit()
        session(database, "INSERT INTO t SELECT n FROM generate_series(100, 5000) n", "ROLLBACK")
        session(database, "INSERT INTO t VALUES (8)")
        found = plain(await gather(source, place))

    assert [row["id"] for row in found] == [1, 2, 4, 7, 8]
    assert all(row["v"] is None for row in found)


@pytest.mark.fault("F44")
async def test_a_stream_goes_on_in_the_middle_of_interleaved_transactions(postgres_database):
    """The first row written is the last to be committed: behind every number the rest comes, by the order of commits."""
    database = table(postgres_database)
    async with following(database, "t", chunk_rows=2) as source:
        place = await standing(source)
        with database.connect(autocommit=False) as one, database.connect(autocommit=False) as two:
            for key in (1, 2, 3):
                one.execute("INSERT INTO t VALUES (%s)", (key,))
                two.execute("INSERT INTO t VALUES (%s)", (10 + key,))
            two.commit()
            one.commit()
        rows = await gather(source, place)
        numbers = [number for part in rows for number in part.indexes]
        anchors = [Anchor(place.previous, place)]
        rest = [ids(await gather(source, await source.locate(anchors, number))) for number in numbers]
        with pytest.raises(LostPlaceError, match="falls between two changes"):
            await source.locate(anchors, numbers[3] - 1)

    wanted = [11, 12, 13, 1, 2, 3]
    assert ids(rows) == wanted
    assert rest == [wanted[place:] for place in range(1, 7)]


# ------------------------------------------------------------------ definitions


@pytest.mark.fault("F50")
async def test_types_that_change_in_mid_stream(postgres_database):
    """Labels are added and renamed, a type is dropped with its column: values read as they were written, or as they are called now."""
    database = postgres_database
    database.execute("CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TYPE brief AS (a int, b text)")
    table(database, columns="id int PRIMARY KEY, m mood, c brief")
    async with following(database, "t") as source:
        place = await standing(source)
        session(database, "INSERT INTO t VALUES (1, 'sad', '(1,x)')")
        database.execute("ALTER TYPE mood ADD VALUE 'so-so' BEFORE 'glad'")
        session(database, "INSERT INTO t VALUES (2, 'so-so', '(2,y)')")
        database.execute("ALTER TYPE mood RENAME VALUE 'glad' TO 'merry'")
        session(database, "INSERT INTO t VALUES (3, 'merry', NULL)")
        database.execute("DROP TYPE brief CASCADE")
        session(database, "INSERT INTO t VALUES (4, 'merry')")
        database.execute("ALTER TABLE t ALTER m TYPE text")
        session(database, "INSERT INTO t VALUES (5, 'whatever')")
        found = plain(await gather(source, place))
        await prepared(source)
        again = [row["m"] for row in stored(await pictured(source))]

    assert [row["m"] for row in found] == ["sad", "so-so", "merry", "merry", "whatever"]
    assert [row.get("c", "none") for row in found] == ["(1,x)", "(2,y)", None, "none", "none"]
    assert again == [row["m"] for row in found]


async def test_a_snapshot_of_a_table_that_has_lost_a_column_begins_again(postgres_database):
    """The sync knew it otherwise; it looks at it anew, and needs nobody for that."""
    database = table(postgres_database)
    database.execute("INSERT INTO t VALUES (1, 'x')")
    async with following(database, "t") as source:
        database.execute("ALTER TABLE t DROP v, ADD w int DEFAULT 7")
        async with await source.snapshot(["t"]) as run:
            with pytest.raises(TryAgainError, match="column is not there any more"):
                await anext(run.rows())
        await prepared(source)
        found = stored(await pictured(source))

    assert found == [{"id": 1, "w": 7}]


@pytest.mark.fault("F48")
async def test_generated_columns_are_in_neither(postgres_database):
    """A snapshot leaves them out as the log does."""
    database = table(
        postgres_database, columns="id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED"
    )
    database.execute("INSERT INTO t (id, a) VALUES (1, 2)")
    async with following(database, "t") as source:
        picture = await pictured(source)
        session(database, "UPDATE t SET id = 3")
        found = [*stored(picture), *plain(await gather(source, picture.place))]

    assert found == [{"id": 1, "a": 2}, {"id": 3, "a": 2}]


@pytest.mark.fault("F49")
@since(15)
async def test_partitions_come_and_go(postgres_database):
    """What is attached is the table's from then on, what is detached no longer; a row that moves between two is deleted and made."""
    database = postgres_database
    table(database, columns="id int PRIMARY KEY, v text) PARTITION BY RANGE (id")
    database.execute(
        "CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10); CREATE TABLE mid PARTITION OF t FOR VALUES FROM (10) TO (20); "
        "CREATE TABLE high (v text, id int PRIMARY KEY); INSERT INTO high VALUES ('before', 21)"
    )
    async with following(database, "t", deletes=Deletes.MARK) as source:
        place = await standing(source)
        session(database, "INSERT INTO high VALUES ('apart', 22)")
        database.execute("ALTER TABLE t ATTACH PARTITION high FOR VALUES FROM (20) TO (30)")
        session(database, "INSERT INTO t VALUES (1, 'low'), (23, 'high')", "INSERT INTO high VALUES ('direct', 24)")
        session(database, "UPDATE t SET id = 11 WHERE id = 1")
        database.execute("ALTER TABLE t DETACH PARTITION low")
        session(database, "INSERT INTO low VALUES (2, 'apart')", "INSERT INTO t VALUES (12, 'mid')")
        rows = await gather(source, place)

    assert [(one.get("v"), one["id"], one["_deleted"]) for one in plain(rows)] == [
        ("low", 1, False),
        ("high", 23, False),
        ("direct", 24, False),
        (None, 1, True),
        ("low", 11, False),
        ("mid", 12, False),
    ]
    assert {one.table for one in rows if one.rows} == {"t"}


@pytest.mark.fault("F40")
async def test_an_identity_that_is_taken_away_is_said(postgres_database):
    """What is said of a table without an identity is so: its UPDATE fails once it is published. Nothing of it was published."""
    database = table(postgres_database)
    database.execute("INSERT INTO t VALUES (1); ALTER TABLE t REPLICA IDENTITY NOTHING")
    source = unopened(database, "t")
    await source.open()
    [said] = [one for one in await source.check() if one.level == "error"]
    with pytest.raises(HaltSyncError, match="no replica identity"):
        await prepared(source)
    await source.close()
    database.execute("UPDATE t SET v = 'still works'; CREATE PUBLICATION p FOR TABLE t")
    with pytest.raises(psycopg.Error, match="does not have a replica identity"):
        database.execute("UPDATE t SET v = 'fails'")

    assert "every UPDATE and DELETE of it fails" in said.what
    assert "REPLICA IDENTITY FULL" in said.fix


# ------------------------------------------------------------------ names and widths

NAMES = [
    'say "hi"; DROP TABLE t; --',
    "a.b",
    "it's %s {0} \\ \t",
    "Größe 表 😀",
    "n" * 63,
    "ü" * 31,
    "select",
    "*",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.fault("S25")
async def test_tables_and_columns_have_any_name(postgres_database, name):
    """In a snapshot, in the log, in the publication, and where a large value is read again."""
    database = postgres_database
    quoted = quote(name)
    with database.connect() as writer, psycopg.ClientCursor(writer) as cursor:
        cursor.execute(f"CREATE TABLE {quoted} (id int, {quoted} text, large text, PRIMARY KEY (id, {quoted}))")
        cursor.execute(f"ALTER TABLE {quoted} ALTER large SET STORAGE EXTERNAL; ALTER TABLE {quoted} OWNER TO {USER}")
        cursor.execute(f"INSERT INTO {quoted} VALUES (1, 'x', repeat('y', 9000))")
        async with following(database, name) as source:
            picture = await pictured(source)
            cursor.execute(f"UPDATE {quoted} SET id = 2")
            found = [*stored(picture), *plain(await gather(source, picture.place))]

    assert found == [{"id": key, name: "x", "large": "y" * 9000} for key in (1, 2)]


async def test_schemas_have_any_name(postgres_database):
    """And tables of one name in two of them are two tables."""
    database = postgres_database
    weird = 'o"d.d; --'
    database.execute(f"CREATE SCHEMA {quote(weird)}; GRANT USAGE ON SCHEMA {quote(weird)} TO {USER}")
    for schema in ("public", quote(weird)):
        database.create(f"{schema}.t", "id int PRIMARY KEY, v text")
    async with following(database, "t", f"{weird}.t") as source:
        place = await standing(source)
        session(database, "INSERT INTO public.t VALUES (1)", f"INSERT INTO {quote(weird)}.t VALUES (2)")
        rows = await gather(source, place)

    assert [(one.table, *ids([one])) for one in rows if one.rows] == [("t", 1), (f"{weird}.t", 2)]


async def test_a_table_has_as_many_columns_as_there_can_be(postgres_database):
    """1,600 of them."""
    database = postgres_database
    names = [f"c{number}" for number in range(1, 1600)]
    table(database, columns=", ".join(["id int PRIMARY KEY", *(f"{name} int2" for name in names)]))
    insert = "INSERT INTO t VALUES ({})"
    database.execute(insert.format(", ".join(["1", *(str(number) for number in range(1, 1600))])))
    async with following(database, "t") as source:
        picture = await pictured(source)
        session(database, "UPDATE t SET id = 2, c1599 = NULL")
        before, after = *stored(picture), *plain(await gather(source, picture.place))

    wanted = {"id": 1, **{name: number for number, name in enumerate(names, 1)}}
    assert before == wanted
    assert after == wanted | {"id": 2, "c1599": None}
