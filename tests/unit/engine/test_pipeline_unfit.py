"""Rows that a transform fails on go the way of ``on_reject``, without asking the service."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engine_world import World

from fuagent.engine.reporter import GO_ON
from fuagent.testing.memory import MemorySource

REASON = "transform shop:tidy failed with KeyError"


@pytest.fixture(autouse=True)
def unfit(monkeypatch):
    """A source whose transform fails on every row of key 2."""
    whole = MemorySource._cut

    def cut(self, *given, numbered):
        for rows in whole(self, *given, numbered=numbered):
            yield replace(rows, refused=REASON) if b'"id":2' in b"".join(rows.rows) else rows

    monkeypatch.setattr(MemorySource, "_cut", cut)


def test_halt():
    """By default the sync halts, says which function failed how, and sends nothing of the row."""
    world = World()
    world.chunk = 1

    async def story(world: World) -> None:
        await world.following(1)
        requests = len(world.service.requests)
        world.put(2)
        await world.until(lambda: world.pipeline.halted)

        assert f"one row of table a cannot be sent: {REASON}." in world.progress.problem
        assert world.progress.fix == f"Mend the function, or set on_reject: set_aside. {GO_ON}"
        assert len(world.service.requests) == requests

    world.run(story)


def test_set_aside():
    """With set_aside the row is kept as it was, and what follows arrives."""
    world = World(on_reject="set_aside")
    world.chunk = 1

    async def story(world: World) -> None:
        await world.following(1)
        world.put(2)
        world.put(3)
        await world.until(lambda: ("a", 3) in world.service.rows())
        [row] = world.sync.journal.rejected()

        assert (row.table, row.status, row.reason) == ("a", None, REASON)
        assert b'"id":2' in row.event
        assert ("a", 2) not in world.service.rows()

    world.run(story)


def test_row_after_row():
    """A function that fails on one row after the other is broken: the sync halts."""
    world = World(on_reject="set_aside")
    world.chunk = 1

    async def story(world: World) -> None:
        await world.following(1)
        world.put(2)
        world.put(2)
        await world.until(lambda: world.pipeline.halted)

        assert world.progress.problem.endswith("So it goes row after row.")
        assert world.progress.fix == f"Mend the function. {GO_ON}"

    world.run(story)
