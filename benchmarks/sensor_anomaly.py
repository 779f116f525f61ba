"""sensor_anomaly against its rivals: the same models, the same readings, the same machine, in one run.

Programs are timed from the start of the interpreter to its exit, the least of several turns taken in alternation; beside wall-clock
seconds stand processor seconds (user + system, children included), which other load on the machine disturbs less.
Writes benchmarks/results/sensor_anomaly.json and prints the tables that README.md shows.
Run: python benchmarks/sensor_anomaly.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]  # a checkout that is not installed

from benchmarks.sensor_anomaly_rivals import (  # noqa: E402
    DATA,
    SENSORS,
    WINDOW,
    label_groups,
    make_estate,
    read_pickle,
)
from fleetscore.process_environment import SCORING_ENVIRONMENT  # noqa: E402


def main() -> None:
    """Prepare the estate, measure everything, print and keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="fewer turns, and neither the host nor the large estate"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines = measure(Path(folder), asked.quick)
    print_lines(lines)
    if not asked.quick:
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / "sensor_anomaly.json").write_text(json.dumps(lines, indent=1) + "\n")


def measure(folder: Path, quick: bool) -> list[dict[str, Any]]:
    """All lines of the tables: what was measured, seconds, and the ratio to the line that it is compared with."""
    turns = 2 if quick else 3
    small = make_estate(folder / "small", 1000)
    lines = measure_programs(small, turns, 1 if quick else 2)
    lines += measure_shard(small, turns)
    lines += measure_features(turns)
    lines += measure_loading(small)
    large = small if quick else make_estate(folder / "large", 10_000)
    lines.append(measure_memory(large))
    if not quick:
        lines += measure_host(large)
    return lines


# programs


def measure_programs(folder: Path, turns: int, reference_turns: int) -> list[dict[str, Any]]:
    """Whole programs on SENSORS x 1,000 readings; each takes its turn after the other, so that load on the machine hits all."""
    write_csv(folder)
    link_packages(folder)
    names = ["fleetscore", "sklearn-loop", "sklearn-bare", "joblib", "dask"]
    best: dict[str, tuple[float, float]] = {}
    for turn in range(turns):
        for name in names:
            forget_runs(folder)
            keep_best(best, name, time_program(name, folder))
        if turn < reference_turns:
            keep_best(best, "reference-sensor", time_program("reference-sensor", folder))
    titles = {
        "fleetscore": "**Fleetscore**, start to published manifest: decision values, labels, ledger",
        "sklearn-loop": "scikit-learn loop, one process: labelled readings in memory",
        "sklearn-bare": "scikit-learn loop, one process: labels as loose arrays",
        "joblib": "joblib, two processes: labels as loose arrays",
        "dask": "Dask, two processes: labels",
    }
    ours = best["fleetscore"]
    lines = [line("whole program", titles[name], best[name], ours) for name in names]
    per_sensor = best["reference-sensor"]
    whole = (per_sensor[0] * SENSORS, per_sensor[1] * SENSORS)
    text = f"the reference: a process per sensor, the whole CSV each ({reference_turns} of {SENSORS:,} run, the rest extrapolated)"
    return [*lines, line("whole program", text, whole, ours)]


def time_program(name: str, folder: Path) -> tuple[float, float]:
    """Wall-clock and processor seconds of one program, from start to exit."""
    if name != "fleetscore":
        return time_command([sys.executable, str(HERE / "sensor_anomaly_rivals.py"), name, str(folder)])
    code = (
        f"import sys; sys.path[:0] = {[str(link_packages(folder)), str(HERE.parent), str(HERE)]!r}\n"
        "from pathlib import Path; from benchmarks.sensor_anomaly_rivals import run_fleetscore\n"
        f"run_fleetscore(Path({str(folder)!r}))"
    )
    return time_command([sys.executable, "-S", "-c", code])


def link_packages(folder: Path) -> Path:
    """Our installed packages as they are in production: without pandas, which only rivals and tests need, and pyarrow imports if it can."""
    import pyarrow

    packages = folder / "packages"
    if not packages.exists():
        packages.mkdir()
        for path in Path(pyarrow.__file__).parent.parent.iterdir():
            if not path.name.startswith(("pandas", "dask")) and path.suffix != ".pth":
                (packages / path.name).symlink_to(path)
    return packages


