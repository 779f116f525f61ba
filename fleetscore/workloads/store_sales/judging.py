"""Judging the samples: how good the published forecasts were, and whether every planted defect got its
outcome and cause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import InputError, MissingBlobError
from fleetscore.partition_keys import join_key
from fleetscore.runs.ledgers import read_ledger
from fleetscore.runs.manifests import read_manifest, read_results
from fleetscore.store.base import Store
from fleetscore.typed_json import decode_json
from fleetscore.windows import Window
from fleetscore.workloads.store_sales.contract import NAME, QUANTILE_NAMES
from fleetscore.workloads.store_sales.judgement import coverage, pinball
from fleetscore.workloads.store_sales.samples import PLANTED, TRUTH, Planted

_KEY = ["store", "sku", "week"]


def judge_windows(store: Store, workload: str, windows: Sequence[Window]) -> Mapping[str, Any]:
    """Planted defects whose outcome and cause the ledgers name (found) or not (missed), and the forecasts
    against the truth.

    InputError when there are no samples in the store. Windows that are not published count as missed.
    """
    planted = _read_planted(store)
    by_kind = {p.kind: {"planted": len(windows), "found": 0, "missed": 0} for p in planted}
    parts = []
    for window in windows:
        try:
            manifest = read_manifest(store, workload, window.key)
        except MissingBlobError:
            continue
        parts.append(read_results(store, manifest, [*_KEY, *QUANTILE_NAMES]))
        outcomes = {row["partition"]: row for row in read_ledger(store, manifest.run).to_pylist()}
        for p in planted:
            row = outcomes.get(join_key([p.store]), {})
            by_kind[p.kind]["found"] += (row.get("outcome"), row.get("cause")) == (p.outcome, p.cause)
    for figures in by_kind.values():
        figures["missed"] = figures["planted"] - figures["found"]
    totals = {
        name: sum(figures[name] for figures in by_kind.values()) for name in ("planted", "found", "missed")
    }
    return {**totals, "by_kind": by_kind, **_accuracy(store, parts)}


def _read_planted(store: Store) -> list[Planted]:
    try:
        return decode_json(store.read(PLANTED), list[Planted])
    except MissingBlobError as error:
        raise InputError(
            f"The store has no {PLANTED}.", fix=f"Run `fleetscore samples {NAME}` first.", field="store"
        ) from error


def _accuracy(store: Store, parts: list[pa.Table]) -> dict[str, Any]:
    """Coverage of both bands and pinball loss over all forecasts whose truth is known."""
    if not parts:
        return {"forecasts_judged": 0}
    with store.open(TRUTH) as source:
        truth = pq.read_table(source)
    joined = pa.concat_tables(parts).join(truth, keys=_KEY, join_type="inner")
    if not joined.num_rows:
        return {"forecasts_judged": 0}
    sales = joined["sales"].to_numpy()
    quantiles = np.stack([joined[name].to_numpy() for name in QUANTILE_NAMES], axis=1)
    relative = pinball(sales, quantiles).mean() / pc.mean(joined["sales"]).as_py()
    return {
        "forecasts_judged": joined.num_rows,
        **coverage(sales, quantiles),
        "pinball_share_of_sales": float(relative),
    }
