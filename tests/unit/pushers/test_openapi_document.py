"""Finding the service: its document from the network, a file or the kept copy; the checkpoint question."""

from __future__ import annotations

import asyncio
import gzip
import json
import stat

import pytest
from raw_service import AGENT, TASK, Exchange, answering, batch, document

from fuagent.contract.document import BYTE_LIMIT
from fuagent.errors import HaltSyncError, TryAgainError, UnauthorisedError, WrongAnswerError
from fuagent.model import Answer, Checkpoint, Column, Credential, Kind, Level, Property, Secret, Table, Verdict

KEY = Credential(key=Secret("canary-key"))
STATUS = "/v1/fuagent-sync-status"
ORDERS = Table("orders", (Column("id", Kind.INTEGER),))


def described(items: object) -> dict[str, object]:
    schema = {"type": "object", "properties": {"events": {"type": "array", "items": items}}}
    return {"/ingest-batch": {"post": {"requestBody": {"content": {"application/json": {"schema": schema}}}}}}


async def test_read_once(service, pushing):
    """The document is read once: a changed one counts from the next start on."""
    pusher = pushing(service.url)
    await pusher.open()
    service.describe(servers=[{"url": "/v2"}])
    await pusher.close()
    await pusher.open()

    assert pusher.route("orders") == f"{service.url}/v1/ingest-batch"
    assert len(service.to("/openapi.json")) == 1
    assert pushing(service.url).route is not None


async def test_yaml(service, pushing):
    """YAML is read like JSON, whatever its Content-Type."""
    service.routes["/openapi.yaml"] = answering(body=b"openapi: 3.0.3\nservers: [{url: /api}]\n")
    pusher = pushing(service.url + "/openapi.yaml")
    await pusher.open()

    assert pusher.route("") == f"{service.url}/api/ingest-batch"


async def test_event_schema(service, pushing, warned):
    """The service's event schema is found, and a route that is not described is told once."""
    service.describe(paths=described({"properties": {"id": {"type": "string"}}}))
    pusher = pushing(service.url)
    await pusher.open()
    assert pusher.event_schema(ORDERS).properties == {"id": Property(frozenset({"string"}))}
    assert warned.findings == []

    pusher = pushing(service.url, batch_endpoint="/absent")
    await pusher.open()
    assert pusher.event_schema(ORDERS) is None
    assert pusher.event_schema(ORDERS) is None
    assert warned.texts == ["the document has no path /absent"]
    assert warned.findings[0].level is Level.WARNING


@pytest.mark.fault("S01")
async def test_redirects_within_one_origin(service, pushing):
    """A document may move within its origin; relative servers count from where it was found."""
    service.routes["/openapi.json"] = answering(302, headers={"Location": "/deep/er/openapi.json#x"})
    service.routes["/deep/er/openapi.json"] = answering(body=json.dumps(document(servers=[{"url": "../v3"}])).encode())
    pusher = pushing(service.url)
    await pusher.open()

    assert pusher.route("") == f"{service.url}/deep/v3/ingest-batch"


@pytest.mark.fault("S15")
async def test_references_to_elsewhere_are_not_followed(serving, pushing, warned):
    """Neither another address nor a file is read for a schema that the document only refers to."""
    one, other = await serving(), await serving()
    for elsewhere in (f"{other.url}/openapi.json#/x", "other.json", "file:///etc/passwd", "//169.254.169.254/latest"):
        one.describe(paths=described({"$ref": elsewhere}))
        pusher = pushing(one.url)
        await pusher.open()
        schema = pusher.event_schema(ORDERS)

        assert schema is None or schema.properties == {}
    assert other.requests == []
    assert {request.target for request in one.requests} == {"/openapi.json"}


