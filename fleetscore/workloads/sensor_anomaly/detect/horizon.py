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
"""The limit on marks holds over so many bins, but of sparse sensors."""

SPARSE_BINS = 5 * DAY_BINS
"""The limit on marks of sensors that report hourly, or almost, holds over so many bins: five days are the
fewest in which 2 % of hourly readings are two, some of them being lost.
"""

RATED_BINS = MEMORY_BINS + max(LIMIT_BINS + DAY_BINS, SPARSE_BINS)
"""So many bins before its first hour a window's marks need severities of: the marks of the day before, and
what limits these: three days and the day that limits what counts in them, or a sparse sensor's five.
"""

HORIZON_BINS = CALIBRATION_BINS + CONTEXT_BINS + RATED_BINS
"""So many bins before its first hour a window needs: nine days for severities, six for marks."""
