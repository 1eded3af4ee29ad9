"""Places in a binlog: where a reader stands, in whose log, and which number a row image has there.

The number of a row image is ``(file number + base) * 2**32 + offset of its event + its place in the event``,
or one more than the number before where that is larger. ``base`` lifts the numbers where file numbers
began anew (another server, a reset log); it follows from the number that has to be passed, so whoever
works it out again finds the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import orjson

from fuagent.errors import DecodeError, HaltSyncError
from fuagent.model import INDEX_MAX, Place

FILE = 1 << 32
"""Numbers one binlog file takes."""
LIFTED = 1 << 20
"""The least base but none: so a number of 2**52 or more tells that there is one."""
MAGIC = 4
"""Where the first event of a file begins."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A boundary of transactions in one server's log.

    ``server`` is its server_id, ``uuid`` its server_uuid (MySQL alone), ``created`` the Unix
    time at which the file was begun: a file of the same name with another one is another file.
    ``gtid`` is everything that was committed before. ``prepared`` are the XA transactions that
    were prepared before and not yet ended: xid → where each begins, as file and offset.
    """

    file: str
    offset: int
    server: int = 0
    uuid: str = ""
    created: int = 0
    gtid: str = ""
    base: int = 0
    prepared: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    def text(self) -> str:
        """As it is kept in the journal."""
        told = {
            "file": self.file,
            "offset": self.offset,
            "server": self.server,
            "uuid": self.uuid,
            "created": self.created,
            "gtid": self.gtid,
            "base": self.base,
            "prepared": self.prepared,
        }
        return orjson.dumps({name: value for name, value in told.items() if value}).decode()

    def place(self, previous: int, resume_after: int = 0) -> Place:
        """The same for the engine."""
        return Place(self.text(), previous, resume_after)

    @property
    def number(self) -> int:
        """The number of the spot itself: above every image before it and below every one behind it."""
        return derived(self.file, self.offset, self.base)

    @property
    def order(self) -> tuple[int, int]:
        """Rises along one server's log."""
        return file_number(self.file), self.offset


def read(position: str) -> Spot:
    """The spot a position tells of.

    Raises:
        HaltSyncError: it is none of ours.
    """
    try:
        told = orjson.loads(position)
        prepared = {xid: (file, offset) for xid, (file, offset) in told.pop("prepared", {}).items()}
        return Spot(**{"file": "", "offset": MAGIC, **told}, prepared=prepared)
    except (ValueError, TypeError, AttributeError) as error:
        raise HaltSyncError("the journal holds a place that is not of a binlog") from error


@lru_cache(maxsize=64)  # asked for with every event
def file_number(file: str) -> int:
    """The number a binlog file's name ends in: ``binlog.000012`` is 12, and names are never compared as texts.

    Raises:
        DecodeError: it ends in none.
    """
    number = file.rpartition(".")[2]
    if not (number.isascii() and number.isdecimal() and len(number) <= 10):
        raise DecodeError("a binlog file's name does not end in a number")
    return int(number)


def derived(file: str, offset: int, base: int) -> int:
    """What the log gives for an event at ``offset``.

    Raises:
        HaltSyncError: there is no such number left.
    """
    number = (file_number(file) + base) * FILE + offset
    if number > INDEX_MAX:
        raise HaltSyncError(
            "the numbers of row images have come to their end (2^53 - 1)",
            fix="begin anew under another sync name, with a snapshot",
        )
    return number


def lifted(spot: Spot, above: int) -> Spot:
    """The same spot with a base that puts everything behind it above the number ``above``."""
    if spot.number > above:
        return spot
    return replace(spot, base=max(LIFTED, above // FILE + 1))
