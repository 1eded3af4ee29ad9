"""MySQL's binary JSON becomes the text that the server prints."""

import json
import os
import struct
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuagent.errors import DecodeError
from fuagent.wire.mysql.jsonb import apply, text

FOLDER = Path(os.environ.get("FUAGENT_FIXTURES", Path(__file__).parents[5] / "shared" / "fixtures")) / "binlogs"

recorded = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"recorded binlogs are not at {FOLDER} (set FUAGENT_FIXTURES)"
)


# ------------------------------------------------------------------ an encoder of our own


def length(size):
    """A length in groups of seven bits."""
    groups = []
    while size > 0x7F:
        groups.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*groups, size])


def encode(value, large=False):
    """A value as type and bytes, as the server would write it; ``large`` is the form of containers."""
    if value is None or isinstance(value, bool):
        return 4, bytes([{None: 0, True: 1, False: 2}[value]])
    if isinstance(value, int):
        kinds = {5: "<h", 6: "<H", 7: "<i", 8: "<I", 9: "<q", 10: "<Q"}
        for kind, layout in kinds.items():
            try:
                return kind, struct.pack(layout, value)
            except struct.error:
                continue
    if isinstance(value, float):
        return 11, struct.pack("<d", value)
    if isinstance(value, str):
        raw = value.encode()
        return 12, length(len(raw)) + raw
    if isinstance(value, tuple):
        kind, raw = value
        return 15, bytes([kind]) + length(len(raw)) + raw
    return container(value, large)


def ordered(value):
    """The members of an object in the server's order."""
    return sorted(value.items(), key=lambda pair: (len(pair[0].encode()), pair[0].encode()))


def container(value, large):
    number, inlined = ("I", {4, 5, 6, 7, 8}) if large else ("H", {4, 5, 6})
    wide = 4 if large else 2
    members = ordered(value) if isinstance(value, dict) else [("", item) for item in value]
    keys = [key.encode() for key, _ in members] if isinstance(value, dict) else []
    place = 2 * wide + len(keys) * (wide + 2) + len(members) * (wide + 1)
    heads = b""
    for key in keys:
        heads += struct.pack(f"<{number}H", place, len(key))
        place += len(key)
    entries, values = b"", b""
    for _, item in members:
        kind, raw = encode(item, large)
        if kind in inlined:
            entries += bytes([kind]) + raw.ljust(wide, b"\xff" if kind == 5 and raw[1] & 0x80 else b"\0")
        else:
            entries += struct.pack(f"<B{number}", kind, place + len(values))
            values += raw
    body = heads + entries + b"".join(keys) + values
    kind = (0 if isinstance(value, dict) else 2) + large
    return kind, struct.pack(f"<{number}{number}", len(members), 2 * wide + len(body)) + body


def document(value, large=False):
    kind, raw = encode(value, large)
    return bytes([kind]) + raw


def change(operation, path, value=None):
    raw = path.encode()
    head = bytes([operation]) + packed(raw)
    return head if operation == 2 else head + packed(document(value))


def packed(raw):
    size = len(raw)
    return (bytes([size]) if size < 251 else b"\xfc" + struct.pack("<H", size)) + raw


def changes(*parts):
    return b"".join(change(*part) for part in parts)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5)
)


# ------------------------------------------------------------------ whole documents


@given(values, st.booleans())
@example([-1, 65535, 65536, -32769, 2**32, 2.0, 1e20, ""], True)
@example({"": {}, "a": [], "é": [None, True, False]}, False)
def test_what_is_written_is_read(value, large):
    """Both forms of containers give the document's own JSON, keys in their order."""
    decoded = json.loads(text(document(value, large)))

    assert decoded == value
    assert repr(decoded) == repr(json.loads(json.dumps(arranged(value))))


