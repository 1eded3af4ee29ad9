"""What keeps the log on a server, and lets it go: slots that stand still, are lost or stay behind, publications that change."""

import asyncio
import os
import signal
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from types import SimpleNamespace

import pytest
from postgres_following import following, gather, plain, prepared, session, standing, unopened

from fuagent.errors import HaltSyncError, LostPlaceError, TryAgainError
from fuagent.model import Anchor, Place
from fuagent.sources.postgres import dump, places, slots
from fuagent.sources.postgres.slots import publication
from fuagent.wire.postgres import lsn
from harness.postgres import installed, since
from harness.proxy import Proxy

NAME = "fuagent_0123456789ab_suite"
TABLE = "id int PRIMARY KEY, v text"
GONE = f'publication "{NAME}" does not exist|publication {NAME} was gone for a while'
"""From version 18 on the server does not stop at it but passes over what was changed."""


def ids(rows):
    """The keys of what came."""
    return [row["id"] for row in plain(rows)]


def kept(database, name=NAME):
    """Where the slot stands: what it has confirmed, and where the log that it keeps begins."""
    query = "SELECT confirmed_flush_lsn::text, restart_lsn::text FROM pg_replication_slots WHERE slot_name = %s"
    [(confirmed, restart)] = database.execute(query, name)
    return lsn.number(confirmed), lsn.number(restart)


async def patiently(ask):
    """Its answer, once the server has seen that the reader before is gone."""
    async with asyncio.timeout(30):
        while True:
            with suppress(TryAgainError):
                return await ask()
            await asyncio.sleep(0.02)


async def until(condition, deadline=30):
    """Poll."""
    async with asyncio.timeout(deadline):
        while not condition():
            await asyncio.sleep(0.02)


async def following_rows(stream):
    """The next Rows with a row in it."""
    rows = await anext(stream)
    return rows if rows.rows else await following_rows(stream)


async def drained(stream, came):
    """Read on, into ``came``, until it ends."""
    async with asyncio.timeout(30):
        async for rows in stream:
            came.append(rows)


@asynccontextmanager
async def acknowledging(source, place):
    """The stream, read as the engine does where nothing is in flight: all that comes is acknowledged. Gives the Rows."""
    came = []

    async def read():
        async with aclosing(source.stream(place)) as stream:
            async for rows in stream:
                came.append(rows)
                if rows.boundary:
                    await source.acknowledge(rows.end)

    task = asyncio.create_task(read())
    try:
        yield came
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


# ------------------------------------------------------------------ moving on


@pytest.mark.fault("F35")
@since(13)
@pytest.mark.usefixtures("patient")
async def test_a_quiet_database_beside_a_busy_one_keeps_no_log(private_postgres):
    """Nothing of the sync's happens for megabytes: its slot moves on all the same, and the server throws the log away."""
    server = private_postgres(min_wal_size="2MB", max_wal_size="2MB", wal_keep_size=0)
    quiet, busy = server.database("quiet"), server.database("busy")
    quiet.create("t", TABLE)
    busy.execute("CREATE TABLE t (id int, v text)")
    async with following(quiet, "t", heartbeat=0.2) as source:
        place = await standing(source)
        first = kept(quiet)
        async with acknowledging(source, place) as came:
            [(held,)] = server.execute("SELECT pg_walfile_name(%s)", lsn.text(first[1]))
            oldest = "SELECT min(name) > %s FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'"
            async with asyncio.timeout(60):
                while min(kept(quiet)) < max(first) + (4 << 20) or server.execute(oldest, held) != [(True,)]:
                    # At a checkpoint the server lets go of log, and says what is under way.
                    for statement in (
                        "INSERT INTO t SELECT n, repeat('x', 900) FROM generate_series(1, 1000) n",
                        "CHECKPOINT",
                    ):
                        await asyncio.to_thread(busy.execute, statement)
            quiet.execute("INSERT INTO t VALUES (1)")
            await until(lambda: ids(came) == [1])

    assert ids(came) == [1]


