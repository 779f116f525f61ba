"""The readings before a window, as bins; read piece by piece, so that memory holds a few hours of them."""

from __future__ import annotations

import pyarrow as pa

from fleetscore.errors import InputError
from fleetscore.workload import RunContext
from fleetscore.workloads.sensor_anomaly.catalog import catalog_file
from fleetscore.workloads.sensor_anomaly.detect.bins import BIN_US, HOUR_BINS, Bins, empty_bins, fill_bins
from fleetscore.workloads.sensor_anomaly.entries import HOUR_US, count_readings
from fleetscore.workloads.sensor_anomaly.gathering import gather_readings

_ROWS = 4_000_000  # read at once


def gather_bins(run: RunContext, keys: pa.Array, first: int, end: int) -> tuple[Bins, dict[int, InputError]]:
    """The bins [first, end) of the partitions `keys`, and the partitions whose readings could not be read;
    `first` begins an hour.

    A file that changed after the plan was made is an InputError `input_changed`, as it is within the window.
    """
    whole = -(-end // HOUR_BINS) * HOUR_BINS
    bins = empty_bins(len(keys), first, whole)
    lost: dict[int, InputError] = {}
    for begin, stop in _spans(run, first, whole):
        inputs = [file for file in run.inputs if _has_readings(run, file, begin, stop)]
        found = gather_readings(run.store, inputs, keys, run.settings, begin * BIN_US, stop * BIN_US)
        lost.update(found.lost)
        part = empty_bins(len(keys), begin, stop)
        fill_bins(part, found.time_us, found.value, found.counts)
        place = slice(begin - first, stop - first)
        for name in ("mean", "low", "high", "count"):
            getattr(bins, name)[:, place] = getattr(part, name)
    return bins.until(end), lost


def _spans(run: RunContext, first: int, end: int) -> list[tuple[int, int]]:
    """The whole hours [first, end) in pieces with about _ROWS readings each, if they come evenly."""
    entries = [catalog_file(run.store, file, run.settings) for file in run.inputs]
    _, rows = count_readings(entries, first * BIN_US, end * BIN_US)
    pieces = max(1, -(-int(rows.sum()) // _ROWS))
    hours = (end - first) // HOUR_BINS
    step = max(1, -(-hours // pieces)) * HOUR_BINS
    return [(begin, min(begin + step, end)) for begin in range(first, end, step)]


def _has_readings(run: RunContext, file: object, begin: int, stop: int) -> bool:
    entry = catalog_file(run.store, file, run.settings).entry  # type: ignore[arg-type]  # an InputFile
    span = entry.span_us
    return span is not None and span[0] < stop * BIN_US and span[1] >= begin * BIN_US


def window_bins(start_us: int, end_us: int) -> tuple[int, int, int]:
    """First bin of the hour of the window's start, first bin of the window, and the bin after its last."""
    return start_us // HOUR_US * HOUR_BINS, start_us // BIN_US, end_us // BIN_US
