"""A MariaDB server with table ``orders``, and quick ways to fill it: the rows are made by the server itself."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from harness.mariadb import PASSWORD, USER, MariaDB, make_template

__all__ = ["COLUMNS", "PASSWORD", "USER", "MariaDB", "create", "insert", "server", "values"]

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


@contextmanager
def server(**options: object) -> Iterator[MariaDB]:
    """A server of its own, which ends with the block."""
    with tempfile.TemporaryDirectory() as name, MariaDB(make_template(Path(name)), **OPTIONS, **options) as running:
        yield running


def create(running: MariaDB, count: int = 1) -> None:
    """Begin anew: an empty binlog, and ``count`` rows that were there before it."""
    columns = ", ".join(f"{name} {kind}" for name, (kind, _value) in COLUMNS.items())
    running.execute("DROP TABLE IF EXISTS orders")
    running.execute(f"CREATE TABLE orders ({columns})")
    with running.connect() as session, session.cursor() as cursor:
        cursor.execute("SET sql_log_bin = 0")
        cursor.execute(f"INSERT INTO orders SELECT {values('seq')} FROM seq_1_to_{count}")
    running.execute("RESET MASTER")


def insert(running: MariaDB, first: int, count: int, size: int) -> None:
    """Insert ``count`` rows in transactions of ``size`` rows."""
    with running.connect() as session, session.cursor() as cursor:
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
