"""A store over SQLAlchemy Core: SQLite, PostgreSQL, MySQL and MariaDB.

Rows go into tables that are declared here as :class:`sqlalchemy.Table`, checkpoints into a table
beside them, both in one transaction. What arrives as JSON chooses among declared columns and never
becomes a name in a statement, unless tables are to grow (:mod:`fuagent.receiver.growing`).

The first statement of a transaction writes the row of its sync. On SQLite that takes the lock of the
whole database before anything is read; elsewhere the row is then read ``FOR UPDATE``. So two batches
of one sync never run side by side.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from hashlib import sha256
from threading import Lock
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    MappingResult,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    delete,
    event,
    select,
    tuple_,
    update,
)

from fuagent.errors import PayloadError
from fuagent.receiver import copying, growing, making, refusals, upserting
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
        unknown: What happens to a property that no column has the name of; ``add`` makes a column of it.
        make: Make tables that are not among ``tables`` from their first rows; this asks for ``unknown="add"``.
        run_column: The text column that says in which snapshot a row came last, in tables that are swept.
        state_table: Where checkpoints go.
    """

    keeps_rows = True

    def __init__(
        self,
        engine: Engine,
        tables: Mapping[str, Table],
        *,
        unknown: Literal["ignore", "reject", "add"] = "ignore",
        make: bool = False,
        run_column: str = "fuagent_run",
        state_table: str = "fuagent_state",
    ) -> None:
        self._engine = engine
        self._unknown = unknown
        self._make = make
        self._run_column = run_column
        self._growing = Lock()
        self._declared = dict(tables)
        self._tables = {name: self._known(table, table) for name, table in tables.items()}
        if engine.dialect.name in making.MYSQL:
            event.listen(engine, "connect", _strict)
            engine.dispose()  # the connections made before are not strict
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
        known = self._tables.get(target.table) or (self._look(target.table) if self._make else None)
        if known is None and not self._make:
            raise ValueError(f"there is no table {target.table} among the store's tables")
        if known is not None:
            known.verify(target, sweep=sweep, merges=self._engine.dialect.name in making.MYSQL)

    def names(self) -> list[str]:
        """The tables that were declared, made or looked at so far, in order."""
        return sorted(self._tables)

    def key(self, table: str) -> tuple[str, ...]:
        """The primary key of a table, as its rows call it; empty where it is not there or has none."""
        known = self._tables.get(table) or self._look(table)
        return tuple(column.key for column in known.table.primary_key) if known else ()

    def columns(self, table: str) -> tuple[Column[Any], ...]:
        """The columns of a table that is there, but for the one of the run."""
        known = self._tables.get(table) or self._look(table)
        return tuple(one for one in known.table.columns if one.key != self._run_column) if known else ()

    def grow(self, target: Target, rows: Sequence[Row | None]) -> None:
        """Make the table and the columns that rows ask for, and widen those that are too narrow for them.

        Raises:
            PayloadError: a name or a value is none for a column, or there are too many.
        """
        if self._unknown != "add" or not any(rows):
            return
        known = self._tables.get(target.table)
        if known is not None and not known.lacking(rows):
            return
        with self._growing, refusals.told(self._engine):
            self._grow(target, rows)

    def _grow(self, target: Target, rows: Sequence[Row | None]) -> None:
        known = self._look(target.table) or self._made(target, rows)
        lacking = known.lacking(rows)
        new = [name for name in lacking if name not in known.widths]
        folds = making.folds_names(self._engine)
        growing.verify_names(new, rows, taken=[*known.table.c.keys(), self._run_column], folds=folds)
        making.add(self._engine, known.table, {name: growing.narrowest(lacking[name]) for name in new})
        wider = {name: self._wider(known, name, lacking[name]) for name in lacking if name in known.widths}
        making.widen(self._engine, known.table, wider)
        self._look(target.table)

    def _wider(self, known: _Known, name: str, widths: Collection[str]) -> str:
        """What a column has to become."""
        now = known.widths[name]
        is_long = now == "integer" and "number" in widths and making.holds_long(self._engine, known.table, name)
        wide = growing.narrowest({*widths, "long" if is_long else now})
        if known.table.c[name].primary_key and not (now == "integer" and set(widths) <= {"integer", "long", "digits"}):
            # "1" and 1 are two rows, and would become one.
            raise PayloadError(f"column {name} is part of the key and does not take the value of a row")
        return wide

    def _made(self, target: Target, rows: Sequence[Row | None]) -> _Known:
        if not self._make:
            raise ValueError(f"there is no table {target.table} in the database: call create()")
        # Another process may have made it just now, which is none of the others.
        there = [name for name in making.names(self._engine) if name != target.table]
        if making.folds_names(self._engine) and target.table.casefold() in map(str.casefold, there):
            raise PayloadError("the name of the table differs from that of another one in case alone")
        if len(there) >= growing.MOST_TABLES:
            raise PayloadError(f"the table is not there, and no more than {growing.MOST_TABLES} are made")
        growing.verify_names(target.key, rows, taken=[self._run_column], folds=False)
        widths = {
            name: growing.narrowest(growing.width(row[name]) for row in rows if row is not None) for name in target.key
        }
        key = {name: wide if wide == "integer" else "text" for name, wide in widths.items()}
        making.make(self._engine, target.table, key, self._run_column)
        known = self._look(target.table)
        if known is None:
            raise RuntimeError("the table was made and is not there")
        return known

    def _look(self, name: str) -> _Known | None:
        """The table as it is in the database by now, where others may have changed it.

        Raises:
            PayloadError: a table of this name is none that was made here.
        """
        declared = self._declared.get(name)
        if declared is None:
            found = making.find(self._engine, name)
            if found is not None and self._run_column not in found.c:
                raise PayloadError(f"table {name} was not made from rows: it has no column {self._run_column}")
        else:
            found = making.find_more(self._engine, declared)
        if found is None:
            return None
        self._tables[name] = self._known(found, declared)
        return self._tables[name]

    def _known(self, table: Table, declared: Table | None) -> _Known:
        widths = {
            column.key: making.found_width(self._engine, column)
            for column in table.columns
            if (declared is None or column.key not in declared.c) and column.key != self._run_column
        }
        made = {name: wide for name, wide in widths.items() if wide is not None}
        return _Known(table, self._run_column, self._engine.dialect.name, self._unknown, made)

    @contextmanager
    def transaction(self, agent_id: str, task_id: str) -> Iterator[DatabaseTransaction]:
        """Rows that the database itself refuses are the sender's fault; all else is ours."""
        mark = _id(agent_id, task_id)
        first = {"id": mark, "agent_id": agent_id, "task_id": task_id, **asdict(State())}
        with refusals.told(self._engine), self._engine.begin() as connection:
            # On PostgreSQL a row that is not there locks nothing, so that to look first costs nobody anything.
            found = self._locked(connection, mark).first() if connection.dialect.name == "postgresql" else None
            if found is None:
                connection.execute(upserting.statement(connection.dialect.name, self._state, ["id"], []), first)
                found = self._locked(connection, mark).one()
            yield DatabaseTransaction(connection, self._tables, self._state, mark, State(**found))

    def _locked(self, connection: Connection, mark: str) -> MappingResult:
        """The state of a sync, which is this transaction's until its end."""
        columns = [self._state.c[name] for name in _STATE]
        return connection.execute(select(*columns).where(self._state.c.id == mark).with_for_update()).mappings()

    def checkpoint(self, agent_id: str, task_id: str) -> int | None:
        """The checkpoint as last committed."""
        question = select(self._state.c.checkpoint).where(self._state.c.id == _id(agent_id, task_id))
        with refusals.told(self._engine), self._engine.connect() as connection:
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
        for group in _alike(rows):
            upserting.upsert(self.session, known.table, target.key, known.values(group, run), known.luck)

    def remove(self, target: Target, keys: Iterable[Key]) -> None:
        """Delete by key."""
        if target.table not in self._tables:  # it is made with its first row
            return
        known = self._tables[target.table]
        columns = [known.table.c[name] for name in target.key]
        wanted = [known.key(target, key) for key in keys]
        for at in range(0, len(wanted), _KEYS_AT_ONCE):
            some = wanted[at : at + _KEYS_AT_ONCE]
            where = columns[0].in_([key[0] for key in some]) if len(columns) == 1 else tuple_(*columns).in_(some)
            self.session.execute(delete(known.table).where(where))

    def sweep(self, target: Target, run: str) -> None:
        """Delete what carries another run, or none."""
        if target.table not in self._tables:
            return
        known = self._tables[target.table]
        column = known.table.c[known.run_column]
        self.session.execute(delete(known.table).where(column.is_distinct_from(run)))

    def save(self, state: State) -> None:
        """Write the state."""
        self.session.execute(update(self._states).where(self._states.c.id == self._mark).values(asdict(state)))
        self.state = state


