"""A request's body within limits: on the wire, and again once it is unpacked.

A kilobyte of gzip can stand for a megabyte, and one of zstd for far more. So a packed body
is unpacked only as far as the limit goes, and nothing is parsed before that.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import AsyncIterator

import zstandard

_GZIP = 16 + zlib.MAX_WBITS
_WINDOW = 2**27
"""The largest window of zstd's ordinary levels (RFC 8878 section 3.1.1.1.2): memory the sender may ask for."""
_PATIENCE = 8
"""Times the limit that a body may be read and thrown away, so that the sender hears the answer."""


class BodyError(Exception):
    """A body that is not taken: the status to answer, and why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


async def read(chunks: AsyncIterator[bytes], limit: int) -> bytes:
    """All of a body.

    What is too long is read to its end all the same, but not kept: a sender whose connection
    breaks while it writes never learns that it should send less.

    Raises:
        BodyError: it has more than ``limit`` bytes.
    """
    kept = bytearray()
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size <= limit:
            kept += chunk
        elif size > _PATIENCE * limit:
            break
    if size > limit:
        raise _too_large(limit)
    return bytes(kept)


def unpack(body: bytes, coding: str, limit: int) -> bytes:
    """A body without its content coding (RFC 9110 section 8.4.1, RFC 8878).

    Raises:
        BodyError: it has more than ``limit`` bytes, is broken, or has a coding that is not known.
    """
    match coding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            unpacked = _gunzip(body, limit)
        case "zstd":
            unpacked = _unzstd(body, limit)
        case _:
            raise BodyError(415, "the content coding is none of gzip, zstd, identity")
    if len(unpacked) > limit:
        raise _too_large(limit)
    return unpacked


def _gunzip(body: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(_GZIP)
    try:
        unpacked = unpacker.decompress(body, limit + 1)
    except zlib.error:
        raise BodyError(400, "the body is no gzip") from None
    if len(unpacked) <= limit and (not unpacker.eof or unpacker.unused_data):
        raise BodyError(400, "the body is no single, whole gzip member")
    return unpacked


def _unzstd(body: bytes, limit: int) -> bytes:
    # A frame that breaks off gives what it has; the JSON in it then breaks off too.
    try:
        with zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(io.BytesIO(body)) as reader:
            return reader.read(limit + 1)
    except zstandard.ZstdError:
        raise BodyError(400, "the body is no zstd") from None


def _too_large(limit: int) -> BodyError:
    return BodyError(413, f"the body is larger than {limit} bytes")
