"""What a running agent answers to the commands that reach it through its control socket."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict

from fuagent import app_rejected, control, metrics
from fuagent.engine.agent import Agent
from fuagent.engine.progress import Progress
from fuagent.journal import Journal
from fuagent.version import __version__


def commands(agent: Agent, journal: Journal) -> dict[str, control.Command]:
    """Everything that can be asked of it, by name."""

    async def status(_arguments: dict[str, object]) -> object:
        await agent.status()
        return report(agent.progress, journal, running=True)

    async def figures(_arguments: dict[str, object]) -> object:
        await agent.status()
        return metrics.page(metrics.Exhibit(lambda: agent.progress, journal.size, time.time)).decode()

    wishes = {"snapshot": agent.snapshot, "pause": agent.pause, "resume": agent.resume, "accept_gap": agent.accept_gap}
    return {
        "status": status,
        "metrics": figures,
        **app_rejected.answers(agent, journal),
        **{name: _of_one_sync(wish) for name, wish in wishes.items()},
    }


def _of_one_sync(wish: Callable[[str], str]) -> control.Command:
    async def answer(arguments: dict[str, object]) -> object:
        return wish(str(arguments.get("sync")))

    return answer


def report(progress: list[Progress], journal: Journal, *, running: bool) -> dict[str, object]:
    """What ``status`` tells."""
    return {
        "version": __version__,
        "running": running,
        "agent_id": journal.agent_id(),
        "journal_bytes": journal.size(),
        "time": time.time(),
        "syncs": [{**asdict(one), "state": str(one.shown) if running else "not running"} for one in progress],
    }
