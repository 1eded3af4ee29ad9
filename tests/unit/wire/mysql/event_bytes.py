"""Events as servers write them, for tests: the way from values to bytes."""

import struct
import zlib

from fuagent.wire.mysql import events

POST_HEADERS = bytes([56, 13, 0, 8, 0, 18, 0, 4, 4, 4, 4, 18, 0, 0, 95, 0, 4, 26, 8, 0, 0, 0, 8, 8, 8, 2, 0, 0, 0])
"""Lengths of the fixed parts that MySQL 5.6 names for its first types."""


def crc(data):
    """The four bytes of a checksum."""
    return struct.pack("<I", zlib.crc32(data))


def event(kind, body, *, checksum=True, flags=0, server=1, position=0):
    """A whole event."""
    size = events.HEADER.size + len(body) + (events.CHECKSUM if checksum else 0)
    data = events.HEADER.pack(1_700_000_000, kind, server, size, position, flags) + body
    return data + crc(data) if checksum else data


def format_body(version="8.0.40", *, lengths=POST_HEADERS, algorithm=1, number=4, header=19):
    """The body of a format description, its checksum left out; ``algorithm`` None for servers that know none."""
    fixed = struct.pack("<H50sIB", number, version.encode(), 1_600_000_000, header) + lengths
    return fixed if algorithm is None else fixed + bytes([algorithm])


def description(version="8.0.40", *, checksum=True, lengths=POST_HEADERS):
    """A format description, read."""
    data = event(events.FORMAT_DESCRIPTION, format_body(version, lengths=lengths, algorithm=int(checksum)))
    return events.read_format_description(data)


def lenenc(number):
    """A length-encoded integer."""
    if number <= 250:
        return bytes([number])
    return b"\xfc" + number.to_bytes(2, "little") if number < 1 << 16 else b"\xfe" + number.to_bytes(8, "little")


def varlen(number):
    """An unsigned integer of MySQL's serialization library."""
    more = max(0, (number.bit_length() - 1) // 7)
    if more >= 8:
        return b"\xff" + number.to_bytes(8, "little")
    return ((number << more + 1) | ((1 << more) - 1)).to_bytes(more + 1, "little")


def signed(number):
    """A signed integer of the same library."""
    return varlen(number << 1 if number >= 0 else (-(number + 1) << 1) | 1)
