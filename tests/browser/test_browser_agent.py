"""A person at the console of a real agent with real syncs, in a real browser."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from aiohttp import web

from harness import shop
from harness.agent import Agent, config, until
from harness.browser import Browser
from harness.server import free_port
from harness.service import Request, Service

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = "<img src=x onerror=alert(1)>"
TOUCHY = 3
"""The row that the service of the sync `aside` does not take."""
FATES = {"orders": "caught up", "hostile": "halted", "aside": "caught up", "down": "retrying"}
"""The state that each sync comes to."""


@dataclass
class World:
    """An agent, its service and its database: four syncs, each with a fate of its own."""

    agent: Agent
    database: sqlite3.Connection
    base: str = ""
    link: str = ""
    port: int = field(default_factory=free_port)

    async def start(self) -> None:
        """Start the agent, at the same address as before, and wait until each sync has met its fate."""
        await self.agent.start("--listen", str(self.port))
        self.base = await self.agent.window()
        self.link = await until(self.told, "the agent tells its link")
        for name, state in FATES.items():  # until then lines change their places
            await self.agent.state(state, name)

    async def told(self) -> str:
        """The link with the token, once the agent is there to tell it."""
        return (await self.agent.call("console"))[1].strip()


async def refuse(_request: Request) -> web.Response:
    """A service that takes nothing."""
    return web.json_response({"detail": "no"}, status=422)


async def refuse_one(request: Request) -> web.Response | None:
    """A service that does not take one row."""
    touchy = any(event.get("id") == TOUCHY for event in request.json["events"])
    return web.json_response({"detail": "no"}, status=422) if touchy else None


async def fail(_request: Request) -> web.Response:
    """A service that is down."""
    return web.Response(status=503)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """The agent runs; `orders` goes well, `hostile` halts, `aside` sets a row aside, `down` has nobody who answers."""
    folder = tmp_path_factory.mktemp("console")
    database = shop.make(folder / "shop.db", 30)
    database.execute(f'CREATE TABLE "{HOSTILE}" (id INTEGER PRIMARY KEY, name TEXT)')
    database.execute(f"""INSERT INTO "{HOSTILE}" VALUES (1, 'x')""")
    async with Service() as good, Service() as bad, Service() as touchy, Service() as down:
        bad.answer, touchy.answer, down.answer = refuse, refuse_one, fail
        settings = config(folder / "shop.db", good.openapi, name="orders")
        key = settings["pushers"]["service"]["credential"]
        for name, service in {"bad": bad, "touchy": touchy, "down": down}.items():
            settings["pushers"][name] = {"driver": "openapi", "endpoint": service.openapi, "credential": key}
        settings["syncs"] |= {
            "hostile": {"source": "shop", "pusher": "bad", "tables": [HOSTILE]},
            "aside": {"source": "shop", "pusher": "touchy", "tables": ["orders"], "on_reject": "set_aside"},
            "down": {"source": "shop", "pusher": "down", "tables": ["orders"]},
        }
        async with Agent(folder, settings) as agent:
            there = World(agent, database)
            await there.start()
            yield there
    database.close()


def line(name: str) -> str:
    """What finds the line of one sync in the list."""
    return f'tbody.sync:has(a[href="#/sync/{name}"])'


async def figure(browser: Browser, name: str) -> int:
    """How many rows a sync has sent, as the list shows it; -1 where it does not."""
    text = await browser.text(f"{line(name)} [data-f=rows]")
    return int(text.replace(",", "") or -1) if text else -1


async def test_numbers_move_by_themselves(browser: Browser, world: World) -> None:
    """A change in the database is seen on the page a moment later, and the page is not loaded anew for it."""
    await browser.open(f"{world.base}/")
    await browser.shows("caught up", line("orders"))
    before = await figure(browser, "orders")
    await browser.evaluate("window.same = true")
    world.database.execute("UPDATE orders SET ver = ver + 1 WHERE id IN (1, 2)")

    await until(lambda: _is(browser, "orders", before + 2), "the page shows two rows more")
    assert await browser.evaluate("window.same") is True


async def _is(browser: Browser, name: str, rows: int) -> bool:
    return await figure(browser, name) == rows


async def test_a_halted_sync_cannot_be_overlooked(browser: Browser, world: World) -> None:
    """It stands first, above it a strip that names it, with reason and remedy; the tab's title and picture say so too."""
    status = await world.agent.state("halted", "hostile")  # it may just have been started again
    await browser.open(f"{world.base}/console/")
    await browser.shows("1 sync needs a person", "#alarm")
    await browser.shows("halted", f"{line('hostile')} .badge")
    first = await browser.text("tbody.sync")

    assert "hostile" in await browser.text("#alarm-list")
    assert status["problem"] in first
    assert status["fix"] in first
    assert (await browser.evaluate("document.title")).startswith("1 needs a person")
    assert await browser.evaluate("document.querySelector('link[rel=icon]').getAttribute('href')") == "icon-alert.svg"


async def test_a_sync_that_tries_again_says_why(browser: Browser, world: World) -> None:
    """Its page tells the state, the trouble and which attempt is next."""
    await browser.open(f"{world.base}/console/#/sync/down")
    await browser.shows("failed so far. The next one comes in", "#detail")

    assert "retrying" in await browser.text("#detail .head")
    assert (await world.agent.status("down"))["problem"] in await browser.text("#detail .remarks")