@pytest.mark.fault("F36")
@pytest.mark.usefixtures("patient")
async def test_nothing_is_confirmed_before_it_is_acknowledged(postgres_database):
    """Not by answers to the server either, though it asks; what was not acknowledged comes again after a broken connection."""
    database = postgres_database
    database.create("t", TABLE)
    async with following(database, "t", heartbeat=0.1) as source:
        place = await standing(source)
        start = places.read(place.position).lsn
        async with aclosing(source.stream(place)) as stream:
            await anext(stream)
            session(database, "INSERT INTO t VALUES (1)")
            first = await following_rows(stream)
            await source.acknowledge(first.end)
            session(database, "INSERT INTO t VALUES (2)")
            second = await following_rows(stream)
            database.execute("CREATE TABLE others AS SELECT n, repeat('x', 100) FROM generate_series(1, 30000) n")
            told = "SELECT flush_lsn::text, write_lsn::text FROM pg_stat_replication WHERE application_name = 'fuagent'"
            behind = places.read(second.end.position).lsn

            def received():
                [(_, written)] = database.execute(told)
                return lsn.number(written) > behind

            waiting = asyncio.create_task(drained(stream, []))
            await until(received)
            [(flushed, _)] = database.execute(told)
            confirmed, _ = kept(database)
            for pid in database.server.senders():
                database.server.terminate(pid)
            with pytest.raises(TryAgainError):
                await waiting
    async with following(database, "t") as source:
        again = await gather(source, first.end)

    assert (ids([first]), ids([second])) == ([1], [2])
    assert start < lsn.number(flushed) == confirmed == places.read(first.end.position).lsn
    assert [bytes(text) for rows in again for text in rows.rows] == [bytes(text) for text in second.rows]


@pytest.mark.fault("F45")
async def test_a_transaction_that_is_open_over_a_restart_comes_whole(postgres_database):
    """What others commit meanwhile is acknowledged; the slot still holds all of it."""
    database = postgres_database
    database.create("t", TABLE)
    with database.connect(autocommit=False) as long:
        async with following(database, "t") as source:
            place = await standing(source)
            long.execute("INSERT INTO t SELECT n FROM generate_series(1, 50) n")
            async with acknowledging(source, place) as came:
                session(database, "INSERT INTO t VALUES (100)")
                await until(lambda: ids(came) == [100])
                end = next(rows for rows in reversed(came) if rows.rows).end
                await until(lambda: kept(database)[0] >= places.read(end.position).lsn)
        database.execute("CHECKPOINT")
        long.execute("INSERT INTO t SELECT n FROM generate_series(51, 60) n")
        async with following(database, "t") as source:
            assert ids(await gather(source, end)) == []
        long.commit()
    async with following(database, "t") as source:
        assert ids(await gather(source, end)) == [*range(1, 61)]


@pytest.mark.fault("F43")
async def test_every_row_of_one_position_can_be_gone_on_from(postgres_database):
    """COPY writes them into one record: behind each of them the rest comes, none twice and none skipped."""
    database = postgres_database
    database.create("t", TABLE)
    async with following(database, "t", chunk_rows=3) as source:
        place = await standing(source)
        with database.connect() as connection, connection.cursor().copy("COPY t (id) FROM STDIN") as copy:
            for key in range(1, 11):
                copy.write_row([key])
        rows = await gather(source, place)
        numbers = [number for one in rows for number in one.indexes]
        start = next(one for one in rows if one.rows).start
        places = [Place(start.position, start.previous, number) for number in numbers]
        rest = [await patiently(partial(gather, source, one)) for one in places]
        located = [
            await patiently(partial(source.locate, [Anchor(place.previous, place)], number)) for number in numbers
        ]
        again = [await patiently(partial(gather, source, one)) for one in located]

    assert ids(rows) == [*range(1, 11)]
    wanted = [[*range(key + 1, 11)] for key in range(1, 11)]
    assert [ids(one) for one in rest] == wanted
    assert [ids(one) for one in again] == wanted
    assert [[n for one in some for n in one.indexes] for some in again] == [numbers[key:] for key in range(1, 11)]


# ------------------------------------------------------------------ left behind


