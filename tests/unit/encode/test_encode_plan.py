"""What cannot fit between table, mapping and document is found before the first row, with both names."""

import pytest

from fuagent.encode.compile import compile_encoder
from fuagent.errors import HaltSyncError
from fuagent.model import Column, Deletes, EventSchema, Field, Kind, Mapping, Property, Table, TableSpec


def make(columns=("id", "name"), key=("id",), schema=None, **mapping):
    table = Table("orders", tuple(Column(name, Kind.DYNAMIC) for name in columns), key)
    return compile_encoder(TableSpec(table, Mapping(**mapping), schema))


def schema(required=(), closed=False, **types):
    properties = {name: Property(frozenset([type_])) for name, type_ in types.items()}
    return EventSchema(properties, frozenset(required), closed, where="document#/items")


WRONG = {
    "a column called index": ({"columns": ("id", "index")}, "must be renamed"),
    "a column called Index": ({"columns": ("id", "Index")}, "must be renamed"),
    "a mark called index": ({"deletes": Deletes.MARK, "delete_field": "index"}, "must be renamed"),
    "columns that differ by case": ({"columns": ("id", "Id")}, '"id" and "Id"'),
    "two properties of one name": ({"fields": (Field("a", "id"), Field("a", "name"))}, "share the name"),
    "a mark on a column's name": ({"columns": ("id", "_deleted"), "deletes": Deletes.MARK}, "share the name"),
    "a mark that differs by case": ({"columns": ("id", "_DELETED"), "deletes": Deletes.MARK}, "differ only by case"),
    "a field without its column": ({"fields": (Field("a", "nmae"),)}, 'no column "nmae".*name'),
    "a field in another case": ({"fields": (Field("a", "NAME"),)}, 'no column "NAME".*"name"'),
    "a field like nothing": ({"fields": (Field("a", "zzz"),)}, "its columns are id, name"),
    "a constant no JSON can say": ({"fields": (Field("a", constant=object()),)}, 'property "a"'),
    "a name no JSON can carry": ({"fields": (Field("a\ud800", "id"),)}, "rename it"),
    "a required property nothing feeds": (
        {"schema": schema(required=["id", "email"])},
        'document#/items.*"email".*table orders',
    ),
    "a required index": ({"schema": schema(required=["index"])}, "snapshot carry none"),
    "an index of text": ({"schema": schema(index="string")}, 'wants string for "index"'),
    "a mark of text": ({"schema": schema(_deleted="string"), "deletes": Deletes.MARK}, 'wants string for "_deleted"'),
    "a constant of the wrong type": (
        {"schema": schema(a="integer"), "fields": (Field("a", constant="x"),)},
        "integer.*constant.*string",
    ),
    "a constant of no type": (
        {"schema": schema(a="integer"), "fields": (Field("a", constant=()),)},
        "constant.*something else",
    ),
    "a closed schema": ({"schema": schema(closed=True, id="integer", index="integer")}, 'no property "name"'),
    "a closed schema without index": ({"schema": schema(closed=True, id="integer", name="string")}, '"index"'),
    "marks without the key": (
        {"fields": (Field("name", "name"),), "deletes": Deletes.MARK},
        'key column "id" is not sent',
    ),
    "old keys where more is required": (
        {"schema": schema(required=["id", "name"]), "deletes": Deletes.MARK},
        'requires the property "name".*old key',
    ),
    "a form no column has": (
        {"schema": EventSchema({"id": Property(frozenset({"null"}))}, where="document#/items")},
        'items.properties.id.*"id"',
    ),
}


@pytest.mark.parametrize(("arguments", "message"), WRONG.values(), ids=WRONG)
def test_it_is_refused_with_both_names(arguments, message):
    """The text says what, where, and what to do."""
    with pytest.raises(HaltSyncError, match=message) as caught:
        make(**arguments)

    assert caught.value.fix or "constant" in caught.value.what


def test_a_document_that_fits_is_obeyed():
    """Required properties may be fed by columns, constants and the mark; the index needs no mention unless closed."""
    one = make(
        schema=schema(
            required=["id", "shop", "_deleted"],
            closed=True,
            id="string",
            shop="integer",
            _deleted="boolean",
            index="integer",
        ),
        key=(),
        fields=(Field("id", "id"), Field("shop", constant=7)),
        deletes=Deletes.MARK,
    )

    assert one.rows([(1, "x")], [2]) == [b'{"id":"1","shop":7,"_deleted":false,"index":2}']


def test_renaming_solves_the_index_column():
    """A column called index is fine under another property."""
    assert make(columns=("index",), key=("index",), fields=(Field("no", "index"),)).rows([(3,)], [4]) == [
        b'{"no":3,"index":4}'
    ]


def test_one_key_column_under_two_properties_marks_by_the_first():
    """The old key is named once."""
    one = make(fields=(Field("id", "id"), Field("id2", "id")), deletes=Deletes.MARK)

    assert one.keys([(5,)]) == [b'{"id":5,"_deleted":true}']


def test_marks_fit_a_document_that_requires_the_key_alone():
    """What the old key's event carries is enough for such a document."""
    one = make(schema=schema(required=["id", "_deleted"]), deletes=Deletes.MARK)

    assert one.keys([(5,)], [6]) == [b'{"id":5,"_deleted":true,"index":6}']