def keep_best(best: dict[str, tuple[float, float]], name: str, measured: tuple[float, float]) -> None:
    """Keep the least of each of the two figures."""
    known = best.get(name, measured)
    best[name] = (min(known[0], measured[0]), min(known[1], measured[1]))


def forget_runs(folder: Path) -> None:
    """Delete what our runs wrote, catalogue included, so that every turn begins from nothing."""
    import shutil

    for name in ("runs", "results", "partials", "rates", "index", ".fleetscore"):
        shutil.rmtree(folder / name, ignore_errors=True)


def write_csv(folder: Path) -> None:
    """The same readings as the CSV that the reference reads."""
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    pa_csv.write_csv(pq.read_table(folder / DATA), folder / "readings.csv")


# inside a process


def measure_shard(folder: Path, turns: int) -> list[dict[str, Any]]:
    """One shard, models loaded: ours from the file to tables ready to write; scikit-learn's predict loop from a frame in memory."""
    import pandas as pd

    from fleetscore.models.pins import read_pins
    from fleetscore.store import open_store
    from fleetscore.workload import RunContext, Shard
    from fleetscore.workloads.sensor_anomaly.workload import SensorAnomaly

    store, workload = open_store(str(folder)), SensorAnomaly()
    window = workload.parse_window(WINDOW)
    run = RunContext(store, workload, window, read_pins(store, workload.name))
    found = workload.discover(run)
    run, shard = replace(run, inputs=found.inputs), Shard(0, found.expected)
    frame = pd.read_parquet(folder / DATA)
    models = {key: read_pickle(folder, *key) for key, _ in frame.groupby(["Device", "Tag"], sort=False)}

    def ours() -> Any:
        return [piece.results for piece in workload.score(run, shard)]

    def loop() -> Any:
        groups = frame.groupby(["Device", "Tag"], sort=False)
        return label_groups((key, group, models[key]) for key, group in groups)

    def bare(method: str) -> Any:
        groups = frame.groupby(["Device", "Tag"], sort=False)["Value"]
        return [getattr(models[key], method)(values.to_numpy()[:, None]) for key, values in groups]

    best: dict[str, tuple[float, float]] = {}
    for _ in range(turns + 1):
        for _ in range(4):  # as long as one of the others
            keep_best(best, "ours", time_call(ours))
        keep_best(best, "loop", time_call(loop))
        keep_best(best, "predict", time_call(lambda: bare("predict")))
        keep_best(best, "decisions", time_call(lambda: bare("decision_function")))
    check_equal(ours(), frame, models)
    mine, part = best["ours"], "shard, models loaded"
    return [
        line(
            part,
            "**Fleetscore**, from Parquet to tables ready to write: decision values and labels",
            mine,
            mine,
        ),
        line(part, "scikit-learn, from a frame to a frame: predict", best["loop"], mine),
        line(part, "scikit-learn, labels as loose arrays: predict", best["predict"], mine),
        line(part, "scikit-learn, values as loose arrays: decision_function", best["decisions"], mine),
    ]


def check_equal(tables: list[Any], frame: Any, models: dict[Any, Any]) -> None:
    """Refuse to print a table of speeds when a single decision value or label differs from scikit-learn's."""
    import numpy as np
    import pyarrow as pa

    results = pa.concat_tables(tables).to_pandas(categories=[])
    mine = dict(iter(results.groupby(["device", "sensor"], observed=True)))
    for key, values in frame.groupby(["Device", "Tag"], sort=False)["Value"]:
        column = values.to_numpy()[:, None]
        assert np.array_equal(mine[key]["value"].to_numpy(), column[:, 0])
        assert np.array_equal(mine[key]["score"].to_numpy(), models[key].decision_function(column))
        assert np.array_equal(mine[key]["anomaly"].to_numpy() == 1, models[key].predict(column) == -1)


