# ruff: noqa: RUF001 - tables of characters hold many that look like others
"""Text of every character set of MySQL and MariaDB, to UTF-8.

The servers name an order (a collation) by number; each belongs to one character set. What
has no character the servers write as ``?``, and so is done here: one for a character that is
well-formed and means nothing, one for each byte that is part of none, which no server stores.

Python's codecs do the work where they say what the servers say; where they differ, the
differences stand here. All of it was compared with MariaDB 10.11, for every sequence of one
and two bytes and every one of three that the Japanese sets have; gb18030, which only MySQL
has, with the rules in ``strings/ctype-gb18030.cc``. MariaDB's collations are those of its
``information_schema``, MySQL's those of its manual.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import TypeAlias

from fuagent.errors import DecodeError

Decoder: TypeAlias = Callable[[bytes], bytes]


def decoder(collation: int) -> Decoder | None:
    """What turns text of a collation into UTF-8; None where it is UTF-8 already.

    Raises:
        DecodeError: No such collation, or 63, ``binary``, whose bytes are no text.
    """
    return by_name(charset_of(collation))


def charset_of(collation: int) -> str:
    """The character set of a collation, ``latin1``; ``binary`` for 63.

    Raises:
        DecodeError: Neither server has such a collation.
    """
    if collation in _CHARSETS:
        return _CHARSETS[collation]
    # MariaDB adds 1024 for orders in which spaces at the end count; from 2048 on each
    # Unicode set has 256 numbers for the orders of Unicode 14.
    if 1024 < collation < 2048 and collation - 1024 in _CHARSETS:
        return _CHARSETS[collation - 1024]
    block = (collation - 2048) // 256
    if 0 <= block < len(_BLOCKS):
        return _BLOCKS[block]
    raise DecodeError(f"The source uses collation {collation}, which fuagent does not know.")


def collation_of(charset: str) -> int | None:
    """The number of one of a character set's collations, or None for a set that neither server has."""
    found = _COLLATIONS.get("utf8mb3" if charset == "utf8" else charset)
    return None if found is None else next(_numbers(found))


@lru_cache(maxsize=64)
def by_name(charset: str) -> Decoder | None:
    """What turns text of a character set into UTF-8; None where it is UTF-8 already.

    Args:
        charset: Its name in ``information_schema``, ``latin1``; ``utf8`` is ``utf8mb3``.

    Raises:
        DecodeError: No such character set, or ``binary``, whose bytes are no text.
    """
    if charset in _UTF8:
        return None
    if charset in _WHOLE:
        return partial(_from_unicode, _WHOLE[charset])
    if charset in _SINGLE:
        return _single(*_SINGLE[charset])
    if charset in _MULTI:
        return _Multi(*_MULTI[charset]).decode
    raise DecodeError(f"The source uses the character set {charset}, which is no text or which fuagent does not know.")


_UTF8 = {"utf8", "utf8mb3", "utf8mb4", "ascii"}

_BLOCKS = ("utf8mb3", "utf8mb4", "ucs2", "utf16", "utf32")

_COLLATIONS = {
    "big5": "1 84",
    "latin2": "2 9 21 27 77",
    "dec8": "3 69",
    "cp850": "4 80",
    "latin1": "5 8 15 31 47-49 94",
    "hp8": "6 72",
    "koi8r": "7 74",
    "swe7": "10 82",
    "ascii": "11 65",
    "ujis": "12 91",
    "sjis": "13 88",
    "cp1251": "14 23 50-52",
    "hebrew": "16 71",
    "tis620": "18 89",
    "euckr": "19 85",
    "latin7": "20 41 42 79",
    "koi8u": "22 75",
    "gb2312": "24 86",
    "greek": "25 70",
    "cp1250": "26 34 44 66 99",
    "gbk": "28 87",
    "cp1257": "29 58 59",
    "latin5": "30 78",
    "armscii8": "32 64",
    "utf8mb3": "33 76 83 192-215 223 576-607",
    "ucs2": "35 90 128-151 159 640-671",
    "cp866": "36 68",
    "keybcs2": "37 73",
    "macce": "38 43",
    "macroman": "39 53",
    "cp852": "40 81",
    "utf8mb4": "45 46 224-247 255-323 608-639",
    "utf16": "54 55 101-124 672-703",
    "utf16le": "56 62",
    "cp1256": "57 67",
    "utf32": "60 61 160-183 736-767",
    "binary": "63",
    "geostd8": "92 93",
    "cp932": "95 96",
    "eucjpms": "97 98",
    "gb18030": "248-250",
}
"""Character set → its collations below 1024: numbers and ranges of them."""


