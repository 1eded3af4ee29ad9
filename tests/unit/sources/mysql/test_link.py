"""Connections: who is let in, how results come, and what every error becomes."""

import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from asyncmy.constants import CLIENT
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from mysql_links import address, answering, as_root, scripted

from fuagent.errors import HaltSyncError, TryAgainError, UnauthorisedError
from fuagent.model import Credential, Secret
from fuagent.sources.address import Tls, address_of
from fuagent.sources.mysql.ed25519 import signature
from fuagent.sources.mysql.faults import translate
from fuagent.sources.mysql.link import DIALECT, Link
from fuagent.sources.mysql.options import Options
from fuagent.sources.mysql.server import server as facts
from harness import certificates, mysql_login
from harness.mariadb import PLUGINS
from harness.mysql_login import NATIVE, SHA2
from harness.mysql_wire import Error, Ok
from harness.scripted_mysql import ScriptedMySQL

ME = Credential(user="me", password=Secret("geheim"))


# ------------------------------------------------------------------ addresses


@pytest.mark.parametrize(
    ("endpoint", "host", "port", "database", "tls"),
    [
        ("mysql://db.internal:3307/shop", "db.internal", 3307, "shop", Tls.VERIFY),
        ("mariadb://DB.internal/My%20Shop", "db.internal", 3306, "My Shop", Tls.VERIFY),
        ("mysql://127.0.0.1/shop", "127.0.0.1", 3306, "shop", Tls.PREFER),
        ("mysql://localhost/shop", "localhost", 3306, "shop", Tls.PREFER),
        ("mysql://[::1]:1/shop", "::1", 1, "shop", Tls.PREFER),
        ("mysql://%2Frun%2FMySQL.sock/shop", "/run/MySQL.sock", 3306, "shop", Tls.OFF),
    ],
)
@pytest.mark.fault("S04")
def test_an_endpoint_is_read(endpoint, host, port, database, tls):
    """Host, port and database come from it, and how far away the host is decides about TLS."""
    found = address_of(DIALECT, endpoint, ME, Options())

    assert (found.host, found.port, found.database, found.tls) == (host, port, database, tls)
    assert (found.user, found.password.reveal()) == ("me", "geheim")


@pytest.mark.parametrize(
    ("endpoint", "credential", "options", "where"),
    [
        ("mysql://me:geheim@db/shop", ME, {}, "endpoint"),
        ("mysql://me@db/shop", ME, {}, "endpoint"),
        ("postgres://db/shop", ME, {}, "endpoint"),
        ("mysql://db", ME, {}, "endpoint"),
        ("mysql://db/", ME, {}, "endpoint"),
        ("mysql:///shop", ME, {}, "endpoint"),
        ("mysql://db/shop/more", ME, {}, "endpoint"),
        ("mysql://db:0/shop", ME, {}, "endpoint"),
        ("mysql://db:x/shop", ME, {}, "endpoint"),
        ("mysql://db/shop?ssl=1", ME, {}, "endpoint"),
        ("mysql://db/sh%00op", ME, {}, "endpoint"),
        ("mysql://db/shop", None, {}, "credential.user"),
        ("mysql://db/shop", Credential(key=Secret("k")), {}, "credential.user"),
        ("mysql://db/shop", Credential(user="me", key=Secret("k")), {}, "credential"),
        ("mysql://db/shop", ME, {"tls": "require", "tls_ca": "ca.pem"}, "driver_params.tls_ca"),
    ],
)
def test_a_wrong_endpoint_names_its_key(endpoint, credential, options, where):
    """What is wrong is said with the key it stands under, and without the secret."""
    with pytest.raises(HaltSyncError) as caught:
        address_of(DIALECT, endpoint, credential, Options(**options))

    assert caught.value.where == where
    assert caught.value.fix
    assert "geheim" not in str(caught.value)


def test_files_are_beside_the_configuration():
    """Certificates are looked for from the configuration's directory on."""
    mine = replace(ME, cert_file="me.pem", key_file="/keys/me.key")
    found = address_of(DIALECT, "mysql://db/shop", mine, Options(tls_ca="ca.pem"), Path("/etc/fuagent"))

    assert (found.ca_file, found.cert_file) == ("/etc/fuagent/ca.pem", "/etc/fuagent/me.pem")
    assert found.key_file == "/keys/me.key"
    assert address_of(DIALECT, "mysql://[::1]/shop", ME, Options()).where == "[::1]:3306"


