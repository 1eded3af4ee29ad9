from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.contract import document, schema
from fuagent.contract.schema import Folder, Shape
from fuagent.model import EventSchema, Property


def holding(**parts: object) -> document.Document:
    return document.read(json.dumps({"openapi": "3.1.0", **parts}).encode(), "https://h/openapi.json")


def own(node: object, **parts: object) -> Property:
    found = holding(node=node, **parts)
    return Folder(found).shape(found.tree["node"]).own


def shape(node: object, **parts: object) -> Shape:
    found = holding(node=node, **parts)
    return Folder(found).shape(found.tree["node"])


def only(*names: str, values: list[str]) -> Property:
    return Property(frozenset(names), values=frozenset(values))


def types(*names: str) -> Property:
    return Property(frozenset(names))


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"type": "string", "format": "date-time"}, Property(frozenset({"string"}), "date-time")),
        ({"type": ["string", "null"]}, types("string", "null")),
        ({"type": "string", "nullable": True}, types("string", "null")),
        ({"nullable": True}, types()),
        ({"type": ["string", 3]}, types("string")),
        ({"type": 3}, types()),
        ({}, types()),
        (True, types()),
        ({"const": 5}, only("integer", values=["5"])),
        ({"const": None}, only("null", values=["null"])),
        ({"const": 1.5}, only("number", values=["1.5"])),
        ({"const": [1]}, only("array", values=["[1]"])),
        ({"const": {}}, only("object", values=["{}"])),
        ({"enum": ["a", True]}, only("string", "boolean", values=['"a"', "true"])),
        ({"type": "number", "enum": [1, 2]}, only("integer", values=["1", "2"])),
        ({"enum": [2.0]}, only("number", values=["2"])),
        ({"enum": ["a"], "nullable": True}, only("string", "null", values=['"a"', "null"])),
        ({"enum": []}, types()),
        ({"allOf": [{"enum": [1, 2]}, {"enum": [2, 3]}]}, only("integer", values=["2"])),
        ({"allOf": [{"enum": [1]}, {"enum": [2]}]}, only("integer", values=["1"])),
        ({"allOf": [{"enum": [1]}, {"type": "integer"}]}, only("integer", values=["1"])),
        ({"oneOf": [{"const": 1}, {"const": 2}]}, only("integer", values=["1", "2"])),
        ({"oneOf": [{"const": 1}, {"type": "null"}]}, only("integer", "null", values=["1", "null"])),
        ({"oneOf": [{"const": 1}, {"type": "integer"}]}, types("integer")),
        ({"allOf": [{"type": "number"}, {"type": "integer"}]}, types("integer")),
        ({"allOf": [{"type": ["string", "integer"]}, {"type": "string"}]}, types("string")),
        ({"allOf": [{"type": "string"}, {"type": "array"}]}, types("string")),
        ({"allOf": [{"type": "string"}, {"format": "date"}]}, Property(frozenset({"string"}), "date")),
        (
            {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
            Property(frozenset({"string", "null"}), "date-time"),
        ),
        ({"anyOf": [{"type": "string", "format": "date"}, {"type": "string"}]}, types("string")),
        ({"anyOf": [{"type": "string"}, {}]}, types()),
        ({"oneOf": [{"type": "number"}, {"type": "string"}]}, types("number", "string")),
        ({"oneOf": [{"type": "null"}]}, types("null")),
        ({"type": "string", "oneOf": []}, types("string")),
        ({"$ref": "#/string"}, types("string")),
        ({"$ref": "#/string", "format": "uuid"}, Property(frozenset({"string"}), "uuid")),
        ({"$ref": "#/loop"}, types()),
        ({"$ref": "other.json"}, types()),
        ({"nullable": True, "allOf": [{"$ref": "#/string"}]}, types("string", "null")),
    ],
)
def test_types(node, expected):
    """Types and format are folded through composition, references and both spellings of null."""
    assert expected == own(node, string={"type": "string"}, loop={"allOf": [{"$ref": "#/loop"}]})


