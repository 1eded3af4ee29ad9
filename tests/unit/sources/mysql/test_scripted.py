"""The whole source before MySQL 8 and 9 as a scripted server plays them: recorded logs, failover, and every fault."""

import asyncio
import json
import struct
from contextlib import aclosing
from dataclasses import replace

import pytest
from mysql_scripted import (
    BEGUN,
    FILE,
    UUID_A,
    UUID_B,
    Log,
    event,
    holds,
    numbers,
    recorded,
    says,
    source,
    start,
    told,
    unopened,
)

from fuagent.errors import DecodeError, HaltSyncError, LostPlaceError, TryAgainError
from fuagent.model import Anchor, Deletes
from fuagent.sources.mysql import places
from fuagent.sources.mysql.places import Spot
from fuagent.testing.source_kit import gather, pictured
from fuagent.wire.mysql import events
from harness.mysql_login import SHA2
from harness.mysql_wire import Error, Ok

RUST = "rust_mysql_common"
WHOLE = f"{UUID_A}:1-3"


@pytest.fixture
async def server(scripting):
    """MySQL 8.0 with one table, ``shop.t``."""
    return says(await scripting(version="8.0.36"))


def transactions(count=3, file="binlog.000001", *, uuid=UUID_A, **rest):
    """So many transactions of one row each."""
    log = Log(file, gtids="", **rest)
    for number in range(1, count + 1):
        log.transaction(number, (number, f"row {number}"), uuid=uuid)
    return log


def bare(found):
    """Events without their numbers."""
    return [{name: value for name, value in one.items() if name != "index"} for one in told(found)]


def ids(found):
    return [one["id"] for one in told(found)]


async def collected(stream, into):
    """Read a stream to its end or error."""
    async with aclosing(stream) as rows:
        async for one in rows:
            into.append(one)


# ------------------------------------------------------------ recorded logs

TYPES = {
    "orders": [("id", "int", ""), ("customer", "int", ""), ("total", "decimal(10,2)", "")],
    "tb1": [("a", "int", "")],
    "t1": [
        ("id", "int", ""),
        ("words", "blob", ""),
        ("letters", "char(2)", "utf8mb4"),
        ("more", "int", ""),
        ("big", "int unsigned", ""),
    ],
    "hidden": [
        ("f1", "int unsigned", ""),
        ("f2", "int unsigned", ""),
        ("f3", "int", ""),
        ("f4", "text", "utf8mb4"),
        ("f5", "blob", ""),
        ("f6", "bigint unsigned", ""),
    ],
    "t": [("id", "int", ""), ("json_col", "json", ""), ("name", "varchar(100)", "utf8mb4"), ("age", "int", "")],
    "vectors": [("id", "bigint unsigned", ""), ("vector_column", "vector(3)", "")],
}
HIDDEN = [
    {"f1": 1, "f2": 2, "f3": -3, "f4": "4", "f5": "BQ==", "f6": 6_000_000_000},
    {"f1": None, "f2": None, "f3": -33, "f4": "44", "f5": "VQ==", "f6": None},
    {"f1": None, "f2": None, "f3": -33, "f4": "44", "f5": "VQ==", "f6": None},
    {"f1": 111, "f2": 222, "f3": -333, "f4": "444", "f5": "VQ==", "f6": None},
]


@pytest.mark.fault("F13")
@pytest.mark.parametrize(
    ("name", "version", "schema", "table", "columns", "expected"),
    [
        (
            *("binlog_transaction_with_GTID_TAG.000001", "9.6.0", "test", "orders", "orders"),
            [{"id": 3, "customer": 100, "total": "250.00"}],
        ),
        ("transaction_compression.000001", "8.0.32", "test", "tb1", "tb1", [{"a": 1}]),
        ("binlog-invisible-columns.000001", "8.0.26", "mysql", "t1", "hidden", HIDDEN),
    ],
)
async def test_recorded_logs(scripting, name, version, schema, table, columns, expected):
    """Tagged GTIDs, compressed transactions and columns nobody sees, as MySQL 8 and 9 wrote them."""
    server = says(await scripting(version=version), tables={table: TYPES[columns]}, schema=schema)
    holds(server, ("binlog.000001", recorded(f"{RUST}/{name}")))
    async with source(server, table, schema=schema) as made:
        found = await gather(made, start())

    assert bare(found) == expected
    assert numbers(found) == sorted(set(numbers(found)))
    assert [login.plugin for login in server.logins] == [SHA2] * len(server.logins)
    assert server.unanswered == []
    assert [one.dump.gtids for one in server.sessions if one.dump] == [None]


