"""Profiles of what models were trained on: counts, means and deviations per partition, a file of a model
set.
"""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

PROFILE_FILE = "profile.parquet"
"""In a model set: partition, n, mean, std of the values that its models were trained on."""


def summarise(keys: pa.Array | pa.ChunkedArray, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    """A profile of values in long form: partition, n, mean, std (population), in float64; missing values
    count nowhere.

    >>> summarise(pa.array(["a", "a", "b"]), pa.array([1.0, 3.0, 5.0])).to_pylist()[0]
    {'partition': 'a', 'n': 2.0, 'mean': 2.0, 'std': 1.0}
    """
    table = pa.table({"partition": pc.cast(keys, pa.string()), "value": values})
    options = pc.VarianceOptions(ddof=0)
    sums = table.group_by("partition", use_threads=False).aggregate(
        [("value", "count"), ("value", "mean"), ("value", "stddev", options)]
    )
    columns = [
        sums["partition"],
        *(pc.cast(sums[f"value_{n}"], pa.float64()) for n in ("count", "mean", "stddev")),
    ]
    return pa.table(columns, names=["partition", "n", "mean", "std"])


def pack_profile(profile: pa.Table) -> bytes:
    """The profile as the file of a model set."""
    buffer = io.BytesIO()
    pq.write_table(profile, buffer, compression="zstd")
    return buffer.getvalue()
