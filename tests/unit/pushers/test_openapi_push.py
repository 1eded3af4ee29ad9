from __future__ import annotations

import asyncio
import base64
import gzip
import json
import socket

import pytest
import zstandard
from raw_service import AGENT, TASK, Exchange, answering, batch, hurry

from fuagent.contract.outcome import BODY_LIMIT
from fuagent.errors import HaltSyncError, TryAgainError
from fuagent.model import Credential, Secret, Table, Verdict
from fuagent.pushers import openapi
from fuagent.version import __version__

KEY = Credential(key=Secret("canary-key"))
PATH = "/v1/ingest-batch"


async def test_request(service, pushing):
    """One POST with the contract's headers and body, to the path under the server's own path."""
    pusher = pushing(service.url, credential=KEY)
    await pusher.open()

    outcome = await pusher.push(batch(b'{"id":1,"index":5}', b'{"id":2,"index":6}'))

    assert outcome.verdict is Verdict.ACKNOWLEDGED
    (request,) = service.to(PATH)
    assert request.method == "POST"
    assert request.values("Content-Type") == ["application/json"]
    assert request.values("task-id") == [TASK]
    assert request.values("x-api-key") == ["canary-key"]
    assert request.values("Authorization") == ["Bearer canary-key"]
    assert request.values("Idempotency-Key") == ["start.1.7"]
    assert request.values("User-Agent") == [f"fuagent/{__version__}"]
    assert request.values("Accept-Encoding") == ["identity"]
    assert request.values("Content-Length") == [str(len(request.body))]
    assert request.values("Transfer-Encoding") == []
    assert json.loads(request.body) == {
        "agent_id": AGENT,
        "task_id": TASK,
        "is_snapshot_end": False,
        "snapshot_sync_suggested": False,
        "events": [{"id": 1, "index": 5}, {"id": 2, "index": 6}],
    }


async def test_basic(service, pushing):
    """User and password go as Basic, and without a credential nothing goes."""
    for credential in (Credential(user="ann", password=Secret("pw")), None):
        pusher = pushing(service.url, credential=credential)
        await pusher.open()
        await pusher.push(batch())

    first, second = service.to(PATH)
    assert first.values("Authorization") == ["Basic " + base64.b64encode(b"ann:pw").decode()]
    assert first.values("x-api-key") == second.values("Authorization") == second.values("x-api-key") == []


async def test_demanded_places(service, pushing):
    """Keys the document wants in a header, query or cookie go there too, and no message shows them."""
    schemes = {name: {"type": "apiKey", "in": name, "name": f"k-{name}"} for name in ("header", "query", "cookie")}
    service.describe(components={"securitySchemes": schemes}, security=[{key: [] for key in schemes}])
    service.routes[PATH] = answering(302, headers={"Location": "https://else.test/x?k=canary-key"})
    pusher = pushing(service.url, credential=KEY, batch_endpoint="/ingest-batch?code=1")
    await pusher.open()

    outcome = await pusher.push(batch())
    await pusher.checkpoint()

    for request in (service.to(PATH)[0], service.to("/v1/fuagent-sync-status")[0]):
        assert request.values("k-header") == request.values("x-api-key") == ["canary-key"]
        assert request.values("Cookie") == ["k-cookie=canary-key"]
    assert service.to(PATH)[0].target == f"{PATH}?code=1&k-query=canary-key"
    assert service.to("/v1/fuagent-sync-status")[0].target.endswith(
        f"?task_id={TASK}&agent_id={AGENT}&k-query=canary-key"
    )
    assert outcome.verdict is Verdict.WRONG_ANSWER
    assert "canary" not in repr(outcome) + pusher.route("")


async def test_retry_is_the_same_bytes(service, pushing):
    """The same batch is the same request, byte for byte."""
    pusher = pushing(service.url, credential=KEY)
    await pusher.open()

    for _ in range(2):
        await pusher.push(batch(size=1000))

    first, second = service.to(PATH)
    assert first.body == second.body
    assert first.headers == second.headers


@pytest.mark.fault("F86", "S01")
async def test_redirects_are_never_followed(serving, pushing):
    """A POST goes nowhere else, whatever the redirect: neither key nor rows reach the other place."""
    one, other = await serving(), await serving()
    pusher = pushing(one.url, credential=KEY)
    await pusher.open()

    for code in (301, 302, 303, 307, 308):
        for target in (other.url + PATH, "/v1/elsewhere"):
            one.routes[PATH] = answering(code, headers={"Location": target})
            assert (await pusher.push(batch())).verdict is Verdict.WRONG_ANSWER

    assert other.requests == one.to("/v1/elsewhere") == []


