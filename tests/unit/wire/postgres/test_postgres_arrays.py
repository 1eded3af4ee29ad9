"""Arrays become JSON: nested as they are, every element by its own rule."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuagent.errors import DecodeError
from fuagent.wire.postgres.arrays import DEPTH, array

HOSTILE = [
    "",
    "NULL",
    "null",
    "Null",
    '"',
    "\\",
    "{",
    "}",
    ",",
    ";",
    "a b",
    "\n",
    "{}",
    '\\"',
    "[1:2]={a}",
    "ü🦊",
    "=",
    "x",
]
texts = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"]), max_size=6))


@st.composite
def nested(draw):
    """An array of any depth, all of whose leaves are equally deep."""
    sizes = draw(st.lists(st.integers(1, 3), max_size=DEPTH - 1))
    made = draw(st.lists(st.none() | texts, min_size=min(len(sizes), 1), max_size=4))
    for size in sizes:
        made = [made] * size
    return made


def string(text):
    return json.dumps(text.decode()).encode()


def same(text):
    return text


def written(value, delimiter=","):
    """An array as array_out writes it (src/backend/utils/adt/arrayfuncs.c)."""
    if isinstance(value, list):
        return "{" + delimiter.join(written(inner, delimiter) for inner in value) + "}"
    if value is None:
        return "NULL"
    risky = value == "" or value.upper() == "NULL" or set(value) & set('"\\{} \t\n\r\v\f' + delimiter)
    return '"{}"'.format(value.replace("\\", "\\\\").replace('"', '\\"')) if risky else value


@given(nested(), st.sampled_from(",;"), st.sampled_from(["", "[2:4]=", "[-1:0][3:3]="]))
def test_arrays_come_back(value, delimiter, bounds):
    """Quotes, braces, words that look like NULL, other bounds: as JSON it is the array that was written."""
    text = (bounds + written(value, delimiter)).encode()

    assert json.loads(array(text, string, delimiter.encode())) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"{}", b"[]"),
        (b"{1,-2,NULL}", b"[1,-2,null]"),
        (b"[0:1][-1:0]={{1,2},{3,4}}", b"[[1,2],[3,4]]"),
        (b"{{{1},{2}}}", b"[[[1],[2]]]"),
        (b'{"1",NULL}', b"[1,null]"),
        (b"{{{{{{1}}}}}}", b"[[[[[[1]]]]]]"),
    ],
)
def test_elements_that_are_json_stand_bare(text, expected):
    """What the element's function gives is written as it is; NULL is null."""
    assert array(text, same) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"1",
        b"{",
        b"}",
        b"{1",
        b"1}",
        b"{1,}",
        b"{,1}",
        b"{1,,2}",
        b"{{1},}",
        b"{{1}{2}}",
        b"{{1},2}",
        b"{1,{2}}",
        b"{{1},{{2}}}",
        b"{1}{2}",
        b"{1}}",
        b"{{1}",
        b"{1}x",
        b'{"a}',
        b'{"a"b}',
        b'{a"b"}',
        b'{"a\\"}',
        b"{a\\b}",
        b"{{{{{{{1}}}}}}}",
        b"[1:2]",
        b"[1:2]=",
        b"[1:2={1}",
        b"[a:2]={1}",
        b"[1:2]=[1:2]={1}",
        b"{1}\n",
    ],
)
def test_what_is_no_array_is_refused(text):
    """Braces that do not match, elements that are missing or too deep, quotes that do not end."""
    with pytest.raises(DecodeError, match="array makes no sense"):
        array(text, string)


@given(st.lists(st.sampled_from([*'{}",\\', "NULL", "1", "a", "[1:1]=", "é"]), max_size=10).map("".join))
@example("{{}}")
def test_any_text_is_json_or_refused(text):
    """Nothing comes out that is not a JSON array."""
    try:
        found = array(text.encode(), string)
    except DecodeError:
        return

    assert isinstance(json.loads(found), list)


@given(st.binary(max_size=12))
def test_any_bytes_are_an_array_or_refused(data):
    """Whatever comes, there is one kind of error."""
    try:
        found = array(data, lambda _text: b"0")
    except DecodeError:
        found = b"[]"

    assert isinstance(json.loads(found), list)
