"""What a sync needs on the server: a publication of its tables, and the slot that keeps the log.

The publication comes first: a slot that is older than its publication can never be read (the stream looks
the publication up as it was at each change). Publication and slot have one name, made of the agent's and the sync's.

A comment on the publication holds which tables were published under which OIDs, and the OIDs of their being in it, so
that a table that was taken out of it, though it may be there again, or dropped and made anew, is told from one that is
new in the sync.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson

from fuagent.encode.shown import shown
from fuagent.errors import HaltSyncError, LostPlaceError, TryAgainError
from fuagent.sources.address import Address
from fuagent.sources.postgres.columns import quote, quoted
from fuagent.sources.postgres.dump import AGAIN, LEAVING, Commands, let_in
from fuagent.sources.postgres.link import Link
from fuagent.sources.postgres.server import PREPARED, oldest_transaction
from fuagent.sources.postgres.tables import Layout
from fuagent.wire.postgres import lsn

_NAME_MOST = 63
_UNCLEAN = re.compile(r"[^a-z0-9_]")
WAIT_FOR = 60.0
"""Seconds a slot may take to be made: it waits for every transaction that is open."""
_VIA_ROOT = 130_000
_LISTS = 150_000
_FAILOVER = 170_000
_GENERATED = 180_000
"""From this version on generated columns can be published, and have to be where old rows are whole."""
_SOME = (
    "CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_publication_rel l WHERE l.prpubid = p.oid AND l.prattrs IS NOT NULL) "
    "THEN t.attnames::pg_catalog.text[] END, t.rowfilter IS NOT NULL"
)
"""Columns that are published and whether some rows alone are. The view names all columns where nobody has listed any,
and between two looks at a table some may come and go."""
_STATEMENT = 4000
"""Characters of a statement that are shown."""


def name_of(agent_id: str, sync: str) -> str:
    """The name of a sync's publication and slot: small letters, digits and underscores, 63 at most."""
    wanted = f"fuagent_{agent_id.removeprefix('agent-')}_{sync}"
    clean = _UNCLEAN.sub("_", wanted.lower())
    if clean == wanted and len(clean) <= _NAME_MOST:
        return clean
    return f"{clean[: _NAME_MOST - 9]}_{hashlib.sha256(wanted.encode()).hexdigest()[:8]}"


# ------------------------------------------------------------------ slots

