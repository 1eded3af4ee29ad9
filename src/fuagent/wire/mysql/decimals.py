"""DECIMAL values of row images as text.

The digits before and behind the point are cut into groups of nine, starting at the point.
A whole group takes four bytes, what is left over at either end as many as its digits need.
All of it is big-endian; the first bit is set for numbers from zero on, and the bytes of
negative ones are inverted. Source: ``decimal2bin`` in the servers' ``strings/decimal.c``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from fuagent.errors import DecodeError

_GROUP = 9
_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
"""Digits of a group → bytes it takes."""

PRECISION_MAX = 65
SCALE_MAX = 38
"""MySQL goes to 30, MariaDB to 38."""


def width(precision: int, scale: int) -> int:
    """The bytes a DECIMAL(precision, scale) takes in a row image.

    Raises:
        DecodeError: No server has such a type.
    """
    if not (0 < precision <= PRECISION_MAX and scale <= min(SCALE_MAX, precision)):
        raise DecodeError(f"The table map names a DECIMAL({precision},{scale}), which no server has.")
    return sum(_BYTES[digits] for digits in _groups(precision, scale))


def decoder(precision: int, scale: int) -> Callable[[bytes], bytes]:
    """What turns the bytes of one value, :func:`width` of them, into its text: ``-0.50``.

    The text has ``scale`` digits behind the point and at least one before it. The function raises
    DecodeError where a group holds more digits than it should.
    """
    places = []
    size = shift = 8 * width(precision, scale)
    for digits in _groups(precision, scale):
        shift -= 8 * _BYTES[digits]
        places.append((shift, (1 << 8 * _BYTES[digits]) - 1, 10**digits))
    sign = 1 << size - 1

    def decode(data: bytes) -> bytes:
        value = int.from_bytes(data)
        minus = not value & sign
        value ^= sign - 1 if minus else sign
        number = 0
        for shift, mask, most in places:
            group = value >> shift & mask
            if group >= most:
                raise DecodeError("A DECIMAL value in a row image has a group of too many digits.")
            number = number * most + group
        text = b"%0*d" % (scale + 1, number)
        if scale:
            text = b"%b.%b" % (text[:-scale], text[-scale:])
        return b"-" + text if minus else text

    return decode


@dataclass(frozen=True, slots=True)
class Short:
    """A type of up to four digits behind the point, where no more than the last group before it is in use.

    The bytes as a number, less ``sign``, are below zero for negative values and from ``most`` on for
    what has more digits, or is none. Otherwise the digits before the point are that number shifted by ``shift`` bits;
    its lowest bits, ``low`` as a mask, have a text in ``behind``, an IndexError where they are no digits.
    """

    sign: int
    most: int
    shift: int
    low: int
    behind: tuple[bytes, ...]


@cache
def short(precision: int, scale: int) -> Short | None:
    """How to read such a type; None for any other."""
    left = precision - scale
    if not (0 < scale <= 4 and left > 0):
        return None
    shift = 8 * _BYTES[scale]
    return Short(
        sign=1 << 8 * width(precision, scale) - 1,
        most=10 ** min(left, _GROUP) << shift,
        shift=shift,
        low=(1 << shift) - 1,
        behind=tuple(f".{number:0{scale}d}".encode() for number in range(10**scale)),
    )


def _groups(precision: int, scale: int) -> tuple[int, ...]:
    """The digits of each group in order: 13 before and 2 behind the point are (4, 9, 2)."""
    whole, left = divmod(precision - scale, _GROUP)
    behind, right = divmod(scale, _GROUP)
    return tuple(digits for digits in (left, *[_GROUP] * (whole + behind), right) if digits)
