"""The tables of a database as they stand: which a sync selects, their columns, types and keys.

The catalogue is read, in a few queries for all tables. A partitioned table is one table; its partitions come
under its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from fuagent.encode.shown import shown
from fuagent.model import Table
from fuagent.sources.postgres.columns import Declared, declared, quoted
from fuagent.sources.postgres.link import Link
from fuagent.sources.selection import PARTITION, VIEW, Listing, Name
from fuagent.wire.postgres.types import Type

_OTHERS = {"v": VIEW, "m": "a materialised view", "f": "a foreign table"}
_VIA_ROOT = 130_000
"""The version from which on a partitioned table can be published as one; before, each partition is a table."""


class Leaf(NamedTuple):
    """A partition that holds rows itself. What the log holds of an old row is for it to say, and not for the whole table."""

    name: Name
    identity: str
    identified: bool
    """Whether the log holds of its old rows by what they are told apart."""
    logged: bool
    """Whether its changes reach the log: not those of an unlogged or foreign table."""
    oid: int
    attached: bool = False
    """Whether it was a table before it was a partition of this one, and not made as one."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One table as it stands. Two are equal if rows are read and written alike."""

    name: Name
    table: Table
    """Its ``schema`` is empty for tables of the home schema; generated columns are not in it."""
    columns: tuple[Declared, ...]
    oid: int
    partitioned: bool
    identity: str
    """pg_class.relreplident: d (primary key), i (an index), f (the whole row), n (nothing)."""
    held: tuple[str, ...]
    """The columns of an old row that the log holds."""
    generated: tuple[str, ...] = ()
    """Those that the server works out: in no snapshot and no event."""
    virtual: bool = False
    """Whether one of them is worked out when it is read (version 18): it can be in no publication."""
    leaves: tuple[Leaf, ...] = field(default=(), compare=False)
    """The partitions of a partitioned table; they come and go."""
    inherited: bool = field(default=False, compare=False)
    """Whether other tables inherit from it. Their rows are not its own."""
    owner: str = field(default="", compare=False)
    estimate: int | None = field(default=None, compare=False)
    """About how many rows there are; None where nobody has counted."""

    @property
    def full(self) -> bool:
        """Whether the log holds whole old rows, and so generated columns too, of the table or of a partition."""
        return "f" in {self.identity, *(leaf.identity for leaf in self.leaves)}

    def generated_faults(self) -> Iterator[tuple[str, str]]:
        """What stands in the way of following it for its generated columns' sake, and what mends it."""
        table = shown(quoted(self.name))
        if self.full and self.virtual:
            yield (
                "is REPLICA IDENTITY FULL and has virtual generated columns: once published, it can be updated no more",
                f"ALTER TABLE {table} REPLICA IDENTITY DEFAULT, with a primary key; or make them STORED",
            )
        elif not self.full and not set(self.generated).isdisjoint(self.held):
            yield (
                "is known in the log by generated columns, which are not sent: nobody could tell its rows apart",
                f"ALTER TABLE {table} REPLICA IDENTITY USING INDEX …, one of columns that are not generated",
            )

    @property
    def uneven(self) -> tuple[Leaf, ...]:
        """Partitions whose old rows come in part while the whole table's identity promises all of them.

        The log then has NULL for what is missing, and nothing tells that from a NULL of the row's own: an old row
        is written by the partition's identity and announced by that of the table it is published as.
        """
        return tuple(leaf for leaf in self.leaves if self.identity == "f" and leaf.identity != "f")


_LISTING = (
    "SELECT n.nspname, c.relname, c.relkind::pg_catalog.text, c.relpersistence::pg_catalog.text, rn.nspname, r.relname "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "LEFT JOIN pg_catalog.pg_class r ON c.relispartition AND r.oid = pg_catalog.pg_partition_root(c.oid) "
    "LEFT JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace "
    "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_') "
    "AND n.nspname <> 'information_schema' ORDER BY 1, 2"
)


async def listing(link: Link, home: str) -> Listing:
    """The tables of the database, in the order of their names; ``home`` is the schema that needs no name.

    Those that the account may not read are among them: a pattern that means them must not pass over them silently.
    """
    tables, others = [], {}
    whole = link.version >= _VIA_ROOT
    for schema, table, kind, persistence, root_schema, root in await link.rows(_LISTING):
        name = Name(schema, table)
        if kind in _OTHERS:
            others[name] = _OTHERS[kind]
        elif persistence == "u":
            others[name] = "an unlogged table"
        elif whole and root is not None:
            others[name] = f"{PARTITION} {shown(root if root_schema == home else f'{root_schema}.{root}')}"
        elif kind == "p" and not whole:
            others[name] = "a partitioned table on a server before version 13"
        else:
            tables.append(name)
    return Listing(home, tuple(tables), others)


