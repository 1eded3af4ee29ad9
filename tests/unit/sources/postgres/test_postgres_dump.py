"""Connections in replication mode: single commands, and the log as it comes."""

import asyncio
import os
import signal

import pytest

from fuagent.errors import LostPlaceError, TryAgainError
from fuagent.sources.address import Tls
from fuagent.sources.postgres import faults
from fuagent.sources.postgres.dump import _SENDER, Commands
from fuagent.sources.postgres.slots import drop_slot
from fuagent.wire.postgres import frames, lsn
from harness import certificates
from harness.postgres import USER, before, since

WAYS = [Tls.OFF, Tls.REQUIRE]


@pytest.fixture(params=WAYS, ids=["plain", "encrypted"])
def way(request, private_postgres, tmp_path):
    """A database with a table, a publication and a slot; by each of the two ways its log is read."""
    server = private_postgres()
    if request.param is Tls.REQUIRE:
        certs = certificates.make(tmp_path)
        files = {"ssl_cert_file": certs.cert, "ssl_key_file": certs.key}
        kept = {name: server.keep(path.name, path.read_bytes()) for name, path in files.items()}
        server.stop()
        server.start(ssl="on", **kept)
    database = ready(server.database())
    return database, {"tls": request.param}


def ready(database):
    """A table, a publication and a slot."""
    database.execute("CREATE TABLE t (id int PRIMARY KEY, note text); CREATE PUBLICATION p FOR TABLE t")
    database.execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
    return database


def payloads(data):
    """The payloads of frames, each of which is checked to be of CopyData."""
    found, place = [], 0
    while place < len(data):
        assert data[place : place + 1] == b"d"
        size = int.from_bytes(data[place + 1 : place + 5], "big")
        found.append(data[place + 5 : place + 1 + size])
        place += 1 + size
    assert place == len(data)
    return found


async def until(dump, wanted):
    """Payloads until so many commits have come."""
    found = []
    async with asyncio.timeout(30):
        while sum(one[0:1] == b"w" and one[25:26] == b"C" for one in found) < wanted:
            found += payloads(await dump.received())
    return found


async def test_every_change_comes_once_in_order(way, dumping):
    """Small transactions, large ones and large rows, as whole frames."""
    database, options = way
    database.execute("INSERT INTO t SELECT n, 'x' FROM generate_series(1, 20000) n")
    database.execute("INSERT INTO t SELECT n, repeat('y', 3000000 + n) FROM generate_series(20001, 20003) n")
    for size in (8000, 16000, 16384, 16400, 24000, 33000):
        database.execute(f"INSERT INTO t VALUES ({100_000 + size}, repeat('z', {size}))")
    dump = await dumping(database, **options)
    inserts = [one for one in await until(dump, 8) if one[25:26] == b"I"]

    numbers = [int(one[25 + 13 : 25 + 13 + int.from_bytes(one[25 + 9 : 25 + 13], "big")]) for one in inserts]
    assert numbers == [*range(1, 20004), *(100_000 + size for size in (8000, 16000, 16384, 16400, 24000, 33000))]


async def test_nothing_more_is_there_at_the_end(way, dumping):
    """It is said without waiting; what comes later is there then."""
    database, options = way
    dump = await dumping(database, **options)
    database.execute("INSERT INTO t VALUES (1, 'x')")
    await until(dump, 1)
    while await dump.more():
        await dump.received()
    database.execute("INSERT INTO t VALUES (2, 'x')")

    assert [one[25:26] for one in await until(dump, 1) if one[0:1] == b"w"][-1] == b"C"


async def test_what_is_confirmed_is_let_go_of(way, dumping):
    """The slot moves on without another word."""
    database, options = way
    dump = await dumping(database, **options)
    database.execute("INSERT INTO t VALUES (1, 'x')")
    commit = next(one for one in await until(dump, 1) if one[25:26] == b"C")
    end = int.from_bytes(commit[25 + 10 : 25 + 18], "big")
    dump.confirm(end, end)
    confirmed = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = 's'"
    async with asyncio.timeout(20):
        while lsn.number(database.execute(confirmed)[0][0]) < end:
            dump.answer()
            await dump.received() if await dump.more() else await asyncio.sleep(0)

    assert lsn.number(database.execute(confirmed)[0][0]) == end


async def test_a_question_is_answered(way, dumping):
    """Between two transactions the server says how far it has come."""
    database, options = way
    dump = await dumping(database, **options)
    database.execute("CREATE TABLE other (id int)")
    end = lsn.number(database.server.lsn())
    reached = 0
    async with asyncio.timeout(20):
        while reached < end:
            dump.ask()
            found = [frames.read_keepalive(one) for one in payloads(await dump.received()) if one[0:1] == b"k"]
            reached = max([reached, *(one.end for one in found)])

    assert reached >= end


@pytest.mark.fault("F19")
@pytest.mark.usefixtures("patient")
async def test_a_connection_that_is_not_read_stays(postgres_database, dumping, monkeypatch):
    """However impatient the server is, and whether or not it is blocked in sending."""
    monkeypatch.setitem(_SENDER, "wal_sender_timeout", "3s")
    database = ready(postgres_database)
    dump = await dumping(database, heartbeat=0.1)
    fill = "INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 50000) n; SELECT pg_sleep(7)"
    await asyncio.to_thread(database.execute, fill)

    assert len([one for one in await until(dump, 1) if one[25:26] == b"I"]) == 50_000


