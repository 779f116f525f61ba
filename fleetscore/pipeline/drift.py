"""Drift: how far a partition's input and predictions are from what its model was trained on.

Three measures per partition, from sketches that scoring makes anyway:

- shift: |mean - mean0| / std0, the standardised mean difference (Cohen's d; Austin, Statistics in Medicine
  28, 2009, uses it so to compare groups);
- spread: |ln(std / std0)|, the logarithm of the ratio of the standard deviations, which Austin puts beside
  it;
- prediction: of each further column of the sketch, |value - value0| over the standard deviation that the
  column has among all partitions of the profile (shares: 0.05 at least); the largest of them.

Each is divided by its limit, as is the share of missing or rejected input; the largest is the score: above
1, look at it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.pipeline.profiles import as_floats, read_profile, read_sketches
from fleetscore.records import Outcome, PlanHead, ShardRecord
from fleetscore.registry import get_workload
from fleetscore.schemas import DRIFTED, list_texts
from fleetscore.settings import QualityPolicy, read_quality_policy
from fleetscore.store.base import Store
from fleetscore.store.paths import run_path

MISSING = ("missing", "missing_share", "rejected_share")
"""Columns of a sketch that are shares of input that could not be used."""

_INPUT = ("partition", "n", "mean", "std", *MISSING)
_MEASURES = ("shift", "spread", "prediction", "missing")
_LEAST_SHARE = 0.05  # where all shares of a fleet are alike, less than this is no difference
_MOST = 1e6  # stands for a std that became 0, or ceased to be
Floats = npt.NDArray[np.float64]


def measure_run(store: Store, head: PlanHead, records: Sequence[ShardRecord], ledger: pa.Table) -> pa.Table:
    """Compare the run's sketches with the profiles and write drift.parquet; gives the ledger, with DRIFTED
    among the causes.
    """
    sketches = read_sketches(store, records) if head.request.purpose == "score" else None
    if sketches is None or "mean" not in sketches.column_names:
        return ledger
    workload = get_workload(store, head.request.workload)
    policy = read_quality_policy(store, workload.name)
    sketches = with_models(sketches, ledger)
    tables = []
    for version in pc.unique(sketches["model"]).to_pylist():
        mine = sketches.filter(pc.equal(sketches["model"], version))
        tables.append(compare(mine, read_profile(store, workload, version) if version else None, policy))
    if not tables:
        return ledger
    drift = pa.concat_tables(tables)
    buffer = io.BytesIO()
    pq.write_table(drift, buffer, compression="zstd")
    store.write(run_path(head.request.run, "drift.parquet"), buffer.getvalue())
    return remark(ledger, drift)


def compare(sketches: pa.Table, profile: pa.Table | None, policy: QualityPolicy) -> pa.Table:
    """A DriftLine row per sketched partition, as a table, and `is_drifted`."""
    count = sketches.num_rows
    before = _profile_rows(sketches, profile)
    few = as_floats(sketches["n"]) < policy.least_n if "n" in sketches.column_names else np.zeros(count, bool)
    mean, std = as_floats(sketches["mean"]), _column(sketches, "std")
    measures = {
        "shift": np.where(few, np.nan, measure_shift(mean, before["mean"], before["std"])),
        "spread": np.where(few, np.nan, measure_spread(std, before["std"])),
        "prediction": np.where(few, np.nan, _prediction(sketches, profile)),
        "missing": _largest([_column(sketches, name) for name in MISSING], count),
    }
    limits = (policy.shift_limit, policy.spread_limit, policy.prediction_limit, policy.missing_limit)
    scores = np.stack([measures[name] / limit for name, limit in zip(_MEASURES, limits, strict=True)])
    score = _largest(list(scores), count)
    known = ~np.isnan(score)
    worst = np.where(
        known, np.array(_MEASURES, object)[np.where(np.isnan(scores), -1.0, scores).argmax(axis=0)], ""
    )
    floats = {
        "score": score, **measures, "mean": mean, "mean_before": before["mean"], "std": std, "std_before": before["std"],
    }  # fmt: skip
    columns = {
        "partition": sketches["partition"],
        "model": sketches["model"],
        "worst": pa.array(worst, pa.string()),
    }
    columns |= {name: pa.array(values, pa.float64(), from_pandas=True) for name, values in floats.items()}
    return pa.table(columns | {"is_drifted": pa.array(known & (score > 1.0))})


def measure_shift(mean: Floats, mean_before: Floats, std_before: Floats) -> Floats:
    """|mean - mean0| / std0; where std0 is 0, any difference is as large as can be.

    >>> measure_shift(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 1.0]), np.array([1.0, 0.0, 0.0])).tolist()
    [2.0, 0.0, 1000000.0]
    """
    gap = np.abs(mean - mean_before)
    gap = np.where(gap <= 1e-12 * np.maximum(np.abs(mean), np.abs(mean_before)), 0.0, gap)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(std_before > 0, gap / std_before, np.where(gap > 0, _MOST, 0.0))
    return np.where(np.isnan(gap) | np.isnan(std_before), np.nan, np.minimum(ratio, _MOST))


def measure_spread(std: Floats, std_before: Floats) -> Floats:
    """|ln(std / std0)|; as large as can be where one of them is 0 and the other is not: a value that
    froze, or came alive.

    >>> measure_spread(np.array([2.0, 0.0, 0.0]), np.array([2.0, 1.0, 0.0])).tolist()
    [0.0, 1000000.0, 0.0]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(np.log(std / std_before))
    ratio = np.where(
        (std == 0) & (std_before == 0), 0.0, np.where((std == 0) | (std_before == 0), _MOST, ratio)
    )
    return np.where(np.isnan(std) | np.isnan(std_before), np.nan, np.minimum(ratio, _MOST))


