"""A table that changes its definition under a running agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import shop
from harness.agent import Agent, config, until
from harness.service import Service


@pytest.mark.parametrize("policy", ["follow", "halt"])
async def test_a_new_column(policy: str, tmp_path: Path) -> None:
    """follow: rows come with the new column from then on; halt: stopped before the first of them, until a restart."""
    database = shop.make(tmp_path / "shop.db", 5)
    async with Service() as service:
        settings = config(tmp_path / "shop.db", service.openapi, sync={"on_schema_change": policy})
        async with Agent(tmp_path, settings) as agent:
            await agent.start()
            await agent.state("caught up")
            database.execute("UPDATE orders SET ver = 2 WHERE id = 1")
            await until(lambda: service.rows == shop.rows(database), "the change arrives")
            database.execute("ALTER TABLE orders ADD COLUMN colour TEXT")
            database.execute("UPDATE orders SET ver = 3, colour = 'red' WHERE id = 2")
            if policy == "halt":
                status = await agent.state("halted")

                assert "orders" in status["problem"]
                assert "colour" not in str(service.rows)

                await agent.end()
                await agent.start()
            await until(lambda: service.rows.get(2, {}).get("colour") == "red", "the row of the new form arrives")


async def test_a_table_rebuilt_is_a_lost_place(tmp_path: Path) -> None:
    """Rebuilt the way SQLite's manual teaches it, it has no triggers any more: said so, and followed from then on."""
    database = shop.make(tmp_path / "shop.db", 5)
    async with Service() as service, Agent(tmp_path, config(tmp_path / "shop.db", service.openapi)) as agent:
        await agent.start()
        await agent.state("caught up")
        database.executescript(
            "BEGIN; CREATE TABLE new_orders (id INTEGER PRIMARY KEY, name TEXT, price REAL, ver INTEGER NOT NULL);"
            " INSERT INTO new_orders SELECT * FROM orders; DROP TABLE orders;"
            " ALTER TABLE new_orders RENAME TO orders; COMMIT;"
        )
        status = await agent.state("lost place")
        database.execute("UPDATE orders SET ver = 9 WHERE id = 4")
        await until(lambda: service.rows[4]["ver"] == 9, "the change arrives")
        service.reply = {"snapshot_needed": True}
        database.execute("UPDATE orders SET ver = 10 WHERE id = 4")
        await until(lambda: service.posts[-1].json["snapshot_sync_suggested"], "the suggestion")
        await until(lambda: len(service.posts) and service.ends > 1, "the snapshot")
        service.reply = {"snapshot_needed": False}

        assert "orders" in status["gap"]
        assert service.rows == shop.rows(database)
