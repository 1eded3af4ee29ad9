"""Rows that a service refused: listed, shown, sent once more, let go; with an agent running and without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import BaseModel

from fuagent.receiver.memory import MemoryStore
from fuagent.receiver.router import Receiver
from harness import shop
from harness.agent import Agent, config, until
from harness.receiving import KEY, served
from harness.service import Request, Service


class Choosy:
    """Refuses every batch that holds one of these rows, until told otherwise."""

    def __init__(self, service: Service, *ids: int) -> None:
        self.ids = set(ids)
        service.answer = self.answer

    async def answer(self, request: Request) -> web.Response | None:
        """422 for a batch that holds such a row."""
        wanted = {event["id"] for event in request.json["events"]}
        return web.json_response({"detail": "no such colour"}, status=422) if wanted & self.ids else None


def settings(directory: Path, service: Service, **sync: Any) -> dict[str, Any]:
    """A sync that sets refused rows aside."""
    return config(directory / "shop.db", service.openapi, sync={"on_reject": "set_aside", **sync})


def again(service: Service) -> list[dict[str, Any]]:
    """The events that came with neither an index nor a snapshot's company: alone."""
    return [post.json["events"][0] for post in service.posts if len(post.json["events"]) == 1]


async def listed(agent: Agent) -> list[dict[str, Any]]:
    """What the list says to programs."""
    code, out, err = await agent.call("rejected", "list", "--json")
    assert code == 0, err
    rows: list[dict[str, Any]] = json.loads(out)
    return rows


@pytest.mark.parametrize("running", [True, False])
async def test_a_refused_row_is_sent_again_as_it_is_now(tmp_path: Path, running: bool) -> None:
    """retry reads each row anew and sends it alone, without an index, and takes it off the list."""
    database = shop.make(tmp_path / "shop.db", 5)
    async with Service() as service, Agent(tmp_path, settings(tmp_path, service), measured=True) as agent:
        choosy = Choosy(service, 2, 4)
        await agent.once()
        rows = await listed(agent)
        database.execute("UPDATE orders SET name = 'mended', ver = 2 WHERE id = 2")
        if running:
            await agent.start()
            await agent.state("caught up")
        owed = await listed(agent)
        choosy.ids = set()
        checkpoint = service.checkpoint
        service.posts.clear()
        code, out, err = await agent.call("rejected", "retry", "orders-sync")
        left = await listed(agent)
        if running:
            assert (await agent.status())["rejected"] == 0
            await agent.end()
        else:
            await agent.once()
        resent = [event for event in again(service) if "index" not in event]

        assert [(row["sync"], row["table"], row["status"]) for row in rows] == [("orders-sync", "orders", 422)] * 2
        # An agent has met the change meanwhile, which was refused too: of what is the same by now one is sent.
        assert len(owed) == 2 + running
        assert (code, out) == (0, f"{len(owed)} rows sent.\n"), err
        assert left == []
        assert [(event["id"], event["name"]) for event in resent] == [(2, "mended"), (4, "order 4")]
        assert service.rows == shop.rows(database)
        assert service.checkpoint >= checkpoint


@pytest.mark.parametrize("running", [True, False])
async def test_what_is_gone_is_dropped_and_what_is_refused_again_stays(tmp_path: Path, running: bool) -> None:
    """A row that was deleted since leaves the list; one that the service still refuses stays on it, with its reason."""
    database = shop.make(tmp_path / "shop.db", 5)
    async with Service() as service, Agent(tmp_path, settings(tmp_path, service), measured=True) as agent:
        Choosy(service, 2, 4)
        await agent.once()
        database.execute("DELETE FROM orders WHERE id = 2")
        if running:
            await agent.start()
            await agent.state("caught up")
        rows = {row["id"] for row in await listed(agent)}
        code, out, _ = await agent.call("rejected", "retry", "orders-sync", "--all")
        left = await listed(agent)
        if running:
            status = await agent.state("caught up")

            assert status["rejected"] == len(left)

        # The mark of the deleted row was refused as well: it is still owed to the service.
        assert code == 1
        assert "0 rows sent.\n1 row gone at the source, and off the list.\n" in out
        assert "stays: " in out
        assert {row["id"] for row in left} < rows


