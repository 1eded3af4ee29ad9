"""The errors of servers, of asyncmy and of the network, each as what happens next.

Decided by error number (https://mariadb.com/kb/en/mariadb-error-codes/ and MySQL's Server Error
Message Reference). The server's text may hold values and is passed on only where it cannot.
"""

from __future__ import annotations

import socket
import ssl

from asyncmy.errors import MySQLError

from fuagent.encode.shown import shown
from fuagent.errors import MENDED_CREDENTIAL, FuagentError, HaltSyncError, TryAgainError, UnauthorisedError

ACCESS_DENIED, UNKNOWN_VARIABLE, NO_PRIVILEGE, NO_SUCH_TABLE = 1045, 1193, 1227, 1146
SYNTAX, DEFINITION_CHANGED, NOT_THERE = 1064, 1412, 1235

_GOES_ON = "it goes on by itself"
_SILENT = "see that the port is the database's and that no firewall is in the way; it goes on by itself"
_DENIED = f"correct user, password and the account's host part; {MENDED_CREDENTIAL}"
_AGAIN = {
    1020: ("a row was changed by somebody else at this very moment", _GOES_ON),
    1021: ("the server's disk is full", "make room; it goes on by itself"),
    1037: ("the server is out of memory", _GOES_ON),
    1038: ("the server is out of memory for sorting", _GOES_ON),
    1040: ("the server has too many connections", "raise max_connections, or close some; it goes on by itself"),
    1041: ("the server is out of memory", _GOES_ON),
    1053: ("the server is shutting down", _GOES_ON),
    1129: ("the server blocks this host after too many failed connections", "run FLUSH HOSTS on the server"),
    1184: ("the server ended the connection", _GOES_ON),
    1203: ("the account has too many connections", "raise its MAX_USER_CONNECTIONS; it goes on by itself"),
    1205: ("another session held a lock for too long", "find the transaction that stays open; it goes on by itself"),
    1213: ("a deadlock with another session", _GOES_ON),
    1226: ("the account has used up one of its limits", "raise it with ALTER USER; it goes on by itself"),
    1317: ("the statement was killed", _GOES_ON),
    DEFINITION_CHANGED: ("a table's definition changed under the snapshot", "the snapshot begins again"),
    1615: ("a table changed while the statement ran", _GOES_ON),
    1927: ("the connection was killed", _GOES_ON),
    1969: ("the statement ran longer than max_statement_time", "raise it for the account; it goes on by itself"),
    2002: ("the server cannot be reached", "see that it runs and that the endpoint is right"),
    2003: ("the server cannot be reached", "see that it runs and that the endpoint is right"),
    2006: ("the server closed the connection", _GOES_ON),
    2013: ("the connection broke", _GOES_ON),
    3024: ("the statement ran longer than max_execution_time", "raise it; it goes on by itself"),
    3032: ("the server is in offline mode", "SET GLOBAL offline_mode = OFF"),
    3168: ("the server is not ready", _GOES_ON),
    4031: ("the server closed the idle connection", _GOES_ON),
}
_REFUSED = {
    1044: ("the account has no access to the database", "GRANT SELECT on it to the account, or correct endpoint"),
    ACCESS_DENIED: ("the login was refused", _DENIED),
    1130: ("the server takes no connections from this host", "create the account for this host, or for '%'"),
    1698: ("the login was refused", _DENIED),
    1820: ("the account's password has expired", "ALTER USER … IDENTIFIED BY …"),
    1862: ("the account's password has expired", "ALTER USER … IDENTIFIED BY …"),
    3118: ("the account is locked", "ALTER USER … ACCOUNT UNLOCK"),
    3955: ("the account is locked after failed logins", "ALTER USER … ACCOUNT UNLOCK"),
    4151: ("the account is locked", "ALTER USER … ACCOUNT UNLOCK"),
}
_STAYS = {
    1049: ("there is no such database", "correct the database in endpoint"),
    1142: ("the account may not do this", "GRANT it what fuagent check names"),
    1143: ("the account may not read a column", "GRANT SELECT on the whole table"),
    NO_SUCH_TABLE: ("a table is not there any more", "see that it exists, or take it out of tables"),
    NO_PRIVILEGE: ("the account lacks a privilege", "GRANT it what fuagent check names"),
    1251: ("the account wants a kind of login that is not supported", "ALTER USER … IDENTIFIED VIA another plugin"),
    1524: ("the account's login plugin is not loaded on the server", "INSTALL PLUGIN it, or ALTER USER"),
    2059: (
        "the account wants a kind of login that is not supported",
        "ALTER USER … IDENTIFIED with caching_sha2_password, mysql_native_password, or ed25519 on MariaDB",
    ),
    3159: ("the server takes encrypted connections only", "set tls: require, or verify"),
}
TOLD = frozenset({1044, ACCESS_DENIED, 1049, 1130, 1142, 1143, NO_SUCH_TABLE, NO_PRIVILEGE, 1698})
"""Errors whose text names accounts, tables and privileges, and nothing else."""


def number_of(error: BaseException) -> int:
    """The error's number; 0 where it has none."""
    if isinstance(error, MySQLError) and error.args and isinstance(error.args[0], int):
        return error.args[0]
    return 0


def translate(error: BaseException, where: str) -> FuagentError:
    """The error of ours that stands for ``error``; it holds no secret and no value."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(error, FuagentError):
        return error
    if isinstance(cause, OSError):
        return _network(cause, where)
    if isinstance(error, MySQLError) and number_of(error):
        return _said(error, where)
    if isinstance(error, RuntimeError) and "cryptography" in str(error):
        return HaltSyncError(
            "logging in with caching_sha2_password without TLS needs the package cryptography",
            where=where,
            fix="pip install 'fuagent[mysql]' brings it; or set tls: verify",
        )
    return TryAgainError(
        f"what answers does not speak as a MySQL server does ({type(error).__name__})",
        where=where,
        fix="see that host and port are those of the database",
    )


def _said(error: MySQLError, where: str) -> FuagentError:
    number = number_of(error)
    told = f": {shown(str(error.args[1]))}" if number in TOLD and len(error.args) > 1 else ""
    for known, kind in ((_AGAIN, TryAgainError), (_REFUSED, UnauthorisedError), (_STAYS, HaltSyncError)):
        if number in known:
            what, fix = known[number]
            return kind(f"{what} (error {number}){told}", where=where, fix=fix)
    return HaltSyncError(
        f"the server refused a statement with error {number}",
        where=where,
        fix="look the number up in the server's manual, and what the server's own log says",
    )


def _network(error: OSError, where: str) -> FuagentError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return TryAgainError(
            f"the server's certificate is not proven: {error.verify_message}",
            where=where,
            fix="name the authority's certificate in driver_params.tls_ca, or the host as the certificate names it",
        )
    if isinstance(error, ssl.SSLError):
        return TryAgainError("TLS with the server failed", where=where, fix="see which TLS versions the server takes")
    if isinstance(error, TimeoutError):
        return TryAgainError("the server did not answer in time", where=where, fix=_SILENT)
    if isinstance(error, socket.gaierror):
        return TryAgainError("the host's name is not known", where=where, fix="correct endpoint, or see to the DNS")
    if isinstance(error, ConnectionRefusedError):
        return TryAgainError(
            "nothing listens there", where=where, fix="see that the server runs, and that the endpoint is right"
        )
    return TryAgainError(f"the server cannot be reached: {error.strerror or 'no reason given'}", where=where)