# ------------------------------------------------------------------ a real server


HARMFUL = {
    "time_zone": "+05:30",
    "sql_mode": "ANSI_QUOTES",
    "autocommit": 0,
    "sql_select_limit": 1,
    "sql_big_selects": 0,
    "max_statement_time": 20,
    "lock_wait_timeout": 20,
    "wait_timeout": 20,
    "net_write_timeout": 20,
}
"""What an operator may have set for everybody, and would cut or change what is read; here no session is so slow."""


async def test_a_session_is_ours(opened, database):
    """Time zone, character set, modes and limits are ours whatever the server's are; writing may take a day."""
    server = database.server
    try:
        for name, value in HARMFUL.items():
            server.execute(f"SET GLOBAL {name} = {value!r}")
        link = await opened(address(database))
        row = await link.one("SELECT " + ", ".join(f"@@{name}" for name in ("character_set_results", *HARMFUL)))
    finally:
        for name in HARMFUL:
            server.execute(f"SET GLOBAL {name} = DEFAULT")

    assert row == ("utf8mb4", "+00:00", "", 1, 2**64 - 1, 1, "0.000000", 60, 86400, 86400)


async def test_values_come_as_what_they_are(opened, database):
    """Integers, texts and bytes; arguments are bound, whatever stands in them."""
    link = await opened(address(database))
    hostile = "x'; DROP TABLE t; -- \\ \0 ü😀"
    row = await link.one("SELECT 1, 'é', x'00ff', 1.50, NULL, %s, %s", (hostile, -5))

    assert row == (1, "é", b"\0\xff", "1.50", None, hostile, -5)
    assert await link.rows("DO 1") == []
    assert await link.one("SELECT 1 FROM dual WHERE 1 = 0") is None


async def test_what_a_server_does_not_know_is_no_error(opened, database):
    """An attempt says whether it worked, and the session goes on."""
    link = await opened(address(database))

    assert not await link.attempt("SET SESSION no_such_variable = 1")
    assert not await link.attempt("FLUSH TABLES WITH READ LOCK")
    assert await link.attempt("SET SESSION sort_buffer_size = 65536")


async def test_a_lock_that_hosted_servers_refuse_is_no_lost_login(scripting, opened):
    """Amazon RDS answers as if the password were wrong; the session goes on."""
    mysql = await scripting()
    mysql.answer("FLUSH TABLES WITH READ LOCK", Error(1045, "Access denied for user 'me'@'%' (using password: YES)"))
    mysql.answer("DO 1", Ok())
    link = await opened(scripted(mysql))

    assert not await link.attempt("FLUSH TABLES WITH READ LOCK")
    assert await link.attempt("DO 1")


async def test_a_long_result_comes_in_chunks(opened, database):
    """All rows as they were sent, never more at a time than asked for, and nothing is read meanwhile."""
    link = await opened(address(database))
    found = []
    async for chunk in link.raw("SELECT seq, IF(seq % 2, 'é', NULL) FROM seq_1_to_20000", 300):
        assert 1 <= len(chunk) <= 300
        assert not link.connection._transport.is_reading()
        found += chunk

    assert found == [(b"%d" % n, "é".encode() if n % 2 else None) for n in range(1, 20001)]
    assert await link.one("SELECT 1") == (1,)


async def test_large_rows_come_few_at_a_time(opened, database):
    """Chunks are bounded in bytes too; a row beyond one packet of 16 MiB comes whole."""
    link = await opened(address(database))
    sizes = [len(chunk) async for chunk in link.raw("SELECT REPEAT('x', 1000000) FROM seq_1_to_20", 1000)]
    [chunk] = [chunk async for chunk in link.raw("SELECT REPEAT('x', 17000000), 1")]

    assert sum(sizes) == 20
    assert max(sizes) < 6
    assert chunk == [(b"x" * 17_000_000, b"1")]


async def test_a_result_left_in_the_middle_ends_the_connection(opened, database):
    """There is no other way to stop the server."""
    link = await opened(address(database))
    rows = link.raw("SELECT seq FROM seq_1_to_10000000")
    await anext(rows)
    with pytest.raises(TryAgainError, match="still being read"):
        await link.rows("SELECT 1")
    await rows.aclose()

    with pytest.raises(TryAgainError, match="closed the connection"):
        await link.rows("SELECT 1")


