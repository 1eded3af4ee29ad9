"""The types that rows are declared in: whatever pydantic validates, and structs of msgspec.

msgspec is never imported here: who declares a struct has done so.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Protocol, get_type_hints
from uuid import UUID

from pydantic import BaseModel, TypeAdapter, ValidationError

from fuagent.errors import PayloadError
from fuagent.receiver.store import Row

Json = dict[str, Any]
Part = Callable[[object, str], Any]
"""Validates one property; the text says where it stands. Raises `PayloadError`."""
_KEPT = (bytes, datetime, date, time, timedelta, Decimal, UUID)
"""What a store's columns take as it is."""


class Typed(Protocol):
    """A type of rows."""

    def read(self, row: Row, where: str) -> tuple[Any, Row]:
        """The row in its type, and its values by their names in JSON.

        Raises:
            PayloadError: it is no such row; the text names the property and holds no value.
        """
        ...

    def part(self, name: str) -> Part:
        """What validates one property by its name in JSON; anything where the type does not say.

        Raises:
            ValueError: the type has no such property.
        """
        ...

    def schema(self) -> Json:
        """The JSON Schema, with its references."""
        ...


def typed(type_: Any) -> Typed:
    """The type, read by whoever knows it."""
    msgspec = sys.modules.get("msgspec")
    if msgspec is not None and isinstance(type_, type) and issubclass(type_, msgspec.Struct):
        return _Struct(msgspec, type_)
    return _Validated(type_)


class _Validated:
    """What pydantic validates."""

    def __init__(self, type_: Any) -> None:
        self._type = type_
        self._adapter: TypeAdapter[Any] = TypeAdapter(type_)
        self._bare = type_ in (dict, Json)

    def read(self, row: Row, where: str) -> tuple[Any, Row]:
        if self._bare:
            return row, row
        value = _validated(self._adapter, row, where)
        return value, self._adapter.dump_python(value, by_alias=True)

    def part(self, name: str) -> Part:
        adapter = _adapter_of(self._type, name)
        return lambda value, where: _validated(adapter, value, where)

    def schema(self) -> Json:
        return self._adapter.json_schema()


def _adapter_of(type_: Any, name: str) -> TypeAdapter[Any]:
    if isinstance(type_, type) and issubclass(type_, BaseModel):
        for field, info in type_.model_fields.items():
            if name in {info.validation_alias, info.alias, field if info.alias is None else None}:
                annotated: Any = Annotated[(info.annotation, *info.metadata)] if info.metadata else info.annotation
                return TypeAdapter(annotated)
        raise _has_no(type_, name)
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


class _Struct:
    """A struct of msgspec."""

    def __init__(self, msgspec: Any, type_: type) -> None:
        self._msgspec = msgspec
        self._type = type_
        self._fields = {field.encode_name: field for field in msgspec.structs.fields(type_)}

    def read(self, row: Row, where: str) -> tuple[Any, Row]:
        value = self._converted(row, self._type, where)
        # Field by field: a struct with omit_defaults would leave out what has become its default again.
        values = {name: getattr(value, field.name) for name, field in self._fields.items()}
        given = {name: one for name, one in values.items() if one is not self._msgspec.UNSET}
        return value, self._msgspec.to_builtins(given, builtin_types=_KEPT)

    def part(self, name: str) -> Part:
        if name not in self._fields:
            raise _has_no(self._type, name)
        type_ = self._fields[name].type
        return lambda value, where: self._converted(value, type_, where)

    def schema(self) -> Json:
        made: Json = self._msgspec.json.schema(self._type)
        return made

    def _converted(self, value: object, type_: Any, where: str) -> Any:
        try:
            return self._msgspec.convert(value, type_)
        except self._msgspec.ValidationError as error:
            sentence, _, place = str(error).partition(" - at `$")
            field = next((f".{name}" for name in self._fields if re.match(rf"\.{re.escape(name)}[`.\[]", place)), "")
            raise PayloadError(f"{where}{field} does not fit{_told(sentence)}") from None


def _told(sentence: str) -> str:
    """Of what msgspec says the part that comes from the type; the rest may hold what the row holds."""
    if sentence.startswith(("Expected `", "Object missing required field `")):
        return f": {sentence}"
    known = re.match(r"Invalid enum value|Object contains unknown field|Invalid [A-Za-z0-9]+(?=$| )", sentence)
    return f": {known[0]}" if known else ""


def _has_no(type_: type, name: str) -> ValueError:
    return ValueError(f"{type_.__name__} has no property {name}, which is to be part of the key")
