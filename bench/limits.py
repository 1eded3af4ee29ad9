"""Runs one limit in a process of its own, which prints a rate.

Arguments: which one, and as one text of JSON what it needs.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp

BATCH = 1000
Told = dict[str, Any]


async def bodies(told: Told) -> float:
    """Rows a second of posting bodies that are ready, ``BATCH`` rows to each."""
    body = b'[{"id":1,"text":"%b"}]' % (b"x" * (told["bytes"] * BATCH))
    headers = {"content-type": "application/json"}
    count, start = 0, time.perf_counter()
    async with aiohttp.ClientSession() as session:
        while count < told["rows"]:
            async with session.post(told["url"], data=body, headers=headers) as answer:
                await answer.read()
            count += BATCH
    return count / (time.perf_counter() - start)


def run(measures: Mapping[str, Callable[[Told], Awaitable[float]]]) -> None:
    """Print the rate that the command line asks for."""

    async def measured() -> float:
        return await {**measures, "bodies": bodies}[sys.argv[1]](json.loads(sys.argv[2]))

    print(asyncio.run(measured()))
