"""What was kept of looking for bytes that break a reader, and bytes like it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz_targets import TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st

CORPUS = Path(__file__).parent / "corpus"
KEPT = {target: sorted((CORPUS / target).iterdir()) for target in TARGETS}


def broken(target: str, data: bytes) -> str:
    """How a target breaks on these bytes; empty where it does not."""
    try:
        TARGETS[target](data)
    except Exception as error:
        return f"{data!r}: {type(error).__name__} {error}"
    return ""


@pytest.mark.parametrize("target", TARGETS)
def test_what_was_kept_is_stood(target):
    """Each input that was found to reach code of its own, and each that once broke something."""
    assert KEPT[target]
    assert [path.name for path in KEPT[target] if broken(target, path.read_bytes())] == []


@st.composite
def altered(draw, target: str) -> bytes:
    """A kept input with some of its bytes replaced, taken out or put in."""
    found = bytearray(draw(st.sampled_from(KEPT[target])).read_bytes())
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(found)))
        found[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(found)


@pytest.mark.parametrize("target", TARGETS)
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_what_is_like_it_is_stood(target, data):
    """A mistake seldom stands alone."""
    assert broken(target, data.draw(st.binary(max_size=200) | altered(target))) == ""


def test_every_corpus_has_a_target():
    """An input that nothing reads proves nothing."""
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
