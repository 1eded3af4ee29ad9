"""A database file with a second program writing to it, and sources that follow it."""

import asyncio
import json
import sqlite3
from contextlib import asynccontextmanager

from fuagent.interfaces import SourceContext
from fuagent.model import Mapping, TableSpec
from fuagent.sources.sqlite import SQLite


class World:
    """One database file, a writer, and the sources made for it."""

    def __init__(self, directory, *, wal=True):
        self.path = directory / "shop.db"
        self.warnings = []
        self._connections = []
        self._sources = []
        self.db = self.connect()
        self.db.execute(f"PRAGMA journal_mode = {'wal' if wal else 'delete'}")
        self.db.execute("PRAGMA synchronous = OFF")

    def connect(self):
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=20, check_same_thread=False)
        self._connections.append(connection)
        return connection

    def sql(self, *statements):
        for statement in statements:
            self.db.execute(statement)

    def make(self, *tables, sync="shop-to-service", agent_id="agent-1", exclude=(), endpoint=None, **options):
        context = SourceContext(
            sync=sync,
            agent_id=agent_id,
            endpoint=endpoint or f"sqlite:///{self.path}",
            credential=lambda: None,
            options=SQLite.Options(**options),
            tables=tables or ("*",),
            exclude=exclude,
            base_dir=self.path.parent,
            warn=self.warnings.append,
        )
        source = SQLite(context)
        self._sources.append(source)
        return source

    async def ready(self, *tables, mend=False, schema=None, mapping=None, **more):
        """A source that is open and prepared."""
        source = self.make(*tables, **more)
        await source.open()
        await prepare(source, mend=mend, schema=schema, mapping=mapping)
        return source

    async def close(self):
        for source in self._sources:
            await source.close()
        for connection in self._connections:
            connection.close()


async def prepare(source, *, mend=False, schema=None, mapping=None):
    specs = [TableSpec(table, mapping or Mapping(), schema) for table in await source.discover()]
    await source.prepare(specs, mend=mend)


async def gather(source, place, *, numbered=True):
    """Everything behind ``place`` as it stands: the Rows, ended by the log's end."""
    head = await source.head(None)
    return [rows async for rows in source.stream(place, head.position, numbered=numbered)]


async def events(source, place, **more):
    """The same, as events."""
    return [json.loads(event) for rows in await gather(source, place, **more) for event in rows.rows]


async def pictured(source, *tables):
    """A snapshot, whole: place, index, and table to events."""
    tables = tables or [table.label for table in await source.discover()]
    found = {table: [] for table in tables}
    async with await source.snapshot(tables) as run:
        async for rows in run.rows():
            assert (run.place, run.place) == (rows.start, rows.end)
            assert not rows.indexes
            found[rows.table] += map(json.loads, rows.rows)
    return run, found


@asynccontextmanager
async def following(source, place, **more):
    """The stream as a function that gives the next Rows, within a generous deadline."""
    stream = source.stream(place, **more)
    try:
        yield lambda: asyncio.wait_for(anext(stream), 20)
    finally:
        await stream.aclose()


async def until(condition):
    """Wait for something to become true."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)
