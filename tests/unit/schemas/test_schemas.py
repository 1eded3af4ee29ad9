"""Event schemas made from tables: each form is read by what reads it in earnest."""

import json
import sqlite3
import sys
from types import ModuleType

import jsonschema_rs
import pytest
from pydantic import ValidationError

from fuagent.contract import document as documents
from fuagent.contract import spec
from fuagent.contract.schema import DELETE_FIELD
from fuagent.encode.compile import Facts, compile_encoder
from fuagent.model import (
    Column,
    Cover,
    Credential,
    Deletes,
    Fact,
    Field,
    Kind,
    Mapping,
    Mask,
    Secret,
    Table,
    TableSpec,
    Transform,
)
from fuagent.schemas import openapi, python, sql, typescript
from fuagent.schemas.events import leaves, shapes, type_name

KINDS = Table(
    "things",
    (
        Column("id", Kind.INTEGER, "bigint", nullable=False),
        *(Column(str(kind), kind) for kind in Kind),
        Column("ratio", Kind.DECIMAL, "decimal(10, 2)", nullable=False),
    ),
    ("id",),
    "shop",
)
ODD = Table(
    'order "items"\n*/ \\',
    (
        Column("id", Kind.TEXT, "", nullable=False),
        *(Column(name, Kind.TEXT) for name in ("class", "json", "_x", "x", "a-b", "a b", "1st", "date", "ü", "Select")),
        Column("when", Kind.TIMESTAMP),
    ),
    ("id",),
)
DECLARED = {
    "INTEGER": "integer",
    "tinyint(1)": "integer",
    "BOOLEAN": "boolean",
    "bool": "boolean",
    "VARCHAR(10)": "string",
    "TEXT": "string",
    "DATETIME": "string",
    "BLOB": "string",
    "REAL": "number",
    "DECIMAL(5,2)": "number",
    "JSON": "",
    "": "",
}


def made(table, *, fields=None, **mapping):
    return shapes([TableSpec(table, Mapping(fields, **mapping))])


def values(shape):
    return {".".join(path): value for path, value in leaves(shape.tree)}


def imported(text):
    """The module, as Python runs it."""
    module = ModuleType("made")
    sys.modules["made"] = module
    try:
        exec(compile(text, "made", "exec"), module.__dict__)
    finally:
        del sys.modules["made"]
    return module


def service(found, **asked):
    text = openapi.document(found, openapi.Asked("shop-sync", **asked))
    return spec.service(documents.read(text.encode(), "https://a/openapi.json"), spec.Settings()), json.loads(text)


# ---------------------------------------------------------------- what an event is made of


@pytest.mark.parametrize(("declared", "expected"), DECLARED.items())
def test_columns_of_sqlite_go_by_their_declaration(declared, expected):
    """A declared type gives the JSON type that suits what is mostly in such a column."""
    [shape] = made(Table("t", (Column("c", Kind.DYNAMIC, declared),)))

    assert values(shape)["c"].type == expected
    assert values(shape)["c"].base64 is (declared == "BLOB")


def test_every_kind_has_a_type():
    """Other kinds are told as they are written when nobody asks for another form."""
    [shape] = made(KINDS)
    told = {name: (value.type, value.format) for name, value in values(shape).items()}

    assert told["integer"] == ("integer", "")
    assert told["decimal"] == ("string", "")
    assert told["float"] == ("number", "")
    assert told["date"] == ("string", "date")
    assert told["time"] == ("string", "")
    assert told["timestamp"] == ("string", "date-time")
    assert told["interval"] == ("string", "duration")
    assert told["set"] == ("array", "")
    assert told["json"] == ("", "")
    assert values(shape)["binary"].base64


def test_the_index_is_optional_and_the_key_is_never_null():
    """Rows of a snapshot carry no index; what identifies a row is always there."""
    [shape] = made(Table("t", (Column("id", Kind.INTEGER), Column("v", Kind.TEXT)), ("id",)))
    found = values(shape)

    assert (found["index"].type, found["index"].required) == ("integer", False)
    assert (found["id"].nullable, found["id"].key) == (False, True)
    assert (found["v"].nullable, found["v"].required) == (True, True)
    assert shape.key == (("id",),)


def test_the_mapping_is_told():
    """Names, nesting, constants, facts, masks and marks are those the events will have."""
    fields = (
        Field("number", "id"),
        Field("buyer.mail", "mail"),
        Field("buyer.shop", constant="s"),
        Field("how", fact=Fact.OPERATION),
        Field("when", fact=Fact.COMMIT_TIME),
        Field("first", fact=Fact.SNAPSHOT),
        Field("nothing", constant=None),
        Field("list", constant=[1]),
    )
    table = Table("t", (Column("id", Kind.INTEGER), Column("mail", Kind.JSON)), ("id",))
    masks = (Mask("mail", Cover.REDACT),)
    [shape] = made(table, fields=fields, masks=masks, deletes=Deletes.MARK, delete_field="gone")
    found = values(shape)

    assert list(found) == [
        "number",
        "buyer.mail",
        "buyer.shop",
        "how",
        "when",
        "first",
        "nothing",
        "list",
        "gone",
        "index",
    ]
    assert found["buyer.mail"].type == "string"
    assert (found["when"].format, found["when"].nullable) == ("date-time", True)
    assert (found["first"].type, found["nothing"].nullable, found["list"].type) == ("boolean", True, "")
    assert [name for name, value in found.items() if value.required] == ["number", "gone"]
    assert shape.mark == "gone"


