"""What is left of a column's values under a mask; pure, and the same in snapshot and stream."""

from __future__ import annotations

import hmac
from collections.abc import Callable

import orjson

from fuagent.encode.values import not_finite, not_json
from fuagent.model import Cover, Mask

REDACTED = "***"

Write = Callable[[object], object]


def masked(mask: Mask, convert: Write | None) -> Write:
    """The function that writes one column's values under ``mask``; ``convert`` is how they are written without it.

    A hash is HMAC-SHA256 (RFC 2104) in hexadecimal, keyed with the salt, over a text itself and
    over anything else's JSON text: equal values stay equal, and nobody without the salt can try values out.
    """
    plain = convert or (lambda value: value)
    if mask.cover is Cover.REDACT:
        return _unless_null(lambda _value: REDACTED)
    if mask.cover is Cover.TRUNCATE:
        return _unless_null(lambda value: _text(plain(value))[: mask.length])
    assert mask.salt is not None
    key = mask.salt.reveal().encode()
    return _unless_null(lambda value: hmac.digest(key, _bytes(plain(value)), "sha256").hex())


def _unless_null(write: Write) -> Write:
    return lambda value: None if value is None else write(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else _bytes(value).decode()


def _bytes(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode(errors="surrogatepass")
    if isinstance(value, float):
        text = orjson.dumps(value)
        return not_finite(value).encode() if text == b"null" else text
    return orjson.dumps(value, not_json).strip(b'"')
