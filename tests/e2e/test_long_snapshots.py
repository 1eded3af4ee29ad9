"""Snapshots that take long: what the log keeps meanwhile, and what the database has to hold for them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from harness.agent import until
from harness.mariadb import MariaDB
from harness.orders import MariaDBOrders, Orders, PostgresOrders
from harness.postgres import Postgres
from harness.service import Request, Service
from harness.street import street

Make = Callable[[str, int], Orders]
ROWS = 2000


class Slow(Service):
    """Keeps its first answer back until ``go`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived, self.go = asyncio.Event(), asyncio.Event()
        self.script.append(self._late)

    async def _late(self, _request: Request) -> web.StreamResponse | None:
        self.arrived.set()
        await self.go.wait()
        return None


def _purged(server: MariaDB) -> bool:
    server.execute("FLUSH BINARY LOGS")
    server.execute(f"PURGE BINARY LOGS TO '{server.position().file}'")
    return len(server.binlogs()) == 1


@pytest.mark.fault("F104")
async def test_a_log_that_is_purged_under_a_snapshot(tmp_path: Path, private_mariadb: Callable[..., MariaDB]) -> None:
    """The rows arrive, and that changes behind them are gone is said once: no snapshot after the other by itself."""
    server = private_mariadb()
    orders = MariaDBOrders(server.database(), ROWS)
    service = Slow()
    async with street(tmp_path, orders, service, sync={"batch_size": 100, "timeout": 600}) as all_:
        await all_.agent.start()
        await asyncio.wait_for(service.arrived.wait(), 60)
        all_.put(5000)
        await until(lambda: _purged(server), "the server throws its log away")
        service.go.set()
        status = await all_.agent.state("lost place")
        all_.put(5001)
        await until(lambda: 5001 in service.rows, "what the log still has comes")
        suggested = service.posts[-1].json["snapshot_sync_suggested"]
        begun = all_.agent.text().count('"snapshot begins"')
        await all_.agent.end()
    orders.close()

    assert "purged" in status["gap"]
    assert suggested is True
    assert (begun, service.ends) == (1, 1)
    assert service.rows.keys() == {*range(1, ROWS + 1), 5001}


@pytest.mark.fault("F104")
async def test_a_slot_keeps_the_log_under_a_snapshot(tmp_path: Path, private_postgres: Callable[..., Postgres]) -> None:
    """However much is written and thrown away meanwhile, PostgreSQL holds what comes behind the picture."""
    server = private_postgres(max_wal_size="32MB", min_wal_size="32MB")
    database = server.database()
    orders = PostgresOrders(database, ROWS)
    service = Slow()
    async with street(tmp_path, orders, service, sync={"batch_size": 100, "timeout": 600}) as all_:
        await all_.agent.start()
        await asyncio.wait_for(service.arrived.wait(), 60)
        all_.put(5000)
        for _ in range(4):
            database.execute("SELECT pg_switch_wal()")
            database.execute("CHECKPOINT")
            all_.orders.execute("UPDATE orders SET ver = ver + 1 WHERE id = 5000")

        async def kept() -> dict[str, Any] | None:
            status = await all_.agent.status()
            return status if (status["kept_bytes"] or 0) > 3 << 20 else None

        under = await until(kept, "status tells of the files of its log, a megabyte each")
        service.go.set()
        await all_.arrived()
        status = await all_.agent.state("caught up")
        versions = [event["ver"] for _, event in service.versions if event["id"] == 5000]
        await all_.agent.end()
    orders.close()

    assert under["state"] == "snapshot"
    assert (status["gap"], service.ends) == ("", 1)
    assert versions == [1, 2, 3, 4, 5]


HELD = {
    "postgres": "SELECT count(*) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()"
    " AND datname = current_database()",
    "mariadb": "SELECT count(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p"
    " ON p.id = t.trx_mysql_thread_id WHERE p.db = database()",
}


async def _unavailable(_request: Request) -> web.StreamResponse:
    return web.Response(status=503)


@pytest.mark.fault("F105")
@pytest.mark.parametrize("source", sorted(HELD))
async def test_a_picture_that_is_held_for_long(source: str, tmp_path: Path, orders: Make) -> None:
    """Status tells since when the database holds it, through trouble too; a pause lets go of it."""
    service = Slow()
    async with street(tmp_path, orders(source, ROWS), service, sync={"batch_size": 100, "timeout": 600}) as all_:

        def held() -> Any:
            [(count,)] = all_.orders.execute(HELD[source])
            return count

        await all_.agent.start()
        await asyncio.wait_for(service.arrived.wait(), 60)
        before = await all_.agent.state("snapshot")
        first = held()
        service.answer = _unavailable
        service.script.append(503)
        service.go.set()
        trouble = await all_.agent.state("retrying")
        code, _, err = await all_.agent.call("pause", "orders-sync")
        service.answer = None
        await all_.agent.state("paused")
        await until(lambda: not held(), "the database is rid of the picture")
        paused = await all_.agent.status()

    assert first
    assert before["snapshot_since"] == trouble["snapshot_since"] is not None
    assert code == 0, err
    assert paused["snapshot_since"] is None
    assert service.ends == 0
