"""Global transaction ids, and sets of them: text and bytes, for both families of servers.

MySQL names a transaction ``server:number`` or, since 8.3, ``server:tag:number``, where the
server is a UUID. What has been executed is a set: ``uuid:1-5:7:tag:1-3,uuid:1``
(https://dev.mysql.com/doc/refman/8.4/en/replication-gtids-concepts.html). MariaDB counts in
domains, ``domain-server-sequence``, and one such id per domain is a position
(https://mariadb.com/kb/en/gtid/).
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from uuid import UUID

from fuagent.errors import DecodeError
from fuagent.wire.mysql.cursor import Cursor

NUMBER_MAX = 2**63 - 2
"""The largest number of a transaction: the end of an interval, one more, still fits a signed 64-bit integer."""

_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.ASCII)
TAG = re.compile(r"[a-z_][a-z0-9_]{0,31}", re.ASCII)
"""A tag, in the lower case that servers store."""
_INTERVAL = re.compile(r"(\d{1,19})(?:\s*-\s*(\d{1,19}))?", re.ASCII)
_TRIPLE = re.compile(r"(\d{1,10})-(\d{1,10})-(\d{1,20})", re.ASCII)

Key = tuple[str, str]
"""A server's UUID, lower case with hyphens, and a tag, empty for none."""


class Intervals:
    """Numbers as intervals with a first and an end behind the last, in order, none touching another."""

    __slots__ = ("ends", "firsts")

    def __init__(self, firsts: Iterable[int] = (), ends: Iterable[int] = ()) -> None:
        self.firsts = list(firsts)
        self.ends = list(ends)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self.firsts, self.ends, strict=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Intervals) and self.firsts == other.firsts and self.ends == other.ends

    __hash__ = None  # type: ignore[assignment]  # it changes

    def add(self, first: int, end: int) -> None:
        """Put in all numbers from ``first`` up to, not with, ``end``."""
        low = bisect_left(self.ends, first)  # the first interval that reaches up to here
        high = bisect_right(self.firsts, end)  # behind the last that begins no later than the end
        if low < high:
            first, end = min(first, self.firsts[low]), max(end, self.ends[high - 1])
        self.firsts[low:high] = [first]
        self.ends[low:high] = [end]

    def remove(self, first: int, end: int) -> None:
        """Take out all numbers from ``first`` up to, not with, ``end``."""
        low = bisect_right(self.ends, first)
        high = bisect_left(self.firsts, end)
        if low >= high:
            return
        whole = (self.firsts[low], first), (end, self.ends[high - 1])
        left = [(start, stop) for start, stop in whole if start < stop]
        self.firsts[low:high] = [start for start, _ in left]
        self.ends[low:high] = [stop for _, stop in left]

    def covers(self, first: int, end: int) -> bool:
        """Whether every number from ``first`` up to, not with, ``end`` is in."""
        at = bisect_right(self.firsts, first) - 1
        return at >= 0 and end <= self.ends[at]


