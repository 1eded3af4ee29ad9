"""Retry-After in all the forms it may have."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.contract import retry_after

NOW = datetime(2024, 2, 29, 12, 0, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("000", 0.0),
        (" 120\t", 120.0),
        ("0000000000000000120", 120.0),
        ("900", 900.0),
        ("901", 900.0),
        ("86400", 900.0),
        ("9" * 5000, 900.0),
        ("-5", None),
        ("1.5", None),
        ("+5", None),
        ("1e3", None),
        ("٣٠", None),
        ("soon", None),
        ("120, 60", None),
        ("Thu, 29 Feb 2024 12:02:00 GMT", 120.0),
        ("Thursday, 29-Feb-24 12:02:00 GMT", 120.0),
        ("Thu Feb 29 12:02:00 2024", 120.0),
        ("Fri Mar  1 12:00:00 2024", 900.0),
        ("Thu, 29 Feb 2024 11:59:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 900.0),
        ("Thu, 29 Feb 2024 12:00:60 GMT", 59.0),
        ("Wed, 29 Feb 2023 12:00:00 GMT", None),
        ("Thu, 29 Feb 2024 25:00:00 GMT", None),
        ("Thu, 29 Feb 0000 12:00:00 GMT", None),
        ("Thu, 29 feb 2024 12:02:00 GMT", None),
        ("Thu, 29 Feb 2024 12:02:00 +0100", None),
        ("Wednesday, 29-Feb-73 12:00:00 GMT", None),
        ("Thursday, 28-Feb-74 12:00:00 GMT", 900.0),
        ("Friday, 28-Feb-75 12:00:00 GMT", 0.0),
    ],
)
@pytest.mark.fault("F77")
def test_each_form_is_read(value: str | None, expected: float | None) -> None:
    """Seconds and the three dates; garbage says nothing; 15 minutes at most; a two-digit year is at most 50 years ahead."""
    assert retry_after.seconds(value, NOW) == expected


@given(
    st.text(max_size=40)
    | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{2} Feb [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT", fullmatch=True)
)
def test_any_header_gives_a_wait_within_bounds_or_none(value: str) -> None:
    """Nothing a server writes stops a sync for long or breaks it."""
    wait = retry_after.seconds(value, NOW)

    assert wait is None or 0.0 <= wait <= retry_after.CAP
