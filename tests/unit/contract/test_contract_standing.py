"""A document's schema made to stand by itself: it says what the document says, and never more."""

from __future__ import annotations

import json

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.contract import document
from fuagent.contract.standing import standing

PARTS = {
    "text": {"type": "string", "maxLength": 3},
    "tree": {"type": "object", "properties": {"next": {"$ref": "#/tree"}, "name": {"$ref": "#/text"}}},
    "loop": {"allOf": [{"$ref": "#/loop"}]},
    "server": {"type": "string", "readOnly": True},
}


def made(node: object, **parts: object) -> dict[str, object]:
    """What is made of one node of a document."""
    whole = {"openapi": "3.0.3", "node": node, **PARTS, **parts}
    found = document.read(json.dumps(whole).encode(), "https://h/openapi.json")
    return standing(found, found.tree["node"])


def fits(node: object, event: object) -> bool:
    """Whether a validator takes the event."""
    return jsonschema_rs.Draft202012Validator(made(node), validate_formats=True, offline=True).is_valid(event)


@pytest.mark.parametrize(
    ("node", "good", "bad"),
    [
        ({"type": "integer", "minimum": 3}, 3, 2),
        ({"type": ["integer", "null"]}, None, "x"),
        ({"type": "integer", "nullable": True}, None, "x"),
        ({"type": "string", "nullable": True, "enum": ["a"]}, None, "b"),
        ({"nullable": True, "allOf": [{"$ref": "#/text"}]}, None, "long"),
        ({"minimum": 3, "exclusiveMinimum": True}, 4, 3),
        ({"minimum": 3, "exclusiveMinimum": False}, 3, 2),
        ({"exclusiveMinimum": 3}, 4, 3),
        ({"maximum": 3, "exclusiveMaximum": True}, 2, 3),
        ({"$ref": "#/text"}, "abc", "abcd"),
        ({"$ref": "#/text", "minLength": 2}, "abc", "a"),
        ({"type": "object", "properties": {"a": {"$ref": "#/text"}}, "required": ["a"]}, {"a": "b"}, {}),
        ({"additionalProperties": False, "properties": {"a": {}}}, {"a": 1}, {"b": 1}),
        ({"additionalProperties": {"$ref": "#/text"}}, {"b": "abc"}, {"b": "abcd"}),
        ({"patternProperties": {"^x": {"type": "null"}}}, {"x": None, "y": 1}, {"x": 1}),
        ({"items": {"enum": [1, 2]}, "maxItems": 2}, [1, 2], [3]),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None, 1),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, None, 1),
        (
            {"allOf": [{"minimum": 1}], "anyOf": [{"maximum": 5}], "oneOf": [{"multipleOf": 2}]},
            4,
            5,
        ),
        ({"const": {"$ref": "#/text"}}, {"$ref": "#/text"}, "abc"),
        ({"format": "date-time"}, "2024-02-29T00:00:00Z", "yesterday"),
        ({"format": "uuid"}, "7c9e6679-7425-40de-944b-e07fc1f90ae7", "7"),
        ({"$ref": "#/tree"}, {"next": {"next": {"name": "abc"}}}, {"next": {"next": {"name": "abcd"}}}),
    ],
)
def test_what_the_document_says_is_said(node: object, good: object, bad: object) -> None:
    """In both dialects, through references and composition; what fits is taken and what does not is not."""
    assert fits(node, good)
    assert not fits(node, bad)


@pytest.mark.parametrize(
    ("node", "event"),
    [
        ({"format": "time"}, "23:59:58"),
        ({"format": "email"}, "nobody"),
        ({"type": "string", "format": "binary"}, "x"),
        ({"oneOf": [{"type": "string", "format": "time"}, {"type": "string", "format": "date"}]}, "2024-02-29"),
        ({"not": {"format": "time"}}, "x"),
        ({"if": {"format": "time"}, "then": {"type": "null"}}, "x"),
        ({"required": ["by", "at"], "properties": {"by": {"$ref": "#/server"}, "at": {"readOnly": True}}}, {}),
        ({"required": [3, ""]}, {}),
        ({"$ref": "#/nowhere"}, 1),
        ({"$ref": "https://else.test/schema.json"}, 1),
        ({"$ref": "#/loop"}, 1),
        ({"type": "file"}, 1),
        ({"type": 3}, 1),
        ({"items": [{"type": "string"}]}, [1]),
        ({"$id": "https://else.test/", "$schema": "https://else.test/", "example": {"type": "string"}}, 1),
        ({"unevaluatedProperties": False}, {"a": 1}),
        (True, 1),
        ({}, 1),
        (None, 1),
    ],
)
def test_it_never_says_more(node: object, event: object) -> None:
    """What readers understand differently, what leads elsewhere, and what is no schema refuses nothing."""
    assert fits(node, event)


def test_false_takes_nothing() -> None:
    """A schema may be a boolean."""
    assert not fits({"properties": {"a": False}}, {"a": 1})


def test_long_chains_and_depth() -> None:
    """References in a chain of thousands are followed; nesting is read as far as reason goes."""
    chain = {f"s{n}": {"$ref": f"#/s{n + 1}"} for n in range(5000)}
    deep: object = {"type": "string"}
    for _ in range(150):
        deep = {"allOf": [deep]}

    assert len(made({"$ref": "#/s0"}, **chain)["$defs"]) == 5001  # type: ignore[arg-type]
    assert fits(deep, 1)


NODES = st.recursive(
    st.none() | st.booleans() | st.sampled_from(["string", "#/text", "#/node", "#/tree", "uuid"]) | st.integers(0, 3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "$ref", "allOf", "anyOf", "oneOf", "properties", "items", "required", "format", "nullable"]
                + ["additionalProperties", "exclusiveMinimum", "minimum", "not", "if", "readOnly"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(NODES)
def test_any_node(node: object) -> None:
    """Whatever stands in a document gives something without an error and without end."""
    assert made(node).keys() == {"allOf", "$defs"}
