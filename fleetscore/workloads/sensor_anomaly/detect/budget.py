"""The alarm budget: which severity is an anomaly, so that readings as usual cause so many events per sensor
and day.
"""

from __future__ import annotations

import numpy as np

from fleetscore.workloads.sensor_anomaly.detect.bins import DAY_BINS
from fleetscore.workloads.sensor_anomaly.readings import Floats

_RATES = (0.007, 0.022, 0.038, 0.057, 0.077, 0.105, 0.15, 0.21, 0.31, 0.42, 0.61, 0.87, 1.28, 1.74, 2.33)
_SEVERITIES = (3.2, 3.0, 2.8, 2.6, 2.4, 2.2, 2.0, 1.8, 1.6, 1.4, 1.2, 1.0, 0.8, 0.6, 0.4)
"""Events per sensor and day of readings as usual (140 generated series of seven kinds, 11 days) that reach
a severity.
"""


def severity_limits(alarms_per_sensor_day: float, pace: Floats) -> Floats:
    """The severity that is an anomaly at this budget, of sensors with so many bins with readings a day.

    Fewer bins a day may each be an anomaly more easily. Between the measured severities, and beyond them,
    the limit follows the logarithm of the rate.

    >>> severity_limits(0.05, np.array([288.0, 24.0])).round(1).tolist()
    [2.7, 1.2]
    """
    known, limits = np.log(_RATES), np.array(_SEVERITIES)
    rate = np.log(alarms_per_sensor_day * DAY_BINS / pace)
    place = np.clip(np.searchsorted(known, rate, side="right"), 1, len(known) - 1)
    share = (rate - known[place - 1]) / (known[place] - known[place - 1])
    found: Floats = np.clip(limits[place - 1] + share * (limits[place] - limits[place - 1]), 0.1, 3.9)
    return found
