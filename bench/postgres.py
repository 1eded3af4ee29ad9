"""PostgreSQL with table ``orders``, and what is asked of reading it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from following import Backlog, Limit, Orders, Snapshot, Told, parts

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from harness.postgres import PASSWORD, USER, Postgres, make_template

OPTIONS: dict[str, object] = {"max_wal_size": "8GB", "shared_buffers": "512MB"}
"""So that neither filling nor reading waits for a disk; commits reach the log at once, which readers wait for."""
COLUMNS = {
    "id": ("bigint PRIMARY KEY", "{n}"),
    "name": ("varchar(60) NOT NULL", "'Customer ' || {n}"),
    "email": ("varchar(100) NOT NULL", "'customer' || {n} || '@example.com'"),
    "price": ("numeric(12,2) NOT NULL", "{n} * 1.37"),
    "quantity": ("integer NOT NULL", "{n} % 100"),
    "note": ("text", "CASE WHEN {n} % 3 <> 0 THEN 'deliver to the neighbour at number ' || {n} END"),
    "active": ("boolean NOT NULL", "{n} % 2 = 1"),
    "created": ("timestamp(0) NOT NULL", "timestamp '2026-01-01 00:00:00' + {n} * interval '1 second'"),
    "changed": ("timestamptz(3) NOT NULL", "timestamptz '2026-02-01 00:00:00Z' + {n} * interval '1 millisecond'"),
    "weight": ("double precision NOT NULL", "{n} * 0.37::float8"),
}
"""Name → its type, and its value in row ``n``: about 270 bytes of JSON a row, one note of three is NULL."""


def values(n: str) -> str:
    """The expressions of one row."""
    return ", ".join(expression.format(n=n) for _type, expression in COLUMNS.values())


class Shop(Orders):
    """The table on a running server."""

    driver = "postgres"
    program = "postgres_limits.py"
    loop = "postgres_loop.py"

    def __init__(self, running: Postgres) -> None:
        self.running = running
        self.database = running.database()

    @property
    def source(self) -> Told:
        """See :class:`Orders`."""
        return {"endpoint": self.database.url(), "credential": {"user": USER, "password": PASSWORD}}

    @property
    def told(self) -> Told:
        """See :class:`Orders`."""
        return {"port": self.running.port, "user": USER, "password": PASSWORD}

    def create(self, count: int = 1) -> None:
        """See :class:`Orders`."""
        for slot in self.running.slots():
            self.running.execute("SELECT pg_drop_replication_slot(%s)", slot["slot_name"])
        for (name,) in self.running.execute("SELECT pubname FROM pg_publication"):
            self.running.execute(f'DROP PUBLICATION "{name}"')
        self.running.execute("DROP TABLE IF EXISTS orders")
        self.database.create("orders", ", ".join(f"{name} {kind}" for name, (kind, _value) in COLUMNS.items()))
        self.running.execute(f"INSERT INTO orders SELECT {values('n')} FROM generate_series(1, {count}) n")
        self.running.execute("VACUUM ANALYZE orders")
        self.running.execute("CREATE PUBLICATION bench FOR TABLE orders")

    def insert(self, first: int, count: int, size: int) -> None:
        """See :class:`Orders`."""
        last = first + count - 1
        if size == 1:
            self.running.execute(
                f"DO $$ BEGIN FOR n IN {first}..{last} LOOP INSERT INTO orders VALUES ({values('n')}); COMMIT;"
                " END LOOP; END $$"
            )
            return
        for start in range(first, last + 1, size):
            end = min(start + size - 1, last)
            self.running.execute(f"INSERT INTO orders SELECT {values('n')} FROM generate_series({start}, {end}) n")

    def here(self, reader: str) -> Told:
        """See :class:`Orders`."""
        self.running.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", reader)
        return {"slot": reader}

    def end(self) -> Told:
        """See :class:`Orders`: whoever counts rows needs nothing else."""
        return {}

    @contextmanager
    def inserting(self) -> Iterator[Callable[[int], object]]:
        """See :class:`Orders`."""
        with self.database.connect() as session:
            session.autocommit = True
            yield lambda number: session.execute(f"INSERT INTO orders VALUES ({values(str(number))})")


@contextmanager
def server(**options: object) -> Iterator[Shop]:
    """A server of its own, which ends with the block."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # the server runs as somebody else
        with Postgres(make_template(Path(name)), **OPTIONS, **options) as running:
            yield Shop(running)


DRAINS = (
    Limit("one message at a time through libpq", "libpq", 1.3),
    Limit("draining the log in large pieces", "drain"),
)
PARTS = parts(
    "postgres",
    server,
    Snapshot(
        (Limit("COPY in large pieces", "channel"), Limit("COPY with psycopg", "psycopg")),
        least=0.4,
        cpu=0.4,
        beside=(Limit("row_to_json on the server", "json", 1),),
    ),
    Backlog(1000, DRAINS, cpu=0.7),
    Backlog(1, tuple(Limit(drain.name, drain.what) for drain in DRAINS), cpu=1.7, by_hand=1.2),
)
