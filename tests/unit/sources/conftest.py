"""Databases for the tests of sources."""

import pytest
from sqlite_world import World


@pytest.fixture
async def world(tmp_path):
    """A database in WAL mode."""
    made = World(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def rollback_world(tmp_path):
    """A database with a rollback journal."""
    made = World(tmp_path, wal=False)
    yield made
    await made.close()
