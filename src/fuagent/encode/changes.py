"""One run of changes of one table version, as events: which row images are sent, and under which numbers.

An update has two images, the row as it was and as it is, and so two numbers; of these the first
is sent where the row under its old key, or in the sync's condition, is gone.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from fuagent.encode.compile import Encoder, Facts
from fuagent.encode.events import Events, parts
from fuagent.encode.shown import shown
from fuagent.errors import HaltSyncError
from fuagent.model import ABSENT, Deletes, Fact, Place, Row, Rows

INSERT, UPDATE, DELETE = "insert", "update", "delete"


class Version(Protocol):
    """One table in one version, as far as its changes need it."""

    @property
    def number(self) -> int:
        """Rises with every change of the table's definition."""

    @property
    def label(self) -> str:
        """The table's name as people write it."""

    @property
    def encoder(self) -> Encoder | None:
        """Writes its rows; None where they cannot be written."""

    @property
    def keys(self) -> tuple[int, ...]:
        """Places of the key's columns; empty without a key."""

    @property
    def deletes(self) -> Deletes:
        """What is sent for a deleted row."""

    def key(self, row: Row) -> Row:
        """The key of a row."""


V = TypeVar("V", bound=Version)


def whole(row: Row) -> bool:
    """Whether an image holds every column."""
    return ABSENT not in row


@dataclass(slots=True)
class Run(Generic[V]):
    """Consecutive changes of one table version; the lists run beside each other.

    ``numbers`` are those of each change's last image. ``befores`` hold None for an insert,
    ``afters`` for a delete. ``partial``: some of the latter may lack columns, because the row is gone.
    """

    version: V
    operations: list[str] = field(default_factory=list)
    befores: list[Row | None] = field(default_factory=list)
    afters: list[Row | None] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    partial: bool = False

    def add(self, operation: str, befores: Sequence[Row | None], afters: Sequence[Row | None], first: int) -> int:
        """Take the changes of one event, whose first image is numbered ``first``; gives the number of the last one."""
        count = max(len(befores), len(afters))
        each = 2 if operation == UPDATE else 1
        self.operations += [operation] * count
        self.befores += befores or [None] * count
        self.afters += afters or [None] * count
        self.numbers += range(first + each - 1, first + each * count, each)
        return first + each * count - 1

    def __len__(self) -> int:
        return len(self.numbers)

    def cut(self, count: int) -> Run[V]:
        """Keep the first ``count`` changes; gives the others."""
        operations, befores, afters = self.operations[count:], self.befores[count:], self.afters[count:]
        rest = Run(self.version, operations, befores, afters, self.numbers[count:], self.partial)
        del self.operations[count:], self.befores[count:], self.afters[count:], self.numbers[count:]
        return rest

    def behind(self, number: int) -> Run[V]:
        """The changes whose last image is numbered above ``number``."""
        kept = [place for place, at in enumerate(self.numbers) if at > number]
        return Run(
            self.version,
            [self.operations[place] for place in kept],
            [self.befores[place] for place in kept],
            [self.afters[place] for place in kept],
            [self.numbers[place] for place in kept],
            self.partial,
        )

    def up_to(self, number: int) -> Run[V] | None:
        """The changes whose last image is numbered so or lower; None where there are none."""
        self.cut(len(self) - len(self.behind(number)))
        return self if len(self) else None


@dataclass(slots=True)
class Reread(Generic[V]):
    """Rows whose images lack columns: ``rows`` are to be as they are now, None for one that is gone."""

    version: V
    keys: list[Row]
    rows: list[Row | None] = field(default_factory=list)


def completed(version: V, found: list[Row], fix: str) -> Generator[Reread[V], None, list[Row]]:
    """Rows, those whose images lack columns read again as they are now.

    One that is gone by now stays in part: what its key was is known, and no more is to be sent of it.

    Raises:
        HaltSyncError: there is no key to read them by; ``fix`` avoids it.
    """
    missing = [place for place, row in enumerate(found) if not whole(row)]
    if not missing:
        return found
    keys = [version.key(found[place]) for place in missing]
    if not version.keys or not all(map(whole, keys)):
        raise HaltSyncError(
            f"rows of table {shown(version.label)} lack columns in the log and have no key to be read again by", fix=fix
        )
    asked = Reread(version, keys)
    yield asked
    for place, row in zip(missing, asked.rows, strict=True):
        found[place] = row if row is not None else found[place]
    return found


def facts_of(time: float | None, transaction: str) -> tuple[str | None, str | None]:
    """What a Writer is told of a transaction: when it was committed (Unix seconds), and the source's name for it."""
    told = None if time is None else datetime.fromtimestamp(time, UTC).isoformat().replace("+00:00", "Z")
    return told, transaction or None


