"""What events of a table are made of, told from the table and the sync's mapping alone.

This is the way opposite to that of ``contract.schema``: there the service's document says how an
event may look, here an event says what the document can be. A property's type is the
one its column is written as when nobody asks for another (``contract.payload.RULES``). SQLite's
values have types of their own, so its columns go by what they were declared as
(https://sqlite.org/datatype3.html section 3.1): asked for that type, the agent writes it
wherever a value allows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from fuagent.contract.payload import RULES
from fuagent.model import Column, Deletes, Fact, Kind, Mapping, Table, TableSpec

INDEX = "index"
BATCH = "Batch"
"""What the type of a batch is called behind the name of its events' type."""
_TAKEN = frozenset({"Answer", "Any", "BaseModel", "ConfigDict", "Field"})


@dataclass(frozen=True, slots=True)
class Value:
    """One property. ``type`` is the JSON type, empty for any; ``format`` as in JSON Schema.

    ``required``: stands in every event. ``column`` is what feeds it, None for what does not come from the row.
    """

    type: str
    format: str = ""
    nullable: bool = False
    required: bool = True
    base64: bool = False
    key: bool = False
    about: str = ""
    column: Column | None = None


Tree = dict[str, "Value | Tree"]
"""Properties by name; what is nested is a tree of its own."""


@dataclass(frozen=True, slots=True)
class EventShape:
    """One table's events. ``mark`` is the property that says that a row was deleted, None where nothing does."""

    table: str
    name: str
    """A name for the type, fit for every language: letters and digits, a capital first."""
    tree: Tree
    key: tuple[tuple[str, ...], ...]
    """The paths of the key's properties in its order; empty where the key is not sent."""
    mark: str | None = None
    notes: tuple[str, ...] = field(default=())


def shapes(specs: Sequence[TableSpec]) -> list[EventShape]:
    """The events of these tables, under type names that differ."""
    taken = set(_TAKEN)
    made = []
    for spec in specs:
        plain = name = type_name(spec.table.name)
        number = 1
        while not taken.isdisjoint({name, f"{name}{BATCH}"}):
            number += 1
            name = f"{plain}{number}"
        taken |= {name, f"{name}{BATCH}"}
        made.append(_shape(spec.table, spec.mapping, name))
    return made


def type_name(name: str) -> str:
    """``order_items`` as ``OrderItems``; what is no letter or digit only parts words."""
    words = re.findall(r"[A-Za-z0-9]+", name)
    text = "".join(word[:1].upper() + word[1:] for word in words)
    return text if text[:1].isalpha() else f"Row{text}"


def leaves(tree: Tree, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Value]]:
    """All properties that are values, each with the names that lead to it."""
    found = []
    for name, node in tree.items():
        inside = (*path, name)
        found += [(inside, node)] if isinstance(node, Value) else leaves(node, inside)
    return found


def _shape(table: Table, mapping: Mapping, name: str) -> EventShape:
    mark = mapping.delete_field if mapping.deletes is Deletes.MARK else None
    tree: Tree = {}
    keys: dict[str, tuple[str, ...]] = {}
    for path, column, value in _values(table, mapping, mark):
        _put(tree, path, value)
        if column in table.key:
            keys.setdefault(column, path)
    whole = all(name in keys for name in table.key)
    if mark is not None:
        tree[mark] = Value("boolean", about="true: the row was deleted")
    tree[INDEX] = Value("integer", required=False, about="the event's number; rows of a snapshot have none")
    notes = (
        () if mapping.transform is None else (f"the transform {mapping.transform.name} may change what is told here",)
    )
    key = tuple(keys[name] for name in table.key) if whole else ()
    return EventShape(table.label, name, tree, key, mark, notes)


def _put(tree: Tree, path: tuple[str, ...], value: Value) -> None:
    for name in path[:-1]:
        inside = tree.setdefault(name, {})
        assert isinstance(inside, dict)  # the mapping's own check saw to that
        tree = inside
    tree[path[-1]] = value


def _values(table: Table, mapping: Mapping, mark: str | None) -> list[tuple[tuple[str, ...], str, Value]]:
    """Path, column and value of every property that the mapping makes."""
    columns = {column.name: column for column in table.columns}
    masked = {mask.column for mask in mapping.masks}

    def fed(path: tuple[str, ...], name: str) -> tuple[tuple[str, ...], str, Value]:
        key = name in table.key
        # The mark of a changed key carries the key alone.
        return path, name, _value(columns[name], key=key, required=key or mark is None, masked=name in masked)

    if mapping.fields is None:
        return [fed((name,), name) for name in columns]
    made = []
    for one in mapping.fields:
        path = tuple(one.name.split("."))
        if one.column is not None:
            made.append(fed(path, one.column))
        elif one.fact is not None:
            made.append((path, "", _fact(one.fact, required=mark is None)))
        else:
            made.append((path, "", _constant(one.constant, required=mark is None)))
    return made


def _fact(fact: Fact, *, required: bool) -> Value:
    nullable = fact in (Fact.COMMIT_TIME, Fact.TRANSACTION)
    type_ = "boolean" if fact is Fact.SNAPSHOT else "string"
    format_ = "date-time" if fact is Fact.COMMIT_TIME else ""
    return Value(type_, format_, nullable, required, about=str(fact))


def _constant(value: object, *, required: bool) -> Value:
    types = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return Value(types.get(type(value), ""), nullable=value is None, required=required, about="a constant")


def _value(column: Column, *, key: bool, required: bool, masked: bool) -> Value:
    nullable = column.nullable and not key
    if masked:
        return Value("string", "", nullable, required, key=key, about="masked", column=column)
    type_, format_, base64 = _declared(column.type) if column.kind is Kind.DYNAMIC else _natural(column.kind)
    about = ", ".join(filter(None, (column.type, "base64" if base64 else "")))
    return Value(type_, format_, nullable, required, base64, key, about, column)


def _natural(kind: Kind) -> tuple[str, str, bool]:
    rule = next(rule for rule in RULES if rule.kind is kind)
    type_ = "integer" if "integer" in rule.types else next(iter(rule.types))
    if kind is Kind.JSON:
        type_ = ""  # any JSON value
    formats = sorted(rule.formats or ())
    # JSON Schema's "time" wants a zone, which a time of a database has not.
    format_ = formats[0] if len(formats) == 1 and formats != ["time"] else ""
    return type_, format_, kind is Kind.BINARY


_DECLARED: tuple[tuple[str, str], ...] = (
    (r"^BOOL(EAN)?$", "boolean"),
    (r"JSON", ""),
    (r"INT", "integer"),
    (r"CHAR|CLOB|TEXT|STRING|DATE|TIME|UUID|ENUM", "string"),
    (r"REAL|FLOA|DOUB|NUMERIC|DECIMAL", "number"),
)
"""What a column of SQLite was declared as, and the JSON type that suits what is mostly in it."""


def _declared(declared: str) -> tuple[str, str, bool]:
    if "BLOB" in declared.upper():
        return "string", "", True
    found = next((type_ for pattern, type_ in _DECLARED if re.search(pattern, declared.upper())), "")
    return found, "", False
