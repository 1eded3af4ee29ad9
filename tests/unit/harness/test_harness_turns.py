"""Long modules come first, to each worker a part of them, and every test comes once."""

import pytest

from harness.turns import deal

LONG = [[f"long {module} {test}" for test in range(2)] for module in range(5)]
SHORT = [[f"short {module} {test}" for test in range(30)] for module in range(3)]


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_each_worker_begins_with_long_ones(workers):
    """Where a share begins, long modules do, as they are; only behind them come short ones."""
    dealt = deal(LONG, SHORT, workers)
    share = 100 // workers
    hands = [dealt[share * worker : share * (worker + 1)] for worker in range(workers)]

    assert sorted(dealt) == sorted(test for module in (*LONG, *SHORT) for test in module)
    for worker, hand in enumerate(hands):
        first = [test for module in LONG[worker::workers] for test in module]
        assert hand[: len(first)] == first
        assert not [test for test in hand[len(first) :] if "long" in test]


@pytest.mark.parametrize("workers", [2, 3])
def test_more_long_ones_than_a_share(workers):
    """Where some hand is all long ones nothing is left out either."""
    few = [["short"]]

    assert sorted(deal(LONG, few, workers)) == sorted(["short", *(test for module in LONG for test in module)])
