"""Pace: how often sensors sent on the days before a window, by the catalogue, and so which of those that are
silent in it are late.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.partition_keys import split_key
from fleetscore.records import InputFile
from fleetscore.workload import RunContext
from fleetscore.workloads.sensor_anomaly.catalog import catalog_files
from fleetscore.workloads.sensor_anomaly.entries import CatalogFile, count_readings, counts_within
from fleetscore.workloads.sensor_anomaly.expectations import find_waiting
from fleetscore.workloads.sensor_anomaly.readings import Int64s, partition_keys
from fleetscore.workloads.sensor_anomaly.steps import HOUR_US

_DAYS = 3  # a sensor that fell silent but for a few readings is named for so long


def counts_before(
    run: RunContext, files: Sequence[InputFile], first_us: int, end_us: int
) -> tuple[dict[str, int], float]:
    """Partition -> readings on the days before the window [first_us, end_us), as far as `files` have them, and
    how many windows that is, from the first of these readings on.
    """
    since, found = _catalogued(run, files, first_us)
    keys, rows = count_readings(found, since, first_us)
    earliest = min((file.entry.span_us[0] for file in found if file.entry.span_us), default=first_us)
    windows = (first_us - max(earliest, since)) / (end_us - first_us)
    return dict(zip(keys.to_pylist(), rows.tolist(), strict=True)), windows


def find_not_due(
    run: RunContext, files: Sequence[InputFile], silent: pa.Array, first_us: int, end_us: int
) -> pa.Array:
    """Those of the partitions without a reading in the window [first_us, end_us) that have none due there,
    because they report less often; none in windows of an hour or more, which expect each sensor.
    """
    if not len(silent) or end_us - first_us >= HOUR_US:
        return silent.slice(0, 0)
    since, found = _catalogued(run, files, first_us)
    sensor, step = _filled_steps(found, silent, since, first_us)
    waiting = find_waiting(sensor, step, len(silent), end_us // run.settings.step_us)
    return silent.filter(pa.array(waiting))


def _catalogued(run: RunContext, files: Sequence[InputFile], first_us: int) -> tuple[int, list[CatalogFile]]:
    """The beginning of the days before `first_us`, at a whole hour, and the entries of their files."""
    since = (first_us - _DAYS * 24 * HOUR_US) // HOUR_US * HOUR_US
    return since, catalog_files(run.store, files, run.settings, since, first_us)


def _filled_steps(
    files: Sequence[CatalogFile], sensors: pa.Array, first_us: int, end_us: int
) -> tuple[Int64s, Int64s]:
    """Which of the sensors, by its index, had readings in which step, each pair once."""
    devices = pa.array(sorted({split_key(key)[0] for key in sensors.to_pylist()}), pa.string())
    cells = [np.empty(0, np.int64)]
    for file in files:
        counts = counts_within(file, first_us, end_us)
        counts = counts.filter(pc.is_in(counts["device"], devices))
        sensor = pc.index_in(partition_keys(counts), sensors)
        step = counts["step"].combine_chunks().filter(sensor.is_valid()).to_numpy().astype(np.int64)
        cells.append(sensor.drop_null().to_numpy().astype(np.int64) << 32 | step)
    cell = np.unique(np.concatenate(cells))
    return cell >> 32, cell & 0xFFFFFFFF
