"""The readings before a window, as bins; read piece by piece, so that memory holds a few hours of them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from fleetscore.errors import InputError
from fleetscore.store.base import Store
from fleetscore.workloads.sensor_anomaly.catalog import catalog_file
from fleetscore.workloads.sensor_anomaly.detect.bins import HOUR_BINS, Bins, empty_bins, fill_bins
from fleetscore.workloads.sensor_anomaly.detect.hour_keys import DatedFile
from fleetscore.workloads.sensor_anomaly.entries import HOUR_US, count_readings
from fleetscore.workloads.sensor_anomaly.gathering import gather_readings
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings

_ROWS = 4_000_000  # read at once


def gather_bins(
    store: Store, files: Sequence[DatedFile], keys: pa.Array, settings: SensorSettings, first: int, end: int
) -> tuple[Bins, dict[int, InputError]]:
    """The bins of the hours [first, end) of the partitions `keys`, and the partitions whose readings could
    not be read.

    A file that changed after the plan was made is an InputError `input_changed`, as it is within the window.
    """
    bins = empty_bins(len(keys), first * HOUR_BINS, end * HOUR_BINS)
    lost: dict[int, InputError] = {}
    for begin, stop in _spans(store, files, settings, first, end):
        inputs = [file for file, _ in within(files, begin, stop)]
        found = gather_readings(store, inputs, keys, settings, begin * HOUR_US, stop * HOUR_US)
        lost.update(found.lost)
        part = empty_bins(len(keys), begin * HOUR_BINS, stop * HOUR_BINS)
        fill_bins(part, found.time_us, found.value, found.counts)
        place = slice((begin - first) * HOUR_BINS, (stop - first) * HOUR_BINS)
        for name in ("mean", "low", "high", "count"):
            getattr(bins, name)[:, place] = getattr(part, name)
    return bins, lost


def within(files: Sequence[DatedFile], first: int, end: int) -> list[DatedFile]:
    """The files with readings in the hours [first, end), in their order."""
    return [dated for dated in files if dated[1][0] < end * HOUR_US and dated[1][1] >= first * HOUR_US]


def _spans(
    store: Store, files: Sequence[DatedFile], settings: SensorSettings, first: int, end: int
) -> list[tuple[int, int]]:
    """The hours [first, end) in pieces with about _ROWS readings each, if they come evenly."""
    entries = [catalog_file(store, file, settings) for file, _ in within(files, first, end)]
    _, rows = count_readings(entries, first * HOUR_US, end * HOUR_US)
    pieces = max(1, -(-int(rows.sum()) // _ROWS))
    step = max(1, -(-(end - first) // pieces))
    return [(begin, min(begin + step, end)) for begin in range(first, end, step)]
