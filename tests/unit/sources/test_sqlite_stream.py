"""Changes come out of the log as they were made, in their order, under numbers that never change."""

import asyncio
import json
import sqlite3

import pytest
from sqlite_world import events, following, gather, pictured, until

from fuagent.errors import LostPlaceError, TryAgainError
from fuagent.model import Anchor, Deletes, EventSchema, Mapping, Place, Property
from fuagent.sources.sqlite import reading, triggers

KINDS = {
    "rowid": "CREATE TABLE t (id INTEGER PRIMARY KEY, v, w)",
    "typed": "CREATE TABLE t (id TEXT PRIMARY KEY, v INTEGER, w REAL)",
    "without rowid": "CREATE TABLE t (id, v, w, PRIMARY KEY (id)) WITHOUT ROWID",
    "composite": "CREATE TABLE t (v, id, w, PRIMARY KEY (id, w)) WITHOUT ROWID",
    "no key": "CREATE TABLE t (id, v, w)",
    "strict": "CREATE TABLE t (id INTEGER PRIMARY KEY, v ANY, w TEXT) STRICT",
    "generated": "CREATE TABLE t (id INTEGER PRIMARY KEY, v, w, g AS (v || w) STORED, h AS (id + 1))",
    "hidden rowid": "CREATE TABLE t (id, v, w, rowid, oid, _rowid_)",
    "rowid taken": "CREATE TABLE t (id PRIMARY KEY, v, w, rowid)",
}

STORED = [
    None,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    2**53 + 1,
    0.1,
    -0.0,
    1e308,
    5e-324,
    9e999,
    -9e999,
    "",
    "text",
    "1",
    "naïve 🦊",
    "a\0b",
    "},{",
    'say "null"',
    b"",
    b"\x00\xff",
]


def ops(source):
    return Mapping(deletes=source)


async def whole(source):
    """A snapshot's place to stream from."""
    async with await source.snapshot([table.label for table in await source.discover()]) as run:
        return run.place


@pytest.mark.fault("F24", "F25")
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_snapshot_and_stream_agree_on_every_value(world, kind):
    """Each storage class at its edges, in every kind of table: the same JSON both ways."""
    world.sql(kind)
    source = await world.ready("t")
    place = await whole(source)
    strict = "STRICT" in kind
    for number, value in enumerate(STORED):
        world.db.execute("INSERT INTO t (id, v, w) VALUES (?, ?, ?)", (number, value, "w" if strict else value or "w"))

    streamed = await events(source, place)
    _, found = await pictured(source)

    for event in streamed:
        del event["index"]
    by_id = {str(event["id"]): event for event in found["t"]}
    assert len(STORED) == len(streamed)
    assert streamed == [by_id[str(number)] for number in range(len(STORED))]
    if strict or "v INTEGER" not in kind:
        assert str(streamed[3]["v"]) == "9223372036854775807"
        assert streamed[STORED.index(9e999)]["v"] == "Infinity"
        assert streamed[STORED.index("a\0b")]["v"] == "a\0b"


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_every_change_is_one_row_of_the_log(world, kind):
    """Insert and delete take one number, an update two; a delete sends the old row."""
    world.sql(kind)
    source = await world.ready("t")
    place = await whole(source)

    world.sql("INSERT INTO t (id, v, w) VALUES (1, 'a', 'b')", "UPDATE t SET v = 'c'", "DELETE FROM t")

    found = await events(source, place)
    first = place.previous + 2
    assert [(first, "a"), (first + 3, "c"), (first + 4, "c")] == [(event["index"], event["v"]) for event in found]
    if "g AS" in kind:
        assert [(event["g"], event["h"]) for event in found] == [("ab", 2), ("cb", 2), ("cb", 2)]


