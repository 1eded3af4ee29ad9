"""The scripted server lets real clients in as a real one does, and its dumps are those of a real one."""

import asyncio
import struct
import warnings

import asyncmy
import pymysql
import pytest

from harness import binlog_feed, certificates
from harness.binlog_feed import HEAD
from harness.mariadb import USER
from harness.mysql_login import NATIVE, SHA2
from harness.mysql_wire import Error, Ok, Rows
from harness.scripted_mysql import NON_BLOCK, Registered, ScriptedMySQL

PASSWORD = "fuagent-password"


async def connect(server, password=PASSWORD, **options):
    return await asyncmy.connect(host="127.0.0.1", port=server.port, user="fuagent", password=password, **options)


async def query(connection, statement):
    async with connection.cursor() as cursor:
        await cursor.execute(statement)
        return await cursor.fetchall()


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def server():
    async with ScriptedMySQL() as made:
        yield made


@pytest.fixture(autouse=True)
def no_leaks():
    """asyncmy warns of each connection that nobody closed; collecting them here would blame the wrong test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize(
    ("plugin", "cached", "how"), [(NATIVE, False, "fast"), (SHA2, True, "fast"), (SHA2, False, "whole")]
)
async def test_a_client_gets_in(certs, plugin, cached, how, encrypted):
    """By either method, with and without TLS, the fast way and the long one."""
    async with ScriptedMySQL(plugin=plugin, tls=certs.server()) as server:
        server.cached = {"fuagent"} if cached else set()
        server.rows("SELECT 1", ["one"], (1,))
        connection = await connect(server, ssl=certs.client() if encrypted else None)
        assert await query(connection, "SELECT 1") == ((1,),)
        await connection.ensure_closed()

    [login] = server.logins
    assert (login.user, login.plugin, login.secure, login.granted) == ("fuagent", plugin, encrypted, True)
    assert login.how == (how if how == "fast" else "full" if encrypted else "rsa")
    assert login.attributes["_client_name"] == "asyncmy"


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize(("plugin", "offered"), [(NATIVE, SHA2), (SHA2, NATIVE)])
async def test_a_client_switches_the_method(certs, plugin, offered, encrypted):
    """A user may prove its password in another way than the greeting says."""
    async with ScriptedMySQL(plugin=plugin, offered=offered, tls=certs.server()) as server:
        connection = await connect(server, ssl=certs.client() if encrypted else None)
        await connection.ping()
        await connection.ensure_closed()

    assert server.logins[0].switched
    assert server.logins[0].plugin == plugin


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("plugin", [NATIVE, SHA2])
async def test_a_wrong_password_is_refused(certs, plugin, encrypted):
    """Nobody gets in with another password, and the error is the server's own."""
    async with ScriptedMySQL(plugin=plugin, tls=certs.server()) as server:
        with pytest.raises(asyncmy.errors.OperationalError) as raised:
            await connect(server, password="wrong", ssl=certs.client() if encrypted else None)

    assert raised.value.args[0] == 1045
    assert not server.logins[0].granted


async def test_a_name_that_is_not_the_certificates_is_refused(tmp_path):
    """The client's own look at the certificate is a real one."""
    other = certificates.make(tmp_path, "db.example.com")
    async with ScriptedMySQL(tls=other.server()) as server:
        with pytest.raises(asyncmy.errors.OperationalError, match="certificate"):
            await connect(server, ssl=other.client())

    assert server.logins == []


