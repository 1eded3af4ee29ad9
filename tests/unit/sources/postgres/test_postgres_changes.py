"""What becomes of changes on a live server: large values, keys, identities, alterations, and what cannot be delivered."""

import asyncio
from contextlib import aclosing

import pytest
from postgres_following import following, gather, pictured, plain, prepared, session, standing, stored, unopened

from fuagent.errors import HaltSyncError, LostPlaceError, TryAgainError
from fuagent.model import Anchor, Deletes, Mapping, Place, TableSpec
from fuagent.sources.postgres import places
from harness.postgres import USER, before, since

LARGE = "x" * 20_000


@pytest.fixture
def database(postgres_database):
    """A database with a table whose large column is stored apart."""
    postgres_database.create("t", "id int PRIMARY KEY, a int, large text")
    postgres_database.execute("ALTER TABLE t ALTER large SET STORAGE EXTERNAL")
    return postgres_database


def large(*ids):
    return [f"INSERT INTO t SELECT n, 1, repeat('x', {len(LARGE)}) FROM unnest(ARRAY[{', '.join(map(str, ids))}]) n"]


# ------------------------------------------------------------------ large values, keys, identities


@pytest.mark.fault("F38", "F39")
@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
@pytest.mark.parametrize("change", ["a = 2", "id = 5, a = 2"])
async def test_large_values_that_an_update_leaves_alone(database, identity, change):
    """They are not in the log: the old row has them, or they are read again, under a new key too; never null."""
    database.execute(f"ALTER TABLE t REPLICA IDENTITY {identity}")
    async with following(database, "t") as source:
        place = await standing(source)
        session(database, *large(1), f"UPDATE t SET {change} WHERE id = 1")
        found = plain(await gather(source, place))

    assert found[-1] == {"id": 5 if "id" in change else 1, "a": 2, "large": LARGE}


@pytest.mark.fault("F38")
async def test_a_row_that_is_gone_by_now_is_left_out(database):
    """Its large value cannot be read any more; the update is counted, and the delete follows."""
    async with following(database, "t", deletes=Deletes.MARK) as source:
        place = await standing(source)
        session(database, *large(1))
        session(database, "UPDATE t SET a = 2")
        session(database, "DELETE FROM t")
        rows = await gather(source, place)

    assert [row.get("a") for row in plain(rows)] == [1, None]
    assert plain(rows)[-1] == {"id": 1, "_deleted": True}
    assert sum(one.left_out for one in rows) == 1


@pytest.mark.parametrize("met", [False, True])
async def test_a_row_of_other_types_by_now_is_not_read_again(database, met):
    """Its text would be written as what the column was, a number, whether the table was met before or not."""
    session(database, *large(1))
    async with following(database, "t") as source:
        place = await standing(source)
        session(database, "UPDATE t SET a = 2")
        if met:
            assert [row["a"] for row in plain(await gather(source, place))] == [2]
        session(database, "ALTER TABLE t ALTER a TYPE text", "UPDATE t SET a = '\"3'")
        with pytest.raises(HaltSyncError, match=r"table t lack large values .* are of another type now"):
            await gather(source, place)


async def test_a_changed_key_tells_the_old_one_first(database):
    """With marks: the old key, then the row."""
    async with following(database, "t", deletes=Deletes.MARK) as source:
        place = await standing(source)
        session(database, "INSERT INTO t VALUES (1, 1, NULL)", "UPDATE t SET id = 2", "DELETE FROM t")
        found = plain(await gather(source, place))

    assert found == [
        {"id": 1, "a": 1, "large": None, "_deleted": False},
        {"id": 1, "_deleted": True},
        {"id": 2, "a": 1, "large": None, "_deleted": False},
        {"id": 2, "_deleted": True},
    ]


async def test_a_key_that_is_read_again_stays_the_one_it_was(database):
    """A row that is read again has by now another spelling of its key: no key changed before the log says so."""
    database.create("k", "id numeric PRIMARY KEY, a int, large text")
    database.execute("ALTER TABLE k ALTER large SET STORAGE EXTERNAL")
    database.execute("INSERT INTO k VALUES (1.0, 1, repeat('x', 9000))")
    async with following(database, "k", deletes=Deletes.MARK) as source:
        place = await standing(source)
        session(database, "UPDATE k SET a = 2", "UPDATE k SET id = 1.00")
        found = [(row["id"], row["_deleted"]) for row in plain(await gather(source, place))]

    assert found == [("1.0", False), ("1.0", True), ("1.00", False)]


