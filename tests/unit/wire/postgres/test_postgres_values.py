"""Every type has a kind, and its text becomes a piece: one by one as in one go."""

import json
from base64 import b64decode
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.errors import DecodeError
from fuagent.model import Kind
from fuagent.wire.postgres import types as t
from fuagent.wire.postgres.types import Type, resolved
from fuagent.wire.postgres.values import treatment

BASES = [
    Type(t.BOOL, "bool", category="B"),
    Type(t.BYTEA, "bytea"),
    Type(t.CHAR, "char", category="Z"),
    Type(t.NAME, "name", category="S", element=0),
    Type(t.INT8, "int8", category="N"),
    Type(t.INT2, "int2", category="N"),
    Type(t.INT4, "int4", category="N"),
    Type(t.TEXT, "text", category="S"),
    Type(t.OID, "oid", category="N"),
    Type(t.JSON, "json"),
    Type(t.JSONB, "jsonb"),
    Type(t.FLOAT4, "float4", category="N"),
    Type(t.FLOAT8, "float8", category="N"),
    Type(t.BPCHAR, "bpchar", category="S"),
    Type(t.VARCHAR, "varchar", category="S"),
    Type(t.DATE, "date", category="D"),
    Type(t.TIME, "time", category="D"),
    Type(t.TIMESTAMP, "timestamp", category="D"),
    Type(t.TIMESTAMPTZ, "timestamptz", category="D"),
    Type(t.INTERVAL, "interval", category="T"),
    Type(t.NUMERIC, "numeric", category="N"),
    Type(1266, "timetz", category="D"),
    Type(28, "xid"),
    Type(790, "money", category="N"),
    Type(22, "int2vector", category="A"),
    Type(2950, "uuid"),
    Type(600, "point", category="G"),
    Type(603, "box", category="G"),
    Type(3904, "int4range", "r", "R"),
    Type(4451, "int4multirange", "m", "R"),
    Type(90001, "citext", category="S", schema="public"),
    Type(90002, "hstore", schema="public"),
    Type(90003, "mood", "e", "E", schema="public"),
    Type(90004, "person", "c", "C", schema="public"),
    Type(90005, "moment", "d", "D", base=t.TIMESTAMPTZ, schema="public"),
    Type(90006, "late_moment", "d", "D", base=90005, schema="public"),
    Type(90007, "lost", "d", base=1, schema="public"),
    Type(90008, "circular", "d", base=90008, schema="public"),
    Type(90009, "9"),
    Type(91000, "int4s", "d", "A", base=100_000 + t.INT4, schema="public"),
]
ARRAYS = [
    Type(100_000 + one.oid, f"_{one.name}", category="A", element=one.oid, delimiter=";" if one.name == "box" else ",")
    for one in BASES
]
TYPES = {one.oid: one for one in (*BASES, *ARRAYS)}
NAMED = {one.name: one for one in TYPES.values()}


def of(name):
    return treatment(NAMED[name], TYPES)


def piece(name, text):
    """The piece of one value, which is the same if there are more."""
    _, convert, many = of(name)
    found = text if convert is None else convert(text)
    if many is not None:
        assert list(many([text, text])) == [found, found]
    return found


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ("int2 int4 int8 oid", Kind.INTEGER),
        ("numeric", Kind.DECIMAL),
        ("float4 float8", Kind.FLOAT),
        ("bool", Kind.BOOLEAN),
        ("text varchar bpchar name char citext", Kind.TEXT),
        ("date", Kind.DATE),
        ("time", Kind.TIME),
        ("timestamp", Kind.DATETIME),
        ("timestamptz moment late_moment", Kind.TIMESTAMP),
        ("interval", Kind.INTERVAL),
        ("bytea", Kind.BINARY),
        ("mood", Kind.ENUM),
        ("json jsonb int4s", Kind.JSON),
        ("timetz xid money int2vector uuid point box int4range int4multirange hstore person", Kind.OTHER),
        ("lost circular 9", Kind.OTHER),
    ],
)
def test_every_type_has_a_kind(names, kind):
    """Built-in types, domains as what they narrow, and whatever nobody knows as its text."""
    for name in names.split():
        assert of(name).kind is kind
        assert of(f"_{name}").kind is Kind.JSON


def test_an_array_of_an_unknown_type_keeps_its_text():
    """Without its element's type nothing can be said of an array."""
    assert treatment(Type(5, "_x", category="A", element=4), {}) == (Kind.OTHER, None, None)