@pytest.mark.parametrize("deprecate_eof", [False, True])
@pytest.mark.parametrize("version", ["8.0.36", "5.5.5-10.11.18-MariaDB-log", "5.7.44-log"])
async def test_rows_come_as_they_were_scripted(version, deprecate_eof):
    """Numbers, texts, bytes and NULL, in both shapes of a result set, also beyond one packet of 16 MB."""
    row = (1, "Zoë 🦉", b"\x00\xff", None, "x" * 300, "y" * 0x1000000)
    async with ScriptedMySQL(version, deprecate_eof=deprecate_eof) as server:
        server.rows("SELECT .*", ["a", "b", "c", "d", "e", "f"], row, row)
        server.rows("SHOW TABLES", ["Tables_in_shop"])
        connection = await connect(server, database="shop")
        assert await query(connection, "select * from t") == (row, row)
        assert await query(connection, "SHOW TABLES") == ()
        assert connection.get_server_info() == version
        await connection.ensure_closed()

    assert server.logins[0].database == "shop"
    assert server.sessions[0].deprecate_eof == deprecate_eof


async def test_rows_come_whole_through_tls(certs):
    """What is longer than a TLS record is encrypted whole, both ways."""
    async with ScriptedMySQL(tls=certs.server()) as server:
        server.answer("SELECT .*", lambda session, statement: Rows(["said"], [(statement,)] * 3))
        connection = await connect(server, ssl=certs.client())
        long = f"SELECT '{'x' * 500_000}'"
        assert await query(connection, long) == ((long,),) * 3
        await connection.ensure_closed()


async def test_it_ends_quietly_with_clients_in_it(caplog):
    """A server that ends takes its connections with it and logs nothing."""
    async with ScriptedMySQL() as server:
        connection = await connect(server)

    with pytest.raises(asyncmy.errors.OperationalError):
        await query(connection, "SELECT 1")
    await connection.ensure_closed()
    assert caplog.messages == []


async def test_the_last_answer_wins(server):
    """A test overrides what was scripted before, with errors and with functions of what was asked."""
    server.rows("SELECT 1", ["one"], (1,))
    server.answer("SELECT 1", Error(1146, "Table 'shop.t' doesn't exist", "42S02"))
    server.answer("DELETE.*", lambda session, statement: Ok(len(statement)))
    connection = await connect(server)
    with pytest.raises(asyncmy.errors.ProgrammingError, match="doesn't exist"):
        await query(connection, "SELECT 1")
    async with connection.cursor() as cursor:
        assert await cursor.execute("DELETE FROM t") == 13
    with pytest.raises(asyncmy.errors.ProgrammingError, match="nothing was scripted"):
        await query(connection, "SELECT 2")
    await connection.ensure_closed()

    assert server.unanswered == ["SELECT 2"]
    assert server.sessions[0].statements[-3:] == ["SELECT 1", "DELETE FROM t", "SELECT 2"]


async def test_user_variables_are_kept(server):
    """What a client sets with an @ is there to be looked at, and is what its dump goes by."""
    connection = await connect(server)
    await query(connection, "SET @master_heartbeat_period = 500, @Slave_uuid= 'x-1', @@session.net_write_timeout = 9")
    await query(connection, "SET NAMES utf8mb4")
    await connection.ensure_closed()

    assert server.sessions[0].variables == {"master_heartbeat_period": "500", "slave_uuid": "x-1"}


class Reader:
    """A replica of few words, with PyMySQL: the packets of one dump."""

    def __init__(self, port, user="fuagent", *variables):
        self.session = pymysql.connect(host="127.0.0.1", port=port, user=user, password=PASSWORD, read_timeout=60)
        with self.session.cursor() as cursor:
            for variable in variables:
                cursor.execute(f"SET {variable}")

    def dump(self, file, offset=4, flags=NON_BLOCK):
        self.session._execute_command(0x12, struct.pack("<IHI", offset, flags, 77) + file.encode())
        return self

    def dump_gtid(self, gtids, flags=NON_BLOCK):
        body = struct.pack("<HIIQI", flags, 77, 0, 4, len(gtids)) + gtids
        self.session._execute_command(0x1E, body)
        return self

    def next(self):
        """The next event; None at the end, and an error is raised."""
        data = self.session._read_packet().get_all_data()
        return None if data[0] == 0xFE and len(data) < 9 else data[1:]

    def all(self):
        try:
            return list(iter(self.next, None))
        finally:
            self.session._force_close()


