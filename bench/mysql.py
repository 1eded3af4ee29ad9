"""MariaDB, beside the limits of what reading it stands on and beside the loop one would write by hand (``loop.py``)."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measure import (
    HERE,
    LARGE,
    ROUNDS,
    ROWS,
    Counter,
    Line,
    finished,
    memory,
    peak,
    rate,
    rows_of,
    speed,
    street,
    wait_for,
)
from orders import COLUMNS, PASSWORD, USER, MariaDB, create, insert, server, values

BY_HAND = min(ROWS, 20_000)
"""Rows that are enough to know the rate of the loop."""
COMMITS = int(os.environ.get("COMMITS", "5000"))
A_SECOND = 500
SELECT = f"SELECT {', '.join(COLUMNS)} FROM orders"
Agent = Callable[..., subprocess.Popen[bytes]]


@contextmanager
def shop(running: MariaDB) -> Iterator[tuple[Counter, Agent]]:
    """A service, and an agent that follows table ``orders`` of the server."""
    credential = {"user": USER, "password": PASSWORD}
    sources = {"shop": {"driver": "mysql", "endpoint": running.url(), "credential": credential}}
    syncs = {"orders": {"source": "shop", "pusher": "service", "tables": ["orders"]}}
    with tempfile.TemporaryDirectory() as name, street(Path(name), sources, syncs) as (counter, agent):
        yield counter, agent


def limit(running: MariaDB, what: str, **needs: object) -> float:
    """A rate of ``limits.py``, rows/s."""
    told = json.dumps({"port": running.port, "user": USER, "password": PASSWORD, **needs})
    command = [sys.executable, str(HERE / "limits.py"), what, told]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def by_hand(running: MariaDB, counter: Counter, rows: int = 0) -> subprocess.Popen[bytes]:
    """The loop, from the log's beginning where it counts ``rows``, from its end where it goes on for ever."""
    end = running.position()
    told = {"port": running.port, "user": USER, "password": PASSWORD, "url": counter.url, "rows": rows}
    told |= {"file": end.file, "offset": 4 if rows else end.offset}
    return subprocess.Popen([sys.executable, str(HERE / "loop.py"), json.dumps(told)])


def cost(what: str, spent: list[float], most: float) -> Line:
    """Processor time of the agent: ``spent`` are seconds for ``ROWS`` rows, without its start."""
    seconds = statistics.median(spent) * 100_000 / ROWS
    return Line(f"CPU of 100,000 rows, {what}", f"{seconds:.2f} s", f"< {most} s", seconds < most)


# ------------------------------------------------------------------ rates


def snapshot() -> list[Line]:
    """Snapshot against fetching the same rows."""
    ours, spent, links, cursors = [], [], [], []
    with server() as running:
        create(running)
        with shop(running) as (_counter, agent):
            start = finished(agent("--once"))
        create(running, ROWS)
        for _ in range(ROUNDS):
            links.append(limit(running, "link", query=SELECT))
            cursors.append(limit(running, "cursor", query=SELECT))
            with shop(running) as (counter, agent):
                spent.append(finished(agent("--once")) - start)
                ours.append(rate(counter))
    faster, raw = max((links, "Link.raw"), (cursors, "SSCursor"), key=lambda one: statistics.median(one[0]))[::-1]
    return [
        speed("snapshot, rows/s", ours, raw, faster, 0.6),
        Line("  limit: Link.raw, rows/s", f"{statistics.median(links):,.0f}"),
        Line("  limit: asyncmy's SSCursor, rows/s", f"{statistics.median(cursors):,.0f}"),
        cost("snapshot", spent, 0.3),
    ]


def backlog(size: int, most: float) -> list[Line]:
    """Backlog of transactions of ``size`` rows against the loop."""
    ours, spent, loops, drained, bodies = [], [], [], [], []
    with server() as running:
        for _ in range(ROUNDS):
            create(running)
            with shop(running) as (counter, agent):
                start = finished(agent("--once"))
                insert(running, 2, ROWS, size)
                counter.ask("mark")
                spent.append(finished(agent("--once")) - start)
                ours.append(rate(counter))
                told = counter.ask("report")
                width = int(str(told["bytes"])) // int(str(told["rows"]))
                bodies.append(limit(running, "bodies", url=counter.url, rows=ROWS, bytes=width))
            drained.append(limit(running, "drain", **log(running), rows=ROWS))
            loops.append(loop_rate(running))
    what = f"{size}-row transactions"
    return [
        speed(f"backlog of {what}, rows/s", ours, loops, "loop by hand", 8),
        Line("  limit: draining the binlog, rows/s", f"{statistics.median(drained):,.0f}"),
        Line(f"  limit: ready bodies of {width} bytes a row, rows/s", f"{statistics.median(bodies):,.0f}"),
        cost(what, spent, most),
    ]


