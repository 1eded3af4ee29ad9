"""The console over HTTP, met by a page, by other pages, and by sockets that mean no good."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from urllib.parse import quote, urlsplit

import aiohttp
import pytest
import structlog
from console_agent import DETAIL, JSON, Standing, console, events, next_event, sync

from fuagent import listen_door
from fuagent.console import access, feed, samples
from fuagent.console.told import ACTIONS

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
NAME = "<img src=x onerror=alert(1)>/ä"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Looks and penalties as short as they can be, and no minute that begins: it would be news of every sync."""
    monkeypatch.setattr(feed, "EVERY", 0.02)
    monkeypatch.setattr(access, "PENALTY", 0.0)
    monkeypatch.setattr(samples, "STEP", 1e9)


@pytest.fixture
def agent():
    return Standing(sync("orders"), sync(NAME))


@pytest.fixture
async def page(agent):
    async with console(agent) as found:
        yield found


async def raw(url, request):
    """Everything the other end says until it closes the connection."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 30)
    except ConnectionError:
        return b""
    finally:
        writer.close()


# ------------------------------------------------------------ what a browser gets


@pytest.mark.fault("S33")
async def test_every_answer_leaves_a_browser_no_room(page):
    """Whatever is asked: own files alone, no frame, no guessing, no address passed on."""
    for method, path in (
        ("GET", "/"),
        ("GET", "/console/"),
        ("GET", "/console/console.js"),
        ("GET", "/console/nothing"),
        ("GET", "/console/api/state"),
        ("GET", "/console/api/events"),
        ("GET", "/console/api/syncs/nobody"),
        ("POST", "/console/api/syncs/orders/pause"),
        ("DELETE", "/console/api/state"),
    ):
        async with page.session.request(method, page.url + path, allow_redirects=False) as response:
            policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))

            assert policy == {
                "default-src": "'none'",
                "script-src": "'self'",
                "style-src": "'self'",
                "img-src": "'self'",
                "connect-src": "'self'",
                "base-uri": "'none'",
                "form-action": "'none'",
                "frame-ancestors": "'none'",
            }, path
            assert {name: response.headers[name] for name in HEADERS} == HEADERS


@pytest.mark.fault("S33")
async def test_the_page_needs_nothing_from_elsewhere(page):
    """No script or style stands in it, and nothing it names lies on another host."""
    _, text = await page.ask("/console/")

    assert b"<script>" not in text
    assert b"<style" not in text
    assert b" style=" not in text
    assert b"://" not in text


@pytest.mark.fault("S33")
async def test_a_name_is_data(page):
    """A sync is found by its name however it is written, and what is told of it is JSON and no page."""
    status, told = await page.ask(f"/console/api/syncs/{quote(NAME, safe='')}")
    async with page.session.get(f"{page.url}/console/api/state") as response:
        kind = response.content_type

    assert (status, told["name"], kind) == (200, NAME, "application/json")


async def test_the_page_s_files_are_kept_and_asked_for_again(page):
    """A browser that has a file is told so in a word; after an upgrade it gets the new one."""
    async with page.session.get(f"{page.url}/console/console.css") as first:
        tag = first.headers["ETag"]
        kind, kept = first.content_type, first.headers["Cache-Control"]

    assert (kind, kept) == ("text/css", "no-cache")
    assert await page.ask("/console/console.css", **{"If-None-Match": tag}) == (304, b"")
    assert (await page.ask("/console/console.css", **{"If-None-Match": '"other"'}))[0] == 200
    assert (await page.ask("/console/icon.svg", "HEAD")) == (200, b"")
    assert (await page.ask("/"))[0] == (await page.ask("/console"))[0] == 302


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/console/../console/api/state", 200),  # the client itself has resolved it
        ("GET", "/console/%2e%2e/app.py", 404),
        ("GET", "/console/assets/console.js", 404),
        ("GET", "/consoles", 404),
        ("GET", "/console/api", 404),
        ("GET", "/console/api/", 404),
        ("GET", "/console/api/syncs", 404),
        ("GET", "/console/api/syncs/orders/pause", 405),
        ("POST", "/console/api/syncs/orders/explode", 404),
        ("POST", "/console/api/state", 405),
        ("POST", "/console/api/events", 405),
        ("POST", "/console/api/syncs/orders", 405),
        ("POST", "/console/", 405),
        ("OPTIONS", "/console/api/syncs/orders/pause", 405),
    ],
)
async def test_what_there_is_and_what_not(method, path, status, page):
    """A path that is not known is no file, and a method that is not meant does nothing."""
    assert (await page.ask(path, method))[0] == status


async def test_the_metrics_stay_what_they_were(page):
    """The window's own pages are beside it, and name each other alone."""
    assert (await page.ask("/healthz")) == (200, b"ok\n")
    assert (await page.ask("/nothing"))[0] == 404


