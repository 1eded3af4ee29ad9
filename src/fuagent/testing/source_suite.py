"""The promises of a source as tests: subclass :class:`SourceSuite`, name your kit, and let pytest run it.

::

    import pytest

    pytest.register_assert_rewrite("fuagent.testing")  # in conftest.py: failing tests then show values

    class Kit(SourceKit): ...

    class TestMySource(SourceSuite):
        Kit = Kit
        no_interrupt = "a file has no connection"

Every ``no_…`` attribute is empty, which means that the driver keeps the promise and the kit can
show it. One that is not holds the reason why not, and pytest shows it beside the test that is left
out. The suite needs pytest and nothing else; each test runs in an event loop of its own.
"""

from __future__ import annotations

from fuagent.testing.source_again import AgainSuite
from fuagent.testing.source_kit import SourceKit
from fuagent.testing.source_life import LifeSuite
from fuagent.testing.source_order import OrderSuite
from fuagent.testing.source_places import PlacesSuite
from fuagent.testing.source_snapshots import SnapshotSuite


class SourceSuite(LifeSuite, OrderSuite, PlacesSuite, SnapshotSuite, AgainSuite):
    """Everything in ``fuagent.interfaces.Source`` that can be seen from outside."""

    Kit: type[SourceKit]
