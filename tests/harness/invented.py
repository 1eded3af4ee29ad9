"""An agent that is made up: states and figures that real syncs take hours to reach, behind the real console.

For what the page looks like, and for as many syncs as one likes. Nothing in it belongs to anyone.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from aiohttp import web

from fuagent.console import told
from fuagent.console.samples import MINUTES, Samples
from fuagent.console.server import Console
from fuagent.errors import FuagentError
from fuagent.listen_door import Door

MB, GB = 10**6, 10**9
ENDPOINT = "https://api.example.com/ingest-batch"


def sync(name: str, state: str, ago: float = 5400, **parts: object) -> told.Told:
    """One sync that is well, but for what ``parts`` says; ``ago`` is since when it is in its state, in seconds."""
    figures = {"rows": 482_112, "batches": 1204, "bytes": 61 * MB, "retries": 2, "rejected": 0, "lag": 0.0}
    words = {"problem": "", "fix": "", "gap": "", "snapshot": None}
    room = {"behind_rows": None, "behind_bytes": 0, "kept_bytes": 40 * MB, "room_bytes": None}
    room |= {"kept_seconds": None, "room_seconds": None, "loss_is_near": False}
    person = state in {"halted", "lost place", "wrong answer", "unauthorised"}
    known = {
        "name": name,
        "state": state,
        "since": time.time() - ago,
        "needs_person": person,
        **figures,
        **words,
        **room,
    }
    return told.Told(**{**known, **parts})  # type: ignore[arg-type]


def some() -> list[told.Told]:
    """A handful of syncs, each of them in a state of its own."""
    return [
        sync("orders", "streaming", rows=8_204_551, lag=0.8, behind_bytes=48_000),
        sync("customers", "caught up", 900, rows=310_204),
        sync(
            "invoices",
            "halted",
            812,
            lag=812.0,
            behind_bytes=88 * MB,
            problem="the service refused a row of table invoices: 422.",
            fix="Mend the row or the service, then start the agent again; or set on_reject: set_aside.",
        ),
        sync(
            "stock",
            "snapshot",
            290,
            rows=1_240_000,
            lag=96.0,
            snapshot=told.SnapshotTold(1_240_000, 2_900_000, "an operator asked for it", time.time() - 290, None),
        ),
        sync(
            "shipments",
            "retrying",
            44,
            lag=44.0,
            behind_bytes=None,
            behind_rows=1200,
            problem="no connection to api.example.com within 10 s.",
            fix="See whether the service runs, and whether this machine can reach it.",
        ),
        sync(
            "returns",
            "lost place",
            5200,
            gap="the database let go of its log before it was read, at binlog.000017.",
            lag=2.1,
            kept_bytes=8 * GB,
            room_bytes=2 * GB,
        ),
        sync("prices", "paused", 3600, lag=3600.0, behind_bytes=12 * MB),
        sync("suppliers", "streaming", rows=55_301, lag=0.2, rejected=3, behind_bytes=900),
    ]


PACE = {"orders": 812, "stock": 4210, "returns": 14, "suppliers": 31}
"""Rows a second of those that move."""


def detail(one: told.Told) -> told.Detail:
    """What else there is to tell of it."""
    now = time.time()
    refused = [
        told.RejectedTold(4 + at, one.name, now - 900 * at, 422, "the service refused it") for at in range(one.rejected)
    ]
    return told.Detail(
        tables=(told.TableTold(one.name, f"POST {ENDPOINT}", one.rejected),),
        mapping=told.MappingTold(
            (one.name,),
            (),
            (told.FieldTold("id", "column id"), told.FieldTold("customer.name", "column cust_name")),
            "state <> 'draft'",
            (told.MaskTold("iban", "last 4"),),
            None,
            "_deleted",
        ),
        deletes="mark",
        driver="mysql",
        position="binlog.000021, byte 88120334",
        document="https://api.example.com/openapi.json",
        batch_endpoints=(ENDPOINT,),
        status_endpoint="https://api.example.com/fuagent-sync-status",
        here=1_048_576_001,
        service=1_048_575_990,
        batches=tuple(
            told.BatchTold(
                now - 1.3 * at,
                500 - 17 * (at % 4),
                61_000 - 990 * (at % 5),
                0.041 * (1 + at % 3),
                1 + (at == 3),
                200,
                "acknowledged",
            )
            for at in range(20)
        ),
        retrying=told.RetryTold(7, "no connection", 12.0) if one.state == "retrying" else None,
        notices=(f"table {one.name} has no primary key: rows are told apart by all of their columns.",)
        if one.gap
        else (),
        rejected_rows=tuple(refused),
        actions=_actions(one),
    )


def _actions(one: told.Told) -> tuple[str, ...]:
    if one.state == "halted":
        return ()
    pausing = ("resume",) if one.state == "paused" else ("pause", "snapshot")
    return (
        *pausing,
        *(("accept-gap",) if one.gap else ()),
        *(("retry-rejected", "drop-rejected") if one.rejected else ()),
    )


class Invented:
    """The agent as the console meets it; what was asked of it stands in ``asked``."""

    def __init__(self, syncs: Sequence[told.Told]) -> None:
        self.known = {one.name: one for one in syncs}
        self.asked: list[tuple[str, str, Sequence[int] | None]] = []
        self._began = time.time()

    def about(self) -> told.About:
        """The agent itself."""
        return told.About("1.0.0", "agent-0123456789ab", self._began - 190_000, "db-3.example.com", True, 3 * MB)

    def syncs(self) -> list[told.Told]:
        """Those with a pace have moved on."""
        gone = time.time() - self._began
        return [replace(one, rows=one.rows + int(gone * PACE.get(one.name, 0))) for one in self.known.values()]

    def detail(self, name: str) -> told.Detail:
        """One sync, closely."""
        return detail(self.known[name])

    async def measure(self) -> None:
        """There is no source to ask."""

    async def act(self, name: str, action: str, numbers: Sequence[int] | None) -> str:
        """Note what is asked; a snapshot is refused."""
        self.asked.append((name, action, numbers))
        if action == "snapshot":
            raise FuagentError("the source does not answer.", where=f"syncs.{name}", fix="See whether it runs.")
        return "the sync pauses at the next transaction end"


@asynccontextmanager
async def served(watched: Invented, *, loopback: bool = True) -> AsyncIterator[tuple[str, Console]]:
    """The real console in front of it, which may believe that others can reach it; gives its URL and itself."""
    console = Console(watched, loopback=loopback)

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return await console.answer(request, door.stay)

    door = Door(answer)
    server = await asyncio.get_running_loop().create_server(door, "127.0.0.1", 0)
    try:
        async with console.running():
            remember(console, watched)
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/console/", console
    finally:
        server.close()
        await door.shutdown(0)
        await server.wait_closed()


def remember(console: Console, watched: Invented) -> None:
    """Give each sync an hour that it never had: its pace and its lag, with some waves in them."""
    hour = console._feed._hour
    for place, one in enumerate(watched.syncs()):
        began = time.monotonic() - 30
        samples = hour._of[one.name] = Samples(began, one.rows - 30 * PACE.get(one.name, 0))
        waves = [1 + 0.35 * math.sin(at / 6 + place) + 0.15 * math.sin(at * 2.3 + place) for at in range(MINUTES)]
        samples.rates.extend(round(PACE.get(one.name, 0) * wave, 1) for wave in waves)
        rising = itertools.repeat(1.0) if one.lag < 30 else ((at / MINUTES) ** 2 for at in range(MINUTES))
        samples.seen.append((began, samples.rows_before))
        samples.lags.extend(round(one.lag * wave * part, 1) for wave, part in zip(waves, rising, strict=False))
