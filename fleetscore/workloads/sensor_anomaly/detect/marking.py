"""Marks and events: which bins of a sensor are anomalies, within a limit, and which of them belong together.

A bin is a candidate where its severity reaches the threshold. Once the candidates of a day are more than
TAIL_SHARE of a week's bins, what was unusual is the new normal, and further ones are not marked. Marks no
further apart than the gap are one event.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetscore.workloads.sensor_anomaly.detect.bins import DAY_BINS, HOUR_BINS
from fleetscore.workloads.sensor_anomaly.detect.calibration import TAIL_SHARE
from fleetscore.workloads.sensor_anomaly.detect.horizon import CALIBRATION_BINS, MEMORY_BINS
from fleetscore.workloads.sensor_anomaly.readings import Floats, Int64s

Bools = npt.NDArray[np.bool_]

_ALLOWED_LEAST = 1


@dataclass(frozen=True, slots=True)
class Chain:
    """Marked bins of one sensor that are one event: their numbers since 1970, in order."""

    bins: Int64s

    @property
    def start(self) -> int:
        """The number of the first bin."""
        return int(self.bins[0])


def limit_marks(candidates: Bools, there: Bools, first: int, begin: int) -> Bools:
    """The candidates (sensors, bins) that are marked, of the bins from number `begin` on; `first` numbers
    the first bin.

    `there` says which bins have readings and begins at bin `first`, CALIBRATION_BINS + MEMORY_BINS or more
    before `begin`.
    """
    counted = _running(candidates)
    columns = np.arange(begin - first, candidates.shape[1])
    hour = (first + columns) // HOUR_BINS * HOUR_BINS - first
    allowed = np.maximum(np.rint(TAIL_SHARE * _of_a_week(there, hour)), _ALLOWED_LEAST)
    recent = counted[:, columns + 1] - counted[:, columns + 1 - MEMORY_BINS]
    limited: Bools = candidates[:, columns] & (recent <= allowed)
    return limited


def _of_a_week(there: Bools, hour: Int64s) -> Floats:
    """How many bins with readings a week holds before each of the columns `hour`: as many as there are, and
    where they begin within that week, as many as there would be at their pace.
    """
    seen = _running(there)
    past = seen[:, hour] - seen[:, hour - CALIBRATION_BINS]
    columns = np.arange(there.shape[1])
    following = np.minimum.accumulate(np.where(there, columns, there.shape[1])[:, ::-1], axis=1)[:, ::-1]
    span = np.maximum(hour - following[:, hour - CALIBRATION_BINS], HOUR_BINS)
    week: Floats = past * CALIBRATION_BINS / span
    return week


def chain_marks(marked: Bools, first: int, begin: int, gap_bins: int) -> list[Chain]:
    """The events of one sensor that have a mark at bin `begin` or later; `marked` begins at bin `first`,
    MEMORY_BINS before.

    Of an event that began before all that is known, the marks since midnight (UTC) count.
    """
    bins = np.flatnonzero(marked) + first
    if not len(bins):
        return []
    breaks = np.flatnonzero(np.diff(bins) > gap_bins) + 1
    chains = [part for part in np.split(bins, breaks) if part[-1] >= begin]
    if chains and chains[0][0] < first + gap_bins:
        midnight = begin // DAY_BINS * DAY_BINS
        chains[0] = chains[0][chains[0] >= midnight]
    return [Chain(part) for part in chains]


def _running(flags: Bools) -> Int64s:
    """How many are set before each column, and in all."""
    counts = np.zeros((len(flags), flags.shape[1] + 1), np.int64)
    np.cumsum(flags, axis=1, out=counts[:, 1:])
    return counts
