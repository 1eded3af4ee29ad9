"""A snapshot and the changes behind it give the table, whatever others write meanwhile."""

import asyncio
import json
import random
import sqlite3
import subprocess
import sys
import time
import tracemalloc
from contextlib import contextmanager, suppress

import pytest
from sqlite_world import World, events, pictured

from fuagent.errors import HaltSyncError, TryAgainError
from fuagent.model import Deletes, Mapping
from fuagent.sources.sqlite import snapshot

WRITER = """
import os, random, sqlite3, sys, time
path, seed, stop = sys.argv[1], int(sys.argv[2]), sys.argv[3]
chance = random.Random(seed)
db = sqlite3.connect(path, isolation_level=None, timeout=60)
values = [None, 1, 2.5, "x", b"y", "z" * 300]
while not os.path.exists(stop):
    db.execute("BEGIN IMMEDIATE")
    for _ in range(chance.randrange(1, 6)):
        table, id, other = chance.choice("tu"), chance.randrange(60), chance.randrange(60)
        value = chance.choice(values)
        what = chance.randrange(5)
        if what == 0:
            db.execute(f"DELETE FROM {table} WHERE id = ?", (id,))
        elif what == 1:
            db.execute(f"UPDATE {table} SET v = ? WHERE id % 7 = ?", (value, id % 7))
        elif what == 2:
            db.execute(f"UPDATE OR IGNORE {table} SET id = ? WHERE id = ?", (other, id))
        elif what == 3:
            db.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", (id, value))
        else:
            db.execute(f"INSERT INTO {table} VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET v = excluded.v", (id, value))
    db.execute("ROLLBACK" if chance.random() < 0.2 else "COMMIT")
    time.sleep(chance.random() / 1000)
"""


def apply(copy, found):
    """Take events the way a service does that keeps rows by key and obeys marks."""
    for event in found:
        event.pop("index", None)
        if event.pop("_deleted"):
            copy.pop(event["id"], None)
        else:
            copy[event["id"]] = event
    return copy


@pytest.mark.parametrize("mode", ["wal", "rollback"])
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_snapshot_and_changes_give_the_table(tmp_path, mode, seed):
    """A program writes without a pause: the picture and what follows S end in exactly the tables as they are."""
    world = World(tmp_path, wal=mode == "wal")
    world.sql(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v)",
        "CREATE TABLE u (id PRIMARY KEY, v) WITHOUT ROWID",
        "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50) SELECT i, i FROM n",
    )
    source = await world.ready("t", "u", mapping=Mapping(deletes=Deletes.MARK), chunk_rows=7, busy_timeout=60)
    script = tmp_path / "writer.py"
    script.write_text(WRITER)
    stop = tmp_path / "stop"
    writer = subprocess.Popen([sys.executable, script, world.path, str(seed), stop])
    chance = random.Random(seed)
    try:
        copies = {"t": {}, "u": {}}
        await asyncio.sleep(chance.random() / 10)
        run, found = await pictured(source, "t", "u")
        for name, rows in found.items():
            copies[name] = apply({}, rows)
        place = run.place
        follow = source.stream(place)
        async for rows in follow:
            if rows.table:
                apply(copies[rows.table], [json.loads(event) for event in rows.rows])
            place = rows.end
            if chance.random() < 0.05:
                break
        await follow.aclose()
    finally:
        stop.touch()
        assert await asyncio.to_thread(writer.wait, 60) == 0

    head = await source.head(None)
    async for rows in source.stream(place, head.position):
        if rows.table:
            apply(copies[rows.table], [json.loads(event) for event in rows.rows])
    _, final = await pictured(source, "t", "u")

    for name, rows in final.items():
        assert apply({}, rows) == copies[name]
    assert len(final["t"]) == world.db.execute("SELECT count(*) FROM t").fetchone()[0]
    await world.close()


async def test_the_picture_holds_while_others_write(world):
    """What is committed after S is not in it, table by table; it comes behind S."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)", "CREATE TABLE u (id INTEGER PRIMARY KEY)")
    world.sql("INSERT INTO t VALUES (1), (2)", "INSERT INTO u VALUES (1)")
    source = await world.ready("t", "u", chunk_rows=1)

    async with await source.snapshot(["t", "u"]) as run:
        rows = run.rows()
        first = await anext(rows)
        world.sql("DELETE FROM t", "INSERT INTO u VALUES (2)")
        rest = [event async for one in rows for event in one.rows]

    assert (first.rows, rest) == ([b'{"id":1}'], [b'{"id":2}', b'{"id":1}'])
    assert run.total == 3
    assert [event["id"] for event in await events(source, run.place)] == [1, 2, 2]


async def test_rows_come_in_the_tables_own_order(world):
    """Not in that of an index which happens to hold every column."""
    world.sql("CREATE TABLE t (name TEXT PRIMARY KEY)", "INSERT INTO t VALUES ('c'), ('a'), ('b')", "ANALYZE")
    # Statistics say that the index has the shorter rows.
    world.sql("UPDATE sqlite_stat1 SET stat = '3 1 sz=1' WHERE tbl = 't'")
    source = await world.ready("t")

    _, found = await pictured(source)

    assert [event["name"] for event in found["t"]] == ["c", "a", "b"]


async def test_an_empty_table_is_an_empty_picture(world):
    """No rows, but a place and a number."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    source = await world.ready("t")

    run, found = await pictured(source)

    assert (found["t"], run.total) == ([], 0)
    assert run.index == run.place.previous > 0