@pytest.mark.fault("F22")
async def test_what_is_rolled_back_was_never_there(world):
    """Neither a rolled back transaction nor a savepoint leaves anything, and no number is lost by them."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    source = await world.ready("t")
    place = await whole(source)

    world.sql("BEGIN", "INSERT INTO t VALUES (1)", "ROLLBACK")
    world.sql("BEGIN", "INSERT INTO t VALUES (2)", "SAVEPOINT s", "INSERT INTO t VALUES (3)", "ROLLBACK TO s", "COMMIT")
    with pytest.raises(sqlite3.IntegrityError):
        world.sql("INSERT INTO t VALUES (4), (2)")
    world.sql("INSERT OR IGNORE INTO t VALUES (2)")

    assert [{"id": 2, "index": place.previous + 2}] == await events(source, place)


async def test_an_open_transaction_is_not_seen(world):
    """Changes come when they are committed, not before."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    source = await world.ready("t")
    place = await whole(source)
    world.sql("BEGIN", "INSERT INTO t VALUES (1)")

    assert await events(source, place) == []
    world.sql("COMMIT")
    assert [event["id"] for event in await events(source, place)] == [1]


async def test_a_commit_is_noticed_and_the_end_is_told_once(world):
    """The stream yields soon after each commit, says once that there is nothing more, and waits."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    source = await world.ready("t")
    place = await whole(source)

    async with following(source, place) as following_rows:
        nothing = await following_rows()
        assert nothing.at_end
        assert nothing.boundary
        assert not nothing.rows
        for number in range(5):
            world.sql(f"INSERT INTO t VALUES ({number})")
            rows = await following_rows()
            assert [number] == [json.loads(event)["id"] for event in rows.rows]
            assert rows.at_end


async def test_a_large_transaction_comes_in_bounded_pieces(world):
    """No more than chunk_rows at once; only where a transaction surely ends is there a boundary."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    source = await world.ready("t", chunk_rows=10)
    place = await whole(source)
    world.sql(
        "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 35) SELECT i FROM n"
    )

    chunks = await gather(source, place)

    assert [len(rows.rows) for rows in chunks] == [10, 10, 10, 5]
    assert [rows.boundary for rows in chunks] == [False, False, False, True]
    assert [rows.at_end for rows in chunks] == [False, False, False, True]
    assert [rows.end for rows in chunks[:-1]] == [rows.start for rows in chunks[1:]]
    assert list(range(1, 36)) == [json.loads(event)["id"] for rows in chunks for event in rows.rows]


async def test_a_transaction_end_is_met_while_others_go_on_writing(world):
    """What was the log's end at one look is a boundary at the next, however much follows."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    source = await world.ready("t", chunk_rows=4)
    place = await whole(source)
    fill = "INSERT INTO t SELECT NULL FROM json_each('[1,2,3,4,5,6,7,8,9,10]')"
    world.sql(fill)

    async with following(source, place) as following_rows:
        # One chunk is read ahead: what is written now is seen by the look after that.
        assert not (await following_rows()).boundary
        world.sql(fill)
        assert not (await following_rows()).boundary
        rows = await following_rows()

    assert rows.boundary
    assert not rows.at_end
    assert len(rows.rows) == 2


@pytest.mark.parametrize("chunk_rows", [1, 3, 2000])
@pytest.mark.parametrize("deletes", list(Deletes))
async def test_a_stream_goes_on_exactly_behind_any_number(world, deletes, chunk_rows):
    """By the number alone or by an anchor, what follows has the same numbers and bytes as the first time."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "CREATE TABLE u (id PRIMARY KEY)")
    mapping = Mapping(deletes=deletes)
    source = await world.ready("*", mapping=mapping, chunk_rows=chunk_rows)
    place = await whole(source)
    world.sql(
        "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
        "UPDATE t SET v = 'c'",
        "UPDATE t SET id = 9 WHERE id = 2",
        "INSERT INTO u VALUES (NULL)",
        "DELETE FROM t WHERE id = 1",
        "UPDATE t SET id = 10 WHERE id = 9",
        "DELETE FROM u",
        "INSERT INTO t VALUES (1, 'again')",
    )
    told = [
        (index, event)
        for rows in await gather(source, place)
        for index, event in zip(rows.indexes, rows.rows, strict=True)
    ]

    for index, _ in [(place.previous, b""), *told]:
        expected = [pair for pair in told if pair[0] > index]
        for anchors in ([], [Anchor(place.previous, place)]):
            found = await source.locate(anchors, index)
            again = await gather(source, found)
            assert expected == [pair for rows in again for pair in zip(rows.indexes, rows.rows, strict=True)]