def measure_features(turns: int) -> list[dict[str, Any]]:
    """Eight features: 300 models, 1,000 rows each; labels compared with scikit-learn's."""
    import numpy as np
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import OneClassSVM

    from fleetscore.workloads.sensor_anomaly.decision import anomalies, decide_matrix
    from fleetscore.workloads.sensor_anomaly.pickles import read_pipeline

    rng = np.random.default_rng(2)
    pipelines, models, rows = [], [], []
    for _ in range(300):
        train = rng.normal(0, 1, (300, 8))
        made = Pipeline([("scaler", StandardScaler()), ("svm", OneClassSVM(gamma=0.05, nu=0.05))]).fit(train)
        pipelines.append(made)
        models.append(read_pipeline(pickle.dumps(made), "model"))
        rows.append(rng.normal(0, 1.2, (1000, 8)))

    def ours() -> Any:
        return [anomalies(decide_matrix(m, r)) for m, r in zip(models, rows, strict=True)]

    def theirs() -> Any:
        return [p.predict(r) for p, r in zip(pipelines, rows, strict=True)]

    best: dict[str, tuple[float, float]] = {}
    for _ in range(turns + 1):
        keep_best(best, "ours", time_call(ours))
        keep_best(best, "theirs", time_call(theirs))
    assert all(np.array_equal(a == 1, b == -1) for a, b in zip(ours(), theirs(), strict=True))
    vectors = round(np.mean([len(m.alpha) for m in models]))
    mine, part = best["ours"], "8 features, 300 models × 1,000 rows"
    return [
        line(part, f"**Fleetscore**, {vectors} support vectors each: decision values and labels", mine, mine),
        line(part, "scikit-learn: predict, model by model", best["theirs"], mine),
    ]


def measure_loading(folder: Path) -> list[dict[str, Any]]:
    """The model set of all sensors, from the store to arrays that are ready to use, hashes checked."""
    from fleetscore.models.model_sets import read_model_file, read_model_set
    from fleetscore.models.pins import read_pins
    from fleetscore.store import open_store
    from fleetscore.workloads.sensor_anomaly.packs import read_pack

    store = open_store(str(folder))
    version = read_pins(store, "sensor_anomaly").current

    def load() -> int:
        model_set = read_model_set(store, "sensor_anomaly", version)
        names = sorted(name for name in model_set.files if name.startswith("pack"))
        packs = [read_pack(read_model_file(store, model_set, name)) for name in names]
        return sum(int(pack.sound.sum()) for pack in packs)

    def unpickle() -> int:
        names = (path.name.split("_") for path in (folder / "pickles").iterdir())
        return len([read_pickle(folder, device, tag) for _, device, tag in names])

    assert load() == unpickle() == SENSORS
    ours = min(time_call(load) for _ in range(20))
    theirs = min(time_call(unpickle) for _ in range(3))
    part = f"loading {SENSORS:,} models"
    return [
        line(part, "**Fleetscore**: packs, hashes checked, nothing executed", ours, ours),
        line(part, "pickles", theirs, ours),
    ]


