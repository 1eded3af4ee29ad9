"""The receiver kit beside the bare upsert of the same rows, and agent and kit together as a copy of a database."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import mysql
import postgres
import yaml
from following import Orders
from kit import KEY
from measure import HERE, ROUNDS, ROWS, Line, cpu, finished, speed

Rows = Sequence[Sequence[Any]]
BATCH = 1000
NAMES = tuple(postgres.COLUMNS)
SETTERS = ", ".join(f"{name} = excluded.{name}" for name in NAMES[1:])
UPSERT = f"ON CONFLICT (id) DO UPDATE SET {SETTERS}"
TABLE = (
    "CREATE TABLE orders (id bigint PRIMARY KEY, name varchar(60), email varchar(100), price numeric(12,2), "
    "quantity integer, note text, active boolean, created timestamp, changed timestamptz, weight double precision)"
)


def batches() -> Iterator[Rows]:
    """The rows, as the agent writes their values."""
    for first in range(1, ROWS + 1, BATCH):
        yield [
            (
                n,
                f"Customer {n}",
                f"customer{n}@example.com",
                f"{n * 1.37:.2f}",
                n % 100,
                f"deliver to the neighbour at number {n}" if n % 3 else None,
                n % 2 == 1,
                f"2026-01-{n % 28 + 1:02}T10:{n % 60:02}:00",
                f"2026-02-{n % 28 + 1:02}T10:{n % 60:02}:00.{n % 1000:03}Z",
                n * 0.37,
            )
            for n in range(first, min(first + BATCH, ROWS + 1))
        ]


# ------------------------------------------------------------------ the bare upsert


def into_sqlite(path: str) -> float:
    """Rows a second through the driver, a transaction for each batch, in a file that keeps its log beside it."""
    import sqlite3

    given = list(batches())
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(TABLE)
        start = time.perf_counter()
        for rows in given:
            with database:
                database.executemany(f"INSERT INTO orders VALUES ({', '.join('?' * len(NAMES))}) {UPSERT}", rows)
        return ROWS / (time.perf_counter() - start)


def into_postgres(url: str) -> float:
    """Rows a second through the driver: COPY into a temporary table and an INSERT from it, a transaction for each batch."""
    import psycopg

    given = list(batches())
    with psycopg.connect(url) as database, database.cursor() as cursor:
        cursor.execute(TABLE)
        cursor.execute("CREATE TEMPORARY TABLE arriving (LIKE orders) ON COMMIT DELETE ROWS")
        database.commit()
        start = time.perf_counter()
        for rows in given:
            with cursor.copy("COPY arriving FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            cursor.execute(f"INSERT INTO orders SELECT * FROM arriving {UPSERT}")
            database.commit()
        return ROWS / (time.perf_counter() - start)


# ------------------------------------------------------------------ databases to write to


@contextmanager
def sqlite_database() -> Iterator[Callable[[str], tuple[str, str]]]:
    """Gives a new database for a name: what SQLAlchemy and what the driver call it."""
    with tempfile.TemporaryDirectory() as folder:
        yield lambda name: (f"sqlite:///{folder}/{name}.db", f"{folder}/{name}.db")


@contextmanager
def postgres_database() -> Iterator[Callable[[str], tuple[str, str]]]:
    """The same."""
    with postgres.server() as shop:

        def made(name: str) -> tuple[str, str]:
            shop.running.execute(f"CREATE DATABASE {name}")
            at = f"postgres@127.0.0.1:{shop.running.port}/{name}"
            return f"postgresql+psycopg://{at}", f"postgresql://{at}"

        yield made


Databases = Callable[[], AbstractContextManager[Callable[[str], tuple[str, str]]]]
BARE = {"SQLite": (sqlite_database, into_sqlite), "PostgreSQL": (postgres_database, into_postgres)}


@contextmanager
def served(url: str, kind: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The kit over this database: its process and where it listens."""
    process = subprocess.Popen([sys.executable, str(HERE / "kit.py"), url, kind], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


# ------------------------------------------------------------------ what is measured


async def posted(origin: str) -> float:
    """Rows a second of posting the batches one after the other, the bodies ready."""
    head = {"agent_id": "agent-000000000000", "task_id": "orders"}
    flags = {"is_snapshot_end": False, "snapshot_sync_suggested": False}
    bodies = [
        json.dumps({**head, **flags, "events": [dict(zip(NAMES, row, strict=True)) for row in rows]}).encode()
        for rows in batches()
    ]
    headers = {"content-type": "application/json", "x-api-key": KEY}
    async with aiohttp.ClientSession(headers=headers) as session:
        start = time.perf_counter()
        for number, body in enumerate(bodies, 1):
            key = {"idempotency-key": f"1.1.{number}"}
            async with session.post(f"{origin}/ingest-batch", data=body, headers=key) as answer:
                if answer.status != 200:
                    sys.exit(f"the kit answers {answer.status}: {await answer.text()}")
        return ROWS / (time.perf_counter() - start)


def kit(name: str) -> list[Line]:
    """The kit over HTTP beside the bare upsert."""
    import asyncio

    databases, bare = BARE[name]
    bares: list[float] = []
    rates: dict[str, list[float]] = {"dict": [], "model": []}
    with databases() as database:
        for number in range(ROUNDS):
            bares.append(bare(database(f"bare{number}")[1]))
            for kind, found in rates.items():
                with served(database(f"{kind}{number}")[0], kind) as (_process, origin):
                    found.append(asyncio.run(posted(origin)))
    return [
        speed(f"kit into {name}, rows/s", rates["dict"], bares, "the bare upsert", 0.5),
        speed("  rows as pydantic models", rates["model"], bares, "it", None),
    ]


def copy(server: Callable[[], AbstractContextManager[Orders]], target: str) -> list[Line]:
    """Agent and kit: the snapshot of one database into another."""
    databases, _bare = BARE[target]
    rates, ours, theirs = [], [], []
    with server() as orders, databases() as database:
        for number in range(ROUNDS):
            orders.create()
            with (
                tempfile.TemporaryDirectory() as folder,
                served(database(f"copy{number}")[0], "dict") as (
                    process,
                    origin,
                ),
            ):
                start, started = timed(Path(folder), orders.source, origin)
                before = cpu(process.pid)
                orders.create(ROWS)
                (Path(folder) / "again").mkdir()
                seconds, spent = timed(Path(folder) / "again", orders.source, origin)
                theirs.append(cpu(process.pid) - before)
            rates.append(ROWS / (seconds - start))
            ours.append(spent - started)
    what = f"{orders.driver} to {target} through agent and kit"
    used = [f"{statistics.median(spent) * 100_000 / ROWS:.2f} s" for spent in (ours, theirs)]
    return [
        Line(f"{what}, rows/s", f"{statistics.median(rates):,.0f}"),
        Line("  CPU of 100,000 rows", f"agent {used[0]}, kit {used[1]}"),
    ]


def timed(folder: Path, source: Mapping[str, object], origin: str) -> tuple[float, float]:
    """One run of the agent: its seconds, and those of the processor."""
    service = {"driver": "openapi", "endpoint": f"{origin}/openapi.json", "credential": {"key": KEY}}
    settings = {
        "agent_id": f"agent-{time.time_ns() % 10**12:012}",
        "sources": {"shop": dict(source) | {"driver": "mysql" if "mysql" in str(source["endpoint"]) else "postgres"}},
        "pushers": {"service": service},
        "syncs": {"orders": {"source": "shop", "pusher": "service", "tables": ["orders"]}},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    path.chmod(0o600)
    command = [sys.executable, "-m", "fuagent", "--config", str(path), "run", "--once", "--log-level", "warning"]
    start = time.perf_counter()
    spent = finished(subprocess.Popen(command, stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(HERE)}))
    return time.perf_counter() - start, spent


PARTS = {
    "receiver-sqlite": partial(kit, "SQLite"),
    "receiver-postgres": partial(kit, "PostgreSQL"),
    "receiver-mysql-to-postgres": partial(copy, mysql.server, "PostgreSQL"),
    "receiver-postgres-to-sqlite": partial(copy, postgres.server, "SQLite"),
}
