"""Connections to live servers: encrypted, refused, cut, and to servers that die or are replaced under the reader."""

import asyncio
import re
from contextlib import aclosing
from dataclasses import replace

import pytest
from postgres_following import following, gather, pictured, plain, prepared, standing, stored, unopened
from pydantic import ValidationError

from fuagent.errors import FuagentError, HaltSyncError, LostPlaceError, TryAgainError, UnauthorisedError
from fuagent.model import Anchor, Credential, Secret
from fuagent.sources.postgres import faults, places, slots
from fuagent.sources.postgres.dump import Dump
from fuagent.sources.postgres.options import Options
from harness import certificates
from harness.postgres import USER, since

TABLE = "id int PRIMARY KEY, v text"


def ids(rows):
    """The keys of what came."""
    return [row["id"] for row in plain(rows)]


@pytest.fixture
def database(private_postgres):
    """A database on a server that tests may stop, kill and set up anew."""
    made = private_postgres().database()
    made.create("t", TABLE)
    return made


# ------------------------------------------------------------------ encrypted


@pytest.fixture
def sealed(private_postgres, tmp_path):
    """The same behind TLS, and the authority of its certificate."""
    certs = certificates.make(tmp_path)
    server = private_postgres()
    own = {name: str(server.keep(name, path.read_bytes())) for name, path in (("cert", certs.cert), ("key", certs.key))}
    server.restart(ssl="on", ssl_cert_file=own["cert"], ssl_key_file=own["key"])
    server.admit(f"hostnossl all {USER} 127.0.0.1/32 reject")
    made = server.database()
    made.create("t", TABLE)
    return made, str(certs.ca)


@pytest.mark.fault("S04")
async def test_everything_goes_over_tls(sealed):
    """Snapshot and log, in many frames; the certificate is proven."""
    database, ca = sealed
    database.execute("INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 3000) n")
    async with following(database, "t", tls="verify", tls_ca=ca) as source:
        picture = await pictured(source)
        database.execute("INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(3001, 6000) n")
        rows = await gather(source, picture.place)
        async with aclosing(source.stream(rows[-1].end)) as stream:
            assert (await anext(stream)).at_end
            database.execute("INSERT INTO t VALUES (7000)")
            assert ids([await anext(stream)]) == [7000]

    assert len(stored(picture)) == 3000
    assert ids(rows) == [*range(3001, 6001)]


async def test_a_server_that_ends_under_tls(sealed):
    """It is tried again."""
    database, _ = sealed
    async with following(database, "t", tls="require") as source:
        stream = source.stream(await standing(source))
        await anext(stream)
        database.server.kill()
        with pytest.raises(TryAgainError):
            await anext(stream)


async def test_what_is_refused_under_tls(sealed):
    """A slot that is gone is said over TLS too; without TLS nobody is let in; an unknown authority is none."""
    database, _ = sealed
    async with following(database, "t", tls="require") as source:
        with pytest.raises(LostPlaceError, match="is gone"):
            await Dump.open(source._reached, "nothing", "nothing", 0, 1.0)
    with pytest.raises(UnauthorisedError, match=r"no such connection|refused"):
        await unopened(database, "t", tls="off").open()
    with pytest.raises(TryAgainError, match="certificate is not proven"):
        await unopened(database, "t", tls="verify").open()


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("credential", "endpoint", "kind", "what"),
    [
        ({"password": "wrong"}, None, UnauthorisedError, "login was refused"),
        ({"user": "nobody"}, None, UnauthorisedError, "login was refused"),
        ({}, "postgres://127.0.0.1:{port}/nothing", HaltSyncError, "no such database"),
        ({}, "postgres://127.0.0.1:1/shop", TryAgainError, "nothing listens"),
        ({}, "postgres://no-such-host.invalid/shop", TryAgainError, "name is not known"),
        ({}, "postgres://%2Fno%2Fsuch/shop", TryAgainError, "nothing listens"),
    ],
)
async def test_who_is_not_let_in(postgres, credential, endpoint, kind, what):
    """Each with its reason; no password is in it."""
    source = unopened(postgres.database(), "t")
    told = {"user": USER, "password": "fuagent-password", **credential}
    given = Credential(user=told["user"], password=Secret(told["password"]))
    source._context = replace(
        source._context,
        credential=lambda: given,
        endpoint=(endpoint or source._context.endpoint).format(port=postgres.port),
    )
    with pytest.raises(kind, match=what) as raised:
        await source.open()
    assert told["password"] not in str(raised.value)


