"""``fuagent preview``: the requests of the first rows, shown and not sent."""

from __future__ import annotations

import json
from pathlib import Path

from harness import shop
from harness.agent import Agent, config
from harness.service import Service, document

MARKS = {"x-fuagent-delete-field": "_deleted"}


async def test_what_is_shown_is_what_is_sent(tmp_path: Path) -> None:
    """Method, URL, header names and body are those of the request that a run then makes; the key is covered."""
    shop.make(tmp_path / "shop.db", 7).close()
    async with Service() as service:
        settings = config(tmp_path / "shop.db", service.openapi, sync={"batch_size": 3})
        async with Agent(tmp_path, settings, measured=True) as agent:
            code, out, err = await agent.call("preview", "orders-sync", "-n", "5")
            shown = out.split("\n\n")
            await agent.once()
        sent = service.posts[:2]
        heads = [shown[0].splitlines(), shown[2].splitlines()]

        assert code == 0, err
        assert [head[0] for head in heads] == [f"POST {service.url}/ingest-batch"] * 2
        assert [shown[1].encode()] == [sent[0].body]
        assert [event["id"] for event in json.loads(shown[3])["events"]] == [4, 5]
        names = {line.partition(":")[0].lower() for line in heads[0][1:]}
        assert names < set(sent[0].headers)
        assert {"content-type", "task-id", "idempotency-key", "x-api-key", "authorization"} == names
        assert "x-api-key: ***" in heads[0]
        assert "Authorization: Bearer ***" in heads[0]
        assert "k-1234" not in out + err


async def test_nothing_is_sent_and_nothing_changes(tmp_path: Path) -> None:
    """The service gets no row and no question, the database and the journal stay as they are."""
    database = shop.make(tmp_path / "shop.db", 3)
    before = list(database.iterdump())
    async with (
        Service() as service,
        Agent(tmp_path, config(tmp_path / "shop.db", service.openapi), measured=True) as agent,
    ):
        code, _, _ = await agent.call("preview", "orders-sync")

        assert code == 0
        assert [(request.method, request.path) for request in service.requests] == [("GET", "/openapi.json")]
        assert list(database.iterdump()) == before
        assert not (agent.state_dir / "journal.db").exists()


async def test_rows_that_do_not_fit_the_document(tmp_path: Path) -> None:
    """Each misfit names table, row and property, never a value; the exit code is 1."""
    database = shop.make(tmp_path / "shop.db", 3)
    database.execute("UPDATE orders SET name = NULL WHERE id = 2")
    types = {"id": "integer", "name": "string", "price": "integer", "ver": "number", "index": "integer"}
    properties = {name: {"type": type_} for name, type_ in types.items()} | {"_deleted": {"type": "boolean"}}
    doc = document(properties=properties, required=["id"], additionalProperties=False, **MARKS)
    async with (
        Service(doc) as service,
        Agent(tmp_path, config(tmp_path / "shop.db", service.openapi), measured=True) as agent,
    ):
        code, out, err = await agent.call("preview", "orders-sync", "-n", "2")

        assert code == 1
        assert '"order 1"' in out
        assert err.splitlines() == [
            'error: table orders, row 1: the property "price" is number, and the document wants integer',
            'error: table orders, row 2: the property "name" is null, and the document wants string',
            'error: table orders, row 2: the property "price" is number, and the document wants integer',
        ]


async def test_rows_that_validate_would_keep_back(tmp_path: Path) -> None:
    """With ``validate: rows`` the preview holds rows against all of the event schema, as the run does."""
    shop.make(tmp_path / "shop.db", 3).close()
    properties = {"id": {"type": "integer", "maximum": 2}, "_deleted": {"type": "boolean"}}
    doc = document(properties=properties, required=["id"], **MARKS)
    async with Service(doc) as service:
        plain, validated = (
            config(tmp_path / "shop.db", service.openapi, sync=sync) for sync in ({}, {"validate": "rows"})
        )
        for name in ("plain", "validated"):
            (tmp_path / name).mkdir()
        async with Agent(tmp_path / "plain", plain, measured=True) as agent:
            assert (await agent.call("preview", "orders-sync"))[0] == 0
        async with Agent(tmp_path / "validated", validated, measured=True) as agent:
            code, _, err = await agent.call("preview", "orders-sync")

        assert code == 1
        assert err.splitlines() == [
            'error: table orders, row 3: it does not fit the event schema: property "id" does not meet maximum 2 (key: id)'
        ]


async def test_a_document_that_cannot_be_met(tmp_path: Path) -> None:
    """What check calls an error ends the preview with the same words."""
    shop.make(tmp_path / "shop.db", 3).close()
    async with (
        Service(document(required=["colour"], **MARKS)) as service,
        Agent(tmp_path, config(tmp_path / "shop.db", service.openapi), measured=True) as agent,
    ):
        code, out, err = await agent.call("preview", "orders-sync")

        assert code == 5
        assert out == ""
        assert '"colour"' in err
        assert "fix: " in err


async def test_secrets_in_the_address_are_covered(tmp_path: Path) -> None:
    """A query keeps its names and loses its values, and a compressed body is said to be one."""
    shop.make(tmp_path / "shop.db", 1).close()
    async with Service() as service:
        parts = {"batch_endpoint": "/ingest-batch?token=s3cret", "compression": "gzip"}
        settings = config(tmp_path / "shop.db", service.openapi, pusher={"driver_params": parts})
        async with Agent(tmp_path, settings, measured=True) as agent:
            code, out, err = await agent.call("preview", "orders-sync")

        assert code == 0
        assert "/ingest-batch?token=***" in out
        assert "Content-Encoding: gzip" in out
        assert "gzip compression" in err
        assert "s3cret" not in out + err


async def test_a_token_is_not_fetched(tmp_path: Path) -> None:
    """OAuth2: the header is shown with its token covered, and nobody is asked for one."""
    shop.make(tmp_path / "shop.db", 1).close()
    async with Service() as service:
        credential = {"client_id": "me", "client_secret": "s3cret", "token_url": f"{service.url}/token"}
        settings = config(tmp_path / "shop.db", service.openapi, pusher={"credential": credential})
        async with Agent(tmp_path, settings, measured=True) as agent:
            code, out, err = await agent.call("preview", "orders-sync")

        assert code == 0, err
        assert "Authorization: Bearer ***" in out
        assert "s3cret" not in out + err
        assert service.posts == []


async def test_a_pusher_without_requests_and_a_table_without_rows(tmp_path: Path) -> None:
    """A driver that makes no HTTP requests shows the bodies; an empty table is said to be one."""
    database = shop.make(tmp_path / "shop.db", 1)
    settings = config(tmp_path / "shop.db", "")
    settings["pushers"]["service"] = {"driver": "stdout"}
    async with Agent(tmp_path, settings, measured=True) as agent:
        _, out, _ = await agent.call("preview", "orders-sync")
        database.execute("DELETE FROM orders")
        code, empty, err = await agent.call("preview", "orders-sync")

        assert out.splitlines()[0] == "stdout"
        assert json.loads(out.splitlines()[2])["events"][0]["id"] == 1
        assert (code, empty) == (0, "")
        assert "no row to show" in err