@pytest.mark.fault("F34")
async def test_a_slot_that_a_crash_left_in_use_is_waited_for(private_postgres, monkeypatch):
    """The server does not know yet that its reader is gone. It is said who reads, and how long that lasts; then it goes on."""
    monkeypatch.delitem(dump._SENDER, "wal_sender_timeout")  # the server's own is let run out when it is time
    database = private_postgres(wal_sender_timeout=None).database()
    database.create("t", TABLE)
    async with Proxy(database.server.port) as proxy:
        far = SimpleNamespace(url=lambda: f"postgres://127.0.0.1:{proxy.port}/{database.name}")
        async with following(far, "t") as gone, following(database, "t") as source:
            place = await standing(source)
            async with aclosing(gone.stream(place)) as stream:
                await anext(stream)
                proxy.hold()
                [pid] = database.server.senders()
                database.execute("INSERT INTO t VALUES (1)")
                with pytest.raises(TryAgainError, match=rf"read already \(process {pid} of the server\)") as refused:
                    await gather(source, place)
                database.execute("ALTER SYSTEM SET wal_sender_timeout = '100ms'")
                database.execute("SELECT pg_reload_conf()")
                await until(lambda: not database.server.senders())
                kept_on = [slot["slot_name"] for slot in database.server.slots()]
                database.execute("ALTER SYSTEM RESET wal_sender_timeout")
                database.execute("SELECT pg_reload_conf()")
                found = await gather(source, place)

    assert "wal_sender_timeout" in refused.value.fix
    assert kept_on == [NAME]
    assert ids(found) == [1]


@pytest.mark.fault("F32")
@pytest.mark.parametrize("change", ["made anew", "moved on"])
async def test_a_slot_that_lies_behind_the_place_is_a_lost_place(postgres_database, change):
    """Somebody made it anew under its name, or moved it: the server would begin there without a word."""
    database = postgres_database
    database.create("t", TABLE)
    async with following(database, "t") as source:
        place = await standing(source)
    session(database, "INSERT INTO t VALUES (1)")
    if change == "made anew":
        database.execute("SELECT pg_drop_replication_slot(%s)", NAME)
        database.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", NAME)
    else:
        database.execute("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", NAME)
    session(database, "INSERT INTO t VALUES (2)")
    async with following(database, "t") as source:
        with pytest.raises(LostPlaceError, match="has let go"):
            await gather(source, place)
        with pytest.raises(LostPlaceError, match="has let go"):
            await source.locate([Anchor(place.previous, place)], place.previous)
        rest = await gather(source, await source.oldest(place.previous))

    assert ids(rest) == [2]


async def test_two_syncs_of_one_database_know_nothing_of_each_other(postgres_database):
    """Each has its own slot, publication and tables; taking one away leaves the other as it was."""
    database = postgres_database
    for table in ("t", "u"):
        database.create(table, TABLE)
    async with following(database, "t", sync="one") as one, following(database, "t", "u", sync="two") as two:
        places_ = [await standing(source) for source in (one, two)]
        session(database, "INSERT INTO t VALUES (1)", "INSERT INTO u VALUES (2)")
        first = [ids(await gather(source, place)) for source, place in zip((one, two), places_, strict=True)]
        done = await one.remove()
        session(database, "INSERT INTO u VALUES (3)")
        rest = ids(await gather(two, places_[1]))

    assert first == [[1], [1, 2]]
    assert len(done) == 2
    assert rest == [1, 2, 3]


# ------------------------------------------------------------------ publications


@pytest.mark.fault("F41")
async def test_a_publication_that_was_made_anew_is_got_past(postgres_database):
    """No reader gets past a change it was not there for: the place is lost once, and then lies behind it."""
    database = postgres_database
    database.create("t", TABLE)
    async with following(database, "t") as source:
        place = await standing(source)
        session(database, "INSERT INTO t VALUES (1)")
        database.execute(f"DROP PUBLICATION {NAME}")
        session(database, "INSERT INTO t VALUES (2)")
        database.execute(f"CREATE PUBLICATION {NAME} FOR TABLE t")
        session(database, "INSERT INTO t VALUES (3)")
        stream = source.stream(place)
        came = [await anext(stream)]
        with pytest.raises(LostPlaceError, match=GONE) as lost:
            await drained(stream, came)
        session(database, "INSERT INTO t VALUES (4)")
        rest = await gather(source, lost.value.place)

    assert ids(came) == ([1, 3] if installed() >= 18 else [1])
    assert ids(rest) == [4]


