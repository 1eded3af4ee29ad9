from __future__ import annotations

import json

import pytest

from fuagent.contract import document, spec
from fuagent.contract.spec import Service, Settings
from fuagent.errors import HaltSyncError
from fuagent.model import Credential, Level, Property, Secret

URL = "https://api.example.test/docs/openapi.json"
TASK = "my-sync"


def service(tree: dict[str, object] | None = None, url: str = URL, **settings: object) -> Service:
    data = json.dumps({"openapi": "3.1.0"} | (tree or {}) if "swagger" not in (tree or {}) else tree)
    return spec.service(document.read(data.encode(), url), Settings(**settings))


def body(schema: object) -> dict[str, object]:
    return {"post": {"requestBody": {"content": {"application/json": {"schema": schema}}}}}


def batch(items: object, **more: object) -> dict[str, object]:
    return {"type": "object", "properties": {"events": {"type": "array", "items": items}}, **more}


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        (None, "https://api.example.test/"),
        ([], "https://api.example.test/"),
        ("text", "https://api.example.test/"),
        ([{}], "https://api.example.test/"),
        ([{"url": ""}], "https://api.example.test/"),
        ([{"url": "/"}], "https://api.example.test/"),
        ([{"url": "/v1"}], "https://api.example.test/v1"),
        ([{"url": "v1"}], "https://api.example.test/docs/v1"),
        ([{"url": "./v1/"}], "https://api.example.test/docs/v1/"),
        ([{"url": "../v1"}], "https://api.example.test/v1"),
        ([{"url": "//api.example.test/v2"}], "https://api.example.test/v2"),
        ([{"url": "https://api.example.test/v1"}], "https://api.example.test/v1"),
        ([{"url": "https://API.example.test:443/v1"}], "https://API.example.test:443/v1"),
        ([{"url": "/v1#x"}], "https://api.example.test/v1"),
        ([{"url": "/a"}, {"url": "/b"}], "https://api.example.test/a"),
        ([{"url": "/a"}, {"url": "/b", "x-fuagent-status-endpoint": "/s"}], "https://api.example.test/b"),
        ([{"url": "/a", "x-fuagent-status-endpoint": " "}, {"url": "/b"}], "https://api.example.test/a"),
        (
            [{"url": "/{v}/{n}", "variables": {"v": {"default": "v2"}, "n": {"default": 3}}}],
            "https://api.example.test/v2/3",
        ),
        ([{"url": "{base}", "variables": {"base": {"default": "/v1"}}}], "https://api.example.test/v1"),
    ],
)
@pytest.mark.fault("F96")
def test_base(servers, expected):
    """The base is the first server, or the first with a status endpoint, as it reads from the document's URL."""
    assert service({"servers": servers}).base_url == expected


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({}, "https://api.example.test/"),
        ({"basePath": "v1"}, "https://api.example.test/v1"),
        ({"host": "api.example.test", "basePath": "/v1", "schemes": ["http", "https"]}, "https://api.example.test/v1"),
        ({"host": "api.example.test"}, "https://api.example.test/"),
    ],
)
def test_swagger_base(tree, expected):
    """Swagger 2.0 says the same in pieces; what it leaves out is the document's own."""
    assert service({"swagger": "2.0"} | tree).base_url == expected


def test_swagger_schemes():
    """Where the document's own scheme is not offered the first one counts, and https for what is not HTTP."""
    tree = {"swagger": "2.0", "host": "h", "schemes": ["http"]}

    assert service(tree, allowed_hosts=("h",)).base_url == "http://h/"
    assert service(tree | {"schemes": ["wss"]}, allowed_hosts=("h",)).base_url == "https://h/"
    assert service({"swagger": "2.0", "host": "h"}, url="file:///d.json").base_url == "https://h/"


def test_swagger_status():
    """Swagger 2.0 has no servers, so the status endpoint stands at the root."""
    assert service({"swagger": "2.0", "x-fuagent-status-endpoint": "/s"}).status_url == "https://api.example.test/s"
    assert service({"x-fuagent-status-endpoint": "/s"}).status_url is None