async def test_an_error_leaves_the_connection_usable(opened, database):
    """An error of a statement says what and where, in its own type, without the statement."""
    link = await opened(address(database))
    with pytest.raises(HaltSyncError, match=r"error 1146.*nothing_here") as caught:
        await link.rows("SELECT 'geheim' FROM nothing_here")
    with pytest.raises(HaltSyncError, match="error 1242"):
        [_ async for _ in link.raw("SELECT (SELECT 'geheim' UNION SELECT 2)")]

    assert caught.value.where == f"127.0.0.1:{database.server.port}"
    assert "geheim" not in str(caught.value)
    assert await link.one("SELECT 1") == (1,)


async def test_a_killed_connection_is_tried_again(opened, database):
    """The server ends it; what is asked next says so."""
    link, root = await opened(address(database)), await opened(as_root(database))
    [number] = await link.one("SELECT CONNECTION_ID()")
    await root.rows(f"KILL {number}")

    with pytest.raises(TryAgainError):
        await link.rows("SELECT 1")
    await link.close()
    await link.close()


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"database": "nowhere"}, (HaltSyncError, UnauthorisedError), r"database 'nowhere'"),
        ({"password": Secret("geheim")}, UnauthorisedError, "error 1045"),
        ({"host": "nothing.invalid"}, TryAgainError, "name is not known"),
        ({"host": "/nothing/here.sock", "tls": Tls.OFF}, TryAgainError, "cannot be reached"),
        ({"tls": Tls.VERIFY}, HaltSyncError, "offers no TLS"),
        ({"tls": Tls.VERIFY, "ca_file": "/nothing/ca.pem"}, HaltSyncError, "certificates cannot be read: No such"),
        ({"tls": Tls.REQUIRE, "cert_file": __file__}, HaltSyncError, "no PEM file"),
    ],
)
async def test_who_is_not_let_in_learns_why(database, changes, kind, text):
    """Each has its own reaction, and none shows the password."""
    with pytest.raises(kind, match=text) as caught:
        await Link.open(replace(address(database), **changes))

    assert "geheim" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_socket_file_is_a_way_in(opened, database):
    """The host is the path of the file."""
    link = await opened(replace(as_root(database), host=str(database.server.socket), tls=Tls.OFF))

    assert await link.one("SELECT 1") == (1,)


async def test_a_signature_lets_in(opened, private_mariadb):
    """MariaDB's ed25519, with a password of any length; a wrong one is refused."""
    server = private_mariadb(plugin_dir=PLUGINS, plugin_load_add="auth_ed25519")
    server.execute("CREATE USER signer IDENTIFIED VIA ed25519 USING PASSWORD('geh€im')")
    server.execute("GRANT SELECT ON shop.* TO signer")
    where = replace(address(server.database()), user="signer", password=Secret("geh€im"))
    link = await opened(where)

    assert await link.one("SELECT CURRENT_USER()") == ("signer@%",)
    with pytest.raises(UnauthorisedError):
        await Link.open(replace(where, password=Secret("geheim")))


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=64))
def test_signatures_are_those_of_ed25519(key, message):
    """Where the password is as long as a key, a library gives the same."""
    assert signature(key, message) == Ed25519PrivateKey.from_private_bytes(key).sign(message)


async def test_what_a_server_says_about_itself(opened, database):
    """The facts that decide how it is read."""
    found = await facts(await opened(address(database)))

    assert found.mariadb
    assert found.version >= (10, 5, 0)
    assert (found.server_id, found.server_uuid, found.log_bin) == (1, None, True)
    assert (found.binlog_format, found.row_image, found.row_metadata) == ("ROW", "FULL", "FULL")
    assert (found.checksum, found.log_replica_updates, found.read_only) == ("CRC32", True, False)
    assert found.log_status == "SHOW MASTER STATUS"


