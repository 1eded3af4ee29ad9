"""What check says about a server, an account, its tables and their publication."""

from dataclasses import replace

import pytest

from fuagent.model import Deletes, Level, Secret
from fuagent.sources.address import Address, Tls
from fuagent.sources.postgres.findings import findings
from fuagent.sources.postgres.link import Link
from fuagent.sources.postgres.server import server as facts
from fuagent.sources.postgres.slots import publication, slot
from fuagent.sources.postgres.tables import layouts, listing
from fuagent.sources.selection import select
from harness.postgres import PASSWORD, USER, before, since

LIMITED = {"keeps": 1 << 40}
"""What a server has to be told, or check warns of it."""


@pytest.fixture
async def opened():
    """Opens links to a database, as the reader's own account or another, that the test need not close."""
    made = []

    async def opening(database, user=USER):
        where = ("127.0.0.1", database.server.port, database.name, user)
        made.append(await Link.open(Address(*where, Secret(PASSWORD), Tls.PREFER, timeout=30.0)))
        return made[-1]

    yield opening
    for one in made:
        await one.close()


@pytest.fixture
async def link(opened, postgres_database):
    """The reader's own account, and a table without a fault."""
    create(postgres_database, "good", "id int PRIMARY KEY")
    return await opened(postgres_database)


def create(database, table, body, identity="FULL"):
    """A table that the reader's account owns."""
    database.execute(f"CREATE TABLE {table} ({body}); ALTER TABLE {table} REPLICA IDENTITY {identity}")
    database.own(table)


async def checked(link, wanted=("*",), *, named="check", deletes=None, **changes):
    """All that is said, where the server is as it is but for ``changes``."""
    found = await listing(link, "public")
    tables = await layouts(link, select(found, wanted, ()), "public")
    server = replace(await facts(link), **(LIMITED | changes))
    return await findings(link, server, tables, found, wanted, publication=named, slot=named, deletes=deletes)


def texts(found, level=None):
    """What is said, in lines."""
    return [f"{one.what} | {one.fix}" for one in found if level in (None, one.level)]


@pytest.mark.fault("S24")
async def test_nothing_is_said_where_nothing_is_wrong(link):
    """A server as it should be, and an account with what it needs."""
    assert await checked(link) == []


@pytest.mark.fault("F54")
@pytest.mark.parametrize(
    ("changes", "level", "what", "fix"),
    [
        ({"wal_level": "replica"}, Level.ERROR, "wal_level is replica", "ALTER SYSTEM SET wal_level = logical;"),
        ({"replicates": False}, Level.ERROR, "may not read the log", f'ALTER ROLE "{USER}" REPLICATION;'),
        ({"superuser": True}, Level.WARNING, f'the account "{USER}" is a superuser', "SELECT on the tables"),
        ({"encoding": "SQL_ASCII"}, Level.WARNING, "any encoding", "encoding UTF8"),
        ({"slots": (9, 10)}, Level.ERROR, "9 of 10 replication slots", "max_replication_slots = 15;"),
        ({"senders": (9, 10)}, Level.ERROR, "9 of 10 WAL senders", "max_wal_senders = 15;"),
        pytest.param(
            {"keeps": None},
            Level.WARNING,
            "without a limit",
            "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB';",
            marks=since(13),
        ),
    ],
)
@pytest.mark.fault("S24")
async def test_a_server_s_settings_are_looked_at(link, changes, level, what, fix):
    """Each with the statement that puts it right."""
    [said] = await checked(link, **changes)

    assert said.level is level
    assert what in said.what
    assert fix in said.fix
    assert said.where == link.where


async def test_two_more_slots_and_senders_are_enough(link):
    """One that stays and one for a snapshot."""
    assert await checked(link, slots=(8, 10), senders=(8, 10)) == []


@pytest.mark.fault("F54")
async def test_a_server_without_logical_decoding_is_found(opened, private_postgres):
    """By what the server itself says; all that it says to do is enough."""
    server = private_postgres(wal_level="replica", max_replication_slots=1, max_wal_senders=1)
    database = server.database()
    create(database, "good", "id int PRIMARY KEY")
    said = texts(await checked(await opened(database)), Level.ERROR)

    assert [line.partition(" | ")[2].partition(";")[0] for line in said] == [
        "ALTER SYSTEM SET wal_level = logical",
        "ALTER SYSTEM SET max_replication_slots = 6",
        "ALTER SYSTEM SET max_wal_senders = 6",
    ]
    for line in said:
        server.execute(line.partition(" | ")[2].partition(";")[0])
    server.options = {name: value for name, value in server.options.items() if name not in SETTINGS}
    server.restart()
    assert await checked(await opened(database)) == []


