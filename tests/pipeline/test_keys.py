"""Partition keys carry any text."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from fleetscore.partition_keys import join_columns, join_key, split_key

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
fields = st.lists(names, min_size=1, max_size=3)


@given(fields)
def test_a_key_splits_into_the_fields_it_was_joined_from(parts: list[str]) -> None:
    """split_key inverts join_key for any text, slashes and per cent signs too."""
    assert split_key(join_key(parts)) == parts


@given(st.lists(st.tuples(names, names), min_size=1, max_size=5))
def test_columns_join_as_rows_do(rows: list[tuple[str, str]]) -> None:
    """join_columns gives row by row what join_key gives."""
    columns = [pa.array([row[i] for row in rows], pa.string()) for i in (0, 1)]
    assert join_columns(columns).to_pylist() == [join_key(row) for row in rows]
