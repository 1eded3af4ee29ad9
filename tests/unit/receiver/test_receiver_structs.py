"""Structs of msgspec as the type of rows."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated
from uuid import UUID

import msgspec
import pytest

from fuagent.errors import PayloadError
from fuagent.receiver.memory import MemoryStore
from fuagent.receiver.router import Receiver
from fuagent.receiver.rows import Event, RowType
from harness.receiving import KEY, batch, served

ID = "12345678-1234-5678-1234-567812345678"


class Colour(Enum):
    RED = "red"


class Line(msgspec.Struct):
    product: str
    inner: Line | None = None


class Order(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    order_id: UUID
    total: Decimal
    placed: datetime | None = None
    day: date | msgspec.UnsetType = msgspec.UNSET
    colour: Colour = Colour.RED
    lines: list[Line] = []
    count: Annotated[int, msgspec.Meta(ge=0)] = 0

    def __post_init__(self) -> None:
        if self.total < 0:
            message = f"{self.total} is secret"
            raise ValueError(message)


ORDER = {"orderId": ID, "total": "1.50", "placed": "2024-02-29T12:00:00Z"}


def test_a_struct_gives_values_of_its_types():
    """The row holds what the struct made, by its JSON names: defaults too, but nothing that is unset."""
    event = RowType(Order, ["orderId"], "_deleted").read(0, ORDER | {"index": 3, "lines": [{"product": "p"}]})

    assert (event.key, event.index) == ((UUID(ID),), 3)
    assert isinstance(event.value, Order)
    assert event.row == {
        "orderId": UUID(ID),
        "total": Decimal("1.50"),
        "placed": datetime.fromisoformat(ORDER["placed"]),
        "colour": "red",
        "lines": [{"product": "p", "inner": None}],
        "count": 0,
    }


def test_a_mark_needs_the_key_alone():
    """Of a deleted row only the key is read, in the same type as that of a row."""
    rows = RowType(Order, ["orderId"], "_deleted")

    assert rows.read(0, {"orderId": ID, "_deleted": True, "index": 4}) == Event((UUID(ID),), 4, None, None)


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"orderId": ID}, r"events\[4\] does not fit: Object missing required field `total`$"),
        (ORDER | {"total": "secret"}, r"events\[4\]\.total does not fit: Invalid decimal$"),
        (ORDER | {"total": True}, r"events\[4\]\.total does not fit: Expected `decimal`, got `bool`$"),
        (ORDER | {"total": "-1"}, r"events\[4\] does not fit$"),
        (ORDER | {"colour": "secret"}, r"events\[4\]\.colour does not fit: Invalid enum value$"),
        (ORDER | {"secret": 1}, r"events\[4\] does not fit: Object contains unknown field$"),
        (ORDER | {"lines": [{"product": 1}]}, r"events\[4\]\.lines does not fit: Expected `str`, got `int`$"),
        (ORDER | {"count": -1}, r"events\[4\]\.count does not fit: Expected `int` >= 0$"),
        ({"_deleted": True}, r"events\[4\]\.orderId is missing, and is part of the key$"),
        ({"orderId": "secret", "_deleted": True}, r"events\[4\]\.orderId does not fit: Invalid UUID$"),
    ],
)
def test_a_refusal_names_the_place_and_no_value(event, text):
    """The text says which event and property and what the type wants, and nothing that the row holds."""
    with pytest.raises(PayloadError, match=text) as caught:
        RowType(Order, ["orderId"], "_deleted").read(4, event)

    assert "secret" not in str(caught.value)


def test_a_key_that_the_struct_does_not_have_is_found_at_once():
    """The mistake shows where the task is declared; the name is that in JSON."""
    with pytest.raises(ValueError, match="Order has no property order_id"):
        RowType(Order, ["order_id"], None)


def test_the_schema_is_whole_and_has_no_references():
    """What a struct refers to stands in its place; what contains itself says nothing there."""
    schema = RowType(Order, ["orderId"], None).schema()

    assert schema["required"] == ["orderId", "total"]
    assert schema["properties"]["orderId"]["format"] == "uuid"
    assert schema["properties"]["index"]["type"] == "integer"
    line = schema["properties"]["lines"]["items"]
    assert line["properties"]["product"]["type"] == "string"
    assert {} in line["properties"]["inner"]["anyOf"]
    assert "$" not in str(schema)


def test_a_task_takes_structs():
    """Over HTTP, from the declaration to the store."""
    receiver = Receiver(store := MemoryStore(), keys=KEY)
    receiver.task("orders", key="orderId")(Order)
    with served(receiver.app()) as service:
        assert service.post(batch("orders", ORDER))[0] == 200
        assert service.post(batch("orders", ORDER | {"total": None}))[0] == 422

    assert [row["total"] for row in store.rows("orders")] == [Decimal("1.50")]


def test_msgspec_need_not_be_there():
    """The kit works where it is not installed, and does not import it where it is."""
    code = (
        "import sys; sys.modules['msgspec'] = None; from fuagent.receiver.rows import RowType;"
        "print(RowType(dict, ['id'], None).read(0, {'id': 1}).key);"
        "del sys.modules['msgspec']; RowType(dict, ['id'], None); print('msgspec' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout == "(1,)\nFalse\n", done.stderr
