"""Every statement of the contract that the agent owes, played over real HTTP against a running agent."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from aiohttp import web

from fuagent.receiver.cases import AGENT_CASES, Act, Case, Do, Request, Script, Setup, document, pusher
from harness.agent import Agent, until

SETTLED = 0.3
"""Seconds in which an agent that owes nothing must stay silent."""


class Stage:
    """One case: the scripted service, a table, and the agent between them."""

    def __init__(self, case: Case, directory: Path) -> None:
        self.script = Script(case)
        self.setup: Setup = case.setup
        self.directory = directory
        self.origin = ""
        self.database = sqlite3.connect(directory / "items.db", isolation_level=None, timeout=30)
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, email TEXT)")
        self.database.executemany(
            "INSERT INTO items VALUES (:id, :name, :email)", [dict(row) for row in self.setup.rows]
        )

    async def handle(self, raw: web.Request) -> web.Response:
        """The document, or whatever the script answers."""
        if raw.path == "/openapi.json":
            return web.Response(body=document(self.setup, self.origin), content_type="application/json")
        headers = {name.lower(): value for name, value in raw.headers.items()}
        reply = self.script.answer(Request(raw.method, raw.path, tuple(raw.query.items()), headers, await raw.read()))
        return web.Response(status=reply.status, body=reply.body, headers=dict(reply.headers))

    def agent(self) -> Agent:
        """An agent with the configuration the case names."""
        settings = {
            "agent_id": self.setup.agent_id,
            "sources": {"table": {"driver": "sqlite", "endpoint": f"sqlite:///{self.directory / 'items.db'}"}},
            "pushers": {"service": pusher(self.setup, self.origin)},
            "syncs": {self.setup.task_id: {"source": "table", "pusher": "service", "tables": ["items"]}},
        }
        return Agent(self.directory, settings)

    async def act(self, act: Act, agent: Agent) -> None:
        """Do one act of the script, with the agent in the state that an orderly operator would wait for."""
        if act.do is Do.RESTART:
            await agent.end()
            await agent.start()
        elif act.do is Do.LOSE_PLACE:
            await agent.end()
            self.lose_place()
            self.insert(act)
            await agent.start()
        elif act.do is Do.INSERT:
            self.insert(act)
        elif act.do is Do.UPDATE:
            self.database.execute("UPDATE items SET name = :name, email = :email WHERE id = :id", dict(act.row or {}))
        else:
            self.database.execute("DELETE FROM items WHERE id = :id", dict(act.row or {}))

    def insert(self, act: Act) -> None:
        """Insert the act's row."""
        self.database.execute("INSERT INTO items VALUES (:id, :name, :email)", dict(act.row or {}))

    def lose_place(self) -> None:
        """Take the change log out of the database, as a restored backup or a careless clean-up would."""
        for kind, name in self.database.execute(
            "SELECT type, name FROM sqlite_master WHERE name LIKE '~_fuagent%' ESCAPE '~' AND type IN ('table', 'trigger')"
            " ORDER BY type DESC"
        ).fetchall():
            self.database.execute(f'DROP {kind} IF EXISTS "{name}"')


async def play(case: Case, directory: Path) -> list[str]:
    """Play ``case`` to its end, then stop the agent in an orderly way; gives what was not as it is owed."""
    stage = Stage(case, directory)
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", stage.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stage.origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with stage.agent() as agent:
            await agent.start()

            async def on() -> bool:
                while (act := stage.script.due()) is not None:
                    await stage.act(act, agent)
                return stage.script.done

            await until(
                on, lambda: f"all requests; so far {stage.script.failures()}; the log:\n{agent.text()[-2000:]}", 150
            )
            await asyncio.sleep(SETTLED)  # not for a state: what is owed is silence
            await agent.end()
    finally:
        await runner.cleanup()
        stage.database.close()
    return stage.script.failures()


@pytest.mark.parametrize("case", AGENT_CASES, ids=lambda case: case.id)
async def test_the_agent_keeps_the_contract(case: Case, tmp_path: Path) -> None:
    """What the statement owes is seen in the requests that arrive."""
    assert await play(case, tmp_path) == []
