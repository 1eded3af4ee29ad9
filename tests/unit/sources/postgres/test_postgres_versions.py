"""What single versions of the server bring: slots that outlive a failover, generated columns in the log, idle slots."""

import asyncio
from contextlib import aclosing
from dataclasses import replace

import psycopg
import pytest
from postgres_following import following, gather, pictured, plain, prepared, standing, stored, unopened

from fuagent.errors import HaltSyncError, LostPlaceError, TryAgainError
from fuagent.model import Deletes, Level
from fuagent.sources.postgres import places, slots
from harness.postgres import DEADLINE, since

NAME = "fuagent_0123456789ab_suite"


async def until(reached):
    """Wait for a state of a server."""
    async with asyncio.timeout(DEADLINE):
        while not reached():
            await asyncio.sleep(0.02)


# ------------------------------------------------------------------ failover


@pytest.fixture
def pair(private_postgres):
    """Makes a primary with a table, and a standby that keeps copies of its slots; options are the primary's."""

    def make(**options):
        primary = private_postgres()
        primary.execute("SELECT pg_create_physical_replication_slot('standby')")
        primary.restart(**options)
        primary.database().create("t", "id int PRIMARY KEY")
        own = {"primary_slot_name": "standby", "hot_standby_feedback": "on", "sync_replication_slots": "on"}
        # What it is to wait for as a primary is another question.
        return primary, private_postgres(standby_of=primary, **own, **dict.fromkeys(options))

    return make


async def streaming(source):
    """Every change from now on."""
    return source.stream(await standing(source))


async def followed(source, database, copy, stream):
    """Follow rows until the standby has a copy of the slot that is there to stay; the last place, and its key."""
    key, place = 0, None
    async with asyncio.timeout(DEADLINE):
        while not any(slot["synced"] and not slot["temporary"] for slot in copy.slots()):
            key += 1
            database.execute("INSERT INTO t VALUES (%s)", key)
            database.execute("SELECT pg_log_standby_snapshot()")  # lets the slot move on, which else takes 15 seconds
            place = await acknowledged(source, stream, key)
    return place, key


async def acknowledged(source, stream, key):
    """Read up to a row, and say that it is delivered."""
    while True:
        rows = await anext(stream)
        if [row["id"] for row in plain([rows])][-1:] == [key]:
            await source.acknowledge(rows.end)
            return rows.end


@pytest.mark.fault("F51")
@since(17)
async def test_a_promoted_standby_is_followed_on(pair):
    """Its slot goes on at the very change: nothing is lost, nothing comes twice, numbers rise. Before, it is waited for."""
    primary, copy = pair()
    database = primary.database()
    async with following(database, "t") as source, aclosing(await streaming(source)) as stream:
        place, key = await followed(source, database, copy, stream)
    database.execute("INSERT INTO t VALUES (%s)", key + 1)
    copy.wait_for(primary.lsn())
    primary.kill()
    spot = places.read(place.position)
    async with following(copy.database(), "t") as source:
        with pytest.raises(TryAgainError, match="a copy of the primary's"):
            await gather(source, place)
        with pytest.raises(TryAgainError, match="a standby that has not come to the place"):
            await gather(source, replace(spot, lsn=spot.lsn + (1 << 30)).place(place.previous))
    copy.promote()
    copy.execute("INSERT INTO t VALUES (%s)", key + 2)
    async with following(copy.database(), "t") as source:
        rows = await gather(source, place)
        again = await gather(source, rows[-1].end)

    after = places.read(rows[-1].end.position)
    assert [row["id"] for row in plain(rows)] == [key + 1, key + 2]
    assert min(number for one in rows for number in one.indexes) > place.previous
    assert (after.system, spot.timeline, after.timeline) == (spot.system, 1, 2)
    assert plain(again) == []


