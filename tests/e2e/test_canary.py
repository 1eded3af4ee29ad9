"""No secret and no row value is in anything the agent writes, at level debug, through every fault there is.

Each fault is met by three syncs at once: one with a key, one with a password, one with
OAuth2 client credentials. The service is of the worst kind: whatever it answers, it says
the whole request again, headers and rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent

import pytest
from aiohttp import web

from harness import canary
from harness.agent import Agent, until
from harness.service import Request, Service

pytestmark = pytest.mark.slow

SYNCS = ("by-key", "by-password", "by-token")
Answer = Callable[[Request], Awaitable[web.StreamResponse]]


def said(request: Request) -> str:
    """All of the request: what was sent, as whom, and where to."""
    return f"{request.query} {request.headers} {request.body.decode()}"


# ------------------------------------------------------------ answers to a batch


def status(code: int) -> Answer:
    async def answer(request: Request) -> web.Response:
        return web.json_response({"detail": said(request), "message": said(request)}, status=code, reason="No")

    return answer


async def refusing_a_row(request: Request) -> web.Response:
    """As FastAPI does it: the input stands beside its place."""
    events = request.json["events"]
    if not any(event["name"] == canary.row(3) for event in events):
        return web.json_response({})
    told = said(request)
    error = {"loc": ["body", "events", 0, "name", canary.row(3)], "msg": told, "type": canary.row(3), "input": events}
    return web.json_response({"detail": [error]}, status=422)


async def too_large(request: Request) -> web.Response:
    held = any(event["name"] == canary.row(3) for event in request.json["events"])
    return web.Response(status=413 if held else 200, text=said(request) if held else "{}")


async def a_page(request: Request) -> web.Response:
    text = f"<!DOCTYPE html><title>{canary.row(1)} {canary.KEY}</title><pre>{said(request)}</pre>"
    return web.Response(text=text, content_type="text/html")


async def a_redirect(request: Request) -> web.Response:
    userinfo = canary.PASSWORD.replace("/", "%2F")
    target = f"http://fuagent:{userinfo}@login.invalid/sign-in?again={canary.KEY}&row={canary.row(1)}#{canary.row(2)}"
    return web.Response(status=302, headers={"Location": target}, text=said(request))


async def a_reset(request: Request) -> web.Response:
    assert request.raw.transport is not None
    request.raw.transport.abort()
    return web.Response()


async def a_drip(request: Request) -> web.StreamResponse:
    """A byte now and then, for ever."""
    response = web.StreamResponse()
    await response.prepare(request.raw)
    for byte in said(request).encode():
        try:
            await response.write(bytes([byte]))
        except ConnectionError:
            break
        await asyncio.sleep(0.2)
    return response


ANSWERS: dict[str, tuple[Answer, str]] = {
    "401": (status(401), "unauthorised"),
    "403": (status(403), "unauthorised"),
    "404": (status(404), "wrong answer"),
    "407": (status(407), "wrong answer"),
    "410": (status(410), "halted"),
    "422 for every row": (status(422), "halted"),
    "422 for one row": (refusing_a_row, "halted"),
    "413 for one row": (too_large, "halted"),
    "500": (status(500), "retrying"),
    "503": (status(503), "retrying"),
    "a page": (a_page, "wrong answer"),
    "a redirect": (a_redirect, "wrong answer"),
    "a reset": (a_reset, "retrying"),
    "a drip": (a_drip, "retrying"),
}


@asynccontextmanager
async def scene(directory: Path, service: Service, **sync: object) -> AsyncIterator[Agent]:
    """Three syncs from a database of canaries to ``service``, whose token endpoint works."""
    canary.database(directory / "shop.db")
    service.key = None
    answer = service.answer

    async def or_a_token(request: Request) -> web.StreamResponse | None:
        if request.path == "/token":
            return web.json_response({"access_token": canary.TOKEN, "token_type": "Bearer", "expires_in": 3600})
        return await answer(request) if answer is not None else None

    async def own_checkpoint(request: Request) -> web.StreamResponse:
        """Each sync has its own, as in any service."""
        task = request.query["task_id"]
        bodies = [post.json for post in service.posts if post.applied]
        indexes = [event.get("index", 0) for body in bodies if body["task_id"] == task for event in body["events"]]
        return web.json_response({"index": max(indexes, default=0)})

    service.answer = or_a_token
    service.answer_status = service.answer_status or own_checkpoint
    async with service:
        settings = canary.settings(directory, service.openapi, f"{service.url}/token", **sync)
        async with Agent(directory, settings, canary.ENVIRONMENT) as agent:
            yield agent


async def run(agent: Agent, *states: str) -> dict[str, bytes]:
    """Run until each of the three is in one of these states; gives all that was shown and written, up to the end."""
    await agent.start("--debug", "--log-level", "debug", "--listen", "0")

    async def there() -> bool:
        assert agent.process is not None
        assert agent.process.returncode is None, agent.text()[-3000:]
        return all([(await agent.status(name)).get("state") in states for name in SYNCS])

    await until(there, lambda: f"state {states}; the log says:\n{agent.text()[-3000:]}")
    found = await canary.traces(agent)
    await agent.end()
    return found | {f"{place}, at the end": text for place, text in canary.written(agent).items()}


@pytest.mark.parametrize("fault", ANSWERS)
@pytest.mark.fault("S05", "S06", "S07", "S10", "S34")
async def test_an_answer_that_says_everything_again(fault: str, tmp_path: Path) -> None:
    """Whatever comes back for a batch, nothing of it that was ours is written."""
    service = Service()
    service.answer, state = ANSWERS[fault]
    async with scene(tmp_path, service) as agent:
        found = await run(agent, state)

        assert len(service.posts) >= 3
        assert canary.leaks(found) == []


@pytest.mark.fault("S10", "S11")
async def test_a_row_set_aside_is_in_the_journal_and_nowhere_else(tmp_path: Path) -> None:
    """The one row that the service refused is kept, as promised; the others are not, and no secret is."""
    service = Service()
    service.answer = refusing_a_row
    async with scene(tmp_path, service, on_reject="set_aside") as agent:
        found = await run(agent, "caught up")
        kept = canary.row(3).encode()
        journal = {place: text for place, text in found.items() if "journal.db" in place}
        others = frozenset(canary.row(number).encode() for number in (1, 2, 4, 5))

        assert any(kept in text for text in journal.values())
        assert canary.leaks(journal, canary.SECRETS | others) == []
        assert canary.leaks({place: text for place, text in found.items() if place not in journal}) == []


@pytest.mark.fault("S05", "S07", "S10", "S34")
async def test_a_good_run(tmp_path: Path) -> None:
    """Without a fault there is as little to find."""
    service = Service()
    async with scene(tmp_path, service) as agent:
        agent.fresh = True  # with a command line of its own
        found = await run(agent, "caught up")
        sent = b" ".join(post.body + str(post.headers).encode() for post in service.posts)

        assert canary.leaks(found) == []
        # What is looked for did go over the wire, so that finding nothing means something.
        assert [one for one in (canary.KEY, canary.TOKEN, canary.ROW, canary.DIGITS) if one.encode() not in sent] == []


# ------------------------------------------------------------ the service's other pages


@pytest.mark.parametrize("error", ["invalid_client", None])
@pytest.mark.fault("S05", "S06")
async def test_a_token_endpoint_that_says_everything_again(error: str | None, tmp_path: Path) -> None:
    """An OAuth2 error may describe itself with the very secret."""

    async def answer(request: Request) -> web.Response:
        told = {"error": error or said(request), "error_description": said(request), "error_uri": said(request)}
        return web.json_response(told, status=401)

    service = Service()
    async with scene(tmp_path, service) as agent:
        service.answer = answer
        found = await run(agent, "unauthorised")

        assert canary.leaks(found) == []


@pytest.mark.parametrize(
    ("code", "kind", "state"),
    [
        (200, "text/plain", "halted"),
        (200, "text/html", "wrong answer"),
        (401, "text/plain", "unauthorised"),
        (500, "text/plain", "retrying"),
    ],
)
@pytest.mark.fault("S05", "S06")
async def test_a_checkpoint_that_says_everything_again(code: int, kind: str, state: str, tmp_path: Path) -> None:
    """A checkpoint that is no index, a page, a refusal, a failure."""

    async def answer(request: Request) -> web.Response:
        page = f"<html>{said(request)}</html>"
        text = page if kind == "text/html" else f'"{request.headers.get("authorization")}"'
        return web.Response(text=text, status=code, content_type=kind)

    service = Service()
    service.answer_status = answer
    async with scene(tmp_path, service) as agent:
        found = await run(agent, state)

        assert canary.leaks(found) == []


@pytest.mark.parametrize("code", [200, 401, 500])
@pytest.mark.fault("S05", "S06")
async def test_a_document_that_says_everything_again(code: int, tmp_path: Path) -> None:
    """What is in the document's place is neither a document nor harmless."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=f"a: [{dict(request.headers)}\n\t: {canary.KEY}", status=code)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with scene(tmp_path, Service()) as agent:
        agent.configure(canary.settings(tmp_path, f"{url}/openapi.json", f"{url}/token"))
        found = await run(agent, "wrong answer", "unauthorised", "retrying")

        assert canary.leaks(found) == []
    await runner.cleanup()


