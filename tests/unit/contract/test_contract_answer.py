"""Answers are read no further than is of use, and their headers are found whatever the case of their names."""

from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from fuagent.contract import answer


@given(st.binary(max_size=40), st.integers(0, 50), st.lists(st.integers(1, 9), min_size=60, max_size=60))
async def test_a_body_is_read_up_to_one_byte_more_than_the_limit(data, limit, sizes):
    """However it comes in pieces, nothing of it is skipped, and nobody asks for more than that."""
    left, pieces = data, iter(sizes)

    async def read(most):
        nonlocal left
        piece, left = left[: min(most, (size := next(pieces)))], left[min(most, size) :]
        return piece

    assert await answer.body(read, limit) == data[: limit + 1]
    assert left == data[limit + 1 :]


def test_headers_are_found_by_their_names_in_lower_case():
    """The first of a name counts, as everywhere."""
    given_ = CIMultiDict([("Retry-After", "1"), ("retry-after", "2"), ("X-Other", "3")])

    assert answer.headers(given_) == {"retry-after": "1", "x-other": "3"}
