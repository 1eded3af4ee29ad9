"""Rows become the JSON text of events, whatever is in them and whatever they are called."""

import base64
import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.encode.compile import Frame, compile_encoder
from fuagent.errors import HaltSyncError
from fuagent.model import INDEX_MAX, Column, Deletes, Field, Kind, Mapping, Table, TableSpec

HOSTILE = (
    '"',
    "'",
    "\\",
    "%s%(x)s",
    "{0}{x}",
    "a\nb\r\t",
    "🦊",
    "},{",
    "null",
    "",
    " ",
    "]; DROP TABLE t; --",
    "rows",
    "c0",
    "__import__('os')",
    "\x01\x7f\u2028",
    "ключ",
)

stored = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from(["},{", '"},{"', "null", ":null,", "\\", '"']),
    st.binary(),
)


def encoder(*names, key=(), **mapping):
    table = Table("t", tuple(Column(name, Kind.DYNAMIC) for name in names), key)
    return compile_encoder(TableSpec(table, Mapping(**mapping)))


def plain(value):
    """What a reader of the JSON gets for a stored value."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def same(one, other):
    """Equal to the last bit and in type: 1 is not 1.0, 0.0 is not -0.0."""
    if isinstance(one, float) and isinstance(other, float):
        return struct.pack("d", one) == struct.pack("d", other)
    return type(one) is type(other) and one == other


@given(st.lists(st.tuples(stored, stored, stored), max_size=8), st.integers(1, INDEX_MAX - 8))
def test_every_stored_value_comes_back_the_same(rows, first):
    """Integers keep every digit, floats every bit, blobs come as base64, and the index is exact and stands last."""
    indexes = range(first, first + len(rows))

    events = encoder("a", "b", "c").rows(rows, indexes)

    assert len(rows) == len(events)
    for row, index, event in zip(rows, indexes, events, strict=True):
        pairs = json.loads(event, object_pairs_hook=list)
        assert [name for name, _ in pairs] == ["a", "b", "c", "index"]
        assert all(same(plain(value), read) for value, (_, read) in zip(row, pairs, strict=False))
        assert same(index, pairs[-1][1])
        assert event.endswith(b',"index":%d}' % index)


@given(st.lists(st.tuples(stored), max_size=6))
def test_a_chunk_gives_the_same_bytes_as_its_rows_one_by_one(rows):
    """How rows are grouped never shows in their bytes."""
    one = encoder("a")

    assert [one.rows([row])[0] for row in rows] == one.rows(rows)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5, unique_by=str.casefold))
def test_names_are_data(names):
    """Any text may be a column's name; it is never taken for code or a format."""
    names = [name for name in names if name.casefold() != "index"] or ["x"]

    (event,) = encoder(*names).rows([tuple(range(len(names)))])

    assert dict(zip(names, range(len(names)), strict=True)) == json.loads(event)


def test_hostile_names_all_at_once():
    """Quotes, signs of formats, line breaks and bits of code mean nothing in a name."""
    (event,) = encoder(*HOSTILE).rows([tuple(None for _ in HOSTILE)])

    assert dict.fromkeys(HOSTILE) == json.loads(event)


def test_no_rows_give_no_events():
    """An empty chunk is no special case."""
    assert encoder("a").rows([]) == []


def test_a_row_may_be_written_without_any_property():
    """With no fields an event is an empty object, and as many as there are rows."""
    assert encoder("a", fields=()).rows([(1,), (2,)]) == [b"{}", b"{}"]
    assert encoder("a", fields=()).rows([(1,)], [7]) == [b'{"index":7}']


@pytest.mark.fault("F25")
def test_infinity_is_found_among_nulls_and_texts_that_say_null():
    """A float no JSON number can say becomes a word, even where real NULLs stand beside it."""
    rows = [(None, "null"), (math.inf, None), (-math.inf, ":null"), (math.nan, "x")]

    events = encoder("null", "b").rows(rows)

    assert list(map(json.loads, events)) == [
        {"null": None, "b": "null"},
        {"null": "Infinity", "b": None},
        {"null": "-Infinity", "b": ":null"},
        {"null": "NaN", "b": "x"},
    ]


