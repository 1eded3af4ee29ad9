"""Events that name transactions: GTIDs, and the sets of them at the start of each log file.

Sources: ``libs/mysql/binlog/event/control_events.h`` in MySQL's sources, ``sql/log_event.h`` in MariaDB's,
https://mariadb.com/kb/en/gtid_event/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from fuagent.errors import DecodeError
from fuagent.wire.mysql import events
from fuagent.wire.mysql.cursor import Cursor
from fuagent.wire.mysql.events import FormatDescription, XaId
from fuagent.wire.mysql.gtids import NUMBER_MAX, TAG, GtidSet, MariadbPosition

STANDALONE_F = 0x1
"""Flag of MariaDB's GTID: one statement follows, without a commit."""
GROUP_COMMIT_F = 0x2
TRANSACTIONAL_F = 0x4
DDL_F = 0x20
PREPARED_XA_F = 0x40
COMPLETED_XA_F = 0x80

MULTI_ENGINE_F = 0x1
START_ALTER_F = 0x2
"""Extra flags of MariaDB's GTID: an ALTER is written once as it begins and again as it commits or rolls back."""
COMMIT_ALTER_F = 0x4
ROLLBACK_ALTER_F = 0x8

_LOGICAL_TIMESTAMP = b"\x02"
"""The byte before the two numbers that say which transactions may be applied side by side."""

_LAST_FIELD = 11
"""The last field of a tagged GTID that this module knows: the ticket of a commit group."""


@dataclass(frozen=True, slots=True)
class Gtid:
    """A MySQL transaction begins.

    ``server`` is a UUID with hyphens, ``tag`` empty for none, ``number`` zero for a transaction
    without an id. ``committed`` is when it was committed on this server and
    ``originally_committed`` on its first one: microseconds of Unix time, None before MySQL 8.
    """

    server: str
    tag: str
    number: int
    last_committed: int
    sequence_number: int
    committed: int | None
    originally_committed: int | None

    @property
    def text(self) -> str:
        """The id as MySQL writes it, "" for a transaction without one."""
        if not self.number:
            return ""
        return f"{self.server}:{self.tag}:{self.number}" if self.tag else f"{self.server}:{self.number}"


def read_gtid(kind: int, data: bytes, description: FormatDescription) -> Gtid:
    """Read the body of a GTID, ANONYMOUS_GTID or GTID_TAGGED."""
    del description  # later servers append; nothing before it moved
    found = _tagged(data) if kind == events.GTID_TAGGED else _untagged(data)
    # A number there must be, except in a transaction without an id, which must have none.
    if not (found.number == 0 if kind == events.ANONYMOUS_GTID else 0 < found.number <= NUMBER_MAX):
        raise DecodeError("A GTID event has a number out of range.")
    return found


def _untagged(data: bytes) -> Gtid:
    cursor = Cursor(data, "A GTID event", at=1)  # behind the flags
    server, number = str(UUID(bytes=cursor.take(16))), cursor.number(8)
    if cursor.left < 17 or cursor.take(1) != _LOGICAL_TIMESTAMP:  # before 5.7
        return Gtid(server, "", number, 0, 0, None, None)
    last_committed, sequence_number = cursor.number(8), cursor.number(8)
    committed = original = None
    if cursor.left >= 7:
        committed = original = cursor.number(7)
        if committed >> 55:  # the highest bit says that the other time differs, and follows
            committed, original = committed & 2**55 - 1, cursor.number(7)
    return Gtid(server, "", number, last_committed, sequence_number, committed, original)


