"""What the tables of a sync are at each point of the log, and how their rows are read and written there.

A TABLE_MAP event stands before the rows of every statement. With full metadata it names the
columns, so rows written before an ALTER are read as they were; what it leaves unsaid (that 16
bytes are a UUID, that a text is JSON) comes from information_schema, column by column, by name.
Without names it is believed to be of the table as it stands only if that was made before the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter

from fuagent.encode.compile import Encoder
from fuagent.encode.pieces import compile_pieces
from fuagent.encode.shown import shown
from fuagent.encode.templates import Columnwise
from fuagent.errors import DecodeError, HaltSyncError
from fuagent.model import Column, Deletes, Row, Table, TableSpec
from fuagent.sources.mysql.columns import Declared
from fuagent.sources.mysql.kinds import BINARY, alike, fraction, inferred
from fuagent.sources.mysql.tables import Layout
from fuagent.sources.selection import Name
from fuagent.wire.mysql import charsets, images, tablemap
from fuagent.wire.mysql.numbers import double, doubles
from fuagent.wire.mysql.tablemap import ImageColumn

_UNSAID = 8
"""Bytes at the start of a TABLE_MAP that may differ although the table is the same: its number, and flags."""
_HIDDEN = "!hidden!"
"""How the names of columns begin that MySQL makes for indexes over expressions; nobody can select them."""
_WIDE = frozenset({"utf8mb4", "utf16", "utf16le", "utf32", "gb18030"})
"""Character sets with characters that utf8mb3 has not."""
_FULL = "SET GLOBAL binlog_row_metadata = FULL"

Pair = tuple[list[Row], list[Row]]


@dataclass(slots=True)
class Unknown:
    """A table of the sync as it was not met before; ``layout`` is to be what it is now, None where it is gone."""

    name: Name
    body: bytes
    time: int
    """When its rows were written, Unix seconds of the server's clock."""
    mariadb: bool
    layout: Layout | None = None
    changed: int | None = None
    """When the table was last given its definition, by the same clock."""


@dataclass(slots=True)
class Version:
    """One table as one TABLE_MAP tells of it; without an encoder its rows cannot be written (any more)."""

    number: int
    name: Name
    table: Table
    columns: tuple[ImageColumn, ...]
    layout: Layout | None
    deletes: Deletes
    encoder: Encoder | None
    keys: tuple[int, ...] = ()
    """Places of the key's columns."""
    kept: Callable[[Row], Row] | None = None
    """Takes the columns out of a row that belong to nobody."""
    _readers: dict[bytes, images.Reader] = field(default_factory=dict)
    _updates: dict[tuple[bytes, bytes, bool], images.UpdateReader] = field(default_factory=dict)

    def rows(self, present: bytes, data: bytes, start: int) -> list[Row]:
        """Row images of inserts or deletes."""
        reader = self._readers.get(present)
        if reader is None:
            reader = self._readers[present] = images.compile_reader(self.columns, present)
        rows = reader(data, start, len(data))
        return rows if self.kept is None else [self.kept(row) for row in rows]

    def updates(self, before: bytes, after: bytes, data: bytes, start: int, *, partial: bool) -> Pair:
        """Row images of updates: as the rows were, and as they are."""
        reader = self._updates.get((before, after, partial))
        if reader is None:
            reader = images.compile_updates(self.columns, before, after, partial=partial)
            self._updates[before, after, partial] = reader
        befores, afters = reader(data, start, len(data))
        if self.kept is None:
            return befores, afters
        return [self.kept(row) for row in befores], [self.kept(row) for row in afters]

    def held(self, present: bytes) -> bool:
        """Whether images with this bitmap hold every column."""
        return int.from_bytes(present, "little").bit_count() >= len(self.columns)

    def key(self, row: Row) -> Row:
        """The key of a row; ABSENT in it where the image does not hold it."""
        return tuple(row[place] for place in self.keys)

    @property
    def label(self) -> str:
        """The table's name as people write it."""
        return self.table.label


