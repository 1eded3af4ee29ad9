"""A journal of some time ago, put back: what an earlier fuagent has to go on with after a downgrade."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from fuagent.journal import FILE
from harness import shop
from harness.agent import Agent, config
from harness.service import Service


@pytest.mark.fault("F72")
async def test_the_services_checkpoint_makes_up_for_what_the_journal_forgot(tmp_path: Path) -> None:
    """What was sent since is not sent again, and what comes then is."""
    with closing(shop.make(tmp_path / "shop.db", 20)) as database:
        async with Service() as service, Agent(tmp_path, config(tmp_path / "shop.db", service.openapi)) as agent:
            assert await agent.once() == 0
            shutil.copy(agent.state_dir / FILE, tmp_path / "kept")
            database.execute("UPDATE orders SET name = 'since' WHERE id < 4")
            assert await agent.once() == 0
            before = len(service.posts)
            for path in agent.state_dir.glob(f"{FILE}*"):
                path.unlink()
            shutil.copy(tmp_path / "kept", agent.state_dir / FILE)
            database.execute("UPDATE orders SET name = 'then' WHERE id = 9")

            assert await agent.once() == 0
            assert service.rows == shop.rows(database)
            assert [event["name"] for post in service.posts[before:] for event in post.json["events"]] == ["then"]
