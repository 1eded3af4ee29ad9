"""What the tables of a sync are at each point of the log, and how their rows are read and written there.

A RELATION message stands before the first rows of a table on every connection, and again once the table
was altered. It names the columns and the OIDs of their types; what an OID means comes from the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter

from fuagent.encode.compile import Encoder
from fuagent.encode.pieces import compile_pieces
from fuagent.encode.shown import shown
from fuagent.errors import HaltSyncError, LostPlaceError
from fuagent.model import Column, Deletes, Row, Table, TableSpec
from fuagent.sources.postgres.columns import Declared, declared
from fuagent.sources.postgres.tables import Layout
from fuagent.sources.selection import Name
from fuagent.wire.postgres import rows
from fuagent.wire.postgres.messages import Relation, RelationColumn
from fuagent.wire.postgres.types import Type


@dataclass(slots=True)
class Unknown:
    """A table of the sync as it was not met before; ``layout`` is to be what it is now, None where it is gone.

    ``types`` are to hold every type of its columns.
    """

    relation: Relation
    name: Name
    layout: Layout | None = None
    types: Mapping[int, Type] = field(default_factory=dict)


@dataclass(slots=True)
class Version:
    """One table as one RELATION message tells of it; without an encoder its rows cannot be written (any more)."""

    number: int
    name: Name
    table: Table
    layout: Layout | None
    deletes: Deletes
    encoder: Encoder | None
    inserts: rows.Inserts
    updates: rows.Updates
    removals: rows.Deletes
    keys: tuple[int, ...] = ()
    """Places of the key's columns."""
    types: tuple[int, ...] = ()
    """The OIDs of its columns' types."""
    kept: Callable[[Row], Row] | None = None
    """Takes the columns out of a row that are generated, and so in no snapshot and in no other version's log."""

    def key(self, row: Row) -> Row:
        """The key of a row; ABSENT in it where the image does not hold it."""
        return tuple(row[place] for place in self.keys)

    @property
    def label(self) -> str:
        """The table's name as people write it."""
        return self.table.label

    @property
    def filtered(self) -> bool:
        """Whether the sync sends some of its rows alone."""
        return self.encoder is not None and self.encoder.where is not None


class Versions:
    """All versions of a sync's tables that were met.

    Args:
        specs: The tables of the sync.
        layouts: The same as they were when the sync was prepared.
    """

    def __init__(self, specs: Mapping[Name, TableSpec], layouts: Iterable[Layout]) -> None:
        self._specs = specs
        self._names = {layout.oid: layout.name for layout in layouts}
        self._known = {layout.name: layout for layout in layouts}
        self._met: dict[Relation, Version] = {}
        self._last: dict[Name, Version] = {}
        self._count = 0

    @property
    def names(self) -> tuple[Name, ...]:
        """All tables of the sync."""
        return tuple(self._specs)

    @property
    def oids(self) -> Mapping[int, Name]:
        """The same by the numbers the server calls them by."""
        return self._names

    def label(self, name: Name) -> str:
        """A table of the sync as people write it."""
        return self._specs[name].table.label

    def find(self, relation: Relation) -> Version | Unknown | None:
        """The version a message tells of; None for a table of others; Unknown for one that is to be learned.

        Raises:
            LostPlaceError: a table of the sync has another name now, or its name is another table's.
        """
        met = self._met.get(relation)
        if met is not None:
            return met
        name = Name(relation.schema, relation.name)
        known = self._names.get(relation.id)
        if known == name:
            return Unknown(relation, name)
        if known is not None:
            raise LostPlaceError(f"table {shown(self.label(known))} was renamed")
        if name in self._specs:
            raise LostPlaceError(f"table {shown(self.label(name))} was replaced by another one of its name")
        return None

    def learn(self, unknown: Unknown) -> tuple[Version, str]:
        """Make the version of a table that was looked up; and what the operator should hear of it.

        Raises:
            HaltSyncError: its rows cannot be written.
        """
        spec, relation = self._specs[unknown.name], unknown.relation
        layout = unknown.layout or self._known.get(unknown.name)
        generated = frozenset(layout.generated) if layout else frozenset()
        places = [place for place, column in enumerate(relation.columns) if column.name not in generated]
        nullable = {one.column.name: one.column.nullable for one in layout.columns} if layout else {}
        columns = [
            declared(
                column.name,
                unknown.types[column.type],
                unknown.types,
                column.modifier,
                nullable=nullable.get(column.name, True),
            )
            for column in (relation.columns[place] for place in places)
        ]
        key = _key(spec, relation, [relation.columns[place] for place in places])
        names = [one.column.name for one in columns]
        table = replace(spec.table, columns=tuple(one.column for one in columns), key=key)
        last = self._last.get(unknown.name)
        if last is None or last.table != table:
            self._count += 1
        width, held = len(relation.columns), [column.key for column in relation.columns]
        version = Version(
            self._count,
            unknown.name,
            table,
            layout,
            spec.mapping.deletes,
            _encoder(spec, table, columns, layout),
            rows.compile_inserts(relation.id, width),
            rows.compile_updates(relation.id, width, held, whole=layout is None or not layout.partitioned),
            rows.compile_deletes(relation.id, width, held),
            tuple(names.index(name) for name in key),
            tuple(one.type.oid for one in columns),
            _taking(places) if len(places) < width else None,
        )
        self._met[relation] = self._last[unknown.name] = version
        return version, self._news(last, version)

    def _news(self, last: Version | None, version: Version) -> str:
        before = last.table.columns if last else self._specs[version.name].table.columns
        if {_shape(one) for one in before} == {_shape(one) for one in version.table.columns}:
            return ""
        label = shown(version.label)
        return f"table {label} was altered; rows that were there before may have got new values, which no event tells"


def _shape(column: Column) -> tuple[str, str]:
    return column.name, column.type


def _encoder(spec: TableSpec, table: Table, columns: Sequence[Declared], layout: Layout | None) -> Encoder | None:
    """None for columns that the table has no more and that no longer fit the mapping or the document."""
    try:
        return compile_pieces(replace(spec, table=table), [one.convert for one in columns])
    except HaltSyncError:
        if layout is not None and [one.column.name for one in layout.columns] == [one.name for one in table.columns]:
            raise
        return None


def _key(spec: TableSpec, relation: Relation, columns: Sequence[RelationColumn]) -> tuple[str, ...]:
    """By what rows are told apart: as when the sync was prepared, for the service knows them by that; else by the identity."""
    names = {column.name for column in columns}
    if spec.table.key and names.issuperset(spec.table.key):
        return spec.table.key
    return () if relation.identity == "f" else tuple(column.name for column in columns if column.key)


def _taking(places: Sequence[int]) -> Callable[[Row], Row]:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda row: tuple(row[place] for place in places)
