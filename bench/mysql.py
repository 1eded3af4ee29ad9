"""MariaDB with table ``orders``, and what is asked of reading it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from following import Backlog, Limit, Orders, Snapshot, Told, parts

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from harness.mariadb import PASSWORD, USER, MariaDB, make_template

OPTIONS: dict[str, object] = {
    "innodb_buffer_pool_size": "512M",
    "innodb_flush_log_at_trx_commit": 2,
    "innodb_log_file_size": "256M",
    "sync_binlog": 0,
}
"""So that neither filling nor reading waits for a disk."""
COLUMNS = {
    "id": ("BIGINT PRIMARY KEY", "{n}"),
    "name": ("VARCHAR(60) NOT NULL", "CONCAT('Customer ', {n})"),
    "email": ("VARCHAR(100) NOT NULL", "CONCAT('customer', {n}, '@example.com')"),
    "price": ("DECIMAL(12,2) NOT NULL", "{n} * 1.37"),
    "quantity": ("INT NOT NULL", "{n} MOD 100"),
    "note": ("TEXT", "IF({n} MOD 3, CONCAT('deliver to the neighbour at number ', {n}), NULL)"),
    "active": ("TINYINT NOT NULL", "{n} MOD 2"),
    "created": ("DATETIME NOT NULL", "TIMESTAMP'2026-01-01 00:00:00' + INTERVAL {n} SECOND"),
    "changed": ("TIMESTAMP(3) NOT NULL", "TIMESTAMP'2026-02-01 00:00:00' + INTERVAL {n} * 1000 MICROSECOND"),
    "weight": ("DOUBLE NOT NULL", "{n} * 0.37e0"),
}
"""Name → its type, and its value in row ``n``: about 270 bytes of JSON a row, one note of three is NULL."""


def values(n: str) -> str:
    """The expressions of one row."""
    return ", ".join(expression.format(n=n) for _type, expression in COLUMNS.values())


class Shop(Orders):
    """The table on a running server."""

    driver = "mysql"
    program = "mysql_limits.py"
    loop = "mysql_loop.py"

    def __init__(self, running: MariaDB) -> None:
        self.running = running

    @property
    def source(self) -> Told:
        """See :class:`Orders`."""
        return {"endpoint": self.running.url(), "credential": {"user": USER, "password": PASSWORD}}

    @property
    def told(self) -> Told:
        """See :class:`Orders`."""
        return {"port": self.running.port, "user": USER, "password": PASSWORD}

    def create(self, count: int = 1) -> None:
        """See :class:`Orders`."""
        columns = ", ".join(f"{name} {kind}" for name, (kind, _value) in COLUMNS.items())
        self.running.execute("DROP TABLE IF EXISTS orders")
        self.running.execute(f"CREATE TABLE orders ({columns})")
        with self.running.connect() as session, session.cursor() as cursor:
            cursor.execute("SET sql_log_bin = 0")
            cursor.execute(f"INSERT INTO orders SELECT {values('seq')} FROM seq_1_to_{count}")
        self.running.execute("RESET MASTER")

    def insert(self, first: int, count: int, size: int) -> None:
        """See :class:`Orders`."""
        with self.running.connect() as session, session.cursor() as cursor:
            if size == 1:
                last = first + count
                cursor.execute(
                    f"BEGIN NOT ATOMIC DECLARE n BIGINT DEFAULT {first}; WHILE n < {last} DO"
                    f" INSERT INTO orders VALUES ({values('n')}); SET n = n + 1; END WHILE; END"
                )
                return
            for start in range(first, first + count, size):
                end = min(start + size, first + count) - 1
                cursor.execute(f"INSERT INTO orders SELECT {values('seq')} FROM seq_{start}_to_{end}")

    def here(self, reader: str) -> Told:
        """See :class:`Orders`."""
        del reader  # a log is read by whoever asks
        position = self.running.position()
        return {"file": position.file, "offset": position.offset}

    def end(self) -> Told:
        """See :class:`Orders`: the log is one file, for `create` begins it and nothing here fills it."""
        return {"end": self.running.position().offset}

    @contextmanager
    def inserting(self) -> Iterator[Callable[[int], object]]:
        """See :class:`Orders`."""
        with self.running.connect() as session, session.cursor() as cursor:
            yield lambda number: cursor.execute(f"INSERT INTO orders VALUES ({values(str(number))})")


@contextmanager
def server(**options: object) -> Iterator[Shop]:
    """A server of its own, which ends with the block."""
    with tempfile.TemporaryDirectory() as name, MariaDB(make_template(Path(name)), **OPTIONS, **options) as running:
        yield Shop(running)


DRAIN = Limit("draining the binlog", "drain")
PARTS = parts(
    "mysql",
    server,
    Snapshot((Limit("Link.raw", "link"), Limit("asyncmy's SSCursor", "cursor")), least=0.6, cpu=0.3),
    Backlog(1000, (DRAIN,), by_hand=8, cpu=0.8),
    Backlog(1, (DRAIN,), by_hand=8, cpu=3),
)
