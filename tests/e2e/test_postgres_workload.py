"""A real agent between a real PostgreSQL under random load and a service, while everything is killed and cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.nemesis import SEED, PostgresNemesis, assert_endures
from harness.postgres import PASSWORD, USER, Postgres
from harness.workload import Workload
from harness.workload_postgres import PostgresDialect

DURABLE = {"fsync": "on", "full_page_writes": "on"}
SOURCE = {
    "driver": "postgres",
    "endpoint": "postgres://127.0.0.1:{port}/shop",
    "credential": {"user": USER, "password": PASSWORD},
}


@pytest.mark.fault("F27", "F45")
@pytest.mark.slow
async def test_both_sides_are_equal_whatever_breaks(tmp_path: Path, private_postgres: Callable[..., Postgres]) -> None:
    """Nothing lost, no version back, every index unique, rising and stable: through kills, cuts, stalls and restarts.

    One table tells all of its old rows and is altered in every way; the other tells their keys alone, and some
    transactions on it stay open while others begin and end, and while things break.
    """
    server = private_postgres(**DURABLE)
    database = server.database()
    quick = Workload(database, PostgresDialect("FULL"), SEED, pause=0.01)
    slow = Workload(database, PostgresDialect("DEFAULT"), SEED, table="v", first=10**9, pause=0.01, linger=6)

    await assert_endures(tmp_path, server, [quick, slow], SOURCE, PostgresNemesis)
