"""Tables change under the change log: nothing is lost by it, or the loss is said."""

import json

import pytest
from sqlite_world import events, following, gather, pictured, prepare

from fuagent.errors import HaltSyncError, LostPlaceError
from fuagent.model import Deletes, EventSchema, Field, Mapping, Property


async def begun(world, *statements, **more):
    """A prepared source over ``statements``, and the place where its stream begins."""
    world.sql(*statements)
    source = await world.ready("t", **more)
    run, _ = await pictured(source)
    return source, run.place


async def lost(source, place):
    """The error that ends the stream."""
    with pytest.raises(LostPlaceError) as caught:
        await events(source, place)
    return caught.value


async def test_an_added_column_is_sent_from_the_next_change_on(world):
    """Noticed while running: the version rises, nothing is lost, and a person is told."""
    source, place = await begun(world, "CREATE TABLE t (id INTEGER PRIMARY KEY)")

    async with following(source, place) as next_rows:
        await next_rows()
        world.sql("INSERT INTO t VALUES (1)")
        before = await next_rows()
        world.sql("ALTER TABLE t ADD COLUMN extra DEFAULT 'd'")
        world.sql("INSERT INTO t VALUES (2, 'x')")
        after = await next_rows()

    assert [{"id": 1, "index": before.indexes[0]}] == [json.loads(event) for event in before.rows]
    assert [{"id": 2, "extra": "x", "index": after.indexes[0]}] == [json.loads(event) for event in after.rows]
    assert before.version < after.version
    assert any("gained extra" in warning.what for warning in world.warnings)


async def test_changes_logged_before_a_new_column_was_noticed_are_read_again(world):
    """The old triggers know nothing of the column: such rows come whole, as they now are; those gone are counted."""
    source, place = await begun(world, "CREATE TABLE t (a, b, PRIMARY KEY (a, b))")
    world.sql(
        "INSERT INTO t VALUES (1, 1), (2, 2), (3, NULL)",
        "ALTER TABLE t ADD COLUMN extra",
        "UPDATE t SET extra = 'x' || a",
        "UPDATE t SET a = 9 WHERE a = 1",
        "DELETE FROM t WHERE a = 2",
        "INSERT INTO t VALUES (4, 4, 'y')",
    )

    rows = await gather(source, place)

    found = [json.loads(event) for one in rows for event in one.rows]
    assert all("extra" in event for event in found if event["a"] != 2)
    assert {(3, None, "x3"), (9, 1, "x1"), (4, 4, "y")} == {
        (event["a"], event["b"], event["extra"]) for event in found if event["a"] != 2
    }
    assert [{"a": event["a"], "b": event["b"]} for event in found if event["a"] == 2] == [{"a": 2, "b": 2}]
    assert sum(one.left_out for one in rows) == 5  # rows 1 and 2 twice each, one old key
    copy = {(event["a"], event["b"]): event for event in found}
    assert copy[9, 1]["extra"] == "x1"


async def test_the_same_holds_after_a_restart(world):
    """A column added while no agent ran: what was logged meanwhile is read again."""
    source, place = await begun(world, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    world.sql("INSERT INTO t VALUES (1, 'a')")
    await source.close()
    world.sql("ALTER TABLE t ADD COLUMN extra DEFAULT 7", "INSERT INTO t VALUES (2, 'b', 8)")

    again = await world.ready("t")

    assert [event["extra"] for event in await events(again, place)] == [7, 8]


async def test_a_renamed_column_is_sent_under_its_new_name(world):
    """SQLite renames it in the triggers, too; nothing is lost."""
    source, place = await begun(world, 'CREATE TABLE t (id PRIMARY KEY, "old name")', "INSERT INTO t VALUES (1, 'a')")
    world.sql("INSERT INTO t VALUES (2, 'b')", 'ALTER TABLE t RENAME COLUMN "old name" TO "a ""new"" one"')
    world.sql('UPDATE t SET "a ""new"" one" = \'c\'', "ALTER TABLE t RENAME COLUMN id TO key")

    found = await events(source, place)

    assert [(event["key"], event['a "new" one']) for event in found] == [(2, "c"), (1, "c"), (2, "c")]
    assert any("renamed a column" in warning.what for warning in world.warnings)


@pytest.mark.parametrize("deletes", list(Deletes))
async def test_old_keys_and_deletes_from_before_a_new_column(world, deletes):
    """What cannot be read again is sent as it was known."""
    source, place = await begun(
        world,
        "CREATE TABLE t (id INTEGER PRIMARY KEY)",
        "INSERT INTO t VALUES (1), (2)",
        mapping=Mapping(deletes=deletes),
    )
    world.sql("UPDATE t SET id = 3 WHERE id = 1", "DELETE FROM t WHERE id = 2", "ALTER TABLE t ADD COLUMN extra")

    found = [(event["id"], event.get("extra", "-"), event.get("_deleted")) for event in await events(source, place)]

    expected = {
        Deletes.ROW: [(3, None, None), (2, "-", None)],
        Deletes.MARK: [(1, "-", True), (3, None, False), (2, "-", True)],
        Deletes.SKIP: [(3, None, None)],
    }
    assert expected[deletes] == found


@pytest.mark.parametrize("where", ["", "v = 'a'"], ids=["all rows", "some rows"])
@pytest.mark.parametrize("deletes", list(Deletes))
async def test_an_old_key_is_taken_back_though_the_row_is_gone(world, deletes, where):
    """The row under its new key can no longer be read when it was logged before a new column: the old key is known."""
    source, place = await begun(
        world,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v)",
        "INSERT INTO t VALUES (1, 'a')",
        mapping=Mapping(deletes=deletes, where=where),
    )
    world.sql("UPDATE t SET id = 3", "INSERT INTO t VALUES (4, 'a')", "ALTER TABLE t ADD COLUMN extra")
    world.sql("DELETE FROM t WHERE id = 3")

    rows = await gather(source, place)
    found = [
        (event["id"], event.get("_deleted")) for event in map(json.loads, (one for part in rows for one in part.rows))
    ]

    expected = {
        Deletes.ROW: [(4, None), (3, None)],
        Deletes.MARK: [(1, True), (4, False), (3, True)],
        Deletes.SKIP: [(4, None)],
    }
    assert found == expected[deletes]
    assert sum(part.left_out for part in rows) == {Deletes.ROW: 1, Deletes.MARK: 1, Deletes.SKIP: 2}[deletes]


