"""An agent that a test moves by hand, and its console behind a real listener."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp

from fuagent import listen
from fuagent.console import told
from fuagent.console.server import Console
from fuagent.engine.agent import Agent
from fuagent.errors import FuagentError
from fuagent.listen import Address

JSON = {"Content-Type": "application/json"}


def sync(name: str = "orders", **changes: Any) -> told.Told:
    """One sync that has sent nothing yet."""
    fresh = told.Told(
        name=name,
        state="streaming",
        since=1.0,
        needs_person=False,
        problem="",
        fix="",
        gap="",
        rows=0,
        batches=0,
        bytes=0,
        retries=0,
        rejected=0,
        lag=0.0,
        behind_rows=None,
        behind_bytes=None,
        kept_bytes=None,
        room_bytes=None,
        kept_seconds=None,
        room_seconds=None,
        loss_is_near=False,
        snapshot=None,
    )
    return replace(fresh, **changes)


DETAIL = told.Detail(
    tables=(told.TableTold("orders", "http://service/ingest-batch", 1),),
    mapping=told.MappingTold(("orders",), (), (told.FieldTold("id", "column id"),), "", (), None, "_deleted"),
    deletes="row",
    driver="sqlite",
    position="7",
    document="http://service/openapi.json",
    batch_endpoints=("http://service/ingest-batch",),
    status_endpoint=None,
    here=7,
    service=6,
    batches=(told.BatchTold(1.0, 10, 900, 0.1, 1, 200, "acknowledged"),),
    retrying=told.RetryTold(3, "timeout", 4.0),
    notices=("look here",),
    rejected_rows=(told.RejectedTold(5, "orders", 1.0, 422, "refused"),),
    actions=("pause",),
)


class Standing:
    """The agent: it stands still until a test changes ``all``; ``asked`` is what it was told to do."""

    def __init__(self, *syncs: told.Told) -> None:
        self.all = list(syncs)
        self.asked: list[tuple[str, str, Sequence[int] | None]] = []
        self.measured = 0
        self.refuses = ""
        self.broken = False
        self.looks = 0

    def about(self) -> told.About:
        return told.About("1.0", "agent-1", 1.0, "here", healthy=True, journal_bytes=9)

    def syncs(self) -> list[told.Told]:
        self.looks += 1
        if self.broken:
            raise OSError
        return list(self.all)

    def detail(self, name: str) -> told.Detail:
        return DETAIL

    async def measure(self) -> None:
        self.measured += 1
        if self.broken:
            raise OSError

    async def act(self, name: str, action: str, numbers: Sequence[int] | None) -> str:
        if self.refuses:
            raise FuagentError(self.refuses, where=name, fix="Wait.")
        self.asked.append((name, action, numbers))
        return f"{action} done"


class Page:
    """A client of one console."""

    def __init__(self, url: str, console: Console, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.console = console
        self.token = console.token
        self.session = session

    @property
    def proof(self) -> dict[str, str]:
        """The header with the right token."""
        return {"Authorization": f"Bearer {self.token}"}

    async def ask(self, path: str, method: str = "GET", data: bytes | None = None, **headers: str) -> tuple[int, Any]:
        """Status and body, read as JSON where it says so."""
        asked = self.session.request(method, self.url + path, data=data, headers=headers, allow_redirects=False)
        async with asyncio.timeout(30), asked as response:  # a stream where none was meant has no end
            body = await response.read()
            return response.status, json.loads(body) if response.content_type == "application/json" else body

    async def act(self, action: str = "pause", body: bytes = b"{}", **headers: str) -> tuple[int, Any]:
        """Ask for an action with the right token, unless the headers say otherwise."""
        path = f"/console/api/syncs/orders/{action}"
        return await self.ask(path, "POST", body, **{**JSON, **self.proof, **headers})


@asynccontextmanager
async def console(agent: Standing, host: str = "127.0.0.1", *, running: bool = True) -> AsyncIterator[Page]:
    """The console of ``agent`` on a free port."""
    where = Address(host, 0)
    made = Console(agent, loopback=where.loopback)
    async with listen.serve(where, Agent([]), lambda: 1, made.answer) as url, aiohttp.ClientSession() as session:
        if running:
            async with made.running():
                yield Page(url, made, session)
        else:
            yield Page(url, made, session)


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    """The events of a stream, by name; comments are passed over."""
    name = ""
    async for line in response.content:
        word, _, text = line.decode().rstrip("\n").partition(": ")
        if word == "event":
            name = text
        elif word == "data":
            yield name, json.loads(text)


async def next_event(stream: AsyncIterator[tuple[str, Any]]) -> tuple[str, Any]:
    """The next event, within a time that only a stream that hangs exceeds."""
    return await asyncio.wait_for(anext(stream), 30)
