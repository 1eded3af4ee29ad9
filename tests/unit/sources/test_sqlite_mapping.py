"""The mapping over a real log: one verdict in snapshot and stream, and marks for what leaves it."""

import json

import pytest
from sqlite_world import events, gather, pictured

from fuagent.errors import HaltSyncError
from fuagent.model import Cover, Deletes, Fact, Field, Mapping, Mask, Secret, Transform

PAID = "status = 'paid'"


async def made(world, **mapping):
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, status TEXT)")
    source = await world.ready("t", mapping=Mapping(**mapping))
    run, _ = await pictured(source)
    return source, run.place


async def test_where_in_snapshot_and_stream(world):
    """The same rows pass whether a snapshot finds them or the log brings them."""
    source, place = await made(world, where=PAID)
    world.sql("INSERT INTO t VALUES (1, 'paid'), (2, 'open'), (3, NULL), (4, 'paid')")

    streamed = [event["id"] for event in await events(source, place)]
    _, found = await pictured(source)

    assert streamed == [1, 4]
    assert [event["id"] for event in found["t"]] == [1, 4]


async def test_whole_chunks_may_be_kept_back(world):
    """A snapshot goes on behind a chunk of which no row passes."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, status TEXT)")
    world.sql(
        "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50) INSERT INTO t SELECT i, 'open' FROM n"
    )
    world.sql("INSERT INTO t VALUES (51, 'paid')")
    source = await world.ready("t", mapping=Mapping(where=PAID), chunk_rows=10)

    _, found = await pictured(source)

    assert [event["id"] for event in found["t"]] == [51]


@pytest.mark.parametrize(
    ("deletes", "expected", "left_out"),
    [
        (Deletes.MARK, [(1, False), (1, True), (1, False), (1, True)], 1),
        (Deletes.ROW, [(1, None), (1, None), (1, None)], 2),
        (Deletes.SKIP, [(1, None), (1, None)], 3),
    ],
)
async def test_leaving_counts_as_deleted(world, deletes, expected, left_out):
    """A row that stops meeting the condition is marked where deletes are, and counted where they are not."""
    source, place = await made(world, where=PAID, deletes=deletes)
    world.sql(
        "INSERT INTO t VALUES (1, 'paid')",
        "UPDATE t SET status = 'open'",
        "UPDATE t SET status = 'paid'",
        "DELETE FROM t",
        "INSERT INTO t VALUES (2, 'open')",
    )

    rows = await gather(source, place)

    found = [json.loads(text) for one in rows for text in one.rows]
    assert [(event["id"], event.get("_deleted")) for event in found] == expected
    assert [index for one in rows for index in one.indexes] == [event["index"] for event in found]
    assert sum(one.left_out for one in rows) == left_out


async def test_a_key_that_changes_and_leaves(world):
    """The old key is marked, and nothing of the new row is sent."""
    source, place = await made(world, where=PAID, deletes=Deletes.MARK)
    world.sql("INSERT INTO t VALUES (1, 'paid')", "UPDATE t SET id = 2, status = 'open'", "DELETE FROM t")

    found = await events(source, place)

    assert [(event["id"], event["_deleted"]) for event in found] == [(1, False), (1, True)]


async def test_numbers_do_not_change(world):
    """Whatever the mapping keeps back, every row that is sent has the number it has without one."""
    source, place = await made(world)
    world.sql("INSERT INTO t VALUES (1, 'paid'), (2, 'open'), (3, 'paid')", "UPDATE t SET status = 'paid' WHERE id = 2")
    plain = {(event["id"], event["status"]): event["index"] for event in await events(source, place)}
    await source.close()
    fussy = await world.ready(
        "t",
        mapping=Mapping(where=PAID, transform=Transform("t", lambda event: event if event["id"] != 3 else None)),
    )

    found = await events(fussy, place)

    assert [(event["id"], event["index"]) for event in found] == [(1, plain[1, "paid"]), (2, plain[2, "paid"])]


async def test_operations(world):
    """Each event tells what happened; a snapshot's says that nothing did."""
    fields = (Field("id", "id"), Field("op", fact=Fact.OPERATION), Field("table", fact=Fact.TABLE))
    source, place = await made(world, fields=fields)
    world.sql("INSERT INTO t VALUES (1, 'a')", "UPDATE t SET status = 'b'", "UPDATE t SET id = 2", "DELETE FROM t")
    world.sql("INSERT INTO t VALUES (3, 'a')")

    streamed = [event["op"] for event in await events(source, place)]
    _, found = await pictured(source)

    assert streamed == ["insert", "update", "update", "delete", "insert"]
    assert found["t"] == [{"id": 3, "op": "snapshot", "table": "t"}]


@pytest.mark.parametrize("fact", [Fact.COMMIT_TIME, Fact.TRANSACTION])
async def test_what_sqlite_cannot_tell(world, fact):
    """A fact that no log of SQLite's holds is an error before the first row."""
    with pytest.raises(HaltSyncError, match=rf"SQLite knows no \{fact}"):
        await made(world, fields=(Field("a", fact=fact),))


async def test_masked_in_both(world):
    """A masked column is masked in snapshot and stream alike."""
    salt = Secret("pepper")
    source, place = await made(world, masks=(Mask("status", Cover.HASH, salt),))
    world.sql("INSERT INTO t VALUES (1, 'canary')")

    [streamed] = await events(source, place)
    _, found = await pictured(source)

    assert streamed["status"] == found["t"][0]["status"] != "canary"


async def test_a_transform_that_fails_on_a_row(world):
    """The row stands alone, with the reason, between what came before it and after it."""

    def tidy(event):
        return {**event, "half": 10 // event["id"]} if event["id"] != 5 else None

    source, place = await made(world, transform=Transform("shop:tidy", tidy))
    world.sql("INSERT INTO t VALUES (1, 'a'), (0, 'b'), (2, 'c'), (5, 'd')")

    rows = await gather(source, place)

    assert [(len(one.rows), one.refused) for one in rows if one.rows] == [
        (1, ""),
        (1, "transform shop:tidy failed with ZeroDivisionError"),
        (1, ""),
    ]
    assert [one.boundary for one in rows][:3] == [False, False, True]
    assert sum(one.left_out for one in rows) == 1
    assert json.loads(rows[1].rows[0]) == {"id": 0, "status": "b", "index": rows[1].indexes[0]}
    async with await source.snapshot(["t"]) as run:
        parts = [(len(one.rows), bool(one.refused)) async for one in run.rows() if one.rows]
    assert parts == [(1, True), (2, False)]
