"""One browser for all tests of a process; they share its event loop."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from harness.browser import Browser, program


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running() -> AsyncIterator[Browser]:
    """A browser."""
    if program() is None:
        pytest.skip("there is no chromium here; scripts/system-packages tests installs it")
    async with Browser() as one:
        yield one


@pytest_asyncio.fixture(loop_scope="session")
async def browser(running: Browser) -> Browser:
    """The browser, with a window of the usual size, and nothing remembered of other tests."""
    await running.open("about:blank")
    await running.look()
    running.complaints.clear()
    running.addresses.clear()
    return running
