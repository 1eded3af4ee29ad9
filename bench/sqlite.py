"""SQLite, beside the limits of what reading it stands on."""

from __future__ import annotations

import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from measure import (
    LARGE,
    ROUNDS,
    ROWS,
    Counter,
    Line,
    cpu,
    finished,
    memory,
    memory_of,
    peak,
    rate,
    shown,
    speed,
    street,
)

COLUMNS = ("id", "name", "email", "price", "quantity", "note", "active", "created", "reference", "data")


def row(number: int) -> tuple[object, ...]:
    """Ten columns of mixed types, about 250 bytes of JSON."""
    return (
        number,
        f"Customer {number}",
        f"customer{number}@example.com",
        number * 1.37,
        number % 100,
        f"deliver to the neighbour at number {number}" if number % 3 else None,
        number % 2,
        f"2026-01-01T00:00:{number % 60:02d}",
        f"REF-{number:010d}",
        b"0123456789abcdef",
    )


def connect(path: Path) -> sqlite3.Connection:
    """A connection for filling a database quickly."""
    database = sqlite3.connect(path, isolation_level=None, timeout=60)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = OFF")
    return database


def create(path: Path, count: int = 0) -> sqlite3.Connection:
    """A database with table ``orders`` of ``count`` rows."""
    database = connect(path)
    database.execute(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT, email TEXT, price REAL, quantity INTEGER,"
        " note TEXT, active INTEGER, created TEXT, reference TEXT, data BLOB)"
    )
    insert(database, 1, count)
    return database


def insert(database: sqlite3.Connection, first: int, count: int, chunk: int | None = None) -> None:
    """Insert ``count`` rows, ``chunk`` to a transaction (all in one by default)."""
    step = chunk or max(count, 1)
    for start in range(first, first + count, step):
        with database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(
                "INSERT INTO orders VALUES (?,?,?,?,?,?,?,?,?,?)",
                map(row, range(start, min(start + step, first + count))),
            )


def shop(directory: Path, **sync: object) -> AbstractContextManager[tuple[Counter, Callable[..., subprocess.Popen]]]:
    """A service, and an agent that follows table ``orders`` of ``directory``/shop.db."""
    sources = {"shop": {"driver": "sqlite", "endpoint": f"sqlite:///{directory / 'shop.db'}"}}
    return street(directory, sources, {"orders": {"source": "shop", "pusher": "service", "tables": ["orders"], **sync}})


FETCH = """
import sqlite3,sys,time
c=sqlite3.connect(sys.argv[1]).execute(sys.argv[2]);n=0;t=time.perf_counter()
while r:=c.fetchmany(1000): n+=len(r)
print(n/(time.perf_counter()-t))
"""


def fetch_rate(path: Path, query: str, code: str = FETCH) -> float:
    """Rows a second of fetching (without encoding, by default), in a process of its own."""
    out = subprocess.run([sys.executable, "-c", code, str(path), query], capture_output=True, text=True, check=True)
    return float(out.stdout)


def snapshot_speed(**sync: int) -> Line:
    """Snapshot against fetching the same rows."""
    ours, raw = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as name, shop(Path(name), **sync) as (counter, agent):
            path = Path(name) / "shop.db"
            create(path, ROWS).close()
            raw.append(fetch_rate(path, f"SELECT {', '.join(COLUMNS)} FROM orders"))
            finished(agent("--once"))
            ours.append(rate(counter))
    return speed(f"snapshot, rows/s{shown(sync)}", ours, raw, "fetchmany", 0.35)


def backlog_speed(**sync: int) -> Line:
    """Backlog of 1000-row transactions against fetching the change log."""
    ours, raw = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as name, shop(Path(name), **sync) as (counter, agent):
            path = Path(name) / "shop.db"
            database = create(path, 1)
            finished(agent("--once"))
            insert(database, 2, ROWS, chunk=1000)
            [(log,)] = database.execute("SELECT name FROM sqlite_master WHERE name LIKE '~_fuagent~_%log' ESCAPE '~'")
            raw.append(fetch_rate(path, f'SELECT * FROM "{log}" ORDER BY seq'))
            counter.ask("mark")
            finished(agent("--once"))
            ours.append(rate(counter))
    return speed(f"backlog of 1000-row transactions, rows/s{shown(sync)}", ours, raw, "fetchmany", 0.35)


MAPPED = {
    **{(name if name == "id" else f"{name}_of_order"): name for name in COLUMNS},
    "country": {"constant": "NL"},
}
"""Every column under another name, and a constant: as many bytes as ever and some more."""
DICTS = """
import base64,json,sqlite3,sys,time
def plain(value): return base64.b64encode(value).decode()
c=sqlite3.connect(sys.argv[1]).execute(sys.argv[2]);names=[d[0] for d in c.description];n=0;t=time.perf_counter()
while r:=c.fetchmany(1000):
    for row in r: len(json.dumps(dict(zip(names,row)),default=plain).encode())
    n+=len(r)
print(n/(time.perf_counter()-t))
"""