@pytest.mark.fault("S33")
async def test_a_name_that_is_markup_is_shown_as_text(browser: Browser, world: World) -> None:
    """A table called like a picture with a script is read, letter by letter, and neither drawn nor run."""
    await browser.open(f"{world.base}/console/")
    await browser.shows(HOSTILE, line("hostile"))
    await browser.open(f"{world.base}/console/#/sync/hostile")
    await browser.shows(HOSTILE, "[data-f=tables]")
    await browser.shows(HOSTILE, "[data-f=mapping]")
    await browser.shows("422: the service refuses", "[data-f=batches]")

    assert await browser.evaluate("[...document.images].map((one) => one.getAttribute('src'))") == ["icon.svg"]
    assert "422 422" not in await browser.text("[data-f=batches]")
    assert browser.complaints == []


async def test_an_action_acts_once_it_is_confirmed(browser: Browser, world: World) -> None:
    """Pause asks first and says what will happen; refused it does nothing, confirmed the agent pauses, and resumes likewise."""
    await browser.open(f"{world.link}")
    await browser.shows("May act", "#access")
    assert "token" not in await browser.evaluate("location.href")
    await browser.click(f"{line('orders')} a")
    await browser.shows("caught up", "#detail .head")

    await browser.click("#detail .actions button")
    await browser.shows("stays paused", "#ask")
    await browser.press("Escape")
    await browser.until("!document.querySelector('#ask').open")
    assert (await world.agent.status("orders"))["state"] == "caught up"

    await browser.click("#detail .actions button")
    await browser.click("#ask-yes")
    await world.agent.state("paused", "orders")
    await browser.shows("paused", "#detail .head")
    await browser.shows("Resume", "#detail .actions")
    await browser.click("#detail .actions button")
    await browser.shows("goes on where it stopped", "#ask-text")
    await browser.press("Enter")  # the focus is where one presses next
    await world.agent.state("caught up", "orders")
    log = [json.loads(one) for one in world.agent.text().splitlines() if '"action"' in one]

    assert [(one["action"], one["sync"]) for one in log if one["event"] == "action"][-2:] == [
        ("pause", "orders"),
        ("resume", "orders"),
    ]


@pytest.mark.fault("S32")
async def test_a_wrong_token_does_nothing(browser: Browser, world: World) -> None:
    """The page says that the token is wrong and offers no action; the agent refuses one that comes all the same."""
    await browser.open(f"{world.base}/console/#token=wrong")
    await browser.shows("Wrong token", "#access")
    await browser.click(f"{line('orders')} a")
    await browser.shows("Pause", "#detail .actions")
    await browser.shows("press “Wrong token” above", "#detail")
    asked = "fetch('api/syncs/orders/pause', {method: 'POST', body: '{}', headers: {'Content-Type': 'application/json', Authorization: 'Bearer wrong'}})"

    assert await browser.evaluate(
        "[...document.querySelectorAll('#detail .actions button')].every((one) => one.disabled)"
    )
    assert await browser.evaluate(f"{asked}.then((answer) => answer.status)") == 401
    assert (await world.agent.status("orders"))["state"] == "caught up"


async def test_rows_set_aside_are_let_go_one_by_one(browser: Browser, world: World) -> None:
    """The list names table and answer but nothing of the row; what is chosen and confirmed leaves it."""
    await browser.open(f"{world.link}")
    await browser.click(f"{line('aside')} a")
    await browser.shows("422", "[data-f=rejectedRows]")
    assert f"order {TOUCHY}" not in await browser.text()

    await browser.click("[data-f=rejectedRows] input")
    await browser.click("[data-f=dropSome]")
    await browser.shows("1 row", "#ask-text")
    await browser.click("#ask-yes")
    await browser.until("document.querySelector('[data-f=rejectedPart]').hidden")

    assert (await world.agent.status("aside"))["rejected"] == 0


async def test_an_agent_that_is_gone_is_told_from_one_that_is_still(browser: Browser, world: World) -> None:
    """Killed, what is shown is said to be old; once it is back the page goes on by itself, and its token holds no more."""
    await browser.open(world.link)
    await browser.shows("Live", "#news")
    await world.agent.kill()
    await browser.shows("No news from the agent since", "#cut")
    await browser.shows("No news", "#news")
    assert "orders" in await browser.text("#syncs")
    await world.start()
    await browser.shows("Live", "#news")
    await browser.shows("Wrong token", "#access")

    assert not await browser.evaluate("document.documentElement.classList.contains('old')")
    assert await browser.text("#cut") == ""


async def test_the_page_asks_nobody_but_the_agent(browser: Browser, world: World) -> None:
    """Every address that it asks for is the agent's own, and nothing of it is missing or forbidden."""
    await browser.open(f"{world.base}/")
    await browser.shows("caught up", line("orders"))
    asked = [one for one in browser.addresses if one != "about:blank"]

    assert len(asked) > 5
    assert [one for one in asked if not one.startswith(f"{world.base}/")] == []
    assert browser.complaints == []
