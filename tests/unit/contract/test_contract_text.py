"""Text from the other end, made fit to be shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.contract.text import address, clean


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("two\r\nlines\tand  more ", "two lines and more"),
        ("\x1b[2Jgone", "[2Jgone"),
        ("a\x00b\x7fc\x9bd", "a b c d"),
        ("right\u202eleft\u2066", "right left"),
        ("line\u2028end\ud800", "line end"),
        ("Zoë 😀", "Zoë 😀"),
    ],
)
@pytest.mark.fault("S20")
def test_control_characters_are_gone(text: str, expected: str) -> None:
    """Nothing moves the cursor, starts a line or turns the reading direction."""
    assert clean(text) == expected


@pytest.mark.fault("S20")
def test_long_text_is_cut_and_says_so() -> None:
    """The last character shows that there was more."""
    assert clean("x" * 300, 10) == "x" * 9 + "…"
    assert clean("x" * 10, 10) == "x" * 10


@given(st.text(), st.integers(1, 50))
@pytest.mark.fault("S20")
def test_any_text_becomes_one_short_printable_line(text: str, limit: int) -> None:
    """Whatever a server sends."""
    shown = clean(text, limit)

    assert shown.isprintable()
    assert len(shown) <= limit


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://user:secret@h:8080/a/b?token=secret#secret", "https://h:8080/a/b"),
        ("https://[::1]:80/x", "https://[::1]:80/x"),
        ("/relative/path?secret=1", "/relative/path"),
        ("https://[bad", "(unreadable URL)"),
        ("https://h/a\x1bb", "https://h/a b"),
    ],
)
@pytest.mark.fault("S06")
def test_an_address_shows_no_secret(url: str, expected: str) -> None:
    """Only scheme, host, port and path are left."""
    assert address(url) == expected
