"""One consistent picture of some tables, and the place in the log it shows.

MariaDB says both at once: START TRANSACTION WITH CONSISTENT SNAPSHOT fixes the place too, and the
status variables binlog_snapshot_* tell it. The clause is ignored without a word under READ
COMMITTED, hence the isolation level. https://mariadb.com/kb/en/enhancements-for-start-transaction-with-consistent/

MySQL does not. There a lock stops writers for the moment between the two: on all tables where the
account may (RELOAD), else on the tables of the sync (LOCK TABLES). Both wait until what was
written is committed in the log and in the tables; without either nothing could be proven.

A table without transactions is locked by a session of its own until the picture is read.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass

from fuagent.encode.shown import shown
from fuagent.errors import HaltSyncError, TryAgainError
from fuagent.model import Finding, Level
from fuagent.sources.mysql.columns import quoted
from fuagent.sources.mysql.link import Address, Link, RawRow
from fuagent.sources.mysql.server import Server
from fuagent.sources.mysql.tables import Layout, layouts

_LOCK_FOR = 10
"""Seconds to wait for a lock: whoever writes waits behind us meanwhile."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture under way. It holds a transaction, and locks if it has to, until :meth:`close`."""

    link: Link
    """The session the transaction belongs to."""
    beside: Link
    """Another one, for what must not happen inside the transaction."""
    held: AsyncExitStack
    """All that :meth:`close` lets go of."""
    database: str
    layouts: tuple[Layout, ...]
    file: str
    """The binlog file the place lies in."""
    position: int
    """Bytes into that file."""
    gtid: str
    """What is committed at the place: MariaDB's list of last GTIDs, MySQL's set; empty where there is none."""

    async def close(self) -> None:
        """Release what holds the picture."""
        await self.held.aclose()

    async def rows(self, chunk: int) -> AsyncGenerator[tuple[Layout, list[RawRow]], None]:
        """All rows as the server sends them, table by table, at most ``chunk`` at a time.

        Raises:
            TryAgainError: a table was changed under the picture; the rows so far are worth nothing.
        """
        for layout in self.layouts:
            # Rolled back to behind each table, so that nobody waits for the end of all to alter one: MySQL does
            # it for everybody, MariaDB for accounts with BINLOG ADMIN.
            await self.link.rows("SAVEPOINT fuagent")
            async with aclosing(self.link.raw(_selecting(layout), chunk)) as some:
                async for rows in some:
                    yield layout, rows
            if await layouts(self.beside, (layout.name,), self.database) != [layout]:
                raise _changed(layout, self.link.where)
            await self.link.rows("ROLLBACK TO SAVEPOINT fuagent")


def _selecting(layout: Layout) -> str:
    columns = ", ".join(one.select for one in layout.columns)
    return f"SELECT {columns} FROM {quoted(layout.name)}"  # noqa: S608 - names go through quote


def _changed(layout: Layout, where: str) -> TryAgainError:
    what = f"table {shown(layout.table.label)} was altered while its snapshot was read"
    return TryAgainError(what, where=where, fix="the snapshot begins again")


async def take(
    address: Address,
    server: Server,
    tables: Sequence[Layout],
    warn: Callable[[Finding], None] = lambda _finding: None,
) -> Picture:
    """Take a picture of these tables. The caller closes it, also after an error in the middle.

    Raises:
        TryAgainError: a lock was not to be had in time, or the server is not reachable.
        HaltSyncError: the log is off, or the account may not take the lock it needs.
    """
    async with AsyncExitStack() as held:

        async def opened() -> Link:
            link = await Link.open(address)
            held.push_async_callback(link.close)
            await link.rows(f"SET SESSION lock_wait_timeout = {_LOCK_FOR}")
            return link

        link, beside = await opened(), await opened()
        await link.rows("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        # MariaDB lets go of a table's metadata lock before the end only for a session that logs nothing.
        await link.attempt("SET SESSION sql_log_bin = 0")
        fixed = [one for one in tables if not one.transactional]
        if fixed:
            await _lock(await opened(), fixed, "they know no transactions")
            why, fix = "until it is read, because they know no transactions", "ALTER TABLE … ENGINE = InnoDB"
            warn(_told(link.where, fixed, why, fix))
        if server.mariadb:
            file, offset, gtid = await _mariadb(link)
        else:
            file, offset, gtid = await _mysql(link, beside, server, tables, warn)
        return Picture(link, beside, held.pop_all(), address.database, tuple(tables), file, offset, gtid)


async def _start(link: Link) -> None:
    await link.rows("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")


async def _mariadb(link: Link) -> tuple[str, int, str]:
    await _start(link)
    status: dict[str, str] = dict(await link.rows("SHOW STATUS LIKE 'binlog_snapshot_%'"))
    file, position = status.get("Binlog_snapshot_file", ""), int(status.get("Binlog_snapshot_position") or 0)
    if not file:
        raise _no_log(link.where)
    gtid = await link.one(f"SELECT BINLOG_GTID_POS(%s, {position})", (file,))
    return file, position, str(gtid[0] or "") if gtid else ""


async def _mysql(
    link: Link, beside: Link, server: Server, tables: Sequence[Layout], warn: Callable[[Finding], None]
) -> tuple[str, int, str]:
    # FLUSH would wait for a lock that another session of ours holds already.
    fixed = not all(one.transactional for one in tables)
    if fixed or not await beside.attempt("FLUSH TABLES WITH READ LOCK"):
        await _lock(beside, tables, "the account lacks RELOAD")
        why, fix = "for a moment, because the account may not lock all tables at once", "GRANT RELOAD to the account"
        warn(_told(link.where, tables, why, fix))
    await _start(link)
    place = await position(beside, server)
    await beside.rows("UNLOCK TABLES")
    return place


async def position(link: Link, server: Server) -> tuple[str, int, str]:
    """Where the log ends now: file, offset, and on MySQL the set of GTIDs.

    Raises:
        HaltSyncError: there is no log.
    """
    found = await link.one(server.log_status)
    if found is None:
        raise _no_log(link.where)
    # MySQL: file, position, two filters, GTIDs.
    gtid = "" if server.mariadb or len(found) < 5 else "".join(str(found[4] or "").split())
    return str(found[0]), int(found[1]), gtid


def _no_log(where: str) -> HaltSyncError:
    return HaltSyncError(
        "the server writes no binlog", where=where, fix="set log_bin in its configuration, and restart it"
    )


async def _lock(link: Link, tables: Sequence[Layout], why: str) -> None:
    names = ", ".join(f"{quoted(one.name)} READ" for one in tables)
    if not await link.attempt(f"LOCK TABLES {names}"):
        labels = shown(", ".join(one.table.label for one in tables))
        schemas = ", ".join(dict.fromkeys(one.name.schema for one in tables))
        raise HaltSyncError(
            f"a snapshot has to lock {labels}, because {why}, and the account may not",
            where=link.where,
            fix=f"GRANT LOCK TABLES on the tables of {shown(schemas)}",
        )


def _told(where: str, tables: Sequence[Layout], why: str, fix: str) -> Finding:
    labels = shown(", ".join(one.table.label for one in tables))
    return Finding(Level.WARNING, where, f"writers of {labels} wait while a snapshot is taken, {why}.", f"{fix}.")
