"""The suites fail for drivers that break a promise, each by the test that is about it."""

import broken_pushers
import broken_sources
import pytest

from fuagent.testing import leftovers

pytest_plugins = ["pytester"]

SOURCES = """
from broken_sources import {driver}
from memory_kit import MemoryKit

from fuagent.testing.source_suite import SourceSuite


class Kit(MemoryKit):
    Driver = {driver}


class TestBroken(SourceSuite):
    Kit = Kit
    no_roll_back = no_replace = "not in memory"
"""

PUSHERS = """
from broken_pushers import {driver}
from service_kit import ACTS, SAID, ServiceKit

from fuagent.testing.pusher_kit import Act, Said
from fuagent.testing.pusher_suite import PusherSuite


class Kit(ServiceKit):
    Driver = {driver}


class TestBroken(PusherSuite):
    Kit = Kit
    no_act = dict.fromkeys(set(Act) - set(ACTS), "not in memory")
    no_said = dict.fromkeys(set(Said) - set(SAID), "not in memory")
    no_rotate = "not in memory"
"""


def failures(pytester, monkeypatch, text):
    """The tests of the suite in ``text`` that fail."""
    # What is left behind stays so: nobody has to wait for it.
    monkeypatch.setattr(leftovers, "PATIENCE", 0.0)
    pytester.makepyfile(test_broken=text)
    ran = pytester.inline_run(*(f"-pno:{plugin}" for plugin in ("asyncio", "randomly", "cacheprovider")), "--tb=no")
    _, skipped, failed = ran.listoutcomes()
    return [report.nodeid.rpartition("::")[2] for report in failed], skipped


@pytest.mark.parametrize("driver", broken_sources.CAUGHT_BY, ids=lambda driver: driver.__name__)
def test_a_broken_source_is_caught(pytester, monkeypatch, driver):
    """A driver that breaks a promise fails the test of that promise."""
    failed, _ = failures(pytester, monkeypatch, SOURCES.format(driver=driver.__name__))

    assert broken_sources.CAUGHT_BY[driver] in failed


@pytest.mark.parametrize("driver", broken_pushers.CAUGHT_BY, ids=lambda driver: driver.__name__)
def test_a_broken_pusher_is_caught(pytester, monkeypatch, driver):
    """A driver that breaks a promise fails the test of that promise."""
    failed, _ = failures(pytester, monkeypatch, PUSHERS.format(driver=driver.__name__))

    assert broken_pushers.CAUGHT_BY[driver] in failed


def test_what_is_left_out_says_why(pytester, monkeypatch):
    """A promise that cannot be shown is a skipped test with the author's own reason."""
    failed, skipped = failures(pytester, monkeypatch, SOURCES.format(driver="MemorySource"))

    assert failed == []
    assert {report.longrepr[2] for report in skipped} == {
        "Skipped: TestBroken.no_roll_back: not in memory",
        "Skipped: TestBroken.no_replace: not in memory",
    }


def test_a_kit_that_lacks_a_method_fails(pytester, monkeypatch):
    """Nothing is left out without a reason."""
    text = SOURCES.format(driver="MemorySource").replace("no_roll_back = ", "")
    failed, _ = failures(pytester, monkeypatch, text)

    assert failed == ["test_what_is_rolled_back_never_comes"]
