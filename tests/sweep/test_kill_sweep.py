"""Many lives of the agent, over several databases of each kind; the report is kept as evidence."""

import os
from pathlib import Path

import pytest

from harness import killing

KILLS = int(os.environ.get("KILLS", "200"))
SOURCES = (os.environ.get("SOURCE") or "sqlite mariadb postgres").split()
"""Kinds of databases."""
LIVES = 20
SEEDS = range(1, max(1, KILLS // LIVES) + 1)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_is_lost(source: str, seed: int, tmp_path: Path, orders) -> None:
    """Twenty kills on a database of its own, half of them with a large table so that the snapshot is cut often."""
    report = await killing.run(tmp_path, orders(source, 4000 if seed % 2 else 300), LIVES, seed)

    if evidence := os.environ.get("EVIDENCE"):
        path = Path(evidence) / f"kill-sweep-{source}.txt"
        with path.open("w" if seed == SEEDS[0] else "a") as file:
            file.write(
                f"seed {report.seed}: {report.kills} kills ({dict(report.killed_in)}), {report.changes} changes,"
                f" {report.requests} requests, {report.events} events, {report.repeated} repeated,"
                f" {report.snapshots} end markers, faults: {report.faults or 'none'}\n"
            )
    assert report.faults == [], report
