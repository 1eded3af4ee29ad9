"""Many deaths of the agent between every two effects that outlast it; the report is kept as evidence."""

import os
from collections import defaultdict
from pathlib import Path

import pytest

from harness.dying import Told, everywhere

KILLS = int(os.environ.get("KILLS", "200"))
SOURCES = (os.environ.get("SOURCE") or "sqlite mariadb postgres").split()
STORIES = [(source, seed) for source in SOURCES for seed in range(1, 2 + KILLS // len(everywhere(source)))]
TOLD: dict[str, Told] = defaultdict(Told)
"""What came of the stories so far, by source."""


@pytest.mark.parametrize(("source", "seed"), STORIES)
async def test_nothing_is_lost_wherever_it_dies(source: str, seed: int, stories) -> None:
    """A whole story with a database of its own: in the first one each point is passed once, then up to six times."""
    told = TOLD[source]
    async with stories(source, seed, told=told) as story:
        await story.whole(again=1 if seed == 1 else 6)

    if evidence := os.environ.get("EVIDENCE"):
        (Path(evidence) / f"crash-sweep-{source}.txt").write_text(told.text(source, seed))
    assert [point for point in everywhere(source) if told.died[point] < seed] == []
