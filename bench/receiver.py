"""The receiver kit beside the bare upsert of the same rows, and agent and kit together as a copy of a database."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import mysql
import postgres
import psycopg
import yaml
from following import Orders
from kit import KEY, ORDERS
from measure import HERE, ROUNDS, ROWS, Line, cpu, finished, speed
from sqlalchemy.dialects import sqlite as sqlite_dialect

from fuagent.receiver import ready_server

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


def typed(rows: Rows) -> list[dict[str, Any]]:
    """The same rows with values in the types of the table's columns, which is what a program has that needs no HTTP."""
    made = (
        (*row[:3], Decimal(row[3]), *row[4:7], *(datetime.fromisoformat(text) for text in row[7:9]), row[9])
        for row in rows
    )
    return [dict(zip(NAMES, row, strict=True)) for row in made]


def twice(once: Callable[[], object]) -> tuple[float, float]:
    """Rows a second while all of them are new, and again when none is."""
    rates = []
    for _ in range(2):
        start = time.perf_counter()
        once()
        rates.append(ROWS / (time.perf_counter() - start))
    return rates[0], rates[1]


def through_sqlalchemy(url: str) -> tuple[float, float]:
    """The upsert as one writes it with SQLAlchemy, a transaction for each batch."""
    given = [typed(rows) for rows in batches()]
    engine = ready_server.open_database(url)
    ORDERS.create(engine)
    upsert = sqlite_dialect.insert(ORDERS)
    upsert = upsert.on_conflict_do_update(
        index_elements=["id"], set_={name: upsert.excluded[name] for name in NAMES[1:]}
    )

    def once() -> None:
        for rows in given:
            with engine.begin() as connection:
                connection.execute(upsert, rows)

    return twice(once)


def through_copy(url: str) -> tuple[float, float]:
    """COPY into a temporary table and an INSERT from it with psycopg, a transaction for each batch."""
    given = [[tuple(row.values()) for row in typed(rows)] for rows in batches()]
    with psycopg.connect(url) as database, database.cursor() as cursor:
        cursor.execute(TABLE)
        cursor.execute("CREATE TEMPORARY TABLE arriving (LIKE orders) ON COMMIT DELETE ROWS")
        database.commit()

        def once() -> None:
            for rows in given:
                with cursor.copy("COPY arriving FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)
                cursor.execute(f"INSERT INTO orders SELECT * FROM arriving {UPSERT}")
                database.commit()

        return twice(once)


# ------------------------------------------------------------------ databases to write to


@contextmanager
def sqlite_database() -> Iterator[Callable[[str], tuple[str, str]]]:
    """Gives a new database for a name: its URL for the kit, and for the bare upsert."""
    with tempfile.TemporaryDirectory() as folder:
        yield lambda name: (f"sqlite:///{folder}/{name}.db",) * 2


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
BARE = {"SQLite": (sqlite_database, through_sqlalchemy), "PostgreSQL": (postgres_database, through_copy)}


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


def posted(origin: str) -> tuple[float, float]:
    """Posting the batches one after the other, the bodies ready."""
    head = {"agent_id": "agent-000000000000", "task_id": "orders"}
    flags = {"is_snapshot_end": False, "snapshot_sync_suggested": False}
    bodies = [
        json.dumps({**head, **flags, "events": [dict(zip(NAMES, row, strict=True)) for row in rows]}).encode()
        for rows in batches()
    ]
    keys = itertools.count(1)
    return twice(lambda: asyncio.run(_post(origin, bodies, keys)))


async def _post(origin: str, bodies: Sequence[bytes], numbers: Iterator[int]) -> None:
    headers = {"content-type": "application/json", "x-api-key": KEY}
    async with aiohttp.ClientSession(headers=headers) as session:
        for body in bodies:
            key = {"idempotency-key": f"1.1.{next(numbers)}"}
            async with session.post(f"{origin}/ingest-batch", data=body, headers=key) as answer:
                if answer.status != 200:
                    sys.exit(f"the kit answers {answer.status}: {await answer.text()}")


def kit(name: str) -> list[Line]:
    """The kit over HTTP beside the bare upsert."""
    databases, bare = BARE[name]
    bares: list[tuple[float, float]] = []
    rates: dict[str, list[tuple[float, float]]] = {"dict": [], "model": []}
    with databases() as database:
        for number in range(ROUNDS):
            bares.append(bare(database(f"bare{number}")[1]))
            for kind, found in rates.items():
                with served(database(f"{kind}{number}")[0], kind) as (_process, origin):
                    found.append(posted(origin))
    new, again = (list(one) for one in zip(*bares, strict=True))
    kits = {kind: [list(one) for one in zip(*found, strict=True)] for kind, found in rates.items()}
    return [
        speed(f"kit into {name}, rows/s", kits["dict"][0], new, "the bare upsert", 0.5),
        speed("  the same rows again", kits["dict"][1], again, "the bare upsert of them", 0.5),
        speed("  rows as pydantic models", kits["model"][0], new, "the bare upsert", None),
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