@pytest.mark.fault("S01")
async def test_redirects_elsewhere(serving, pushing):
    """A document that leads to another origin is not followed, and the key goes nowhere."""
    one, other = await serving(), await serving()
    one.routes["/openapi.json"] = answering(302, headers={"Location": other.url + "/openapi.json?x=canary"})
    pusher = pushing(one.url, credential=KEY)

    with pytest.raises(WrongAnswerError, match="another origin") as caught:
        await pusher.open()

    assert other.requests == []
    assert "canary" not in str(caught.value)


async def test_redirects_without_end(service, pushing):
    """A circle of redirects ends, and one without a place is none."""
    service.routes["/openapi.json"] = answering(307, headers={"Location": "/openapi.json"})
    with pytest.raises(TryAgainError, match="redirects"):
        await pushing(service.url).open()
    service.routes["/openapi.json"] = answering(302)
    with pytest.raises(TryAgainError):
        await pushing(service.url).open()


async def test_protected_document(service, pushing):
    """A document behind the key is asked for with the key only once it was refused without."""

    async def protected(exchange: Exchange) -> None:
        known = exchange.request.values("x-api-key") == ["canary-key"]
        await exchange.answer(200 if known else 401, json.dumps(document()).encode())

    service.routes["/openapi.json"] = protected
    pusher = pushing(service.url, credential=KEY)
    await pusher.open()

    assert [request.values("x-api-key") for request in service.requests] == [[], ["canary-key"]]
    with pytest.raises(UnauthorisedError, match="401"):
        await pushing(service.url + "/openapi.json?other").open()


@pytest.mark.parametrize(
    ("status", "body", "headers", "kind", "told"),
    [
        (200, b"<html>", {}, WrongAnswerError, "web page"),
        (404, b"", {}, WrongAnswerError, "answers 404"),
        (503, b"", {}, TryAgainError, "answers 503"),
        (429, b"", {}, TryAgainError, "answers 429"),
        (204, b"", {}, WrongAnswerError, "answers 204"),
        (200, gzip.compress(b"{}", mtime=0), {"Content-Encoding": "gzip"}, WrongAnswerError, "compressed"),
        (200, b" " * (BYTE_LIMIT + 100), {}, WrongAnswerError, "larger than 5 MB"),
        (200, b'{"openapi": "4"}', {}, HaltSyncError, "version '4'"),
        (200, b'{"openapi": "3.0.0", "servers": [{"url": "https://evil.test"}]}', {}, HaltSyncError, "another origin"),
    ],
)
async def test_no_document(service, pushing, status, body, headers, kind, told):
    """What is no document says so with the URL; only a clear one of a wrong kind halts."""
    service.routes["/openapi.json"] = answering(status, body, headers)

    with pytest.raises(kind, match=told) as caught:
        await pushing(service.url + "/openapi.json?key=canary").open()

    assert type(caught.value) is kind
    assert caught.value.where == f"{service.url}/openapi.json"
    assert "canary" not in str(caught.value)