# ------------------------------------------------------------ looking


async def test_state_and_detail(page):
    """The whole with history, and one sync closely; only who holds the token is told that it could act."""
    _, state = await page.ask("/console/api/state")
    _, able = await page.ask("/console/api/state", **page.proof)
    _, told = await page.ask("/console/api/syncs/orders")

    assert [one["name"] for one in state["syncs"]] == ["orders", NAME]
    assert (state["agent"]["writable"], able["agent"]["writable"]) == (False, True)
    assert len(state["syncs"][0]["history"]["rate"]) == 60
    assert told["batches"][0]["answer"] == "acknowledged"
    assert told["source"] == {"driver": "sqlite", "position": "7"}
    assert told["checkpoint"] == {"here": 7, "service": 6}
    assert told["actions"] == list(DETAIL.actions)


@pytest.mark.fault("S30")
async def test_elsewhere_looking_needs_the_token(agent):
    """On an address that others can reach nothing is told without it; the page itself holds nothing."""
    async with console(agent, "0.0.0.0") as page:
        paths = ("/console/api/state", "/console/api/events", "/console/api/syncs/orders")
        bare = [(await page.ask(path))[0] for path in paths]
        wrong = await page.ask("/console/api/state", Authorization="Bearer " + "x" * 43)
        right = await page.ask("/console/api/state", **page.proof)
        files = await page.ask("/console/")

    assert bare == [401] * 3
    assert wrong[0] == 401
    assert "fuagent console" in wrong[1]["fix"]
    assert right[0] == 200
    assert files[0] == 200


@pytest.mark.fault("S31")
async def test_a_foreign_host_gets_nothing(page, agent):
    """Not the page, not the state, and no action even with the right token."""
    answers = [
        await page.ask("/console/", Host="evil.example"),
        await page.ask("/console/api/state", Host="evil.example"),
        await page.act(Host="evil.example", Origin="http://evil.example"),
    ]

    assert [status for status, _ in answers] == [421] * 3
    assert agent.asked == []


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}])
async def test_another_page_may_not_even_look(headers, page):
    """A stream opened by a foreign page would take the place of one of ours."""
    assert (await page.ask("/console/api/state", **headers))[0] == 403
    assert (await page.ask("/console/api/events", **headers))[0] == 403


# ------------------------------------------------------------ acting


@pytest.mark.parametrize("action", ACTIONS)
async def test_actions_act(action, page, agent):
    """With the token each reaches the agent, with the rows it concerns and no others; the log says who and what."""
    numbers = [1, 2] if action.endswith("rejected") else None
    with structlog.testing.capture_logs() as lines:
        answer = await page.act(action, json.dumps({"numbers": numbers, "table": None}).encode())

    assert answer == (200, {"done": f"{action} done"})
    assert agent.asked == [("orders", action, numbers)]
    [line] = lines
    assert (line["event"], line["action"], line["sync"], line["by"]) == ("action", action, "orders", "127.0.0.1")
    assert page.token not in str(line)


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic {token}", "{token}", "Bearer {token}x", "Bearer ü{token}"],
)
@pytest.mark.fault("S32")
async def test_without_the_right_token_nothing_happens(header, page, agent):
    """On the loopback address too; the log says that somebody tried."""
    headers = {} if header is None else {"Authorization": header.format(token=page.token)}
    with structlog.testing.capture_logs() as lines:
        status, told = await page.ask("/console/api/syncs/orders/pause", "POST", b"{}", **JSON, **headers)

    assert status == 401
    assert set(told) == {"what", "where", "fix"}
    assert agent.asked == []
    assert [line["event"] for line in lines] == ["action refused"]
    assert page.token not in str(lines)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none", "Content-Type": "application/json; charset=utf-8"}, 200),
    ],
)
@pytest.mark.fault("S32")
async def test_another_page_s_request_does_nothing(headers, status, page, agent):
    """Even with the right token: what a foreign page or a form can send is not what an action is."""
    assert (await page.act(**headers))[0] == status
    assert len(agent.asked) == (status == 200)


