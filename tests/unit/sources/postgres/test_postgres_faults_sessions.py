"""Settings of accounts, databases and servers that are not ours, and the sessions that hold against them."""

import asyncio
import subprocess
from contextlib import aclosing

import psycopg
import pytest
from postgres_following import following, gather, pictured, plain, prepared, session, standing, stored, unopened

from fuagent.errors import HaltSyncError, LostPlaceError, TryAgainError, UnauthorisedError
from fuagent.model import Secret
from fuagent.sources.postgres import dump
from fuagent.sources.postgres.link import Link, connect
from harness.postgres import USER, since

STRANGE = {
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Europe/Berlin",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "lc_monetary": "C.UTF-8",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "backslash_quote": "on",
    "xmlbinary": "hex",
    "search_path": "evil, public",
}
"""How values are written elsewhere, and read."""
HASTY = {
    "statement_timeout": "1500ms",
    "lock_timeout": "1500ms",
    "idle_in_transaction_session_timeout": "1500ms",
    "idle_session_timeout": "1500ms",
    "default_transaction_read_only": "on",
}
"""Limits that end a session which waits."""
VALUES = {
    "d": ("date", "2024-02-29", "2024-02-29"),
    "at": ("timestamptz", "2024-02-29 12:00:00+00", "2024-02-29T12:00:00Z"),
    "span": ("interval", "1 day 02:03:04", "P1DT2H3M4S"),
    "bytes": ("bytea", "\\x00ff", "AP8="),
    "f": ("float8", "0.1234567890123456", 0.1234567890123456),
    "cash": ("money", "1234.5", "$1,234.50"),
    "note": ("text", "é\\'\"", "é\\'\""),
}
"""Column: its type, a text, and what is sent."""


async def read_twice(database):
    """A row of all values as a snapshot has it, the same as the log has it, and updated by its key behind a large value."""
    columns = ", ".join(f"{name} {kind}" for name, (kind, _, _) in VALUES.items())
    with database.connect(options="-c client_encoding=UTF8 -c standard_conforming_strings=on") as writer:
        writer.execute("SET search_path = public")
        writer.execute(f"CREATE TABLE t (id int PRIMARY KEY, {columns}, large text)")
        writer.execute("ALTER TABLE t ALTER large SET STORAGE EXTERNAL")
        writer.execute(f"ALTER TABLE t OWNER TO {USER}")
        told = [text for _, text, _ in VALUES.values()]
        insert = f"INSERT INTO t VALUES (%s, {', '.join(['%s'] * len(told))}, repeat('x', 9000))"
        writer.execute(insert, [1, *told])
        async with following(database, "t") as source:
            picture = await pictured(source)
            writer.execute(insert, [2, *told])
            writer.execute("UPDATE t SET id = id WHERE id = 2")
            return [*stored(picture), *plain(await gather(source, picture.place))]


@pytest.mark.parametrize("whose", [f"ROLE {USER} IN DATABASE {{}}", "DATABASE {}"], ids=["account", "database"])
async def test_settings_of_others_change_nothing_that_is_written(postgres_database, whose):
    """By a snapshot, by the log, and where a large value is read again."""
    for name, value in STRANGE.items():
        told = value if name == "search_path" else f"'{value}'"
        postgres_database.execute(f"ALTER {whose.format(postgres_database.name)} SET {name} = {told}")
    rows = await read_twice(postgres_database)

    wanted = {name: sent for name, (_, _, sent) in VALUES.items()} | {"large": "x" * 9000}
    assert rows == [{"id": key, **wanted} for key in (1, 2, 2)]


@pytest.mark.parametrize("key", ["\\", "\\'; DROP TABLE evil; --", "a\\tb", "it's"])
@pytest.mark.fault("S25")
async def test_a_key_is_no_statement(postgres_database, key):
    """Rows with large values are read again by keys with anything in them, also where backslashes would mean something."""
    database = postgres_database
    database.execute(
        f"ALTER ROLE {USER} IN DATABASE {database.name} SET standard_conforming_strings = off; "
        f"ALTER ROLE {USER} IN DATABASE {database.name} SET backslash_quote = on"
    )
    for table in ("t", "evil"):
        database.create(table, "id text PRIMARY KEY, a int, large text")
        database.execute(f"ALTER TABLE {table} ALTER large SET STORAGE EXTERNAL")
    async with following(database, "t") as source:
        [spec] = source._specs.values()
        place = await standing(source)
        database.execute("INSERT INTO t VALUES (%s, 1, repeat('x', 9000))", key)
        database.execute("UPDATE t SET a = 2")
        found = await gather(source, place)
        again = await source.reread(spec, [bytes(text) for rows in found for text in rows.rows][-1:])

    assert plain(found)[-1] == {"id": key, "a": 2, "large": "x" * 9000}
    assert [one.event for one in again if b'"a":2' in one.event.replace(b" ", b"")] != []
    assert database.rows("evil") == []


