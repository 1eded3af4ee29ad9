"""What a server's dump thread sends of recorded binlog files, event by event.

Learned from MariaDB 10.11 by asking it: the first artificial rotate carries a
checksum if the client said so in ``@master_binlog_checksum``, everything after it
if the file's events do. In the middle of a file the format description comes
without creation time and position. Left out: what MariaDB turns GTIDs into for
clients without ``@mariadb_slave_capability = 4``, and the list of GTIDs it makes
up where it skipped some.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from harness.mysql_wire import Error

MAGIC = b"\xfebin"
HEAD = struct.Struct("<IBIIIH")
"""Timestamp, type, server id, size, end position, flags."""
ROTATE, FORMAT, HEARTBEAT = 4, 15, 27
GTID, ANONYMOUS, TAGGED, ANNOTATE, MARIADB_GTID = 33, 34, 42, 160, 162
FIRSTS = {GTID, ANONYMOUS, TAGGED, MARIADB_GTID}
"""Events that begin a transaction."""
OF_FILES = {3, ROTATE, FORMAT, 35, 161, 163, 164}
"""Events that stand between transactions: lists of GTIDs, stop, checkpoint and their like."""
ARTIFICIAL = 0x20
WANTS_ANNOTATE = 2
"""The flag of a dump that wants statements with their rows; MariaDB leaves them out otherwise."""
TOO_OLD = Error(1236, "Could not find first log file name in binary log index file")
NOT_AWARE = Error(1236, "Slave can not handle replication events with the checksum that master is configured to log")


@dataclass(frozen=True, slots=True)
class Dump:
    """What a client asked of the dump thread: COM_BINLOG_DUMP, or COM_BINLOG_DUMP_GTID if there are ``gtids``."""

    file: str
    offset: int
    flags: int
    server_id: int
    gtids: dict[bytes, list[tuple[int, int]]] | None = None
    """MySQL's set of what the client has: by server UUID, first number and the number after the last."""
    variables: dict[str, str] = field(default_factory=dict)
    """The session's user variables at that time, without the ``@``."""


def parse_dump(payload: bytes, variables: dict[str, str]) -> Dump:
    """COM_BINLOG_DUMP (0x12) and COM_BINLOG_DUMP_GTID (0x1e)."""
    if payload[0] == 0x12:
        offset, flags, server_id = struct.unpack_from("<IHI", payload, 1)
        return Dump(payload[11:].decode(), offset, flags, server_id, None, dict(variables))
    flags, server_id, size = struct.unpack_from("<HII", payload, 1)
    name, rest = payload[11 : 11 + size], payload[11 + size :]
    offset, size = struct.unpack_from("<QI", rest)
    gtids = _gtids(rest[12 : 12 + size]) if size else {}
    return Dump(name.decode(), offset, flags, server_id, gtids, dict(variables))


def _gtids(data: bytes) -> dict[bytes, list[tuple[int, int]]]:
    [count] = struct.unpack_from("<Q", data)
    found: dict[bytes, list[tuple[int, int]]] = {}
    at = 8
    for _ in range(count):
        uuid, [spans] = data[at : at + 16], struct.unpack_from("<Q", data, at + 16)
        found[uuid] = [struct.unpack_from("<QQ", data, at + 24 + 16 * place) for place in range(spans)]
        at += 24 + 16 * spans
    assert at == len(data), "the set of GTIDs has bytes too many"
    return found


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """A binlog file's events, each with the offset it starts at."""
    assert data[:4] == MAGIC, "this is no binlog"
    at = 4
    while at < len(data):
        size = HEAD.unpack_from(data, at)[3]
        yield at, data[at : at + size]
        at += size


def has_checksums(data: bytes) -> bool:
    """Whether the events of a file carry CRC32 checksums, as its format description says."""
    _, event = next(split(data))
    version = event[21:71].rstrip(b"\0").decode()
    numbers = tuple(int("".join(filter(str.isdigit, part)) or 0) for part in version.split(".")[:3])
    aware = numbers >= (5, 6, 1) or "MariaDB" in version
    return aware and event[-5] == 1


