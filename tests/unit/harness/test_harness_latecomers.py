"""Connections in the moment in which a server closes."""

from __future__ import annotations

import asyncio
import socket

import pytest


@pytest.mark.parametrize("turns", range(6))
async def test_a_connection_of_the_last_moment_is_closed(turns):
    """However far the loop has come with it: whoever connects is told the end, and no socket is left to be collected."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        client.setblocking(False)
        for _ in range(turns):
            await asyncio.sleep(0)
        server.close()
        try:
            end = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 1), 30)
        except ConnectionResetError:  # it was not even accepted
            end = b""

    assert end == b""
