"""Measures the agent against the limits of what it stands on, side by side in one run.

Every figure is a ratio or a median taken on this machine in this run; a missed
target is printed as missed. ``ROWS`` and ``ROUNDS`` in the environment change the sizes.
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

HERE = Path(__file__).parent
ROWS = int(os.environ.get("ROWS", "300000"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
LARGE = int(os.environ.get("LARGE", "2000000"))
SMALL = 200_000
COLUMNS = ("id", "name", "email", "price", "quantity", "note", "active", "created", "reference", "data")


@dataclass
class Line:
    """One line of the report."""

    what: str
    figure: str
    target: str = ""
    met: bool | None = None


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


class Counter:
    """The counting service as a process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "service.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def ask(self, word: str) -> dict[str, object]:
        """``mark`` or ``report``."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return dict(json.loads(self.process.stdout.readline()))


@contextmanager
def street(
    directory: Path, syncs: dict[str, object] | None = None, sources: int = 0, **sync: object
) -> Iterator[tuple[Counter, Callable[..., subprocess.Popen[bytes]]]]:
    """A counting service, and a way to start the agent on ``directory``/shop.db."""
    counter = Counter()
    config = {
        "agent_id": "agent-000000000000",
        "sources": {"shop": {"driver": "sqlite", "endpoint": f"sqlite:///{directory / 'shop.db'}"}},
        "pushers": {"service": {"driver": "openapi", "endpoint": f"http://127.0.0.1:{counter.port}/openapi.json"}},
        "syncs": {"orders": {"source": "shop", "pusher": "service", "tables": ["orders"], **sync}},
    }
    if syncs:
        config["syncs"] = syncs
        config["sources"] = {
            f"shop{n}": {"driver": "sqlite", "endpoint": f"sqlite:///{directory / f'shop{n}.db'}"}
            for n in range(sources)
        }
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    path.chmod(0o600)
    started: list[subprocess.Popen[bytes]] = []

    def agent(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "fuagent", "--config", str(path), "run", "--log-level", "warning", *arguments]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(HERE)})
        started.append(process)
        return process

    try:
        yield counter, agent
    finally:
        for process in [*started, counter.process]:
            if process.poll() is None:
                process.kill()
            process.wait()


def peak(process: subprocess.Popen[bytes], settled: Callable[[], bool]) -> float:
    """Wait until ``settled``; gives the highest memory of the process so far, in MB."""
    while process.poll() is None and not settled():
        time.sleep(0.05)
    return memory_of(process, "VmHWM")


def memory_of(process: subprocess.Popen[bytes], what: str) -> float:
    """A line of the process's status (proc(5)), in MB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith(what)]
    return int(line.split()[1]) / 1024


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


def rate(counter: Counter) -> float:
    """Rows a second between the first and the last request."""
    told = counter.ask("report")
    return float(str(told["rows"])) / (float(str(told["last"])) - float(str(told["first"])))


def finished(process: subprocess.Popen[bytes]) -> None:
    """Wait for an agent run with ``--once``."""
    if process.wait(600) != 0:
        sys.exit("the agent failed; see its log above")


def snapshot_speed(**sync: int) -> Line:
    """Snapshot against fetching the same rows."""
    ours, raw = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as name, street(Path(name), **sync) as (counter, agent):
            path = Path(name) / "shop.db"
            create(path, ROWS).close()
            raw.append(fetch_rate(path, f"SELECT {', '.join(COLUMNS)} FROM orders"))
            finished(agent("--once"))
            ours.append(rate(counter))
    return speed(f"snapshot, rows/s{shown(sync)}", ours, raw)


def backlog_speed(**sync: int) -> Line:
    """Backlog of 1000-row transactions against fetching the change log."""
    ours, raw = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as name, street(Path(name), **sync) as (counter, agent):
            path = Path(name) / "shop.db"
            database = create(path, 1)
            finished(agent("--once"))
            insert(database, 2, ROWS, chunk=1000)
            [(log,)] = database.execute("SELECT name FROM sqlite_master WHERE name LIKE '~_fuagent~_%log' ESCAPE '~'")
            raw.append(fetch_rate(path, f'SELECT * FROM "{log}" ORDER BY seq'))
            counter.ask("mark")
            finished(agent("--once"))
            ours.append(rate(counter))
    return speed(f"backlog of 1000-row transactions, rows/s{shown(sync)}", ours, raw)


def shown(sync: dict[str, int]) -> str:
    """Settings that are not the defaults."""
    return "".join(f", {name} {value}" for name, value in sync.items())


def speed(what: str, ours: list[float], raw: list[float], least: float = 0.35) -> Line:
    """A rate beside its limit."""
    ratios = [one / other for one, other in zip(ours, raw, strict=True)]
    ratio = statistics.median(ratios)
    figure = f"{statistics.median(ours):,.0f} = {ratio:.2f} x fetchmany ({statistics.median(raw):,.0f})"
    return Line(what, figure, f">= {least} x", ratio >= least)


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
            with tempfile.TemporaryDirectory() as name, street(Path(name), **sync) as (counter, agent):
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


def many(count: int = 200) -> list[Line]:
    """What two hundred syncs cost while nothing changes: ten tables in each of twenty databases."""
    syncs = {f"t{n}": {"source": f"shop{n % 20}", "pusher": "service", "tables": [f"t{n}"]} for n in range(count)}
    with tempfile.TemporaryDirectory() as name, street(Path(name), syncs, sources=20) as (counter, agent):
        for number, table in enumerate(syncs):
            with connect(Path(name) / f"shop{number % 20}.db") as database:
                database.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY)")
                database.execute(f"INSERT INTO {table} VALUES (1)")
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
    with tempfile.TemporaryDirectory() as name, street(Path(name)) as (counter, agent):
        create(Path(name) / "shop.db", count).close()
        return peak(agent(), lambda: int(str(counter.ask("report")["rows"])) >= count)


def transaction_memory(count: int) -> float:
    """Peak memory of one transaction of ``count`` rows, MB."""
    with tempfile.TemporaryDirectory() as name, street(Path(name)) as (counter, agent):
        database = create(Path(name) / "shop.db", 1)
        finished(agent("--once"))
        insert(database, 2, count)
        counter.ask("mark")
        return peak(agent(), lambda: int(str(counter.ask("report")["rows"])) >= count)


def memory(what: str, measure: Callable[[int], float], large: int) -> Line:
    """Peak memory at a large size beside a small one."""
    small, big = measure(SMALL), measure(large)
    figure = f"{big:.0f} MB at {large:,} rows, {small:.0f} MB at {SMALL:,} ({big / small - 1:+.0%})"
    return Line(what, figure, "< 120 MB, within 10 %", big < 120 and big <= small * 1.1)


def idle() -> list[Line]:
    """Change to POST on an idle system, and what idling costs."""
    with tempfile.TemporaryDirectory() as name, street(Path(name)) as (counter, agent):
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


def cpu(pid: int) -> float:
    """Seconds of processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run everything, or what is named on the command line, and print one table."""
    parts: dict[str, Callable[[], list[Line]]] = {
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
    chosen = sys.argv[1:] or list(parts)
    lines = [line for name in chosen for line in parts[name]()]
    width = max(len(line.what) for line in lines)
    print(f"\nSQLite, {ROWS:,} rows of {len(COLUMNS)} columns, medians of {ROUNDS}, one run on this machine\n")
    for line in lines:
        verdict = {True: "met", False: "MISSED", None: ""}[line.met]
        print(f"{line.what:<{width}}  {line.figure:<64}  {line.target:<22} {verdict}")


if __name__ == "__main__":
    main()
