"""Snapshot and stream write the same value alike, byte for byte, whatever its type and however the log is kept."""

import json
from types import SimpleNamespace

import pytest
from mysql_following import bare, following, gather, pictured

from fuagent.errors import HaltSyncError
from harness.mariadb import MariaDB

INTEGERS = {"TINYINT": 8, "SMALLINT": 16, "MEDIUMINT": 24, "INT": 32, "BIGINT": 64}
PLACES = {
    "POINT": "POINT(1.5 -2)",
    "LINESTRING": "LINESTRING(0 0, 1 1e300)",
    "POLYGON": "POLYGON((0 0, 0 1, 1 1, 0 0))",
    "MULTIPOINT": "MULTIPOINT(0 0, 1 1)",
    "MULTILINESTRING": "MULTILINESTRING((0 0, 1 1), (2 2, 3 3))",
    "MULTIPOLYGON": "MULTIPOLYGON(((0 0, 0 1, 1 1, 0 0)))",
    "GEOMETRYCOLLECTION": "GEOMETRYCOLLECTION(POINT(1 2), LINESTRING(0 0, 1 1))",
}
DATES = ("0000-00-00", "0001-01-01", "1000-00-00", "2024-00-17", "2024-02-00", "2024-02-29", "2023-02-31", "9999-12-31")
CLOCKS = ("00:00:00", "00:00:00.000001", "23:59:59.999999", "12:34:56.5", "15:59:59", "16:00:00")
TIMES = (
    *CLOCKS,
    *("-00:00:00.000001", "-00:00:00.5", "-00:00:01", "-00:00:01.1", "-01:02:03.25", "-99:59:59.99"),
    *("24:00:00", "838:59:59", "838:59:59.999999", "-838:59:59", "-838:59:59.999999"),
)
MOMENTS = (
    "1970-01-01 00:00:01",
    "1970-01-01 00:00:00.5",
    "2001-09-09 01:46:40.123456",
    "2024-02-29 23:59:59.999999",
    "2038-01-19 03:14:07",
    "2038-01-19 03:14:07.999999",
)
CONTROLS = "".join(map(chr, range(32))) + "\x7f\"\\/'`"
TEXTS = (
    *("", " ", "a", " a", "a ", "a\t ", "\0", "a\0", "null", CONTROLS, "},{", "</script>", "\u2028\u2029"),
    *(
        "Grüße",
        "žluťoučký",
        "Ελλάδα",
        "мир",
        "שלום",
        "سلام",
        "日本語 ｱ",
        "中文",
        "한국어",
        "ไทย",
        "Հայ",
        "ქართ",
        "€ƒ™",
        "\ufeff",
    ),
    *("\U0001f600 \U0001f469\u200d\U0001f4bb", "e\u0301"),
)
BYTES = (b"", b"\0", b"\0\0", b"a\0", b"\0a", b" ", b"a ", b"\xff" * 8, bytes(range(8)), b"'\"\\`\n")
FLOATS = (
    *("0", "-0e0", "1", "-1", "0.1", "1.1", "20", "1e7", "16777216", "16777217", "123456.789", "999999", "1000000"),
    *("1e15", "1e16", "1e20", "-1e-5", "3.4e38", "3.4028234e38", "1.17549e-38", "1e-45", "0.33333334", "2.5e-5"),
)
DOUBLES = (
    *("1.7976931348623157e308", "2.2250738585072014e-308", "5e-324", "0.1 + 0.2", "1/3", "123456789012345680", "1e14"),
    *("123456789012345", "1234567890123456", "1e-14", "1e-15", "0.00001", "9007199254740993", "pi()"),
)
UUIDS = (
    *("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    *(
        "123e4567-e89b-12d3-a456-426655440000",
        "00000000-0000-4000-8000-000000000000",
        "01000000-0000-0000-0000-000000000000",
    ),
)
INET6S = (
    "::",
    "::1",
    "ffff::",
    "1::",
    "::ffff:1.2.3.4",
    "::1.2.3.4",
    "2001:db8::1:0:0:1",
    "1:0:2:3:4:5:6:7",
    "fe80::1",
)
JSONS = (
    "{}",
    "[]",
    "null",
    '""',
    '"\\u0000"',
    '{"a": 1, "b": [1.50, true, null], "a": 2}',
    '"é\U0001f600"',
    "-0.0",
    '{"x":\n 1}',
)