async def test_money_is_written_alike_everywhere(private_postgres, monkeypatch, address):
    """Its text goes by the server's country; ours is no country's."""
    server = private_postgres()
    # PostgreSQL's own package needs the definitions of locales. The server's folder is one its account may look into.
    subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", server.folder / "de_DE.UTF-8"], check=True)
    monkeypatch.setenv("LOCPATH", str(server.folder))
    server.restart(lc_monetary="de_DE.UTF-8")
    database = server.database()
    database.create("t", "id int PRIMARY KEY, v money")
    insert = "INSERT INTO t VALUES (%s, '1234,5')"
    database.execute(insert, 1)
    async with following(database, "t") as source:
        picture = await pictured(source)
        database.execute(insert, 2)
        found = [*stored(picture), *plain(await gather(source, picture.place))]

    assert database.execute("SELECT v::text FROM t") == [("1.234,50 €",)] * 2
    assert found == [{"id": key, "v": "$1,234.50"} for key in (1, 2)]


@pytest.fixture
def hasty(postgres_database):
    """A database whose settings end whoever waits."""
    for name, value in HASTY.items():
        if postgres_database.execute("SELECT 1 FROM pg_settings WHERE name = %s", name):
            postgres_database.execute(f"ALTER ROLE {USER} IN DATABASE {postgres_database.name} SET {name} = '{value}'")
    return postgres_database


@pytest.mark.fault("F52")
async def test_limits_of_the_account_end_no_session_of_ours(hasty):
    """A snapshot that a slow service holds up, a stream, a place that is asked for later; and a publication is made."""
    hasty.create("t", "id int PRIMARY KEY, v text")
    hasty.execute("INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n")

    async def wait():
        await asyncio.to_thread(hasty.execute, "SELECT pg_sleep(2)")

    async with following(hasty, "t", chunk_rows=5000) as source:
        await wait()
        count = 0
        async with await source.snapshot(["t"]) as run, aclosing(run.rows()) as came:
            await wait()
            async for rows in came:
                if not count:
                    await wait()
                count += len(rows.rows)
        async with aclosing(source.stream(run.place)) as stream:
            await anext(stream)
            await wait()
            session(hasty, "INSERT INTO t VALUES (0)")
            [rows] = [await anext(stream)]
            head = await source.head(rows.end)

    assert count == 20000
    assert plain([rows]) == [{"id": 0, "v": None}]
    assert head.bytes_kept > 0


@pytest.mark.fault("F52")
async def test_a_snapshot_whose_connection_dies_is_tried_again(postgres_database):
    """It begins anew, whole; nothing of the first stays on the server."""
    database = postgres_database
    database.create("t", "id int PRIMARY KEY, v text")
    database.execute("INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 60000) n")

    def sessions():
        query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename = %s"
        return [pid for (pid,) in database.execute(query, USER)]

    async def rest(rows):
        return [one async for one in rows]

    async with following(database, "t") as source:
        before = set(sessions())
        async with await source.snapshot(["t"]) as run, aclosing(run.rows()) as rows:
            await anext(rows)
            for pid in set(sessions()) - before:
                database.server.terminate(pid)
            with pytest.raises(TryAgainError):
                await rest(rows)
        left = set(sessions()) - before
        temporary = database.execute(
            "SELECT 1 FROM pg_replication_slots WHERE temporary AND database = current_database()"
        )
        again = await pictured(source)

    assert (left, temporary) == (set(), [])
    assert len(stored(again)) == 60000