@pytest.mark.fault("S21")
async def test_document_that_never_ends(service, pushing):
    """A document that drips for ever ends with the deadline."""

    async def dripping(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\n\r\n{")
        while True:
            await exchange.raw(b" ")
            await asyncio.sleep(0.01)

    service.routes["/openapi.json"] = dripping

    with pytest.raises(TryAgainError, match="in time"):
        await asyncio.wait_for(pushing(service.url, timeout=0.3).open(), 30)


@pytest.mark.fault("S21")
async def test_documents_and_checkpoints_without_end(service, pushing):
    """Read up to a limit, long before any deadline: neither memory nor time is given to what never ends."""

    async def endless(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\n\r\n")
        while not exchange.writer.is_closing():
            await exchange.raw(b"1" * 65536)

    whole = service.routes["/openapi.json"]
    service.routes["/openapi.json"] = endless
    with pytest.raises(WrongAnswerError, match="larger than 5 MB"):
        await asyncio.wait_for(pushing(service.url, timeout=300).open(), 60)

    service.routes |= {"/openapi.json": whole, STATUS: endless}
    pusher = pushing(service.url, timeout=300)
    await pusher.open()
    with pytest.raises(HaltSyncError, match="more than 65536 bytes"):
        await asyncio.wait_for(pusher.checkpoint(), 60)


@pytest.mark.parametrize(
    ("endpoint", "told"),
    [
        ("https://user:canary@h/openapi.json", "user or password"),
        ("ftp://h/openapi.json", "no http or https URL"),
    ],
)
async def test_endpoints(pushing, endpoint, told):
    """An endpoint with a password or another scheme halts without being asked."""
    with pytest.raises(HaltSyncError, match=told) as caught:
        await pushing(endpoint).open()

    assert "canary" not in str(caught.value)


@pytest.mark.fault("S02", "S17")
async def test_require_tls(service, pushing):
    """Where TLS is required an http document is not even fetched."""
    with pytest.raises(HaltSyncError, match="without TLS"):
        await pushing(service.url, require_tls=True).open()

    assert service.requests == []


@pytest.mark.fault("F98")
async def test_a_document_that_changes_counts_from_the_next_start(serving, pushing):
    """Who runs sends on to where it began, in a later session too; the next start refuses a server elsewhere."""
    one, other = await serving(), await serving()
    pusher = pushing(one.url, credential=KEY)
    await pusher.open()
    one.describe(servers=[{"url": other.url}])
    await pusher.refresh()
    await pusher.close()
    await pusher.open()

    assert (await pusher.push(batch())).verdict is Verdict.ACKNOWLEDGED
    with pytest.raises(HaltSyncError, match="another origin"):
        await pushing(one.url, credential=KEY).open()
    assert other.requests == []


@pytest.mark.fault("F95")
async def test_kept_copy(service, pushing, warned, tmp_path):
    """A restart without the service goes on with the last good document, and says so."""
    pusher = pushing(service.url, credential=KEY)
    await pusher.open()
    [kept] = (tmp_path / "cache").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert warned.findings == []

    for broken in (answering(503), answering(200, b"<html>"), answering(404)):
        service.routes["/openapi.json"] = broken
        warned.findings.clear()
        again = pushing(service.url, credential=KEY)
        await again.open()

        assert again.route("") == pusher.route("")
        assert (await again.push(batch())).verdict is Verdict.ACKNOWLEDGED
        assert [finding.level for finding in warned.findings] == [Level.WARNING]
        assert "going on with the copy" in warned.texts[0]
    assert any("copy" in finding.what for finding in await again.check([ORDERS]))


@pytest.mark.fault("S16")
async def test_kept_copy_counts_for_its_endpoint_only(service, pushing, tmp_path):
    """Another endpoint's copy, a damaged one and none at all are of no use."""
    await pushing(service.url).open()
    service.routes["/openapi.json"] = answering(503)
    [kept] = (tmp_path / "cache").iterdir()
    whole = kept.read_bytes()

    with pytest.raises(TryAgainError, match="503"):
        await pushing(service.url + "/openapi.json?other").open()
    for damaged in (whole[:-5], b"", b"[]\n", b"nothing"):
        kept.write_bytes(damaged)
        with pytest.raises(TryAgainError, match="503"):
            await pushing(service.url).open()
    kept.write_bytes(whole)
    await pushing(service.url).open()


async def test_many_keep_copies_at_once(service, pushing, tmp_path):
    """Syncs that start together, to one service or to several, keep one whole copy for each document."""
    endpoints = [service.url, f"{service.url}/openapi.json?other"] * 10
    await asyncio.gather(*(pushing(endpoint).open() for endpoint in endpoints))
    service.routes["/openapi.json"] = answering(503)

    for endpoint in endpoints[:2]:
        await pushing(endpoint).open()

    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.fault("S17")
async def test_kept_copy_is_held_to_the_rules(service, pushing):
    """A kept document that may not be used any more halts like a fresh one."""
    service.describe(servers=[{"url": "http://127.0.0.1:1/v1"}])
    await pushing(service.url, allowed_hosts=["127.0.0.1"]).open()
    service.routes["/openapi.json"] = answering(503)

    with pytest.raises(HaltSyncError, match="another origin"):
        await pushing(service.url).open()


async def test_copy_that_cannot_be_written(service, pushing, warned, tmp_path):
    """Without room for the copy everything works, with a warning."""
    (tmp_path / "cache").write_bytes(b"a file is in the way")
    await pushing(service.url).open()

    assert ["the document's copy cannot be written" in text for text in warned.texts] == [True]


@pytest.mark.parametrize("spelling", ["path", "url"])
async def test_files(service, pushing, tmp_path, spelling):
    """A document may be a file, with a space in its name too, and names its server itself."""
    file = tmp_path / "my openapi.json"
    file.write_text(json.dumps(document(servers=[{"url": service.url + "/v1"}])))
    pusher = pushing(str(file) if spelling == "path" else file.as_uri())
    await pusher.open()

    assert (await pusher.push(batch())).verdict is Verdict.ACKNOWLEDGED
    assert not (tmp_path / "cache").exists()


async def test_files_that_cannot_be_read(pushing, tmp_path):
    """A file that is not there, is a folder, or has no server says what to do."""
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(TryAgainError, match="no such file"):
            await pushing(str(path)).open()
    with pytest.raises(TryAgainError, match="cannot be read"):
        await pushing("x" * 5000).open()
    relative = tmp_path / "openapi.json"
    relative.write_text(json.dumps(document()))
    with pytest.raises(HaltSyncError, match="base_url"):
        await pushing(str(relative)).open()


async def test_checkpoint(service, pushing):
    """The question names task and agent, carries the key, and its answer is read by the contract."""
    service.routes[STATUS] = answering(body=b'{"index": 42}')
    pusher = pushing(service.url, credential=KEY)
    await pusher.open()

    assert await pusher.checkpoint() == Checkpoint(Answer.INDEX, 42)
    (request,) = service.to(STATUS)
    assert (request.method, request.body) == ("GET", b"")
    assert request.target == f"{STATUS}?task_id={TASK}&agent_id={AGENT}"
    assert request.values("x-api-key") == ["canary-key"]
    assert request.values("Authorization") == ["Bearer canary-key"]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, b"", TryAgainError),
        (401, b"", UnauthorisedError),
        (200, b"<html>", WrongAnswerError),
        (200, b'"abc"', HaltSyncError),
        (200, b"-1", HaltSyncError),
        (200, b"1" * 70_000, HaltSyncError),
    ],
)
async def test_unclear_checkpoints(service, pushing, status, body, kind):
    """What is no clear answer is asked again; what cannot be an index halts."""
    service.routes[STATUS] = answering(status, body)
    pusher = pushing(service.url)
    await pusher.open()

    with pytest.raises(kind) as caught:
        await pusher.checkpoint()

    assert type(caught.value) is kind
    assert STATUS in caught.value.where


