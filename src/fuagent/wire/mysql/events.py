"""Events of a binary log: frames, checksums, and all of them but table maps, GTIDs and row images.

An event is a header of 19 bytes, a body, and four bytes of CRC32 where the log's format
description says so. Bodies begin with a part of fixed length, whose length for each type
the format description lists as well, so that older and newer servers can be told apart.

Sources: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_replication_binlog_event.html,
https://mariadb.com/kb/en/replication-protocol/, and ``libs/mysql/binlog/event`` and
``sql/log_event.h`` in the two servers' sources.

Whatever the bytes, a function here returns or raises :class:`~fuagent.errors.DecodeError`;
none takes more memory than a few times the bytes it is given.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from fuagent.errors import DecodeError
from fuagent.wire.mysql.cursor import Cursor

START_V3, QUERY, STOP, ROTATE, INTVAR, LOAD, SLAVE, CREATE_FILE, APPEND_BLOCK, EXEC_LOAD = range(1, 11)
DELETE_FILE, NEW_LOAD, RAND, USER_VAR, FORMAT_DESCRIPTION, XID, BEGIN_LOAD_QUERY, EXECUTE_LOAD_QUERY = range(11, 19)
TABLE_MAP = 19
WRITE_ROWS_V0, UPDATE_ROWS_V0, DELETE_ROWS_V0, WRITE_ROWS_V1, UPDATE_ROWS_V1, DELETE_ROWS_V1 = range(20, 26)
INCIDENT, HEARTBEAT, IGNORABLE_EVENT, ROWS_QUERY = range(26, 30)
WRITE_ROWS_V2, UPDATE_ROWS_V2, DELETE_ROWS_V2 = range(30, 33)
GTID, ANONYMOUS_GTID, PREVIOUS_GTIDS, TRANSACTION_CONTEXT, VIEW_CHANGE, XA_PREPARE = range(33, 39)
PARTIAL_UPDATE_ROWS, TRANSACTION_PAYLOAD, HEARTBEAT_V2, GTID_TAGGED = range(39, 43)

# MariaDB's own begin at 160. The last one, a piece of an oversized rows event, came with 12.3.
ANNOTATE_ROWS, BINLOG_CHECKPOINT, MARIADB_GTID, MARIADB_GTID_LIST, START_ENCRYPTION = range(160, 165)
QUERY_COMPRESSED, WRITE_ROWS_COMPRESSED_V1, UPDATE_ROWS_COMPRESSED_V1, DELETE_ROWS_COMPRESSED_V1 = range(165, 169)
WRITE_ROWS_COMPRESSED_V2, UPDATE_ROWS_COMPRESSED_V2, DELETE_ROWS_COMPRESSED_V2 = range(169, 172)
PARTIAL_ROW_DATA = 172

_KNOWN = frozenset({*range(START_V3, GTID_TAGGED + 1), *range(ANNOTATE_ROWS, PARTIAL_ROW_DATA + 1)})

IGNORABLE = frozenset(
    {STOP, INTVAR, RAND, USER_VAR, IGNORABLE_EVENT, ROWS_QUERY, TRANSACTION_CONTEXT, VIEW_CHANGE}
    | {ANNOTATE_ROWS, BINLOG_CHECKPOINT}
)
"""Types that tell nothing of rows: remarks, and the surroundings of statements that come as QUERY."""

IN_USE_F = 0x1
"""Flag of a format description: the file was not closed (yet)."""
THREAD_SPECIFIC_F = 0x4
"""Flag of a query that concerns its connection alone, as with temporary tables."""
ARTIFICIAL_F = 0x20
"""Flag of an event that stands in no file: the server made it for this connection."""
IGNORABLE_F = 0x80
"""Flag of an event that whoever does not know it may pass over."""

MAGIC = b"\xfebin"
HEADER = struct.Struct("<IBIIIH")
CHECKSUM = 4
"""Bytes of a checksum."""

_RESIDUE = 0x2144DF1C
_INTEGER4 = struct.Struct("<I")
_INTEGER8 = struct.Struct("<Q")
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


class Header(NamedTuple):
    """The header of an event. ``timestamp`` is Unix seconds, ``next_position`` the end of the event in its file,
    zero where it stands in none; it wraps at 4 GiB."""

    timestamp: int
    kind: int
    server_id: int
    size: int
    next_position: int
    flags: int


def known(kind: int) -> bool:
    """Whether the type is one of MySQL 5.0 to 9 or MariaDB up to 12; any other may mean anything."""
    return kind in _KNOWN


def ignorable(kind: int, flags: int) -> bool:
    """Whether an event may be passed over: by its type, or as an unknown one whose flag allows it."""
    return kind in IGNORABLE or (flags & IGNORABLE_F != 0 and kind not in _KNOWN)


@dataclass(frozen=True, slots=True)
class FormatDescription:
    """What a log says about itself before anything else.

    ``created`` is Unix seconds, zero in a log that does not follow a start of the server.
    ``post_headers`` holds the length of the fixed part of type n at n - 1. ``checksum`` says
    that a CRC32 ends every event that follows.
    """

    version: int
    server_version: str
    created: int
    header_length: int
    post_headers: bytes
    checksum: bool
    mariadb: bool

    def post_header(self, kind: int, default: int) -> int:
        """Length of the fixed part of a type, ``default`` where the server knows no such type."""
        known_here = kind <= len(self.post_headers) and self.post_headers[kind - 1] != 0
        return self.post_headers[kind - 1] if known_here else default


def read_format_description(event: bytes) -> FormatDescription:
    """Read a FORMAT_DESCRIPTION from its whole event, header and checksum included.

    Raises:
        DecodeError: It is none, is damaged, or is of a format before MySQL 5.0 (version 4).
    """
    _framed(event)
    if event[4] != FORMAT_DESCRIPTION:
        raise DecodeError("A binary log does not begin with a format description; it may be of a server before 5.0.")
    cursor = Cursor(event, "A format description", HEADER.size)
    version = cursor.number(2)
    name = cursor.take(50).partition(b"\0")[0].decode("ascii", "replace")
    created, header_length = cursor.number(4), cursor.number(1)
    lengths = cursor.rest()
    if version != 4 or header_length != HEADER.size:
        raise DecodeError(f"Binary logs of version {version} are not supported; version 4 is, of servers since 5.0.")
    mariadb = "mariadb" in name.lower() or len(lengths) >= ANNOTATE_ROWS
    checksum = False
    if _equipped(name, mariadb=mariadb):
        lengths, algorithm = lengths[: -CHECKSUM - 1], lengths[-CHECKSUM - 1 : -CHECKSUM]
        checksum = _follows(event, algorithm)
    return FormatDescription(version, name, created, header_length, lengths, checksum, mariadb)


def _equipped(name: str, *, mariadb: bool) -> bool:
    """Whether format descriptions of this server end with an algorithm and a checksum, used or not."""
    found = _VERSION.match(name.removeprefix("5.5.5-") if mariadb else name)
    if found is None:
        raise DecodeError("A format description names no version of a server.")
    version = tuple(map(int, found.groups()))
    return version >= ((5, 3, 0) if mariadb else (5, 6, 1))


def _follows(event: bytes, algorithm: bytes) -> bool:
    """Whether checksums follow: algorithm 1 is CRC32, 0 none, 255 not decided.

    The checksum of the description itself is computed as if the file were closed. Where none
    follow, servers change the event under way without computing it anew, so it proves nothing.
    """
    if algorithm in {b"\x00", b"\xff"}:
        return False
    if algorithm != b"\x01":
        raise DecodeError("A format description names a checksum that is not known.")
    closed = bytearray(event)
    closed[17] &= ~IN_USE_F & 0xFF
    _verify(bytes(closed))
    return True


def _framed(event: bytes) -> None:
    if len(event) < HEADER.size:
        raise DecodeError("An event ends within its header.")
    (size,) = _INTEGER4.unpack_from(event, 9)
    if size != len(event):
        raise DecodeError(f"An event of {len(event)} bytes says that it has {size}.")


def _intact(event: bytes) -> bool:
    # The CRC-32 of bytes with their own CRC-32 behind them, lowest byte first, is this one, and of no others.
    return len(event) >= HEADER.size + CHECKSUM and zlib.crc32(event) == _RESIDUE


def _verify(event: bytes) -> None:
    if not _intact(event):
        raise DecodeError(
            f"The checksum of an event of type {event[4]} is wrong: it was damaged on its way or on disk."
        )


def body(event: bytes, description: FormatDescription | None) -> bytes:
    """The bytes between header and checksum, after the event was found whole and undamaged.

    ``description`` is None before the first one: the rotation that a server makes up at the
    start of a stream has a checksum or not, depending on what the connection asked for, and
    is taken to have one where the last bytes fit.
    """
    _framed(event)
    if event[4] == FORMAT_DESCRIPTION:
        own = read_format_description(event)
        return event[HEADER.size : -CHECKSUM] if _equipped(own.server_version, mariadb=own.mariadb) else event[19:]
    if description is None:
        return event[HEADER.size : -CHECKSUM] if _intact(event) else event[HEADER.size :]
    if not description.checksum:
        return event[HEADER.size :]
    _verify(event)
    return event[HEADER.size : -CHECKSUM]


def events(data: bytes) -> Iterator[tuple[int, Header, bytes]]:
    """Walk the bytes of a whole binary or relay log file: where each event begins, its header, its body.

    A description anywhere holds for what follows it; read it from
    ``data[offset : offset + header.size]`` with :func:`read_format_description`.

    Raises:
        DecodeError: When the walk comes to what is no event, is damaged, or is cut off.
    """
    if data[:4] == b"\xfdbin":
        raise DecodeError("The binary log is encrypted; read it through its server.")
    if data[:4] != MAGIC:
        raise DecodeError("The file is no binary log.")
    description = None
    at = len(MAGIC)
    while at < len(data):
        if len(data) - at < HEADER.size:
            raise DecodeError("The binary log is cut off within the header of an event.")
        header = Header(*HEADER.unpack_from(data, at))
        event = data[at : at + header.size]
        if description is None or header.kind == FORMAT_DESCRIPTION:
            description = read_format_description(event)
        yield at, header, body(event, description)
        at += header.size


@dataclass(frozen=True, slots=True)
class Rotate:
    """The log goes on at ``position`` of ``file``."""

    position: int
    file: str


def read_rotate(data: bytes, description: FormatDescription | None) -> Rotate:
    """Read the body of a ROTATE; the one at the start of a stream comes before any description."""
    del description  # its layout never changed in this version of the format
    cursor = Cursor(data, "A ROTATE event")
    return Rotate(cursor.number(8), cursor.text(cursor.rest()))


@dataclass(frozen=True, slots=True)
class Query:
    """A statement as text, in the character set its connection used. ``schema`` is the default one, "" for none.

    ``error_code`` is the error it ended with on the server, zero for none. ``mode`` is the
    ``sql_mode`` it was written under, None where the event does not tell.
    """

    thread: int
    schema: str
    text: bytes
    error_code: int
    mode: int | None


def read_query(data: bytes, description: FormatDescription) -> Query:
    """Read the body of a QUERY, or of a QUERY_COMPRESSED once it is uncompressed."""
    cursor = Cursor(data, "A QUERY event")
    status, schema = _before_text(cursor, description)
    thread, _, _, error_code = struct.unpack_from("<IIBH", data)
    # Variables come in the order of their codes: 0 with four bytes, 1, the mode, with eight.
    at = 5 if status[:1] == b"\0" else 0
    mode = int.from_bytes(status[at + 1 : at + 9], "little") if status[at : at + 1] == b"\1" else None
    return Query(thread, schema, cursor.rest(), error_code, mode)


def text_start(data: bytes, description: FormatDescription) -> int:
    """Where the text of a QUERY begins in its body, or the compressed one of a QUERY_COMPRESSED."""
    cursor = Cursor(data, "A QUERY event")
    _before_text(cursor, description)
    return cursor.at


def _before_text(cursor: Cursor, description: FormatDescription) -> tuple[bytes, str]:
    """The status variables and the schema.

    Servers before 5.0 know no status variables: their fixed part has 11 bytes, not 13.
    """
    fixed = description.post_header(QUERY, 13)
    cursor.take(8)
    schema_length = cursor.number(1)
    cursor.take(2)
    status_length = cursor.number(2) if fixed >= 13 else 0
    cursor.at = fixed
    status, schema = cursor.take(status_length), cursor.take(schema_length)
    if cursor.take(1) != b"\0":
        raise DecodeError("A QUERY event has no end of its schema where one must be.")
    return status, cursor.text(schema)


def read_xid(data: bytes, description: FormatDescription) -> int:
    """Read the body of an XID, which commits a transaction: its number in the storage engine.

    Pre-releases of 5.1 gave this type's number to another event; its size gives it away.
    """
    at = description.post_header(XID, 0)
    if len(data) != at + 8:
        raise DecodeError(f"An XID event has {len(data)} bytes where it needs {at + 8}.")
    return int.from_bytes(data[at:], "little")


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Nothing new: the log has been sent up to ``position`` of ``file``."""

    position: int
    file: str