@since(17)
async def test_a_primary_that_waits_for_its_standby_is_never_ahead_of_it(pair):
    """With synchronized_standby_slots no row comes that a promotion would undo; the connection lives while it waits."""
    primary, copy = pair(synchronized_standby_slots="standby")
    database = primary.database()
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'WaitForStandbyConfirmation'"
    told = f"SELECT reply_time FROM pg_stat_replication r JOIN pg_replication_slots s ON s.active_pid = r.pid WHERE slot_name = '{NAME}'"
    async with following(database, "t", heartbeat=0.2) as source, aclosing(await streaming(source)) as stream:
        place, key = await followed(source, database, copy, stream)
        copy.pause()
        database.execute("INSERT INTO t VALUES (%s)", key + 1)
        coming = asyncio.ensure_future(acknowledged(source, stream, key + 1))
        await until(lambda: database.execute(waiting) or coming.done())
        for _ in range(5):
            last = database.execute(told)
            await until(lambda last=last: database.execute(told) != last or coming.done())
        silent = not coming.done()
        primary.kill()
        with pytest.raises(TryAgainError):
            await coming
    copy.resume()
    copy.promote()
    copy.execute("INSERT INTO t VALUES (%s)", key + 2)
    async with following(copy.database(), "t") as source:
        rows = await gather(source, place)

    assert silent
    # The row of the old primary may have reached the standby, and may not.
    assert plain(rows) == [row for row in copy.database().rows("t") if row["id"] > key]


@since(16)
async def test_a_standby_is_followed(private_postgres):
    """Where its primary holds the publication: nothing is written to the standby but its own slot."""
    primary = private_postgres()
    primary.execute("SELECT pg_create_physical_replication_slot('standby')")
    database = primary.database()
    database.create("t", "id int PRIMARY KEY")
    copy = private_postgres(standby_of=primary, primary_slot_name="standby", hot_standby_feedback="on")
    source = unopened(copy.database(), "t", publication="p")
    await source.open()
    with pytest.raises(HaltSyncError, match="no publication of the tables") as raised:
        await prepared(source)
    database.execute(raised.value.fix.partition("run: ")[2])
    copy.wait_for(primary.lsn())
    said = [one for one in await source.check() if one.level is Level.ERROR]
    await nudged(primary, prepared(source))
    place = await standing(source)
    database.execute("INSERT INTO t VALUES (1)")
    copy.wait_for(primary.lsn())
    rows = await gather(source, place)
    await source.close()

    assert said == []
    assert plain(rows) == [{"id": 1}]
    assert NAME in [slot["slot_name"] for slot in copy.slots()]
    assert NAME not in [slot["slot_name"] for slot in primary.slots()]


async def nudged(primary, making):
    """Have a standby's slot made: it waits for a word of the primary's, which else takes 15 seconds."""
    task = asyncio.ensure_future(making)

    def made():
        primary.execute("SELECT pg_log_standby_snapshot()")
        return task.done()

    await until(made)
    await task


@since(17)
async def test_copies_of_a_slot_are_as_they_are_chosen(private_postgres):
    """When it is made, and later without its being made anew: the place stays."""
    database = private_postgres().database()
    database.create("t", "id int PRIMARY KEY")
    found = []
    async with following(database, "t", failover=False) as source:
        place = await standing(source)
        found += database.server.slots()
    database.execute("INSERT INTO t VALUES (1)")
    for failover in (True, True, False):
        async with following(database, "t", failover=failover) as source:
            assert [row["id"] for row in plain(await gather(source, place))] == [1]
            found += database.server.slots()

    assert [slot["failover"] for slot in found] == [False, True, True, False]


# ------------------------------------------------------------------ generated columns

GENERATED = "id int PRIMARY KEY, a int, s int GENERATED ALWAYS AS (a * 2) STORED, v int GENERATED ALWAYS AS (a * 3) {kind}, b text"


@pytest.mark.parametrize(
    ("version", "options"),
    [
        (120_000, ""),
        (130_000, " WITH (publish_via_partition_root = true)"),
        (180_000, " WITH (publish_via_partition_root = true, publish_generated_columns = stored)"),
    ],
)
def test_what_a_publication_is_told(version, options):
    """As much as the server knows of."""
    assert slots.statement("p", [], version) == f'CREATE PUBLICATION "p" FOR TABLE {options}'