async def test_a_place_inside_rows_drops_what_was_delivered(world):
    """The start of Rows with the last number delivered is a place to go on from."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    source = await world.ready("t")
    place = await whole(source)
    world.sql("INSERT INTO t VALUES (1), (2), (3)")
    (rows,) = await gather(source, place)

    cut = Place(rows.start.position, rows.start.previous, rows.indexes[1])

    assert [{"id": 3, "index": rows.indexes[2]}] == await events(source, cut)


DELETES = {
    Deletes.ROW: ([("b", None), ("b", None), ("b", None)], 1),
    Deletes.SKIP: ([("b", None), ("b", None)], 2),
    Deletes.MARK: ([("b", False), (None, True), ("b", False), ("b", True)], 0),
}


@pytest.mark.parametrize(("deletes", "expected"), DELETES.items())
async def test_deletes_and_old_keys_are_sent_as_configured(world, deletes, expected):
    """A mark for the old key comes before the row; what is kept back is counted; no number depends on it."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    source = await world.ready("t", mapping=Mapping(deletes=deletes))
    place = await whole(source)
    world.sql("INSERT INTO t VALUES (1, 'b')", "UPDATE t SET id = 2", "DELETE FROM t")

    (rows,) = await gather(source, place)

    found = [json.loads(event) for event in rows.rows]
    assert expected == ([(event.get("v"), event.get("_deleted")) for event in found], rows.left_out)
    first = place.previous + 2
    numbers = {Deletes.ROW: [0, 3, 4], Deletes.SKIP: [0, 3], Deletes.MARK: [0, 2, 3, 4]}[deletes]
    assert [first + number for number in numbers] == [event["index"] for event in found]
    if deletes is Deletes.MARK:
        assert {"id": 1, "_deleted": True, "index": first + 2} == found[1]


@pytest.mark.parametrize("deletes", list(Deletes))
async def test_changes_repeated_under_a_snapshot_carry_no_index(world, deletes):
    """The events are the same but for the index, which is still told beside them."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    source = await world.ready("t", mapping=Mapping(deletes=deletes))
    place = await whole(source)
    world.sql("INSERT INTO t VALUES (1, 'b')", "UPDATE t SET id = 2", "DELETE FROM t")

    plain = await gather(source, place, numbered=False)
    numbered = await events(source, place)

    assert [event.pop("index") for event in numbered] == [index for rows in plain for index in rows.indexes]
    assert numbered == [json.loads(event) for rows in plain for event in rows.rows]


@pytest.mark.parametrize(
    ("old", "new"), [("1", "'1'"), ("'a'", "'A'"), ("1", "1.0"), ("NULL", "0"), ("x'31'", "'1'"), ("NULL", "NULL")]
)
async def test_a_key_changes_when_its_bytes_or_class_do(world, old, new):
    """1 is not '1', 'a' is not 'A' even where letter case does not count, and NULL stays NULL."""
    world.sql("CREATE TABLE t (a COLLATE NOCASE, b, PRIMARY KEY (a, b))", f"INSERT INTO t VALUES ({old}, 7)")
    source = await world.ready("t", mapping=Mapping(deletes=Deletes.MARK))
    place = await whole(source)

    world.sql(f"UPDATE t SET a = {new}")

    found = await events(source, place)
    assert [new != old, False][-len(found) :] == [event["_deleted"] for event in found]
    assert (2 if new != old else 1) == len(found)


async def test_changes_of_several_tables_come_in_commit_order(world):
    """Runs of one table are one Rows; the order is that of the log."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)", "CREATE TABLE u (a, b, c, d)", "CREATE TABLE other (x)")
    source = await world.ready("t", "u")
    place = await whole(source)

    world.sql(
        "INSERT INTO t VALUES (1), (2)",
        "INSERT INTO u VALUES (1, 2, 3, 4)",
        "INSERT INTO other VALUES (0)",
        "INSERT INTO t VALUES (3)",
    )

    found = await gather(source, place)
    assert [(rows.table, len(rows.rows)) for rows in found] == [("t", 2), ("u", 1), ("t", 1)]
    assert {"a": 1, "b": 2, "c": 3, "d": 4, "index": found[1].indexes[0]} == json.loads(found[1].rows[0])


