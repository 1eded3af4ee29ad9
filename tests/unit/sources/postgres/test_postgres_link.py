"""Connections to PostgreSQL: who is let in, how results come, and what every error becomes."""

import asyncio
import re
import socket
from contextlib import aclosing
from dataclasses import replace
from types import SimpleNamespace

import psycopg
import pytest

from fuagent.errors import HaltSyncError, LostPlaceError, TryAgainError, UnauthorisedError
from fuagent.model import Credential, Secret
from fuagent.sources.address import Tls, address_of
from fuagent.sources.postgres.faults import said, said_of_log, translate
from fuagent.sources.postgres.link import DIALECT, Link
from fuagent.sources.postgres.options import Options
from harness import certificates

ME = Credential(user="me", password=Secret("geheim"))


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    """For the server of this machine."""
    return certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def encrypted(private_postgres, certs):
    """A database of a server that speaks TLS."""
    server = private_postgres()
    files = {"ssl_cert_file": certs.cert, "ssl_key_file": certs.key}
    kept = {name: server.keep(path.name, path.read_bytes()) for name, path in files.items()}
    server.stop()
    server.start(ssl="on", **kept)
    return server.database()


# ------------------------------------------------------------------ addresses


@pytest.mark.parametrize(
    ("endpoint", "host", "port", "tls"),
    [
        ("postgres://db.internal:5433/shop", "db.internal", 5433, Tls.VERIFY),
        ("postgresql://localhost/shop", "localhost", 5432, Tls.PREFER),
        ("postgres://%2Fvar%2Frun%2Fpostgresql/shop", "/var/run/postgresql", 5432, Tls.OFF),
    ],
)
@pytest.mark.fault("S04")
def test_an_endpoint_is_read(endpoint, host, port, tls):
    """Both spellings of the scheme, and a socket's directory."""
    found = address_of(DIALECT, endpoint, ME, Options())

    assert (found.host, found.port, found.database, found.tls) == (host, port, "shop", tls)


# ------------------------------------------------------------------ sessions


async def test_a_session_is_ours(opened, postgres_database, address):
    """How values are written and names are looked up is ours, whatever the account's settings are."""
    link = await opened(address(postgres_database))
    names = ("TimeZone", "IntervalStyle", "bytea_output", "extra_float_digits", "client_encoding", "lock_timeout")
    row = await link.one("SELECT " + ", ".join(f"current_setting('{name}')" for name in names))

    assert row == ("UTC", "iso_8601", "hex", "1", "UTF8", "1min")
    assert link.version // 10_000 == postgres_database.server.version()
    assert await link.one("SELECT current_setting('DateStyle') LIKE 'ISO%%', current_schemas(false)") == (True, [])


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PGTZ", "Europe/Berlin"),
        ("PGDATESTYLE", "SQL, DMY"),
        ("PGOPTIONS", "-c timezone=Europe/Berlin"),
        ("PGHOSTADDR", "192.0.2.1"),
        ("PGCLIENTENCODING", "LATIN1"),
        ("PGSSLMODE", "verify-full"),
        ("PGCHANNELBINDING", "require"),
        ("PGREQUIREAUTH", "none"),
        ("PGSSLMINPROTOCOLVERSION", "nonsense"),
        ("PGSSLNEGOTIATION", "direct"),
        ("PGSSLCERTMODE", "require"),
        ("PGTARGETSESSIONATTRS", "standby"),
    ],
)
async def test_the_environment_decides_nothing(monkeypatch, opened, postgres_database, address, variable, value):
    """What libpq would take from variables is told to it, or set anew."""
    with monkeypatch.context() as changed:
        changed.setenv(variable, value)
        link = await opened(address(postgres_database))
    row = await link.one("SELECT current_setting('TimeZone'), current_setting('DateStyle') LIKE 'ISO%', 'é'::text")

    assert row == ("UTC", True, "é")


@pytest.mark.fault("S25")
async def test_values_are_bound(opened, postgres_database, address):
    """Whatever stands in them; a percent sign without arguments is one."""
    link = await opened(address(postgres_database))
    hostile = "x'; DROP TABLE t; -- \\ ü😀 %s"

    assert await link.one("SELECT 1, %s::text, %s::int, NULL", (hostile, -5)) == (1, hostile, -5, None)
    assert await link.one("SELECT '%'") == ("%",)
    assert await link.rows("SET work_mem = '1MB'") == []
    assert await link.one("SELECT 1 WHERE false") is None