SETTINGS = {"wal_level", "max_replication_slots", "max_wal_senders"}


async def test_a_standby_is_told_apart(link):
    """It has no log to follow before version 16, and takes no publication then either."""
    old = texts(await checked(link, recovering=True, version=150_000), Level.ERROR)
    new = texts(await checked(link, recovering=True, version=160_000), Level.ERROR)

    assert "is a standby" in old[0]
    assert [line.partition(":")[0] for line in old[1:]] == [line.partition(":")[0] for line in new]
    assert "On the primary, as the owner of the tables: CREATE PUBLICATION" in new[0]


@pytest.mark.fault("F40", "F48")
async def test_tables_are_looked_at(link, postgres_database):
    """Those without an identity or a key, generated columns, parents; what cannot be followed."""
    create(postgres_database, "bare", "id int", "DEFAULT")
    create(postgres_database, "mute", "id int PRIMARY KEY", "NOTHING")
    create(postgres_database, "keyless", "id int")
    create(postgres_database, "made", "id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED", "DEFAULT")
    postgres_database.execute("CREATE TABLE child () INHERITS (good); CREATE VIEW known AS SELECT 1 AS one")
    said = await checked(link, ["bare", "mute", "keyless", "made", "good", "K*"], deletes=Deletes.MARK)

    fails = "once it is published, every UPDATE and DELETE of it fails."
    assert texts(said, Level.ERROR) == [
        f"table {name} has no replica identity: {fails} | Give it a primary key, or "
        f'ALTER TABLE "public"."{name}" REPLICA IDENTITY FULL;'
        for name in ("bare", "mute")
    ]
    warned = texts(said, Level.WARNING)
    assert len(warned) == 2
    assert "table keyless has no primary key" in warned[0]
    assert "generated columns of table made are left out, of the snapshot as of changes: twice." in warned[1]
    assert [line.partition(":")[0] for line in texts(said, Level.INFO)] == [
        "other tables inherit from table good",
        "known is a view, whose changes cannot be followed",
    ]


@pytest.mark.fault("F40")
async def test_what_is_said_of_an_identity_is_so(link, postgres_database):
    """The application's own UPDATE fails, and what is said to run helps it."""
    create(postgres_database, "bare", "id int", "DEFAULT")
    postgres_database.execute("INSERT INTO bare VALUES (1); CREATE PUBLICATION p FOR TABLE bare")
    with pytest.raises(Exception, match="does not have a replica identity"):
        postgres_database.execute("UPDATE bare SET id = 2")
    [said] = [one for one in await checked(link, ["bare"]) if one.level is Level.ERROR]
    postgres_database.execute(said.fix.partition(", or ")[2])
    postgres_database.execute("UPDATE bare SET id = 2")

    assert postgres_database.rows("bare") == [{"id": 2}]
    assert texts(await checked(link, ["bare"]), Level.ERROR) == []


async def test_generated_columns_in_an_identity_are_found(link, postgres_database):
    """Nobody could tell rows apart by them; whole old rows are another matter from version 18 on, where FULL is not advised."""
    create(postgres_database, "full_one", "id int PRIMARY KEY, g int GENERATED ALWAYS AS (id) STORED")
    create(postgres_database, "keyed", "id int GENERATED ALWAYS AS (1) STORED PRIMARY KEY, v int", "DEFAULT")
    create(postgres_database, "beside", "id int PRIMARY KEY, g int GENERATED ALWAYS AS (id) STORED", "DEFAULT")
    wanted = ["full_one", "keyed", "beside"]
    new = await checked(link, wanted, version=180_000)
    old = await checked(link, wanted, version=150_000)

    for said in (new, old):
        [error] = texts(said, Level.ERROR)
        assert error.startswith("table keyed is known in the log by generated columns, which are not sent")
        assert 'ALTER TABLE "public"."keyed" REPLICA IDENTITY USING INDEX' in error
    coming = "old rows of table full_one have generated columns: once the server is of version 18"
    assert [coming in "".join(texts(said, Level.WARNING)) for said in (new, old)] == [False, True]
    [told] = texts(new, Level.INFO)
    assert "deleted from keyed, beside: with deletes: row they are not sent. | Send deletes: mark." in told
    assert 'ALTER TABLE "public"."beside" REPLICA IDENTITY FULL;' in texts(old, Level.INFO)[0]