@pytest.mark.fault("F41")
async def test_a_slot_that_is_older_than_its_publication_is_got_past(postgres_database):
    """Somebody made both, in the wrong order."""
    database = postgres_database
    database.create("t", TABLE)
    database.execute(f"SELECT pg_create_logical_replication_slot('{NAME}', 'pgoutput')")
    session(database, "INSERT INTO t VALUES (1)")
    database.execute(f"CREATE PUBLICATION {NAME} FOR TABLE t")
    async with following(database, "t") as source:
        with pytest.raises(LostPlaceError) as lost:
            await gather(source, await source.oldest(1))
        session(database, "INSERT INTO t VALUES (2)")
        rest = await gather(source, lost.value.place)

    assert ids(rest) == [2]


async def test_a_publication_that_is_gone_is_a_lost_place(postgres_database):
    """In the middle, and at the next start; it is made anew with another slot, which is behind all that is missing."""
    database = postgres_database
    database.create("t", TABLE)
    async with following(database, "t") as source:
        place = await standing(source)
        database.execute(f"DROP PUBLICATION {NAME}")
        session(database, "INSERT INTO t VALUES (1)")
        with pytest.raises(LostPlaceError, match=GONE) as lost:
            await gather(source, place)
    source = unopened(database, "t")
    await source.open()
    with pytest.raises(LostPlaceError, match="is gone, and its slot is not"):
        await prepared(source)
    await prepared(source, mend=True)
    with pytest.raises(LostPlaceError, match="has let go"):
        await source.locate([Anchor(7, lost.value.place)], 7)
    oldest = await source.oldest(7)
    session(database, "INSERT INTO t VALUES (2)")
    rest = await gather(source, oldest)
    await source.close()

    assert ids(rest) == [2]


@pytest.mark.fault("F42")
@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("ALTER PUBLICATION {p} DROP TABLE t", "taken out of publication"),
        ("ALTER PUBLICATION {p} DROP TABLE t; ALTER PUBLICATION {p} ADD TABLE t", "though it is there again"),
        ("ALTER PUBLICATION {p} SET (publish = 'insert')", "every kind of change"),
        pytest.param("ALTER PUBLICATION {p} SET TABLE t WHERE (id > 1)", "some rows of table t", marks=since(15)),
    ],
)
@pytest.mark.usefixtures("patient")
async def test_a_publication_that_is_altered_in_mid_stream_is_noticed(postgres_database, monkeypatch, statement, what):
    """The log says nothing of it."""
    monkeypatch.setattr("fuagent.sources.postgres.source._LOOK", 0.0)
    database = postgres_database
    database.create("t", TABLE)
    async with following(database, "t", heartbeat=0.2) as source:
        stream = source.stream(await standing(source))
        await anext(stream)
        database.execute("ALTER TABLE t ADD w int")
        session(database, "INSERT INTO t VALUES (1)")
        assert ids([await anext(stream)]) == [1]
        database.execute(statement.format(p=NAME))
        with pytest.raises(LostPlaceError, match=what):
            await drained(stream, [])


@pytest.mark.fault("F42")
async def test_a_table_that_was_taken_out_while_nobody_read_is_lost(postgres_database):
    """It is in the publication again, and of what was changed in between the log holds nothing."""
    database = postgres_database
    database.create("t", TABLE)
    async with following(database, "t") as source:
        await standing(source)
    source = unopened(database, "t")
    await source.open()
    await prepared(source)
    database.execute(f"ALTER PUBLICATION {NAME} DROP TABLE t")
    session(database, "INSERT INTO t VALUES (1)")
    database.execute(f"ALTER PUBLICATION {NAME} ADD TABLE t")
    with pytest.raises(LostPlaceError, match="though it is there again"):
        await prepared(source)
    await prepared(source, mend=True)
    await prepared(source)
    await source.close()


