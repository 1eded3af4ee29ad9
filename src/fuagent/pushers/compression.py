"""Request bodies made smaller, where the service is configured to take that.

The same body gives the same bytes every time: a retry is the same request.
"""

from __future__ import annotations

import gzip

import zstandard

_GZIP_LEVEL = 5
_ZSTD_LEVEL = 3


def compress(coding: str, body: bytes) -> bytes:
    """The body in the content coding of that name (RFC 9110 section 8.4.1, RFC 8878)."""
    if coding == "gzip":
        return gzip.compress(body, _GZIP_LEVEL, mtime=0)
    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(body)
