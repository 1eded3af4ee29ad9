"""Reading the fields of one event in order, with every end checked."""

from __future__ import annotations

from fuagent.errors import DecodeError

_WIDE = {252: 2, 253: 3, 254: 8}
"""First byte of a length-encoded integer above 250 → bytes that follow
(https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_dt_integers.html)."""


class Cursor:
    """A place in the bytes of an event; ``what`` names the event in errors, as "A GTID event".

    Every method raises DecodeError where the bytes end too early.
    """

    __slots__ = ("at", "data", "what")

    def __init__(self, data: bytes, what: str, at: int = 0) -> None:
        self.data = data
        self.what = what
        self.at = at

    @property
    def left(self) -> int:
        """Bytes not read yet; negative where a place beyond the end was asked for."""
        return len(self.data) - self.at

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        start, self.at = self.at, self.at + count
        if self.at > len(self.data):
            raise DecodeError(f"{self.what} ends too early.")
        return self.data[start : self.at]

    def number(self, width: int) -> int:
        """An unsigned integer of ``width`` bytes, the lowest first."""
        start, self.at = self.at, self.at + width  # as `take` does: a call less for what is read most often
        if self.at > len(self.data):
            raise DecodeError(f"{self.what} ends too early.")
        return int.from_bytes(self.data[start : self.at], "little")

    def lenenc(self) -> int:
        """A length-encoded integer: one byte up to 250, or the width first."""
        first = self.number(1)
        if first <= 250:
            return first
        if first not in _WIDE:
            raise DecodeError(f"{self.what} holds a malformed length.")
        return self.number(_WIDE[first])

    def varlen(self) -> int:
        """An unsigned integer of MySQL's serialization library.

        As many lowest bits as are set tell how many bytes follow the first; the value's own
        bits come behind them and a zero, or in eight bytes of their own after 0xff
        (the library describes itself in ``libs/mysql/serialization`` of MySQL's sources).
        """
        first = self.number(1)
        more = (~first & (first + 1)).bit_length() - 1
        if more >= 8:
            return self.number(8)
        return (first | self.number(more) << 8) >> more + 1

    def signed(self) -> int:
        """A signed integer of the same library: the lowest bit is the sign, -1 is the first below zero."""
        value = self.varlen()
        return -(value >> 1) - 1 if value & 1 else value >> 1

    def rest(self) -> bytes:
        """Everything not read yet."""
        return self.take(max(self.left, 0))

    def text(self, data: bytes) -> str:
        """Bytes that name something, which both families of servers keep as UTF-8."""
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise DecodeError(f"{self.what} holds a name that is not UTF-8.") from error