async def test_answers_are_read_by_the_contract(service, pushing):
    """Answers go through the one table, with overrides, pages and empty batches."""
    pusher = pushing(service.url, outcomes={409: "acknowledge"})
    await pusher.open()

    async def told(status: int, body: bytes = b"", headers: dict[str, str] | None = None):
        service.routes[PATH] = answering(status, body, headers)
        return await pusher.push(batch())

    assert (await told(200, b'{"snapshot_needed": true}')).snapshot_needed
    assert (await told(204)).verdict is Verdict.ACKNOWLEDGED
    assert (await told(409)).verdict is Verdict.ACKNOWLEDGED
    assert (await told(422)).verdict is Verdict.REJECTED
    assert (await told(413)).verdict is Verdict.SPLIT
    assert (await told(401)).verdict is Verdict.UNAUTHORISED
    assert (await told(200, b"<html>")).verdict is Verdict.WRONG_ANSWER
    assert (await told(503, headers={"Retry-After": "7"})).retry_after == 7
    assert (await told(422)).verdict is Verdict.REJECTED
    empty = openapi.replace(batch(), events=(), is_snapshot_end=True)
    assert (await pusher.push(empty)).verdict is Verdict.HALT


async def test_accept_html(service, pushing):
    """A service that means its pages is believed."""
    service.routes[PATH] = answering(200, b"<html>")
    pusher = pushing(service.url, accept_html=True)
    await pusher.open()

    assert (await pusher.push(batch())).verdict is Verdict.ACKNOWLEDGED


async def test_routes(service, pushing):
    """With {table} every table has a route of its own, percent-encoded."""
    service.describe(paths={"/in/{name}": {"post": {}}})
    pusher = pushing(service.url, batch_endpoint="/in/{table}")
    await pusher.open()

    assert pusher.route("a/b") == f"{service.url}/v1/in/a%2Fb"
    await pusher.push(batch(table="a/b"))
    assert [request.target for request in service.requests[1:]] == ["/v1/in/a%2Fb"]
    with pytest.raises(HaltSyncError, match="names no table"):
        await pusher.push(batch())


async def test_not_opened(service, pushing):
    """Before the document is read nothing can be asked, and that passes."""
    pusher = pushing(service.url)

    assert (await pusher.push(batch())).verdict is Verdict.RETRY
    with pytest.raises(TryAgainError, match="not been read"):
        pusher.event_schema(Table("t", ()))
    await pusher.close()
    await pusher.close()


