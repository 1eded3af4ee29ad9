"""Which tests come first where several workers share a run: those that take long, a part of them to each worker.

At the end there are then only short ones left, and no worker runs a long test alone while the others have nothing to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")
LONG = frozenset({"contract", "docs", "e2e", "simulation", "soak"})
"""Folders below ``tests`` where whole agents run, or whole lives are played."""


@pytest.hookimpl(trylast=True)  # behind what shuffles them
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put them in the order in which workers take them."""
    workers: int = getattr(config, "workerinput", {}).get("workercount", 1)
    tests = Path(config.rootpath) / "tests"
    modules: dict[Path, list[pytest.Item]] = {}
    for item in items:
        modules.setdefault(item.path, []).append(item)
    long = [module for path, module in modules.items() if _below(path, tests) in LONG]
    short = [module for path, module in modules.items() if _below(path, tests) not in LONG]
    items[:] = deal(long, short, workers)


def _below(path: Path, tests: Path) -> str:
    return path.relative_to(tests).parts[0] if path.is_relative_to(tests) else ""


def deal(long: Sequence[Sequence[T]], short: Sequence[Sequence[T]], workers: int) -> list[T]:
    """One hand after the other, each as large as the share its worker begins with: long modules first, none torn."""
    rest = [test for module in short for test in module]
    dealt: list[T] = []
    left = sum(map(len, long)) + len(rest)
    for worker in range(workers):
        hand = [test for module in long[worker::workers] for test in module]
        wanted = max(0, left // (workers - worker) - len(hand))
        hand += rest[:wanted]
        del rest[:wanted]
        left -= len(hand)
        dealt += hand
    return dealt + rest
