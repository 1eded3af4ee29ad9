"""Events as rows of a declared type: what is read, what is refused, and what the document says of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import (
    Any,
    NotRequired,  # pydantic wants this one before Python 3.12
)
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from fuagent.errors import PayloadError
from fuagent.receiver.rows import Event, RowType


class Line(BaseModel):
    product: str
    inner: Line | None = None


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: UUID = Field(alias="orderId")
    total: Decimal
    placed: datetime
    lines: list[Line] = []


@dataclass
class Point:
    x: int
    y: int = 0


class Loose(TypedDict):
    id: int
    note: NotRequired[str]


ID = "12345678-1234-5678-1234-567812345678"
ORDER = {"orderId": ID, "total": "1.50", "placed": "2024-02-29T12:00:00Z"}


def test_a_model_gives_values_of_its_types():
    """The row holds what the model made, by its JSON names; index and mark are no part of it."""
    event = RowType(Order, ["orderId"], "_deleted").read(0, ORDER | {"index": 3, "_deleted": False})

    assert event.key == (UUID(ID),)
    assert event.index == 3
    assert isinstance(event.value, Order)
    assert event.row is not None
    assert event.row["total"] == Decimal("1.50")
    assert event.row["placed"] == datetime.fromisoformat(ORDER["placed"])


def test_a_mark_needs_the_key_alone():
    """Of a deleted row only the key is read, in the same type as that of a row."""
    rows = RowType(Order, ["orderId"], "_deleted")

    assert rows.read(0, {"orderId": ID, "_deleted": True, "index": 4}) == Event((UUID(ID),), 4, None, None)


@pytest.mark.parametrize(
    ("type_", "key", "event", "expected"),
    [
        (Point, ["x", "y"], {"x": "1", "y": 2}, ((1, 2), {"x": 1, "y": 2}, Point(1, 2))),
        (Loose, ["id"], {"id": "7", "other": 1}, ((7,), {"id": 7}, {"id": 7})),
        (dict[str, Any], ["a", "b"], {"a": "1", "b": 2}, (("1", 2), {"a": "1", "b": 2}, {"a": "1", "b": 2})),
    ],
)
def test_other_types_are_read_too(type_, key, event, expected):
    """A dataclass, a TypedDict and a bare dictionary, with keys of several columns."""
    read = RowType(type_, key, None).read(0, event)

    assert (read.key, read.row, read.value) == expected


def test_without_a_delete_field_a_mark_is_a_property_like_any_other():
    """Nothing is taken for a mark that was not declared as one."""
    event = RowType(dict[str, Any], ["id"], None).read(0, {"id": 1, "_deleted": True})

    assert event.row == {"id": 1, "_deleted": True}


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"total": "secret"}, r"events\[4\]\.orderId does not fit: missing"),
        (ORDER | {"total": "secret"}, r"events\[4\]\.total does not fit: decimal_parsing"),
        (ORDER | {"secret": 1}, r"events\[4\] does not fit: extra_forbidden"),
        (ORDER | {"_deleted": "secret"}, r"events\[4\]\._deleted is not a JSON boolean"),
        ({"_deleted": True}, r"events\[4\]\.orderId is missing, and is part of the key"),
        ({"orderId": "secret", "_deleted": True}, r"events\[4\]\.orderId does not fit: uuid_parsing"),
    ],
)
def test_a_refusal_names_the_place_and_no_value(event, text):
    """The text says which event and property, and nothing that the row holds."""
    with pytest.raises(PayloadError, match=text) as caught:
        RowType(Order, ["orderId"], "_deleted").read(4, event)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", [[1], {"a": 1}])
def test_a_key_is_no_list_and_no_object(value):
    """What cannot be told apart cannot be a key."""
    with pytest.raises(PayloadError, match="cannot be part of a key"):
        RowType(dict[str, Any], ["id"], None).read(0, {"id": value})


def test_a_key_that_the_model_does_not_have_is_found_at_once():
    """The mistake shows where the task is declared, with both names."""
    with pytest.raises(ValueError, match="Order has no property id"):
        RowType(Order, ["id"], None)


def test_the_schema_is_whole_and_has_no_references():
    """What a model refers to stands in its place; what contains itself says nothing there."""
    schema = RowType(Order, ["orderId"], None).schema()

    assert schema["required"] == ["orderId", "total", "placed"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["index"]["type"] == "integer"
    line = schema["properties"]["lines"]["items"]
    assert line["properties"]["product"]["type"] == "string"
    assert line["properties"]["inner"]["anyOf"] == [{}, {"type": "null"}]
    assert "$" not in str(schema)


def test_with_marks_only_the_key_is_required():
    """The mark of a row that is gone may carry nothing else, and the document says so."""
    schema = RowType(Order, ["orderId"], "_deleted").schema()

    assert schema["required"] == ["orderId"]
    assert schema["x-fuagent-delete-field"] == "_deleted"
    assert schema["properties"]["_deleted"] == {"type": "boolean"}


def test_the_schema_of_bare_dictionaries_names_the_key():
    """Where nothing is declared the key is still known."""
    schema = RowType(dict[str, Any], ["id"], None).schema()

    assert (schema["type"], schema["required"], schema["properties"]["id"]) == ("object", ["id"], {})
