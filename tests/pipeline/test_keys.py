"""Partition keys carry any text and never escape into a path."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from fleetscore.partition_keys import join_columns, join_key, path_of_key, split_key
from fleetscore.store.base import check_path

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


@given(fields.filter(any))
def test_a_key_is_one_legal_path_segment(parts: list[str]) -> None:
    """Whatever is in a key, its path has no separator and no dots."""
    segment = path_of_key(join_key(parts))
    assert check_path(f"x/{segment}/y") == f"x/{segment}/y"
    assert "/" not in segment
    assert "." not in segment


def test_a_long_key_keeps_a_name_of_its_own() -> None:
    """Keys that are cut differ in what they end with, and begin readably."""
    one, other = path_of_key("straße/" * 40 + "1"), path_of_key("straße/" * 40 + "2")
    assert one != other
    assert len(one) == len(other) == 180
    assert one.startswith("stra%C3%9Fe%2Fstra")
