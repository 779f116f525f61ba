"""Raw scores of the one-class SVMs, per bin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleetscore.workloads.sensor_anomaly.decision import decide
from fleetscore.workloads.sensor_anomaly.detect.bins import Bins
from fleetscore.workloads.sensor_anomaly.fitted import Fitted
from fleetscore.workloads.sensor_anomaly.readings import Floats, Int64s


@dataclass(frozen=True, slots=True)
class SvmOfBins:
    """Raw scores of the one-class SVM per bin: the negative of the least decision value of its least and
    largest reading.
    """

    fitted: Fitted
    place: Int64s

    def __call__(self, rows: Int64s, bins: Bins) -> Floats:
        """Raw scores (sensors, bins) of the sensors `rows`; NaN where a bin has no reading."""
        there = np.isfinite(bins.mean) & (self.place[rows] >= 0)[:, None]
        counts = there.sum(axis=1)
        ends = [
            decide(self.fitted.pack, self.place[rows], counts, values[there])
            for values in (bins.low, bins.high)
        ]
        out = np.full(there.shape, np.nan)
        out[there] = -np.minimum(*ends)
        return out
