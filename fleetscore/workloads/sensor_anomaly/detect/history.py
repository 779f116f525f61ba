"""The readings before a window, as bins; read piece by piece, so that memory holds a few hours of them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from fleetscore.errors import InputError
from fleetscore.store.base import Store
from fleetscore.workloads.sensor_anomaly.catalog import catalog_file
from fleetscore.workloads.sensor_anomaly.detect.bins import BIN_US, HOUR_BINS, Bins, empty_bins, fill_bins
from fleetscore.workloads.sensor_anomaly.detect.hour_keys import DatedFile
from fleetscore.workloads.sensor_anomaly.entries import count_readings
from fleetscore.workloads.sensor_anomaly.gathering import gather_readings
from fleetscore.workloads.sensor_anomaly.settings import SensorSettings
from fleetscore.workloads.sensor_anomaly.steps import HOUR_US

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
        part, lacking = gather_span(store, files, keys, settings, begin * HOUR_BINS, stop * HOUR_BINS)
        lost.update(lacking)
        place = slice((begin - first) * HOUR_BINS, (stop - first) * HOUR_BINS)
        for name in ("mean", "low", "high", "count"):
            getattr(bins, name)[:, place] = getattr(part, name)
    return bins, lost


def gather_span(
    store: Store, files: Sequence[DatedFile], keys: pa.Array, settings: SensorSettings, first: int, end: int
) -> tuple[Bins, dict[int, InputError]]:
    """The bins from number `first` to `end`, which bound whole steps of the settings, read at once; else as
    `gather_bins`.
    """
    span = first * BIN_US, end * BIN_US
    inputs = [file for file, _ in within(files, *span)]
    found = gather_readings(store, inputs, keys, settings, *span)
    bins = empty_bins(len(keys), first, end)
    fill_bins(bins, found.time_us, found.value, found.counts)
    return bins, found.lost


def within(files: Sequence[DatedFile], first_us: int, end_us: int) -> list[DatedFile]:
    """The files with readings in [first_us, end_us), in their order."""
    return [dated for dated in files if dated[1][0] < end_us and dated[1][1] >= first_us]


def _spans(
    store: Store, files: Sequence[DatedFile], settings: SensorSettings, first: int, end: int
) -> list[tuple[int, int]]:
    """The hours [first, end) in pieces with about _ROWS readings each, if they come evenly."""
    entries = [
        catalog_file(store, file, settings) for file, _ in within(files, first * HOUR_US, end * HOUR_US)
    ]
    _, rows = count_readings(entries, first * HOUR_US, end * HOUR_US)
    pieces = max(1, -(-int(rows.sum()) // _ROWS))
    step = max(1, -(-(end - first) // pieces))
    return [(begin, min(begin + step, end)) for begin in range(first, end, step)]