def _numbers(ranges: str) -> Iterator[int]:
    for part in ranges.split():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


_CHARSETS = {number: charset for charset, ranges in _COLLATIONS.items() for number in _numbers(ranges)}


# Unicode in wide units. A pair of surrogates in ucs2 is read as the character it stands for.
_WHOLE = {"ucs2": "utf-16-be", "utf16": "utf-16-be", "utf16le": "utf-16-le", "utf32": "utf-32-be"}


def _question(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "?" * (error.end - error.start), error.end


_QUESTION = "fuagent.question"
codecs.register_error(_QUESTION, _question)


def _from_unicode(codec: str, data: bytes) -> bytes:
    return data.decode(codec, _QUESTION).encode()


def _from(start: int, characters: str) -> dict[int, str]:
    return dict(enumerate(characters, start))


_SINGLE: dict[str, tuple[str, dict[int, str]]] = {
    "armscii8": (
        "latin-1",
        _from(
            0xA0,
            "\xa0❁§։)(»«—.՝,-՟…՜՛՞ԱաԲբԳգԴդԵեԶզԷէԸըԹթԺժԻիԼլԽխԾծԿկՀհՁձՂղՃճՄմՅյՆնՇշՈոՉչՊպՋջՌռՍսՎվՏտՐրՑցՒւՓփՔքՕօՖֆ’'",
        ),
    ),
    "cp1250": ("cp1250", {}),
    "cp1251": ("cp1251", {}),
    # Without the letters for Urdu that Windows added.
    "cp1256": ("cp1256", dict.fromkeys((0x8A, 0x8F, 0x98, 0x9A, 0x9F, 0xAA, 0xC0, 0xFF), "?")),
    "cp1257": ("cp1257", {}),
    "cp850": ("cp850", {}),
    "cp852": ("cp852", {}),
    "cp866": ("cp866", _from(0xFC, "ⁿ²")),
    "dec8": (
        "latin-1",
        {
            **dict.fromkeys((0xA4, 0xA6, *range(0xAC, 0xB0), 0xB4, 0xB8, 0xBE, 0xD0, 0xDE, 0xF0, 0xFE, 0xFF), "?"),
            0xA8: "¤",
            0xD7: "Œ",
            0xDD: "Ÿ",
            0xF7: "œ",
            0xFD: "ÿ",
        },
    ),
    "geostd8": (
        "latin-1",
        _from(
            0x80,
            "€?‚?„…†‡?‰?‹?????‘’“”•–—???›????"
            "\xa0¡¢£¤¥¦§¨©ª«¬\xad®¯°±²³´µ¶·¸¹º»¼½¾¿"
            "აბგდევზჱთიკლმნჲოპჟრსტჳუფქღყშჩცძწ"
            "ჭხჴჯჰჵ???????????????????????№??",
        ),
    ),
    "greek": ("iso8859-7", {0xA1: "ʽ", 0xA2: "ʼ", 0xA4: "?", 0xA5: "?", 0xAA: "?"}),
    "hebrew": ("iso8859-8", {0xAF: "‾"}),
    "hp8": ("hp-roman8", {}),
    "keybcs2": (
        "latin-1",
        _from(
            0x80,
            "ČüéďäĎŤčěĚĹÍľĺÄÁÉžŽôöÓůÚýÖÜŠĽÝŘť"
            "áíóúňŇŮÔšřŕŔ¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐"
            "└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀"
            "αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\xa0",
        ),
    ),
    "koi8r": ("koi8-r", {}),
    "koi8u": ("koi8-u", {0x95: "•"}),
    # Windows-1252, and the five bytes it leaves open as control characters.
    "latin1": ("cp1252", {code: chr(code) for code in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}),
    "latin2": ("iso8859-2", {}),
    "latin5": ("iso8859-9", {}),
    "latin7": ("iso8859-13", {}),
    "macce": ("mac-latin2", {}),
    "macroman": ("mac-roman", {}),
    "swe7": ("ascii", {0x40: "É", 0x60: "é", **_from(0x5B, "ÄÖÅÜ"), **_from(0x7B, "äöåü?")}),
    # The servers have U+FFFD where Thai has nothing.
    "tis620": ("iso8859-11", dict.fromkeys((0xA0, *range(0xDB, 0xDF), *range(0xFC, 0x100)), "\ufffd")),
}
"""One byte per character: the codec, and where the servers differ from it."""


def _single(codec: str, changes: dict[int, str]) -> Decoder:
    table = dict(enumerate(bytes(range(256)).decode(codec, _QUESTION))) | changes
    return partial(_from_table, "".join(table.values()))


def _from_table(table: str, data: bytes) -> bytes:
    return codecs.charmap_decode(data, "strict", table)[0].encode()


class _Multi:
    """A set of one to four bytes per character, whose first 128 are those of ASCII."""

    def __init__(self, codec: str, shape: bytes, changes: Callable[[], dict[bytes, str]]) -> None:
        self._codec = codec
        self._token = re.compile(b"%b|[\\x00-\\xff]" % shape)
        self._changes = changes()
        wrong = {self._plain(token) for token, character in self._changes.items() if self._plain(token) != character}
        self._doubtful = wrong - {"?"}

    def decode(self, data: bytes) -> bytes:
        """By the codec where it says what the server does, else character by character."""
        if data.isascii():
            return data
        try:
            text = data.decode(self._codec)
        except UnicodeDecodeError:
            text = None
        # A character that the codec gives where the servers do not may have come from elsewhere.
        if text is None or not self._doubtful.isdisjoint(text):
            text = "".join([self._one(token) for token in self._token.findall(data)])
        return text.encode()

    def _one(self, token: bytes) -> str:
        return self._changes.get(token) or self._plain(token)

    def _plain(self, token: bytes) -> str:
        """What the codec says; a question mark where it says nothing."""
        try:
            return token.decode(self._codec)
        except UnicodeDecodeError:
            return "?"


def _big5() -> dict[bytes, str]:
    blank = (b"\xa1\x5a", b"\xa1\xc3", b"\xa1\xc5", b"\xa1\xfe", b"\xa2\x40", b"\xa2\xcc", b"\xa2\xce")
    eten = {bytes((0xF9, low)): character for low, character in enumerate("碁銹裏墻恒粧嫺", 0xD6)}
    return dict.fromkeys(blank, "\ufffd") | eten


def _cp932() -> dict[bytes, str]:
    return dict.fromkeys((b"\x80", b"\xa0", b"\xfd", b"\xfe", b"\xff"), "?")


_CELLS = range(0xA1, 0xFF)


def _private(prefix: bytes, first: int) -> dict[bytes, str]:
    """The ten rows of characters that users define, in the private area of Unicode."""
    tokens = [prefix + bytes((row, cell)) for row in range(0xF5, 0xFF) for cell in _CELLS]
    return {token: chr(code) for code, token in enumerate(tokens, first)}


def _ujis() -> dict[bytes, str]:
    return {b"\xa1\xc0": "\\"} | _private(b"", 0xE000) | _private(b"\x8f", 0xE3AC)


def _eucjpms() -> dict[bytes, str]:
    """Windows' set in the form of EUC, where Windows' own codec says what a character is."""
    changes = {bytes((row, cell)): _windows(row - 0xA1, cell - 0xA1) for row in range(0xA1, 0xF5) for cell in _CELLS}
    # IBM's characters that the JIS standards lack, in IBM's order, from 8FF3F3 on.
    ibm = b"".join(bytes((row, cell)) for row in (0xFA, 0xFB, 0xFC) for cell in range(0x40, 0xFD) if cell != 0x7F)
    extra = [character for character in ibm[: 2 * 388].decode("cp932") if _is_extra(character)]
    places = [b"\x8f" + bytes((row, cell)) for row in (0xF3, 0xF4) for cell in _CELLS]
    changes |= dict(zip(places[-len(extra) :], extra, strict=True))
    changes |= {b"\x8f\xa2\xb7": "～", b"\x8f\xa2\xc3": "￤"}
    return changes | _private(b"", 0xE000) | _private(b"\x8f", 0xE3AC)


def _windows(row: int, cell: int) -> str:
    """The character that stands in a row and cell of JIS X 0208, as Windows reads Shift-JIS."""
    lead = row // 2 + (0x81 if row < 62 else 0xC1)
    trail = cell + (0x9F if row % 2 else 0x40 if cell < 63 else 0x41)
    return bytes((lead, trail)).decode("cp932", _QUESTION)[0]


def _is_extra(character: str) -> bool:
    try:
        character.encode("euc-jp")
    except UnicodeEncodeError:
        return character not in "￢￤"
    return character == "№"


def _gb18030() -> dict[bytes, str]:
    """MySQL has the edition of 2005; Python's differs from it, by version."""
    changes = {b"\xa8\xbc": "\u1e3f", b"\x81\x35\xf4\x37": "\ue7c7"}
    vertical = [b"\xa6" + bytes((low,)) for low in (*range(0xD9, 0xE0), 0xEC, 0xED, 0xF3)]
    changes |= {token: chr(code) for code, token in enumerate(vertical, 0xE78D)}
    parts = zip(
        (0x59, 0x61, 0x66, 0x67, 0x6D, 0x7E, 0x90, 0xA0),
        "\ue81e\ue826\ue82b\ue82c\ue832\ue843\ue854\ue864",
        strict=True,
    )
    changes |= {bytes((0xFE, low)): character for low, character in parts}
    changes |= {_four(code - 0x656C): chr(code) for code in range(0xFE10, 0xFE1A)}
    return changes | {_four(code - 0x5543): chr(code) for code in range(0x9FB4, 0x9FBC)}


def _four(index: int) -> bytes:
    """The four bytes of a place in the part of GB 18030 that goes in order."""
    index, fourth = divmod(index, 10)
    index, third = divmod(index, 126)
    first, second = divmod(index, 10)
    return bytes((0x81 + first, 0x30 + second, 0x81 + third, 0x30 + fourth))


_EUC = b"\x8e[\xa1-\xdf]|\x8f[\xa1-\xfe]{2}|[\xa1-\xfe]{2}"
_SHIFT = b"[\x81-\x9f\xe0-\xfc][\x40-\x7e\x80-\xfc]"
_GB = b"[\x81-\xfe][\x40-\x7e\x80-\xfe]"

_MULTI: dict[str, tuple[str, bytes, Callable[[], dict[bytes, str]]]] = {
    "big5": ("big5", b"[\xa1-\xf9][\x40-\x7e\xa1-\xfe]", _big5),
    "cp932": ("cp932", _SHIFT, _cp932),
    "eucjpms": ("euc-jp", _EUC, _eucjpms),
    "euckr": ("cp949", b"[\x81-\xfe][\x41-\x5a\x61-\x7a\x81-\xfe]", dict),
    "gb18030": ("gb18030", b"[\x81-\xfe][0-9][\x81-\xfe][0-9]|" + _GB, _gb18030),
    "gb2312": ("gb2312", b"[\xa1-\xf7][\xa1-\xfe]", dict),
    "gbk": ("gbk", _GB, dict),
    "sjis": ("shift-jis", _SHIFT, lambda: {b"\x81\x5f": "\\"}),
    "ujis": ("euc-jp", _EUC, _ujis),
}
"""The codec, how characters of several bytes look, and where the servers differ from the codec."""
