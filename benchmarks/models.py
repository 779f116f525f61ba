"""Fleets of imported models against their libraries' own loops, in the same process on the same Parquet file, in CPU seconds.

Each family (those of trees stand in `model_trees`): 40 distinct models repeated to 2,000 keys, 1,000 rows a key, 8 features. The
rival calls the library key by key on contiguous arrays, scikit-learn with its checks of finite input switched off; both read the
file's columns first, which is not counted. Loading counts the least of three on both sides, so that neither pays for
modules that its first model imports. Every result is compared before it is timed. Run: python benchmarks/models.py
[FAMILY ...], or `trees` for all of those (see models_trees.py); the variable MODELS sets another number of keys.
"""

from __future__ import annotations

import io
import os
import pickle
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sklearn
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.model_families import Family, estimator
from benchmarks.model_trees import TREES
from fleetscore.models.packs.base import CompiledModel
from fleetscore.models.packs.bundle import Bundle, open_bundle, pack_models
from fleetscore.models.packs.shard_scoring import score_shard

MODELS, ROWS, FEATURES, DISTINCT = int(os.environ.get("MODELS", "2000")), 1_000, 8, 40
NAMES = tuple(f"feature_{at}" for at in range(FEATURES))


FAMILIES: tuple[Family, ...] = (
    Family("scaler + Ridge", estimator(lambda _: make_pipeline(StandardScaler(), Ridge())), "value", 20),
    Family("logistic regression", estimator(lambda _: LogisticRegression()), "class", 4),
    Family("SGD classifier", estimator(lambda seed: SGDClassifier(random_state=seed)), "class", 4),
    Family(
        "scaler + one-class SVM",
        estimator(lambda _: make_pipeline(StandardScaler(), OneClassSVM(nu=0.1))),
        "nothing",
        10,
        0,
        "decision_function",
    ),
    *TREES,
)


@dataclass(frozen=True)
class Measured:
    """CPU seconds of rival and pack for loading and scoring 2,000 models, and the pack's bytes a model."""

    family: Family
    rival_load_s: float
    load_s: float
    rival_s: float
    score_s: float
    model_bytes: int


def main(names: list[str]) -> None:
    """Measure the families that are named, or all, and print the tables."""
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):  # the ratio counts processor time
        table = write_rows(Path(folder) / "rows.parquet")
        measured = [
            measure(family, table)
            for family in FAMILIES
            if family.name in names or family.group in (names or [""])
        ]
        print_families(measured)
        if not names:
            print_onnx()
            print_import(Path(folder))


def write_rows(path: Path) -> pa.Table:
    """The rows of all keys, written once and read by rival and packs alike."""
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=MODELS * ROWS) for name in NAMES}
    pq.write_table(pa.table(columns), path)
    return pq.read_table(path).combine_chunks()


def fit(family: Family) -> list[Any]:
    """The distinct models of a family."""
    rng = np.random.default_rng(1)
    models = []
    for seed in range(DISTINCT):
        x = rng.normal(size=(family.training_rows, FEATURES))
        y = x @ rng.normal(size=FEATURES) + rng.normal(size=len(x))
        y += 3 * np.sin(3 * x[:, 0]) * family.curved
        target = {"value": y, "class": y > 0, "nothing": None}[family.target]
        models.append(family.fit(x, target, seed))
    return models


def measure(family: Family, table: pa.Table) -> Measured:
    """Time loading and scoring by the library and by packs; AssertionError where the results differ."""
    distinct = fit(family)
    pickles = [pickle.dumps(model) for model in distinct]
    files = dict(pack_models(_keyed(family, distinct)).files())
    rival_load_s, _ = best(lambda: unpickle(pickles))
    load_s, bundle = best(lambda: load(files))
    columns = {name: table[name].to_numpy() for name in NAMES}
    score(family, bundle, columns)  # compiled kernels come from their cache
    rival_s, theirs = timed(lambda: rival(family, distinct, columns))
    score_s, ours = best(lambda: score(family, bundle, columns))
    compare(family, ours, theirs)
    size = sum(len(data) for data in files.values()) // MODELS
    return Measured(family, rival_load_s, load_s, rival_s, score_s, size)


def _keyed(family: Family, distinct: list[Any]) -> Iterator[tuple[str, CompiledModel]]:
    compiled = [family.compiled(model) for model in distinct]
    for at in range(MODELS):
        yield f"van {at:06d}", compiled[at % DISTINCT]


def unpickle(pickles: list[bytes]) -> None:
    """Every model loaded once; none is kept, for 2,000 forests would not fit."""
    for at in range(MODELS):
        pickle.load(io.BytesIO(pickles[at % DISTINCT]))  # noqa: S301 - our own


def load(files: dict[str, bytes]) -> Bundle:
    """All packs opened, after the hash of each file was computed as a model set's reader does."""
    import hashlib

    def read(name: str) -> bytes:
        hashlib.sha256(files[name]).hexdigest()
        return files[name]

    bundle = open_bundle(read)
    for number in range(len(bundle.names)):
        bundle.pack(number)
    return bundle


def rival(family: Family, models: list[Any], columns: dict[str, np.ndarray]) -> np.ndarray:
    """The library's own method, key by key, on the columns side by side."""
    matrix = np.stack(list(columns.values()), axis=1)
    with sklearn.config_context(assume_finite=True):
        found = [
            family.predict(models[at % DISTINCT], matrix[at * ROWS : (at + 1) * ROWS], family.method)
            for at in range(MODELS)
        ]
    return np.concatenate([values if values.ndim == 1 else values[:, -1] for values in found])


