"""What is measured of every database server, beside the limits of reading it and the loop one would write by hand."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

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

BY_HAND = min(ROWS, 100_000)
"""Rows that are enough to know the rate of the loop."""
COMMITS = int(os.environ.get("COMMITS", "5000"))
A_SECOND = 500
Agent = Callable[..., subprocess.Popen[bytes]]
Told = dict[str, object]


class Orders(ABC):
    """A running server with table ``orders``, which makes its rows itself."""

    driver: ClassVar[str]
    program: ClassVar[str]
    """What runs the limits of this server, each in a process of its own."""
    loop: ClassVar[str]
    """The loop one would write by hand."""

    @property
    @abstractmethod
    def source(self) -> Told:
        """The agent's source: endpoint and credential."""

    @property
    @abstractmethod
    def told(self) -> Told:
        """What the other programs need to log in."""

    @abstractmethod
    def create(self, count: int = 1) -> None:
        """Begin anew: an empty log without readers, and ``count`` rows that were there before it."""

    @abstractmethod
    def insert(self, first: int, count: int, size: int) -> None:
        """Insert ``count`` rows in transactions of ``size`` rows."""

    @abstractmethod
    def here(self, reader: str) -> Told:
        """What a reader needs to begin where the log ends now."""

    @abstractmethod
    def end(self) -> Told:
        """What a reader needs to end where the log ends now."""

    @abstractmethod
    def inserting(self) -> AbstractContextManager[Callable[[int], object]]:
        """A session that inserts and commits one row."""

    @contextmanager
    def shop(self) -> Iterator[tuple[Counter, Agent]]:
        """A service, and an agent that follows the table."""
        sources: Told = {"shop": {"driver": self.driver, **self.source}}
        syncs: Told = {"orders": {"source": "shop", "pusher": "service", "tables": ["orders"]}}
        with tempfile.TemporaryDirectory() as name, street(Path(name), sources, syncs) as (counter, agent):
            yield counter, agent

    def limit(self, what: str, **needs: object) -> float:
        """A rate of the server's limits, rows/s."""
        command = [sys.executable, str(HERE / self.program), what, json.dumps({**self.told, **needs})]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def by_hand(self, counter: Counter, begin: Told, rows: int = 0) -> subprocess.Popen[bytes]:
        """The loop, from ``begin`` until it has sent ``rows``; 0: for ever."""
        told = {**self.told, **begin, "url": counter.url, "rows": rows}
        return subprocess.Popen([sys.executable, str(HERE / self.loop), json.dumps(told)])


Server = Callable[[], AbstractContextManager[Orders]]


@dataclass(frozen=True)
class Limit:
    """One limit, and what is asked of the agent: at least so many times its rate, where something is asked."""

    name: str
    what: str
    least: float | None = None


@dataclass(frozen=True)
class Snapshot:
    """What is asked of snapshots.

    Args:
        limits: Ways to read the table; the fastest is what a snapshot has to keep up with, at ``least`` of its rate.
        beside: Other ways to read it.
        cpu: Seconds of processor time for 100,000 rows, at most.
    """

    limits: tuple[Limit, ...]
    least: float
    cpu: float
    beside: tuple[Limit, ...] = ()


@dataclass(frozen=True)
class Backlog:
    """What is asked of a backlog of transactions of ``size`` rows: ``by_hand`` times the loop's rate, at least."""

    size: int
    drains: tuple[Limit, ...]
    cpu: float
    by_hand: float | None = None


def cost(what: str, spent: list[float], most: float) -> Line:
    """Processor time of the agent: ``spent`` are seconds for ``ROWS`` rows, without its start."""
    seconds = statistics.median(spent) * 100_000 / ROWS
    return Line(f"CPU of 100,000 rows, {what}", f"{seconds:.2f} s", f"< {most} s", seconds < most)


def beside(limit: Limit, ours: list[float], rates: list[float]) -> Line:
    """A limit, and where a ratio to it is asked for, that."""
    if limit.least is None:
        return Line(f"  limit: {limit.name}, rows/s", f"{statistics.median(rates):,.0f}")
    return speed(f"  beside {limit.name}", ours, rates, "it", limit.least)


# ------------------------------------------------------------------ rates


def snapshot(server: Server, asked: Snapshot) -> list[Line]:
    """Snapshot against other ways to read the same rows."""
    limits = (*asked.limits, *asked.beside)
    ours, spent = [], []
    rates: dict[str, list[float]] = {limit.what: [] for limit in limits}
    with server() as orders:
        orders.create()
        with orders.shop() as (_counter, agent):
            start = finished(agent("--once"))
        orders.create(ROWS)
        for _ in range(ROUNDS):
            for limit in limits:
                rates[limit.what].append(orders.limit(limit.what))
            with orders.shop() as (counter, agent):
                spent.append(finished(agent("--once")) - start)
                ours.append(rate(counter))
    fastest = max(asked.limits, key=lambda limit: statistics.median(rates[limit.what]))
    return [
        speed("snapshot, rows/s", ours, rates[fastest.what], fastest.name, asked.least),
        *(beside(limit, ours, rates[limit.what]) for limit in limits),
        cost("snapshot", spent, asked.cpu),
    ]


