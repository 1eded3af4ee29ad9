"""The errors of servers, of libpq and of the network, each as what happens next.

Decided by SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html); a connection that never
stood has none, so that its text is looked at. The server's text may hold values and is passed on only where it cannot.
"""

from __future__ import annotations

import re
import socket

import psycopg

from fuagent.encode.shown import shown
from fuagent.errors import (
    MENDED_CREDENTIAL,
    FuagentError,
    HaltSyncError,
    LostPlaceError,
    TryAgainError,
    UnauthorisedError,
)

ACTIVE, NO_PRIVILEGE, NO_OBJECT = "55006", "42501", "42704"
REFUSALS = frozenset({NO_PRIVILEGE, "0A000", "25006", "42601", "42883", NO_OBJECT, "42P01", "55000"})
"""What a server says to a statement it does not know, or does not allow this account, or, as a standby, anybody."""

_GOES_ON = "it goes on by itself"
_DENIED = f"correct user and password; {MENDED_CREDENTIAL}"
_LIMIT = "raise max_replication_slots and restart the server, or drop a slot nobody reads"
_KEEP = "raise max_slot_wal_keep_size, so that the server keeps its log for longer than any outage"

_SHELTER = (
    "set driver_params.tls to verify, or connect by the server's socket: LDAP, PAM and RADIUS take no other password; "
    "where pg_hba.conf says password, have it say scram-sha-256"
)
_ENCODED = (
    "correct it there, and move the rows to a database with the encoding UTF8; where the log holds it already, end what "
    "the sync has there with fuagent source remove, and start it anew"
)

_Told = tuple[type[FuagentError], str, str]
_BY_STATE: dict[str, _Told] = {
    "28000": (UnauthorisedError, "the login was refused", _DENIED),
    "28P01": (UnauthorisedError, "the login was refused", _DENIED),
    "3D000": (HaltSyncError, "there is no such database", "correct the database in endpoint"),
    NO_PRIVILEGE: (HaltSyncError, "the account lacks a privilege", "GRANT it what fuagent check names"),
    "42703": (TryAgainError, "a column is not there any more", "the table is looked at again"),
    "42P01": (HaltSyncError, "a table is not there any more", "see that it exists, or take it out of tables"),
    "22021": (HaltSyncError, "a text in the database is not of the encoding it should be", _ENCODED),
    "22P05": (HaltSyncError, "a text in the database has characters that Unicode has not", _ENCODED),
    NO_OBJECT: (TryAgainError, "something is not there any more", "see that it exists; it is looked for again"),
    "53100": (TryAgainError, "the server's disk is full", "make room; it goes on by itself"),
    "53300": (TryAgainError, "the server has too many connections", "raise max_connections or max_wal_senders"),
    "53400": (HaltSyncError, "the server has no replication slot left", _LIMIT),
    ACTIVE: (TryAgainError, "the replication slot is being read by somebody else", ""),
    "57014": (TryAgainError, "the statement was cancelled", _GOES_ON),
    "57P01": (TryAgainError, "the server ended the connection", _GOES_ON),
    "57P02": (TryAgainError, "the server ended the connection", _GOES_ON),
    "57P03": (TryAgainError, "the server is not ready", _GOES_ON),
    "57P05": (TryAgainError, "the server closed the idle connection", _GOES_ON),
}
_BY_CLASS: dict[str, _Told] = {
    "08": (TryAgainError, "the connection broke", _GOES_ON),
    "40": (TryAgainError, "the transaction was rolled back by the server", _GOES_ON),
    "53": (TryAgainError, "the server is short of resources", _GOES_ON),
    "55": (TryAgainError, "something the statement needs is in use", _GOES_ON),
    "57": (TryAgainError, "an operator stepped in", _GOES_ON),
    "58": (TryAgainError, "the server's system failed", "see the server's own log"),
    "XX": (TryAgainError, "the server failed", "see the server's own log"),
}
_LOST = (
    "can no longer get changes from",
    "can no longer access replication slot",
    "has been invalidated",
    "removed by",
    "exceeds",
    "wal_status",
)
_SEGMENT = re.compile(r"\b[0-9A-F]{24}\b")
"""A file of the log, in whatever language it is missed."""
_UNKNOWN_HOST: _Told = (TryAgainError, "the host's name is not known", "correct endpoint, or see to the DNS")
_BY_TEXT: tuple[tuple[str, _Told], ...] = (
    (
        "authentication method requirement",
        (
            HaltSyncError,
            "the server asks for the password readable, over a connection that others could read: this is refused",
            _SHELTER,
        ),
    ),
    ("password authentication failed", _BY_STATE["28P01"]),
    ("authentication failed", _BY_STATE["28000"]),
    ("no password supplied", _BY_STATE["28P01"]),
    (
        "pg_hba.conf",
        (UnauthorisedError, "the server takes no such connection from this host", "add a line to pg_hba.conf"),
    ),
    (
        "valid client certificate",
        (UnauthorisedError, "the server asks for a client certificate", "name it under credential"),
    ),
    ("not permitted to log in", _BY_STATE["28000"]),
    ("must be superuser or replication role", _BY_STATE[NO_PRIVILEGE]),
    ("permission denied", _BY_STATE[NO_PRIVILEGE]),
    ("too many", _BY_STATE["53300"]),
    ("remaining connection slots", _BY_STATE["53300"]),
    ("number of requested standby connections", _BY_STATE["53300"]),
    ("not currently accepting connections", _BY_STATE["57P03"]),
    ('role "', _BY_STATE["28000"]),
    ('database "', _BY_STATE["3D000"]),
    (
        "definition of service",
        (
            HaltSyncError,
            "the variable PGSERVICE names a service that libpq does not find",
            "unset PGSERVICE and PGSERVICEFILE",
        ),
    ),
    ("the database system is", _BY_STATE["57P03"]),
    (
        "certificate",
        (
            TryAgainError,
            "the server's certificate is not proven",
            "name the authority's certificate in driver_params.tls_ca, or the host as the certificate names it",
        ),
    ),
    ("does not support SSL", (HaltSyncError, "the server speaks no TLS", 'switch it on there, or write tls: "off"')),
    (
        "Connection refused",
        (TryAgainError, "nothing listens there", "see that the server runs, and that the endpoint is right"),
    ),
    (
        "No such file",
        (TryAgainError, "nothing listens there", "see that the server runs, and that the endpoint is right"),
    ),
    (
        "timeout",
        (
            TryAgainError,
            "the server did not answer in time",
            "see that no firewall is in the way; it goes on by itself",
        ),
    ),
)
_NAMED = frozenset({NO_PRIVILEGE, NO_OBJECT, ACTIVE, "53400", "3D000", "58P01"})
"""States whose text names objects, privileges and processes, and nothing else."""
_PID = re.compile(r"PID (\d+)")
_REFUSED = re.compile(r"(?:\bFATAL|\bfailed: [^\s:]+(?: [^\s:]+)*): +(.+)", re.DOTALL)
"""What a server says at the login: the severity before it is of the server's own language, as the words are."""


