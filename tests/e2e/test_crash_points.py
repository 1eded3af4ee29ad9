"""A real agent that dies between every two effects that outlast it, and goes on in its next life."""

from __future__ import annotations

import pytest

from fuagent.journal import Journal
from harness.convergence import differences
from harness.dying import Chapter, parts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "part"), [(source, part) for source in ("sqlite", "mariadb", "postgres") for part in parts(source)]
)
async def test_nothing_is_lost_wherever_it_dies(source: str, part: str, stories) -> None:
    """After a death at every point, from the first start on, both sides are equal and the order is kept."""
    async with stories(source, seed=1) as story:
        if part != "snapshot":
            await story.calm()
        await story.part(part)
        await story.rest()

    assert [point for point in parts(source)[part] if not story.told.died[point]] == []


@pytest.mark.slow
async def test_refused_row_is_kept_once(stories) -> None:
    """A row that is set aside stays so when the agent dies right behind it, and when it is met again it is no second one."""
    async with stories("sqlite", seed=1, sync={"on_reject": "set_aside"}) as story:
        [workload] = story.workloads
        refused = story.service.refused = sorted(workload.state.rows)[30]
        await story.chapter(Chapter(("row set aside",) * 2, written=False))
        await story.calm()

    journal = Journal.open(story.agent.state_dir)
    kept = journal.sync("orders-sync").rejected()
    journal.close()
    assert [one.table for one in kept] == [workload.table]
    assert differences(story.service, workload) == [f"row {refused} is missing"]
