"""A row reads alike whether it was written before the snapshot or behind it, for every type there is."""

import pytest
from postgres_following import following, gather, pictured, plain, standing

from harness.postgres import USER

VALUES = {
    "bool": ["true", "false"],
    "int2": ["-32768", "0", "32767"],
    "int4": ["-2147483648", "2147483647"],
    "int8": ["-9223372036854775808", "9223372036854775807"],
    "oid": ["4294967295"],
    "numeric": ["NaN", "0", "-0.10", "12345678901234567890123456789.0123456789"],
    "numeric(12,2)": ["1.5", "-9999999999.99"],
    "float4": ["NaN", "Infinity", "-Infinity", "0.1", "1e20", "-0", "16777217"],
    "float8": ["NaN", "Infinity", "-Infinity", "0.1", "1e300", "-0", "5e-324", "123456789012345680"],
    "money": ["12.34"],
    "text": ["", "a", "\\", '"', "\t\n\r", "\\N", "ü€🦊", "x" * 3000],
    "varchar(20)": ["abc", ""],
    "char(5)": ["ab", ""],
    '"char"': ["a", ""],
    "name": ["a name"],
    "bytea": ["", "\\x00ff785c", "a\\\\b"],
    "date": ["2024-02-29", "infinity", "-infinity", "0044-03-15 BC", "12345-01-01"],
    "time": ["00:00:00", "24:00:00", "12:34:56.789"],
    "timetz": ["12:34:56.789+02"],
    "timestamp": [
        "2024-02-29 12:34:56",
        "2024-02-29 12:34:56.000001",
        "infinity",
        "-infinity",
        "0044-03-15 01:02:03 BC",
    ],
    "timestamptz": ["2024-02-29 12:34:56+02", "infinity", "-infinity", "0044-03-15 01:02:03+00 BC"],
    "interval": ["1 year 2 mons -3 days 04:05:06.7", "0"],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    "json": ['{"b": 1,  "a": [1, 2.0]}', "null", '"\\u00fc"'],
    "jsonb": ['{"b": 1, "a": [1, 2.0]}', "12345678901234567890"],
    "xml": ["<a>b</a>"],
    "inet": ["192.168.0.1/24", "::1"],
    "cidr": ["10.0.0.0/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "bit(3)": ["101"],
    "varbit": ["10101", ""],
    "tsvector": ["'a':1 'b':2"],
    "tsquery": ["'a' & 'b'"],
    "point": ["(1,2)"],
    "line": ["{1,2,3}"],
    "lseg": ["[(1,2),(3,4)]"],
    "box": ["(3,4),(1,2)"],
    "path": ["((1,2),(3,4))"],
    "polygon": ["((1,2),(3,4))"],
    "circle": ["<(1,2),3>"],
    "int4range": ["[1,5)", "empty", "(,)"],
    "tstzrange": ["[2024-01-01 00:00:00+00,)"],
    "pg_lsn": ["16/B374D848"],
    "jsonpath": ['$."a"'],
    "int4[]": ["{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "[2:3]={5,6}"],
    "text[]": ['{"a b","NULL",NULL,"","\\"","\\\\","{}"}'],
    "numeric[]": ["{1.50,NaN}"],
    "float8[]": ["{1.5,NaN,Infinity}"],
    "bool[]": ["{t,f,NULL}"],
    "jsonb[]": ['{"{\\"a\\": 1}",NULL}'],
    "timestamptz[]": ['{"2024-02-29 12:34:56+00"}'],
    "bytea[]": ['{"\\\\x00ff"}'],
    "box[]": ["{(3,4),(1,2);(5,6),(3,4)}"],
    "mood": ["sad", "it's"],
    "mood[]": ["{sad,NULL}"],
    "positive": ["7"],
    "pair": ['(1,"a b")'],
    "pair[]": ['{"(1,a)"}'],
    "oidvector": ["1 2 3"],
}
MADE = (
    "CREATE TYPE mood AS ENUM ('sad', 'it''s')",
    "CREATE DOMAIN positive AS int4 CHECK (VALUE > 0)",
    "CREATE TYPE pair AS (a int4, b text)",
)
EXPECTED = {
    "bool": [True, False],
    "int8": [-9223372036854775808, 9223372036854775807],
    "numeric": ["NaN", "0", "-0.10", "12345678901234567890123456789.0123456789"],
    "float8": ["NaN", "Infinity", "-Infinity", 0.1, 1e300, -0.0, 5e-324, 123456789012345680.0],
    "bytea": ["", "AP94XA==", "YVxi"],
    "date": ["2024-02-29", "infinity", "-infinity", "0044-03-15 BC", "12345-01-01"],
    "timestamp": [
        "2024-02-29T12:34:56",
        "2024-02-29T12:34:56.000001",
        "infinity",
        "-infinity",
        "0044-03-15 01:02:03 BC",
    ],
    "timestamptz": ["2024-02-29T10:34:56Z", "infinity", "-infinity", "0044-03-15 01:02:03+00 BC"],
    "interval": ["P1Y2M-3DT4H5M6.7S", "PT0S"],
    "json": [{"b": 1, "a": [1, 2.0]}, None, "ü"],
    "int4[]": [[], [1, None, -3], [[1, 2], [3, 4]], [5, 6]],
    "text[]": [["a b", "NULL", None, "", '"', "\\", "{}"]],
    "numeric[]": [["1.50", "NaN"]],
    "float8[]": [[1.5, "NaN", "Infinity"]],
    "bool[]": [[True, False, None]],
    "jsonb[]": [[{"a": 1}, None]],
    "timestamptz[]": [["2024-02-29T12:34:56Z"]],
    "bytea[]": [["AP8="]],
    "box[]": [["(3,4),(1,2)", "(5,6),(3,4)"]],
    "mood": ["sad", "it's"],
    "positive": [7],
    "pair": ['(1,"a b")'],
    "oidvector": ["1 2 3"],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
}
"""What some of them have to be."""


@pytest.fixture
def typed(postgres_database):
    """A database with a few types of its own."""
    for statement in MADE:
        postgres_database.execute(statement)
    return postgres_database


@pytest.mark.fault("F24", "F25")
async def test_every_type_reads_alike(typed):
    """Inserted before the snapshot, behind it, and updated: the same JSON; and what it has to be."""
    tables = {kind: f"t{number}" for number, kind in enumerate(VALUES)}
    with typed.connect() as session:
        for kind, table in tables.items():
            session.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, v {kind})")
            session.execute(f"ALTER TABLE {table} OWNER TO {USER}")
            for key, value in enumerate((None, *VALUES[kind])):
                session.execute(f"INSERT INTO {table} VALUES ({key}, %s)", (value,))
    async with following(typed, *tables.values()) as source:
        place = await standing(source)
        with typed.connect() as session:
            for table in tables.values():
                session.execute(f"INSERT INTO {table} SELECT id + 1000, v FROM {table} ORDER BY id")
                session.execute(f"UPDATE {table} SET v = v WHERE id >= 1000")
        found = await gather(source, place)
        wrong = {}
        picture = (await pictured(source)).rows
        for kind, table in tables.items():
            before = {row["id"]: row["v"] for row in plain([rows for rows in picture if rows.table == table])}
            changes = plain([rows for rows in found if rows.table == table])
            count = len(VALUES[kind]) + 1
            once = {row["id"] - 1000: row["v"] for row in changes[:count]}
            again = {row["id"] - 1000: row["v"] for row in changes[count:]}
            first = {key: value for key, value in before.items() if key < 1000}
            if not repr(first) == repr(dict(sorted(once.items()))) == repr(dict(sorted(again.items()))):
                wrong[kind] = (first, once, again)
            wanted = EXPECTED.get(kind)
            if wanted is not None and [first[key] for key in range(1, count)] != wanted:
                wrong[kind] = (first, wanted)

    assert wrong == {}


async def test_every_built_in_type_has_a_case(typed):
    """Of the types that a column can have, each is among those above, or is an array or a range like one of them."""
    names = {kind.split("(")[0].strip('"') for kind in VALUES}
    spelt = {"char": {"char", "bpchar"}, "bit": {"bit"}}
    covered = {one for name in names for one in spelt.get(name, {name})}
    rows = typed.execute(
        "SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typelem = 0 "
        "AND typname NOT LIKE 'reg%' AND typname NOT LIKE 'pg\\_%' AND typname NOT IN ('cid', 'tid', 'xid', 'xid8', "
        "'aclitem', 'gtsvector', 'refcursor', 'txid_snapshot', 'int2vector')"
    )

    assert {name for (name,) in rows} - covered == set()