async def test_objects_of_the_same_name_are_not_taken_for_the_server_s(postgres_database):
    """Somebody makes functions, operators, casts and tables in a schema that comes first: none of them is called."""
    database = postgres_database
    database.execute("CREATE SCHEMA evil; CREATE TABLE evil.called (what text)")
    for name, args in (
        ("current_setting", "text"),
        ("pg_current_wal_lsn", ""),
        ("pg_current_wal_flush_lsn", ""),
        ("pg_get_userbyid", "oid"),
        ("has_table_privilege", "oid, text"),
        ("pg_create_logical_replication_slot", "name, name"),
        ("date_part", "text, interval"),
        ("age", "xid"),
        ("count", "int"),
    ):
        database.execute(
            f"CREATE FUNCTION evil.{name}({args}) RETURNS text LANGUAGE plpgsql AS "
            f"$$ BEGIN INSERT INTO evil.called VALUES ('{name}'); RETURN 'x'; END $$"
        )
    for kind in ("name, text", "text, text", "name, name", "oid, oid"):
        left, right = kind.split(", ")
        database.execute(
            f"CREATE FUNCTION evil.same(a {left}, b {right}) RETURNS boolean LANGUAGE plpgsql AS "
            "$$ BEGIN INSERT INTO evil.called VALUES ('='); RETURN true; END $$"
        )
        database.execute(f"CREATE OPERATOR evil.= (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = evil.same)")
    database.execute("CREATE VIEW evil.pg_class AS SELECT 'x'::text AS relname; CREATE DOMAIN evil.text AS int")
    database.execute("CREATE TABLE evil.t (id int PRIMARY KEY, stolen text); INSERT INTO evil.t VALUES (666)")
    database.execute(f"GRANT ALL ON SCHEMA evil TO {USER}; GRANT ALL ON ALL TABLES IN SCHEMA evil TO {USER}")
    database.execute(f"ALTER ROLE {USER} IN DATABASE {database.name} SET search_path = evil, pg_catalog, public")
    database.create("public.t", "id pg_catalog.int4 PRIMARY KEY, v pg_catalog.text")
    database.execute("ALTER TABLE public.t ALTER v SET STORAGE EXTERNAL")
    async with following(database, "t") as source:
        said = await source.check()
        place = await standing(source)
        session(database, "INSERT INTO public.t VALUES (1, repeat('x', 9000))", "UPDATE public.t SET id = 1")
        found = plain(await gather(source, place))
        await source.head(place)

    assert [row["id"] for row in found] == [1, 1]
    assert [len(row["v"]) for row in found] == [9000, 9000]
    assert [one.what for one in said if one.level == "error"] == []
    assert database.execute("SELECT what FROM evil.called") == []


# ------------------------------------------------------------------ logins, languages, encodings


@pytest.mark.parametrize("password", ["it's", 'a "b" \\ c', " = &?%20#@:/ ", "pässwörd😀", "{}$HOME`id`;--"])
async def test_any_password_lets_in(postgres_database, address, password):
    """Whatever stands in it."""
    name = f"keeper_{postgres_database.name}"
    postgres_database.execute(f"CREATE ROLE {name} LOGIN")
    postgres_database.execute(f"ALTER ROLE {name} PASSWORD %s", password)
    try:
        link = await Link.open(address(postgres_database, user=name, password=Secret(password)))
        user = await link.one("SELECT CURRENT_USER::text")
        await link.close()
        with pytest.raises(UnauthorisedError):
            await Link.open(address(postgres_database, user=name, password=Secret(password.strip() + "x")))
    finally:
        postgres_database.execute(f"DROP ROLE {name}")

    assert user == (name,)


@since(13)
async def test_a_server_that_speaks_another_language(private_postgres, monkeypatch, address):
    """What it says at a login is shown in its own words, and tried again; all else goes by numbers."""
    monkeypatch.setenv("LANGUAGE", "ru")
    server = private_postgres(max_slot_wal_keep_size="1MB", wal_keep_size=0, max_wal_size="2MB")
    server.restart(lc_messages="C.UTF-8")
    database = server.database()
    database.create("t", "id int PRIMARY KEY, v text")
    with pytest.raises(psycopg.Error) as foreign:
        database.execute("SELECT 1/0")
    if "division" in str(foreign.value):
        pytest.skip("the server's messages are there in English alone")
    with pytest.raises(TryAgainError, match=r'the server refused the connection: .*"fuagent"') as refused:
        await Link.open(address(database, password=Secret("geheim")))
    async with following(database, "t") as source, following(database, "t") as other:
        place = await standing(source)
        async with aclosing(source.stream(place)) as stream:
            await anext(stream)
            [pid] = server.senders()
            database.execute("INSERT INTO t VALUES (0)")
            with pytest.raises(TryAgainError, match=f"process {pid}"):
                await gather(other, place)
    for _ in range(4):
        database.execute(
            "INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 1000) n ON CONFLICT (id) DO UPDATE SET v = excluded.v"
        )
        database.execute("CHECKPOINT")
    source = unopened(database, "t")
    await source.open()
    with pytest.raises(LostPlaceError, match=r"max_slot_wal_keep_size \(1 MB; \d+ MB were unread\)"):
        await prepared(source)
    await source.close()

    assert "geheim" not in str(refused.value)


