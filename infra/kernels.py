"""Writes fleetscore/kernels/kernels.json: the compiled functions, and the types that the shipped kinds call them with.

Run it in a checkout with `make setup` done, after a kernel was added or called with new types: .venv/bin/python infra/kernels.py
It trains and scores samples of every kind, and imports and scores models of every family, in this process. What only other
compiled functions call is compiled with them, and listed only where they did not come from the folder of compiled code.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from fleetscore.capabilities import MakesSamples, require  # noqa: E402
from fleetscore.kernels.ahead import LISTED  # noqa: E402
from fleetscore.kernels.compiled import KERNELS  # noqa: E402
from fleetscore.kernels.signatures import to_json  # noqa: E402
from fleetscore.pipeline.local import run_training, run_window  # noqa: E402
from fleetscore.registry import get_workload  # noqa: E402
from fleetscore.store import open_store  # noqa: E402

SCALES = {"sensor_anomaly": 0.05, "store_sales": 0.05, "server_load": 0.02}
MODELS = (
    "tests/models/test_linear_packs.py",
    "tests/models/test_bundles.py",
    "tests/models/test_booster_packs.py",
    "tests/model_fleets",
    "tests/store_sales/test_store_sales_gbm.py",
)


def main() -> None:
    """Use everything, then write down what was called with what."""
    with tempfile.TemporaryDirectory() as folder:
        for name, scale in SCALES.items():
            use(folder, name, scale)
    if pytest.main(["-q", "-m", "not slow", "--timeout=0", *(str(ROOT / path) for path in MODELS)]):
        raise SystemExit("the tests that call the kernels fail")
    LISTED.write_text(render(listed()))


def use(folder: str, name: str, scale: float) -> None:
    """Train on a kind's samples and score one window."""
    store = open_store(folder)
    report = require(get_workload(store, name), MakesSamples).samples(store, scale=scale, seed=7)
    run_training(store, name, str(report.facts["train_from"]), str(report.facts["train_to"]))
    run_window(store, name, report.first.key)


def render(found: dict[str, dict[str, list[Any]]]) -> str:
    """The list as JSON with a line for each function, so that a change shows as one line."""
    modules = [
        f"{json.dumps(module)}: {{\n"
        + ",\n".join(
            f" {json.dumps(name)}: {json.dumps(found[module][name])}" for name in sorted(found[module])
        )
        + "\n}"
        for module in sorted(found)
    ]
    return "{\n" + ",\n".join(modules) + "\n}\n"


def listed() -> dict[str, dict[str, list[Any]]]:
    """The functions by module and name, with the types of each form that was compiled; those without a form as JSON are left out."""
    found: dict[str, dict[str, list[Any]]] = defaultdict(dict)
    for kernel in KERNELS:
        forms = []
        for signature in kernel.signatures:
            with suppress(ValueError):
                forms.append([to_json(kind) for kind in signature])
        if forms:
            found[kernel.py_func.__module__][kernel.py_func.__name__] = sorted(forms, key=json.dumps)
    return found


if __name__ == "__main__":
    main()
