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
            ("score", pa.float64()),  # the decision value
            ("anomaly", pa.int8()),  # 1 where score <= 0, else 0
            ("model", _NAME),  # model-set version
        )
    ]
)
"""One row per published reading, sorted by partition, then time. Files hold plain strings; dictionaries only spare memory here."""
