"""A database in memory, with a log that behaves as a real one does.

It can be purged, lose its end to a failover, move to another server, and be read again
with the same numbers. A test says when; ``hook`` is called with the name of every step
that a source takes and may raise what that step may raise.

The n-th row image ever written has the number ``STRIDE * n``. A position is
``epoch:transactions``: the epoch rises with each failover, and places of an older epoch
hold up to its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fuagent.errors import LostPlaceError
from fuagent.model import Column, Place, Table

STRIDE = 64
Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one row: ``old`` is None for an insert, ``new`` for a delete."""

    table: str
    old: Row | None
    new: Row | None


@dataclass(frozen=True, slots=True)
class Image:
    """One row as the log holds it; ``sent`` is False for the old row of an update that keeps its key."""

    table: str
    version: int
    row: Row
    sent: bool = True
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Transaction:
    """Row images committed together; ``gap`` says why this one cannot be delivered."""

    before: int
    """Images written before it."""
    images: tuple[Image, ...]
    gap: str = ""


@dataclass(slots=True)
class _Content:
    definitions: list[Table]
    """The table in each of its versions."""
    rows: dict[object, Row] = field(default_factory=dict)

    @property
    def table(self) -> Table:
        return self.definitions[-1]

    @property
    def version(self) -> int:
        return len(self.definitions) - 1


class Database:
    """Tables with a key column, and a log of every change to them."""

    def __init__(self) -> None:
        self.hook: Callable[[str], None] = lambda _step: None
        self.epoch = 1
        self.generation = 0
        self.unwatched = False
        """True if changes were made while nobody kept a log: the next ``prepare`` finds out."""
        self.carried = False
        """True once numbers were given that the log alone does not give again."""
        self.acknowledged: dict[str, Place] = {}
        self.snapshots: list[tuple[int, tuple[str, ...], int]] = []
        """For each snapshot whose rows were read: transactions before it, the tables it shows, their rows."""
        self._content: dict[str, _Content] = {}
        self._log: list[Transaction] = []
        self._purged = 0
        self._purged_images = 0
        self._ends: dict[int, int] = {}
        self._watchers: set[asyncio.Event] = set()

    def create(self, table: Table) -> None:
        """Make an empty table; its key is one column."""
        self._content[table.label] = _Content([table])

    def alter(self, label: str, *columns: Column) -> None:
        """Change the definition of a table, adding columns or nothing that shows; rows that lack them hold null."""
        table = self._content[label].table
        self._content[label].definitions.append(replace(table, columns=(*table.columns, *columns)))

    @property
    def tables(self) -> list[Table]:
        """All tables, in the order they were made."""
        return [content.table for content in self._content.values()]

    def rows(self, label: str) -> dict[object, Row]:
        """The rows of a table by key."""
        return self._content[label].rows

    def version(self, label: str) -> int:
        """The version of a table's definition."""
        return self._content[label].version

    def definition(self, label: str, version: int) -> Table:
        """A table as it stood in one version."""
        return self._content[label].definitions[version]

    def put(self, label: str, *rows: Row) -> None:
        """Insert or update rows in one transaction."""
        self.commit(*(Change(label, self.rows(label).get(self._key(label, row)), row) for row in rows))

    def delete(self, label: str, *keys: object) -> None:
        """Delete rows in one transaction."""
        self.commit(*(Change(label, self.rows(label)[key], None) for key in keys))

    def commit(self, *changes: Change) -> None:
        """Do all ``changes`` in one transaction."""
        images: list[Image] = []
        for change in changes:
            content = self._content[change.table]
            old_key = self._key(change.table, change.old)
            new_key = self._key(change.table, change.new)
            if change.old is not None:
                moved = old_key != new_key
                images.append(Image(change.table, content.version, change.old, sent=moved, deleted=True))
                del content.rows[old_key]
            if change.new is not None:
                images.append(Image(change.table, content.version, change.new))
                content.rows[new_key] = change.new
        self._write(Transaction(self.images, tuple(images)))

    def truncate(self, label: str) -> None:
        """Empty a table without logging its rows."""
        self._content[label].rows.clear()
        self._write(Transaction(self.images, (), gap=f"table {label} was truncated."))

    def purge(self, transactions: int | None = None) -> None:
        """Drop the oldest ``transactions`` of the log; by default all that every sync has acknowledged."""
        if transactions is None:
            places = self.acknowledged.values()
            transactions = min((seq_of(place.position) for place in places), default=0) - self._purged
        for _ in range(min(transactions, len(self._log))):
            self._purged_images += len(self._log.pop(0).images)
            self._purged += 1

    def fail_over(self, lost: int = 0) -> None:
        """Another server takes over, without the last ``lost`` transactions."""
        for _ in range(min(lost, len(self._log))):
            for image in reversed(self._log.pop().images):
                self._undo(image)
        self._ends[self.epoch] = self.end
        self.epoch += 1
        self.drop()

    def drop(self) -> None:
        """Cut every connection."""
        self.generation += 1
        self._wake()

    @property
    def end(self) -> int:
        """Transactions ever committed."""
        return self._purged + len(self._log)

    @property
    def purged(self) -> int:
        """Transactions that are not in the log any more."""
        return self._purged

    @property
    def images(self) -> int:
        """Row images ever written."""
        return self._log[-1].before + len(self._log[-1].images) if self._log else self._purged_images

    def position(self, end: int | None = None) -> str:
        """The text of the place behind ``end`` transactions."""
        return f"{self.epoch}:{self.end if end is None else end}"

    def after(self, seq: int) -> Transaction | None:
        """The transaction behind the first ``seq`` ones; None at the end of the log.

        Raises:
            LostPlaceError: it was purged.
        """
        if seq < self._purged:
            raise LostPlaceError(f"the log begins behind transaction {self._purged}; {seq} is gone.")
        return self._log[seq - self._purged] if seq < self.end else None

    def prove(self, place: Place) -> None:
        """See that ``place`` is one of this log, with the transaction it cuts, if it cuts one.

        Raises:
            LostPlaceError: it is not.
        """
        epoch, seq = (int(part) for part in place.position.split(":"))
        end = min([self.end, *(self._ends[later] for later in range(epoch, self.epoch))])
        if not self._purged <= seq <= end - bool(place.resume_after):
            raise LostPlaceError(f"{place.position} is not in the log, which goes from {self._purged} to {end}.")

    def watch(self) -> asyncio.Event:
        """An event that is set by every commit and cut."""
        event = asyncio.Event()
        self._watchers.add(event)
        return event

    def unwatch(self, event: asyncio.Event) -> None:
        """Forget an event given by :meth:`watch`."""
        self._watchers.discard(event)

    def _key(self, label: str, row: Row | None) -> object:
        return None if row is None else row[self._content[label].table.key[0]]

    def _write(self, transaction: Transaction) -> None:
        self._log.append(transaction)
        self._wake()

    def _undo(self, image: Image) -> None:
        rows, key = self.rows(image.table), self._key(image.table, image.row)
        if image.deleted:
            rows[key] = image.row
        else:
            rows.pop(key, None)

    def _wake(self) -> None:
        for event in self._watchers:
            event.set()


def seq_of(position: str) -> int:
    """The number of transactions before ``position``."""
    return int(position.split(":")[1])
