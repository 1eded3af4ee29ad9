"""What a store promises: rows, checkpoint and the state of the snapshot change together or not at all.

A store is given to :class:`fuagent.receiver.router.Receiver`. Three ship: in memory
(:mod:`fuagent.receiver.memory`), over SQLAlchemy (:mod:`fuagent.receiver.database`), and one
for checkpoints alone in Redis (:mod:`fuagent.receiver.redis`), which promises less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

Key = tuple[Any, ...]
"""The values of the key's columns, in the order of :attr:`Target.key`."""
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """Where the rows of a route go: the table's name in the store, and the names that make up its key."""

    table: str
    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class State:
    """What a store remembers of one sync, that is of one agent and task."""

    checkpoint: int | None = None
    """The largest index that was applied."""
    key: str = ""
    """The ``Idempotency-Key`` that was answered last."""
    needed: bool = False
    """What that answer said of ``snapshot_needed``."""
    run: str = ""
    """The snapshot or stream in which rows came last; every row carries the one it came in."""
    seen: bool = False
    """Whether a snapshot has ever ended."""
    wanted: bool = False
    """Whether a snapshot was asked for that has not ended yet."""
    under_way: bool = False
    """Whether rows without an index have come, and neither an end marker nor a reason to ask again behind them."""


class Transaction(Protocol):
    """Changes of one sync, seen by nobody until the block ends, and gone if it raises."""

    state: State
    """As it was when the transaction began; the empty one for a sync that is new."""
    session: Any
    """The store's own handle (a SQLAlchemy connection, say), for whoever writes more in the same transaction."""

    def put(self, target: Target, rows: Sequence[Row], run: str) -> None:
        """Insert or update ``rows``, each key at most once; from now on they carry ``run``.

        Raises:
            PayloadError: a row does not fit the table.
        """
        ...

    def remove(self, target: Target, keys: Iterable[Key]) -> None:
        """Take away the rows of these keys; one that is not there is no error."""
        ...

    def sweep(self, target: Target, run: str) -> None:
        """Take away all rows that carry another run."""
        ...

    def save(self, state: State) -> None:
        """Replace the state."""
        ...


@runtime_checkable
class Growing(Protocol):
    """What a store may have besides: tables that grow with their rows."""

    def grow(self, target: Target, rows: Sequence[Row | None]) -> None:
        """Called before the transaction of a batch, with its events in their order; None stands for a delete.

        Raises:
            PayloadError: the rows have what no table can grow to.
        """
        ...


class Store(Protocol):
    """Keeps rows and state. Its methods block, and are called from several threads at once."""

    keeps_rows: bool
    """Whether rows are kept here; where not, a task needs a function that takes them."""

    def check(self, target: Target, *, sweep: bool) -> None:
        """Called once per route, before the first batch.

        Raises:
            ValueError: such rows cannot be kept here, or not be swept.
        """
        ...

    def transaction(self, agent_id: str, task_id: str) -> AbstractContextManager[Transaction]:
        """Begin; another transaction of the same sync waits until this one has ended."""
        ...

    def checkpoint(self, agent_id: str, task_id: str) -> int | None:
        """The checkpoint as last committed; None for none."""
        ...
