"""Secrets and row values that must turn up nowhere, and everywhere an agent can have written them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from harness import shop
from harness.agent import Agent

KEY = "canary/key+5b1f9e"
PASSWORD = "canary/password+c07d2a"
CLIENT_SECRET = "canary/client+88e1d4"
TOKEN = "canary.token.3f6c0b"
ROW = "canary-row"
"""Every text in a row begins with it, and every number with :data:`DIGITS`."""
DIGITS = "9182736455"

ENVIRONMENT = {"CANARY_KEY": KEY, "CANARY_PASSWORD": PASSWORD, "CANARY_CLIENT_SECRET": CLIENT_SECRET}


def forms(secret: str) -> set[bytes]:
    """A secret in every form in which it goes over a wire."""
    whole = {secret, f"fuagent:{secret}"}
    coded = {quote(one, safe="") for one in whole} | {base64.b64encode(one.encode()).decode() for one in whole}
    return {one.encode() for one in whole | coded}


SECRETS = frozenset(form for secret in (KEY, PASSWORD, CLIENT_SECRET, TOKEN) for form in forms(secret))
ROWS = frozenset({ROW.encode(), DIGITS.encode()})


def row(number: int) -> str:
    """What one row says."""
    return f"{ROW}-{number}-text"


def database(path: Path, rows: int = 5) -> None:
    """A table whose rows hold nothing but canaries."""
    made = shop.make(path, 0)
    values = ((int(f"{DIGITS}{number:03}"), row(number), float(f"{DIGITS}.5")) for number in range(1, rows + 1))
    made.executemany("INSERT INTO orders VALUES (?, ?, ?, 1)", values)
    made.close()


def settings(directory: Path, document: str, tokens: str, **sync: Any) -> dict[str, Any]:
    """Three syncs of the same table, each with a secret of its own kind."""
    credentials: dict[str, dict[str, str]] = {
        "key": {"key": "${CANARY_KEY}"},
        "password": {"user": "fuagent", "password": "${CANARY_PASSWORD}"},
        "token": {"client_id": "fuagent", "client_secret": "${CANARY_CLIENT_SECRET}", "token_url": tokens},
    }
    return {
        "agent_id": "agent-0123456789ab",
        "sources": {"shop": {"driver": "sqlite", "endpoint": f"sqlite:///{directory / 'shop.db'}"}},
        "pushers": {
            f"with-{kind}": {"driver": "openapi", "endpoint": document, "credential": credential}
            for kind, credential in credentials.items()
        },
        "syncs": {
            f"by-{kind}": {"source": "shop", "pusher": f"with-{kind}", "tables": ["orders"], "timeout": 1.0, **sync}
            for kind in credentials
        },
    }


async def traces(agent: Agent) -> dict[str, bytes]:
    """All that the agent shows and has written, by where; asked while it runs."""
    assert agent.process is not None
    found: dict[str, bytes] = {}
    asked = (["status"], ["status", "--json"])
    answers = await asyncio.gather(*(agent.call("--debug", *arguments) for arguments in asked))
    for arguments, (_, out, err) in zip(asked, answers, strict=True):
        found[" ".join(arguments)] = (out + err).encode()
    base = await agent.window()
    async with aiohttp.ClientSession() as session:
        for path in ("/metrics", "/readyz", "/healthz", "/console/api/state"):
            async with session.get(base + path) as response:
                found[path] = await response.read()
        for sync in [one["name"] for one in json.loads(found["/console/api/state"])["syncs"]]:
            path = f"/console/api/syncs/{sync}"
            async with session.get(base + path) as response:
                assert response.status == 200
                found[path] = await response.read()
    found["the command line"] = Path(f"/proc/{agent.process.pid}/cmdline").read_bytes()
    return found | written(agent)


def written(agent: Agent) -> dict[str, bytes]:
    """Every file below the agent's directory but the database itself."""
    files = (path for path in agent.directory.rglob("*") if path.is_file() and not path.name.startswith("shop.db"))
    return {str(path.relative_to(agent.directory)): path.read_bytes() for path in files}


def leaks(found: Mapping[str, bytes], forbidden: frozenset[bytes] = SECRETS | ROWS) -> list[str]:
    """Where something stands that must not, and what is around it."""
    return [
        f"{place}: …{text[max(0, at - 120) : at + 60]!r}…"
        for place, text in found.items()
        for one in forbidden
        if (at := text.find(one)) >= 0
    ]
