"""The limits that reading PostgreSQL stands on (``limits.py`` runs them)."""

from __future__ import annotations

import select
import time

import psycopg
from limits import Told, run
from psycopg import pq

from fuagent.model import Credential, Secret
from fuagent.sources.address import Address, address_of
from fuagent.sources.postgres.dump import Dump
from fuagent.sources.postgres.link import DIALECT, Link
from fuagent.sources.postgres.options import Options
from fuagent.wire.postgres import frames

COPY = "COPY public.orders TO STDOUT"
AS_JSON = "COPY (SELECT row_to_json(o) FROM public.orders o) TO STDOUT"
INSERT = ord("I")


def address(told: Told) -> Address:
    """The server."""
    credential = Credential(user=str(told["user"]), password=Secret(str(told["password"])))
    return address_of(DIALECT, f"postgres://127.0.0.1:{told['port']}/shop", credential, Options())


def login(told: Told) -> dict[str, object]:
    """The same for psycopg."""
    names = {"host": "127.0.0.1", "port": told["port"], "dbname": "shop", "sslmode": "disable"}
    return {**names, "user": told["user"], "password": told["password"]}


async def channel(told: Told) -> float:
    """Rows a second of COPY's text, read as the agent reads it."""
    opened = await Link.open(address(told))
    count, start = 0, time.perf_counter()
    async for block in opened.copy(COPY):
        count += block.count(b"\n")
    return count / (time.perf_counter() - start)


def copied(told: Told, statement: str) -> float:
    """Rows a second of a COPY, read with psycopg."""
    with psycopg.connect(**login(told)) as connection, connection.cursor() as cursor:
        count, start = 0, time.perf_counter()
        with cursor.copy(statement) as copy:
            for _row in copy:
                count += 1
        return count / (time.perf_counter() - start)


async def by_psycopg(told: Told) -> float:
    """Text without an encoding."""
    return copied(told, COPY)


async def as_json(told: Told) -> float:
    """Rows that the server writes as JSON."""
    return copied(told, AS_JSON)


async def libpq(told: Told) -> float:
    """Changes a second of taking one message after the other from libpq."""
    text = " ".join(f"{name}={value}" for name, value in {**login(told), "replication": "database"}.items())
    connection = pq.PGconn.connect(text.encode())
    connection.exec_(starting(told["slot"]).encode())
    count, start = 0, time.perf_counter()
    while count < told["rows"]:
        length, message = connection.get_copy_data(1)
        if length == 0:
            select.select([connection.socket], [], [], 5)
            connection.consume_input()
        elif message[0] == frames.XLOG_DATA and message[25] == INSERT:
            count += 1
    return count / (time.perf_counter() - start)


def starting(slot: str) -> str:
    """The command that begins the stream, from where the slot stands."""
    return f"START_REPLICATION SLOT {slot} LOGICAL 0/0 (proto_version '1', publication_names 'bench')"


async def drain(told: Told) -> float:
    """The same as the agent takes them, frames in large pieces."""
    dump = await Dump.open(address(told), told["slot"], "bench", 0, 5.0)
    seen, start = 0, time.perf_counter()
    while seen < told["rows"]:
        data = await dump.received()
        place = 0
        while place < len(data):
            seen += data[place + frames.PAYLOAD_AT] == frames.XLOG_DATA and data[place + frames.MESSAGE_AT] == INSERT
            place += 1 + int.from_bytes(data[place + 1 : place + 5])
    rate = seen / (time.perf_counter() - start)
    await dump.close()
    return rate


if __name__ == "__main__":
    run({"channel": channel, "psycopg": by_psycopg, "json": as_json, "libpq": libpq, "drain": drain})