async def test_an_index_as_identity(database):
    """Rows are told apart by what the log tells them apart by."""
    database.execute("CREATE UNIQUE INDEX other ON t (a)")
    database.execute("ALTER TABLE t ALTER a SET NOT NULL")
    database.execute("ALTER TABLE t REPLICA IDENTITY USING INDEX other")
    async with following(database, "t", deletes=Deletes.MARK) as source:
        place = await standing(source)
        session(database, "INSERT INTO t VALUES (1, 7, NULL)", "DELETE FROM t")
        [table] = await source.discover()
        found = plain(await gather(source, place))

    assert table.key == ("a",)
    assert found[-1] == {"a": 7, "_deleted": True}


@pytest.mark.fault("F40")
async def test_no_identity_is_refused(database):
    """Published, the application's own updates would fail."""
    database.execute("ALTER TABLE t REPLICA IDENTITY NOTHING")
    source = unopened(database, "t")
    await source.open()
    with pytest.raises(HaltSyncError, match="no replica identity"):
        await prepared(source)
    await source.close()
    assert database.execute("SELECT * FROM pg_publication") == []


# ------------------------------------------------------------------ transactions


@pytest.mark.fault("F43")
async def test_many_rows_on_one_position(database):
    """COPY writes many rows into one record; each has its own number, and the middle can be gone on from."""
    async with following(database, "t", chunk_rows=3) as source:
        place = await standing(source)
        with database.connect() as connection, connection.cursor().copy("COPY t (id) FROM STDIN") as copy:
            for key in range(1, 11):
                copy.write_row([key])
        rows = await gather(source, place)
        numbers = [number for one in rows for number in one.indexes]
        rest = await gather(source, Place(rows[0].start.position, rows[0].start.previous, numbers[4]))

    assert len(set(numbers)) == 10
    assert numbers == sorted(numbers)
    assert [row["id"] for row in plain(rest)] == [6, 7, 8, 9, 10]


@pytest.mark.fault("F44")
async def test_interleaved_transactions_come_in_the_order_of_their_commits(database):
    """Numbers rise, whenever the rows were written; what is rolled back, in part or whole, never comes."""
    async with following(database, "t") as source:
        place = await standing(source)
        with database.connect(autocommit=False) as one, database.connect(autocommit=False) as two:
            one.execute("INSERT INTO t VALUES (1)")
            two.execute("INSERT INTO t VALUES (2)")
            one.execute("INSERT INTO t VALUES (3)")
            two.execute("SAVEPOINT s")
            two.execute("INSERT INTO t VALUES (4)")
            two.execute("ROLLBACK TO s")
            two.commit()
            one.commit()
        session(database, "INSERT INTO t VALUES (5)", "ROLLBACK")
        rows = await gather(source, place)

    assert [row["id"] for row in plain(rows)] == [2, 1, 3]
    numbers = [number for one in rows for number in one.indexes]
    assert numbers == sorted(set(numbers))


@pytest.mark.fault("F47")
async def test_prepared_transactions_come_when_they_are_committed(private_postgres):
    """PREPARE TRANSACTION alone sends nothing."""
    database = private_postgres(max_prepared_transactions=5).database()
    database.create("t", "id int PRIMARY KEY")
    async with following(database, "t") as source:
        place = await standing(source)
        with database.connect() as one:
            for statement in ("BEGIN", "INSERT INTO t VALUES (1)", "PREPARE TRANSACTION 'x'"):
                one.execute(statement)
        assert plain(await gather(source, place)) == []
        database.execute("COMMIT PREPARED 'x'")
        assert [row["id"] for row in plain(await gather(source, place))] == [1]


# ------------------------------------------------------------------ alterations