def arranged(value):
    if isinstance(value, dict):
        return {key: arranged(item) for key, item in ordered(value)}
    return [arranged(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b": [1, 2.0, None], "a": "x"}, b'{"a": "x", "b": [1, 2.0, null]}'),
        ([], b"[]"),
        ({}, b"{}"),
        ([1e20, -0.0, 1.5e-16, 123456789012345.0], b"[1e20, -0.0, 1.5e-16, 123456789012345.0]"),
        ('"\\/\b\f\n\r\t\x00\x1f\x7fé', b'"\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7f' + "é".encode() + b'"'),
        ({'"': 1}, b'{"\\"": 1}'),
        ((246, b"\x05\x02\x80\x7b\x2d"), b"123.45"),
        ((246, b"\x05\x02\x7f\x84\xd2"), b"-123.45"),
        ((246, b"\x02\x02\x80"), b"0.00"),
        ((252, b"\0" * 58), b'"base64:type252:' + b"A" * 76 + b'\\nAA=="'),
        ((252, b"\0" * 57), b'"base64:type252:' + b"A" * 76 + b'"'),
        ((252, b""), b'"base64:type252:"'),
    ],
)
def test_text_is_the_servers(value, expected):
    """Separators, doubles, escapes and values of SQL types are written as the server writes them."""
    assert text(document(value)) == expected


def moment(*, days=0, clock=0, micro=0, sign=1):
    return struct.pack("<q", sign * ((days << 17 | clock) << 24 | micro))


DAY = (2015 * 13 + 1) << 5 | 15
CLOCK = 23 << 12 | 24 << 6 | 25


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        (10, moment(days=DAY), b'"2015-01-15"'),
        (12, moment(days=DAY, clock=CLOCK), b'"2015-01-15 23:24:25.000000"'),
        (7, moment(days=DAY, clock=CLOCK, micro=120000), b'"2015-01-15 23:24:25.120000"'),
        (12, moment(), b'"0000-00-00 00:00:00.000000"'),
        (11, moment(clock=CLOCK), b'"23:24:25.000000"'),
        (11, moment(clock=CLOCK, sign=-1), b'"-23:24:25.000000"'),
        (11, moment(clock=838 << 12 | 59 << 6 | 59), b'"838:59:59.000000"'),
    ],
)
def test_dates_and_times(kind, raw, expected):
    """Dates and times are strings, with six digits behind the seconds."""
    assert text(document((kind, raw))) == expected


def test_nothing_is_null():
    """A column that never held a document reads as the server reads it."""
    assert text(b"") == b"null"


@pytest.mark.fault("S23")
def test_depth():
    """A hundred containers within each other are as many as the server takes."""
    value = []
    for _ in range(99):
        value = [value]

    assert text(document(value)) == b"[" * 100 + b"]" * 100
    with pytest.raises(DecodeError, match="deep"):
        text(document([value]))
    with pytest.raises(DecodeError, match="deep"):
        text(document([[1]]), depth=1)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x0d", "no such type"),
        (b"\x04", "early"),
        (b"\x04\x03", "no such literal"),
        (b"\x02\x01\x00\x07\x00\x04\x03\x00", "no such literal"),
        (b"\x05\x01", "early"),
        (b"\x0b" + b"\xff" * 8, "not a number"),
        (b"\x0c\x02a", "early"),
        (b"\x0c\xff\xff\xff\xff\xff\x01", "too many bytes"),
        (b"\x0c\x01\xff", "UTF-8"),
        (b"\x02\x00\x00\x05\x00", "early"),
        (b"\x02\xff\xff\x04\x00", "early"),
        (b"\x02\x01\x00\x07\x00\x0c\x06\x00", "before the values"),
        (b"\x00\x01\x00\x0b\x00\x0a\x00\x00\x00\x04\x00\x00", "before the keys"),
        (b"\x00\x02\x00\x13\x00" + b"\x12\x00\x00\x00" * 2 + b"\x04\x00\x00" * 2 + b"\x00", "twice"),
        (b"\x02\x02\x00\x0d\x00" + b"\x0c\x0a\x00" * 2 + b"\x02ab", "overlap"),
        (document((246, b"\x05")), "wrong length"),
        (document((246, b"\x05\x02\x80\x7b")), "wrong length"),
        (document((246, b"\xff\x02\x80\x7b\x2d")), "digits"),
        (document((246, b"\x02\x02\xff")), "digits"),
        (document((12, b"\0" * 7)), "wrong length"),
        (document((12, moment(days=DAY, micro=1000000))), "out of range"),
        (document((12, moment(days=DAY, sign=-1))), "out of range"),
    ],
)
def test_what_is_malformed_is_refused(data, says):
    """Whatever no server writes is an error that says what is wrong."""
    with pytest.raises(DecodeError, match=says):
        text(data)


