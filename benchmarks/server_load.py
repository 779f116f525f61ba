"""Server load against its rivals: session logs to hourly peaks, then features and classes, on generated logs.

Every engine runs in a process of its own on the same files, one after the other, in rounds; the best round counts. Wall seconds
start after imports (Spark: after its session is up; ours: after the compiled kernel is loaded) and end with the hourly table
written. CPU seconds and peak memory are those of the whole process tree, start-up included. Writes
benchmarks/results/server_load.json and docs/images/server_load-seconds.png, prints Markdown.

Run: python benchmarks/server_load.py [--gb 1.0] [--rounds 2] [--parts PART ...] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
SERVERS, DAYS_PER_GB, SESSIONS_PER_HOUR = 300, 34.7, 50.0
LAST_DAY = 16_982  # 2016-06-30
PARTS = ("engines", "growth", "accuracy", "hours", "big")
RESULTS = HERE / "results" / "server_load.json"
OURS = "fleetscore, 2 processes"
OURS_ALONE = "fleetscore, 1 process"
REFERENCE = "spark, the reference way"


def main() -> None:
    """Measure the parts asked for, print all that is known, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gb", type=float, default=1.0, help="size of the logs that the engines race on")
    parser.add_argument(
        "--rounds", type=int, default=2, help="rounds of the race; Spark runs in the first only"
    )
    parser.add_argument("--quick", action="store_true", help="0.1 GB, one round, no Spark, nothing written")
    parser.add_argument(
        "--parts",
        nargs="*",
        choices=PARTS,
        default=PARTS,
        help="measure again only these (none: print what is known)",
    )
    parser.add_argument(
        "--big-gb", type=float, default=3.0, help="one file of this size shows that memory stays"
    )
    parser.add_argument("--hours", type=int, default=9_000_000, help="server-hours to reduce and classify")
    parser.add_argument("--ours", nargs=2, metavar=("STORE", "PROCESSES"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.ours:
        print(json.dumps(prepare_logs(asked.ours[0], int(asked.ours[1]))))
        return
    folder = Path(tempfile.mkdtemp(prefix="server_load-"))
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() and not asked.quick else {}
    try:
        found = known | measure(asked, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not asked.quick:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        if "growth" in found:
            draw_seconds(found, HERE.parent / "docs" / "images" / "server_load-seconds.png")
    print_tables(found)


def measure(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The parts asked for, in order; each deletes what it wrote."""
    parts = [part for part in PARTS if part in asked.parts and not (asked.quick and part == "big")]
    found: dict[str, Any] = {"machine": machine()} if parts else {}
    if {"engines", "growth", "accuracy"} & set(parts):
        found |= measure_logs(parts, asked, folder)
    if "hours" in parts:
        found["hours"] = classify_hours(folder, 100_000 if asked.quick else asked.hours)
    if "big" in parts:
        found["big"] = one_big_file(folder, asked.big_gb)
    return found


def measure_logs(parts: Sequence[str], asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What is measured on one set of logs."""
    store = folder / "store"
    logs = write_logs(store / "data/server_load", 0.1 if asked.quick else asked.gb, files=4)
    found: dict[str, Any] = {}
    if "engines" in parts:
        found["logs"] = {"bytes": sum(log.stat().st_size for log in logs), "files": len(logs)}
        found["engines"] = race(store, logs, folder, asked)
        found["agreement"] = agreement(store, folder)
    if "growth" in parts:
        found["growth"] = growth(store, logs)
    if "accuracy" in parts:
        run_ours(store, 2)
        found["accuracy"] = accuracy(store)
    shutil.rmtree(store)
    return found


def machine() -> dict[str, Any]:
    """Where this was measured, and how busy it was."""
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_at_start": round(os.getloadavg()[0], 1),
    }


def write_logs(folder: Path, gb: float, files: int) -> list[Path]:
    """Logs of about `gb` GB with half a per cent of dirty rows, in so many files, days in order."""
    from fleetscore.workloads.server_load.samples import Shape, generate_days, write_day

    days = max(round(DAYS_PER_GB * gb), files)
    shape = Shape(SERVERS, days, LAST_DAY - days + 1, SESSIONS_PER_HOUR)
    folder.mkdir(parents=True, exist_ok=True)
    logs = [folder / f"log-{n:02d}.csv" for n in range(files)]
    for number, day in enumerate(generate_days(shape)):
        with logs[number * files // days].open("ab") as file:
            write_day(file, day, shape)
    return logs


def race(store: Path, logs: Sequence[Path], folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """The best of some rounds of every engine."""
    from server_load_rivals import ENGINES

    rivals = [name for name in ENGINES if not (asked.quick and "spark" in name)]
    best: dict[str, Any] = {}
    size_mb = sum(log.stat().st_size for log in logs) / 1e6
    for number in range(1 if asked.quick else asked.rounds):
        for name in [OURS, OURS_ALONE, *rivals]:
            if "spark" in name and number:
                continue
            one = (
                run_ours(store, 2 if name == OURS else 1)
                if name in (OURS, OURS_ALONE)
                else run_rival(name, logs, folder)
            )
            print(f"  {name}: {one}", file=sys.stderr)
            kept = best.setdefault(name, one)
            if "seconds" in one and one["seconds"] < kept.get("seconds", float("inf")):
                best[name] = one
    for one in best.values():
        if "seconds" in one:
            one["mb_per_s"] = size_mb / one["seconds"]
            one["mb_per_cpu_s"] = size_mb / one["cpu_s"]
    return best


def run_ours(store: Path, processes: int) -> dict[str, Any]:
    """Our preparation from nothing."""
    shutil.rmtree(store / "partials", ignore_errors=True)
    return watched([sys.executable, __file__, "--ours", str(store), str(processes)])


def run_rival(name: str, logs: Sequence[Path], folder: Path) -> dict[str, Any]:
    """One rival on the same logs; what it wrote stays for the comparison."""
    output = folder / f"{name.split(',')[0].replace(' ', '_')}.parquet"
    if output.is_dir():
        shutil.rmtree(output)
    command = [sys.executable, str(HERE / "server_load_rivals.py"), name, str(output), *map(str, logs)]
    return watched(command)


def watched(command: list[str]) -> dict[str, Any]:
    """Run a command that prints JSON in its last line; adds CPU seconds and peak memory of its process tree."""
    import psutil

    peak, one_peak, cpu = 0, 0, {}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err)
        while process.poll() is None:
            total = 0
            try:
                tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            except psutil.NoSuchProcess:
                break
            for member in tree:
                try:
                    memory, times = member.memory_info().rss, member.cpu_times()
                except psutil.NoSuchProcess:
                    continue
                total, one_peak = total + memory, max(one_peak, memory)
                cpu[member.pid] = times.user + times.system
            peak = max(peak, total)
            time.sleep(0.05)
        process.wait()
        out.seek(0)
        err.seek(0)
        lines = out.read().strip().splitlines()
        if process.returncode or not lines:
            return {"error": err.read()[-300:]}
    found = json.loads(lines[-1])
    return found | {"cpu_s": sum(cpu.values()), "peak_mb": peak / 1e6, "peak_mb_per_process": one_peak / 1e6}


def prepare_logs(store: str, processes: int) -> dict[str, Any]:
    """All rounds of preparation for the window of the last day, on so many processes."""
    _load_kernel()
    if processes == 1:
        return _prepare(store, lambda items: [_run_item(store, item) for item in items])
    with ProcessPoolExecutor(processes, get_context("spawn"), _load_kernel) as pool:
        list(pool.map(abs, range(processes * 4)))
        time.sleep(1.5)  # both processes are up and have the kernel
        return _prepare(store, lambda items: list(pool.map(_run_item, [store] * len(items), items)))


def window_of(store: str) -> Any:
    """A run of the window of the last day."""
    from fleetscore.models.pins import Pins
    from fleetscore.store.local import LocalStore
    from fleetscore.windows import Cadence, Window
    from fleetscore.workload import RunContext
    from fleetscore.workloads.server_load.workload import ServerLoad

    return RunContext(LocalStore(Path(store)), ServerLoad(), Window(Cadence.DAY, LAST_DAY), Pins("none"))


def _prepare(store: str, run: Callable[[Any], Any]) -> dict[str, Any]:
    window = window_of(store)
    begun = time.perf_counter()
    rounds = []
    while items := window.kind.map_items(window):
        rounds.append(run(items))
    seconds = time.perf_counter() - begun
    sums = sum(file.stat().st_size for file in Path(store).glob("partials/server_load/v1/sums/*"))
    hours = sum(file.stat().st_size for file in Path(store).glob("partials/server_load/v1/hours/*"))
    reduced = [facts for facts in rounds[-1] if facts["step"] == "reduce"]
    return {
        "seconds": seconds,
        "rows": sum(facts["hours"] for facts in reduced),
        "items": sum(map(len, rounds)),
        "sums_bytes": sums,
        "hours_bytes": hours,
    }


def _load_kernel() -> None:
    from fleetscore.workloads.server_load.layouts import LAYOUTS
    from fleetscore.workloads.server_load.parse import Piece, digest_of, parse_piece
    from fleetscore.workloads.server_load.peaks import find_peaks

    data = np.zeros(256, np.uint8)
    data[64] = 10
    data.flags.writeable = False
    piece = Piece(data, 0, data[64:], 1, 0)
    digest_of(piece)
    find_peaks([parse_piece(piece, LAYOUTS["17"])[0]])


def _run_item(store: str, item: Any) -> dict[str, Any]:
    window = window_of(store)
    facts = window.kind.map_item(window, item)
    return {name: facts.get(name) for name in ("step", "hours")}


def our_hours(store: Path) -> Any:
    """The hourly table of the prepared store."""
    from fleetscore.store.local import LocalStore
    from fleetscore.workloads.server_load.discovery import read_hours
    from fleetscore.workloads.server_load.preparation import prepare_span
    from fleetscore.workloads.server_load.settings import ServerLoadSettings

    stop = (LAST_DAY + 1) * 24
    inputs = prepare_span(LocalStore(store), ServerLoadSettings(), "server_load", stop - 24 * 400, stop)
    return read_hours(LocalStore(store), inputs, 0, 1 << 30)


def agreement(store: Path, folder: Path) -> dict[str, Any]:
    """Of our hours, how many have the same peak load in each rival's table (to a millionth)."""
    import pandas as pd

    hours = our_hours(store)
    ours = pd.DataFrame(
        {
            "server": hours["server"].to_pylist(),
            "hour": hours["hour"].to_pylist(),
            "ours": hours["load"].to_numpy() / 1e4,
        }
    )
    found = {}
    for path in sorted(folder.glob("*.parquet")):
        if path.stem.startswith(
            "spark"
        ):  # its hours are named otherwise; the row counts are in the race's table
            continue
        theirs = pd.read_parquet(path)[["ServerIP", "hour", "TotalLoad"]]
        both = ours.merge(theirs, left_on=["server", "hour"], right_on=["ServerIP", "hour"], how="outer")
        same = np.isclose(both["ours"], both["TotalLoad"], rtol=1e-9, atol=1e-6)
        found[path.stem] = {"hours": len(both), "same": int(same.sum())}
    return found


def growth(store: Path, logs: Sequence[Path]) -> list[dict[str, float]]:
    """Seconds of one process against gigabytes: one, two, ... of the files."""
    points = []
    aside = store / "aside"
    aside.mkdir()
    for count in range(1, len(logs) + 1):
        for log in logs[count:]:
            log.rename(aside / log.name)
        one = run_ours(store, 1)
        for log in logs[count:]:
            (aside / log.name).rename(log)
        size = sum(log.stat().st_size for log in logs[:count])
        points.append(
            {"gb": size / 1e9, "seconds": one["seconds"], "cpu_s": one["cpu_s"], "peak_mb": one["peak_mb"]}
        )
    return points


def accuracy(store: Path) -> dict[str, Any]:
    """Test accuracy and F1 on the last two days: the reference's matrix and forest, and our candidates on our features."""
    from dataclasses import asdict

    from fleetscore.workloads.server_load.features import LOOKBACK_HOURS
    from fleetscore.workloads.server_load.settings import ServerLoadSettings
    from fleetscore.workloads.server_load.training import baselines, build_examples, judge

    hours = our_hours(store)
    stop = (LAST_DAY + 1) * 24
    split, first = stop - 48, stop - 24 * 400 + LOOKBACK_HOURS
    settings = ServerLoadSettings()
    examples = build_examples(hours, first, stop, settings)
    learnt, unseen = examples.part(examples.hour < split), examples.part(examples.hour >= split)
    found: dict[str, Any] = {"train": len(learnt.labels), "test": len(unseen.labels)}
    for kind in ("forest", "boosting"):
        fitted = judge(kind, learnt, unseen, settings)
        found[f"ours, {kind}"] = asdict(fitted.metrics) | {"fit_s": fitted.fit_s}
    found |= {name: asdict(metrics) for name, metrics in baselines(unseen, settings).items()}
    found["the reference's matrix and forest"] = reference_forest(hours, split)
    return found


def reference_forest(hours: Any, split: int) -> dict[str, Any]:
    """Its hourly table, one-hot columns and 100 trees of depth 8, by scikit-learn (whose forest scored like Spark's)."""
    from dataclasses import asdict

    from sklearn.ensemble import RandomForestClassifier

    from fleetscore.workloads.server_load.compat import build_compat_table
    from fleetscore.workloads.server_load.labels import classify
    from fleetscore.workloads.server_load.metrics import measure

    table = build_compat_table(hours).to_pandas()
    hour = table["SessionStartHourTime"].astype("datetime64[s]").astype("int64").to_numpy() // 3600
    columns = [table[name].to_numpy(np.float32)[:, None] for name in table.columns if "Lag" in name]
    for name in (
        "dayofweek",
        "ServerIP",
        "year",
        "month",
        "weekofyear",
        "dayofmonth",
        "hourofday",
        "Holiday",
        "BusinessHour",
        "Morning",
    ):
        values, codes = np.unique(table[name].to_numpy(str), return_inverse=True)
        columns.append(np.eye(len(values), dtype=np.float32)[codes][:, : max(len(values) - 1, 1)])
    matrix = np.hstack(columns)
    labels = classify(table["peakLoad"].to_numpy(), 100.0, 500.0)
    begun = time.perf_counter()
    forest = RandomForestClassifier(100, max_depth=8, random_state=7, n_jobs=2).fit(
        matrix[hour < split], labels[hour < split]
    )
    fit_s = time.perf_counter() - begun
    return asdict(measure(labels[hour >= split], forest.predict(matrix[hour >= split]))) | {
        "fit_s": fit_s,
        "columns": matrix.shape[1],
    }


def classify_hours(folder: Path, hours: int) -> dict[str, Any]:
    """Reduce the five-minute sums of so many server-hours month by month, then features and classes of all of them."""
    import resource

    from fleetscore.store.local import LocalStore
    from fleetscore.workloads.server_load.months import Month
    from fleetscore.workloads.server_load.peaks import write_hours

    store = LocalStore(folder / "hours")
    servers, occupied = 389, 0.35
    months = max(round(hours / (servers * occupied * 730)), 2)
    reduce_s, cpu_s, rows, month = 0.0, 0.0, 0, Month(2009, 1)
    paths = []
    for number in range(months):
        slots = _write_month(store, month, servers, occupied, number)
        begun, cpu_begun = time.perf_counter(), time.process_time()
        rows += write_hours(store, f"hours/{month.key}.parquet", month, ["sums.parquet"], 16)
        reduce_s += time.perf_counter() - begun
        cpu_s += time.process_time() - cpu_begun
        paths.append(f"hours/{month.key}.parquet")
        month = month.next()
    trees = _forest_like_the_reference(store, paths)
    begun, cpu_begun = time.perf_counter(), time.process_time()
    counts = _classify(store, paths, month, trees)
    classify_s = time.perf_counter() - begun
    cpu_s += time.process_time() - cpu_begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return {
        "server_hours": rows,
        "slots_per_month": slots,
        "months": months,
        "reduce_s": reduce_s,
        "classify_s": classify_s,
        "cpu_s": cpu_s,
        "seconds": reduce_s + classify_s,
        "peak_mb": peak,
        "classes": counts,
    }


def _write_month(store: Any, month: Any, servers: int, occupied: float, seed: int) -> int:
    import pyarrow as pa

    from fleetscore.workloads.server_load.parse import SLOTS
    from fleetscore.workloads.server_load.partials import write_bucketed
    from fleetscore.workloads.server_load.samples import server_names

    random = np.random.default_rng(seed)
    width = month.stop_hour - month.first_hour
    server, hour = np.nonzero(random.random((servers, width)) < occupied)
    server, hour = np.repeat(server, 12), np.repeat(hour, 12)
    slot = ((month.first_hour + hour) * 12 + np.tile(np.arange(12), len(hour) // 12)).astype(np.int32)
    names = pa.DictionaryArray.from_arrays(pa.array(server.astype(np.int32)), pa.array(server_names(servers)))
    load = (np.exp(random.normal(4.2 + server % 7 / 5, 0.8)) * 10_000).astype(np.int64)
    columns = [names, pa.array(slot), pa.array(np.ones(len(slot), np.int64)), pa.array(load)]
    columns += [pa.array(load // n) for n in range(2, 9)]
    columns += [pa.array(random.integers(0, 1 << 62, len(slot)))]
    write_bucketed(store, "sums.parquet", pa.Table.from_arrays(columns, schema=SLOTS), 16, {})
    return len(slot)


def _classify(store: Any, paths: Sequence[str], stop: Any, trees: Any) -> list[int]:
    """Features and classes of every hour, a bucket of servers at a time on two threads, by a forest of the reference's size."""
    import pyarrow as pa

    from fleetscore.workloads.server_load.features import build_features, build_history
    from fleetscore.workloads.server_load.months import Month
    from fleetscore.workloads.server_load.partials import read_bucket
    from fleetscore.workloads.server_load.trees import predict

    first, last = Month(2009, 1).first_hour, stop.first_hour

    def one(bucket: int) -> Any:
        hours = pa.concat_tables([read_bucket(store, path, bucket) for path in paths]).unify_dictionaries()
        encoded = hours["server"].combine_chunks()
        chunk = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
        names, server = chunk.dictionary.to_pylist(), chunk.indices.to_numpy()
        hour = hours["hour"].to_numpy().astype(np.int64)
        history = build_history(hours, names, first, last)
        counts = np.zeros(3, np.int64)
        for start in range(0, len(hour), 200_000):
            rows = slice(start, start + 200_000)
            chances = predict(trees, build_features(history, server[rows], hour[rows], "US"))
            counts += np.bincount(chances.argmax(axis=1), minlength=3)
        return counts

    with ThreadPoolExecutor(2) as pool:
        return [int(n) for n in sum(pool.map(one, range(16)))]


def _forest_like_the_reference(store: Any, paths: Sequence[str]) -> Any:
    from dataclasses import replace

    from fleetscore.records import InputFile
    from fleetscore.workloads.server_load.discovery import read_hours
    from fleetscore.workloads.server_load.features import LOOKBACK_HOURS
    from fleetscore.workloads.server_load.settings import ServerLoadSettings
    from fleetscore.workloads.server_load.training import build_examples, fit

    hours = read_hours(store, [InputFile(path, "", 0) for path in paths[:2]], 0, 1 << 30)
    last = int(hours["hour"].to_numpy().max()) + 1
    examples = build_examples(
        hours, last - LOOKBACK_HOURS, last, replace(ServerLoadSettings(), train_rows=30_000)
    )
    return fit("forest", examples, ServerLoadSettings())


def one_big_file(folder: Path, gb: float) -> dict[str, Any]:
    """One file of so many GB: seconds and the peak memory of each process."""
    store = folder / "big"
    (log,) = write_logs(store / "data/server_load", gb, files=1)
    size = log.stat().st_size
    found = run_ours(store, 2)
    shutil.rmtree(store)
    return found | {"bytes": size}


def print_tables(found: dict[str, Any]) -> None:
    """The figures as Markdown."""
    printers = {
        "engines": print_race,
        "growth": print_growth,
        "accuracy": print_accuracy,
        "hours": print_hours,
    }
    for part, printer in printers.items():
        if part in found:
            printer(found)
    if "big" in found:
        b = found["big"]
        print(
            f"\nOne file of {b['bytes'] / 1e9:.2f} GB: {b['seconds']:.1f} s, {b['peak_mb_per_process']:.0f} MB per process."
        )


def print_race(found: dict[str, Any]) -> None:
    """The engines, fastest first; ratios to the reference in wall and in CPU seconds."""
    base = found["engines"].get(REFERENCE, {})
    on, logs = found["machine"], found["logs"]
    print(
        f"Session logs of {logs['bytes'] / 1e6:,.0f} MB in {logs['files']} files to hourly peaks; {on['cores']} cores, Python "
        f"{on['python']}.\nRatios are to the reference's way. Where the machine did other work meanwhile, processor seconds say "
        "more than wall seconds.\n"
    )
    print("| engine | s | MB/s | ratio | CPU s | MB per CPU s | CPU ratio | peak MB | per process | hours |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name, one in sorted(found["engines"].items(), key=lambda item: item[1].get("seconds", 1e9)):
        if "error" in one:
            print(f"| {name} | failed: {one['error'][-80:]!r} | | | | | | | | |")
            continue
        wall = f"{base['seconds'] / one['seconds']:.1f}" if "seconds" in base else "-"
        cpu = f"{base['cpu_s'] / one['cpu_s']:.1f}" if "cpu_s" in base else "-"
        print(
            f"| {name} | {one['seconds']:.2f} | {one['mb_per_s']:.0f} | {wall} | {one['cpu_s']:.1f} "
            f"| {one['mb_per_cpu_s']:.0f} | {cpu} | {one['peak_mb']:.0f} | {one['peak_mb_per_process']:.0f} | {one['rows']} |"
        )
    same = "; ".join(f"{name} {v['same']:,} of {v['hours']:,}" for name, v in found["agreement"].items())
    print(f"\nHours with the same peak load as ours (the others let dirty rows in): {same}.")


def print_growth(found: dict[str, Any]) -> None:
    """Seconds against gigabytes."""
    print("\n| GB | s, one process | CPU s | peak MB |\n|--:|--:|--:|--:|")
    for p in found["growth"]:
        print(f"| {p['gb']:.2f} | {p['seconds']:.2f} | {p['cpu_s']:.1f} | {p['peak_mb']:.0f} |")


def print_accuracy(found: dict[str, Any]) -> None:
    """How well each model tells the classes of the last two days."""
    print("\n| model | accuracy | precision | recall | F1 | fit s |\n|---|--:|--:|--:|--:|--:|")
    for name, m in found["accuracy"].items():
        if isinstance(m, dict):
            shares = " | ".join(f"{m[key]:.4f}" for key in ("accuracy", "precision", "recall", "f1"))
            print(f"| {name} | {shares} | {m.get('fit_s', 0):.1f} |")


def print_hours(found: dict[str, Any]) -> None:
    """Reduce, features and classes of millions of hours."""
    h = found["hours"]
    print(
        f"\n{h['server_hours']:,} server-hours: reduce {h['reduce_s']:.1f} s, features and classes {h['classify_s']:.1f} s "
        f"({h['cpu_s']:.1f} CPU s in all), peak {h['peak_mb']:.0f} MB (with what generated them)."
    )


def draw_seconds(found: dict[str, Any], path: Path) -> None:
    """Seconds against gigabytes, with the line through the last point."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    x, y = [p["gb"] for p in found["growth"]], [p["cpu_s"] for p in found["growth"]]
    slope, start = np.polyfit(x, y, 1)
    axes.plot(x, y, "o", label="measured")
    axes.plot([0, max(x)], [start, start + slope * max(x)], label=f"{start:.1f} s + {slope:.1f} s per GB")
    axes.set(
        xlabel="GB of logs",
        ylabel="CPU seconds, one process",
        title="Session logs to hourly peaks",
        xlim=0,
        ylim=0,
    )
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
