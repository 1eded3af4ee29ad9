"""The window over HTTP, met by a real client and by raw sockets that mean no good."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack

import aiohttp
import pytest
import structlog

from fuagent import listen, listen_door
from fuagent.engine.agent import Agent
from fuagent.errors import StopAgentError
from fuagent.listen import Address


@pytest.fixture
async def window():
    """Opens a window on a free port and gives its port and the lines it logged."""
    async with AsyncExitStack() as stack:

        async def opened(host: str = "127.0.0.1") -> tuple[int, list[dict[str, object]]]:
            with structlog.testing.capture_logs() as lines:
                await stack.enter_async_context(listen.serve(Address(host, 0), Agent([]), lambda: 1))
            return int(str(lines[0]["address"]).rpartition(":")[2]), lines

        yield opened


async def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://127.0.0.1:{port}{path}", headers=headers) as response,
    ):
        return response.status, await response.text()


async def raw(port: int, request: bytes) -> bytes:
    """Everything the other end says until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


# ------------------------------------------------------------ pages


async def test_three_pages_and_nothing_else(window):
    """Metrics, health, readiness; any other path names these."""
    port, _ = await window()

    assert "fuagent_journal_bytes 1.0" in (await ask(port, "/metrics"))[1]
    assert await ask(port, "/healthz") == (200, "ok\n")
    assert await ask(port, "/readyz") == (200, "ok\n")
    assert await ask(port, "/") == (404, "there are /metrics, /healthz, /readyz\n")


async def test_no_page_waits_for_a_database():
    """A source that never answers is asked once, and the page comes all the same."""

    class Stuck(Agent):
        asked = 0

        async def status(self):
            self.asked += 1
            await asyncio.Event().wait()

    agent = Stuck([])
    with structlog.testing.capture_logs() as lines:
        async with listen.serve(Address("127.0.0.1", 0), agent, lambda: 1):
            port = int(str(lines[0]["address"]).rpartition(":")[2])
            told = [(await asyncio.wait_for(ask(port, "/metrics"), 30))[0] for _ in range(2)]

    assert told == [200, 200]
    assert agent.asked >= 1


@pytest.mark.fault("S32")
async def test_only_asking_is_possible(window):
    """HEAD is answered like GET without a body; everything else is refused."""
    port, _ = await window()

    assert await ask(port, "/healthz", "HEAD") == (200, "")
    assert {(await ask(port, "/metrics", method))[0] for method in ("POST", "PUT", "DELETE", "OPTIONS")} == {405}


@pytest.mark.fault("S33")
async def test_no_page_is_a_web_page(window):
    """Whatever names stand in them: a browser takes each as plain text, whatever it looks like, and none is kept."""
    port, _ = await window()
    told = []
    for path in ("/metrics", "/healthz", "/readyz", "/<script>alert(1)</script>"):
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}{path}") as response,
        ):
            told.append((response.content_type, response.headers["X-Content-Type-Options"]))
            assert response.headers["Cache-Control"] == "no-store"
            assert "<script>" not in await response.text()

    assert told == [("text/plain", "nosniff")] * 4


# ------------------------------------------------------------ who asks


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:8103", "127.0.0.1", "127.0.0.1:9999", "127.1.2.3", "[::1]", "[::1]:8103"]
)
async def test_the_loopback_answers_to_its_own_names(host, window):
    """At whatever port, because it may be reached through a tunnel."""
    port, _ = await window()

    assert (await ask(port, "/healthz", Host=host))[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8103",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "",
        "a@localhost",
    ],
)
@pytest.mark.parametrize("path", ["/metrics", "/nowhere"])
@pytest.mark.fault("S31")
async def test_a_foreign_name_gets_nothing(host, path, window):
    """A page that reaches 127.0.0.1 under its own name learns not even which paths there are."""
    port, _ = await window()

    status, text = await ask(port, path, Host=host)

    assert status == 421
    assert "fuagent_" not in text


