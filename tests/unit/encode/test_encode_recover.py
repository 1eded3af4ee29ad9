"""From an event back to the key of its row."""

import json
from dataclasses import replace

import pytest

from fuagent.encode.recover import Keys
from fuagent.errors import FuagentError
from fuagent.model import Column, Cover, EventSchema, Field, Kind, Mapping, Mask, Property, Secret, Table, TableSpec

TABLE = Table(
    "orders",
    (Column("shop", Kind.TEXT), Column("id", Kind.INTEGER), Column("at", Kind.DATETIME), Column("paid", Kind.BOOLEAN)),
    ("shop", "id"),
)


def keys(*fields, table=TABLE, schema=None, **more):
    return Keys.of(TableSpec(table, Mapping(tuple(fields) or None, **more), schema))


def event(**properties):
    return json.dumps(properties).encode()


def test_the_key_in_its_own_order():
    """The values come in the key's order, whatever the order of the event, and under the properties' names."""
    made = keys(Field("number", "id"), Field("where.shop", "shop"))
    text = event(number=7, where={"shop": "a"}, index=3)

    assert made.read(text) == ("a", 7)
    assert made.named(text) == {"where.shop": "a", "number": 7}


@pytest.mark.parametrize("text", [event(id=1), event(id=1, shop=2)[:-1] + b', "x": 1}', b"[]"])
def test_an_event_without_its_key(text):
    """A property that is not there is named, with what else can be done."""
    made = keys(Field("id", "id"), Field("place.shop", "shop"))

    with pytest.raises(FuagentError, match='holds no "') as caught:
        made.read(text)

    assert "fuagent snapshot" in caught.value.fix


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"table": replace(TABLE, key=())}, "has no key"),
        ({"fields": [Field("id", "id")]}, "is not sent as it is"),
        ({"masks": (Mask("id", Cover.HASH, Secret("s")),)}, "is not sent as it is"),
        ({"table": replace(TABLE, key=("at",)), "wanted": ("at", "string", "date-time")}, "no way back"),
        ({"wanted": ("id", "boolean", "")}, "no way back"),
    ],
)
def test_keys_that_cannot_be_read_back(made, words):
    """A key that is left out, covered, or written in a form several values share is no way to a row."""
    name, type_, format_ = made.pop("wanted", ("", "", ""))
    schema = EventSchema({name: Property(frozenset({type_}), format_)}) if name else None
    fields = made.pop("fields", [])

    with pytest.raises(FuagentError, match=words):
        keys(*fields, schema=schema, **made)


def test_a_boolean_of_its_own_is_no_loss():
    """A boolean column is written as one; that has a way back."""
    made = keys(table=replace(TABLE, key=("paid",)), schema=EventSchema({"paid": Property(frozenset({"boolean"}))}))

    assert made.read(event(paid=True)) == (True,)
