"""Series to judge detectors by: generated ones that are as usual, the same with planted anomalies, and labelled ones from a folder."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

STEP_S = 300
_DAY = 86400 // STEP_S
SHAPES = ("spike", "level", "drift", "variance", "frequency", "dropout", "stuck")


@dataclass(frozen=True, slots=True)
class Series:
    """Readings of one sensor in time order, `trained` of them to train on, and the spans (seconds) in which something was wrong."""

    name: str
    time_s: Int64s
    value: Floats
    trained: int
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def days(self) -> float:
        """The days that are judged."""
        return float(self.time_s[-1] - self.time_s[self.trained]) / 86400


def usual_series(sensors: int, days: int, trained_days: int, seed: int, step_s: int = STEP_S) -> list[Series]:
    """Series of seven kinds without anything wrong, a reading every `step_s` seconds."""
    rng = np.random.default_rng(seed)
    count = days * 86400 // step_s
    clock = 2 * np.pi * np.arange(count) * step_s / 86400
    time_s = np.arange(count) * step_s + 1_767_225_600
    found = []
    for number in range(sensors):
        phase, noise = rng.uniform(0, 2 * np.pi), rng.normal(0, 1, count)
        wave = np.sin(clock + phase)
        kinds = {
            "noise": noise,
            "wave": 3 * wave + noise,
            "slow": _filtered(noise, 0.9),
            "slower": _filtered(noise, 0.99) + 2 * wave,
            "heavy": rng.standard_t(5, count),
            "counts": rng.poisson(20 * np.exp(0.5 * wave)).astype(np.float64),
            "steps": np.round(2 * wave + _filtered(noise, 0.8)),
        }
        name = list(kinds)[number % len(kinds)]
        found.append(Series(f"{name}-{number}", time_s, kinds[name], trained_days * 86400 // step_s))
    return found


def with_anomaly(series: Series, shape: str, size: float, seed: int) -> Series:
    """The series with one anomaly of the shape, `size` deviations large, somewhere in what is judged.

    A spike lasts one reading, everything else four hours; the span reaches two hours further, as a detector may need.
    """
    rng = np.random.default_rng(seed)
    value = series.value.copy()
    length = 1 if shape == "spike" else 48
    start = int(rng.integers(series.trained + _DAY, len(value) - length - _DAY))
    own = slice(start, start + length)
    ramp = np.linspace(0, 1, length)
    deviation = float(series.value[: series.trained].std())
    part = value[own]
    changed = {
        "spike": part + size * deviation,
        "level": part + size * deviation,
        "drift": part + size * deviation * ramp,
        "variance": part + rng.normal(0, size * deviation, length),
        "frequency": part + size * deviation * np.sin(2 * np.pi * np.arange(length) / 6),
        "dropout": np.full(length, series.value[: series.trained].mean() - size * deviation),
        "stuck": np.full(length, part[0] + (size - 1) / 5 * deviation),
    }
    value[own] = changed[shape]
    span = (int(series.time_s[start]), int(series.time_s[start + length - 1]) + 7200)
    return replace(series, value=value, spans=(span,))


def labelled_series(folder: Path, group: str) -> list[Series]:
    """The series below folder/group with the spans of folder/windows.json, trained on the first 15 % (at most 750 readings)."""
    windows = json.loads((folder / "windows.json").read_text())
    found = []
    for name, spans in windows.items():
        if not name.startswith(group):
            continue
        with (folder / name).open(newline="") as file:
            rows = list(csv.reader(file))[1:]
        time_s = np.array([_seconds(row[0]) for row in rows])
        time_s, first = np.unique(time_s, return_index=True)
        value = np.array([float(row[1]) for row in rows])[first]
        marked = tuple((_seconds(start), _seconds(end)) for start, end in spans)
        found.append(Series(name, time_s, value, min(int(0.15 * len(value)), 750), marked))
    return found


def _seconds(text: str) -> int:
    return int(np.datetime64(text.replace(" ", "T")[:19], "s").astype(np.int64))


def _filtered(noise: Floats, memory: float) -> Floats:
    """An autoregressive series of order 1 with deviation 1."""
    out = np.empty(len(noise))
    last = noise[0]
    scale = float(np.sqrt(1 - memory**2))
    for place, shock in enumerate(noise.tolist()):
        last = memory * last + scale * shock
        out[place] = last
    return out
