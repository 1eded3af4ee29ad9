from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.contract import document, operation


def read(tree: dict[str, object]) -> document.Document:
    return document.read(json.dumps(tree).encode(), "https://h/openapi.json")


def paths(*names: str) -> document.Document:
    return read({"openapi": "3.1.0", "paths": {name: {"post": {"operationId": name}} for name in names}})


@pytest.mark.parametrize(
    ("names", "path", "expected"),
    [
        (["/in"], "/in", "/in"),
        (["/in/{table}", "/in/orders"], "/in/orders", "/in/orders"),
        (["/in/{table}", "/in/orders"], "/in/users", "/in/{table}"),
        (["/{a}/orders", "/in/{b}"], "/in/orders", "/in/{b}"),
        (["/in/{a}-{b}.x"], "/in/p-q-r.x", "/in/{a}-{b}.x"),
        (["/in/{a}{b}"], "/in/pq", "/in/{a}{b}"),
        (["/in/{a}{b}"], "/in/p", None),
        (["/in/{a}-{b}"], "/in/-q", None),
        (["/in/{a}-{b}"], "/in/p-", None),
        (["/in/x{a}"], "/in/yq", None),
        (["/in/{a}x"], "/in/qy", None),
        (["/in/{a}-{b}-{c}"], "/in/p-q", None),
        (["/in/{table}"], "/in/a/b", None),
        (["/in/"], "/in", None),
        (["/IN"], "/in", None),
        ([], "/in", None),
    ],
)
def test_find(names, path, expected):
    """A concrete path wins over a templated one, and a template stands for one part of a path."""
    found = operation.find(paths(*names), path)

    assert (found.path if found else None) == expected


def test_template_named_like_itself():
    """Without a table's name the path with its placeholder is found under its own name or another."""
    assert str(operation.find(paths("/in/{table}"), "/in/{table}")) == "POST /in/{table}"
    assert str(operation.find(paths("/in/{name}"), "/in/{table}")) == "POST /in/{name}"


def test_hostile_templates():
    """A template made to be slow is not."""
    assert operation.find(paths("/" + "{a}" * 500 + "x"), "/" + "a" * 2000) is None


@given(st.text("ab{}/x", max_size=12), st.text("abx/", max_size=8))
def test_any_template(template, path):
    """Whatever stands between braces, what is found has as many parts as what was asked for."""
    found = operation.find(paths("/" + template), "/" + path)

    assert found is None or found.path.count("/") == path.count("/") + 1


def test_references_to_path_items():
    """A path item and its operation may stand elsewhere in the document."""
    tree = {
        "openapi": "3.1.0",
        "paths": {"/in": {"$ref": "#/components/pathItems/in"}, "/none": {"$ref": "other.json"}},
        "components": {"pathItems": {"in": {"post": {"$ref": "#/op"}, "get": {}}}},
        "op": {"operationId": "found"},
    }

    found = operation.find(read(tree), "/in")

    assert found is not None
    assert found.node == {"operationId": "found"}
    assert operation.find(read(tree), "/none") is None
    assert operation.methods(read(tree), "/in") == ("GET", "POST")
    assert operation.methods(read(tree), "/absent") == ()


def test_similar():
    """What may have been meant is named: first the same path but for case and slashes, else what is close."""
    assert operation.similar(paths("/ingest-batch/", "/Ingest-Batch", "/ingest"), "/ingest-batch") == (
        "/ingest-batch/",
        "/Ingest-Batch",
    )
    assert operation.similar(paths("/ingest-batches", "/users"), "/ingest-batch") == ("/ingest-batches",)
    assert operation.similar(paths("/" + "x" * 100_000), "/ingest-batch") == ()
    assert operation.similar(paths("/rows", "/users"), "/ingest-batch") == ("/rows", "/users")
    assert operation.similar(paths("/a", "/b", "/c", "/d"), "/ingest-batch") == ()


def body(content: object, **more: object) -> operation.Operation:
    tree = {"openapi": "3.1.0", "paths": {"/in": {"post": {"requestBody": content}}}, **more}
    found = operation.find(read(tree), "/in")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("content", "schema", "takes_json"),
    [
        ({"application/json": {"schema": {"a": 1}}}, {"a": 1}, True),
        ({"Application/JSON; charset=utf-8": {"schema": {"a": 1}}}, {"a": 1}, True),
        ({"*/*": {"schema": {}}, "application/x+json": {"schema": {"b": 1}}}, {"b": 1}, True),
        ({"application/*": {"schema": {"c": 1}}, "application/json": {"schema": {"a": 1}}}, {"a": 1}, True),
        ({"application/json": {}}, None, True),
        ({"application/json": {"$ref": "#/media"}}, {"m": 1}, True),
        ({"application/xml": {"schema": {"a": 1}}, "text/x+json": {}}, None, False),
        ({}, None, True),
    ],
)
def test_body(content, schema, takes_json):
    """The schema of the JSON body is found under every name JSON has, and XML is not taken for it."""
    found = body({"content": content}, media={"schema": {"m": 1}})

    assert found.body == schema
    assert found.takes_json is takes_json


def test_body_references():
    """A request body may stand elsewhere in the document; one that leads nowhere says nothing."""
    assert body({"$ref": "#/b"}, b={"content": {"application/json": {"schema": {"a": 1}}}}).body == {"a": 1}
    assert body({"$ref": "#/nothing"}).body is None


def test_own_servers():
    """Servers of a path or an operation are noticed."""
    moved = {"openapi": "3.1.0", "paths": {"/a": {"servers": [], "post": {}}, "/b": {"post": {"servers": []}}}}

    assert [operation.find(read(moved), path).moved for path in ("/a", "/b")] == [True, True]
    assert not body({}).moved


def test_swagger_body():
    """Swagger 2.0 keeps the body among the parameters, of the operation or of the path."""
    tree = {
        "swagger": "2.0",
        "consumes": ["application/xml"],
        "paths": {
            "/own": {"post": {"consumes": ["application/json"], "parameters": [{"$ref": "#/parameters/batch"}]}},
            "/shared": {"parameters": [{"in": "query"}, {"in": "body", "schema": {"p": 1}}], "post": {}},
            "/none": {"post": {"parameters": []}},
        },
        "parameters": {"batch": {"in": "body", "schema": {"o": 1}}},
    }
    own, shared, none = (operation.find(read(tree), path) for path in ("/own", "/shared", "/none"))

    assert (own.body, own.takes_json) == ({"o": 1}, True)
    assert (shared.body, shared.takes_json) == ({"p": 1}, False)
    assert none.body is None
    silent = read({"swagger": "2.0", "paths": {"/in": {"post": {}}}})
    assert operation.find(silent, "/in").takes_json
