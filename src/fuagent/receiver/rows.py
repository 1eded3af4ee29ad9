"""Events of a batch as rows of a declared type.

A type is anything pydantic can validate: a model, a dataclass, a ``TypedDict``, or
``dict[str, Any]`` for rows taken as they come. ``index`` and the delete field are the
contract's and never part of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

from fuagent.contract.schema import DELETE_FIELD
from fuagent.errors import PayloadError
from fuagent.model import INDEX_MAX
from fuagent.receiver.store import Key, Row

Json = dict[str, Any]
_INDEX = {"type": "integer", "minimum": 1, "maximum": INDEX_MAX}
_SCALAR = (str, int, float)


@dataclass(frozen=True, slots=True)
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
        self._adapter: TypeAdapter[Any] = TypeAdapter(type_)
        self._bare = type_ in {dict, Json}
        self._keys = [_adapter_of(type_, name) for name in self.key]

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
            return Event(self._key(number, row), index, None, None)
        value = _validated(self._adapter, row, f"events[{number}]")
        if not self._bare:
            row = self._adapter.dump_python(value, by_alias=True)
        return Event(self._key(number, row), index, row, value)

    def _key(self, number: int, row: Mapping[str, Any]) -> Key:
        values = []
        for name, adapter in zip(self.key, self._keys, strict=True):
            where = f"events[{number}].{name}"
            if row.get(name) is None:
                raise PayloadError(f"{where} is missing, and is part of the key")
            value = _validated(adapter, row[name], where)
            try:
                hash(value)
            except TypeError:
                raise PayloadError(f"{where} cannot be part of a key") from None
            values.append(value)
        return tuple(values)

    def schema(self) -> Json:
        """The JSON Schema of an event, without references, so that it can stand anywhere in a document."""
        whole = self._adapter.json_schema()
        made: Json = _inlined(whole, whole.get("$defs", {}), ())
        made.setdefault("type", "object")
        made["properties"] = {**made.get("properties", {}), "index": dict(_INDEX)}
        for name in self.key:
            made["properties"].setdefault(name, {})
        if self.delete_field:
            # The mark of a delete may carry the key alone, so nothing else can be required.
            made["properties"][self.delete_field] = {"type": "boolean"}
            made[DELETE_FIELD] = self.delete_field
        if self.delete_field or "required" not in made:
            made["required"] = list(self.key)
        return made


def _adapter_of(type_: Any, name: str) -> TypeAdapter[Any]:
    """What validates one property by its JSON name; anything where the type does not say."""
    if isinstance(type_, type) and issubclass(type_, BaseModel):
        for field, info in type_.model_fields.items():
            if name in {info.validation_alias, info.alias, field if info.alias is None else None}:
                annotated: Any = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
                return TypeAdapter(annotated)
        raise ValueError(f"{type_.__name__} has no property {name}, which is to be part of the key")
    hints = get_type_hints(type_, include_extras=True) if isinstance(type_, type) else {}
    return TypeAdapter(hints.get(name, Any))


def _validated(adapter: TypeAdapter[Any], value: object, where: str) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        # A place deeper than the property, and pydantic's sentence, may hold what the row holds.
        field = f".{first['loc'][0]}" if first["loc"] and first["type"] != "extra_forbidden" else ""
        raise PayloadError(f"{where}{field} does not fit: {first['type']}") from None


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
