"""mlforecast and statsforecast on a chain of benchmarks/store_sales.py; run by an interpreter that has them. Prints one JSON list.

Run: python benchmarks/store_sales_rivals.py FOLDER CUTOFF_WEEK STEPS
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

LEVELS = np.array([0.05, 0.25, 0.50, 0.75, 0.95])


def main(folder: str, cutoff: int, steps: int) -> None:
    """Forecast the weeks from `cutoff` on with every rival."""
    frame = pd.read_parquet(Path(folder) / "data" / "store_sales" / "history.parquet")
    frame["unique_id"] = frame["store"] + "/" + frame["sku"].astype(str)
    prices = frame[[f"price{n}" for n in range(1, 12)]].to_numpy()
    frame["price"] = np.log(prices[np.arange(len(frame)), frame["sku"] - 1])
    frame = frame.rename(columns={"week": "ds", "sales": "y"})[
        ["unique_id", "ds", "y", "price", "deal", "feat"]
    ]
    past, ahead = frame[frame["ds"] < cutoff], frame[(frame["ds"] >= cutoff) & (frame["ds"] < cutoff + steps)]
    print(json.dumps([judge(name, way, past, ahead, steps) for name, way in WAYS.items()]))


def judge(name: str, way: Any, past: pd.DataFrame, ahead: pd.DataFrame, steps: int) -> dict[str, Any]:
    """Its pinball loss relative to the last value repeated, coverage, crossing and processor seconds."""
    started = time.process_time()
    said = way(past, ahead.drop(columns="y"), steps)
    cpu_s = time.process_time() - started
    both = ahead.merge(said, on=["unique_id", "ds"])
    truth, quantiles = both["y"].to_numpy(), both[[f"q{n}" for n in range(5)]].to_numpy()
    last = both["unique_id"].map(past.sort_values("ds").groupby("unique_id")["y"].last()).to_numpy()
    error = truth[:, None] - quantiles
    loss = np.maximum(LEVELS * error, (LEVELS - 1) * error).mean()
    return {
        "what": name,
        "cpu_s": cpu_s,
        "relative_to_last_value": float(loss / (np.abs(truth - last).mean() / 2)),
        "coverage_90": float(((truth >= quantiles[:, 0]) & (truth <= quantiles[:, 4])).mean()),
        "coverage_50": float(((truth >= quantiles[:, 1]) & (truth <= quantiles[:, 3])).mean()),
        "crossing_share": float((np.diff(quantiles, axis=1) < 0).any(axis=1).mean()),
    }


def by_mlforecast(past: pd.DataFrame, ahead: pd.DataFrame, steps: int) -> pd.DataFrame:
    """LightGBM quantile models on lags and rolling means of log sales, recursive, with the known covariates."""
    import lightgbm
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import ExpandingMean, RollingMean

    models = {
        f"q{n}": lightgbm.LGBMRegressor(
            objective="quantile", alpha=level, n_estimators=100, num_leaves=16, n_jobs=1, verbosity=-1
        )
        for n, level in enumerate(LEVELS)
    }
    transforms = {1: [RollingMean(5), RollingMean(13), ExpandingMean()]}
    forecaster = MLForecast(models, freq=1, lags=[1, 2, 3, 4, 5, 13], lag_transforms=transforms)
    forecaster.fit(past.assign(y=np.log(past["y"])), static_features=[])
    said = forecaster.predict(steps, X_df=ahead)
    said[[f"q{n}" for n in range(5)]] = np.exp(said[[f"q{n}" for n in range(5)]])
    return said


def by_auto_ets(past: pd.DataFrame, ahead: pd.DataFrame, steps: int) -> pd.DataFrame:
    """AutoETS per series on log sales, without covariates; quantiles from its intervals."""
    from statsforecast import StatsForecast
    from statsforecast.models import AutoETS

    del ahead
    logs = past[["unique_id", "ds", "y"]].assign(y=np.log(past["y"]))
    said = StatsForecast([AutoETS(alias="m")], freq=1, n_jobs=1).forecast(df=logs, h=steps, level=[50, 90])
    names = ["m-lo-90", "m-lo-50", "m", "m-hi-50", "m-hi-90"]
    return said[["unique_id", "ds"]].assign(**{f"q{n}": np.exp(said[name]) for n, name in enumerate(names)})


WAYS = {"mlforecast, LightGBM quantiles, recursive": by_mlforecast, "statsforecast AutoETS": by_auto_ets}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
