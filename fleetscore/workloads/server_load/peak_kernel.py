"""The reduction's inner loop, compiled by numba: sums per slot, and of each hour's slots the one with the
largest load.
"""

# mypy: ignore-errors
# numba infers the types of these functions from their first call; annotations would say nothing to it.

from __future__ import annotations

import numpy as np

from fleetscore.kernels.compiled import compiled

_SLOTS_PER_HOUR = 12
_SESSIONS, _LOAD = 0, 1


@compiled()
def hours_of_sorted(key, order, values):
    """Servers (int32), hours (int32) and peaks (int64: sessions of the hour, then the peak slot's sums),
    one row per hour.

    `key` is server << 32 | slot, ascending; values[order[n]] belongs to key[n]: sessions, load, and the
    other sums.
    """
    count = len(key)
    width = values.shape[1]
    server = np.empty(count, np.int32)
    hour = np.empty(count, np.int32)
    peaks = np.empty((count, width), np.int64)
    slot_sums = np.empty(width, np.int64)
    rows = 0
    at = 0
    while at < count:
        slot_key = key[at]
        slot_sums[:] = 0
        while at < count and key[at] == slot_key:
            for k in range(width):
                slot_sums[k] += values[order[at], k]
            at += 1
        slot_server = np.int32(slot_key >> 32)
        slot_hour = np.int32((slot_key & 0xFFFFFFFF) // _SLOTS_PER_HOUR)
        if rows == 0 or server[rows - 1] != slot_server or hour[rows - 1] != slot_hour:
            server[rows] = slot_server
            hour[rows] = slot_hour
            peaks[rows] = slot_sums
            rows += 1
        else:
            sessions = peaks[rows - 1, _SESSIONS] + slot_sums[_SESSIONS]
            if slot_sums[_LOAD] > peaks[rows - 1, _LOAD]:  # the first of equal slots stays
                peaks[rows - 1] = slot_sums
            peaks[rows - 1, _SESSIONS] = sessions
    return server[:rows].copy(), hour[:rows].copy(), peaks[:rows].copy()