def read(*arguments):
    """All events of one dump by file, in a thread."""
    port, user, file, offset, *variables = arguments
    return asyncio.to_thread(lambda: Reader(port, user, *variables).dump(file, offset).all())


@pytest.fixture(scope="module")
def recorded(mariadb):
    """Two files of a real server's binlog, and the GTIDs in the first."""
    mariadb.execute("FLUSH BINARY LOGS")
    first = mariadb.position().file
    mariadb.execute("CREATE TABLE IF NOT EXISTS recorded (id INT)")
    mariadb.execute("INSERT INTO recorded VALUES (1)")
    middle = mariadb.position()
    mariadb.execute("INSERT INTO recorded VALUES (2)")
    mariadb.execute("FLUSH BINARY LOGS")
    mariadb.execute("INSERT INTO recorded VALUES (3)")
    second = mariadb.position().file
    return {name: mariadb.binlog(name) for name in (first, second)}, middle


@pytest.mark.parametrize("checksum", ["@master_binlog_checksum = 'CRC32'", "@master_binlog_checksum = 'NONE'"])
@pytest.mark.parametrize("place", ["start", "middle", "end"])
async def test_a_dump_is_that_of_a_real_server(server, mariadb, recorded, checksum, place):
    """From a file's start, its middle and its end: byte for byte what MariaDB sends of the same files."""
    server.binlogs, middle = recorded
    offset = {"start": 4, "middle": middle.offset, "end": len(server.binlogs[middle.file])}[place]
    wanted = (middle.file, offset, checksum, "@mariadb_slave_capability = 4")
    real = await read(mariadb.port, USER, *wanted)
    ours = await read(server.port, USER, *wanted)
    # The real file may have grown by other tests' doing.
    size = len(ours)

    assert ours == real[:size]
    assert size >= 4


async def test_a_client_without_checksums_is_refused(server, mariadb, recorded):
    """Who does not say what it makes of checksums gets the error a real server sends."""
    server.binlogs, middle = recorded
    for port in (server.port, mariadb.port):
        with pytest.raises(pymysql.err.MySQLError, match=r"Slave can not handle .* configured to log") as raised:
            await read(port, USER, middle.file, 4)
        assert raised.value.args[0] == 1236


async def test_mariadb_goes_on_after_its_gtids(server, recorded):
    """What the client says it has does not come again; the first event after it is the next transaction's."""
    server.binlogs, middle = recorded
    state = f"@slave_connect_state = '{middle.gtid}'"
    events = await read(server.port, USER, "", 4, "@master_binlog_checksum = 'CRC32'", state)
    numbers = [struct.unpack_from("<Q", event, 19)[0] for event in events if event[4] == 162]

    had = int(middle.gtid.rpartition("-")[2])
    assert numbers == [had + 1, had + 2]
    rows = [HEAD.unpack_from(event)[1] for event in events if event[4] in (23, 19)]
    assert rows == [19, 23] * 2


def _mysql_event(kind, body, position):
    return binlog_feed.event(kind, body, position=position, crc=False)


@pytest.fixture
def mysql_file():
    """A binlog as MySQL 8.0 writes it without checksums: three transactions of one server."""
    body = struct.pack("<H50sIB", 4, b"8.0.36", 1, 19) + bytes(40) + b"\0"
    data = binlog_feed.MAGIC + _mysql_event(15, body + bytes(4), 0)
    for number in (1, 2, 3):
        data += _mysql_event(33, b"\x01" + bytes(range(16)) + struct.pack("<q", number), 0)
        data += _mysql_event(16, struct.pack("<Q", number), 0)
    return data


