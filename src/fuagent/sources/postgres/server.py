"""What is asked of a server: what it is, once, when it is connected; and who holds up what has to wait for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fuagent.errors import HaltSyncError
from fuagent.sources.postgres.link import Link

OLDEST = 120_000
"""The version from which on its log can be followed."""
_HOSTED = ["rds_replication", "cloudsqlsuperuser", "azure_pg_admin"]
"""Roles by which hosted servers hand out what the attribute REPLICATION gives elsewhere."""
_SETTING = "(SELECT setting::pg_catalog.int8 FROM pg_catalog.pg_settings WHERE name = '{}')"
# After a promotion the checkpoint is of the old timeline for a while; the name of the log's file is not.
_TIMELINE = (
    "CASE WHEN pg_catalog.pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()) ELSE "
    "('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8))"
    "::pg_catalog.bit(32)::pg_catalog.int4 END"
)
_ASK = (
    f"SELECT s.system_identifier::pg_catalog.text, {_TIMELINE}, pg_catalog.pg_is_in_recovery(), "  # noqa: S608 - constants
    "pg_catalog.current_setting('wal_level'), (SELECT count(*) FROM pg_catalog.pg_replication_slots), "
    f"{_SETTING.format('max_replication_slots')}, "
    "(SELECT count(*) FROM pg_catalog.pg_stat_get_wal_senders() w WHERE w.pid IS NOT NULL), "
    f"{_SETTING.format('max_wal_senders')}, {_SETTING.format('max_slot_wal_keep_size')}, "
    f"{_SETTING.format('wal_sender_timeout')}, pg_catalog.current_setting('server_encoding'), r.rolname, r.rolsuper, "
    "r.rolreplication OR EXISTS (SELECT FROM pg_catalog.pg_roles h WHERE h.rolname = ANY(%s::pg_catalog.text[]) AND "
    "pg_catalog.pg_has_role(r.oid, h.oid, 'MEMBER')) FROM pg_catalog.pg_control_system() s, pg_catalog.pg_roles r "
    "WHERE r.rolname = CURRENT_USER"
)

# Others' transactions show their start to members of pg_read_all_stats alone, and their locks to everybody.
_OLDEST = (
    "SELECT l.pid, pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - a.xact_start)::pg_catalog.int8, "
    "pg_catalog.age(l.transactionid) FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid "
    "WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid <> %s "
    "ORDER BY pg_catalog.age(l.transactionid) DESC LIMIT 1"
)
PREPARED = (
    "SELECT gid, pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - prepared)::pg_catalog.int8 "
    "FROM pg_catalog.pg_prepared_xacts ORDER BY prepared LIMIT 1"
)
"""The oldest prepared transaction, and the seconds since."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server as it is now."""

    version: int
    system: str
    """The cluster's system identifier: its copies share it."""
    timeline: int
    """Rises when a standby becomes the primary."""
    recovering: bool
    """Whether it is a standby."""
    wal_level: str
    slots: tuple[int, int]
    """Replication slots in use, and how many there can be."""
    senders: tuple[int, int]
    """The same of WAL senders."""
    keeps: int | None
    """Bytes of its log that a slot may hold, None without a limit."""
    sender_timeout: int
    """Milliseconds after which it ends a stream whose reader is silent; 0: never."""
    encoding: str
    """The database's own: ``UTF8``; ``SQL_ASCII`` for one that takes any bytes."""
    user: str
    superuser: bool
    replicates: bool
    """Whether the account may read the log."""


async def server(link: Link) -> Server:
    """Ask.

    Raises:
        HaltSyncError: it is too old.
    """
    if link.version < OLDEST:
        raise HaltSyncError(
            f"PostgreSQL {link.version // 10_000} is too old", where=link.where, fix="12 and later can be followed"
        )
    [row] = await link.rows(_ASK, (_HOSTED,))
    system, timeline, recovering, level, *counts, keeps, timeout, encoding, user, superuser, replicates = row
    used, most, sending, senders = counts
    return Server(
        link.version,
        system,
        timeline,
        recovering,
        level,
        (used, most),
        (sending, senders),
        None if keeps is None or keeps < 0 else keeps << 20,
        timeout,
        encoding,
        user,
        superuser,
        superuser or replicates,
    )


class Open(NamedTuple):
    """A transaction that is open."""

    pid: int
    """The server's process."""
    seconds: int | None
    """Since when; None where the account may not know."""
    others: int
    """Transactions that have begun since."""


async def oldest_transaction(link: Link, *, besides: int = 0) -> Open | None:
    """The one that has been open for longest, of those that have written, and not of the process ``besides``."""
    row = await link.one(_OLDEST, (besides,))
    return None if row is None else Open(*row)