# ------------------------------------------------------------------ a scripted server


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("tls", [Tls.OFF, Tls.PREFER, Tls.REQUIRE, Tls.VERIFY])
@pytest.mark.parametrize(
    ("plugin", "cached", "how"), [(NATIVE, False, "fast"), (SHA2, True, "fast"), (SHA2, False, "full")]
)
async def test_mysql_lets_us_in(scripting, opened, certs, plugin, cached, how, tls):
    """By old and new passwords, cached there or not, over TLS or by the server's key."""
    server = await scripting(plugin=plugin, tls=certs.server())
    server.cached = {"fuagent"} if cached else set()
    server.rows("SELECT 1", ["one"], (1,))
    link = await opened(scripted(server, tls=tls, ca_file=str(certs.ca) if tls is Tls.VERIFY else ""))

    assert await link.one("SELECT 1") == (1,)
    assert [login.secure for login in server.logins] == [tls is not Tls.OFF]
    assert server.logins[0].how == ("rsa" if how == "full" and tls is Tls.OFF else how)


async def test_long_results_come_over_tls_too(scripting, opened, certs):
    """Listening is paused and taken up again there as well."""
    server = await scripting(tls=certs.server())
    server.rows("SELECT .*", ["n", "text"], *((n, "x" * 500) for n in range(5000)))
    link = await opened(scripted(server))
    found = [row async for chunk in link.raw("SELECT n, text FROM t", 100) for row in chunk]

    assert [int(n) for n, _ in found] == list(range(5000))


async def test_results_end_in_the_old_way_too(scripting, opened):
    """Where a server does not leave EOF packets out."""
    server = await scripting(deprecate_eof=False)
    server.rows("SELECT .*", ["n"], (1,), (2,))
    link = await opened(scripted(server))

    assert await link.rows("SELECT n FROM t") == [(1,), (2,)]
    assert [chunk async for chunk in link.raw("SELECT n FROM t")] == [[(b"1",), (b"2",)]]


@pytest.mark.fault("S04")
async def test_a_server_without_tls_is_taken_under_prefer_alone(scripting, opened):
    """Nothing is sent readable that was to be encrypted."""
    server = await scripting()
    with pytest.raises(HaltSyncError, match="offers no TLS"):
        await Link.open(scripted(server, tls=Tls.REQUIRE))
    logins = list(server.logins)
    await opened(scripted(server, tls=Tls.PREFER))

    assert (logins, len(server.logins)) == ([], 1)


@pytest.mark.parametrize(("names", "days"), [(("other.example",), 30), ((), -1)])
@pytest.mark.fault("S04")
async def test_a_certificate_has_to_be_right(scripting, tmp_path, names, days):
    """Another name, or one whose days are over: no login is sent."""
    certs = certificates.make(tmp_path, *names, days=days)
    server = await scripting(tls=certs.server())
    with pytest.raises(TryAgainError, match="certificate is not proven"):
        await Link.open(scripted(server, tls=Tls.VERIFY, ca_file=str(certs.ca)))

    assert server.logins == []


class Rogue(ScriptedMySQL):
    """A server that asks for what no server should ask, and keeps what it gets."""

    asks = b""
    got = b""

    async def _let_in(self, wire):
        if not self.asks.startswith(b"\xfe"):
            return await super()._let_in(wire)
        await wire.write(mysql_login.greeting(self.version, self.capabilities, self.offered, 1))
        await wire.read()
        await wire.write(self.asks)
        self.got = await wire.read()
        return None

    async def _query(self, session, statement):
        if self.asks.startswith(b"\xfb") and statement == "SELECT 1":
            await session.wire.write(self.asks)
            self.got = await session.wire.read()
        else:
            await super()._query(session, statement)


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.fault("S22")
async def test_no_server_gets_our_files(scripting, opened, tmp_path, raw):
    """LOAD DATA LOCAL is not offered, and a request for a file ends the connection."""
    wanted = tmp_path / "secret"
    wanted.write_text("geheim")
    server = await scripting(Rogue)
    server.capabilities |= CLIENT.LOCAL_FILES
    server.asks = b"\xfb" + str(wanted).encode()
    link = await opened(scripted(server))
    with pytest.raises(HaltSyncError, match="asks for a file"):
        _ = [_ async for _ in link.raw("SELECT 1")] if raw else await link.rows("SELECT 1")
    with pytest.raises(TryAgainError):
        await link.rows("SELECT 2")

    assert not server.logins[0].capabilities & CLIENT.LOCAL_FILES
    assert server.got == b""