def test_domains_are_resolved():
    """Down to what they narrow; one that leads nowhere is left."""
    assert resolved(NAMED["late_moment"], TYPES) is NAMED["timestamptz"]
    assert resolved(NAMED["int4"], TYPES) is NAMED["int4"]
    assert resolved(NAMED["lost"], TYPES) is NAMED["lost"]
    assert resolved(NAMED["circular"], TYPES) is NAMED["circular"]


# Texts as a server of version 15 wrote them.
@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("bool", b"t", b"true"),
        ("bool", b"f", b"false"),
        ("int8", b"-9223372036854775808", b"-9223372036854775808"),
        ("numeric", b"NaN", b"NaN"),
        ("numeric", b"-0.000000000000000000001", b"-0.000000000000000000001"),
        ("float8", b"1.2345678901234568e+17", b"1.2345678901234568e+17"),
        ("float8", b"-0", b"-0"),
        ("float8", b"NaN", b'"NaN"'),
        ("float4", b"Infinity", b'"Infinity"'),
        ("float4", b"-Infinity", b'"-Infinity"'),
        ("bpchar", b"ab   ", b"ab   "),
        ("bytea", b"\\xdeadbeef", b"3q2+7w=="),
        ("bytea", b"\\x", b""),
        ("date", b"2024-01-02", b"2024-01-02"),
        ("date", b"0044-03-15 BC", b"0044-03-15 BC"),
        ("time", b"24:00:00", b"24:00:00"),
        ("interval", b"P-1Y-2M3DT-4H-5M-6S", b"P-1Y-2M3DT-4H-5M-6S"),
        ("timestamp", b"2024-01-02 03:04:05.6", b"2024-01-02T03:04:05.6"),
        ("timestamp", b"infinity", b"infinity"),
        ("timestamp", b"-infinity", b"-infinity"),
        ("timestamp", b"0044-03-15 01:02:03.5 BC", b"0044-03-15 01:02:03.5 BC"),
        ("timestamp", b"12024-01-02 03:04:05", b"12024-01-02 03:04:05"),
        ("timestamptz", b"2024-01-02 01:04:05.6+00", b"2024-01-02T01:04:05.6Z"),
        ("timestamptz", b"infinity", b"infinity"),
        ("timestamptz", b"0044-03-15 00:00:00+00 BC", b"0044-03-15 00:00:00+00 BC"),
        ("timestamptz", b"12024-01-02 03:04:05+00", b"12024-01-02 03:04:05+00"),
        ("timestamptz", b"2024-01-02 01:04:05.6+05:30", b"2024-01-02 01:04:05.6+05:30"),
        ("late_moment", b"2024-01-02 03:04:05+00", b"2024-01-02T03:04:05Z"),
        ("int4s", b"{1,2}", b"[1,2]"),
        ("_int4", b"[2:4]={1,NULL,3}", b"[1,null,3]"),
        ("_bool", b"{t,f,NULL}", b"[true,false,null]"),
        ("_float8", b"{NaN,Infinity,-Infinity,1.5}", b'["NaN","Infinity","-Infinity",1.5]'),
        ("_numeric", b"{NaN,1.50}", b'["NaN","1.50"]'),
        ("_timestamptz", b'{"2024-01-02 03:04:05+00",infinity}', b'["2024-01-02T03:04:05Z","infinity"]'),
        ("_late_moment", b'{"2024-01-02 03:04:05+00"}', b'["2024-01-02T03:04:05Z"]'),
        ("_timestamp", b'{"2024-01-02 03:04:05"}', b'["2024-01-02T03:04:05"]'),
        ("_bytea", b'{"\\\\xdead"}', b'["3q0="]'),
        ("_mood", b'{a,"b \\"q\\"","NULL",NULL}', b'["a","b \\"q\\"","NULL",null]'),
        ("_json", b'{"{\\"a\\": 1}","[1, 2]",NULL,"\\"x\\""}', b'[{"a": 1},[1, 2],null,"x"]'),
        ("_box", b"{(3,4),(1,2);(7,8),(5,6)}", b'["(3,4),(1,2)","(7,8),(5,6)"]'),
        ("_person", b'{"(1,\\"a b\\")"}', b'["(1,\\"a b\\")"]'),
        ("_int4s", b'{"{1,2}",NULL}', b"[[1,2],null]"),
        ("_text", b"{\xff,a}", '["\ufffd","a"]'.encode()),
        ("_int2vector", b'{"1 2",3}', b'["1 2","3"]'),
    ],
)
def test_texts_become_pieces(name, text, expected):
    """The forms that are sent, and the server's own text for what they cannot say."""
    assert piece(name, text) == expected


