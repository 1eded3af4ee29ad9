"""Events held against the document's event schema, name by name and type by type."""

import pytest

from fuagent.contract.fit import kinds, problems
from fuagent.model import EventSchema, Property


def schema(types, **more):
    return EventSchema({name: Property(frozenset(given.split())) for name, given in types.items()}, **more)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, {"null"}),
        (True, {"boolean"}),
        (1, {"integer", "number"}),
        (1.0, {"integer", "number"}),
        (1.5, {"number"}),
        ("", {"string"}),
        ([], {"array"}),
        ({}, {"object"}),
    ],
)
def test_types_of_values(value, expected):
    """A whole number is an integer however it is written, and true is no number."""
    assert kinds(value) == expected


@pytest.mark.parametrize(
    ("types", "event", "expected"),
    [
        ({"a": "integer"}, {"a": 1}, []),
        ({"a": "integer null"}, {"a": None}, []),
        ({"a": ""}, {"a": object()}, []),
        ({}, {"b": 1}, []),
        ({"a": "integer"}, {"a": 1.5}, ['the property "a" is number, and the document wants integer']),
        ({"a": "string number"}, {"a": None}, ['the property "a" is null, and the document wants number or string']),
    ],
)
def test_what_fits_and_what_does_not(types, event, expected):
    """No type asked for takes anything; otherwise one of those asked for has to be given."""
    assert list(problems(schema(types), event)) == expected


def test_names():
    """What is required has to be there, and what a closed schema does not know must not."""
    found = list(problems(schema({"a": ""}, required=frozenset({"a", "c"}), closed=True), {"b\x1b": 1}))

    assert found == [
        'the property "a" is required and missing',
        'the property "c" is required and missing',
        'the property "b" is not allowed',
    ]
