"""How long to wait: bounds for every attempt, every chance and every floor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from fuagent.engine.retry import CEILING, RETRY_AFTER_CAP, delay

attempts = some.integers(1, 10**9)
chances = some.floats(0, 1, exclude_max=True)
floors = some.none() | some.floats(-1000, 10**9, allow_nan=False)


@given(attempts, chances, some.booleans(), floors)
@pytest.mark.fault("F76")
def test_bounds(attempt, chance, slow, floor):
    """Never negative, never below what was asked for up to a quarter of an hour, never above either bound."""
    wait = delay(attempt, chance, slow=slow, floor=floor)

    assert 0 <= wait <= max(CEILING, RETRY_AFTER_CAP)
    assert wait >= min(floor or 0, RETRY_AFTER_CAP)
    assert floor is not None or wait <= CEILING


@given(attempts, chances)
def test_slow_is_never_at_once(attempt, chance):
    """What a person has to mend is never tried at once, whatever chance says."""
    assert delay(attempt, chance, slow=True) >= 2.5


@given(chances)
@pytest.mark.fault("F76")
def test_ceiling_doubles(chance):
    """The ceiling doubles from half a second to a minute."""
    waits = [delay(attempt, chance) for attempt in range(1, 12)]

    assert [min(60.0, 0.5 * 2**step) * chance for step in range(11)] == waits


@given(attempts)
@pytest.mark.fault("F76")
def test_full_jitter(attempt):
    """Chance spreads the wait over everything below the ceiling."""
    assert delay(attempt, 0.0) == 0
    assert delay(attempt, 0.25) * 2 == delay(attempt, 0.5)


@pytest.mark.parametrize(
    ("floor", "wait"), [(None, 0.25), (0.0, 0.25), (-5.0, 0.25), (0.1, 0.25), (7.0, 7.0), (900.0, 900.0), (1e9, 900.0)]
)
@pytest.mark.fault("F77")
def test_floor(floor, wait):
    """What the service asked for is a floor, capped; a past or absurd one does no harm."""
    assert wait == delay(1, 0.5, floor=floor)
