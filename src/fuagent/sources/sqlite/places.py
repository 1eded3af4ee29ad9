"""Numbers and places in the change log.

The images of log row ``seq`` are numbered ``2·(seq + base)`` and, for an update, also
``2·(seq + base) + 1``: first the old key, then the row. So a number leads back to its row.
``base`` stands in the meta table beside the log: the numbers hang on nothing
outside the database. It is raised only where the place was lost and everything that
follows has to lie above what the service already has.

A place names a row and its token. The token is what proves that this file is the
one the place was read from: a file restored from a backup gives the same sequence numbers
again, but to other changes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

import orjson

from fuagent.errors import HaltSyncError, LostPlaceError
from fuagent.model import INDEX_MAX, Anchor, Place
from fuagent.sources.sqlite import triggers, versions
from fuagent.sources.sqlite.install import BASE
from fuagent.sources.sqlite.names import Names, quote

_FIX = "take a snapshot; it brings the service in step again"


class Spot(NamedTuple):
    """One row of the log: where it stands, how it is recognised, and what it is."""

    seq: int
    token: int
    op: int = 0

    def last(self, base: int) -> int:
        """The number of its last image."""
        return number(self.seq, self.op, base)

    def place(self, base: int, resume_after: int = 0) -> Place:
        """The place right behind it, or in the middle of it."""
        return Place(position(self.seq, self.token), self.last(base), resume_after)


def number(seq: int, op: int, base: int) -> int:
    """The number of a row's last image."""
    return 2 * (seq + base) + (op & 1)


def position(seq: int, token: int) -> str:
    """The text of a position."""
    return orjson.dumps({"seq": seq, "token": token}).decode()


def read(text: str) -> Spot:
    """The row a position names.

    Raises:
        LostPlaceError: it is no position of this driver.
    """
    try:
        said = orjson.loads(text)
        seq, token = said["seq"], said["token"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        seq = token = None
    if not isinstance(seq, int) or not isinstance(token, int):
        raise LostPlaceError("the journal holds a place that is not one of an SQLite change log", fix=_FIX)
    return Spot(seq, token)


def spot(connection: sqlite3.Connection, names: Names, seq: int) -> Spot | None:
    """The row with this sequence number, if it is still there."""
    query = f"SELECT seq, token, op FROM {quote(names.log)} WHERE seq = ?"  # noqa: S608
    row = connection.execute(query, (seq,)).fetchone() if -(2**63) <= seq < 2**63 else None
    return Spot(*row) if row else None


def end(connection: sqlite3.Connection, names: Names) -> Spot:
    """The newest row."""
    return _edge(connection, names, "DESC")


def beginning(connection: sqlite3.Connection, names: Names) -> Spot:
    """The oldest row there is."""
    return _edge(connection, names, "ASC")


def _edge(connection: sqlite3.Connection, names: Names, order: str) -> Spot:
    query = f"SELECT seq, token, op FROM {quote(names.log)} ORDER BY seq {order} LIMIT 1"  # noqa: S608
    row = connection.execute(query).fetchone()
    if row is None:
        raise LostPlaceError("the change log in the database was emptied: changes may be missing", fix=_FIX)
    return Spot(*row)


def locate(connection: sqlite3.Connection, names: Names, base: int, anchors: Sequence[Anchor], index: int) -> Place:
    """The place right behind ``index``, proven by the anchors; without any, by the number alone.

    Raises:
        LostPlaceError: it is not in this log.
    """
    _prove(connection, names, anchors)
    for anchor in anchors:
        known = read(anchor.place.position)
        there = spot(connection, names, known.seq) if anchor.index == index and not anchor.place.resume_after else None
        if there is not None and there.token == known.token:
            return anchor.place
    return _by_number(connection, names, base, index)


def _prove(connection: sqlite3.Connection, names: Names, anchors: Sequence[Anchor]) -> None:
    """The newest anchor whose row is still there has to carry the row's token."""
    for anchor in anchors:
        known = read(anchor.place.position)
        there = spot(connection, names, known.seq)
        if there is None:
            continue
        if there.token != known.token:
            raise LostPlaceError("the database file was replaced or restored from a backup", fix=_FIX)
        return
    if anchors:
        raise LostPlaceError("the change log in the database holds nothing of what was read from it before", fix=_FIX)


def _by_number(connection: sqlite3.Connection, names: Names, base: int, index: int) -> Place:
    found = spot(connection, names, index // 2 - base)
    if found is None and index // 2 - base > end(connection, names).seq:
        raise LostPlaceError("the service's checkpoint lies beyond the end of the change log", fix=_FIX)
    if found is None:
        raise _cleaned()
    if index > found.last(base):
        raise LostPlaceError("the service's checkpoint falls between two changes of the change log", fix=_FIX)
    if index == found.last(base):
        return found.place(base)
    before = spot(connection, names, found.seq - 1)
    if before is None:
        raise _cleaned()
    return before.place(base, resume_after=index)  # of this update only the old key was delivered


def _cleaned() -> LostPlaceError:
    return LostPlaceError("the changes behind the service's checkpoint are no longer in the change log", fix=_FIX)


def oldest(connection: sqlite3.Connection, names: Names, base: int, above: int) -> tuple[Place, int]:
    """The oldest place, and a base under which all that follows is numbered above ``above``.

    To be called inside a writing transaction.

    Raises:
        HaltSyncError: there is no number left above ``above``.
    """
    try:
        first = beginning(connection, names)
    except LostPlaceError:  # emptied by somebody: something to stand on is needed
        connection.execute(triggers.mark(names)).fetchall()
        first = beginning(connection, names)
    raised = max(base, above // 2 - first.seq)
    if number(end(connection, names).seq + 1, 1, raised) > INDEX_MAX:
        raise HaltSyncError(
            f"the service's checkpoint {above} leaves no room for larger numbers (at most {INDEX_MAX})",
            fix="correct the checkpoint at the service, or let it answer 404 to begin again",
        )
    if raised != base:
        versions.put(connection, names, BASE, raised)
    return first.place(raised), raised
