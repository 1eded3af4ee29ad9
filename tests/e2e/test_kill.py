"""The agent killed with SIGKILL at random moments, in process and for real."""

import os
from pathlib import Path

import pytest

from harness import killing

SOURCES = ["sqlite", "mariadb", "postgres"]
KILLS = -(-int(os.environ.get("KILLS", "20")) // len(SOURCES))
"""In front of each source."""
SEED = int(os.environ.get("SEED", "1"))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.fault("F64")
async def test_nothing_is_lost_however_often_it_is_killed(source: str, tmp_path: Path, orders) -> None:
    """Both sides are equal, no version goes back, no stream row is applied twice, one index is one row."""
    report = await killing.run(tmp_path, orders(source, 600), KILLS, SEED)

    assert report.faults == [], report
    assert report.kills == KILLS