async def test_a_table_that_left_the_sync_moves_the_log_on_and_sends_nothing(world):
    """Its rows are passed over; its triggers are gone."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)", "CREATE TABLE u (id INTEGER PRIMARY KEY)")
    source = await world.ready("t", "u")
    place = await whole(source)
    world.sql("INSERT INTO u VALUES (1)")
    again = await world.ready("t")
    world.sql("INSERT INTO u VALUES (2)")

    (rows,) = await gather(again, place)

    assert (rows.table, rows.rows, rows.left_out) == ("", (), 0)
    assert rows.end.position == (await again.head(None)).position


async def test_each_sync_has_a_log_of_its_own(world):
    """Neither another sync nor another agent shares or disturbs it."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    sources = [await world.ready("t"), await world.ready("t", sync="other"), await world.ready("t", agent_id="agent-2")]
    places = [await whole(source) for source in sources]
    world.sql("INSERT INTO t VALUES (1)")
    await sources[1].remove()
    world.sql("INSERT INTO t VALUES (2)")

    for source, place in zip(sources[::2], places[::2], strict=True):
        assert [event["id"] for event in await events(source, place)] == [1, 2]


@pytest.mark.fault("F55")
async def test_a_number_that_is_given_again_is_another_row(world):
    """SQLite gives the number of the newest row again once that is deleted: it went, and another came."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    source = await world.ready("t", mapping=Mapping(deletes=Deletes.MARK))
    place = await whole(source)

    world.sql("DELETE FROM t WHERE id = 2", "INSERT INTO t (v) VALUES ('c')")

    assert [(event["id"], event["v"], event["_deleted"]) for event in await events(source, place)] == [
        (2, "b", True),
        (2, "c", False),
    ]


async def test_an_upsert_is_an_update(world):
    """ON CONFLICT DO UPDATE sends the row as it then is."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "INSERT INTO t VALUES (1, 1)")
    source = await world.ready("t")
    place = await whole(source)

    world.sql("INSERT INTO t VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET v = excluded.v + 40")

    assert [{"id": 1, "v": 42, "index": place.previous + 3}] == await events(source, place)


@pytest.mark.fault("F56")
async def test_replacing_a_row_sends_the_new_one(world):
    """REPLACE under the same key reads as the new row; with recursive_triggers the old one as a delete before it."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "INSERT INTO t VALUES (1, 1)")
    source = await world.ready("t")
    place = await whole(source)

    world.sql("REPLACE INTO t VALUES (1, 2)", "PRAGMA recursive_triggers = ON", "REPLACE INTO t VALUES (1, 3)")

    assert [event["v"] for event in await events(source, place)] == [2, 2, 3]


@pytest.mark.fault("F56")
async def test_a_row_replaced_away_by_another_constraint_needs_recursive_triggers(world):
    """The limit check warns about: SQLite itself tells nobody of such a delete."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, mail UNIQUE)", "INSERT INTO t VALUES (1, 'x')")
    source = await world.ready("t")
    place = await whole(source)

    world.sql("REPLACE INTO t VALUES (2, 'x')")
    assert [event["id"] for event in await events(source, place)] == [2]
    world.sql("PRAGMA recursive_triggers = ON", "REPLACE INTO t VALUES (3, 'x')")
    assert [event["id"] for event in await events(source, place)] == [2, 2, 3]


@pytest.mark.parametrize("first", ["theirs", "ours"])
async def test_a_trigger_that_changes_the_row_again_does_not_leave_an_old_image_last(world, first):
    """Whichever trigger SQLite fires first, the last event is the row as it is."""
    theirs = "CREATE TRIGGER touch AFTER UPDATE OF v ON t BEGIN UPDATE t SET touched = 'yes' WHERE id = NEW.id; END"
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v, touched)", "INSERT INTO t (id) VALUES (1)")
    if first == "theirs":
        world.sql(theirs)
    source = await world.ready("t")
    if first == "ours":
        world.sql(theirs)
    place = await whole(source)

    world.sql("UPDATE t SET v = 1")

    found = await events(source, place)
    assert {"id": 1, "v": 1, "touched": "yes", "index": found[-1]["index"]} == found[-1]


