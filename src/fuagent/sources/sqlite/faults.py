"""SQLite's errors, each as what happens next.

Decided by result code (https://sqlite.org/rescode.html). A text may even hold a row's value
and is then not passed on; the one thing read from it is that a table of ours is gone.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from fuagent.encode.shown import shown
from fuagent.errors import FuagentError, HaltSyncError, LostPlaceError, TryAgainError
from fuagent.sources.sqlite.names import PREFIX

UNREADABLE_TEXT = "Could not decode to UTF-8"
"""How the text of the error for TEXT that is not UTF-8 begins; the rest of it is the value."""

_PASSES = {
    sqlite3.SQLITE_BUSY: (
        "another program has locked the database for longer than busy_timeout",
        "find the program that holds a transaction open; a snapshot or stream goes on by itself",
    ),
    sqlite3.SQLITE_LOCKED: ("another connection has locked a table", "it goes on by itself"),
    sqlite3.SQLITE_FULL: ("the disk is full", "make room; it goes on by itself"),
    sqlite3.SQLITE_IOERR: ("the disk or file system reports an error", "look at the disk; it goes on by itself"),
    sqlite3.SQLITE_NOMEM: ("out of memory", "make room; it goes on by itself"),
    sqlite3.SQLITE_PROTOCOL: ("the lock on the write-ahead log could not be taken", "it goes on by itself"),
    sqlite3.SQLITE_SCHEMA: ("a table changed at this very moment", "it goes on by itself"),
    sqlite3.SQLITE_INTERRUPT: ("reading was interrupted", "it goes on by itself"),
}
_STAYS = {
    sqlite3.SQLITE_NOTADB: (
        "this is no SQLite database, or it is encrypted",
        "name the database file itself; encrypted databases cannot be read",
    ),
    sqlite3.SQLITE_CORRUPT: ("the database is damaged", "run PRAGMA integrity_check, then restore or .recover it"),
    sqlite3.SQLITE_READONLY: (
        "the database cannot be written, and the triggers that keep the changes have to be",
        "give the user of the agent write permission on the file and on its directory",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "the database cannot be opened",
        "give the user of the agent read and write permission on the file and on its directory",
    ),
    sqlite3.SQLITE_PERM: ("access to the database is denied", "give the user of the agent write permission on it"),
    sqlite3.SQLITE_AUTH: ("access to the database is denied", "give the user of the agent write permission on it"),
}


def translate(error: sqlite3.Error, path: Path) -> FuagentError:
    """The error of ours that stands for ``error``."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the low byte; the rest is detail
    where = str(path)
    if code in _PASSES:
        what, fix = _PASSES[code]
        return TryAgainError(what, where=where, fix=fix)
    if code in _STAYS:
        what, fix = _STAYS[code]
        return HaltSyncError(what, where=where, fix=fix)
    text = str(error)
    if text.startswith(f"no such table: {PREFIX}"):
        what = "the change log in the database is gone: changes may be missing"
        return LostPlaceError(what, where=where, fix="take a snapshot; it brings the service in step again")
    said = "a text that is not UTF-8" if text.startswith(UNREADABLE_TEXT) else shown(text)
    return HaltSyncError(f"SQLite says: {said}", where=where, fix="see that the statement works in the sqlite3 shell")
