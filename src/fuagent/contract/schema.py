"""JSON Schema, as far as it says how an event may look.

A document's schema is read for one purpose: which properties an event has, which of
them are required, and which JSON types each may have. Composition is therefore
folded: ``allOf`` narrows, ``anyOf`` and ``oneOf`` widen, ``$ref`` counts as one more
``allOf`` (beside it other keywords hold, as JSON Schema 2020-12 section 8.2.3 says).
Where a schema says more than can be folded (``not``, ``if``), it is read as saying less:
a value is never refused here, the service has the last word.

Every schema object is folded once, however often it is referred to, and one that
contains itself folds to "anything": circles and doubling references cost nothing.
https://json-schema.org/draft/2020-12/json-schema-core
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

from fuagent.contract.document import Document, Node, array, point, resolve, table, words
from fuagent.contract.payload import json_text
from fuagent.model import EventSchema, Property

DELETE_FIELD = "x-fuagent-delete-field"

_ANYTHING = Property()
_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Shape:
    """One schema, folded: what the value may be and, for an object, what is in it."""

    own: Property = _ANYTHING
    properties: dict[str, Property] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    closed: bool = False
    delete_field: str | None = None


_OPEN = Shape()


def event_schema(shape: Shape, where: str) -> EventSchema | None:
    """The shape as an event's schema; None where it says nothing about events."""
    silent = not (shape.properties or shape.required or shape.closed or shape.delete_field)
    if silent:
        return None
    return EventSchema(shape.properties, shape.required, shape.closed, shape.delete_field, where)


def find(document: Document, schema: Node, *names: str) -> Node:
    """The subschema reached by keyword after keyword, looked for through ``$ref`` and composition.

    ``find(document, body, "properties", "events", "items")`` finds the items wherever
    the schema of the body keeps them; None where there are none.
    """
    return _find(document, schema, names, set(), 0)


def _find(document: Document, schema: Node, names: Sequence[str], seen: set[tuple[int, int]], depth: int) -> Node:
    node = table(schema)
    mark = (id(node), len(names))
    if not names or not node or mark in seen or depth > _DEPTH:
        return schema if not names else None
    seen.add(mark)
    used = 2 if names[0] == "properties" else 1
    inside: Node = node.get(names[0])
    if used == 2:
        inside = table(inside).get(names[1])
    if inside is not None:
        found = _find(document, inside, names[used:], seen, depth + 1)
        if found is not None:
            return found
    for part in (*_referred(document, node), *_composed(node)):
        found = _find(document, part, names, seen, depth + 1)
        if found is not None:
            return found
    return None


def _referred(document: Document, node: dict[str, Node]) -> list[Node]:
    return [point(document, words(node["$ref"]))] if "$ref" in node else []


def _composed(node: dict[str, Node]) -> list[Node]:
    return [part for word in ("allOf", "anyOf", "oneOf") for part in array(node.get(word))]