async def test_cascading_deletes_are_seen(world):
    """A foreign key's own deletes fire triggers like any other."""
    world.sql(
        "PRAGMA foreign_keys = ON",
        "CREATE TABLE t (id INTEGER PRIMARY KEY)",
        "CREATE TABLE u (id INTEGER PRIMARY KEY, t REFERENCES t ON DELETE CASCADE)",
        "INSERT INTO t VALUES (1)",
        "INSERT INTO u VALUES (10, 1)",
    )
    source = await world.ready("u", mapping=Mapping(deletes=Deletes.MARK))
    place = await whole(source)

    world.sql("DELETE FROM t")

    assert [(event["id"], event["_deleted"]) for event in await events(source, place)] == [(10, True)]


async def test_keys_that_change_places_are_followed(world):
    """A swap of two keys, by way of a third, ends with each row under its new key."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    source = await world.ready("t", mapping=Mapping(deletes=Deletes.MARK))
    place = await whole(source)
    world.sql("BEGIN", "UPDATE t SET id = -id", "UPDATE t SET id = 3 + id", "COMMIT")

    copy = {1: "a", 2: "b"}
    for event in await events(source, place):
        copy.pop(event["id"], None)
        if not event["_deleted"]:
            copy[event["id"]] = event["v"]

    assert dict(world.db.execute("SELECT id, v FROM t")) == copy == {2: "a", 1: "b"}


async def test_text_that_is_no_utf8_is_sent_with_replacements(world):
    """One unreadable text stops nothing, neither in the stream nor in a snapshot, and no other value suffers."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v, w)")
    source = await world.ready("t", chunk_rows=2)
    place = await whole(source)
    for number in range(5):
        world.db.execute(
            "INSERT INTO t VALUES (?, CAST(? AS TEXT), 'ü')", (number, b"a\xffb" if number in {1, 4} else b"ab")
        )

    streamed = await events(source, place)
    _, found = await pictured(source)

    assert [event["v"] for event in streamed] == ["ab", "a\ufffdb", "ab", "ab", "a\ufffdb"]
    assert [event["v"] for event in found["t"]] == ["ab", "a\ufffdb", "ab", "ab", "a\ufffdb"]
    assert {"ü"} == {event["w"] for event in streamed + found["t"]}