@since(18)
@pytest.mark.parametrize("published", ["stored", "none"])
async def test_generated_columns_are_left_out_whether_published_or_not(postgres_database, published):
    """Stored and virtual ones alike, of the snapshot and of each change."""
    postgres_database.create("t", GENERATED.format(kind="VIRTUAL"))
    postgres_database.execute(
        f"INSERT INTO t (id, a) VALUES (1, 1); CREATE PUBLICATION p FOR TABLE t WITH (publish_generated_columns = {published})"
    )
    async with following(postgres_database, "t", deletes=Deletes.MARK, publication="p") as source:
        picture = await pictured(source)
        postgres_database.execute(
            "INSERT INTO t (id, a) VALUES (2, 2); UPDATE t SET id = 3 WHERE id = 2; DELETE FROM t"
        )
        rows = await gather(source, picture.place)

    def written(key, a):
        return {"id": key, "a": a, "b": None, "_deleted": False}

    assert stored(picture) == [written(1, 1)]
    gone = [{"id": key, "_deleted": True} for key in (2, 1, 3)]
    assert plain(rows) == [written(2, 2), gone[0], written(3, 2), *gone[1:]]


@since(18)
async def test_whole_old_rows_with_generated_columns(postgres_database):
    """The application can still update and delete; its large values come out of the old row."""
    postgres_database.create("t", GENERATED.format(kind="STORED"))
    postgres_database.execute("ALTER TABLE t REPLICA IDENTITY FULL; ALTER TABLE t ALTER b SET STORAGE EXTERNAL")
    async with following(postgres_database, "t") as source:
        place = await standing(source)
        postgres_database.execute("INSERT INTO t (id, a, b) VALUES (1, 1, repeat('x', 20000))")
        postgres_database.execute("UPDATE t SET a = 2")
        postgres_database.execute("DELETE FROM t")
        rows = plain(await gather(source, place))

    assert rows == [{"id": 1, "a": a, "b": "x" * 20000} for a in (1, 2, 2)]


@since(18)
async def test_virtual_columns_in_whole_old_rows_are_refused(postgres_database):
    """Once published, the application's own updates would fail: nothing is published, and check says so."""
    postgres_database.create("t", GENERATED.format(kind="VIRTUAL"))
    postgres_database.execute("ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t (id) VALUES (1)")
    source = unopened(postgres_database, "t")
    await source.open()
    said = [one for one in await source.check() if one.level is Level.ERROR]
    with pytest.raises(HaltSyncError, match="has virtual generated columns") as raised:
        await prepared(source)
    published = postgres_database.rows("pg_publication")
    postgres_database.execute("CREATE PUBLICATION p FOR TABLE t WITH (publish_generated_columns = stored)")
    with pytest.raises(psycopg.errors.InvalidColumnReference):
        postgres_database.execute("UPDATE t SET a = 2")
    postgres_database.execute(raised.value.fix.partition(",")[0])
    postgres_database.execute("UPDATE t SET a = 2")
    await prepared(source)
    await source.close()

    assert published == []
    assert ["has virtual generated columns" in one.what for one in said] == [True]


@since(18)
async def test_a_publication_made_before_version_18_is_mended(postgres_database):
    """As soon as the sync starts; what the log holds from before reads as what came since."""
    postgres_database.create("t", GENERATED.format(kind="STORED"))
    async with following(postgres_database, "t") as source:
        place = await standing(source)
    for published in ("none", "stored"):
        postgres_database.execute(f"ALTER PUBLICATION {NAME} SET (publish_generated_columns = {published})")
        postgres_database.execute("INSERT INTO t (id, a) SELECT count(*), 7 FROM t")
    postgres_database.execute(f"ALTER PUBLICATION {NAME} SET (publish_generated_columns = none)")
    postgres_database.execute("ALTER TABLE t REPLICA IDENTITY FULL")
    with pytest.raises(psycopg.errors.InvalidColumnReference):
        postgres_database.execute("UPDATE t SET a = 8")
    async with following(postgres_database, "t") as source:
        said = [one for one in await source.check() if one.level is Level.ERROR]
        postgres_database.execute("UPDATE t SET a = 8 WHERE id = 1")
        rows = await gather(source, place)

    assert said == []
    assert plain(rows) == [{"id": key, "a": a, "b": None} for key, a in ((0, 7), (1, 7), (1, 8))]


