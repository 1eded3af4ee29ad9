"""The replication stream as a PostgreSQL server writes it, for tests: the way from values to bytes."""

import struct

from fuagent.model import ABSENT


def framed(kind, payload):
    """A frame of any type."""
    return kind + struct.pack(">I", len(payload) + 4) + payload


def xlog_data(message, *, start=0x01533788, end=0x01533788, clock=845_000_000_000_000):
    """A frame of XLogData around one message of the output plugin."""
    return framed(b"d", b"w" + struct.pack(">QQq", start, end, clock) + message)


def keepalive(end=0x01533788, *, clock=845_000_000_000_000, wanted=False):
    """A frame of a keepalive."""
    return framed(b"d", b"k" + struct.pack(">QqB", end, clock, wanted))


def value(one):
    """A value of a tuple with its kind."""
    if one is None:
        return b"n"
    return b"u" if one is ABSENT else b"t" + struct.pack(">I", len(one)) + one


def row_tuple(row):
    """TupleData."""
    return struct.pack(">H", len(row)) + b"".join(map(value, row))


def insert(relation, row):
    """A message of an insert."""
    return b"I" + struct.pack(">I", relation) + b"N" + row_tuple(row)


def update(relation, before, after, letter=b"O"):
    """A message of an update; ``before`` None where no old tuple is sent."""
    old = b"" if before is None else letter + row_tuple(before)
    return b"U" + struct.pack(">I", relation) + old + b"N" + row_tuple(after)


def delete(relation, before, letter=b"O"):
    """A message of a delete."""
    return b"D" + struct.pack(">I", relation) + letter + row_tuple(before)


def text(string):
    """A string with its end."""
    return string.encode() + b"\0"
