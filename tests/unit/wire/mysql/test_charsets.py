"""Text of every character set becomes the UTF-8 that the server makes of it.

The digests were taken from what MariaDB 10.11 answers for stored bytes.
"""

import hashlib
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.errors import DecodeError
from fuagent.wire.mysql.charsets import by_name, charset_of, collation_of, decoder

SINGLE = {
    "armscii8": "fbc628c566079836",
    "cp1250": "9cc761968c5d2781",
    "cp1251": "0d28315865ad998b",
    "cp1256": "b8e59432781c5ac9",
    "cp1257": "1f40d8f00f4af3a9",
    "cp850": "4e721f6806dbbff2",
    "cp852": "a5798618e5ecfe1b",
    "cp866": "09f6cf466cc129e5",
    "dec8": "2031c2f2913194fb",
    "geostd8": "7b60fecf116b793a",
    "greek": "39e875f97b7e2a6b",
    "hebrew": "313e415089352ed4",
    "hp8": "d59635b01cbb17ce",
    "keybcs2": "d43a8b257b0bfc57",
    "koi8r": "fb0243455e64ef70",
    "koi8u": "1c3ccd793a4335f5",
    "latin1": "cc916e51644a12e8",
    "latin2": "a5871b0f978b840b",
    "latin5": "99a8e5b10c9d2f49",
    "latin7": "4426f6d2f1b025cd",
    "macce": "a3e9390d6e0dd8ac",
    "macroman": "54112bce885d7b1a",
    "swe7": "5c6aa8ecd2caaa04",
    "tis620": "49af1f7364397570",
}
"""One byte per character: SHA-256 of the text of all 256 bytes, its first 16 digits."""

MULTI = {
    "big5": "39dad10d9ccb6270",
    "cp932": "71f9b43eaf0ad95b",
    "eucjpms": "f155374b6a49dddd",
    "euckr": "6ed5f239651a6176",
    "gb2312": "312baea180b5a927",
    "gbk": "23fedaf53b644b59",
    "sjis": "cf959e8829bc3cba",
    "ujis": "c5369490d5b0d215",
}
"""Several: the same of each byte and each pair on a line of its own, of 8F and two from A1 on for Japanese EUC."""

UNICODE = {"ucs2": "utf-16-be", "utf16": "utf-16-be", "utf16le": "utf-16-le", "utf32": "utf-32-be"}

EVERY = sorted({*SINGLE, *MULTI, *UNICODE, "gb18030"})


def digest(pieces):
    return hashlib.sha256(b"".join(pieces)).hexdigest()[:16]


@pytest.mark.parametrize("charset", SINGLE)
def test_every_byte_is_what_the_server_says(charset):
    """Sets of one byte per character agree in all 256."""
    assert digest([by_name(charset)(bytes(range(256)))]) == SINGLE[charset]


@pytest.mark.parametrize("charset", MULTI)
def test_every_pair_is_what_the_server_says(charset):
    """Sets of several bytes agree in every byte and every pair, characters or not."""
    decode = by_name(charset)
    sequences = [
        bytes(pair) for first in range(256) for pair in [(first,), *((first, second) for second in range(256))]
    ]
    if charset in {"ujis", "eucjpms"}:
        sequences += [bytes((0x8F, *pair)) for pair in product(range(0xA1, 0xFF), repeat=2)]

    assert digest([decode(sequence) + b"\n" for sequence in sequences]) == MULTI[charset]


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_wide_unicode(text):
    """Wide Unicode is read as such."""
    for charset, coding in UNICODE.items():
        assert by_name(charset)(text.encode(coding)) == text.encode(), charset