async def test_what_a_server_does_not_know_is_no_error(opened, postgres_database, address):
    """An attempt says whether it worked, and the session goes on."""
    link = await opened(address(postgres_database))

    assert not await link.attempt("SET no_such_variable = 1")
    assert not await link.attempt("CREATE ROLE other")
    assert not await link.attempt("SELECT no_such_function()")
    assert await link.attempt("SET work_mem = '1MB'")


async def test_an_error_leaves_the_connection_usable(opened, postgres_database, address):
    """An error of a statement has a type of its own, and does not show the statement."""
    link = await opened(address(postgres_database))
    with pytest.raises(HaltSyncError, match="22012") as caught:
        await link.rows("SELECT 'geheim', 1/0")

    assert caught.value.where == f"127.0.0.1:{postgres_database.server.port}"
    assert "geheim" not in str(caught.value)
    assert await link.one("SELECT 1") == (1,)


async def test_a_statement_that_takes_too_long_is_given_up(opened, postgres_database, address):
    """It ends at its deadline."""
    link = await opened(address(postgres_database))

    with pytest.raises(TryAgainError, match="in time"):
        await link.rows("SELECT pg_sleep(60)", within=0.1)


async def test_a_connection_that_was_ended_is_tried_again(opened, postgres_database, address):
    """The server ends it; what is asked next says so. To close it twice does no harm."""
    link = await opened(address(postgres_database))
    [(pid,)] = await link.rows("SELECT pg_backend_pid()")
    postgres_database.server.terminate(pid)

    with pytest.raises(TryAgainError):
        await link.rows("SELECT 1")
    await link.close()
    await link.close()


# ------------------------------------------------------------------ COPY


def filled(database):
    """A table of 50,000 rows."""
    database.execute(
        "CREATE TABLE t (id int, note text); INSERT INTO t SELECT n, 'note '||n FROM generate_series(1, 50000) n"
    )
    return b"".join(b"%d\tnote %d\n" % (n, n) for n in range(1, 50001))


async def copied(link, query, most=None):
    """All that COPY gives, within a time that no end is waited for in."""
    async with asyncio.timeout(20):
        return [block async for block in link.copy(query, most)]


async def test_copy_comes_in_whole_lines(opened, postgres_database, address):
    """Every line once, in order, none cut; the connection can be used again."""
    expected = filled(postgres_database)
    link = await opened(address(postgres_database, tls=Tls.OFF))
    blocks = await copied(link, "COPY public.t TO STDOUT")

    assert b"".join(blocks) == expected
    assert all(block.endswith(b"\n") for block in blocks)
    some = await copied(link, "COPY public.t TO STDOUT", 1000)
    assert b"".join(some) == expected
    assert max(block.count(b"\n") for block in some) == 1000
    assert await copied(link, "COPY (SELECT 1 WHERE false) TO STDOUT") == []
    assert await link.one("SELECT 1") == (1,)