async def test_the_place_behind_a_recorded_log(scripting):
    """It holds every GTID there was, tags too."""
    server = says(await scripting(version="9.6.0"), tables={"orders": TYPES["orders"]}, schema="test")
    holds(server, ("binlog.000004", recorded(f"{RUST}/binlog_transaction_with_GTID_TAG.000001")))
    async with source(server, "orders", schema="test") as made:
        found = await gather(made, start("binlog.000004"))

    spot = places.read(found[-1].end.position)
    assert (spot.file, spot.offset) == ("binlog.000005", 4)
    assert spot.gtid == "55778904-0299-11f1-b1b8-4ef0c4956feb:1-13:mytag:1-3"


@pytest.mark.fault("F14")
async def test_json_in_part(scripting):
    """Documents come whole; changes of one without the document they change halt, and say what helps."""
    server = says(await scripting(version="8.0.22"), tables={"t": TYPES["t"]}, schema="mysql")
    holds(server, ("binlog.000001", recorded(f"{RUST}/json.binlog.000001")))
    found = []
    async with source(server, "t", schema="mysql", chunk_rows=1) as made:
        with pytest.raises(DecodeError, match="changes of a JSON column without the value") as raised:
            await collected(made.stream(start()), found)

    assert "binlog_row_value_options" in raised.value.fix
    rows = bare(found)
    documents = [one["json_col"] for one in rows]
    assert documents[:1] == [{"age": 24, "data": "x" * 10, "name": "Joe"}]
    assert [(one["age"], one["name"]) for one in rows] == [(one["age"], one["name"]) for one in documents]


async def test_images_in_part_are_read_again(scripting):
    """An insert under binlog_row_image=MINIMAL lacks the columns it did not name; they come from the table."""
    server = says(await scripting(version="8.0.40"), tables={"t1": TYPES["t1"]}, schema="noria")
    holds(server, ("binlog.000020", recorded(f"{RUST}/minimal_row_metadata.000001")))
    server.rows(r"SELECT 1 FROM `noria`.`t1` LIMIT 0", ["1"])
    server.rows(r"SELECT `id`.* FROM `noria`.`t1`.*", [*"abcde"], (1, None, "z", 7, 9))
    async with source(server, "t1", schema="noria") as made:
        found = bare(await gather(made, start("binlog.000020")))

    assert found == [{"id": 1, "words": None, "letters": "z", "more": 7, "big": 9}]


async def test_a_dropped_database_in_a_recorded_log(scripting):
    """The place is lost there, and found again behind it."""
    server = says(await scripting(version="9.0.1"), tables={"foo": TYPES["vectors"]}, schema="dtb")
    holds(server, ("binlog.000001", recorded(f"{RUST}/vector.binlog")))
    found = []
    async with source(server, "foo", schema="dtb") as made:
        end = (await made.head(None)).position
        with pytest.raises(LostPlaceError, match="database dtb was dropped") as raised:
            await collected(made.stream(start(), end), found)
        await collected(made.stream(raised.value.place, end), found)

    rows = [{"id": 1, "vector_column": [1.1, 2.2, 3.3]}, {"id": 2, "vector_column": [1, -1, 0]}]
    assert bare(found) == [*rows, *rows]
    assert numbers(found) == sorted(set(numbers(found)))


# ------------------------------------------------------------ reading


@pytest.mark.parametrize("version", ["8.0.36", "8.4.3", "9.1.0"])
async def test_open_prepare_stream(scripting, version):
    """The statement that tells the log's end is another one since 8.2."""
    server = holds(says(await scripting(version=version)), transactions(), executed=WHOLE)
    async with source(server) as made:
        head = await made.head(start())
        found = await gather(made, start())
        assert (await made.head(found[-1].end)).bytes_behind == 0

    assert ids(found) == [1, 2, 3]
    assert head.bytes_behind == len(server.binlogs["binlog.000001"]) - 4
    assert found[-1].at_end
    asked = {statement for one in server.sessions for statement in one.statements}
    assert ("SHOW MASTER STATUS" in asked) == (version == "8.0.36")
    [dump] = [one for one in server.sessions if one.dump]
    assert dump.registered.server_id == dump.dump.server_id >= 1 << 31
    assert dump.dump.variables["source_heartbeat_period"] == "30000000000"
    assert server.unanswered == []


