"""How an answer is taken in, over whatever client it came: its body up to a limit, its headers by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping


async def body(read: Callable[[int], Awaitable[bytes]], limit: int) -> bytes:
    """At most one byte more than ``limit``, so that too long can be told from just right.

    Args:
        read: Gives so many bytes at the most, and none at the end.
        limit: Bytes.
    """
    found = bytearray()
    while len(found) <= limit:
        piece = await read(limit + 1 - len(found))
        if not piece:
            break
        found += piece
    return bytes(found)


def headers(given: Mapping[str, str]) -> dict[str, str]:
    """The headers under their names in lower case; the first of a name counts."""
    found: dict[str, str] = {}
    for name, value in given.items():
        found.setdefault(name.lower(), value)
    return found
