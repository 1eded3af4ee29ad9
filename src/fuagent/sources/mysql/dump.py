"""A connection on which the server sends its binlog: packets in, whole events out.

Protocol: COM_BINLOG_DUMP and COM_BINLOG_DUMP_GTID of the MySQL client/server protocol. The
server sends one event to a packet, behind a byte that is 0; a packet of 2**24 - 1 bytes goes
on in the next one. An error packet begins with 255, the end of the log with 254.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
from dataclasses import dataclass
from typing import Any, NamedTuple

from asyncmy.errors import MySQLError

from fuagent.encode.shown import shown
from fuagent.errors import FuagentError, LostPlaceError, TryAgainError, UnauthorisedError
from fuagent.sources.mysql import faults
from fuagent.sources.mysql.link import SILENT_FOR, Address, Link, translate
from fuagent.sources.mysql.places import MAGIC, Spot
from fuagent.sources.mysql.server import Server
from fuagent.wire.mysql import events
from fuagent.wire.mysql.gtids import GtidSet

_DUMP, _DUMP_GTID, _REGISTER = 0x12, 0x1E, 0x15
_WHOLE = 0xFFFFFF
MISSED = 3
"""Signs of life that may be missed."""
_HEAD_OF_FILE = {events.ROTATE, events.FORMAT_DESCRIPTION, events.PREVIOUS_GTIDS, events.MARIADB_GTID_LIST}
_LARGEST = 1 << 30
"""Bytes of one event: max_allowed_packet can be no larger."""
_FATAL = 1236
"""ER_MASTER_FATAL_ERROR_READING_BINLOG: five things at least, told apart by the text alone."""
_LOST = {
    "the binlog that has to be read from was purged": (
        "could not find first log file",
        "purged",
        "missing the gtid",
        "missing from the",
        "has been deleted",
        "not in the",
    ),
    "the server's binlog ends before the place that was delivered up to: it lost its tail, or was restored": (
        "impossible position",
        "position > file size",
        "exceeds the current",
        "truncated in the middle",
        "diverged",
        "ahead of",
        "more gtid",
    ),
}
_KEEP = (
    "keep binlogs for longer than any outage: SET GLOBAL binlog_expire_logs_seconds = 604800 "
    "(expire_logs_days before MySQL 8.0 and MariaDB 10.6)"
)
_ADVICE = {
    "max_allowed_packet": "SET GLOBAL max_allowed_packet = 1073741824",
    "crc check": "check the server's disk; if the error stays, take a snapshot with fuagent snapshot",
    "bogus data": "check the server's disk; if the error stays, take a snapshot with fuagent snapshot",
}
_ANOTHER = ("same server_uuid/server_id", "same server_id", "same server_uuid")


@dataclass(slots=True)
class Dump:
    """One reader of one server's log. After :meth:`close` there is nothing left of it."""

    link: Link
    where: str
    patience: float
    """Seconds without any event, heartbeats included, after which the connection counts as dead."""
    seeking: bool
    """By GTID the server goes through a file for the place, which may be large, and says nothing meanwhile.

    A peer that is gone is noticed then as well: by the system's own questions (`link`).
    """

    @classmethod
    async def open(
        cls, address: Address, server: Server, spot: Spot, heartbeat: float, *, by_gtid: bool = False
    ) -> Dump:
        """Ask for everything from ``spot`` on.

        ``by_gtid`` asks by what was committed instead of by file and offset: on another server these mean nothing.
        """
        link = await Link.open(address)
        try:
            for statement in _session(server, heartbeat):
                await link.rows(statement)
            if by_gtid and server.mariadb:
                await link.rows(f"SET @slave_connect_state = '{spot.gtid}', @slave_gtid_strict_mode = 0")
            number = secrets.randbelow(1 << 31) + (1 << 31)
            await _register(link, number)
            link.send(_asking(server, spot, number, by_gtid=by_gtid))
        except BaseException:
            await link.close()
            raise
        return cls(link, address.where, heartbeat * MISSED, by_gtid)

    async def close(self) -> None:
        """Let go of the connection."""
        await self.link.close()

    async def more(self) -> bool:
        """Whether something has arrived that was not taken; waits for nothing."""
        self.link.go_on()
        await asyncio.sleep(0)  # the loop looks at the socket ...
        await asyncio.sleep(0)  # ... and hands over what was there
        state = self.link.received
        return bool(state.length > state.pos or state.eof)

    async def events(self) -> list[bytes]:
        """What has arrived: at least one event; waits for it.

        Raises:
            TryAgainError: the connection is gone, or was silent for too long.
            LostPlaceError: the server does not have what was asked for.
        """
        state = self.link.received
        need = 5
        while True:
            while state.length - state.pos < need:
                await self._more(state, need)
            parts = split(bytes(memoryview(state.buffer)[state.pos : state.length]))
            state.pos += parts.taken
            need = parts.need
            if parts.events:
                self.seeking = self.seeking and all(event[4] in _HEAD_OF_FILE for event in parts.events)
                self.link.hold()  # whoever has these may take long with them, and memory is to stay bounded
                return parts.events
            if parts.stop:
                raise ended(parts.stop, self.where)

    async def _more(self, state: Any, need: int) -> None:
        if state.eof or state.exc is not None:
            raise TryAgainError("the server closed the connection on which it sends its binlog", where=self.where)
        self.link.go_on()
        patience = max(self.patience, SILENT_FOR) if self.seeking else self.patience
        try:
            async with asyncio.timeout(patience):
                await state.wait_for_data(need)
        except TimeoutError:
            raise TryAgainError(
                f"the server sent nothing for {patience:g} s, not even a sign of life", where=self.where
            ) from None