async def encoded(server, name, encoding):
    """A database of another encoding."""
    server.execute(
        f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
        database="postgres",
    )
    server.execute(f'GRANT CREATE ON DATABASE "{name}" TO {USER}', database="postgres")
    return server.database(name)


@pytest.fixture
async def foreign(postgres):
    """Makes databases of other encodings on the shared server."""
    made = []

    async def make(encoding):
        made.append(f"encoded_{encoding.lower()}")
        return await encoded(postgres, made[-1], encoding)

    yield make
    for name in made:
        postgres.drop(name)


@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_JP", "SQL_ASCII"])
async def test_a_database_of_another_encoding_reads_as_unicode(foreign, encoding):
    """Names and values, in a snapshot and in the log. Where there is no encoding the bytes have to be UTF-8."""
    word = {"LATIN1": "Größe", "EUC_JP": "日本", "SQL_ASCII": "Größe"}[encoding]
    database = await foreign(encoding)
    told = {"client_encoding": "UTF8"}
    with database.connect(**told) as writer:
        writer.execute(f'CREATE TABLE "{word}" (id int PRIMARY KEY, "{word}" text)'.encode())
        writer.execute(f'ALTER TABLE "{word}" OWNER TO {USER}'.encode())
        writer.execute(f"INSERT INTO \"{word}\" VALUES (1, '{word}')".encode())
        async with following(database, word) as source:
            picture = await pictured(source)
            writer.execute(f"INSERT INTO \"{word}\" VALUES (2, '{word}')".encode())
            found = [*stored(picture), *plain(await gather(source, picture.place))]

    assert found == [{"id": 1, word: word}, {"id": 2, word: word}]


async def test_bytes_that_are_no_text_stop_the_sync(foreign):
    """A database without an encoding took them: it is said, with what to do; nothing is sent that is not what is stored."""
    database = await foreign("SQL_ASCII")
    database.create("t", "id int PRIMARY KEY, v text")
    database.execute("INSERT INTO t VALUES (1, 'a')")
    async with following(database, "t") as source:
        said = [one.what for one in await source.check()]
        place = await standing(source)
        with database.connect(client_encoding="SQL_ASCII") as writer:
            writer.execute(b"INSERT INTO t VALUES (2, 'geheim \xe4')")
        with pytest.raises(HaltSyncError, match="not of the encoding") as in_log:
            await gather(source, place)
        with pytest.raises(HaltSyncError, match="not of the encoding") as in_table:
            await pictured(source)

    assert any("SQL_ASCII" in one for one in said)
    for error in (in_log.value, in_table.value):
        assert "UTF8" in error.fix
        assert "geheim" not in str(error)
        assert "e4" not in error.what


# ------------------------------------------------------------------ slow services


@pytest.mark.fault("F19")
@pytest.mark.usefixtures("patient")
async def test_the_server_hears_of_us_while_nothing_is_read(postgres_database, monkeypatch, address):
    """For longer than it waits for a reader: a service that takes its time costs no connection."""
    monkeypatch.setitem(dump._SENDER, "wal_sender_timeout", "3s")
    database = postgres_database
    database.create("t", "id int PRIMARY KEY, v text")
    async with following(database, "t", heartbeat=0.1, chunk_rows=100) as source:
        place = await standing(source)
        session(database, "INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n")
        async with aclosing(source.stream(place)) as stream:
            first = await anext(stream)
            [pid] = database.server.senders()
            await asyncio.to_thread(database.execute, "SELECT pg_sleep(7)")
            count = len(first.rows)
            while count < 20000:
                count += len((await anext(stream)).rows)
            assert database.server.senders() == [pid]

    connection = await connect(address(database), dump._SENDER, replication="database")
    shown = await (await connection.execute("SHOW wal_sender_timeout")).fetchone()
    connection.end()
    assert shown == ("3s",)
