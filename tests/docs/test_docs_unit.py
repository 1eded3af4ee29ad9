"""The unit for systemd that the guide shows: without a mistake, without root, without what an agent does not need."""

import re
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze: scripts/system-packages tests"
)

MOST = 20
"""Tenths of the exposure that systemd counts, of 100; a unit without any of these lines has 96."""


@pytest.fixture
def unit(root, tmp_path):
    """The unit with a program that is there."""
    path = tmp_path / "fuagent.service"
    text = (root / "deploy" / "systemd" / "fuagent.service").read_text(encoding="utf-8")
    path.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", text, flags=re.MULTILINE))
    return path


def analyze(*arguments):
    """What systemd says, and whether it is content."""
    done = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, env={"SYSTEMD_COLORS": "0"}
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.fault("S44")
def test_the_unit_has_no_mistake(unit):
    """Every key is known, every value makes sense."""
    assert analyze("verify", str(unit)) == (0, "")


@pytest.mark.fault("S44")
def test_the_unit_leaves_little_to_whoever_takes_the_agent_over(unit):
    """A user of its own, a file system that is read-only, no new privileges; and few lines short of all there are."""
    code, said = analyze("security", "--offline=true", f"--threshold={MOST}", "--no-pager", str(unit))
    text = unit.read_text()

    assert code == 0, said
    assert {"User=fuagent", "ProtectSystem=strict", "NoNewPrivileges=yes", "CapabilityBoundingSet="} <= set(
        text.splitlines()
    )

    unit.write_text(re.sub("^(NoNewPrivileges|ProtectSystem|SystemCallFilter|User)=.*\n", "", text, flags=re.MULTILINE))
    assert analyze("security", "--offline=true", f"--threshold={MOST}", "--no-pager", str(unit))[0] != 0


def test_the_unit_leaves_the_metrics_of_the_process(root):
    """Memory, processor time and open files on the dashboard come from /proc/stat too; without it there is none of them."""
    text = (root / "deploy" / "systemd" / "fuagent.service").read_text(encoding="utf-8")

    assert "ProcSubset=" not in re.sub("^#.*\n", "", text, flags=re.MULTILINE)


def test_its_command_is_one_there_is(root):
    """What it starts is taken by the command line as it stands."""
    text = (root / "deploy" / "systemd" / "fuagent.service").read_text(encoding="utf-8")
    [command] = re.findall(r"^ExecStart=\S+ (.+)$", text, re.MULTILINE)
    done = subprocess.run([sys.executable, "-m", "fuagent", *command.split(), "--help"], check=False)

    assert done.returncode == 0
