"""Rows made from an event schema are rows of that schema."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest

from fuagent.contract import document
from fuagent.receiver.conformance.rows import EXTRA, FIRST_ID, UNICODE, Maker

DEFINITIONS = {
    "Base": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}},
    "City": {"type": "string", "enum": ["Utrecht", "Lisboa"]},
    "Tree": {"type": "object", "properties": {"left": {"$ref": "#/components/schemas/Tree"}}},
}


def maker(items: Any) -> Maker:
    """Makes rows for these items."""
    tree = {"openapi": "3.1.0", "components": {"schemas": DEFINITIONS}}
    return Maker(document.read(json.dumps(tree).encode(), "http://h/openapi.json"), items)


def fits(items: Any, rows: Any) -> bool:
    """Whether each row is valid, formats too."""
    schema = {**items, "components": {"schemas": DEFINITIONS}}
    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    return all(validator.is_valid(json.loads(json.dumps(row))) for row in rows)


def properties(**inside: Any) -> dict[str, Any]:
    """An object of these properties, all of them required and no others allowed."""
    return {"type": "object", "properties": inside, "required": list(inside), "additionalProperties": False}


def formatted(*names: str) -> dict[str, Any]:
    """One string property for each format."""
    return properties(**{name: {"type": "string", "format": name} for name in names})


SCHEMAS = {
    "types": properties(
        **{name: {"type": name} for name in ("integer", "number", "string", "boolean", "array", "object", "null")}
    ),
    "nullable": properties(a={"type": ["null", "integer"]}, b={"anyOf": [{"type": "null"}, {"type": "number"}]}),
    "moments": formatted("date-time", "date", "time", "duration"),
    "names": formatted("uuid", "email", "uri", "uri-reference", "hostname", "ipv4", "ipv6"),
    "enum": properties(a={"enum": [None, "x", 3]}, b={"const": {"c": 1}}, d={"$ref": "#/components/schemas/City"}),
    "bounds": properties(
        a={"type": "integer", "minimum": 5, "maximum": 7},
        b={"type": "integer", "exclusiveMinimum": -3, "exclusiveMaximum": 0},
        c={"type": "integer", "multipleOf": 7, "minimum": 1},
        d={"type": "number", "maximum": 1, "minimum": 0},
        user_id={"type": "integer", "maximum": 100},
        e={"type": "integer", "minimum": -5, "maximum": -5},
        f={"type": "integer", "maximum": -1},
        g={"type": "integer", "minimum": 3_000_000_000},
        h={"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        i={"type": "number", "minimum": 0.25, "maximum": 0.5},
    ),
    "lengths": properties(
        a={"type": "string", "maxLength": 3},
        b={"type": "string", "minLength": 20},
        c={"type": "string", "maxLength": 0},
    ),
    "pattern": properties(a={"type": "string", "pattern": "^[A-Z]{2}$", "examples": ["NL"]}),
    "items": properties(a={"type": "array", "minItems": 2, "items": {"type": "string", "format": "date"}}),
    "inside": properties(a=properties(b=properties(c={"type": "boolean"}))),
    "all of": {
        "allOf": [{"$ref": "#/components/schemas/Base"}, {"properties": {"n": {"type": "string"}}, "required": ["n"]}]
    },
    "one of": {"oneOf": [properties(a={"type": "integer"}), properties(b={"type": "integer"})]},
    "beside a reference": {"$ref": "#/components/schemas/Base", "properties": {"m": {"type": "null"}}},
    "circle": properties(tree={"$ref": "#/components/schemas/Tree"}),
    "named only": {"type": "object", "required": ["id", "colour"]},
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_rows_fit_their_schema(name: str) -> None:
    """Each of many rows is valid, and each names every required property."""
    assert fits(SCHEMAS[name], maker(SCHEMAS[name]).rows(150))


def test_an_integer_asked_for_as_text_is_digits() -> None:
    """``type: string`` with the format of an integer is how a document keeps the digits of large ones."""
    rows = maker(formatted("int64", "uint64", "int32", "uint32")).rows(2)

    assert [set(row.values()) for row in rows] == [{"0"}, {"1"}]


def test_bounds_in_the_older_spelling_are_met() -> None:
    """OpenAPI 3.0 writes a boolean beside the bound."""
    bounds = {"minimum": 0, "exclusiveMinimum": True, "maximum": 2, "exclusiveMaximum": True}

    assert maker({"properties": {"n": {"type": "integer", **bounds}}}).rows(2) == ({"n": 1}, {"n": 1})


def test_without_a_schema_there_is_a_plain_row() -> None:
    """An id and a name; ids are far from real ones and still fit 32 bits."""
    assert maker(None).rows(2) == (
        {"id": FIRST_ID, "name": "Row 0"},
        {"id": FIRST_ID + 1, "name": "Row 1"},
    )
    assert FIRST_ID + 1_000_000 < 2**31


def test_rows_are_told_apart_by_their_keys() -> None:
    """Large batches hold different rows, whatever the key is called."""
    for schema in (properties(id={"type": "integer"}), properties(id={"type": "string"}), formatted("uuid")):
        rows = maker(schema).rows(5000)
        assert len({json.dumps(row) for row in rows}) == 5000


def test_what_the_service_writes_itself_is_left_out() -> None:
    """Neither index nor the delete field nor a read-only property is made."""
    inside = {
        "id": {"type": "integer"},
        "index": {"type": "integer"},
        "gone": {"type": "boolean"},
        "made": {"type": "string", "readOnly": True},
    }
    items = {"type": "object", "properties": inside, "x-fuagent-delete-field": "gone"}

    assert maker(items).one() == ({"id": FIRST_ID},)
    assert maker(items | {"required": ["id", "index", "gone"]}).one() == ({"id": FIRST_ID, "gone": False},)


def test_odd_values_stand_where_the_schema_has_room() -> None:
    """Text, numbers and trees go into properties of their type, and keys and closed values are left alone."""
    items = properties(
        id={"type": "integer"},
        name={"type": "string"},
        short={"type": "string", "maxLength": 5},
        city={"$ref": "#/components/schemas/City"},
        count={"type": "integer"},
        small={"type": "integer", "format": "int32"},
        more={"type": "object"},
    )
    made = maker(items)
    [words], [numbers], [nested] = made.unicode(), made.large_numbers(), made.nested()

    assert {name for name, value in words.items() if value == UNICODE} == {"name"}
    assert {name for name, value in numbers.items() if value == 2**53 - 1} == {"count"}
    assert isinstance(nested["more"]["a"], dict)
    assert fits(items, [words, numbers, nested])
    assert isinstance(made.unknown(), str)


def test_odd_values_without_room_stand_beside_the_others() -> None:
    """Where no property takes them and others are allowed, one more is sent."""
    [row] = maker({"properties": {"id": {"type": "integer"}}}).unicode()

    assert row == {"id": FIRST_ID, EXTRA: UNICODE}
    assert set(map(ord, UNICODE)) >= set(range(1, 32))
    assert "\0" not in UNICODE
