"""Places in the write-ahead log: where a reader stands, in whose log.

A place is the *end* of a commit record, or any later position up to which everything was read: START_REPLICATION
and the slot's confirmation count so too. The number of a transaction's first row image is the position of its commit
record, or one more than the number before where that is larger; the images behind it are counted on. Commits come in the order of
their records, so numbers rise; an index is never taken for a position.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from fuagent.errors import HaltSyncError
from fuagent.model import INDEX_MAX, Place


@dataclass(frozen=True, slots=True)
class Spot:
    """A boundary of transactions in one cluster's log, ``lsn`` bytes from its beginning.

    ``system`` is the cluster's system identifier, which its copies share; ``timeline`` the one it was on: a
    promoted copy begins another.
    """

    lsn: int
    system: str = ""
    timeline: int = 0

    def text(self) -> str:
        """As it is kept in the journal."""
        told = {"lsn": self.lsn, "system": self.system, "timeline": self.timeline}
        return orjson.dumps({name: value for name, value in told.items() if value}).decode()

    def place(self, previous: int, resume_after: int = 0) -> Place:
        """The same for the engine."""
        return Place(self.text(), previous, resume_after)


def read(position: str) -> Spot:
    """The spot a position tells of.

    Raises:
        HaltSyncError: it is none of ours.
    """
    try:
        return Spot(**{"lsn": 0, **orjson.loads(position)})
    except (ValueError, TypeError) as error:
        raise HaltSyncError("the journal holds a place that is not of a write-ahead log") from error


def first_number(commit: int, previous: int) -> int:
    """The number of the first row image behind ``previous`` in the transaction whose commit record is at ``commit``.

    Raises:
        HaltSyncError: there is no such number left.
    """
    number = max(previous + 1, commit)
    if number > INDEX_MAX:
        raise HaltSyncError(
            "the numbers of row images have come to their end (2^53 - 1)",
            fix="begin anew under another sync name, with a snapshot",
        )
    return number
