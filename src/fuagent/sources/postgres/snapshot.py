"""One consistent picture of some tables, and the place in the log it shows.

A temporary slot says both at once: where the log stands, and a snapshot that shows just what was committed before
(https://www.postgresql.org/docs/current/protocol-replication.html, CREATE_REPLICATION_SLOT with EXPORT_SNAPSHOT). The
picture is a transaction that has taken the snapshot over; the slot can go then.

Some statements break the promise of a snapshot: TRUNCATE and an ALTER that writes the table anew leave an
older snapshot with an empty table. They give the table another file, and that is looked at while its lock is held.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass

from fuagent.encode.shown import shown
from fuagent.errors import TryAgainError
from fuagent.model_rows import Columns
from fuagent.sources.address import Address
from fuagent.sources.postgres import slots
from fuagent.sources.postgres.columns import quote, quoted
from fuagent.sources.postgres.dump import Commands
from fuagent.sources.postgres.link import Link
from fuagent.sources.postgres.tables import Layout, layouts
from fuagent.wire.postgres import copy, lsn

_REWRITTEN = (
    "SELECT count(*) FROM pg_catalog.pg_class c WHERE c.relkind = 'r' AND c.relfilenode <> "
    "pg_catalog.pg_relation_filenode(c.oid) AND (c.oid = %s::pg_catalog.oid OR c.oid IN (SELECT t.relid FROM "
    "pg_catalog.pg_partition_tree(%s::pg_catalog.oid::pg_catalog.regclass) t))"
)
"""pg_class is read as the picture shows it; the function knows the file that is in use now."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture under way. It holds a transaction until :meth:`close`."""

    link: Link
    beside: Link
    """Another session, for what must not happen inside the transaction."""
    held: AsyncExitStack
    home: str
    layouts: tuple[Layout, ...]
    lsn: int
    """The place it shows."""

    async def close(self) -> None:
        """Release what holds the picture."""
        await self.held.aclose()

    async def rows(self, chunk: int) -> AsyncGenerator[tuple[Layout, Columns], None]:
        """All rows as the server sends them, table by table, at most ``chunk`` at a time.

        Raises:
            TryAgainError: a table was changed under the picture; the rows so far are worth nothing.
        """
        for layout in self.layouts:
            width = len(layout.columns)
            # Rolled back to, so that the lock on each table is let go of before the end of all.
            await self.link.rows("SAVEPOINT fuagent")
            async with aclosing(self.link.copy(_selecting(layout), chunk)) as blocks:
                async for block in blocks:
                    yield layout, copy.columns(block, width)
            [(rewritten,)] = await self.link.rows(_REWRITTEN, (layout.oid, layout.oid))
            if rewritten or await layouts(self.beside, (layout.name,), self.home) != [layout]:
                what = f"table {shown(layout.table.label)} was altered while its snapshot was read"
                raise TryAgainError(what, where=self.link.where, fix="the snapshot begins again")
            await self.link.rows("ROLLBACK TO SAVEPOINT fuagent")


def _selecting(layout: Layout) -> str:
    columns = ", ".join(one.select for one in layout.columns)
    if layout.partitioned:
        return f"COPY (SELECT {columns} FROM {quoted(layout.name)}) TO STDOUT"  # noqa: S608 - names go through quote
    return f"COPY {quoted(layout.name)} ({columns}) TO STDOUT"


async def take(address: Address, tables: Sequence[Layout], home: str) -> Picture:
    """Take a picture of these tables. The caller closes it, also after an error in the middle.

    Raises:
        TryAgainError: open transactions did not end in time, or the server is not reachable.
        HaltSyncError: there is no slot left for a moment.
    """
    async with AsyncExitStack() as held:
        beside = await Link.open(address)
        held.push_async_callback(beside.close)
        link = await Link.open(address)
        held.push_async_callback(link.close)
        commands = await Commands.open(address)
        try:
            name = quote(f"fuagent_{secrets.token_hex(8)}")
            query = f"CREATE_REPLICATION_SLOT {name} TEMPORARY LOGICAL pgoutput EXPORT_SNAPSHOT"
            try:
                [(_, point, exported, _)] = await commands.rows(query, within=slots.WAIT_FOR)
            except TryAgainError as error:
                raise await slots.given_up(beside, commands.pid, error) from None
            await link.rows("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            await link.rows(f"SET TRANSACTION SNAPSHOT '{exported}'")
        finally:
            await commands.close()
        return Picture(link, beside, held.pop_all(), home, tuple(tables), lsn.number(point))
