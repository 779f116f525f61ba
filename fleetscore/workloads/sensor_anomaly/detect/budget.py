"""The alarm budget: which severity is an anomaly, so that readings as usual cause so many events per sensor and day."""

from __future__ import annotations

import math

_RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_SEVERITIES = (2.9, 2.6, 2.2, 1.9, 1.6, 1.2, 0.9)
"""Severity that readings as usual reach so often per sensor and day; measured by `python -m benchmarks quality`."""


def severity_limit(alarms_per_sensor_day: float) -> float:
    """The severity that is an anomaly at this budget: between the measured ones, and beyond them, along a logarithm.

    >>> severity_limit(0.05) > severity_limit(0.5)
    True
    """
    rate = math.log(alarms_per_sensor_day)
    known = [math.log(one) for one in _RATES]
    place = min(max(sum(one <= rate for one in known), 1), len(known) - 1)
    share = (rate - known[place - 1]) / (known[place] - known[place - 1])
    found = _SEVERITIES[place - 1] + share * (_SEVERITIES[place] - _SEVERITIES[place - 1])
    return min(max(found, 0.3), 3.9)
