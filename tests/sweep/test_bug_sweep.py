"""Every bug that can be planted into the HTTP client and the sources of a real agent is found."""

import os

import pytest

from harness.dying import FEW_DEATHS, short, shorts
from harness.planted import BUGS

SOURCES = (os.environ.get("SOURCE") or "sqlite mariadb postgres").split()


@pytest.mark.parametrize("bug", [name for name, bug in BUGS.items() if bug.source in SOURCES])
async def test_bug_is_found(bug: str, stories) -> None:
    """Both sides differ, or something was done that nothing called for."""
    with pytest.raises(AssertionError, match=BUGS[bug].found):
        await shorts(lambda seed: stories(BUGS[bug].source, seed, bug=bug))


@pytest.mark.parametrize("source", SOURCES)
async def test_nothing_is_found_without_a_bug(source: str, stories) -> None:
    """The same lives, as the agent is."""
    story = stories(source, 1)
    await short(story)

    assert story.told.died.total() >= len(FEW_DEATHS)
