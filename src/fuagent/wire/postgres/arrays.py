"""The text of an array as JSON.

``{1,NULL,"a \\"b\\"",{…}}``: braces around each dimension, quotes where an element holds what would be taken for
something else, a backslash before quotes and backslashes. Bounds that do not begin at 1 stand before it.
Source: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from fuagent.errors import DecodeError

DEPTH = 6
"""Dimensions an array may have (MAXDIM in ``src/include/utils/array.h``)."""

Write = Callable[[bytes], bytes]
"""An element's text, never NULL's, to JSON."""

_BOUNDS = re.compile(rb"(?:\[-?\d+:-?\d+\])+=")
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)


def array(text: bytes, write: Write, delimiter: bytes = b",") -> bytes:
    """The array as a JSON array, nested for each further dimension; its bounds are dropped.

    Args:
        text: The array as the server writes it.
        write: What makes JSON of an element.
        delimiter: What stands between elements: ``;`` for type ``box``, a comma for all others of the server's own.

    Raises:
        DecodeError: it is none.
    """
    if text[:1] == b"[":
        bounds = _BOUNDS.match(text)
        text = text[bounds.end() :] if bounds else b""
    inner = text[1:-1]
    if text[:1] + text[-1:] == b"{}" and len(inner.translate(None, b'{}"\\')) == len(inner):
        return _flat(inner, write, delimiter)
    return _nested(text, write, delimiter)


def _flat(inner: bytes, write: Write, delimiter: bytes) -> bytes:
    elements = inner.split(delimiter) if inner else []
    if not all(elements):
        raise _wrong()
    return b"[%b]" % b",".join([b"null" if element == b"NULL" else write(element) for element in elements])


def _nested(text: bytes, write: Write, delimiter: bytes) -> bytes:
    """The same where there are dimensions or quotes: token by token."""
    parts: list[bytes] = []
    depth, leaf, place = 0, 0, 0
    before = ""
    for token in _tokens(delimiter).finditer(text):
        kind = str(token.lastgroup)
        if token.start() != place or kind not in _FOLLOWS[before] or (before and not depth):
            raise _wrong()
        place, before = token.end(), kind
        depth += _STEPS.get(kind, 0)
        if kind in _VALUES:
            # Elements are all as deep as the first one.
            leaf = leaf or depth
            if depth != leaf:
                raise _wrong()
            parts.append(_element(token, write))
        else:
            parts.append(_MARKS[kind])
        if depth > DEPTH:
            raise _wrong()
    if depth or not parts or place != len(text):
        raise _wrong()
    return b"".join(parts)


_VALUES = frozenset({"quoted", "bare"})
_MARKS = {"open": b"[", "close": b"]", "next": b","}
_STEPS = {"open": 1, "close": -1}
_AFTER = frozenset({"next", "close"})
_FOLLOWS = {
    "": frozenset({"open"}),
    "open": _VALUES | {"open"},
    "next": _VALUES | {"open"},
    **dict.fromkeys(("close", "quoted", "bare"), _AFTER),
}
"""What may stand behind what."""


@lru_cache
def _tokens(delimiter: bytes) -> re.Pattern[bytes]:
    mark = re.escape(delimiter)
    return re.compile(
        rb'(?P<open>\{)|(?P<close>\})|(?P<next>%b)|"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^{}"\\%b]+)' % (mark, mark),
        re.DOTALL,
    )


def _element(token: re.Match[bytes], write: Write) -> bytes:
    quoted = token["quoted"]
    if quoted is not None:
        return write(_ESCAPE.sub(rb"\1", quoted) if b"\\" in quoted else quoted)
    bare = token["bare"]
    return b"null" if bare == b"NULL" else write(bare)


def _wrong() -> DecodeError:
    return DecodeError("The text of an array makes no sense.")
