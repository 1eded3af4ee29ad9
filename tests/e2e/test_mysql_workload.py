"""A real agent between a real MariaDB under random load and a service, while everything is killed and cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.mariadb import PASSWORD, USER, MariaDB
from harness.nemesis import SEED, MariaDBNemesis, assert_endures
from harness.workload import Workload
from harness.workload_mariadb import MariaDBDialect

DURABLE = {"innodb_flush_log_at_trx_commit": 1, "sync_binlog": 1}
SOURCE = {
    "driver": "mysql",
    "endpoint": "mysql://127.0.0.1:{port}/shop",
    "credential": {"user": USER, "password": PASSWORD},
}


@pytest.mark.fault("F05", "F06", "F27")
@pytest.mark.slow
async def test_both_sides_are_equal_whatever_breaks(tmp_path: Path, private_mariadb: Callable[..., MariaDB]) -> None:
    """Nothing lost, no version back, every index unique, rising and stable: through kills, cuts, stalls and restarts."""
    server = private_mariadb(**DURABLE)
    workload = Workload(server.database(), MariaDBDialect(), SEED, pause=0.01)

    await assert_endures(tmp_path, server, [workload], SOURCE, MariaDBNemesis)