@dataclass(slots=True)
class _Facts:
    oid: int
    partitioned: bool
    identity: str
    owner: str
    estimate: int | None
    columns: list[tuple[str, int, int, bool, str]] = field(default_factory=list)
    """Name, type, modifier, whether it is never NULL; pg_attribute.attgenerated: s (stored), v (virtual) or nothing."""
    primary: tuple[str, ...] = ()
    deferred: bool = False
    """Whether the primary key is looked at only when a transaction ends: the log does not tell rows apart by it then."""
    replica: tuple[str, ...] = ()
    unique: list[tuple[str, ...]] = field(default_factory=list)
    leaves: list[Leaf] = field(default_factory=list)
    inherited: bool = False


# Where nobody has counted, reltuples is -1 from version 14 on, and before that 0 as for an empty table.
_COUNTED = (
    "CASE WHEN c.reltuples > 0 OR c.reltuples = 0 AND (c.relpages > 0 OR "
    "pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 140000) THEN c.reltuples::pg_catalog.int8 END"
)
_CLASSES = (
    "SELECT c.oid, n.nspname, c.relname, c.relkind::pg_catalog.text, c.relreplident::pg_catalog.text, "  # noqa: S608 - constants
    f"pg_catalog.pg_get_userbyid(c.relowner), {_COUNTED}, "
    "EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid) "
    "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "JOIN ROWS FROM (pg_catalog.unnest(%s::pg_catalog.text[]), pg_catalog.unnest(%s::pg_catalog.text[])) AS w(schema, name) "
    "ON w.schema = n.nspname AND w.name = c.relname WHERE c.relkind IN ('r', 'p')"
)
# Who made a row of the catalogue stays with it. A type's row is written when its table is made, and a row of
# pg_inherits when a table becomes a partition; any link up to the whole table may be the younger one.
_ATTACHED = (
    "EXISTS (SELECT FROM pg_catalog.pg_type y, pg_catalog.pg_partition_ancestors(c.oid) a JOIN pg_catalog.pg_inherits i "
    "ON i.inhrelid = a.relid WHERE y.typrelid = c.oid AND pg_catalog.age(i.xmin) < pg_catalog.age(y.xmin))"
)
_LEAVES = (
    "SELECT w.oid, n.nspname, c.relname, c.relreplident::pg_catalog.text, c.relreplident = 'f' OR EXISTS (SELECT FROM "  # noqa: S608 - constants
    "pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisvalid AND i.indimmediate AND "
    "CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident END), "
    f"c.relkind = 'r' AND c.relpersistence = 'p', {_COUNTED}, c.oid, {_ATTACHED} "
    "FROM pg_catalog.unnest(%s::pg_catalog.oid[]) AS w(oid), pg_catalog.pg_partition_tree(w.oid) t "
    "JOIN pg_catalog.pg_class c ON c.oid = t.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
    "WHERE t.isleaf ORDER BY w.oid, n.nspname, c.relname"
)
_COLUMNS = (
    "SELECT attrelid, attname, atttypid, atttypmod, attnotnull, attgenerated::pg_catalog.text FROM pg_catalog.pg_attribute "
    "WHERE attrelid = ANY(%s::pg_catalog.oid[]) AND attnum > 0 AND NOT attisdropped ORDER BY attrelid, attnum"
)
_INDEXES = (
    "SELECT i.indrelid, i.indisprimary, i.indisreplident, i.indimmediate, ARRAY(SELECT a.attname::pg_catalog.text FROM "
    "pg_catalog.generate_subscripts(i.indkey, 1) AS k(place) JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid "
    "AND a.attnum = i.indkey[k.place] WHERE k.place < i.indnkeyatts ORDER BY k.place) "
    "FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid "
    "WHERE i.indrelid = ANY(%s::pg_catalog.oid[]) AND i.indisunique AND i.indisvalid "
    "AND i.indpred IS NULL AND i.indexprs IS NULL ORDER BY c.relname"
)
_TYPES = (
    "SELECT t.oid, t.typname, t.typtype::pg_catalog.text, t.typcategory::pg_catalog.text, "
    "CASE WHEN e.typarray = t.oid THEN t.typelem ELSE 0 END, "  # int2vector has elements and yet is no array
    "coalesce(e.typdelim, ',')::pg_catalog.text, t.typbasetype, n.nspname FROM pg_catalog.pg_type t "
    "JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem "
    "WHERE t.oid = ANY(%s::pg_catalog.oid[])"
)


