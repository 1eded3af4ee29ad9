"""A schema of a document, made to stand by itself as JSON Schema 2020-12, for a validator of single events.

OpenAPI 3.0 and Swagger 2.0 have a dialect of their own (``nullable``, a boolean ``exclusiveMinimum``), and all have
references into the whole document. What comes out never says more than the document does, so that no event is refused
that the service may take:

- A ``format`` is kept where everybody reads it alike. Others are a hint to most validators.
- ``oneOf`` is read as ``anyOf``: two choices that only such a hint tells apart both fit.
- ``not``, ``if``, ``maxContains`` and ``unevaluated…`` are left out: what says less in them says more as a whole.
- What is read-only is not required, since the service alone writes it.

https://spec.openapis.org/oas/v3.0.4.html#schema-object
"""

from __future__ import annotations

from fuagent.contract.document import Document, Node, array, point, table, words
from fuagent.contract.schema import is_read_only

_VALUES = frozenset(
    {
        *("enum", "const", "multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum"),
        *("maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "minContains"),
        *("maxProperties", "minProperties", "dependentRequired"),
    }
)
"""Keywords whose values are no schemas (JSON Schema, validation, section 6)."""
_ONE = frozenset({"additionalProperties", "propertyNames", "items", "contains"})
_MANY = frozenset({"allOf", "prefixItems"})
_CHOICES = ("anyOf", "oneOf")
_NAMED = frozenset({"properties", "patternProperties", "dependentSchemas"})
_FORMATS = frozenset({"date-time", "date", "uuid", "ipv4", "ipv6"})
_TYPES = frozenset({"null", "boolean", "object", "array", "number", "string", "integer"})
_BOUNDS = (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum"))
_DEPTH = 64

Schema = dict[str, object] | bool


def standing(document: Document, node: Node) -> dict[str, object]:
    """The schema at ``node`` with all it refers to in its own ``$defs``; anything goes where a reference leads nowhere."""
    making = _Making(document)
    whole = making.schema(node)
    definitions: dict[str, Schema] = {}
    while making.waiting:  # a chain of references may be longer than a program can be deep
        name, ref = making.waiting.pop()
        definitions[name] = making.schema(point(document, ref))
    return {"allOf": [whole], "$defs": definitions}


class _Making:
    """One schema while it is made."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._names: dict[str, str] = {}
        self.waiting: list[tuple[str, str]] = []
        """References that were met: the name each has among the definitions, and where it leads."""

    def schema(self, node: Node, depth: int = 0) -> Schema:
        if isinstance(node, bool):
            return node
        found = table(node)
        if depth > _DEPTH:
            return True
        made: dict[str, object] = {key: value for key, value in found.items() if key in _VALUES}
        made |= self._of_type(found) | self._inside(found, depth + 1) | self._joined(found, depth + 1)
        _bound(made)
        # "nullable" beside an enum without null, or beside allOf, is read in the way that takes more.
        return {"anyOf": [{"type": "null"}, made]} if found.get("nullable") is True else made

    def _of_type(self, found: dict[str, Node]) -> dict[str, object]:
        made: dict[str, object] = {}
        kind = found.get("type")
        types = [one for one in map(words, kind if isinstance(kind, list) else [kind]) if one in _TYPES]
        if types:
            made["type"] = types
        if words(found.get("format")) in _FORMATS:
            made["format"] = found["format"]
        inside = table(found.get("properties"))
        required = [
            name
            for name in map(words, array(found.get("required")))
            if name and not is_read_only(self._document, inside.get(name))
        ]
        return made | ({"required": list(dict.fromkeys(required))} if required else {})

    def _inside(self, found: dict[str, Node], depth: int) -> dict[str, object]:
        made: dict[str, object] = {}
        for key, value in found.items():
            if key in _NAMED:
                made[key] = {name: self.schema(part, depth) for name, part in table(value).items()}
            elif key in _ONE and isinstance(value, dict | bool):
                made[key] = self.schema(value, depth)
        return made

    def _joined(self, found: dict[str, Node], depth: int) -> dict[str, object]:
        made: dict[str, object] = {}
        for key in _MANY:
            if parts := array(found.get(key)):
                made[key] = [self.schema(part, depth) for part in parts]
        choices = [
            {"anyOf": [self.schema(one, depth) for one in parts]}
            for key in _CHOICES
            if (parts := array(found.get(key)))
        ]
        if choices:
            made["allOf"] = [*array(made.get("allOf")), *choices]
        if isinstance(found.get("$ref"), str):
            made["$ref"] = self._reference(words(found["$ref"]))
        return made

    def _reference(self, ref: str) -> str:
        name = self._names.get(ref)
        if name is None:
            name = self._names[ref] = str(len(self._names))
            self.waiting.append((name, ref))
        return f"#/$defs/{name}"


def _bound(made: dict[str, object]) -> None:
    """``minimum: 3, exclusiveMinimum: true`` is draft 4's way, which OpenAPI 3.0 keeps."""
    for exclusive, plain in _BOUNDS:
        if isinstance(made.get(exclusive), bool) and made.pop(exclusive) and plain in made:
            made[exclusive] = made.pop(plain)
