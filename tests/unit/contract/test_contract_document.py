from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.contract import document
from fuagent.errors import FuagentError, HaltSyncError, WrongAnswerError
from fuagent.model import Level

URL = "https://docs.example.test/api/openapi.json?token=canary"
SMALL = {"openapi": "3.1.0", "paths": {}}


def read(text: str | bytes) -> document.Document:
    return document.read(text.encode() if isinstance(text, str) else text, URL)


def test_read():
    """A document keeps its tree, its place without secrets, its version and its hash."""
    data = json.dumps(SMALL).encode()

    found = document.read(data, URL)

    assert found.tree == SMALL
    assert found.version == "3.1.0"
    assert hashlib.sha256(data).hexdigest() == found.sha256
    assert found.where == "https://docs.example.test/api/openapi.json"
    assert found.findings == ()


@pytest.mark.parametrize(
    "text",
    [
        '{"openapi": "3.1.0"}',
        '\ufeff{"openapi": "3.1.0"}',
        "openapi: 3.1.0",
        "# a comment\nopenapi: '3.1.0'",
        "{openapi: 3.1.0}",
        '{"openapi": "3.1.0",}',
        '{"openapi": "3.1.0"}'.encode("utf-16"),
    ],
)
def test_notations(text):
    """JSON, YAML, YAML's flow notation, byte order marks and UTF-16 are all read."""
    assert read(text).version == "3.1.0"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"<!doctype html><html>", "web page"),
        (b"\n  <?xml version='1.0'?>", "web page"),
        (b"", "empty"),
        (b" \n\t", "empty"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b'{"a": "\xe4"}', "not UTF-8"),
        (b"[1, 2]", "not an object"),
        (b"just text", "not an object"),
        (b"{}", "neither 'openapi' nor 'swagger'"),
        (b'{"openapi": "3.1.0"', "not valid JSON"),
        (b'{"openapi": 3, "x": NaN, "y": [}', "not valid JSON"),
        (b'{"openapi": "3.1.0", "x": ' + b"9" * 5000 + b"} }", "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"a: [", "not valid YAML"),
        (b"\x00\x01", "not valid YAML"),
        (b"x" * (document.BYTE_LIMIT + 1), "larger than 5 MB"),
    ],
)
@pytest.mark.fault("F97", "S14", "S21")
def test_no_document(text, told):
    """Whatever is no document ends in one clear sentence with the place and without its secrets."""
    with pytest.raises(WrongAnswerError, match=told) as caught:
        read(text)

    assert caught.value.where == "https://docs.example.test/api/openapi.json"
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('{"openapi": "3.0.4"}', "3.0.4"),
        ('{"openapi": "3.2.0"}', "3.2.0"),
        ('{"openapi": 3.1}', "3.1"),
        ('{"swagger": "2.0"}', "2.0"),
        ("swagger: 2.0", "2.0"),
    ],
)
def test_versions(text, version):
    """OpenAPI 3 and Swagger 2.0 are known, also where YAML made a number of the version."""
    assert version == read(text).version


@pytest.mark.parametrize(
    "text", ['{"openapi": "4.0.0"}', '{"swagger": "1.2"}', '{"openapi": null}', '{"openapi": "30"}']
)
def test_unknown_version(text):
    """Another version halts: guessing where keys go is no option."""
    with pytest.raises(HaltSyncError, match="is not known"):
        read(text)


@pytest.mark.parametrize(
    "text", ['{"openapi": "3.0.0", "a": 1, "a": 2, "b\\u001b": {"c": 1, "c": 1}}', "openapi: 3.0.0\na: 1\na: 2\n"]
)
def test_repeated_keys(text):
    """A key that stands twice keeps its last value, is told once, and cannot reach the terminal."""
    found = read(text)

    assert found.tree["a"] == 2
    assert {Level.WARNING} == {finding.level for finding in found.findings}
    assert any("'a' stands twice" in finding.what for finding in found.findings)
    assert not any("\x1b" in finding.what for finding in found.findings)


def test_repeated_keys_are_not_told_without_end():
    """A document full of repeated keys gives a few findings."""
    text = "{" + ", ".join(f'"k{n}": 1, "k{n}": 1' for n in range(1000)) + ', "openapi": "3.0.0"}'

    assert len(read(text).findings) == 10


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes(data):
    """Whatever bytes come give a document or one of fuagent's errors, with the place and a fix."""
    try:
        found = document.read(data, URL)
    except FuagentError as error:
        assert error.where == "https://docs.example.test/api/openapi.json"
        assert error.fix
    else:
        assert {"openapi", "swagger"} & found.tree.keys()


@pytest.mark.fault("F97", "S15")
def test_references():
    """References are followed inside the document, through escapes and arrays, and nowhere else."""
    found = read(
        json.dumps(
            SMALL
            | {
                "a/b": {"~": [{"x": 1}]},
                "first": {"$ref": "#/second"},
                "second": {"$ref": "#/a~1b/~0/0"},
                "loop": {"$ref": "#/loop"},
                "root": {"$ref": "#"},
                "text": "no object",
            }
        )
    )

    def follow(ref: object) -> object:
        return document.resolve(found, {"$ref": ref})

    assert {"x": 1} == follow("#/first") == follow("#/a~1b/%7E0/0") == document.resolve(found, {"x": 1})
    assert found.tree == follow("#")
    for ref in (
        "#/loop",
        "#/none",
        "#/text",
        "#/text/deeper",
        "#/a~1b/~0/1",
        "#/a~1b/~0/x",
        "#/a~1b/~0/²",
        "#anchor",
        7,
    ):
        assert follow(ref) == {}
    for ref in ("file:///etc/passwd", "http://169.254.169.254/latest", "other.json#/x", "/etc/passwd"):
        assert follow(ref) == {}
    assert document.resolve(found, "text") == {}