ODD_MOMENTS = [b"infinity", b"-infinity", b"0044-03-15 00:00:00 BC", b"12024-01-02 03:04:05", b"", b"2024-\x7f", b"x"]
ZONES = [b"+00", b"+00", b"+00", b"", b"+01", b"+00 BC", b"+00\x7f2024-01-01 00:00:00+00"]
moments = st.one_of(
    st.datetimes().map(lambda moment: moment.isoformat(" ").encode()),
    st.sampled_from(ODD_MOMENTS),
    st.binary(max_size=7),
)
TEXTS = {
    "bool": st.sampled_from([b"t", b"f"]),
    "float8": st.floats(allow_nan=False, allow_infinity=False).map(lambda value: repr(value).encode())
    | st.sampled_from([b"NaN", b"Infinity", b"-Infinity"]),
    "bytea": st.binary(max_size=9).map(lambda value: b"\\x" + value.hex().encode()),
    "timestamp": moments,
    "timestamptz": st.builds(lambda moment, zone: moment + zone, moments, st.sampled_from(ZONES)),
}


@pytest.mark.parametrize("name", TEXTS)
@given(data=st.data())
def test_a_column_at_once_is_its_values_one_by_one(name, data):
    """Whatever else is in the column, and if some of it makes no sense."""
    texts = data.draw(st.lists(TEXTS[name], min_size=1, max_size=8))
    _, convert, many = of(name)

    assert list(many(texts)) == [convert(text) for text in texts]


@given(st.datetimes())
def test_moments_are_iso_8601(moment):
    """A moment of four digits' year is the same moment when it is read back."""
    text = moment.isoformat(" ").encode()

    assert datetime.fromisoformat(piece("timestamp", text).decode()) == moment
    assert datetime.fromisoformat(piece("timestamptz", text + b"+00").decode().removesuffix("Z")) == moment


@given(st.binary())
def test_binary_values_come_back(value):
    """Base64 of what was in hexadecimal digits."""
    assert b64decode(piece("bytea", b"\\x" + value.hex().encode()), validate=True) == value


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("bool", b"true", "neither t nor f"),
        ("bool", b"", "neither t nor f"),
        ("bytea", b"\\xabc", "hexadecimal"),
        ("bytea", b"\\xzz", "hexadecimal"),
        ("bytea", b"abcd", "hexadecimal"),
        ("bytea", b"", "hexadecimal"),
        ("_int4", b"{1", "array makes no sense"),
        ("_bool", b"{x}", "neither t nor f"),
        ("_int4s", b"{1}", "array makes no sense"),
    ],
)
def test_what_makes_no_sense_is_refused(name, text, what):
    """The error says what it is and nothing of the value."""
    _, convert, many = of(name)

    with pytest.raises(DecodeError, match=what):
        convert(text)
    if many is not None:
        with pytest.raises(DecodeError, match=what):
            many([text])


@given(st.sampled_from(sorted(NAMED)), st.binary(max_size=12))
def test_any_bytes_are_a_piece_or_refused(name, data):
    """There is no other error, and an array is always JSON where its elements are texts."""
    kind, convert, _ = of(name)
    try:
        found = data if convert is None else convert(data)
    except DecodeError:
        found = b"[]"

    assert isinstance(found, bytes)
    assert kind is not Kind.JSON or name != "_text" or isinstance(json.loads(found), list)


@given(st.sampled_from(["bool", "float4", "float8", "bytea", "timestamp", "timestamptz"]), st.data())
def test_a_column_gives_what_its_values_give(name, data):
    """Infinite ones, years before Christ and offsets among them; and a column without a value."""
    _, convert, many = of(name)
    texts = {
        "bool": [b"t", b"f"],
        "float4": [b"1.5", b"NaN", b"-Infinity"],
        "bytea": [rb"\x", rb"\xdeadbeef"],
        "timestamp": [b"2024-02-29 23:59:58.5", b"infinity", b"0044-03-15 00:00:00 BC"],
        "timestamptz": [b"2024-02-29 23:59:58.5+00", b"-infinity", b"12024-03-15 00:00:00+00"],
    }
    values = data.draw(st.lists(st.sampled_from(texts["float4" if name == "float8" else name])))

    assert list(many(values)) == [convert(value) for value in values]
