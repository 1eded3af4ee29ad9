"""Floating-point numbers read as the servers print them, and come back bit by bit."""

import math
import re
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuagent.errors import DecodeError
from fuagent.wire.mysql.numbers import double, doubles, single

# fmt: off
PRINTED = [
    "20", "1.5", "1e20", "1.5e-16", "123456789012345", "999999999999999", "1e15", "0.1", "100", "1e16",
    "0.00001", "5e-324", "1.7976931348623157e308", "2.2250738585072014e-308", "-0.30000000000000004",
    "-123456.789", "0.00000000000001", "0.000000000000001", "0.000000000000015", "1.2345678901234568e16",
    "-0.000000125", "1234567890123456.8", "9.007199254740992e15", "0.00000000000005684341886080802", "0",
]
# fmt: on
"""What MariaDB 10.11 gave for DOUBLE columns with these numbers."""

NOTATION = re.compile(rb"-?(?:0|[1-9]\d*)(?:\.\d*[1-9])?(?:e-?[1-9]\d*)?")

finite = st.floats(allow_nan=False, allow_infinity=False)
finite32 = st.floats(allow_nan=False, allow_infinity=False, width=32)


@pytest.mark.parametrize("text", PRINTED)
def test_doubles_are_printed_as_the_server_prints_them(text):
    """The number of a recorded text gives that text."""
    assert double(float(text)) == text.encode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [(100000000000000.0, b"100000000000000"), (1e15, b"1e15"), (1.5e15, b"1.5e15"), (-1e15, b"-1e15"), (-0.0, b"-0")],
)
def test_whole_numbers_change_notation_at_fifteen_digits(value, expected):
    """Whole numbers are written out while a double is sure to hold all their digits."""
    assert double(value) == expected


@given(finite)
@example(2.0**-44)
@example(1e22)
@example(123456789012345680.0)
def test_doubles_come_back(value):
    """The text gives the same double, in notation that is JSON too."""
    text = double(value)

    assert NOTATION.fullmatch(text)
    assert struct.pack("<d", float(text)) == struct.pack("<d", value)


@given(st.lists(finite | st.integers(-(10**17), 10**17).map(float)))
@example([20.0])
@example([0.5, 1.25])
@example([999999999999999.0, 0.5, -0.0])
@example([1e15, 0.5])
@example([-1e15, 2.0])
@example([1e20, 0.00001])
def test_many_doubles(values):
    """Together they are written as each by itself."""
    assert doubles(values) == [double(value) for value in values]


def test_many_doubles_with_one_that_is_none():
    """It is found among others."""
    with pytest.raises(DecodeError, match="not a number"):
        doubles([1.5, math.nan])


@given(finite)
def test_fixed_notation_ends_where_the_server_ends_it(value):
    """An exponent stands exactly where the point lies beyond 15 places, behind all digits or before them."""
    text = double(value)
    exponent = math.floor(math.log10(abs(float(text)))) if value else 0

    if exponent < -16 or exponent > 17:
        assert b"e" in text
    elif -14 <= exponent < 14:
        assert b"e" not in text


@given(finite32)
@example(struct.unpack("<f", bytes.fromhex("ffff7f7f"))[0])
@example(2.0**-149)
@example(2.0**-126)
def test_floats_come_back_from_the_fewest_digits(value):
    """The text gives the same 32 bits, and no text with a digit less would."""
    text = single(value)
    digits = len(text.partition(b"e")[0].replace(b".", b"").strip(b"-0"))

    assert NOTATION.fullmatch(text)
    assert struct.pack("<f", float(text)) == struct.pack("<f", value)
    if digits > 1:
        assert struct.pack("<f", float(f"{value:.{digits - 2}e}")) != struct.pack("<f", value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.1, b"0.1"),
        (struct.unpack("<f", struct.pack("<f", 0.1))[0], b"0.1"),
        (16777216.0, b"16777216"),
        (2.0**-149, b"1e-45"),
        (3.4028234663852886e38, b"3.4028235e38"),
        (2.0**-96, b"1.2621775e-29"),
        (-(2.0**87), b"-1.5474251e26"),
        (2.0**90, b"1.2379401e27"),
        (-0.0, b"-0"),
    ],
)
def test_floats_in_the_notation_of_doubles(value, expected):
    """Single precision has the shortest digits, also where those nearest to the number are longer."""
    assert single(value) == expected


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("written", [double, single])
def test_what_is_no_number_is_refused(written, value):
    """No column holds infinities or NaN."""
    with pytest.raises(DecodeError, match="not a number"):
        written(value)


def test_a_float_beyond_its_range_is_refused():
    """A double that no 32-bit float holds cannot have come from a FLOAT."""
    with pytest.raises(DecodeError, match="range"):
        single(1e300)
