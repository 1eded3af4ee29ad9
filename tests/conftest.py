"""What holds for every test.

``SEEDS=1000`` lets each property look at that many examples; the default suits `make test`.
A failing example is kept in ``.hypothesis/`` and tried first next time.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

from harness import latecomers

# The suites for drivers are tests as well: a failing one shows what it compared.
pytest.register_assert_rewrite("fuagent.testing")

pytest_plugins = ["harness.databases", "harness.host", "harness.skips", "harness.turns"]

latecomers.see_off()

settings.register_profile(
    "fuagent",
    deadline=None,  # a busy machine is no failure
    max_examples=int(os.environ.get("SEEDS") or 100),
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fuagent")