@pytest.mark.parametrize(
    ("spoken", "settings", "expected"),
    [
        ("/fuagent-sync-status", {}, "https://api.example.test/v1/fuagent-sync-status"),
        ("status?x=1", {}, "https://api.example.test/v1/status?x=1"),
        ("https://api.example.test/other", {}, "https://api.example.test/other"),
        (None, {}, None),
        (None, {"status_endpoint": "/own"}, "https://api.example.test/v1/own"),
        ("/theirs", {"status_endpoint": "/own"}, "https://api.example.test/v1/own"),
        ("/theirs", {"status_endpoint": "https://else.test/own"}, "https://else.test/own"),
        ("/theirs", {"base_url": "https://else.test/v9"}, "https://else.test/v9/theirs"),
        ("https://else.test/s", {"allowed_hosts": ("else.test",)}, "https://else.test/s"),
    ],
)
@pytest.mark.fault("F96")
def test_status(spoken, settings, expected):
    """The status path lies under the server's path; the operator's word counts before the document's."""
    server = {"url": "/v1"} | ({"x-fuagent-status-endpoint": spoken} if spoken else {})

    assert service({"servers": [server]}, **settings).status_url == expected


@pytest.mark.parametrize("spoken", [5, {}, " "])
def test_status_that_is_no_path(spoken):
    """A status endpoint that is no text is told and counts as none."""
    found = service({"servers": [{"url": "/", "x-fuagent-status-endpoint": spoken}]})

    assert found.status_url is None
    assert [finding.level for finding in found.findings] == [Level.WARNING]


@pytest.mark.fault("F96")
def test_batch_url():
    """The batch path lies under the server's path, with values percent-encoded."""
    tree = {"servers": [{"url": "/v1/"}]}

    assert service(tree).batch_url(TASK) == "https://api.example.test/v1/ingest-batch"
    assert service(tree, batch_endpoint="in?code=a b").batch_url(TASK) == "https://api.example.test/v1/in?code=a%20b"
    found = service(tree, batch_endpoint="/in/{task}/{table}")
    assert found.batch_url(TASK, "öre/../x y?") == "https://api.example.test/v1/in/my-sync/%C3%B6re%2F..%2Fx%20y%3F"
    assert found.separates_tables
    assert not service(tree).separates_tables


@pytest.mark.parametrize("table", ["", ".", ".."])
def test_tables_that_cannot_stand_in_a_path(table):
    """No table, and dots that mean another path, halt instead of going somewhere else."""
    with pytest.raises(HaltSyncError, match=r"batch_endpoint"):
        service(batch_endpoint="/in/{table}").batch_url(TASK, table)


@pytest.mark.parametrize(
    ("tree", "settings", "told"),
    [
        ({"servers": [{"url": "https://evil.test/v1"}]}, {}, r"another origin for the server: https://evil\.test"),
        ({"servers": [{"url": "http://api.example.test/"}]}, {}, "another origin"),
        ({"servers": [{"url": "https://api.example.test:444/"}]}, {}, "another origin"),
        ({"servers": [{"url": "https://evil.test/"}]}, {"allowed_hosts": ("good.test",)}, "another origin"),
        ({"servers": [{"url": "https://h.test:444/"}]}, {"allowed_hosts": ("h.test:445",)}, "another origin"),
        (
            {"servers": [{"url": "/", "x-fuagent-status-endpoint": "https://evil.test/s"}]},
            {},
            "for the status endpoint",
        ),
        ({"servers": [{"url": "/", "x-fuagent-status-endpoint": "ftp://h/s"}]}, {}, "no plain http"),
        ({"servers": [{"url": "/", "x-fuagent-status-endpoint": "https://u@h/s"}]}, {}, "no plain http"),
        ({"servers": [{"url": "https://u:canary@api.example.test/"}]}, {}, "carries a user"),
        ({"servers": [{"url": "/?key=canary"}]}, {}, "query"),
        ({"servers": [{"url": "ftp://api.example.test/"}]}, {}, "does not say where"),
        ({"servers": [{"url": "https://[bad/"}]}, {}, "does not say where"),
        ({"servers": [{"url": "/{v}"}]}, {}, "without a default: {v}"),
        ({"servers": [{"url": "/{v}", "variables": {"v": {"default": []}}}]}, {}, "without a default"),
        ({"servers": [{"url": "/{v}", "variables": {"v": {"enum": ["a"]}}}]}, {}, "without a default"),
        ({}, {"base_url": "api.example.test"}, "no http or https URL"),
        ({}, {"base_url": "https://u:canary@h/"}, "user or password"),
        ({}, {"base_url": "https://h/?x=canary"}, "query"),
        ({}, {"base_url": "https://h/#canary"}, "query"),
        ({}, {"base_url": "http://h/", "require_tls": True}, "without TLS"),
        ({}, {"status_endpoint": "gopher://h/"}, "no http or https URL"),
        ({}, {"status_endpoint": "http://127.0.0.1/s", "require_tls": True}, "without TLS"),
        ({"servers": [{"url": "http://h/"}]}, {"allowed_hosts": ("h",), "require_tls": True}, "without TLS"),
        ({}, {"batch_endpoint": "/in/{schema}"}, "placeholder {schema}"),
        ({}, {"batch_endpoint": "https://h/in"}, "no path"),
        ({}, {"batch_endpoint": "/in#x"}, "no path"),
        ({}, {"batch_endpoint": "/"}, "no path"),
    ],
)
@pytest.mark.fault("F98", "S02", "S16")
def test_refused(tree, settings, told):
    """Documents and settings that would send keys elsewhere, or nowhere, halt with the reason and no secret."""
    with pytest.raises(HaltSyncError, match=told) as caught:
        service(tree, **settings)

    assert caught.value.fix
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "server"),
    [
        ("good.test", "https://good.test/v1"),
        ("GOOD.test", "https://good.test:8443/v1"),
        ("good.test:8443", "https://good.test:8443/v1"),
        ("::1", "http://[::1]:8000/v1"),
        ("[::1]:8000", "http://[::1]:8000/v1"),
        ("::1", "http://[::1]/v1"),
    ],
)
@pytest.mark.fault("S16")
def test_allowed_hosts(host, server):
    """A host the operator allows may have keys, with or without its port."""
    assert service({"servers": [{"url": server}]}, allowed_hosts=(host,)).base_url == server


