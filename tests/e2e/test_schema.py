"""``fuagent schema``: a service made from what it writes is one the agent accepts and keeps in step."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from types import ModuleType

import pytest

from harness import shop
from harness.agent import Agent, config
from harness.service import Service


@pytest.mark.parametrize("deletes", [None, "mark"])
async def test_check_and_run_accept_the_document(tmp_path: Path, deletes: str | None) -> None:
    """check finds nothing wrong with the document, and every event of a run is valid under models and table."""
    database = shop.make(tmp_path / "shop.db", 5)
    async with Service() as service:
        settings = config(tmp_path / "shop.db", service.openapi, sync={"deletes": deletes} if deletes else {})
        async with Agent(tmp_path, settings, measured=True) as agent:
            code, out, err = await agent.call("schema", "orders-sync", "--openapi")
            _, models, _ = await agent.call("schema", "orders-sync", "--pydantic")
            _, statements, _ = await agent.call("schema", "orders-sync", "--sql")
            requests = len(service.requests)
            service.document = json.loads(out)
            checked, findings, _ = await agent.call("check", "--json")
            previewed, _, misfits = await agent.call("preview", "orders-sync")
            ran = await agent.once()
            database.execute("DELETE FROM orders WHERE id = 1")
            await agent.once()
        module = ModuleType("made")
        sys.modules["made"] = module
        exec(compile(models, "made", "exec"), module.__dict__)
        del sys.modules["made"]
        bodies = [module.OrdersBatch.model_validate_json(post.body) for post in service.posts]
        store = sqlite3.connect(":memory:")
        store.executescript(statements)
        for row in service.rows.values():
            store.execute("INSERT INTO orders VALUES (:id, :name, :price, :ver)", row)
        stored = shop.rows(store)
        store.close()

        assert code == 0, err
        assert requests == 0
        assert checked == 0, findings
        assert previewed == 0, misfits
        assert ran == 0
        assert sum(len(body.events) for body in bodies) == 6
        assert stored == service.rows
        if deletes:
            assert bodies[-1].events[0].deleted is True
            assert service.rows == shop.rows(database)


async def test_typescript_names_what_is_sent(tmp_path: Path) -> None:
    """Every property of an event has its line."""
    shop.make(tmp_path / "shop.db", 1).close()
    async with Agent(tmp_path, config(tmp_path / "shop.db", "http://127.0.0.1:9/o"), measured=True) as agent:
        code, out, _ = await agent.call("schema", "orders-sync", "--typescript")

        assert code == 0
        assert "  id: number; // INTEGER\n  name: string | null; // TEXT\n" in out


async def test_one_form_has_to_be_chosen(tmp_path: Path) -> None:
    """None and two are answered with those there are; a database that is not there with where it should be."""
    async with Agent(tmp_path, config(tmp_path / "shop.db", "http://127.0.0.1:9/o"), measured=True) as agent:
        none = await agent.call("schema", "orders-sync")
        two = await agent.call("schema", "orders-sync", "--sql", "--openapi")
        lost = await agent.call("schema", "orders-sync", "--sql")

        assert (none[0], two[0]) == (2, 2)
        assert "--typescript" in none[2]
        assert lost[0] == 5
        assert lost[1] == ""
        assert "shop.db" in lost[2]
        assert "Traceback" not in lost[2]


async def test_without_marks_no_secret_and_no_variable_is_needed(tmp_path: Path) -> None:
    """The service's key need not be set, and its name stands nowhere in the document."""
    shop.make(tmp_path / "shop.db", 1).close()
    settings = config(tmp_path / "shop.db", "http://127.0.0.1:9/o", pusher={"credential": {"key": "${NO_SUCH_KEY}"}})
    async with Agent(tmp_path, settings, measured=True) as agent:
        code, out, _ = await agent.call("schema", "orders-sync", "--openapi")

        assert code == 0
        assert "NO_SUCH_KEY" not in out
        assert json.loads(out)["components"]["securitySchemes"]["key"]["name"] == "x-api-key"