async def test_nothing_is_taken_from_the_environment(postgres_database, monkeypatch):
    """libpq's variables lead nowhere."""
    postgres_database.create("d", "id int PRIMARY KEY, v date")
    postgres_database.execute("INSERT INTO d VALUES (1, '2024-02-29')")
    # The fixture has to find the server again when the test is over.
    with monkeypatch.context() as patched:
        for name, value in {"PGHOSTADDR": "127.9.9.9", "PGPORT": "1", "PGOPTIONS": "-c datestyle=German"}.items():
            patched.setenv(name, value)
        found = await dates(postgres_database)

    assert found == [{"id": 1, "v": "2024-02-29"}]


async def dates(database):
    """What a snapshot has of them."""
    async with following(database, "d") as source:
        return stored(await pictured(source))


@pytest.mark.parametrize(
    ("state", "message", "kind", "what"),
    [
        ("55006", 'replication slot "s" is active for PID 77', TryAgainError, "process 77"),
        ("55006", "object in use", TryAgainError, "is being read already"),
        ("55000", 'cannot use replication slot "s" for logical decoding', TryAgainError, "a copy of the primary's"),
        ("55000", "something else", TryAgainError, "in use"),
        ("53400", "all replication slots are in use", HaltSyncError, "no replication slot left"),
        ("XX000", "secret", TryAgainError, "the server failed"),
        ("22000", "secret", HaltSyncError, "with error 22000"),
    ],
)
def test_errors_by_their_sqlstate(state, message, kind, what):
    """What happens next, and no text that may hold a value."""
    error = faults.said(state, message, "here")
    assert type(error) is kind
    assert what in error.what
    assert "secret" not in str(error)


def test_errors_that_have_no_sqlstate():
    """A broken connection is tried again; what speaks another protocol is said; ours stay as they are."""
    ours = TryAgainError("x")
    assert faults.translate(ours, "here") is ours
    assert "broke" in faults.translate(ConnectionResetError(), "here").what
    assert "in time" in faults.translate(TimeoutError(), "here").what
    assert "does not speak" in faults.translate(ValueError("secret"), "here").what


# ------------------------------------------------------------------ servers that die


@pytest.mark.fault("F27")
async def test_a_killed_server_is_followed_on(database):
    """What was committed comes, once, after a restart; what was acknowledged stays so."""
    async with following(database, "t") as source:
        place = await standing(source)
        stream = source.stream(place)
        await anext(stream)
        database.execute("INSERT INTO t VALUES (1)")
        first = await anext(stream)
        await source.acknowledge(first.end)
        database.server.kill()
        with pytest.raises(TryAgainError):
            await anext(stream)
        database.server.start()
        database.execute("INSERT INTO t VALUES (2)")
        await source.close()
        await source.open()
        await prepared(source)
        rest = await gather(source, first.end)

    assert ids([first]) == [1]
    assert ids(rest) == [2]


@pytest.mark.fault("F20")
async def test_a_server_that_says_nothing_is_noticed(database):
    """Signs of life are asked for."""
    async with following(database, "t", heartbeat=0.2) as source:
        stream = source.stream(await standing(source))
        await anext(stream)
        database.server.pause()
        try:
            with pytest.raises(TryAgainError, match="sent nothing"):
                await anext(stream)
        finally:
            database.server.resume()


@pytest.mark.fault("F31")
@since(13)
async def test_a_slot_whose_log_is_taken_away_is_lost(private_postgres):
    """It is said with the setting and how much was missed, and put right when the sync is told to mend."""
    database = private_postgres(max_slot_wal_keep_size="1MB", wal_keep_size=0, max_wal_size="2MB").database()
    database.create("t", TABLE)
    async with following(database, "t") as source:
        place = await standing(source)
    for _ in range(8):
        database.execute(
            "INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 1000) n ON CONFLICT DO NOTHING"
        )
        database.execute("UPDATE t SET v = v || 'x'")
        database.execute("SELECT pg_switch_wal()")
        database.execute("CHECKPOINT")
    source = unopened(database, "t")
    await source.open()
    with pytest.raises(LostPlaceError, match=r"max_slot_wal_keep_size \(1 MB; [1-9]\d* MB were unread\)") as lost:
        await prepared(source)
    assert "raise max_slot_wal_keep_size" in lost.value.fix
    with pytest.raises(LostPlaceError):
        await source.oldest(1)
    await prepared(source, mend=True)
    with pytest.raises(LostPlaceError, match="has let go"):
        await source.locate([Anchor(place.previous, place)], place.previous)
    assert (await source.head(None)).bytes_room > 0
    await source.close()


