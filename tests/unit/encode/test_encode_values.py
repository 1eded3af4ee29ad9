"""A column is written in the form the service's document asks for where its values can take it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.contract.payload import Form
from fuagent.encode.compile import compile_encoder
from fuagent.encode.shown import shown
from fuagent.encode.values import converter
from fuagent.model import Column, EventSchema, Kind, Mapping, Property, Table, TableSpec


def written(value, *types, format_=""):
    """The JSON text of ``value`` where the document says ``types`` and ``format_``."""
    schema = EventSchema({"v": Property(frozenset(types), format_)}, where="document")
    table = Table("t", (Column("v", Kind.DYNAMIC, "ANY"),))
    (event,) = compile_encoder(TableSpec(table, Mapping(), schema)).rows([(value,)])
    return event.removeprefix(b'{"v":').removesuffix(b"}").decode()


MET = [
    (1, "string", "", '"1"'),
    (-(2**63), "string", "", '"-9223372036854775808"'),
    (0.1, "string", "", '"0.1"'),
    (1e300, "string", "", '"1e+300"'),
    (float("inf"), "string", "", '"Infinity"'),
    ("x", "string", "", '"x"'),
    (b"\x00\xff", "string", "", '"AP8="'),
    (True, "string", "", '"true"'),
    (5, "integer", "", "5"),
    (True, "integer", "", "1"),
    (5.0, "integer", "", "5"),
    (1e20, "integer", "", "100000000000000000000"),
    ("123456789012345678901234567890", "integer", "", "123456789012345678901234567890"),
    ("-7", "integer", "", "-7"),
    (5, "number", "", "5"),
    (0.5, "number", "", "0.5"),
    (float("-inf"), "number", "", '"-Infinity"'),
    ("1.10", "number", "", "1.10"),
    ("-0.000000000000000000000000000000001e-5", "number", "", "-0.000000000000000000000000000000001e-5"),
    (0, "boolean", "", "false"),
    (2, "boolean", "", "true"),
    (True, "boolean", "", "true"),
    (0, "string", "date-time", '"1970-01-01T00:00:00Z"'),
    (-1, "string", "date-time", '"1969-12-31T23:59:59Z"'),
    ("2024-02-29", "string", "date-time", '"2024-02-29T00:00:00Z"'),
    ("2024-02-29 12:30", "string", "date-time", '"2024-02-29T12:30:00Z"'),
    ("2024-02-29T12:30:01.1234567890", "string", "date-time", '"2024-02-29T12:30:01.1234567890Z"'),
    ("2024-02-29 00:30:00+01:00", "string", "date-time", '"2024-02-28T23:30:00Z"'),
    ("2024-02-29 00:30:00 -0130", "string", "date-time", '"2024-02-29T02:00:00Z"'),
    ("2024-02-29 00:30:00Z", "string", "date-time", '"2024-02-29T00:30:00Z"'),
    ('{"a": 1.10}', "object", "", '{"a": 1.10}'),
    ("[]", "array", "", "[]"),
    *((None, type_, "", "null") for type_ in ("string", "integer", "number", "boolean", "object")),
    (None, "string", "date-time", "null"),
]


@pytest.mark.parametrize(("value", "type_", "format_", "expected"), MET)
def test_a_value_takes_the_form_asked_for(value, type_, format_, expected):
    """Every digit that was stored is written."""
    assert expected == written(value, type_, format_=format_)


UNMET = [
    *((value, "integer", "") for value in ("1.0", "007", "", " 1", "x", "٣", 1.5, float("inf"), float("nan"), b"1")),
    *((value, "number", "") for value in ("0x10", "1.", ".5", "+1", "NaN", "1_0", "", b"1")),
    *((value, "boolean", "") for value in ("true", "0", 1.0, b"\x01")),
    *((value, "string", "date-time") for value in ("2024-02-30", "24:00", "noon", "", 1.5, b"x", 2**62, -(2**62))),
    ("2024-02-29 25:00", "string", "date-time"),
    ("0001-01-01 00:00+14:00", "string", "date-time"),
    ("2024-02-29 00:00+24:00", "string", "date-time"),
    *((value, "object", "") for value in ("{", "1", '"x"', "", '{"a":NaN}', 1, b"{}")),
]


@pytest.mark.parametrize(("value", "type_", "format_"), UNMET)
def test_a_value_without_that_form_is_written_as_stored(value, type_, format_):
    """It is for the service to take it or to refuse the row."""
    assert written(value) == written(value, type_, format_=format_)


@given(st.integers(-(2**63), 2**63 - 1))
def test_digits_survive_every_form(value):
    """An integer reads back the same as number, as string, and from a text that holds it."""
    assert value == int(json.loads(written(value, "string")))
    assert value == json.loads(written(value, "integer"))
    assert value == json.loads(written(str(value), "integer"))


def test_natural_forms_cost_nothing():
    """Where a value is fine as it is there is no function to call."""
    assert [form for form in Form if converter(form)] == [
        Form.INTEGER,
        Form.NUMBER,
        Form.STRING,
        Form.BOOLEAN,
        Form.TIMESTAMP,
        Form.JSON,
    ]


def test_names_are_shown_on_one_line():
    """A table's name can neither break a log line nor fill the screen."""
    assert shown("a\nb\x1b[2J") == "a b [2J"
    assert shown("x" * 120) == "x" * 120
    assert shown("x" * 500) == "x" * 119 + "…"
