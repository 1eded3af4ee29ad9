"""Compressed events and transactions come back as they were, piece by piece, and never larger than allowed."""

import struct
import tracemalloc
import zlib

import pytest
import zstandard
from event_bytes import description, event, lenenc
from hypothesis import given
from hypothesis import strategies as st

from fuagent.errors import DecodeError
from fuagent.wire.mysql import compressed, events

MYSQL = description()
MARIADB = description("10.11.6-MariaDB-log", lengths=bytes(171))
ROWS = bytes(6) + b"\x01\x00"


def record(data, *, form=None, size=None):
    """One of MariaDB's compressed records."""
    length = len(data) if size is None else size
    width = max(1, (length.bit_length() + 7) // 8)
    return bytes([0x80 | width if form is None else form]) + length.to_bytes(width, "big") + zlib.compress(data)


def before(kind):
    """What stands before the compressed part, and the type that it is uncompressed."""
    if kind == events.QUERY_COMPRESSED:
        return struct.pack("<IIBHH", 1, 2, 1, 0, 0) + b"d\0"
    start = ROWS + (b"\x02\x00" if kind > events.DELETE_ROWS_COMPRESSED_V1 else b"")
    return start + b"\x03" + (b"\x07\x07" if kind in {167, 170} else b"\x07")


@given(st.sampled_from(sorted(compressed.COMPRESSED)), st.sampled_from([1, 255, 256, 70_000]), st.binary(max_size=9))
def test_a_compressed_event_is_what_it_was(kind, size, data):
    """What stands before the compressed part stays, the rest comes back, however many bytes its length takes."""
    data += bytes(size)

    found = compressed.uncompressed(kind, before(kind) + record(data), MARIADB)

    assert found == (compressed.COMPRESSED[kind], before(kind) + data)


DATA = b"images" * 20


@pytest.mark.fault("F12")
@pytest.mark.parametrize(
    ("packed", "cap", "expected"),
    [
        (b"", 999, "too early"),
        (record(DATA, form=0x01), 999, "not known"),
        (record(DATA, form=0x91), 999, "not known"),
        (record(DATA, form=0x80), 999, "not known"),
        (record(DATA, form=0x85), 999, "not known"),
        (record(DATA), 119, "holds 120 bytes; at most 119"),
        (record(DATA, size=119), 999, "more or less"),
        (record(DATA, size=121), 999, "more or less"),
        (record(DATA)[:-1], 999, "more or less"),
        (record(DATA) + b"x", 999, "more or less"),
        (record(DATA)[:4] + b"garbage", 999, "cannot be uncompressed"),
    ],
)
@pytest.mark.fault("S23")
def test_a_damaged_compressed_event_is_refused(packed, cap, expected):
    """Each fault has its sentence."""
    with pytest.raises(DecodeError, match=expected):
        compressed.uncompressed(events.WRITE_ROWS_COMPRESSED_V1, before(166) + packed, MARIADB, cap)


@given(st.sampled_from(sorted(compressed.COMPRESSED)), st.binary(max_size=60))
def test_any_bytes_are_uncompressed_or_refused(kind, data):
    """Garbage never ends in anything else."""
    for body in (data, before(kind) + data, before(kind) + b"\x81\x05" + data):
        try:
            compressed.uncompressed(kind, body, MARIADB)
        except DecodeError as error:
            assert error.what


def inner(kind, data):
    return event(kind, data, checksum=False)


def field(number, value):
    return lenenc(number) + lenenc(len(lenenc(value))) + lenenc(value)


def packed(data, compression=0, *, size=None, claimed=None, more=b""):
    """The body of a TRANSACTION_PAYLOAD."""
    content = zstandard.compress(data) if compression == 0 else data
    fields = field(2, compression) + field(3, len(data) if claimed is None else claimed)
    return fields + more + field(1, len(content) if size is None else size) + b"\0" + content


EVENTS = [
    (events.QUERY, b"BEGIN"),
    (events.WRITE_ROWS_V2, bytes(3_000_000)),
    (events.ROWS_QUERY, b""),
    (events.XID, b"8"),
]
WHOLE = b"".join(inner(*one) for one in EVENTS)


@pytest.mark.parametrize("compression", [0, 255])
def test_the_events_of_a_transaction_come_one_by_one(compression):
    """Compressed or not, and with a field of a later server passed over."""
    found = list(compressed.payload(packed(WHOLE, compression, more=field(9, 5)), MYSQL))

    assert [(header.kind, data) for header, data in found] == EVENTS
    assert found[0][0].timestamp == 1_700_000_000


def test_a_transaction_of_several_frames():
    """What was compressed in parts is read as one."""
    content = zstandard.compress(WHOLE[:40]) + zstandard.compress(WHOLE[40:])
    body = field(2, 0) + field(3, len(WHOLE)) + field(1, len(content)) + b"\0" + content

    assert [(header.kind, data) for header, data in compressed.payload(body, MYSQL)] == EVENTS


def test_an_empty_transaction():
    """No events are no fault."""
    assert list(compressed.payload(packed(b""), MYSQL)) == []
    assert list(compressed.payload(packed(b"", 255), MYSQL)) == []


@pytest.mark.fault("F13", "S23")
def test_memory_stays_near_the_largest_event():
    """A transaction far larger than memory may be small in the log."""
    count = 60
    body = packed(inner(events.WRITE_ROWS_V2, bytes(1_000_000)) * count)
    tracemalloc.start()
    total = sum(len(data) for _, data in compressed.payload(body, MYSQL))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert total == count * 1_000_000
    assert peak < 8_000_000


CLAIM = events.HEADER.pack(0, events.XID, 1, 1 << 29, 0, 0)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "too early"),
        (field(2, 0) + field(3, 1) + b"\0", "lacks a field"),
        (field(3, 1) + field(1, 0) + b"\0", "lacks a field"),
        (field(2, 0) + field(1, 0) + b"\0", "lacks a field"),
        (packed(WHOLE, size=3), "another size"),
        (packed(WHOLE, 7), "not known"),
        (packed(inner(events.TRANSACTION_PAYLOAD, b"")), "holds another one"),
        (packed(bytes(19)), "an event of 0 bytes"),
        (packed(CLAIM), "an event of 536870912 bytes; 19 are allowed"),
        (packed(CLAIM, claimed=1 << 30), "too early"),
        (packed(WHOLE, claimed=len(WHOLE) + 19), "too early"),
        (packed(WHOLE[:-1]), "an event of 20 bytes; 19 are allowed"),
        (packed(WHOLE[:-1], 255), "an event of 20 bytes; 19 are allowed"),
        (packed(WHOLE + b"x", claimed=len(WHOLE)), "more than it says"),
        (packed(WHOLE + b"x", 255), "too early"),
        (field(2, 0) + field(3, 50) + field(1, 30) + b"\0" + bytes(30), "cannot be uncompressed"),
    ],
)
def test_a_damaged_transaction_is_refused(body, expected):
    """Each fault has its sentence."""
    with pytest.raises(DecodeError, match=expected):
        list(compressed.payload(body, MYSQL))