_TAKEN = "wal_removed"
_INVALID = {
    _TAKEN: (
        "the server keeps no more of its log than max_slot_wal_keep_size",
        "raise max_slot_wal_keep_size, so that the server keeps its log for longer than any outage",
    ),
    "idle_timeout": (
        "nobody read it for longer than idle_replication_slot_timeout",
        "raise idle_replication_slot_timeout above any outage, or set it to 0; max_slot_wal_keep_size protects the disk",
    ),
    "rows_removed": (
        "the standby has removed rows of its catalogue that are needed to read the log",
        "set hot_standby_feedback = on, and primary_slot_name, at the standby",
    ),
    "wal_level_insufficient": (
        "wal_level was not logical for a while",
        "keep wal_level = logical, at the primary too",
    ),
}
"""pg_replication_slots.invalidation_reason → what happened, and what avoids it."""
_OTHERWISE = ("the server has invalidated it", "see what the server's manual says of that reason")


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication slot as the server shows it."""

    confirmed: int
    """All that was committed before is let go of."""
    pid: int | None
    """Who reads it."""
    lost: str
    """Why nothing can be read from it any more; empty where it can."""
    fix: str
    """What avoids that; likewise."""
    retained: int
    """Bytes of the log it keeps."""
    room: int | None
    """Bytes until the server takes the log away from it; None where it never does, or does not say."""
    failover: bool | None
    """Whether standbys may keep a copy; None where that cannot be chosen: before version 17, and at a standby."""


async def slot(link: Link, name: str) -> Slot | None:
    """The slot of this name in this database; None where there is none.

    Raises:
        HaltSyncError: the name is taken by a slot of another kind or database.
    """
    status = "s.wal_status, s.safe_wal_size" if link.version >= _VIA_ROOT else "NULL, NULL"
    reason = "NULL, NULL"
    if link.version >= _FAILOVER:
        reason = "s.invalidation_reason, CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN s.failover END"
    end = (
        "CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn() "
        "ELSE pg_catalog.pg_current_wal_lsn() END"
    )
    row = await link.one(
        "SELECT s.confirmed_flush_lsn::pg_catalog.text, s.active_pid, s.plugin = 'pgoutput' AND s.database = "  # noqa: S608 - constants
        f"pg_catalog.current_database(), {status}, {reason}, pg_catalog.pg_wal_lsn_diff({end}, s.restart_lsn)::pg_catalog.int8, "
        f"pg_catalog.pg_wal_lsn_diff({end}, s.confirmed_flush_lsn)::pg_catalog.int8, (SELECT setting::pg_catalog.int8 "
        "FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size') "
        "FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = %s",
        (name,),
    )
    if row is None:
        return None
    confirmed, pid, ours, state, room, why, failover, retained, unread, limit = row
    if not ours:
        raise HaltSyncError(
            f"replication slot {shown(name)} is of another database or kind",
            where=link.where,
            fix="name another one under driver_params.slot",
        )
    reason = why or (_TAKEN if state == "lost" else "")
    what, fix = _INVALID.get(reason, _OTHERWISE)
    if reason == _TAKEN and limit is not None and limit >= 0:
        what += f" ({limit} MB; {(unread or 0) >> 20} MB were unread)"
    lost, fix = (f"{reason}, {what}", fix) if reason else ("", "")
    place = lsn.number(confirmed) if confirmed else 0
    return Slot(place, pid, lost, fix, int(retained or 0), room, failover)


async def make_slot(address: Address, beside: Link, name: str, *, failover: bool) -> None:
    """Make the slot. It waits for the end of every transaction that is open now.

    With ``failover`` a standby may keep a copy of it, from version 17 on
    (https://www.postgresql.org/docs/current/logicaldecoding-explanation.html, replication slot synchronization).

    Raises:
        TryAgainError: they did not end in time; the oldest is named.
        HaltSyncError: the account may not, or there is no slot left.
    """
    link = await Link.open(address)
    try:
        rest = ", false, false, true" if failover and await _can_be_copied(link) else ""
        query = f"SELECT pg_catalog.pg_create_logical_replication_slot(%s, 'pgoutput'{rest})"
        await link.rows(query, (name,), within=WAIT_FOR)
    except TryAgainError as error:
        raise await given_up(beside, link.pid, error) from None
    finally:
        await link.close()


async def _can_be_copied(link: Link) -> bool:
    """Whether a slot made here may have copies: a standby's own has none."""
    return link.version >= _FAILOVER and await link.rows("SELECT pg_catalog.pg_is_in_recovery()") == [(False,)]


async def given_up(link: Link, pid: int, error: TryAgainError) -> TryAgainError:
    """The same error with what a slot waited for. The process that waits would not notice that nobody does any more."""
    await link.attempt(f"SELECT pg_catalog.pg_terminate_backend({pid})")
    await _gone(link, pid)
    held = await oldest_transaction(link, besides=pid)
    if held is not None:
        since = "" if held.seconds is None else f", since {held.seconds} s"
        what = f"a slot waits for open transactions to end: process {held.pid} of the server has one{since}"
        return TryAgainError(what, where=link.where, fix=f"end it, or SELECT pg_terminate_backend({held.pid})")
    row = await link.one(PREPARED)
    if row is None:
        return error
    what = f"a slot waits for the prepared transaction {shown(str(row[0]))} to end"
    return TryAgainError(what, where=link.where, fix="COMMIT PREPARED or ROLLBACK PREPARED it")


async def _gone(link: Link, pid: int) -> None:
    """Wait, not for long, until a process has ended: its slot, half made, would be taken for a whole one."""
    clock = asyncio.get_running_loop().time
    end = clock() + LEAVING
    while await link.one("SELECT 1 FROM pg_catalog.pg_stat_activity WHERE pid = %s", (pid,)) is not None:
        if clock() > end:
            return
        await asyncio.sleep(AGAIN)


async def drop_slot(link: Link, name: str) -> bool:
    """Drop the slot; whether there was one.

    Raises:
        TryAgainError: it is being read.
    """
    if await link.one("SELECT 1 FROM pg_catalog.pg_replication_slots WHERE slot_name = %s", (name,)) is None:
        return False
    await let_in(lambda: link.rows("SELECT pg_catalog.pg_drop_replication_slot(%s)", (name,)))
    return True


# ------------------------------------------------------------------ publications


@dataclass(frozen=True, slots=True)
class Publication:
    """A publication as it stands."""

    operations: bool
    """Whether it publishes all four of them."""
    via_root: bool
    generated: bool
    """Whether generated columns keep nobody from updating a table: before version 18 they never do."""
    tables: Mapping[int, tuple[str, ...] | None]
    """OIDs of the tables → the columns published, None for all of them, whatever these are by now."""
    filtered: frozenset[int]
    """Tables of which some rows alone are published."""
    members: Mapping[int, int]
    """OIDs of the tables that are named one by one → pg_publication_rel's; a table that was taken out and in again has another."""
    marked: Mapping[int, int | None]
    """Those of the sync's tables when it was last prepared, None where it is not named itself."""
    ours: bool
    """Whether the account owns it."""
    everything: bool
    """FOR ALL TABLES, or for schemas: its tables are not named one by one."""

    def of(self, tables: Iterable[int]) -> dict[int, int | None]:
        """What is to be remembered of these tables."""
        return {oid: self.members.get(oid) for oid in tables}

    def holds(self, oid: int, before: int | None) -> bool:
        """Whether a table has been in it without a break since it was remembered so."""
        return oid in self.tables and self.members.get(oid) == before


async def publication(link: Link, name: str) -> Publication | None:
    """The publication of this name; None where there is none."""
    root = "p.pubviaroot" if link.version >= _VIA_ROOT else "false"
    schemas = "EXISTS (SELECT FROM pg_catalog.pg_publication_namespace s WHERE s.pnpubid = p.oid)"
    generated = "p.pubgencols = 's'" if link.version >= _GENERATED else "true"
    row = await link.one(
        "SELECT p.oid, p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate, "  # noqa: S608 - constants
        f"{root}, {generated}, p.puballtables OR {schemas if link.version >= _LISTS else 'false'}, "
        "pg_catalog.pg_has_role(p.pubowner, 'USAGE'), pg_catalog.obj_description(p.oid, 'pg_publication') "
        "FROM pg_catalog.pg_publication p WHERE p.pubname = %s",
        (name,),
    )
    if row is None:
        return None
    _, operations, via_root, gives_generated, every, ours, comment = row
    lists = _SOME if link.version >= _LISTS else "NULL, false"
    tables = await link.rows(
        f"SELECT c.oid, {lists}, (SELECT m.oid FROM pg_catalog.pg_publication_rel m WHERE m.prpubid = p.oid "  # noqa: S608 - constants
        "AND m.prrelid = c.oid) FROM pg_catalog.pg_publication_tables t "
        "JOIN pg_catalog.pg_namespace n ON n.nspname = t.schemaname "
        "JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename "
        "JOIN pg_catalog.pg_publication p ON p.pubname = t.pubname "
        "WHERE t.pubname = %s",
        (name,),
    )
    return Publication(
        operations,
        via_root,
        gives_generated,
        {oid: tuple(names) if names else None for oid, names, *_ in tables},
        frozenset(oid for oid, _, some, _ in tables if some),
        {oid: member for oid, *_, member in tables if member is not None},
        _marked(comment),
        ours,
        every,
    )


def _marked(comment: str | None) -> dict[int, int | None]:
    try:
        return {int(oid): member for oid, member in orjson.loads(comment or "{}").get("fuagent", {}).items()}
    except (ValueError, AttributeError):
        return {}


def kept_back(name: str, found: Publication, tables: Sequence[Layout]) -> Iterator[tuple[str, str]]:
    """What a publication keeps back of these tables, and the statement that mends it."""
    quoted_name = shown(quote(name))
    if not found.operations:
        yield (
            "does not publish every kind of change",
            f"ALTER PUBLICATION {quoted_name} SET (publish = 'insert, update, delete, truncate')",
        )
    if not found.via_root and any(one.partitioned for one in tables):
        yield (
            "publishes partitions under their own names",
            f"ALTER PUBLICATION {quoted_name} SET (publish_via_partition_root = true)",
        )
    whole = [one for one in tables if one.full and one.generated]
    if whole and not found.generated and not found.ours:
        yield (
            f"leaves out generated columns, so that no row of table {shown(whole[0].table.label)} can be updated or deleted",
            f"ALTER PUBLICATION {quoted_name} SET (publish_generated_columns = stored)",
        )
    for one in tables:
        columns = found.tables.get(one.oid)
        lacking = columns is not None and not {each.column.name for each in one.columns} <= set(columns)
        if lacking or one.oid in found.filtered:
            what, table = "columns" if lacking else "rows", shown(quoted(one.name))
            yield (
                f"publishes some {what} of table {shown(one.table.label)} alone",
                f"ALTER PUBLICATION {quoted_name} DROP TABLE {table}; ALTER PUBLICATION {quoted_name} ADD TABLE {table}",
            )


def missed(name: str, found: Publication, before: Mapping[int, int | None], tables: Iterable[Layout]) -> str:
    """What a publication kept back of these tables, or may have kept back since it was remembered; empty for nothing."""
    tables = list(tables)
    gone = next((one for one in tables if one.oid in before and one.oid not in found.tables), None)
    if gone is None and (back := next(kept_back(name, found, tables), None)):
        return f"publication {shown(name)} {back[0]}"
    gone = gone or next(
        (one for one in tables if one.oid in before and not found.holds(one.oid, before[one.oid])), None
    )
    if gone is None:
        return ""
    again = ", though it is there again" if gone.oid in found.tables else ""
    return f"table {shown(gone.table.label)} was dropped, or taken out of publication {shown(name)}{again}"


def statement(name: str, tables: Sequence[Layout], version: int) -> str:
    """What makes the publication.

    Generated columns are not sent, and yet they are published: or else a table with REPLICA IDENTITY FULL that has
    one, or gets one some day, could not be updated any more.
    """
    named = ", ".join(_member(one) for one in tables)
    options = ["publish_via_partition_root = true"] if version >= _VIA_ROOT else []
    options += ["publish_generated_columns = stored"] if version >= _GENERATED else []
    given = f" WITH ({', '.join(options)})" if options else ""
    return f"CREATE PUBLICATION {quote(name)} FOR TABLE {named}{given}"


def _member(one: Layout) -> str:
    """A table in a publication: without ONLY those that inherit from it would be taken too."""
    return quoted(one.name) if one.partitioned else f"ONLY {quoted(one.name)}"


@dataclass(frozen=True, slots=True)
class Keeper:
    """Makes and mends what a sync needs."""

    address: Address
    link: Link
    publication: str
    slot: str
    failover: bool = True

    async def prepare(self, tables: Sequence[Layout], *, mend: bool) -> dict[int, int | None]:
        """Publication and slot for these tables; gives how they are in it: see :meth:`Publication.holds`.

        Raises:
            LostPlaceError: changes may have been missed; with ``mend`` it is put right instead.
            HaltSyncError: the account may not, or somebody's settings keep changes back.
        """
        link = self.link
        found, kept = await publication(link, self.publication), await slot(link, self.slot)
        loss = self._loss(found, kept, tables)
        if loss and not mend:
            raise LostPlaceError(loss, where=link.where, fix=kept.fix if kept else "")
        if kept is not None and (kept.lost or found is None):
            await drop_slot(link, self.slot)
            kept = None
        if found is None:
            await self._make(tables)
        else:
            self._proven(found, tables)
            await self._adapt(found, tables)
        if kept is None:
            await make_slot(self.address, link, self.slot, failover=self.failover)
        elif kept.failover not in (None, self.failover):
            await self._alter_slot()
        return await self._mark(tables)

    def _loss(self, found: Publication | None, kept: Slot | None, tables: Sequence[Layout]) -> str:
        """Why changes may have been missed since it was last prepared; empty where they were not."""
        if found is None:
            return "" if kept is None else f"publication {shown(self.publication)} is gone, and its slot is not"
        if kept is not None and kept.lost:
            return f"replication slot {shown(self.slot)} is of no use any more: {shown(kept.lost)}"
        if kept is None and found.marked:
            return f"replication slot {shown(self.slot)} is gone"
        # A table that is new in the sync has missed nothing.
        old = [one for one in tables if one.oid in found.marked or not found.marked]
        return missed(self.publication, found, found.marked, old) if kept is not None else ""

    def _proven(self, found: Publication, tables: Sequence[Layout]) -> None:
        """See that nothing of these tables is kept back.

        Raises:
            HaltSyncError: something is.
        """
        for what, fix in kept_back(self.publication, found, tables):
            raise HaltSyncError(f"publication {shown(self.publication)} {what}", where=self.link.where, fix=fix)

    async def _make(self, tables: Sequence[Layout]) -> None:
        wanted = statement(self.publication, tables, self.link.version)
        await self._run(wanted, "there is no publication of the tables, and the account may not make one")

    async def _adapt(self, found: Publication, tables: Sequence[Layout]) -> None:
        """Take in what is new, and out what the sync follows no more: its owners may have dropped its key."""
        name, wanted = quote(self.publication), {one.oid for one in tables}
        if found.ours and not found.generated:
            # Made before version 18. First of all: the tables that are taken in may need it.
            await self.link.rows(f"ALTER PUBLICATION {name} SET (publish_generated_columns = stored)")
        new = [_member(one) for one in tables if one.oid not in found.tables]
        if new:
            what = f"publication {shown(self.publication)} lacks tables, and the account may not add them"
            await self._run(f"ALTER PUBLICATION {name} ADD TABLE {', '.join(new)}", what)
        old = sorted((found.tables.keys() & found.marked.keys()) - wanted)
        if old and found.ours and not found.everything:
            names = await self.link.rows(
                "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON "
                "n.oid = c.relnamespace WHERE c.oid = ANY(%s::pg_catalog.oid[])",
                (old,),
            )
            named = ", ".join(f"{quote(schema)}.{quote(table)}" for schema, table in names)
            await self.link.attempt(f"ALTER PUBLICATION {name} DROP TABLE {named}")

    async def _alter_slot(self) -> None:
        """Have standbys keep a copy of the slot, or no more. It loses nothing by it.

        Raises:
            TryAgainError: it is being read.
        """
        commands = await Commands.open(self.address)
        try:
            wanted = "true" if self.failover else "false"
            await let_in(lambda: commands.rows(f"ALTER_REPLICATION_SLOT {quote(self.slot)} (FAILOVER {wanted})"))
        finally:
            await commands.close()

    async def _run(self, text: str, refused: str) -> None:
        if not await self.link.attempt(text):
            raise HaltSyncError(
                refused, where=self.link.where, fix=f"as the owner of the tables, run: {shown(text, _STATEMENT)};"
            )

    async def _mark(self, tables: Sequence[Layout]) -> dict[int, int | None]:
        """Write down what is published; where the account does not own the publication, nobody can."""
        found = await publication(self.link, self.publication)
        if found is None:
            raise TryAgainError(f"publication {shown(self.publication)} is gone again", where=self.link.where)
        now = found.of(sorted(one.oid for one in tables))
        if found.marked != now:
            told = orjson.dumps({"fuagent": now}, option=orjson.OPT_NON_STR_KEYS).decode()
            await self.link.attempt(f"COMMENT ON PUBLICATION {quote(self.publication)} IS '{told}'")
        return now

    async def remove(self) -> list[str]:
        """Take both out of the database; what was there, one line each."""
        done = []
        if await drop_slot(self.link, self.slot):
            done.append(f"dropped replication slot {self.slot}")
        if await publication(self.link, self.publication) is not None:
            if await self.link.attempt(f"DROP PUBLICATION {quote(self.publication)}"):
                done.append(f"dropped publication {self.publication}")
            else:
                done.append(f"publication {self.publication} stays: the account does not own it")
        return done
