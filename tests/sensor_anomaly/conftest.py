"""What the tests of sensor_anomaly share: stores with readings, models, and scikit-learn's own answers."""

import io
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fleetscore.models.model_sets import write_model_set
from fleetscore.models.pins import pin_version
from fleetscore.store import open_store
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, parse_window
from fleetscore.workloads.sensor_anomaly.importing import draft_of
from fleetscore.workloads.sensor_anomaly.packs import SensorModel

HERE = str(Path(__file__).resolve().parent)  # the estate of the detectors' tests lies there
if HERE not in sys.path:
    sys.path.insert(0, HERE)

WINDOW = parse_window("2018-08-28T23", Cadence.HOUR)
START_US = int(WINDOW.start.timestamp()) * 1_000_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty local store."""
    return open_store(str(tmp_path / "store"))


@pytest.fixture
def real_data() -> Path:
    """The folder of the reference's own readings and models, or the test is skipped."""
    named = os.environ.get("FLEETSCORE_REAL_DATA", "")
    folders = [Path(named)] if named else [Path(__file__).resolve().parents[3] / "shared" / "data"]
    for folder in folders:
        if (folder / "sensor_anomaly" / "sensor_data.csv").exists():
            return folder / "sensor_anomaly"
    pytest.skip("the reference's data is not on this machine; name its folder in FLEETSCORE_REAL_DATA")


@pytest.fixture
def make_model() -> Callable[..., SensorModel]:
    """Models as training makes them: around a mean, with a band of about three deviations."""

    def make(mean: float = 10.0, scale: float = 1.0, vectors: int = 2, features: int = 1) -> SensorModel:
        rng = np.random.default_rng(round(1000 * mean) + vectors)
        side = np.where(np.arange(vectors) % 2, -1.0, 1.0)[:, None]
        support = side * rng.uniform(2.0, 3.0, (vectors, features))
        alpha = rng.uniform(0.5, 0.6, vectors)
        edge = np.exp(-0.05 * ((3.1 - support) ** 2).sum(axis=1)) @ alpha
        return SensorModel(
            np.full(features, mean), np.full(features, scale), support, alpha, float(edge), 0.05
        )

    return make


@pytest.fixture
def put_models(store: Store) -> Callable[[Mapping[str, SensorModel]], str]:
    """Store models as a set, pin it, and give its version."""

    def put(models: Mapping[str, SensorModel]) -> str:
        draft = draft_of(dict(models), {})
        version = write_model_set(store, "sensor_anomaly", draft.files, draft.card).version
        pin_version(store, "sensor_anomaly", version)
        return version

    return put


@pytest.fixture
def put_parquet(store: Store) -> Callable[..., None]:
    """Write rows (seconds after the window's start, device, sensor, value) as a Parquet input file."""

    def put(name: str, rows: list[tuple[float, str, str, Any]], row_group_size: int = 1000) -> None:
        seconds, devices, sensors, values = zip(*rows, strict=True) if rows else ((), (), (), ())
        table = pa.table(
            {
                "TS": pa.array(
                    [START_US + round(s * 1_000_000) for s in seconds], pa.timestamp("us", tz="UTC")
                ),
                "Device": pa.array(devices, pa.string()),
                "Sensor": pa.array(sensors, pa.string()),
                "Value": pa.array(values, pa.float64()),
            }
        )
        sink = io.BytesIO()
        pq.write_table(table, sink, row_group_size=row_group_size)
        store.write(f"data/sensor_anomaly/{name}", sink.getvalue())

    return put


@pytest.fixture
def pipeline_of() -> Callable[[SensorModel], Any]:
    """scikit-learn's own Pipeline(StandardScaler, OneClassSVM) with given parameters: the oracle."""
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import OneClassSVM

    def build(model: SensorModel) -> Any:
        features = len(model.mean)
        scaler = StandardScaler()
        scaler.mean_, scaler.scale_, scaler.var_ = model.mean, model.scale, model.scale**2
        scaler.n_features_in_, scaler.n_samples_seen_ = features, 300
        svm = OneClassSVM(gamma=model.gamma)
        count = len(model.alpha)
        svm.support_vectors_ = np.ascontiguousarray(model.support)
        svm.dual_coef_ = svm._dual_coef_ = np.ascontiguousarray(model.alpha[None])
        svm.intercept_ = svm._intercept_ = np.array([-model.rho])
        svm.support_ = np.arange(count, dtype=np.int32)
        svm._n_support = np.array([count, 0], np.int32)
        svm._probA = svm._probB = np.empty(0)
        svm._gamma, svm._sparse, svm.shape_fit_, svm.fit_status_ = model.gamma, False, (300, features), 0
        svm.n_features_in_ = features
        return Pipeline([("scaler", scaler), ("svm", svm)])

    return build
