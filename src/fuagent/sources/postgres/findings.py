"""The preflight: what would go wrong later, each with the exact statement that mends it. It changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from fuagent.encode.shown import shown
from fuagent.errors import HaltSyncError
from fuagent.model import Deletes, Finding, Level
from fuagent.sources.postgres import slots
from fuagent.sources.postgres.columns import quote, quoted
from fuagent.sources.postgres.link import Link
from fuagent.sources.postgres.partitions import NOTICED
from fuagent.sources.postgres.server import PREPARED, Server, oldest_transaction
from fuagent.sources.postgres.slots import Publication, Slot
from fuagent.sources.postgres.tables import Layout
from fuagent.sources.selection import Listing, passed_over

_DECODES_IN_RECOVERY = 160_000
_LIMITS = 130_000
"""From this version on the log that a slot may keep can be limited."""
_CHECKS_GENERATED = 180_000
"""From this version on an UPDATE fails where the old row has generated columns that are not published."""
_LONG = 60
"""Seconds after which an open transaction is worth a word."""
_MANY = 10_000
"""The same in transactions of others, where nothing else is known of its age."""
_MUCH = 1 << 30
"""Bytes of the log that are worth a word when nobody reads them."""
_STATEMENT = 4000
"""Characters of a statement that are shown."""


async def findings(
    link: Link,
    server: Server,
    tables: Sequence[Layout],
    found: Listing | None = None,
    wanted: Sequence[str] = (),
    *,
    publication: str,
    slot: str,
    deletes: Deletes | None = None,
) -> list[Finding]:
    """Everything worth knowing before the first row, each with what to do.

    Args:
        found: What there is, and with it ``wanted``: what the sync names; tells of what a pattern passes over.
        publication: Name of the sync's publication, which may not be there yet.
        slot: Name of its slot, likewise.
        deletes: What is sent for deleted rows; None where that is not known yet.
    """
    where = link.where
    said = [*_log(where, server), *_account(where, server)]
    kept: Slot | None = None
    try:
        kept = await slots.slot(link, slot)
    except HaltSyncError as error:
        said.append(Finding(Level.ERROR, where, f"{error.what}.", f"{error.fix}."))
    said += [*_limits(where, server, kept), *_kept(where, server, slot, kept)]
    for one in tables:
        said += [*await _read(link, server, one), *_identity(where, server, one), *_shape(where, server, one)]
    said += _deletes(where, server, tables, deletes)
    said += await _published(link, server, tables, publication)
    said += await _open(link)
    said += await _encryption(link)
    return said + (passed_over(found, wanted, where) if found else [])


def unusable(where: str, server: Server, tables: Sequence[Layout]) -> Iterator[Finding]:
    """Those of them for which a sync may not start: nothing can be read, or the application could not write any more."""
    said = chain(_log(where, server), *(_identity(where, server, one) for one in tables))
    return (finding for finding in said if finding.level is Level.ERROR)


def _sql(text: str) -> str:
    """A statement, or a name in one, in its whole length: it is there to be run."""
    return shown(text, _STATEMENT)


# ------------------------------------------------------------------ the server


def _log(where: str, server: Server) -> Iterator[Finding]:
    if server.wal_level != "logical":
        yield Finding(
            Level.ERROR,
            where,
            f"the server's log holds no rows: wal_level is {server.wal_level}.",
            "ALTER SYSTEM SET wal_level = logical; then restart the server (on Amazon RDS: rds.logical_replication = 1; "
            "on Google Cloud SQL: cloudsql.logical_decoding = on).",
        )
    if server.recovering and server.version < _DECODES_IN_RECOVERY:
        yield Finding(
            Level.ERROR,
            where,
            "the server is a standby, whose log cannot be followed before version 16.",
            "Name the primary in endpoint.",
        )
    if server.encoding == "SQL_ASCII":
        yield Finding(
            Level.WARNING,
            where,
            "the database takes texts in any encoding (SQL_ASCII): one that is not UTF-8 stops the sync.",
            "Move the rows to a database with the encoding UTF8.",
        )


def _account(where: str, server: Server) -> Iterator[Finding]:
    role = _sql(quote(server.user))
    if not server.replicates:
        yield Finding(
            Level.ERROR,
            where,
            "the account may not read the log.",
            f"ALTER ROLE {role} REPLICATION; (on Amazon RDS: GRANT rds_replication TO {role};)",
        )
    if server.superuser:
        yield Finding(
            Level.WARNING,
            where,
            f"the account {role} is a superuser; reading needs none of that.",
            "Make an account with REPLICATION, and SELECT on the tables.",
        )


def _limits(where: str, server: Server, kept: Slot | None) -> Iterator[Finding]:
    used, most = server.slots
    if used + (1 if kept else 2) > most:
        what = f"{used} of {most} replication slots are in use; a sync keeps one, and a snapshot takes one more for a moment."
        fix = f"ALTER SYSTEM SET max_replication_slots = {most + 5}; then restart the server."
        yield Finding(Level.ERROR, where, what, fix)
    sending, senders = server.senders
    if sending + (1 if kept and kept.pid else 2) > senders:
        what = f"{sending} of {senders} WAL senders are in use; a sync keeps one, and a snapshot takes one more for a moment."
        fix = f"ALTER SYSTEM SET max_wal_senders = {senders + 5}; then restart the server."
        yield Finding(Level.ERROR, where, what, fix)
    if server.keeps is None and server.version >= _LIMITS:
        yield Finding(
            Level.WARNING,
            where,
            "while the agent is stopped the server keeps its log for it without a limit, until the disk is full.",
            "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf(); or watch what fuagent status shows.",
        )


def _kept(where: str, server: Server, name: str, kept: Slot | None) -> Iterator[Finding]:
    if kept is None:
        return
    retained, start = f"{kept.retained >> 20} MB of its log", "" if kept.pid else "Start the agent. "
    if kept.lost:
        yield Finding(
            Level.WARNING,
            where,
            f"replication slot {shown(name)} is of no use any more ({shown(kept.lost)}): changes are missed.",
            "It is made anew when the sync starts, which then asks for a snapshot.",
        )
    elif kept.room is not None and server.keeps and kept.room < server.keeps // 4:
        yield Finding(
            Level.WARNING,
            where,
            f"the server keeps {retained} for this sync, and lets go of it in {max(0, kept.room) >> 20} MB.",
            f"{start}Raise max_slot_wal_keep_size, if there is room on the disk.",
        )
    elif kept.pid is None and kept.retained >= _MUCH:
        yield Finding(
            Level.WARNING,
            where,
            f"the server keeps {retained} for this sync, which nobody reads.",
            f"{start}If the sync is no more: SELECT pg_drop_replication_slot('{shown(name)}');",
        )


async def _open(link: Link) -> list[Finding]:
    """Transactions that a slot would wait for."""
    held = await oldest_transaction(link)
    if held is not None and (held.others >= _MANY if held.seconds is None else held.seconds >= _LONG):
        age = f"while {held.others} others began" if held.seconds is None else f"since {held.seconds} s"
        what = f"a transaction is open {age} (process {held.pid}); slots and snapshots wait for its end."
        return [Finding(Level.WARNING, link.where, what, f"End it, or SELECT pg_terminate_backend({held.pid});")]
    row = await link.one(PREPARED)
    if row is None or row[1] < _LONG:
        return []
    gid = shown(str(row[0]).replace("'", "''"))
    what = f"prepared transaction {shown(str(row[0]))} is open since {row[1]} s; slots and snapshots wait for its end."
    return [Finding(Level.WARNING, link.where, what, f"COMMIT PREPARED '{gid}'; or ROLLBACK PREPARED '{gid}';")]


async def _encryption(link: Link) -> list[Finding]:
    row = await link.one(
        "SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid() AND "
        "pg_catalog.inet_client_addr() IS DISTINCT FROM pg_catalog.inet_server_addr() AND NOT "
        "pg_catalog.inet_client_addr() <<= ANY(ARRAY['127.0.0.0/8', '::1/128']::pg_catalog.inet[])"
    )
    if row is None or row[0]:
        return []
    what = "rows and changes cross the network readable: the connection is not encrypted."
    return [
        Finding(Level.WARNING, link.where, what, "Set driver_params.tls to verify, and switch ssl on at the server.")
    ]


# ------------------------------------------------------------------ tables

_MAY = (
    "SELECT pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE'), pg_catalog.has_table_privilege(c.oid, 'SELECT'), "
    "c.relrowsecurity FROM pg_catalog.pg_class c WHERE c.oid = %s"
)


async def _read(link: Link, server: Server, one: Layout) -> list[Finding]:
    """Whether a snapshot may read the table."""
    columns = ", ".join(each.select for each in one.columns)
    if await link.attempt(f"SELECT {columns} FROM {quoted(one.name)} LIMIT 0"):  # noqa: S608 - names go through quote
        return []
    uses, reads, guarded = await link.one(_MAY, (one.oid,)) or (False, False, False)
    label, role = shown(one.table.label), _sql(quote(server.user))
    if uses and reads and guarded:
        what = f"policies of table {label} would hide rows from the account; it reads all of them or none."
        return [Finding(Level.ERROR, link.where, what, f"ALTER ROLE {role} BYPASSRLS;")]
    schema = "" if uses else f"GRANT USAGE ON SCHEMA {_sql(quote(one.name.schema))} TO {role}; "
    table = "" if reads else f"GRANT SELECT ON {_sql(quoted(one.name))} TO {role};"
    what = f"the account may not read table {label}."
    return [Finding(Level.ERROR, link.where, what, f"{schema}{table}".strip())]


def _identity(where: str, server: Server, one: Layout) -> Iterator[Finding]:
    """Whether the application can still write a table that is published, and the log holds of old rows what it promises."""
    label, name = shown(one.table.label), _sql(quoted(one.name))
    fails = "once it is published, every UPDATE and DELETE of it fails"
    bare = [leaf.name for leaf in one.leaves if not leaf.identified]
    if bare:
        what = f"partition {shown(bare[0].table)} of table {label} has no replica identity: {fails}."
        full = " ".join(f"ALTER TABLE {quoted(leaf)} REPLICA IDENTITY FULL;" for leaf in bare)
        yield Finding(Level.ERROR, where, what, f"Give the table a primary key, or {_sql(full)}")
    elif not one.held:
        what = f"table {label} has no replica identity: {fails}."
        fix = f"Give it a primary key, or ALTER TABLE {name} REPLICA IDENTITY FULL;"
        yield Finding(Level.ERROR, where, what, fix)
    if one.uneven and not bare:
        fix = " ".join(f"ALTER TABLE {quoted(leaf.name)} REPLICA IDENTITY FULL;" for leaf in one.uneven)
        what = (
            f"partition {shown(one.uneven[0].name.table)} of table {label} is not REPLICA IDENTITY FULL as the table is: "
            "its old rows would come with NULL where they have values."
        )
        yield Finding(Level.ERROR, where, what, _sql(fix))
    for what, fix in one.generated_faults():
        yield Finding(Level.ERROR, where, f"table {label} {what}.", f"{_sql(fix)}.")
    if one.full and one.generated and server.version < _CHECKS_GENERATED:
        yield Finding(
            Level.WARNING,
            where,
            f"old rows of table {label} have generated columns: once the server is of version 18, every UPDATE and DELETE "
            "of it fails until the publication holds them.",
            "Start the sync right after such an upgrade, which sees to it; or ALTER PUBLICATION … SET "
            "(publish_generated_columns = stored); there.",
        )


def _shape(where: str, server: Server, one: Layout) -> Iterator[Finding]:
    label = shown(one.table.label)
    if one.partitioned and server.version < NOTICED:
        what = (
            f"a server before version 15 does not notice in its log that a partition is attached to table {label}: the "
            "agent does within half a minute, and then takes the sync for one that has lost its place."
        )
        fix = "Make partitions with CREATE TABLE … PARTITION OF, which costs nothing; behind an ATTACH a snapshot is needed."
        yield Finding(Level.WARNING, where, what, fix)
    if one.held and not one.table.key:
        what = f"table {label} has no primary key: the service cannot tell which row a change belongs to."
        fix = "Declare a PRIMARY KEY, or a UNIQUE one over columns that are NOT NULL."
        yield Finding(Level.WARNING, where, what, fix)
    if one.generated:
        names = shown(", ".join(one.generated))
        what = f"generated columns of table {label} are left out, of the snapshot as of changes: {names}."
        yield Finding(Level.WARNING, where, what, "Work them out at the service.")
    for leaf in one.leaves:
        if not leaf.logged:
            what = (
                f"partition {shown(leaf.name.table)} of table {label} is unlogged or foreign: its changes are not sent."
            )
            fix = (
                f"ALTER TABLE {_sql(quoted(leaf.name))} SET LOGGED; for a foreign one, follow the table it stands for."
            )
            yield Finding(Level.ERROR, where, what, fix)
    if one.inherited:
        what = f"other tables inherit from table {label}: their rows are not among those that are sent."
        yield Finding(Level.INFO, where, what, "Name them in tables too.")


def _deletes(where: str, server: Server, tables: Sequence[Layout], deletes: Deletes | None) -> Iterator[Finding]:
    """Deleted rows of which the log holds the key alone are left out where whole rows are sent for them."""
    keyed = [one for one in tables if one.held and one.identity != "f"]
    if not keyed or deletes in {Deletes.MARK, Deletes.SKIP}:
        return
    names = shown(", ".join(one.table.label for one in keyed), _STATEMENT)
    full = [one for one in keyed if server.version < _CHECKS_GENERATED or not one.generated]
    statements = " ".join(
        f"ALTER TABLE {quoted(name)} REPLICA IDENTITY FULL;"
        for one in full
        for name in (one.name, *(leaf.name for leaf in one.leaves))
    )
    yield Finding(
        Level.INFO if deletes is None else Level.WARNING,
        where,
        f"the log holds nothing but the key of rows that are deleted from {names}: with deletes: row they are not sent.",
        f"{_sql(statements)} or send deletes: mark.".lstrip() if statements else "Send deletes: mark.",
    )


# ------------------------------------------------------------------ the publication


async def _published(link: Link, server: Server, tables: Sequence[Layout], name: str) -> list[Finding]:
    found = await slots.publication(link, name)
    strange = [one.table.label for one in tables if not await _owns(link, one)]
    if found is None:
        return await _unpublished(link, server, tables, name, strange)
    return list(_lacking(link.where, tables, name, found, strange))


async def _owns(link: Link, one: Layout) -> bool:
    [(owns,)] = await link.rows("SELECT pg_catalog.pg_has_role(%s::pg_catalog.name, 'USAGE')", (one.owner,))
    return bool(owns)


async def _unpublished(
    link: Link, server: Server, tables: Sequence[Layout], name: str, strange: Sequence[str]
) -> list[Finding]:
    """What stands in the way of making the publication."""
    [(creates,)] = await link.rows("SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')")
    if server.recovering:
        why = "a standby takes no writes"
    elif strange:
        why = f"it does not own {shown(', '.join(strange))}"
    elif not creates:
        why = "it may not create anything in the database"
    else:
        return []
    statement = _sql(slots.statement(name, tables, server.version))
    what = f"there is no publication of the tables, and the account cannot make one: {why}."
    at = "On the primary, as" if server.recovering else "As"
    return [Finding(Level.ERROR, link.where, what, f"{at} the owner of the tables: {statement};")]


def _lacking(
    where: str, tables: Sequence[Layout], name: str, found: Publication, strange: Sequence[str]
) -> Iterator[Finding]:
    """What is wrong with a publication that is there. Tables that are ours to add are added when the sync starts."""
    # Where partitions are published one by one, the server tells of them and not of their table.
    apart = set() if found.via_root else {one.oid for one in tables if one.partitioned}
    if found.everything and not apart:
        yield Finding(
            Level.WARNING,
            where,
            f"publication {shown(name)} takes in tables by itself; one without a replica identity can then not be updated "
            "any more.",
            "Name the tables in the publication.",
        )
    missing = [one for one in tables if one.oid not in found.tables and one.oid not in apart]
    missing = [one for one in missing if not found.ours or one.table.label in strange]
    if missing:
        named = ", ".join(quoted(one.name) if one.partitioned else f"ONLY {quoted(one.name)}" for one in missing)
        yield Finding(
            Level.ERROR,
            where,
            f"publication {shown(name)} lacks {shown(', '.join(one.table.label for one in missing))}.",
            f"As its owner: ALTER PUBLICATION {_sql(quote(name))} ADD TABLE {_sql(named)};",
        )
    for what, fix in slots.kept_back(name, found, tables):
        yield Finding(Level.ERROR, where, f"publication {shown(name)} {what}.", f"{fix};")
