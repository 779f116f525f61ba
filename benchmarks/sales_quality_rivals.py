"""AutoETS, AutoTheta and mlforecast on a panel of benchmarks/sales_quality.py; run by an interpreter that has them.

Reads FOLDER/panel.parquet, writes FOLDER/said-NAME.npz (series x steps x quantiles) for each.
Run: python benchmarks/sales_quality_rivals.py FOLDER CUTOFF STEPS
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

LEVELS = (0.05, 0.25, 0.50, 0.75, 0.95)
SEASON_WEEKS = 52
KNOWN_AHEAD = ["price", "deal", "feat"]


def main(folder: str, cutoff: int, steps: int) -> None:
    """Forecast the weeks from `cutoff` on with every rival."""
    frame = pd.read_parquet(Path(folder) / "panel.parquet")
    frame = frame.rename(columns={"series": "unique_id", "week": "ds"})
    frame["y"] = np.log1p(frame.groupby("unique_id")["sales"].ffill())
    frame[KNOWN_AHEAD] = frame.groupby("unique_id")[KNOWN_AHEAD].ffill().fillna(0.0)
    past = frame[frame["ds"] < cutoff].dropna(subset=["y"])[["unique_id", "ds", "y", *KNOWN_AHEAD]]
    inside = (frame["ds"] >= cutoff) & (frame["ds"] < cutoff + steps)
    ahead = frame[inside & frame["unique_id"].isin(past["unique_id"].unique())]
    for name, way in WAYS.items():
        said = way(past, ahead[["unique_id", "ds", *KNOWN_AHEAD]], steps)
        _write(Path(folder) / f"said-{name}.npz", said, frame["unique_id"].nunique(), cutoff, steps)


def _write(path: Path, said: pd.DataFrame, series: int, cutoff: int, steps: int) -> None:
    """Log quantiles as sales in a dense array; last week's zero where a rival says nothing."""
    quantiles = np.zeros((series, steps, len(LEVELS)))
    rows = said[[f"q{n}" for n in range(len(LEVELS))]].to_numpy()
    quantiles[said["unique_id"].to_numpy(), said["ds"].to_numpy() - cutoff] = np.sort(
        np.maximum(np.expm1(rows), 0.0), axis=1
    )
    np.savez_compressed(path, quantiles=quantiles)


def by_mlforecast(past: pd.DataFrame, ahead: pd.DataFrame, steps: int) -> pd.DataFrame:
    """LightGBM quantile models on lags (52 weeks among them) and rolling means, recursive, with the known covariates."""
    import lightgbm
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import RollingMean

    models = {
        f"q{n}": lightgbm.LGBMRegressor(
            objective="quantile", alpha=level, n_estimators=100, num_leaves=16, n_jobs=1, verbosity=-1
        )
        for n, level in enumerate(LEVELS)
    }
    transforms = {1: [RollingMean(5), RollingMean(13)]}
    forecaster = MLForecast(models, freq=1, lags=[1, 2, 3, 4, 5, 13, SEASON_WEEKS], lag_transforms=transforms)
    forecaster.fit(past, static_features=[])
    return forecaster.predict(steps, X_df=ahead)


def by_statsforecast(model: Any) -> Any:
    """A way to forecast with a model of statsforecast per series, without covariates; quantiles from its intervals."""

    def way(past: pd.DataFrame, ahead: pd.DataFrame, steps: int) -> pd.DataFrame:
        from statsforecast import StatsForecast

        del ahead
        logs = past[["unique_id", "ds", "y"]]
        said = StatsForecast([model()], freq=1, n_jobs=1).forecast(df=logs, h=steps, level=[50, 90])
        names = ["m-lo-90", "m-lo-50", "m", "m-hi-50", "m-hi-90"]
        return said[["unique_id", "ds"]].assign(**{f"q{n}": said[name] for n, name in enumerate(names)})

    return way


def _auto_ets() -> Any:
    from statsforecast.models import AutoETS

    return AutoETS(alias="m")


def _auto_theta() -> Any:
    from statsforecast.models import AutoTheta

    return AutoTheta(season_length=SEASON_WEEKS, alias="m")


WAYS = {
    "statsforecast AutoETS": by_statsforecast(_auto_ets),
    "statsforecast AutoTheta, 52 weeks": by_statsforecast(_auto_theta),
    "mlforecast, LightGBM quantiles": by_mlforecast,
}


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