async def test_the_server_waits_as_long_as_we_tell_it(private_postgres, dumping):
    """A server with less patience than a heartbeat does not end the connection."""
    server = private_postgres(wal_sender_timeout="500ms")
    database = ready(server.database())
    dump = await dumping(database, heartbeat=10.0)
    await asyncio.to_thread(database.execute, "SELECT pg_sleep(2)")
    database.execute("INSERT INTO t VALUES (1, 'x')")

    assert await until(dump, 1)


async def test_closing_leaves_nothing(way, dumping):
    """Neither a task here nor a process there."""
    database, options = way
    before = asyncio.all_tasks()
    dump = await dumping(database, **options)
    await dump.close()

    assert asyncio.all_tasks() == before
    async with asyncio.timeout(20):
        while database.server.senders():
            await asyncio.sleep(0)


async def test_two_readers_are_one_too_many(way, dumping):
    """The second learns who the first is; when that is gone, it is let in."""
    database, options = way
    first = await dumping(database, **options)
    [pid] = database.server.senders()
    with pytest.raises(TryAgainError, match=f"process {pid}"):
        await dumping(database, **options)
    await first.close()
    async with asyncio.timeout(20):
        while database.server.senders():
            await asyncio.sleep(0)

    assert await dumping(database, **options)


@pytest.mark.parametrize("what", ["read", "drop"])
async def test_a_reader_that_has_just_gone_is_waited_for(way, dumping, opened, address, monkeypatch, what):
    """The server sees a moment later that it has gone; who reads next, or drops the slot, is not refused for that."""
    database, options = way
    refused = asyncio.Event()
    monkeypatch.setattr("fuagent.sources.postgres.dump.LEAVING", 60.0)
    monkeypatch.setattr(faults, "in_use", lambda _error: refused.set() or True)
    link = await opened(address(database, **options))
    first = await dumping(database, **options)
    [pid] = database.server.senders()
    os.kill(pid, signal.SIGSTOP)
    await first.close()
    asked = drop_slot(link, "s") if what == "drop" else dumping(database, **options)
    asking = asyncio.ensure_future(asked)
    await asyncio.wait_for(refused.wait(), 30)
    os.kill(pid, signal.SIGCONT)

    assert await asking


@pytest.mark.fault("F30")
async def test_a_slot_that_is_gone_is_a_lost_place(way, dumping):
    """There is nothing to read from."""
    database, options = way
    database.execute("SELECT pg_drop_replication_slot('s')")

    with pytest.raises(LostPlaceError, match="does not exist"):
        await dumping(database, **options)


@before(18)
async def test_a_publication_that_is_gone_is_a_lost_place(way, dumping):
    """The server says so in the middle of the stream."""
    database, options = way
    database.execute("DROP PUBLICATION p; INSERT INTO t VALUES (1, 'x')")
    dump = await dumping(database, **options)

    with pytest.raises(LostPlaceError, match="publication"):
        await until(dump, 1)


@since(18)
async def test_a_publication_that_is_gone_is_heard_of(way, dumping):
    """The server warns, and passes over what was changed meanwhile; also where somebody has told it to be quiet."""
    database, options = way
    database.execute(f"ALTER ROLE {USER} SET client_min_messages = error")
    database.execute("INSERT INTO t VALUES (1, 'x')")
    database.execute("DROP PUBLICATION p; INSERT INTO t VALUES (2, 'x')")
    database.execute("CREATE PUBLICATION p FOR TABLE t; INSERT INTO t VALUES (3, 'x')")
    dump = await dumping(database, **options)
    found = await until(dump, 2)

    assert len([one for one in found if one[25:26] == b"I"]) == 2
    assert dump.skipped


async def test_a_server_that_ends_is_tried_again(way, dumping):
    """In good order, or killed."""
    database, options = way
    dump = await dumping(database, **options)
    [pid] = database.server.senders()
    database.server.terminate(pid)
    with pytest.raises(TryAgainError):
        await until(dump, 1)
    await dump.close()
    dump = await dumping(database, **options)
    database.server.kill()

    with pytest.raises(TryAgainError):
        await until(dump, 1)


@pytest.mark.fault("F20")
async def test_a_silent_server_is_given_up(way, dumping):
    """It gives no sign of life, although it is asked for one."""
    database, options = way
    dump = await dumping(database, heartbeat=0.1, **options)
    database.server.pause()
    try:
        with pytest.raises(TryAgainError, match="nothing"):
            await until(dump, 1)
    finally:
        database.server.resume()


async def test_commands_of_replication_are_answered(postgres_database, address):
    """Who the server is, and a slot whose snapshot lives as long as its connection."""
    commands = await Commands.open(address(postgres_database))
    [(system, timeline, place, name)] = await commands.rows("IDENTIFY_SYSTEM")
    [(slot, point, snapshot, plugin)] = await commands.rows(
        "CREATE_REPLICATION_SLOT picture TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT"
    )
    with postgres_database.connect(autocommit=False) as session:
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        session.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
    with pytest.raises(TryAgainError, match="does not exist"):
        await commands.rows("DROP_REPLICATION_SLOT nothing WAIT")
    await commands.close()

    assert (timeline, name, slot, plugin) == (1, postgres_database.name, "picture", "pgoutput")
    assert int(system) > 0
    assert lsn.number(point) <= lsn.number(postgres_database.server.lsn())
    assert lsn.number(place) > 0
