"""Marks and events: which bins of a sensor are anomalies, within a limit, and which of them belong together.

A bin is a candidate where its severity reaches the threshold. Marks are limited to MARKED_SHARE of the time,
over any LIMIT_BINS of a sensor that reports steadily; half of these may fall into one day, so that an event
that lasts leaves some to the next. Once the candidates of a day are more, what was unusual is the new
normal, and further ones are not marked. A quarter of the marks is kept for strong candidates, so that
many small ones hide no severe one. Marks no further apart than the gap are one event.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetscore.workloads.sensor_anomaly.detect.bins import DAY_BINS, HOUR_BINS
from fleetscore.workloads.sensor_anomaly.detect.horizon import CALIBRATION_BINS, LIMIT_BINS
from fleetscore.workloads.sensor_anomaly.readings import Floats, Int64s

Bools = npt.NDArray[np.bool_]

MARKED_SHARE = 0.02
"""A sensor is marked no more than this share of the time."""

_ALLOWED_LEAST = 1
_STRONG = 1.5  # times the threshold is a strong candidate
_STRONG_PART = 0.25  # of the marks of LIMIT_BINS that only strong candidates have
_DAY_PART = 0.5  # of the marks of LIMIT_BINS that one day may have
_ROUNDING = 1e-9  # 2 % of 50 is 1, whatever the product of floats says


@dataclass(frozen=True, slots=True)
class Chain:
    """Marked bins of one sensor that are one event: their numbers since 1970, in order."""

    bins: Int64s

    @property
    def start(self) -> int:
        """The number of the first bin."""
        return int(self.bins[0])


def limit_marks(candidates: Bools, strong: Bools, there: Bools, first: int, begin: int) -> Bools:
    """The candidates (sensors, bins) that are marked, of the bins from number `begin` on; `first` numbers
    the first bin.

    `strong` says which of the candidates are strong, `there` which bins have readings. All begin
    CALIBRATION_BINS before `begin` or more, and there are no candidates more than LIMIT_BINS + DAY_BINS
    before it that matter. Whether a bin is marked depends on the bins up to it and on nothing else: of the
    LIMIT_BINS that end with a marked bin no more are marked than `marks_allowed` gives.
    """
    hour = (first + np.arange(candidates.shape[1])) // HOUR_BINS * HOUR_BINS - first
    known = np.maximum(hour, CALIBRATION_BINS)  # of columns before it nothing counts that is returned
    allowed = marks_allowed(there, known)
    of_a_day = np.ceil(_DAY_PART * allowed)
    counted = candidates & (_trailing(candidates, DAY_BINS) <= of_a_day)
    kept = np.floor(_STRONG_PART * allowed)
    usual = counted & (_trailing(counted, LIMIT_BINS) <= allowed - kept)
    marked: Bools = usual | (strong & (_trailing(strong, LIMIT_BINS) <= kept))
    return marked[:, begin - first :]


def find_strong(severity: Floats, limits: Floats) -> Bools:
    """Which bins (sensors, bins) are far enough above the sensors' limits to have marks kept for them."""
    found: Bools = severity >= _STRONG * limits[:, None]
    return found


def marks_allowed(there: Bools, hour: Int64s) -> Floats:
    """How many of LIMIT_BINS that end within the hours beginning at the columns `hour` may be marked:
    MARKED_SHARE of those with readings at the pace of the week before, and one at least.
    """
    share = MARKED_SHARE * LIMIT_BINS / CALIBRATION_BINS
    allowed: Floats = np.maximum(np.floor(share * _of_a_week(there, hour) + _ROUNDING), _ALLOWED_LEAST)
    return allowed


def _trailing(flags: Bools, bins: int) -> Int64s:
    """How many of the last `bins` columns are set, up to each column and with it."""
    counted = _running(flags)
    end = np.arange(1, flags.shape[1] + 1)
    found: Int64s = counted[:, end] - counted[:, np.maximum(end - bins, 0)]
    return found


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
