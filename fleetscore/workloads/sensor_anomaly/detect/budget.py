"""The alarm budget: which severity is an anomaly, so that readings as usual cause so many events per sensor
and day.
"""

from __future__ import annotations

import numpy as np

from fleetscore.workloads.sensor_anomaly.detect.bins import DAY_BINS
from fleetscore.workloads.sensor_anomaly.detect.calibration import LIMIT
from fleetscore.workloads.sensor_anomaly.readings import Floats

_PACE = 0.6  # 12 times fewer readings give 4.4 times fewer events: less of them is merged
_RATES = (0.0054, 0.0089, 0.0134, 0.0214, 0.0286, 0.0447, 0.0652, 0.0831, 0.107, 0.138, 0.196, 0.269, 0.386,
          0.541, 0.785, 1.126, 1.512, 2.518)  # fmt: skip
_SEVERITIES = (4.4, 4.0, 3.6, 3.2, 3.0, 2.8, 2.6, 2.4, 2.2, 2.0, 1.8, 1.6, 1.4, 1.2, 1.0, 0.8, 0.6, 0.4)
"""Events per sensor and day of readings as usual (140 generated series of seven kinds, 8 days each) that
reach a severity.
"""


_EASY = 1.0  # a severity that is reached as often whether a bin has one reading or many
_CROWD = 0.19  # 5 readings a bin leave 0.74 of a limit's distance to _EASY, 30 leave 0.52
_CROWD_MOST = 30.0  # more readings a bin were not measured


def severity_limits(alarms_per_sensor_day: float, pace: Floats, per_bin: Floats) -> Floats:
    """The severity that is an anomaly at this budget, of sensors with so many bins with readings a day, and
    so many readings in these.

    Fewer bins a day may each be an anomaly more easily. With many readings in a bin, their mean and the
    extreme one are rarely odd together by chance: a mean of detectors that agree less has fewer large
    values. Between the measured severities, and beyond them, the limit follows the logarithm of the rate.

    >>> severity_limits(0.05, np.array([288.0, 288.0, 24.0]), np.array([1.0, 5.0, 1.0])).round(1).tolist()
    [2.7, 2.3, 1.7]
    """
    known, limits = np.log(_RATES), np.array(_SEVERITIES)
    rate = np.log(alarms_per_sensor_day * (DAY_BINS / pace) ** _PACE)
    place = np.clip(np.searchsorted(known, rate, side="right"), 1, len(known) - 1)
    share = (rate - known[place - 1]) / (known[place] - known[place - 1])
    alone = limits[place - 1] + share * (limits[place] - limits[place - 1])
    crowd = np.minimum(per_bin, _CROWD_MOST) ** -_CROWD
    found: Floats = np.where(alone > _EASY, _EASY + (alone - _EASY) * crowd, alone)
    return np.clip(found, 0.1, LIMIT - 0.1)