def test_a_key_that_is_not_sent_is_none():
    """Half a key identifies nothing."""
    table = Table("t", (Column("a", Kind.TEXT), Column("b", Kind.TEXT)), ("a", "b"))
    [shape] = made(table, fields=(Field("a", "a"),))

    assert shape.key == ()


def test_a_transform_is_said():
    """Nobody can tell what a function makes of a row; the reader is told that there is one."""
    [shape] = made(KINDS, transform=Transform("m:f", dict))

    assert shape.notes == ("the transform m:f may change what is told here",)
    for text in (python.module([shape], "s"), typescript.module([shape], "s"), sql.script([shape], "s")):
        assert "m:f" in text


@pytest.mark.parametrize(
    ("name", "expected"), [("order_items", "OrderItems"), ("Orders", "Orders"), ("2024", "Row2024"), ("ü", "Row")]
)
def test_type_names(name, expected):
    """A table's name becomes one that every language takes."""
    assert type_name(name) == expected


def test_type_names_differ():
    """Tables of alike names, and those that would take the name of a batch or of a library's type, are numbered."""
    names = ("a_b", "a-b", "a_b_batch", "field", "any")
    found = shapes([TableSpec(Table(name, KINDS.columns, KINDS.key), Mapping()) for name in names])
    every = [text for shape in found for text in (shape.name, f"{shape.name}Batch")]

    assert len(set(every)) == len(every)
    assert "Field" not in every
    assert imported(python.module(found, "s")).AB


# ---------------------------------------------------------------- OpenAPI


@pytest.mark.parametrize("deletes", [Deletes.ROW, Deletes.MARK])
@pytest.mark.parametrize("table", [KINDS, ODD])
def test_the_agent_accepts_the_document(table, deletes):
    """What the document says about events is read back, and rows of the table can be written as it says."""
    found = made(table, deletes=deletes)
    read, tree = service(found)
    schema = read.event_schema("shop-sync", table.label)

    assert read.findings == ()
    assert read.route_findings("shop-sync", table.label) == ()
    assert read.status_url == "https://a/fuagent-sync-status"
    assert schema is not None
    assert schema.delete_field == ("_deleted" if deletes is Deletes.MARK else None)
    assert compile_encoder(TableSpec(table, Mapping(deletes=deletes), schema))
    for one in tree["components"]["schemas"].values():
        jsonschema_rs.meta.validate(one)


def test_a_row_is_valid_under_the_document():
    """A row as it is written fits the JSON Schema, and one with a wrong type does not."""
    fields = (Field("id", "id"), Field("in.side", "text"), Field("how", fact=Fact.OPERATION))
    mapping = Mapping(fields)
    [shape] = shapes([TableSpec(KINDS, mapping)])
    row = tuple("x" if column.kind is Kind.TEXT else 7 for column in KINDS.columns)
    [text] = compile_encoder(TableSpec(KINDS, mapping)).rows([row], [3], facts=Facts(["insert"]))
    validator = jsonschema_rs.validator_for(openapi.event(shape))

    assert validator.is_valid(json.loads(text))
    assert not validator.is_valid({"id": "7", "in": {"side": "x"}, "how": "insert"})
    assert not validator.is_valid({"in": {"side": "x"}, "how": "insert"})


def test_routes_of_the_configuration():
    """Each table stands at the path its batches go to, placeholders filled and the query left off."""
    found = shapes([TableSpec(Table(name, KINDS.columns, KINDS.key, "shop"), Mapping()) for name in ("a", "b/c")])
    tree = json.loads(openapi.document(found, openapi.Asked("my sync", "in/{task}/{table}?x=1")))

    assert list(tree["paths"]) == ["/in/my%20sync/shop.a", "/in/my%20sync/shop.b%2Fc", "/fuagent-sync-status"]


@pytest.mark.parametrize(
    ("credential", "schemes"),
    [
        (None, {}),
        (Credential(), {}),
        (Credential(key=Secret("s3cret")), {"key": {"type": "apiKey", "in": "header", "name": "x-api-key"}}),
        (Credential(user="u", password=Secret("s3cret")), {"basic": {"type": "http", "scheme": "basic"}}),
        (
            Credential(client_id="c", client_secret=Secret("s3cret"), token_url="https://t/", scopes=("w",)),
            {
                "oauth2": {
                    "type": "oauth2",
                    "flows": {"clientCredentials": {"tokenUrl": "https://t/", "scopes": {"w": ""}}},
                }
            },
        ),
    ],
)
def test_what_a_caller_proves(credential, schemes):
    """The document demands what the configuration's credential proves, and holds no secret."""
    read, tree = service(made(KINDS), credential=credential)

    assert tree["components"].get("securitySchemes", {}) == schemes
    assert bool(read.demands("shop-sync")) is bool(schemes)
    assert "s3cret" not in json.dumps(tree)