class Folder:
    """Folds the schemas of one document, each once."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._done: dict[int, Shape] = {}

    def shape(self, schema: Node, depth: int = 0) -> Shape:
        """Fold one schema; whatever is no schema object folds to "anything"."""
        node = table(schema)
        if id(node) in self._done or not node or depth > _DEPTH:
            return self._done.get(id(node), _OPEN)
        self._done[id(node)] = _OPEN
        shapes = [self._own(node, depth)]
        shapes += [self.shape(part, depth + 1) for part in _referred(self._document, node)]
        shapes += [self.shape(part, depth + 1) for part in array(node.get("allOf"))]
        for word in ("anyOf", "oneOf"):
            choices = [self.shape(part, depth + 1) for part in array(node.get(word))]
            if choices:
                shapes.append(_either(choices))
        folded = reduce(_both, shapes)
        self._done[id(node)] = _nullable(folded) if node.get("nullable") is True else folded
        return self._done[id(node)]

    def _own(self, node: dict[str, Node], depth: int) -> Shape:
        inside = table(node.get("properties"))
        return Shape(
            Property(_types(node), words(node.get("format")), _values(node)),
            {name: self._property(part, depth + 1) for name, part in inside.items()},
            frozenset(filter(None, map(words, array(node.get("required"))))) - self._read_only(inside),
            _is_closed(node),
            words(node.get(DELETE_FIELD)) or None,
        )

    def _property(self, node: Node, depth: int) -> Property:
        shape = self.shape(node, depth)
        return replace(shape.own, inside=event_schema(shape, ""))

    def _read_only(self, inside: dict[str, Node]) -> frozenset[str]:
        return frozenset(name for name, part in inside.items() if is_read_only(self._document, part))


def is_read_only(document: Document, node: Node) -> bool:
    """Whether only the service writes this: it may be required in its answers, and never is in what it is sent."""
    return {**resolve(document, node), **table(node)}.get("readOnly") is True


def _is_closed(node: dict[str, Node]) -> bool:
    shut = node.get("additionalProperties") is False or node.get("unevaluatedProperties") is False
    return shut and not node.get("patternProperties")


def _types(node: dict[str, Node]) -> frozenset[str]:
    kind = node.get("type")
    named = frozenset(filter(None, map(words, array(kind) if isinstance(kind, list) else [kind])))
    if "const" in node:
        return _narrow(named, frozenset({json_type(node["const"])}))
    values = array(node.get("enum"))
    return _narrow(named, frozenset(map(json_type, values)))


def _values(node: dict[str, Node]) -> frozenset[str]:
    return frozenset(map(json_text, [node["const"]] if "const" in node else array(node.get("enum"))))


def json_type(value: object) -> str:
    """What JSON Schema calls a value (draft 2020-12, core, section 4.2.1)."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _in_both(left: frozenset[str], right: frozenset[str]) -> frozenset[str]:
    return (left & right or left) if left and right else left or right


def _narrow(left: frozenset[str], right: frozenset[str]) -> frozenset[str]:
    """What both allow; an empty set allows anything, and every integer is a number."""
    if not left or not right:
        return left or right
    both = left & right
    if ("number" in left and "integer" in right) or ("integer" in left and "number" in right):
        both |= {"integer"}
    # Two that exclude each other describe no value at all; the first is as good a guess as any.
    return both or left


def _nullable(shape: Shape) -> Shape:
    own = shape.own
    types = own.types | {"null"} if own.types else own.types
    values = own.values | {"null"} if own.values else own.values
    return replace(shape, own=replace(own, types=types, values=values))


def _both(left: Shape, right: Shape) -> Shape:
    shared = left.properties.keys() & right.properties.keys()
    merged = {name: _narrowed(left.properties[name], right.properties[name]) for name in shared}
    return Shape(
        _narrowed(left.own, right.own),
        {**left.properties, **right.properties, **merged},
        left.required | right.required,
        left.closed or right.closed,
        left.delete_field or right.delete_field,
    )


def _narrowed(left: Property, right: Property) -> Property:
    # Of an object that is described twice one description is read: that says less than both, and nothing wrong.
    inside = left.inside or right.inside
    values = _in_both(left.values, right.values)
    return Property(_narrow(left.types, right.types), left.format or right.format, values, inside)


def _either(shapes: Sequence[Shape]) -> Shape:
    # A choice for null only says that the value may be missing, nothing about its object.
    objects = [shape for shape in shapes if shape.own.types != {"null"}] or shapes
    names = dict.fromkeys(name for shape in objects for name in shape.properties)
    return Shape(
        _widened(shape.own for shape in shapes),
        {name: _widened(s.properties[name] for s in objects if name in s.properties) for name in names},
        frozenset.intersection(*(shape.required for shape in objects)),
        all(shape.closed for shape in objects),
        next((shape.delete_field for shape in objects if shape.delete_field), None),
    )


def _widened(choices: Iterable[Property]) -> Property:
    every = list(choices)
    anything = any(not choice.types for choice in every)
    types = frozenset() if anything else frozenset[str]().union(*(choice.types for choice in every))
    formats = {choice.format for choice in every if choice.types != {"null"}}
    objects = [choice.inside for choice in every if not choice.types or "object" in choice.types]
    some = any(choice.values for choice in every)
    named = [frozenset({"null"}) if choice.types == {"null"} else choice.values for choice in every if some]
    return Property(
        types,
        formats.pop() if len(formats) == 1 else "",
        frozenset[str]().union(*named) if all(named) else frozenset(),
        objects[0] if len(objects) == 1 else None,
    )