class _Known:
    """A table, and what its columns take."""

    def __init__(self, table: Table, run_column: str, dialect: str, unknown: str, widths: Mapping[str, str]) -> None:
        self.table = table
        self.run_column = run_column
        self.widths = widths
        """Of columns that grow."""
        self.luck = copying.Luck()
        self._stamped = run_column in table.c
        self._unknown = unknown
        self._readers: dict[str, Reader] = {
            column.key: growing.reader(column.key, widths[column.key])
            if column.key in widths
            else reader(column, dialect)
            for column in table.columns
            if column.key != run_column
        }
        self._settled = {name for name in self._readers if widths.get(name, "text") in growing.SETTLED}

    def lacking(self, rows: Sequence[Row | None]) -> dict[str, set[str]]:
        """Properties that need a column, or a wider one, each with the widths of its values."""
        found: dict[str, set[str]] = {}
        for row in rows:
            for name, value in (row or {}).items():
                if name not in self._settled and value is not None:
                    found.setdefault(name, set()).add(growing.width(value))
        holds = growing.HOLDS
        return {
            name: values
            for name, values in found.items()
            if name not in self.widths or not values <= holds[self.widths[name]]
        }

    def verify(self, target: Target, *, sweep: bool, merges: bool) -> None:
        missing = [name for name in target.key if name not in self._readers]
        if missing:
            raise ValueError(f"table {target.table} has no column {', '.join(missing)}, which is to be part of the key")
        unique = self._unique()
        if frozenset(target.key) not in unique:
            raise ValueError(f"{', '.join(target.key)} is neither primary key nor unique in table {target.table}")
        if sweep and not self._stamped:
            raise ValueError(f"table {target.table} has no text column {self.run_column}, which sweep needs")

        if merges:
            self._verify_merging(target, unique - {frozenset(target.key)})

    def _unique(self) -> set[frozenset[str]]:
        columns = [rule.columns for rule in self.table.constraints if isinstance(rule, UniqueConstraint)]
        columns += [index.columns for index in self.table.indexes if index.unique]
        named = [self.table.primary_key.columns, *columns]
        return {frozenset(column.key for column in one) for one in named} - {frozenset()}

    def _verify_merging(self, target: Target, others: Collection[frozenset[str]]) -> None:
        """Refuse what would let one row silently take the place of another on MySQL and MariaDB, or cannot be written."""
        if odd := [column.name for column in self.table.columns if "%" in column.name]:
            raise ValueError(
                f"column {odd[0]} of table {target.table} has a % in its name, which SQLAlchemy's upsert for MySQL and "
                "MariaDB cannot write. Rename it"
            )
        if others:
            raise ValueError(
                f"table {target.table} has a second unique key ({', '.join(sorted(next(iter(others))))}): MySQL and "
                "MariaDB update whatever row meets any of them, which may be another one. Make it an ordinary index"
            )
        loose = [one for one in target.key if isinstance(self.table.c[one].type, String)]
        loose = [one for one in loose if making.collation(self.table.c[one]) is None]
        if loose:
            raise ValueError(
                f"the key {', '.join(loose)} of table {target.table} is text without a collation: those that MySQL and "
                'MariaDB take by themselves hold "a" and "A" for the same row. Name one: utf8mb4_0900_bin (MySQL) or '
                "utf8mb4_nopad_bin (MariaDB) tells all texts apart"
            )

    def values(self, rows: Sequence[Row], run: str) -> dict[str, Sequence[Any]]:
        """Values by column, in the order of the table's columns, of rows with the same properties."""
        others = rows[0].keys() - self._readers.keys()
        if others and self._unknown == "reject":
            raise PayloadError(f"a row has a property that table {self.table.name} has no column for")
        if self._unknown == "add" and any(row[name] is not None for name in others for row in rows):
            raise RuntimeError(f"table {self.table.name} has changed since this batch was looked at")
        made: dict[str, Sequence[Any]] = {
            name: read.column([row[name] for row in rows]) for name, read in self._readers.items() if name in rows[0]
        }
        return {**made, self.run_column: [run] * len(rows)} if self._stamped else made

    def key(self, target: Target, key: Key) -> Key:
        """The key's values as the columns take them."""
        return tuple(self._readers[name](value) for name, value in zip(target.key, key, strict=True))


def _alike(rows: Sequence[Row]) -> Iterable[list[Row]]:
    """Rows with the same properties, together."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row), []).append(row)
    return groups.values()


def _strict(connection: Any, _record: object) -> None:
    """Otherwise MySQL cuts a text to its column, and a number to its range, and takes moments for the server's zone's."""
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'), time_zone = '+00:00'")


def _id(agent_id: str, task_id: str) -> str:
    """One key for both, which no collation takes for another's: MySQL's usual ones ignore case."""
    return sha256(f"{agent_id}\0{task_id}".encode()).hexdigest()
