"""The results of a workload of kind `models`: its columns, the rows of a shard, and the sketches that drift
is measured by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.models.packs.shard_scoring import ShardScores
from fleetscore.partition_keys import split_key
from fleetscore.records import Outcome
from fleetscore.workloads.models.blocks import Block, Bools
from fleetscore.workloads.models.settings import FleetSettings
from fleetscore.workloads.models.verdicts import Verdicts

Floats = npt.NDArray[np.float64]


def results_schema(
    settings: FleetSettings, own: Sequence[tuple[str, pa.DataType]] | None = None
) -> pa.Schema:
    """The columns of the results: partition, what is kept, the outputs, and the key of the model that
    scored the row.

    `own` are the outputs of a function of the user's.
    Kept columns are text, but for the time (microseconds UTC) and features (float64).
    """
    output = pa.string() if settings.models.output_type == "text" else pa.float64()
    kept = [(name, _kept_type(name, settings)) for name in settings.data.keep]
    return pa.schema(
        [
            *((name, pa.string()) for name in settings.partition),
            *kept,
            *(own or [(name, output) for name in settings.models.outputs]),
            ("model_key", pa.string()),
        ]
    )


def _kept_type(name: str, settings: FleetSettings) -> pa.DataType:
    if name == settings.data.time:
        return pa.timestamp("us", tz="UTC")
    return pa.float64() if name in settings.data.features else pa.string()


def make_results(
    block: Block, scores: ShardScores, settings: FleetSettings, kept: Bools, schema: pa.Schema
) -> pa.Table:
    """The result rows that are kept, in the order of the shard's partitions, with the columns of the
    schema.
    """
    mask = pa.array(kept)
    counts = np.diff(block.offsets)
    fields = [split_key(key) for key in block.partitions]
    columns: dict[str, pa.Array | pa.ChunkedArray] = {}
    for at, name in enumerate(settings.partition):
        columns[name] = _repeated([field[at] for field in fields], counts).filter(mask)
    for name in settings.data.keep:
        columns[name] = pc.cast(block.table[name].filter(mask), schema.field(name).type)
    columns |= _outputs(scores, settings, kept)
    columns["model_key"] = _repeated(block.keys, counts).filter(mask)
    return pa.table(columns, schema=schema)


def _outputs(
    scores: ShardScores, settings: FleetSettings, kept: Bools
) -> dict[str, pa.Array | pa.ChunkedArray]:
    if scores.table is not None:
        mask = pa.array(kept)
        return {name: scores.table[name].filter(mask) for name in scores.table.column_names}
    if settings.models.output_type == "text":
        labels = scores.labels()[kept]
        return {
            settings.models.outputs[0]: pa.array([None if v is None else str(v) for v in labels], pa.string())
        }
    values = scores.values[kept]
    names = settings.models.outputs
    return {
        name: pa.array(values[:, at] if at < values.shape[1] else np.full(len(values), np.nan))
        for at, name in enumerate(names)
    }


def _repeated(texts: list[str], counts: npt.NDArray[np.int64]) -> pa.StringArray:
    codes = np.repeat(np.arange(len(texts), dtype=np.int32), counts)
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(texts, pa.string())).cast(pa.string())


def sketch_partitions(
    verdicts: Verdicts, block: Block, columns: Mapping[str, Floats], scores: ShardScores, kept: Bools
) -> pa.Table:
    """One row per scored partition: n, and mean and std of the first feature, of the output, and the share
    of missing features.
    """
    scored = [
        k for k, outcome in zip(verdicts.keys, verdicts.outcomes, strict=True) if outcome == Outcome.SCORED
    ]
    place = {key: at for at, key in enumerate(scored)}
    owner = np.repeat([place.get(key, -1) for key in block.partitions], np.diff(block.offsets)).astype(
        np.int64
    )
    used = kept & (owner >= 0)
    groups = owner[used]
    first = next(iter(columns.values()), np.zeros(len(kept)))
    n, mean, std = _moments(first[used], groups, len(scored))
    _, output, spread = _moments(scores.values[used, 0], groups, len(scored))
    return pa.table(
        {"partition": pa.array(scored, pa.string()), "n": n, "mean": mean, "std": std, "output_mean": output, "output_std": spread}
    )  # fmt: skip


def _moments(values: Floats, groups: npt.NDArray[np.int64], count: int) -> tuple[Floats, Floats, Floats]:
    """Number, mean and deviation of the finite values of each group; NaN where there is none."""
    finite = np.isfinite(values)
    values, groups = values[finite], groups[finite]
    n = np.bincount(groups, minlength=count).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(groups, values, minlength=count) / n
        variance = np.bincount(groups, (values - mean[groups]) ** 2, minlength=count) / n
    return n, mean, np.sqrt(variance)