@pytest.mark.parametrize(
    ("made", "everything"),
    [
        pytest.param("FOR TABLE parted, plain", False, marks=since(13)),
        pytest.param("FOR TABLE parted, plain WITH (publish_via_partition_root = true)", False, marks=since(13)),
        ("FOR ALL TABLES", True),
        pytest.param("FOR TABLES IN SCHEMA public", True, marks=since(15)),
    ],
)
async def test_a_publication_takes_in_everything_or_what_it_names(postgres_database, opened, address, made, everything):
    """Partitions are not named one by one, and yet their table is."""
    database = postgres_database
    database.execute(
        "CREATE TABLE plain (id int PRIMARY KEY); CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY LIST (id)"
    )
    database.execute("CREATE TABLE part PARTITION OF parted FOR VALUES IN (1)")
    database.execute(f"CREATE PUBLICATION {NAME} {made}")
    found = await publication(await opened(address(database)), NAME)

    assert found.everything is everything


@pytest.mark.fault("F53")
async def test_what_holds_up_the_first_slot_is_named(private_postgres, monkeypatch):
    """An open transaction, or one that was prepared and forgotten; nothing of ours stays, and when it has ended all goes on."""
    monkeypatch.setattr("fuagent.sources.postgres.slots.WAIT_FOR", 0.5)
    server = private_postgres(max_prepared_transactions=2)
    database = server.database()
    database.create("t", TABLE)
    source = unopened(database, "t")
    await source.open()
    with database.connect(autocommit=False) as other:
        other.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(TryAgainError, match=f"process {other.info.backend_pid} of the server") as open_one:
            await prepared(source)
        other.rollback()
    with database.connect() as other:
        for statement in ("BEGIN", "INSERT INTO t VALUES (2)", "PREPARE TRANSACTION 'forgotten'"):
            other.execute(statement)
    with pytest.raises(TryAgainError, match="prepared transaction forgotten"):
        await prepared(source)
    left = server.slots()
    monkeypatch.undo()  # a slot that nothing holds up may take longer than that on a busy machine
    database.execute("ROLLBACK PREPARED 'forgotten'")
    await prepared(source)
    await source.close()

    assert "pg_terminate_backend" in open_one.value.fix
    assert left == []
    assert [slot["slot_name"] for slot in server.slots()] == [NAME]


@pytest.mark.fault("F53")
async def test_a_slot_that_was_given_up_is_gone_before_it_is_asked_for_again(private_postgres, monkeypatch):
    """Half made, it would be taken for a whole one, and be gone a moment later."""
    given_up = slots.given_up

    async def late(link, pid, error):
        os.kill(pid, signal.SIGSTOP)
        asyncio.get_running_loop().call_later(0.5, os.kill, pid, signal.SIGCONT)
        return await given_up(link, pid, error)

    monkeypatch.setattr(slots, "WAIT_FOR", 0.5)
    monkeypatch.setattr(slots, "LEAVING", 60.0)
    monkeypatch.setattr(slots, "given_up", late)
    database = private_postgres().database()
    database.create("t", TABLE)
    source = unopened(database, "t")
    await source.open()
    with database.connect(autocommit=False) as other:
        other.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(TryAgainError, match=f"process {other.info.backend_pid} of the server"):
            await prepared(source)
        left = database.server.slots()
    await source.close()

    assert left == []


@pytest.mark.fault("F49")
@since(13)
async def test_partitions_that_are_published_one_by_one_are_named(postgres_database):
    """It is said what to mend, and nothing is followed before it is."""
    database = postgres_database
    database.execute("CREATE TABLE t (id int PRIMARY KEY) PARTITION BY LIST (id)")
    database.execute("CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1)")
    database.own("t", "t1")
    database.execute(f"CREATE PUBLICATION {NAME} FOR TABLE t")
    source = unopened(database, "t")
    await source.open()
    found = await source.check()
    with pytest.raises(HaltSyncError, match="partitions under their own names"):
        await prepared(source)
    await source.close()

    assert [one.what for one in found if "takes in tables by itself" in one.what] == []
    assert [one.fix for one in found if "partitions under their own names" in one.what] == [
        f'ALTER PUBLICATION "{NAME}" SET (publish_via_partition_root = true);'
    ]
