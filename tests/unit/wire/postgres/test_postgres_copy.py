"""Lines of COPY's text become rows: whatever stands in a value, and wherever they are cut."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuagent.errors import DecodeError
from fuagent.wire.postgres.copy import columns, rows

SIGNS = {b"\b": b"\\b", b"\t": b"\\t", b"\n": b"\\n", b"\v": b"\\v", b"\f": b"\\f", b"\r": b"\\r", b"\\": b"\\\\"}
AWKWARD = [b"\\N", b"\\\\N", b"N", b"\\", b"\\n", b"\n\\N", b"a\tb\nc", b"\xff", b"\xfe\\", b"\xfd\n", b"\x00", b""]

values = st.one_of(
    st.none(),
    st.sampled_from(AWKWARD),
    st.text(max_size=8).map(lambda text: text.encode(errors="replace")),
    st.binary(max_size=6),
    st.lists(st.sampled_from([b"\\", b"N", b"n", b"\n", b"\t", b"1", b"x"]), max_size=5).map(b"".join),
)
tables = st.integers(0, 5).flatmap(
    lambda width: st.tuples(st.just(width), st.lists(st.tuples(*[values] * width), max_size=8))
)


def written(row):
    """A row as CopyAttributeOutText writes it (src/backend/commands/copyto.c)."""
    return b"\t".join(b"\\N" if value is None else escaped(value) for value in row) + b"\n"


def escaped(value):
    return b"".join(SIGNS.get(bytes([byte]), bytes([byte])) for byte in value)


@given(tables)
def test_rows_come_back(table):
    """What is written as COPY does it is read as it was, NULL and texts that look like it told apart."""
    width, some = table

    assert rows(b"".join(map(written, some)), width) == some


@given(tables, st.sampled_from([b"plain", None, b"a\\b", b"a\nb", b"\xff\\"]))
def test_a_row_is_the_same_among_any_others(table, other):
    """How a row is read does not depend on what else comes with it."""
    width, some = table
    row = (other,) * width

    assert rows(b"".join(written(one) + written(row) for one in some), width) == [
        each for one in some for each in (one, row)
    ]


@given(tables)
def test_columns_are_those_of_the_rows(table):
    """Each of the table's columns is there with one value for each row."""
    width, some = table

    found = columns(b"".join(map(written, some)), width)

    assert [list(column) for column in found.columns] == [[row[at] for row in some] for at in range(width)] or not some
    assert len(found) == len(some)


def test_many_rows_keep_their_order():
    """Large blocks lose nothing and mix nothing up."""
    some = [
        (b"%d" % number, None if number % 3 else b"x" * (number % 90), b"\n" if number % 1000 == 0 else b"")
        for number in range(5000)
    ]

    assert rows(b"".join(map(written, some)), 3) == some


def test_a_line_may_be_long():
    """Large values are values like any others."""
    some = [(b"x" * 200_000, None), (b"y\t" * 100_000, b"z")]

    assert rows(b"".join(map(written, some)), 2) == some


def test_lines_as_a_server_of_version_15_wrote_them():
    """All control characters and three texts that are nearly NULL, from COPY … TO STDOUT."""
    every = bytes(range(1, 128))
    below = b"\x01\x02\x03\x04\x05\x06\x07\\b\\t\\n\\v\\f\\r" + bytes(range(0x0E, 0x5C))
    data = below + b"\\\\" + bytes(range(0x5D, 0x80)) + b"\t\\\\N\nx\\\\\t\\\\N\\\\n\n\\N\t\n"

    assert rows(data, 2) == [(every, b"\\N"), (b"x\\", b"\\N\\n"), (None, b"")]


@pytest.mark.parametrize(
    ("written_as", "meant"),
    [
        (b"\\101", b"A"),
        (b"\\1012", b"A2"),
        (b"\\777", b"\xff"),
        (b"\\x41", b"A"),
        (b"\\x4g", b"\x04g"),
        (b"\\xg", b"xg"),
        (b"\\8", b"8"),
        (b"\\.", b"."),
        (b"a\\", b"a\\"),
    ],
)
def test_escapes_that_the_format_allows(written_as, meant):
    """What the servers do not write but may is understood, also beside what they do write."""
    assert rows(written_as + b"\t\\n\t\\N\n", 3) == [(meant, b"\n", None)]


@pytest.mark.parametrize("beside", [b"x", b"\\n", b"\\x41"])
def test_the_sign_of_null_within_a_value_is_a_letter(beside):
    """Servers do not write it there; whoever reads it takes it for what any other escaped letter is."""
    (row,) = rows(b"a\\N\t\\N\t" + beside + b"\n", 3)

    assert row[:2] == (b"aN", None)


@given(st.binary(max_size=20), st.integers(0, 4))
@example(b"\\", 1)
@example(b"a\\N\n\\N\n", 1)
@example(b"\\n\\N\t\\N\n", 2)
@pytest.mark.fault("S23")
def test_any_bytes_are_rows_or_refused(data, width):
    """Whatever comes: rows of the right width, as many as there are lines, or one kind of error."""
    try:
        found = rows(data, width)
    except DecodeError:
        return

    assert all(len(row) == width for row in found)
    assert len(found) == data.count(b"\n")
    assert data == b"" or data.endswith(b"\n")


@given(st.lists(st.tuples(values, values, values), min_size=1, max_size=8), st.data())
def test_a_row_of_another_width_is_refused(some, data):
    """One value too few or too many is never passed over."""
    lines = [written(row) for row in some]
    place = data.draw(st.integers(0, len(lines) - 1))
    lines[place] = written(data.draw(st.sampled_from([(b"v",), (b"v", None), (None, b"v", b"\n", b"v")])))

    with pytest.raises(DecodeError, match="another number of values"):
        rows(b"".join(lines), 3)


@pytest.mark.parametrize(
    "data", [b"a\tb\tc\nd\n", b"a\nb\tc\td\n", b"a\tb\n\\\\\n\\N\n", b"a\tb\t\\n\n\\n\n", b"a\tb\t\xff\n\\\\\n"]
)
def test_widths_that_are_right_only_in_sum_are_refused(data):
    """Whichever way lines are cut, each is of the right width."""
    with pytest.raises(DecodeError, match="another number of values"):
        rows(data, 2)


@pytest.mark.parametrize("data", [b"a", b"a\nb", b"\\N\t"])
def test_half_a_line_is_refused(data):
    """A block that does not end with a line is never taken for rows."""
    with pytest.raises(DecodeError, match="has no end"):
        rows(data, 1)


def test_rows_without_values():
    """A table without columns has an empty line for each row, and nothing else."""
    assert rows(b"\n\n", 0) == [(), ()]
    with pytest.raises(DecodeError, match="another number of values"):
        rows(b"a\n", 0)