# ---------------------------------------------------------------- pydantic


def test_models_take_a_row():
    """The module runs, its models take a batch as it is sent, and refuse one that lacks a property."""
    [shape] = made(KINDS, deletes=Deletes.MARK)
    module = imported(python.module([shape], "shop-sync"))
    event = {
        "id": 1,
        "_deleted": False,
        "date": "2024-02-29",
        "timestamp": "2024-02-29T23:59:58Z",
        "json": [1],
        "index": 3,
    }
    body = {
        "agent_id": "a",
        "task_id": "t",
        "is_snapshot_end": False,
        "snapshot_sync_suggested": False,
        "events": [event],
    }
    [row] = module.ThingsBatch.model_validate(body).events

    assert (row.id, row.deleted, row.json_, row.index, row.text) == (1, False, [1], 3, None)
    assert row.timestamp.utcoffset() is not None
    assert row.model_dump(by_alias=True, exclude_unset=True).keys() == event.keys()
    with pytest.raises(ValidationError, match="_deleted"):
        module.Things.model_validate({"id": 1})


def test_models_under_odd_names():
    """Whatever table and columns are called the module runs, and every property finds its field."""
    [shape] = made(ODD)
    module = imported(python.module([shape], 'a "sync"\\'))
    row = {column.name: "2024-01-01T00:00:00Z" if column.name == "when" else "v" for column in ODD.columns}
    [name] = [name for name in vars(module) if name.startswith("Order") and not name.endswith("Batch")]

    assert getattr(module, name).model_validate(row).model_dump(mode="json", by_alias=True) == {**row, "index": None}


def test_nested_models():
    """What is nested is a model of its own."""
    [shape] = made(KINDS, fields=(Field("id", "id"), Field("a.b.c", "text"), Field("a.d", "float")))
    module = imported(python.module([shape], "s"))

    assert module.Things.model_validate({"id": 1, "a": {"b": {"c": "x"}, "d": None}}).a.b.c == "x"


# ---------------------------------------------------------------- TypeScript


def test_interfaces():
    """One property a line; quotes where a name needs them, a question mark where it may be missing."""
    fields = (Field("id", "id"), Field("in.odd name", "text"), Field("any", "json"), Field("list", "set"))
    [shape] = made(KINDS, fields=fields, deletes=Deletes.MARK)
    lines = [line.partition(" //")[0] for line in typescript.module([shape], "s").splitlines()]

    assert lines[lines.index("export interface Things {") :][:11] == [
        "export interface Things {",
        "  id: number;",
        "  in: {",
        '    "odd name"?: string | null;',
        "  };",
        "  any?: unknown;",
        "  list?: unknown[] | null;",
        "  _deleted: boolean;",
        "  index?: number;",
        "}",
        "",
    ]
    assert "events: Things[];" in "".join(lines)


def test_comments_stay_comments():
    """A table's name ends no comment."""
    [shape] = made(ODD)
    text = typescript.module([shape], "s")

    assert text.count("*/") == text.count("/**") == 2


# ---------------------------------------------------------------- SQL


@pytest.mark.parametrize("table", [KINDS, ODD])
def test_statements_run(table):
    """The script makes the tables, with the key as their primary key, and a table for the checkpoint."""
    found = made(table, deletes=Deletes.MARK)
    database = sqlite3.connect(":memory:")
    database.executescript(sql.script(found, "s"))
    [name] = [
        name
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if name != "fuagent_checkpoint"
    ]
    columns = database.execute("SELECT name, pk FROM pragma_table_info(?)", (name,)).fetchall()
    database.close()

    assert [column for column, pk in columns if pk] == ["id"]
    assert len(columns) == len(table.columns)


def test_types_of_columns():
    """Declared digits are kept, a text in a key can be indexed, and what cannot be null says so."""
    text = sql.script(made(KINDS) + made(ODD), "s")

    assert "ratio DECIMAL(10,2) NOT NULL" in text
    assert '"decimal" TEXT' in text
    assert '"timestamp" TIMESTAMP' in text or "timestamp TIMESTAMP" in text
    assert "id VARCHAR(255) NOT NULL" in text
    assert '"select"' not in text
    assert '"Select" TEXT' in text


def test_a_table_without_a_key_and_nested_names():
    """Without a key the script says so; nested names are joined, and names that meet are kept apart."""
    table = Table("t", (Column("a", Kind.TEXT), Column("b", Kind.TEXT)))
    text = sql.script(made(table, fields=(Field("x.y", "a"), Field("x_y", "b"))), "s")

    assert "carry no key" in text
    assert "x_y TEXT NULL,\n    x_y_ TEXT NULL" in text
    assert "PRIMARY KEY (task_id" in text


def test_the_name_of_the_mark_is_the_agents():
    """One spelling of the key that names the mark, in every room."""
    [shape] = made(KINDS, deletes=Deletes.MARK, delete_field="gone")

    assert openapi.event(shape)[DELETE_FIELD] == "gone"
