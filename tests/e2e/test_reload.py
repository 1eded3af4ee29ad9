"""The configuration read again while the agent runs: only what changed restarts."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from harness import shop
from harness.agent import Agent, config, until
from harness.service import Service


def two(database: Path, service: Service, other: Service, **second: Any) -> dict[str, Any]:
    """Two syncs of one table to two services; ``second`` are keys of the second."""
    made = config(database, service.openapi)
    made["pushers"]["other"] = {**made["pushers"]["service"], "endpoint": other.openapi}
    made["syncs"]["copy"] = {"source": "shop", "pusher": "other", "tables": ["orders"], **second}
    return made


def starts(agent: Agent, name: str) -> int:
    """How often a sync was started, by the log: each start ends in the stream."""
    return sum(f'"sync":"{name}"' in line and '"state":"streaming"' in line for line in agent.text().splitlines())


async def test_only_the_changed_sync_restarts(tmp_path: Path) -> None:
    """SIGHUP: the sync whose section changed begins anew and goes on where it was; the other notices nothing."""
    database = shop.make(tmp_path / "shop.db", 5)
    async with Service() as service, Service() as other, Agent(tmp_path, {}, measured=True) as agent:
        agent.configure(two(tmp_path / "shop.db", service, other))
        await agent.start()
        await agent.state("caught up")
        await agent.state("caught up", "copy")
        before = {name: starts(agent, name) for name in ("orders-sync", "copy")}
        agent.configure(two(tmp_path / "shop.db", service, other, batch_size=2))
        assert agent.process is not None
        agent.process.send_signal(signal.SIGHUP)
        await until(lambda: '"restarted":["copy"]' in agent.text(), "reloaded")
        await agent.state("caught up", "copy")
        posts = {one: len(one.posts) for one in (service, other)}
        database.execute("UPDATE orders SET ver = ver + 1")

        def sizes(one: Service) -> list[int]:
            return [len(post.json["events"]) for post in one.posts[posts[one] :]]

        await until(lambda: sum(sizes(service)) == sum(sizes(other)) == 5, "both delivered")

        await agent.end()

        assert sizes(service) == [5]
        assert sizes(other) == [2, 2, 1]
        assert starts(agent, "orders-sync") == before["orders-sync"]
        assert starts(agent, "copy") == before["copy"] + 1


async def test_a_key_that_is_mended_in_the_file(tmp_path: Path) -> None:
    """Nobody reads the file anew by himself, so the trouble says with what command; then it is used at once."""
    shop.make(tmp_path / "shop.db", 5).close()
    async with Service(key="right") as service, Agent(tmp_path, config(tmp_path / "shop.db", service.openapi)) as agent:
        await agent.start()
        status = await agent.state("unauthorised")
        agent.configure(config(tmp_path / "shop.db", service.openapi, pusher={"credential": {"key": "right"}}))
        code, said, _ = await agent.call("reload")
        await agent.state("caught up")

    assert "one in config.yaml with fuagent reload" in status["fix"]
    assert (code, said) == (0, "restarted: orders-sync\n")
    assert len(service.rows) == 5


async def test_added_and_removed(tmp_path: Path) -> None:
    """A sync that is new begins with its snapshot, one that is gone ends, and ``fuagent reload`` says so."""
    shop.make(tmp_path / "shop.db", 5).close()
    async with Service() as service, Service() as other, Agent(tmp_path, {}, measured=True) as agent:
        agent.configure(config(tmp_path / "shop.db", service.openapi))
        await agent.start()
        await agent.state("caught up")
        whole = two(tmp_path / "shop.db", service, other)
        agent.configure(whole)
        added = await agent.call("reload")
        await agent.state("caught up", "copy")
        del whole["syncs"]["orders-sync"]
        agent.configure(whole)
        removed = await agent.call("reload")
        nothing = await agent.call("reload")

        async def ended() -> bool:
            return [sync["name"] for sync in await _syncs(agent)] == ["copy"]

        await until(ended, "the sync that was removed has ended")
        await agent.end()

        assert added == (0, "added: copy\n", "")
        assert removed == (0, "removed: orders-sync\n", "")
        assert nothing == (0, "nothing has changed\n", "")


async def _syncs(agent: Agent) -> list[dict[str, Any]]:
    code, out, _ = await agent.call("status", "--json")

    assert code == 0
    return list(json.loads(out)["syncs"])


async def test_a_wrong_file_changes_nothing(tmp_path: Path) -> None:
    """Whatever is wrong with the new file is said with its place, and everything goes on as it was."""
    database = shop.make(tmp_path / "shop.db", 5)
    async with Service() as service:
        settings = config(tmp_path / "shop.db", service.openapi)
        async with Agent(tmp_path, settings, measured=True) as agent:
            await agent.start()
            await agent.state("caught up")
            agent.configure(config(tmp_path / "shop.db", service.openapi, sync={"transform": "no.such:function"}))
            missing = await agent.call("reload")
            agent.configure({**settings, "agent_id": "another"})
            another = await agent.call("reload")
            agent.path.write_text("sources: [")
            broken = await agent.call("reload")
            assert agent.process is not None
            agent.process.send_signal(signal.SIGHUP)
            await until(lambda: "not reloaded" in agent.text(), "said in the log")
            database.execute("UPDATE orders SET ver = 7 WHERE id = 1")
            await until(lambda: service.rows.get(1, {}).get("ver") == 7, "it goes on")
            await agent.end()

            assert [missing[0], another[0], broken[0]] == [5, 5, 3]
            assert "no.such:function cannot be imported" in missing[2]
            assert "agent_id has changed, and that takes a restart" in another[2]
            assert "config.yaml" in broken[2]
            assert "Traceback" not in missing[2] + another[2] + broken[2] + agent.text()


async def test_without_an_agent(tmp_path: Path) -> None:
    """There is nothing to reload where nothing runs, and that is said."""
    shop.make(tmp_path / "shop.db", 1).close()
    async with (
        Service() as service,
        Agent(tmp_path, config(tmp_path / "shop.db", service.openapi), measured=True) as agent,
    ):
        code, out, err = await agent.call("reload")

        assert (code, out) == (4, "")
        assert "no agent is running" in err
