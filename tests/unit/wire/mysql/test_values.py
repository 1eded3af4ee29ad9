"""A value of each type becomes its piece, and bytes that no server writes become DecodeError."""

import base64
import datetime as dt
import decimal
import ipaddress
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.errors import DecodeError
from fuagent.wire.mysql import decimals, images, temporal, values
from fuagent.wire.mysql import tablemap as t
from fuagent.wire.mysql.cached import Cached
from fuagent.wire.mysql.tablemap import ImageColumn

LATIN1, UTF8 = 8, 45


def column(type, meta=0, **more):
    return ImageColumn(type, meta, **more)


def read(what, data):
    """The piece of a value, alone in its image."""
    image = b"\xfe" + data
    ((piece,),) = images.compile_reader([what], b"\x01")(image, 0, len(image))
    return piece


def refused(what, data=b""):
    """The sentence in which it is refused."""
    with pytest.raises(DecodeError) as caught:
        read(what, data)
    return str(caught.value)


INTEGERS = {t.TINY: 1, t.SHORT: 2, t.INT24: 3, t.LONG: 4, t.LONGLONG: 8}


@pytest.mark.parametrize("type", INTEGERS)
@pytest.mark.parametrize("unsigned", [False, True])
@given(data=st.data())
def test_integers(type, unsigned, data):
    """Every width, with a sign and without."""
    bits = 8 * INTEGERS[type]
    least, most = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    number = data.draw(st.sampled_from([least, most, 0]) | st.integers(least, most))

    assert read(column(type, unsigned=unsigned), number.to_bytes(bits // 8, "little", signed=not unsigned)) == number


@pytest.mark.parametrize(
    ("what", "data", "expected"),
    [
        (column(t.YEAR), b"\0", 0),
        (column(t.YEAR), b"\x01", 1901),
        (column(t.YEAR), b"\xff", 2155),
        (column(t.BIT, 1), b"\x01", 1),
        (column(t.BIT, 64), b"\x80" + bytes(7), 1 << 63),
        (column(t.FLOAT), struct.pack("<f", 0.1), b"0.1"),
        (column(t.DOUBLE), struct.pack("<d", 1e20), 1e20),
        (column(t.VARCHAR, 20, collation=UTF8), "\x04Grü".encode(), "Grü".encode()),
        (column(t.VARCHAR, 20, collation=LATIN1), b"\x04Gr\xfc\xdf", "Grüß".encode()),
        (column(t.VARCHAR, 256, collation=UTF8), b"\x02\0ab", b"ab"),
        (column(t.VAR_STRING, 20, collation=UTF8), b"\x02ab", b"ab"),
        (column(t.VARCHAR, 20, collation=63), b"\x02\0\xff", b"AP8="),
        (column(t.STRING, 255, collation=UTF8), b"\x02ab", b"ab"),
        (column(t.STRING, 1020, collation=UTF8), b"\x02\0ab", b"ab"),
        (column(t.STRING, 4, collation=63), b"\x01a", b"YQAAAA=="),
        (column(t.BLOB, 1, collation=UTF8), b"\x01a", b"a"),
        (column(t.BLOB, 2, collation=63), b"\x01\0a", b"YQ=="),
        (column(t.BLOB, 3, collation=UTF8), b"\0\0\x01" + b"a" * 65536, b"a" * 65536),
        (column(t.LONG_BLOB, 4, collation=LATIN1), b"\x01\0\0\0\xe4", "ä".encode()),
        (column(t.BLOB, 4, collation=UTF8, declared="json"), b"\x04\0\0\0null", b"null"),
        (column(t.GEOMETRY, 4), b"\x09\0\0\0" + b"\xe6\x10\0\0" + b"\x01\x01\0\0\0", b"AQEAAAA="),
        (column(t.GEOMETRY, 4), bytes(4), b""),
        (column(t.JSON, 4), b"\x03\0\0\0\x05\x0c\0", b"12"),
        (column(t.JSON, 4), bytes(4), b"null"),
        (column(t.VECTOR, 4), b"\x08\0\0\0" + struct.pack("<2f", 1.1, -1), b"[1.1,-1]"),
        (column(t.VECTOR, 4), bytes(4), b"[]"),
        (column(t.VARCHAR, 8, collation=63, declared="vector"), b"\x04" + struct.pack("<f", 0.5), b"[0.5]"),
        (column(t.ENUM, 1, labels=(b"a", b"b")), b"\x02", b"b"),
        (column(t.ENUM, 2, labels=(b"x",) * 299 + (b"y",)), b"\x2c\x01", b"y"),
        (column(t.ENUM, 1, labels=(b"a",)), b"\0", b""),
        (column(t.SET, 1, labels=(b"a", b"b", b"c")), b"\x05", b"a,c"),
        (column(t.SET, 3, labels=tuple(b"%d" % n for n in range(20))), b"\x01\0\x08", b"0,19"),
        (column(t.SET, 1, labels=(b"a",)), b"\0", b""),
    ],
)
def test_pieces(what, data, expected):
    """Numbers, texts, bytes, labels."""
    piece = read(what, data)

    assert (piece, type(piece)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("what", "data", "message"),
    [
        (column(t.LONG), bytes(4), "UNSIGNED is not known"),
        (column(t.VARCHAR, 20), b"\0", "character set"),
        (column(t.VARCHAR, 20, collation=1000), b"\0", "collation 1000"),
        (column(t.DECIMAL), b"", "type 0, which fuagent does not read"),
        (column(t.TYPED_ARRAY), b"", "does not read"),
        (column(t.ENUM, 1), b"\x01", "labels"),
        (column(t.SET, 1), b"\x01", "labels"),
        (column(t.ENUM, 3, labels=(b"a",)), b"", "width"),
        (column(t.SET, 9, labels=(b"a",)), b"", "width"),
        (column(t.BIT, 65), b"", "64 bits"),
        (column(t.BIT, 0), b"", "64 bits"),
        (column(t.BLOB, 5, collation=63), b"", "length of a length"),
        (column(t.NEWDECIMAL, 66 << 8), b"", "no server has"),
        (column(t.NEWDECIMAL, 5 << 8 | 6), b"", "no server has"),
        (column(t.TIME2, 7), b"", "six"),
        (column(t.TIME, 3), b"", "old format of MariaDB"),
        (column(t.ENUM, 1, labels=(b"a",)), b"\x02", "makes no sense"),
        (column(t.NEWDECIMAL, 4 << 8 | 2), b"\x80\x64", "makes no sense"),  # 100 behind the point
        (column(t.SET, 1, labels=(b"a",)), b"\x02", "does not have"),
        (column(t.FLOAT), struct.pack("<f", float("nan")), "not a number"),
        (column(t.VECTOR, 1), b"\x03abc", "whole number of floats"),
        (column(t.STRING, 16, declared="uuid"), b"\x11" + bytes(17), "too long"),
        (column(t.DATE), b"\xff\xff\x7f", "calendar"),
        (column(t.DATE), (2024 << 9 | 13 << 5 | 1).to_bytes(3, "little"), "calendar"),
        (column(t.TIME), (6000).to_bytes(3, "little"), "clock"),
        (column(t.DATETIME), (2024_01_01_24_00_00).to_bytes(8, "little"), "clock"),
        (column(t.DATETIME2), b"\x7f\xff\xff\0\0", "before the year 0"),
        (column(t.DATETIME2), b"\xff\xff\xfe\0\0", "calendar"),
        (column(t.DATETIME2), b"\x99\xb2\xbb\x80\0", "makes no sense"),  # hour 24
        (column(t.DATETIME2), b"\x99\xb2\xba\x0f\0", "makes no sense"),  # minute 60
        (column(t.DATETIME2), b"\x99\xb2\xba\0\x3c", "makes no sense"),  # second 60
        (column(t.DATETIME2, 2), b"\x99\xb2\xba\0\0\x64", "whole one"),
        (column(t.TIME2), b"\x80\x0f\0", "clock"),
    ],
)
def test_what_no_server_writes(what, data, message):
    """It is refused in words, before any row where the column itself cannot be."""
    assert message in refused(what, data)


# ------------------------------------------------------------------ decimals


def sent(number, precision, scale):
    """A decimal as servers write it."""
    digits = str(abs(int(number.scaleb(scale)))).rjust(precision, "0")
    whole, behind = digits[: precision - scale], digits[precision - scale :]
    groups = [whole[: len(whole) % 9], *(whole[i : i + 9] for i in range(len(whole) % 9, len(whole), 9))]
    groups += [behind[i : i + 9] for i in range(0, len(behind), 9)]
    sizes = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
    data = b"".join(int(group).to_bytes(sizes[len(group)]) for group in groups if group)
    if number < 0:
        data = bytes(byte ^ 0xFF for byte in data)
    return bytes([data[0] ^ 0x80]) + data[1:]


@given(st.data(), st.integers(1, 65))
def test_decimals(data, precision):
    """Every precision and scale, to the last digit."""
    scale = data.draw(st.integers(0, min(38, precision)))
    number = data.draw(st.integers(-(10**precision) + 1, 10**precision - 1))
    with decimal.localcontext(prec=70):
        value = decimal.Decimal(number).scaleb(-scale)
        expected = f"{value:.{scale}f}".encode()
        image = sent(value, precision, scale)

    assert decimals.width(precision, scale) == len(image)
    assert read(column(t.NEWDECIMAL, precision << 8 | scale), image) == expected


@pytest.mark.parametrize(
    ("precision", "scale", "data"),
    [
        (4, 2, "e400"),  # 100 before the point, which has two digits
        (4, 2, "1bff"),  # -100
        (9, 0, "ffffffff"),
        (20, 10, "80000000003b9aca0000"),
    ],
)
def test_too_many_digits(precision, scale, data):
    """A group of more digits than it has room for is not a number of a server."""
    assert "too many digits" in refused(column(t.NEWDECIMAL, precision << 8 | scale), bytes.fromhex(data))


# ------------------------------------------------------------------ dates and times


def fraction(microseconds, digits):
    """The bytes of a fraction: two digits in each, the last one of an odd number of digits zero."""
    width = (digits + 1) // 2
    return (microseconds // 10 ** (6 - digits) * 10 ** (2 * width - digits)).to_bytes(width) if width else b""


def cut(text, digits):
    """A time with all six digits, with fewer."""
    return (text[: len(text) - 6 + digits] if digits else text[:-7]).encode()


MOMENTS = st.datetimes()
EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - texts without a zone are compared


@given(MOMENTS, st.integers(0, 6))
def test_datetimes(moment, digits):
    """Any moment with any number of fraction digits."""
    day = (moment.year * 13 + moment.month) << 5 | moment.day
    time = moment.hour << 12 | moment.minute << 6 | moment.second
    data = (1 << 39 | day << 17 | time).to_bytes(5) + fraction(moment.microsecond, digits)

    expected = cut(moment.isoformat(timespec="microseconds"), digits)
    assert read(column(t.DATETIME2, digits), data) == expected


@given(st.integers(0, 2**32 - 1) | st.just(0), st.integers(0, 999_999), st.integers(0, 6))
def test_timestamps(seconds, microseconds, digits):
    """In UTC up to 2106; zeros alone are no time."""
    what = column(t.TIMESTAMP2, digits)
    moment = EPOCH + dt.timedelta(seconds=seconds, microseconds=microseconds)

    expected = cut(moment.isoformat(timespec="microseconds"), digits) + b"Z"
    data = seconds.to_bytes(4) + fraction(microseconds, digits)
    assert read(what, data) == (expected if any(data) else None)


@given(st.integers(-838, 838), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999_999), st.integers(0, 6))
def test_times(hours, minutes, seconds, microseconds, digits):
    """Below zero and beyond a day too, as the server writes them."""
    part = 10 ** (6 - digits)
    microseconds = microseconds // part * part
    width = (digits + 1) // 2
    size = (abs(hours) << 12 | minutes << 6 | seconds) << 8 * width | int.from_bytes(fraction(microseconds, digits))
    data = ((0x800000 << 8 * width) + (-size if hours < 0 else size)).to_bytes(3 + width)

    text = f"{'-' if hours < 0 else ''}{abs(hours):02}:{minutes:02}:{seconds:02}.{microseconds:06}"
    assert read(column(t.TIME2, digits), data) == cut(text, digits)


@pytest.mark.parametrize(
    ("what", "data", "expected"),
    [
        (column(t.DATE), (2024 << 9 | 2 << 5 | 29).to_bytes(3, "little"), b"2024-02-29"),
        (column(t.NEWDATE), (9999 << 9 | 12 << 5 | 31).to_bytes(3, "little"), b"9999-12-31"),
        (column(t.DATE), (2024 << 9).to_bytes(3, "little"), b"2024-00-00"),
        (column(t.DATE), bytes(3), None),
        (column(t.DATETIME2), b"\x80\0\0\0\0", None),
        (column(t.DATETIME2, 1), b"\x80\0\0\0\0\0", None),
        (column(t.DATETIME2, 6), b"\x80\0\0\0\0\0\0\0", None),
        (column(t.DATETIME2, 2), b"\x80\0\0\0\0\x01", b"0000-00-00 00:00:00.01"),
        (column(t.DATETIME2), b"\x80\0\0\x10\x01", b"0000-00-00 01:00:01"),
        (column(t.DATETIME2), b"\x80\0\x01\0\x01", b"0000-00-00 16:00:01"),
        (column(t.DATETIME2, 3), b"\x99\xb2\x80\0\0\x13\x88", b"2024-02-00 00:00:00.500"),
        (column(t.TIME), (125958).to_bytes(3, "little"), b"12:59:58"),
        (column(t.TIME), (-8385959).to_bytes(3, "little", signed=True), b"-838:59:59"),
        (column(t.DATETIME), (2024_02_29_12_34_56).to_bytes(8, "little"), b"2024-02-29T12:34:56"),
        (column(t.DATETIME), (2024_00_29_12_34_56).to_bytes(8, "little"), b"2024-00-29 12:34:56"),
        (column(t.DATETIME), bytes(8), None),
        (column(t.TIMESTAMP), (951827696).to_bytes(4, "little"), b"2000-02-29T12:34:56Z"),
        (column(t.TIMESTAMP), bytes(4), None),
    ],
)
def test_dates_with_zeros_and_old_formats(what, data, expected):
    """Zeros for a month or a day stay as the server writes them; zeros alone are no date."""
    assert read(what, data) == expected


@given(
    st.binary(min_size=8, max_size=8), st.sampled_from([t.DATE, t.DATETIME2, t.TIMESTAMP2, t.TIME2]), st.integers(0, 6)
)
def test_any_bytes_of_a_time(data, type, digits):
    """A text of digits, or DecodeError."""
    what = column(type, 0 if type == t.DATE else digits)
    width = {t.DATE: 3, t.DATETIME2: 5, t.TIMESTAMP2: 4, t.TIME2: 3}[type] + (what.meta + 1) // 2
    try:
        piece = read(what, data[:width])
    except DecodeError:
        return

    assert piece is None or piece.translate(None, b"0123456789") in {
        *(b"--", b"--T::", b"-- ::", b"--T::.", b"-- ::.", b"--T::Z", b"--T::.Z", b"::", b"-::", b"::.", b"-::."),
    }


def test_a_cache_has_an_end():
    """It starts anew when it is full, and still gives the right value."""
    made = []
    squares = Cached(lambda number: made.append(number) or number * number, most=10)

    assert [squares[n % 11] for n in range(22)] == [(n % 11) ** 2 for n in range(22)]
    assert len(squares) <= 10
    assert [squares[n] for n in (9, 9, 9)] == [81] * 3
    assert made.count(9) <= 3
    assert temporal.dates[b"\x5d\xd0\x0f"] is temporal.dates[b"\x5d\xd0\x0f"]


# ------------------------------------------------------------------ MariaDB's own


def compressed(data, *, wrapped=False, method=8, width=2, size=None):
    """A value of a compressed column."""
    engine = zlib.compressobj(wbits=zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS)
    head = method << 4 | (0 if wrapped else 8) | width
    length = (len(data) if size is None else size).to_bytes(width)
    return bytes([head]) + length + engine.compress(data) + engine.flush()


@given(st.binary(min_size=1, max_size=300), st.booleans(), st.integers(2, 4))
def test_compressed_values(data, wrapped, width):
    """Compressed with zlib's header and without, or as it is."""
    assert values.uncompressed(compressed(data, wrapped=wrapped, width=width)) == data
    assert values.uncompressed(b"\0" + data) == data
    assert values.uncompressed(b"") == b""


def test_compressed_columns():
    """Texts in their character set, and bytes."""
    text = compressed("Grüße".encode("latin-1"))
    length = bytes([len(text), 0])

    assert read(column(t.BLOB_COMPRESSED, 2, collation=LATIN1), length + text) == "Grüße".encode()
    assert read(column(t.BLOB_COMPRESSED, 2, collation=UTF8), b"\x02\0\0a") == b"a"
    assert read(column(t.VARCHAR_COMPRESSED, 300, collation=63), b"\x02\0\0a") == b"YQ=="
    assert read(column(t.VARCHAR_COMPRESSED, 101, collation=UTF8), b"\x00") == b""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (compressed(b"abc", method=7), "header"),
        (b"\x88abc", "header"),
        (b"\x8a\0", "header"),
        (compressed(b"abc", size=0), "header"),
        (compressed(b"abc", width=4, size=(1 << 30) + 1), "header"),
        (compressed(b"abc", size=2), "length"),
        (compressed(b"abc", size=4), "length"),
        (compressed(b"abc" * 100)[:-3], "length"),
        (b"\x89\x03\xff\xff\xff", "damaged"),
    ],
)
def test_damaged_compressed_values(data, message):
    """Other methods, lengths that do not hold, and what zlib refuses."""
    with pytest.raises(DecodeError, match=message):
        values.uncompressed(data)