def measure_memory(folder: Path) -> dict[str, Any]:
    """Peak memory of a process that scores one shard, above what it holds before, against its input columns."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "sys.path[:0] = [sys.argv[1]]\n"
        "from benchmarks.sensor_anomaly import shard_memory\n"
        "print(*shard_memory(Path(sys.argv[2])))"
    )
    command = [sys.executable, "-c", code, str(HERE.parent), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, size = map(int, done.stdout.split())
    return {"part": "memory", "peak_mb": peak / 1e6, "input_mb": size / 1e6, "times_input": peak / size}


def shard_memory(folder: Path) -> tuple[int, int]:
    """Bytes that scoring everything as one shard takes at most, and bytes of its input columns."""
    import pyarrow.compute as pc

    from fleetscore.models.pins import read_pins
    from fleetscore.store import open_store
    from fleetscore.workload import RunContext, Shard
    from fleetscore.workloads.sensor_anomaly.workload import SensorAnomaly

    store, workload = open_store(str(folder)), SensorAnomaly()
    window = workload.parse_window(WINDOW)
    run = RunContext(store, workload, window, read_pins(store, workload.name))
    found = workload.discover(run)
    idle = current_bytes()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    for _ in workload.score(replace(run, inputs=found.inputs), Shard(0, found.expected)):
        pass
    return peak_bytes() - idle, pc.sum(found.expected["size_bytes"]).as_py()


def current_bytes() -> int:
    """Resident memory of this process now."""
    return _status_bytes("VmRSS")


def peak_bytes() -> int:
    """The most resident memory since the peak was reset."""
    return _status_bytes("VmHWM")


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(text.split()[1]) * 1024 for text in lines if text.startswith(f"{field}:"))


def measure_host(folder: Path) -> list[dict[str, Any]]:
    """`fleetscore run` through the embedded host, start to exit, on SENSORS x 10,000 readings."""
    command = [sys.executable, "-m", "fleetscore", "run", "sensor_anomaly"]
    command += ["--window", WINDOW, "--store", str(folder)]
    best: dict[str, tuple[float, float]] = {}
    for _ in range(3):
        forget_runs(folder)
        keep_best(best, "run", time_command(command))
        keep_best(best, "loop", time_program("sklearn-loop", folder))
    mine, part = best["run"], f"{SENSORS * 10_000:,} readings, whole program"
    lines = [
        line(part, "**Fleetscore**, `fleetscore run` through the embedded host, start to exit", mine, mine),
        line(part, "scikit-learn loop, one process: labelled readings in memory", best["loop"], mine),
    ]
    unknown = {
        "processor_s": None,
        "processor_ratio": None,
    }  # the host is no child of the command: nobody counts it
    return [measured | unknown for measured in lines]


def time_command(command: list[str]) -> tuple[float, float]:
    """Wall-clock and processor seconds of a command that must succeed, rivals' and ours in the environment that ours scores in."""
    environment = {**SCORING_ENVIRONMENT, **os.environ, "PYTHONPATH": str(HERE.parent)}
    environment.pop(
        "PYTHONDONTWRITEBYTECODE", None
    )  # installed packages have bytecode, rivals' as well as ours
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def time_call(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall-clock and processor seconds of a call."""
    start, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - processor


# the tables


def line(part: str, what: str, seconds: tuple[float, float], ours: tuple[float, float]) -> dict[str, Any]:
    """One line of the table; the ratios say how many times as long as Fleetscore it takes."""
    return {
        "part": part,
        "what": what,
        "seconds": seconds[0],
        "processor_s": seconds[1],
        "ratio": seconds[0] / ours[0],
        "processor_ratio": seconds[1] / ours[1],
    }


def print_lines(lines: list[dict[str, Any]]) -> None:
    """The table as Markdown, its parts one after the other."""
    load = f"{os.cpu_count()} cores, asked for {os.getloadavg()[0]:.0f} when this ended"
    print(
        f"{SENSORS:,} sensors; {SENSORS * 1000:,} readings in one Parquet file unless it says otherwise; {load}."
    )
    print(
        "× is how many times as long as Fleetscore; all decision values and labels were compared with scikit-learn's.\n"
    )
    print("| | s | × | processor s | × |")
    print("|---|--:|--:|--:|--:|")
    part = ""
    for m in lines:
        if m["part"] != part:
            part = m["part"]
            print(f"| *{part}* | | | | |")
        if part == "memory":
            text = f"peak of scoring one shard of {m['input_mb']:,.0f} MB of input columns: {m['peak_mb']:,.0f} MB"
            print(f"| {text}, {m['times_input']:.1f} × | | | | |")
        else:
            walls = f"{_seconds(m['seconds'])} | {m['ratio']:,.1f}"
            known = m["processor_s"] is not None
            rest = f"{_seconds(m['processor_s'])} | {m['processor_ratio']:,.1f}" if known else "|"
            print(f"| {m['what']} | {walls} | {rest} |")


def _seconds(seconds: float) -> str:
    return f"{seconds:,.4f}" if seconds < 0.1 else f"{seconds:,.2f}" if seconds < 100 else f"{seconds:,.0f}"


if __name__ == "__main__":
    main()
