"""A store over SQLAlchemy Core: SQLite, PostgreSQL, MySQL and MariaDB.

Rows go into tables that are declared here as :class:`sqlalchemy.Table`, checkpoints into a table
beside them, both in one transaction. What arrives as JSON chooses among declared columns and never
becomes a name in a statement.

The first statement of a transaction writes the row of its sync. On SQLite that takes the lock of the
whole database before anything is read; elsewhere the row is then read ``FOR UPDATE``. So two batches
of one sync never run side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from hashlib import sha256
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    Insert,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    delete,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, StatementError

from fuagent.errors import PayloadError
from fuagent.receiver import copying
from fuagent.receiver.columns import Reader, reader
from fuagent.receiver.store import Key, Row, State, Target

_STATE = [one.name for one in fields(State)]
_KEYS_AT_ONCE = 500
"""Keys in one DELETE: SQLite takes 32,766 values in a statement, with up to so many columns in a key."""


class DatabaseStore:
    """Keeps rows in tables of a database.

    Args:
        engine: Made with ``create_engine``; with ``hide_parameters=True`` no row value gets into a log.
        tables: The table for each name that a task is declared with.
        unknown: What happens to a property that no column has the name of.
        run_column: The text column that says in which snapshot a row came last, in tables that are swept.
        state_table: Where checkpoints go.
    """

    keeps_rows = True

    def __init__(
        self,
        engine: Engine,
        tables: Mapping[str, Table],
        *,
        unknown: Literal["ignore", "reject"] = "ignore",
        run_column: str = "fuagent_run",
        state_table: str = "fuagent_state",
    ) -> None:
        self._engine = engine
        self._tables = {name: _Known(table, run_column, reject=unknown == "reject") for name, table in tables.items()}
        self._state = Table(
            state_table,
            MetaData(),
            Column("id", String(64), primary_key=True),
            Column("agent_id", String(200), nullable=False),
            Column("task_id", String(200), nullable=False),
            Column("checkpoint", BigInteger),
            Column("key", String(100)),
            Column("needed", Boolean),
            Column("run", String(100)),
            Column("seen", Boolean),
            Column("wanted", Boolean),
            Column("under_way", Boolean),
        )

    def create(self) -> None:
        """Make the table of checkpoints, and those for rows, as far as they are not there."""
        with self._engine.begin() as connection:
            for table in (self._state, *(known.table for known in self._tables.values())):
                table.create(connection, checkfirst=True)

    def check(self, target: Target, *, sweep: bool) -> None:
        """Hold a route against its table."""
        known = self._tables.get(target.table)
        if known is None:
            raise ValueError(f"there is no table {target.table} among the store's tables")
        known.verify(target, sweep=sweep)

    @contextmanager
    def transaction(self, agent_id: str, task_id: str) -> Iterator[DatabaseTransaction]:
        """Rows that the database itself refuses are the sender's fault; all else is ours."""
        mark = _id(agent_id, task_id)
        first = {"id": mark, "agent_id": agent_id, "task_id": task_id, **asdict(State())}
        try:
            with self._engine.begin() as connection:
                connection.execute(_upsert(connection, self._state, ["id"], []), first)
                columns = [self._state.c[name] for name in _STATE]
                question = select(*columns).where(self._state.c.id == mark).with_for_update()
                found = connection.execute(question).mappings().one()
                yield DatabaseTransaction(connection, self._tables, self._state, mark, State(**found))
        except StatementError as error:
            # One that is not the driver's is SQLAlchemy's own, of a value that it could not prepare.
            if isinstance(error, DBAPIError) and not isinstance(error, DataError | IntegrityError):
                raise
            raise PayloadError("the database refuses a row") from None

    def checkpoint(self, agent_id: str, task_id: str) -> int | None:
        """The checkpoint as last committed."""
        question = select(self._state.c.checkpoint).where(self._state.c.id == _id(agent_id, task_id))
        with self._engine.connect() as connection:
            found: int | None = connection.execute(question).scalar()
            return found


