"""Filing: readings go straight to the place of their partition as they are read, so that nothing large is
ever sorted as a whole.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.workloads.sensor_anomaly.readings import Codes, Floats, Int64s


class Filing:
    """Times and values of partitions, each in the room reserved for it, in the order in which they are added.

    The memory is allocated once; parts that stay unused cost none.
    """

    def __init__(self, room: Int64s) -> None:
        """Reserve `room[i]` readings for partition i."""
        self._first = np.cumsum(room) - room
        self._next = self._first.copy()
        self._end = self._first + room
        self._time_us: Int64s = np.empty(int(room.sum()), np.int64)
        self._value: Floats = np.empty(len(self._time_us), np.float64)

    def has_room(self, counts: Int64s) -> bool:
        """Whether `counts[i]` more readings of each partition i fit in."""
        return bool((self._next + counts <= self._end).all())

    def add(self, time_us: Int64s, value: Floats, counts: Int64s) -> None:
        """File readings that are sorted by partition, `counts[i]` of partition i; there must be room."""
        places = spread(self._next, counts)
        self._time_us[places] = time_us
        self._value[places] = value
        self._next += counts

    def columns(self) -> tuple[Int64s, Floats, Int64s]:
        """Times and values by partition without gaps, and how many each partition has."""
        counts = self._next - self._first
        if (self._next == self._end).all():
            return self._time_us, self._value, counts
        places = spread(self._first, counts)
        return self._time_us[places], self._value[places], counts


def spread(first: Int64s, counts: Int64s) -> Int64s:
    """`counts[i]` numbers that go up by one from `first[i]`, for one i after the other.

    >>> spread(np.array([10, 30]), np.array([2, 3])).tolist()
    [10, 11, 30, 31, 32]
    """
    numbers: Int64s = np.repeat(first - (np.cumsum(counts) - counts), counts)
    numbers += np.arange(len(numbers))
    return numbers


def rows_by_code(code: Codes, codes: int) -> tuple[Int64s, Int64s]:
    """The rows whose code is not -1, sorted by code, in their order where it is equal; and how many rows
    each code from 0 on has.
    """
    counts = np.bincount(code + np.int32(1), minlength=codes + 1)
    return order_by_code(code, codes)[counts[0] :], counts[1:]


def order_by_code(code: Codes, codes: int) -> Int64s:
    """The stable order that sorts by code. Arrow counts where the codes span few values; wider codes take
    two such passes.
    """
    if codes <= 1 << 16:
        order: Int64s = pc.array_sort_indices(pa.array(code)).to_numpy().view(np.int64)
        return order
    low = order_by_code(code & np.int32(0xFFFF), 1 << 16)
    return low[order_by_code((code >> 16)[low], codes >> 16)]


def find_later(time_us: Int64s, counts: Int64s) -> npt.NDArray[np.bool_]:
    """Whether each reading comes after the one before it; the first of a partition always does."""
    later = np.ones(len(time_us), bool)
    np.greater(time_us[1:], time_us[:-1], out=later[1:])
    later[(np.cumsum(counts) - counts)[counts > 0]] = True
    return later


def sort_by_time(time_us: Int64s, value: Floats, counts: Int64s, later: npt.NDArray[np.bool_]) -> None:
    """Sort in place the partitions of which some reading is not later than the one before; equal times stay
    in their order.
    """
    ends = np.cumsum(counts)
    unsorted = np.unique(np.searchsorted(ends, np.flatnonzero(~later), side="right"))
    rows = counts[unsorted]
    places = spread((ends - counts)[unsorted], rows)
    by_time = np.argsort(time_us[places], kind="stable")
    code = np.repeat(np.arange(len(unsorted), dtype=np.int32), rows)
    order = places[by_time[order_by_code(code[by_time], len(unsorted))]]
    time_us[places], value[places] = time_us[order], value[order]