@pytest.mark.parametrize(
    ("charset", "data", "expected"),
    [
        ("utf16", b"\xd8\x00", b"??"),
        ("utf16", b"\x00a\x00", b"a?"),
        ("utf32", b"\x00\x11\x00\x00\x00\x00\x00a", b"????a"),
        ("latin1", b"\x80\x81\xff", "€\x81ÿ".encode()),
        ("swe7", b"[@]", "ÄÉÅ".encode()),
        ("tis620", b"\xa0", "\ufffd".encode()),
        ("sjis", b"\x81\x5f\x5c\xb1", "\\\\ｱ".encode()),
        ("big5", b"\xa4\x51\xa2\xcc\xf9\xd6", "十\ufffd碁".encode()),
        ("eucjpms", b"~\x8f\xa2\xb7\xad\xa1\x8f\xf3\xf3\x8f\xf4\xac", "~\uff5e①\u2170№".encode()),
        ("ujis", b"\xf5\xa1\x8f\xf5\xa1\x8e\xb1", "\ue000\ue3acｱ".encode()),
        ("cp932", b"\x80a\x81", b"?a?"),
        ("gb18030", b"\xa8\xbc\x81\x35\xf4\x37\xa6\xd9\xfe\x59", "\u1e3f\ue7c7\ue78d\ue81e".encode()),
        ("gb18030", b"\x84\x31\x82\x36\x82\x35\x90\x37\x94\x39\xda\x33", "\ufe10\u9fb4💩".encode()),
        ("gb18030", b"\xa2\xe3\xfe\x39\xfe\x39\xff\x81\x30a", "€???0a".encode()),
    ],
)
def test_what_is_special(charset, data, expected):
    """Where the servers go their own way, so does the decoder."""
    assert by_name(charset)(data) == expected


@given(data=st.binary())
def test_any_bytes_become_utf8(data):
    """Bytes that are no text in their set give UTF-8 all the same, of bounded length."""
    for charset in EVERY:
        decoded = by_name(charset)(data)

        assert decoded.decode().encode() == decoded, charset
        assert len(decoded) <= 3 * len(data), charset


@given(data=st.lists(st.binary(max_size=6)))
def test_ascii_between_characters_changes_nothing(data):
    """A line feed, which is part of no character, splits the text as it splits the bytes."""
    for charset in (*SINGLE, *MULTI, "gb18030"):
        decode = by_name(charset)

        assert decode(b"\n".join(data)) == b"\n".join([decode(part) for part in data]), charset


@pytest.mark.parametrize("charset", ["utf8", "utf8mb3", "utf8mb4", "ascii"])
def test_utf8_needs_no_decoder(charset):
    """What is UTF-8 already is left alone."""
    assert by_name(charset) is None


@pytest.mark.parametrize(
    ("collation", "expected"),
    [
        (8, "latin1"),
        (63, "binary"),
        (33, "utf8mb3"),
        (45, "utf8mb4"),
        (255, "utf8mb4"),
        (323, "utf8mb4"),
        (248, "gb18030"),
        (250, "gb18030"),
        (76, "utf8mb3"),
        (1032, "latin1"),
        (1147, "utf16"),
        (2048, "utf8mb3"),
        (2304, "utf8mb4"),
        (2560, "ucs2"),
        (2816, "utf16"),
        (3271, "utf32"),
    ],
)
def test_collations_name_their_character_set(collation, expected):
    """A number of either server leads to the set it orders."""
    assert charset_of(collation) == expected


def test_every_set_has_a_collation():
    """The numbers of both servers lead to each character set, and each has its decoder or is UTF-8 or binary."""
    sets = {charset for charset in map(known, range(1, 324)) if charset}

    assert sets == {*EVERY, "ascii", "binary", "utf8mb3", "utf8mb4"}


def known(number):
    try:
        return charset_of(number)
    except DecodeError:
        return ""


@pytest.mark.parametrize("charset", [*EVERY, "ascii", "utf8mb3", "utf8mb4", "binary"])
def test_a_set_has_a_collation_of_its_own(charset):
    """One number leads to it again."""
    assert charset_of(collation_of(charset)) == charset


def test_sets_of_other_names():
    """``utf8`` is what older servers call utf8mb3; a set that no server has has no collation."""
    assert charset_of(collation_of("utf8")) == "utf8mb3"
    assert collation_of("klingon") is None


def test_a_decoder_by_number():
    """The number of a collation gives the decoder of its set."""
    assert decoder(8)(b"\xe9") == "é".encode()
    assert decoder(45) is None
    assert decoder(13) == by_name("sjis")


@pytest.mark.parametrize("collation", [0, -1, 17, 324, 1024, 1041, 2047, 3328, 65535])
def test_an_unknown_collation_is_named(collation):
    """A number that neither server has stops the sync and says which it is."""
    with pytest.raises(DecodeError, match=f"collation {collation},"):
        decoder(collation)


@pytest.mark.parametrize("charset", ["binary", "klingon"])
def test_what_is_no_text_is_refused(charset):
    """Binary strings have no text, and unknown sets none that can be read."""
    with pytest.raises(DecodeError, match=charset):
        by_name(charset)


def test_binary_by_number():
    """Collation 63 is that of binary strings, which callers treat as bytes."""
    with pytest.raises(DecodeError, match="binary"):
        decoder(63)