async def test_copy_comes_over_tls_too(opened, encrypted, address):
    """The same, read by libpq."""
    expected = filled(encrypted)
    link = await opened(address(encrypted, tls=Tls.REQUIRE))
    blocks = await copied(link, "COPY public.t TO STDOUT")

    assert b"".join(blocks) == expected
    assert all(block.endswith(b"\n") for block in blocks)
    some = await copied(link, "COPY public.t TO STDOUT", 1000)
    assert b"".join(some) == expected
    assert max(block.count(b"\n") for block in some) == 1000
    assert await link.one("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == (True,)


@pytest.mark.parametrize("size", [10, 100, 2560, 2570, 25_700, 20_000_000])
async def test_lines_of_any_length_are_told_apart(opened, postgres_database, address, size):
    """Lengths whose bytes are line ends, rows that look like heads of frames, and rows larger than a reading."""
    text = ("d\n" * (size // 2 + 1))[:size]
    postgres_database.execute("CREATE TABLE t (id int, note text)")
    postgres_database.execute("INSERT INTO t SELECT n, %s FROM generate_series(1, 3) n", text)
    link = await opened(address(postgres_database, tls=Tls.OFF))
    written = text.replace("\n", "\\n").encode()

    assert b"".join(await copied(link, "COPY public.t TO STDOUT")) == b"".join(
        b"%d\t%b\n" % (n, written) for n in (1, 2, 3)
    )


async def test_what_follows_a_large_copy_is_answered_at_once(opened, postgres_database, address):
    """Waiting for large pieces ends with the rows: an answer of some bytes is not waited for in vain."""
    postgres_database.execute("CREATE TABLE t (id int, note text)")
    link = await opened(address(postgres_database, tls=Tls.OFF))
    async with asyncio.timeout(20):
        for size in (400_000, 20_000_000):
            async for _ in link.copy(
                f"COPY (SELECT repeat('x', 100) FROM generate_series(1, {size // 100})) TO STDOUT"
            ):
                pass
            assert await link.one("SELECT 1") == (1,)


async def test_a_refused_copy_leaves_the_connection_usable(opened, postgres_database, address):
    """Before its first row, or in the middle."""
    postgres_database.execute("CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(-90000, 0)")
    link = await opened(address(postgres_database))
    with pytest.raises(HaltSyncError, match="42P01"):
        await copied(link, "COPY public.nothing TO STDOUT")
    with pytest.raises(HaltSyncError, match="22012"):
        await copied(link, "COPY (SELECT 1 / id FROM public.t) TO STDOUT")

    assert await link.one("SELECT 1") == (1,)


async def test_a_copy_left_in_the_middle_ends_the_connection(opened, postgres_database, address):
    """There is no other way to stop the server."""
    link = await opened(address(postgres_database))
    async with aclosing(link.copy("COPY (SELECT generate_series(1, 10000000)) TO STDOUT")) as blocks:
        assert (await anext(blocks)).startswith(b"1\n2\n")

    with pytest.raises(TryAgainError):
        await link.rows("SELECT 1")


async def test_a_killed_copy_is_tried_again(opened, postgres_database, address):
    """The server ends the session in the middle."""
    link = await opened(address(postgres_database))
    [(pid,)] = await link.rows("SELECT pg_backend_pid()")
    async with aclosing(link.copy("COPY (SELECT generate_series(1, 100000000)) TO STDOUT")) as blocks:
        await anext(blocks)
        postgres_database.execute("SELECT pg_terminate_backend(%s)", pid)
        with pytest.raises(TryAgainError):
            async for _ in blocks:
                pass


# ------------------------------------------------------------------ who is let in


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        ({"database": "nowhere"}, HaltSyncError, "no such database"),
        ({"password": Secret("geheim")}, UnauthorisedError, "login was refused"),
        ({"user": "nobody"}, UnauthorisedError, "login was refused"),
        ({"host": "nothing.invalid"}, TryAgainError, "name is not known"),
        ({"host": "/nothing/here", "tls": Tls.OFF}, TryAgainError, "nothing listens"),
        ({"port": 1}, TryAgainError, "nothing listens"),
        ({"tls": Tls.REQUIRE}, HaltSyncError, "no TLS"),
    ],
)
async def test_who_is_not_let_in_learns_why(postgres_database, address, changes, kind, text):
    """Each has its own reaction, and none shows the password."""
    with pytest.raises(kind, match=text) as caught:
        await Link.open(replace(address(postgres_database), **changes))

    assert type(caught.value) is kind
    assert "geheim" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_full_server_is_tried_again(postgres_database, address):
    """An account's own limit is no refused login."""
    postgres_database.execute("CREATE ROLE crowded LOGIN PASSWORD 'geheim' CONNECTION LIMIT 0")
    try:
        with pytest.raises(TryAgainError, match="too many connections") as caught:
            await Link.open(address(postgres_database, user="crowded", password=Secret("geheim")))
    finally:
        postgres_database.execute("DROP ROLE crowded")

    assert type(caught.value) is TryAgainError


async def test_an_account_kept_out_of_a_database_is_told_so(postgres_database, address):
    """The database is there."""
    postgres_database.execute(f'REVOKE CONNECT ON DATABASE "{postgres_database.name}" FROM public')

    with pytest.raises(HaltSyncError, match="privilege"):
        await Link.open(address(postgres_database))


async def test_a_socket_s_directory_is_a_way_in(opened, postgres_database, address):
    """The host is the directory."""
    folder = str(postgres_database.server.folder)
    link = await opened(address(postgres_database, host=folder, user="postgres", tls=Tls.OFF))

    assert await link.one("SELECT inet_client_addr() IS NULL") == (True,)


@pytest.mark.fault("S04")
async def test_a_certificate_has_to_be_right(opened, encrypted, address, certs, tmp_path):
    """The authority's own lets in; another's does not, and then no login is sent."""
    other = certificates.make(tmp_path)
    link = await opened(address(encrypted, tls=Tls.VERIFY, ca_file=str(certs.ca)))

    assert await link.one("SELECT 1") == (1,)
    with pytest.raises((TryAgainError, HaltSyncError), match="certificate is not proven"):
        await Link.open(address(encrypted, tls=Tls.VERIFY, ca_file=str(other.ca)))


async def test_the_home_directory_decides_nothing(opened, encrypted, address, monkeypatch, tmp_path):
    """Certificates there would be proven against where nothing was to be."""
    (tmp_path / ".postgresql").mkdir()
    strange = certificates.make(tmp_path)
    (tmp_path / ".postgresql/root.crt").write_bytes(strange.ca.read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path))
    link = await opened(address(encrypted, tls=Tls.REQUIRE))

    assert await link.one("SELECT 1") == (1,)


