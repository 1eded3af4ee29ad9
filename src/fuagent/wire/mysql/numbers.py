"""Floating-point numbers as text, the way MySQL and MariaDB print a DOUBLE.

Both servers print the fewest digits that give the same number back, which is what
:func:`repr` finds too. Only the notation differs. With ``point`` the place of the decimal
point counted from the first digit (0.5 has 0, 12.5 has 2, 0.05 has -1), the servers write

- fixed notation when ``point`` lies in -14 … 15, or when there are digits behind the point;
- otherwise one digit, the rest behind a point, ``e`` and the exponent without plus or padding.

A whole number carries no ``.0``. Source: ``my_gcvt`` in the servers' ``strings/dtoa.c``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import orjson

from fuagent.errors import DecodeError

_DIGITS = 15
"""Decimal digits a double always holds (DBL_DIG): as far as fixed notation goes on either side."""

_WHOLE = 1e15
"""From here on whole numbers are not in fixed notation."""

_NORMAL = 2.0**-126
"""The smallest 32-bit float with all its bits; below it fewer than six digits may be enough."""

_UNEVEN = {2.0**-96: 1.2621775e-29, 2.0**87: 1.5474251e26, 2.0**90: 1.2379401e27}
"""The three floats whose shortest digits are not those nearest to them.

Below a power of two the floats lie twice as dense as above it, so that of two numbers of
eight digits only the farther one, above, comes back as the same float.
"""

_SINGLE = struct.Struct("<f")


def double(value: float) -> bytes:
    """A DOUBLE as the server prints it: ``20``, ``1.5``, ``1e20``, ``0.00001``, ``-0``.

    Raises:
        DecodeError: The number is not finite, which neither server stores.
    """
    text = repr(value)
    if "e" not in text:
        if text[-2:] != ".0":
            if "n" not in text:
                return text.encode()
            raise DecodeError("A floating-point value is not a number.")
        if len(text) <= _DIGITS + 2:
            return text[:-2].encode()
    return _notation(text)


def doubles(values: Sequence[float]) -> list[bytes]:
    """Many of them, as :func:`double` prints each, in an eighth of the time.

    orjson finds the same digits, and where it writes no exponent it differs by the ``.0`` of whole numbers alone.
    """
    text = orjson.dumps(values)[1:-1] + b","
    if values and b"e" not in text and b"n" not in text:
        if b".0," not in text:
            return text.split(b",")[:-1]
        if min(values) > -_WHOLE and max(values) < _WHOLE:
            return text.replace(b".0,", b",").split(b",")[:-1]
    return [double(value) for value in values]


def single(value: float) -> bytes:
    """A FLOAT as the fewest digits that give the same 32 bits back, in the notation of :func:`double`.

    The servers print six digits and lose the rest, so this is not their own text.

    Args:
        value: The 32-bit number, widened; one between two of them counts as the nearer.

    Raises:
        DecodeError: The number is not finite or fits no 32-bit float.
    """
    try:
        stored = _SINGLE.pack(value)
    except OverflowError as error:
        raise DecodeError("A FLOAT holds a number beyond its range.") from error
    (value,) = _SINGLE.unpack(stored)
    if not math.isfinite(value):
        raise DecodeError("A floating-point value is not a number.")
    if abs(value) in _UNEVEN:
        return double(math.copysign(_UNEVEN[abs(value)], value))
    # Six digits survive the way into a normal float and back, so fewer need not be tried.
    digits = 6 if abs(value) >= _NORMAL else 1
    text = f"{value:.{digits}g}"
    while _SINGLE.pack(float(text)) != stored:
        digits += 1
        text = f"{value:.{digits}g}"
    return double(float(text))


def _notation(text: str) -> bytes:
    """The server's notation for what ``repr`` gave."""
    mantissa, _, exponent = text.partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    sign = "-" if mantissa[0] == "-" else ""
    every = whole + fraction
    leading = len(every) - len(every.lstrip("0"))
    digits = every.strip("0")
    point = len(whole) + int(exponent or 0) - leading
    if -_DIGITS < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}".encode()
    if 0 < point <= _DIGITS or 0 < point < len(digits):
        digits = digits.ljust(point, "0")
        fraction = digits[point:]
        return f"{sign}{digits[:point]}{'.' if fraction else ''}{fraction}".encode()
    fraction = digits[1:]
    return f"{sign}{digits[0]}{'.' if fraction else ''}{fraction}e{point - 1}".encode()
