"""Bugs planted into the HTTP client and the sources of a real agent: each is found, or the crash sweep is no evidence.

Here one for each kind of database; `make sweep` plants them all.
"""

from __future__ import annotations

import pytest

from harness.dying import FEW_DEATHS, short, shorts
from harness.planted import BUGS

FEW = ("acknowledged before the 2xx", "redirects followed", "confirmed on keepalive")


@pytest.mark.slow
@pytest.mark.parametrize("bug", FEW)
async def test_bug_is_found(bug: str, stories) -> None:
    """Both sides differ, or something was done that nothing called for."""
    with pytest.raises(AssertionError, match=BUGS[bug].found):
        await shorts(lambda seed: stories(BUGS[bug].source, seed, bug=bug))


@pytest.mark.slow
async def test_nothing_is_found_without_a_bug(stories) -> None:
    """The same lives, as the agent is."""
    story = stories("postgres", 1)
    await short(story)

    assert story.told.died.total() >= len(FEW_DEATHS)
