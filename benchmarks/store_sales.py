"""store_sales against its rivals, on the scale of the R reference: 90 blocks of 880 series, 13 weeks, 5 quantiles.

Every measurement is a process of its own with one thread; processor seconds (user + system) are what rates are taken from, as other
load on the machine disturbs them less, and wall-clock seconds stand beside them. Writes benchmarks/results/store_sales.json and
prints the tables that README.md shows. R joins where Rscript and its package gbm are installed; mlforecast and statsforecast get a
virtual environment of their own (store_sales_rivals.txt), as they need an older pandas.
Run: python benchmarks/store_sales.py [--quick]
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # a checkout that is not installed

STORES, SKUS, WEEKS, STEPS, QUANTILES = 80, 11, 108, 13, 5
BLOCKS = 90
WINDOW = str(WEEKS)
REFERENCE_OPERATIONS_PER_S = (
    9_100  # of R on one core, as published for the reference: features and predict of one block
)
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_IO_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}
Line = dict[str, Any]


def main() -> None:
    """Prepare the chain, measure everything, print and keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="nine blocks, no rivals that take minutes")
    parser.add_argument("--part", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        print(json.dumps(PARTS[asked.part[0]](Path(asked.part[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        lines = measure(Path(folder), asked.quick)
    print_lines(lines)
    if not asked.quick:
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / "store_sales.json").write_text(json.dumps(lines, indent=1) + "\n")


def measure(folder: Path, quick: bool) -> list[Line]:
    """All lines, ours and the rivals'."""
    blocks = BLOCKS // 10 if quick else BLOCKS
    make_chain(folder / "one", 1)
    lines = [run_part("train", folder / "one")]
    share_models(folder / "one", make_chain(folder / "all", blocks))
    run_part("shard", folder / "one")  # compiles what is not compiled yet
    lines += [run_part("shard", folder / "all") for _ in range(1 if quick else 3)]
    lines += [run_part("predict", folder / "one"), run_part("features", folder / "one")]
    lines.append(measure_r(folder, quick))
    if not quick:
        lines += measure_python_rivals(folder)
    return lines


def run_part(name: str, folder: Path) -> Line:
    """One measurement in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--part", name, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | ONE_THREAD)
    return {"part": name, **json.loads(done.stdout)}


# the chain


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


# our parts


def part_train(folder: Path) -> Line:
    """All models on 880 series, as a training run."""
    from fleetscore.direct import run_training
    from fleetscore.stores import open_store

    cpu, wall = time.process_time(), time.perf_counter()
    record = run_training(open_store(str(folder)), "store_sales", "0", WINDOW)
    assert record.model_set, record.error
    return {"what": "all models trained, 880 series", **elapsed(cpu, wall)}


def part_shard(folder: Path) -> Line:
    """From Parquet files to the committed shard: read, features, predict, order, widen, write."""
    import pyarrow as pa

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    from fleetscore.app_settings import AppSettings
    from fleetscore.requests import ask_run
    from fleetscore.steps.plan import commit_plan
    from fleetscore.steps.score import score_shard
    from fleetscore.stores import open_store

    store = open_store(str(folder))
    app = AppSettings(inline_shard_s=1800.0, inline_memory_bytes=60_000_000_000)
    now = time_now()
    shutil.rmtree(folder / "runs", ignore_errors=True)
    cpu, wall = time.process_time(), time.perf_counter()
    request = ask_run(store, "store_sales", WINDOW, now, "benchmark").request
    head = commit_plan(store, request, app, now)
    planning = elapsed(cpu, wall)
    cpu, wall = time.process_time(), time.perf_counter()
    records = [score_shard(store, request.run, shard) for shard in range(head.shards)]
    spent = elapsed(cpu, wall)
    rows = sum(record.rows for record in records if record)
    return {
        "what": f"Parquet files to committed shard, {rows // STEPS:,} series",
        "operations": rows * QUANTILES,
        "operations_per_cpu_s": rows * QUANTILES / spent["cpu_s"],
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "discovery_and_plan_cpu_s": planning["cpu_s"],
        "shards": head.shards,
        **spent,
    }


def part_predict(folder: Path) -> Line:
    """The same forests over the same features, by the bit-mask scorer and by LightGBM itself."""
    import lightgbm
    import numpy as np

    from fleetscore.workloads.store_sales import training
    from fleetscore.workloads.store_sales.contract import QUANTILES as LEVELS
    from fleetscore.workloads.store_sales.contract import StoreSalesSettings
    from fleetscore.workloads.store_sales.features import build, every_step
    from fleetscore.workloads.store_sales.forest import join_forests, make_scorer, parse_lightgbm, predict

    prepared = prepared_of(folder)
    settings = StoreSalesSettings()
    boosters = []
    original = lightgbm.train

    def remember(*arguments: Any, **options: Any) -> Any:
        boosters.append(original(*arguments, **options))
        return boosters[-1]

    lightgbm.train = remember
    training.fit_forests(prepared, WEEKS, LEVELS, settings)
    forest = join_forests([parse_lightgbm(booster.model_to_string()) for booster in boosters])
    matrix = np.tile(build(prepared, every_step(STORES * SKUS, WEEKS - 1, STEPS))[0], 30)
    scorer = make_scorer(forest)
    predict(scorer, matrix[:, :300])
    ours, our_scores = fastest(3, lambda: predict(scorer, matrix))
    rows = np.ascontiguousarray(matrix.T)
    theirs, their_scores = fastest(3, lambda: np.stack([b.predict(rows, num_threads=1) for b in boosters]))
    operations = matrix.shape[1] * len(boosters)
    return {
        "what": f"predict alone, {len(forest.value)} trees of up to 16 leaves",
        "operations_per_cpu_s": operations / ours,
        "rival": "LightGBM's own predict",
        "rival_operations_per_cpu_s": operations / theirs,
        "identical": bool(np.array_equal(our_scores, their_scores)),
    }


def part_features(folder: Path) -> Line:
    """Features of one block of 880 series: ours (38, for all steps), and the reference's (7) in pandas, recomputed for every step."""
    import pandas as pd

    from fleetscore.workloads.store_sales.features import build, every_step, prepare

    panel = panel_of(folder)
    cases = every_step(STORES * SKUS, WEEKS - 1, STEPS)
    build(prepare(panel), cases)
    ours, _ = fastest(5, lambda: build(prepare(panel), cases))
    data = folder / "data" / "store_sales"
    frame = pd.concat([pd.read_parquet(data / "history.parquet"), pd.read_parquet(data / "future.parquet")])
    theirs, _ = fastest(2, lambda: [reference_features(frame, step) for step in range(1, STEPS + 1)])
    return {
        "what": "features of 880 series x 13 weeks",
        "cpu_s": ours,
        "rival": "the reference's seven in pandas, step by step",
        "rival_cpu_s": theirs,
    }


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


def panel_of(folder: Path) -> Any:
    """The panel of the one block, as scoring loads it."""
    from fleetscore.stores import open_store
    from fleetscore.windows import Cadence
    from fleetscore.workloads.store_sales.input_files import list_inputs, usable_files
    from fleetscore.workloads.store_sales.loading import Span, load_panel

    store = open_store(str(folder))
    names = [f"00-{number + 1:02d}" for number in range(STORES)]
    span = Span(Cadence.INDEX, 0, WEEKS, WEEKS + STEPS)
    return load_panel(store, usable_files(store, list_inputs(store), ()), span, names, ()).panel


def prepared_of(folder: Path) -> Any:
    """The same, prepared."""
    from fleetscore.workloads.store_sales.features import prepare

    return prepare(panel_of(folder))


PARTS: dict[str, Callable[[Path], Line]] = {
    "train": part_train,
    "shard": part_shard,
    "predict": part_predict,
    "features": part_features,
}


# rivals


R_SCRIPT = """
suppressMessages(library(gbm))
args <- commandArgs(trailingOnly = TRUE)
train <- read.csv(file.path(args[1], "train.csv")); test <- read.csv(file.path(args[1], "test.csv"))
train$sku <- as.numeric(train$sku); test$sku <- as.numeric(test$sku)
started <- proc.time()
model <- gbm(y ~ ., distribution = list(name = "quantile", alpha = 0.5), data = train, n.trees = as.integer(args[2]),
             interaction.depth = 20, n.minobsinnode = 10, shrinkage = 0.05, keep.data = FALSE)
trained <- (proc.time() - started)[["user.self"]]
started <- proc.time()
for (i in 1:3) p <- predict(model, test, n.trees = model$n.trees)
predicted <- (proc.time() - started)[["user.self"]] / 3
dir.create(file.path(args[1], "rds"))
saveRDS(model, file.path(args[1], "rds", "gbm_t1-13_q50.rds"))
write.csv(data.frame(p = sprintf("%.17g", p)), file.path(args[1], "p.csv"), row.names = FALSE, quote = FALSE)
cat(trained, predicted)
"""


def measure_r(folder: Path, quick: bool) -> Line:
    """R's gbm of the reference's size (1,250 trees, depth 20; trained on few rows), its predict alone, and our exact scorer of it."""
    if not shutil.which("Rscript"):
        return {"part": "r", "what": "R's gbm", "skipped": "Rscript is not installed"}
    work = folder / "r"
    work.mkdir()
    columns = write_r_tables(folder / "one", work)
    (work / "gbm.R").write_text(R_SCRIPT)
    done = subprocess.run(
        ["Rscript", str(work / "gbm.R"), str(work), "100" if quick else "1250"],
        capture_output=True,
        text=True,
        env=os.environ | ONE_THREAD,
    )
    if done.returncode:
        return {"part": "r", "what": "R's gbm", "skipped": done.stderr.strip().splitlines()[-1]}
    trained, predicted = (float(text) for text in done.stdout.split())
    script = HERE.parent / "fleetscore" / "workloads" / "store_sales" / "export_gbm.R"
    subprocess.run(
        ["Rscript", str(script), str(work / "rds"), str(work / "tables")], check=True, capture_output=True
    )
    return {
        "part": "r",
        "rival": "R's predict.gbm",
        **score_as_r(work, columns, predicted),
        "rival_train_cpu_s": trained,
    }


def write_r_tables(folder: Path, work: Path) -> dict[str, Any]:
    """Train and test tables with the reference's features; gives the test columns."""
    import pandas as pd

    data = folder / "data" / "store_sales"
    history = pd.read_parquet(data / "history.parquet")
    features = reference_features(pd.concat([history, pd.read_parquet(data / "future.parquet")]), 1)
    known = reference_features(history.assign(week=history["week"] + 1), 1).merge(
        history[history["week"] == WEEKS - 1][["store", "sku", "sales"]], on=["store", "sku"]
    )
    known["y"] = known.pop("sales").map(math.log)
    names = [n for n in features if n not in ("store", "week")]
    pd.concat([known] * 3)[[*names, "y"]].to_csv(work / "train.csv", index=False)
    test = pd.concat([features] * 13)[names]
    test.to_csv(work / "test.csv", index=False)
    return {name: pd.read_csv(work / "test.csv")[name].to_numpy(float) for name in names}


def score_as_r(work: Path, columns: dict[str, Any], predicted: float) -> Line:
    """Import what R exported, score it, and compare."""
    import numpy as np

    from fleetscore.workloads.store_sales import gbm_import, gbm_model

    model = gbm_model.unpack(gbm_import.import_gbm(work / "tables").files[gbm_model.FILE])
    scorer = gbm_model.make_gbm_scorer(model)
    gbm_model.predict(scorer, 0, {name: values[:10] for name, values in columns.items()})
    ours, scores = fastest(3, lambda: gbm_model.predict(scorer, 0, columns))
    theirs = np.loadtxt(work / "p.csv", skiprows=1)
    return {
        "what": f"R gbm of {len(model.root)} trees, imported, predict alone",
        "operations_per_cpu_s": len(scores) / ours,
        "rival_operations_per_cpu_s": len(scores) / predicted,
        "largest_difference": float(np.abs(scores - theirs).max()),
    }


def measure_python_rivals(folder: Path) -> list[Line]:
    """mlforecast and statsforecast on the block of 880 series, in a virtual environment of their own."""
    python = os.environ.get("FLEETSCORE_RIVALS_PYTHON", "")
    try:
        if not python:
            python = install_rivals(folder / "rivals")
        program = [
            python,
            str(HERE / "store_sales_rivals.py"),
            str(folder / "one"),
            str(WEEKS - STEPS),
            str(STEPS),
        ]
        done = subprocess.run(
            program, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | ONE_THREAD
        )
    except (subprocess.CalledProcessError, OSError) as error:
        return [{"part": "rival", "what": "mlforecast and statsforecast", "skipped": str(error)}]
    lines = [{"part": "rival", **line} for line in json.loads(done.stdout.splitlines()[-1])]
    return [our_accuracy(folder / "one"), *lines]


def install_rivals(folder: Path) -> str:
    """The interpreter of a new virtual environment with the rivals."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    wanted = str(HERE / "store_sales_rivals.txt")
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "-r", wanted],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return python


def our_accuracy(folder: Path) -> Line:
    """Our pinball loss on the last 13 weeks of the history, trained on the weeks before."""
    from fleetscore.workloads.store_sales.backtest import backtest_panel
    from fleetscore.workloads.store_sales.contract import StoreSalesSettings

    panel = panel_of(folder)
    cut = {name: getattr(panel, name)[..., :WEEKS] for name in ("sales", "price", "deal", "feat", "extras")}
    panel = type(panel)(panel.stores, panel.store_of, panel.skus, panel.first_week, **cut)
    cpu, wall = time.process_time(), time.perf_counter()
    figures = backtest_panel(panel, StoreSalesSettings(), 1)
    kept = ("relative_to_last_value", "coverage_90", "coverage_50", "crossing_share")
    return {
        "part": "rival",
        "what": "Fleetscore",
        **elapsed(cpu, wall),
        **{name: figures[name] for name in kept},
    }


# measuring


def elapsed(cpu: float, wall: float) -> dict[str, float]:
    """Processor and wall-clock seconds since."""
    return {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}


def fastest(turns: int, work: Callable[[], Any]) -> tuple[float, Any]:
    """The least processor seconds of several turns, and the last turn's result."""
    times = []
    for _ in range(turns):
        started = time.process_time()
        result = work()
        times.append(time.process_time() - started)
    return min(times), result


def time_now() -> Any:
    """The present, aware."""
    from datetime import UTC, datetime

    return datetime.now(UTC)


def print_lines(lines: list[Line]) -> None:
    """The tables as Markdown."""
    shards = [line for line in lines if line["part"] == "shard"]
    best = min(shards, key=lambda line: line["cpu_s"])
    out = io.StringIO()
    out.write(
        "| what | operations/s per core | CPU s | rival | rival's | ratio |\n|---|--:|--:|---|--:|--:|\n"
    )
    rate = best["operations_per_cpu_s"]
    out.write(
        f"| {best['what']} (least of {len(shards)}; peak {best['peak_memory_bytes'] / 1e6:,.0f} MB) | {rate:,.0f} | {best['cpu_s']:.2f} "
        f"| R reference, features and predict (published) | {REFERENCE_OPERATIONS_PER_S:,}/s | {rate / REFERENCE_OPERATIONS_PER_S:,.0f} |\n"
    )
    for line in lines:
        if line["part"] in ("predict", "r") and "skipped" not in line:
            ours, theirs = line["operations_per_cpu_s"], line["rival_operations_per_cpu_s"]
            same = ", identical" if line.get("identical") or line.get("largest_difference") == 0.0 else ""
            out.write(
                f"| {line['what']}{same} | {ours:,.0f} | | {line['rival']} | {theirs:,.0f}/s | {ours / theirs:,.1f} |\n"
            )
        elif line["part"] == "features":
            ratio = line["rival_cpu_s"] / line["cpu_s"]
            out.write(
                f"| {line['what']} | | {line['cpu_s']:.4f} | {line['rival']} | {line['rival_cpu_s']:.2f} s | {ratio:,.0f} |\n"
            )
        elif line["part"] == "train":
            out.write(
                f"| {line['what']} | | {line['cpu_s']:.1f} | R reference (published) | 13,720 s | {13720 / line['cpu_s']:,.0f} |\n"
            )
    print(out.getvalue().strip())
    rivals = [line for line in lines if line["part"] == "rival" and "skipped" not in line]
    if rivals:
        print("\nThe last 13 weeks of one block (880 synthetic series), each trained on the weeks before:\n")
        print(
            "| method | pinball / last value | 90 % band | 50 % band | rows crossing | CPU s |\n|---|--:|--:|--:|--:|--:|"
        )
    for line in rivals:
        figures = [
            line[n] for n in ("relative_to_last_value", "coverage_90", "coverage_50", "crossing_share")
        ]
        print(
            f"| {line['what']} | {figures[0]:.3f} | {figures[1]:.3f} | {figures[2]:.3f} | {figures[3]:.2%} | {line['cpu_s']:.1f} |"
        )
    for line in lines:
        if "skipped" in line:
            print(f"\nNot measured: {line['what']}: {line['skipped']}")


if __name__ == "__main__":
    main()
