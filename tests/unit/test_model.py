"""Rows that are held column by column are the rows they would be otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.model_rows import Columns

tables = st.integers(0, 4).flatmap(
    lambda width: st.lists(st.tuples(*[st.integers()] * width), max_size=6).map(lambda rows: (width, rows))
)
bounds = st.none() | st.integers(-8, 8)


@given(tables, st.builds(slice, bounds, bounds, st.sampled_from([None, 1, 2, -1])))
def test_rows_held_as_columns_are_a_sequence_of_rows(table, part):
    """Counted, gone through, taken one by one and cut as a list of them is, even where a row has no value."""
    width, rows = table
    held = Columns([[row[at] for row in rows] for at in range(width)], len(rows))

    assert len(held) == len(rows)
    assert list(held) == rows
    assert list(held[part]) == rows[part]
    assert [held[at] for at in range(-len(rows), len(rows))] == rows * 2


@pytest.mark.parametrize("columns", [(), ([1, 2],)])
def test_a_row_that_is_not_there_is_not_given(columns):
    """As with any sequence."""
    with pytest.raises(IndexError):
        Columns(columns, 2)[2]