@pytest.mark.fault("F84")
async def test_total_deadline(service, pushing):
    """An answer that drips for ever ends with the deadline of the attempt, head or body."""

    async def dripping_body(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await exchange.raw(b" ")
            await asyncio.sleep(0.01)

    async def dripping_head(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            await exchange.raw(b"x")
            await asyncio.sleep(0.01)

    pusher = pushing(service.url)
    await pusher.open()
    hurry(pusher, 0.4)
    for route in (dripping_body, dripping_head):
        service.routes[PATH] = route

        outcome = await asyncio.wait_for(pusher.push(batch()), 30)

        assert outcome.verdict is Verdict.RETRY
        assert "in time (0.4 s)" in outcome.reason
    hurry(pusher, 30)
    service.routes[PATH] = answering()
    assert (await pusher.push(batch())).verdict is Verdict.ACKNOWLEDGED


async def test_silence(service, pushing):
    """A service that takes everything and says nothing ends with the deadline."""

    async def silent(exchange: Exchange) -> None:
        await exchange.reader.read()

    service.routes[PATH] = silent
    pusher = pushing(service.url)
    await pusher.open()
    hurry(pusher, 0.2)

    assert "no complete answer in time" in (await asyncio.wait_for(pusher.push(batch()), 30)).reason


@pytest.mark.parametrize("size", [1_000_000, 20_000_000])
@pytest.mark.fault("F85")
async def test_success_before_the_body_was_read(service, pushing, size):
    """A 2xx to a body that was not read is no success, whether it stuck here or in the kernel."""
    service.unread_bodies.add(PATH)
    pusher = pushing(service.url)
    await pusher.open()

    outcome = await pusher.push(batch(size=size))

    assert outcome.verdict is Verdict.RETRY
    assert "before the batch was sent" in outcome.reason


@pytest.mark.fault("F85")
async def test_success_with_goodbye_before_the_body_was_read(service, pushing):
    """The same where the service closes right behind its answer."""
    service.unread_bodies.add(PATH)
    service.closing.add(PATH)
    pusher = pushing(service.url)
    await pusher.open()

    assert (await pusher.push(batch(size=5_000_000))).verdict is Verdict.RETRY


@pytest.mark.fault("F85")
async def test_large_bodies_that_are_read_count(service, pushing):
    """However large, a body that was read whole and answered is delivered, also with a goodbye."""
    pusher = pushing(service.url)
    await pusher.open()
    for closing in (set(), {PATH}):
        service.closing = closing
        for size in (100, 300_000, 1_000_000, 20_000_000):
            assert (await pusher.push(batch(size=size))).verdict is Verdict.ACKNOWLEDGED
            assert len(service.requests[-1].body) > size


async def test_refusal_before_the_body_was_read(service, pushing):
    """413 without reading is an answer like any other, and the connection is not used again."""
    service.unread_bodies.add(PATH)
    service.routes[PATH] = answering(413)
    pusher = pushing(service.url)
    await pusher.open()

    assert (await pusher.push(batch(size=1_000_000))).verdict is Verdict.SPLIT
    service.unread_bodies.clear()
    service.routes[PATH] = answering()
    assert (await pusher.push(batch())).verdict is Verdict.ACKNOWLEDGED
    first, second = service.to(PATH)
    assert first.connection != second.connection


@pytest.mark.fault("F83")
async def test_reset_in_the_answer(service, pushing):
    """A connection that breaks anywhere in the answer means the same bytes again."""

    async def in_head(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-")
        exchange.cut()

    async def in_body(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}")
        exchange.writer.close()

    async def at_once(exchange: Exchange) -> None:
        exchange.cut()

    pusher = pushing(service.url)
    await pusher.open()
    for route in (in_head, in_body, at_once):
        service.routes[PATH] = route

        outcome = await pusher.push(batch())

        assert outcome.verdict is Verdict.RETRY
        assert "connection broke" in outcome.reason


async def test_what_is_not_http(service, pushing):
    """Something that answers in another language is no answer."""

    async def ssh(exchange: Exchange) -> None:
        await exchange.raw(b"SSH-2.0-OpenSSH_9.0\r\n\r\n")
        exchange.writer.close()

    service.routes[PATH] = ssh
    pusher = pushing(service.url)
    await pusher.open()

    outcome = await pusher.push(batch())

    assert outcome.verdict is Verdict.RETRY
    assert "not HTTP" in outcome.reason


@pytest.mark.fault("F83")
async def test_stale_connection(service, pushing):
    """A kept connection that turns out closed is replaced at once, with the same bytes, once."""
    service.closing.add("/v1/fuagent-sync-status")
    pusher = pushing(service.url)
    await pusher.open()
    assert (await pusher.push(batch())).verdict is Verdict.ACKNOWLEDGED
    stale = service.requests[-1].connection

    async def die_if_old(exchange: Exchange) -> None:
        if exchange.request.connection == stale:
            exchange.writer.close()
        else:
            await exchange.answer()

    service.routes[PATH] = die_if_old
    outcome = await pusher.push(batch(b'{"id":9}'))

    assert outcome.verdict is Verdict.ACKNOWLEDGED
    _, old, new = service.to(PATH)
    assert (old.connection, new.connection) == (stale, stale + 1)
    assert (old.body, old.values("Idempotency-Key")) == (new.body, new.values("Idempotency-Key"))


@pytest.mark.fault("F83")
async def test_only_stale_connections_are_replaced(service, pushing):
    """A new connection that breaks is the engine's to retry, and a second break on a replaced one too."""

    async def die(exchange: Exchange) -> None:
        exchange.writer.close()

    service.routes[PATH] = die
    service.closing.add("/openapi.json")
    pusher = pushing(service.url)
    await pusher.open()
    assert (await pusher.push(batch())).verdict is Verdict.RETRY
    assert len(service.to(PATH)) == 1
    service.routes[PATH] = answering()
    await pusher.push(batch())
    service.routes[PATH] = die

    assert (await pusher.push(batch())).verdict is Verdict.RETRY
    assert len(service.to(PATH)) == 4


async def test_broken_answer_on_a_kept_connection(service, pushing):
    """Once an answer has begun nothing is sent again by itself."""
    pusher = pushing(service.url)
    await pusher.open()
    await pusher.push(batch())

    async def in_body(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}")
        exchange.cut()

    service.routes[PATH] = in_body

    assert (await pusher.push(batch())).verdict is Verdict.RETRY
    assert len(service.to(PATH)) == 2


async def test_connections_are_kept(service, pushing):
    """Batches share one connection."""
    pusher = pushing(service.url)
    await pusher.open()
    for _ in range(5):
        await pusher.push(batch())

    assert service.connections == 1


@pytest.mark.fault("F92")
async def test_connections_end(service, pushing):
    """A connection beyond its age is not used again."""
    pusher = pushing(service.url, max_connection_age=1e-9)
    await pusher.open()
    for _ in range(3):
        await pusher.push(batch())

    assert service.connections == 4


@pytest.mark.fault("F88", "S21")
async def test_answers_without_end(service, pushing):
    """An answer is read to its limit; what follows stays on the wire, and the connection is given up."""

    async def endless(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\n\r\n")
        while not exchange.writer.is_closing():
            await exchange.raw(b" " * 65536)

    service.routes[PATH] = endless
    pusher = pushing(service.url)
    await pusher.open()

    outcome = await pusher.push(batch())

    assert outcome.verdict is Verdict.ACKNOWLEDGED
    assert f"longer than {BODY_LIMIT} bytes" in outcome.reason
    service.routes[PATH] = answering()
    await pusher.push(batch())
    assert [request.connection for request in service.to(PATH)] == [1, 2]


async def test_a_head_that_comes_alone_is_acknowledged_at_once(service, pushing, monkeypatch):
    """Or else the kernel of a server that writes head and body apart keeps the body back for 40 ms."""
    set_on_sockets = []
    real = asyncio.trsock.TransportSocket.setsockopt

    def setsockopt(self, *given):
        set_on_sockets.append(given)
        real(self, *given)

    monkeypatch.setattr(asyncio.trsock.TransportSocket, "setsockopt", setsockopt)
    acknowledged = (socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    may_end = asyncio.Event()

    async def apart(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n")
        await may_end.wait()
        await exchange.raw(b'{"snapshot_needed":true}')

    pusher = pushing(service.url)
    await pusher.open()
    whole = await pusher.push(batch())
    assert acknowledged not in set_on_sockets
    service.routes[PATH] = apart
    pushed = asyncio.create_task(pusher.push(batch()))
    async with asyncio.timeout(10):
        while acknowledged not in set_on_sockets:
            await asyncio.sleep(0.005)
    may_end.set()
    parts = await pushed

    assert (whole.verdict, whole.snapshot_needed) == (Verdict.ACKNOWLEDGED, False)
    assert (parts.verdict, parts.snapshot_needed) == (Verdict.ACKNOWLEDGED, True)


@pytest.mark.parametrize("body", [gzip.compress(bytes(5_000_000)), b"no gzip"], ids=["a bomb", "nothing to open"])
@pytest.mark.fault("F88", "S21")
async def test_compressed_answers_are_not_opened(service, pushing, body):
    """No content coding is asked for; what comes in one all the same is not opened, and the delivery counts."""
    service.routes[PATH] = answering(200, body, {"Content-Encoding": "gzip"})
    pusher = pushing(service.url)
    await pusher.open()

    outcome = await pusher.push(batch())

    assert outcome.verdict is Verdict.ACKNOWLEDGED
    assert "compressed" in outcome.reason
    assert [request.values("Accept-Encoding") for request in service.requests] == [["identity"]] * 2


async def test_cookies_are_not_kept(service, pushing):
    """What a service sets is not sent back."""
    service.routes[PATH] = answering(headers={"Set-Cookie": "sid=1"})
    pusher = pushing(service.url)
    await pusher.open()
    await pusher.push(batch())
    await pusher.push(batch())

    assert service.requests[-1].values("Cookie") == []


@pytest.mark.fault("F92")
async def test_no_connection(service, pushing):
    """Nobody at the port, and no such host, are told apart without repeating the URL's query."""
    pusher = pushing(service.url, base_url="http://127.0.0.1:1/v1", batch_endpoint="/in?code=canary")
    await pusher.open()

    outcome = await pusher.push(batch())

    assert outcome.verdict is Verdict.RETRY
    assert outcome.reason == "no connection to the service (connection refused)"
    assert "canary" not in repr(outcome)
    pusher = pushing(service.url, base_url="http://nowhere.invalid/v1")
    await pusher.open()
    unknown = (await pusher.push(batch())).reason
    assert "host name was not found" in unknown
    assert "error -" not in unknown, "what the resolver says has no number of the system's"


@pytest.mark.parametrize(
    ("coding", "opened"),
    [("gzip", gzip.decompress), ("zstd", lambda data: zstandard.ZstdDecompressor().decompress(data))],
)
async def test_compression(service, pushing, coding, opened):
    """Bodies go compressed where configured, the same way every time."""
    pusher = pushing(service.url, compression=coding)
    await pusher.open()
    for _ in range(2):
        assert (await pusher.push(batch(size=10_000))).verdict is Verdict.ACKNOWLEDGED

    first, second = service.to(PATH)
    assert first.values("Content-Encoding") == [coding]
    assert first.body == second.body
    assert len(first.body) < 1000
    assert len(json.loads(opened(first.body))["events"]) == 1


async def test_compression_that_is_not_taken(service, pushing, warned):
    """415 to a compressed body: plain from then on, and one warning."""

    async def plain_only(exchange: Exchange) -> None:
        await exchange.answer(415 if exchange.request.values("Content-Encoding") else 200)

    service.routes[PATH] = plain_only
    pusher = pushing(service.url, compression="gzip")
    await pusher.open()
    for _ in range(3):
        assert (await pusher.push(batch())).verdict is Verdict.ACKNOWLEDGED

    assert [bool(request.values("Content-Encoding")) for request in service.to(PATH)] == [True, False, False, False]
    assert [text for text in warned.texts if "415" in text] == [
        "the service does not take gzip bodies (415); they are sent plain from now on"
    ]


async def test_compression_on_a_broken_connection(service, pushing):
    """A fault under a compressed body is a fault like any other."""
    pusher = pushing(service.url, compression="gzip", base_url="http://127.0.0.1:1")
    await pusher.open()

    assert (await pusher.push(batch())).verdict is Verdict.RETRY


@pytest.mark.fault("F80")
async def test_refreshed_credential(service, pushing):
    """After a refresh the credential is the one that stands there now, on new connections."""
    keys = iter(["first", "second"])
    pusher = pushing(service.url, credential=lambda: Credential(key=Secret(next(keys))))
    await pusher.open()
    await pusher.push(batch())
    await pusher.refresh()
    await pusher.push(batch())

    first, second = service.to(PATH)
    assert (first.value("x-api-key"), second.value("x-api-key")) == ("first", "second")
    assert first.connection != second.connection


@pytest.mark.fault("S18")
async def test_values_that_cannot_be_sent(service, pushing):
    """A key with a line end halts before anything is sent, and is not shown."""
    pusher = pushing(service.url)
    await pusher.open()
    pusher = pushing(service.url, credential=Credential(key=Secret("canary\r\nx: y")))

    with pytest.raises(HaltSyncError, match=r"credential\.key") as caught:
        await pusher.open()

    assert "canary" not in str(caught.value)
    pusher = pushing(service.url)
    await pusher.open()
    with pytest.raises(HaltSyncError, match="the name of the sync"):
        await pusher.push(openapi.replace(batch(), task_id="a\r\nb"))
    assert service.to(PATH) == []


async def test_rows_named_as_rejected(service, pushing, warned):
    """Heeded where the configuration says so; a list that cannot be meant is told once and refuses nothing."""
    answers = [b'{"rejected": [{"row": 1, "reason": "no"}]}', b'{"rejected": 7}', b'{"rejected": 7}']
    bodies = iter([answers[0], *answers])

    async def route(exchange: Exchange) -> None:
        await exchange.answer(200, next(bodies))

    service.routes[PATH] = route
    plain, heeding = pushing(service.url), pushing(service.url, accept_rejected=True)
    two = batch(b'{"id":1}', b'{"id":2}')
    await plain.open()
    await heeding.open()
    outcomes = [await pusher.push(two) for pusher in (plain, heeding, heeding, heeding)]

    assert {outcome.verdict for outcome in outcomes} == {Verdict.ACKNOWLEDGED}
    assert [[refused.row for refused in outcome.rejected] for outcome in outcomes] == [[], [1], [], []]
    assert len([text for text in warned.texts if "rejected is no list" in text]) == 1
