"""What every event of a table is made of, decided before its first row.

A plan is the list of properties with what feeds each. All that can be wrong
between a table, the sync's mapping and the service's event schema is found
here, with both names.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

import orjson

from fuagent.contract.payload import Form, form
from fuagent.encode.shown import shown
from fuagent.errors import HaltSyncError
from fuagent.model import Column, Deletes, EventSchema, Property, TableSpec

INDEX = "index"
_BOOLEAN = frozenset({"boolean"})
_WHOLE = frozenset({"integer", "number"})
_TYPES = {
    type(None): frozenset({"null"}),
    bool: _BOOLEAN,
    int: _WHOLE,
    float: frozenset({"number"}),
    str: frozenset({"string"}),
}


@dataclass(frozen=True, slots=True)
class Slot:
    """One property: fed by the column at place ``column`` of the row, or by a constant's JSON text."""

    name: str
    column: int | None = None
    form: Form = Form.DYNAMIC
    constant: bytes = b""


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
    _names(label, [slot.name for slot in slots], mark)
    if spec.schema is not None:
        _satisfied(spec.schema, slots, mark, label)
    made = Plan(slots, mark, _key(spec, slots) if mark is not None else ())
    if made.key and spec.schema is not None:
        _key_marks(spec.schema, made, label)
    return made


def _slots(spec: TableSpec) -> tuple[Slot, ...]:
    columns = {column.name: (place, column) for place, column in enumerate(spec.table.columns)}
    if spec.mapping.fields is None:
        return tuple(_fed(spec, column.name, *columns[column.name]) for column in spec.table.columns)
    slots = []
    for field in spec.mapping.fields:
        if field.column is None:
            slots.append(Slot(field.name, constant=_constant(spec, field.name, field.constant)))
        elif field.column in columns:
            slots.append(_fed(spec, field.name, *columns[field.column]))
        else:
            raise _no_column(spec, field.column)
    return tuple(slots)


def _fed(spec: TableSpec, name: str, place: int, column: Column) -> Slot:
    wanted = spec.schema.properties.get(name) if spec.schema else None
    where = f"{spec.schema.where}.properties.{shown(name)}" if spec.schema else ""
    return Slot(name, place, form(column, wanted, where=where))


def _constant(spec: TableSpec, name: str, value: object) -> bytes:
    try:
        text = orjson.dumps(value)
    except TypeError as error:
        raise HaltSyncError(f'the constant for property "{shown(name)}" cannot be written as JSON') from error
    if spec.schema is not None:
        _typed(spec.schema, name, _TYPES.get(type(value), frozenset()), "the constant given for it under fields")
    return text


def _no_column(spec: TableSpec, name: str) -> HaltSyncError:
    names = [column.name for column in spec.table.columns]
    by_case = [other for other in names if other.casefold() == name.casefold()]
    close = by_case or get_close_matches(name, names, 1)
    fix = f'write "{shown(close[0])}" under fields' if close else f"its columns are {shown(', '.join(names))}"
    return HaltSyncError(f'table {shown(spec.table.label)} has no column "{shown(name)}"', where="fields", fix=fix)


def _names(label: str, names: list[str], mark: str | None) -> None:
    """No two properties may share a name, nor differ by case alone: some readers cannot tell these apart."""
    taken: dict[str, str] = {}
    for name in [*names, *([mark] if mark is not None else [])]:
        if name.casefold() == INDEX:
            raise HaltSyncError(
                f'table {shown(label)} would write a column as "{shown(name)}", where the event\'s own number goes: '
                "it must be renamed",
                fix="give it another property under fields",
            )
        if name.casefold() in taken:
            raise _collision(label, taken[name.casefold()], name)
        taken[name.casefold()] = name
        _unicode(label, name)


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
    names = {slot.name for slot in slots} | ({mark} if mark is not None else set())
    missing = sorted(schema.required - names)
    if INDEX in missing:
        raise HaltSyncError(
            'the service requires "index" in every event, but rows of a snapshot carry none',
            where=schema.where,
            fix="take index off the document's required properties",
        )
    if missing:
        raise HaltSyncError(
            f'the service requires the property "{shown(missing[0])}", but no column of table {shown(label)} feeds it',
            where=schema.where,
            fix=f'map a column or a constant to "{shown(missing[0])}" under fields, or make the property optional',
        )
    if mark is not None:
        _typed(schema, mark, _BOOLEAN, "the mark of deleted rows")
    _typed(schema, INDEX, _WHOLE, "the event's number")
    refused = sorted({*names, INDEX} - set(schema.properties)) if schema.closed else []
    if refused:
        raise HaltSyncError(
            f'the service allows no property "{shown(refused[0])}", which events of table {shown(label)} carry',
            where=schema.where,
            fix="leave it out or rename it under fields, or add it to the document",
        )


def _typed(schema: EventSchema, name: str, given: frozenset[str], what: str) -> None:
    types = schema.properties.get(name, Property()).types
    if types and not types & given:
        raise HaltSyncError(
            f'the service wants {shown(" or ".join(sorted(types)))} for "{shown(name)}", '
            f"but {what} is {' or '.join(sorted(given)) or 'something else'}",
            where=schema.where,
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
    missing = sorted(schema.required - {slot.name for slot in made.key} - {made.mark})
    if missing:
        raise HaltSyncError(
            f'the service requires the property "{shown(missing[0])}", but the mark for an old key of table '
            f"{shown(label)} carries the key alone",
            where=schema.where,
            fix=f'make "{shown(missing[0])}" optional in the document, or choose deletes: row or skip',
        )