@given(st.binary(max_size=40))
def test_any_bytes_compressed(data):
    """A value or DecodeError."""
    try:
        assert isinstance(values.uncompressed(data), bytes)
    except DecodeError as error:
        assert "compressed value" in error.what


def string(width, declared):
    return column(t.STRING, width, collation=63, declared=declared)


@given(st.uuids(), st.integers(0, 2**32 - 1))
def test_uuids_and_addresses(uuid, number):
    """As text; row images leave out zero bytes at the end."""
    bare = uuid.bytes.rstrip(b"\0")
    address = ipaddress.IPv4Address(number)
    short = address.packed.rstrip(b"\0")

    assert read(string(16, "uuid"), bytes([len(bare)]) + bare) == str(uuid).encode()
    assert read(string(4, "inet4"), bytes([len(short)]) + short) == str(address).encode()


@pytest.mark.parametrize(
    "text",
    [
        *("::", "::1", "::102", "::ffff", "::0.1.0.0", "::0.1.0.2", "::1.2.3.4", "::ffff:0.0.0.0", "::ffff:192.0.2.1"),
        *("::fffe:102:304", "::1:0:0", "1::", "1:0:0:2::3", "1::2:3:4:5:6:7", "1::2:3:0:0:4", "::1:2:3:4:5:6:0"),
        *("::2:3:4:5:6:7", "2001:db8::ff00:42:8329", "1:2:3:4:5:6:7:8", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ],
)
def test_internet_addresses(text):
    """Letter by letter as MariaDB 10.11 writes these; a single group of zeros is left out too."""
    packed = ipaddress.IPv6Address(text).packed.rstrip(b"\0")

    assert read(string(16, "inet6"), bytes([len(packed)]) + packed) == text.encode()


@given(st.integers(0, 2**128 - 1) | st.lists(st.sampled_from([0, 1, 0xFFFF]), min_size=8, max_size=8))
def test_any_internet_address(given_one):
    """Whatever is left out, it is the same address."""
    packed = struct.pack(">8H", *given_one) if isinstance(given_one, list) else given_one.to_bytes(16)

    assert ipaddress.IPv6Address(values.inet6(packed).decode()).packed == packed


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=20))
def test_vectors(floats):
    """A JSON array of the same 32-bit numbers."""
    packed = struct.pack(f"<{len(floats)}f", *floats)
    text = values.vector(packed)

    assert struct.pack(f"<{len(floats)}f", *map(float, text[1:-1].split(b",") if floats else ())) == packed


@given(st.binary(max_size=50))
def test_bytes_as_base64(data):
    """Binary data comes back whole."""
    assert base64.b64decode(values.base64(data)) == data
