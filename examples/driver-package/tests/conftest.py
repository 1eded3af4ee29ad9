"""Failing tests of the suites show what they compared."""

import pytest

pytest.register_assert_rewrite("fuagent.testing")
