"""A real browser, headless, driven through its DevTools protocol: https://chromedevtools.github.io/devtools-protocol/.

It can reach nothing but 127.0.0.1: a page that wants anything of anybody else fails, and is seen to.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import aiohttp

from harness.agent import DEADLINE, until

_OPTIONS = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--no-sandbox",  # it opens pages of ours alone, and containers give it no namespaces for one
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--lang=en-GB",
)
_DOMAINS = ("Page", "Runtime", "Log", "Network", "Accessibility")
_HASTE = "{ const wait = setTimeout; window.setTimeout = (done, time) => wait(done, time > 5000 ? time / 20 : time); }"
"""What a page does after a while of many seconds it does soon: nobody waits for it here."""
_KEYS = {"Enter": (13, "\r"), "Tab": (9, ""), "Escape": (27, ""), " ": (32, " ")}


def program() -> str | None:
    """Chromium, under the names it has."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One browser with one page; ``async with`` runs it and ends it.

    ``complaints`` holds what the page's console shows as an error or warning: exceptions, what the content
    security policy forbade, files that were not there. ``addresses`` holds every URL the page asked for.
    """

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.addresses: list[str] = []
        self._folder = tempfile.TemporaryDirectory(prefix="fuagent-browser-", ignore_cleanup_errors=True)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._session = ""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            program() or "chromium",
            *_OPTIONS,
            f"--user-data-dir={self._folder.name}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        self._client = aiohttp.ClientSession()
        self._socket = await self._client.ws_connect(await self._address(), max_msg_size=0)
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._drain())]
        targets = await self.send("Target.getTargets")
        page = next(one for one in targets["targetInfos"] if one["type"] == "page")
        attached = await self.send("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in _DOMAINS:
            await self.send(f"{domain}.enable")
        await self.send("Page.addScriptToEvaluateOnNewDocument", source=_HASTE)
        return self

    async def __aexit__(self, *_error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._socket.close()
        await self._client.close()
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self._folder.cleanup()

    async def _address(self) -> str:
        assert self._process.stderr is not None
        async with asyncio.timeout(DEADLINE):
            async for line in self._process.stderr:
                if match := re.search(rb"DevTools listening on (ws://\S+)", line):
                    return match[1].decode()
        raise AssertionError("the browser did not start")

    async def _drain(self) -> None:
        """What the browser says of itself is nobody's business, but must not fill the pipe."""
        assert self._process.stderr is not None
        while await self._process.stderr.read(65536):
            pass

    async def _listen(self) -> None:
        async for message in self._socket:
            told = json.loads(message.data)
            if "id" in told:
                self._waiting.pop(told["id"]).set_result(told)
            else:
                self._heed(told["method"], told["params"])

    def _heed(self, method: str, told: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.addresses.append(told["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded" and told["entry"]["level"] in {"error", "warning"}:
            self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append(f"dialog: {told['message']}")

    async def send(self, method: str, **params: object) -> dict[str, Any]:
        """One command of the protocol; gives its result.

        Raises:
            AssertionError: the browser refuses it.
        """
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "method": method, "params": params}
        await self._socket.send_json(command | ({"sessionId": self._session} if self._session else {}))
        told = await asyncio.wait_for(answer, DEADLINE)
        assert "error" not in told, f"{method}: {told.get('error')}"
        return dict(told.get("result", {}))

    # ------------------------------------------------------------ what is there

    async def evaluate(self, expression: str) -> Any:
        """The value of JavaScript in the page; a promise is waited for.

        Raises:
            AssertionError: it throws.
        """
        told = await self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Wait until JavaScript is true in the page; gives its value."""
        return await until(lambda: self.evaluate(expression), expression)

    async def text(self, selector: str = "body") -> str:
        """The text that is seen there, but for lines far out of the window; empty where there is no such element."""
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    async def shows(self, text: str, selector: str = "body") -> None:
        """Wait until the text is seen there."""
        await until(lambda: self._shows(text, selector), f"{text!r} is seen in {selector}")

    async def _shows(self, text: str, selector: str) -> bool:
        return text in await self.text(selector)

    async def tree(self) -> list[tuple[str, str]]:
        """What a screen reader meets, in order: (role, name)."""
        told = await self.send("Accessibility.getFullAXTree")
        return [
            (str(node["role"]["value"]), str(node.get("name", {}).get("value", "")))
            for node in told["nodes"]
            if not node.get("ignored")
        ]

    # ------------------------------------------------------------ what a person does

    async def open(self, url: str) -> None:
        """Go to an address, and wait until the page is loaded, even where only its fragment differs."""
        for one in ("about:blank", url):
            await self.send("Page.navigate", url=one)
        await self.until(f"document.readyState === 'complete' && location.protocol === '{url.partition(':')[0]}:'")

    async def click(self, selector: str) -> None:
        """Press the mouse's button in the middle of what the selector finds."""
        name = json.dumps(selector)
        await self.until(
            f"(() => {{ const one = document.querySelector({name}); return one && one.checkVisibility(); }})()"
        )
        place = await self.evaluate(
            f"(() => {{ const one = document.querySelector({name}); one.scrollIntoView({{block: 'center'}});"
            " const {x, y, width, height} = one.getBoundingClientRect(); return [x + width / 2, y + height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.send("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    async def press(self, key: str, *, shift: bool = False) -> None:
        """Press one key."""
        code, text = _KEYS[key]
        held: Mapping[str, object] = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        await self.send("Input.dispatchKeyEvent", type="keyDown", **held, **({"text": text} if text else {}))
        await self.send("Input.dispatchKeyEvent", type="keyUp", **held)

    async def write(self, text: str) -> None:
        """Write text where the focus is."""
        await self.send("Input.insertText", text=text)

    # ------------------------------------------------------------ how it looks

    async def look(self, width: int = 1280, height: int = 1600, *, dark: bool = False, scale: float = 1) -> None:
        """The size of the window in CSS pixels, and the colours the person prefers."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def picture(self, path: Path) -> None:
        """Write what is seen as PNG."""
        told = await self.send("Page.captureScreenshot", format="png", optimizeForSpeed=False)
        path.write_bytes(base64.b64decode(told["data"]))
