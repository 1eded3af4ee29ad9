"""The console of a real agent: what it shows, what it does when told to, and what it never tells."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from fuagent import control
from harness import canary, shop
from harness.agent import Agent, config, until
from harness.service import Request, Service

SYNC = "/console/api/syncs/orders-sync"


class Page:
    """Somebody who has the link."""

    def __init__(self, agent: Agent, link: str, session: aiohttp.ClientSession) -> None:
        self.agent = agent
        self.link = link
        self.base, _, self.token = link.partition("/console/#token=")
        self.session = session

    async def get(self, path: str = SYNC) -> dict[str, Any]:
        """What it shows."""
        async with self.session.get(self.base + path, headers={"Authorization": f"Bearer {self.token}"}) as response:
            assert response.status == 200, await response.text()
            told: dict[str, Any] = await response.json()
            return told

    async def act(self, action: str, token: str | None = None, **body: Any) -> tuple[int, dict[str, str]]:
        """Do something, with the right token unless another is given."""
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        async with self.session.post(f"{self.base}{SYNC}/{action}", json=body, headers=headers) as response:
            return response.status, await response.json()

    async def shows(self, **wanted: Any) -> dict[str, Any]:
        """Wait until the sync is shown like this."""

        async def there() -> dict[str, Any] | None:
            told = await self.get()
            return told if wanted.items() <= told.items() else None

        found: dict[str, Any] = await until(there, f"{wanted}; the log says:\n{self.agent.text()[-3000:]}")
        return found

    def lines(self, event: str) -> list[dict[str, Any]]:
        """What the agent's log says of such events."""
        lines = [json.loads(line) for line in self.agent.text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]


@asynccontextmanager
async def opened(agent: Agent) -> AsyncIterator[Page]:
    """The running agent's console, by the link that it gives to who can reach its control socket."""
    await agent.window()
    link = await control.call(agent.state_dir, "console")
    async with aiohttp.ClientSession() as session:
        yield Page(agent, str(link), session)


async def choosy(request: Request) -> web.Response | None:
    """Refuses the third row, and repeats it in its answer."""
    refused = [event for event in request.json["events"] if event["name"] == canary.row(3)]
    return web.json_response({"detail": refused}, status=422) if refused else None


@pytest.mark.fault("S34")
async def test_a_day_with_the_console(tmp_path: Path) -> None:
    """Figures agree with the service; pause, resume, snapshot, retry and drop act; no row value is ever told."""
    canary.database(tmp_path / "shop.db")
    async with Service() as service:
        service.answer = choosy
        settings = config(tmp_path / "shop.db", service.openapi, sync={"on_reject": "set_aside"})
        async with Agent(tmp_path, settings, measured=True) as agent:
            await agent.start("--listen", "0")
            async with opened(agent) as page:
                first = await page.shows(state="caught up")
                state = await page.get("/console/api/state")
                wrong = await page.act("pause", token="wrong")
                paused = await page.act("pause")
                at_rest = await page.shows(state="paused")
                resumed = await page.act("resume")
                await page.shows(state="caught up")
                ends = service.ends
                asked = await page.act("snapshot", table=None)
                await until(lambda: service.ends > ends, "the snapshot")
                listed = (await page.shows(state="caught up"))["rejected_rows"]
                again = await page.act("retry-rejected", numbers=[listed[0]["number"]])
                service.answer = None
                sent = await page.act("retry-rejected", numbers=[listed[0]["number"]])
                left = [row["number"] for row in (await page.get())["rejected_rows"]]
                nothing = await page.act("drop-rejected", numbers=[2**52])
                dropped = await page.act("drop-rejected", numbers=left) if left else (200, {"done": "0 dropped"})
                last = await page.shows(rejected=0)
                shown = json.dumps([first, at_rest, state, last, again, sent, listed]).encode()
                found = {"console": shown, "log": agent.text().encode()}

                taken = [post for post in service.posts if post.json["events"]]
                assert (first["rows"], first["rejected"], first["bytes"] > 0) == (4, 1, True)
                assert first["tables"] == [{"name": "orders", "route": f"{service.url}/ingest-batch", "rejected": 1}]
                assert first["service"]["document"] == service.openapi
                assert first["service"]["status_endpoint"] == f"{service.url}/fuagent-sync-status"
                assert first["source"]["driver"] == "sqlite"
                assert {"pause", "snapshot", "retry-rejected", "drop-rejected"} == set(first["actions"])
                assert {"resume", "drop-rejected"} == set(at_rest["actions"])
                assert first["batches"][0]["status"] == 200
                assert 422 in {batch["status"] for batch in first["batches"]}
                assert len(taken) >= len([batch for batch in first["batches"] if batch["rows"]])
                assert (state["agent"]["writable"], len(state["syncs"])) == (True, 1)
                assert first["rejected_rows"][0]["status"] == 422
                assert wrong[0] == 401
                assert [paused[0], resumed[0], asked[0], again[0], sent[0], dropped[0]] == [200] * 6
                assert "0 sent, 0 gone at the source, 1 refused again" in again[1]["done"]
                assert "1 sent" in sent[1]["done"]
                assert nothing[0] == 409
                assert canary.row(3) in [row["name"] for row in service.rows.values()]
                assert canary.leaks(found, canary.ROWS) == []
                # It went over the wire, so that finding nothing means something.
                assert canary.ROW.encode() in b"".join(post.body for post in service.posts)
                done = page.lines("action")
                assert {line["by"] for line in done} == {"127.0.0.1"}
                assert [line["action"] for line in done][:3] == ["pause", "resume", "snapshot"]
                assert [line["status"] for line in page.lines("action refused")] == [401]
                assert page.token not in agent.text()
            assert await agent.end() == 0


