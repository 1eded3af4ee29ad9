"""The limits that reading MariaDB stands on (``limits.py`` runs them)."""

from __future__ import annotations

import time

import asyncmy
from asyncmy.cursors import SSCursor
from limits import BATCH, run

from fuagent.model import Credential, Secret
from fuagent.sources.address import address_of
from fuagent.sources.mysql.dump import Dump
from fuagent.sources.mysql.link import DIALECT, Address, Link
from fuagent.sources.mysql.options import Options
from fuagent.sources.mysql.places import Spot
from fuagent.sources.mysql.server import server

SELECT = "SELECT * FROM orders"


def address(told: dict[str, object]) -> Address:
    """The server."""
    credential = Credential(user=str(told["user"]), password=Secret(str(told["password"])))
    return address_of(DIALECT, f"mysql://127.0.0.1:{told['port']}/shop", credential, Options())


async def link(told: dict[str, object]) -> float:
    """Rows a second of fetching raw values with our own connection."""
    opened = await Link.open(address(told))
    count, start = 0, time.perf_counter()
    async for rows in opened.raw(SELECT, BATCH):
        count += len(rows)
    return count / (time.perf_counter() - start)


async def cursor(told: dict[str, object]) -> float:
    """The same with asyncmy's unbuffered cursor, without converters."""
    where = {"host": "127.0.0.1", "port": told["port"], "user": told["user"], "password": told["password"]}
    connection = await asyncmy.connect(**where, db="shop", conv={}, charset="utf8mb4")
    reader = connection.cursor(SSCursor)
    count, start = 0, time.perf_counter()
    await reader.execute(SELECT)
    while rows := await reader.fetchmany(BATCH):
        count += len(rows)
    return count / (time.perf_counter() - start)


async def drain(told: dict[str, object]) -> float:
    """Rows a second of taking the binlog from the server without looking into its events."""
    where = address(told)
    opened = await Link.open(where)
    dump = await Dump.open(where, await server(opened), Spot(told["file"], told["offset"]), 5.0)
    start = time.perf_counter()
    while not _ends(await dump.events(), told["end"]):
        pass
    return told["rows"] / (time.perf_counter() - start)


def _ends(events: list[bytes], end: int) -> bool:
    """Whether the last event ends where the log did; see ``fuagent.wire.mysql.events`` for the header."""
    return int.from_bytes(events[-1][13:17], "little") >= end


if __name__ == "__main__":
    run({"link": link, "cursor": cursor, "drain": drain})
