"""Columns: what a snapshot selects of each type, and the piece it becomes."""

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mysql_links import address, as_root, layouts_of

from fuagent.errors import DecodeError, HaltSyncError
from fuagent.model import Kind
from fuagent.sources.mysql.columns import Said, declare, pieces, quote

CASES = [
    ("TINYINT(1)", Kind.INTEGER, [("1", b"1"), ("-128", b"-128")]),
    ("BIGINT UNSIGNED", Kind.INTEGER, [("18446744073709551615", b"18446744073709551615")]),
    ("INT(8) ZEROFILL", Kind.INTEGER, [("5", b"5"), ("0", b"0")]),
    ("BIGINT(22) ZEROFILL", Kind.INTEGER, [("18446744073709551615", b"18446744073709551615")]),
    ("BIT(10)", Kind.INTEGER, [("b'1000000001'", b"513"), ("0", b"0")]),
    ("BIT(64)", Kind.INTEGER, [("18446744073709551615", b"18446744073709551615")]),
    ("YEAR", Kind.INTEGER, [("0", b"0"), ("2024", b"2024")]),
    ("DECIMAL(4,2)", Kind.DECIMAL, [("-0.5", b"-0.50"), ("0", b"0.00"), ("99.99", b"99.99")]),
    ("DECIMAL(2,2)", Kind.DECIMAL, [("0.5", b"0.50")]),
    ("DECIMAL(10,2) ZEROFILL", Kind.DECIMAL, [("12.5", b"12.50"), ("0", b"0.00")]),
    ("DECIMAL(5,0) ZEROFILL", Kind.DECIMAL, [("0", b"0"), ("100", b"100")]),
    ("DECIMAL(65,30)", Kind.DECIMAL, [("9" * 35 + "." + "9" * 30, b"9" * 35 + b"." + b"9" * 30)]),
    (
        "FLOAT",
        Kind.FLOAT,
        [("1.1", b"1.1"), ("16777216", b"16777216"), ("3.4028234663852886e38", b"3.4028235e38"), ("1e-45", b"1e-45")],
    ),
    ("FLOAT(7,3)", Kind.FLOAT, [("1.234", b"1.234"), ("9999.999", b"9999.999")]),
    ("DOUBLE", Kind.FLOAT, [("20", b"20"), ("1e20", b"1e20"), ("0.00001", b"0.00001"), ("0.1+0.2e0", None)]),
    ("DOUBLE(10,3)", Kind.FLOAT, [("1.5", b"1.5"), ("20", b"20")]),
    ("DOUBLE ZEROFILL", Kind.FLOAT, [("1.5", b"1.5")]),
    ("DATE", Kind.DATE, [("'2024-02-29'", b"2024-02-29"), ("0", None), ("'2024-00-00'", b"2024-00-00")]),
    ("TIME", Kind.TIME, [("'-00:00:01'", b"-00:00:01"), ("'838:59:59'", b"838:59:59")]),
    ("TIME(3)", Kind.TIME, [("'23:59:58.125'", b"23:59:58.125")]),
    (
        "DATETIME",
        Kind.DATETIME,
        [
            ("'2024-02-29 23:59:58'", b"2024-02-29T23:59:58"),
            ("0", None),
            ("'2024-01-00 00:00:00'", b"2024-01-00 00:00:00"),
        ],
    ),
    ("DATETIME(6)", Kind.DATETIME, [("'2024-02-29 23:59:58.000001'", b"2024-02-29T23:59:58.000001"), ("0", None)]),
    ("TIMESTAMP(3) NULL", Kind.TIMESTAMP, [("'2024-02-29 23:59:58.5'", b"2024-02-29T23:59:58.500Z"), ("0", None)]),
    ("CHAR(5)", Kind.TEXT, [("'a '", b"a"), ("''", b"")]),
    ("VARCHAR(9) CHARACTER SET latin1", Kind.TEXT, [("'é€ '", "é€ ".encode())]),
    ("TEXT CHARACTER SET utf16", Kind.TEXT, [("'ü😀'", "ü😀".encode())]),
    ("VARCHAR(20) COMPRESSED", Kind.TEXT, [("'aaaaaaaaaaaaaaaaaaaa'", b"a" * 20)]),
    ("BINARY(4)", Kind.BINARY, [("'a'", base64.b64encode(b"a\0\0\0"))]),
    ("VARBINARY(9)", Kind.BINARY, [("x'00ff'", base64.b64encode(b"\0\xff")), ("''", b"")]),
    ("BLOB COMPRESSED", Kind.BINARY, [("REPEAT('a',100)", base64.b64encode(b"a" * 100))]),
    ("LONGBLOB", Kind.BINARY, [("REPEAT('a',1000)", base64.b64encode(b"a" * 1000))]),
    ("ENUM('a','it''s','')", Kind.ENUM, [("'it''s'", b"it's"), ("0", b""), ("3", b"")]),
    ("SET('a','b','c')", Kind.SET, [("'c,a'", b"a,c"), ("''", b"")]),
    ("JSON", Kind.JSON, [("""'{"b": 1,"a":"ü"}'""", '{"b": 1,"a":"ü"}'.encode())]),
    ("LONGTEXT", Kind.TEXT, [("'[1]'", b"[1]")]),
    ("POINT", Kind.BINARY, [("ST_GeomFromText('POINT(1 2)', 4326)", None)]),
    ("INET4", Kind.OTHER, [("'1.2.3.0'", b"1.2.3.0")]),
    ("INET6", Kind.OTHER, [("'::1'", b"::1")]),
    ("UUID", Kind.OTHER, [("'123E4567-e89b-12d3-a456-426614174000'", b"123e4567-e89b-12d3-a456-426614174000")]),
]
SPECIAL = {
    "0.1+0.2e0": b"0.30000000000000004",
    "ST_GeomFromText('POINT(1 2)', 4326)": base64.b64encode(struct.pack("<BIdd", 1, 1, 1.0, 2.0)),
}