async def test_words_of_the_service_are_not_told(tmp_path: Path) -> None:
    """A 2xx that names a row gives a reason that may hold its values: the list on the console goes without it."""
    canary.database(tmp_path / "shop.db")
    async with Service() as service:
        settings = config(
            tmp_path / "shop.db", service.openapi, sync={"on_reject": "set_aside", "accept_rejected": True}
        )
        service.rejects = {int(f"{canary.DIGITS}003"): canary.row(3)}
        async with Agent(tmp_path, settings) as agent:
            await agent.start("--listen", "0")
            async with opened(agent) as page:
                told = await page.shows(state="caught up", rejected=1)

                [row] = told["rejected_rows"]
                assert row["reason"].endswith("its answer names the row as rejected")
                assert canary.leaks({"console": json.dumps(told).encode()}, canary.ROWS) == []
            code, out, _ = await agent.call("rejected", "list")

            # There is something that was left out.
            assert (code, canary.row(3) in out) == (0, True)


async def test_trouble_is_shown_with_what_to_do(tmp_path: Path) -> None:
    """Retrying says why and since how many attempts; halted says why, wants a person, and offers nothing."""
    shop.make(tmp_path / "shop.db", 5).close()
    async with (
        Service() as service,
        Agent(tmp_path, config(tmp_path / "shop.db", service.openapi), measured=True) as agent,
    ):

        async def busy(_request: Request) -> web.Response:
            return web.json_response({}, status=503)

        service.answer = busy
        await agent.start("--listen", "0")
        async with opened(agent) as page:
            waiting = await page.shows(state="retrying")
            service.answer = None
            service.script.append(410)
            halted = await page.shows(state="halted")
            refused = await page.act("pause")
            health = (await page.get("/console/api/state"))["agent"]["healthy"]

            assert (waiting["needs_person"], halted["needs_person"]) == (False, True)
            assert waiting["retrying"]["attempt"] >= 1
            assert waiting["retrying"]["reason"]
            assert waiting["retries"] >= 1
            assert "410" in halted["problem"]
            assert halted["fix"]
            assert halted["retrying"] is None
            assert halted["batches"][0]["status"] == 410
            assert halted["actions"] == []
            assert health is False
            assert refused[0] == 409
            assert refused[1]["what"] == "pause is not possible while sync orders-sync is halted."
        assert await agent.end() == 1


async def test_a_gap_is_shown_and_accepted(tmp_path: Path) -> None:
    """Lost place wants a person; accept-gap ends it."""
    database = shop.make(tmp_path / "shop.db", 5)
    async with Service() as service, Agent(tmp_path, config(tmp_path / "shop.db", service.openapi)) as agent:
        await agent.once()
        # What fuagent keeps of the changes is emptied behind its back.
        database.execute("UPDATE orders SET ver = 2")
        [(log,)] = database.execute("SELECT name FROM sqlite_master WHERE name GLOB '_fuagent_*_log'").fetchall()
        database.execute(f'DELETE FROM "{log}"')
        await agent.start("--listen", "0")
        async with opened(agent) as page:
            lost = await page.shows(state="lost place")
            accepted = await page.act("accept-gap")
            after = await page.shows(gap="")

            assert lost["needs_person"] is True
            assert lost["gap"]
            assert "accept-gap" in lost["actions"]
            assert accepted[0] == 200
            assert "accept-gap" not in after["actions"]


