"""The agent killed with SIGKILL at random moments, in process and for real."""

import os
from pathlib import Path

from harness import killing

KILLS = int(os.environ.get("KILLS", "20"))
SEED = int(os.environ.get("SEED", "1"))


async def test_nothing_is_lost_however_often_it_is_killed(tmp_path: Path) -> None:
    """Both sides are equal, no version goes back, no stream row is applied twice, one index is one row."""
    report = await killing.run(tmp_path, KILLS, SEED)

    assert report.faults == [], report
    assert report.kills == KILLS