async def test_the_mark_of_a_deleted_row_is_sent_again(tmp_path: Path) -> None:
    """A refused mark of a deletion is no row that is gone: the service still has the row, so the mark goes again."""
    database = shop.make(tmp_path / "shop.db", 3)
    async with Service() as service, Agent(tmp_path, settings(tmp_path, service), measured=True) as agent:
        await agent.once()
        choosy = Choosy(service, 2)
        database.execute("UPDATE orders SET ver = 2 WHERE id = 1")
        database.execute("DELETE FROM orders WHERE id = 2")
        await agent.once()
        before = set(service.rows)
        choosy.ids = set()
        code, out, err = await agent.call("rejected", "retry", "orders-sync")

        assert (code, out) == (0, "1 row sent.\n"), err
        assert before == {1, 2, 3}
        assert set(service.rows) == {1, 3}


@pytest.mark.fault("F79")
async def test_one_row_is_shown_with_its_key(tmp_path: Path) -> None:
    """show prints key and event; the list and the log hold nothing of the row."""
    shop.make(tmp_path / "shop.db", 5).close()
    async with Service() as service, Agent(tmp_path, settings(tmp_path, service), measured=True) as agent:
        Choosy(service, 2)
        await agent.start()
        await agent.state("caught up")
        [row] = await listed(agent)
        running = await agent.call("rejected", "show", str(row["id"]))
        named = await agent.call("rejected", "show", "orders-sync", str(row["id"]))
        plain = await agent.call("rejected", "list", "orders-sync")
        await agent.end()
        stopped = await agent.call("rejected", "show", str(row["id"]))

        assert running == named == stopped
        assert running[0] == 0
        assert "key: id = 2\n" in running[1]
        assert "why: " in running[1]
        assert json.loads(running[1].splitlines()[-1])["name"] == "order 2"
        assert "order 2" not in plain[1] + agent.text()
        assert "422" in plain[1]


async def test_without_the_source_a_row_is_shown_without_its_key(tmp_path: Path) -> None:
    """Which columns are the key only the database knows; the event is there all the same."""
    shop.make(tmp_path / "shop.db", 5).close()
    async with Service() as service, Agent(tmp_path, settings(tmp_path, service), measured=True) as agent:
        Choosy(service, 2)
        await agent.once()
        (tmp_path / "shop.db").rename(tmp_path / "elsewhere.db")
        code, out, _ = await agent.call("rejected", "show", "1")

        assert code == 0
        assert "key: not known" in out
        assert '"id":2' in out


@pytest.mark.parametrize("running", [True, False])
async def test_rows_are_let_go(tmp_path: Path, running: bool) -> None:
    """drop takes rows off the list by number, or all of them; without a terminal it wants --yes."""
    shop.make(tmp_path / "shop.db", 9).close()
    async with Service() as service, Agent(tmp_path, settings(tmp_path, service), measured=True) as agent:
        Choosy(service, 2, 4, 6)
        await agent.once()
        if running:
            await agent.start()
            await agent.state("caught up")
        first, *others = [row["id"] for row in await listed(agent)]
        refused = await agent.call("rejected", "drop", "orders-sync", str(first))
        whole = len(await listed(agent))
        one = await agent.call("rejected", "drop", "orders-sync", str(first), "--yes")
        rest = [row["id"] for row in await listed(agent)]
        unknown = await agent.call("rejected", "drop", "orders-sync", str(first), "--yes")
        every = await agent.call("rejected", "drop", "orders-sync", "--all", "--yes")
        empty = await agent.call("rejected", "list")

        assert refused[0] == 2
        assert "--yes" in refused[2]
        assert whole == 3
        assert one[:2] == (0, "1 row dropped.\n")
        assert rest == others
        assert unknown[0] == 5
        assert f"no row {first} of sync orders-sync" in unknown[2]
        assert every[:2] == (0, "2 rows dropped.\n")
        assert empty[:2] == (0, "No row is set aside.\n")
        if running:
            assert (await agent.status())["rejected"] == 0
            await agent.end()