@pytest.mark.fault("F50")
async def test_columns_change_in_mid_stream(database):
    """Rows are read as they were; the operator hears that old rows may have new values."""
    said = []
    async with following(database, "t", warn=said.append) as source:
        place = await standing(source)
        session(database, "INSERT INTO t VALUES (1, 1, 'a')")
        session(database, "ALTER TABLE t ADD b text DEFAULT 'new'", "INSERT INTO t VALUES (2, 2, 'b', 'c')")
        session(database, "ALTER TABLE t DROP a, ALTER id TYPE bigint", "INSERT INTO t VALUES (3, 'd', 'e')")
        rows = await gather(source, place)

    assert plain(rows) == [
        {"id": 1, "a": 1, "large": "a"},
        {"id": 2, "a": 2, "large": "b", "b": "c"},
        {"id": 3, "large": "d", "b": "e"},
    ]
    assert [one.version for one in rows if one.rows] == [1, 2, 3]
    assert len(said) == 2
    assert "was altered" in said[0].what


@pytest.mark.parametrize("statement", ["ALTER TABLE t DROP a", "ALTER TABLE t RENAME a TO b"])
async def test_columns_may_go_while_a_sync_starts(database, statement):
    """Between two looks, at the table and at its publication: that is no list of columns somebody has chosen."""
    async with following(database, "t") as source:
        place = await standing(source)
    source = unopened(database, "t")
    await source.open()
    try:
        specs = [TableSpec(table, Mapping()) for table in await source.discover()]
        session(database, statement)
        await source.prepare(specs)
        session(database, "INSERT INTO t (id, large) VALUES (1, 'a')")
        [row] = plain(await gather(source, place))
    finally:
        await source.close()

    assert (row["id"], row["large"], "a" in row) == (1, "a", False)


@pytest.mark.fault("F23")
@pytest.mark.parametrize(
    ("statements", "what"),
    [
        (["TRUNCATE t"], "was emptied"),
        (["ALTER TABLE t RENAME TO u", "INSERT INTO u VALUES (2)"], "was renamed"),
        (
            [
                "ALTER TABLE t RENAME TO old",
                "CREATE TABLE t (id int PRIMARY KEY)",
                f"ALTER TABLE t OWNER TO {USER}",
                "ALTER PUBLICATION fuagent_0123456789ab_suite ADD TABLE t",
                "INSERT INTO t VALUES (2)",
            ],
            "was replaced",
        ),
    ],
)
async def test_what_cannot_be_delivered_loses_the_place(database, statements, what):
    """What stands before it in the log arrives; the place to go on from lies behind it."""
    async with following(database, "t") as source:
        place = await standing(source)
        session(database, "INSERT INTO t VALUES (1)")
        session(database, *statements)
        stream = source.stream(place, (await source.head(place)).position)
        came = [await anext(stream)]
        with pytest.raises(LostPlaceError, match=what) as raised:
            await anext(stream)

    assert [row["id"] for row in plain(came)] == [1]
    assert places.read(raised.value.place.position).lsn > places.read(place.position).lsn


@pytest.mark.fault("F48")
async def test_generated_columns_are_left_out_everywhere(postgres_database):
    """The log does not hold them, so the snapshot leaves them out too."""
    postgres_database.create("t", "id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED, b int")
    postgres_database.execute("INSERT INTO t (id, a) VALUES (1, 2)")
    async with following(postgres_database, "t") as source:
        place = await standing(source)
        postgres_database.execute("INSERT INTO t (id, a) VALUES (2, 2)")

        assert plain(await gather(source, place)) == [{"id": 2, "a": 2, "b": None}]


@pytest.mark.fault("F49")
@since(13)
async def test_partitions_come_under_one_name(postgres_database):
    """New ones too."""
    postgres_database.create("t", "id int PRIMARY KEY) PARTITION BY RANGE (id")
    postgres_database.execute("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)")
    postgres_database.execute("INSERT INTO t VALUES (1)")
    async with following(postgres_database, "t") as source:
        place = await standing(source)
        session(
            postgres_database,
            "INSERT INTO t VALUES (2)",
            "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20)",
            "INSERT INTO t VALUES (12)",
        )
        rows = await gather(source, place)

    assert [(one.table, row["id"]) for one in rows for row in plain([one])] == [("t", 2), ("t", 12)]