@pytest.mark.parametrize("taken", [1, 2])
async def test_a_server_that_stops_is_not_held_up(database, monkeypatch, taken):
    """It ends in order although its log has gone on without a row for the reader, and though a row was not taken yet.

    A server that stops waits for whoever reads its log to confirm all of it.
    """
    monkeypatch.setattr("fuagent.sources.postgres.source._LOOK", 3600.0)
    async with following(database, "t") as source:
        stream = source.stream(await standing(source))
        assert (await anext(stream)).at_end
        for number in (1, 2):
            database.execute("INSERT INTO t VALUES (%s, 'x')", number)
            rows = await anext(stream)
            if number <= taken:
                await source.acknowledge(rows.end)
            while not rows.at_end:
                rows = await anext(stream)
        database.execute("CREATE TABLE other (id int); INSERT INTO other VALUES (1)")
        reading = asyncio.ensure_future(anext(stream))
        await asyncio.to_thread(database.server.stop)

        with pytest.raises(TryAgainError):
            await reading


@pytest.mark.usefixtures("patient")
async def test_a_server_that_stops_is_not_held_up_by_rows_that_nobody_takes(database, monkeypatch):
    """It ends in order although nobody reads on, as while a service is down."""
    monkeypatch.setattr("fuagent.sources.postgres.source._LOOK", 0.2)
    async with following(database, "t", heartbeat=0.2) as source:
        stream = source.stream(await standing(source))
        assert (await anext(stream)).at_end
        database.execute("INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n")
        await source.acknowledge((await anext(stream)).start)
        await asyncio.to_thread(database.server.stop)

        with pytest.raises(TryAgainError):
            async for _ in stream:
                pass


@pytest.mark.usefixtures("patient")
async def test_a_dropped_table_is_noticed_although_the_log_says_nothing(database, monkeypatch):
    """The publication is looked at now and then."""
    monkeypatch.setattr("fuagent.sources.postgres.source._LOOK", 0.0)
    async with following(database, "t", heartbeat=0.2) as source:
        stream = source.stream(await standing(source))
        await anext(stream)
        database.execute("DROP TABLE t")
        with pytest.raises(LostPlaceError, match="was dropped"):
            await anext(stream)


@pytest.mark.fault("F51")
async def test_a_standby_takes_over(private_postgres, database):
    """It has no slot: the place is lost, and says so; the cluster is known by its identifier, the timeline is new."""
    copy = private_postgres(standby_of=database.server)
    async with following(database, "t") as source:
        place = await standing(source)
    copy.wait_for(database.server.lsn())
    database.server.kill()
    copy.promote()
    other = copy.database()
    source = unopened(other, "t")
    await source.open()
    with pytest.raises(LostPlaceError, match="slot .* is gone".replace(" ", r"\s")):
        await prepared(source)
    await prepared(source, mend=True)
    with pytest.raises(LostPlaceError):
        await source.locate([Anchor(place.previous, place)], place.previous)
    spot = places.read(place.position)
    ahead = replace(spot, lsn=spot.lsn + (1 << 30)).place(place.previous)
    with pytest.raises(LostPlaceError, match="a copy that was behind took over"):
        await gather(source, ahead)
    stranger = replace(spot, system="1").place(place.previous)
    with pytest.raises(LostPlaceError, match="cluster is another one"):
        await gather(source, stranger)
    await source.close()


# ------------------------------------------------------------------ settings of somebody else


@pytest.mark.fault("F42")
@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("ALTER PUBLICATION {p} SET (publish = 'insert')", "every kind of change"),
        pytest.param("ALTER PUBLICATION {p} SET TABLE t (id)", "some columns", marks=since(15)),
        pytest.param("ALTER PUBLICATION {p} SET TABLE t WHERE (id > 1)", "some rows", marks=since(15)),
    ],
)
async def test_a_publication_that_keeps_changes_back_stops_the_sync(postgres_database, statement, what):
    """Somebody altered it, so that changes are missing; the statement that mends it is told, and does."""
    postgres_database.create("t", TABLE)
    async with following(postgres_database, "t"):
        pass
    postgres_database.execute(statement.format(p="fuagent_0123456789ab_suite"))
    source = unopened(postgres_database, "t")
    await source.open()
    with pytest.raises(LostPlaceError, match=what):
        await prepared(source)
    with pytest.raises(HaltSyncError, match=what) as raised:
        await prepared(source, mend=True)
    postgres_database.execute(raised.value.fix)
    if "DROP TABLE" in raised.value.fix:  # which is a gap of its own
        with pytest.raises(LostPlaceError, match="though it is there again"):
            await prepared(source)
    await prepared(source, mend=True)
    await prepared(source)
    await source.close()


async def test_tables_join_and_leave_the_publication(postgres_database):
    """With the sync's own tables."""
    for table in ("one", "two", "three"):
        postgres_database.create(table, TABLE)
    for tables in (("one", "two"), ("two", "three")):
        async with following(postgres_database, *tables):
            named = postgres_database.execute("SELECT tablename FROM pg_publication_tables ORDER BY 1")
            assert [name for (name,) in named] == sorted(tables)