class Sent(NamedTuple):
    """One image to be sent: the row, or with ``alone`` its key and no more."""

    row: Row
    number: int
    operation: str
    deleted: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes runs. Images numbered ``resume_after`` or lower were delivered before."""

    numbered: bool
    resume_after: int = 0
    commit_time: str | None = None
    transaction: str | None = None

    def rows(self, run: Run[Any], start: Place, end: Place, *, boundary: bool, time: float | None) -> Iterator[Rows]:
        """The run between two places; see :class:`fuagent.model.Rows`.

        Raises:
            HaltSyncError: a value cannot be written as the service's document wants it.
        """
        made = self.write(run)
        for part in made:
            yield Rows(
                table=run.version.label,
                rows=part.texts,
                indexes=part.indexes,
                start=start,
                end=end,
                boundary=boundary and part is made[-1],
                version=run.version.number,
                left_out=part.left_out,
                source_time=time,
                refused=part.refused,
                among=part.among,
            )

    def write(self, run: Run[V]) -> list[Events]:
        """The run as events; more than one part where a row cannot be sent.

        Raises:
            HaltSyncError: a value cannot be written as the service's document wants it.
        """
        if run.numbers and run.numbers[0] <= self.resume_after + 1:
            run = run.behind(self.resume_after)
        encoder = run.version.encoder
        if encoder is None:
            return [Events(left_out=len(run))]
        done = Events()
        if self._plain(run, encoder):
            rows = [row for row in run.afters if row is not None]
            done.texts = self._rows(encoder, rows, run.numbers, None, run.operations)
            done.indexes = run.numbers
        else:
            self._some(encoder, run, done)
        return [done] if encoder.transform is None else parts(encoder, done, numbered=self.numbered)

    @staticmethod
    def _plain(run: Run[V], encoder: Encoder) -> bool:
        """Whether every change is sent as the row it leaves, and as nothing else."""
        if encoder.where is not None or run.partial or DELETE in run.operations:
            return False
        if UPDATE not in run.operations:
            return True
        key = run.version.key
        return bool(run.version.keys) and not any(
            before is not None and after is not None and key(before) != key(after)
            for before, after in zip(run.befores, run.afters, strict=True)
        )

    def _some(self, encoder: Encoder, run: Run[V], done: Events) -> None:
        """Every change by itself, written in as few pieces as there are changes between rows and keys."""
        sent: list[Sent] = []
        fits = _fitting(encoder, run.befores), _fitting(encoder, run.afters)
        for place, operation in enumerate(run.operations):
            given = self._images(run, place, operation, fits[0][place], fits[1][place])
            sent += given
            done.left_out += _kept_back(run, place, given)
        texts: list[bytes] = []
        alone: list[int] = []
        start = 0
        for end in range(1, len(sent) + 1):
            if end < len(sent) and sent[end].alone == sent[start].alone:
                continue
            group = sent[start:end]
            numbers = [one.number for one in group]
            rows = [one.row for one in group]
            if group[0].alone:
                alone += range(start, end)
                texts += encoder.keys(rows, numbers if self.numbered else None)
            else:
                deleted = [one.deleted for one in group] if encoder.marks else None
                texts += self._rows(encoder, rows, numbers, deleted, [one.operation for one in group])
            start = end
        done.texts, done.indexes, done.marks = texts, [one.number for one in sent], frozenset(alone)

    def _images(self, run: Run[V], place: int, operation: str, was_in: bool, is_in: bool) -> list[Sent]:
        before, after, number = run.befores[place], run.afters[place], run.numbers[place]
        sent: list[Sent] = []
        if before is not None and was_in:
            at = number if operation == DELETE else number - 1
            gone = after is None or not is_in or _moved(run.version, before, after)
            if gone and at > self.resume_after:
                sent += self._gone(run.version, before, at, DELETE if after is None else operation)
        if after is not None and is_in and whole(after):
            sent.append(Sent(after, number, operation))
        return sent

    @staticmethod
    def _gone(version: Version, before: Row, at: int, operation: str) -> list[Sent]:
        """What tells that a row is gone, or is under its old key; nothing, where that cannot be told."""
        if version.deletes is Deletes.SKIP:
            return []
        if whole(before):
            return [Sent(before, at, operation, deleted=True)]
        if version.deletes is Deletes.MARK:
            return [Sent(version.key(before), at, operation, deleted=True, alone=True)]
        return []

    def _rows(
        self,
        encoder: Encoder,
        rows: Sequence[Row],
        numbers: Sequence[int],
        deleted: Sequence[bool] | None,
        operations: Sequence[str],
    ) -> Sequence[bytes]:
        if not rows:
            return ()
        facts = Facts(operations if Fact.OPERATION in encoder.facts else (), self.commit_time, self.transaction)
        # A transform is not to see the index; it is added behind it.
        written = self.numbered and encoder.transform is None
        return encoder.rows(rows, numbers if written else None, deleted, facts)


def _moved(version: Version, before: Row, after: Row) -> bool:
    return version.key(before) != version.key(after)


def _kept_back(run: Run[V], place: int, sent: Sequence[Sent]) -> int:
    """How many images are kept back: all of a change, or the old one of a row under a new key."""
    before, after = run.befores[place], run.afters[place]
    moved = before is not None and after is not None and _moved(run.version, before, after)
    return (2 if moved else 1) - len(sent) if moved or not sent else 0


def _fitting(encoder: Encoder, rows: Sequence[Row | None]) -> list[bool]:
    """Which rows meet the sync's condition; one that the log holds in part may have, and so counts as if it did."""
    if encoder.where is None:
        return [True] * len(rows)
    held = [row is not None and whole(row) for row in rows]
    fits = iter(encoder.fits([row for row in rows if row is not None and whole(row)]))
    return [next(fits) if whole else True for whole in held]
