"""The whole engine under seeds, and the oracle under bugs.

``FUAGENT_SEEDS`` says how many seeds are run (200), ``FUAGENT_SEED`` picks a single one.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import simulate
from simulated_bugs import BUGS
from simulated_nemesis import SITUATIONS

from harness.agent import unmeasured

# To count is half of the work, and what is covered is shown by tests that look at it.
pytestmark = pytest.mark.no_cover

SEEDS = int(os.environ.get("FUAGENT_SEEDS", "200"))
WITHIN = 200
"""Seeds within which a bug must be caught."""


def test_every_promise_holds():
    """Whatever happens in whatever order, nothing is lost, order is kept, and a gap is never silent."""
    chosen = os.environ.get("FUAGENT_SEED")
    seeds = range(int(chosen), int(chosen) + 1) if chosen else range(SEEDS)
    failed = ""
    reached: set[str] = set()
    for seed in seeds:
        played = simulate.play(seed)
        reached |= {situation for situation, times in played.reached.items() if times}
        if played.failure:
            failed = f"FUAGENT_SEED={seed}\n{played.failure}"
            break

    assert failed == ""
    # A run that never reached a situation says nothing about it.
    if len(seeds) >= WITHIN:
        assert [situation for situation in SITUATIONS if situation not in reached] == []


@pytest.mark.parametrize("bug", BUGS)
def test_oracle_catches(bug):
    """Each bug that was planted breaks a promise within 200 seeds, none of which breaks one without it."""
    caught = next((seed for seed in range(WITHIN) if simulate.play(seed, bug).failure), None)

    assert caught is not None
    assert simulate.play(caught).failure == ""


def test_seed_replays():
    """A seed is the same life to the last byte, in another process with other hashes too."""
    code = "import simulate; print(*[simulate.play(seed).digest for seed in range(12)])"
    lives = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parent,
            env={**unmeasured(), "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for hashes in ("1", "2")
    ]

    assert lives[0] == lives[1]
    assert len(set(lives[0])) == 12


def test_report_names_the_seed():
    """What failed is printed with its seed, the promise and the steps before it."""
    played = [simulate.play(seed, "follow redirects") for seed in range(8)]
    text = simulate.report(played, 1.0)

    first = next(one for one in played if one.failure)
    assert f"FUAGENT_SEED={first.seed}\n" in text
    assert "wire: back" in text
    assert "Never reached: " in text
