"""Which tests may be left out, and why: on Debian as root every other skip is a failure.

There everything is at hand, or `scripts/system-packages tests` fetches it. So a test
that does not run there has lost what it needs, and nobody would notice.
``SKIPS=told`` only tells of such tests, as everywhere else.
"""

from __future__ import annotations

import os
import platform
import re

import pytest

VERSION = re.compile(r"needs PostgreSQL (?:before \d+|\d+ or later)")
"""What one version of the server alone can show: `make test-versions` has them all."""

ELSEWHERE = re.compile(r"recorded [a-z]+ .*\(set FUAGENT_FIXTURES\)|no contract to read the quickstart from at .*")
"""What was recorded or written elsewhere is no part of this project."""

SERVER = re.compile(r"this server has no \w+|the server's messages are there in English alone")
"""What Debian's package of a server has or lacks: it differs by release, and by what an image leaves out."""

SUITE = re.compile(r"Test\w+\.no_\w+(?:\[\w+\])?: (.+)")
"""A test of the suites for drivers that a driver's kit cannot be put to, and the reason it gives."""

NOT_SUITED = {
    "a database in memory is itself; another one is another object",
    "a file answers nothing",
    "a transaction in memory is made whole, and cannot fail",
    "memory answers at once",
    "memory has no wire to be cut, silent or led elsewhere",
    "nobody answers to what is printed: it is out, or cannot be written",
    "nothing of fuagent's is ever in the database",
    "numbers come from the log alone; what oldest() gives lies above by a base kept in the database",
    "the file is not asked; the journal remembers",
    "the server purges by age, whatever was acknowledged; tests/e2e/test_mysql_places.py has it outrun the agent",
    "there is no connection to cut: the database is a file",
    "there is no credential",
    "what a session hides with sql_log_bin = 0 leaves no trace on the server",
    "what is printed is not asked for; the journal remembers",
    "with a rollback journal SQLite lets nobody commit while a picture is read; check says so",
}


def expected(reason: str) -> bool:
    """Whether a test may be left out for this reason, wherever it runs."""
    suite = SUITE.fullmatch(reason)
    if suite:
        return suite[1] in NOT_SUITED
    return any(known.fullmatch(reason) for known in (VERSION, ELSEWHERE, SERVER))


def forbidden() -> bool:
    """Whether nothing may be left out here but for an expected reason."""
    return os.geteuid() == 0 and _system() == "debian" and os.environ.get("SKIPS") != "told"


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("ID", "")
    except OSError:
        return ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A test left out for no expected reason has failed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        _judge(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Likewise a whole file."""
    report = yield
    if report.skipped:
        _judge(report)
    return report


def _judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Make a failure of a skip that nobody expects."""
    assert isinstance(report.longrepr, tuple)
    reason = report.longrepr[2].removeprefix("Skipped: ")
    if not expected(reason) and forbidden():
        report.outcome = "failed"
        report.longrepr = (
            f"left out ({reason}), and nothing may be on Debian as root: give the test what it needs, enter the "
            "reason in tests/harness/skips.py, or set SKIPS=told"
        )