async def test_the_own_origin_may_act(page, agent):
    """As the page itself sends it, also from behind a proxy that speaks TLS."""
    host = page.url.partition("//")[2]

    assert (await page.act(Origin=page.url))[0] == 200
    assert (await page.act(Origin=f"https://{host}"))[0] == 200
    assert len(agent.asked) == 2


@pytest.mark.parametrize(
    ("action", "body", "status"),
    [
        ("pause", b"", 200),
        ("pause", b"[]", 400),
        ("pause", b"{", 400),
        ("pause", b"\xff", 400),
        ("pause", b'{"x": "' + b"x" * 70_000 + b'"}', 413),
        ("snapshot", b'{"table": "orders"}', 400),
        ("drop-rejected", b"{}", 400),
        ("drop-rejected", b'{"numbers": null}', 400),
        ("drop-rejected", b'{"numbers": []}', 400),
        ("drop-rejected", b'{"numbers": ["1"]}', 400),
        ("drop-rejected", b'{"numbers": [true]}', 400),
        ("drop-rejected", b'{"numbers": [0]}', 400),
        ("drop-rejected", json.dumps({"numbers": list(range(1, 1002))}).encode(), 400),
        ("drop-rejected", json.dumps({"numbers": list(range(1, 1001))}).encode(), 200),
    ],
)
async def test_a_body_that_makes_no_sense_does_nothing(action, body, status, page, agent):
    """No row is dropped that was not named."""
    assert (await page.act(action, body))[0] == status
    assert len(agent.asked) == (status == 200)


async def test_a_body_longer_than_it_says_is_refused(page, agent):
    """One that comes in pieces has no length to look at."""

    async def pieces():
        for _ in range(40):
            yield b" " * 50_000

    headers = {**JSON, **page.proof}
    async with page.session.post(
        f"{page.url}/console/api/syncs/orders/pause", data=pieces(), headers=headers
    ) as response:
        assert response.status == 413
    assert agent.asked == []


async def test_what_the_agent_refuses_is_said(page, agent):
    """409 with its own words, and a line in the log; a sync that is not there is a 404."""
    agent.refuses = "not now"
    with structlog.testing.capture_logs() as lines:
        refused = await page.act()
        missing = await page.ask("/console/api/syncs/nobody/pause", "POST", b"{}", **JSON, **page.proof)

    assert refused == (409, {"what": "not now", "where": "orders", "fix": "Wait."})
    assert missing[0] == 404
    assert [line["event"] for line in lines] == ["action failed", "action refused"]


# ------------------------------------------------------------ news


async def test_news_come_as_they_happen(page, agent):
    """First everything, then what changed and nothing else; another set of syncs is told whole."""
    async with page.session.get(f"{page.url}/console/api/events") as response:
        stream = events(response)
        first = await next_event(stream)
        agent.all[0] = sync("orders", state="halted", problem="why")
        second = await next_event(stream)
        agent.all.pop()
        third = await next_event(stream)
        kind = response.content_type

    assert kind == "text/event-stream"
    assert (first[0], [one["name"] for one in first[1]["syncs"]]) == ("state", ["orders", NAME])
    assert second[0] == "changes"
    assert [(one["name"], one["state"], one["problem"]) for one in second[1]["syncs"]] == [("orders", "halted", "why")]
    assert (third[0], [one["name"] for one in third[1]["syncs"]]) == ("state", ["orders"])


async def test_a_stream_says_that_it_lives(page, monkeypatch):
    """Where nothing happens there is a comment now and then."""
    monkeypatch.setattr(feed, "SILENCE", 0.01)
    async with page.session.get(f"{page.url}/console/api/events") as response:
        for _ in range(3):
            await response.content.readuntil(b"\n\n")
        said = await response.content.readuntil(b"\n\n")

    assert said.startswith(b": ")


@pytest.mark.fault("S34")
async def test_a_stream_outlives_other_connections_and_is_counted_apart(page, agent, monkeypatch):
    """It goes on long after the deadline of any other, and takes nobody's place."""
    monkeypatch.setattr(listen_door, "DEADLINE", 0.1)
    monkeypatch.setattr(listen_door, "CONNECTIONS", 1)
    async with await heard(page) as response:
        stream = events(response)
        for number in range(20):
            agent.all[0] = sync("orders", rows=number + 1)
            await next_event(stream)
        monkeypatch.setattr(listen_door, "DEADLINE", 30)

        assert (await page.ask("/healthz"))[0] == 200