class DatabaseTransaction:
    """One transaction; ``session`` is its connection."""

    def __init__(
        self, connection: Connection, tables: Mapping[str, _Known], states: Table, mark: str, state: State
    ) -> None:
        self.session = connection
        self.state = state
        self._tables = tables
        self._states = states
        self._mark = mark

    def put(self, target: Target, rows: Sequence[Row], run: str) -> None:
        """Upsert the rows, those with the same properties together."""
        known = self._tables[target.table]
        groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in rows:
            values = known.values(row, run)
            groups.setdefault(tuple(values), []).append(values)
        for names, group in groups.items():
            others = [name for name in names if name not in target.key]
            self._upsert(known.table, _upsert(self.session, known.table, target.key, others), group)

    def _upsert(self, table: Table, statement: Insert, rows: list[dict[str, Any]]) -> None:
        if isinstance(statement, postgresql.Insert) and copying.is_worth_it(self.session, rows):
            copying.upsert(self.session, table, statement, rows)
            return
        try:
            self.session.execute(statement, rows)
        except OverflowError:  # the driver of SQLite raises its own for an integer beyond 64 bits
            raise PayloadError("a number is too large for the database") from None

    def remove(self, target: Target, keys: Iterable[Key]) -> None:
        """Delete by key."""
        known = self._tables[target.table]
        columns = [known.table.c[name] for name in target.key]
        wanted = [known.key(target, key) for key in keys]
        for at in range(0, len(wanted), _KEYS_AT_ONCE):
            some = wanted[at : at + _KEYS_AT_ONCE]
            where = columns[0].in_([key[0] for key in some]) if len(columns) == 1 else tuple_(*columns).in_(some)
            self.session.execute(delete(known.table).where(where))

    def sweep(self, target: Target, run: str) -> None:
        """Delete what carries another run, or none."""
        known = self._tables[target.table]
        column = known.table.c[known.run_column]
        self.session.execute(delete(known.table).where(column.is_distinct_from(run)))

    def save(self, state: State) -> None:
        """Write the state."""
        self.session.execute(update(self._states).where(self._states.c.id == self._mark).values(asdict(state)))
        self.state = state


class _Known:
    """A table, and what its columns take."""

    def __init__(self, table: Table, run_column: str, *, reject: bool) -> None:
        self.table = table
        self.run_column = run_column
        self._stamped = run_column in table.c
        self._reject = reject
        self._readers: dict[str, Reader] = {
            column.key: reader(column) for column in table.columns if column.key != run_column
        }

    def verify(self, target: Target, *, sweep: bool) -> None:
        missing = [name for name in target.key if name not in self._readers]
        if missing:
            raise ValueError(f"table {target.table} has no column {', '.join(missing)}, which is to be part of the key")
        unique = {frozenset(column.key for column in self.table.primary_key)}
        unique |= {
            frozenset(column.key for column in rule.columns)
            for rule in self.table.constraints
            if isinstance(rule, UniqueConstraint)
        }
        if frozenset(target.key) not in unique:
            raise ValueError(f"{', '.join(target.key)} is neither primary key nor unique in table {target.table}")
        if sweep and not self._stamped:
            raise ValueError(f"table {target.table} has no text column {self.run_column}, which sweep needs")

    def values(self, row: Row, run: str) -> dict[str, Any]:
        """A row's values by column, in the order of the table's columns."""
        if self._reject and not row.keys() <= self._readers.keys():
            raise PayloadError(f"a row has a property that table {self.table.name} has no column for")
        made = {name: read(row[name]) for name, read in self._readers.items() if name in row}
        return {**made, self.run_column: run} if self._stamped else made

    def key(self, target: Target, key: Key) -> Key:
        """The key's values as the columns take them."""
        return tuple(self._readers[name](value) for name, value in zip(target.key, key, strict=True))


def _upsert(connection: Connection, table: Table, key: Sequence[str], others: Sequence[str]) -> Insert:
    """Insert, or where the key is there already update ``others``; without any leave it as it is."""
    if connection.dialect.name in {"mysql", "mariadb"}:
        own = mysql.insert(table)
        return own.on_duplicate_key_update({name: own.inserted[name] for name in others or key[:1]})
    made = sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)
    unique = [table.c[name] for name in key]
    if not others:
        return made.on_conflict_do_nothing(index_elements=unique)
    return made.on_conflict_do_update(index_elements=unique, set_={name: made.excluded[name] for name in others})


def _id(agent_id: str, task_id: str) -> str:
    """One key for both, which no collation takes for another's: MySQL's usual ones ignore case."""
    return sha256(f"{agent_id}\0{task_id}".encode()).hexdigest()