KEEPS = {"binlog_expire_logs_seconds": "259200"}


@pytest.mark.parametrize(
    ("version", "variables", "kept"),
    [
        ("8.0.36", KEEPS, 259_200),
        ("8.0.36", KEEPS | {"expire_logs_days": "9"}, 259_200),
        ("8.0.36", {"binlog_expire_logs_seconds": "0", "expire_logs_days": "2"}, 172_800),
        ("5.7.44", {"expire_logs_days": "2"}, 172_800),
        ("10.5.9-MariaDB", {"expire_logs_days": "0.5"}, 43_200),
        ("8.4.3", KEEPS | {"binlog_expire_logs_auto_purge": "ON", "basedir": "/usr/"}, 259_200),
        ("8.4.3", KEEPS | {"binlog_expire_logs_auto_purge": "OFF"}, None),
        ("8.4.3", {"binlog_expire_logs_seconds": "0"}, None),
        ("5.7.44", {"expire_logs_days": "0"}, None),
        ("11.4.2-MariaDB", KEEPS | {"max_binlog_total_size": "0"}, 259_200),
        ("11.4.2-MariaDB", KEEPS | {"max_binlog_total_size": "1073741824"}, None),
        ("8.0.36", KEEPS | {"binlog_space_limit": "1073741824"}, None),
        ("8.0.36", KEEPS | {"basedir": "/rdsdbbin/mysql-8.0.36.R1/"}, None),
        ("8.0.36", KEEPS | {"basedir": "/rdsdbbin/oscar-8.0.mysql_aurora.3.07.1/"}, None),
    ],
)
async def test_for_how_long_the_log_is_kept(scripting, version, variables, kept):
    """Seconds before days; unknown where a size or a hosting service decides as well, and where it is kept for ever."""
    server = holds(says(await scripting(version=version), variables={"version": version, **variables}), transactions(1))
    made = unopened(server)
    await made.open()
    asked = len(server.sessions[-1].statements)
    found = await made.head(None)
    await made.close()

    assert found.seconds_kept == kept
    assert len(server.sessions[-1].statements) == asked + 2, "the end of the log and the settings, and nothing else"


async def test_since_when_changes_wait(server):
    """Nothing behind a place is older than its file; of a place in another log nothing is known."""
    holds(server, transactions(1))
    async with source(server) as made:
        heads = [await made.head(place) for place in (start(created=BEGUN), start(), None)]
        elsewhere = await made.head(Spot("binlog.000001", 4, 7, UUID_B, created=BEGUN).place(0))

    assert [head.since for head in heads] == [BEGUN, None, None]
    assert elsewhere.since is None


async def test_a_live_stream(server):
    """A word when there is nothing more, and what comes later as it comes."""
    log = transactions(1)
    holds(server, log)
    async with source(server) as made:
        stream = made.stream(start())
        rows = await anext(stream)
        word = await anext(stream)
        assert (ids([rows]), word.at_end, word.rows) == ([1], True, ())
        count = len(log.events)
        at = log.transaction(2, (2, "later"))
        holds(server, log)
        await server.until(lambda server: server.streams())
        server.send(*log.events[count:])
        [later] = [one async for one in _first(stream)]
        assert numbers([later]) == [FILE + at]
        await stream.aclose()
    assert "DO RELEASE_LOCK" in " ".join(one for session in server.sessions for one in session.statements)


async def _first(stream):
    """Only until rows come."""
    async for one in stream:
        if one.rows:
            yield one
            return


async def test_a_stream_to_where_it_stands(server):
    """Nothing is asked of the server but the proof."""
    log = transactions()
    holds(server, log)
    place = start(offset=log.end)
    async with source(server) as made:
        [word] = [one async for one in made.stream(place, (await made.head(None)).position)]

    assert (word.at_end, word.rows, word.end) == (True, (), place)
    assert [one for one in server.sessions if one.dump] == []


async def test_several_files(server):
    """A rotation in order, and one that the server makes up."""
    first, second = transactions(2), Log("binlog.000002", created=BEGUN + 60, gtids=f"{UUID_A}:1-2")
    first.rotate("binlog.000002")
    second.transaction(3, (3, "row 3"))
    holds(server, first, second, executed=WHOLE)
    async with source(server) as made:
        found = await gather(made, start())
        assert (await made.head(start())).bytes_behind == len(first.data) + len(second.data) - 8 + 4

    assert ids(found) == [1, 2, 3]
    assert numbers(found)[-1] >> 32 == 2
    assert places.read(found[-1].end.position).gtid == WHOLE


