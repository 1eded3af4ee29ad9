"""What a table map says of a table and its columns, and what it leaves to others."""

import dataclasses

import pytest
from event_bytes import lenenc
from hypothesis import given
from hypothesis import strategies as st

from fuagent.errors import DecodeError
from fuagent.wire.mysql import tablemap as t
from fuagent.wire.mysql.tablemap import ImageColumn

LATIN1, UTF8, UCS2 = 8, 45, 35


def counted(*items):
    return b"".join(lenenc(len(item)) + item for item in items)


def field(kind, data):
    return bytes([kind]) + lenenc(len(data)) + data


def written(types, metas=b"", *fields, nulls=None, schema=b"shop", name=b"t", number=7, width=6):
    """The body of a table map."""
    return b"".join(
        (
            number.to_bytes(width, "little") + b"\x01\0",
            bytes([len(schema)]) + schema + b"\0",
            bytes([len(name)]) + name + b"\0",
            lenenc(len(types)) + bytes(types),
            lenenc(len(metas)) + metas,
            bytes((len(types) + 7) // 8) if nulls is None else nulls,
            *fields,
        )
    )


def columns(types, metas=b"", *fields, **more):
    return t.read(written(types, metas, *fields), **more).columns


def told(types, metas, attribute, *fields, **more):
    """One attribute of each column."""
    return [getattr(column, attribute) for column in columns(types, metas, *fields, **more)]


def test_the_table():
    """Its number, flags and names; the number has four bytes in the oldest logs."""
    body = written([t.LONG], name="täglich".encode(), schema=b"")

    assert t.read(body) == t.TableMap(7, 1, "", "täglich", (ImageColumn(t.LONG, nullable=False),))
    assert t.read(written([t.LONG], width=4), id_bytes=4).name == "t"
    assert t.identify(body) == (7, "", "täglich")
    assert t.identify(written([99], width=4), 4) == (7, "shop", "t")


@pytest.mark.parametrize(
    ("sent", "metas", "expected"),
    [
        (t.LONGLONG, b"", (t.LONGLONG, 0)),
        (t.NEWDATE, b"", (t.NEWDATE, 0)),
        (t.DOUBLE, b"\x08", (t.DOUBLE, 8)),
        (t.TIME2, b"\x03", (t.TIME2, 3)),
        (t.JSON, b"\x04", (t.JSON, 4)),
        (t.VECTOR, b"\x04", (t.VECTOR, 4)),
        (t.BLOB, b"\x03", (t.BLOB, 3)),
        (t.BLOB_COMPRESSED, b"\x02", (t.BLOB_COMPRESSED, 2)),
        (t.VARCHAR, b"\x90\x01", (t.VARCHAR, 400)),
        (t.VARCHAR_COMPRESSED, b"\x01\x01", (t.VARCHAR_COMPRESSED, 257)),
        (t.BIT, b"\x01\x02", (t.BIT, 17)),
        (t.NEWDECIMAL, b"\x0a\x02", (t.NEWDECIMAL, 10 << 8 | 2)),
        (t.STRING, b"\xfe\x28", (t.STRING, 40)),
        (t.STRING, b"\xce\xfc", (t.STRING, 1020)),  # char(255) in utf8mb4
        (t.STRING, b"\xf7\x02", (t.ENUM, 2)),
        (t.STRING, b"\xf8\x08", (t.SET, 8)),
        (t.TYPED_ARRAY, b"\x0f\x10\0\0", (t.TYPED_ARRAY, 16)),
        (t.TYPED_ARRAY, b"\x08", (t.TYPED_ARRAY, 0)),
    ],
)
def test_types_and_their_metadata(sent, metas, expected):
    """Each type has metadata of its own form; what is sent as STRING may be another."""
    (column, last) = columns([sent, t.TIME2], metas + b"\x06")

    assert (column.type, column.meta) == expected
    assert last.meta == 6


def test_nullability():
    """One bit for each column, the first one lowest."""
    body = written([t.LONG] * 10, nulls=b"\x05\x02")

    assert [c.nullable for c in t.read(body).columns] == [place in {0, 2, 9} for place in range(10)]


def test_without_metadata_nothing_is_known():
    """What the server did not write is None, not a guess."""
    (column,) = columns([t.LONG])

    assert dataclasses.astuple(column) == (t.LONG, 0, False, None, None, None, None, None, None, None)


TYPES = [t.LONG, t.YEAR, t.NEWDECIMAL, t.VARCHAR, t.LONG]
METAS = b"\x0a\x02\x40\0"


def test_signedness():
    """A bit for each number, the highest first; MariaDB has YEAR among them."""
    sign = field(1, b"\x60")

    assert told(TYPES, METAS, "unsigned", sign) == [False, None, True, None, True]
    assert told(TYPES, METAS, "unsigned", sign, mariadb=True) == [False, True, True, None, False]


TEXTS = [t.VARCHAR, t.GEOMETRY, t.VECTOR, t.BLOB, t.STRING]
TEXT_METAS = b"\x40\0\x04\x04\x02\xfe\x10"


def test_collations():
    """A default with exceptions, or all of them; MariaDB has GEOMETRY among the texts."""
    default = field(2, b"\x2d" + lenenc(2) + lenenc(255))
    full = field(3, b"\x08\x3f\x3f\x21\x2d")

    assert told(TEXTS, TEXT_METAS, "collation", default) == [45, None, 45, 255, 45]
    assert told(TEXTS, TEXT_METAS, "collation", default, mariadb=True) == [45, 45, 255, 45, 45]
    assert told(TEXTS, TEXT_METAS, "collation", full, mariadb=True) == [8, 63, 63, 33, 45]


def test_labels():
    """Those of ENUM and of SET come apart, each in its column's own character set."""
    types, metas = [t.STRING] * 4, b"\xf8\x01\xf7\x01\xf7\x01\xf7\x01"
    sets = field(5, b"\x02" + counted(b"a", b"\xe4"))
    enums = field(6, b"\x01" + counted(b"\x20\xac") + b"\x00" + b"\x01" + counted(b"\xff"))

    sent = (sets, enums)
    assert told(types, metas, "labels", *sent) == [(b"a", b"\xe4"), (b"\x20\xac",), (), (b"\xff",)]
    # latin1, ucs2, utf8mb4, binary: these bytes mean themselves
    known = field(11, bytes([LATIN1, UCS2, UTF8, t.BINARY]))
    assert told(types, metas, "labels", *sent, known) == [(b"a", "ä".encode()), ("€".encode(),), (), (b"\xff",)]
    # an unknown one costs the labels of its columns alone, which may be of no table that is read
    new = field(10, lenenc(LATIN1) + lenenc(1) + b"\xfd\xff\xff\xff")
    assert told(types, metas, "labels", *sent, new) == [(b"a", "ä".encode()), None, (), ("ÿ".encode(),)]


def test_names_visibility_and_keys():
    """Names in full metadata alone, and with them what belongs to the key; without a key, that there is none."""
    types = [t.LONG] * 3
    names = field(4, counted(b"id", "größe".encode(), b""))

    assert told(types, b"", "name", names) == ["id", "größe", ""]
    assert told(types, b"", "key") == [None] * 3
    assert told(types, b"", "key", names) == [False] * 3
    assert told(types, b"", "key", names, field(8, b"\x02\x00")) == [True, False, True]
    assert told(types, b"", "key", field(9, b"\x01\x00\x02\x0a")) == [False, True, True]
    assert told(types, b"", "visible", field(12, b"\xa0")) == [True, False, True]


def test_unknown_fields_are_passed_over():
    """Newer servers may say more."""
    assert columns([t.LONG], b"", field(77, b"whatever"), field(13, b"\x03")) == columns([t.LONG])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "too early"),
        (written([t.LONG])[:-1], "too early"),
        (written([200]), "does not know"),
        (written([t.VARCHAR], b"\x10"), "too early"),
        (written([t.LONG] * 5000), "more columns"),
        (written([t.LONG], name=b"\xff"), "not UTF-8"),
        (written([t.LONG], b"", b"\x04\x05ab"), "too early"),
        (written([t.LONG], b"", field(4, b"\x01\xff")), "not UTF-8"),
        (written([t.LONG], b"", field(1, b"")), "too early"),
        (written([t.LONG], b"", field(8, b"\x01")), "does not have"),
        (written([t.VARCHAR], b"\x10\0", field(2, b"\x2d\x01\x08")), "does not have"),
        (written([t.STRING], b"\xf7\x01", field(6, b"\xfe" + b"\xff" * 8)), "too early"),
    ],
)
def test_malformed(body, message):
    """Every way to be cut short or to contradict itself has its sentence."""
    with pytest.raises(DecodeError, match=message):
        t.read(body)


WHOLE = written(
    [*TYPES, t.STRING, t.STRING],
    METAS + b"\xf7\x01\xf8\x01",
    field(1, b"\x60"),
    field(2, b"\x2d"),
    field(4, counted(*[b"n%d" % place for place in range(7)])),
    field(5, b"\x01" + counted(b"s")),
    field(6, b"\x01" + counted(b"e")),
    field(8, b"\x00"),
    field(10, b"\x08"),
    field(12, b"\xfe"),
)


@given(st.integers(0, len(WHOLE)), st.binary(max_size=30), st.booleans())
@pytest.mark.fault("S23")
def test_garbage(cut, more, mariadb):
    """Whatever the bytes, a table map or DecodeError."""
    try:
        found = t.read(WHOLE[:cut] + more, mariadb=mariadb)
    except DecodeError:
        return

    assert len(found.columns) <= t.COLUMNS_MAX


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_a_changed_byte(place, byte):
    """The same for a table map with one byte of another value."""
    try:
        found = t.read(WHOLE[:place] + bytes([byte]) + WHOLE[place + 1 :])
    except DecodeError:
        return

    assert found.schema.isprintable() or found.schema