def backlog(server: Server, asked: Backlog) -> list[Line]:
    """Backlog against the loop and the drains."""
    ours, spent, loops, bodies = [], [], [], []
    drained: dict[str, list[float]] = {limit.what: [] for limit in asked.drains}
    with server() as orders:
        for _ in range(ROUNDS):
            orders.create()
            with orders.shop() as (counter, agent):
                start = finished(agent("--once"))
                begins = {reader: orders.here(reader) for reader in ("loop", *drained)}
                orders.insert(2, ROWS, asked.size)
                counter.ask("mark")
                spent.append(finished(agent("--once")) - start)
                ours.append(rate(counter))
                told = counter.ask("report")
                width = int(str(told["bytes"])) // int(str(told["rows"]))
                bodies.append(orders.limit("bodies", url=counter.url, rows=ROWS, bytes=width))
            for what, rates in drained.items():
                rates.append(orders.limit(what, **begins[what], **orders.end(), rows=ROWS))
            with orders.shop() as (counter, _agent):
                finished(orders.by_hand(counter, begins["loop"], BY_HAND))
                loops.append(rate(counter))
    what = f"{asked.size}-row transactions"
    return [
        speed(f"backlog of {what}, rows/s", ours, loops, "loop by hand", asked.by_hand),
        *(beside(limit, ours, drained[limit.what]) for limit in asked.drains),
        Line(f"  limit: ready bodies of {width} bytes a row, rows/s", f"{statistics.median(bodies):,.0f}"),
        cost(what, spent, asked.cpu),
    ]


# ------------------------------------------------------------------ memory


def snapshot_memory(orders: Orders, count: int) -> float:
    """Peak memory of a snapshot of ``count`` rows, MB."""
    orders.create(count)
    with orders.shop() as (counter, agent):
        return peak(agent(), lambda: rows_of(counter) >= count)


def transaction_memory(orders: Orders, count: int) -> float:
    """Peak memory of one transaction of ``count`` rows, MB."""
    orders.create()
    with orders.shop() as (counter, agent):
        finished(agent("--once"))
        orders.insert(2, count, count)
        counter.ask("mark")
        return peak(agent(), lambda: rows_of(counter) >= count)


def memories(server: Server) -> list[Line]:
    """Both."""
    with server() as orders:
        return [
            memory("peak memory, snapshot", lambda count: snapshot_memory(orders, count), LARGE),
            memory("peak memory, one transaction", lambda count: transaction_memory(orders, count), LARGE // 2),
        ]


# ------------------------------------------------------------------ delays


def commit(orders: Orders, first: int) -> Iterator[float]:
    """Commit row after row at a steady pace; gives when each commit was confirmed."""
    with orders.inserting() as insert:
        begun = time.monotonic()
        for number in range(COMMITS):
            time.sleep(max(0.0, begun + number / A_SECOND - time.monotonic()))
            insert(first + number)
            yield time.monotonic()


def delays(orders: Orders, counter: Counter) -> list[float]:
    """From each commit to its POST, in ms and sorted, behind a reader that has begun."""
    before = rows_of(counter)
    orders.insert(2, 1, 1)
    wait_for(counter, before + 1)  # now it follows
    counter.ask("mark")
    commits = list(commit(orders, 3))
    wait_for(counter, COMMITS)
    told: dict[str, Any] = counter.ask("report")
    requests = zip(told["arrivals"], told["counts"], strict=True)
    arrivals = [arrival for arrival, count in requests for _ in range(count)]
    return sorted((arrived - committed) * 1000 for arrived, committed in zip(arrivals, commits, strict=True))


def agent_delays(orders: Orders) -> list[float]:
    """The agent's."""
    orders.create()
    with orders.shop() as (counter, agent):
        agent()
        wait_for(counter, 1)
        return delays(orders, counter)


def loop_delays(orders: Orders) -> list[float]:
    """The loop's."""
    orders.create()
    with orders.shop() as (counter, _agent):
        process = orders.by_hand(counter, orders.here("loop"))
        try:
            return delays(orders, counter)
        finally:
            process.kill()
            process.wait()


def latency(server: Server) -> list[Line]:
    """The agent and the loop behind the same writer, one after the other."""
    with server() as orders:
        pairs = [(agent_delays(orders), loop_delays(orders)) for _ in range(ROUNDS)]
    return [delay(pairs, what, share) for what, share in (("median", 0.5), ("p99", 0.99))]


def delay(pairs: list[tuple[list[float], list[float]]], what: str, share: float) -> Line:
    """One quantile of the agent's delays beside the loop's."""
    ours, loops = ([one[int(len(one) * share)] for one in side] for side in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in zip(ours, loops, strict=True))
    figure = f"{statistics.median(ours):.2f} ms = {ratio:.2f} x loop by hand ({statistics.median(loops):.2f} ms)"
    return Line(f"commit to POST at {A_SECOND} commits/s, {what}", figure, "<= 1.2 x", ratio <= 1.2)


def parts(name: str, server: Server, *asked: Snapshot | Backlog) -> dict[str, Callable[[], list[Line]]]:
    """Everything that is measured of a server, by the name it is asked for."""
    made: dict[str, Callable[[], list[Line]]] = {}
    for one in asked:
        if isinstance(one, Snapshot):
            made[f"{name}-snapshot"] = partial(snapshot, server, one)
        else:
            made[f"{name}-{'single' if one.size == 1 else 'backlog'}"] = partial(backlog, server, one)
    return {**made, f"{name}-memory": partial(memories, server), f"{name}-latency": partial(latency, server)}