async def test_a_table_of_somebody_else(postgres_database):
    """The statement for its owner is told."""
    postgres_database.execute(f"CREATE TABLE t ({TABLE})")
    source = unopened(postgres_database, "t")
    await source.open()
    with pytest.raises(HaltSyncError, match="may not make one") as raised:
        await prepared(source)
    postgres_database.execute(raised.value.fix.partition("run: ")[2])
    await prepared(source)
    place = await standing(source)
    postgres_database.execute("INSERT INTO t VALUES (1)")
    assert ids(await gather(source, place)) == [1]
    await source.close()


async def test_rows_of_the_list_are_read_again(postgres_database):
    """By their keys, whatever these are; and the first of a table."""
    postgres_database.create("t", "k bytea, m timestamptz, v text, PRIMARY KEY (k, m)")
    postgres_database.execute("INSERT INTO t VALUES ('a''b', '2024-01-01 00:00:00.5+00', 'x'), ('c', 'infinity', 'y')")
    async with following(postgres_database, "t") as source:
        [spec] = source._specs.values()
        texts = [bytes(text) for rows in (await pictured(source)).rows for text in rows.rows]
        postgres_database.execute("UPDATE t SET v = v || '!'")
        again = await source.reread(spec, texts)
        postgres_database.execute(
            "INSERT INTO t SELECT n::text::bytea, now(), repeat('x', 1000) FROM generate_series(1, 3000) n"
        )
        some = [await source.sample(spec, 1), await source.sample(spec, 2)]

    assert [one.event for one in again] == [text.replace(b'"x"', b'"x!"').replace(b'"y"', b'"y!"') for text in texts]
    assert [len(one) for one in some] == [1, 2]


def test_nobody_connected():
    """Whoever forgets to open is told so."""

    class Nowhere:
        def url(self):
            return "postgres://127.0.0.1/shop"

    source = unopened(Nowhere(), "t")
    for ask in (source.discover, source.check, lambda: source.head(None)):
        with pytest.raises(FuagentError, match="not connected"):
            asyncio.run(ask())


@since(13)
@pytest.mark.usefixtures("patient")
async def test_partitions_tell_as_much_as_their_table_promises(private_postgres, monkeypatch):
    """One made later may not: large values are never taken from its old rows, and the sync stops."""
    database = private_postgres().database()
    database.create("t", "id int PRIMARY KEY, a int, v text) PARTITION BY RANGE (id")
    database.execute("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)")
    for table in ("t", "t1"):
        database.execute(f"ALTER TABLE {table} REPLICA IDENTITY FULL")
    async with following(database, "t", heartbeat=0.2) as source:
        place = await standing(source)
        database.execute("CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20)")
        database.execute("ALTER TABLE t2 ALTER v SET STORAGE EXTERNAL")
        for key in (1, 11):
            database.execute("INSERT INTO t VALUES (%s, 1, repeat('x', 20000))", key)
        database.execute("UPDATE t SET a = 2")
        rows = plain(await gather(source, place))
        monkeypatch.setattr("fuagent.sources.postgres.source._LOOK", 0.0)
        with pytest.raises(HaltSyncError, match="partition t2 of table t is not REPLICA IDENTITY FULL"):
            await gather(source, place)

    assert [(row["id"], row["a"], len(row["v"])) for row in rows] == [
        (key, a, 20000) for a in (1, 2) for key in (1, 11)
    ]


@pytest.mark.parametrize(
    ("sync", "name"),
    [
        ("orders", "fuagent_0123_orders"),
        ("Orders", r"fuagent_0123_orders_[0-9a-f]{8}"),
        ("a-b", r"fuagent_0123_a_b_[0-9a-f]{8}"),
        ("x" * 80, r"fuagent_0123_x{41}_[0-9a-f]{8}"),
    ],
)
@pytest.mark.fault("S26")
def test_names_of_slots(sync, name):
    """As the server takes them, and no two syncs have one name."""
    made = slots.name_of("agent-0123", sync)
    assert re.fullmatch(name, made)
    assert len(made) <= 63


@pytest.mark.fault("S26")
@pytest.mark.parametrize("slot", ["Slot", "a b", "a-b", 'a"; DROP TABLE t; --', "", "x" * 64, "ä"])
def test_a_slot_has_a_name_that_the_server_takes(slot):
    """What is chosen goes through the same narrow gate as what is made up."""
    assert Options(slot="my_slot_2").slot == "my_slot_2"
    with pytest.raises(ValidationError):
        Options(slot=slot)