@pytest.mark.fault("S02", "S17")
def test_documents_require_tls_too():
    """A document fetched in clear could have been changed on its way."""
    with pytest.raises(HaltSyncError, match="without TLS"):
        service({"servers": [{"url": "https://h/"}]}, url="http://h/o.json", allowed_hosts=("h",), require_tls=True)


def test_files():
    """A document in a file needs an absolute server or base_url, and has no origin to compare."""
    assert service({"servers": [{"url": "https://h/v1"}]}, url="file:///d.json").base_url == "https://h/v1"
    assert service({}, url="file:///d.json", base_url="https://h/v2").base_url == "https://h/v2"
    for servers in ([], [{"url": "/v1"}]):
        with pytest.raises(HaltSyncError, match="base_url"):
            service({"servers": servers}, url="file:///d.json")


@pytest.mark.parametrize(
    ("url", "server", "warned"),
    [
        ("http://api.example.test/o.json", "/", ["http://api.example.test/"]),
        ("http://127.0.0.1:8000/o.json", "/", []),
        ("http://localhost/o.json", "/", []),
        ("https://api.example.test/o.json", "/", []),
        ("http://docs.test/o.json", "https://api.test/", ["http://docs.test/o.json"]),
    ],
)
@pytest.mark.fault("S02", "S17")
def test_plain_http(url, server, warned):
    """Plain http off this machine is told once per origin, the document's too."""
    found = service({"servers": [{"url": server}]}, url=url, allowed_hosts=("api.test",))

    assert [finding.where for finding in found.findings] == warned


def test_repeated_keys_are_passed_on():
    """What was odd about the document itself is among the findings."""
    found = spec.service(document.read(b'{"openapi": "3.0.0", "a": 1, "a": 1}', URL), Settings())

    assert "stands twice" in found.findings[0].what


def test_event_schema():
    """The schema of events belongs to the path a batch goes to; a concrete one wins."""
    number, text = ({"type": "object", "properties": {"id": {"type": kind}}} for kind in ("number", "string"))
    tree = {
        "paths": {"/in/{t}": body(batch(number)), "/in/orders": body(batch(text)), "/ingest-batch": body(batch({}))}
    }
    found = service(tree, batch_endpoint="/in/{table}")

    assert found.event_schema(TASK, "orders").properties["id"] == Property(frozenset({"string"}))
    assert found.event_schema(TASK, "users").properties["id"] == Property(frozenset({"number"}))
    assert found.event_schema(TASK).properties["id"] == Property(frozenset({"number"}))
    assert found.event_schema(TASK, "users").where == f"{URL} POST /in/{{t}}, events.items"
    assert service(tree).event_schema(TASK) is None
    assert service(tree, batch_endpoint="/none").event_schema(TASK) is None


def test_documented_path_of_odd_tables():
    """The path is looked up with the table's own letters; a slash in them stays inside one part."""
    found = service({"paths": {"/in/öre": body({"a": 1}), "/in/{t}": body({"b": 1})}}, batch_endpoint="/in/{table}?x=1")

    assert found.operation(TASK, "öre").body == {"a": 1}
    assert found.operation(TASK, "a/b").body == {"b": 1}


