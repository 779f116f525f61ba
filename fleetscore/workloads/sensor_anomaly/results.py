"""The results of sensor_anomaly."""

from __future__ import annotations

import pyarrow as pa

_NAME = pa.dictionary(pa.int32(), pa.string())
RESULTS = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in (
            ("ts", pa.timestamp("us", tz="UTC")),
            ("device", _NAME),
            ("sensor", _NAME),
            ("value", pa.float64()),
            ("score", pa.float64()),  # the decision value of the one-class SVM
            ("anomaly", pa.int8()),  # 1 or 0: of an event by the detectors; without detectors, score <= 0
            ("model", _NAME),  # model-set version
        )
    ]
    + [  # null where the sensor's model set has no detectors
        pa.field("severity", pa.float64()),
        pa.field("expected_low", pa.float64()),
        pa.field("expected_high", pa.float64()),
        pa.field(
            "event_start", pa.timestamp("us", tz="UTC")
        ),  # from here on null where the reading is no anomaly
        pa.field("event_readings", pa.int64()),  # of the event up to this reading's bin
        pa.field("event_severity", pa.float64()),  # the largest so far
        pa.field("detector", _NAME),  # with the largest part in the severity
    ]
)
"""One row per published reading, sorted by partition, then time. Files hold plain strings; dictionaries
only spare memory here.
"""
