"""A snapshot that the receiver kit asked for, and that the agent does not finish."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import sqlalchemy as sa

from harness import shop
from harness.agent import Agent, until
from harness.copying import KEY, Copy

ROWS = 3000


@pytest.mark.parametrize("forgotten", [True, False], ids=["journal lost", "journal kept"])
@pytest.mark.slow
async def test_it_is_asked_for_until_it_has_ended(tmp_path: Path, forgotten: bool) -> None:
    """An agent that forgot it is asked again by the next change; one that remembers takes it once, and not twice."""
    database = shop.make(tmp_path / "shop.db", ROWS)
    url = f"sqlite:///{tmp_path / 'copy.db'}"
    engine = sa.create_engine(url)
    async with Copy(tmp_path, url, "--sweep") as copy:
        settings = copy.settings(
            {"driver": "sqlite", "endpoint": f"sqlite:///{tmp_path / 'shop.db'}"}, ["orders"], deletes=None
        )
        sync = settings["syncs"]["orders-sync"]
        sync["trust_checkpoint"] = True
        async with Agent(tmp_path, settings) as agent:
            await agent.start()
            await agent.state("caught up")
            await agent.end()

            suggest(copy, settings["agent_id"])
            sync["batch_size"] = 1
            agent.configure(settings)
            await agent.start()
            database.execute("UPDATE orders SET ver = 2 WHERE id = 1")
            await agent.state("caught up")
            await agent.call("snapshot", "orders-sync")
            await until(lambda: remembered(engine)["under_way"], "the snapshot that was asked for is under way")
            await agent.kill()
            half = remembered(engine)

            database.execute("DELETE FROM orders WHERE id = 2")
            sync["batch_size"] = 1000
            agent.configure(settings)
            if forgotten:
                shutil.rmtree(agent.state_dir)
            agent.log.unlink()
            database.execute("UPDATE orders SET ver = 3 WHERE id = 3")
            await agent.start()
            await until(lambda: "snapshot done" in agent.text(), agent.text)
            database.execute("UPDATE orders SET ver = 4 WHERE id = 4")
            await until(lambda: copied(engine) == shop.rows(database), "the copy is the source")
            await agent.end()

            assert (half["wanted"], half["under_way"]) == (True, True)
            assert agent.text().count("snapshot done") == 1
            assert not remembered(engine)["wanted"]
    engine.dispose()
    database.close()


def suggest(copy: Copy, agent_id: str) -> None:
    """Say in the agent's name that a snapshot is due; the kit then asks for it."""
    flags = {"is_snapshot_end": False, "snapshot_sync_suggested": True}
    batch = {"agent_id": agent_id, "task_id": "orders-sync", "events": [], **flags}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}", "X-API-Key": KEY}
    request = Request(f"{copy.origin}/ingest/orders", json.dumps(batch).encode(), headers)
    with urlopen(request, timeout=60) as reply:
        assert json.loads(reply.read())["snapshot_needed"] is True


def remembered(engine: sa.Engine) -> dict[str, object]:
    """What the kit knows of the sync."""
    with engine.connect() as connection:
        return dict(connection.execute(sa.text("SELECT * FROM fuagent_state")).one()._mapping)


def copied(engine: sa.Engine) -> dict[int, dict[str, object]]:
    """The rows at the service."""
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT id, name, price, ver FROM orders")).mappings()
        return {row["id"]: dict(row) for row in rows}