@pytest.mark.parametrize("deletes", list(Deletes))
async def test_every_kind_of_change(server, deletes):
    """Inserts, updates with and without another key, deletes."""
    log = Log()
    log.gtid(1)
    log.query("BEGIN")
    log.map()
    log.insert((1, "a"), (2, "b"))
    log.update((1, "a"), (1, "c"), (2, "b"), (3, "b"))
    log.delete((3, "b"))
    log.xid()
    holds(server, log)
    async with source(server, deletes=deletes) as made:
        found = await gather(made, start())

    expected = [1, 2, 1, 3] if deletes is Deletes.SKIP else [1, 2, 1, 2, 3, 3]
    assert ids(found) == expected
    assert numbers(found) == sorted(set(numbers(found)))
    assert sum(one.left_out for one in found) == (2 if deletes is Deletes.SKIP else 0)


async def test_prepared_transactions(server):
    """The changes are read once more when the commit comes."""
    log = Log()
    log.gtid(1)
    log.query("XA START X'61',X'',1")
    log.map()
    log.insert((1, "a"))
    log.query("XA END X'61',X'',1")
    log.add(events.XA_PREPARE, b"\0" + struct.pack("<III", 1, 1, 0) + b"a")
    log.transaction(2, (2, "b"))
    log.gtid(3)
    commit = log.query("XA COMMIT X'61',X'',1")
    holds(server, log)
    async with source(server) as made:
        found = await gather(made, start())

    assert [(one["id"], one["index"]) for one in told(found)][1] == (1, FILE + commit)
    assert ids(found) == [2, 1]


async def test_two_readers(server):
    """The second one waits for the first to end: with two, everything would be sent twice."""
    holds(server, transactions())
    server.rows(r"SELECT GET_LOCK.*", ["a", "b"], (0, 77))
    async with source(server) as made:
        with pytest.raises(TryAgainError, match=r"another reader works for sync suite \(connection 77"):
            await collected(made.stream(start()), [])


# ------------------------------------------------------------ a snapshot


async def test_a_snapshot_and_what_follows(server):
    """The picture's place is where the stream goes on."""
    log = transactions(2)
    holds(server, log, executed=f"{UUID_A}:1-2")
    server.rows(r"SELECT `id`, `v` FROM `shop`.`t`", ["id", "v"], (1, "row 1"), (2, None))
    async with source(server) as made:
        picture = await pictured(made)
        log.transaction(3, (3, "row 3"))
        holds(server, log, executed=WHOLE)
        found = await gather(made, picture.place)

    assert [json.loads(one) for rows in picture.rows for one in rows.rows] == [
        {"id": 1, "v": "row 1"},
        {"id": 2, "v": None},
    ]
    assert ids(found) == [3]
    assert picture.total == 3
    spot = places.read(picture.place.position)
    assert (spot.uuid, spot.created, spot.gtid) == (UUID_A, BEGUN, f"{UUID_A}:1-2")
    assert picture.index == spot.number
    assert server.unanswered == []


async def test_a_snapshot_without_reload(server):
    """Only the tables of the sync are locked, and the operator hears of it."""
    holds(server, transactions())
    server.rows(r"SELECT `id`, `v` FROM `shop`.`t`", ["id", "v"], (1, "row 1"))
    server.answer(r"FLUSH TABLES.*", Error(1227, "Access denied; you need RELOAD", "42000"))
    server.answer(r"LOCK TABLES.*", Error(1044, "Access denied", "42000"))
    heard = []
    async with source(server, warn=heard.append) as made:
        with pytest.raises(HaltSyncError, match="has to lock t, because the account lacks RELOAD"):
            await pictured(made)
        server.answer(r"LOCK TABLES.*", Ok())
        await pictured(made)

    assert len(heard) == 1
    assert any("LOCK TABLES `shop`.`t` READ" in one.statements for one in server.sessions)


