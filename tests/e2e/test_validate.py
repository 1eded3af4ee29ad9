"""``validate: rows``: each event is held against the service's own schema before it is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import shop
from harness.agent import Agent, config
from harness.service import Service, document

NAMES = {"name": {"type": "string", "maxLength": 12, "pattern": "^order"}}
ROWS = {"validate": "rows"}


def describing(**items: Any) -> Service:
    """A service whose document says this of events."""
    return Service(document(**{"x-fuagent-delete-field": "_deleted"}, **items))


@pytest.mark.parametrize("validate", ["rows", "start"])
async def test_rows_that_do_not_fit(tmp_path: Path, validate: str) -> None:
    """They are set aside before the service sees them, and sent once they fit; without the setting nobody looks."""
    database = shop.make(tmp_path / "shop.db", 6)
    database.execute("UPDATE orders SET name = 'secret 4711' WHERE id IN (2, 3)")
    sync = {"validate": validate, "on_reject": "set_aside"}
    async with (
        describing(properties=NAMES) as service,
        Agent(tmp_path, config(tmp_path / "shop.db", service.openapi, sync=sync)) as agent,
    ):
        assert await agent.once() == 0
        if validate == "start":
            assert service.rows == shop.rows(database)
            return
        database.execute("UPDATE orders SET name = 'a name that is too long' WHERE id = 5")
        assert await agent.once() == 0
        arrived = set(service.rows)
        code, listed, _ = await agent.call("rejected", "list")
        still, kept, _ = await agent.call("rejected", "retry", "orders-sync")
        database.execute("UPDATE orders SET name = 'order ' || id")
        again, sent, err = await agent.call("rejected", "retry", "orders-sync")
        await agent.once()

        assert arrived == {1, 4, 5, 6}
        assert code == 0
        assert listed.count('property "name" does not meet pattern "^order" (key: id)') == 2
        assert listed.count('property "name" does not meet maxLength 12') == 1
        assert (still, kept.count("stays: ")) == (1, 3)
        assert (again, sent) == (0, "3 rows sent.\n"), err
        assert service.rows == shop.rows(database)
        assert not [post for post in service.posts if b"4711" in post.body or b"too long" in post.body]
        assert "4711" not in agent.text() + listed + kept


async def test_the_sync_halts(tmp_path: Path) -> None:
    """By default: with the table, the key's column and the schema's complaint, and no value of the row."""
    database = shop.make(tmp_path / "shop.db", 3)
    async with (
        describing(properties=NAMES) as service,
        Agent(tmp_path, config(tmp_path / "shop.db", service.openapi, sync=ROWS)) as agent,
    ):
        await agent.start()
        await agent.state("caught up")
        database.execute("UPDATE orders SET name = 'secret 4711' WHERE id = 2")
        halted = await agent.state("halted")

        assert "one row of table orders cannot be sent" in halted["problem"]
        assert 'property "name" does not meet pattern "^order" (key: id)' in halted["problem"]
        assert "events.items" in halted["problem"]
        assert "4711" not in str(halted) + agent.text()


@pytest.mark.parametrize(
    ("items", "code", "said"),
    [
        ({"properties": NAMES}, 0, "fits the event schema"),
        ({}, 1, "nothing says how an event of table orders must look"),
        ({"properties": {"name": {"pattern": "("}}}, 1, "none that a validator can read"),
    ],
)
async def test_check_says_whether_rows_can_be_checked(tmp_path: Path, items: Any, code: int, said: str) -> None:
    """A document that cannot be checked against is found before the first row."""
    shop.make(tmp_path / "shop.db", 3).close()
    async with (
        Service(document(**items)) as service,
        Agent(tmp_path, config(tmp_path / "shop.db", service.openapi, sync=ROWS)) as agent,
    ):
        found, out, err = await agent.call("check")

        assert said in out + err
        assert found == code, out + err


CUSTOMER = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
NULLABLE = {"oneOf": [{"type": "string"}, {"type": "null"}]}


@pytest.mark.parametrize(
    ("properties", "code", "said"),
    [
        (
            {"customer": CUSTOMER},
            0,
            'these columns may hold NULL, and the document takes no null for them: "name" (TEXT)',
        ),
        ({"customer": {**CUSTOMER, "properties": {"name": NULLABLE}}}, 0, "fits the event schema"),
        (
            {"customer": {**CUSTOMER, "required": ["mail"]}},
            1,
            'requires the property "customer.mail", but no column of',
        ),
        ({"customer": {"type": "string"}}, 1, 'wants string for "customer"'),
        ({"country": {"enum": ["DE", "FR"]}}, 1, 'wants "DE" or "FR" for "country"'),
        ({"ver": {"type": "null"}}, 1, 'column "ver" of table orders is INTEGER'),
    ],
)
async def test_check_compares_names_types_and_enums(tmp_path: Path, properties: Any, code: int, said: str) -> None:
    """Nested objects, constants and NULL as well, before the first row and with both names."""
    database = shop.make(tmp_path / "shop.db", 1)
    database.close()
    fields = {"id": "id", "ver": "ver", "customer.name": "name", "country": {"constant": "NL"}}
    async with (
        Service(document(properties=properties)) as service,
        Agent(tmp_path, config(tmp_path / "shop.db", service.openapi, sync={"fields": fields})) as agent,
    ):
        found, out, err = await agent.call("check")
        text = " ".join((out + err).split())

        assert said in text
        assert ("may hold NULL" in text) == ("may hold NULL" in said)
        assert found == code, text