@pytest.mark.fault("F13", "S23")
def test_an_event_of_a_transaction_has_a_cap():
    """The header is judged before anything of the event is read."""
    walk = compressed.payload(packed(inner(events.QUERY, b"x" * 50) + WHOLE), MYSQL, 100)

    assert len(next(walk)[1]) == 50
    with pytest.raises(DecodeError, match="100 are allowed"):
        list(walk)


@given(st.integers(0, 200), st.integers(0, 255))
def test_a_changed_byte_never_ends_in_anything_else(place, value):
    """Damage gives other events or an error."""
    body = bytearray(packed(inner(events.QUERY, b"BEGIN") + inner(events.XID, bytes(range(100)))))
    body[place % len(body)] = value
    try:
        found = list(compressed.payload(bytes(body), MYSQL))
    except DecodeError as error:
        assert error.what
    else:
        assert len(found) <= 6


@given(st.integers(1, 150))
def test_a_transaction_cut_anywhere_is_refused(missing):
    """However the cut is hidden behind a size that fits."""
    whole = zstandard.compress(inner(events.QUERY, bytes(range(200))) + inner(events.XID, b"12345678"))
    content = whole[: -(missing % len(whole)) or -1]
    body = field(2, 0) + field(3, 246) + field(1, len(content)) + b"\0" + content

    with pytest.raises(DecodeError):
        list(compressed.payload(body, MYSQL))