def _tagged(data: bytes) -> Gtid:
    """A message of MySQL's serialization library: version, size, the last field that must be understood, fields.

    Fields come in the order of their numbers and do not tell their size, so the first unknown one ends the reading.
    """
    cursor = Cursor(data, "A tagged GTID event")
    version, size, needed = cursor.varlen(), cursor.varlen(), cursor.varlen()
    if version != 1 or size != len(data) or needed > _LAST_FIELD:
        raise DecodeError("A tagged GTID event is of a version that is not known, or of another size than it says.")
    server, tag = b"", ""
    numbers = dict.fromkeys(range(_LAST_FIELD + 1), 0)
    seen = -1
    while cursor.left and (field := cursor.varlen()) <= _LAST_FIELD:
        if field <= seen:
            raise DecodeError("A tagged GTID event has its fields out of order.")
        seen = field
        if field == 1:
            server = _bytes(cursor)
        elif field == 3:
            tag = cursor.text(cursor.take(cursor.varlen()))
        else:
            numbers[field] = cursor.signed() if field in {2, 4, 5} else cursor.varlen()
    if not server or (tag and not TAG.fullmatch(tag)):
        raise DecodeError("A tagged GTID event names no server, or has a malformed tag.")
    committed = numbers[6] or None
    original = numbers[7] or committed
    return Gtid(str(UUID(bytes=server)), tag, numbers[2], numbers[4], numbers[5], committed, original)


def _bytes(cursor: Cursor) -> bytes:
    """The 16 bytes of a UUID, each a number of its own."""
    values = [cursor.varlen() for _ in range(16)]
    if max(values) > 255:
        raise DecodeError("A tagged GTID event has a malformed UUID.")
    return bytes(values)


def read_previous_gtids(data: bytes, description: FormatDescription) -> GtidSet:
    """Read the body of a PREVIOUS_GTIDS: every transaction in the files before this one."""
    del description  # the set itself tells its format
    return GtidSet.decode(data)


class MariadbGtid(NamedTuple):
    """A MariaDB transaction begins. ``flags`` and ``extra`` are those above; ``xid`` names a prepared or ended XA one."""

    domain: int
    server: int
    sequence: int
    flags: int
    extra: int
    xid: XaId | None

    @property
    def text(self) -> str:
        """The id as MariaDB writes it."""
        return f"{self.domain}-{self.server}-{self.sequence}"

    @property
    def standalone(self) -> bool:
        """Whether no commit ends it: one statement that stands for itself follows."""
        return self.flags & STANDALONE_F != 0

    @property
    def ddl(self) -> bool:
        """Whether its statement changes schemas."""
        return self.flags & DDL_F != 0

    @property
    def prepared(self) -> bool:
        """Whether an XA_PREPARE ends it, to be committed or rolled back later."""
        return self.flags & PREPARED_XA_F != 0

    @property
    def completed(self) -> bool:
        """Whether its statement commits or rolls back what was prepared earlier."""
        return self.flags & COMPLETED_XA_F != 0


def read_mariadb_gtid(header: events.Header, data: bytes, description: FormatDescription) -> MariadbGtid:
    """Read the body of a MARIADB_GTID; the server's number stands in the header alone."""
    del description  # later servers append; nothing before it moved
    cursor = Cursor(data, "A GTID event")
    sequence, domain, flags = cursor.number(8), cursor.number(4), cursor.number(1)
    if flags & GROUP_COMMIT_F:
        cursor.take(8)
    xid = None
    if flags & (PREPARED_XA_F | COMPLETED_XA_F):
        number, gtrid, bqual = cursor.number(4), cursor.number(1), cursor.number(1)
        xid = XaId(number, cursor.take(gtrid), cursor.take(bqual))
    extra = cursor.number(1) if cursor.left else 0  # short ones are filled up with zeroes
    return MariadbGtid(domain, header.server_id, sequence, flags, extra, xid)


@dataclass(frozen=True, slots=True)
class MariadbGtidList:
    """Every (domain, server, sequence) in the files before this one, the last of each domain behind its others."""

    triples: tuple[tuple[int, int, int], ...]

    @property
    def position(self) -> MariadbPosition:
        """Where the files before this one end."""
        return MariadbPosition(self.triples)


def read_mariadb_gtid_list(data: bytes, description: FormatDescription) -> MariadbGtidList:
    """Read the body of a MARIADB_GTID_LIST. The four highest bits of its count are flags."""
    del description  # its layout never changed
    cursor = Cursor(data, "A GTID_LIST event")
    count = cursor.number(4) & 2**28 - 1
    if cursor.left < count * 16:
        raise DecodeError("A GTID_LIST event ends too early.")
    return MariadbGtidList(tuple((cursor.number(4), cursor.number(4), cursor.number(8)) for _ in range(count)))