@pytest.mark.parametrize("plugin", [b"mysql_clear_password", b"dialog", b"mysql_old_password", b"nonsense"])
@pytest.mark.fault("S04")
async def test_no_server_gets_the_password_readable(scripting, plugin):
    """Whoever answers may ask for it; over an open line it is not sent."""
    server = await scripting(Rogue)
    server.asks = b"\xfe" + plugin + b"\0" + b"\x04Password: \0"
    with pytest.raises(HaltSyncError, match="kind of login"):
        await Link.open(scripted(server))

    assert server.got == b""


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (1040, TryAgainError),
        (1129, TryAgainError),
        (1130, UnauthorisedError),
        (3118, UnauthorisedError),
        (3159, HaltSyncError),
    ],
)
async def test_a_server_that_refuses_us(number, kind):
    """What it says first decides what happens next."""

    async def refuse(reader, writer):
        text = b"\xff" + number.to_bytes(2, "little") + b"#08004no"
        writer.write(len(text).to_bytes(3, "little") + b"\0" + text)
        await reader.read()

    async with answering(refuse) as server:
        with pytest.raises(kind) as caught:
            await Link.open(scripted(server, tls=Tls.OFF))

    assert type(caught.value) is kind


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x05\0\0\0\x0aabc\0", b"\xff" * 64, b"\0" * 64]
)
async def test_what_is_no_server_is_tried_again(said):
    """Somebody else answers, or hangs up: an error of ours, soon."""

    async def answer(_reader, writer):
        writer.write(said)

    async with answering(answer) as server:
        with pytest.raises(TryAgainError):
            await Link.open(scripted(server, tls=Tls.OFF))


async def test_a_silent_server_is_given_up():
    """A connection that never stands ends with its deadline."""

    async def wait(reader, _writer):
        await reader.read()

    async with answering(wait) as server:
        with pytest.raises(TryAgainError, match="did not answer in time"):
            await Link.open(scripted(server, timeout=0.1))


async def test_an_error_without_a_meaning_of_its_own_halts(scripting, opened):
    """Its number is told, and its text is not: that may hold values."""
    server = await scripting()
    server.answer("SELECT .*", Error(1366, "Incorrect value: 'geheim'"))
    link = await opened(scripted(server))
    with pytest.raises(HaltSyncError, match="error 1366") as caught:
        await link.rows("SELECT 1")

    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ConnectionRefusedError(111, "refused"), TryAgainError, "nothing listens"),
        (ssl.SSLError(1, "wrong version"), TryAgainError, "TLS with the server failed"),
        (RuntimeError("'cryptography' package is required"), HaltSyncError, "needs the package cryptography"),
        (ValueError("geheim"), TryAgainError, "ValueError"),
        (HaltSyncError("already ours"), HaltSyncError, "already ours"),
    ],
)
def test_every_error_becomes_ours(error, kind, text):
    """Whatever the library and the network raise."""
    found = translate(error, "db:3306")

    assert type(found) is kind
    assert text in str(found)
    assert "geheim" not in str(found)


@pytest.mark.parametrize("version", ["5.6.51", "5.5.5-10.1.48-MariaDB", "nonsense"])
async def test_an_old_server_is_refused(scripting, opened, version):
    """What cannot be read is said before anything else."""
    server = await scripting()
    server.rows("SHOW GLOBAL VARIABLES.*", ["Variable_name", "Value"], ("version", version))
    link = await opened(scripted(server))

    with pytest.raises(HaltSyncError, match="too old"):
        await facts(link)


async def test_what_mysql_says_about_itself(scripting, opened):
    """Words of MySQL 8.4, where some names are new."""
    said = {"version": "8.4.3", "server_id": "7", "server_uuid": "u-u", "log_bin": "ON", "binlog_format": "row"}
    said |= {"gtid_mode": "on_permissive", "log_replica_updates": "ON", "binlog_expire_logs_seconds": "3600"}
    said |= {"binlog_row_value_options": "PARTIAL_JSON", "read_only": "ON", "expire_logs_days": "9"}
    server = await scripting()
    server.rows("SHOW GLOBAL VARIABLES.*", ["Variable_name", "Value"], *said.items())
    found = await facts(await opened(scripted(server)))

    assert (found.mariadb, found.version, found.server_uuid) == (False, (8, 4, 3), "u-u")
    assert (found.gtid_mode, found.log_replica_updates, found.expire_seconds) == ("ON_PERMISSIVE", True, 3600)
    assert (found.value_options, found.log_status) == ("PARTIAL_JSON", "SHOW BINARY LOG STATUS")
    assert found.read_only