@pytest.mark.parametrize(
    ("deletes", "levels"),
    [(None, [Level.INFO]), (Deletes.ROW, [Level.WARNING]), (Deletes.MARK, []), (Deletes.SKIP, [])],
)
async def test_deleted_rows_that_are_known_by_their_keys_are_told_of(link, postgres_database, deletes, levels):
    """Where whole rows are to be sent for them; and what is said to run makes them whole."""
    create(postgres_database, "keyed", "id int PRIMARY KEY, v int", "DEFAULT")
    said = await checked(link, deletes=deletes)

    assert [one.level for one in said] == levels
    for one in said:
        postgres_database.execute(one.fix.partition(" or ")[0])
        assert await checked(link, deletes=deletes) == []


@since(13)
async def test_partitions_are_looked_at(link, postgres_database):
    """Each has an identity and a log of its own; what is said to run puts it right."""
    postgres_database.execute(
        "CREATE TABLE p (id int, v text) PARTITION BY LIST (id); ALTER TABLE p REPLICA IDENTITY FULL; "
        "CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1); CREATE UNLOGGED TABLE p_2 PARTITION OF p FOR VALUES IN (2); "
        "CREATE TABLE p_3 (id int PRIMARY KEY, v text); ALTER TABLE p ATTACH PARTITION p_3 FOR VALUES IN (3)"
    )
    postgres_database.own("p")
    errors = texts(await checked(link, ["p*"]), Level.ERROR)

    assert len(errors) == 2
    assert "partition p_1 of table p has no replica identity" in errors[0]
    assert "partition p_2 of table p is unlogged or foreign" in errors[1]
    postgres_database.execute(errors[0].partition(", or ")[2])
    postgres_database.execute(errors[1].partition(" | ")[2].partition(";")[0])
    [uneven] = texts(await checked(link, ["p"]), Level.ERROR)
    assert "partition p_3 of table p is not REPLICA IDENTITY FULL as the table is" in uneven
    postgres_database.execute(uneven.partition(" | ")[2])
    assert texts(await checked(link, ["p"]), Level.ERROR) == []


@pytest.mark.fault("S24")
async def test_an_account_with_too_little_learns_what_to_grant(opened, link, postgres_database):
    """Reading the log, a schema, a table, columns of it; and each statement does it."""
    database = postgres_database
    name = f"poor_{database.name}"
    database.execute(
        f"CREATE USER {name} PASSWORD '{PASSWORD}'; CREATE SCHEMA crm; CREATE TABLE crm.people (id int PRIMARY KEY); "
        f"CREATE TABLE half (id int PRIMARY KEY, hidden int); GRANT SELECT (id) ON half TO {name}; "
        "CREATE TABLE guarded (id int PRIMARY KEY); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; "
        f"GRANT SELECT ON good, guarded TO {name}"
    )
    try:
        poor, wanted = await opened(database, name), ["good", "half", "guarded", "crm.people"]
        said = texts(await checked(poor, wanted, deletes=Deletes.MARK), Level.ERROR)
        for line in said:
            fix = line.partition(" | ")[2].partition(" (on Amazon")[0]
            database.execute(fix.removeprefix("As the owner of the tables: "))
        after = texts(await checked(poor, wanted, deletes=Deletes.MARK))
    finally:
        await poor.close()
        database.execute(f"DROP OWNED BY {name}; DROP USER {name}")

    whats, fixes = zip(*(line.split(" | ") for line in said), strict=True)
    assert whats == (
        "the account may not read the log.",
        "the account may not read table half.",
        "policies of table guarded would hide rows from the account; it reads all of them or none.",
        "the account may not read table crm.people.",
        "there is no publication of the tables, and the account cannot make one: it does not own good, half, guarded, crm.people.",
    )
    tables = 'ONLY "public"."good", ONLY "public"."half", ONLY "public"."guarded", ONLY "crm"."people"'
    assert fixes[:-1] == (
        f'ALTER ROLE "{name}" REPLICATION; (on Amazon RDS: GRANT rds_replication TO "{name}";)',
        f'GRANT SELECT ON "public"."half" TO "{name}";',
        f'ALTER ROLE "{name}" BYPASSRLS;',
        f'GRANT USAGE ON SCHEMA "crm" TO "{name}"; GRANT SELECT ON "crm"."people" TO "{name}";',
    )
    assert fixes[-1].startswith(f'As the owner of the tables: CREATE PUBLICATION "check" FOR TABLE {tables}')
    assert after == []


