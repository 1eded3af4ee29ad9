"""What a driver's tests import costs only what it needs."""

import os
import subprocess
import sys

WITHOUT = """
import sys
sys.modules["pytest"] = None  # importing it fails
from fuagent.testing import clock, database, leftovers, memory, pusher_kit, service, source_kit
print(clock.ManualClock().time() > 0, "pytest" in sys.modules and sys.modules["pytest"] is None)
"""


def test_only_the_suites_need_pytest():
    """Source, service, clock and kits are there without it."""
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, env=unmeasured)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "True"]