async def test_a_table_that_is_altered_under_its_snapshot(server):
    """The rows so far are worth nothing."""
    holds(server, transactions())

    def changing(_session, _statement):
        says(server, tables={"t": [("id", "int", ""), ("v", "varchar(50)", "utf8mb4"), ("w", "int", "")]})
        return row

    server.rows(r"SELECT 1", ["id", "v"], (1, "row 1"))
    row = server._find(server, "SELECT 1")
    server.answer(r"SELECT `id`, `v` FROM `shop`.`t`", changing)
    async with source(server) as made:
        with pytest.raises(TryAgainError, match="altered while its snapshot was read"):
            await pictured(made)


# ------------------------------------------------------------ what a source refuses


async def test_without_a_log(server):
    """There is nothing to follow."""
    says(server, variables={"log_bin": "OFF"})
    with pytest.raises(HaltSyncError, match="writes no binlog"):
        async with source(server):
            pass


async def test_without_a_status(server):
    """An empty answer says the same."""
    holds(server, transactions())
    async with source(server) as made:
        server.rows(r"SHOW (MASTER|BINARY LOG) STATUS", ["File", "Position"])
        with pytest.raises(HaltSyncError, match="writes no binlog"):
            await made.head(None)


async def test_a_server_that_is_too_old(server):
    """Its connection is closed again."""
    says(server, variables={"version": "5.6.51"})
    made = unopened(server)
    with pytest.raises(HaltSyncError, match=r"5\.6\.51 is too old"):
        await made.open()
    await server.until(lambda server: not server._tasks)


async def test_before_it_is_open(server):
    """Every question is answered with the same sentence, and closing is nothing."""
    made = unopened(server)
    for question in (made.discover(), made.head(None), made.oldest(0), made.prepare([])):
        with pytest.raises(TryAgainError, match="not connected"):
            await question
    await made.close()
    await made.open()
    holds(server, transactions())
    with pytest.raises(TryAgainError, match="not prepared"):
        await collected(made.stream(start()), [])
    await made.open()
    await made.close()
    with pytest.raises(TryAgainError, match="not connected"):
        await made.discover()


async def test_a_table_that_is_gone(server):
    """Between discovery and preparation."""
    holds(server, transactions())
    async with source(server) as made:
        with pytest.raises(HaltSyncError, match="table other is not there"):
            await made.snapshot(["other"])
        assert await made.remove() == []


# ------------------------------------------------------------ places


async def test_the_oldest_place(server):
    """The start of the first file, lifted where numbers have to be passed."""
    second = transactions(1, "binlog.000010")
    holds(server, transactions(1, "binlog.000009"), second)
    async with source(server) as made:
        place = await made.oldest(0)
        assert places.read(place.position).order == (9, 4)
        lifted = await made.oldest(50 * FILE)
        assert places.read(lifted.position).number > 50 * FILE
        assert numbers(await gather(made, lifted))[0] > 50 * FILE


async def test_locating_by_number_alone(server):
    """The number of an image is enough in a log without compression; what lies between is none."""
    holds(server, transactions())
    async with source(server) as made:
        every = numbers(await gather(made, start()))
        for done, index in enumerate(every, 1):
            assert ids(await gather(made, await made.locate([], index))) == [1, 2, 3][done:]
        for index, said in (
            (every[0] + 1, "falls between"),
            (every[-1] + 500, "beyond the end"),
            (FILE * 7, "no binlog file of number 7"),
            (places.LIFTED * FILE, "after a failover"),
        ):
            with pytest.raises(LostPlaceError, match=said):
                await made.locate([], index)


async def test_locating_by_anchors(server):
    """The very number, or the next one below it."""
    holds(server, transactions())
    async with source(server) as made:
        found = await gather(made, start())
        index = numbers(found)
        end = replace(found[0].end, position=found[-1].end.position)
        assert await made.locate([Anchor(index[2], end)], index[2]) == end
        below = Anchor(3, start())
        assert ids(await gather(made, await made.locate([below], index[1]))) == [3]
        stale = Anchor(9, start(created=BEGUN + 5))
        with pytest.raises(LostPlaceError, match="the logs were reset"):
            await made.locate([stale], 9)
        at_end = Anchor(index[2] - 1, end)
        with pytest.raises(LostPlaceError, match="beyond the end"):
            await made.locate([at_end], index[2] + 500)


