"""What metrics and console cost an agent of many syncs."""

from __future__ import annotations

import asyncio
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import orjson
from measure import Counter, Line, cpu, street, wait_for
from sqlite import many_sources, many_syncs

from fuagent.app_console import overview
from fuagent.console import picture
from fuagent.console.samples import Hour
from fuagent.console.told import Told
from fuagent.engine.lifecycle import State
from fuagent.engine.progress import Progress

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from harness.browser import Browser
from harness.invented import Invented, served, sync

SYNCS = 200
TIMES = 20
LONG = 20.0
"""Seconds over which the share of a core is taken: with a page open twice as long as between two looks at the sources."""


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def many() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """An agent of so many idle syncs, and the URL of its pages."""
    with tempfile.TemporaryDirectory() as name:
        syncs = many_syncs(Path(name), SYNCS)
        with street(Path(name), many_sources(Path(name)), syncs) as (counter, agent):
            port = free_port()
            process = agent("--listen", str(port))
            settle(counter)
            yield process, f"http://127.0.0.1:{port}"


def settle(counter: Counter) -> None:
    """Every sync has sent its row, and whatever follows a start is over."""
    wait_for(counter, SYNCS)
    time.sleep(10)


def took(ask: Callable[[], object]) -> float:
    """Milliseconds, the median of several."""
    times = []
    for _ in range(TIMES):
        began = time.perf_counter()
        ask()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def share(process: subprocess.Popen[bytes]) -> float:
    """What part of a core the process takes."""
    before, began = cpu(process.pid), time.monotonic()
    time.sleep(LONG)
    return (cpu(process.pid) - before) / (time.monotonic() - began)


def pages() -> list[Line]:
    """How soon pages come, and what an open one costs while nothing happens."""
    with many() as (process, base):
        metrics = took(lambda: urlopen(f"{base}/metrics").read())
        state = took(lambda: urlopen(f"{base}/console/api/state").read())
        alone = share(process)
        with closing(urlopen(f"{base}/console/api/events")) as stream:
            stream.readline()
            watched = share(process)
    return [
        Line(f"/metrics, {SYNCS} syncs", f"median {metrics:.1f} ms", "< 50 ms", metrics < 50),
        Line(f"console's first state, {SYNCS} syncs", f"median {state:.1f} ms", "< 100 ms", state < 100),
        Line(
            f"one page open, {SYNCS} idle syncs",
            f"{watched:.2%} of one core, {alone:.2%} without it",
            "< 2 % more",
            watched - alone < 0.02,
        ),
    ]


def updates() -> list[Line]:
    """What a second costs in which every sync has changed: the look, what is new, and its text."""
    watched = _Moving()
    hour = Hour(time.monotonic())
    shown = picture.Picture(watched, hour)
    spent = []
    for _ in range(TIMES):
        watched.move()
        began = time.process_time()
        hour.look(time.monotonic(), watched.syncs())
        shown.look()
        text = orjson.dumps({"at": time.time(), "syncs": shown.changes(shown.number - 1, time.time())})
        spent.append(time.process_time() - began)
    part = statistics.median(spent)  # of one second
    figure = f"{part:.2%} of one core, {len(text) / 1000:.0f} kB"
    return [Line(f"updates, all of {SYNCS} syncs change each second", figure, "< 2 %", part < 0.02)]


def paint() -> list[Line]:
    """How soon a person sees something, and all of it, in a headless Chromium on this machine."""
    first, whole = asyncio.run(_painted())
    return [
        Line(f"first paint, {SYNCS} syncs", f"median {first:.0f} ms", "< 300 ms", first < 300),
        Line(f"all {SYNCS} syncs on the page", f"median {whole:.0f} ms"),
    ]


async def _painted() -> tuple[float, float]:
    """Milliseconds from asking for the page to the first paint, and to the last line; medians of several looks."""
    first, whole = [], []
    syncs = [sync(f"sync-{number:03}", "streaming") for number in range(SYNCS)]
    async with served(Invented(syncs)) as (url, _), Browser() as browser:
        await browser.look(1280, 900)
        for _ in range(TIMES // 2):
            await browser.open(url)
            await browser.until(f"document.querySelectorAll('tbody.sync').length === {SYNCS}")
            whole.append(float(await browser.evaluate("performance.now()")))
            paints = "performance.getEntriesByName('first-contentful-paint').map(one => one.startTime)"
            first.append(float((await browser.evaluate(paints))[0]))
    return statistics.median(first), statistics.median(whole)


class _Moving:
    """Progress of many syncs, as an agent has it."""

    def __init__(self) -> None:
        self._all = [Progress(f"sync-{number:03}", state=State.STREAMING, since=1.0) for number in range(SYNCS)]

    def move(self) -> None:
        """Every sync sends something."""
        self._all = [replace(one, rows=one.rows + 10, batches=one.batches + 1, behind_rows=5) for one in self._all]

    def syncs(self) -> list[Told]:
        """What the console is told."""
        return [overview(one, time.time()) for one in self._all]


PARTS = {"console-pages": pages, "console-updates": updates, "console-paint": paint}