async def test_the_configuration_is_told_without_its_secrets(tmp_path: Path) -> None:
    """Fields, condition and masks as configured; no constant, no salt; and a reload is seen."""
    shop.make(tmp_path / "shop.db", 5).close()
    async with Service() as service:
        sync = {
            "fields": {"id": "id", "who": {"constant": canary.KEY}, "what": "$operation", "name": "name"},
            "where": "ver >= 1",
            "mask": {"name": "hash"},
            "mask_salt": canary.PASSWORD,
        }
        settings = config(tmp_path / "shop.db", service.openapi, sync=sync)
        async with Agent(tmp_path, settings, measured=True) as agent:
            await agent.start("--listen", "0")
            async with opened(agent) as page:
                told = await page.shows(state="caught up")
                settings["syncs"]["second"] = {**settings["syncs"]["orders-sync"], "where": "ver >= 2"}
                agent.configure(settings)
                code, _, err = await agent.call("reload")
                names = [one["name"] for one in (await page.get("/console/api/state"))["syncs"]]
                second = await page.get("/console/api/syncs/second")

                assert code == 0, err
                assert told["mapping"] == {
                    "tables": ["orders"],
                    "exclude": [],
                    "fields": [
                        {"name": "id", "source": "column id"},
                        {"name": "who", "source": "constant"},
                        {"name": "what", "source": "$operation"},
                        {"name": "name", "source": "column name"},
                    ],
                    "where": "ver >= 1",
                    "masks": [{"column": "name", "cover": "hash"}],
                    "transform": None,
                    "delete_field": "_deleted",
                }
                assert names == ["orders-sync", "second"]
                assert second["mapping"]["where"] == "ver >= 2"
                assert canary.leaks({"console": json.dumps([told, second]).encode()}) == []
            assert await agent.end() == 0


@pytest.mark.fault("S30")
async def test_there_is_no_console_unless_told(tmp_path: Path) -> None:
    """Without --listen, and without an agent, the command says what to do; where nobody sits it alone tells the token."""
    shop.make(tmp_path / "shop.db", 5).close()
    async with Service() as service, Agent(tmp_path, config(tmp_path / "shop.db", service.openapi)) as agent:
        nobody = await agent.call("console")
        await agent.start()
        await agent.state("caught up")
        closed = await agent.call("console")
        await agent.end()
        await agent.start("--listen", "0.0.0.0:0")
        async with opened(agent) as page, page.session.get(f"{page.base}/console/api/state") as response:
            bare, link = response.status, page.link
            [line] = page.lines("console")
            printed = await agent.call("console")

        assert (nobody[0], closed[0]) == (4, 5)
        assert "fuagent run --listen" in nobody[2]
        assert "fuagent run --listen" in closed[2]
        assert printed == (0, f"{link}\n", "")
        assert bare == 401
        assert line["address"] == f"{page.base}/console/"
        assert page.token not in agent.text()


async def test_on_a_terminal_the_link_is_printed(tmp_path: Path) -> None:
    """Once, before anything moves, and it opens the console."""
    shop.make(tmp_path / "shop.db", 5).close()
    async with Service() as service, Agent(tmp_path, config(tmp_path / "shop.db", service.openapi)) as agent:
        ours, theirs = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *agent.command("run", "--listen", "0"), stderr=theirs, stdin=asyncio.subprocess.DEVNULL, env=agent.env
        )
        os.close(theirs)
        os.set_blocking(ours, False)
        seen = b""

        def link() -> re.Match[bytes] | None:
            nonlocal seen
            with suppress(BlockingIOError):  # nothing yet
                seen += os.read(ours, 65536)
            return re.search(rb"console: (http://127\.0\.0\.1:\d+)/console/#token=([\w-]{43})\r?\n", seen)

        try:
            found = await until(link, "the link")
            async with (
                aiohttp.ClientSession() as session,
                session.get(
                    f"{found[1].decode()}/console/api/state", headers={"Authorization": f"Bearer {found[2].decode()}"}
                ) as response,
            ):
                told = await response.json()
        finally:
            process.kill()
            await process.wait()
            os.close(ours)

        assert told["agent"]["writable"] is True
