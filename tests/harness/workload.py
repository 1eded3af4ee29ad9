"""A random writer on a database, which knows for certain what it committed.

Table ``w`` is captured, ``w_log`` is not. Every row of ``w`` says which version of its
key it is, which transaction wrote it, a checksum of that, and the number that its large value
follows from; all its other values follow from key and version. A key's versions only rise, also past a delete.

Each transaction first enters its number into ``w_log``. Where a connection is lost
on the way, the writer connects anew and enters the same number once more: if that
is a duplicate, the transaction was committed; if not, it never will be.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from harness.mariadb import DEADLINE
from harness.workload_table import Dialect, Values, lump, values


@dataclass
class State:
    """What the table holds: the version of each key."""

    rows: dict[int, int] = field(default_factory=dict)
    schema: dict[int, int] = field(default_factory=dict)
    """How many DDLs there had been when each row was written last."""
    lumps: dict[int, int] = field(default_factory=dict)
    """The number of each row's large value."""

    def copy(self) -> State:
        return State(dict(self.rows), dict(self.schema), dict(self.lumps))


class Change(NamedTuple):
    """One row as it was left; a version of None is a delete."""

    key: int
    version: int | None
    partial: bool = False
    """Whether the log lacks a large value of it."""


@dataclass(frozen=True, slots=True)
class Committed:
    """One transaction: its number, and each change in order."""

    tx: int
    changes: tuple[Change, ...]