@pytest.mark.parametrize(("declared", "kind", "values"), CASES, ids=[case[0] for case in CASES])
async def test_a_snapshot_gives_pieces(opened, database, declared, kind, values):
    """SELECT and conversion give what is documented, NULL too."""
    root = await opened(as_root(database))
    if declared in {"INET4", "UUID"} and not await root.attempt(f"CREATE TABLE probe (c {declared})"):
        pytest.skip(f"this server has no {declared}")
    await root.rows(f"CREATE TABLE t (n INT PRIMARY KEY, c {declared})")
    for number, (value, _) in enumerate(values):
        await root.rows(f"INSERT INTO t VALUES ({number}, {value})")
    await root.rows("INSERT INTO t VALUES (99, NULL)")
    link = await opened(address(database))
    [layout] = await layouts_of(link, database.name, "t")
    _, column = layout.columns
    found = [row async for rows in link.raw(f"SELECT n, {column.select} FROM t ORDER BY n") for row in rows]

    assert column.column.kind is kind
    expected = [SPECIAL.get(value, piece) for value, piece in values]
    assert [piece for _, piece in pieces(layout.columns, found)] == [*expected, None]


async def test_columns_know_what_the_log_leaves_unsaid(opened, database):
    """Generated and invisible columns, signs, character sets, labels, JSON in MariaDB's way."""
    root = await opened(as_root(database))
    await root.rows(
        "CREATE TABLE t (id INT UNSIGNED PRIMARY KEY, v INT AS (id + 1) VIRTUAL, s INT AS (id + 2) STORED, "
        "i INT INVISIBLE, `we``ird; --` JSON, long_ LONGTEXT CHECK (long_ <> 'json_valid'), both_ LONGTEXT CHECK "
        "(json_valid(both_) AND both_ <> ''), e ENUM('a\\\\b', 'it''s', 'x\\ny', 'k,k'), b BINARY(3), "
        "l VARCHAR(7) CHARACTER SET latin1 NOT NULL, d TIMESTAMP DEFAULT CURRENT_TIMESTAMP)"
    )
    [layout] = await layouts_of(await opened(address(database)), database.name, "t")
    columns = {one.column.name: one for one in layout.columns}

    assert list(columns) == ["id", "v", "s", "i", "we`ird; --", "long_", "both_", "e", "b", "l", "d"]
    assert [name for name, one in columns.items() if one.generated] == ["v", "s"]
    assert [name for name, one in columns.items() if one.unsigned] == ["id"]
    assert [name for name, one in columns.items() if one.declared == "json"] == ["we`ird; --"]
    assert columns["e"].labels == ("a\\b", "it's", "x\ny", "k,k")
    assert (columns["b"].declared, columns["b"].length, columns["b"].charset) == ("binary", 3, "")
    assert (columns["l"].charset, columns["l"].length, columns["l"].column.nullable) == ("latin1", 7, False)
    assert columns["we`ird; --"].select == "`we``ird; --`"


@pytest.mark.parametrize("type_", ["datetime", "timestamp"])
@given(
    st.lists(
        st.none() | st.sampled_from([b"2024-02-29 23:59:58", b"2024-01-00 00:00:00.5", b"0000-00-00 00:00:00"]),
        min_size=1,
    )
)
def test_moments_are_written_alike_one_by_one_and_as_a_column(type_, values):
    """NULL, zeros and parts that are missing among them."""
    convert = declare(said(type_, type_), "t").convert

    found = convert.column(values)

    assert list(found) == [None if value is None else convert(value) for value in values]


def test_vectors_are_json():
    """Their 32-bit floats in their own shortest digits; what is cut off is no vector."""
    vector = declare(said("vector", "vector(2)"), "t")

    assert vector.column.kind is Kind.JSON
    assert vector.convert(struct.pack("<2f", 1.1, -2)) == b"[1.1,-2]"
    assert vector.convert(b"") == b"[]"
    with pytest.raises(DecodeError):
        vector.convert(b"\0\0\0")


def test_a_float_that_is_none_is_said():
    """A text that is no number gives an error of ours."""
    with pytest.raises(DecodeError):
        declare(said("float", "float"), "t").convert(b"x")


def test_an_unknown_type_names_table_and_column():
    """Nothing is guessed."""
    with pytest.raises(HaltSyncError, match=r"column c of table shop\.t has a type that is not known: xmltype"):
        declare(said("xmltype", "xmltype"), "shop.t")


@pytest.mark.parametrize(("name", "expected"), [("a", "`a`"), ("a`; DROP", "`a``; DROP`"), ("``", "``````")])
@pytest.mark.fault("S25")
def test_names_are_quoted(name, expected):
    """Nothing in a name can end it."""
    assert quote(name) == expected


def test_rows_without_conversions_stay_as_they_are():
    """Nothing is built anew where the bytes are the pieces."""
    rows = [(b"1", None)]
    columns = [declare(said("int", "int"), "t"), declare(said("text", "text"), "t")]

    assert pieces(columns, rows) is rows
    assert pieces([declare(said("date", "date"), "t")], []) == []


def said(data_type, column_type):
    """A column as information_schema tells of it."""
    return Said("c", data_type, column_type, nullable=True, charset="", collation="", extra="", length=0)
