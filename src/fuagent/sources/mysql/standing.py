"""Where a reader stands in the files of a log: which file, how far, and which boundary of transactions it passed last."""

from __future__ import annotations

from dataclasses import replace

from fuagent.encode.shown import shown
from fuagent.errors import DecodeError, LostPlaceError
from fuagent.sources.mysql import places
from fuagent.sources.mysql.done import Done
from fuagent.sources.mysql.places import Spot
from fuagent.wire.mysql import events
from fuagent.wire.mysql.events import FormatDescription, Header

_WRAPS = 1 << 32


class Standing:
    """Moves along the files of one server's log, from ``origin`` on."""

    def __init__(self, origin: Spot, *, mariadb: bool) -> None:
        self.origin = origin
        self.done = Done.parse(origin.gtid, origin.prepared, mariadb=mariadb)
        """What was committed before the last boundary."""
        self.file = origin.file
        self.offset = origin.offset
        """Where the next event begins in the file."""
        self.edge = origin.offset
        """Where the last boundary lies in the file."""
        self.description: FormatDescription | None = None
        self._created = origin.created

    @property
    def spot(self) -> Spot:
        """The last boundary."""
        return self.boundary(self.edge)

    @property
    def order(self) -> tuple[int, int]:
        """The order of :attr:`spot`, which is quicker to tell than all of it."""
        return places.file_number(self.file), self.edge

    @property
    def described(self) -> FormatDescription:
        """The description of the file.

        Raises:
            DecodeError: none was sent.
        """
        if self.description is None:
            raise DecodeError("the server sent its binlog without a format description")
        return self.description

    def boundary(self, offset: int) -> Spot:
        """A boundary in the file. While a transaction is under way, what was done is what was before it."""
        return replace(
            self.origin,
            file=self.file,
            offset=offset,
            created=self._created,
            gtid=self.done.text,
            prepared=self.done.prepared,
        )

    def number(self, start: int) -> int:
        """What the file gives for an event that begins at ``start``."""
        return places.derived(self.file, start, self.origin.base)

    def describe(self, event: bytes, header: Header) -> None:
        """A file begins, or says again what it is.

        Raises:
            LostPlaceError: it is another one than was read before.
        """
        self.description = events.read_format_description(event)
        if self.file == self.origin.file and self.origin.created not in (0, header.timestamp):
            raise LostPlaceError(
                f"the server's binlog {shown(self.file)} is not the one that was read before: the logs were reset"
            )
        self._created = header.timestamp
        if header.next_position:
            self.offset = max(self.offset, header.next_position)

    def turn(self, rotate: events.Rotate) -> bool:
        """Go where a ROTATE event says; whether that is another file than the one asked for."""
        if rotate.file == self.file and self.description is None:
            self.offset = rotate.position  # perhaps its start
            return False
        self.file, self.offset, self._created = rotate.file, rotate.position, 0
        self.settle()
        return True

    def passed(self, header: Header) -> int:
        """Go behind an event; gives where it begins. Offsets in events have 32 bits; files may be longer."""
        end = self.offset + header.size
        left_out = (header.next_position - end) % _WRAPS  # by the server, where it was asked by GTID
        if left_out > _WRAPS // 2:
            raise DecodeError("an event of the binlog stands before the one that came before it")
        self.offset = end + left_out
        return self.offset - header.size

    def new(self, start: int) -> bool:
        """Whether an event that begins at ``start`` lies behind the origin."""
        return start >= self.origin.offset or self.file != self.origin.file

    def settle(self) -> None:
        """Here is a boundary."""
        self.edge = self.offset
