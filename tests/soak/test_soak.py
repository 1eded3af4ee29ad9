"""A short soak on each kind of database: what `make soak` does for half an hour."""

from __future__ import annotations

import pytest
from soak_course import Plan
from soak_run import soak

from harness.nemesis import SEED

PLAN = Plan(seconds=6, rate=300, seed=SEED, pauses=(0.1, 0.5), scale=0.15, ddl=1.5, strikes=6, killing=1.0)
"""The agent dies until the end here, and everything follows sooner than in a long run."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mariadb", "postgres", "sqlite"])
async def test_nothing_is_lost_while_everything_breaks(kind, tmp_path, request):
    """Every commit arrives, in order, and both sides are equal in the end, whatever broke on the way."""
    template = None if kind == "sqlite" else request.getfixturevalue(f"{kind}_template")
    course, _title = await soak(PLAN, kind, tmp_path, template)

    assert course.faults == []
    assert course.to_zero is not None, "the service never had everything again"
    assert course.audits > 0
    assert len(course.strikes) >= PLAN.strikes
    assert sum(course.writers["tx"].values()) > 100
    assert course.service["counts"]["changes"] > 100
