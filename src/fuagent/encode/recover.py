"""The way back: from an event to the key of the row it tells of.

An event holds a key's columns under the names the mapping gives them and in the forms the
service's document asks for. What comes out are the values as they stand in the JSON text; a
source tries what they may have been, and makes sure by writing the row it finds again.
"""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from fuagent.contract.payload import Form
from fuagent.encode.plan import Slot, plan
from fuagent.encode.shown import shown
from fuagent.errors import FuagentError
from fuagent.model import Kind, TableSpec

Key = tuple[object, ...]

_ONE_WAY = frozenset({Form.BOOLEAN, Form.TIMESTAMP, Form.JSON, Form.LABELS})
"""Forms that more than one value may be written as the same text in."""
_BOTH_WAYS = {Kind.BOOLEAN: Form.BOOLEAN, Kind.TIMESTAMP: Form.TIMESTAMP}
_FIX = "take a snapshot with fuagent snapshot, or take the row off the list with fuagent rejected drop"


@dataclass(frozen=True, slots=True)
class Keys:
    """Where the key of one table stands in its events."""

    label: str
    slots: tuple[Slot, ...]

    @classmethod
    def of(cls, spec: TableSpec) -> Keys:
        """The places of the key's columns under this mapping.

        Raises:
            FuagentError: events of this table do not hold their key so that it can be read back.
        """
        label = shown(spec.table.label)
        if not spec.table.key:
            raise FuagentError(f"table {label} has no key to find a row by", fix=_FIX)
        columns = {column.name: (place, column) for place, column in enumerate(spec.table.columns)}
        slots = plan(spec).slots
        found = []
        for name in spec.table.key:
            place, column = columns[name]
            slot = next((slot for slot in slots if slot.column == place and slot.mask is None), None)
            if slot is None:
                raise FuagentError(f'key column "{shown(name)}" of table {label} is not sent as it is', fix=_FIX)
            if slot.form in _ONE_WAY and _BOTH_WAYS.get(column.kind) is not slot.form:
                raise FuagentError(
                    f'key column "{shown(name)}" of table {label} is written as {slot.form}, from which there is no '
                    "way back",
                    fix=_FIX,
                )
            found.append(slot)
        return cls(label, tuple(found))

    def read(self, text: bytes) -> Key:
        """The key's values as they stand in an event.

        Raises:
            FuagentError: the event does not hold them.
        """
        event = orjson.loads(text)
        return tuple(self._value(event, slot) for slot in self.slots)

    def named(self, text: bytes) -> dict[str, object]:
        """The same, each under the property's name."""
        return dict(zip((slot.name for slot in self.slots), self.read(text), strict=True))

    def _value(self, event: object, slot: Slot) -> object:
        value = event
        for name in slot.path:
            if not isinstance(value, dict) or name not in value:
                raise FuagentError(
                    f'the event holds no "{shown(slot.name)}", by which a row of table {self.label} is found', fix=_FIX
                )
            value = value[name]
        return value
