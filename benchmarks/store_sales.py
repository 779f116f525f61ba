"""store_sales against its rivals, on the scale of the R reference: 90 blocks of 880 series, 13 weeks, 5 quantiles.

Every measurement is a process of its own with one thread; processor seconds (user + system) are what rates are taken from, as other
load on the machine disturbs them less, and wall-clock seconds stand beside them. Writes benchmarks/results/store_sales.json and
prints the tables that docs/benchmarks.md shows. R joins where Rscript and its package gbm are installed; mlforecast and statsforecast get a
virtual environment of their own (store_sales_rivals.txt), as they need an older pandas.
Run: python benchmarks/store_sales.py [--quick]
"""

from __future__ import annotations

import argparse
import io
import json
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

from benchmarks.store_sales_chain import (  # noqa: E402 - the path has to be set first
    BLOCKS,
    QUANTILES,
    SKUS,
    STEPS,
    STORES,
    WEEKS,
    fastest,
    make_chain,
    reference_features,
    share_models,
)
from benchmarks.store_sales_r import ONE_THREAD, measure_r  # noqa: E402

WINDOW = str(WEEKS)
REFERENCE_OPERATIONS_PER_S = (
    9_100  # of R on one core, as published for the reference: features and predict of one block
)
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


# our parts


def part_train(folder: Path) -> Line:
    """All models on 880 series, as a training run."""
    from fleetscore.pipeline.local import run_training
    from fleetscore.store import open_store

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
    from fleetscore.pipeline.plan import commit_plan
    from fleetscore.pipeline.score import score_shard
    from fleetscore.pipeline.submit import submit_run
    from fleetscore.store import open_store

    store = open_store(str(folder))
    app = AppSettings(inline_shard_s=1800.0, inline_memory_bytes=60_000_000_000)
    now = time_now()
    shutil.rmtree(folder / "runs", ignore_errors=True)
    cpu, wall = time.process_time(), time.perf_counter()
    request = submit_run(store, "store_sales", WINDOW, now, "benchmark").request
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


def panel_of(folder: Path) -> Any:
    """The panel of the one block, as scoring loads it."""
    from fleetscore.store import open_store
    from fleetscore.windows import Cadence
    from fleetscore.workloads.store_sales.contract import StoreSalesSettings
    from fleetscore.workloads.store_sales.input_files import find_files
    from fleetscore.workloads.store_sales.loading import Span, load_panel

    names = [f"00-{number + 1:02d}" for number in range(STORES)]
    span = Span(Cadence.INDEX, 0, WEEKS, WEEKS + STEPS)
    return load_panel(
        find_files(open_store(str(folder)), StoreSalesSettings(), "store_sales"), span, names, ()
    ).panel


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