async def test_an_account_that_may_create_nothing_learns_of_it(link, postgres_database):
    """It owns the tables, and yet the database is another's."""
    postgres_database.execute(f'REVOKE CREATE ON DATABASE "{postgres_database.name}" FROM {USER}')
    [said] = await checked(link)

    assert said.level is Level.ERROR
    assert "the account cannot make one: it may not create anything in the database" in said.what


@pytest.mark.parametrize(
    ("made", "what", "fix"),
    [
        ("FOR TABLE other", "lacks good", 'ADD TABLE ONLY "public"."good";'),
        (
            "FOR TABLE good WITH (publish = 'insert')",
            "every kind of change",
            "SET (publish = 'insert, update, delete, t",
        ),
        pytest.param(
            "FOR TABLE good (id)",
            "some columns of table good",
            'DROP TABLE "public"."good"; ALTER PUBLICATION "made"',
            marks=since(15),
        ),
        pytest.param(
            "FOR TABLE good WHERE (id > 1)",
            "some rows of table good",
            'DROP TABLE "public"."good"; ALTER PUBLICATION',
            marks=since(15),
        ),
    ],
)
async def test_a_publication_of_another_is_looked_at(link, postgres_database, made, what, fix):
    """And what is said to run, by its owner, puts it right."""
    create(postgres_database, "other", "id int PRIMARY KEY")
    postgres_database.execute(f"ALTER TABLE good ADD COLUMN v text; CREATE PUBLICATION made {made}")
    [said] = await checked(link, ["good"], named="made")
    statements = said.fix.removeprefix("As its owner: ")
    postgres_database.execute(statements)

    assert said.level is Level.ERROR
    assert what in said.what
    assert fix in said.fix
    assert await checked(link, ["good"], named="made") == []


@since(13)
async def test_partitions_are_published_under_one_name(link, postgres_database):
    """A publication of another that names each is found, and mended."""
    postgres_database.execute(
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY LIST (id); ALTER TABLE p REPLICA IDENTITY FULL; "
        "CREATE PUBLICATION made FOR TABLE p"
    )
    [said] = [one for one in texts(await checked(link, ["p"], named="made")) if "attached" not in one]
    postgres_database.execute(said.partition(" | ")[2])

    assert "publishes partitions under their own names" in said
    assert [one for one in texts(await checked(link, ["p"], named="made")) if "attached" not in one] == []


@pytest.mark.parametrize(
    "warned", [pytest.param(True, marks=[since(13), before(15)]), pytest.param(False, marks=since(15))]
)
async def test_what_older_servers_do_not_notice_is_said(link, postgres_database, warned):
    """Rows of a partition that is attached on the way would be missed without a word."""
    postgres_database.execute("CREATE TABLE p (id int PRIMARY KEY) PARTITION BY LIST (id)")
    said = [one for one in await checked(link, ["p"]) if "is attached to table p" in one.what]

    assert [one.level for one in said] == [Level.WARNING] * warned


@pytest.mark.fault("F40")
async def test_a_publication_of_all_tables_is_warned_of(link, postgres_database):
    """Tables made later could not be updated without a key."""
    postgres_database.execute("CREATE PUBLICATION every_one FOR ALL TABLES")
    [said] = await checked(link, ["good"], named="every_one")

    assert said.level is Level.WARNING
    assert "takes in tables by itself" in said.what


async def test_tables_of_others_are_missed_in_a_publication_of_ours(link, postgres_database):
    """What is ours is added when the sync starts; nobody adds what another owns but the owner."""
    postgres_database.execute(
        "CREATE TABLE strange (id int PRIMARY KEY); ALTER TABLE strange REPLICA IDENTITY FULL; CREATE PUBLICATION mine"
    )
    postgres_database.execute(f"ALTER PUBLICATION mine OWNER TO {USER}")
    [said] = await checked(link, named="mine")

    assert said.what == "publication mine lacks strange."
    assert said.fix == 'As its owner: ALTER PUBLICATION "mine" ADD TABLE ONLY "public"."strange";'
    assert (await publication(link, "mine")).ours


