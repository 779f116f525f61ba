"""A small fleet of vans with a model each, in a store of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fleetscore.models.importers.estimators import compile_estimator
from fleetscore.models.model_sets import write_model_set
from fleetscore.models.packs.bundle import pack_models
from fleetscore.models.pins import pin_version
from fleetscore.store import open_store
from fleetscore.store.base import Store

FEATURES = ["speed", "load_kg"]
SETTINGS = """
kind = "models"
partition = ["van_id"]
timezone = "Europe/Berlin"
[data]
path = "data/telemetry/*.parquet"
time = "recorded_at"
features = ["speed", "load_kg"]
keep = ["recorded_at", "depot"]
[models]
output = "kwh"
"""
MIDNIGHT = datetime(2026, 11, 20, 23, tzinfo=UTC)
"""The start of 2026-11-21 in Berlin."""


def telemetry(vans: list[str], rows: int = 20, start: datetime = MIDNIGHT) -> pd.DataFrame:
    """Rows of a day: an even number of seconds apart, in UTC."""
    random = np.random.default_rng(5)
    frames = [
        pd.DataFrame(
            {
                "van_id": van,
                "depot": f"depot-{at % 2}",
                "recorded_at": [start + timedelta(seconds=86400 / rows * n) for n in range(rows)],
                "speed": random.gamma(4, 12, rows),
                "load_kg": random.uniform(0, 1200, rows),
            }
        )
        for at, van in enumerate(vans)
    ]
    return pd.concat(frames, ignore_index=True)


def fitted(seed: int, classes: bool = False) -> Any:
    """A model of the two features, different for each seed."""
    random = np.random.default_rng(seed)
    x = pd.DataFrame({"speed": random.gamma(4, 12, 60), "load_kg": random.uniform(0, 1200, 60)})
    y = 0.1 + seed * 0.01 + 0.002 * x.speed + 0.0001 * x.load_kg
    if classes:
        labels = np.where(y > y.median(), "high", "low")
        return make_pipeline(StandardScaler(), LogisticRegression()).fit(x, labels)
    return make_pipeline(StandardScaler(), Ridge()).fit(x, y)


def write_rows(store: Store, frame: pd.DataFrame, name: str = "2026-11-21.parquet") -> None:
    """The rows as a Parquet file of the input."""
    with store.sink(f"data/telemetry/{name}") as file:
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), file)


def pin_models(store: Store, models: Mapping[str, Any], workload: str = "vans") -> str:
    """Pack the models under their keys, store them as a set and pin it; gives the version."""
    bundle = pack_models((key, compile_estimator(model)) for key, model in models.items())
    stored = write_model_set(store, workload, dict(bundle.files()), {"models": len(bundle)})
    pin_version(store, workload, stored.version, why="test", now=datetime.now(UTC))
    return stored.version


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with the settings of the vans."""
    made = open_store(str(tmp_path / "store"))
    made.write("settings/vans.toml", SETTINGS.encode())
    return made


@pytest.fixture
def change_settings(store: Store) -> Callable[[str, str], None]:
    """Replace a text of the settings."""

    def change(before: str, after: str) -> None:
        text = store.read("settings/vans.toml").decode()
        assert before in text
        store.write("settings/vans.toml", text.replace(before, after).encode())

    return change
