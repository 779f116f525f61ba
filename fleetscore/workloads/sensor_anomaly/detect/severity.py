"""Severity: the calibrated scores of a sensor's detectors, averaged by their weights, hour by hour as they
would be online.

What a bin gets depends on the readings of the nine days before its hour and on those of its hour up to its
end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fleetscore.workloads.sensor_anomaly.detect.bins import DAY_BINS, HOUR_BINS
from fleetscore.workloads.sensor_anomaly.detect.calibration import (
    LIMIT,
    Tails,
    fit_largest,
    fit_tails,
    least_threshold,
)
from fleetscore.workloads.sensor_anomaly.detect.horizon import CALIBRATION_BINS
from fleetscore.workloads.sensor_anomaly.detect.model import DETECTORS, DetectorPack
from fleetscore.workloads.sensor_anomaly.readings import Floats

_ROUNDING = 1.0 - 1e-9  # so that a sum in another order misses no candidate


@dataclass(frozen=True, slots=True)
class RatedHour:
    """An hour of bins with their calibrated scores.

    `first` is the number of its first bin, `tails` are the sensors' tails of each detector, `weights`
    (detectors, sensors) sum to 1 for each sensor, `scores` (detectors, sensors, bins) are weighted.
    """

    first: int
    tails: tuple[Tails, ...]
    weights: Floats
    scores: Floats

    @property
    def severity(self) -> Floats:
        """The mean of the scores, (sensors, bins)."""
        return add_up(self.scores)


def add_up(scores: Floats | Sequence[Floats]) -> Floats:
    """The sum over the detectors, the first axis, in their order."""
    total: Floats = scores[0].copy()
    for one in scores[1:]:
        total += one
    return total


def share_weights(pack: DetectorPack, weights: Floats) -> Floats:
    """Weights (detectors, sensors) that sum to 1: a sensor whose history carries no season goes without
    that detector.
    """
    own = np.repeat(weights[:, None], len(pack), axis=1)
    own[DETECTORS.index("season"), np.isnan(pack.season).any(axis=1)] = 0.0
    shared: Floats = own / np.maximum(add_up(own), 1e-9)
    return shared


def rate_first_hour(
    pack: DetectorPack, top: Floats, seen: Floats, raw: Floats, begin: int, weights: Floats
) -> RatedHour:
    """Rate the hour that begins at bin `begin` and has the raw scores `raw` (detectors, sensors, bins).

    `top` (sensors, detectors, n) holds the largest raw scores of the CALIBRATION_BINS before, `seen` how
    many there are: nothing else of them is needed.
    """
    tails = tuple(
        fit_largest(top[:, n], seen[:, n], pack.tail[:, n], pack.seen[:, n]) for n in range(len(DETECTORS))
    )
    shares = share_weights(pack, weights)
    scores = np.stack([shares[n][:, None] * tails[n].score(raw[n]) for n in range(len(DETECTORS))])
    return RatedHour(begin, tails, shares, scores)


def rate_hours(
    pack: DetectorPack, raw: Floats, first: int, begin: int, end: int, weights: Floats
) -> Iterator[RatedHour]:
    """Rate the bins [begin, end), hour by hour; `raw` (detectors, sensors, bins) begins at bin `first`.

    `begin` is the beginning of an hour, CALIBRATION_BINS or more after `first`.
    """
    shares = share_weights(pack, weights)
    for hour in range(begin, end, HOUR_BINS):
        place = hour - first
        past = raw[:, :, place - CALIBRATION_BINS : place]
        tails = tuple(fit_tails(past[n], pack.tail[:, n], pack.seen[:, n]) for n in range(len(DETECTORS)))
        now = raw[:, :, place : place + min(HOUR_BINS, end - hour)]
        scores = np.stack([shares[n][:, None] * tails[n].score(now[n]) for n in range(len(DETECTORS))])
        yield RatedHour(hour, tails, shares, scores)


def rate_candidates(
    pack: DetectorPack, raw: Floats, first: int, begin: int, end: int, weights: Floats, limits: Floats
) -> Floats:
    """Severity (sensors, bins) of the bins [begin, end) as `rate_hours` gives it, 0 for hours of a sensor in
    which none can reach its limit.

    A score is 0 up to the threshold of its tail and at most LIMIT, so few hours have to be rated at all.
    """
    shares = share_weights(pack, weights)
    found = np.zeros((len(pack), end - begin))
    for day in range(begin, end, DAY_BINS):
        stop = min(day + DAY_BINS, end)
        known = raw[:, :, stop - first - CALIBRATION_BINS : day - first]  # in the week before each hour
        highest = raw[:, :, day - first : stop - first] > least_threshold(known)[..., None]
        reach = LIMIT * add_up(shares[:, :, None] * highest) >= limits[:, None] * _ROUNDING
        for hour in range(day, stop, HOUR_BINS):
            rows = np.flatnonzero(reach[:, hour - day : hour - day + HOUR_BINS].any(axis=1))
            if len(rows):
                last = min(hour + HOUR_BINS, end)
                rated = next(rate_hours(pack.rows(rows), raw[:, rows], first, hour, last, weights))
                found[rows, hour - begin : last - begin] = rated.severity
    return found
