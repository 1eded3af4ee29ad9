"""``fuagent receive``: a service that keeps a copy of whatever tables are sent, ready to run.

Every table has a path of its own, ``/ingest/{table}``, where any task may send. The name in the path is
looked up among the tables of a schema. Without one it is held against strict rules, and a table is made
with its first row; one that was not made here is never written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal

from fastapi import FastAPI
from sqlalchemy import Engine, text
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response

from fuagent.errors import PayloadError
from fuagent.receiver import columns, growing, making, ready_sql
from fuagent.receiver.database import DatabaseStore
from fuagent.receiver.router import MAX_BYTES, Receiver
from fuagent.receiver.rows import Event, RowType
from fuagent.receiver.service import NoRouteError, Route
from fuagent.receiver.store import Target
from fuagent.receiver.typed import Json

PATH = "/ingest/{table}"
DELETE_FIELD = "_deleted"
RUN_COLUMN = "fuagent_run"
STATE_TABLE = "fuagent_state"
_KEY = ("id",)
_RESERVED = ("fuagent_", "sqlite_", "pg_")

Unknown = Literal["ignore", "reject", "add"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What is to be received.

    ``schema`` is SQL that makes the tables; without it they are made from rows. ``keys`` names what tells the rows of a
    table apart, where the database does not say.
    """

    api_key: str = field(repr=False)
    schema: str | None = None
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    deletes: bool = False
    sweep: bool = False
    unknown: Unknown | None = None
    max_bytes: int = MAX_BYTES


def application(engine: Engine, settings: Settings) -> FastAPI:
    """The service, with its tables and checkpoints in this database.

    Raises:
        ValueError: the settings do not suit each other or the database.
    """
    tables = ReadyTables(engine, settings)
    receiver = Receiver(tables.store, keys=settings.api_key, max_bytes=settings.max_bytes)
    receiver.tables(tables, PATH)
    made = receiver.app("fuagent receive")

    @made.get("/healthz", include_in_schema=False)
    async def health() -> Response:
        well = await run_in_threadpool(_answers, engine)
        return PlainTextResponse("ok\n" if well else "the database does not answer\n", 200 if well else 503)

    return made


def _answers(engine: Engine) -> bool:
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except Exception:  # whatever it is, the answer is no
        return False
    return True


class ReadyTables:
    """See :class:`fuagent.receiver.service.Tables`."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._settings = settings
        self._delete_field = DELETE_FIELD if settings.deletes else None
        self._routes: dict[str, Route] = {}
        self._lock = Lock()
        self._made = settings.schema is None
        unknown = settings.unknown or ("add" if self._made else "ignore")
        if self._made and unknown != "add":
            raise ValueError("tables that are made from rows grow with them: --unknown says something else")
        run_column = RUN_COLUMN if settings.sweep else None
        declared = {}
        if settings.schema is not None:
            declared = ready_sql.tables(engine, settings.schema, run_column=run_column)
            if unread := settings.keys.keys() - declared.keys():
                raise ValueError(f"the schema has no table {', '.join(sorted(unread))}")
        self.store = DatabaseStore(engine, declared, unknown=unknown, make=self._made)
        self.store.create()
        self._closed = unknown == "reject"
        for name in self._there(engine, declared):
            self._routes[name] = self._route(name)

    def _there(self, engine: Engine, declared: Iterable[str]) -> Iterable[str]:
        """Tables of the schema, or those that were made from rows before."""
        if not self._made:
            return list(declared)
        named = [name for name in making.names(engine) if _may_be_made(name)]
        return [name for name in named if name in self._settings.keys or self._was_made(name)]

    def _was_made(self, name: str) -> bool:
        try:
            return bool(self.store.key(name))
        except PayloadError:
            return False

    def route(self, table: str) -> Route:
        """A table of the schema, or one that is there or may be made."""
        with self._lock:
            found = self._routes.get(table)
        if found is not None:
            return found
        if not self._made:
            raise NoRouteError("no table of the schema has this name")
        if not _may_be_made(table):
            raise NoRouteError(
                "a table that is made from rows has a name of letters, digits and _, up to 63 bytes, "
                f"which does not begin with {', '.join(_RESERVED)}"
            )
        try:
            made = self._route(table)
        except ValueError as error:
            raise NoRouteError(str(error)) from None
        with self._lock:
            # Only of tables that are there: names come from outside, and could come without end.
            if self.store.key(table):
                self._routes[table] = made
        return made

    def _route(self, table: str) -> Route:
        there, named = self.store.key(table), self._settings.keys.get(table)
        if self._made and there and named and set(there) != set(named):
            raise ValueError(f"table {table} was made with the key {', '.join(there)}, and cannot have another one")
        key = named or there or (_KEY if self._made else ())
        if not key:
            raise ValueError(f"table {table} has no primary key: name what tells its rows apart, --key {table}=COLUMN")
        target = Target(table, key)
        self.store.check(target, sweep=self._settings.sweep)
        told = None if self._made else _event(self.store, table, closed=self._closed)
        rows = ReadyRows(table, key, self._delete_field, told)
        return Route(None, target, rows, sweep=self._settings.sweep)

    def known(self) -> Sequence[tuple[str, RowType]]:
        """The tables that are there or whose key was named, by name."""
        return [(name, self.route(name).rows) for name in sorted({*self.store.names(), *self._settings.keys})]

    @property
    def unknown(self) -> RowType | None:
        """Rows with the key that all tables have whose key was not named, where tables are made from them."""
        return RowType(Json, _KEY, self._delete_field) if self._made else None


class ReadyRows(RowType):
    """Rows as they come, and what the document says of them."""

    def __init__(self, table: str, key: Sequence[str], delete_field: str | None, told: Json | None) -> None:
        super().__init__(Json, key, delete_field)
        self._table = table
        self._told = told

    def read(self, number: int, event: Mapping[str, Any]) -> Event:
        """One event; where the key is missing, what to do about it is said too."""
        for name in self.key:
            if event.get(name) is None:
                what = f"events[{number}].{name} is missing, by which the rows of {self._table} are told apart"
                raise PayloadError(f"{what}; another key is named by fuagent receive --key {self._table}=COLUMN,...")
        return super().read(number, event)

    def schema(self) -> Json:
        """The event schema: of tables that were declared with their columns."""
        made = super().schema()
        if self._told is None:
            return made
        made["properties"] = {**self._told["properties"], **made["properties"]}
        made["properties"] |= {name: self._told["properties"][name] for name in self.key}
        if self.delete_field is None:
            made["required"] = self._told["required"]
        return {**made, "additionalProperties": self._told["additionalProperties"]}


def _may_be_made(table: str) -> bool:
    return growing.is_name(table) and not table.casefold().startswith(_RESERVED)


def _event(store: DatabaseStore, table: str, *, closed: bool) -> Json:
    there = store.columns(table)
    return {
        "properties": {column.key: columns.schema(column) for column in there},
        "required": [column.key for column in there if not column.nullable and column.server_default is None],
        "additionalProperties": not closed,
    }