@pytest.mark.fault("S23")
def test_sharing_does_not_multiply():
    """Containers that point at one another's values cannot make a short document a long text."""
    level = document("x" * 1000)[1:]
    kind = 12
    for _ in range(10):
        head = struct.pack("<HH", 8, 4 + 24 + len(level)) + struct.pack("<BH", kind, 28) * 8
        kind, level = 2, head + level

    with pytest.raises(DecodeError, match="overlap"):
        text(bytes([kind]) + level)


def check_json(written):
    """JSON text on one line, as the server writes it."""
    json.loads(written)
    assert not any(byte < 0x20 for byte in written)


@given(st.binary(max_size=80))
@pytest.mark.fault("S23")
def test_any_bytes_are_a_document_or_an_error(data):
    """Garbage gives valid JSON of bounded length or a DecodeError."""
    try:
        written = text(data)
    except DecodeError:
        return

    check_json(written)
    assert len(written) <= 10 * len(data) + 30


@given(values, st.booleans(), st.data())
def test_damaged_documents(value, large, data):
    """A document with a byte changed or its end cut off is read or refused."""
    whole = bytearray(document(value, large))
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))

    for damaged in (bytes(whole), bytes(whole[:cut])):
        try:
            written = text(damaged)
        except DecodeError:
            continue
        check_json(written)


# ------------------------------------------------------------------ partial updates

BEFORE = {"a": [1, {"b c": 2}], "name": "x", "ünï": 0}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([], BEFORE),
        ([(0, "$.name", "y")], {**BEFORE, "name": "y"}),
        ([(0, '$.a[1]."b c"', [1, 2])], {**BEFORE, "a": [1, {"b c": [1, 2]}]}),
        ([(1, "$.a[1].d", {})], {**BEFORE, "a": [1, {"b c": 2, "d": {}}]}),
        ([(1, "$.a[0]", 0)], {**BEFORE, "a": [0, 1, {"b c": 2}]}),
        ([(1, "$.a[9]", 0)], {**BEFORE, "a": [1, {"b c": 2}, 0]}),
        ([(1, "$.a[last]", 0)], {**BEFORE, "a": [1, 0, {"b c": 2}]}),
        ([(1, "$.a[last-9]", 0)], {**BEFORE, "a": [0, 1, {"b c": 2}]}),
        ([(0, "$.a[last-1]", None)], {**BEFORE, "a": [None, {"b c": 2}]}),
        ([(2, "$.a[1]")], {**BEFORE, "a": [1]}),
        ([(2, "$.a"), (2, "$.ünï")], {"name": "x"}),
        ([(0, '$."\\u00fcn\\u00ef"', 1)], {**BEFORE, "ünï": 1}),
        ([(1, '$."a\\"."', 1), (2, "$.name"), (0, '$."a\\"."', 2)], {"a": BEFORE["a"], 'a".': 2, "ünï": 0}),
        ([(1, "$.long", "x" * 300), (2, "$.a")], {"long": "x" * 300, "name": "x", "ünï": 0}),
    ],
)
def test_partial_updates(parts, expected):
    """Changes are made one after the other, and keys stay in the server's order."""
    assert apply(document(BEFORE), changes(*parts)) == text(document(expected))


@pytest.mark.parametrize(
    "part",
    [
        (0, "$.b", 1),
        (0, "$.a[2]", 1),
        (0, "$.a[last-2]", 1),
        (0, "$.a.b", 1),
        (0, "$[0]", 1),
        (0, "$.name.x", 1),
        (0, "$.name[0]", 1),
        (0, "$.b.c", 1),
        (0, "$.a[0].b.c", 1),
        (1, "$.name", 1),
        (2, "$.b"),
        (2, "$.a[2]"),
    ],
)
def test_changes_of_what_is_not_there(part):
    """A path that leads nowhere, or an insertion where something is, shows a document that is not the one changed."""
    with pytest.raises(DecodeError, match="does not fit"):
        apply(document(BEFORE), changes(part))


