"""The mapping end to end: what a configuration says is what arrives, in snapshot and stream alike."""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
from pathlib import Path
from typing import Any

from harness.agent import Agent, config, until
from harness.service import Service, document

FUNCTION = """
def tidy(event):
    if event["note"] == "drop":
        return None
    return {**event, "note": event["note"].upper()}
"""
MAPPING: dict[str, Any] = {
    "fields": {
        "id": "id",
        "customer.email": "email",
        "customer.country": {"constant": "NL"},
        "note": "note",
        "operation": "$operation",
        "table": "$table",
    },
    "where": "status = 'paid'",
    "mask": {"email": "hash"},
    "mask_salt": "${MASK_SALT}",
    "transform": "shop_rules:tidy",
    "deletes": "mark",
    "whole_transactions": True,
}


def made(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, email TEXT, note TEXT, status TEXT)")
    database.execute(
        "INSERT INTO orders VALUES (1, 'a@b', 'x', 'paid'), (2, 'c@d', 'y', 'open'), (3, '', 'drop', 'paid')"
    )
    return database


def setting(tmp_path: Path, service: Service, **more: Any) -> tuple[dict[str, Any], dict[str, str]]:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "shop_rules.py").write_text(FUNCTION)
    settings = config(tmp_path / "shop.db", service.openapi, sync={**MAPPING, **more})
    return settings, {"MASK_SALT": "pepper", "PYTHONPATH": str(rules)}


def hashed(text: str) -> str:
    return hmac.digest(b"pepper", text.encode(), hashlib.sha256).hex()


async def test_everything_at_once(tmp_path: Path) -> None:
    """Selected, renamed, nested, told, hashed, chosen and transformed; a row that leaves the condition is marked."""
    database = made(tmp_path / "shop.db")
    async with Service(document()) as service:
        settings, env = setting(tmp_path, service)
        async with Agent(tmp_path, settings, env, measured=True) as agent:
            await agent.start()
            await agent.state("caught up")
            database.execute("INSERT INTO orders VALUES (4, 'e@f', 'z', 'paid')")
            database.execute("UPDATE orders SET status = 'open' WHERE id = 1")
            await until(lambda: len(service.events()) >= 3, "all sent")
            await agent.end()

    first, second, third = service.events()
    everywhere = {"table": "orders", "_deleted": False}
    customer = {"email": hashed("a@b"), "country": "NL"}
    assert first | {"index": 0} == {
        "id": 1, "customer": customer, "note": "X", "operation": "snapshot", **everywhere, "index": 0
    }  # fmt: skip
    assert (second["customer"]["email"], second["note"], second["operation"]) == (hashed("e@f"), "Z", "insert")
    assert (third["id"], third["_deleted"]) == (1, True)


async def test_a_function_that_fails(tmp_path: Path) -> None:
    """The sync halts with one line that names function and error, and shows nothing of the row."""
    database = made(tmp_path / "shop.db")
    async with Service(document()) as service:
        settings, env = setting(tmp_path, service)
        async with Agent(tmp_path, settings, env, measured=True) as agent:
            await agent.start()
            await agent.state("caught up")
            database.execute("INSERT INTO orders VALUES (5, 'canary@mail', NULL, 'paid')")
            status = await agent.state("halted")
            await agent.end()

            assert status["problem"].endswith("transform shop_rules:tidy failed with AttributeError.")
            assert "canary" not in agent.text()
            assert "Traceback" not in agent.text()


async def test_neighbours_that_a_function_fails_on(tmp_path: Path) -> None:
    """Among rows that it takes they are set aside, in snapshot and stream: the function is not broken as such."""
    database = made(tmp_path / "shop.db")
    database.execute("INSERT INTO orders VALUES (5, 'a', NULL, 'paid'), (6, 'b', NULL, 'paid'), (7, 'c', 'z', 'paid')")
    async with Service(document()) as service:
        settings, env = setting(tmp_path, service, on_reject="set_aside")
        async with Agent(tmp_path, settings, env, measured=True) as agent:
            assert await agent.once() == 0, agent.text()
            database.execute("UPDATE orders SET email = 'd' WHERE id > 4")
            assert await agent.once() == 0, agent.text()
            _, listed, _ = await agent.call("rejected", "list", "orders-sync", "--json")
    database.close()

    assert [event["id"] for event in service.events()] == [1, 7, 7]
    assert len(json.loads(listed)) == 4, listed


async def test_mistakes_are_found_by_check(tmp_path: Path) -> None:
    """``check`` names what is wrong with a condition, a mask and a function, each with its place."""
    made(tmp_path / "shop.db").close()
    async with Service(document()) as service:
        settings, env = setting(tmp_path, service, where="stauts = 'paid'")
        async with Agent(tmp_path, settings, env, measured=True) as agent:
            where = await agent.call("check")
            settings["syncs"]["orders-sync"].update(where="", mask={"id": "redact"}, mask_salt=None)
            del settings["syncs"]["orders-sync"]["mask_salt"]
            agent.configure(settings)
            mask = await agent.call("check")
            settings["syncs"]["orders-sync"].update(mask={}, transform="shop_rules:missing")
            agent.configure(settings)
            function = await agent.call("check")

    assert [found[0] for found in (where, mask, function)] == [1, 1, 3]
    assert 'has no column "stauts"; did you mean "status"?' in where[1] + where[2]
    assert 'key column "id" of table orders cannot be masked by redact' in mask[1] + mask[2]
    assert "shop_rules:missing cannot be imported: AttributeError" in function[1] + function[2]