async def test_a_retry_without_an_answer_keeps_the_rows(tmp_path: Path) -> None:
    """Without an agent nobody waits for a service that is down: the command ends and the rows stay on the list."""
    shop.make(tmp_path / "shop.db", 5).close()
    async with Service() as service, Agent(tmp_path, settings(tmp_path, service), measured=True) as agent:
        choosy = Choosy(service, 2)
        await agent.once()
        choosy.ids = set()
        service.script.append(503)
        code, out, err = await agent.call("rejected", "retry", "orders-sync")

        assert code == 5
        assert out == ""
        assert "503" in err
        assert "still on the list" in err
        assert "Traceback" not in err
        assert len(await listed(agent)) == 1


async def test_a_paused_sync_sends_nothing_again(tmp_path: Path) -> None:
    """retry says how to end the pause instead of waiting for it."""
    shop.make(tmp_path / "shop.db", 5).close()
    async with Service() as service, Agent(tmp_path, settings(tmp_path, service), measured=True) as agent:
        Choosy(service, 2)
        await agent.start()
        await agent.state("caught up")
        await agent.call("pause", "orders-sync")
        await agent.state("paused")
        code, _, err = await agent.call("rejected", "retry", "orders-sync")

        assert code == 5
        assert "is paused" in err
        assert "fuagent resume" in err


async def test_a_reply_to_a_retry_may_ask_for_a_snapshot(tmp_path: Path) -> None:
    """Every reply may ask for a snapshot, that to a row sent again too."""
    shop.make(tmp_path / "shop.db", 5).close()
    async with Service() as service, Agent(tmp_path, settings(tmp_path, service), measured=True) as agent:
        choosy = Choosy(service, 2)
        await agent.start()
        await agent.state("caught up")
        choosy.ids = set()
        service.reply = {"snapshot_needed": True}
        await agent.call("rejected", "retry", "orders-sync")
        service.reply = None
        status = await agent.status()

        assert status["snapshot_allowed_in"] or status["state"] == "snapshot" or service.ends == 2


async def test_a_key_that_is_masked_cannot_be_read_back(tmp_path: Path) -> None:
    """A row whose key was hashed on its way stays on the list, and the reason says what else can be done."""
    shop.make(tmp_path / "shop.db", 5).close()
    async with Service() as service:
        masked = settings(tmp_path, service, mask={"id": "hash"}, mask_salt="pepper")
        async with Agent(tmp_path, masked, measured=True) as agent:
            refused: list[str] = []

            async def one(request: Request) -> web.Response | None:
                names = [event["name"] for event in request.json["events"]]
                refused.extend(name for name in names if name == "order 2")
                return web.json_response({}, status=422) if "order 2" in names else None

            service.answer = one
            await agent.once()
            code, out, err = await agent.call("rejected", "retry", "orders-sync")

            assert code == 1, err
            assert "is not sent as it is" in out
            assert "fuagent snapshot" in out
            assert refused


async def test_a_row_between_two_batches(tmp_path: Path) -> None:
    """While changes stream, rows sent again stand between two batches, and every change arrives in order."""
    database = shop.make(tmp_path / "shop.db", 20)
    async with Service() as service, Agent(tmp_path, settings(tmp_path, service, batch_size=5), measured=True) as agent:
        choosy = Choosy(service, 2, 4)
        await agent.start()
        await agent.state("caught up")
        choosy.ids = set()
        for version in range(2, 60):
            database.execute("UPDATE orders SET ver = ? WHERE id = ?", (version, 5 + version % 10))
        code, out, err = await agent.call("rejected", "retry", "orders-sync")
        await until(lambda: service.rows == shop.rows(database), "both hold the same rows")
        indexes = [event["index"] for event in service.events() if "index" in event]

        assert (code, out) == (0, "2 rows sent.\n"), err
        assert indexes == sorted(set(indexes))


