"""How a column is written for what the service's document asks for."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.contract.payload import RULES, Form, form, natural
from fuagent.contract.schema import json_type
from fuagent.errors import HaltSyncError
from fuagent.model import Column, Kind, Property

WHERE = "https://h/openapi.json: events.items.properties.total"


def wanted(*types: str, format: str = "") -> Property:
    """A property of the event schema."""
    return Property(frozenset(types), format)


def chosen(kind: Kind, prop: Property | None, type_: str = "") -> Form:
    """The form of a column of this kind."""
    return form(Column("total", kind, type_), prop, where=WHERE)


NATURAL = {
    Kind.INTEGER: Form.INTEGER,
    Kind.DECIMAL: Form.STRING,
    Kind.FLOAT: Form.NUMBER,
    Kind.BOOLEAN: Form.BOOLEAN,
    Kind.TEXT: Form.TEXT,
    Kind.DATE: Form.DATE,
    Kind.TIME: Form.TIME,
    Kind.DATETIME: Form.DATETIME,
    Kind.TIMESTAMP: Form.TIMESTAMP,
    Kind.INTERVAL: Form.DURATION,
    Kind.BINARY: Form.BASE64,
    Kind.ENUM: Form.LABEL,
    Kind.SET: Form.LABELS,
    Kind.JSON: Form.JSON,
    Kind.OTHER: Form.TEXT_FORM,
    Kind.DYNAMIC: Form.DYNAMIC,
}


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_natural_form(kind: Kind) -> None:
    """It is what is written where the document says nothing, or names a property without a type."""
    assert natural(kind) == NATURAL[kind]
    assert chosen(kind, None) == NATURAL[kind]
    assert chosen(kind, Property()) == NATURAL[kind]
    assert chosen(kind, wanted(format="int64")) == NATURAL[kind]


@pytest.mark.parametrize(
    ("kind", "prop", "expected"),
    [
        (Kind.INTEGER, wanted("integer"), Form.INTEGER),
        (Kind.INTEGER, wanted("integer", format="int64"), Form.INTEGER),
        (Kind.INTEGER, wanted("number"), Form.INTEGER),
        (Kind.INTEGER, wanted("string"), Form.STRING),
        (Kind.INTEGER, wanted("string", format="int64"), Form.STRING),
        (Kind.INTEGER, wanted("string", "integer"), Form.INTEGER),
        (Kind.INTEGER, wanted("boolean"), Form.BOOLEAN),
        (Kind.DECIMAL, wanted("string"), Form.STRING),
        (Kind.DECIMAL, wanted("number"), Form.NUMBER),
        (Kind.DECIMAL, wanted("number", "null"), Form.NUMBER),
        (Kind.DECIMAL, wanted("number", "string"), Form.STRING),
        (Kind.FLOAT, wanted("number"), Form.NUMBER),
        (Kind.FLOAT, wanted("string"), Form.STRING),
        (Kind.BOOLEAN, wanted("boolean"), Form.BOOLEAN),
        (Kind.BOOLEAN, wanted("integer"), Form.INTEGER),
        (Kind.BOOLEAN, wanted("string"), Form.STRING),
        (Kind.TEXT, wanted("string"), Form.TEXT),
        (Kind.TEXT, wanted("string", format="date-time"), Form.TEXT),
        (Kind.DATE, wanted("string"), Form.DATE),
        (Kind.DATE, wanted("string", format="date"), Form.DATE),
        (Kind.DATE, wanted("string", format="date-time"), Form.TIMESTAMP),
        (Kind.TIME, wanted("string", format="time"), Form.TIME),
        (Kind.DATETIME, wanted("string"), Form.DATETIME),
        (Kind.DATETIME, wanted("string", format="date-time"), Form.TIMESTAMP),
        (Kind.DATETIME, wanted("string", "null", format="date-time"), Form.TIMESTAMP),
        (Kind.DATETIME, wanted(format="date-time"), Form.TIMESTAMP),
        (Kind.TIMESTAMP, wanted("string", format="date-time"), Form.TIMESTAMP),
        (Kind.INTERVAL, wanted("string", format="duration"), Form.DURATION),
        (Kind.BINARY, wanted("string", format="byte"), Form.BASE64),
        (Kind.ENUM, wanted("string"), Form.LABEL),
        (Kind.SET, wanted("array"), Form.LABELS),
        (Kind.SET, wanted("string"), Form.STRING),
        (Kind.JSON, wanted("object"), Form.JSON),
        (Kind.JSON, wanted("array", "null"), Form.JSON),
        (Kind.JSON, wanted("object", "string"), Form.JSON),
        (Kind.JSON, wanted("string"), Form.STRING),
        (Kind.OTHER, wanted("string", format="uuid"), Form.TEXT_FORM),
        (Kind.DYNAMIC, wanted("string"), Form.STRING),
        (Kind.DYNAMIC, wanted("string", format="email"), Form.STRING),
        (Kind.DYNAMIC, wanted("string", format="date"), Form.STRING),
        (Kind.DYNAMIC, wanted("string", "null", format="date-time"), Form.TIMESTAMP),
        (Kind.DYNAMIC, wanted("integer"), Form.INTEGER),
        (Kind.DYNAMIC, wanted("number"), Form.NUMBER),
        (Kind.DYNAMIC, wanted("integer", "number"), Form.NUMBER),
        (Kind.DYNAMIC, wanted("boolean"), Form.BOOLEAN),
        (Kind.DYNAMIC, wanted("object"), Form.JSON),
        (Kind.DYNAMIC, wanted("string", "number"), Form.DYNAMIC),
    ],
)
def test_the_form_the_document_names_is_taken(kind: Kind, prop: Property, expected: Form) -> None:
    """The natural form where it is admitted, else the first other one that is."""
    assert chosen(kind, prop) == expected


@pytest.mark.parametrize("type_", ["decimal(20)", "numeric(20,0)", "decimal(20, 0) unsigned", "numeric(5,-2)"])
def test_a_decimal_without_fraction_is_an_integer_if_asked(type_: str) -> None:
    """Its declaration proves that no digits are lost."""
    assert chosen(Kind.DECIMAL, wanted("integer"), type_) == Form.INTEGER


@pytest.mark.parametrize(
    ("kind", "prop", "type_"),
    [
        (Kind.DECIMAL, wanted("integer"), "decimal(20,2)"),
        (Kind.DECIMAL, wanted("integer"), "numeric"),
        (Kind.DECIMAL, wanted("boolean"), "decimal(10,0)"),
        (Kind.FLOAT, wanted("integer"), "double"),
        (Kind.TEXT, wanted("integer"), "varchar(10)"),
        (Kind.TEXT, wanted("object"), "text"),
        (Kind.INTEGER, wanted("string", format="date-time"), "int"),
        (Kind.INTEGER, wanted("array"), "int"),
        (Kind.DATETIME, wanted("string", format="date"), "datetime(6)"),
        (Kind.TIME, wanted("string", format="date-time"), "time"),
        (Kind.DATE, wanted("integer"), "date"),
        (Kind.BINARY, wanted("number"), "blob"),
        (Kind.BINARY, wanted("string", format="date"), "blob"),
        (Kind.ENUM, wanted("integer"), "enum('a','b')"),
        (Kind.OTHER, wanted("number"), "uuid"),
        (Kind.DYNAMIC, wanted("file"), "TEXT"),
        (Kind.TEXT, wanted("null"), "text"),
    ],
)
def test_a_type_that_cannot_be_met_names_both_sides(kind: Kind, prop: Property, type_: str) -> None:
    """The property's place, the column and its type, and what it could be."""
    with pytest.raises(HaltSyncError) as caught:
        chosen(kind, prop, type_)

    text = str(caught.value)
    assert text.startswith(WHERE)
    assert f'column "total" is {type_}' in text
    assert all(name in text for name in prop.types)
    assert "can only be written as" in text