def mapping() -> list[Line]:
    """What select, rename and constants cost, and what a Python function costs, each beside the plain rate."""
    plain, mapped, through, fetched, dicts = [], [], [], [], []
    query = f"SELECT {', '.join(COLUMNS)} FROM orders"
    ways = [(plain, {}), (mapped, {"fields": MAPPED}), (through, {"transform": "identity:same"})]
    for number in range(ROUNDS):
        # Each round begins with another one: whoever comes first has the cooler machine.
        for rates, sync in ways[number % 3 :] + ways[: number % 3]:
            with tempfile.TemporaryDirectory() as name, shop(Path(name), **sync) as (counter, agent):
                path = Path(name) / "shop.db"
                create(path, ROWS).close()
                finished(agent("--once"))
                rates.append(rate(counter))
                if rates is through:
                    fetched.append(fetch_rate(path, query))
                    dicts.append(fetch_rate(path, query, DICTS))
    ratio = statistics.median(one / other for one, other in zip(mapped, plain, strict=True))
    cost = statistics.median(1 / one - 1 / other for one, other in zip(through, plain, strict=True))
    by_hand = statistics.median(1 / one - 1 / other for one, other in zip(dicts, fetched, strict=True))
    return [
        Line("mapping: rename all, a constant", f"{ratio:.2f} x the plain rate", ">= 0.9 x", ratio >= 0.9),
        Line(
            "transform in Python",
            f"{cost * 1e6:.1f} us a row = {cost / by_hand:.2f} x row -> dict -> JSON ({by_hand * 1e6:.1f} us)",
            "<= 1 x",
            cost <= by_hand,
        ),
    ]


def many_sources(directory: Path) -> dict[str, object]:
    """Twenty databases."""
    paths = {f"shop{n}": directory / f"shop{n}.db" for n in range(20)}
    return {name: {"driver": "sqlite", "endpoint": f"sqlite:///{path}"} for name, path in paths.items()}


def many_syncs(directory: Path, count: int) -> dict[str, object]:
    """Syncs of a table each, with one row, spread over these databases."""
    syncs = {f"t{n}": {"source": f"shop{n % 20}", "pusher": "service", "tables": [f"t{n}"]} for n in range(count)}
    for number, table in enumerate(syncs):
        with connect(directory / f"shop{number % 20}.db") as database:
            database.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY)")
            database.execute(f"INSERT INTO {table} VALUES (1)")
    return dict(syncs)


def many(count: int = 200) -> list[Line]:
    """What two hundred syncs cost while nothing changes: ten tables in each of twenty databases."""
    with tempfile.TemporaryDirectory() as name:
        syncs = many_syncs(Path(name), count)
        with street(Path(name), many_sources(Path(name)), syncs) as (counter, agent):
            return _many(counter, agent, count)


def _many(counter: Counter, agent: Callable[..., subprocess.Popen], count: int) -> list[Line]:
    process = agent()
    # A row and an end marker each; then whatever follows a start has time to end.
    peak(process, lambda: int(str(counter.ask("report")["requests"])) >= 2 * count)
    time.sleep(20)
    before, started = cpu(process.pid), time.monotonic()
    time.sleep(60)
    share = (cpu(process.pid) - before) / (time.monotonic() - started)
    held, most = memory_of(process, "VmRSS"), memory_of(process, "VmHWM")
    return [
        Line(f"{count} syncs, idle", f"{share:.2%} of one core", "< 3 %", share < 0.03),
        Line(f"{count} syncs, memory", f"{held:.0f} MB, at most {most:.0f} while starting", "< 250 MB", held < 250),
    ]


def snapshot_memory(count: int) -> float:
    """Peak memory of a snapshot of ``count`` rows, MB."""
    with tempfile.TemporaryDirectory() as name, shop(Path(name)) as (counter, agent):
        create(Path(name) / "shop.db", count).close()
        return peak(agent(), lambda: int(str(counter.ask("report")["rows"])) >= count)


def transaction_memory(count: int) -> float:
    """Peak memory of one transaction of ``count`` rows, MB."""
    with tempfile.TemporaryDirectory() as name, shop(Path(name)) as (counter, agent):
        database = create(Path(name) / "shop.db", 1)
        finished(agent("--once"))
        insert(database, 2, count)
        counter.ask("mark")
        return peak(agent(), lambda: int(str(counter.ask("report")["rows"])) >= count)


def idle() -> list[Line]:
    """Change to POST on an idle system, and what idling costs."""
    with tempfile.TemporaryDirectory() as name, shop(Path(name)) as (counter, agent):
        database = create(Path(name) / "shop.db", 100)
        process = agent()
        peak(process, lambda: int(str(counter.ask("report")["requests"])) >= 2)
        time.sleep(2)
        before, started = cpu(process.pid), time.monotonic()
        time.sleep(20)
        share = (cpu(process.pid) - before) / (time.monotonic() - started)
        delays = [latency(database, counter, 1000 + number) for number in range(200)]
    delays.sort()
    middle, high = delays[100] * 1000, delays[197] * 1000
    return [
        Line(
            "change to POST, idle system", f"median {middle:.1f} ms, p99 {high:.1f} ms", "median < 20 ms", middle < 20
        ),
        Line("idle", f"{share:.2%} of one core", "< 1 %", share < 0.01),
    ]


def latency(database: sqlite3.Connection, counter: Counter, number: int) -> float:
    """Seconds from one commit to its request."""
    counter.ask("mark")
    insert(database, number, 1)
    committed = time.monotonic()
    while not (told := counter.ask("report"))["requests"]:
        time.sleep(0.001)
    time.sleep(0.02)
    return float(str(told["first"])) - committed


PARTS: dict[str, Callable[[], list[Line]]] = {
    "snapshot": lambda: [snapshot_speed(), snapshot_speed(batch_size=4000)],
    "backlog": lambda: [backlog_speed(), backlog_speed(batch_size=4000)],
    "memory": lambda: [
        memory("peak memory, snapshot", snapshot_memory, LARGE),
        memory("peak memory, one transaction", transaction_memory, LARGE // 2),
    ],
    "mapping": mapping,
    "idle": idle,
    "many": many,
}