async def test_compressed_changes_prove_no_number(scripting):
    """Their numbers may have been carried on beyond their bytes; with an anchor they can be found."""
    server = says(await scripting(version="8.0.32"), tables={"tb1": TYPES["tb1"]}, schema="test")
    holds(server, ("binlog.000042", recorded(f"{RUST}/transaction_compression.000001")))
    async with source(server, "tb1", schema="test") as made:
        place = start("binlog.000042")
        [index] = numbers(await gather(made, place))
        with pytest.raises(LostPlaceError, match="compressed changes"):
            await made.locate([], index)
        assert ids(await gather(made, await made.locate([Anchor(1, place)], index))) == []


@pytest.mark.fault("F01")
async def test_a_purged_file(server):
    """The place is lost, whoever notices it."""
    holds(server, transactions(1, "binlog.000009"))
    async with source(server) as made:
        with pytest.raises(LostPlaceError, match=r"binlog\.000001 was purged"):
            await collected(made.stream(start()), [])
        del server.binlogs["binlog.000009"]
        server.binlogs["binlog.000010"] = transactions(1, "binlog.000010").data
        with pytest.raises(LostPlaceError, match="was purged"):
            await collected(made.stream(start("binlog.000009")), [])


# ------------------------------------------------------------ failover


@pytest.fixture
async def other(scripting):
    """A second server, with what the first one wrote in a log of its own and one transaction more."""
    server = says(await scripting(version="8.4.3"), variables={"server_id": "2", "server_uuid": UUID_B})
    log = Log("other.000007", version="8.4.3", gtids="", server=2)
    log.query("CREATE TABLE something_else (id INT)")
    for number in range(1, 5):
        log.transaction(number, (number, f"row {number}"))
    return holds(server, log, executed=f"{UUID_A}:1-4", purged="")


async def place_after(server, count):
    """Where a reader of the first server stands after so many transactions."""
    log = transactions(count)
    holds(server, log)
    async with source(server) as made:
        return (await gather(made, start()))[-1].end


@pytest.mark.fault("F03")
async def test_failover(server, other):
    """By what was committed; numbers go on above those of the first server."""
    place = await place_after(server, 2)
    async with source(other) as made:
        head = await made.head(place)
        assert head.bytes_behind is None
        found = await gather(made, place)
        again = await gather(made, found[-1].end)

    assert ids(found) == [3, 4]
    assert numbers(found)[0] > place.previous
    assert ids(again) == []
    dumps = [one.dump for one in other.sessions if one.dump]
    assert next(one.gtids for one in dumps) == {b"\xaa" * 4 + bytes(11) + b"\x01": [(1, 3)]}
    assert dumps[-1].gtids is None


@pytest.mark.fault("F29")
async def test_a_server_that_looks_for_the_place(server, other):
    """By GTID it goes through a file first, without a word: that takes longer than a sign of life may."""
    place = await place_after(server, 2)
    async with source(other, heartbeat=0.5) as made:
        other.found.clear()
        reading = asyncio.create_task(gather(made, place))
        await other.until(lambda server: any(one.sent > 1 for one in server.sessions))
        await asyncio.wait([reading], timeout=2.5)
        other.found.set()

        assert ids(await reading) == [3, 4]


@pytest.mark.fault("F05")
async def test_failover_in_the_middle_of_a_transaction(server, other):
    """All of it comes again, numbered above what was delivered of it, were that numbered on from a failover before."""
    delivered = FILE * (places.LIFTED + 1000)
    place = replace(await place_after(server, 2), resume_after=delivered)
    async with source(other) as made:
        found = await gather(made, place)
        anchor = Anchor(5, place)
        located = await made.locate([anchor], 5)

    assert ids(found) == [3, 4]
    assert numbers(found)[0] > delivered
    assert places.read(located.position).uuid == UUID_B


@pytest.mark.fault("F03", "F26")
@pytest.mark.parametrize(
    ("executed", "purged", "mode"),
    [
        (f"{UUID_A}:1-4", f"{UUID_A}:1-3", "ON"),
        (f"{UUID_A}:1-4", f"{UUID_B}:1", "ON"),
        (f"{UUID_A}:1", "", "ON"),
        ("", "", "ON"),
        (f"{UUID_A}:1-4", "", "OFF_PERMISSIVE"),
    ],
)
async def test_failover_refused(server, other, executed, purged, mode):
    """What was purged was not all read, what was read is not all there, or GTIDs are off."""
    place = await place_after(server, 2)
    other.rows(r"SELECT @@GLOBAL.gtid_executed.*", ["e", "p"], (executed, purged))
    says(other, variables={"server_id": "2", "server_uuid": UUID_B, "gtid_mode": mode})
    other.rows(r"SELECT @@GLOBAL.gtid_executed.*", ["e", "p"], (executed, purged))
    async with source(other) as made:
        with pytest.raises(LostPlaceError, match="does not hold what was read before"):
            await collected(made.stream(place), [])


