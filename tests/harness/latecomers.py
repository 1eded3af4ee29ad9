"""A connection that comes in the moment in which its server closes is closed as well.

asyncio accepts it and then forgets it (https://github.com/python/cpython/issues/109564): an open socket
that the garbage collector finds in the middle of another test. Agents and browsers that connect anew all
the time meet that moment often enough.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio.selector_events import BaseSelectorEventLoop
from typing import Any

_begin: Any = BaseSelectorEventLoop._accept_connection2  # type: ignore[attr-defined]


async def _begin_or_close(
    loop: asyncio.AbstractEventLoop,
    factory: Any,
    connection: socket.socket,
    extra: Any,
    tls: Any = None,
    server: asyncio.Server | None = None,
    *limits: Any,
) -> None:
    if server is not None and not server.sockets:
        connection.close()
        return
    await _begin(loop, factory, connection, extra, tls, server, *limits)


def see_off() -> None:
    """From now on, in every loop of this process."""
    BaseSelectorEventLoop._accept_connection2 = _begin_or_close  # type: ignore[attr-defined]