async def until_said(link, server, statement, what):
    """Write log until something is said, and nothing else.

    The transaction ends behind the statement, a little into the new segment: right at its beginning the room is a
    whole number of segments, and the step from enough of them to none may be missed.
    """
    for _ in range(20):
        server.execute(f"SELECT pg_logical_emit_message(true, 'x', repeat('x', 1000)); {statement}")
        found = texts(await checked(link, keeps=4 << 20), Level.WARNING)
        if any(what in line for line in found):
            break
    [said] = found
    assert what in said
    return said


@pytest.mark.fault("F31", "F37")
@since(13)
@pytest.mark.fault("F91")
async def test_a_slot_that_keeps_much_is_told_of(opened, private_postgres):
    """How much, how much room there is, and when it is of no use any more."""
    server = private_postgres(max_slot_wal_keep_size="4MB", min_wal_size="2MB", max_wal_size="2MB")
    database = server.database()
    create(database, "good", "id int PRIMARY KEY")
    link = await opened(database)
    database.execute("SELECT pg_create_logical_replication_slot('check', 'pgoutput')")
    quiet = await checked(link, keeps=4 << 20)
    near = await until_said(link, server, "SELECT pg_switch_wal()", "lets go of it in")
    lost = await until_said(link, server, "SELECT pg_switch_wal(); CHECKPOINT", "is of no use any more")

    assert quiet == []
    assert "Start the agent. Raise max_slot_wal_keep_size" in near
    assert "which then asks for a snapshot" in lost
    assert (await slot(link, "check")).lost


async def test_a_slot_of_another_is_told_of(link, postgres_database):
    """And all else that is to be said is said as well."""
    postgres_database.execute("SELECT pg_create_physical_replication_slot('taken')")
    try:
        said = await checked(link, named="taken", wal_level="replica")
    finally:
        postgres_database.execute("SELECT pg_drop_replication_slot('taken')")

    assert [one.level for one in said] == [Level.ERROR, Level.ERROR]
    assert "replication slot taken is of another database or kind" in said[1].what


@pytest.mark.fault("F37")
async def test_a_slot_that_nobody_reads_is_told_of(monkeypatch, link, postgres_database):
    """With what it keeps, and how to be rid of it."""
    postgres_database.execute("SELECT pg_create_logical_replication_slot('idle_one', 'pgoutput')")
    monkeypatch.setattr("fuagent.sources.postgres.findings._MUCH", 0)
    [said] = await checked(link, named="idle_one")

    assert "of its log for this sync, which nobody reads" in said.what
    assert "SELECT pg_drop_replication_slot('idle_one');" in said.fix


async def test_old_transactions_are_named(monkeypatch, opened, link, postgres_database):
    """Those that a slot would wait for; a young one is nobody's business. Age is counted in transactions where times are hidden."""
    root = await opened(postgres_database, "postgres")
    with postgres_database.transaction() as cursor:
        cursor.execute("INSERT INTO good VALUES (1)")
        [(pid,)] = cursor.execute("SELECT pg_backend_pid()").fetchall()
        young = await checked(root, superuser=False)
        monkeypatch.setattr("fuagent.sources.postgres.findings._LONG", 0)
        [said] = await checked(root, superuser=False)
        monkeypatch.setattr("fuagent.sources.postgres.findings._MANY", 0)
        [seen] = await checked(link)

    assert young == []
    assert "others began" in seen.what
    assert f"SELECT pg_terminate_backend({pid});" in seen.fix
    assert f"(process {pid}); slots and snapshots wait for its end" in said.what
    assert f"SELECT pg_terminate_backend({pid});" in said.fix


async def test_prepared_transactions_are_named(monkeypatch, opened, private_postgres):
    """By the name their owner ends them by."""
    database = private_postgres(max_prepared_transactions=2, autovacuum="off").database()
    create(database, "good", "id int PRIMARY KEY")
    link = await opened(database)
    with database.connect() as session:
        session.execute("BEGIN")
        session.execute("INSERT INTO good VALUES (1)")
        session.execute("PREPARE TRANSACTION 'it''s'")
    young = await checked(link)
    monkeypatch.setattr("fuagent.sources.postgres.findings._LONG", 0)
    [said] = await checked(link)
    database.execute(said.fix.partition(" or ")[0])

    assert young == []
    assert "prepared transaction it's is open since" in said.what
    assert await checked(link) == []