async def test_mysql_goes_on_after_its_gtids(server, mysql_file):
    """COM_BINLOG_DUMP_GTID leaves out the transactions of the set."""
    server.binlogs = {"binlog.000001": mysql_file}
    gtids = struct.pack("<Q", 1) + bytes(range(16)) + struct.pack("<QQQQQ", 2, 1, 2, 3, 4)
    events = await asyncio.to_thread(lambda: Reader(server.port).dump_gtid(gtids).all())

    assert [event[4] for event in events] == [4, 15, 33, 16]
    assert struct.unpack_from("<Q", events[-1], 19) == (2,)
    assert server.sessions[0].dump.gtids == {bytes(range(16)): [(1, 2), (3, 4)]}
    assert server.sessions[0].dump.server_id == 77


async def test_events_heartbeats_and_ends_come_when_told(server, mysql_file):
    """Who has everything waits, and then gets what the test sends, at last an error."""
    server.binlogs = {"binlog.000001": mysql_file}
    reader = await asyncio.to_thread(lambda: Reader(server.port).dump("binlog.000001", flags=0))
    for _ in range(8):
        await asyncio.to_thread(reader.next)
    await server.until(lambda server: len(server.streams()) == 1)
    server.send_heartbeat()
    server.send(_mysql_event(16, bytes(8), 0))
    server.fail("log event entry exceeded max_allowed_packet")

    beat = await asyncio.to_thread(reader.next)
    assert HEAD.unpack_from(beat)[:2] == (0, 27)
    assert HEAD.unpack_from(beat)[4] == len(mysql_file)
    assert (await asyncio.to_thread(reader.next))[4] == 16
    with pytest.raises(pymysql.err.MySQLError, match="max_allowed_packet") as raised:
        await asyncio.to_thread(reader.next)
    assert raised.value.args[0] == 1236
    reader.session._force_close()
    await server.until(lambda server: server.streams() == [])
    assert server.sessions[0].sent == 10


async def test_a_stream_ends_in_order_or_with_its_reader(server, mysql_file):
    """EOF ends it as a shutdown does; a reader that goes away is noticed without anything being sent."""
    server.binlogs = {"binlog.000001": mysql_file}
    first, second = await asyncio.gather(
        *(asyncio.to_thread(lambda: Reader(server.port).dump("binlog.000001", flags=0)) for _ in range(2))
    )
    await server.until(lambda server: len(server.streams()) == 2)
    first.session._force_close()
    await server.until(lambda server: len(server.streams()) == 1)
    server.end()

    assert len(await asyncio.to_thread(second.all)) == 8


async def test_a_file_that_is_gone_is_an_error(server, mysql_file):
    """A client that names a file the server has not gets the error of a purged one."""
    server.binlogs = {"binlog.000002": mysql_file}
    with pytest.raises(pymysql.err.MySQLError, match="Could not find first log file") as raised:
        await read(server.port, USER, "binlog.000001", 4)

    assert raised.value.args[0] == 1236


async def test_a_recorded_end_can_be_an_error(server, mysql_file):
    """A stream can be made to fail at the end of what is recorded, for whoever comes."""
    server.binlogs = {"binlog.000001": mysql_file}
    server.fails = Error(1236, "event read from binlog did not pass crc check")
    with pytest.raises(pymysql.err.MySQLError, match="crc check"):
        await read(server.port, USER, "binlog.000001", 4)


async def test_events_beyond_one_packet_are_split(server, mysql_file):
    """An event of more than 16 MB comes whole."""
    big = _mysql_event(2, b"x" * 0x1800000, 0)
    server.binlogs = {"binlog.000001": mysql_file + big}
    events = await read(server.port, USER, "binlog.000001", 4)

    assert events[-1] == big


def register(port):
    session = pymysql.connect(host="127.0.0.1", port=port, user=USER, password=PASSWORD)
    words = b"\x04here\x02me\x00"
    session._execute_command(0x15, struct.pack("<I", 77) + words + struct.pack("<HII", 3306, 0, 0))
    session._read_ok_packet()
    session.close()


async def test_a_replica_registers(server):
    """What a replica says of itself is kept."""
    await asyncio.to_thread(register, server.port)

    assert server.sessions[0].registered == Registered(77, "here", "me", 3306)
