"""Events of a binlog in, Rows out: which transaction and table each change belongs to, and where it stands.

A :class:`LogReader` is fed with what arrives and gives, besides Rows, questions that only a
connection can answer; it goes on when they are answered. It does no I/O of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fuagent.encode.changes import Reread, Run, Writer, completed, facts_of
from fuagent.encode.shown import shown
from fuagent.errors import DecodeError, LostPlaceError
from fuagent.model import ABSENT, Fact, Place, Row, Rows
from fuagent.sources.mysql.effects import Effect, Meaning, effect
from fuagent.sources.mysql.places import Spot
from fuagent.sources.mysql.standing import Standing
from fuagent.sources.mysql.versions import Unknown, Version, Versions
from fuagent.wire.mysql import compressed, events, gtid_events, rows, statements
from fuagent.wire.mysql.events import Header

_MOVED = 1 << 20
"""Bytes of the log without a row for this sync, after which the place moves on all the same."""
_SIGNS = frozenset({events.HEARTBEAT, events.HEARTBEAT_V2})
"""Signs of life: their position is that of the log, not their own."""
_TIMED = frozenset({Fact.COMMIT_TIME, Fact.TRANSACTION})


@dataclass(slots=True)
class Prepared:
    """A transaction that was prepared at ``start`` is committed now: its changes are to be read from there.

    ``inner`` reads them as a part of the transaction under way; ``feed`` it until it is finished.
    """

    start: Spot
    inner: LogReader


Question = Unknown | Reread[Version] | Prepared


@dataclass(slots=True)
class Group:
    """The transaction under way.

    ``begun``: an event of its own ends it; without, it is the one statement that follows.
    ``kept``: its changes are prepared (XA), and come with the statement that commits them.
    """

    offset: int
    """Where it begins in its file."""
    previous: int
    begun: bool = False
    kept: bool = False
    touched: bool = False
    """Whether it holds changes of this sync."""
    gtid: str = ""
    time: float | None = None


class LogReader:
    """Reads one server's log from one place on.

    Args:
        versions: The tables of the sync, as far as they are known; grows.
        spot: Where to begin: a boundary of transactions.
        previous: The number of the last image before it.
        mariadb: Which family wrote the log.
        resume_after: Images numbered so or lower were delivered.
        numbered: Whether events carry their number.
        chunk: Changes written in one go.
        until: Where to end, inclusive; see :attr:`Spot.order`.
    """

    def __init__(
        self,
        versions: Versions,
        spot: Spot,
        previous: int,
        *,
        mariadb: bool,
        resume_after: int = 0,
        numbered: bool = True,
        chunk: int = 1000,
        until: tuple[int, int] | None = None,
    ) -> None:
        self.previous = previous
        self.finished = until is not None and spot.order >= until
        self.left: list[str] = []
        """What the operator should hear of."""
        self._versions = versions
        self._mariadb = mariadb
        self._numbered = numbered
        self._resume_after = resume_after
        self._chunk = chunk
        self._until = until
        self._standing = Standing(spot, mariadb=mariadb)
        self._maps: dict[int, Version | None] = {}
        self._group: Group | None = None
        self._run: Run[Version] | None = None
        self._start = spot.place(previous, resume_after)
        """Where the run under way can be read again from."""
        self._told = spot.order
        self._time: float | None = None
        self._at: int | None = None
        """For changes that were prepared before: the number that what commits them has."""
        self.sought: int | None = None
        """A number to look for instead of giving Rows: see :attr:`met`."""
        self.met: Place | None = None
        """The place right behind the number sought; None while it was not met, or where it falls between two."""
        self.carried = False
        """Whether the log held compressed changes, whose numbers may have been carried on beyond their bytes."""

    @property
    def spot(self) -> Spot:
        """The last boundary that was met."""
        return self._standing.spot

    @property
    def order(self) -> tuple[int, int]:
        """The order of :attr:`spot`, which is quicker to tell than all of it."""
        return self._standing.order

    @property
    def idle(self) -> bool:
        """Whether no transaction is under way."""
        return self._group is None

    # ------------------------------------------------------------ events

    def feed(self, arrived: Sequence[bytes]) -> Iterator[Rows | Question]:
        """What these events tell. A question is to be answered before the next is asked for.

        Raises:
            DecodeError: they make no sense, or are of a kind that cannot be passed over.
            LostPlaceError: what they tell cannot be delivered.
        """
        for event in arrived:
            if self.finished:
                break
            try:
                yield from self._one(event)
            except LostPlaceError:
                yield from self._flush()  # what came before the loss is delivered
                raise
        self._settle()
        yield from self._flush()

    def _one(self, event: bytes) -> Iterator[Rows | Question]:
        if len(event) < events.HEADER.size:
            raise DecodeError("an event of the binlog is shorter than its header")
        header = Header(*events.HEADER.unpack_from(event))
        if header.kind == events.FORMAT_DESCRIPTION:
            self._describe(event, header)
            return
        data = events.body(event, self._standing.description)
        if header.flags & events.ARTIFICIAL_F or not header.next_position or header.kind in _SIGNS:
            self._artificial(header, data)
            return
        start = self._standing.passed(header)
        if self._standing.new(start):
            yield from self._event(header, data, start)

    def _settle(self) -> None:
        """Between transactions the place is behind whatever came, were it only the head of a new file."""
        if self._group is None and self._at is None and not self.finished:
            self._standing.settle()
            self.finished = self._until is not None and self.order >= self._until

    def _describe(self, event: bytes, header: Header) -> None:
        self._maps.clear()
        self._standing.describe(event, header)
        if self._run is None and self._group is None:
            self._start = self.spot.place(self.previous, self._resume_after)

    def _artificial(self, header: Header, data: bytes) -> None:
        """What the server made up for this connection: where it begins, and signs of life."""
        if header.kind == events.ROTATE:
            self._turn(data)
        elif header.kind == events.INCIDENT:
            raise self._incident(data)

    def _turn(self, data: bytes) -> None:
        rotate = events.read_rotate(data, self._standing.description)
        if self._standing.turn(rotate) and self._group is not None:
            raise DecodeError("a file of the binlog ends in the middle of a transaction")

    def _event(self, header: Header, data: bytes, start: int) -> Iterator[Rows | Question]:
        kind = header.kind
        if kind in compressed.COMPRESSED:
            self.carried = True
            plain, body = compressed.uncompressed(kind, data, self._standing.described)
            yield from self._event(header._replace(kind=plain), body, start)
        elif kind in rows.ROWS:
            self._time = float(header.timestamp)
            yield from self._changed(kind, data, start)
        elif kind == events.TABLE_MAP:
            yield from self._mapped(data, header.timestamp)
        elif kind == events.XID:
            yield from self._end()
        elif kind in (events.MARIADB_GTID, events.GTID, events.ANONYMOUS_GTID, events.GTID_TAGGED):
            self._begin(header, data, start)
        elif kind == events.QUERY:
            yield from self._query(data, start)
        elif kind == events.TRANSACTION_PAYLOAD:
            self.carried = True
            for inner, body in compressed.payload(data, self._standing.described):
                yield from self._event(inner, body, start)
        elif kind == events.XA_PREPARE:
            yield from self._prepare(events.read_xa_prepare(data, self._standing.described), start)
        else:
            self._other(header, data)

    def _other(self, header: Header, data: bytes) -> None:
        kind = header.kind
        if kind == events.ROTATE:
            self._turn(data)
        elif kind == events.PREVIOUS_GTIDS:
            self._standing.done.start(gtid_events.read_previous_gtids(data, self._standing.described))
        elif kind == events.MARIADB_GTID_LIST:
            self._standing.done.start(gtid_events.read_mariadb_gtid_list(data, self._standing.described).position)
        elif kind == events.INCIDENT:
            raise self._incident(data)
        elif not events.ignorable(kind, header.flags):
            raise DecodeError(f"the binlog holds an event of type {kind}, which fuagent does not know how to read")

    def _incident(self, data: bytes) -> LostPlaceError:
        what = shown(events.read_incident(data, self._standing.described).message)
        return self._lost(f"the server says that its binlog lacks changes (incident: {what or 'no reason given'})")

    # ------------------------------------------------------------ transactions

    def _begin(self, header: Header, data: bytes, start: int) -> None:
        self._group = group = Group(start, self.previous)
        if header.kind == events.MARIADB_GTID:
            told = gtid_events.read_mariadb_gtid(header, data, self._standing.described)
            group.begun, group.kept, group.gtid = not told.standalone, told.prepared, told.text
            group.time = float(header.timestamp)
        else:
            gtid = gtid_events.read_gtid(header.kind, data, self._standing.described)
            group.gtid = gtid.text
            group.time = gtid.committed / 1e6 if gtid.committed else float(header.timestamp)

    def _joined(self, start: int) -> Group:
        """The transaction under way; servers before 5.7 may begin one without a word."""
        if self._group is None:
            self._group = Group(start, self.previous)
        return self._group

    def _query(self, data: bytes, start: int) -> Iterator[Rows | Question]:
        query = events.read_query(data, self._standing.described)
        said = statements.statement(query.text, query.mode)
        group = self._joined(start)
        found = effect(said, query.text, query.schema, self._versions)
        if found.kind is Effect.BEGIN:
            group.begun = True
        elif found.kind is Effect.KEEP:
            group.begun = group.kept = True
        elif found.kind is Effect.COMMIT:
            yield from self._end()
        elif found.kind is Effect.ROLLBACK:
            if group.touched:
                self._run = None if self._run is None else self._run.up_to(group.previous)
                raise self._lost("a transaction in the binlog was rolled back after its changes were written there")
            if found.ends:
                yield from self._end()
        else:
            yield from self._statement(found, said, start)

    def _statement(self, found: Meaning, said: statements.Statement, start: int) -> Iterator[Rows | Question]:
        group = self._joined(start)
        if found.lost:
            yield from self._flush()
            raise self._lost(found.lost)
        for name in found.changed:
            yield from self._flush()
            self._versions.forget(name)
        if found.note:
            self.left.append(found.note)
        if said.kind is statements.Kind.XA_COMMIT:
            yield from self._committed(said.name, start)
        if said.kind is statements.Kind.XA_ROLLBACK:
            self._standing.done.ended(said.name)
        if not group.begun:
            yield from self._end()
        group.begun = group.begun or said.opens

    def _end(self) -> Iterator[Rows | Question]:
        """The transaction under way has ended, with all that came until here."""
        group, self._group = self._group, None
        if group is not None and group.gtid:
            self._standing.done.add(group.gtid)
        self._standing.settle()
        if self.sought is not None and self.met is None and self.previous < self.sought <= self.spot.number:
            # A snapshot's own number is that of the boundary it shows.
            self.met = self.spot.place(self.sought) if self.sought == self.spot.number else None
            self.finished = True
        if self._until is not None and self.order >= self._until:
            self.finished = True
        run = self._run
        if run is None:
            return
        timed = run.version.encoder is not None and run.version.encoder.facts & _TIMED
        if timed or len(run) >= self._chunk:
            yield from self._flush(group)

    def _restart(self, group: Group) -> Place:
        """Where a transaction under way can be read again from."""
        return self._standing.boundary(group.offset).place(group.previous, self._resume_after)

    # ------------------------------------------------------------ prepared transactions

    def _prepare(self, told: events.XaPrepare, start: int) -> Iterator[Rows | Question]:
        group = self._joined(start)
        if self._at is not None:
            self.finished = True  # all of it was read
            return
        xid = told.xid.text
        self._standing.done.prepare(xid, self._standing.file, group.offset)
        if told.one_phase and group.kept:
            yield from self._committed(xid, start)
        yield from self._end()

    def _committed(self, xid: str, start: int) -> Iterator[Rows | Question]:
        """The changes of a prepared transaction, numbered by what commits them."""
        group = self._joined(start)
        place = self._standing.done.ended(xid)
        if place is None:
            raise self._lost("a prepared transaction (XA) was committed whose changes lie before the place read from")
        yield from self._flush()
        spot = replace(self._standing.origin, file=place[0], offset=place[1], created=0, gtid="", prepared={})
        inner = LogReader(
            self._versions,
            spot,
            self.previous,
            mariadb=self._mariadb,
            resume_after=self._resume_after,
            numbered=self._numbered,
            chunk=self._chunk,
        )
        inner._at = self._standing.number(start)
        inner._start = self._restart(group)
        yield Prepared(spot, inner)
        self.previous = inner.previous
        group.touched = group.touched or inner.previous > group.previous

    # ------------------------------------------------------------ changes

    def _mapped(self, data: bytes, time: int) -> Iterator[Question]:
        found = self._versions.find(data, time, mariadb=self._mariadb)
        if isinstance(found, Unknown):
            yield found
            found = self._versions.learn(found)
        self._maps[rows.table_id(events.TABLE_MAP, data, self._standing.described)] = found

    def _changed(self, kind: int, data: bytes, start: int) -> Iterator[Rows | Question]:
        header = rows.read_rows_header(kind, data, self._standing.described)
        if header.table_id not in self._maps:
            if header.width == 0 or header.table_id == _NO_TABLE:
                return
            raise DecodeError("the binlog holds rows of a table that no table map before them describes")
        version = self._maps[header.table_id]
        group = self._joined(start)
        if version is None or (group.kept and self._at is None):
            return
        befores, afters = _images(version, header, data)
        partial = bool(afters) and not version.held(header.present_after or header.present)
        if self.sought is None and partial:
            merged = [_merged(before, after) for before, after in zip(befores or afters, afters, strict=True)]
            afters = yield from completed(version, merged, "SET GLOBAL binlog_row_image = FULL")
        group.touched = True
        number = self._at if self._at is not None else self._standing.number(start)
        first = max(self.previous + 1, number)
        if self.sought is not None:
            self._seek(group, first, first + len(befores) + len(afters) - 1)
            return
        if self._run is not None and self._run.version is not version:
            yield from self._flush()
        if self._run is None:
            self._run = Run(version)
            if self._at is None:
                self._start = self._restart(group)
        run = self._run
        self.previous = run.add(header.operation, befores, afters, first)
        run.partial = run.partial or partial
        # A run that is full waits for what comes behind it: that may be the end of its transaction.
        while len(run) > self._chunk:
            rest = run.cut(self._chunk)
            yield from self._flush()
            self._run = run = rest
            if self._at is None:
                self._start = self._restart(group)

    def _seek(self, group: Group, first: int, last: int) -> None:
        """See whether the number sought is one of these images'."""
        assert self.sought is not None
        if first <= self.sought <= last:
            self.met = replace(self._restart(group), resume_after=self.sought)
        self.previous = last
        self.finished = self.finished or last >= self.sought

    def _flush(self, group: Group | None = None) -> Iterator[Rows]:
        """The run under way as Rows. ``group`` is the transaction it was of, where each comes by itself."""
        run, self._run = self._run, None
        boundary = self._group is None and self._at is None
        if run is None:
            yield from self._moved(boundary)
            return
        if self._group is None:
            end = self.spot.place(self.previous)
        else:
            end = replace(self._restart(self._group), resume_after=run.numbers[-1])
        writer = Writer(self._numbered, self._resume_after, *_facts(group or self._group))
        yield from writer.rows(run, self._start, end, boundary=boundary, time=self._time)
        self._told = self.order

    def _moved(self, boundary: bool) -> Iterator[Rows]:
        """A word that the place has moved on, where other tables fill the log."""
        file, offset = self.order
        if not boundary or (file == self._told[0] and offset - self._told[1] < _MOVED):
            return
        self._told = self.order
        yield self.nothing()

    def nothing(self, *, at_end: bool = False) -> Rows:
        """No rows, at the boundary the reader stands at."""
        place = self.spot.place(self.previous)
        return Rows(table="", rows=(), indexes=(), start=place, end=place, boundary=True, at_end=at_end)

    def _lost(self, what: str) -> LostPlaceError:
        """What is lost lies in the transaction under way; the log goes on behind it, and so can the sync."""
        error = LostPlaceError(what, where=f"{self._standing.file}:{self._standing.offset}")
        gtid = self._standing.done.with_(self._group.gtid if self._group else "")
        error.place = replace(self._standing.boundary(self._standing.offset), gtid=gtid).place(self.previous)
        return error


_NO_TABLE = 0xFFFFFF
"""The number in a rows event that ends a statement without rows."""


def _images(version: Version, header: rows.RowsHeader, data: bytes) -> tuple[list[Row], list[Row]]:
    """Rows as they were and as they are; one of both is empty but for updates."""
    if header.operation == rows.UPDATE:
        return version.updates(header.present, header.present_after, data, header.start, partial=header.partial)
    found = version.rows(header.present, data, header.start)
    return ([], found) if header.operation == rows.INSERT else (found, [])


def _merged(before: Row, after: Row) -> Row:
    return tuple(old if new is ABSENT else new for old, new in zip(before, after, strict=True))


def _facts(group: Group | None) -> tuple[str | None, str | None]:
    return (None, None) if group is None else facts_of(group.time, group.gtid)
