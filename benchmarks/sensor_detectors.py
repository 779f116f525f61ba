"""What the detectors of sensor_anomaly cost: the whole program with state warm against the one-class SVM alone, and training.

Every program is a fresh process, timed from the start of the interpreter to its exit; figures are processor seconds (user + system), the
least of several turns taken in alternation. Training is one turn.
Run: python benchmarks/sensor_detectors.py [--quick]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]  # a checkout that is not installed

from benchmarks.sensor_anomaly import keep_best, time_command  # noqa: E402
from fleetscore.store import open_store  # noqa: E402
from fleetscore.store.base import Store  # noqa: E402

DAYS = 15  # before the window: a day more than it reads
TRAINED_DAYS = 3
FIRST = np.datetime64("2026-03-01T00", "h")
WINDOW = str(FIRST + DAYS * 24)
SETTINGS = "settings/sensor_anomaly.toml"
ALONE = b"[detect]\nmedian = 0\nkmeans8 = 0\nkmeans32 = 0\nday_before = 0\nseason = 0\nsvm = 0\n"
WAYS = {"alone": "the one-class SVM alone", "all": "**all detectors**, state warm"}


def main() -> None:
    """Make the estates, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 sensors, and one turn")
    quick = parser.parse_args().quick
    sensors, turns = (100, 1) if quick else (2000, 3)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        lines = measure_scoring(folder, sensors, turns) + measure_training(folder / "train", sensors)
    print(
        f"{sensors:,} sensors; {os.cpu_count()} cores, asked for {os.getloadavg()[0]:.0f} when this ended.\n"
    )
    print("| whole program, start to exit | s | processor s | × |\n|---|--:|--:|--:|")
    print("\n".join(lines))


def measure_scoring(folder: Path, sensors: int, turns: int) -> list[str]:
    """Lines of a window with 1,000 readings of each sensor: by both ways, and by all detectors without any state."""
    best: dict[str, tuple[float, float]] = {}
    for way in WAYS:
        _make_scoring_estate(folder / way, sensors, way)
        keep_best(best, f"{way} first", _time("score", folder / way))
    for _ in range(turns):
        for way in WAYS:
            forget_results(folder / way)
            keep_best(best, way, _time("score", folder / way))
    alone = best["alone"][1]
    what = f"{sensors * 1000:,} readings"
    lines = [_line(f"{what}: {title}", best[way], alone) for way, title in WAYS.items()]
    return [
        *lines,
        _line(f"{what}: all detectors, the first window: fifteen days are read", best["all first"], alone),
    ]


def measure_training(folder: Path, sensors: int) -> list[str]:
    """The line of training on 10,000 readings of each sensor, one a minute."""
    store = open_store(str(folder))
    for day in range(7):
        _write(store, f"day-{day}", sensors, day * 24, 1440 if day < 6 else 1360, 60)
    return [_line(f"training on {sensors * 10_000:,} readings, all detectors", _time("7", folder), None)]


def forget_results(folder: Path) -> None:
    """Delete what a run wrote, but neither catalogue nor state."""
    for name in ("runs", "results", "tables", "rates", "index", "attention", ".fleetscore"):
        shutil.rmtree(folder / name, ignore_errors=True)


def run_program(what: str, folder: Path) -> None:
    """Score the window, or train on so many days from FIRST."""
    from fleetscore.pipeline.local import run_training, run_window

    store = open_store(str(folder))
    if what == "score":
        record = run_window(store, "sensor_anomaly", WINDOW)
    else:
        record = run_training(store, "sensor_anomaly", str(FIRST), str(FIRST + int(what) * 24))
    assert set(record.counts) <= {"scored", "trained"}, record.counts


def _make_scoring_estate(folder: Path, sensors: int, way: str) -> None:
    """A reading every five minutes, the window's 1,000, and models of the way, trained on three days.

    Detectors read DAYS days before the window; the one-class SVM alone reads none of them.
    """
    store = open_store(str(folder))
    if way == "alone":
        store.write(SETTINGS, ALONE)
    for day in range(TRAINED_DAYS if way == "alone" else DAYS):
        _write(store, f"day-{day:02d}", sensors, day * 24, 288, 300)
    _time(str(TRAINED_DAYS), folder)
    _write(store, "window", sensors, DAYS * 24, 1000, 3.6)


def _write(store: Store, name: str, sensors: int, hour: int, readings: int, step_s: float) -> None:
    """A file of readings of every sensor from an hour after FIRST on: a daily wave with noise."""
    rng = np.random.default_rng([sensors, hour])
    start_us = (FIRST.astype(np.int64) + hour) * 3_600_000_000
    times = start_us + (np.arange(readings) * step_s * 1e6).astype(np.int64)
    levels = np.random.default_rng(1).uniform(5, 120, sensors)
    wave = np.sin(2 * np.pi * (times / 3.6e9 % 24) / 24)
    values = levels[None] + wave[:, None] + rng.standard_normal((readings, sensors))
    code = np.tile(np.arange(sensors, dtype=np.int32), readings)
    names = [pa.array([f"{n:04d}" for n in range(count)]) for count in (sensors // 5, 5)]
    columns = {
        "ts": pa.array(np.repeat(times, sensors), pa.timestamp("us", "UTC")),
        "device": pa.DictionaryArray.from_arrays(code // 5, names[0]).cast(pa.string()),
        "sensor": pa.DictionaryArray.from_arrays(code % 5, names[1]).cast(pa.string()),
        "value": np.round(values, 2).reshape(-1),
    }
    with store.sink(f"data/sensor_anomaly/{name}.parquet") as file:
        pq.write_table(pa.table(columns), file)


def _time(what: str, folder: Path) -> tuple[float, float]:
    code = (
        f"import sys; sys.path[:0] = {[str(HERE.parent)]!r}\nfrom pathlib import Path\n"
        f"from benchmarks.sensor_detectors import run_program; run_program({what!r}, Path({str(folder)!r}))"
    )
    return time_command([sys.executable, "-c", code])


def _line(what: str, measured: tuple[float, float], alone: float | None) -> str:
    ratio = f"{measured[1] / alone:.1f}" if alone else ""
    return f"| {what} | {measured[0]:.2f} | {measured[1]:.2f} | {ratio} |"


if __name__ == "__main__":
    main()
