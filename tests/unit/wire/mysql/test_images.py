"""Row images become tuples of pieces: with NULLs and without, whole and in part, and never beyond their end."""

import json
import struct
from dataclasses import replace

import pytest
from event_bytes import lenenc
from hypothesis import given
from hypothesis import strategies as st

from fuagent.errors import DecodeError
from fuagent.model import ABSENT
from fuagent.wire.mysql import images
from fuagent.wire.mysql import tablemap as t
from fuagent.wire.mysql.tablemap import ImageColumn

UTF8, LATIN1 = 45, 8


def bitmap(places, width):
    """One bit for each place, the first one lowest; MySQL sets those beyond the last."""
    bits = sum(1 << place for place in places) | (-1 << width)
    return (bits & ((1 << 8 * ((width + 7) // 8)) - 1)).to_bytes((width + 7) // 8, "little")


KINDS = (
    (ImageColumn(t.TINY, unsigned=False), st.integers(-128, 127), lambda v: struct.pack("<b", v)),
    (ImageColumn(t.INT24, unsigned=True), st.integers(0, 2**24 - 1), lambda v: v.to_bytes(3, "little")),
    (ImageColumn(t.LONGLONG, unsigned=False), st.integers(-(2**63), 2**63 - 1), lambda v: struct.pack("<q", v)),
    (ImageColumn(t.DOUBLE), st.floats(allow_nan=False), lambda v: struct.pack("<d", v)),
    (ImageColumn(t.YEAR), st.integers(1901, 2155), lambda v: bytes([v - 1900])),
    (ImageColumn(t.VARCHAR, 100, collation=UTF8), st.binary(max_size=50), lambda v: bytes([len(v)]) + v),
    (ImageColumn(t.VARCHAR, 1000, collation=UTF8), st.binary(max_size=300), lambda v: struct.pack("<H", len(v)) + v),
    (ImageColumn(t.BLOB, 3, collation=UTF8), st.binary(max_size=20), lambda v: len(v).to_bytes(3, "little") + v),
    (ImageColumn(t.BLOB, 4, collation=UTF8), st.binary(max_size=20), lambda v: struct.pack("<I", len(v)) + v),
    (
        ImageColumn(t.ENUM, 1, labels=(b"a", b"b")),
        st.sampled_from([b"", b"a", b"b"]),
        lambda v: bytes([b"\0ab".find(v) if v else 0]),
    ),
)
"""A column, its pieces, and how a server writes each."""

NULLS = st.sampled_from([0.0, 0.3, 1.0])


@st.composite
def tables(draw, most=20):
    """A table, and rows of it with NULLs rarely, often or always; not even where they may be is always kept to."""
    kinds = [
        (replace(column, nullable=draw(st.booleans())), pieces, write)
        for column, pieces, write in draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=most))
    ]
    value = [st.none() | kind[1] if draw(st.booleans()) else kind[1] for kind in kinds]
    return kinds, draw(st.lists(st.tuples(*value), max_size=6))


def present(draw, width):
    places = draw(st.sets(st.integers(0, width - 1), min_size=1))
    return sorted(places)


def image(kinds, row, places):
    """One row as servers write it."""
    nulls = bitmap([bit for bit, place in enumerate(places) if row[place] is None], len(places))
    return nulls + b"".join(kinds[place][2](row[place]) for place in places if row[place] is not None)


def seen(row, places):
    """The row as the image holds it."""
    return tuple(value if place in places else ABSENT for place, value in enumerate(row))


@given(tables(), st.data(), st.binary(max_size=9), st.binary(max_size=9))
def test_rows_come_back(table, data, before, behind):
    """Any columns, any of them present, any of them NULL; what stands around the images does not matter."""
    kinds, rows = table
    places = present(data.draw, len(kinds))
    body = b"".join(image(kinds, row, places) for row in rows)

    read = images.compile_reader([kind[0] for kind in kinds], bitmap(places, len(kinds)))
    found = read(before + body + behind, len(before), len(before) + len(body))

    assert found == [seen(row, places) for row in rows]


@given(tables(10), st.data(), st.booleans())
def test_updates_come_back(table, data, partial):
    """Images in pairs, each with its own columns; where nothing is partial, the other event says the same."""
    kinds, rows = table
    first, second = present(data.draw, len(kinds)), present(data.draw, len(kinds))
    pairs = list(zip(rows[::2], rows[1::2], strict=False))
    options = b"\0" if partial else b""
    body = b"".join(image(kinds, old, first) + options + image(kinds, new, second) for old, new in pairs)

    columns = [kind[0] for kind in kinds]
    read = images.compile_updates(columns, bitmap(first, len(kinds)), bitmap(second, len(kinds)), partial=partial)

    expected = ([seen(old, first) for old, _ in pairs], [seen(new, second) for _, new in pairs])
    assert read(body, 0, len(body)) == expected


@given(tables(10), st.data())
def test_a_cut_is_noticed(table, data):
    """Images that end early, or one whose values reach beyond the event, are an error and never a shorter value."""
    kinds, rows = table
    places = present(data.draw, len(kinds))
    parts = [image(kinds, row, places) for row in rows]
    body = b"".join(parts)
    cut = data.draw(st.integers(0, len(body)))
    whole = cut in {len(b"".join(parts[:count])) for count in range(len(parts) + 1)}
    read = images.compile_reader([kind[0] for kind in kinds], bitmap(places, len(kinds)))

    for end_of_data in (body[:cut], body):
        try:
            found = read(end_of_data, 0, cut)
        except DecodeError:
            assert not whole
        else:
            assert whole
            assert found == [seen(row, places) for row in rows[: len(found)]]


EVERY = [
    ImageColumn(t.NEWDECIMAL, 10 << 8 | 2),
    ImageColumn(t.DATETIME2, 3),
    ImageColumn(t.TIME2, 6),
    ImageColumn(t.TIMESTAMP2, 1),
    ImageColumn(t.DATE),
    ImageColumn(t.DOUBLE),
    ImageColumn(t.FLOAT),
    ImageColumn(t.BIT, 12),
    ImageColumn(t.STRING, 20, collation=LATIN1),
    ImageColumn(t.STRING, 16, collation=63, declared="uuid"),
    ImageColumn(t.SET, 2, labels=(b"a", b"b", b"c")),
    ImageColumn(t.JSON, 4),
    ImageColumn(t.GEOMETRY, 4),
    ImageColumn(t.VECTOR, 4),
    ImageColumn(t.BLOB_COMPRESSED, 2, collation=UTF8),
]


@given(st.lists(st.sampled_from(EVERY), min_size=1, max_size=9), st.binary(max_size=60), st.booleans())
def test_garbage(columns, data, partial):
    """Whatever the bytes: rows or DecodeError, soon."""
    everything = bitmap(range(len(columns)), len(columns))
    read = images.compile_reader(columns, everything)
    update = images.compile_updates(columns, everything, everything, partial=partial)
    for reader in (read, update):
        try:
            found = reader(data, 0, len(data))
        except DecodeError:
            continue
        rows = found if reader is read else [*found[0], *found[1]]
        assert len(rows) <= len(data)
        assert {len(row) for row in rows} <= {len(columns)}


def test_many_columns():
    """More than 16 columns have another bitmap, which may be as wide as it likes."""
    columns = [ImageColumn(t.TINY, unsigned=False)] * 4096
    everything = bytes([255]) * 512
    full = bytes(512) + bytes(range(128)) * 32
    odd = b"\x55" * 512 + bytes(2048)
    read = images.compile_reader(columns, everything)

    rows = read(full + odd, 0, len(full + odd))
    assert rows == [tuple(range(128)) * 32, (None, 0) * 2048]


def test_absent_is_not_null():
    """It has a name, so that it is seen in a test that fails."""
    columns = [ImageColumn(t.TINY, unsigned=False)] * 2
    (row,) = images.compile_reader(columns, b"\x02")(b"\xff", 0, 1)

    assert row == (ABSENT, None)
    assert repr(row) == "(ABSENT, None)"


def test_images_without_columns():
    """An insert of defaults alone is one row; anything else without a column is none."""
    columns = [ImageColumn(t.TINY, unsigned=False)] * 2
    read = images.compile_reader(columns, b"\0")

    assert read(b"header", 6, 6) == [(ABSENT, ABSENT)]
    with pytest.raises(DecodeError, match="no column but"):
        read(b"\0", 0, 1)
    with pytest.raises(DecodeError, match="no column"):
        images.compile_updates(columns, b"\0", b"\0")
    with pytest.raises(DecodeError, match="no column but"):
        images.compile_reader([], b"")(b"\0", 0, 1)


@pytest.mark.parametrize("partial", [False, True])
def test_one_image_without_columns(partial):
    """One side of an update may hold nothing."""
    columns = [ImageColumn(t.TINY, unsigned=False)]
    options = b"\0" * partial

    body = b"\xfe\x05" + options + b"\xfe\x06" + options
    assert images.compile_updates(columns, b"\x01", b"\0", partial=partial)(body, 0, len(body)) == (
        [(5,), (6,)],
        [(ABSENT,)] * 2,
    )
    body = options + b"\xfe\x07"
    assert images.compile_updates(columns, b"\0", b"\x01", partial=partial)(body, 0, len(body)) == ([(ABSENT,)], [(7,)])


@pytest.mark.parametrize("present", [b"", b"\1\0"])
def test_another_number_of_columns(present):
    """A bitmap for another table than the map's."""
    with pytest.raises(DecodeError, match="number of columns"):
        images.compile_reader([ImageColumn(t.TINY, unsigned=False)], present)


@pytest.mark.parametrize(("start", "end"), [(-1, 0), (2, 1), (0, 3), (3, 3)])
def test_an_end_before_the_beginning(start, end):
    """Places outside of the data."""
    read = images.compile_reader([ImageColumn(t.TINY, unsigned=False)], b"\1")

    with pytest.raises(DecodeError, match="before its first image"):
        read(b"\xfe\1", start, end)


# ------------------------------------------------------------------ partial updates

JSONS = [ImageColumn(t.LONG, unsigned=False), ImageColumn(t.JSON, 4), ImageColumn(t.JSON, 4)]


def document(**members):
    """A small object of 16-bit integers in MySQL's binary form."""
    keys = sorted(members)
    at = 4 + 7 * len(keys)
    entries = values = b""
    for key in keys:
        entries += struct.pack("<HH", at, len(key))
        at += len(key)
    for key in keys:
        values += struct.pack("<Bh", 5, members[key])
    return b"\0" + struct.pack("<HH", len(keys), at) + entries + values + "".join(keys).encode()


def changed(key, number):
    """Replace one member by another 16-bit integer."""
    path = f"$.{key}".encode()
    value = struct.pack("<Bh", 5, number)
    return b"\0" + lenenc(len(path)) + path + lenenc(len(value)) + value


def blob(data):
    return struct.pack("<I", len(data)) + data


def test_changes_are_applied():
    """The options say that there is a bitmap, and its bits which of the JSON columns hold changes."""
    old = b"\xf8" + struct.pack("<i", 7) + blob(document(a=1, b=2)) + blob(document(c=3))
    new = b"\x01\x02" + b"\xf8" + struct.pack("<i", 8) + blob(document(a=9)) + blob(changed("c", 4))
    body = old + new

    befores, afters = images.compile_updates(JSONS, b"\x07", b"\x07", partial=True)(body, 0, len(body))

    assert [json.loads(piece) for piece in befores[0][1:]] == [{"a": 1, "b": 2}, {"c": 3}]
    assert [json.loads(piece) for piece in afters[0][1:]] == [{"a": 9}, {"c": 4}]
    assert (befores[0][0], afters[0][0]) == (7, 8)


def test_a_bit_for_columns_that_are_absent():
    """The bitmap counts every JSON column of the table, whether the image holds it or not."""
    body = b"\xfe" + blob(document(c=3)) + b"\x01\x02" + b"\xfe" + blob(changed("c", 4))

    _, afters = images.compile_updates(JSONS, b"\x04", b"\x04", partial=True)(body, 0, len(body))

    assert afters[0][:2] == (ABSENT, ABSENT)
    assert json.loads(afters[0][2]) == {"c": 4}


@pytest.mark.parametrize(
    ("before", "body"),
    [
        (b"\x01", b"\xfe" + bytes(4) + b"\x01\x01" + b"\xfe" + blob(changed("c", 4))),
        (b"\x02", b"\xff" + b"\x01\x01" + b"\xfe" + blob(changed("c", 4))),
    ],
)
def test_changes_of_nothing(before, body):
    """Without the value before, or with NULL there, the setting that leads to it is named."""
    read = images.compile_updates(JSONS, before, b"\x02", partial=True)

    with pytest.raises(DecodeError) as caught:
        read(body, 0, len(body))
    assert "binlog_row_value_options" in caught.value.fix


def test_names_are_never_code():
    """What others wrote does not stand in the generated code."""
    labels = (b"__import__('os')", b'"); x = (', b"\n")
    columns = [ImageColumn(t.ENUM, 1, labels=labels, name="'); import os", declared="{0}")]

    assert images.compile_reader(columns, b"\1")(b"\xfe\3", 0, 2) == [(b"\n",)]