class Versions:
    """All versions of a sync's tables that were met.

    Args:
        specs: The tables of the sync.
        collations: Names of collations → their numbers, as this server has them.
        folds: Whether the server tells letter cases of tables apart no more (lower_case_table_names).
    """

    def __init__(self, specs: Mapping[Name, TableSpec], collations: Mapping[str, int], *, folds: bool) -> None:
        self._specs = {_folded(name, folds): (name, spec) for name, spec in specs.items()}
        self._collations = collations
        self._folds = folds
        self._met: dict[bytes, Version | None] = {}
        self._last: dict[Name, Version] = {}
        self._changed: set[Name] = set()
        """Tables whose change was read in the log, and of which no rows came since."""
        self._count = 0

    def find(self, body: bytes, time: int, *, mariadb: bool) -> Version | Unknown | None:
        """The version a TABLE_MAP tells of; None for a table of others; Unknown for one that is to be learned."""
        key = body[_UNSAID:]
        if key in self._met:
            return self._met[key]
        name = _named(body)
        known = self._specs.get(_folded(name, self._folds))
        if known is None:
            self._met[key] = None
            return None
        return Unknown(known[0], body, time, mariadb)

    @property
    def names(self) -> tuple[Name, ...]:
        """All tables of the sync."""
        return tuple(name for name, _ in self._specs.values())

    def known(self, name: Name) -> Name | None:
        """The table of the sync that goes by this name, as the server spells it."""
        found = self._specs.get(_folded(name, self._folds))
        return None if found is None else found[0]

    def of(self, schema: str) -> tuple[Name, ...]:
        """The tables of the sync in one database."""
        return tuple(
            name
            for name in self.names
            if name.schema == schema or (self._folds and name.schema.lower() == schema.lower())
        )

    def label(self, name: Name) -> str:
        """A table of the sync as people write it."""
        return self._specs[_folded(name, self._folds)][1].table.label

    def learn(self, unknown: Unknown) -> Version:
        """Make the version of a table map whose table was looked up.

        Raises:
            HaltSyncError: its rows cannot be told apart with certainty.
        """
        spec = self._specs[_folded(unknown.name, self._folds)][1]
        images_ = tablemap.read(unknown.body, mariadb=unknown.mariadb).columns
        columns = self._columns(unknown, images_, spec)
        kept = [place for place, (image, _) in enumerate(columns) if not (image.name or "").startswith(_HIDDEN)]
        model = tuple(columns[place][1] for place in kept)
        names = [column.name for column in model]
        key = _key(spec, unknown.layout, [columns[place][0] for place in kept])
        table = replace(spec.table, columns=model, key=key)
        last = self._last.get(unknown.name)
        if last is None or last.table != table:
            self._count += 1
        version = Version(
            self._count,
            unknown.name,
            table,
            tuple(image for image, _ in columns),
            unknown.layout,
            spec.mapping.deletes,
            _encoder(spec, table, [columns[place][0] for place in kept], unknown.layout),
            tuple(names.index(name) for name in key),
            _taking(kept) if len(kept) < len(columns) else None,
        )
        self._met[unknown.body[_UNSAID:]] = self._last[unknown.name] = version
        self._changed.discard(unknown.name)
        return version

    def forget(self, name: Name) -> None:
        """The table was changed: whatever comes of it is looked up anew."""
        self._met = {body: version for body, version in self._met.items() if version is None or version.name != name}
        self._changed.add(name)

    def _columns(
        self, unknown: Unknown, told: Sequence[ImageColumn], spec: TableSpec
    ) -> list[tuple[ImageColumn, Column]]:
        declared = unknown.layout.columns if unknown.layout else ()
        by_name = {one.column.name: one for one in declared}
        if all(image.name is not None for image in told):
            return [self._known(image, by_name.get(image.name or "")) for image in told]
        _trusted(unknown, told, declared, spec, known=unknown.name in self._changed)
        for image, one in zip(told, declared, strict=True):
            _legible(image, one, spec)
        return [
            self._known(replace(image, name=one.column.name), one) for image, one in zip(told, declared, strict=True)
        ]

    def _known(self, image: ImageColumn, declared: Declared | None) -> tuple[ImageColumn, Column]:
        """What the table map says, completed by what the table is now where both mean the same column."""
        if declared is None or not alike(image, declared):
            return image, inferred(image)
        collation = image.collation
        if collation is None:
            collation = self._collation(declared)
        unsigned = declared.unsigned if image.unsigned is None else image.unsigned
        labels = image.labels or tuple(label.encode() for label in declared.labels) or None
        completed = replace(
            image,
            meta=fraction(image, declared),
            declared=declared.declared,
            unsigned=unsigned,
            collation=collation,
            labels=labels,
        )
        return completed, replace(declared.column, nullable=image.nullable)

    def _collation(self, declared: Declared) -> int | None:
        """What the column's bytes are; one that the server gives no number for is as good as another of its set."""
        if not declared.collation:
            return BINARY
        return self._collations.get(declared.collation) or charsets.collation_of(declared.charset)


