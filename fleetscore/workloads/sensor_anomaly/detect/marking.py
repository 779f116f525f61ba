"""Marks and events: which bins of a sensor are anomalies, within a limit, and which of them belong together.

A bin is a candidate where its severity reaches the threshold. Marks are limited to MARKED_SHARE of the time,
over any LIMIT_BINS of a sensor that reports steadily; half of these may fall into one day, so that an event
that lasts leaves some to the next. Once the candidates of a day are more, what was unusual is the new
normal, and further ones are not marked. A quarter of the marks, and one at least, is kept for strong
candidates, so that many small ones hide no severe one; of a sensor that reports so seldom that LIMIT_BINS
allow less than two marks, the marks of SPARSE_BINS are limited. Marks no further apart than the gap are one
event.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetscore.workloads.sensor_anomaly.detect.bins import DAY_BINS, HOUR_BINS
from fleetscore.workloads.sensor_anomaly.detect.horizon import CALIBRATION_BINS, LIMIT_BINS, SPARSE_BINS
from fleetscore.workloads.sensor_anomaly.readings import Floats, Int64s

Bools = npt.NDArray[np.bool_]

MARKED_SHARE = 0.02
"""A sensor is marked no more than this share of the time."""

_ALLOWED_LEAST = 1
_ALLOWED_PAIR = 2  # of so many marks one can be kept
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
    CALIBRATION_BINS + RATED_BINS - MEMORY_BINS before `begin` or more. Whether a bin is marked depends on
    so many bins up to it and on nothing else: of the LIMIT_BINS (of a sparse sensor SPARSE_BINS) that end
    with a marked bin no more are marked than `marks_allowed` gives.
    """
    hour = (first + np.arange(candidates.shape[1])) // HOUR_BINS * HOUR_BINS - first
    known = np.maximum(hour, CALIBRATION_BINS)  # of columns before it nothing counts that is returned
    allowed, sparse = marks_allowed(there, known)
    kept = np.where(allowed < _ALLOWED_PAIR, 0, np.maximum(np.floor(_STRONG_PART * allowed), 1))
    counted = candidates & (_trailing(candidates, DAY_BINS) <= np.ceil(_DAY_PART * allowed))
    usual = counted & (_trailing(counted, LIMIT_BINS) <= allowed - kept)
    severe = strong & (_trailing(strong, LIMIT_BINS) <= kept)
    marked: Bools = usual | severe
    if sparse.any():
        marked = np.where(sparse, _limit_sparse(candidates, strong, allowed, kept), marked)
    return marked[:, begin - first :]


def _limit_sparse(candidates: Bools, strong: Bools, allowed: Floats, kept: Floats) -> Bools:
    """The candidates of sparse sensors that are marked: strong ones take what is kept for them first, so that
    two of them, or one and a small one in any order, are both marked.
    """
    severe = _trailing(strong, SPARSE_BINS)
    others = _trailing(candidates, SPARSE_BINS) - np.minimum(severe, kept)
    marked: Bools = (candidates & (others <= allowed - kept)) | (strong & (severe <= kept))
    return marked


def find_strong(severity: Floats, limits: Floats) -> Bools:
    """Which bins (sensors, bins) are far enough above the sensors' limits to have marks kept for them."""
    found: Bools = severity >= _STRONG * limits[:, None]
    return found


def marks_allowed(there: Bools, hour: Int64s) -> tuple[Floats, Bools]:
    """How many bins may be marked of those that end within the hours beginning at the columns `hour`, and of
    which sensors and hours these are SPARSE_BINS instead of LIMIT_BINS.

    MARKED_SHARE of those with readings at the pace of the week before, and one at least. A sensor is sparse
    where that share of LIMIT_BINS is less than two, and of SPARSE_BINS two or more: one is for strong ones.
    """
    week = _of_a_week(there, hour)
    short = np.floor(MARKED_SHARE * LIMIT_BINS / CALIBRATION_BINS * week + _ROUNDING)
    long = np.floor(MARKED_SHARE * SPARSE_BINS / CALIBRATION_BINS * week + _ROUNDING)
    sparse: Bools = (short < _ALLOWED_PAIR) & (long >= _ALLOWED_PAIR)
    allowed: Floats = np.where(sparse, long, np.maximum(short, _ALLOWED_LEAST))
    return allowed, sparse


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
