"""Events of a batch as rows of a declared type.

A type is anything pydantic can validate: a model, a dataclass, a ``TypedDict``, or
``dict[str, Any]`` for rows taken as they come; or a struct of msgspec. ``index`` and the
delete field are the contract's and never part of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fuagent.contract.schema import DELETE_FIELD
from fuagent.errors import PayloadError
from fuagent.model import INDEX_MAX
from fuagent.receiver.store import Key, Row
from fuagent.receiver.typed import Json, typed

INDEX = {"type": "integer", "minimum": 1, "maximum": INDEX_MAX}


@dataclass(slots=True)
class Event:
    """One event; ``row`` and ``value`` (the same in the declared type) are None where it marks a delete."""

    key: Key
    index: int | None
    row: Row | None
    value: Any


class RowType:
    """Reads events as rows of one type.

    Args:
        type_: The type of a row.
        key: The properties that make up the key, as they are called in JSON.
        delete_field: The boolean property that marks a delete; None: there is none.
    """

    def __init__(self, type_: Any, key: Sequence[str], delete_field: str | None) -> None:
        self.key = tuple(key)
        self.delete_field = delete_field
        self._type = typed(type_)
        self._parts = [self._type.part(name) for name in self.key]

    def read(self, number: int, event: Mapping[str, Any]) -> Event:
        """One event.

        Args:
            number: Its place in the batch, for the error.
            event: As it came, its index already found to be one.

        Raises:
            PayloadError: it is no row of this type, or has no key.
        """
        row = dict(event)
        index = row.pop("index", None)
        gone = row.pop(self.delete_field, False) if self.delete_field else False
        if not isinstance(gone, bool):
            raise PayloadError(f"events[{number}].{self.delete_field} is not a JSON boolean")
        if gone:
            key = zip(self.key, self._parts, _key(number, row, self.key), strict=True)
            return Event(
                tuple([part(value, f"events[{number}].{name}") for name, part, value in key]), index, None, None
            )
        value, made = self._type.read(row, f"events[{number}]")
        return Event(_key(number, made, self.key), index, made, value)

    def schema(self) -> Json:
        """The JSON Schema of an event, without references, so that it can stand anywhere in a document."""
        whole = self._type.schema()
        made: Json = _inlined(whole, whole.get("$defs", {}), ())
        made.setdefault("type", "object")
        made["properties"] = {**made.get("properties", {}), "index": dict(INDEX)}
        for name in self.key:
            made["properties"].setdefault(name, {})
        if self.delete_field:
            # The mark of a delete may carry the key alone, so nothing else can be required.
            made["properties"][self.delete_field] = {"type": "boolean"}
            made[DELETE_FIELD] = self.delete_field
        if self.delete_field or "required" not in made:
            made["required"] = list(self.key)
        return made


def _key(number: int, row: Mapping[str, Any], names: Sequence[str]) -> Key:
    key = tuple(map(row.get, names))
    try:
        hash(key)
    except TypeError:
        raise PayloadError(f"events[{number}].{', '.join(names)} cannot be part of a key") from None
    if None in key:
        raise PayloadError(f"events[{number}].{names[key.index(None)]} is missing, and is part of the key")
    return key


def _inlined(node: Any, definitions: Json, inside: tuple[str, ...]) -> Any:
    """The schema with each reference replaced by what it names; one that contains itself says nothing there."""
    if isinstance(node, list):
        return [_inlined(part, definitions, inside) for part in node]
    if not isinstance(node, dict):
        return node
    name = str(node.get("$ref", "")).removeprefix("#/$defs/")
    if name in inside:
        return {}
    own = {word: _inlined(part, definitions, inside) for word, part in node.items() if word not in {"$ref", "$defs"}}
    return {**_inlined(definitions[name], definitions, (*inside, name)), **own} if name in definitions else own