async def heard(page):
    """A stream; a connection whose request was not heard before its deadline is made anew."""
    async with asyncio.timeout(60):
        while True:
            with suppress(aiohttp.ClientConnectionError):
                return await page.session.get(f"{page.url}/console/api/events")


@pytest.mark.fault("S34")
async def test_a_stream_ends(page, monkeypatch):
    """After its time, so that none outlives its page for long."""
    monkeypatch.setattr(feed, "LIFE", 0.2)
    async with page.session.get(f"{page.url}/console/api/events") as response:
        text = await asyncio.wait_for(response.read(), 30)

    assert text.startswith(b"event: state\n")


@pytest.mark.fault("S34")
async def test_there_are_never_many_streams(page, monkeypatch):
    """The one beyond is told so; when a page has gone there is room again."""
    monkeypatch.setattr(feed, "STREAMS", 2)
    streams = [await page.session.get(f"{page.url}/console/api/events") for _ in range(2)]
    beyond = await page.ask("/console/api/events")
    streams[0].close()

    again = 503
    for _ in range(1500):
        async with page.session.get(f"{page.url}/console/api/events") as response:
            again = response.status
        if again == 200:
            break
        await asyncio.sleep(0.02)
    streams[1].close()

    assert beyond[0] == 503
    assert "listen already" in beyond[1]["what"]
    assert again == 200


@pytest.mark.fault("S34")
@pytest.mark.parametrize(
    "sent",
    [
        b"POST /console/api/syncs/orders/pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n{headers}\r\n\r\n{",
        b"GET /console/api/ev",
    ],
)
async def test_who_dawdles_is_cut(sent, page, agent, monkeypatch):
    """A body that never ends, half a line: with the right token too."""
    monkeypatch.setattr(listen_door, "DEADLINE", 0.1)

    headers = f"Content-Type: application/json\r\nAuthorization: Bearer {page.token}"
    answer = await raw(page.url, sent.replace(b"{headers}", headers.encode()))

    assert b" 200 " not in answer
    assert agent.asked == []


async def test_streams_end_with_the_agent(agent):
    """Nobody has to wait for a page that is still open."""
    async with console(agent, running=False) as page:
        async with page.console.running():
            response = await page.session.get(f"{page.url}/console/api/events")
            stream = events(response)
            await next_event(stream)
        rest = await asyncio.wait_for(response.content.read(), 30)

    assert b"event: state" not in rest
    assert response.content.at_eof()


async def true(condition):
    """Poll until it is."""
    for _ in range(1500):
        if condition():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it never came true")


async def test_a_look_that_fails_is_not_the_last(page, agent):
    """The log says so once, and news go on when it works again."""
    async with page.session.get(f"{page.url}/console/api/events") as response:
        stream = events(response)
        await next_event(stream)
        with structlog.testing.capture_logs() as lines:
            agent.broken = True
            looks = agent.looks
            await true(lambda: agent.looks > looks + 3)
        agent.all[0] = sync("orders", rows=3)
        agent.broken = False
        name, told = await next_event(stream)

    assert [line["event"] for line in lines] == ["the console's look failed"]
    assert (name, told["syncs"][0]["rows"]) == ("changes", 3)


async def test_sources_are_asked_when_somebody_looks(agent):
    """Once at the start and then seldom, until a page comes: then soon."""
    async with console(agent) as page:
        await true(lambda: agent.measured == 1)
        async with page.session.get(f"{page.url}/console/api/events") as response:
            await next_event(events(response))
            await true(lambda: agent.measured == 2)

    assert agent.measured == 2


@pytest.mark.fault("S32")
async def test_a_wrong_token_waits_for_its_answer(agent, monkeypatch):
    """Each guess takes its time; the right one does not."""
    waited = []
    sleep = asyncio.sleep

    async def noting(seconds):
        waited.append(seconds)
        await sleep(0)

    async with console(agent, running=False) as page:
        monkeypatch.setattr(access, "PENALTY", 0.5)
        monkeypatch.setattr(access.asyncio, "sleep", noting)
        await page.act(Authorization="Bearer wrong")
        await page.act()

    assert waited.count(0.5) == 1
