"""Dates and times of row images as text.

Three generations of formats are met: DATE, which never changed; TIME, DATETIME and TIMESTAMP
as decimal numbers, little-endian (MySQL before 5.6, and tables kept from then); and the same three
with fractions, packed into bits, big-endian, with the fraction's two digits per byte behind
(MySQL from 5.6, MariaDB from 10.1). Sources: ``sql-common/my_time.c`` and ``Field_newdate`` of
the servers.

Months and days may be 00 and a TIME may be negative or longer than a day. These have no form in
ISO 8601 and are written as the server does; a date of zeros alone is no date: None.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date as calendar
from functools import cache

from fuagent.errors import DecodeError
from fuagent.wire.mysql.cached import Cached

_integer = int.from_bytes
_EPOCH = calendar(1970, 1, 1).toordinal()


def _ymd(year: int, month: int, day: int) -> bytes:
    if year > 9999 or month > 12 or day > 31:
        raise DecodeError("A row image holds a date that no calendar has.")
    return b"%04d-%02d-%02d" % (year, month, day)


def _hms(hour: int, minute: int, second: int) -> bytes:
    if minute > 59 or second > 59:
        raise DecodeError("A row image holds a time that no clock shows.")
    return b"%02d:%02d:%02d" % (hour, minute, second)


def _of_day(hour: int, minute: int, second: int) -> bytes:
    if hour > 23:
        raise DecodeError("A row image holds a time that no clock shows.")
    return _hms(hour, minute, second)


# ------------------------------------------------------------------ DATE


def _date(data: bytes) -> bytes | None:
    """Three bytes, little-endian: five bits for the day, four for the month, the rest for the year."""
    packed = _integer(data, "little")
    return _ymd(packed >> 9, packed >> 5 & 15, packed & 31) if packed else None


dates = Cached(_date)
"""The three bytes of a DATE → its text."""


# ------------------------------------------------------------------ DATETIME with fractions


Clock = Cached[int, dict[int, bytes]]
"""The last two bytes of a DATETIME, one after the other → the time of day; a KeyError for none."""

Half = tuple[bytes, Clock]


def _clock(first: int) -> Clock:
    """The clock from an hour on: the hour's first bit of five stands in the byte before.

    The other four and the first four of the minute's six bits are one byte, two more and six of the second the next.
    """

    def texts(packed: int) -> dict[int, bytes]:
        hour, minute = first + (packed >> 4), (packed & 15) << 2
        return {
            late << 6 | second: b"%02d:%02d:%02d" % (hour, minute + late, second)
            for late in range(4)
            for second in range(60)
            if hour < 24 and minute + late < 60
        }

    return Cached(texts)


_clocks = (_clock(0), _clock(16))


def _half(data: bytes) -> Half | tuple[()]:
    """A sign, 17 bits for year * 13 + month, 5 for the day, and the first of 5 for the hour."""
    packed = _integer(data) - 0x800000
    if packed < 0:
        raise DecodeError("A row image holds a DATETIME before the year 0.")
    if not packed:
        return ()
    year, month = divmod(packed >> 6, 13)
    day = packed >> 1 & 31
    return _ymd(year, month, day) + (b"T" if month and day else b" "), _clocks[packed & 1]


halves = Cached(_half)
"""The first three bytes of a DATETIME → its date, ready for a time to follow, and the clock for the last two bytes.

An empty tuple for a date of zeros with an hour below 16: see :func:`dateless`.
"""


def dateless(first: int, second: int, fraction: bytes = b"") -> bytes | None:
    """A DATETIME whose date is zeros, from its last two bytes; None where its time is zeros too."""
    text = _clocks[0][first][second] + fraction
    return b"0000-00-00 " + text if text.strip(b"0:.") else None


# ------------------------------------------------------------------ TIMESTAMP


def _day(days: int) -> bytes:
    # Four bytes of seconds end in 2106.
    return calendar.fromordinal(_EPOCH + days).isoformat().encode() + b"T"


def _second(seconds: int) -> bytes:
    return _of_day(seconds // 3600, seconds // 60 % 60, seconds % 60)


def _second_utc(seconds: int) -> bytes:
    return _second(seconds) + b"Z"


days = Cached(_day)
"""Days since 1970 → the date, ready for a time to follow."""

seconds = Cached(_second)
"""Seconds since midnight → the time of day."""

seconds_utc = Cached(_second_utc)
"""The same where no fraction follows."""


# ------------------------------------------------------------------ fractions


def fraction_width(digits: int) -> int:
    """The bytes of a fraction of so many digits.

    Raises:
        DecodeError: There are at most six.
    """
    if digits > 6:
        raise DecodeError("The table map names a time with more than six fraction digits.")
    return (digits + 1) // 2


@cache
def fractions(digits: int, end: bytes = b"") -> Callable[[bytes], bytes]:
    """What turns the bytes of a fraction into a point, ``digits`` digits and ``end``."""
    text = f".%0{digits}d".encode() + end
    most = 100 ** fraction_width(digits)
    step = 10 if digits % 2 else 1

    def fraction(data: bytes) -> bytes:
        value = _integer(data)
        if value >= most:
            raise DecodeError("A row image holds a fraction of a second that is a whole one.")
        return text % (value // step)

    return fraction


@cache
def kept_fractions(digits: int, end: bytes = b"") -> Cached[bytes, bytes]:
    """The same kept, where there are few: up to four digits."""
    return Cached(fractions(digits, end))


# ------------------------------------------------------------------ TIME with fractions


@cache
def kept_times(digits: int) -> Cached[bytes, bytes]:
    """The bytes of a TIME(digits) → its text."""
    return Cached(times(digits), most=20_000)


def times(digits: int) -> Callable[[bytes], bytes]:
    """What turns the bytes of a TIME(digits) into its text: an offset number, hours, minutes and seconds in its bits."""
    width = fraction_width(digits)
    zero = 0x800000 << 8 * width
    fraction = fractions(digits) if digits else None

    def time(data: bytes) -> bytes:
        value = _integer(data) - zero
        size, sign = (value, b"") if value >= 0 else (-value, b"-")
        whole = size >> 8 * width
        text = sign + _hms(whole >> 12, whole >> 6 & 63, whole & 63)
        if fraction is None:
            return text
        return text + fraction((size & (1 << 8 * width) - 1).to_bytes(width))

    return time


# ------------------------------------------------------------------ the formats before MySQL 5.6


def old_time(data: bytes) -> bytes:
    """Three bytes, the decimal number hhmmss with a sign."""
    value = _integer(data, "little", signed=True)
    size = abs(value)
    return (b"-" if value < 0 else b"") + _hms(size // 10000, size // 100 % 100, size % 100)


def old_datetime(value: int) -> bytes | None:
    """The decimal number YYYYMMDDhhmmss."""
    if not value:
        return None
    day, time = divmod(value, 1_000_000)
    month, number = day // 100 % 100, day % 100
    text = _ymd(day // 10000, month, number)
    return text + (b"T" if month and number else b" ") + _of_day(time // 10000, time // 100 % 100, time % 100)


def old_timestamp(value: int) -> bytes | None:
    """Seconds since 1970, 0 for no time."""
    return days[value // 86400] + seconds_utc[value % 86400] if value else None