@pytest.mark.fault("S31")
async def test_a_request_without_a_host_gets_nothing(window):
    """HTTP/1.0 needs no Host header, and gets no answer either."""
    port, _ = await window()

    assert (await raw(port, b"GET /metrics HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.0 421 ")


@pytest.mark.fault("S30")
async def test_another_address_answers_to_any_name_and_warns(window):
    """Whoever opens it to others names it as they like; the log says what that means."""
    port, lines = await window("0.0.0.0")

    assert (await ask(port, "/healthz", Host="fuagent.internal"))[0] == 200
    assert [line["log_level"] for line in lines] == ["info", "warning"]


async def test_the_loopback_is_no_cause_for_a_warning(window):
    """One line says where it listens."""
    _, lines = await window()

    assert [line["event"] for line in lines] == ["listening"]


# ------------------------------------------------------------ who dawdles


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HT", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-A: "])
@pytest.mark.fault("S34")
async def test_a_connection_that_dawdles_ends(sent, window, monkeypatch):
    """Nothing, half a line or half a header: the connection is cut by its deadline."""
    monkeypatch.setattr(listen_door, "DEADLINE", 0.05)
    port, _ = await window()

    assert b"200 OK" not in await asyncio.wait_for(raw(port, sent), 30)


async def test_a_connection_serves_one_request(window):
    """What comes behind the first is not read."""
    port, _ = await window()
    one = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

    answer = await raw(port, one * 3)

    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert b"Connection: close" in answer


@pytest.mark.fault("S34")
async def test_there_are_never_many_connections(window, monkeypatch):
    """The one beyond the cap is cut; when another has gone there is room again."""
    monkeypatch.setattr(listen_door, "CONNECTIONS", 3)
    port, _ = await window()
    waiting = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    beyond = await raw(port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for reader, writer in waiting:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in await reader.read()
        writer.close()

    assert beyond == b""
    assert (await ask(port, "/healthz"))[0] == 200


async def test_what_is_no_http_is_refused(window):
    """Garbage gets a 400 or nothing, and the window stays open."""
    port, _ = await window()
    answer = await raw(port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")

    assert answer == b"" or b" 400 " in answer.splitlines()[0]
    assert (await ask(port, "/healthz"))[0] == 200


# ------------------------------------------------------------ where it listens


async def test_a_port_in_use_is_said_in_one_sentence():
    """Which address, why, and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = Address("127.0.0.1", taken.getsockname()[1])

        with pytest.raises(StopAgentError) as caught:
            async with listen.serve(where, Agent([]), lambda: 1):
                pass

    assert str(caught.value) == (
        f"--listen {where}: cannot listen there: address already in use. "
        "Fix: Choose another address or port, or end what holds it."
    )


async def test_a_host_that_is_not_there_is_said():
    """A name that leads nowhere, and an address that is another machine's."""
    told = []
    for host in ("no-such-host.invalid", "192.0.2.1"):
        with pytest.raises(StopAgentError) as caught:
            async with listen.serve(Address(host, 0), Agent([]), lambda: 1):
                pass
        told.append(caught.value.what)

    assert told == ["cannot listen there: no such host.", "cannot listen there: cannot assign requested address."]


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("8103", "127.0.0.1", 8103, "127.0.0.1:8103"),
        ("localhost:0", "localhost", 0, "localhost:0"),
        ("0.0.0.0:65535", "0.0.0.0", 65535, "0.0.0.0:65535"),
        ("[::1]:8103", "::1", 8103, "[::1]:8103"),
    ],
)
@pytest.mark.fault("S30")
def test_addresses(text, host, port, shown):
    """A bare port means this machine alone."""
    found = listen.address(text)

    assert (found.host, found.port, str(found)) == (host, port, shown)


@pytest.mark.parametrize(
    "text", ["", "localhost", ":8103", "a:b", "1:65536", "::1:80", "[]:80", "[a]:80", "::1", "1:-1"]
)
def test_what_is_no_address_is_refused(text):
    """Neither guessed at nor listened on."""
    with pytest.raises(ValueError, match=r"port|brackets"):
        listen.address(text)


@pytest.mark.parametrize(
    ("host", "shown"), [("0.0.0.0", "127.0.0.1:1"), ("::", "[::1]:1"), ("db", "db:1"), ("::1", "[::1]:1")]
)
def test_where_a_program_here_finds_it(host, shown):
    """An address that means all of the machine's is none to go to."""
    assert str(Address(host, 1).reached) == shown


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("db", False)],
)
def test_which_addresses_others_can_reach(host, alone):
    """Only the loopback is out of their reach."""
    assert Address(host, 1).loopback is alone