@since(18)
async def test_somebody_else_s_publication_without_generated_columns_is_refused(postgres_database):
    """With the statement for its owner."""
    postgres_database.create("t", GENERATED.format(kind="STORED"))
    postgres_database.execute("ALTER TABLE t REPLICA IDENTITY FULL; CREATE PUBLICATION p FOR TABLE t")
    source = unopened(postgres_database, "t", publication="p")
    await source.open()
    [said] = [one for one in await source.check() if one.level is Level.ERROR]
    with pytest.raises(HaltSyncError, match="leaves out generated columns"):
        await prepared(source)
    postgres_database.execute(said.fix)
    await prepared(source)
    await source.close()


async def test_a_key_of_generated_columns_is_refused(postgres_database):
    """It is in no event, so that nobody could tell which row a change is of; what is said to do helps."""
    postgres_database.create("t", "id int GENERATED ALWAYS AS (a * 2) STORED PRIMARY KEY, a int NOT NULL UNIQUE")
    source = unopened(postgres_database, "t")
    await source.open()
    with pytest.raises(HaltSyncError, match="known in the log by generated columns") as raised:
        await prepared(source)
    assert postgres_database.rows("pg_publication") == []
    postgres_database.execute(raised.value.fix.partition(",")[0].replace("…", "t_a_key"))
    await source.discover()
    await prepared(source)
    await source.close()


# ------------------------------------------------------------------ publications that were gone


@since(18)
async def test_changes_without_a_publication_are_a_lost_place(postgres_database):
    """The server passes over them; it is said, behind all that came before, and gone on behind it."""
    postgres_database.create("t", "id int PRIMARY KEY")
    postgres_database.execute("CREATE PUBLICATION p FOR TABLE t")
    async with following(postgres_database, "t", publication="p") as source:
        place = await standing(source)
        postgres_database.execute("INSERT INTO t VALUES (1)")
        postgres_database.execute("DROP PUBLICATION p; INSERT INTO t VALUES (2)")
        postgres_database.execute("CREATE PUBLICATION p FOR TABLE t; INSERT INTO t VALUES (3)")
        came = []

        async def read():
            async for rows in source.stream(place, (await source.head(place)).position):
                came.extend(plain([rows]))

        with pytest.raises(LostPlaceError, match="publication p was gone for a while") as raised:
            await read()
        postgres_database.execute("INSERT INTO t VALUES (4)")
        after = plain(await gather(source, raised.value.place))

    assert [row["id"] for row in came + after] == [1, 3, 4]


# ------------------------------------------------------------------ idle slots


@since(18)
async def test_a_slot_that_was_idle_for_too_long_is_lost(private_postgres):
    """By a setting of the server's, which is named: in check, and where the sync finds its place gone."""
    database = private_postgres(idle_replication_slot_timeout="1s").database()
    database.create("t", "id int PRIMARY KEY")
    async with following(database, "t"):
        pass

    def invalid():
        database.execute("CHECKPOINT")
        return database.server.slots()[0]["invalidation_reason"]

    await until(invalid)
    source = unopened(database, "t")
    await source.open()
    said = [one.what for one in await source.check() if "of no use any more" in one.what]
    with pytest.raises(
        LostPlaceError, match=r"idle_timeout, nobody read it .* idle_replication_slot_timeout"
    ) as raised:
        await prepared(source)
    await prepared(source, mend=True)
    await source.close()

    assert "raise idle_replication_slot_timeout" in raised.value.fix
    assert ["idle_replication_slot_timeout" in what for what in said] == [True]
