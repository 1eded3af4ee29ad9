"""A service that only counts: the cheapest honest other end for measurements.

It reads each request whole, counts rows and keeps the highest index. A line per
question on standard input (``mark``, ``report``) is answered with one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time

DOCUMENT = json.dumps(
    {
        "openapi": "3.1.0",
        "info": {"title": "counting", "version": "1"},
        "servers": [{"url": "/", "x-fuagent-status-endpoint": "/status"}],
        "paths": {"/ingest-batch": {"post": {"responses": {"200": {"description": "counted"}}}}},
    }
).encode()
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
INDEX = re.compile(rb'"index":(\d+)')
TASK = re.compile(rb"\r\ntask-id: *([^\r]+)", re.IGNORECASE)
ASKED = re.compile(rb"[?&]task_id=([^& ]+)")
ROW = b'{"id":'


class Tally:
    """What arrived since the last mark."""

    def __init__(self) -> None:
        self.indexes: dict[str, int] = {}
        """The highest index of each task."""
        self.clear()

    def clear(self) -> None:
        """Start counting anew; the checkpoint stays."""
        self.rows = self.requests = self.bytes = 0
        self.first = self.last = 0.0
        self.arrivals: list[float] = []
        self.counts: list[int] = []
        """Rows of each request."""

    def take(self, task: str, body: bytes) -> None:
        """Count one request."""
        now = time.monotonic()
        rows = body.count(ROW)
        if rows:  # the end marker is no row
            self.first = self.first or now
            self.last = now
        self.rows += rows
        self.requests += 1
        self.bytes += len(body)
        self.arrivals.append(now)
        self.counts.append(rows)
        found = INDEX.findall(body[-4096:])
        if found:
            self.indexes[task] = max(self.indexes.get(task, 0), int(found[-1]))


class Connection(asyncio.Protocol):
    """Just enough HTTP/1.1 for one client that sends Content-Length."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._parts: list[bytes] = []
        self._have = 0
        self._need = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Collect until a request is whole."""
        self._parts.append(data)
        self._have += len(data)
        if self._have < self._need:
            return
        whole = b"".join(self._parts)
        end = whole.find(b"\r\n\r\n")
        if end >= 0:
            length = LENGTH.search(whole, 0, end)
            self._need = end + 4 + (int(length[1]) if length else 0)
        if end < 0 or self._have < self._need:
            self._parts = [whole]
            return
        rest = whole[self._need :]
        self._parts, self._have, need, self._need = [rest], len(rest), self._need, 0
        self._answer(whole[:end], whole[end + 4 : need])

    def _answer(self, head: bytes, body: bytes) -> None:
        status, answer = b"200 OK", b"{}"
        if head.startswith(b"POST"):
            self._tally.take(_found(TASK, head), body)
        elif head.startswith(b"GET /status"):
            index = self._tally.indexes.get(_found(ASKED, head), 0)
            answer = b'{"index": %d}' % index
            status = b"200 OK" if index else b"404 Not Found"
        else:
            answer = DOCUMENT
        self._transport.write(
            b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
            % (status, len(answer), answer)
        )


def _found(what: re.Pattern[bytes], head: bytes) -> str:
    match = what.search(head)
    return match[1].decode() if match else ""


async def main() -> None:
    """Serve on a free port, printed first."""
    loop = asyncio.get_running_loop()
    tally = Tally()
    server = await loop.create_server(lambda: Connection(tally), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).strip():
        if line == b"mark":
            tally.clear()
        print(json.dumps(dict(vars(tally).items())), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