def test_the_error_lists_what_is_possible() -> None:
    """So that the reader can choose."""
    with pytest.raises(HaltSyncError, match=r"wants integer, but .* written as string, number Fix"):
        chosen(Kind.DECIMAL, wanted("integer"), "decimal(20,2)")
    with pytest.raises(
        HaltSyncError, match=r"wants string with format date, but .* is datetime and .*string with format date-time"
    ):
        chosen(Kind.DATETIME, wanted(format="date"))


def test_every_rule_can_be_reached_and_is_explained() -> None:
    """No row of the table is dead, and each has words for the reference page."""
    for rule in RULES:
        formats = sorted(rule.formats or {""})
        asked = [Property(frozenset({type_}), format_) for type_ in rule.types for format_ in (*formats, "")]
        forms = {chosen(rule.kind, prop, "decimal(9,0)" if rule.whole else "") for prop in [*asked, Property()]}

        assert rule.form in forms, rule
        assert rule.explanation
    assert {rule.form for rule in RULES} == set(Form)


LABELS = "enum('a','it''s','grün')"


@pytest.mark.parametrize(
    ("kind", "type_", "values", "expected"),
    [
        (Kind.ENUM, LABELS, ['"a"', '"b"'], Form.LABEL),
        (Kind.ENUM, LABELS, ['"it\'s"'], Form.LABEL),
        (Kind.ENUM, LABELS, ['"grün"'], Form.LABEL),
        (Kind.ENUM, "mood", ['"z"'], Form.LABEL),
        (Kind.BOOLEAN, "bool", ["1", "2"], Form.INTEGER),
        (Kind.BOOLEAN, "bool", ['"true"', '"no"'], Form.STRING),
        (Kind.TEXT, "text", ['"z"'], Form.TEXT),
        (Kind.INTEGER, "int", ["7"], Form.INTEGER),
        (Kind.INTEGER, "tinyint(1)", ["true"], Form.BOOLEAN),
    ],
)
def test_an_enum_that_the_column_may_meet(kind: Kind, type_: str, values: list[str], expected: Form) -> None:
    """One value in common is enough, and where nobody knows what a column may hold, rows will tell."""
    kinds = frozenset({json_type(json.loads(value)) for value in values})

    assert chosen(kind, Property(kinds, values=frozenset(values)), type_) is expected