async def test_old_deletes_that_fit_the_mapping_no_longer_are_left_out(world):
    """A delete of a row that never had the column the mapping now needs cannot be sent."""
    source, place = await begun(world, "CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    world.sql("DELETE FROM t WHERE id = 1", "ALTER TABLE t ADD COLUMN extra", "INSERT INTO t VALUES (3, 'x')")
    await source.close()

    again = await world.ready("t", mapping=Mapping(fields=(Field("id", "id"), Field("more", "extra"))))
    rows = await gather(again, place)

    assert [
        {name: value for name, value in json.loads(event).items() if name != "index"}
        for one in rows
        for event in one.rows
    ] == [{"id": 3, "more": "x"}]
    assert sum(one.left_out for one in rows) == 1


async def test_a_table_that_does_not_fit_the_document_is_left_alone(world):
    """The error comes before anything is written into the database."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    source = world.make("t")
    await source.open()

    with pytest.raises(HaltSyncError):
        await prepare(source, schema=EventSchema({}, frozenset(["gone"])))

    assert world.db.execute("SELECT count(*) FROM sqlite_master WHERE type = 'trigger'").fetchone() == (0,)


async def test_a_table_without_a_key_loses_its_place_when_a_column_is_added(world):
    """Its newest changes cannot be read again; it is said once, and then it goes on with what is known."""
    source, place = await begun(world, "CREATE TABLE t (a)")
    world.sql("INSERT INTO t VALUES (1)", "ALTER TABLE t ADD COLUMN b", "INSERT INTO t VALUES (2, 'b')")

    error = await lost(source, place)
    assert "without a key" in str(error)
    with pytest.raises(LostPlaceError):
        await prepare(source)
    await prepare(source, mend=True)
    await prepare(source)
    world.sql("INSERT INTO t VALUES (3, 'c')")

    assert [(event["a"], event.get("b", "-")) for event in await events(source, error.place)] == [
        (1, "-"),
        (2, "-"),
        (3, "c"),
    ]


async def test_a_table_without_a_key_and_without_new_changes_loses_nothing(world):
    """Delivered changes need not be read again."""
    source, place = await begun(world, "CREATE TABLE t (a)", keep_rows=0)
    world.sql("INSERT INTO t VALUES (1)")
    (rows,) = await gather(source, place)
    await source.acknowledge(rows.end)
    world.sql("ALTER TABLE t ADD COLUMN b", "INSERT INTO t VALUES (2, 'b')")

    with pytest.raises(LostPlaceError):
        await prepare(source)
    world.sql(f'DELETE FROM "{source._names.log}" WHERE seq > (SELECT max(seq) - 1 FROM "{source._names.log}")')
    await prepare(source)
    world.sql("INSERT INTO t VALUES (3, 'c')")

    assert [{"a": event["a"], "b": event["b"]} for event in await events(source, rows.end)] == [{"a": 3, "b": "c"}]


REBUILD = (
    "CREATE TABLE t_new (id INTEGER PRIMARY KEY, v TEXT NOT NULL)",
    "INSERT INTO t_new SELECT id, v FROM t",
    "DROP TABLE t",
    "ALTER TABLE t_new RENAME TO t",
)


@pytest.mark.fault("F57")
async def test_a_rebuilt_table_loses_the_place_until_it_is_mended(world):
    """The recipe of SQLite's manual drops the triggers: said, with the table's name, until the engine has it on disk."""
    source, place = await begun(world, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    world.sql("INSERT INTO t VALUES (1, 'a')", "BEGIN", *REBUILD, "COMMIT", "INSERT INTO t VALUES (2, 'missed')")

    error = await lost(source, place)
    assert "table t was rebuilt" in str(error)
    for _ in range(2):
        with pytest.raises(LostPlaceError, match="table t was rebuilt"):
            await prepare(source)
    await prepare(source, mend=True)
    world.sql("INSERT INTO t VALUES (3, 'c')")

    assert [event["id"] for event in await events(source, error.place)] == [1, 3]


@pytest.mark.fault("F57")
async def test_a_rebuild_is_noticed_by_a_stream_at_rest(world):
    """No change of a row is needed to notice it."""
    source, place = await begun(world, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)")

    async with following(source, place) as next_rows:
        await next_rows()
        world.sql("BEGIN", *REBUILD, "COMMIT")
        with pytest.raises(LostPlaceError, match="rebuilt"):
            await next_rows()


async def test_a_rebuild_that_changes_the_key_is_read_on_after_mending(world):
    """Rows logged under another key can neither be read again nor be sent as they are told apart now."""
    source, place = await begun(world, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    world.sql("INSERT INTO t VALUES (1, 'a')", "DROP TABLE t", "CREATE TABLE t (id, v, PRIMARY KEY (id, v))")

    error = await lost(source, place)
    await prepare(source, mend=True)
    world.sql("INSERT INTO t VALUES (2, 'b')")

    assert [(event["id"], event["v"]) for event in await events(source, error.place)] == [(1, "a"), (2, "b")]


@pytest.mark.fault("F57")
@pytest.mark.parametrize("event", ["insert", "update", "delete", "rekey"])
async def test_a_dropped_trigger_loses_the_place(world, event):
    """Each of the four is looked for."""
    source, place = await begun(world, "CREATE TABLE t (id INTEGER PRIMARY KEY)")

    world.sql(f'DROP TRIGGER "{source._names.trigger(1, event)}"')

    assert "triggers" in str(await lost(source, place))


async def test_a_changed_trigger_loses_the_place(world):
    """A trigger of the same name that does something else is none of ours."""
    source, place = await begun(world, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    name = source._names.trigger(1, "insert")

    world.sql(f'DROP TRIGGER "{name}"', f'CREATE TRIGGER "{name}" AFTER INSERT ON t BEGIN SELECT 1; END')

    assert "triggers" in str(await lost(source, place))


@pytest.mark.parametrize("statement", ["DROP TABLE t", "ALTER TABLE t RENAME TO u"])
async def test_a_table_that_is_gone_loses_the_place_and_then_halts(world, statement):
    """Its rows remain at the service; who named it has to say what now."""
    source, place = await begun(world, "CREATE TABLE t (id INTEGER PRIMARY KEY)", "CREATE TABLE other (id)")
    world.sql("INSERT INTO t VALUES (1)", statement)

    assert "table t is gone" in str(await lost(source, place))
    with pytest.raises(HaltSyncError, match='no table "t"'):
        await source.discover()


async def test_a_new_column_that_does_not_fit_the_document_halts_the_stream(world):
    """Found when it appears, with both names; the old triggers go on keeping changes."""
    schema = EventSchema({"id": Property(), "index": Property()}, closed=True, where="document")
    source, place = await begun(world, "CREATE TABLE t (id INTEGER PRIMARY KEY)", schema=schema)
    world.sql("ALTER TABLE t ADD COLUMN extra", "INSERT INTO t VALUES (1, 2)")

    with pytest.raises(HaltSyncError, match=r'"extra".*table t'):
        await events(source, place)

    fixed = await world.ready("t", mapping=Mapping(fields=(Field("id", "id"),)), schema=schema)
    assert [{"id": 1, "index": place.previous + 2}] == await events(fixed, place)


async def test_a_table_that_is_gone_under_a_pattern_is_said_once(world):
    """With a pattern the other tables go on when the loss is written down."""
    world.sql("CREATE TABLE ta (id INTEGER PRIMARY KEY)", "CREATE TABLE tb (id INTEGER PRIMARY KEY)")
    source = await world.ready("t*")
    run, _ = await pictured(source)
    world.sql("ALTER TABLE ta RENAME TO tc", "INSERT INTO tb VALUES (1)")

    with pytest.raises(LostPlaceError, match="table ta was dropped or renamed"):
        await prepare(source)
    await prepare(source, mend=True)
    world.sql("INSERT INTO tc VALUES (2)")

    found = await gather(source, run.place)
    assert [(rows.table, len(rows.rows)) for rows in found] == [("tb", 1), ("tc", 1)]


async def test_other_changes_of_the_schema_disturb_nothing(world):
    """Indexes, other tables, VACUUM: the log is looked at and found to fit."""
    source, place = await begun(world, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)")

    async with following(source, place) as next_rows:
        await next_rows()
        for number, statement in enumerate(["CREATE TABLE other (x)", "CREATE INDEX i ON t (v)", "VACUUM", "ANALYZE"]):
            world.sql(statement, f"INSERT INTO t VALUES ({number}, 'v')")
            rows = await next_rows()
            assert [number] == [json.loads(event)["id"] for event in rows.rows]
            assert rows.version == 1


async def test_dropping_a_column_is_refused_by_sqlite_while_triggers_name_it(world):
    """The way is to take the log out; what follows is a lost place and not a silent one."""
    source, place = await begun(world, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    with pytest.raises(Exception, match="after drop column"):
        world.sql("ALTER TABLE t DROP COLUMN v")

    await source.remove()
    world.sql("ALTER TABLE t DROP COLUMN v")
    await prepare(source)

    await lost(source, place)


@pytest.mark.parametrize("part", ["log", "meta"])
async def test_a_log_that_is_half_there_loses_the_place(world, part):
    """One of the two tables was dropped; mending makes both anew."""
    source, place = await begun(world, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    world.sql(f'DROP TABLE "{getattr(source._names, part)}"')

    assert "the change log" in str(await lost(source, place))
    with pytest.raises(LostPlaceError):
        await prepare(source)
    await prepare(source, mend=True)

    run, _ = await pictured(source)
    world.connect().execute("INSERT INTO t VALUES (1)")
    assert [event["id"] for event in await events(source, run.place)] == [1]
    with pytest.raises(LostPlaceError):
        await source.locate([], run.index + 100)


async def test_an_emptied_log_is_put_right_by_mending(world):
    """There is a row to stand on again, and no number is given a second time."""
    source, place = await begun(world, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    world.sql(f'DELETE FROM "{source._names.log}"')

    with pytest.raises(LostPlaceError, match="emptied"):
        await prepare(source)
    await prepare(source, mend=True)
    world.sql("INSERT INTO t VALUES (1)")

    (event,) = await events(source, await source.oldest(0))
    assert event == {"id": 1, "index": place.previous + 4}


async def test_a_log_of_a_newer_format_halts(world):
    """It is left alone."""
    source, _ = await begun(world, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    world.sql(f"UPDATE \"{source._names.meta}\" SET value = 2 WHERE key = 'format'")

    with pytest.raises(HaltSyncError, match="format 2"):
        await prepare(source, mend=True)


async def test_a_table_too_wide_for_the_log_halts(world):
    """1900 columns work, one more is refused before anything is touched."""
    columns = ", ".join(f"c{number}" for number in range(1899))
    world.sql(f"CREATE TABLE t (id INTEGER PRIMARY KEY, {columns})")
    source, place = await begun(world)
    world.sql("INSERT INTO t (id, c0, c1898) VALUES (1, 'first', 'last')")
    (event,) = await events(source, place)
    assert (event["id"], event["c0"], event["c1898"]) == (1, "first", "last")

    world.sql("CREATE TABLE u (id INTEGER PRIMARY KEY, " + columns + ", one_more)")
    wide = world.make("u")
    await wide.open()
    with pytest.raises(HaltSyncError, match="1901 columns"):
        await prepare(wide)
    assert any("1901 columns" in finding.what for finding in await wide.check())


async def test_a_row_read_again_beside_a_wider_table(world):
    """The log is as wide as its widest table; a narrow row read again by its key stands in it like any other."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "CREATE TABLE wide (id INTEGER PRIMARY KEY, a, b, c, d)")
    source = await world.ready("t", "wide")
    place = await source.oldest(0)
    world.sql("INSERT INTO t VALUES (1, 9e999)", "ALTER TABLE t ADD COLUMN extra DEFAULT 7")
    world.sql("INSERT INTO wide VALUES (1, 'a', NULL, -9e999, NULL)", "UPDATE t SET id = 2")

    assert [
        {name: value for name, value in event.items() if name != "index"} for event in await events(source, place)
    ] == [
        {"id": 1, "a": "a", "b": None, "c": "-Infinity", "d": None},
        {"id": 2, "v": "Infinity", "extra": 7},
    ]
