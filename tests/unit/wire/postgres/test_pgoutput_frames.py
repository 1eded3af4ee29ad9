"""Frames are told apart by their lengths alone, and what is in them reads as the server means it."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from postgres_bytes import framed, keepalive, text, xlog_data

from fuagent.errors import DecodeError
from fuagent.wire.postgres import frames, lsn

PAYLOADS = st.lists(st.binary(max_size=40), max_size=6)


@given(PAYLOADS, st.binary(max_size=9), st.data())
def test_whole_frames_are_counted(payloads, before, data):
    """Wherever the stream is cut, what is whole before the cut counts and nothing else does."""
    parts = [frames.framed(payload) for payload in payloads]
    stream = b"".join(parts)
    cut = data.draw(st.integers(0, len(stream)))
    borders = [len(b"".join(parts[:count])) for count in range(len(parts) + 1)]

    assert frames.complete(before + stream[:cut], len(before)) == max(one for one in borders if one <= cut)


@given(PAYLOADS, st.integers(1, 7))
def test_so_many_frames_are_counted_at_most(payloads, most):
    """Those behind them wait, and all of them come with as many turns as it takes."""
    parts = [frames.framed(payload) for payload in payloads]
    stream = b"".join(parts)

    assert frames.complete(stream, 0, most) == len(b"".join(parts[:most]))


@given(PAYLOADS, st.sampled_from([b"E", b"N", b"c", b"C", b"Z", b"S"]), st.binary(max_size=9))
def test_a_frame_of_another_kind_ends_them(payloads, kind, payload):
    """What is not CopyData is not given out with it, whole as it may be."""
    stream = b"".join(map(frames.framed, payloads))

    assert frames.complete(stream + framed(kind, payload)) == len(stream)


@pytest.mark.parametrize("length", [0, 3, (1 << 30) + 1, (1 << 32) - 1])
@pytest.mark.parametrize("kind", [b"d", b"E"])
@pytest.mark.fault("S23")
def test_a_length_that_none_has_is_an_error(length, kind):
    """Waiting for the rest of such a frame would be waiting for ever."""
    with pytest.raises(DecodeError):
        frames.complete(keepalive() + kind + struct.pack(">I", length) + b"\0" * 40)


def test_the_largest_frame_is_waited_for():
    """A length that a row may have is not an error, though little of it is here."""
    assert frames.complete(keepalive() + b"d" + struct.pack(">I", 1 << 30)) == len(keepalive())


@given(st.binary(max_size=60), st.integers(0, 60))
@pytest.mark.fault("S23")
def test_any_bytes_are_frames_or_an_error(data, start):
    """Garbage is counted up to some border or refused."""
    try:
        found = frames.complete(data, start)
    except DecodeError:
        return

    assert found == 0 or 0 < found <= len(data) - start


def test_a_keepalive_is_read():
    """A keepalive as a server of version 15 sent it."""
    frame = bytes.fromhex("64000000166b0000000001537f4000030437249d5de300")

    assert frames.read_keepalive(frame[frames.PAYLOAD_AT :]) == frames.Keepalive(0x01537F40, wanted=False)


@given(st.integers(0, 2**64 - 1), st.booleans())
def test_keepalives_come_back(end, wanted):
    """Any position, and whether an answer is wanted."""
    assert frames.read_keepalive(keepalive(end, wanted=wanted)[frames.PAYLOAD_AT :]) == (end, wanted)


@pytest.mark.parametrize(
    "payload",
    [b"", keepalive()[5:-1], keepalive() + b"\0", b"w" + keepalive()[6:]],
    ids=["none", "cut", "long", "other"],
)
def test_what_is_no_keepalive_is_an_error(payload):
    """A payload of another length or type is refused."""
    with pytest.raises(DecodeError):
        frames.read_keepalive(payload)


def test_a_message_stands_where_it_is_said_to_stand():
    """Readers go by these places."""
    frame = xlog_data(b"message")

    assert frame[: frames.LENGTH_AT] == frames.COPY_DATA
    assert frame[frames.PAYLOAD_AT] == frames.XLOG_DATA
    assert frame[frames.MESSAGE_AT :] == b"message"
    assert keepalive()[frames.PAYLOAD_AT] == frames.KEEPALIVE


def test_the_status_tells_what_may_go():
    """Written, flushed and applied; the clock counts microseconds from the year 2000."""
    payload = frames.status(0x2_0000_0001, 0x1_0000_0002, 946_684_801.5, reply=True)

    assert payload == bytes.fromhex("72 0000000200000001 0000000100000002 0000000100000002 000000000016e360 01")
    assert frames.status(1, 1, 946_684_800.0)[-9:] == bytes(9)


def test_an_error_is_read():
    """SQLSTATE and text, whatever else is told."""
    payload = b"SERROR\0VERROR\0C55006\0Mreplication slot \xc3\xa9 is active\0Fslot.c\0\0"

    assert frames.read_failure(payload) == frames.Failure("55006", "replication slot é is active")


@given(st.binary(max_size=40))
def test_any_bytes_are_an_error_of_some_kind(payload):
    """What says that something went wrong is never itself in the way."""
    code, message = frames.read_failure(payload)

    assert isinstance(code, str)
    assert isinstance(message, str)


def test_what_an_error_lacks_is_empty():
    """An error without a code, and one whose text is not UTF-8."""
    assert frames.read_failure(text("Mwhy")) == frames.Failure("", "why")
    assert frames.read_failure(b"M\xff\0\0") == frames.Failure("", "\N{REPLACEMENT CHARACTER}")


def test_positions_read_as_the_server_writes_them():
    """Two halves, in hexadecimal, without zeros before them."""
    assert lsn.text(0x16_B374_D848) == "16/B374D848"
    assert lsn.number("16/B374D848") == 0x16_B374_D848
    assert lsn.text(0) == "0/0"


@given(st.integers(0, 2**64 - 1))
def test_positions_come_back(position):
    """Written and read is the same, in either case of letters."""
    assert lsn.number(lsn.text(position)) == position
    assert lsn.number(lsn.text(position).lower()) == position


@pytest.mark.parametrize("written", ["", "/", "0", "0/", "/0", "0/0/0", "0/123456789", "g/0", " 0/0", "0/0\n", "-1/0"])
def test_what_is_no_position_is_an_error(written):
    """Nothing is guessed."""
    with pytest.raises(DecodeError):
        lsn.number(written)