async def test_no_checkpoint(service, pushing):
    """404 is none, no endpoint is no endpoint, and a broken connection is neither."""
    pusher = pushing(service.url)
    await pusher.open()
    assert await pusher.checkpoint() == Checkpoint(Answer.NONE)

    async def cut(exchange: Exchange) -> None:
        exchange.cut()

    service.routes[STATUS] = cut
    with pytest.raises(TryAgainError, match="connection broke"):
        await pusher.checkpoint()
    service.describe(servers=[{"url": "/v1"}])
    pusher = pushing(service.url)
    await pusher.open()
    assert await pusher.checkpoint() == Checkpoint(Answer.NO_ENDPOINT)


@pytest.mark.fault("S01")
async def test_checkpoint_redirects(serving, pushing):
    """The question follows a redirect within its origin and none that leads out of it."""
    one, other = await serving(), await serving()
    one.routes[STATUS] = answering(307, headers={"Location": "/elsewhere?x=1"})
    one.routes["/elsewhere"] = answering(body=b"7")
    pusher = pushing(one.url, credential=KEY)
    await pusher.open()
    assert await pusher.checkpoint() == Checkpoint(Answer.INDEX, 7)

    one.routes[STATUS] = answering(307, headers={"Location": other.url + "/elsewhere"})
    with pytest.raises(WrongAnswerError, match="redirects"):
        await pusher.checkpoint()
    assert other.requests == []