@pytest.mark.fault("S06")
async def test_a_service_that_is_not_there(tmp_path: Path) -> None:
    """Connection refused, for document, token and rows alike."""
    service = Service()
    async with scene(tmp_path, service) as agent:
        await service.stop()
        found = await run(agent, "retrying")

        assert canary.leaks(found) == []


@pytest.mark.fault("S06")
async def test_encryption_that_fails(tmp_path: Path) -> None:
    """The other end speaks no TLS, and says a word of its own instead."""

    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 No\r\n\r\n" + canary.KEY.encode())
        writer.close()

    server = await asyncio.start_server(rude, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, scene(tmp_path, Service()) as agent:
        agent.configure(canary.settings(tmp_path, f"{url}/openapi.json", f"{url}/token"))
        found = await run(agent, "retrying")

        assert canary.leaks(found) == []


# ------------------------------------------------------------ this side's own trouble


@pytest.mark.fault("F68", "S10")
async def test_a_damaged_journal(tmp_path: Path) -> None:
    """What is put aside and what is begun anew hold as little as before."""
    service = Service()
    async with scene(tmp_path, service) as agent:
        await run(agent, "caught up")
        [journal] = agent.state_dir.glob("journal.db")
        journal.write_bytes(b"no journal at all" * 1000)
        found = await run(agent, "caught up")

        assert [place for place in found if "damaged" in place]
        assert canary.leaks(found) == []


@pytest.mark.parametrize("text", [b"not a database, but " + canary.row(1).encode() * 200, None], ids=["other", "none"])
@pytest.mark.fault("S06", "S10")
async def test_a_database_that_cannot_be_read(text: bytes | None, tmp_path: Path) -> None:
    """A file that is none of SQLite's, or none at all."""
    async with scene(tmp_path, Service()) as agent:
        for path in tmp_path.glob("shop.db*"):
            path.unlink()
        if text is not None:
            (tmp_path / "shop.db").write_bytes(text)
        await agent.start("--debug", "--log-level", "debug", "--listen", "0")

        async def told() -> bool:
            return all([(await agent.status(name)).get("problem") for name in SYNCS])

        await until(told, f"each sync says what is wrong; log: {agent.text()[-2000:]}")
        found = await canary.traces(agent)

        assert canary.leaks(found) == []


@pytest.mark.fault("S10")
async def test_a_transform_that_fails_on_a_row(tmp_path: Path) -> None:
    """The function's own exception holds the row; only its type is told."""
    (tmp_path / "mine.py").write_text("def failing(row):\n    raise ValueError(f'no good: {row}')\n")
    async with scene(tmp_path, Service(), transform="mine:failing") as agent:
        agent.env["PYTHONPATH"] = str(tmp_path)
        found = await run(agent, "halted")

        assert b"ValueError" in found["agent.log"]
        assert canary.leaks(found) == []


@pytest.mark.fault("S05", "S06", "S10")
async def test_a_driver_with_a_defect(tmp_path: Path) -> None:
    """A foreign pusher fails with rows and its secret in the exception, and in the one before it."""
    package = tmp_path / "site"
    entry = package / "leaky-1.dist-info"
    entry.mkdir(parents=True)
    (entry / "METADATA").write_text("Metadata-Version: 2.1\nName: leaky\nVersion: 1\n")
    (entry / "entry_points.txt").write_text("[fuagent.pushers]\nleaky = leaky:Leaky\n")
    (package / "leaky.py").write_text(
        dedent('''
        import logging
        from fuagent.pushers.openapi import OpenAPI

        class Leaky(OpenAPI):
            """Fails and tells everything."""

            async def push(self, batch):
                secret = self._context.credential()
                told = f"{secret.key and secret.key.reveal()} {secret.password and secret.password.reveal()}"
                try:
                    raise KeyError(told + str(list(batch.events)))
                except KeyError as error:
                    logging.getLogger("leaky").debug("sending %s", told)
                    raise ValueError(f"{secret!r} {told} {list(batch.events)}") from error
        ''')
    )
    service = Service()
    async with scene(tmp_path, service) as agent:
        agent.env["PYTHONPATH"] = str(package)
        settings = canary.settings(tmp_path, service.openapi, f"{service.url}/token")
        for pusher in settings["pushers"].values():
            pusher["driver"] = "leaky"
        agent.configure(settings)
        found = await run(agent, "halted")

        assert b"ValueError" in found["agent.log"]
        assert canary.leaks(found) == []


# ------------------------------------------------------------ the net itself


def test_the_net_has_no_hole() -> None:
    """A secret in any of its forms, and a row's value, are found wherever they stand."""
    found = {
        "a": b"x" + canary.KEY.encode(),
        "b": b"Basic ZnVhZ2VudDpjYW5hcnkvcGFzc3dvcmQrYzA3ZDJh",
        "c": b"secret=canary%2Fclient%2B88e1d4&",
        "d": b'{"id":9182736455001}',
        "e": b"nothing",
    }

    assert [line.partition(":")[0] for line in canary.leaks(found)] == ["a", "b", "c", "d"]
