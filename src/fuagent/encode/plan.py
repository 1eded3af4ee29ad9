"""What every event of a table is made of, decided before its first row.

A plan is the list of properties with what feeds each. All that can be wrong
between a table, the sync's mapping and the service's event schema is found
here, with both names.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

import orjson

from fuagent.contract.payload import Form, form, json_text
from fuagent.encode.shown import shown
from fuagent.errors import HaltSyncError
from fuagent.model import Column, Cover, Deletes, EventSchema, Fact, Kind, Mask, Property, TableSpec

INDEX = "index"
_BOOLEAN = frozenset({"boolean"})
_STRING = frozenset({"string"})
_OBJECT = frozenset({"object"})
_WHOLE = frozenset({"integer", "number"})
_TYPES = {
    type(None): frozenset({"null"}),
    bool: _BOOLEAN,
    int: _WHOLE,
    float: frozenset({"number"}),
    str: _STRING,
}


@dataclass(frozen=True, slots=True)
class Slot:
    """One property: fed by the column at place ``column`` of the row, by a constant's JSON text, or by a fact.

    ``path`` are the names that lead to it through nested objects; one, for most.
    """

    path: tuple[str, ...]
    column: int | None = None
    form: Form = Form.DYNAMIC
    constant: bytes = b""
    mask: Mask | None = None
    fact: Fact | None = None

    @property
    def name(self) -> str:
        """The property as people write it."""
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Plan:
    """All properties of a table's events but the index, in order.

    ``mark`` is the property that says "deleted", None where deletes are not marked;
    ``key`` are the slots that identify a row, for the mark of a key that changed.
    """

    slots: tuple[Slot, ...]
    mark: str | None
    key: tuple[Slot, ...]


def plan(spec: TableSpec) -> Plan:
    """Work out the plan.

    Raises:
        HaltSyncError: table, mapping and event schema do not fit together.
    """
    label = spec.table.label
    mark = spec.mapping.delete_field if spec.mapping.deletes is Deletes.MARK else None
    slots = _slots(spec)
    _names(label, [slot.path for slot in slots], mark)
    if spec.schema is not None:
        _satisfied(spec.schema, slots, mark, label)
    made = Plan(slots, mark, _key(spec, slots) if mark is not None else ())
    if made.key and spec.schema is not None:
        _key_marks(spec.schema, made, label)
    return made


def _slots(spec: TableSpec) -> tuple[Slot, ...]:
    columns = {column.name: (place, column) for place, column in enumerate(spec.table.columns)}
    masks = _masks(spec, columns)
    if spec.mapping.fields is None:
        return tuple(_fed(spec, (name,), place, column, masks) for name, (place, column) in columns.items())
    slots = []
    for field in spec.mapping.fields:
        path = tuple(field.name.split("."))
        if field.fact is not None:
            slots.append(_told(spec, path, field.fact))
        elif field.column is None:
            slots.append(Slot(path, constant=_constant(spec, path, field.constant)))
        elif field.column in columns:
            slots.append(_fed(spec, path, *columns[field.column], masks))
        else:
            raise _no_column(spec, field.column)
    return tuple(slots)


def _masks(spec: TableSpec, columns: dict[str, tuple[int, Column]]) -> dict[str, Mask]:
    """Masks by column, each of which must be there: a name misspelled would leave its column readable."""
    masks = {mask.column: mask for mask in spec.mapping.masks}
    for name, mask in masks.items():
        if name not in columns:
            raise _no_column(spec, name, "mask")
        if name in spec.table.key and mask.cover is not Cover.HASH:
            raise HaltSyncError(
                f'key column "{shown(name)}" of table {shown(spec.table.label)} cannot be masked by {mask.cover}: '
                "different rows would look the same",
                where="mask",
                fix=f"write {shown(name)}: hash",
            )
    return masks


def _fed(spec: TableSpec, path: tuple[str, ...], place: int, column: Column, masks: dict[str, Mask]) -> Slot:
    mask = masks.get(column.name)
    if mask is not None:
        if mask.cover is Cover.TRUNCATE and column.kind not in (Kind.TEXT, Kind.DYNAMIC, Kind.OTHER):
            raise HaltSyncError(
                f'column "{shown(column.name)}" of table {shown(spec.table.label)} is no text and cannot be truncated',
                where="mask",
                fix=f"write {shown(column.name)}: redact",
            )
        _typed(spec.schema, path, _STRING, "what its mask leaves")
        return Slot(path, place, form(column, None, where=""), mask=mask)
    where = ".properties.".join([spec.schema.where, *map(shown, path)]) if spec.schema else ""
    return Slot(path, place, form(column, _wanted(spec.schema, path), where=where, table=spec.table.label))


def _wanted(schema: EventSchema | None, path: tuple[str, ...]) -> Property | None:
    """What the document says of one property, in an object in an object if need be; None where it says nothing."""
    found: Property | None = None
    for name in path:
        found = schema.properties.get(name) if schema is not None else None
        schema = found.inside if found is not None else None
    return found


def never_null(spec: TableSpec) -> list[Column]:
    """The columns that may hold NULL although the document takes no null where they are sent.

    No error: a column may well be nullable and never be NULL, and the row that is has ``on_reject``.

    Raises:
        HaltSyncError: as for :func:`plan`.
    """
    found = []
    for slot in plan(spec).slots:
        wanted = _wanted(spec.schema, slot.path)
        column = None if slot.column is None else spec.table.columns[slot.column]
        if column and wanted and wanted.types and "null" not in wanted.types and column.nullable:
            found.append(column)
    return [column for column in dict.fromkeys(found) if column.name not in spec.table.key]


_FACT_VALUES = {
    Fact.SNAPSHOT: frozenset({"true", "false"}),
    Fact.OPERATION: frozenset({'"insert"', '"update"', '"delete"', '"snapshot"'}),
}
_FACT_TYPES = {Fact.SNAPSHOT: _BOOLEAN, Fact.COMMIT_TIME: _STRING | {"null"}, Fact.TRANSACTION: _STRING | {"null"}}


def _told(spec: TableSpec, path: tuple[str, ...], fact: Fact) -> Slot:
    _typed(spec.schema, path, _FACT_TYPES.get(fact, _STRING), f"{fact}, given for it under fields,")
    _listed(spec.schema, path, _FACT_VALUES.get(fact, frozenset()), f"{fact}, given for it under fields,")
    known = {Fact.TABLE: spec.table.name, Fact.SCHEMA: spec.table.schema}
    if fact in known:
        return Slot(path, constant=orjson.dumps(known[fact]))
    return Slot(path, fact=fact)


def _constant(spec: TableSpec, path: tuple[str, ...], value: object) -> bytes:
    try:
        text = orjson.dumps(value)
    except TypeError as error:
        name = shown(".".join(path))
        raise HaltSyncError(f'the constant for property "{name}" cannot be written as JSON') from error
    _typed(spec.schema, path, _TYPES.get(type(value), frozenset()), "the constant given for it under fields")
    _listed(spec.schema, path, frozenset({json_text(value)}), "the constant given for it under fields")
    return text


def _listed(schema: EventSchema | None, path: tuple[str, ...], possible: frozenset[str], what: str) -> None:
    """See that something that may come is what an enum allows; nothing is known where ``possible`` is empty."""
    wanted = _wanted(schema, path)
    if schema is None or wanted is None or not (wanted.values and possible) or wanted.values & possible:
        return
    raise HaltSyncError(
        f'the service wants {shown(" or ".join(sorted(wanted.values)))} for "{shown(".".join(path))}", '
        f"but {what} is never one of these",
        where=schema.where,
        fix="change the property's enum in the document, or what feeds it under fields",
    )


def _no_column(spec: TableSpec, name: str, where: str = "fields") -> HaltSyncError:
    names = [column.name for column in spec.table.columns]
    by_case = [other for other in names if other.casefold() == name.casefold()]
    close = by_case or get_close_matches(name, names, 1)
    fix = f'write "{shown(close[0])}" under {where}' if close else f"its columns are {shown(', '.join(names))}"
    return HaltSyncError(f'table {shown(spec.table.label)} has no column "{shown(name)}"', where=where, fix=fix)


def _names(label: str, paths: list[tuple[str, ...]], mark: str | None) -> None:
    """No two properties may share a name, nor differ by case alone: some readers cannot tell these apart."""
    taken: dict[str, dict[tuple[str, ...], str]] = {}
    """By their first part: no others can be alike, and a table may have very many columns."""
    for path in [*paths, *([(mark,)] if mark is not None else [])]:
        name = ".".join(path)
        if path[0].casefold() == INDEX:
            raise HaltSyncError(
                f'table {shown(label)} would write a column as "{shown(name)}", where the event\'s own number goes: '
                "it must be renamed",
                fix="give it another property under fields",
            )
        if len(path) > 1 and not all(path):
            raise HaltSyncError(f'property "{shown(name)}" has an empty name in it', fix="write it like customer.email")
        alike = taken.setdefault(path[0].casefold(), {})
        for other, known in alike.items():
            _apart(label, path, name, other, known)
        alike[path] = name
        _unicode(label, name)


def _apart(label: str, path: tuple[str, ...], name: str, other: tuple[str, ...], known: str) -> None:
    """See that two properties can stand in one event: side by side, or in the same object."""
    for mine, theirs in zip(path, other, strict=False):
        if mine.casefold() != theirs.casefold():
            return
        if mine != theirs:
            raise _collision(label, known, name)
    if len(path) == len(other):
        raise _collision(label, known, name)
    short, long = sorted((name, known), key=len)
    raise HaltSyncError(
        f'property "{shown(long)}" of table {shown(label)} lies inside "{shown(short)}", which is a value of its own',
        fix="rename one under fields",
    )


def _collision(label: str, one: str, other: str) -> HaltSyncError:
    how = "share the name" if one == other else "differ only by case:"
    names = f'"{shown(one)}"' if one == other else f'"{shown(one)}" and "{shown(other)}"'
    return HaltSyncError(
        f"two properties of table {shown(label)} {how} {names}", fix="rename one under fields, or change delete_field"
    )


def _unicode(label: str, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        message = f"a property of table {shown(label)} has a name that no JSON text can carry"
        raise HaltSyncError(message, fix="rename it under fields") from error


def _satisfied(schema: EventSchema, slots: tuple[Slot, ...], mark: str | None, label: str) -> None:
    """Every required property is fed, none is sent that the document forbids, our own are of the right type."""
    if INDEX in schema.required:
        raise HaltSyncError(
            'the service requires "index" in every event, but rows of a snapshot carry none',
            where=schema.where,
            fix="take index off the document's required properties",
        )
    paths = {slot.path for slot in slots} | {(INDEX,)}
    if mark is not None:
        paths.add((mark,))
        _typed(schema, (mark,), _BOOLEAN, "the mark of deleted rows")
    _typed(schema, (INDEX,), _WHOLE, "the event's number")
    _complete(schema, paths, (), label, schema.where)


def _complete(schema: EventSchema, paths: set[tuple[str, ...]], above: tuple[str, ...], label: str, where: str) -> None:
    """See that an object holds what it must and nothing that it must not, and so do the objects in it.

    ``paths`` lead on from the object, ``above`` leads to it.
    """
    names = {path[0] for path in paths}
    missing, refused = sorted(schema.required - names), sorted(names - schema.properties.keys())
    if missing:
        name = shown(".".join((*above, missing[0])))
        raise HaltSyncError(
            f'the service requires the property "{name}", but no column of table {shown(label)} feeds it',
            where=where,
            fix=f'map a column or a constant to "{name}" under fields, or make the property optional',
        )
    if schema.closed and refused:
        name = shown(".".join((*above, refused[0])))
        raise HaltSyncError(
            f'the service allows no property "{name}", which events of table {shown(label)} carry',
            where=where,
            fix="leave it out or rename it under fields, or add it to the document",
        )
    for name in sorted(names):
        below = {path[1:] for path in paths if path[0] == name and len(path) > 1}
        wanted = schema.properties.get(name)
        if below and wanted is not None:
            _of_type(wanted, (*above, name), _OBJECT, "what is nested in it under fields", where)
            _complete(wanted.inside or EventSchema(), below, (*above, name), label, where)


def _typed(schema: EventSchema | None, path: tuple[str, ...], given: frozenset[str], what: str) -> None:
    if schema is not None:
        _of_type(_wanted(schema, path) or Property(), path, given, what, schema.where)


def _of_type(wanted: Property, path: tuple[str, ...], given: frozenset[str], what: str, where: str) -> None:
    if wanted.types and not wanted.types & given:
        raise HaltSyncError(
            f'the service wants {shown(" or ".join(sorted(wanted.types)))} for "{shown(".".join(path))}", '
            f"but {what} is {' or '.join(sorted(given)) or 'something else'}",
            where=where,
            fix="change the property's type in the document, or the mapping under fields and delete_field",
        )


def _key(spec: TableSpec, slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
    """The slots of the key columns, each once, in the key's order."""
    names = [column.name for column in spec.table.columns]
    by_place = {slot.column: slot for slot in reversed(slots)}
    found = []
    for name in spec.table.key:
        slot = by_place.get(names.index(name))
        if slot is None:
            raise HaltSyncError(
                f"deletes: mark cannot say which row of table {shown(spec.table.label)} is gone: key column "
                f'"{shown(name)}" is not sent',
                fix="add it under fields, or choose deletes: row or skip",
            )
        found.append(slot)
    return tuple(found)


def _key_marks(schema: EventSchema, made: Plan, label: str) -> None:
    missing = sorted(schema.required - {slot.path[0] for slot in made.key} - {made.mark})
    if missing:
        raise HaltSyncError(
            f'the service requires the property "{shown(missing[0])}", but the mark for an old key of table '
            f"{shown(label)} carries the key alone",
            where=schema.where,
            fix=f'make "{shown(missing[0])}" optional in the document, or choose deletes: row or skip',
        )
