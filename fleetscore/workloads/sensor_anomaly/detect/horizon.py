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
"""So many bins before an hour the limit on marks looks back, and so many more the beginning of an event."""

HORIZON_BINS = CALIBRATION_BINS + CONTEXT_BINS + 2 * MEMORY_BINS
"""So many bins before its first hour a window needs: nine days for severities, a day for the limit, a day
for events.
"""
