"""The schema of server_load's results."""

from __future__ import annotations

import pyarrow as pa

RESULTS = pa.schema(
    [
        ("server", pa.string()),
        ("hour", pa.timestamp("us", "UTC")),
        ("load_class", pa.string()),
        ("p_low", pa.float64()),
        ("p_medium", pa.float64()),
        ("p_high", pa.float64()),
        ("model", pa.string()),
        ("load_q50", pa.float64()),  # null where the model set has no quantiles of the load
        ("load_q90", pa.float64()),
    ]
)
"""One row per server and hour ahead; the probabilities of a row add up to 1, and load_class is the likeliest.
The peak load of the hour is at most load_q50 in half of the hours, at most load_q90 in nine of ten.
"""
