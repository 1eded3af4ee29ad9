"""Positions in the write-ahead log: bytes from its beginning, written as two hexadecimal halves of 32 bits."""

from __future__ import annotations

import re

from fuagent.errors import DecodeError

_TEXT = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


def text(position: int) -> str:
    """As the server writes it: ``16/B374D848``."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def number(written: str) -> int:
    """What the server wrote, as a number.

    Raises:
        DecodeError: it is no position.
    """
    found = _TEXT.fullmatch(written)
    if found is None:
        raise DecodeError("The server wrote a position of its log that is none.")
    return int(found[1], 16) << 32 | int(found[2], 16)