class Parts(NamedTuple):
    """What bytes from a dump hold.

    ``events`` are whole, ``taken`` bytes are in them; ``need`` bytes from there make the next one whole.
    ``stop``, where not empty, is the packet behind them that ends the dump; it is not taken.
    """

    events: list[bytes]
    taken: int
    need: int
    stop: bytes = b""


def split(data: bytes) -> Parts:
    """Cut packets out of a stream of bytes.

    Raises:
        TryAgainError: they are no packets.
    """
    events: list[bytes] = []
    start, end = 0, len(data)
    while end - start >= 5:
        word, status = _HEAD.unpack_from(data, start)
        size = word & _WHOLE
        stop = start + 4 + size
        if size == _WHOLE:
            parts, stop = _joined(data, start)
        if stop > end:
            return Parts(events, start, stop - start)
        if status or not size:
            return Parts(events, start, 5, data[start + 4 : stop] or b"\xfe")
        events.append(data[start + 5 : stop] if size < _WHOLE else b"".join(parts)[1:])
        start = stop
    return Parts(events, start, 5)


def _joined(data: bytes, start: int) -> tuple[list[bytes], int]:
    """The payloads of packets that belong together, and where they end; beyond ``data`` if it does not hold them all."""
    parts: list[bytes] = []
    size, length = _WHOLE, 0
    while size == _WHOLE:
        if start + 4 > len(data):
            return parts, start + 4
        size = int.from_bytes(data[start : start + 3], "little")
        length += size
        if length > _LARGEST + _WHOLE:
            raise TryAgainError("an event is larger than any server writes")
        parts.append(data[start + 4 : start + 4 + size])
        start += 4 + size
    return parts, start


def ended(packet: bytes, where: str) -> FuagentError:
    """What the packet means that ends a dump; a text nobody knows is tried again, never taken for a loss."""
    if packet[:1] != b"\xff":
        return TryAgainError("the server has ended sending its binlog; it is shutting down, it seems", where=where)
    code = int.from_bytes(packet[1:3], "little")
    text = packet[9 if packet[3:4] == b"#" else 3 :].decode(errors="replace")
    if code == _FATAL:
        for what, signs in _LOST.items():
            if any(sign in text.lower() for sign in signs):
                return LostPlaceError(what, where=where, fix=_KEEP)
        if any(sign in text.lower() for sign in _ANOTHER):
            return TryAgainError("another reader of the binlog took this one's number", where=where)
    if code in faults.TOLD:
        return translate(MySQLError(code, text), where)
    fix = next((fix for sign, fix in _ADVICE.items() if sign in text.lower()), "")
    return TryAgainError(f"the server stopped sending its binlog (error {code}): {shown(text)}", where=where, fix=fix)


def _session(server: Server, heartbeat: float) -> list[str]:
    """What a reader tells about itself: that it knows checksums, GTIDs and MariaDB's own events."""
    period = int(heartbeat * 1e9)
    statements = [
        f"SET @master_heartbeat_period = {period}, @source_heartbeat_period = {period}",
        "SET @master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = @@global.binlog_checksum",
        "SET SESSION net_write_timeout = 86400, SESSION net_read_timeout = 86400",
    ]
    if server.mariadb:
        # 4: knows GTIDs. Without it the server puts other events in the place of those (MariaDB: Replication Protocol).
        statements.append("SET @mariadb_slave_capability = 4")
    return statements


async def _register(link: Link, number: int) -> None:
    """Tell the server who reads. It refuses an account without the privilege in the words of a wrong password."""
    link.send(_registering(number))
    try:
        await link.acknowledged()
    except UnauthorisedError as error:
        what = "the account may log in, and may not read the binlog"
        raise UnauthorisedError(what, where=link.where, fix="GRANT REPLICATION SLAVE ON *.* to it") from error


def _registering(number: int) -> bytes:
    return _REGISTER_HEAD.pack(_REGISTER, number) + bytes(3) + bytes(2 + 4 + 4)


def _asking(server: Server, spot: Spot, number: int, *, by_gtid: bool) -> bytes:
    if by_gtid and not server.mariadb:
        done = GtidSet.parse(spot.gtid).encode()
        return _GTID_HEAD.pack(_DUMP_GTID, _THROUGH_GTID, number, 0, MAGIC, len(done)) + done
    if by_gtid:
        return _DUMP_HEAD.pack(_DUMP, MAGIC, 0, number)
    # The position has 32 bits here: beyond them the file is read from its start, and what lies before passed over.
    offset = spot.offset if spot.offset < _ADDRESSED else MAGIC
    return _DUMP_HEAD.pack(_DUMP, offset, 0, number) + spot.file.encode()


_HEAD = struct.Struct("<IB")
_REGISTER_HEAD = struct.Struct("<BI")
_DUMP_HEAD = struct.Struct("<BIHI")
_GTID_HEAD = struct.Struct("<BHIIQI")
_ADDRESSED = 1 << 32
_THROUGH_GTID = 0x04