async def test_leaving_a_picture_early_lets_go_of_it(rollback_world):
    """With a rollback journal nobody can write while it is held, and everybody once it is left."""
    world = rollback_world
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)", "PRAGMA busy_timeout = 0")
    source = await world.ready("t", chunk_rows=1)

    async with await source.snapshot(["t"]) as run:
        rows = run.rows()
        await anext(rows)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            world.sql("INSERT INTO t VALUES (3)")
    await rows.aclose()
    await run.__aexit__(None, None, None)  # a second time does nothing

    world.sql("INSERT INTO t VALUES (3)")
    assert world.db.execute("SELECT count(*) FROM t").fetchone() == (3,)


async def test_a_column_added_just_before_is_in_the_picture(world):
    """The tables are looked at inside the picture's own transaction."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    source = await world.ready("t")
    world.sql("ALTER TABLE t ADD COLUMN extra DEFAULT 1", "INSERT INTO t (id) VALUES (5)")

    _, found = await pictured(source)

    assert found["t"] == [{"id": 5, "extra": 1}]


async def test_counting_gives_way_to_an_estimate(world, monkeypatch):
    """A table too large to count quickly is estimated by its rowids; without rowids it is unknown."""
    many = "INSERT INTO {} WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i * 2 FROM n"
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)", "CREATE TABLE w (id PRIMARY KEY) WITHOUT ROWID")
    world.sql(many.format("t"), many.format("w"), "CREATE TABLE e (id)")
    source = await world.ready("t", "w", "e")
    monkeypatch.setattr(snapshot, "COUNT_FOR", 0.05)
    real = snapshot._one
    monkeypatch.setattr(snapshot, "_one", _after(0.2, real))

    assert (await pictured(source, "t", "e"))[0].total == 39999
    monkeypatch.setattr(snapshot, "_one", _after(0.2, real))
    assert (await pictured(source, "t", "w"))[0].total is None


async def test_a_count_that_fails_is_an_error(world, monkeypatch):
    """Only running out of time leads to the estimate."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    source = await world.ready("t")
    monkeypatch.setattr(snapshot, "_one", lambda connection, _query: connection.execute("SELECT nothing"))

    with pytest.raises(HaltSyncError, match="nothing"):
        await source.snapshot(["t"])


async def test_a_snapshot_finds_no_gap_between_changes(world, monkeypatch):
    """When somebody always writes between mark and picture it is tried again later."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    source = await world.ready("t")
    monkeypatch.setattr(snapshot, "writing", _then_written(world, snapshot.writing))

    with pytest.raises(TryAgainError, match="no gap"):
        await source.snapshot(["t"])


def _after(seconds, one):
    """The first count takes long enough for the time to be up."""
    pauses = iter([seconds])

    def slow(connection, query):
        with suppress(StopIteration):
            pause = next(pauses)
            connection.create_function("pause", 0, lambda: time.sleep(pause))
            connection.execute("SELECT pause() FROM json_each('[1, 2, 3]')").fetchall()
        return one(connection, query)

    return slow


def _then_written(world, writing):
    """Each mark is followed by somebody else's change at once."""

    @contextmanager
    def written(connection):
        with writing(connection):
            yield
        world.sql("INSERT INTO t DEFAULT VALUES")

    return written


async def test_an_unprepared_table_has_no_picture(world):
    """The engine asked out of order."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    source = await world.ready("t")

    with pytest.raises(HaltSyncError, match="not prepared"):
        await source.snapshot(["t", "u"])


async def test_memory_does_not_grow_with_the_table(world):
    """Only a chunk is held at a time."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    world.sql(
        "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000) "
        "SELECT i, printf('%.200c', 'x') FROM n"
    )
    source = await world.ready("t", chunk_rows=500)

    tracemalloc.start()
    async with await source.snapshot(["t"]) as run:
        count = 0
        async for rows in run.rows():
            count += len(rows.rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert count == 60000
    assert peak < 3_000_000