def _double(value: float | bytes) -> bytes:
    """A DOUBLE as a piece; one that was read again by its key is a piece already."""
    return value if isinstance(value, bytes) else double(value)


def _doubles(values: Sequence[float | bytes]) -> list[bytes]:
    numbers = [value for value in values if isinstance(value, float)]
    return doubles(numbers) if len(numbers) == len(values) else [_double(value) for value in values]


_DOUBLES = Columnwise(_double, _doubles)


def _encoder(spec: TableSpec, table: Table, told: Sequence[ImageColumn], layout: Layout | None) -> Encoder | None:
    """None for columns that the table has no more and that no longer fit the mapping or the document."""
    converts = [_DOUBLES if image.type == tablemap.DOUBLE else None for image in told]
    try:
        return compile_pieces(replace(spec, table=table), converts, numbers=True)
    except HaltSyncError:
        if layout is not None and [one.column.name for one in layout.columns] == [one.name for one in table.columns]:
            raise
        return None


def _key(spec: TableSpec, layout: Layout | None, told: Sequence[ImageColumn]) -> tuple[str, ...]:
    """By what rows are told apart: as when the sync was prepared, for the service knows them by that; else by what is left.

    information_schema may know of no index while the table is being altered, so its word is not the first.
    """
    names = {image.name for image in told} if told and told[0].name is not None else None
    keys = (spec.table.key, layout.table.key if layout else (), tuple(image.name or "" for image in told if image.key))
    return next((key for key in keys if key and (names is None or names.issuperset(key))), ())


def _trusted(
    unknown: Unknown, told: Sequence[ImageColumn], declared: Sequence[Declared], spec: TableSpec, *, known: bool
) -> None:
    """Without names of columns, see that the table as it stands is the one whose rows these are.

    Times are whole seconds. In the very second of the change, rows may be from before it, unless the log has just
    told of the change: ``known``.
    """
    label = shown(spec.table.label)
    if len(told) != len(declared) or not all(map(alike, told, declared)):
        what = f"rows of table {label} in the binlog have other columns than the table has now"
    elif unknown.changed is not None and unknown.changed > unknown.time - (not known):
        what = f"table {label} was changed after rows that are still to be read, and the binlog does not name their columns"
    else:
        return
    raise HaltSyncError(what, fix=f"{_FULL}; then take a snapshot with fuagent snapshot")


def _legible(image: ImageColumn, declared: Declared, spec: TableSpec) -> None:
    """Without labels in the log, see that information_schema, which is in utf8mb3, can tell them."""
    if image.labels or declared.charset not in _WIDE or not any("?" in label for label in declared.labels):
        return
    raise HaltSyncError(
        f"a label of column {shown(declared.column.name)} of table {shown(spec.table.label)} has a question mark, or a "
        "character that the server shows as one, and the binlog does not tell which",
        fix=_FULL,
    )


def _named(body: bytes) -> Name:
    try:
        at = _UNSAID
        schema = body[at + 1 : at + 1 + body[at]]
        at += body[at] + 2
        table = body[at + 1 : at + 1 + body[at]]
    except IndexError:
        raise DecodeError("A table map ends within its names.") from None
    return Name(schema.decode("utf-8", "replace"), table.decode("utf-8", "replace"))


def _folded(name: Name, folds: bool) -> Name:
    return Name(name.schema.lower(), name.table.lower()) if folds else name


def _taking(places: Sequence[int]) -> Callable[[Row], Row]:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda row: tuple(row[place] for place in places)
