"""What a server says about itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fuagent.errors import HaltSyncError
from fuagent.sources.mysql.link import Link

_ASKED = (
    *("version", "version_comment", "server_id", "server_uuid", "log_bin", "binlog_format", "binlog_row_image"),
    *("binlog_row_metadata", "binlog_row_value_options", "binlog_checksum", "binlog_expire_logs_seconds"),
    *("expire_logs_days", "gtid_mode", "gtid_domain_id", "read_only", "log_slave_updates", "log_replica_updates"),
    *("lower_case_table_names", "log_bin_compress", "binlog_transaction_compression"),
)

_KEEPING = ("binlog_expire_logs_seconds", "expire_logs_days", "binlog_expire_logs_auto_purge", "basedir")
_ROOM = ("max_binlog_total_size", "binlog_space_limit")
"""A limit of the whole log in bytes, as MariaDB and Percona call it."""
_AMAZON = "/rdsdbbin"
"""Where Amazon RDS and Aurora keep the server's programs."""


@dataclass(frozen=True, slots=True)
class Server:
    """The facts about one server that decide how it is read. Words are in capital letters; empty: it knows no such thing."""

    text: str
    """Its version as it says it: ``10.11.6-MariaDB-log``."""
    mariadb: bool
    version: tuple[int, int, int]
    server_id: int
    server_uuid: str | None
    """MySQL alone."""
    log_bin: bool
    binlog_format: str
    row_image: str
    row_metadata: str
    value_options: str
    """MySQL: ``PARTIAL_JSON`` where updates of JSON are logged in part."""
    checksum: str
    gtid_mode: str
    """MySQL: ``ON``, ``OFF`` and the steps between; MariaDB always has GTIDs."""
    gtid_domain_id: int
    read_only: bool
    log_replica_updates: bool
    expire_seconds: int
    """How long its log is kept; 0: for ever, or until its size is too large."""
    lower_case_names: int
    """``lower_case_table_names``: 0 tells letter cases of tables apart."""

    @property
    def log_status(self) -> str:
        """The statement that tells where the log ends; MySQL 8.4 no longer knows the old one."""
        return "SHOW MASTER STATUS" if self.mariadb or self.version < (8, 2, 0) else "SHOW BINARY LOG STATUS"


async def server(link: Link) -> Server:
    """Ask the server behind a link.

    Raises:
        HaltSyncError: it is too old, or no MySQL or MariaDB at all.
    """
    said = await _variables(link, _ASKED)
    text = said.get("version", "")
    mariadb = "mariadb" in f"{text} {said.get('version_comment', '')}".lower()
    version = _version(text)
    if version < ((10, 2, 0) if mariadb else (5, 7, 0)):
        raise HaltSyncError(
            f"the server's version {text or 'is not known; it'} is too old",
            where=link.where,
            fix="use MySQL 5.7 or MariaDB 10.2, or newer",
        )
    return Server(
        text=text,
        mariadb=mariadb,
        version=version,
        server_id=int(said.get("server_id") or 0),
        server_uuid=said.get("server_uuid") or None,
        log_bin=_on(said.get("log_bin")),
        binlog_format=said.get("binlog_format", "").upper(),
        row_image=said.get("binlog_row_image", "").upper(),
        row_metadata=said.get("binlog_row_metadata", "").upper(),
        value_options=said.get("binlog_row_value_options", "").upper(),
        checksum=said.get("binlog_checksum", "").upper(),
        gtid_mode=said.get("gtid_mode", "").upper(),
        gtid_domain_id=int(said.get("gtid_domain_id") or 0),
        # MariaDB 12 has words where others have ON.
        read_only=not said.get("read_only", "OFF").upper().startswith(("OFF", "0")),
        log_replica_updates=_on(said.get("log_replica_updates") or said.get("log_slave_updates")),
        expire_seconds=_kept(said),
        lower_case_names=int(said.get("lower_case_table_names") or 0),
    )


async def kept_for(link: Link) -> float | None:
    """For how many seconds the log is kept at least, as the server is set now.

    A file goes when the last change in it is that old. None where that alone does not decide: it is kept for ever, or
    until its size is too large, or goes by a setting of the service that hosts the server.
    """
    said = await _variables(link, (*_KEEPING, *_ROOM))
    never = said.get("binlog_expire_logs_auto_purge", "ON").upper() in {"OFF", "0"}
    if never or any(int(said.get(name) or 0) for name in _ROOM) or said.get("basedir", "").startswith(_AMAZON):
        return None
    return _kept(said) or None


async def _variables(link: Link, names: Sequence[str]) -> dict[str, str]:
    """Those of these variables that the server knows."""
    asked = ", ".join(f"'{name}'" for name in names)
    found = await link.rows(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({asked})")
    return {name.lower(): value for name, value in found}


def _version(text: str) -> tuple[int, int, int]:
    # Replication once needed a 5.5.5- before MariaDB's own version.
    found = re.match(r"(?:5\.5\.5-)?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else (0, 0, 0)


def _on(value: str | None) -> bool:
    return (value or "").upper() in {"ON", "1"}


def _kept(said: dict[str, str]) -> int:
    """Seconds: MySQL 8 and MariaDB 10.6 count seconds; days count where there are none."""
    seconds = int(said.get("binlog_expire_logs_seconds") or 0)
    return seconds or round(float(said.get("expire_logs_days") or 0) * 86400)