class Workload:
    """The writer. Its random choices follow from ``seed`` alone.

    Args:
        database: Where the tables are made.
        dialect: What its server speaks.
        table: The table's name.
        first: The lowest key there will be. Those of two tables that one service gets should lie far apart.
        rows: How many rows there are at the start, and about how many there will be.
        pause: Seconds an idle gap takes at most.
        linger: Seconds that one transaction of ten stays open at most before it ends.
        ddl: Whether the table is altered.
    """

    def __init__(
        self,
        database: Any,
        dialect: Dialect,
        seed: int,
        *,
        table: str = "w",
        first: int = 1,
        rows: int = 200,
        pause: float = 0.0,
        linger: float = 0.0,
        ddl: bool = True,
    ) -> None:
        self.database = database
        self.dialect = dialect
        self.table = table
        self.ledger: list[Committed] = []
        self.after: int | None = None
        """Transactions numbered above are owed change by change: the snapshot had ended. None: no one knows."""
        self.state = State()
        self.extra: dict[str, str] = {}
        """Columns there are besides the fixed ones, and how they are declared."""
        self.schemas = 0
        """DDLs so far."""
        self.rolled_back = 0
        self.reconnects = 0
        self._wanted = rows
        self._pause = pause
        self._linger = linger
        self._ddl = ddl
        self._chance = random.Random(seed)
        self._newest: dict[int, int] = {}
        self._next_id = first
        self._next_lump = first
        self._tx = 0
        self._changes: list[Change] = []
        self._now = State()
        self._session: Any = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._create()

    def _create(self) -> None:
        self.dialect.create(self.database, self.table)
        self.database.execute(f"CREATE TABLE {self.table}_log (tx INT PRIMARY KEY, note TEXT)")
        self._transaction(lambda cursor: self._insert(cursor, self._wanted), rolled_back=False)

    # Running

    def run(self, transactions: int) -> None:
        """Do so many transactions, here and now."""
        for _ in range(transactions):
            self._step()
        self._close()

    def run_large(self) -> None:
        """Do one transaction of hundreds of rows, here and now."""
        self._transaction(self._many, rolled_back=False)
        self._close()

    def start(self) -> None:
        """Begin to write in a thread."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="workload")
        self._thread.start()

    def stop(self) -> None:
        """Finish the transaction under way and end the thread; raises what went wrong there."""
        assert self._thread is not None
        self._stopping.set()
        self._thread.join(2 * DEADLINE)
        assert not self._thread.is_alive(), "the writer hangs"
        self._thread = None
        self._raise_error()

    def wait_for(self, transactions: int) -> None:
        """Wait until it committed so many more; raises what went wrong in the thread."""
        enough, end = len(self.ledger) + transactions, time.monotonic() + DEADLINE
        while len(self.ledger) < enough:
            self._raise_error()
            assert time.monotonic() < end, f"it committed {len(self.ledger)} and never {enough} transactions"
            time.sleep(0.01)

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._step()
        except BaseException as error:  # raised again by stop()
            self._error = error
        finally:
            self._close()

    def _step(self) -> None:
        kind = self._chance.random()
        if self._pause and kind < 0.3:
            self._stopping.wait(self._chance.random() * self._pause)
        if kind < 0.03 and self._ddl:
            self._alter()
        else:
            self._transaction(self._work(), rolled_back=self._chance.random() < 0.08)

    def _work(self) -> Callable[[Any], None]:
        """What one transaction does."""
        kind = self._chance.random()
        if kind < 0.05:
            return self._nothing_captured
        if kind < 0.10:
            return self._many
        if kind < 0.15:
            return self._one_again_and_again
        if kind < 0.25:
            return self._with_savepoint
        return lambda cursor: self._some(cursor, self._chance.choice((1, 1, 1, 2, 3, 8)))

    # Connections, and what is certain

    def _connect(self) -> Any:
        end = time.monotonic() + DEADLINE
        while self._session is None:
            try:
                self._session = self.dialect.connect(self.database)
            except (*self.dialect.errors, OSError) as error:
                if not self.dialect.is_lost(error) or time.monotonic() > end:
                    raise
                time.sleep(0.01)
        return self._session

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _attempt(self, action: Callable[[Any], None]) -> bool:
        """Whether it was done; False when the connection was lost on the way."""
        try:
            with self._connect().cursor() as cursor:
                action(cursor)
        except (*self.dialect.errors, OSError) as error:
            if not self.dialect.is_lost(error):
                raise
            self.reconnects += 1
            if self._session is not None:
                self.dialect.forget(self._session)
                self._session = None
            return False
        return True

    def _transaction(self, work: Callable[[Any], None], *, rolled_back: bool) -> None:
        self._tx += 1
        self._changes, self._now = [], self.state.copy()

        def whole(cursor: Any) -> None:
            cursor.execute("BEGIN")
            cursor.execute(f"INSERT INTO {self.table}_log VALUES (%s, 'done')", (self._tx,))
            work(cursor)
            if self._linger and self._chance.random() < 0.1:
                self._stopping.wait(self._chance.random() * self._linger)
            cursor.execute("ROLLBACK" if rolled_back else "COMMIT")

        committed = not rolled_back if self._attempt(whole) else self._was_committed()
        if committed:
            self.ledger.append(Committed(self._tx, tuple(self._changes)))
            self.state = self._now
        else:
            self.rolled_back += 1

    def _was_committed(self) -> bool:
        found: list[bool] = []

        def settle(cursor: Any) -> None:
            cursor.execute(self.dialect.once.format(f"{self.table}_log"), (self._tx, "lost"))
            cursor.execute(f"SELECT note FROM {self.table}_log WHERE tx = %s", (self._tx,))
            found.append(list(cursor.fetchall()) == [("done",)])

        while not self._attempt(settle):
            pass
        return found[-1]

    # What a transaction does

    def _next_version(self, *ids: int) -> int:
        version = max(self._newest.get(key, 0) for key in ids) + 1
        self._newest.update(dict.fromkeys(ids, version))
        return version

    def _wrote(self, key: int, version: int | None, number: int = 0, *, partial: bool = False) -> None:
        self._changes.append(Change(key, version, partial))
        for held in (self._now.rows, self._now.schema, self._now.lumps):
            held.pop(key, None)
        if version is not None:
            self._now.rows[key], self._now.schema[key], self._now.lumps[key] = version, self.schemas, number

    def _new(self, key: int) -> Values:
        version = self._next_version(key)
        large = self._large()
        self._wrote(key, version, large["lump_no"])
        return values(self.dialect, key, version, self._tx) | large

    def _large(self) -> Values:
        """A large value and its number: mostly none."""
        self._next_lump += 1
        number = self._next_lump if self._chance.random() < 0.15 else 0
        return {"lump_no": number, "lump": lump(number)}

    def _fresh_id(self) -> int:
        gone = [key for key in self._newest if key not in self._now.rows]
        if gone and self._chance.random() < 0.3:
            return self._chance.choice(gone)
        self._next_id += 1
        return self._next_id

    def _insert(self, cursor: Any, count: int) -> None:
        self.dialect.insert(cursor, self.table, [self._new(self._fresh_id()) for _ in range(count)])

    def _update(self, cursor: Any, key: int, *, new_id: int | None = None) -> None:
        """Write all of a row, but in every second update not its large value."""
        target = key if new_id is None else new_id
        row = values(self.dialect, target, self._next_version(key, target), self._tx)
        row |= {name: self.dialect.extra[declared](self._chance) for name, declared in self.extra.items()}
        kept = self._chance.random() < 0.5
        row |= {} if kept else self._large()
        sets = ", ".join(f"{name} = %s" for name in row)
        cursor.execute(f"UPDATE {self.table} SET {sets} WHERE id = %s", (*row.values(), key))
        assert cursor.rowcount == 1, f"row {key} is not there"
        number = self._now.lumps[key] if kept else row["lump_no"]
        if new_id is not None:
            self._wrote(key, None)
        self._wrote(target, row["ver"], number, partial=kept and number > 0 and self.dialect.leaves_out)

    def _delete(self, cursor: Any, *ids: int) -> None:
        marks = ", ".join(["%s"] * len(ids))
        cursor.execute(f"DELETE FROM {self.table} WHERE id IN ({marks})", ids)
        assert cursor.rowcount == len(ids), f"of {ids} not all are there"
        for key in ids:
            self._wrote(key, None)

    def _some(self, cursor: Any, count: int) -> None:
        for _ in range(count):
            there = list(self._now.rows)
            kind = self._chance.random() * (1.0 if there else 0.0)
            if kind < (0.3 if len(there) < self._wanted else 0.1):
                self._insert(cursor, self._chance.choice((1, 1, 3)))
            elif kind < 0.75:
                self._update(cursor, self._chance.choice(there))
            elif kind < 0.87:
                self._delete(cursor, self._chance.choice(there))
            else:
                self._update(cursor, self._chance.choice(there), new_id=self._fresh_id())

    def _many(self, cursor: Any) -> None:
        """Hundreds of rows at once: some updated, some new, then some deleted again."""
        there = self._chance.sample(sorted(self._now.rows), len(self._now.rows) // 2)
        fresh = range(self._next_id + 1, self._next_id + 1 + self._chance.randrange(200, 400))
        self._next_id = fresh.stop
        rows = [self._new(key) for key in (*there, *fresh)]
        names, marks = ", ".join(rows[0]), ", ".join(["%s"] * len(rows[0]))
        text = f"INSERT INTO {self.table} ({names}) VALUES ({marks}) {self.dialect.upsert(list(rows[0]))}"
        cursor.executemany(text, [tuple(row.values()) for row in rows])
        extra = len(self._now.rows) - self._wanted
        if extra > 0:
            self._delete(cursor, *self._chance.sample(sorted(self._now.rows), extra))

    def _one_again_and_again(self, cursor: Any) -> None:
        self._insert(cursor, 1)
        key = self._changes[-1].key
        for _ in range(self._chance.randrange(5, 20)):
            self._update(cursor, key)
        if self._chance.random() < 0.3:
            self._delete(cursor, key)

    def _with_savepoint(self, cursor: Any) -> None:
        self._some(cursor, 2)
        cursor.execute("SAVEPOINT s")
        kept, before = len(self._changes), self._now.copy()
        self._some(cursor, 3)
        cursor.execute("ROLLBACK TO SAVEPOINT s")
        del self._changes[kept:]
        self._now = before
        self._some(cursor, 1)

    def _nothing_captured(self, cursor: Any) -> None:
        cursor.execute(f"UPDATE {self.table}_log SET note = CONCAT(note, '') WHERE tx < %s", (self._tx,))
        cursor.execute(f"DELETE FROM {self.table}_log WHERE tx < %s - 50", (self._tx,))

    # Columns that come and go

    def _alter(self) -> None:
        """Alter the table; a lost connection is settled by looking, which waits for the table."""
        statement = self.dialect.alteration(self.table, self.extra, self.schemas, self._chance)
        self._attempt(lambda cursor: cursor.execute(statement) and None)

        def look(cursor: Any) -> None:
            self.extra = self.dialect.extras(cursor, self.table)

        while not self._attempt(look):
            pass
        self.schemas += 1
