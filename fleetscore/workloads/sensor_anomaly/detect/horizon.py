"""How far back the detectors read, in bins: each constant is the memory of one step, and together they are
a window's horizon.
"""

from __future__ import annotations

from fleetscore.workloads.sensor_anomaly.detect.bins import DAY_BINS

CONTEXT_BINS = 2 * DAY_BINS
"""So many bins before a bin its raw scores may depend on: two days."""

CALIBRATION_BINS = 7 * DAY_BINS
"""A week of raw scores calibrates an hour; with the two days that the oldest depend on, nine days of
readings.
"""

MEMORY_BINS = DAY_BINS
"""So many bins before an hour an event may have begun."""

LIMIT_BINS = 3 * DAY_BINS
"""The limit on marks holds over so many bins: three days are the fewest in which 2 % of hourly readings are
one.
"""

RATED_BINS = MEMORY_BINS + LIMIT_BINS + DAY_BINS
"""So many bins before its first hour a window's marks need severities of: the marks of the day before, the
three days that limit these, and the day that limits what counts in them.
"""

HORIZON_BINS = CALIBRATION_BINS + CONTEXT_BINS + RATED_BINS
"""So many bins before its first hour a window needs: nine days for severities, five for marks."""
