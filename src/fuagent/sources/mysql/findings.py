"""What ``fuagent check`` says about a MySQL or MariaDB source. Nothing is changed.

What can be tried is tried rather than read out of grants: a SELECT of no rows, the end of the log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fuagent.encode.shown import shown
from fuagent.model import Finding, Level
from fuagent.sources.mysql.columns import quoted
from fuagent.sources.mysql.link import Link
from fuagent.sources.mysql.server import Server
from fuagent.sources.mysql.tables import Layout
from fuagent.sources.selection import Listing, passed_over

_DAY = 86_400
_REPLICATION = frozenset({"REPLICATION SLAVE", "REPLICATION REPLICA", "ALL PRIVILEGES"})
_LOCKING = frozenset({"LOCK TABLES", "ALL PRIVILEGES"})
_FLUSHING = frozenset({"RELOAD", "FLUSH_TABLES", "ALL PRIVILEGES"})
_TOO_MUCH = frozenset(
    {"ALL PRIVILEGES", "SUPER", "INSERT", "UPDATE", "DELETE", "DROP", "ALTER", "CREATE USER", "GRANT OPTION", "FILE"}
)
_GRANT = re.compile(r"GRANT (.+?) ON (.+?) TO ", re.DOTALL)
_FOREIGN = re.compile(
    r"^\s*(?:CONSTRAINT `(?:[^`]|``)*` )?FOREIGN KEY \(.*\) ON (?:DELETE|UPDATE) (?:CASCADE|SET)", re.MULTILINE
)
_OLD_FRACTION = re.compile(r"\([1-6]\) /\* mariadb-5\.3 \*/")


@dataclass(frozen=True, slots=True)
class Granted:
    """What an account may: privileges on everything, and on anything at all."""

    account: str
    """As a GRANT statement names it: ``'fuagent'@'%'``."""
    everywhere: frozenset[str]
    somewhere: frozenset[str]


async def findings(
    link: Link, server: Server, tables: Sequence[Layout], found: Listing, wanted: Sequence[str]
) -> list[Finding]:
    """Everything worth knowing before the first row, each with what to do."""
    granted = await _granted(link, server)
    said = [*_log(server, link.where), *_rows(server, link.where), *_account(granted, server, tables, link.where)]
    said += await _end(link, server, tables, granted)
    said += await _replica(link, server)
    for one in tables:
        said += await _table(link, one, granted)
    return said + passed_over(found, wanted, link.where)


# ------------------------------------------------------------------ the log


def _log(server: Server, where: str) -> Iterator[Finding]:
    if not server.log_bin:
        what = "the server writes no binlog: there are no changes to follow."
        yield Finding(Level.ERROR, where, what, "Set log_bin = binlog in its configuration, and restart it.")
    if not server.server_id:
        yield Finding(
            Level.ERROR, where, "server_id is 0: the server sends nobody its binlog.", "SET GLOBAL server_id = 1;"
        )
    if server.binlog_format not in {"ROW", ""}:
        yield Finding(
            Level.ERROR,
            where,
            f"binlog_format is {server.binlog_format}: changes are logged as statements, and not as rows.",
            "SET GLOBAL binlog_format = ROW; and in the server's own configuration file. Sessions that are open keep the old one.",
        )
    if 0 < server.expire_seconds < _DAY:
        seconds = server.version >= ((10, 6, 0) if server.mariadb else (8, 0, 0))
        set_to = "binlog_expire_logs_seconds = 604800" if seconds else "expire_logs_days = 7"
        yield Finding(
            Level.WARNING,
            where,
            f"the binlog is kept for {server.expire_seconds / 3600:.3g} hours: a longer outage loses changes.",
            f"SET GLOBAL {set_to}; and in the server's own configuration file.",
        )
    if server.gtid_mode not in {"ON", ""} and not server.mariadb:
        yield Finding(
            Level.INFO,
            where,
            f"gtid_mode is {server.gtid_mode}: after a failover to another server the place there cannot be found.",
            "Turn gtid_mode and enforce_gtid_consistency on, if there is a server to fail over to.",
        )


def _rows(server: Server, where: str) -> Iterator[Finding]:
    if server.row_image != "FULL":
        yield Finding(
            Level.WARNING,
            where,
            f"binlog_row_image is {server.row_image}: rows come without some columns, and are read again by their keys.",
            "SET GLOBAL binlog_row_image = FULL; and in the server's own configuration file.",
        )
    if not server.row_metadata:
        what = "the server cannot log the names of columns: when a table is altered, rows from before cannot be read."
        yield Finding(
            Level.WARNING, where, what, "Let the sync catch up before an ALTER; or use MariaDB 10.5 or MySQL 8."
        )
    elif server.row_metadata != "FULL":
        yield Finding(
            Level.WARNING,
            where,
            f"binlog_row_metadata is {server.row_metadata}: when a table is altered, rows from before cannot be read.",
            "SET GLOBAL binlog_row_metadata = FULL; and in the server's own configuration file.",
        )
    if "PARTIAL_JSON" in server.value_options:
        yield Finding(
            Level.WARNING,
            where,
            "binlog_row_value_options is PARTIAL_JSON: changed JSON is logged in parts, and is read again by its key.",
            "SET GLOBAL binlog_row_value_options = ''; and in the server's own configuration file.",
        )


async def _end(link: Link, server: Server, tables: Sequence[Layout], granted: Granted) -> list[Finding]:
    """Whether the account sees where the log ends, and whether the log leaves databases out."""
    if not await link.attempt(server.log_status):  # the privilege is asked for where there is no binlog yet, too
        privilege = "BINLOG MONITOR" if server.mariadb and server.version >= (10, 5, 0) else "REPLICATION CLIENT"
        what = "the account may not see where the binlog ends."
        return [Finding(Level.ERROR, link.where, what, f"GRANT {privilege} ON *.* TO {granted.account};")]
    row = await link.one(server.log_status) or ("", 0, "", "")
    only, never = ({name for name in str(row[place]).split(",") if name} for place in (2, 3))
    schemas = dict.fromkeys(one.name.schema for one in tables)
    left_out = [name for name in schemas if name in never or (only and name not in only)]
    return [
        Finding(
            Level.ERROR,
            link.where,
            f"the binlog leaves the database {shown(name)} out.",
            "Change binlog_do_db or binlog_ignore_db in the server's own configuration file, and restart it.",
        )
        for name in left_out
    ]


async def _replica(link: Link, server: Server) -> list[Finding]:
    """A replica logs what it copies only where it is told to."""
    if server.log_replica_updates:
        return []
    new = server.version >= ((10, 5, 1) if server.mariadb else (8, 0, 22))
    ask = "SHOW REPLICA STATUS" if new else "SHOW SLAVE STATUS"
    copies = bool(await link.rows(ask)) if await link.attempt(ask) else server.read_only
    if not copies:
        return []
    what = "this is a replica, and what it copies does not reach its own binlog."
    return [
        Finding(
            Level.ERROR, link.where, what, "Set log_slave_updates (MySQL 8: log_replica_updates) in its configuration."
        )
    ]


# ------------------------------------------------------------------ the account


async def _granted(link: Link, server: Server) -> Granted:
    who, _, host = str((await link.one("SELECT CURRENT_USER()") or ("@",))[0]).rpartition("@")
    grants = "SHOW GRANTS"
    if not server.mariadb and server.version >= (8, 0, 0):
        roles = str((await link.one("SELECT CURRENT_ROLE()") or ("NONE",))[0] or "NONE")
        grants = grants if roles == "NONE" else f"SHOW GRANTS FOR CURRENT_USER() USING {roles}"
    everywhere: set[str] = set()
    somewhere: set[str] = set()
    for (line,) in await link.rows(grants):
        match = _GRANT.match(str(line))
        if match is not None:
            privileges = {privilege.strip().upper() for privilege in match[1].split(",")}
            privileges |= {"GRANT OPTION"} if "WITH GRANT OPTION" in str(line) else set()
            somewhere |= privileges
            everywhere |= privileges if match[2] == "*.*" else set()
    return Granted(f"{_quoted(who)}@{_quoted(host)}", frozenset(everywhere), frozenset(somewhere))


def _quoted(text: str) -> str:
    return "'{}'".format(shown(text).replace("'", "''"))


def _account(granted: Granted, server: Server, tables: Sequence[Layout], where: str) -> Iterator[Finding]:
    if not granted.everywhere & _REPLICATION:
        what = "the account may not read the binlog."
        yield Finding(Level.ERROR, where, what, f"GRANT REPLICATION SLAVE ON *.* TO {granted.account};")
    if granted.everywhere & _TOO_MUCH:
        yield Finding(
            Level.WARNING,
            where,
            f"the account {granted.account} may change the server or its data; reading needs none of it.",
            "Make an account with SELECT on the tables, REPLICATION SLAVE and REPLICATION CLIENT alone.",
        )
    locks = not server.mariadb and not granted.everywhere & _FLUSHING
    if (locks or not all(one.transactional for one in tables)) and not granted.somewhere & _LOCKING:
        schemas = list(dict.fromkeys(one.name.schema for one in tables))
        fix = " ".join(f"GRANT LOCK TABLES ON `{shown(name)}`.* TO {granted.account};" for name in schemas)
        what = "a snapshot has to lock tables for a moment, and the account may not."
        yield Finding(Level.ERROR, where, what, f"{fix} On MySQL, GRANT RELOAD ON *.* does as well." if locks else fix)


# ------------------------------------------------------------------ tables


async def _table(link: Link, one: Layout, granted: Granted) -> list[Finding]:
    label = shown(one.table.label)
    columns = ", ".join(column.select for column in one.columns)
    if not await link.attempt(f"SELECT {columns} FROM {quoted(one.name)} LIMIT 0"):  # noqa: S608 - names are quoted
        what = f"the account may not read table {label}."
        return [
            Finding(Level.ERROR, link.where, what, f"GRANT SELECT ON {shown(quoted(one.name))} TO {granted.account};")
        ]
    said = list(_kept(one, label, link.where))
    shape = await link.one(f"SHOW CREATE TABLE {quoted(one.name)}")
    if shape is not None and _FOREIGN.search(str(shape[1])):
        said.append(
            Finding(
                Level.WARNING,
                link.where,
                f"rows of table {label} are changed or deleted by a foreign key when the row they refer to is, and the "
                "binlog does not hold such changes: the service will not hear of them.",
                "Declare the key ON DELETE RESTRICT ON UPDATE RESTRICT, and let programs change the rows themselves.",
            )
        )
    return said


def _kept(one: Layout, label: str, where: str) -> Iterator[Finding]:
    old = [column.name for column in one.table.columns if _OLD_FRACTION.search(column.type)]
    if old:
        yield Finding(
            Level.ERROR,
            where,
            f"column {shown(old[0])} of table {label} has fractions of seconds in the format of MariaDB 5.3, which cannot "
            "be read from the binlog.",
            f"SET GLOBAL mysql56_temporal_format = ON; ALTER TABLE {shown(quoted(one.name))} FORCE;",
        )
    if not one.table.key:
        yield Finding(
            Level.WARNING,
            where,
            f"table {label} has no primary key: the service cannot tell which row a change belongs to.",
            "Declare a PRIMARY KEY, or a UNIQUE one over columns that are NOT NULL.",
        )
    if not one.transactional:
        yield Finding(
            Level.WARNING,
            where,
            f"table {label} ({shown(one.engine)}) knows no transactions: whoever writes it waits while a snapshot is read.",
            f"ALTER TABLE {shown(quoted(one.name))} ENGINE = InnoDB;",
        )