@pytest.mark.fault("S04")
async def test_no_server_gets_the_password_readable(private_postgres, address):
    """Whoever answers may ask for it; over an open line it is not sent."""
    server = private_postgres()
    server.admit("host all postgres 127.0.0.1/32 trust", "host all all 127.0.0.1/32 password")

    with pytest.raises(HaltSyncError, match="readable"):
        await Link.open(address(server.database(), tls=Tls.OFF))


async def test_a_silent_server_is_given_up(address):
    """A connection that never stands ends with its deadline."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        database = SimpleNamespace(server=SimpleNamespace(port=listening.getsockname()[1]), name="shop")
        with pytest.raises(TryAgainError, match="in time"):
            await Link.open(address(database, timeout=0.2))


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("state", "message", "kind", "text"),
    [
        ("28P01", "geheim", UnauthorisedError, "28P01"),
        ("53300", "geheim", TryAgainError, "too many connections"),
        ("57P03", "geheim", TryAgainError, "not ready"),
        ("57P01", "geheim", TryAgainError, "ended"),
        ("08006", "geheim", TryAgainError, "08006"),
        ("40001", "geheim", TryAgainError, "40001"),
        ("55P03", "geheim", TryAgainError, "55P03"),
        ("53400", "all replication slots are in use", HaltSyncError, "max_replication_slots"),
        ("42501", "permission denied for table t", HaltSyncError, "for table t"),
        ("55006", 'replication slot "s" is active for PID 4711', TryAgainError, "4711.*wal_sender_timeout"),
        ("55000", "geheim", TryAgainError, "in use"),
        ("42704", 'type "mood" does not exist', TryAgainError, '"mood" does not exist'),
        ("58P01", 'could not access file "$libdir/postgis-3": No such file or directory', TryAgainError, "58P01"),
        ("22021", "geheim", HaltSyncError, "encoding"),
        ("22P02", "invalid input: geheim", HaltSyncError, "22P02"),
    ],
)
def test_what_a_server_says_has_a_meaning(state, message, kind, text):
    """By its SQLSTATE; a text that may hold values is not told."""
    found = said(state, message, "db:5432")

    assert type(found) is kind
    assert re.search(text, str(found))
    assert "geheim" not in str(found)


@pytest.mark.parametrize(
    ("state", "message", "kind", "text"),
    [
        ("55000", 'can no longer get changes from replication slot "s"', LostPlaceError, "no use.*max_slot_wal_keep"),
        ("55000", 'can no longer access replication slot "s"', LostPlaceError, "no use"),
        ("55000", "logical decoding requires wal_level >= logical", TryAgainError, "55000"),
        ("58P01", "das WAL-Segment 0000000100000000000000A7 wurde schon entfernt", LostPlaceError, "removed.*max_slot"),
        ("58P01", 'could not access file "$libdir/postgis-3": No such file or directory', TryAgainError, "58P01"),
        ("42704", 'replication slot "s" does not exist', LostPlaceError, "does not exist"),
        ("57P01", "geheim", TryAgainError, "ended"),
    ],
)
def test_what_is_missed_in_the_log_is_a_lost_place(state, message, kind, text):
    """A slot, a publication, a piece of the log: there, and nowhere else."""
    found = said_of_log(state, message, "db:5432")

    assert type(found) is kind
    assert re.search(text, str(found))
    assert "geheim" not in str(found)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionResetError(104, "reset"), TryAgainError),
        (TimeoutError(), TryAgainError),
        (psycopg.OperationalError("geheim"), TryAgainError),
        (ValueError("geheim"), TryAgainError),
        (LostPlaceError("already ours"), LostPlaceError),
    ],
)
def test_every_error_becomes_ours(error, kind):
    """Whatever the library and the network raise."""
    found = translate(error, "db:5432")

    assert type(found) is kind
    assert "geheim" not in str(found)
