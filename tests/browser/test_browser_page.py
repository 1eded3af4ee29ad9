"""The console's page with syncs that are made up: in every state, on every screen, for every person."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import pytest_asyncio

from fuagent.console.server import Console
from fuagent.engine.lifecycle import MEANING
from harness.agent import until
from harness.browser import Browser
from harness.invented import Invented, served, some, sync

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
PICTURES = os.environ.get("PICTURES")
"""Where the pictures of the documentation go, if they are wanted."""
HASHES = {"overview": "#/", "streaming": "#/sync/suppliers", "lost": "#/sync/returns"}


@dataclass
class World:
    """The console and who is behind it."""

    watched: Invented
    url: str
    console: Console

    @property
    def link(self) -> str:
        """The address with the token."""
        return f"{self.url}#token={self.console.token}"


@pytest_asyncio.fixture(loop_scope="session")
async def world() -> AsyncIterator[World]:
    """A console with a handful of syncs."""
    watched = Invented(some())
    async with served(watched) as (url, console):
        yield World(watched, url, console)


async def show(browser: Browser, world: World, where: str) -> None:
    """Open the page with its token, and go to one of its places."""
    await browser.open(world.link)
    await browser.shows("May act", "#access")
    await browser.evaluate(f"location.hash = {json.dumps(where)}")
    if where == "#/":
        await browser.until(
            "document.querySelectorAll('tbody.sync').length > 7"
        )  # those below the window have no text yet
    else:
        await browser.shows("acknowledged", "#main")


async def test_every_state_has_its_word_and_picture(browser: Browser, world: World) -> None:
    """The page knows the very states of the engine, with what they mean, and a picture of each."""
    await browser.open(world.url)
    told = await browser.evaluate("import('./words.js').then((words) => words.STATES)")
    pictures = await browser.evaluate("[...document.querySelectorAll('symbol')].map((one) => one.id)")

    assert {name: one["meaning"] for name, one in told.items()} == {str(state): text for state, text in MEANING.items()}
    assert {f"i-{one['icon']}" for one in told.values()} <= set(pictures)


async def test_whoever_needs_a_person_stands_first(browser: Browser, world: World) -> None:
    """Halted before lost place before trying again before all that goes well."""
    await browser.look()
    await show(browser, world, "#/")
    order = await browser.evaluate("[...document.querySelectorAll('tbody.sync th')].map((one) => one.innerText)")

    assert order == ["invoices", "returns", "shipments", "stock", "prices", "customers", "orders", "suppliers"]
    assert "2 syncs need a person" in await browser.text("#alarm")


async def test_a_snapshot_tells_how_far_it_is(browser: Browser, world: World) -> None:
    """Percentage, rows and the time left, in words and as a bar."""
    await show(browser, world, "#/")
    await browser.shows("left", "tbody.sync .taken:not([hidden])")
    told = await browser.text("tbody.sync .taken:not([hidden])")

    assert "Snapshot 4" in told
    assert "of 2,900,000 rows" in told
    assert 40 < await browser.evaluate("document.querySelector('tbody.sync .taken:not([hidden]) progress').value") < 60


async def test_the_end_of_the_log_is_told_in_time(browser: Browser, world: World) -> None:
    """Where the database is about to let go of changes that were not read, the line says when."""
    kept = world.watched.known["returns"]
    samples = world.console._feed._hour._of["returns"]
    # So long ago that it makes no difference how long the page takes.
    samples.kept.appendleft((time.monotonic() - 550, (kept.kept_bytes or 0) - 220_000_000))
    await show(browser, world, "#/")
    await browser.shows("The database lets go of changes", "tbody.sync.person:has(a[href='#/sync/returns'])")

    assert "1 h 2" in await browser.text("tbody:has(a[href='#/sync/returns']) [data-f=loss]")


async def test_changes_that_grow_old_are_told_in_time(browser: Browser, world: World) -> None:
    """A log that is kept for a time says when at the earliest it ends, and nothing more while that is far."""
    by_age = {"kept_bytes": None, "kept_seconds": 86_400.0}
    known = world.watched.known
    known["prices"] = replace(known["prices"], **by_age, room_seconds=12_000.0, loss_is_near=True)
    known["customers"] = replace(known["customers"], **by_age, room_seconds=86_400.0)
    await show(browser, world, "#/")
    await browser.shows("at the earliest in 3 h 20 min", "tbody:has(a[href='#/sync/prices'])")
    near = "[...document.querySelectorAll('tbody.sync [data-f=loss].near')].map((one) => one.innerText)"

    assert await browser.evaluate(near) == ["3 h 20 min"]
    assert await browser.text("tbody:has(a[href='#/sync/customers']) [data-f=loss]") == "1 d 0 h"
    assert "at the earliest" not in await browser.text("tbody:has(a[href='#/sync/customers'])")
    await browser.evaluate("location.hash = '#/sync/prices'")
    await browser.shows("The database keeps changes for 1 d 0 h: at the earliest in 3 h 20 min", "#detail")
    await browser.shows("Log kept for it\n1 d 0 h", "#detail")


@pytest.mark.parametrize("where", ["overview", "streaming", "lost"])
async def test_nothing_is_cut_off(browser: Browser, world: World, where: str) -> None:
    """From a small phone to a wall: the page never scrolls sideways, and nothing sticks out of it."""
    world.watched.known["x" * 128] = sync("x" * 128, "halted", problem="y" * 300)
    await show(browser, world, HASHES[where])
    found = {}
    for width in (320, 768, 1024, 1280, 1920):
        await browser.look(width, 4000)
        out = await browser.evaluate(
            "[...document.querySelectorAll('#main *')].filter((one) => one.checkVisibility()"
            " && !one.closest('.wide, pre, svg, .unseen, thead, .choices')"
            " && one.getBoundingClientRect().right > innerWidth + 0.5).map((one) => one.outerHTML.slice(0, 80))"
        )
        found[width] = (await browser.evaluate("document.documentElement.scrollWidth"), out)

    assert found == {width: (width, []) for width in found}


@pytest.mark.parametrize(
    ("where", "width", "dark"),
    [("overview", 1280, False), ("overview", 320, True), ("streaming", 1280, True), ("lost", 320, False)],
)
async def test_everybody_can_use_it(browser: Browser, world: World, where: str, width: int, *, dark: bool) -> None:
    """Axe finds nothing: contrast, names, roles, headings, on light and dark ground, wide and narrow, and in the dialog."""
    await browser.look(width, 800, dark=dark)
    await show(browser, world, HASHES[where])
    await browser.evaluate(AXE.read_text(encoding="utf-8") + "; 0")
    if where == "lost":
        await browser.click("#detail .actions button:last-child")
        await browser.shows("Changes may be missing", "#ask")

    assert await _wrong(browser) == []


async def _wrong(browser: Browser) -> list[str]:
    """What axe finds wrong, each with where."""
    rules = "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}"
    found = await browser.evaluate(
        f"axe.run(document, {rules}).then(({{violations}}) => violations.flatMap((one) =>"
        " one.nodes.map((node) => `${one.id}: ${node.target} ${node.failureSummary}`)))"
    )
    return list(found)


async def test_a_screen_reader_meets_it_all(browser: Browser, world: World) -> None:
    """The list is a table with heads and lines; pictures say what they show; a state is a word."""
    await browser.look()
    await show(browser, world, "#/")
    tree = await browser.tree()
    names = {role: [name for one, name in tree if one == role] for role, _ in tree}

    assert names["columnheader"] == ["Sync", "State", "Rows/s", "Lag", "Behind", "Log lost in", "Rows sent"]
    assert names["rowheader"][0] == "invoices"
    assert "halted" in names["StaticText"]
    assert any(name.startswith("Rows per second over the last hour: at most") for name in names["image"])
    assert "2 syncs need a person" in names["heading"]


async def test_the_keyboard_alone_is_enough(browser: Browser, world: World) -> None:
    """Tab leads to a sync, Enter opens it, Tab to its actions, Enter asks; after the answer one is where one was."""
    await browser.look()
    await show(browser, world, "#/")
    await _tab_to(browser, "document.activeElement.matches('tbody.sync a[href=\"#/sync/orders\"]')")
    await browser.press("Enter")
    await browser.shows("Pause", "#detail .actions")
    assert await browser.evaluate("document.activeElement.id") == "detail-title"
    await _tab_to(browser, "document.activeElement.innerText === 'Pause…'")
    await browser.press("Enter")
    await browser.until("document.activeElement.id === 'ask-yes'")
    await browser.press("Enter")
    await browser.shows("pauses at the next transaction end", "#toast")

    assert world.watched.asked == [("orders", "pause", None)]
    assert await browser.evaluate("document.activeElement.innerText") == "Pause…"


async def _tab_to(browser: Browser, there: str) -> None:
    """Press Tab until the focus is there, at most a hundred times; where it is can be seen all the way."""
    for _ in range(100):
        await browser.press("Tab")
        if await browser.evaluate(there):
            break
        assert await browser.evaluate(
            "document.activeElement === document.body || getComputedStyle(document.activeElement).outlineStyle !== 'none'"
        )
    assert await browser.evaluate(there)


async def test_the_focus_stays_while_lines_come_and_go(browser: Browser, world: World) -> None:
    """Whoever stands on a sync still stands on it after it has moved to another place in the list."""
    await browser.look()
    await show(browser, world, "#/")
    await browser.evaluate("document.querySelector('tbody.sync a[href=\"#/sync/suppliers\"]').focus()")
    world.watched.known["suppliers"] = replace(
        world.watched.known["suppliers"], state="halted", needs_person=True, problem="a trouble."
    )
    await browser.shows("a trouble.", "tbody.sync:has(a[href='#/sync/suppliers'])")
    place = "[...document.querySelectorAll('tbody.sync a')].findIndex((one) => one === document.activeElement)"

    assert await browser.evaluate(place) == 1
    assert await browser.text("#said") == "suppliers is now: halted, and needs a person"


async def test_figures_are_not_read_out(browser: Browser, world: World) -> None:
    """While rows go on and nothing else changes, no live region says a word."""
    await show(browser, world, "#/")
    rows = "document.querySelector('tbody:has(a[href=\"#/sync/stock\"]) [data-f=rows]').innerText"
    before = await browser.evaluate(rows)
    await until(lambda: _differs(browser, rows, before), "the rows of the snapshot grow")

    assert await browser.text("#said") == ""


async def _differs(browser: Browser, expression: str, before: str) -> bool:
    return await browser.evaluate(expression) != before


async def test_only_what_changed_is_touched(browser: Browser, world: World) -> None:
    """A second of news changes texts in the lines it is about, and makes no element anew."""
    await browser.look()
    await show(browser, world, "#/")
    await browser.evaluate(
        "window.touched = new Set(); window.made = 0; new MutationObserver((all) => { for (const one of all) {"
        " const at = (one.target.nodeType === 1 ? one.target : one.target.parentElement);"
        " if (at.closest('svg')) continue;"  # all pictures change as a minute begins
        " touched.add(at.closest('tbody')?.f.name.innerText);"
        " for (const node of one.addedNodes) made += node.nodeType === 1; } })"
        ".observe(document.querySelector('#syncs'), {subtree: true, childList: true, characterData: true, attributes: true})"
    )
    await browser.until("touched.has('orders') && touched.has('stock')")

    assert await browser.evaluate("[...touched].includes('customers')") is False
    assert await browser.evaluate("made") == 0


async def test_pages_that_nobody_looks_at_hold_no_stream(browser: Browser, world: World) -> None:
    """A browser has six connections to one host for all its tabs: who leaves the page, or its tab, gives its own back."""
    for _ in range(8):
        await browser.open(world.url)
        await browser.shows("orders", "#syncs")
    await until(lambda: world.console._feed._listening == 1, "only the page that is open listens")

    await browser.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    await browser.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await until(lambda: world.console._feed._listening == 0, "a tab in the back listens no more")
    world.watched.known["late"] = sync("late", "halted")
    await until(lambda: _titled(browser, "3 need a person"), "its title still calls")
    await browser.evaluate("delete document.hidden")
    await browser.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    await browser.shows("late", "#syncs")
    assert world.console._feed._listening == 1  # in front again, it listens again


async def _titled(browser: Browser, words: str) -> bool:
    return words in await browser.evaluate("document.title")


async def test_syncs_are_found_and_chosen(browser: Browser, world: World) -> None:
    """What is written in the field is looked for in names and troubles; a choice shows those in one kind of state."""
    await browser.look()
    await show(browser, world, "#/")
    await browser.click("#find")
    await browser.write("api.example")
    await browser.until("document.querySelectorAll('tbody.sync').length === 1")
    assert await browser.text("tbody.sync th") == "shipments"
    await browser.evaluate("document.querySelector('#find').value = ''")
    await browser.click(".choice.person")
    await browser.until("document.querySelectorAll('tbody.sync').length === 2")

    assert await browser.evaluate("document.querySelector('.choice.person').getAttribute('aria-pressed')") == "true"


async def test_a_refused_action_says_why_and_what_to_do(browser: Browser, world: World) -> None:
    """The dialog stays, with the agent's own words in it."""
    await browser.look()
    await show(browser, world, "#/sync/orders")
    await browser.click("#detail .actions button:nth-child(2)")
    await browser.click("#ask-yes")
    await browser.shows("the source does not answer.", "#ask-refused")

    assert "See whether it runs." in await browser.text("#ask-refused")
    assert await browser.evaluate("document.querySelector('#ask').open")
    await browser.press("Escape")


