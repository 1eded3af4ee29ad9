"""Rows read again by the key in their events, and the first rows of a table; neither changes the database."""

import json

import pytest
from sqlite_world import pictured

from fuagent.errors import TryAgainError
from fuagent.model import Deletes, EventSchema, Field, Mapping, Property, TableSpec, Transform, Written


async def opened(world, *, mapping=None, schema=None):
    """A source that is open and not prepared, and how its one table is written."""
    source = world.make("t")
    await source.open()
    [table] = await source.discover()
    return source, TableSpec(table, mapping or Mapping(), schema)


def told(*written):
    return [json.loads(one.event) if one.event else one.refused for one in written]


def text(**properties):
    return json.dumps(properties).encode()


KEYS = {
    "INTEGER": ["1", "-9223372036854775808"],
    "TEXT": ["'a'", "'1'", "'1.5'", "'null'", "'aGk='"],
    "REAL": ["1.5", "1e300", "0.1", "3"],
    "BLOB": ["x'6869'", "x''", "x'00ff'"],
    "NUMERIC": ["1", "1.5", "'x'"],
    "": ["1", "1.5", "'1'", "x'6869'"],
}


@pytest.mark.parametrize(("type_", "value"), [(type_, value) for type_, values in KEYS.items() for value in values])
@pytest.mark.parametrize("wanted", ["", "string", "number"])
async def test_every_kind_of_key_finds_its_row(world, type_, value, wanted):
    """Whatever class a key is stored as and whatever form the document asks for, its event leads back to the row."""
    world.sql(f"CREATE TABLE t (k {type_} PRIMARY KEY, v TEXT)", f"INSERT INTO t VALUES ({value}, 'old')")
    schema = EventSchema({"k": Property(frozenset({wanted}))}) if wanted else None
    source, spec = await opened(world, schema=schema)
    [before] = await source.sample(spec, 5)
    world.sql("UPDATE t SET v = 'new'")

    [now] = await source.reread(spec, [before.event])

    assert told(now) == [{**json.loads(before.event), "v": "new"}]


async def test_answers_come_in_the_order_of_the_events(world):
    """One answer for each event: rows as they are now, nothing for those that are gone."""
    world.sql("CREATE TABLE t (a INT, b TEXT, v TEXT, PRIMARY KEY (a, b))")
    world.sql("INSERT INTO t VALUES (1, 'x', 'p'), (1, 'y', 'q'), (2, 'x', 'r')")
    source, spec = await opened(world)

    found = await source.reread(spec, [text(a=2, b="x", v="?"), text(a=9, b="x"), text(a=1, b="y", index=5)])

    assert told(*found) == [{"a": 2, "b": "x", "v": "r"}, "", {"a": 1, "b": "y", "v": "q"}]
    assert found[1] == Written()


async def test_a_key_under_another_name(world):
    """The key is looked for where the mapping put it."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", "INSERT INTO t VALUES (7, 'a')")
    source, spec = await opened(world, mapping=Mapping((Field("order.number", "id"), Field("v", "v"))))

    assert told(*await source.reread(spec, [text(order={"number": 7})])) == [{"order": {"number": 7}, "v": "a"}]
    assert "holds no" in told(*await source.reread(spec, [text(id=7)]))[0]


async def test_a_key_that_only_looks_alike_is_another_row(world):
    """Letter case does not count for the database but does for the service: another spelling is another key."""
    world.sql("CREATE TABLE t (id TEXT COLLATE NOCASE PRIMARY KEY, v TEXT)", "INSERT INTO t VALUES ('ABC', 'a')")
    source, spec = await opened(world)

    assert await source.reread(spec, [text(id="abc", v="a")]) == [Written()]


async def test_without_a_key_nothing_is_found(world):
    """A table without a primary key has no way back, and the answer says so for every event."""
    world.sql("CREATE TABLE t (v TEXT)", "INSERT INTO t VALUES ('a')")
    source, spec = await opened(world)

    found = await source.reread(spec, [text(v="a")] * 2)

    assert [one.event for one in found] == [None, None]
    assert all("has no key" in one.refused for one in found)


async def test_marks_of_deleted_rows_are_marks_again(world):
    """A mark of a row that is gone is still true; the row of a mark that came back is the row."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", "INSERT INTO t VALUES (1, 'back')")
    source, spec = await opened(world, mapping=Mapping(deletes=Deletes.MARK))

    found = await source.reread(
        spec, [text(id=1, v="a", _deleted=True), text(id=2, v="b", _deleted=True), text(id=3, v="c", _deleted=False)]
    )

    assert told(*found) == [{"id": 1, "v": "back", "_deleted": False}, {"id": 2, "_deleted": True}, ""]


async def test_a_row_that_left_the_condition_is_gone(world):
    """Rows that the sync does not want any more are not sent again, nor sampled."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", "INSERT INTO t VALUES (1, 'no'), (2, 'yes')")
    source, spec = await opened(world, mapping=Mapping(where="v = 'yes'"))

    assert told(*await source.reread(spec, [text(id=1), text(id=2)])) == ["", {"id": 2, "v": "yes"}]
    assert told(*await source.sample(spec, 1)) == [{"id": 2, "v": "yes"}]


def shout(event):
    if event["v"] == "bad":
        raise ValueError
    return {**event, "v": event["v"].upper()}


async def test_the_transform_is_kept(world):
    """Rows go through the transform; one it fails on cannot be sent, and one not found may have another key by it."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)", "INSERT INTO t VALUES (1, 'good'), (2, 'bad')")
    source, spec = await opened(world, mapping=Mapping(transform=Transform("m:shout", shout)))

    good, bad, gone = told(*await source.reread(spec, [text(id=1), text(id=2), text(id=3)]))

    assert good == {"id": 1, "v": "GOOD"}
    assert bad == "transform m:shout failed with ValueError"
    assert "transform changed its key" in gone


async def test_samples_are_what_a_snapshot_gives(world):
    """The first rows, byte for byte as a snapshot writes them, and no more than asked for."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)")
    world.sql("INSERT INTO t VALUES (1, x'00'), (2, 2.5), (3, 'text'), (4, NULL)")
    source, spec = await opened(world)
    sampled = told(*await source.sample(spec, 3))
    none = await source.sample(spec, 0)
    _, found = await pictured(await world.ready("t"))

    assert sampled == found["t"][:3]
    assert none == []


async def test_nothing_is_written(world):
    """Neither leaves anything in the database."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    source, spec = await opened(world)
    before = list(world.db.iterdump())
    await source.sample(spec, 5)
    await source.reread(spec, [text(id=1)])

    assert list(world.db.iterdump()) == before


async def test_a_table_that_is_gone(world):
    """It may be about to come back: the same is tried again, and no row is called gone."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    source, spec = await opened(world)
    world.sql("DROP TABLE t")

    with pytest.raises(TryAgainError, match="is gone"):
        await source.reread(spec, [text(id=1)])