def remark(ledger: pa.Table, drift: pa.Table) -> pa.Table:
    """The ledger with DRIFTED as a further cause, and why, of scored partitions that drifted; `cause` where
    it is the only one.
    """
    drifted = drift.filter(drift["is_drifted"])
    place = pc.index_in(ledger["partition"], drifted["partition"]).combine_chunks()
    mask = pc.and_(pc.equal(ledger["outcome"], Outcome.SCORED), pc.is_valid(place))
    rows = np.flatnonzero(mask.to_numpy(zero_copy_only=False))
    sentences = [_sentence(row) for row in drifted.take(place.take(pa.array(rows))).to_pylist()]
    columns = ledger.select(["cause", "causes", "detail"]).take(pa.array(rows)).to_pylist()
    told: dict[str, Any] = {
        "cause": pa.array([c["cause"] or DRIFTED for c in columns], pa.string()),
        "causes": list_texts([[*c["causes"], DRIFTED] for c in columns]),
        "detail": pa.array(
            [f"{c['detail'] or ''} {s}".strip() for c, s in zip(columns, sentences, strict=True)], pa.string()
        ),
    }
    for name, values in told.items():
        at = ledger.schema.get_field_index(name)
        ledger = ledger.set_column(at, ledger.schema.field(name), _replace(ledger[name], rows, values))
    return ledger


def _replace(column: pa.ChunkedArray, rows: npt.NDArray[np.int64], values: pa.Array) -> pa.ChunkedArray:
    """The column with `values` in the rows (ascending) and what it had elsewhere."""
    order = np.arange(len(column))
    order[rows] = len(column) + np.arange(len(rows))
    return pa.chunked_array([*column.chunks, values]).take(pa.array(order))


def count_drifted(ledger: pa.Table) -> int:
    """Partitions that have DRIFTED among their causes."""
    return int(pc.sum(pc.equal(pc.list_flatten(ledger["causes"]), DRIFTED)).as_py() or 0)


def with_models(sketches: pa.Table, ledger: pa.Table) -> pa.Table:
    """The sketches of scored partitions, with the version that scored each."""
    scored = ledger.filter(pc.equal(ledger["outcome"], Outcome.SCORED))
    place = pc.index_in(sketches["partition"], scored["partition"])
    return sketches.append_column("model", scored["model"].take(place)).filter(pc.is_valid(place))


def _profile_rows(sketches: pa.Table, profile: pa.Table | None) -> dict[str, Floats]:
    if profile is None:
        return {name: np.full(sketches.num_rows, np.nan) for name in ("mean", "std")}
    place = pc.index_in(sketches["partition"], profile["partition"])
    rows = profile.take(place)
    return {name: _column(rows, name) for name in ("mean", "std")}


def _prediction(sketches: pa.Table, profile: pa.Table | None) -> Floats:
    count = sketches.num_rows
    if profile is None:
        return np.full(count, np.nan)
    rows = profile.take(pc.index_in(sketches["partition"], profile["partition"]))
    shifts = []
    for name in [
        n for n in sketches.column_names if n not in (*_INPUT, "model") and n in profile.column_names
    ]:
        fleet = _column(profile, name)
        spread = float(np.nanstd(fleet)) if np.isfinite(fleet).sum() > 1 else 0.0
        spread = max(spread, _LEAST_SHARE if name.endswith("_share") else 0.0)
        if spread > 0:
            shifts.append(np.abs(_column(sketches, name) - _column(rows, name)) / spread)
    return _largest(shifts, count)


def _column(table: pa.Table, name: str) -> Floats:
    return as_floats(table[name]) if name in table.column_names else np.full(table.num_rows, np.nan)


def _largest(columns: Sequence[Floats], count: int) -> Floats:
    """Row by row the largest that is known, NaN where none is."""
    if not columns:
        return np.full(count, np.nan)
    stacked = np.stack(columns)
    known = ~np.isnan(stacked)
    return np.where(known.any(axis=0), np.where(known, stacked, -np.inf).max(axis=0), np.nan)


_BEFORE = "in training, or in the first run of a model that was imported, "


def _sentence(row: dict[str, object]) -> str:
    sentences = {
        "shift": "The mean of its input is {mean:.6g}; "
        + _BEFORE
        + "it was {mean_before:.6g}, {shift:.1f} deviations off.",
        "spread": "The deviation of its input is {std:.6g}; " + _BEFORE + "it was {std_before:.6g}.",
        "prediction": "Its predictions are {prediction:.1f} of the fleet's deviations from those of the model's first run.",
        "missing": "{missing:.0%} of its input is missing or unusable.",
    }
    return sentences[str(row["worst"])].format(**row)
