"""Metrics and health of a real agent, as a monitoring system meets them."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import aiohttp
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fuagent.engine.progress import DURATIONS
from harness import shop
from harness.agent import Agent, config, until
from harness.service import Service


async def read(url: str) -> tuple[int, str]:
    """One page."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def figures(base: str, sync: str = "orders-sync") -> dict[str, float]:
    """Every sample of one sync, by name, with what its other label says behind a blank."""
    _, text = await read(f"{base}/metrics")
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels.get("sync") == sync:
                others = [value for name, value in sample.labels.items() if name != "sync"]
                found[" ".join([sample.name, *others])] = sample.value
    return found


async def test_figures_agree_with_what_the_service_got(tmp_path: Path) -> None:
    """Rows, batches, retries by reason, attempts, lag and state, as the service saw them."""
    database = shop.make(tmp_path / "shop.db", 25)
    async with (
        Service() as service,
        Agent(tmp_path, config(tmp_path / "shop.db", service.openapi, sync={"batch_size": 10})) as agent,
    ):
        service.script.extend([503, 503])
        await agent.start("--listen", "0")
        base = await agent.window()
        await agent.state("caught up")
        database.execute("UPDATE orders SET ver = 2 WHERE id = 1")
        await until(lambda: service.rows == shop.rows(database), "the change arrives")
        await agent.state("caught up", index=service.checkpoint)
        await agent.state("caught up")  # which measures how far behind it is, now that it is not
        found = await figures(base)
        ready = await read(f"{base}/readyz")
        events = service.events()
        taken = [post for post in service.posts if post.status == 200 and post.json["events"]]

        assert found["fuagent_rows_total"] == len(events) == 26
        assert found["fuagent_batches_total"] == len(taken)
        assert found["fuagent_attempt_duration_seconds_count"] == len(service.posts)
        assert found[f"fuagent_attempt_duration_seconds_bucket {DURATIONS[-1]}"] == len(service.posts)
        assert found["fuagent_retries_total 408, 425, 429, 5xx"] == 2
        assert found["fuagent_acknowledged_index"] == service.checkpoint
        assert found["fuagent_snapshot_rows"] == 25
        assert found["fuagent_lag_seconds"] == found["fuagent_lag_rows"] == 0
        assert found["fuagent_sync_state caught up"] == 1
        assert ready == (200, "ok\n")


async def test_a_halted_sync_is_not_ready_and_alive(tmp_path: Path) -> None:
    """503 with the sync's name; whoever restarts what is dead leaves it alone."""
    shop.make(tmp_path / "shop.db", 5).close()
    async with Service() as service, Agent(tmp_path, config(tmp_path / "shop.db", service.openapi)) as agent:
        service.script.append(410)
        await agent.start("--listen", "0")
        base = await agent.window()
        await agent.state("halted")

        assert await read(f"{base}/readyz") == (503, "orders-sync: halted; a person has to act\n")
        assert await read(f"{base}/healthz") == (200, "ok\n")
        assert (await figures(base))["fuagent_sync_state halted"] == 1


@pytest.mark.fault("S30")
async def test_nothing_listens_unless_told(tmp_path: Path) -> None:
    """Off by default; told a bare port, on the loopback address and nowhere else."""
    shop.make(tmp_path / "shop.db", 5).close()
    async with Service() as service, Agent(tmp_path, config(tmp_path / "shop.db", service.openapi)) as agent:
        await agent.start()
        await agent.state("caught up")
        silent = _listening(agent)
        await agent.end()
        await agent.start("--listen", "0")
        base = await agent.window()
        await agent.state("caught up")

        assert silent == []
        assert [f"http://{host}:{port}" for host, port in _listening(agent)] == [base]


def _listening(agent: Agent) -> list[tuple[str, int]]:
    assert agent.process is not None
    connections = psutil.Process(agent.process.pid).net_connections("inet")
    return [tuple(one.laddr) for one in connections if one.status == psutil.CONN_LISTEN]


async def test_a_port_in_use_ends_the_agent_with_one_line(tmp_path: Path) -> None:
    """Before any row is sent: where, why and what to do; no trace."""
    shop.make(tmp_path / "shop.db", 5).close()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with Service() as service, Agent(tmp_path, config(tmp_path / "shop.db", service.openapi)) as agent:
            code, _, err = await agent.call("run", "--listen", str(port))

            assert code == 5
            assert [line for line in err.splitlines() if line.startswith("error")] == [
                f"error: --listen 127.0.0.1:{port}: cannot listen there: address already in use."
            ]
            assert "Traceback" not in err
            assert service.posts == []


async def test_an_address_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    """Said before anything is read or opened."""
    code, _, err = await Agent(tmp_path, {}).call("run", "--listen", "localhost")

    assert code == 2
    assert "--listen" in err


async def test_every_line_of_a_sync_names_sync_batch_and_index(tmp_path: Path) -> None:
    """Through snapshot, stream, trouble and end, at level debug: no line about a sync goes without."""
    database = shop.make(tmp_path / "shop.db", 5)
    async with Service() as service, Agent(tmp_path, config(tmp_path / "shop.db", service.openapi)) as agent:
        service.script.append(503)
        await agent.start("--log-level", "debug")
        await agent.state("caught up")
        service.script.append(503)
        database.execute("UPDATE orders SET ver = 2 WHERE id = 1")
        await until(lambda: service.rows == shop.rows(database), "the change arrives")
        await agent.end()
        lines = [json.loads(line) for line in agent.text().splitlines()]
        about = [line for line in lines if line["event"] not in {"agent starts", "agent ends"}]

        assert len(about) > 6
        assert {line.get("sync") for line in about} == {"orders-sync"}
        assert [line for line in about if not {"batch", "index"} <= set(line)] == []
        assert about[-1]["index"] == service.checkpoint
        assert about[-1]["batch"] == service.posts[-1].headers["idempotency-key"]