def test_event():
    """An event's schema has its properties, those required of a sender, and the field for deletes."""
    node = {
        "type": "object",
        "required": ["id", "made", "by", 3],
        "properties": {
            "id": {"type": "integer"},
            "made": {"type": "string", "readOnly": True},
            "by": {"$ref": "#/server"},
        },
        "additionalProperties": False,
        "x-fuagent-delete-field": "gone",
    }

    found = schema.event_schema(shape(node, server={"type": "string", "readOnly": True}), "here")

    assert (
        EventSchema(
            {"id": types("integer"), "made": types("string"), "by": types("string")},
            frozenset({"id"}),
            closed=True,
            delete_field="gone",
            where="here",
        )
        == found
    )


@pytest.mark.parametrize("node", [{}, {"type": "object"}, {"type": "object", "additionalProperties": True}, None, []])
def test_silent(node):
    """A schema that says nothing about events gives no event schema."""
    assert schema.event_schema(shape(node), "here") is None


@pytest.mark.parametrize(
    ("node", "closed"),
    [
        ({"additionalProperties": False}, True),
        ({"unevaluatedProperties": False}, True),
        ({"additionalProperties": False, "patternProperties": {"^x": {}}}, False),
        ({"additionalProperties": {"type": "string"}}, False),
        ({"allOf": [{"properties": {"a": {}}}, {"additionalProperties": False}]}, True),
        ({"oneOf": [{"additionalProperties": False}, {"type": "object"}]}, False),
        ({"oneOf": [{"additionalProperties": False}, {"type": "null"}]}, True),
    ],
)
def test_closed(node, closed):
    """Closed is a schema that takes no other properties, whatever is null beside it."""
    assert closed is shape(node).closed


def test_composition_of_objects():
    """allOf joins properties and demands; anyOf joins properties and keeps only common demands."""
    node = {
        "allOf": [
            {"properties": {"a": {"type": "number"}}, "required": ["a"]},
            {"properties": {"a": {"type": "integer"}}, "x-fuagent-delete-field": "gone"},
        ],
        "anyOf": [
            {"properties": {"b": {"type": "string"}, "c": {}}, "required": ["b", "c"]},
            {"properties": {"b": {"type": "integer"}}, "required": ["b"], "x-fuagent-delete-field": "late"},
        ],
    }

    found = shape(node)

    assert {"a": types("integer"), "b": types("string", "integer"), "c": types()} == found.properties
    assert {"a", "b"} == found.required
    assert found.delete_field == "gone"


CUSTOMER = {"type": "object", "properties": {"mail": {"type": "string"}}, "required": ["mail"]}


@pytest.mark.parametrize(
    ("node", "required"),
    [
        ({"$ref": "#/customer"}, ["mail"]),
        (CUSTOMER, ["mail"]),
        ({"anyOf": [{"$ref": "#/customer"}, {"type": "null"}]}, ["mail"]),
        ({"allOf": [{"$ref": "#/customer"}, {"title": "who"}]}, ["mail"]),
        ({"allOf": [{"title": "who"}, {"$ref": "#/customer"}]}, ["mail"]),
        ({"anyOf": [{"$ref": "#/customer"}, {"type": "object"}]}, []),
        ({"type": "object"}, None),
        ({"$ref": "#/loop"}, None),
    ],
)
def test_what_is_said_of_an_object_in_an_event(node, required):
    """It is folded like the event itself; what may be a plain object as well requires nothing."""
    found = shape({"properties": {"customer": node}}, customer=CUSTOMER, loop={"allOf": [{"$ref": "#/loop"}]})

    expected = None if required is None else EventSchema({"mail": types("string")}, frozenset(required))
    assert expected == found.properties["customer"].inside