def test_fields_select_rename_and_add_constants():
    """Properties come in the order of the fields; a column may feed two, and one not named is not sent."""
    fields = (Field("Name", "b"), Field("shop", constant="null"), Field("none"), Field("again", "b"), Field("n", "a"))

    (event,) = encoder("a", "b", "secret", fields=fields).rows([(None, "x", "s")], [5])

    assert event == b'{"Name":"x","shop":"null","none":null,"again":"x","n":null,"index":5}'


def test_infinity_is_found_beside_constants_of_null():
    """Nulls that stand in every event do not hide a lost float."""
    one = encoder("a", fields=(Field("a", "a"), Field("k"), Field("null", constant=1)))

    assert one.rows([(math.inf,), (None,)]) == [b'{"a":"Infinity","k":null,"null":1}', b'{"a":null,"k":null,"null":1}']


def test_every_event_says_whether_its_row_was_deleted():
    """With marks, rows of a snapshot say false, and the index still stands last."""
    one = encoder("id", "v", key=("id",), deletes=Deletes.MARK, delete_field="gone")

    assert one.marks
    assert one.properties == ("id", "v", "gone")
    assert one.rows([(1, None)]) == [b'{"id":1,"v":null,"gone":false}']
    assert one.rows([(1, 2)], [9], [True]) == [b'{"id":1,"v":2,"gone":true,"index":9}']


def test_an_old_key_is_marked_by_its_key_alone():
    """The key's columns in the key's order, under the names they are sent by, then mark and index."""
    fields = (Field("b_id", "b"), Field("v", "v"), Field("a_id", "a"))
    one = encoder("a", "v", "b", key=("b", "a"), deletes=Deletes.MARK, fields=fields)

    assert one.keys([(1, "x")], [3]) == [b'{"b_id":1,"a_id":"x","_deleted":true,"index":3}']
    assert one.keys([(1, "x")]) == [b'{"b_id":1,"a_id":"x","_deleted":true}']


def test_tables_may_be_very_wide():
    """1900 columns are as good as one."""
    names = [f"c{number}" for number in range(1900)]

    (event,) = encoder(*names).rows([tuple(range(1900))], [1])

    assert {**dict(zip(names, range(1900), strict=True)), "index": 1} == json.loads(event)


@pytest.mark.parametrize("value", ["secret\ud800", 2**64, object()])
def test_what_no_json_can_carry_halts_without_showing_it(value):
    """The error names the table and never the value."""
    with pytest.raises(HaltSyncError, match="row of table t") as caught:
        encoder("a").rows([(value,)])

    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


framed = st.tuples(st.integers(), st.none() | st.integers())


@given(
    st.lists(st.tuples(framed, stored, stored), max_size=6),
    st.sampled_from([None, (Field("x", "a"), Field("y", "b")), (Field("x", "b"),)]),
)
def test_what_stands_around_the_columns_never_shows(rows, fields):
    """Rows inside longer tuples give the same events, infinities included, however many NULLs stand around them."""
    table = Table("t", (Column("a", Kind.DYNAMIC), Column("b", Kind.DYNAMIC)))
    spec = TableSpec(table, Mapping(fields=fields))
    inside = compile_encoder(spec, Frame(before=2, after=1, nulls=2))
    bare = compile_encoder(spec)

    assert inside.rows([(*before, a, b, None) for before, a, b in rows]) == bare.rows([(a, b) for _, a, b in rows])


def test_nulls_around_the_columns_hide_no_infinity():
    """As many infinities as NULLs beside the columns: they are not taken for each other."""
    table = Table("t", (Column("a", Kind.DYNAMIC), Column("b", Kind.DYNAMIC)))
    inside = compile_encoder(TableSpec(table, Mapping()), Frame(before=1, after=1, nulls=2))

    assert inside.rows([(None, math.inf, -math.inf, None)]) == [b'{"a":"Infinity","b":"-Infinity"}']