async def test_rows_set_aside_go_by_their_numbers(browser: Browser, world: World) -> None:
    """All of them are chosen at once, and the agent is asked for exactly those."""
    await browser.look()
    await show(browser, world, "#/sync/suppliers")
    await browser.click("[data-f=all]")
    await browser.shows("3 rows chosen", "#detail")
    await browser.click("[data-f=retrySome]")
    await browser.shows("3 rows set aside", "#ask-text")
    await browser.click("#ask-yes")
    await until(lambda: world.watched.asked, "the agent is asked")

    assert world.watched.asked == [("suppliers", "retry-rejected", [4, 5, 6])]


async def test_a_token_is_taken_from_a_link_or_by_hand(browser: Browser, world: World) -> None:
    """Without one the page only looks and says how to do more; one that is written in makes it act, for this tab alone."""
    await browser.look()
    await browser.open(world.url)
    await browser.evaluate("sessionStorage.clear()")
    await browser.open(world.url)
    await browser.shows("Looking only", "#access")
    await browser.evaluate("location.hash = '#/sync/orders'")
    await browser.shows("open this page with the agent's token", "#detail")
    await browser.click("#access")
    await browser.shows("fuagent console", "#unlock")
    await browser.click("#unlock-token")
    await browser.write(world.link)
    await browser.press("Enter")
    await browser.shows("May act", "#access")
    await browser.until("!document.querySelector('#detail .actions button').disabled")

    assert await browser.evaluate("localStorage.length") == 0
    assert await browser.evaluate("document.cookie") == ""