def quoted(text):
    """A text as SQL, whatever is in it."""
    return f"CONVERT(x'{text.encode().hex()}' USING utf8mb4)"


def octets(data):
    """Bytes as SQL."""
    return f"x'{data.hex()}'"


def integers():
    """All sizes, with and without sign, and with the zeros that only the text protocol shows."""
    for word, bits in INTEGERS.items():
        half = 1 << bits - 1
        yield word, [str(n) for n in (0, 1, -1, half - 1, -half)]
        for more in (" UNSIGNED", "(4) ZEROFILL"):
            yield word + more, [str(n) for n in (0, 1, half - 1, half, 2 * half - 1)]
    yield "BOOLEAN", ["0", "1", "-7"]
    yield "BIGINT(20) UNSIGNED", ["9007199254740992", "9007199254740993"]
    for bits in (1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 53, 54, 63, 64):
        yield f"BIT({bits})", [f"b'{n:b}'" for n in (0, 1, (1 << bits) - 1, 1 << bits - 1, 0x2A & (1 << bits) - 1)]
    yield "YEAR", ["0", "'0000'", "1901", "2024", "2155"]


def decimals():
    """Every width of the parts that they are packed into."""
    shapes = [
        (1, 0),
        (5, 5),
        (10, 0),
        (10, 2),
        (9, 9),
        (18, 9),
        (19, 0),
        (20, 10),
        (38, 38),
        (65, 0),
        (65, 30),
        (65, 38),
    ]
    for precision, scale in [*shapes, *((n, n // 3) for n in range(2, 65, 7))]:
        whole, rest = "9" * (precision - scale) or "0", "9" * scale or "0"
        yield (
            f"DECIMAL({precision},{scale})",
            ["0", "-0", "1", "-1", "0.5", f"{whole}.{rest}", f"-{whole}.{rest}", f"0.{rest[:-1]}1"],
        )
    yield "DECIMAL(10,2) UNSIGNED", ["0", "0.01", "99999999.99"]
    yield "DECIMAL(10,2) ZEROFILL", ["0", "0.01", "1", "99999999.99"]
    yield "DECIMAL(5,5) ZEROFILL", ["0", "0.00001", "0.99999"]
    yield "DECIMAL(5,0) ZEROFILL", ["0", "1", "99999"]


def floats():
    """With digits asked for too: these round what is stored, and what is shown."""
    for word in (
        "FLOAT",
        "FLOAT UNSIGNED",
        "FLOAT ZEROFILL",
        "FLOAT(7,3)",
        "FLOAT(20,0)",
        "FLOAT(30,20)",
        "FLOAT(24)",
        "FLOAT(53)",
    ):
        yield word, FLOATS
    for word in ("DOUBLE", "DOUBLE UNSIGNED", "DOUBLE ZEROFILL", "DOUBLE(10,2)", "DOUBLE(40,20) ZEROFILL", "REAL"):
        yield word, [*FLOATS, *DOUBLES]


def moments():
    """All numbers of fraction digits."""
    yield "DATE", [f"'{date}'" for date in DATES]
    for digits in range(7):
        yield f"TIME({digits})", [f"'{time}'" for time in TIMES]
        yield f"DATETIME({digits})", [f"'{date} {clock}'" for date in DATES for clock in CLOCKS]
        yield (
            f"TIMESTAMP({digits}) NULL",
            ["'0000-00-00 00:00:00'", *(f"CONVERT_TZ('{one}', '+00:00', @@time_zone)" for one in MOMENTS)],
        )


def octets_of_all_kinds():
    """Short and long ones; those of a fixed width are padded."""
    for word in ("BINARY(1)", "BINARY(8)", "BINARY(255)", "VARBINARY(8)", "VARBINARY(255)", "VARBINARY(256)"):
        yield word, map(octets, BYTES)
    for word in ("TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB", "BLOB COMPRESSED", "VARBINARY(300) COMPRESSED"):
        yield word, [*map(octets, BYTES), octets(b"ab\0" * 80)]
    yield "MEDIUMBLOB COMPRESSED", [*map(octets, BYTES), "REPEAT('a', 70000)", "REPEAT(x'00ff', 200)"]
    yield "LONGBLOB ", ["REPEAT(x'7d2c7b', 30000)", "''"]


def others():
    """Labels, JSON, places, and the types that are MariaDB's own."""
    labels = ["", "a", "b c", "it''s", 'q"q', "back\\\\slash", "Grüße", "日本", "x;y", ")", "a b"]
    listed = ", ".join(f"'{label}'" for label in labels)
    yield f"ENUM({listed})", [*(f"'{label}'" for label in labels), "'none of them'"]
    yield f"SET({listed})".replace("'', ", ""), ["''", "1", "1023", "512", "'a,Grüße'", "'日本,a,it''s'"]
    yield "ENUM(" + ", ".join(f"'é{n}'" for n in range(300)) + ") CHARACTER SET latin1", ["1", "256", "300"]
    yield (
        "SET(" + ", ".join(f"'я{n}'" for n in range(64)) + ") CHARACTER SET koi8r",
        ["1", "18446744073709551615", "1 << 63"],
    )
    yield "ENUM('ж', 'Ελ', 'x') CHARACTER SET ucs2", ["1", "2", "3"]
    yield "JSON", map(quoted, JSONS)
    yield "LONGTEXT CHECK (json_valid(`{}`))", map(quoted, JSONS)
    yield "UUID", [f"'{uuid}'" for uuid in UUIDS]
    yield "INET4", ["'0.0.0.0'", "'255.255.255.255'", "'1.0.0.0'", "'0.0.0.1'"]
    yield "INET6", [f"'{address}'" for address in INET6S]
    for word, text in PLACES.items():
        yield word, [f"ST_GeomFromText('{text}')", f"ST_GeomFromText('{text}', 4326)"]
    yield "GEOMETRY", [f"ST_GeomFromText('{text}', 101)" for text in PLACES.values()]


def texts():
    """Every type of text; those in other character sets have a table of their own."""
    for word in ("CHAR(60)", "CHAR(255)", "VARCHAR(60)", "VARCHAR(255)", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT"):
        yield word, map(quoted, TEXTS)
    for word in ("VARCHAR(200) COMPRESSED", "TEXT COMPRESSED", "TEXT COMPRESSED CHARACTER SET latin1"):
        yield word, [*map(quoted, TEXTS), "REPEAT('ab', 100)", "REPEAT('é ', 90)"]
    yield "VARCHAR(60) COLLATE utf8mb4_uca1400_ai_ci", map(quoted, TEXTS)
    yield "VARCHAR(60) COLLATE latin1_swedish_nopad_ci", map(quoted, TEXTS)
    yield "VARCHAR(60) CHARACTER SET utf16 COLLATE utf16_uca1400_as_cs", map(quoted, TEXTS)


GROUPS = {
    "integers": integers,
    "decimals": decimals,
    "floats": floats,
    "moments": moments,
    "octets": octets_of_all_kinds,
    "others": others,
    "texts": texts,
}
DERIVED = (
    "id INT PRIMARY KEY, a INT, b VARCHAR(20), h INT INVISIBLE DEFAULT 7, v INT AS (a * 2) VIRTUAL, "
    "s INT AS (a + 1) STORED, w VARCHAR(40) AS (CONCAT(b, '!')) VIRTUAL INVISIBLE, z DECIMAL(6,2) AS (a / 3) STORED, "
    "y TIME(3) AS (SEC_TO_TIME(a)) VIRTUAL"
)
MODES = {
    "full": {"binlog_row_metadata": "FULL", "binlog_checksum": "CRC32", "log_bin_compress": "OFF"},
    "bare": {"binlog_row_metadata": "NO_LOG", "binlog_checksum": "NONE", "log_bin_compress": "ON"},
}


@pytest.fixture(scope="module")
def server(mariadb_template):
    """A server whose own time zone is nobody's else, and which takes any value."""
    options = {"default_time_zone": "+05:30", "sql_mode": "", "log_bin_compress_min_len": 10}
    with MariaDB(mariadb_template, **options) as started:
        yield started


def table(name, columns):
    """CREATE TABLE for columns of these types."""
    parts = [f"`c{n}` {type_.format(f'c{n}')}" for n, (type_, _) in enumerate(columns)]
    return f"CREATE TABLE {name} (id INT PRIMARY KEY, {', '.join(parts)})"


def values(columns):
    """Each row's values as SQL: every value of every column, each by itself NULL once, and all of them NULL."""
    filled = [list(given) for _, given in columns]
    count = max(map(len, filled))
    rows = [[given[n % len(given)] for given in filled] for n in range(count)]
    some = [["NULL" if place == n else one for place, one in enumerate(rows[0])] for n in range(len(columns))]
    most = [[one if place == n else "NULL" for place, one in enumerate(rows[1])] for n in range(len(columns))]
    return [*rows, *some, *most, ["NULL"] * len(columns)]


def insert(cursor, name, rows, first):
    """Write these rows, numbered from ``first`` on."""
    for start in range(0, len(rows), 20):
        some = (f"({first + start + n}, {', '.join(row)})" for n, row in enumerate(rows[start : start + 20]))
        cursor.execute(f"INSERT INTO {name} VALUES {', '.join(some)}")


async def told(database, name, rows, into=insert):
    """These rows written before a snapshot and read by it; written after it, and read from the log; then deleted."""
    with database.connect() as session, session.cursor() as cursor:
        cursor.execute("SET SESSION timestamp = UNIX_TIMESTAMP() + 60")  # plainly later than the table was made
        into(cursor, name, rows, 1)
        async with following(database, name, chunk_rows=50) as source:
            picture = await pictured(source)
            into(cursor, name, rows, 100_001)
            cursor.execute(f"UPDATE {name} SET id = id + 100000 WHERE id > 100000 ORDER BY id")
            cursor.execute(f"DELETE FROM {name} WHERE id > 200000 ORDER BY id")
            streamed = await gather(source, picture.place)
    before = texts_of(picture.rows)
    after = texts_of(streamed)
    count = len(rows)
    assert (len(before), len(after)) == (count, 4 * count)
    updated = after[count : 3 * count]
    return SimpleNamespace(
        snapshot=before, inserted=after[:count], old=updated[::2], updated=updated[1::2], deleted=after[3 * count :]
    )


def texts_of(found):
    """Events without key and number."""
    return [bare(text).partition(b",")[2] for rows in found for text in rows.rows]


def assert_alike(read):
    """All five are alike; says which columns differ where they are not."""
    for path in ("inserted", "old", "updated", "deleted"):
        pairs = zip(read.snapshot, getattr(read, path), strict=True)
        rows = [(json.loads(b"{" + one), json.loads(b"{" + other)) for one, other in pairs if one != other]
        differing = {
            name: (one[name], other[name]) for one, other in rows for name in one if one[name] != other.get(name)
        }

        assert differing == {}, path
        assert getattr(read, path) == read.snapshot, path


@pytest.fixture(params=MODES)
def database(server, request):
    """An empty database; the log is kept in one of two ways."""
    for name, value in MODES[request.param].items():
        server.execute(f"SET GLOBAL {name} = {value}")
    made = server.database("shop_parity")
    yield made
    server.execute(f"DROP DATABASE {made.name}", database=None)


@pytest.mark.fault("F12", "F24", "F25")
@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
async def test_every_type_is_written_alike(database, group):
    """Integers, decimals, floats, moments, bytes, texts and the rest, at their edges and as NULL."""
    columns = [(type_, list(given)) for type_, given in GROUPS[group]()]
    database.execute(table("zoo", columns))

    assert_alike(await told(database, "zoo", values(columns)))


@pytest.mark.fault("F24")
@pytest.mark.slow
async def test_every_character_set_is_read_alike(database):
    """In every type of text, and in labels; each with all its single bytes, where it has no others."""
    sets = database.execute("SELECT CHARACTER_SET_NAME, MAXLEN FROM information_schema.CHARACTER_SETS")
    columns = []
    for charset, width in sorted(one for one in sets if one[0] != "binary"):
        given = [f"CONVERT({quoted(text)} USING {charset})" for text in TEXTS]
        if width == 1 and charset != "ascii":
            given.append(f"_{charset} {octets(bytes(range(256)))}")
        columns += [(f"{word} CHARACTER SET {charset}", given) for word in ("CHAR(20)", "VARCHAR(260)", "TEXT")]
        columns.append((f"ENUM('a', 'é', 'я', 'λ', '日') CHARACTER SET {charset}", ["1", "'é'", "'я'", "'λ'", "'日'"]))
    for start in range(0, len(columns), 40):
        some = columns[start : start + 40]
        rows = [[given[n % len(given)] for _, given in some] for n in range(len(TEXTS) + 1)]
        database.execute(table(f"zoo{start}", some))
        read = await told(database, f"zoo{start}", rows)

        assert_alike(read)
        assert b"Gr\xc3\xbc\xc3\x9fe" in b"".join(read.snapshot)


@pytest.mark.slow
async def test_every_collation_is_known(database):
    """Whatever its number, and where the server gives it none but together with a character set."""
    query = (
        "SELECT FULL_COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY "
        "WHERE CHARACTER_SET_NAME != 'binary' ORDER BY 1"
    )
    columns = [
        (f"VARCHAR(2) CHARACTER SET {charset} COLLATE {name}", ["'a?'"]) for name, charset in database.execute(query)
    ]
    assert len(columns) > 400
    for start in range(0, len(columns), 200):
        some = columns[start : start + 200]
        database.execute(table(f"t{start}", some))
        expected = b",".join(b'"c%d":"a?"' % n for n in range(len(some))) + b"}"
        read = await told(database, f"t{start}", [["'a?'"] * len(some)])

        assert_alike(read)
        assert read.inserted == [expected]


@pytest.mark.fault("F24")
async def test_generated_and_invisible_columns_are_read_alike(database):
    """They are in the log like any other; what a SELECT * would leave out is in the snapshot too."""
    database.execute(f"CREATE TABLE zoo ({DERIVED})")

    def into(cursor, name, rows, first):
        for n, row in enumerate(rows):
            cursor.execute(f"INSERT INTO {name} (id, a, b, h) VALUES ({first + n}, {', '.join(row)})")

    read = await told(database, "zoo", [["1", "'x'", "2"], ["-7", "'é'", "NULL"], ["NULL", "NULL", "0"]], into)

    assert_alike(read)
    assert json.loads(b"{" + read.inserted[1]) == {
        "a": -7,
        "b": "é",
        "h": None,
        "v": -14,
        "s": -6,
        "w": "é!",
        "z": "-2.33",
        "y": "-00:00:07.000",
    }


async def test_labels_that_the_catalogue_cannot_tell_stop_the_sync_where_the_log_does_not_tell_them(database):
    """information_schema shows a question mark for what utf8mb3 has not: never a wrong label."""
    database.execute(
        "CREATE TABLE zoo (id INT PRIMARY KEY, c ENUM('a', '\U0001f600'), d ENUM('?') CHARACTER SET latin1)"
    )
    rows = [["'\U0001f600'", "1"]]
    if database.server.execute("SELECT @@binlog_row_metadata") == [("FULL",)]:
        read = await told(database, "zoo", rows)

        assert_alike(read)
        assert read.inserted == ['"c":"\U0001f600","d":"?"}'.encode()]
    else:
        with pytest.raises(HaltSyncError, match="a label of column c of table zoo has a question mark"):
            await told(database, "zoo", rows)


PROMISED = {
    "BIGINT UNSIGNED": {"18446744073709551615": 18446744073709551615},
    "INT(8) ZEROFILL": {"42": 42},
    "BIT(10)": {"b'1010'": 10},
    "YEAR": {"0": 0, "2155": 2155},
    "DECIMAL(10,2)": {"-0.5": "-0.50", "0": "0.00"},
    "DECIMAL(65,30)": {"1e-30": "0.000000000000000000000000000001"},
    "FLOAT": {"1.1": 1.1, "16777217": 16777216, "-0e0": -0.0},
    "DOUBLE": {"0.1e0 + 0.2e0": 0.30000000000000004, "1e20": 1e20},
    "DATE": {"'0000-00-00'": None, "'2024-02-00'": "2024-02-00", "'2024-02-29'": "2024-02-29"},
    "TIME(3)": {"'-838:59:59'": "-838:59:59.000", "'23:59:58.125'": "23:59:58.125"},
    "DATETIME(2)": {
        "'2024-02-29 01:02:03'": "2024-02-29T01:02:03.00",
        "'0000-00-00 00:00:01'": "0000-00-00 00:00:01.00",
    },
    "TIMESTAMP NULL": {"'2024-01-01 05:30:00'": "2024-01-01T00:00:00Z", "'0000-00-00'": None},
    "BINARY(3)": {"'a'": "YQAA"},
    "VARBINARY(3)": {"'a\\0'": "YQA="},
    "CHAR(3)": {"'a  '": "a"},
    "VARCHAR(3)": {"'a  '": "a  "},
    "ENUM('x', 'y')": {"'z'": "", "2": "y"},
    "SET('x', 'y')": {"'y,x'": ["x", "y"], "0": []},
    "JSON": {"'{\"a\":  1}'": {"a": 1}},
    "POINT": {"ST_GeomFromText('POINT(0 0)', 4326)": "AQEAAAAAAAAAAAAAAAAAAAAAAAAA"},
    "UUID": {"'123e4567-e89b-12d3-a456-426655440000'": "123e4567-e89b-12d3-a456-426655440000"},
    "INET6": {"'::1'": "::1"},
}


@pytest.mark.fault("F24", "F25")
@pytest.mark.parametrize(("metadata", "checksum", "compress"), [("FULL", "NONE", "ON"), ("NO_LOG", "CRC32", "ON")])
async def test_values_are_what_they_are_promised_to_be(database, metadata, checksum, compress):
    """Alike is not enough; and so however the three settings of the log are put together."""
    for name, value in {"row_metadata": metadata, "checksum": checksum}.items():
        database.execute(f"SET GLOBAL binlog_{name} = {value}")
    database.execute(f"SET GLOBAL log_bin_compress = {compress}")
    columns = [(type_, list(given)) for type_, given in PROMISED.items()]
    database.execute(table("zoo", columns))
    rows = values(columns)[:3]
    read = await told(database, "zoo", rows)

    assert_alike(read)
    for place, (_, given) in enumerate(columns):
        expected = [PROMISED[columns[place][0]][row[place]] for row in rows]
        assert [json.loads(b"{" + text)[f"c{place}"] for text in read.inserted] == expected, given