async def test_rows_that_a_2xx_names_are_set_aside(tmp_path: Path) -> None:
    """The others of their batch arrive; the service's words stand on the list and never in the log; retry ends it."""
    database = shop.make(tmp_path / "shop.db", 6)
    sync = {"on_reject": "set_aside", "accept_rejected": True}
    async with Service() as service:
        settings = config(tmp_path / "shop.db", service.openapi, sync=sync)
        async with Agent(tmp_path, settings, measured=True) as agent:
            service.rejects = {2: "no colour order 2", 5: "no colour order 5"}
            await agent.start()
            await agent.state("caught up")
            database.execute("UPDATE orders SET ver = 2 WHERE id IN (4, 5, 6)")
            await until(
                lambda: service.rows == {k: v for k, v in shop.rows(database).items() if k not in (2, 5)}, "the rest"
            )
            status = await agent.state("caught up", index=service.checkpoint)
            await agent.end()
            snapshot = next(post for post in service.posts if post.json["events"])
            rows = await listed(agent)
            code, out, _ = await agent.call("rejected", "show", str(rows[0]["id"]))
            service.rejects = {}
            again, sent, err = await agent.call("rejected", "retry", "orders-sync")

            assert len(snapshot.json["events"]) == 6
            assert [(row["status"], row["reason"].partition(": ")[2]) for row in rows] == [
                (200, f"its answer names the row as rejected: no colour order {key}") for key in (2, 5, 5)
            ]
            assert status["rejected"] == 3
            assert (code, "no colour order 2" in out) == (0, True)
            assert "no colour" not in agent.text()
            assert (again, sent) == (0, "3 rows sent.\n"), err
            assert service.rows == shop.rows(database)


async def test_rows_that_the_kit_names_are_set_aside(tmp_path: Path) -> None:
    """Agent and kit speak of the same rows: those that its type does not take are on the list, the others arrived."""

    class Order(BaseModel):
        id: int
        name: str
        price: float

    database = shop.make(tmp_path / "shop.db", 6)
    database.execute("UPDATE orders SET name = NULL WHERE id IN (2, 5)")
    store = MemoryStore()
    receiver = Receiver(store, keys=KEY, name_rejected=True)
    receiver.task("orders-sync", key="id", table="orders")(Order)
    sync = {"on_reject": "set_aside", "accept_rejected": True}
    with served(receiver.app()) as running:
        settings = config(
            tmp_path / "shop.db", f"{running.origin}/openapi.json", sync=sync, pusher={"credential": {"key": KEY}}
        )
        async with Agent(tmp_path, settings, measured=True) as agent:
            code = await agent.once()
            rows = await listed(agent)
    database.close()

    assert code == 0, agent.text()
    assert sorted(row["id"] for row in store.rows("orders")) == [1, 3, 4, 6]
    assert [row["reason"].rpartition(": events")[2] for row in rows] == [
        f"[{place}].name does not fit: string_type" for place in (1, 4)
    ]


async def test_a_row_that_a_2xx_names_halts(tmp_path: Path) -> None:
    """By default the sync halts and goes on with that very row when it is started again, whatever the checkpoint says."""
    database = shop.make(tmp_path / "shop.db", 3)
    async with (
        Service() as service,
        Agent(
            tmp_path, config(tmp_path / "shop.db", service.openapi, sync={"accept_rejected": True}), measured=True
        ) as agent,
    ):
        await agent.once()
        service.rejects = {2: "no colour order 2"}
        await agent.start()
        await agent.state("caught up")
        database.execute("UPDATE orders SET ver = 2")
        halted = await agent.state("halted")
        await agent.end()
        checkpoint = service.checkpoint
        # As a service has to that names rows: what it has not taken is not below its checkpoint.
        service.rejects, service.checkpoint = {}, 0
        service.answer_status = _told(checkpoint)
        await agent.once()

        assert "names the row as rejected" in halted["problem"]
        assert "no colour" not in halted["problem"] + agent.text()
        assert service.rows == shop.rows(database)


def _told(checkpoint: int) -> Any:
    async def answer(_request: Request) -> web.Response:
        return web.json_response(checkpoint)

    return answer


async def test_a_service_that_happens_to_answer_so_is_not_misread(tmp_path: Path) -> None:
    """Without accept_rejected a member of that name means nothing."""
    shop.make(tmp_path / "shop.db", 3).close()
    async with (
        Service() as service,
        Agent(tmp_path, config(tmp_path / "shop.db", service.openapi), measured=True) as agent,
    ):
        service.reply = {"rejected": [{"row": 0, "reason": "history"}]}

        assert await agent.once() == 0
        assert set(service.rows) == {1, 2, 3}
