"""PostgreSQL's tables: which there are, what they hold, and by what their rows are told apart."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.contract.payload import Form, form
from fuagent.encode.templates import Columnwise
from fuagent.errors import HaltSyncError
from fuagent.model import Kind, Property, Secret
from fuagent.sources.address import Address, Tls
from fuagent.sources.postgres.columns import quote, quoted
from fuagent.sources.postgres.link import Link
from fuagent.sources.postgres.server import server as facts
from fuagent.sources.postgres.tables import Leaf, layouts, listing, types
from fuagent.sources.selection import Name, select
from harness.postgres import PASSWORD, USER, since


@pytest.fixture
async def link(postgres_database):
    """The reader's own account."""
    port = postgres_database.server.port
    made = await Link.open(
        Address("127.0.0.1", port, postgres_database.name, USER, Secret(PASSWORD), Tls.PREFER, timeout=30.0)
    )
    yield made
    await made.close()


async def looked_at(link, *tables):
    """The layouts of tables of the schema public."""
    return await layouts(link, [Name("public", table) for table in tables], "public")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20))
@pytest.mark.fault("S25")
def test_any_name_is_quoted(name):
    """In quotes, with those inside it doubled: nothing of it is read as SQL."""
    made = quote(name)

    assert made[0] == made[-1] == '"'
    assert made[1:-1].replace('""', "").count('"') == 0
    assert made[1:-1].replace('""', '"') == name
    assert quoted(Name("a b", name)) == f'"a b".{made}'


@since(13)
async def test_a_database_s_tables_are_found(link, postgres_database):
    """Tables of all schemas but the server's own; the others with the reason; hostile names are names."""
    weird = "o'r\"d`er; -- %s 😀"
    postgres_database.execute(
        f"CREATE TABLE {quote(weird)} (id int PRIMARY KEY); CREATE TABLE plain (id int); "
        "CREATE VIEW seen AS SELECT 1 AS one; CREATE MATERIALIZED VIEW kept AS SELECT 1 AS one; "
        "CREATE UNLOGGED TABLE quick (id int); CREATE SCHEMA crm; CREATE TABLE crm.plain (id int); "
        "CREATE TABLE pgx (id int); CREATE TABLE parted (id int) PARTITION BY LIST (id); "
        "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1) PARTITION BY LIST (id); "
        "CREATE TABLE crm.parted_1_1 PARTITION OF parted_1 FOR VALUES IN (1); "
        "CREATE TABLE parent (id int); CREATE TABLE child () INHERITS (parent); "
    )
    with postgres_database.connect() as session:
        session.execute("CREATE TEMPORARY TABLE brief (id int)")
        found = await listing(link, "public")
    chosen = select(found, ["*", "crm.*"], [])
    tables = [one.table for one in await layouts(link, chosen, "public")]

    names = ["crm.plain", "child", weird, "parent", "parted", "pgx", "plain"]
    assert sorted(map(found.label, found.tables)) == sorted(names)
    assert sorted(table.label for table in tables) == sorted(names)
    assert {table.schema for table in tables} == {"", "crm"}
    assert {found.label(name): kind for name, kind in found.others.items()} == {
        "crm.parted_1_1": "a partition of parted",
        "kept": "a materialised view",
        "parted_1": "a partition of parted",
        "quick": "an unlogged table",
        "seen": "a view",
    }


async def test_before_version_13_partitions_are_tables(link, postgres_database):
    """A partitioned table could not be published as one."""
    postgres_database.execute(
        "CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1)"
    )
    link.version = 120_022
    found = await listing(link, "public")

    assert found.tables == (Name("public", "p_1"),)
    assert found.others == {Name("public", "p"): "a partitioned table on a server before version 13"}


@pytest.mark.parametrize(
    ("body", "rest", "key", "held"),
    [
        ("a int, b int, PRIMARY KEY (b, a), UNIQUE (a)", "", ("b", "a"), ("b", "a")),
        ("a int, b int, PRIMARY KEY (b) INCLUDE (a)", "", ("b",), ("b",)),
        ("a int NOT NULL, b int, CONSTRAINT u2 UNIQUE (a), CONSTRAINT u1 UNIQUE (b)", "", ("a",), ()),
        ("a int NOT NULL, b int NOT NULL, CONSTRAINT z UNIQUE (a), CONSTRAINT y UNIQUE (b, a)", "", ("b", "a"), ()),
        ("a int, UNIQUE (a)", "", (), ()),
        ("a text NOT NULL", "CREATE UNIQUE INDEX i ON t (lower(a))", (), ()),
        ("a int NOT NULL", "CREATE UNIQUE INDEX i ON t (a) WHERE a > 1", (), ()),
        ("a int NOT NULL", "CREATE INDEX i ON t (a)", (), ()),
        ("a int NOT NULL, UNIQUE (a) DEFERRABLE", "", (), ()),
        ("a int, b int, PRIMARY KEY (a) DEFERRABLE", "", ("a",), ()),
        ("a int PRIMARY KEY, b int", "ALTER TABLE t REPLICA IDENTITY FULL", ("a",), ("a", "b")),
        ("a int PRIMARY KEY, b int", "ALTER TABLE t REPLICA IDENTITY NOTHING", ("a",), ()),
        (
            "a int PRIMARY KEY, b int NOT NULL, CONSTRAINT u UNIQUE (b)",
            "ALTER TABLE t REPLICA IDENTITY USING INDEX u",
            ("b",),
            ("b",),
        ),
        ("a int, g int GENERATED ALWAYS AS (a) STORED", "ALTER TABLE t REPLICA IDENTITY FULL", (), ("a",)),
        ("a int, g int GENERATED ALWAYS AS (a) STORED PRIMARY KEY", "", (), ("g",)),
    ],
)
async def test_a_key_is_found(link, postgres_database, body, rest, key, held):
    """What rows are told apart by, and what of an old row the log holds."""
    postgres_database.execute(f"CREATE TABLE t ({body}); {rest}")
    [layout] = await looked_at(link, "t")

    assert (layout.table.key, layout.held) == (key, held)