@pytest.mark.parametrize(
    ("kind", "type_", "values", "possible"),
    [
        (Kind.ENUM, LABELS, ['"z"'], ['"a"', '"it\'s"']),
        (Kind.BOOLEAN, "bool", ['"Y"', '"N"'], ['"true"', '"false"']),
        (Kind.BOOLEAN, "bool", ["2", "3"], ["0", "1"]),
    ],
)
def test_an_enum_that_the_column_never_meets(kind: Kind, type_: str, values: list[str], possible: list[str]) -> None:
    """It is an error at start: what the service wants, table, column and type, and what there can be."""
    kinds = frozenset({json_type(json.loads(value)) for value in values})
    with pytest.raises(HaltSyncError) as caught:
        form(Column("paid", kind, type_), Property(kinds, values=frozenset(values)), where=WHERE, table="shop.orders")
    text = str(caught.value)

    assert text.startswith(WHERE)
    assert f'column "paid" of table shop.orders is {type_}' in text
    assert all(value in text for value in [*values, *possible])


@given(
    st.sampled_from(Kind),
    st.frozensets(st.sampled_from(["string", "number", "integer", "boolean", "object", "array", "null", "file"])),
    st.sampled_from(["", "date-time", "date", "time", "duration", "byte", "int64", "\x1b[31m"]),
    st.text(max_size=30),
)
def test_any_wish_gives_a_form_or_our_error(kind: Kind, types: frozenset[str], format_: str, type_: str) -> None:
    """And a form only where its type was asked for or nothing was."""
    prop = Property(types, format_)
    try:
        got = chosen(kind, prop, type_)
    except HaltSyncError as error:
        shown = str(error)
        got = None

    if got is None:
        assert shown.isprintable()
        return
    rules = [rule for rule in RULES if rule.kind is kind and rule.form is got]
    assert got is natural(kind) or any(rule.types & (types or {"string"}) for rule in rules)
