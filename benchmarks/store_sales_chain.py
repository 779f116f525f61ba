"""The chain that benchmarks/store_sales.py measures on, and the reference's features of it in pandas."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STORES, SKUS, WEEKS, STEPS, QUANTILES = 80, 11, 108, 13, 5
BLOCKS = 90


def make_chain(folder: Path, blocks: int) -> Path:
    """A store with `blocks` copies, at different sales levels, of 80 stores x 11 SKUs x 108 weeks, and 13 weeks ahead, as Parquet."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(3)
    shape = (STORES, SKUS, WEEKS + STEPS)
    deal = random.random((1, SKUS, WEEKS + STEPS)) < 0.35
    deal = deal & (random.random(shape) < 0.9)
    feat = deal & (random.random((1, SKUS, WEEKS + STEPS)) < 0.45)
    regular = random.uniform(0.025, 0.055, (1, SKUS, 1)) * random.uniform(0.95, 1.05, (STORES, 1, 1))
    price = (
        regular * np.where(deal, random.uniform(0.65, 0.95, shape), random.uniform(0.97, 1.03, shape))
    ).round(6)
    drift = np.cumsum(random.normal(0, 0.04, shape), axis=2)
    size = random.normal(8.4, 0.9, (STORES, SKUS, 1))
    logs = size + drift - 2.5 * np.log(price / regular) + 0.7 * feat + random.normal(0, 0.35, shape)
    target = folder / "data" / "store_sales"
    target.mkdir(parents=True)
    stores, skus, weeks = (a.reshape(-1).astype(np.int32) for a in np.indices(shape))
    columns = {
        "sku": skus + 1,
        "week": weeks,
        "deal": deal.reshape(-1).astype(np.int8),
        "feat": feat.reshape(-1).astype(np.int8),
    }
    columns |= {f"price{k + 1}": price[stores, k, weeks] for k in range(SKUS)}
    past = weeks < WEEKS
    with (target / "history.parquet").open("wb") as history, (target / "future.parquet").open("wb") as future:
        writers: dict[bool, Any] = {}
        for block in range(blocks):
            names = pa.array([f"{block:02d}-{store + 1:02d}" for store in range(STORES)])
            named = {
                "store": pa.DictionaryArray.from_arrays(pa.array(stores), names).cast(pa.string()),
                **columns,
            }
            sales = np.exp(logs + 0.01 * (block % 7)).reshape(-1)
            for is_past, sink in ((True, history), (False, future)):
                mask = pa.array(past == is_past)
                table = pa.table(named | ({"sales": sales} if is_past else {})).filter(mask)
                writer = writers.setdefault(is_past, None) or pq.ParquetWriter(sink, table.schema)
                writers[is_past] = writer
                writer.write_table(table)
        for writer in writers.values():
            writer.close()
    return folder


def share_models(source: Path, target: Path) -> None:
    """Pin the same model set in the other store."""
    shutil.copytree(source / "models", target / "models", dirs_exist_ok=True)


def reference_features(frame: Any, step: int) -> Any:
    """What the reference computes for one step: lags of log sales, their mean, maximum and minimum, and the running mean."""
    import numpy as np

    frame = frame.sort_values(["sku", "store", "week"]).copy()
    frame["sales"] = np.log(frame["sales"])
    by_series = frame.groupby(["sku", "store"], sort=False)["sales"]
    for lag in range(1, 6):
        frame[f"lag{lag}"] = by_series.shift(lag + step - 1)
    lags = frame[[f"lag{lag}" for lag in range(1, 6)]]
    frame["month_mean"], frame["month_max"], frame["month_min"] = (
        lags.mean(axis=1),
        lags.max(axis=1),
        lags.min(axis=1),
    )
    running = frame.groupby(["sku", "store"], sort=False)["lag1"].expanding().mean()
    frame["level"] = running.to_numpy()
    return (
        frame[frame["week"] == WEEKS + step - 1]
        .drop(columns=["lag2", "lag3", "lag4", "lag5", "sales"])
        .dropna()
    )


def fastest(turns: int, work: Callable[[], Any]) -> tuple[float, Any]:
    """The least processor seconds of several turns, and the last turn's result."""
    times = []
    for _ in range(turns):
        started = time.process_time()
        result = work()
        times.append(time.process_time() - started)
    return min(times), result
