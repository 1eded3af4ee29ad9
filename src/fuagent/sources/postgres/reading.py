"""Frames of a replication stream in, Rows out: which transaction and table each change belongs to, and where it stands.

A :class:`LogReader` is fed with what arrives and gives, besides Rows, questions that only a
connection can answer; it goes on when they are answered. It does no I/O of its own.

Transactions come whole, in the order of their commits: Begin, changes, Commit. What the walsender says
between them (keepalives) tells how far the log holds nothing for us.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from dataclasses import replace

from fuagent.encode.changes import DELETE, INSERT, UPDATE, Reread, Run, Writer, completed, facts_of
from fuagent.encode.shown import shown
from fuagent.errors import DecodeError, LostPlaceError
from fuagent.model import ABSENT, Fact, Place, Row, Rows
from fuagent.sources.postgres import places
from fuagent.sources.postgres.places import Spot
from fuagent.sources.postgres.versions import Unknown, Version, Versions
from fuagent.wire.postgres import frames, lsn, messages
from fuagent.wire.postgres.messages import Relation, Truncate

Question = Unknown | Reread[Version]

_MOVED = 1 << 20
"""Bytes of the log without a row for this sync, after which the place moves on all the same."""
_TIMED = frozenset({Fact.COMMIT_TIME, Fact.TRANSACTION})
# Where parts of a frame stand, counted from its first byte.
_KIND, _KEEPALIVE = frames.PAYLOAD_AT, frames.PAYLOAD_AT + 1
_INTEGER4 = struct.Struct(">I")
_BEGIN = struct.Struct(">QqI")
_COMMIT = struct.Struct(">BQQ")
_ALIVE = struct.Struct(">QqB")
_I, _U, _D, _B, _C = b"IUDBC"
_FULL = "ALTER TABLE … REPLICA IDENTITY FULL"


class LogReader:
    """Reads one slot's stream from one place on.

    Args:
        versions: The tables of the sync, as far as they are known; grows.
        spot: Where to begin: a boundary of transactions.
        previous: The number of the last image before it.
        resume_after: Images numbered so or lower were delivered.
        numbered: Whether events carry their number.
        chunk: Changes written in one go.
        until: Where to end, inclusive: transactions whose commit record begins there or later are not read.
    """

    def __init__(
        self,
        versions: Versions,
        spot: Spot,
        previous: int,
        *,
        resume_after: int = 0,
        numbered: bool = True,
        chunk: int = 1000,
        until: int | None = None,
    ) -> None:
        self.previous = previous
        self.reached = spot.lsn
        """All that was committed before is read."""
        self.finished = until is not None and spot.lsn >= until
        self.wanted = False
        """Whether the server has asked for an answer."""
        self.left: list[str] = []
        """What the operator should hear of."""
        self.sought: int | None = None
        """A number to look for instead of giving Rows: see :attr:`met`."""
        self.met: Place | None = None
        """The place right behind the number sought; None while it was not met, or where it falls between two."""
        self._versions = versions
        self._spot = spot
        self._numbered = numbered
        self._resume_after = resume_after
        self._chunk = chunk
        self._until = until
        self._relations: dict[int, Version | None] = {}
        self._commit = 0
        """Where the commit record of the transaction under way is; 0 between transactions."""
        self._xid = 0
        self._before = previous
        """The number of the last image before the transaction under way."""
        self._run: Run[Version] | None = None
        self._start = spot.place(previous, resume_after)
        """Where the run under way can be read again from."""
        self._told = spot.lsn
        self._time: float | None = None
        self._loss = ""
        """Why the place is lost at the end of the transaction under way."""

    @property
    def spot(self) -> Spot:
        """The last boundary that was met."""
        return replace(self._spot, lsn=self.reached)

    @property
    def idle(self) -> bool:
        """Whether no transaction is under way."""
        return not self._commit

    # ------------------------------------------------------------ frames

    def feed(self, data: bytes) -> Iterator[Rows | Question]:
        """What these whole frames tell. A question is to be answered before the next is asked for.

        Raises:
            DecodeError: they make no sense.
            LostPlaceError: what they tell cannot be delivered; all that came before it was.
        """
        place, end = 0, len(data)
        try:
            while place < end and not self.finished:
                kind, behind = data[place + _KIND], place + 1 + _INTEGER4.unpack_from(data, place + frames.LENGTH_AT)[0]
                if kind == frames.XLOG_DATA:
                    behind = yield from self._message(data, place, behind)
                elif kind == frames.KEEPALIVE:
                    self._alive(data, place)
                else:
                    raise DecodeError(f"The replication stream holds a message of type {kind}, which is not known.")
                place = behind
        except (struct.error, IndexError):
            raise DecodeError("A message of the replication stream ends too early.") from None
        yield from self._flush()

    def _message(self, data: bytes, place: int, behind: int) -> Generator[Rows | Question, None, int]:
        """One message, or with it all that follow and are alike; gives the place behind them."""
        kind = data[place + frames.MESSAGE_AT]
        if kind in (_I, _U, _D):
            return (yield from self._changed(kind, data, place, behind))
        if kind == _B:
            self._begin(*_BEGIN.unpack_from(data, place + frames.MESSAGE_AT + 1))
        elif kind == _C:
            yield from self._end(_COMMIT.unpack_from(data, place + frames.MESSAGE_AT + 1)[2])
        else:
            yield from self._other(data[place + frames.MESSAGE_AT : behind])
        return behind

    def _alive(self, data: bytes, place: int) -> None:
        """The server is there, and between transactions has sent all that was committed before this position."""
        end, _, wanted = _ALIVE.unpack_from(data, place + _KEEPALIVE)
        self.wanted = self.wanted or wanted != 0
        if not self._commit:
            self._reach(end)

    def _reach(self, position: int) -> None:
        self.reached = max(self.reached, position)
        self.finished = self._until is not None and self.reached >= self._until

    def _other(self, message: bytes) -> Iterator[Question]:
        found = messages.read(message)
        if isinstance(found, Relation):
            yield from self._related(found)
        elif isinstance(found, Truncate):
            ours = [self._versions.oids[one] for one in found.relations if one in self._versions.oids]
            if ours:
                self._loss = f"table {shown(self._versions.label(ours[0]))} was emptied (TRUNCATE)"

    # ------------------------------------------------------------ transactions

    def _begin(self, commit: int, time: int, xid: int) -> None:
        if self._until is not None and commit >= self._until:
            self.finished = True
            return
        self._commit, self._xid, self._before = commit, xid, self.previous
        self._time = (time + frames.EPOCH * 1_000_000) / 1_000_000

    def _end(self, position: int) -> Iterator[Rows]:
        """The transaction under way has ended, with all that came until here."""
        run = self._run
        timed = run is not None and run.version.encoder is not None and run.version.encoder.facts & _TIMED
        facts = self._facts() if timed else None
        self._commit = 0
        self._reach(position)
        if timed or self._loss or (run is not None and len(run) >= self._chunk):
            yield from self._flush(facts)
        if self._loss:
            loss, self._loss = self._loss, ""
            error = LostPlaceError(loss, where=lsn.text(position))
            error.place = self.spot.place(self.previous)
            raise error

    def _facts(self) -> tuple[str | None, str | None]:
        return facts_of(self._time, str(self._xid)) if self._commit else (None, None)

    def _restart(self) -> Place:
        """Where the transaction under way, or else what follows, can be read again from."""
        return self.spot.place(self._before if self._commit else self.previous, self._resume_after)

    # ------------------------------------------------------------ changes

    def _related(self, relation: Relation) -> Iterator[Question]:
        try:
            found = self._versions.find(relation)
        except LostPlaceError as error:
            self._loss, found = error.what, None
        if isinstance(found, Unknown):
            yield found
            found, news = self._versions.learn(found)
            self.left += [news] if news else []
        self._relations[relation.id] = found

    def _changed(self, kind: int, data: bytes, place: int, behind: int) -> Generator[Rows | Question, None, int]:
        relation = _INTEGER4.unpack_from(data, place + frames.MESSAGE_AT + 1)[0]
        if not self._commit or relation not in self._relations:
            raise DecodeError(
                "The replication stream holds rows outside of a transaction, or of a table it did not name."
            )
        version = self._relations[relation]
        if version is None:
            return behind
        operation, befores, afters, behind = _images(version, kind, data, place)
        if version.kept is not None:
            befores = [None if row is None else version.kept(row) for row in befores]
            afters = [version.kept(row) for row in afters]
        if kind == _U and version.filtered:
            befores = [old or _key_of(version, new) for old, new in zip(befores, afters, strict=True)]
        partial = kind == _U and any(ABSENT in row for row in afters)
        if partial and self.sought is None:
            afters = yield from completed(version, afters, _FULL)
        yield from self._take(version, operation, befores, afters, partial=partial)
        return behind

    def _take(
        self, version: Version, operation: str, befores: list[Row | None], afters: list[Row], *, partial: bool
    ) -> Iterator[Rows]:
        first = places.first_number(self._commit, self.previous)
        if self.sought is not None:
            self._seek(first, first + max(len(befores), len(afters)) * (2 if operation == UPDATE else 1) - 1)
            return
        if self._run is not None and self._run.version is not version:
            yield from self._flush()
        if self._run is None:
            self._run, self._start = Run(version), self._restart()
        run = self._run
        self.previous = run.add(operation, befores, afters, first)
        run.partial = run.partial or partial
        # A run that is full waits for what comes behind it: that may be the end of its transaction.
        while len(run) > self._chunk:
            rest = run.cut(self._chunk)
            yield from self._flush()
            self._run = run = rest
            self._start = self._restart()

    def _seek(self, first: int, last: int) -> None:
        """See whether the number sought is one of these images'."""
        assert self.sought is not None
        if first <= self.sought <= last:
            self.met = self.spot.place(self._before, self.sought)
        self.previous = last
        self.finished = self.finished or last >= self.sought

    # ------------------------------------------------------------ rows

    def _flush(self, facts: tuple[str | None, str | None] | None = None) -> Iterator[Rows]:
        """The run under way as Rows. ``facts`` are of the transaction it was of, where each comes by itself."""
        run, self._run = self._run, None
        boundary = not self._commit
        if run is None:
            if boundary and self.reached - self._told >= _MOVED:
                yield self.nothing()
            return
        end = self.spot.place(self.previous) if boundary else replace(self._restart(), resume_after=run.numbers[-1])
        writer = Writer(self._numbered, self._resume_after, *(facts or self._facts()))
        yield from writer.rows(run, self._start, end, boundary=boundary, time=self._time)
        self._told = self.reached

    def nothing(self, *, at_end: bool = False) -> Rows:
        """No rows, at the boundary the reader stands at."""
        self._told = self.reached
        place = self.spot.place(self.previous)
        return Rows(table="", rows=(), indexes=(), start=place, end=place, boundary=True, at_end=at_end)


def _images(version: Version, kind: int, data: bytes, place: int) -> tuple[str, list[Row | None], list[Row], int]:
    """What happened to rows, these as they were and as they are, and the place behind the messages of them."""
    end = len(data)
    if kind == _I:
        found, behind = version.inserts(data, place, end)
        return INSERT, [], found, behind
    if kind == _U:
        return UPDATE, *version.updates(data, place, end)
    gone, behind = version.removals(data, place, end)
    return DELETE, list(gone), [], behind


def _key_of(version: Version, after: Row) -> Row:
    """What is known of a row before an update that left its key alone."""
    keys = set(version.keys)
    return tuple(value if place in keys else ABSENT for place, value in enumerate(after))
