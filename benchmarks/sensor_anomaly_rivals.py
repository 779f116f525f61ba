"""The rivals of benchmarks/sensor_anomaly.py, and the readings and models that all of them score.

Each program is a function that takes the estate's folder; run one as `python benchmarks/sensor_anomaly_rivals.py NAME FOLDER`.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

SENSORS = 2000
WINDOW = "2018-08-28T23"
START_US = 1535497200 * 1_000_000
DATA = "data/sensor_anomaly/readings.parquet"


# the estate


def make_estate(folder: Path, readings: int) -> Path:
    """A store with SENSORS sensors of `readings` readings in one Parquet file, and the same models as a model set and as pickles."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from fleetscore.models.model_sets import write_model_set
    from fleetscore.models.pins import pin_version
    from fleetscore.store import open_store
    from fleetscore.workloads.sensor_anomaly.importing import import_folder

    rng = np.random.default_rng(1)
    levels, spreads = rng.uniform(5, 120, SENSORS), rng.uniform(0.5, 5, SENSORS)
    models = folder / "pickles"
    models.mkdir(parents=True)
    for sensor in range(SENSORS):
        values = np.round(rng.normal(levels[sensor], spreads[sensor], (300, 1)), 2)
        (models / f"model_{sensor // 5}_{sensor % 5}").write_bytes(pickle.dumps(fit_as_the_reference(values)))
    store = open_store(str(folder))
    draft = import_folder(models)
    pin_version(
        store, "sensor_anomaly", write_model_set(store, "sensor_anomaly", draft.files, draft.card).version
    )
    code = np.tile(np.arange(SENSORS, dtype=np.int32), readings)
    values = np.round(
        np.tile(levels, readings) + np.tile(spreads, readings) * rng.standard_normal(len(code)), 2
    )
    times = np.repeat(START_US + np.arange(readings) * (3_600_000_000 // readings), SENSORS)
    names = [pa.array([str(n) for n in range(count)]) for count in (SENSORS // 5, 5)]
    table = pa.table(
        {
            "TS": pa.array(times, pa.timestamp("us")),
            "Device": pa.DictionaryArray.from_arrays(code // 5, names[0]).cast(pa.string()),
            "Tag": pa.DictionaryArray.from_arrays(code % 5, names[1]).cast(pa.string()),
            "Value": values,
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    store.write(DATA, sink.getvalue())
    return folder


def fit_as_the_reference(values: Any) -> Any:
    """The reference's pipeline on the reference's number of readings; nu is 1/300 instead of 1e-4, so that no model is degenerate."""
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import OneClassSVM

    return Pipeline([("scaler", StandardScaler()), ("svm", OneClassSVM(gamma=0.01, nu=1 / 300))]).fit(values)


# programs


def run_fleetscore(folder: Path) -> None:
    """Our program: discover, plan, score, ledger, publish."""
    from fleetscore.pipeline.local import run_window
    from fleetscore.store import open_store

    record = run_window(open_store(str(folder)), "sensor_anomaly", WINDOW)
    assert record.counts == {"scored": SENSORS}, record.counts


def run_sklearn_loop(folder: Path) -> None:
    """The loop as one writes it: read the file once, predict sensor by sensor, join the labelled readings; nothing is written."""
    import pandas as pd

    frame = pd.read_parquet(folder / DATA)
    groups = frame.groupby(["Device", "Tag"], sort=False)
    labelled = label_groups((key, group, read_pickle(folder, *key)) for key, group in groups)
    assert len(labelled) == len(frame)


def run_sklearn_bare(folder: Path) -> None:
    """The least that scikit-learn can do: labels as loose arrays, in no table, written nowhere."""
    import pandas as pd

    frame = pd.read_parquet(folder / DATA)
    groups = frame.groupby(["Device", "Tag"], sort=False)["Value"]
    labels = [predict_one(folder, key[0], key[1], values.to_numpy()) for key, values in groups]
    assert len(labels) == SENSORS


def label_groups(groups: Iterable[tuple[Any, Any, Any]]) -> Any:
    """One frame of all readings with their labels."""
    import pandas as pd

    return pd.concat(
        group.assign(anomaly=(model.predict(group[["Value"]].to_numpy()) == -1).astype("int8"))
        for _, group, model in groups
    )


def run_joblib(folder: Path) -> None:
    """The same loop over two worker processes."""
    import joblib  # type: ignore[import-untyped]  # ships no types
    import pandas as pd

    frame = pd.read_parquet(folder / DATA)
    groups = [
        (folder, *key, values.to_numpy())
        for key, values in frame.groupby(["Device", "Tag"], sort=False)["Value"]
    ]
    done = joblib.Parallel(n_jobs=2, batch_size=100)(joblib.delayed(predict_one)(*group) for group in groups)
    assert len(done) == SENSORS


def run_dask(folder: Path) -> None:
    """Dask: partitions of the frame by sensor, over two processes."""
    import dask
    import dask.dataframe as dd
    import pandas as pd

    frame = pd.read_parquet(folder / DATA).sort_values(["Device", "Tag"])
    with dask.config.set(scheduler="processes", num_workers=2):
        parts = dd.from_pandas(  # type: ignore[no-untyped-call]  # typed in part
            frame.set_index("Device"), npartitions=8
        )
        done = parts.map_partitions(predict_frame, str(folder), meta=("label", "i8")).compute()
    assert len(done) == len(frame)


def run_reference_sensor(folder: Path) -> None:
    """What the reference's process for one sensor does: read the whole CSV, keep its rows, unpickle, predict, write a CSV."""
    import pandas as pd

    frame = pd.read_csv(folder / "readings.csv")
    mine = frame[(frame["Device"] == 7) & (frame["Tag"] == 2)].copy()
    mine["Label"] = [
        0 if p == 1 else 1 for p in read_pickle(folder, "7", "2").predict(mine[["Value"]].to_numpy())
    ]
    mine.to_csv(folder / "reference.csv", index=False)


def read_pickle(folder: Path, device: str, tag: str) -> Any:
    """A rival's model: scikit-learn's own object."""
    path = folder / "pickles" / f"model_{device}_{tag}"
    return pickle.loads(path.read_bytes())  # noqa: S301 - written by this very run


def predict_one(folder: Path, device: str, tag: str, values: Any) -> Any:
    """One sensor's labels."""
    return read_pickle(folder, device, tag).predict(values[:, None])


def predict_frame(frame: Any, folder: str) -> Any:
    """The labels of all sensors in a frame indexed by device."""
    import pandas as pd

    parts = [
        pd.Series(predict_one(Path(folder), device, tag, group["Value"].to_numpy()), group.index)
        for (device, tag), group in frame.groupby([frame.index, "Tag"], sort=False)
    ]
    return pd.concat(parts) if parts else pd.Series([], dtype="i8")


PARTS: dict[str, Callable[[Path], None]] = {
    "fleetscore": run_fleetscore,
    "sklearn-loop": run_sklearn_loop,
    "sklearn-bare": run_sklearn_bare,
    "joblib": run_joblib,
    "dask": run_dask,
    "reference-sensor": run_reference_sensor,
}


if __name__ == "__main__":
    PARTS[sys.argv[1]](Path(sys.argv[2]))
