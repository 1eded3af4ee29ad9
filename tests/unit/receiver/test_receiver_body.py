"""Bodies within limits, packed and unpacked."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from fuagent.receiver import body
from fuagent.receiver.body import BodyError

PACKERS = {"gzip": gzip.compress, "X-GZIP": gzip.compress, "zstd": zstandard.compress, "": bytes, " Identity ": bytes}


async def chunks(*parts: bytes):
    for part in parts:
        yield part


async def test_a_body_is_its_chunks():
    """What comes in pieces is one body, up to the limit and no further."""
    assert await body.read(chunks(b"ab", b"", b"cd"), 4) == b"abcd"
    with pytest.raises(BodyError) as caught:
        await body.read(chunks(b"ab", b"cde"), 4)
    assert caught.value.status == 413


async def test_a_body_that_is_too_long_is_read_for_a_while():
    """The sender hears the answer only once it has sent; but nobody sends for ever."""
    came = []

    async def endless():
        for number in range(1000):
            came.append(number)
            yield b"x" * 10

    with pytest.raises(BodyError, match="larger than 10 bytes"):
        await body.read(endless(), 10)

    assert 8 <= len(came) < 20


@pytest.mark.parametrize("coding", PACKERS)
@given(data=st.binary(max_size=300))
def test_what_was_packed_is_unpacked(coding, data):
    """Every coding gives the body back, even one that just fits."""
    assert body.unpack(PACKERS[coding](data), coding, len(data) + 1) == data
    assert body.unpack(PACKERS[coding](data), coding, len(data)) == data


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.fault("S36")
def test_a_bomb_is_not_unpacked(coding):
    """A small body that stands for a large one is refused at the limit, before it takes the memory."""
    bomb = PACKERS[coding](b"\0" * 20_000_000)
    assert len(bomb) < 100_000

    tracemalloc.start()
    try:
        with pytest.raises(BodyError) as caught:
            body.unpack(bomb, coding, 100_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 1_000_000
    assert caught.value.status == 413


@pytest.mark.parametrize(
    ("data", "coding", "status"),
    [
        (b"no gzip", "gzip", 400),
        (gzip.compress(b"x" * 100, mtime=0)[:-4], "gzip", 400),
        (gzip.compress(b"a", mtime=0) + gzip.compress(b"b", mtime=0), "gzip", 400),
        (zlib.compress(b"x"), "gzip", 400),
        (b"no zstd", "zstd", 400),
        (b"x", "br", 415),
        (b"x", "gzip, gzip", 415),
    ],
)
def test_what_cannot_be_unpacked_is_refused(data, coding, status):
    """Broken bodies are the sender's fault; a coding that is not known is said."""
    with pytest.raises(BodyError) as caught:
        body.unpack(data, coding, 1000)

    assert caught.value.status == status


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@given(data=st.binary(max_size=200))
def test_any_bytes_are_unpacked_or_refused(coding, data):
    """Garbage behind a known beginning never leads to anything but a refusal or bytes within the limit."""
    for given_ in (data, PACKERS[coding](b"{}")[:9] + data):
        try:
            unpacked = body.unpack(given_, coding, 50)
        except BodyError as error:
            assert error.status in {400, 413}
        else:
            assert len(unpacked) <= 50