async def test_columns_are_what_the_table_has_now(link, postgres_database):
    """In their order, without dropped ones; generated ones are named beside the others."""
    postgres_database.execute(
        "CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN cents AS numeric(9, 2); CREATE DOMAIN more AS cents; "
        "CREATE TABLE t (gone int, id bigint PRIMARY KEY, price more NOT NULL, tags mood[], vec int2vector, "
        "at timestamptz, twice bigint GENERATED ALWAYS AS (id * 2) STORED, name varchar(9)); "
        "ALTER TABLE t DROP COLUMN gone; ALTER TABLE t ADD COLUMN data bytea"
    )
    [layout] = await looked_at(link, "t")

    assert [(one.name, one.kind, one.nullable) for one in layout.table.columns] == [
        ("id", Kind.INTEGER, False),
        ("price", Kind.DECIMAL, False),
        ("tags", Kind.JSON, True),
        ("vec", Kind.OTHER, True),
        ("at", Kind.TIMESTAMP, True),
        ("name", Kind.TEXT, True),
        ("data", Kind.BINARY, True),
    ]
    assert (layout.generated, layout.virtual) == (("twice",), False)
    by_name = {one.column.name: one for one in layout.columns}
    assert by_name["tags"].convert(b"{sad,NULL}") == b'["sad",null]'
    assert isinstance(by_name["at"].convert, Columnwise)
    assert by_name["id"].convert is None
    assert (by_name["name"].modifier, by_name["data"].select) == (13, '"data"')


async def test_a_numeric_is_spelled_with_its_digits(link, postgres_database):
    """As the server spells it; one without a fraction may be an integer in the service's document."""
    postgres_database.execute("CREATE TABLE t (a numeric, b numeric(12,3), c numeric(20), d numeric(1000,900))")
    [layout] = await looked_at(link, "t")
    named = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0"
    spelled = [name for (name,) in postgres_database.execute(f"{named} ORDER BY attnum")]

    assert [one.type for one in layout.table.columns] == spelled
    whole = Property(frozenset({"integer"}))
    assert form(layout.table.columns[2], whole, where="x") is Form.INTEGER
    with pytest.raises(HaltSyncError, match=r"numeric\(12,3\)"):
        form(layout.table.columns[1], whole, where="x")


async def test_types_come_with_what_they_are_made_of(link, postgres_database):
    """An array of a domain over a domain; one that is gone is of no known kind."""
    postgres_database.execute(
        "CREATE DOMAIN inner_one AS int; CREATE DOMAIN outer_one AS inner_one; CREATE TABLE t (a outer_one[], b box[])"
    )
    [(array, boxes)] = postgres_database.execute("SELECT 'outer_one[]'::regtype::oid, 'box[]'::regtype::oid")
    found = await types(link, [array, boxes, 4_000_000_000])

    assert [found[oid].name for oid in (array, found[array].element)] == ["_outer_one", "outer_one"]
    inner = found[found[found[array].element].base]
    assert (inner.name, inner.kind, found[inner.base].name) == ("inner_one", "d", "int4")
    assert found[boxes].delimiter == ";"
    assert found[4_000_000_000].name == "4000000000"


async def test_a_layout_tells_alterations(link, postgres_database):
    """Rows, owners and partitions are facts beside it; columns, types, identity and keys are what it is."""
    postgres_database.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
    [first] = await looked_at(link, "t")
    postgres_database.execute("INSERT INTO t SELECT n FROM generate_series(1, 7) n; ANALYZE t")
    postgres_database.own("t")
    [second] = await looked_at(link, "t")
    altered = []
    for statement in ("ALTER COLUMN v TYPE varchar(9)", "ADD COLUMN w int", "REPLICA IDENTITY FULL"):
        postgres_database.execute(f"ALTER TABLE t {statement}")
        altered += await looked_at(link, "t")

    assert first == second
    assert (first.owner, second.owner) == ("postgres", USER)
    assert (first.estimate, second.estimate) == (None, 7)
    states = [first, *altered]
    assert all(before != after for before, after in pairwise(states))