@pytest.mark.parametrize(
    ("paths", "level", "told"),
    [
        ({}, Level.ERROR, "no path /ingest-batch"),
        (
            {"/ingest-batch/": {"post": {}}},
            Level.ERROR,
            "set driver_params.batch_endpoint of the pusher to /ingest-batch/",
        ),
        (
            {"/in/a": {"post": {}}, "/in/b": {"post": {}}},
            Level.ERROR,
            "to /in/a or /in/b or /in/{table} for all of them",
        ),
        ({"/in/a": {"post": {}}, "/out/b": {"post": {}}}, Level.ERROR, "of the pusher to /in/a or /out/b"),
        ({"/ingest-batch": {"get": {}, "put": {}}}, Level.ERROR, "has GET, PUT at /ingest-batch, but no POST"),
        ({"/ingest-batch": {"post": {"requestBody": {"content": {"text/xml": {}}}}}}, Level.ERROR, "application/json"),
        ({"/ingest-batch": {"servers": [], "post": {}}}, Level.WARNING, "servers of its own"),
        ({"/ingest-batch": body(batch({"type": "string"}))}, Level.ERROR, "events are described as string"),
        ({"/ingest-batch": body(batch({}, required=["events", "who"]))}, Level.ERROR, "never sent: who"),
        (
            {"/ingest-batch": body(batch({}, additionalProperties=False))},
            Level.ERROR,
            "allows no agent_id, is_snapshot_end, snapshot_sync_suggested, task_id",
        ),
    ],
)
def test_route_findings(paths, level, told):
    """What is wrong with the place batches go to is found, with what to do."""
    (finding,) = service({"paths": paths}).route_findings(TASK)

    assert finding.level is level
    assert told in f"{finding.what} {finding.fix}"
    assert finding.fix


def test_nothing_to_find():
    """A place described as the contract has it gives no findings."""
    properties = {name: {} for name in spec.SENT} | {"events": {"type": "array", "items": {"type": ["object"]}}}
    schema = {"properties": properties, "required": sorted(spec.SENT), "additionalProperties": False}

    assert service({"paths": {"/ingest-batch": body(schema)}}).route_findings(TASK) == ()


def test_demands():
    """The operation's demands count, or the document's where the operation is not described."""
    tree = {
        "security": [{"all": []}],
        "paths": {"/ingest-batch": {"post": {"security": [{"own": []}]}}},
    }

    assert service(tree).demands(TASK)[0][0].name == "own"
    assert service(tree, batch_endpoint="/none").demands(TASK)[0][0].name == "all"


CLIENT = Credential(client_id="i", client_secret=Secret("s"))


def oauth(url: str, **more: object) -> dict[str, object]:
    flow = {"clientCredentials": {"tokenUrl": url}}
    return {"components": {"securitySchemes": {"o": {"type": "oauth2", "flows": flow}}}, **more}


def test_token_source():
    """Token URL and scopes are the credential's, else those of the demanded scheme, else of any scheme."""
    demanded = service(oauth("../token?x=1", security=[{"o": ["a"]}]))
    defined = service(oauth("/token"))
    own = Credential(client_id="i", token_url="https://login.test/t", scopes=("mine",))

    assert demanded.token_source(CLIENT, demanded.demands(TASK)) == ("https://api.example.test/token?x=1", ("a",))
    assert defined.token_source(CLIENT, ()) == ("https://api.example.test/token", ())
    assert demanded.token_source(own, demanded.demands(TASK)) == ("https://login.test/t", ("mine",))


@pytest.mark.parametrize(
    ("tree", "credential", "settings", "told"),
    [
        ({}, CLIENT, {}, "names no token URL"),
        (oauth("https://evil.test/t"), CLIENT, {}, "another origin for the token URL"),
        (oauth("https://[bad"), CLIENT, {}, "another origin for the token URL: "),
        (oauth("http://h/t"), CLIENT, {"allowed_hosts": ("h",), "require_tls": True}, "without TLS"),
        ({}, Credential(client_id="i", token_url="http://h/t"), {"require_tls": True}, "without TLS"),
        ({}, Credential(client_id="i", token_url="https://u:canary@h/t"), {}, "user or password"),
    ],
)
@pytest.mark.fault("S02", "S16")
def test_token_source_refused(tree, credential, settings, told):
    """The client's secret goes nowhere the operator did not allow."""
    with pytest.raises(HaltSyncError, match=told) as caught:
        service(tree, **settings).token_source(credential, ())

    assert "canary" not in str(caught.value)