async def test_failover_after_all_that_was_purged(server, other):
    """What was purged was read: nothing is missing."""
    place = await place_after(server, 2)
    other.rows(r"SELECT @@GLOBAL.gtid_executed.*", ["e", "p"], (f"{UUID_A}:1-4", f"{UUID_A}:1-2"))
    async with source(other) as made:
        assert ids(await gather(made, place)) == [3, 4]


@pytest.mark.fault("F03")
async def test_failover_without_gtids(other):
    """Nothing tells where the place is there."""
    async with source(other) as made:
        with pytest.raises(LostPlaceError, match="the place has no GTID"):
            await collected(made.stream(start()), [])


# ------------------------------------------------------------ faults


@pytest.mark.fault("F15")
@pytest.mark.parametrize("kind", [99, events.START_ENCRYPTION, events.PARTIAL_ROW_DATA])
async def test_events_that_halt(server, kind):
    """What is not known may hold rows: what came before is delivered, and the sync halts."""
    log = transactions(1)
    log.add(kind, b"\x01" + bytes(20))
    holds(server, log)
    found = []
    async with source(server) as made:
        with pytest.raises(DecodeError, match=f"of type {kind}"):
            await collected(made.stream(start()), found)


@pytest.mark.fault("F15")
async def test_an_incident(server):
    """The place is lost, and the one behind it is told."""
    log = transactions(1)
    log.add(events.INCIDENT, b"\x01\0\x05burnt")
    behind = log.end
    log.transaction(2, (2, "b"))
    holds(server, log)
    async with source(server) as made:
        with pytest.raises(LostPlaceError, match="incident: burnt") as raised:
            await collected(made.stream(start()), found := [])
        assert ids(found) == [1]
        assert places.read(raised.value.place.position).offset == behind
        assert ids(await gather(made, raised.value.place)) == [2]


@pytest.mark.fault("F18")
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Could not find first log file name in binary log index file", LostPlaceError),
        ("Client requested source to start replication from position > file size", LostPlaceError),
        ("log event entry exceeded max_allowed_packet", TryAgainError),
        ("A replica with the same server_uuid/server_id as this replica has connected to the source", TryAgainError),
        ("words of a later version", TryAgainError),
    ],
)
@pytest.mark.parametrize("live", [False, True])
async def test_a_dump_that_is_refused(server, text, kind, live):
    """Error 1236, at once or in the middle; everything before it is delivered."""
    holds(server, transactions())
    found = []
    if not live:
        server.fails = Error(1236, text)
    async with source(server) as made:
        reading = asyncio.create_task(collected(made.stream(start()), found))
        if live:
            await server.until(lambda server: server.streams())
            server.fail(text)
        with pytest.raises(kind):
            await reading

    assert ids(found) == [1, 2, 3]


async def test_a_server_that_shuts_down(server):
    """The end in order is tried again."""
    holds(server, transactions())
    async with source(server) as made:
        reading = asyncio.create_task(collected(made.stream(start()), []))
        await server.until(lambda server: server.streams())
        server.end()
        with pytest.raises(TryAgainError, match="ended sending its binlog"):
            await reading


async def test_a_connection_that_ends(server):
    """A crash closes it without a word."""
    holds(server, transactions())
    async with source(server) as made:
        reading = asyncio.create_task(collected(made.stream(start()), []))
        await server.until(lambda server: server.streams())
        server.streams()[0].wire._writer.close()
        with pytest.raises(TryAgainError, match="closed the connection"):
            await reading


@pytest.mark.fault("F20")
async def test_a_silent_server(server):
    """Three signs of life are missed, and the connection counts as dead."""
    holds(server, transactions())
    found = []
    async with source(server, heartbeat=0.5) as made:
        with pytest.raises(TryAgainError, match=r"sent nothing for 1\.5 s, not even a sign of life"):
            await collected(made.stream(start()), found)

    assert ids(found) == [1, 2, 3]