async def test_a_partitioned_table_is_one(link, postgres_database):
    """With the key of the whole and the rows of all parts; each part says what the log holds of its old rows."""
    postgres_database.execute(
        "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); "
        "CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (0) TO (100); "
        "CREATE UNLOGGED TABLE p_2 PARTITION OF p FOR VALUES FROM (100) TO (200); "
        "INSERT INTO p SELECT n FROM generate_series(90, 109) n; ANALYZE p; ANALYZE p_1; ANALYZE p_2"
    )
    [before] = await looked_at(link, "p")
    postgres_database.execute("ALTER TABLE p REPLICA IDENTITY FULL; ALTER TABLE p_1 REPLICA IDENTITY NOTHING")
    [after] = await looked_at(link, "p")

    one, two = Name("public", "p_1"), Name("public", "p_2")
    assert (before.partitioned, before.table.key, before.estimate) == (True, ("id",), 20)
    first, second = (leaf.oid for leaf in before.leaves)
    assert first != second
    assert before.leaves == (Leaf(one, "d", True, True, first), Leaf(two, "d", True, False, second))
    assert (before.held, before.uneven) == (("id",), ())
    assert after.leaves == (Leaf(one, "n", False, True, first), Leaf(two, "d", True, False, second))
    assert (after.held, after.uneven) == ((), after.leaves)


@since(13)
async def test_a_part_may_lack_the_identity_that_the_whole_promises(link, postgres_database):
    """FULL is not handed down: the log then announces a whole old row and holds NULL for all but its key."""
    postgres_database.execute(
        "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); "
        "CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (0) TO (100); ALTER TABLE p REPLICA IDENTITY FULL; "
        "CREATE PUBLICATION pub FOR TABLE p WITH (publish_via_partition_root = true); INSERT INTO p VALUES (7, 'seven')"
    )
    postgres_database.execute("SELECT pg_create_logical_replication_slot('partly_told', 'pgoutput')")
    postgres_database.execute("DELETE FROM p")
    changes = postgres_database.execute(
        "SELECT data FROM pg_logical_slot_peek_binary_changes('partly_told', NULL, NULL, 'proto_version', '1', "
        "'publication_names', 'pub')"
    )
    [deleted] = [bytes(data) for (data,) in changes if bytes(data)[:1] == b"D"]
    [layout] = await looked_at(link, "p")

    assert deleted[5:] == b"O\0\2t\0\0\0\x017n"
    assert [leaf.name.table for leaf in layout.uneven] == ["p_1"]


async def test_a_table_that_is_gone_is_left_out(link, postgres_database):
    """Between looking for it and looking at it."""
    postgres_database.execute("CREATE TABLE t (id int)")

    assert [one.table.name for one in await looked_at(link, "gone", "t")] == ["t"]
    assert await looked_at(link) == []


async def test_a_table_may_have_no_columns(link, postgres_database):
    """The server allows it; and children that inherit are told of."""
    postgres_database.execute("CREATE TABLE t (); CREATE TABLE child () INHERITS (t)")
    [layout, child] = await looked_at(link, "t", "child")

    assert (layout.table.columns, layout.inherited, child.inherited) == ((), True, False)


async def test_a_server_says_what_it_is(link, postgres_database):
    """Its cluster, its limits, and what the account may do."""
    server = postgres_database.server
    [(system,)] = postgres_database.execute("SELECT system_identifier::text FROM pg_control_system()")
    found = await facts(link)

    assert found.version // 10_000 == server.version()
    assert (found.system, found.timeline, found.recovering, found.wal_level) == (system, 1, False, "logical")
    assert (found.slots[1], found.senders[1], found.keeps, found.sender_timeout) == (10, 10, None, 60_000)
    assert (found.encoding, found.user, found.superuser, found.replicates) == ("UTF8", USER, False, True)


async def test_an_old_server_is_refused(link):
    """What comes before version 12 is not followed."""
    link.version = 110_022

    with pytest.raises(HaltSyncError, match="PostgreSQL 11 is too old"):
        await facts(link)


async def asked(server):
    """What a server says of itself."""
    made = await Link.open(Address("127.0.0.1", server.port, "shop", USER, Secret(PASSWORD), Tls.PREFER, timeout=30.0))
    try:
        return await facts(made)
    finally:
        await made.close()


@since(13)
async def test_a_limit_of_what_a_slot_may_keep_is_read(private_postgres):
    """In bytes; before version 13 there is none."""
    assert (await asked(private_postgres(max_slot_wal_keep_size="64MB"))).keeps == 64 << 20


async def test_a_promoted_standby_is_on_a_new_timeline(private_postgres):
    """At once, and of the same cluster; before that it says that it is a standby."""
    primary = private_postgres()
    standby = private_postgres(standby_of=primary)
    first, copied = await asked(primary), await asked(standby)
    standby.promote()
    promoted = await asked(standby)

    assert (copied.recovering, copied.system) == (True, first.system)
    assert (first.timeline, copied.timeline, promoted.timeline) == (1, 1, 2)
    assert replace(promoted, timeline=1, senders=first.senders) == replace(first, senders=first.senders)
