"""Trees of every size, scored in each of the ways that the kernels have, against one node after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fleetscore.models.packs import container
from fleetscore.models.packs.base import CompiledModel, ModelFacts
from fleetscore.models.packs.tree_bits import NAN_LEFT
from fleetscore.models.packs.tree_codes import encode
from fleetscore.models.packs.trees import TreesPack

Floats = NDArray[np.float64]


def random_spans(rng: np.random.Generator, leaves: int) -> list[int]:
    """The leaves on the left of each inner node, in preorder."""
    spans, open_sizes = [], [leaves]
    while open_sizes:
        size = open_sizes.pop()
        if size > 1:
            spans.append(int(rng.integers(1, size)) if rng.random() < 0.7 else 1)
            open_sizes += [size - spans[-1], spans[-1]]
    return spans


def random_model(
    rng: np.random.Generator, sizes: list[int], features: int, outputs: int, recipe: str, width: int
) -> CompiledModel:
    """Trees of so many leaves each, with random thresholds and ways of missing values."""
    cuts = [np.unique(rng.normal(size=rng.integers(1, 400)).astype(np.float32)) for _ in range(features)]
    spans = [random_spans(rng, leaves) for leaves in sizes]
    feature = rng.integers(0, features, sum(map(len, spans)))
    code = [rng.integers(0, len(cuts[own])) for own in feature]
    values = rng.normal(size=sum(sizes) * width).astype(np.float32)
    arrays = {
        "cut_bounds": np.cumsum([0, *map(len, cuts)]), "cuts": np.concatenate(cuts), "feature": feature, "code": code,
        "tree_nodes": np.cumsum([0, *map(len, spans)]), "tree_output": np.arange(len(sizes)) % outputs * (width == 1),
        "span": np.concatenate([*spans, []]), "flags": rng.integers(0, 2, len(feature)) * NAN_LEFT, "sets": [],
        "values": values, "base": rng.normal(size=outputs).astype(np.float32), "constants": [],
    }  # fmt: skip
    facts = ModelFacts(
        features, {"predict": outputs}, "none", takes_nan=True, takes_infinity=True, recipe=recipe
    )
    return CompiledModel(
        "trees", {name: np.array(arrays[name], kind) for name, kind in TreesPack.layout.items()}, facts
    )


def walk_trees(model: CompiledModel, x: Floats, single: bool) -> Floats:
    """The sums of the leaf values, one row and node after the other."""
    own: dict[str, Any] = dict(model.arrays)
    width = own["values"].size // (own["feature"].size + own["tree_output"].size)
    values = own["values"].reshape(-1, width)
    sums = np.tile(own["base"], (len(x), 1))
    for row, numbers in enumerate(x):
        for t, output in enumerate(own["tree_output"]):
            node, end, leaf = int(own["tree_nodes"][t]), int(own["tree_nodes"][t + 1]), 0
            size = end - node + 1
            while size > 1:
                f, here = int(own["feature"][node]), int(own["span"][node])
                value, limit = numbers[f], own["cuts"][own["cut_bounds"][f] + own["code"][node]]
                left = bool(own["flags"][node] & NAN_LEFT) if np.isnan(value) else value <= limit
                leaf, node, size = (leaf, node + 1, here) if left else (leaf + here, node + here, size - here)
            added = values[own["tree_nodes"][t] + t + leaf]
            columns = slice(None) if width > 1 else output
            sums[row, columns] += added if width > 1 else added[0]
            if single:
                sums[row] = sums[row].astype(np.float32)
    return sums


def rows_for(rng: np.random.Generator, model: CompiledModel, count: int, missing: bool) -> Floats:
    """Rows around and at the thresholds, some infinite or missing."""
    bounds, cuts = model.arrays["cut_bounds"], model.arrays["cuts"]
    x = rng.normal(size=(count, bounds.size - 1))
    for f in range(bounds.size - 1):
        at = rng.random(count) < 0.3
        x[at, f] = rng.choice(cuts[bounds[f] : bounds[f + 1]], at.sum())
    x[rng.random(x.shape) < 0.01] = np.inf
    x[rng.random(x.shape) < 0.01] = -np.inf
    if missing:
        x[rng.random(x.shape) < 0.1] = np.nan
    return x


@pytest.mark.parametrize("rows", [3, 40, 130, 260, 1100])
@pytest.mark.parametrize("largest", [1, 8, 9, 30, 64, 65, 128, 200, 256, 257, 700])
def test_every_way_of_scoring_gives_the_sums_of_the_walk(largest: int, rows: int) -> None:
    """Any number of leaves, outputs and rows, rounded sums or not, missing values or none: the same bits."""
    rng = np.random.default_rng(largest * 10_000 + rows)
    models, blocks = [], []
    for outputs, width, recipe, features in (
        (1, 1, "identity", 1), (1, 1, "xgboost:identity", 9), (2, 2, "identity", 5), (3, 3, "identity", 3), (3, 1, "identity", 8),
    ):  # fmt: skip
        sizes = [int(size) for size in rng.integers(1, largest + 1, 5)] + [largest]
        model = random_model(rng, sizes, features, outputs, recipe, width)
        for missing in (False, True):
            models.append(model)
            blocks.append(rows_for(rng, model, rows, missing))
    x = np.zeros((rows * len(models), 9))
    for at, block in enumerate(blocks):
        x[at * rows : (at + 1) * rows, : block.shape[1]] = block
    found = TreesPack.join(models).score(np.arange(0, len(x) + 1, rows), x, "predict")
    checked = rng.choice(rows, min(rows, 40), replace=False)
    for at, (model, block) in enumerate(zip(models, blocks, strict=True)):
        expected = walk_trees(model, block[checked], model.facts.recipe.startswith("xgboost"))
        ours = found[at * rows : (at + 1) * rows, : expected.shape[1]][checked]
        assert ours.tobytes() == np.ascontiguousarray(expected).tobytes(), at


@pytest.mark.parametrize("rows", [32, 101])
@pytest.mark.parametrize("sizes", ["single", "stumps", "narrow", "full", "mixed"])
def test_lines_of_many_trees_give_the_sums_of_the_walk(sizes: str, rows: int) -> None:
    """However many trees share a line of the table, and wherever in it they begin: the same bits, with missing values."""
    rng = np.random.default_rng(rows)
    leaves = {
        "single": [1] * 150,
        "stumps": [2] * 150,
        "narrow": [int(size) for size in rng.integers(1, 65, 120)],
        "full": [64, 63, 57, 58, 1, 64, 64] * 6,
        "mixed": [int(size) for size in rng.choice([3, 31, 64, 65, 129, 256], 60)],
    }[sizes]
    for outputs, recipe in ((1, "identity"), (1, "xgboost:identity"), (3, "identity")):
        model = random_model(rng, leaves, 6, outputs, recipe, 1)
        x = rows_for(rng, model, rows, missing=True)
        found = TreesPack.join([model]).score(np.array([0, rows]), x, "predict")
        checked = [0, 1, 7, 8, rows - 2, rows - 1]
        expected = walk_trees(model, x[checked], recipe.startswith("xgboost"))
        assert found[checked].tobytes() == np.ascontiguousarray(expected).tobytes(), recipe


@pytest.mark.parametrize("numbers", ["small", "large"])
def test_packs_keep_numbers_as_small_as_they_are(numbers: str) -> None:
    """A pack from its bytes, in the smallest types or as earlier versions wrote it, holds and scores the same."""
    rng = np.random.default_rng(5)
    own = random_model(rng, [30, 200, 1], 4, 1, "identity", 1)
    if numbers == "large":
        own.arrays["values"][:] += 1e-9  # type: ignore[index]  # an array
    pack = TreesPack.join([own, random_model(rng, [3], 2, 1, "identity", 1)])
    data = pack.to_bytes()
    back = TreesPack.from_bytes(data)
    wide = container.pack("trees", pack.arrays, pack.bounds, pack.facts, pack.facts_of, pack.layout)
    earlier = TreesPack.from_bytes(wide)
    x, offsets = rng.normal(size=(300, 4)), np.array([0, 200, 300])
    expected = pack.score(offsets, x, "predict").tobytes()
    assert [one.score(offsets, x, "predict").tobytes() for one in (back, earlier)] == [expected] * 2
    assert {back.to_bytes(), earlier.to_bytes(), back.subset([0, 1]).to_bytes()} == {data}
    assert len(data) < len(wide) and wide[8] == 1 and data[8] == 2
    assert back.arrays["feature"].dtype == np.uint8 and back.arrays["cuts"].dtype == np.float32
    assert back.arrays["values"].dtype == (np.float64 if numbers == "large" else np.float32)
    for name in TreesPack.layout:
        assert back.part(name, 0).tobytes() == own.arrays[name].tobytes()
        assert back.part(name, 0).dtype == own.arrays[name].dtype


@pytest.mark.parametrize("spread", ["normal", "equal", "far", "one far", "subnormal", "huge", "few"])
def test_codes_are_the_number_of_thresholds_below(spread: str) -> None:
    """However thresholds are spread, each value's code is what a plain search among all finds."""
    rng = np.random.default_rng(1)
    cuts = {
        "normal": rng.normal(size=900),
        "equal": np.arange(500.0),
        "far": 10.0 ** rng.uniform(-300, 300, 700),
        "one far": np.append(rng.normal(size=300), 1e300),
        "subnormal": np.arange(1, 200) * 5e-324,
        "huge": np.array([-1.7e308, 0.0, 1.0, 1.7e308]),
        "few": np.array([0.5]),
    }[spread]
    cuts = np.unique(cuts)
    x = np.concatenate(
        [cuts, np.nextafter(cuts, np.inf), np.nextafter(cuts, -np.inf), [np.inf, -np.inf, np.nan, 0.0, -0.0]]
    )
    x = np.concatenate([x, rng.choice(x, 1024)])[-1024:]
    codes = np.empty((4, 2, 256), np.int32)
    missing = encode(
        x[:, None], False, np.array([0, len(cuts)], np.int32), cuts, np.empty(3 * len(cuts) + 4),
        np.empty(2 * len(cuts) + 2, np.int32), codes,
    )  # fmt: skip
    expected = np.searchsorted(cuts, x)
    assert missing == np.isnan(x).any()
    assert (codes[:, 0].ravel() == np.where(np.isnan(x), len(cuts) + 1, expected)).all()
    assert (codes[:, 1].ravel() == np.where(np.isnan(x), 0, expected)).all()
