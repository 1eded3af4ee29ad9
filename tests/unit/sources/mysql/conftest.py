"""Connections for the tests of MySQL's parts."""

from contextlib import AsyncExitStack

import pytest
from mysql_links import Opened

from harness.scripted_mysql import ScriptedMySQL


@pytest.fixture
async def scripting():
    """Starts scripted servers that the test need not end: ``await scripting(tls=…)``."""
    async with AsyncExitStack() as stack:

        async def start(kind=ScriptedMySQL, **options):
            return await stack.enter_async_context(kind(**options))

        yield start


@pytest.fixture
async def opened(scripting):
    """Opens links that the test need not close; they are closed before the servers end."""
    made = Opened()
    yield made
    await made.close()