@pytest.mark.parametrize(
    ("end", "kind", "said"),
    [((1, 4), LostPlaceError, "were reset"), ((2, 4), TryAgainError, "do not arrive")],
)
async def test_signs_of_life_of_another_log(server, end, kind, said):
    """A server that sends nothing else is asked where its log ends."""
    log = transactions()
    holds(server, log)
    words = asyncio.Event()

    async def read(made):
        async with aclosing(made.stream(start())) as stream:
            async for rows in stream:
                if rows.at_end:
                    words.set()

    async with source(server) as made:
        reading = asyncio.create_task(read(made))
        await words.wait()
        for _ in range(2):
            server.send_heartbeat()
        file = f"binlog.{end[0]:06}"
        server.rows(r"SHOW (MASTER|BINARY LOG) STATUS", [*"abcde"], (file, end[1], "", "", ""))
        while not reading.done():
            server.send_heartbeat()
            await asyncio.sleep(0.01)  # their period: without one, another is always on its way
        with pytest.raises(kind, match=said):
            await reading


@pytest.mark.fault("F29")
async def test_signs_of_life_alone(server):
    """Nothing else for longer than a silent server is waited for: that is no fault, though no row ever came."""
    log = transactions(0)
    holds(server, log)
    async with source(server, heartbeat=1) as made:
        stream = made.stream(start())
        assert (await anext(stream)).at_end
        reading = asyncio.create_task(anext(stream))
        until = asyncio.get_running_loop().time() + 4
        while asyncio.get_running_loop().time() < until and not reading.done():
            server.send_heartbeat()
            await asyncio.sleep(0.1)  # their period
        count = len(log.events)
        log.transaction(1, (1, "first"))
        server.send(*log.events[count:])

        assert ids([await reading]) == [1]


async def test_signs_of_life_of_the_same_log(server):
    """Nothing new is no fault."""
    log = transactions(1)
    holds(server, log)
    async with source(server) as made:
        stream = made.stream(start())
        while not (await anext(stream)).at_end:
            pass
        for _ in range(4):
            server.send_heartbeat()
        count = len(log.events)
        log.transaction(2, (2, "later"))
        server.send(*log.events[count:])
        [later] = [one async for one in _first(stream)]
        assert ids([later]) == [2]
        await stream.aclose()


@pytest.mark.fault("S23")
async def test_garbage_instead_of_events(server):
    """Bytes that are no event halt; nothing of them is taken for one."""
    holds(server, transactions())
    found = []
    async with source(server) as made:
        reading = asyncio.create_task(collected(made.stream(start()), found))
        await server.until(lambda server: server.streams())
        server.send(b"garbage")
        with pytest.raises(DecodeError, match="shorter than its header"):
            await reading

    assert ids(found) == [1, 2, 3]


@pytest.mark.fault("S23")
async def test_an_event_that_lies_about_its_size(server):
    """The size in its header is not that of its packet."""
    holds(server, transactions())
    whole = event(events.XID, bytes(8), end=5000)
    async with source(server) as made:
        reading = asyncio.create_task(collected(made.stream(start()), []))
        await server.until(lambda server: server.streams())
        server.send(whole + b"more")
        with pytest.raises(DecodeError):
            await reading


@pytest.mark.fault("F28")
async def test_a_dump_that_is_not_allowed(server):
    """The account lacks REPLICATION SLAVE."""
    holds(server, transactions())
    server.fails = Error(1227, "Access denied; you need (at least one of) the REPLICATION SLAVE privilege(s)", "42000")
    async with source(server) as made:
        with pytest.raises(HaltSyncError, match="REPLICATION SLAVE"):
            await collected(made.stream(start()), [])


async def test_a_statement_that_is_refused_before_the_dump(server):
    """Its connection is closed again, and the other one lives on."""
    holds(server, transactions())
    async with source(server) as made:
        server.answer(r"SET @master_heartbeat.*", Error(1227, "Access denied", "42000"))
        with pytest.raises(HaltSyncError, match="privilege"):
            await collected(made.stream(start()), [])
        assert (await made.head(None)).position


async def test_what_the_operator_hears(server):
    """An altered table: rows that were there before may have got values that no event tells."""
    log = transactions(1)
    log.gtid(2)
    log.query("ALTER TABLE t ADD COLUMN w INT")
    log.transaction(3, (3, "c"))
    holds(server, log)
    heard = []
    async with source(server, warn=heard.append) as made:
        assert ids(await gather(made, start())) == [1, 3]

    assert [one.what.startswith("table t was altered") for one in heard] == [True]
