"""Rows the service takes: made to fit the event schema its document gives.

Types, ``required``, ``enum``, ``const``, lengths, bounds and the usual formats are met. A ``pattern``
is met only by an example or default that stands beside it, and references between tables not at all.
https://json-schema.org/draft/2020-12/json-schema-validation
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from fuagent.contract.document import Document, Node, array, resolve, table, words
from fuagent.contract.schema import DELETE_FIELD
from fuagent.model import INDEX_MAX
from fuagent.receiver.cases.exchange import Row

FIRST_ID = 2_000_000_000
"""Ids begin here: a 32-bit column still takes them, and no real row is likely to be met."""

UNICODE = (
    "é 😀 👩\u200d👩\u200d👧 \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u202ertl\u202c 日本語 e\u0301 \u2028"
    ' " \\ / '
) + "".join(map(chr, range(1, 32)))
"""Emoji, right-to-left, combining, line separators, quotes and every control character but NUL."""

EXTRA = "fuagent_conformance"
"""The name of a property that no document has."""

_DEPTH = 12
_INT32 = 2**31 - 1

_TEXTS: dict[str, Callable[[int], str]] = {
    "date-time": lambda n: f"2024-02-29T12:{n // 60 % 60:02}:{n % 60:02}Z",
    "date": lambda n: f"2024-02-{n % 29 + 1:02}",
    "time": lambda n: f"12:{n // 60 % 60:02}:{n % 60:02}Z",
    "duration": lambda n: f"PT{n}S",
    "uuid": lambda n: f"00000000-0000-4000-8000-{n:012}",
    "email": lambda n: f"row{n}@example.org",
    "idn-email": lambda n: f"row{n}@example.org",
    "uri": lambda n: f"https://example.org/{n}",
    "url": lambda n: f"https://example.org/{n}",
    "uri-reference": lambda n: f"/{n}",
    "hostname": lambda n: f"host{n}.example.org",
    "ipv4": lambda n: f"192.0.2.{n % 254 + 1}",
    "ipv6": lambda n: f"2001:db8::{n % 65535:x}",
    "byte": lambda n: "Zm9v",
    "binary": lambda n: "Zm9v",
    "decimal": lambda n: f"{n}.50",
    # A large integer asked for as text, for readers that lose digits beyond 2^53.
    "int64": str,
    "uint64": str,
    "int32": str,
    "uint32": str,
}


class Maker:
    """Makes rows for one event schema; ``items`` None: the document says nothing about events."""

    def __init__(self, document: Document, items: Node) -> None:
        self._document = document
        self._schema = _merged(document, items)
        self.closed = self._schema.get("additionalProperties") is False
        """Whether the document allows no other properties."""

    def rows(self, count: int) -> tuple[Row, ...]:
        """So many rows, each with a key of its own."""
        return tuple(self._row(number) for number in range(count))

    def few(self) -> tuple[Row, ...]:
        """Three rows."""
        return self.rows(3)

    def one(self) -> tuple[Row, ...]:
        """One row, so that a batch of several holds it several times."""
        return self.rows(1)

    def unicode(self) -> tuple[Row, ...] | str:
        """A row with every sort of text in it, or why there is none."""
        return self._with(lambda name, node: UNICODE if _is_free_text(name, node) else None, UNICODE)

    def large_numbers(self) -> tuple[Row, ...] | str:
        """A row with the largest integer that every JSON reader keeps, or why there is none."""
        return self._with(lambda name, node: INDEX_MAX if _is_wide(name, node) else None, INDEX_MAX)

    def nested(self) -> tuple[Row, ...] | str:
        """A row with an object in an object, or why there is none."""
        tree = {"a": {"b": [1, {"c": None}], "d": "e"}, "e": []}
        return self._with(lambda _name, node: tree if _is_open_object(node) else None, tree)

    def unknown(self) -> tuple[Row, ...] | str:
        """A row with a property that the document does not have, or why there is none."""
        return self._with(lambda _name, _node: None, "more")

    def _with(self, wanted: Callable[[str, dict[str, Node]], object], extra: object) -> tuple[Row, ...] | str:
        """A row whose fitting properties have such a value; where none fits, it stands in one more property."""
        row = dict(self._row(0))
        found = {name: wanted(name, node) for name, node in self._properties().items() if name in row}
        chosen = {name: value for name, value in found.items() if value is not None}
        if not chosen and self.closed:
            return "the document's event schema has no property for it and allows no others"
        return (row | (chosen or {EXTRA: extra}),)

    def _properties(self) -> dict[str, dict[str, Node]]:
        inside = table(self._schema.get("properties"))
        return {name: _merged(self._document, node) for name, node in inside.items()}

    def _row(self, number: int) -> Row:
        properties = self._properties()
        required = set(map(words, array(self._schema.get("required"))))
        delete = words(self._schema.get(DELETE_FIELD))
        row: dict[str, Any] = {
            name: self._value(name, node, number)
            for name, node in properties.items()
            if name not in {"index", delete} and node.get("readOnly") is not True
        }
        row |= {name: f"{name} {number}" for name in required - properties.keys() - {"index", delete, ""}}
        if delete and delete in required:
            row[delete] = False
        return row or {"id": FIRST_ID + number, "name": f"Row {number}"}

    def _value(self, name: str, node: dict[str, Node], number: int, depth: int = 0) -> Any:
        if "const" in node:
            return node["const"]
        if values := [one for one in array(node.get("enum")) if one is not None]:
            return values[number % len(values)]
        match _type(name, node):
            case "integer":
                return _integer(name, node, number)
            case "number":
                return _real(name, node, number)
            case "boolean":
                return number % 2 == 0
            case "array":
                inside = _merged(self._document, node.get("items"))
                count = min(int(_number(node, "minItems", 0)), 100) if depth < _DEPTH else 0
                return [self._value(name, inside, number + place, depth + 1) for place in range(count)]
            case "object":
                return self._object(node, number, depth)
            case "null":
                return None
            case _:
                return _text(name, node, number)

    def _object(self, node: dict[str, Node], number: int, depth: int) -> dict[str, Any]:
        if depth >= _DEPTH:
            return {}
        inside = {name: _merged(self._document, part) for name, part in table(node.get("properties")).items()}
        return {name: self._value(name, part, number, depth + 1) for name, part in inside.items()}


def _merged(document: Document, node: Node, depth: int = 0) -> dict[str, Node]:
    """A schema with its reference, ``allOf`` and the first real choice of ``anyOf`` or ``oneOf`` written out."""
    own = table(node)
    if depth > _DEPTH:
        return own
    parts = [resolve(document, own), *array(own.get("allOf"))] if "$ref" in own else array(own.get("allOf"))
    for word in ("anyOf", "oneOf"):
        choices = [resolve(document, one) for one in array(own.get(word))]
        parts += [one for one in choices if one.get("type") != "null"][:1] or choices[:1]
    found: dict[str, Node] = {}
    for part in [*(_merged(document, one, depth + 1) for one in parts), own]:
        properties = table(found.get("properties")) | table(part.get("properties"))
        required: list[Node] = [*array(found.get("required")), *array(part.get("required"))]
        found |= part
        found |= ({"properties": properties} if properties else {}) | ({"required": required} if required else {})
    return found


def _types(node: dict[str, Node]) -> list[str]:
    kind = node.get("type")
    return [word for word in map(words, array(kind) if isinstance(kind, list) else [kind]) if word]


def _type(name: str, node: dict[str, Node]) -> str:
    """The type to write: the first that is not null; what stands beside it tells where none is named."""
    types = _types(node)
    if types:
        return next((one for one in types if one != "null"), "null")
    if "properties" in node:
        return "object"
    return "integer" if _is_key(name) and "format" not in node else "string"


def _is_key(name: str) -> bool:
    return name == "id" or name.endswith(("_id", "Id", "ID"))


def _number(node: dict[str, Node], word: str, otherwise: float) -> float:
    value = node.get(word)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def _bounded(node: dict[str, Node]) -> bool:
    return any(word in node for word in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"))


def _span(node: dict[str, Node]) -> tuple[float, float]:
    """The smallest and largest whole number that both ways of writing a bound allow (3.0: a boolean beside it)."""
    least, above = _number(node, "minimum", -math.inf), _number(node, "exclusiveMinimum", -math.inf)
    most, below = _number(node, "maximum", math.inf), _number(node, "exclusiveMaximum", math.inf)
    least = max(least, math.floor(above) + 1 if above > -math.inf else above)
    most = min(most, math.ceil(below) - 1 if below < math.inf else below)
    least += node.get("exclusiveMinimum") is True
    most -= node.get("exclusiveMaximum") is True
    if least == -math.inf:
        least = min(0, most)
    return least, max(least, _INT32) if most == math.inf else most


def _integer(name: str, node: dict[str, Node], number: int) -> int:
    bounds = _span(node)
    least, most = math.ceil(bounds[0]), math.floor(bounds[1])
    step = max(1, int(_number(node, "multipleOf", 1)))
    first = FIRST_ID if _is_key(name) and least <= FIRST_ID and most > FIRST_ID + 1_000_000 else least
    count = max(1, (most - first) // step + 1)
    return -(-first // step) * step + number % count * step


def _real(name: str, node: dict[str, Node], number: int) -> float:
    if not _bounded(node):
        return number + 0.5
    least, most = _span(node)
    if math.ceil(least) <= math.floor(most):
        return _integer(name, node, number)
    # No whole number lies between the bounds: their middle does.
    low = _number(node, "minimum", _number(node, "exclusiveMinimum", 0))
    return (low + _number(node, "maximum", _number(node, "exclusiveMaximum", 0))) / 2


def _text(name: str, node: dict[str, Node], number: int) -> str:
    given = [one for one in (*array(node.get("examples")), node.get("example"), node.get("default")) if words(one)]
    if "pattern" in node and given:
        return words(given[0])
    spelled = _TEXTS.get(words(node.get("format")))
    made = f"{name} {number}" if spelled is None else spelled(number)
    least, most = int(_number(node, "minLength", 0)), int(_number(node, "maxLength", 10_000))
    if len(made) > most:
        # The number is what tells rows apart, so it is kept where there is room for it.
        made = str(number)[-most:] if most else ""
    return made.ljust(min(least, 10_000), "x")


def _is_free_text(name: str, node: dict[str, Node]) -> bool:
    bound = any(word in node for word in ("format", "enum", "const", "pattern"))
    room = _number(node, "maxLength", 10_000) >= len(UNICODE)
    return _type(name, node) == "string" and not bound and room and not _is_key(name)


def _is_wide(name: str, node: dict[str, Node]) -> bool:
    """Whether the document lets the property, which is no key, be as large as an index."""
    narrow = words(node.get("format")) in {"int32", "int16", "int8"} or "enum" in node or "const" in node
    return "integer" in _types(node) and not (narrow or _bounded(node) or _is_key(name))


def _is_open_object(node: dict[str, Node]) -> bool:
    return "object" in _types(node) and not node.get("properties") and node.get("additionalProperties") is not False