async def test_an_agent_that_others_can_reach_shows_itself_to_nobody_else(browser: Browser) -> None:
    """Without the token there is a question for it and no sync; with a wrong one likewise; with the right one all of it."""
    async with served(Invented(some()), loopback=False) as (url, console):
        await browser.open(url)
        for given in ("wrong", console.token):
            await browser.shows("Token or link", "#unlock")
            assert await browser.text("#syncs tbody") == ""
            await browser.until("document.querySelector('#unlock').open")
            await browser.click("#unlock-token")
            await browser.write(given)
            await browser.press("Enter")
            await browser.until(
                "!document.querySelector('#unlock').open || document.querySelector('#unlock-token').value === ''"
            )

        await browser.shows("invoices", "#syncs")
        assert await browser.text("#access") == "May act"


async def test_a_sync_that_is_not_there_says_so(browser: Browser, world: World) -> None:
    """An old address leads to a sentence and a way back."""
    await browser.open(f"{world.url}#/sync/nobody")
    await browser.shows("There is no sync called nobody", "#detail")

    assert await browser.evaluate("document.querySelector('#detail .way a').getAttribute('href')") == "#/"


async def test_a_sync_that_is_taken_away_looks_like_none(browser: Browser, world: World) -> None:
    """Its open page keeps the name and says that it is gone: no state, figure or action of before; back, all is there."""
    await browser.open(f"{world.url}#/sync/orders")
    await browser.shows("Rows sent", "#detail")
    taken = world.watched.known.pop("orders")
    await browser.shows("There is no sync called orders any more", "#detail")
    left = (await browser.text("#detail")).split("\n")
    world.watched.known["orders"] = taken
    await browser.shows("Rows sent", "#detail")
    await browser.until("!document.querySelector('#detail').innerText.includes('any more')")

    assert [line for line in left if line.strip()] == [
        "All syncs",
        "orders",
        "There is no sync called orders any more.",
    ]


SCENES = {
    "console-overview-light": ("#/", 1020, 700, False),
    "console-overview-dark": ("#/", 1020, 700, True),
    "console-sync": ("#/sync/suppliers", 1020, 860, False),
    "console-phone": ("#/", 360, 780, False),
    "console-halted": ("#/sync/invoices", 1020, 500, False),
}


@pytest.mark.parametrize("name", list(SCENES))
async def test_pictures_are_small(browser: Browser, world: World, tmp_path: Path, name: str) -> None:
    """Each picture of the documentation can be taken, with PICTURES=docs/images into there, and is light to load."""
    where, width, height, dark = SCENES[name]
    await browser.look(width, height, dark=dark)
    await show(browser, world, where)
    path = Path(PICTURES or tmp_path) / f"{name}.png"
    await browser.picture(path)

    assert 5_000 < path.stat().st_size < 150_000
