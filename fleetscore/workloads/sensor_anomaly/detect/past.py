"""What assessing a window takes of the days before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fleetscore.workloads.sensor_anomaly.detect.bins import Bins
from fleetscore.workloads.sensor_anomaly.detect.calibration import pick_largest
from fleetscore.workloads.sensor_anomaly.detect.horizon import CALIBRATION_BINS, CONTEXT_BINS, HORIZON_BINS
from fleetscore.workloads.sensor_anomaly.detect.model import DetectorPack
from fleetscore.workloads.sensor_anomaly.detect.raw_scores import raw_scores
from fleetscore.workloads.sensor_anomaly.readings import Floats, Int64s


@dataclass(frozen=True, slots=True)
class PastScores:
    """What marks need of the bins before a window, of some sensors: raw scores (detectors, sensors, bins),
    means and counts of readings.
    """

    raw: Floats
    mean: Floats
    count: Floats


@dataclass(frozen=True, slots=True)
class Past:
    """What came before a window, of sensors (rows): the largest raw scores (sensors, detectors, n) of the
    CALIBRATION_BINS before its first hour, how many there are (sensors, detectors), and whatever marks need
    of some sensors; and the raw scores (detectors, sensors, bins) of the window itself.
    """

    top: Floats
    seen: Floats
    raw: Floats
    scores: Callable[[Int64s], PastScores]

    def rows(self, rows: Int64s) -> Past:
        """The same of some of the sensors."""
        return Past(
            self.top[rows], self.seen[rows], self.raw[:, rows], lambda inner: self.scores(rows[inner])
        )


def past_of_bins(pack: DetectorPack, bins: Bins, begin: int, svm: Callable[[Bins], Floats]) -> Past:
    """The past of a window from bin `begin` on, computed from all bins, HORIZON_BINS before it and its own;
    nothing is kept.
    """
    first = begin - HORIZON_BINS + CONTEXT_BINS
    raw = raw_scores(pack, bins, svm(bins.since(first)))
    before, now = raw[:, :, : begin - first], raw[:, :, begin - first :]
    top, seen = pick_largest(before[:, :, -CALIBRATION_BINS:].transpose(1, 0, 2))
    past = bins.since(first).until(begin)

    def scores(rows: Int64s) -> PastScores:
        return PastScores(before[:, rows], past.mean[rows], past.count[rows].astype(np.float64))

    return Past(top, seen, now, scores)
