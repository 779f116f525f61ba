"""Damaged model files by the thousand: each ends in an outcome, a proven model or a refusal with a code, never in a crash.

Run: python tests/models/fuzz_model_files.py [--format cbm] [--count 10000] [--seed 1] [--first 0]
"""

from __future__ import annotations

import argparse
import io
import json
import math
import random
import re
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from fleetscore.errors import ModelError
from fleetscore.models.importers.limits import ImportLimits
from fleetscore.models.importers.process import ImportProcess
from fleetscore.models.packs.families import open_pack

_RANDOM = np.random.default_rng(3)
X = _RANDOM.normal(size=(60, 3))
Y = X @ np.array([1.0, -2.0, 0.5]) + _RANDOM.normal(size=60)
_LIMITS = ImportLimits(memory_bytes=2 << 30, cpu_s=20, idle_s=60.0)
_NUMBER = re.compile(rb"\d+")
_ABSURD = (b"0", b"-1", b"4294967296", b"9223372036854775807", b"1e308", b"nan")


def _lightgbm(path: Path) -> None:
    import lightgbm

    options = {"n_estimators": 3, "num_leaves": 4, "verbose": -1, "n_jobs": 1}
    lightgbm.LGBMRegressor(**options).fit(X, Y).booster_.save_model(str(path))


def _xgboost(path: Path) -> None:
    import xgboost

    xgboost.XGBRegressor(n_estimators=3, max_depth=2, n_jobs=1).fit(X, Y).save_model(path)


def _catboost(path: Path) -> None:
    import catboost

    options = {"iterations": 3, "depth": 2, "verbose": False, "thread_count": 1, "allow_writing_files": False}
    form = "json" if path.suffix == ".json" else "cbm"
    catboost.CatBoostRegressor(**options).fit(X, Y).save_model(str(path), format=form)


def _estimator() -> Any:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), Ridge()).fit(X, Y)


def _onnx(path: Path) -> None:
    from skl2onnx import to_onnx

    path.write_bytes(to_onnx(_estimator(), X[:1].astype(np.float32)).SerializeToString())


def _skops(path: Path) -> None:
    import skops.io

    skops.io.dump(_estimator(), path)


def _pickle(path: Path) -> None:
    import joblib

    joblib.dump(_estimator(), path)


WRITERS: Mapping[str, tuple[str, Callable[[Path], None]]] = {
    "lightgbm": (".txt", _lightgbm), "xgboost-json": (".json", _xgboost), "xgboost-ubj": (".ubj", _xgboost),
    "catboost-json": (".json", _catboost), "cbm": (".cbm", _catboost), "onnx": (".onnx", _onnx), "skops": (".skops", _skops),
    "pickle": (".pkl", _pickle),
}  # fmt: skip


def mutate(data: bytes, rng: random.Random) -> bytes:
    """The bytes with one to three damages: a byte changed, a stretch cut, repeated or zeroed, the end cut, an absurd number."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(found)) if found else 0
        length = rng.randint(1, 40)
        kind = rng.randrange(6)
        if kind == 0 and found:
            found[at] ^= rng.randrange(1, 256)
        elif kind == 1:
            del found[at : at + length]
        elif kind == 2:
            found[at:at] = found[at : at + length]
        elif kind == 3:
            found[at : at + length] = bytes(min(length, len(found) - at))
        elif kind == 4 and rng.random() < 0.3:
            del found[at:]
        else:
            number = _NUMBER.search(found, at)
            if number:
                found[number.start() : number.end()] = rng.choice(_ABSURD)
    return bytes(found)


def damage(name: str, data: bytes, rng: random.Random) -> bytes:
    """A damaged file of the format; of an archive one of its members is damaged as often as the archive itself."""
    if name != "skops" or rng.random() < 0.5:
        return mutate(data, rng)
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as whole, zipfile.ZipFile(sink, "w") as damaged:
        names = whole.namelist()
        chosen = rng.choice(names)
        for member in names:
            content = whole.read(member)
            damaged.writestr(member, mutate(content, rng) if member == chosen else content)
    return sink.getvalue()


def fuzz(
    name: str, count: int, seed: int, folder: Path, seconds: float = math.inf, first: int = 0
) -> Counter[str]:
    """How often each outcome came of so many damaged files of the format: "proven", or a refusal's code.

    The files are numbered from `first`. It ends early after so many seconds.

    Anything but a header with a code or a pack that opens is raised, with the number that makes the file again.
    """
    suffix, write = WRITERS[name]
    whole = folder / f"whole{suffix}"
    write(whole)
    data, path = whole.read_bytes(), folder / f"damaged{suffix}"
    outcomes: Counter[str] = Counter()
    began = time.perf_counter()
    with ImportProcess() as process:
        for number in range(first, first + count):
            if time.perf_counter() - began > seconds:
                break
            path.write_bytes(damage(name, data, random.Random(f"{seed} {number}")))
            try:
                outcomes[_outcome(process, path)] += 1
            except Exception as error:
                raise AssertionError(f"{name}, seed {seed}, number {number}: {error!r}") from error
    return outcomes


def _outcome(process: ImportProcess, path: Path) -> str:
    request = {"path": str(path), "trusted": True, "method": "", "ranges": {}, "limits": asdict(_LIMITS)}
    try:
        header, payload = process.ask(request)
    except ModelError as error:
        return error.code or "no code"
    if header["code"]:
        return str(header["code"])
    return "proven" if open_pack(payload).model(0).facts is not None else "no facts"


def main() -> None:
    """Fuzz the chosen formats, by default all, and print the outcomes of each as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", action="append", choices=sorted(WRITERS))
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="Number of the first file.")
    parser.add_argument("--seconds", type=float, default=math.inf, help="End each format after so many.")
    asked = parser.parse_args()
    for name in asked.format or WRITERS:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            outcomes = fuzz(name, asked.count, asked.seed, Path(folder), asked.seconds, asked.first)
        told = {
            "format": name,
            "files": sum(outcomes.values()),
            "seconds": round(time.perf_counter() - began),
            **outcomes,
        }
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