async def types(link: Link, oids: Iterable[int]) -> dict[int, Type]:
    """Types by their numbers, with all they are made of. One that is gone is as one of no known kind."""
    found: dict[int, Type] = {}
    wanted = set(oids)
    while wanted:
        for oid, name, kind, category, element, delimiter, base, schema in await link.rows(_TYPES, (sorted(wanted),)):
            found[oid] = Type(oid, name, kind, category, element, delimiter, base, schema)
        found.update({oid: Type(oid, str(oid)) for oid in wanted - found.keys()})
        made_of = {part for oid in wanted for part in (found[oid].element, found[oid].base) if part}
        wanted = made_of - found.keys()
    return found


async def layouts(link: Link, names: Sequence[Name], home: str) -> list[Layout]:
    """The layouts of these tables, in their order; one that is gone is left out."""
    args = ([name.schema for name in names], [name.table for name in names])
    facts: dict[int, _Facts] = {}
    found: dict[Name, _Facts] = {}
    for oid, schema, table, kind, identity, owner, estimate, inherited in await link.rows(_CLASSES, args):
        partitioned = kind == "p"
        one = _Facts(oid, partitioned, identity, owner, estimate, inherited=inherited and not partitioned)
        facts[oid] = found[Name(schema, table)] = one
    await _gather(link, facts)
    known = await types(link, {type_ for one in facts.values() for _, type_, *_ in one.columns})
    return [_layout(name, found[name], known, home) for name in names if name in found]


async def _gather(link: Link, facts: dict[int, _Facts]) -> None:
    oids = (sorted(facts),)
    for oid, name, type_, modifier, never, generated in await link.rows(_COLUMNS, oids):
        facts[oid].columns.append((name, type_, modifier, never, generated))
    for oid, primary, replica, immediate, columns in await link.rows(_INDEXES, oids):
        one, key = facts[oid], tuple(columns)
        if primary:
            one.primary, one.deferred = key, not immediate
        if immediate:
            one.replica = key if replica else one.replica
            one.unique.append(key)
    whole = [oid for oid, one in facts.items() if one.partitioned]
    counts: dict[int, list[int | None]] = {oid: [] for oid in whole}
    for oid, schema, table, identity, identified, logged, estimate, own, attached in (
        await link.rows(_LEAVES, (whole,)) if whole else ()
    ):
        facts[oid].leaves.append(Leaf(Name(schema, table), identity, identified, logged, own, attached))
        counts[oid].append(estimate)
    for oid, some in counts.items():
        known = [count for count in some if count is not None]
        facts[oid].estimate = sum(known) if len(known) == len(some) else None


def _layout(name: Name, facts: _Facts, known: dict[int, Type], home: str) -> Layout:
    columns = tuple(
        declared(column, known[type_], known, modifier, nullable=not never)
        for column, type_, modifier, never, generated in facts.columns
        if not generated
    )
    generated = tuple(column for column, *_, made in facts.columns if made)
    key = tuple(_key(facts))
    table = Table(
        name.table,
        tuple(one.column for one in columns),
        () if set(key) & set(generated) else key,
        "" if name.schema == home else name.schema,
    )
    return Layout(
        name,
        table,
        columns,
        facts.oid,
        facts.partitioned,
        facts.identity,
        _held(facts),
        generated,
        "v" in {made for *_, made in facts.columns},
        tuple(facts.leaves),
        facts.inherited,
        facts.owner,
        facts.estimate,
    )


def _key(facts: _Facts) -> tuple[str, ...]:
    """What the log tells rows apart by, where it does; else the first unique index, by name, that is never NULL."""
    if facts.identity == "i" and facts.replica:
        return facts.replica
    never = {name for name, _, _, never_null, _ in facts.columns if never_null}
    whole = [key for key in facts.unique if never.issuperset(key)]
    return facts.primary or (whole[0] if whole else ())


def _held(facts: _Facts) -> tuple[str, ...]:
    """What the log holds of every old row: nothing where a partition keeps nothing."""
    if not all(leaf.identified for leaf in facts.leaves):
        return ()
    if facts.identity == "f":
        return tuple(name for name, *_, generated in facts.columns if not generated)
    return {"d": () if facts.deferred else facts.primary, "i": facts.replica}.get(facts.identity, ())