def state_of(error: BaseException) -> str:
    """The error's SQLSTATE; empty where it has none."""
    return (error.sqlstate or "") if isinstance(error, psycopg.Error) else ""


def translate(error: BaseException, where: str) -> FuagentError:
    """The error of ours that stands for ``error``; it holds no secret and no value."""
    if isinstance(error, FuagentError):
        return error
    if isinstance(error, socket.gaierror):
        return _made(_UNKNOWN_HOST, where)
    if isinstance(error, TimeoutError):
        return _made(_BY_TEXT[-1][1], where)
    if state := state_of(error):
        return said(state, str(getattr(getattr(error, "diag", None), "message_primary", "") or ""), where)
    text = str(error)
    for sign, told in _BY_TEXT:
        if sign.lower() in text.lower():
            return _made(told, where)
    if refused := _REFUSED.search(text):
        words = shown(refused[1].strip())
        return TryAgainError(f"the server refused the connection: {words}", where=where, fix="see the server's own log")
    if isinstance(error, psycopg.OperationalError | OSError):
        return TryAgainError("the connection to the server broke", where=where, fix=_GOES_ON)
    return TryAgainError(
        f"what answers does not speak as a PostgreSQL server does ({type(error).__name__})",
        where=where,
        fix="see that host and port are those of the database",
    )


def in_use(error: FuagentError) -> bool:
    """Whether it says that a slot is being read."""
    return error.what.startswith("the replication slot is being read already")


def said(state: str, message: str, where: str) -> FuagentError:
    """What an error of the server means, by its SQLSTATE and its text."""
    if state == ACTIVE:
        found = _PID.search(message)
        reader = f" (process {found[1]} of the server)" if found else ""
        return TryAgainError(
            f"the replication slot is being read already{reader}",
            where=where,
            fix="end the other agent; a connection left by a crash ends by itself after wal_sender_timeout",
        )
    if state == "55000" and "for logical decoding" in message:
        return TryAgainError(
            "the server is a standby, and its replication slot a copy of the primary's",
            where=where,
            fix="name the primary in endpoint; it goes on by itself once this server is promoted",
        )
    told = _BY_STATE.get(state) or _BY_CLASS.get(state[:2])
    if told is None:
        return HaltSyncError(
            f"the server refused a statement with error {state}",
            where=where,
            fix="look the SQLSTATE up in the server's manual, and what the server's own log says",
        )
    kind, what, fix = told
    named = f": {shown(message)}" if state in _NAMED and message else ""
    return kind(f"{what} (error {state}){named}", where=where, fix=fix)


def said_of_log(state: str, message: str, where: str) -> FuagentError:
    """The same where the log is read: what is missed there is the slot, the publication or a piece of the log.

    A server of another language may say so otherwise. Then it is tried again, and what is known of the slot tells.
    """
    if state == NO_OBJECT:
        told = f"the publication or the slot is gone (error {state}): {shown(message)}"
        return LostPlaceError(told, where=where)
    if state == "58P01" and _SEGMENT.search(message):
        told = f"the server has removed the log that has to be read from (error {state}): {shown(message)}"
        return LostPlaceError(told, where=where, fix=_KEEP)
    if state == "55000" and any(sign in message for sign in _LOST):
        return LostPlaceError("the replication slot is of no use any more", where=where, fix=_KEEP)
    return said(state, message, where)


def _made(told: _Told, where: str) -> FuagentError:
    kind, what, fix = told
    return kind(what, where=where, fix=fix)
