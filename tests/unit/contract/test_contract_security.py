from __future__ import annotations

import json

import pytest

from fuagent.contract import document, security
from fuagent.contract.security import Scheme, Way

SCHEMES = {
    "header": {"type": "apiKey", "in": "header", "name": "X-Key"},
    "odd": {"type": "apiKey", "in": "body", "name": "k"},
    "nameless": {"type": "apiKey", "in": "query"},
    "basic": {"type": "http", "scheme": "Basic"},
    "bearer": {"type": "http", "scheme": "bearer"},
    "digest": {"type": "http", "scheme": "digest"},
    "client": {"type": "oauth2", "flows": {"clientCredentials": {"tokenUrl": "/token"}}},
    "implicit": {"type": "oauth2", "flows": {"implicit": {"authorizationUrl": "/a"}}},
    "oidc": {"type": "openIdConnect", "openIdConnectUrl": "/c"},
    "mtls": {"type": "mutualTLS"},
    "ref": {"$ref": "#/components/securitySchemes/header"},
    "broken": {"$ref": "elsewhere.json"},
}


def read(tree: dict[str, object]) -> document.Document:
    return document.read(json.dumps(tree).encode(), "https://h/openapi.json")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("header", Scheme("header", Way.API_KEY, "apiKey", "header", "X-Key")),
        ("odd", Scheme("odd", Way.UNKNOWN, "apiKey")),
        ("nameless", Scheme("nameless", Way.UNKNOWN, "apiKey")),
        ("basic", Scheme("basic", Way.BASIC, "http basic")),
        ("bearer", Scheme("bearer", Way.BEARER, "http bearer")),
        ("digest", Scheme("digest", Way.UNKNOWN, "http digest")),
        ("client", Scheme("client", Way.OAUTH2, "oauth2", token_url="/token", scopes=("a", "b"))),
        ("implicit", Scheme("implicit", Way.OAUTH2, "oauth2", scopes=("a", "b"))),
        ("oidc", Scheme("oidc", Way.OAUTH2, "openIdConnect", scopes=("a", "b"))),
        ("mtls", Scheme("mtls", Way.MUTUAL_TLS, "mutualTLS")),
        ("ref", Scheme("ref", Way.API_KEY, "apiKey", "header", "X-Key")),
        ("broken", Scheme("broken", Way.UNKNOWN, "not defined")),
        ("absent", Scheme("absent", Way.UNKNOWN, "not defined")),
    ],
)
def test_schemes(name, expected):
    """Every kind of scheme is read, and what cannot be met is kept with its own name."""
    found = read({"openapi": "3.1.0", "components": {"securitySchemes": SCHEMES}, "security": [{name: ["a", "b"]}]})

    assert ((expected,),) == security.alternatives(found, {})


def test_swagger_schemes():
    """Swagger 2.0 has other words for the same."""
    found = read(
        {
            "swagger": "2.0",
            "securityDefinitions": {
                "basic": {"type": "basic"},
                "app": {"type": "oauth2", "flow": "application", "tokenUrl": "https://h/t"},
                "user": {"type": "oauth2", "flow": "accessCode", "tokenUrl": "https://h/u"},
            },
        }
    )

    assert (
        Scheme("basic", Way.BASIC, "http basic"),
        Scheme("app", Way.OAUTH2, "oauth2", token_url="https://h/t"),
        Scheme("user", Way.OAUTH2, "oauth2"),
    ) == security.schemes(found)


def test_alternatives():
    """An operation's own list replaces the document's, and an empty alternative asks for nothing."""
    found = read(
        {
            "openapi": "3.1.0",
            "components": {"securitySchemes": SCHEMES},
            "security": [{"basic": []}, {"header": [], "mtls": []}],
        }
    )

    assert [[s.name for s in one] for one in security.alternatives(found, {})] == [["basic"], ["header", "mtls"]]
    assert [[s.name for s in one] for one in security.alternatives(found, {"security": [{"bearer": []}]})] == [
        ["bearer"]
    ]
    assert security.alternatives(found, {"security": []}) == ()
    assert security.alternatives(found, {"security": [{"basic": []}, {}]}) == ()
    assert security.alternatives(read({"openapi": "3.1.0"}), {}) == ()