class GtidSet:
    """A set of MySQL's ids. :meth:`add` changes it; everything else leaves it as it is and gives a new one.

    Memory goes with the number of intervals, not with that of transactions.
    """

    __slots__ = ("_intervals",)

    def __init__(self) -> None:
        self._intervals: dict[Key, Intervals] = {}

    @classmethod
    def parse(cls, text: str) -> GtidSet:
        """Read the text of a set; case, blanks, order and overlaps do not matter, and empty text is the empty set.

        Raises:
            DecodeError: The text is no set.
        """
        found = cls()
        for part in text.split(","):
            server, *rest = (piece.strip().lower() for piece in part.split(":"))
            if server or rest:
                found._parse_server(server, rest)
        return found

    def _parse_server(self, server: str, pieces: list[str]) -> None:
        key = (_uuid(server), "")
        for piece in pieces:
            if TAG.fullmatch(piece):
                key = (key[0], piece)
                continue
            match = _INTERVAL.fullmatch(piece)
            if match is None:
                raise DecodeError("A set of GTIDs has an interval that is none.")
            first = int(match[1])
            self._put(key, first, int(match[2] or first) + 1)

    @classmethod
    def decode(cls, data: bytes) -> GtidSet:
        """Read the bytes of a set, as in PREVIOUS_GTIDS: :meth:`encode` in reverse.

        Raises:
            DecodeError: The bytes are no set.
        """
        cursor = Cursor(data, "An encoded set of GTIDs")
        count = cursor.number(8)
        form = count >> 56
        if form > 1:
            raise DecodeError("An encoded set of GTIDs has a format that is not known.")
        if form:
            count = count >> 8 & 2**48 - 1
        found = cls()
        for _ in range(count):
            found._decode_server(cursor, tagged=form == 1)
        if cursor.left:
            raise DecodeError("An encoded set of GTIDs has bytes behind its end.")
        return found

    def _decode_server(self, cursor: Cursor, *, tagged: bool) -> None:
        server = str(UUID(bytes=cursor.take(16)))
        tag = cursor.text(cursor.take(cursor.varlen())) if tagged else ""
        if tag and not TAG.fullmatch(tag):
            raise DecodeError("An encoded set of GTIDs has a malformed tag.")
        last = 0
        for _ in range(cursor.number(8)):
            first, end = cursor.number(8), cursor.number(8)
            if first <= last:
                raise DecodeError("An encoded set of GTIDs has its intervals out of order.")
            self._put((server, tag), first, end)
            last = end

    def encode(self) -> bytes:
        """The bytes of the set, as COM_BINLOG_DUMP_GTID wants them.

        The number of servers (with tags: of servers and tags; it then stands between two bytes
        that say so), and for each 16 bytes of UUID, the tag where there are tags at all, the
        number of intervals, and first and end of each; all numbers in eight bytes, lowest first
        (``Gtid_set::encode`` in ``sql/rpl_gtid_set.cc``).
        """
        tagged = any(tag for _, tag in self._intervals)
        count = len(self._intervals)
        parts = [(1 << 56 | count << 8 | 1 if tagged else count).to_bytes(8, "little")]
        for (server, tag), intervals in sorted(self._intervals.items()):
            parts.append(UUID(server).bytes)
            if tagged:  # the tag's length is a varlen: one byte up to 63, shifted by one
                parts += [bytes([len(tag) << 1]), tag.encode()]
            pairs = list(intervals)
            parts.append(len(pairs).to_bytes(8, "little"))
            parts += [number.to_bytes(8, "little") for pair in pairs for number in pair]
        return b"".join(parts)

    def _put(self, key: Key, first: int, end: int) -> None:
        if not 0 < first < end <= NUMBER_MAX + 1:
            raise DecodeError("A set of GTIDs has an interval that is empty or out of range.")
        self._intervals.setdefault(key, Intervals()).add(first, end)

    def add(self, server: str, tag: str, number: int) -> None:
        """Put one transaction in. ``server`` is a UUID as :class:`Key` has it."""
        self._put((server, tag), number, number + 1)

    def contains(self, server: str, tag: str, number: int) -> bool:
        """Whether one transaction is in."""
        intervals = self._intervals.get((server, tag))
        return intervals is not None and intervals.covers(number, number + 1)

    def issubset(self, other: GtidSet) -> bool:
        """Whether every transaction in here is in ``other`` as well."""
        none = Intervals()
        return all(other._intervals.get(key, none).covers(*pair) for key, pair in self._pairs())

    def copy(self) -> GtidSet:
        """The same set, to be changed apart from this one."""
        return self.union(GtidSet())

    def union(self, other: GtidSet) -> GtidSet:
        """All transactions of both."""
        found = GtidSet()
        found._intervals = {key: Intervals(one.firsts, one.ends) for key, one in self._intervals.items()}
        for key, pair in other._pairs():
            found._put(key, *pair)
        return found

    def difference(self, other: GtidSet) -> GtidSet:
        """The transactions in here that are not in ``other``."""
        found = GtidSet()
        for key, intervals in self._intervals.items():
            left = Intervals(intervals.firsts, intervals.ends)
            for pair in other._intervals.get(key, ()):
                left.remove(*pair)
            if left.firsts:
                found._intervals[key] = left
        return found

    def _pairs(self) -> Iterator[tuple[Key, tuple[int, int]]]:
        return ((key, pair) for key, intervals in self._intervals.items() for pair in intervals)

    def __bool__(self) -> bool:
        return bool(self._intervals)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GtidSet) and self._intervals == other._intervals

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __str__(self) -> str:
        """The canonical text: servers in order, numbers without a tag before those with one."""
        texts: dict[str, str] = {}
        for (server, tag), intervals in sorted(self._intervals.items()):
            text = texts.get(server, server) + (f":{tag}" if tag else "")
            numbers = (f":{first}" if end == first + 1 else f":{first}-{end - 1}" for first, end in intervals)
            texts[server] = text + "".join(numbers)
        return ",".join(texts.values())

    def __repr__(self) -> str:
        return f"GtidSet.parse({str(self)!r})"


def _uuid(text: str) -> str:
    if not _UUID.fullmatch(text):
        raise DecodeError("A set of GTIDs names a server by what is no UUID.")
    return str(UUID(text))


class MariadbPosition:
    """MariaDB's position: of each domain the last transaction, as (server, sequence). :meth:`add` changes it."""

    __slots__ = ("domains",)

    def __init__(self, triples: Iterable[tuple[int, int, int]] = ()) -> None:
        self.domains: dict[int, tuple[int, int]] = {}
        for triple in triples:
            self.add(*triple)

    @classmethod
    def parse(cls, text: str) -> MariadbPosition:
        """Read ``0-1-100,1-2-5``; empty text is the position before everything.

        Raises:
            DecodeError: The text is no position, or names a domain twice, as ``gtid_binlog_state`` may.
        """
        found = cls()
        for part in text.split(",") if text.strip() else ():
            match = _TRIPLE.fullmatch(part.strip())
            if match is None:
                raise DecodeError("A MariaDB position has a part that is no domain-server-sequence.")
            domain, server, sequence = map(int, match.groups())
            if domain in found.domains or max(domain, server) >= 1 << 32 or sequence >= 1 << 64:
                raise DecodeError("A MariaDB position names a domain twice or a number out of range.")
            found.add(domain, server, sequence)
        return found

    def add(self, domain: int, server: int, sequence: int) -> None:
        """Move to a transaction, which becomes the last of its domain."""
        self.domains[domain] = (server, sequence)

    def reaches(self, other: MariadbPosition) -> bool:
        """Whether this is at or beyond ``other`` in each of its domains, by their sequences."""
        return all(
            domain in self.domains and self.domains[domain][1] >= sequence
            for domain, (_, sequence) in other.domains.items()
        )

    def contains(self, domain: int, sequence: int) -> bool:
        """Whether a transaction lies at or before this position in its domain."""
        return domain in self.domains and self.domains[domain][1] >= sequence

    def copy(self) -> MariadbPosition:
        """The same position, to be moved apart from this one."""
        found = MariadbPosition()
        found.domains = dict(self.domains)
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MariadbPosition) and self.domains == other.domains

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __str__(self) -> str:
        """The canonical text, domains in order."""
        return ",".join(f"{domain}-{server}-{sequence}" for domain, (server, sequence) in sorted(self.domains.items()))

    def __repr__(self) -> str:
        return f"MariadbPosition.parse({str(self)!r})"