def log(running: MariaDB) -> dict[str, object]:
    """All of the log, which is one file: `create` begins it and nothing here fills it."""
    end = running.position()
    return {"file": end.file, "offset": 4, "end": end.offset}


def loop_rate(running: MariaDB) -> float:
    """Rows a second of the loop."""
    with shop(running) as (counter, _agent):
        finished(by_hand(running, counter, BY_HAND))
        return rate(counter)


# ------------------------------------------------------------------ memory


def snapshot_memory(running: MariaDB, count: int) -> float:
    """Peak memory of a snapshot of ``count`` rows, MB."""
    create(running, count)
    with shop(running) as (counter, agent):
        return peak(agent(), lambda: rows_of(counter) >= count)


def transaction_memory(running: MariaDB, count: int) -> float:
    """Peak memory of one transaction of ``count`` rows, MB."""
    create(running)
    with shop(running) as (counter, agent):
        finished(agent("--once"))
        insert(running, 2, count, count)
        counter.ask("mark")
        return peak(agent(), lambda: rows_of(counter) >= count)


def memories() -> list[Line]:
    """Both."""
    with server() as running:
        return [
            memory("peak memory, snapshot", lambda count: snapshot_memory(running, count), LARGE),
            memory("peak memory, one transaction", lambda count: transaction_memory(running, count), LARGE // 2),
        ]


# ------------------------------------------------------------------ delays


def commit(running: MariaDB, first: int) -> Iterator[float]:
    """Commit row after row at a steady pace; gives when each commit was confirmed."""
    with running.connect() as session, session.cursor() as cursor:
        begun = time.monotonic()
        for number in range(COMMITS):
            time.sleep(max(0.0, begun + number / A_SECOND - time.monotonic()))
            cursor.execute(f"INSERT INTO orders VALUES ({values(str(first + number))})")
            yield time.monotonic()


def delays(running: MariaDB, counter: Counter) -> list[float]:
    """From each commit to its POST, in ms and sorted, behind a reader that has begun."""
    before = rows_of(counter)
    insert(running, 2, 1, 1)
    wait_for(counter, before + 1)  # now it follows
    counter.ask("mark")
    commits = list(commit(running, 3))
    wait_for(counter, COMMITS)
    told: dict[str, Any] = counter.ask("report")
    requests = zip(told["arrivals"], told["counts"], strict=True)
    arrivals = [arrival for arrival, count in requests for _ in range(count)]
    return sorted((arrived - committed) * 1000 for arrived, committed in zip(arrivals, commits, strict=True))


def agent_delays(running: MariaDB) -> list[float]:
    """The agent's."""
    create(running)
    with shop(running) as (counter, agent):
        agent()
        wait_for(counter, 1)
        return delays(running, counter)


def loop_delays(running: MariaDB) -> list[float]:
    """The loop's."""
    create(running)
    with shop(running) as (counter, _agent):
        process = by_hand(running, counter)
        try:
            return delays(running, counter)
        finally:
            process.kill()
            process.wait()


def latency() -> list[Line]:
    """The agent and the loop behind the same writer, one after the other."""
    with server() as running:
        pairs = [(agent_delays(running), loop_delays(running)) for _ in range(ROUNDS)]
    return [delay(pairs, what, share) for what, share in (("median", 0.5), ("p99", 0.99))]


def delay(pairs: list[tuple[list[float], list[float]]], what: str, share: float) -> Line:
    """One quantile of the agent's delays beside the loop's."""
    ours, loops = ([one[int(len(one) * share)] for one in side] for side in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in zip(ours, loops, strict=True))
    figure = f"{statistics.median(ours):.2f} ms = {ratio:.2f} x loop by hand ({statistics.median(loops):.2f} ms)"
    return Line(f"commit to POST at {A_SECOND} commits/s, {what}", figure, "<= 1.2 x", ratio <= 1.2)


PARTS: dict[str, Callable[[], list[Line]]] = {
    "mysql-snapshot": snapshot,
    "mysql-backlog": lambda: backlog(1000, 0.8),
    "mysql-single": lambda: backlog(1, 3),
    "mysql-memory": memories,
    "mysql-latency": latency,
}
