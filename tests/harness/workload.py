"""A random writer on a MariaDB database, which knows for certain what it committed.

Table ``w`` is captured, ``w_log`` is not. Every row of ``w`` says which version of its
key it is, which transaction wrote it, and a checksum of that; all its other values
follow from key and version. A key's versions only rise, also past a delete.

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
from typing import Any

import pymysql
from pymysql.connections import Connection
from pymysql.cursors import Cursor

from harness.mariadb import DEADLINE, Database
from harness.workload_table import EXTRA, FIXED, Values, values

LOST = {1053, *range(1158, 1162), 1317, 1927, 2002, 2003, 2006, 2013, 2014, 2055}
"""Numbers of errors that mean a connection is no more."""


@dataclass
class State:
    """What the table holds: the version of each key."""

    rows: dict[int, int] = field(default_factory=dict)
    schema: dict[int, int] = field(default_factory=dict)
    """How many DDLs there had been when each row was written last."""

    def copy(self) -> State:
        return State(dict(self.rows), dict(self.schema))


@dataclass(frozen=True, slots=True)
class Committed:
    """One transaction: its number, and each change in order; a version of None is a delete."""

    tx: int
    changes: tuple[tuple[int, int | None], ...]


class Workload:
    """The writer. Its random choices follow from ``seed`` alone.

    Args:
        database: Where the tables are made; another one can be set after a failover.
        rows: How many rows there are at the start, and about how many there will be.
        pause: Seconds an idle gap takes at most.
        ddl: Whether columns come and go.
        connect: Another way to connect, for instance through a proxy.
    """

    def __init__(
        self,
        database: Database,
        seed: int,
        *,
        rows: int = 200,
        pause: float = 0.0,
        ddl: bool = True,
        connect: Callable[[], Connection[Any]] | None = None,
    ) -> None:
        self.database = database
        self.ledger: list[Committed] = []
        self.state = State()
        self.extra: dict[str, str] = {}
        """Columns there are besides the fixed ones, and how they are declared."""
        self.schemas = 0
        """DDLs so far."""
        self.rolled_back = 0
        self.reconnects = 0
        self._wanted = rows
        self._pause = pause
        self._ddl = ddl
        self._connect_once = connect or self._connect_to_database
        self._chance = random.Random(seed)
        self._newest: dict[int, int] = {}
        self._next_id = 1
        self._tx = 0
        self._changes: list[tuple[int, int | None]] = []
        self._now = State()
        self._session: Connection[Any] | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._create()

    def _create(self) -> None:
        columns = ", ".join(f"{name} {declared}" for name, declared in FIXED.items())
        self.database.execute(f"CREATE TABLE w ({columns})")
        self.database.execute("CREATE TABLE w_log (tx INT PRIMARY KEY, note TEXT)")
        self._transaction(lambda cursor: self._insert(cursor, self._wanted), rolled_back=False)

    # Running

    def run(self, transactions: int) -> None:
        """Do so many transactions, here and now."""
        for _ in range(transactions):
            self._step()
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

    def _work(self) -> Callable[[Cursor], None]:
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

    def _connect_to_database(self) -> Connection[Any]:
        return self.database.connect()

    def _connect(self) -> Connection[Any]:
        end = time.monotonic() + DEADLINE
        while self._session is None:
            try:
                self._session = self._connect_once()
                with self._session.cursor() as cursor:
                    cursor.execute("SET time_zone = '+00:00'")
            except pymysql.err.MySQLError as error:
                if not _is_lost(error) or time.monotonic() > end:
                    raise
                self._forget_session()
                time.sleep(0.01)
        return self._session

    def _forget_session(self) -> None:
        if self._session is not None:
            self._session._force_close()
            self._session = None

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _attempt(self, action: Callable[[Cursor], None]) -> bool:
        """Whether it was done; False when the connection was lost on the way."""
        try:
            with self._connect().cursor() as cursor:
                action(cursor)
        except (pymysql.err.MySQLError, OSError) as error:
            if not _is_lost(error):
                raise
            self.reconnects += 1
            self._forget_session()
            return False
        return True

    def _transaction(self, work: Callable[[Cursor], None], *, rolled_back: bool) -> None:
        self._tx += 1
        self._changes, self._now = [], self.state.copy()

        def whole(cursor: Cursor) -> None:
            cursor.execute("BEGIN")
            cursor.execute("INSERT INTO w_log VALUES (%s, 'done')", (self._tx,))
            work(cursor)
            cursor.execute("ROLLBACK" if rolled_back else "COMMIT")

        committed = not rolled_back if self._attempt(whole) else self._was_committed()
        if committed:
            self.ledger.append(Committed(self._tx, tuple(self._changes)))
            self.state = self._now
        else:
            self.rolled_back += 1

    def _was_committed(self) -> bool:
        found: list[bool] = []

        def settle(cursor: Cursor) -> None:
            # It waits for the lock of whoever entered this number and is not done yet.
            cursor.execute("INSERT IGNORE INTO w_log VALUES (%s, 'lost')", (self._tx,))
            cursor.execute("SELECT note FROM w_log WHERE tx = %s", (self._tx,))
            found.append(cursor.fetchall() == (("done",),))

        while not self._attempt(settle):
            pass
        return found[-1]

    # What a transaction does

    def _next_version(self, *ids: int) -> int:
        version = max(self._newest.get(key, 0) for key in ids) + 1
        self._newest.update(dict.fromkeys(ids, version))
        return version

    def _wrote(self, key: int, version: int | None) -> None:
        self._changes.append((key, version))
        self._now.rows.pop(key, None)
        self._now.schema.pop(key, None)
        if version is not None:
            self._now.rows[key], self._now.schema[key] = version, self.schemas

    def _new(self, key: int) -> Values:
        version = self._next_version(key)
        self._wrote(key, version)
        return values(key, version, self._tx)

    def _fresh_id(self) -> int:
        gone = [key for key in self._newest if key not in self._now.rows]
        if gone and self._chance.random() < 0.3:
            return self._chance.choice(gone)
        self._next_id += 1
        return self._next_id

    def _insert(self, cursor: Cursor, count: int) -> None:
        rows = [self._new(self._fresh_id()) for _ in range(count)]
        self._write(cursor, "INSERT INTO", rows)

    def _write(self, cursor: Cursor, verb: str, rows: list[Values], end: str = "") -> None:
        names = list(rows[0])
        marks = ", ".join(["%s"] * len(names))
        cursor.executemany(
            f"{verb} w ({', '.join(names)}) VALUES ({marks}){end}", [tuple(row[name] for name in names) for row in rows]
        )

    def _update(self, cursor: Cursor, key: int, *, new_id: int | None = None) -> None:
        target = key if new_id is None else new_id
        row = values(target, self._next_version(key, target), self._tx)
        row |= {name: EXTRA[declared](self._chance) for name, declared in self.extra.items()}
        sets = ", ".join(f"{name} = %s" for name in row)
        assert cursor.execute(f"UPDATE w SET {sets} WHERE id = %s", (*row.values(), key)) == 1, (
            f"row {key} is not there"
        )
        if new_id is not None:
            self._wrote(key, None)
        self._wrote(target, row["ver"])

    def _delete(self, cursor: Cursor, *ids: int) -> None:
        marks = ", ".join(["%s"] * len(ids))
        assert cursor.execute(f"DELETE FROM w WHERE id IN ({marks})", ids) == len(ids), f"of {ids} not all are there"
        for key in ids:
            self._wrote(key, None)

    def _some(self, cursor: Cursor, count: int) -> None:
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

    def _many(self, cursor: Cursor) -> None:
        """Hundreds of rows at once: some updated, some new, then some deleted again."""
        there = self._chance.sample(sorted(self._now.rows), len(self._now.rows) // 2)
        fresh = range(self._next_id + 1, self._next_id + 1 + self._chance.randrange(200, 400))
        self._next_id = fresh.stop
        rows = [self._new(key) for key in (*there, *fresh)]
        sets = ", ".join(f"{name} = VALUES({name})" for name in rows[0])
        self._write(cursor, "INSERT INTO", rows, f" ON DUPLICATE KEY UPDATE {sets}")
        extra = len(self._now.rows) - self._wanted
        if extra > 0:
            self._delete(cursor, *self._chance.sample(sorted(self._now.rows), extra))

    def _one_again_and_again(self, cursor: Cursor) -> None:
        self._insert(cursor, 1)
        key, _ = self._changes[-1]
        for _ in range(self._chance.randrange(5, 20)):
            self._update(cursor, key)
        if self._chance.random() < 0.3:
            self._delete(cursor, key)

    def _with_savepoint(self, cursor: Cursor) -> None:
        self._some(cursor, 2)
        cursor.execute("SAVEPOINT s")
        kept, before = len(self._changes), self._now.copy()
        self._some(cursor, 3)
        cursor.execute("ROLLBACK TO SAVEPOINT s")
        del self._changes[kept:]
        self._now = before
        self._some(cursor, 1)

    def _nothing_captured(self, cursor: Cursor) -> None:
        cursor.execute("UPDATE w_log SET note = CONCAT(note, '') WHERE tx < %s", (self._tx,))
        cursor.execute("DELETE FROM w_log WHERE tx < %s - 50", (self._tx,))

    # Columns that come and go

    def _alter(self) -> None:
        """Add, drop or rename a column; a lost connection is settled by looking, which waits for the table."""
        clause = self._alteration()
        self._attempt(lambda cursor: cursor.execute(f"ALTER TABLE w {clause}") and None)
        there: list[str] = []

        def look(cursor: Cursor) -> None:
            cursor.execute("SHOW COLUMNS FROM w")
            declared = cursor.fetchall()
            there[:] = [name for name, *_ in declared if name not in FIXED]
            self.extra = {name: _declared(type_) for name, type_, *_ in declared if name not in FIXED}

        while not self._attempt(look):
            pass
        self.schemas += 1

    def _alteration(self) -> str:
        if self.schemas % 50 == 49:
            return "FORCE"  # columns that were dropped take room in InnoDB's rows until the table is made anew
        kind = self._chance.random()
        fresh = f"x_{self.schemas}"
        if not self.extra or (kind < 0.4 and len(self.extra) < 4):
            place = self._chance.choice(("", " FIRST", " AFTER val"))
            return f"ADD COLUMN {fresh} {self._chance.choice(sorted(EXTRA))}{place}"
        chosen = self._chance.choice(sorted(self.extra))
        return f"DROP COLUMN {chosen}" if kind < 0.7 else f"RENAME COLUMN {chosen} TO {fresh}"


def _declared(type_: str) -> str:
    return next(declared for declared in EXTRA if declared.startswith(type_.partition("(")[0].upper()))


def _is_lost(error: BaseException) -> bool:
    number = error.args[0] if error.args else 0
    return isinstance(error, OSError | pymysql.err.InterfaceError) or number in LOST
