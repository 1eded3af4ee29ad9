"""Addresses for the tests of connections: of real servers and of scripted ones."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace

from fuagent.model import Secret
from fuagent.sources.address import Address, Tls
from fuagent.sources.mysql.link import Link
from fuagent.sources.mysql.tables import layouts, listing
from fuagent.sources.selection import select
from harness.mariadb import PASSWORD, USER

BASE = Address("127.0.0.1", 3306, "shop", USER, Secret(PASSWORD), Tls.PREFER, timeout=30.0)


def address(database, **changes):
    """Where a database of a test is; as the reader's own account."""
    return replace(BASE, port=database.server.port, database=database.name, **changes)


def as_root(database):
    """The same as root, who may do everything."""
    return address(database, user="root", password=Secret(""))


def scripted(server, **changes):
    """Where a scripted server is."""
    return replace(BASE, port=server.port, **changes)


async def layouts_of(link, database, *wanted):
    """The layouts of tables as a sync selects them."""
    found = await listing(link, database, wanted)
    return await layouts(link, select(found, wanted, ()), database)


class Opened:
    """Links of a test, closed at its end."""

    def __init__(self):
        self._links = []

    async def __call__(self, where):
        link = await Link.open(where)
        self._links.append(link)
        return link

    async def close(self):
        for link in self._links:
            await link.close()


@asynccontextmanager
async def answering(converse):
    """Somebody at a port who talks as ``converse(reader, writer)`` says, and then hangs up."""
    done = []

    async def answer(reader, writer):
        done.append(asyncio.current_task())
        await converse(reader, writer)
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield SimpleNamespace(port=server.sockets[0].getsockname()[1])
    await asyncio.gather(*done)