def event(kind: int, body: bytes, *, position: int = 0, flags: int = 0, server_id: int = 1, crc: bool) -> bytes:
    """An event made up by the server: timestamp 0."""
    size = HEAD.size + len(body) + 4 * crc
    return _summed(HEAD.pack(0, kind, server_id, size, position, flags) + body, crc=crc)


def artificial_rotate(name: str, offset: int, *, crc: bool) -> bytes:
    """What tells a client which file comes now, and from where."""
    return event(ROTATE, struct.pack("<Q", offset) + name.encode(), flags=ARTIFICIAL, crc=crc)


def heartbeat(name: str, position: int, *, crc: bool) -> bytes:
    """What says that there is nothing new."""
    return event(HEARTBEAT, name.encode(), position=position, crc=crc)


def _summed(whole: bytes, *, crc: bool) -> bytes:
    return whole + struct.pack("<I", zlib.crc32(whole)) if crc else whole


def _closed(described: bytes) -> bytes:
    """A format description without the flag of a file in use; its checksum never counts that flag."""
    return described[:17] + bytes([described[17] & ~1]) + described[18:]


def _mid_file(described: bytes, *, crc: bool, keep_position: bool) -> bytes:
    """A format description for a client that starts later: nothing was created now."""
    head = list(HEAD.unpack_from(described))
    if not keep_position:
        head[4] = 0
    body = described[HEAD.size : len(described) - 4 * crc]
    return _summed(HEAD.pack(*head) + body[:52] + bytes(4) + body[56:], crc=crc)


def by_gtid(dump: Dump) -> bool:
    """Whether the client tells what it has, instead of a file and an offset."""
    return dump.gtids is not None or "slave_connect_state" in dump.variables


def feed(files: Mapping[str, bytes], dump: Dump) -> Iterator[bytes | Error]:
    """All that is recorded, from where the client wants it; ends with an error or where the files do."""
    names = list(files)
    start, offset = (names[0], 4) if by_gtid(dump) or not dump.file else (dump.file, dump.offset)
    if start not in files:
        yield TOO_OLD
        return
    told = dump.variables.get("master_binlog_checksum")
    yield artificial_rotate(start, offset, crc=told == "CRC32")
    has = _knows(dump) if by_gtid(dump) else None
    for name in names[names.index(start) :]:
        crc = has_checksums(files[name])
        if crc and told is None:
            yield NOT_AWARE
            return
        if name != start:
            yield artificial_rotate(name, 4, crc=crc)
        for one in _file(files[name], offset if name == start else 4, has, crc=crc):
            if one[4] != ANNOTATE or dump.flags & WANTS_ANNOTATE:
                yield one


def _file(data: bytes, offset: int, has: Callable[[bytes], bool] | None, *, crc: bool) -> Iterator[bytes]:
    skips = False
    for at, one in split(data):
        kind = one[4]
        if kind == FORMAT:
            late = offset > 4 or has is not None
            yield _mid_file(_closed(one), crc=crc, keep_position=offset == 4) if late else _closed(one)
            continue
        if kind in FIRSTS or kind in OF_FILES:
            skips = kind in FIRSTS and has is not None and has(one)
        if at >= offset and not skips:
            yield one


def _knows(dump: Dump) -> Callable[[bytes], bool]:
    """Whether the client has the transaction that this event begins."""
    gtids = dump.gtids or {}
    state: dict[tuple[int, ...], int] = {}
    for one in filter(None, dump.variables.get("slave_connect_state", "").split(",")):
        domain, _, number = map(int, one.split("-"))
        state[(domain,)] = number

    def has(first: bytes) -> bool:
        if first[4] == GTID:
            [number] = struct.unpack_from("<q", first, 36)
            return any(low <= number < high for low, high in gtids.get(first[20:36], []))
        if first[4] == MARIADB_GTID:
            number, domain = struct.unpack_from("<QI", first, 19)
            return number <= state.get((domain,), 0)
        return False

    return has
