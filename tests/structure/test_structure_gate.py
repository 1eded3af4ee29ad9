"""The coverage gate fails when a room falls below its floor, and only then."""

import json
import subprocess
import sys

import pytest
from tree import ROOT


def gate(tmp_path, files):
    """Run the gate on a report that gives each file (statements, branches, of them run)."""
    names = ("num_statements", "num_branches", "covered_lines", "covered_branches")
    report = {"files": {path: {"summary": dict(zip(names, counts, strict=True))} for path, counts in files.items()}}
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps(report))
    command = [sys.executable, str(ROOT / "scripts" / "coverage_gate.py"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("path", "counts", "expected"),
    [
        ("src/fuagent/contract/spec.py", (100, 20, 100, 20), 0),
        ("src/fuagent/contract/spec.py", (100, 20, 100, 19), 1),
        ("src/fuagent/wire/mysql/rows.py", (1000, 0, 999, 0), 1),
        ("src/fuagent/encode/compile.py", (10, 2, 9, 2), 1),
        ("src/fuagent/engine/batcher.py", (100, 10, 100, 9), 1),
        ("src/fuagent/engine/retry.py", (100, 10, 99, 10), 1),
        ("src/fuagent/engine/lifecycle.py", (100, 10, 100, 9), 1),
        ("src/fuagent/engine/pipeline.py", (90, 10, 85, 5), 0),
        ("src/fuagent/engine/pipeline.py", (90, 10, 84, 5), 1),
        ("src/fuagent/config_keys.py", (90, 10, 84, 5), 1),
        ("lib/python3.11/site-packages/fuagent/contract/spec.py", (100, 20, 100, 19), 1),
    ],
)
def test_each_room_has_its_floor(tmp_path, path, counts, expected):
    """Pure rooms owe every line and branch, all others nine of ten."""
    code, _ = gate(tmp_path, {path: counts})

    assert code == expected


def test_a_room_is_counted_as_one(tmp_path):
    """Modules of one room are added up, and a failing room names the module and what is missing there."""
    files = {
        "src/fuagent/config.py": (50, 0, 50, 0),
        "src/fuagent/config_keys.py": (50, 0, 41, 0),
        "src/fuagent/contract/spec.py": (10, 4, 10, 1),
    }

    code, text = gate(tmp_path, files)

    assert code == 1
    assert [line.split()[:4] for line in text.splitlines()[1:]] == [
        ["config", "100", "91", "91.00%"],
        ["contract/", "14", "11", "78.57%"],
    ]
    assert "BELOW: spec.py (3)" in text


def test_an_empty_report_fails(tmp_path):
    """A run that measured nothing proves nothing."""
    code, text = gate(tmp_path, {})

    assert code == 1
    assert "nothing was measured" in text
