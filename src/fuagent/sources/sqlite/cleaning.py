"""Letting go of delivered changes, a little at a time.

Rows behind the acknowledged one are deleted in small transactions and without
waiting for a lock: a writer never waits longer than a thousand deletes take, and when
somebody else is writing, cleaning is what waits. The acknowledged row itself always
stays, and some behind it: a service restored from a backup can then be brought up to date.
"""

from __future__ import annotations

import sqlite3

from fuagent.sources.sqlite import places, versions
from fuagent.sources.sqlite.install import ACKNOWLEDGED
from fuagent.sources.sqlite.names import Names, quote
from fuagent.sources.sqlite.places import Spot
from fuagent.sources.sqlite.worker import writing

EVERY = 5.0
"""Seconds between two looks at what can go."""
_PIECE = 1000
_PIECES = 20


class Cleaner:
    """Remembers how far the log may be cleaned, and how far it is."""

    def __init__(self, names: Names, keep_rows: int) -> None:
        self._names = names
        self._keep = keep_rows
        self._acknowledged: Spot | None = None
        self._due = 0.0

    def acknowledge(self, spot: Spot) -> None:
        """Everything up to this row was delivered."""
        self._acknowledged = spot

    def due(self, now: float) -> bool:
        """Whether there is something to clean, and it is time for it."""
        return self._acknowledged is not None and now >= self._due

    def clean(self, connection: sqlite3.Connection, now: float) -> None:
        """Delete what can go, as far as nobody else is writing; what is left has its turn later."""
        self._due = now + EVERY
        spot = self._acknowledged
        if spot is None:
            return
        waits = connection.execute("PRAGMA busy_timeout").fetchone()[0]
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            done = any(self._piece(connection, spot) for _ in range(_PIECES))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return
        finally:
            connection.execute(f"PRAGMA busy_timeout = {waits}")
        if not done:
            self._due = now
        elif self._acknowledged == spot:
            self._acknowledged = None

    def _piece(self, connection: sqlite3.Connection, acknowledged: Spot) -> bool:
        """One small transaction; tells whether nothing is left to do."""
        with writing(connection):
            there = places.spot(connection, self._names, acknowledged.seq)
            if there is None or there.token != acknowledged.token:
                return True  # another log: whoever reads it next will say so
            behind = acknowledged.seq - self._keep
            border = min(behind, places.beginning(connection, self._names).seq + _PIECE)
            connection.execute(f"DELETE FROM {quote(self._names.log)} WHERE seq < ?", (border,))  # noqa: S608
            versions.put(connection, self._names, ACKNOWLEDGED, acknowledged.seq)
        return border == behind