@pytest.mark.parametrize(
    ("diffs", "says"),
    [
        (b"\x03", "operation"),
        (b"\x02", "early"),
        (b"\x02\x05$.a", "early"),
        (b"\x02\xfb", "early"),
        (b"\x02\xfc", "early"),
        (b"\x02\xfe" + b"\xff" * 8, "early"),
        (b"\x00\x03$.a", "early"),
        (b"\x00\x03$.a\x01\x0d", "no such type"),
        (change(2, "$"), "path"),
        (change(2, ""), "path"),
        (change(2, "x.a"), "path"),
        (change(2, "$.a*"), "path"),
        (change(2, "$**.a"), "path"),
        (change(2, '$."a'), "path"),
        (change(2, '$."\\x"'), "path"),
        (change(2, '$."\\ud800"'), "path"),
        (change(2, "$[1"), "path"),
        (change(0, "$.a" + "[0]" * 120, 1), "fit"),
    ],
)
def test_malformed_changes_are_refused(diffs, says):
    """Whatever is no list of changes is an error."""
    with pytest.raises(DecodeError, match=says):
        apply(document(BEFORE), diffs)


def test_changes_do_not_dig_deeper():
    """A value set within a document may not go deeper than a document may."""
    value = []
    for _ in range(98):
        value = [value]

    assert apply(document({"a": 1}), changes((0, "$.a", value))).count(b"[") == 99
    with pytest.raises(DecodeError, match="deep"):
        apply(document({"a": 1}), changes((0, "$.a", [value])))


def test_nothing_can_be_changed_in_a_scalar():
    """A document without members has no path to anything."""
    with pytest.raises(DecodeError, match="does not fit"):
        apply(b"", changes((0, "$.a", 1)))


@given(values, st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["$.a", "$[0]", "$.a[1]", "$[last]"]), values)))
def test_any_changes_apply_or_fail(value, parts):
    """Changes give valid JSON or a DecodeError."""
    try:
        written = apply(document(value), changes(*parts))
    except DecodeError:
        return

    check_json(written)


@given(values, st.binary(max_size=40))
def test_any_bytes_are_changes_or_an_error(value, diffs):
    """Garbage in place of changes is refused or changes something."""
    try:
        written = apply(document(value), diffs)
    except DecodeError:
        return

    check_json(written)


# ------------------------------------------------------------------ what servers wrote


def vectors():
    path = FOLDER / "vectors" / "jsonb.json"
    return json.loads(path.read_text())["vectors"] if path.exists() else []


@recorded
@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector["test"])
def test_recorded_documents(vector):
    """Documents that servers wrote read as the tests of other decoders expect them."""
    decoded = json.loads(text(bytes.fromhex(vector["hex"])))

    if "expected" in vector:
        assert decoded == vector["expected"]
    elif "expected_text" in vector:
        assert decoded == json.loads(vector["expected_text"])
    else:
        assert set(vector["must_contain"]) <= set(decoded)
        assert not set(vector["must_not_contain"]) & set(decoded)


def events(path):
    """The number from 1, type and body of each event in a binlog without checksums' four bytes."""
    data = path.read_bytes()
    at, number = 4, 1
    while at < len(data):
        size = int.from_bytes(data[at + 9 : at + 13], "little")
        yield number, data[at + 4], data[at + 19 : at + size - 4]
        at, number = at + size, number + 1


@recorded
def test_recorded_values_of_sql_types():
    """Values of SQL types within JSON read as the server prints them."""
    path = FOLDER / "rust_mysql_common" / "json-opaque.binlog"
    # Behind the header: the number of columns, which there are, which are NULL, a length.
    written = {number: text(body[10 + 3 + 4 :]) for number, kind, body in events(path) if kind == 30}

    assert written == {
        10: b'{"a": "base64:type15:VQ=="}',
        12: b'{"b": "2012-03-18"}',
        14: b'{"c": "2012-03-18 11:30:45.000000"}',
        16: b'{"c": "87:31:46.654321"}',
        18: b'{"d": 123.456}',
        20: b'{"e": 9.00}',
        22: b'{"e": [0, 1, true, false]}',
        24: b'{"e": null}',
    }


@recorded
def test_a_recorded_partial_update():
    """The changes of a recorded update give the document that its statement set."""
    found = {kind: body for _, kind, body in events(FOLDER / "rust_mysql_common" / "json.binlog.000001")}
    partial = found[39]
    start = partial.index(b"\0\x05$.age")
    size = int.from_bytes(partial[start - 4 : start], "little")
    before = document({"age": 25, "data": "x" * 10, "name": "Joe"})

    assert apply(before, partial[start : start + size]) == b'{"age": 26, "data": "xxxxxxxxxx", "name": "Joe"}'
