"""What is known of a column, and how its text becomes a piece: alike in COPY and in the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fuagent.encode.templates import Columnwise, Convert
from fuagent.model import Column
from fuagent.sources.selection import Name
from fuagent.wire.postgres.types import NUMERIC, Type
from fuagent.wire.postgres.values import treatment


def quote(name: str) -> str:
    """Any name as an SQL identifier."""
    return '"{}"'.format(name.replace('"', '""'))


def quoted(name: Name) -> str:
    """A table's name in a statement."""
    return f"{quote(name.schema)}.{quote(name.table)}"


@dataclass(frozen=True, slots=True)
class Declared:
    """One column as the table declares it."""

    column: Column
    type: Type
    modifier: int
    """atttypmod: the digits of a numeric, the length of a text; -1 for none."""
    convert: Convert | None = field(default=None, compare=False)
    """None where the text is the piece."""

    @property
    def select(self) -> str:
        """What a snapshot selects."""
        return quote(self.column.name)


def declared(name: str, type_: Type, types: Mapping[int, Type], modifier: int, *, nullable: bool) -> Declared:
    """Everything about one column. ``types``: what its type is made of."""
    found = treatment(type_, types)
    convert: Any = found.convert
    if found.convert is not None and found.many is not None:
        convert = Columnwise(found.convert, found.many)
    return Declared(Column(name, found.kind, _spelled(type_, modifier), nullable), type_, modifier, convert)


def _spelled(type_: Type, modifier: int) -> str:
    """A numeric with its digits, since one without a fraction may be written as an integer; others by name alone.

    Source: ``numeric_typmod_precision`` and ``numeric_typmod_scale`` in ``src/backend/utils/adt/numeric.c``.
    """
    packed = modifier - 4
    if type_.oid != NUMERIC or packed < 0:
        return type_.name
    return f"{type_.name}({packed >> 16},{((packed & 0x7FF) ^ 1024) - 1024})"
