"""How the suites run: each test in an event loop of its own, with a kit made for it. Needs pytest."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest


def needs(suite: object, ability: str) -> None:
    """Leave a test out if the suite's author says why; the reason is shown."""
    reason = getattr(suite, f"no_{ability}")
    if reason:
        pytest.skip(f"{type(suite).__name__}.no_{ability}: {reason}")


def with_kit(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Make ``test(self, kit)`` one that pytest runs without any plugin."""

    @wraps(test)
    def run(self: Any, tmp_path: Path, **given: Any) -> None:
        asyncio.run(_run(test, self, tmp_path, given))

    # What pytest reads to know which fixtures and parameters to give.
    own, kit, *others = inspect.signature(test).parameters.values()
    run.__signature__ = inspect.Signature([own, kit.replace(name="tmp_path"), *others])  # type: ignore[attr-defined]
    return run


async def _run(test: Callable[..., Awaitable[None]], suite: Any, directory: Path, given: dict[str, Any]) -> None:
    async with suite.Kit(directory) as kit:
        try:
            await test(suite, kit, **given)
        finally:
            await kit.finish()