def score(family: Family, bundle: Bundle, columns: dict[str, np.ndarray]) -> np.ndarray:
    """All rows by the packs, columns in, a column out."""
    keys = [f"van {at:06d}" for at in range(MODELS)]
    offsets = np.arange(0, MODELS * ROWS + 1, ROWS)
    scores = score_shard(bundle, keys, offsets, columns, family.method, NAMES)
    assert not scores.errors
    return scores.values[:, -1]


def compare(family: Family, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Values within 1e-9 of their size here (the proof at import is stricter), labels but for ties."""
    if family.target == "class" and family.method == "predict":
        assert (ours != theirs).mean() < 1e-6, family.name
    else:
        assert np.allclose(ours, theirs, rtol=1e-9, atol=1e-9), family.name


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds and what `run` gives."""
    start = time.process_time()
    found = run()
    return time.process_time() - start, found


def best(run: Callable[[], Any]) -> tuple[float, Any]:
    """The least of three, with what the last gives."""
    tries = [timed(run) for _ in range(3)]
    return min(seconds for seconds, _ in tries), tries[-1][1]


def print_families(measured: list[Measured]) -> None:
    """A row a family."""
    heads = (f"{MODELS:,} models x 1,000 rows", "library loop s", "packs s", "ratio (at least)")
    heads += ("unpickling s", "opening packs s", "ratio (at least)", "bytes a model")
    print(f"| {' | '.join(heads)} |")
    print("|---" + "|--:" * (len(heads) - 1) + "|")
    for one in measured:
        print(
            f"| {one.family.name} | {one.rival_s:.2f} | {one.score_s:.3f} | {one.rival_s / one.score_s:.1f} ({one.family.scored:g}) "
            f"| {one.rival_load_s:.2f} | {one.load_s:.4f} | {one.rival_load_s / one.load_s:.0f} ({one.family.loaded:g}) "
            f"| {one.model_bytes:,} |"
        )


def print_onnx() -> None:
    """500 networks of 8 x 16 x 1 as ONNX files: a session each, made and run, against the pack's shared session."""
    import onnxruntime
    from skl2onnx import to_onnx
    from sklearn.neural_network import MLPRegressor

    from fleetscore.models.importers.onnx_files import load_onnx
    from fleetscore.models.packs.onnx_graphs import SESSIONS, SESSIONS_BYTES

    count, rng = MODELS // 4, np.random.default_rng(1)
    x = rng.normal(size=(count * ROWS, FEATURES)).astype(np.float32).astype(np.float64)
    graphs, compiled = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        for seed in range(DISTINCT):
            network = MLPRegressor(hidden_layer_sizes=(16,), max_iter=3, random_state=seed).fit(
                x[:300], x[:300, 0]
            )
            graphs.append(to_onnx(network, x[:1].astype(np.float32)).SerializeToString())
            path.write_bytes(graphs[-1])
            compiled.append(load_onnx(path).ways[0]())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1

    def by_session() -> np.ndarray:
        sessions = [
            onnxruntime.InferenceSession(graphs[at % DISTINCT], options, providers=["CPUExecutionProvider"])
            for at in range(count)
        ]
        found = []
        for at, session in enumerate(sessions):
            rows = x[at * ROWS : (at + 1) * ROWS].astype(np.float32)
            found.append(session.run(None, {session.get_inputs()[0].name: rows})[0])
        return np.concatenate(found)

    keys = [f"van {at:06d}" for at in range(count)]
    files = dict(pack_models((key, compiled[at % DISTINCT]) for at, key in enumerate(keys)).files())
    columns = dict(zip(NAMES, np.ascontiguousarray(x.T), strict=True))

    def by_pack() -> np.ndarray:
        scores = score_shard(load(files), keys, np.arange(0, len(x) + 1, ROWS), columns, "predict", NAMES)
        assert not scores.errors
        return scores.values

    made = SESSIONS.made
    pack_s, ours = timed(by_pack)
    sessions_made = SESSIONS.made - made
    rival_s, theirs = timed(by_session)
    assert np.allclose(
        ours, theirs, rtol=1e-3, atol=1e-4
    )  # float32; sessions of the runtime's own choice of order
    print(
        f"\n{count} ONNX networks x {ROWS:,} rows, made or opened and run: a session each {rival_s:.2f} s, pack {pack_s:.2f} s, "
        f"ratio {rival_s / pack_s:.1f} (1); sessions made: {sessions_made}, bounded to {SESSIONS_BYTES >> 20} MiB."
    )


def print_import(folder: Path) -> None:
    """Seconds to import 2,000 pickles of linear models, each proven, by two processes."""
    from fleetscore.models.importers.folder import ImportOptions, import_models

    source = folder / "models"
    source.mkdir()
    distinct = fit(FAMILIES[0])
    for at in range(MODELS):
        (source / f"van {at:06d}.pkl").write_bytes(pickle.dumps(distinct[at % DISTINCT]))
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = sum(one.refusal is None for one in import_models(source, options=ImportOptions(trusted=True)))
    assert done == MODELS
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    wall_s = time.monotonic() - start
    print(
        f"\nImporting {MODELS:,} pickles of scaler + Ridge by two processes, each proven: {wall_s:.0f} s, {cpu_s:.0f} CPU s."
    )


if __name__ == "__main__":
    main(sys.argv[1:])
