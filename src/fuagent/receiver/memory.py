"""A store in memory, for tests and for trying things out.

It forgets its checkpoint with the process, so that every start costs the agent a snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

from fuagent.receiver.store import Key, Row, State, Target

_Rows = dict[Key, tuple[dict[str, Any], str]]


class MemoryStore:
    """Tables as dictionaries."""

    keeps_rows = True

    def __init__(self) -> None:
        self._lock = Lock()
        self._tables: dict[str, _Rows] = {}
        self._states: dict[tuple[str, str], State] = {}

    def check(self, target: Target, *, sweep: bool) -> None:
        """Any rows can be kept and swept."""

    @contextmanager
    def transaction(self, agent_id: str, task_id: str) -> Iterator[MemoryTransaction]:
        """One at a time; what it changed takes effect at its end."""
        with self._lock:
            changes = MemoryTransaction(self._states.get((agent_id, task_id), State()), self._tables)
            yield changes
            self._tables |= changes.session
            self._states[agent_id, task_id] = changes.state

    def checkpoint(self, agent_id: str, task_id: str) -> int | None:
        """The checkpoint as last committed."""
        with self._lock:
            return self._states.get((agent_id, task_id), State()).checkpoint

    def rows(self, table: str) -> list[dict[str, Any]]:
        """A copy of what a table holds, in the order in which the keys came first."""
        with self._lock:
            return [dict(row) for row, _ in self._tables.get(table, {}).values()]


class MemoryTransaction:
    """Copies of the tables that it touches."""

    def __init__(self, state: State, tables: dict[str, _Rows]) -> None:
        self.state = state
        self.session: dict[str, _Rows] = {}
        self._tables = tables

    def _table(self, name: str) -> _Rows:
        if name not in self.session:
            self.session[name] = dict(self._tables.get(name, {}))
        return self.session[name]

    def put(self, target: Target, rows: Sequence[Row], run: str) -> None:
        """Update what is there, so that a property that does not come keeps its value."""
        table = self._table(target.table)
        for row in rows:
            key = tuple(row[name] for name in target.key)
            old, _ = table.get(key, ({}, ""))
            table[key] = ({**old, **row}, run)

    def remove(self, target: Target, keys: Iterable[Key]) -> None:
        """Take away the rows of these keys."""
        table = self._table(target.table)
        for key in keys:
            table.pop(key, None)

    def sweep(self, target: Target, run: str) -> None:
        """Take away all rows of another run."""
        table = self._table(target.table)
        self.session[target.table] = {key: kept for key, kept in table.items() if kept[1] == run}

    def save(self, state: State) -> None:
        """Replace the state."""
        self.state = state