def levels(findings):
    return {finding.what: finding.level for finding in findings}


@pytest.mark.fault("S17")
async def test_check_of_a_good_service(service, pushing, warned):
    """A good service gives no error, and what will happen: where to, which document, which checkpoint."""
    service.describe(paths=described({"properties": {"id": {}}}))
    service.routes[STATUS] = answering(body=b"42")
    findings = await pushing(service.url, credential=KEY).check([ORDERS])

    assert {finding.level for finding in findings} == {Level.INFO}
    about, checkpoint = findings
    assert "OpenAPI 3.1.0, sha256 " in about.what
    assert checkpoint.what == "the service's checkpoint is 42"
    assert service.to("/v1/ingest-batch") == []
    assert warned.findings == []


async def test_check_of_a_silent_service(service, pushing):
    """No checkpoint, no endpoint and no event schema are told without being wrong."""
    findings = levels(await pushing(service.url).check([ORDERS]))
    assert findings["the service has no checkpoint for this sync (404)"] is Level.INFO
    assert any("says nothing about the properties" in what for what in findings)
    service.describe(servers=[])

    findings = levels(await pushing(service.url).check([ORDERS]))
    assert any("the journal is the only checkpoint" in what for what in findings)
    assert Level.ERROR not in findings.values()


async def test_check_without_a_document(service, pushing):
    """Without a document there is one finding, with the place and what to do."""
    service.routes["/openapi.json"] = answering(200, b"<html>")

    (finding,) = await pushing(service.url).check([ORDERS])

    assert finding.level is Level.ERROR
    assert finding.where == f"{service.url}/openapi.json"
    assert finding.fix
    (finding,) = await pushing("http://127.0.0.1:1").check([ORDERS])
    assert "no connection" in finding.what


async def test_check_finds_what_is_wrong(service, pushing):
    """A missing path, unmet demands and a refused key are errors; a run would only warn of the first."""
    service.describe(
        paths={"/ingest-batches": {"post": {}}},
        security=[{"basic": []}],
        components={"securitySchemes": {"basic": {"type": "http", "scheme": "basic"}}},
    )
    service.routes[STATUS] = answering(401)

    findings = levels(await pushing(service.url, credential=KEY).check([ORDERS]))

    assert findings["the document has no path /ingest-batch"] is Level.ERROR
    assert any("'basic' wants credential.user" in what for what in findings)
    assert findings["the status endpoint refuses the credential (401)"] is Level.ERROR


async def test_check_of_routes(service, pushing):
    """With {table} every table's route is looked at."""
    service.describe(paths={"/in/orders": {"post": {}}})
    pusher = pushing(service.url, batch_endpoint="/in/{table}")

    findings = levels(await pusher.check([ORDERS, Table("users", ())]))

    assert findings["the document has no path /in/users"] is Level.ERROR
    assert "the document has no path /in/orders" not in findings


async def test_check_of_mutual_tls_without_tls(service, pushing):
    """A client certificate cannot be shown over plain http."""
    service.describe(security=[{"m": []}], components={"securitySchemes": {"m": {"type": "mutualTLS"}}})

    findings = levels(await pushing(service.url).check([ORDERS]))

    assert any("but the service's URL is http" in what for what in findings)


async def test_checked_things_are_no_news(service, pushing, warned):
    """Whoever has checked is not warned of the same again."""
    pusher = pushing(service.url, batch_endpoint="/absent")
    await pusher.check([ORDERS])
    pusher.event_schema(ORDERS)

    assert warned.findings == []