def read_heartbeat(header: Header, data: bytes, description: FormatDescription) -> Heartbeat:
    """Read a HEARTBEAT, whose position stands in the header, or a HEARTBEAT_V2.

    MariaDB puts a position beyond 4 GiB before the name, and zero into the header.
    """
    cursor = Cursor(data, "A HEARTBEAT event")
    if header.kind == HEARTBEAT_V2:
        return _heartbeat_fields(cursor)
    position = header.next_position
    if position == 0 and description.mariadb:
        position = cursor.number(8)
    return Heartbeat(position, cursor.text(cursor.rest()))


def _heartbeat_fields(cursor: Cursor) -> Heartbeat:
    """Fields of type, length and value: 1 is the name, 2 the position, 0 the end; others may be passed over."""
    file, position = b"", 0
    while cursor.left > 0 and (field := cursor.lenenc()) != 0:
        value = cursor.take(cursor.lenenc())
        if field == 1:
            file = value
        elif field == 2:
            position = Cursor(value, cursor.what).lenenc()
    return Heartbeat(position, cursor.text(file))


@dataclass(frozen=True, slots=True)
class Incident:
    """Something happened that the log may lack events of; 1 is "lost events"."""

    number: int
    message: str


def read_incident(data: bytes, description: FormatDescription) -> Incident:
    """Read the body of an INCIDENT; its message is the server's own."""
    del description  # its layout never changed
    cursor = Cursor(data, "An INCIDENT event")
    return Incident(cursor.number(2), cursor.take(cursor.number(1)).decode("utf-8", "replace"))


class XaId(NamedTuple):
    """The name of a transaction that is prepared first and ended later."""

    format: int
    gtrid: bytes
    bqual: bytes

    @property
    def text(self) -> str:
        """The name as servers write it into the statements of the log, and as this package compares it."""
        return f"X'{self.gtrid.hex()}',X'{self.bqual.hex()}',{self.format}"


@dataclass(frozen=True, slots=True)
class XaPrepare:
    """The end of a transaction's changes, which are kept for a later commit or rollback.

    With ``one_phase`` they are committed right here (XA COMMIT … ONE PHASE).
    """

    one_phase: bool
    xid: XaId


def read_xa_prepare(data: bytes, description: FormatDescription) -> XaPrepare:
    """Read the body of an XA_PREPARE."""
    del description  # its layout never changed
    cursor = Cursor(data, "An XA_PREPARE event")
    one_phase = cursor.number(1) != 0
    number, gtrid, bqual = cursor.number(4), cursor.number(4), cursor.number(4)
    return XaPrepare(one_phase, XaId(number, cursor.take(gtrid), cursor.take(bqual)))
