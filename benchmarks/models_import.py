"""Importing folders of models, each compiled and proven: wall and CPU seconds of 2,000 files of each family.

40 distinct models of a family are written to 2,000 files in the format of their library: pickles of scikit-learn, texts of LightGBM,
UBJ of XGBoost. The import runs as `fleetscore import-models --trust-pickles` does, with a process for each core. Run: python
benchmarks/models_import.py [FAMILY ...]; the variable MODELS sets another number of files.
"""

from __future__ import annotations

import os
import pickle
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import lightgbm
import xgboost

from benchmarks.model_families import Family
from benchmarks.models import FAMILIES, MODELS, fit
from fleetscore.models.importers.folder import ImportOptions, import_models

_FORESTS = ("forest", "SVM")
_LIMIT_S, _FORESTS_LIMIT_S = 60, 300


@dataclass(frozen=True)
class Imported:
    """What importing the files of a family took; the CPU seconds are those of all its processes."""

    wall_s: float
    cpu_s: float
    size_bytes: int


def main(names: list[str]) -> None:
    """Import the families that are named, or all, and print the table."""
    print(f"{MODELS:,} files, each compiled and proven, on {os.cpu_count()} cores:\n")
    print("| family | wall s (at most) | CPU s | CPU ms a model | bytes a file |\n|---|--:|--:|--:|--:|")
    for family in FAMILIES:
        if names and family.name not in names:
            continue
        one = measure(family)
        limit = _FORESTS_LIMIT_S if any(word in family.name for word in _FORESTS) else _LIMIT_S
        print(
            f"| {family.name} | {one.wall_s:.0f} ({limit}) | {one.cpu_s:.0f} | {one.cpu_s / MODELS * 1e3:.1f} "
            f"| {one.size_bytes:,} |",
            flush=True,
        )


def measure(family: Family) -> Imported:
    """Write the files of a family and import them; AssertionError where one is refused."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder)
        files = [write(model) for model in fit(family)]
        for at in range(MODELS):
            suffix, data = files[at % len(files)]
            (source / f"van {at:06d}{suffix}").write_bytes(data)
        start, before = time.monotonic(), cpu_seconds()
        done = sum(one.refusal is None for one in import_models(source, options=ImportOptions(trusted=True)))
        assert done == MODELS, family.name
        size = sum(len(data) for _, data in files) // len(files)
        return Imported(time.monotonic() - start, cpu_seconds() - before, size)


def write(model: Any) -> tuple[str, bytes]:
    """The suffix and the bytes of a model's file, as its library writes it."""
    if isinstance(model, lightgbm.Booster):
        return ".txt", model.model_to_string().encode()
    if isinstance(model, xgboost.Booster):
        return ".ubj", bytes(model.save_raw("ubj"))
    return ".pkl", pickle.dumps(model)


def cpu_seconds() -> float:
    """The CPU seconds of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main(sys.argv[1:])