async def test_a_value_the_document_does_not_allow_is_sent_as_stored(world):
    """Types are the values' own in SQLite, so the service judges the single row."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
    schema = EventSchema({"v": Property(frozenset({"integer"}))})
    source = await world.ready("t", schema=schema)
    place = await whole(source)
    world.sql("INSERT INTO t VALUES (1, '12')")
    assert [event["v"] for event in await events(source, place)] == [12]

    world.sql("INSERT INTO t VALUES (2, 'secret')")

    assert [event["v"] for event in await events(source, place)] == [12, "secret"]


HOSTILE = [
    *("select", "table", "index", "rowid", "NEW", "OLD", "main.t", "temp", "sqlite", "_fuagent", "fuagent_"),
    *(
        "'",
        '"',
        '""',
        "`",
        "]",
        "[",
        "[a]",
        "a]b",
        ";",
        "--",
        "/*",
        "*/",
        "a;b",
        "'; DROP TABLE x; --",
        '"; --',
        "?",
        "?1",
    ),
    *(
        ":a",
        "@a",
        "$a",
        "%",
        "%s",
        "%(a)s",
        "{}",
        "{0}",
        "{a!r}",
        "\\",
        "\\n",
        "a\nb",
        "a\tb",
        "a\rb",
        " ",
        "  ",
        " a",
        "a ",
    ),
    *(
        "🦊",
        "ü",
        "Ünïcödé",
        "日本語",
        "עברית",
        "\u200b",
        "\u202e",
        "\x01",
        "\x1b[2J",
        "\x7f",
        "a" * 200,
        "0",
        "1a",
        "-",
        "+",
    ),
    *(
        "*",
        "a*",
        "?x",
        "(",
        ")",
        "()",
        ",",
        ".",
        "..",
        "/",
        "a/b",
        "~",
        "!",
        "#",
        "&",
        "|",
        "^",
        "=",
        "<",
        ">",
        "<a>",
        "null",
    ),
    *(
        "true",
        "None",
        "lambda",
        "group",
        "order",
        "values",
        "__class__",
        "rows",
        "c0",
        "k0",
        "seq",
        "tab",
        "op",
        "token",
        "},{",
        '"}',
        "&amp;",
        "a=b",
        "é",
        "e\u0301",
    ),
]


@pytest.mark.fault("S25")
async def test_a_hundred_hostile_names(world):
    """As a table and as a column each of them is data and nothing else."""
    names = [name for name in HOSTILE if name.lower() != "index"]
    assert len(names) >= 100
    for name in names:
        quoted = '"' + name.replace('"', '""') + '"'
        world.sql(f'CREATE TABLE {quoted} ("the key" INTEGER PRIMARY KEY, {quoted})')
    source = await world.ready("**")  # a table called * is there, too, and a name goes before a pattern
    place = await whole(source)
    tables = [table.name for table in await source.discover()]
    for name in tables:
        quoted = '"' + name.replace('"', '""') + '"'
        world.db.execute(f"INSERT INTO {quoted} VALUES (1, ?)", (name,))
        world.sql(f'UPDATE {quoted} SET "the key" = 2')

    found = await gather(source, place)
    run, pictures = await pictured(source)

    assert sorted(names) == sorted(tables)
    assert tables == [rows.table for rows in found]
    for rows in found:
        assert [json.loads(event)["the key"] for event in rows.rows] == [1, 2]
        assert all(json.loads(event)[rows.table] == rows.table for event in rows.rows)
        assert pictures[rows.table] == [{"the key": 2, rows.table: rows.table}]
    assert run.total == len(tables)
    assert await source.remove()
    assert world.db.execute("SELECT count(*) FROM sqlite_master WHERE type = 'trigger'").fetchone() == (0,)


@pytest.mark.fault("F58")
async def test_a_writer_that_holds_the_file_is_waited_for_and_then_told(rollback_world):
    """Locked longer than busy_timeout: it passes by itself, and the text says why."""
    world = rollback_world
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    source = await world.ready("t", busy_timeout=0.1)
    place = await whole(source)
    world.sql("BEGIN EXCLUSIVE")

    with pytest.raises(TryAgainError, match="locked"):
        await source.head(place)
    with pytest.raises(TryAgainError, match="locked"):
        await anext(source.stream(place))

    world.sql("COMMIT")
    assert await events(source, place) == []


async def test_a_log_that_was_emptied_is_noticed(world):
    """Somebody deleted the rows: nothing can be proven any more."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    source = await world.ready("t")
    place = await whole(source)
    log = source._names.log

    world.sql(f'UPDATE "{log}" SET token = 5')
    with pytest.raises(LostPlaceError, match="restored from a backup"):
        await anext(source.stream(place))
    world.sql(f'DELETE FROM "{log}"')
    with pytest.raises(LostPlaceError, match="emptied"):
        await anext(source.stream(place))


async def test_tables_that_never_hold_still_are_tried_again_later(world, monkeypatch):
    """Five changes of the schema in a row between two looks: not an endless loop."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    source = await world.ready("t")
    place = await whole(source)
    number = iter(range(100))
    real = reading.schema_version

    def restless(connection):
        return real(connection) + 1 + next(number)

    monkeypatch.setattr(reading, "schema_version", restless)
    monkeypatch.setattr("fuagent.sources.sqlite.snapshot.schema_version", restless)
    with pytest.raises(TryAgainError, match="keep changing"):
        await anext(source.stream(place))
    with pytest.raises(TryAgainError, match="keep changing"):
        await source.snapshot(["t"])


async def test_cancelling_a_stream_leaves_a_source_that_works(world):
    """A cancelled wait or read leaves nothing behind."""
    world.sql("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    source = await world.ready("t")
    place = await whole(source)
    seen = set()

    async def run():
        async for _ in source.stream(place):
            seen.add(True)

    for _ in range(20):
        task = asyncio.create_task(run())
        await until(lambda: seen)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        seen.clear()
        world.sql("INSERT INTO t DEFAULT VALUES")

    assert list(range(1, 21)) == [event["id"] for event in await events(source, place)]


def test_operations_with_two_images_are_odd():
    """The numbering relies on it."""
    assert [
        op
        for op in (triggers.INSERT, triggers.UPDATE, triggers.DELETE, triggers.REKEY, triggers.MARK, triggers.GONE)
        if op & 1
    ] == [triggers.UPDATE, triggers.REKEY]