OTHER = {"type": "object", "properties": {"nr": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("word", "nodes", "names"),
    [
        ("allOf", [CUSTOMER, OTHER], {"mail"}),
        ("allOf", [{"type": "object"}, OTHER], {"nr"}),
        ("anyOf", [CUSTOMER, {"type": "string"}], {"mail"}),
        ("anyOf", [CUSTOMER, {"type": "null"}], {"mail"}),
        ("anyOf", [CUSTOMER, OTHER], None),
        ("anyOf", [CUSTOMER, {}], None),
        ("oneOf", [{"type": "string"}, {"type": "null"}], None),
    ],
)
def test_an_object_that_two_parts_of_a_schema_describe(word, nodes, names):
    """Of what both say one is read; of what either may say, none, unless only one of them is an object at all."""
    found = shape({word: [{"properties": {"customer": node}} for node in nodes]}).properties["customer"].inside

    assert names == (found and set(found.properties))


@pytest.mark.fault("F97")
def test_an_object_that_holds_itself():
    """What is said of it is read as deep as it is said for the first time."""
    tree = {"type": "object", "properties": {"name": {"type": "string"}, "next": {"$ref": "#/tree"}}}
    found = shape({"properties": {"top": {"$ref": "#/tree"}}}, tree=tree).properties["top"].inside

    assert found.properties["name"] == types("string")
    assert found.properties["next"].inside is None


def test_find():
    """Items are found through references, composition and choices, and not where there are none."""
    body = {"anyOf": [{"type": "null"}, {"allOf": [{"properties": {"other": {}}}, {"$ref": "#/batch"}]}]}
    batch = {"properties": {"events": {"anyOf": [{"type": "array", "items": {"$ref": "#/event"}}, {"type": "null"}]}}}
    found = holding(body=body, batch=batch, event={"type": "object"}, loop={"$ref": "#/loop"})

    assert schema.find(found, found.tree["body"], "properties", "events", "items") == {"$ref": "#/event"}
    for node in ({"$ref": "#/loop"}, {}, None, {"properties": {"events": {"type": "array"}}}, {"properties": []}):
        assert schema.find(found, node, "properties", "events", "items") is None


def test_found_part_that_leads_nowhere():
    """A first match without items does not hide a second one that has them."""
    node = {
        "properties": {"events": {"type": "array"}},
        "allOf": [{"properties": {"events": {"items": {"type": "object"}}}}],
    }
    found = holding(node=node)

    assert schema.find(found, found.tree["node"], "properties", "events", "items") == {"type": "object"}


@pytest.mark.fault("F97")
def test_doubling_references_cost_nothing():
    """References that double at every step are folded once each."""
    parts = {
        f"s{n}": {"allOf": [{"$ref": f"#/s{n + 1}"}] * 2, "properties": {f"p{n}": {"$ref": f"#/s{n + 1}"}}}
        for n in range(25)
    }
    found = holding(**parts, s25={"type": "object", "properties": {"last": {"type": "string"}}})

    assert types("string") == Folder(found).shape(found.tree["s0"]).properties["last"]
    assert schema.find(found, found.tree["s0"], "properties", "none", "items") is None


@pytest.mark.fault("F97")
def test_depth_is_guarded():
    """Schemas nested beyond reason are read as far as reason goes."""
    node: object = {"type": "string", "properties": {"events": {"items": {}}}}
    for _ in range(150):
        node = {"allOf": [node]}

    assert types() == own(node)
    found = holding(node=node)
    assert schema.find(found, found.tree["node"], "properties", "events") is None


SCHEMAS = st.recursive(
    st.none() | st.booleans() | st.sampled_from(["string", "integer", "#/node", "#/other", "#"]) | st.integers(0, 3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "$ref",
                    "allOf",
                    "anyOf",
                    "oneOf",
                    "properties",
                    "items",
                    "required",
                    "enum",
                    "const",
                    "format",
                    "nullable",
                    "events",
                    "readOnly",
                    "x-fuagent-delete-field",
                    "additionalProperties",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(SCHEMAS, SCHEMAS)
def test_any_schema(node, other):
    """Whatever stands in a document's schemas is folded without an error and without end."""
    found = holding(node=node, other=other)

    folded = Folder(found).shape(found.tree["node"])

    assert isinstance(folded, Shape)
    schema.find(found, found.tree["node"], "properties", "events", "items")
