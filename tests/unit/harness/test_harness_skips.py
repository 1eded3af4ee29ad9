"""A test that is left out without an expected reason fails the run, where everything is at hand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import skips

TESTS = Path(__file__).parents[2]

FILES = {
    "test_one.py": "import pytest\n\ndef test_a():\n    pytest.skip('needs PostgreSQL 17 or later')\n\n"
    "def test_b():\n    pytest.skip('the moon is up')\n\n"
    "@pytest.mark.skipif(True, reason='the sun is up')\ndef test_c(): ...\n\n"
    "def test_d():\n    pytest.xfail('known')\n",
    "test_two.py": "import pytest\npytest.skip('no such thing here', allow_module_level=True)\n",
}


@pytest.fixture
def run(tmp_path):
    """Runs those files: the exit code, and the lines that tell of each."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)

    def made(forbidden, *arguments):
        (tmp_path / "conftest.py").write_text(f"from harness import skips\nskips.forbidden = lambda: {forbidden}\n")
        command = [sys.executable, "-m", "pytest", "-rsfE", "-p", "harness.skips", "-p", "no:randomly", *arguments]
        env = {name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE", "PYTEST"))}
        done = subprocess.run(
            [*command, "--rootdir", str(tmp_path), "-c", "/dev/null", str(tmp_path)],
            capture_output=True,
            text=True,
            env={**env, "PYTHONPATH": str(TESTS), "COLUMNS": "300"},
            check=False,
        )
        told = [line for line in done.stdout.splitlines() if line.startswith(("SKIPPED", "FAILED", "ERROR "))]
        return done.returncode, told

    return made


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["alone", "workers"])
def test_an_unexpected_skip_fails_the_run(run, arguments):
    """A test, one marked, and a whole file: each is told with its reason; an expected one is left out as before."""
    code, told = run(True, "--continue-on-collection-errors", *arguments)

    assert code != 0
    assert sorted(line.split()[0] for line in told) == ["ERROR", "ERROR", "FAILED", "SKIPPED"]
    for word in ("the moon is up", "the sun is up", "no such thing here"):
        assert [line for line in told if f"left out ({word})" in line and not line.startswith("SKIPPED")], told


def test_elsewhere_it_is_told(run):
    """Where not everything is at hand, nothing fails."""
    code, told = run(False)

    assert code == 0
    assert [line.split()[0] for line in told] == ["SKIPPED"] * 4


@pytest.mark.parametrize(
    ("reason", "may"),
    [
        ("needs PostgreSQL 17 or later", True),
        ("needs PostgreSQL before 13", True),
        ("needs PostgreSQL", False),
        ("recorded logs are not at /nowhere/binlogs (set FUAGENT_FIXTURES)", True),
        ("no contract to read the quickstart from at contract.md", True),
        ("this server has no UUID", True),
        ("TestStdout.no_act[CUT]: nobody answers to what is printed: it is out, or cannot be written", True),
        ("TestStdout.no_rotate: there is no credential", True),
        ("TestStdout.no_rotate: it was late", False),
        ("there is no credential", False),
        ("needs a MariaDB server: scripts/system-packages tests", False),
    ],
)
def test_reasons_are_expected_one_by_one(reason, may):
    """Versions of a server, and what a driver's kit names; nothing that a machine could lack."""
    assert skips.expected(reason) is may


def test_where_nothing_may_be_left_out(monkeypatch):
    """On Debian as root, unless told otherwise."""
    system = {"ID": "debian"}
    monkeypatch.setattr(skips.platform, "freedesktop_os_release", lambda: system)
    monkeypatch.setattr(skips.os, "geteuid", lambda: 0)
    monkeypatch.delenv("SKIPS", raising=False)
    assert skips.forbidden()

    monkeypatch.setenv("SKIPS", "told")
    assert not skips.forbidden()
    monkeypatch.delenv("SKIPS")
    monkeypatch.setattr(skips.os, "geteuid", lambda: 1000)
    assert not skips.forbidden()
    monkeypatch.setattr(skips.os, "geteuid", lambda: 0)
    system["ID"] = "fedora"
    assert not skips.forbidden()
