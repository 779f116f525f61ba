"""Filing: readings at the place of their partition, against a plain sort of all of them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fleetscore.workloads.sensor_anomaly.filing import Filing, find_later, rows_by_code, sort_by_time

ROWS = st.lists(st.tuples(st.integers(-1, 4), st.integers(0, 6)), max_size=40)


@given(st.lists(ROWS, max_size=4), st.integers(0, 2))
def test_pieces_are_filed_as_one_sort_would_order_them(
    pieces: list[list[tuple[int, int]]], spare: int
) -> None:
    """By partition, then time, then the order of coming: whatever pieces the readings come in, and whatever room stays empty."""
    codes = [np.array([code for code, _ in piece], np.int32) for piece in pieces]
    filing = Filing(sum((np.bincount(c + 1, minlength=6)[1:] for c in codes), np.full(5, spare)))
    value = 0.0
    expected = []
    for piece, code in zip(pieces, codes, strict=True):
        times = np.array([time for _, time in piece], np.int64)
        values = value + np.arange(len(piece))
        rows, counts = rows_by_code(code, 5)
        assert filing.has_room(counts)
        filing.add(times[rows], values[rows], counts)
        expected += [
            (int(c), int(t), float(v)) for c, t, v in zip(code, times, values, strict=True) if c >= 0
        ]
        value += len(piece)
    time_us, filed, counts = filing.columns()
    sort_by_time(time_us, filed, counts, find_later(time_us, counts))
    told = list(zip(np.repeat(np.arange(5), counts).tolist(), time_us.tolist(), filed.tolist(), strict=True))
    assert told == sorted(expected)


def test_a_full_room_says_so() -> None:
    """More readings of a partition than were reserved for it are refused before they reach another's place."""
    filing = Filing(np.array([2, 1]))
    assert filing.has_room(np.array([2, 1]))
    filing.add(np.array([5, 6]), np.array([0.5, 0.6]), np.array([2, 0]))
    assert not filing.has_room(np.array([1, 0]))
    assert filing.has_room(np.array([0, 1]))


def test_only_partitions_out_of_order_are_sorted() -> None:
    """A partition that came in order keeps its readings untouched, and a repeated time stays behind the first."""
    time_us, value = np.array([1, 2, 9, 3, 3]), np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    counts = np.array([2, 3])
    later = find_later(time_us, counts)
    assert later.tolist() == [True, True, True, False, False]
    sort_by_time(time_us, value, counts, later)
    assert time_us.tolist() == [1, 2, 3, 3, 9]
    assert value.tolist() == [0.0, 1.0, 3.0, 4.0, 2.0]