@before(13)
async def test_partitions_come_under_their_own_names(postgres_database):
    """Each is a table; one that is not named is none of the sync's."""
    postgres_database.create("t", "id int PRIMARY KEY, v int) PARTITION BY RANGE (id")
    for number in range(3):
        bounds = f"FROM ({number}0) TO ({number + 1}0)"
        postgres_database.execute(f"CREATE TABLE t{number} PARTITION OF t FOR VALUES {bounds}")
        postgres_database.own(f"t{number}")
    postgres_database.execute("INSERT INTO t VALUES (1), (11), (21)")
    async with following(postgres_database, "t0", "t1") as source:
        picture = await pictured(source)
        session(postgres_database, "INSERT INTO t VALUES (2), (12), (22)", "UPDATE t SET v = 1")
        rows = await gather(source, picture.place)

    assert stored(picture) == [{"id": 1, "v": None}, {"id": 11, "v": None}]
    assert [(one.table, row["id"], row["v"]) for one in rows for row in plain([one])] == [
        *(("t0", 2, None), ("t1", 12, None)),
        *(("t0", 1, 1), ("t0", 2, 1), ("t1", 11, 1), ("t1", 12, 1)),
    ]


# ------------------------------------------------------------------ the slot


@pytest.mark.fault("F30")
async def test_a_dropped_slot_is_said(database):
    """It is never made anew silently."""
    async with following(database, "t") as source:
        place = await standing(source)
    database.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()"
    )
    source = unopened(database, "t")
    await source.open()
    with pytest.raises(LostPlaceError, match=r"slot .* is gone"):
        await prepared(source)
    await prepared(source, mend=True)
    with pytest.raises(LostPlaceError, match="has let go"):
        await source.locate([Anchor(place.previous, place)], place.previous)
    await source.close()


@pytest.mark.fault("F33")
async def test_a_place_ahead_of_the_log_is_lost(database):
    """As after a restored backup: the server would wait for ever without a word."""
    async with following(database, "t") as source:
        place = await standing(source)
        spot = places.read(place.position)
        ahead = places.Spot(spot.lsn + (1 << 40), spot.system, spot.timeline).place(place.previous)
        with pytest.raises(LostPlaceError, match="ends before"):
            await gather(source, ahead)


@pytest.mark.fault("F34")
async def test_two_readers_of_one_slot(database):
    """The second is told which process reads already, and tries again."""
    async with following(database, "t") as source, following(database, "t") as other:
        place = await standing(source)
        async with aclosing(source.stream(place)) as rows:
            await anext(rows)
            session(database, "INSERT INTO t VALUES (1)")
            with pytest.raises(TryAgainError, match=r"is being read already \(process \d+"):
                await gather(other, place)


@pytest.mark.fault("F35")
async def test_the_slot_moves_with_what_is_acknowledged_and_no_further(database, postgres):
    """Also where other tables alone fill the log."""
    name = "fuagent_0123456789ab_suite"

    def confirmed():
        [(lsn,)] = database.execute(
            "SELECT confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = %s", name
        )
        return int(lsn)

    async def until(reached):
        async with asyncio.timeout(20):
            while not reached():
                await asyncio.sleep(0.02)

    async with following(database, "t") as source:
        place = await standing(source)
        async with aclosing(source.stream(place)) as rows:
            await anext(rows)
            database.execute("CREATE TABLE others AS SELECT n, repeat('x', 100) FROM generate_series(1, 30000) n")
            moved = await anext(rows)
            assert not moved.rows
            assert confirmed() <= places.read(place.position).lsn
            await source.acknowledge(moved.end)
            task = asyncio.ensure_future(anext(rows))
            await until(lambda: confirmed() == places.read(moved.end.position).lsn)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.mark.fault("F53")
async def test_an_open_transaction_that_holds_a_snapshot_up_is_named(database, monkeypatch):
    """The process is told, and nothing of ours stays behind on the server."""
    monkeypatch.setattr("fuagent.sources.postgres.slots.WAIT_FOR", 0.5)
    async with following(database, "t") as source:
        with database.connect(autocommit=False) as other:
            other.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(TryAgainError, match=f"process {other.info.backend_pid} of the server"):
                await source.snapshot(["t"])
        left = database.execute("SELECT 1 FROM pg_replication_slots WHERE temporary")

    assert left == []
