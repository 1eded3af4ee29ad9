"""What cannot fit between table, mapping and document is found before the first row, with both names."""

import pytest

from fuagent.encode.compile import compile_encoder
from fuagent.encode.plan import never_null
from fuagent.errors import HaltSyncError
from fuagent.model import (
    Column,
    Cover,
    Deletes,
    EventSchema,
    Fact,
    Field,
    Kind,
    Mapping,
    Mask,
    Property,
    Secret,
    Table,
    TableSpec,
)


def make(columns=("id", "name"), key=("id",), schema=None, **mapping):
    table = Table("orders", tuple(Column(name, Kind.DYNAMIC) for name in columns), key)
    return compile_encoder(TableSpec(table, Mapping(**mapping), schema))


def schema(required=(), closed=False, **types):
    properties = {name: Property(frozenset([type_])) for name, type_ in types.items()}
    return EventSchema(properties, frozenset(required), closed, where="document#/items")


def holding(required=(), closed=False, **properties):
    """A schema of events with a customer of whom this is said."""
    customer = EventSchema(properties, frozenset(required), closed)
    return EventSchema({"customer": Property(frozenset({"object"}), inside=customer)}, where="document#/items")


def of_type(*names, values=()):
    return Property(frozenset(names), values=frozenset(values))


IN_CUSTOMER = (Field("customer.no", "id"), Field("customer.name", "name"))
WRONG = {
    "a nested type that cannot be met": (
        {"schema": holding(name=of_type("file")), "fields": IN_CUSTOMER},
        'document#/items.properties.customer.properties.name: the service wants file, but column "name" of table orders',
    ),
    "a nested property nothing feeds": (
        {"schema": holding(["mail"], mail=of_type("string")), "fields": IN_CUSTOMER},
        'requires the property "customer.mail", but no column of table orders',
    ),
    "a nested property that is not allowed": (
        {"schema": holding(closed=True, no=of_type("integer")), "fields": IN_CUSTOMER},
        'allows no property "customer.name"',
    ),
    "an object where a text is wanted": (
        {"schema": schema(customer="string"), "fields": IN_CUSTOMER},
        'wants string for "customer", but what is nested in it',
    ),
    "a nested object where a text is wanted": (
        {"schema": holding(home=of_type("string")), "fields": (Field("customer.home.nr", "id"),)},
        'wants string for "customer.home", but what is nested in it',
    ),
    "a nested constant of the wrong type": (
        {"schema": holding(no=of_type("integer")), "fields": (Field("customer.no", constant="x"),)},
        'wants integer for "customer.no".*constant.*string',
    ),
    "a nested fact of the wrong type": (
        {"schema": holding(no=of_type("integer")), "fields": (Field("customer.no", fact=Fact.OPERATION),)},
        r'wants integer for "customer.no".*\$operation.*string',
    ),
    "a nested mask of the wrong type": (
        {
            "schema": holding(no=of_type("integer")),
            "fields": (Field("customer.no", "name"),),
            "masks": (Mask("name", Cover.HASH, Secret("s")),),
        },
        'wants integer for "customer.no".*mask',
    ),
    "a constant that is none of an enum": (
        {"schema": EventSchema({"a": of_type("string", values=['"x"', '"y"'])}), "fields": (Field("a", constant="z"),)},
        'wants "x" or "y" for "a", but the constant',
    ),
    "an operation that is none of an enum": (
        {
            "schema": EventSchema({"a": of_type("string", values=['"I"', '"U"'])}),
            "fields": (Field("a", fact=Fact.OPERATION),),
        },
        r'wants "I" or "U" for "a", but \$operation',
    ),
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


def test_a_nested_document_that_fits_is_obeyed():
    """What is said of an object's properties decides how their columns are written, as deep as it goes."""
    home = EventSchema({"nr": of_type("string")}, frozenset({"nr"}), closed=True)
    document = holding(
        ["no", "home"], closed=True, no=of_type("string"), home=Property(frozenset({"object"}), inside=home)
    )
    fields = (Field("customer.no", "id"), Field("customer.home.nr", "id"), Field("beside.no", "id"))

    assert make(schema=document, fields=fields).rows([(5, "x")]) == [
        b'{"customer":{"no":"5","home":{"nr":"5"}},"beside":{"no":5}}'
    ]


def test_values_of_an_enum_that_may_come():
    """A constant of the enum, whatever its spelling, and an operation that the enum knows."""
    fields = (Field("one", constant=1.0), Field("what", fact=Fact.OPERATION), Field("none", constant=None))
    document = EventSchema(
        {
            "one": of_type("number", values=["1", "2"]),
            "what": of_type("string", values=['"insert"', '"snapshot"']),
            "none": of_type("string", "null", values=['"x"', "null"]),
        }
    )

    assert make(schema=document, fields=fields).rows([(5, "x")]) == [b'{"one":1.0,"what":"snapshot","none":null}']


def test_columns_that_may_be_null_where_no_null_is_taken():
    """Found before a row is: key columns, columns that never are NULL, and properties nobody describes are no matter."""
    columns = tuple(
        Column(name, Kind.TEXT, nullable=name != "sure") for name in ("id", "sure", "some", "free", "quiet", "deep")
    )
    document = EventSchema(
        {
            **{name: of_type("string") for name in ("id", "sure", "some")},
            "free": of_type("string", "null"),
            "in": Property(inside=EventSchema({"deep": of_type("string")})),
        }
    )
    names = ("id", "sure", "some", "free", "quiet")
    fields = (*(Field(name, name) for name in names), Field("in.deep", "deep"), Field("again", "some"))
    spec = TableSpec(Table("orders", columns, ("id",)), Mapping(fields), document)

    assert [column.name for column in never_null(spec)] == ["some", "deep"]
    assert never_null(TableSpec(spec.table, Mapping((*fields, Field("k", constant=1))))) == []
