"""What a model costs in sets of 100 to 100,000 linear models: packing, opening and scoring, and the memory, as a table and a chart.

Each size is measured in a process of its own, the least of five tries. Run: python benchmarks/models_growth.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.models import DISTINCT, FAMILIES, FEATURES, NAMES, fit, load, timed
from fleetscore.models.importers.estimators import compile_estimator
from fleetscore.models.packs.bundle import pack_models
from fleetscore.models.packs.shard_scoring import score_shard

CHART = Path(__file__).resolve().parent.parent / "docs" / "images" / "models-growth.svg"
_SIZES = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
_ROWS = 10
_TRIES = 5


@dataclass(frozen=True)
class Growth:
    """CPU seconds of a set of so many models, and the process's largest memory."""

    size: int
    pack_s: float
    open_s: float
    score_s: float
    peak_mb: float

    def each_us(self, seconds: float) -> float:
        """Microseconds of one model."""
        return seconds / self.size * 1e6


def main() -> None:
    """Measure every size, draw the chart and print the table."""
    measured = [measure_apart(size) for size in _SIZES]
    draw(measured)
    print(
        f"| linear models in one set | pack ms | open ms | score {_ROWS} rows each, ms | µs a model | peak MB |"
    )
    print("|--:|--:|--:|--:|--:|--:|")
    for one in measured:
        print(
            f"| {one.size:,} | {one.pack_s * 1e3:.0f} | {one.open_s * 1e3:.1f} | {one.score_s * 1e3:.1f} "
            f"| {one.each_us(one.open_s + one.score_s):.1f} | {one.peak_mb:.0f} |"
        )
    print(f"\n![What a model costs by the number of models in its set](images/{CHART.name})")


def measure_apart(size: int) -> Growth:
    """The figures of a size, from a process of its own."""
    command = [sys.executable, __file__, "--size", str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Growth(**json.loads(done.stdout))


def measure(size: int) -> Growth:
    """Pack, open and score linear models in this process."""
    compiled = [compile_estimator(model) for model in fit(FAMILIES[0])]
    keys = [f"van {at:06d}" for at in range(size)]
    columns = dict(zip(NAMES, np.random.default_rng(0).normal(size=(FEATURES, size * _ROWS)), strict=True))
    offsets = np.arange(0, size * _ROWS + 1, _ROWS)

    def pack() -> dict[str, bytes]:
        return dict(pack_models((key, compiled[at % DISTINCT]) for at, key in enumerate(keys)).files())

    pack_s, files = least(pack)
    score_shard(load(files), keys[:1], offsets[:2], columns, "predict", NAMES)  # compiled code is loaded
    open_s, bundle = least(lambda: load(files))
    score_s, scores = least(lambda: score_shard(bundle, keys, offsets, columns, "predict", NAMES))
    assert not scores.errors
    status = Path("/proc/self/status").read_text()  # not ru_maxrss, which a child inherits
    peak_mb = int(status.split("VmHWM:")[1].split()[0]) / 1024
    return Growth(size, pack_s, open_s, score_s, peak_mb)


def least(run: Callable[[], Any]) -> tuple[float, Any]:
    """The least of the tries' CPU seconds, and what the last one gave."""
    tries = [timed(run) for _ in range(_TRIES)]
    return min(seconds for seconds, _ in tries), tries[-1][1]


def draw(measured: list[Growth]) -> None:
    """Write the chart: microseconds a model over the models of the set, both axes logarithmic."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "fleetscore", "font.size": 10, "svg.fonttype": "none"})
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
    sizes = [one.size for one in measured]
    for name, marker in (("pack", "s"), ("open", "^"), ("score", "o")):
        values = [one.each_us(getattr(one, f"{name}_s")) for one in measured]
        label = f"score {_ROWS} rows" if name == "score" else name
        axes.plot(sizes, values, marker=marker, label=label)
    axes.set(xscale="log", yscale="log", xlabel="linear models in one set", ylabel="CPU µs a model")
    axes.grid(which="major", alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(CHART, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    if "--size" in sys.argv:
        print(json.dumps(asdict(measure(int(sys.argv[-1])))))
    else:
        main()
