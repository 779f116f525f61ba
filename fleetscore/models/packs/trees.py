"""Packs of tree models: boosted trees, forests, isolation forests and single trees of any library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fleetscore.errors import ModelError
from fleetscore.models.packs import tree_kernels as kernels
from fleetscore.models.packs import tree_results
from fleetscore.models.packs.base import Floats, Indices, ModelFacts, Pack
from fleetscore.models.packs.container import corrupt

FAULTS = (
    "",
    "the features' thresholds do not fit their bounds",
    "the trees do not fit their nodes",
    "thresholds are not in ascending order",
    "a node tests a feature that is not there",
    "a node's threshold is not there",
    "the nodes make no tree",
)

BOOSTERS = ("lightgbm:", "xgboost:")
"""Recipes whose `predict` is a probability; where the facts call it a label, it is the class of the largest.
"""


@dataclass(frozen=True)
class TreesPack(Pack):
    """Models whose results are sums of leaf values, turned into results by the recipe that their facts name.

    A tree's inner nodes lie in preorder. A node sends a row left when its feature's value is at most
    threshold `code` of the feature's ascending `cuts` (or, by flag, when the rank of the value is in a set
    of bits that begins at word `code`); `span` is the number of leaves on the left. Leaves are numbered
    from left to right; `values` holds `width` numbers for each.
    """

    family: ClassVar[str] = "trees"
    layout: ClassVar[Mapping[str, str]] = {
        "cut_bounds": "i4",  # features + 1
        "cuts": "f8",
        "tree_nodes": "i4",  # trees + 1
        "tree_output": "u2",  # the result column that a tree adds to
        "feature": "u2",
        "code": "u4",
        "span": "u4",
        "flags": "u1",
        "sets": "u8",
        "values": "f8",
        "base": "f8",  # where the sums begin
        "constants": "f8",  # what the recipe needs besides the sums
    }
    narrow: ClassVar[frozenset[str]] = frozenset({"cuts", "feature", "code", "span", "values"})

    def check_model(self, at: int) -> None:
        """Check every index of one model; ModelError `corrupt_model` names what is wrong."""
        part = {name: _read_only(self.part(name, at)) for name in self.layout}
        fault = self._fault(part, self.facts_of_model(at).n_features)
        if fault:
            raise ModelError(
                f"Model {at} of the pack is corrupt: {fault}.", fix="Import it again.", code="corrupt_model"
            )

    def score_rows(self, offsets: Indices, x: Floats, method: str, out: Floats) -> None:
        """Fill `out` with what each model's recipe makes of the sums of its leaf values; InputError for
        values that it refuses.
        """
        self.require_values(offsets, x)
        base = self.bounds["base"]
        outputs = np.diff(base)
        raw = np.zeros((len(x), int(outputs.max(initial=1))))
        bounds = np.stack([self.bounds[name] for name in list(self.layout)[:-1]])
        rounding = np.array([_rounding(facts) for facts in self.facts], np.uint8)[self.facts_of]
        leaves = np.diff(self.bounds["feature"]) + np.diff(self.bounds["tree_output"])
        widths = np.diff(self.bounds["values"]) // np.maximum(leaves, 1)
        names = list(self.layout)[:-1]
        sizes = np.array([self.arrays[name].itemsize for name in names], np.int64)
        arrays = [_read_only(self.arrays[name]) for name in names]
        numbers = [
            array.view(np.uint8) if name in self.narrow else array
            for name, array in zip(names, arrays, strict=True)
        ]
        kernels.score_models(offsets, x, rounding, widths, outputs, bounds, sizes, *numbers, raw)
        self._finish(offsets, method, raw, out)

    def critical_values(self, at: int) -> list[Floats]:
        """Return each feature's thresholds."""
        bounds, cuts = self.part("cut_bounds", at), self.part("cuts", at)
        return [cuts[bounds[f] : bounds[f + 1]] for f in range(bounds.size - 1)]

    def _finish(self, offsets: Indices, method: str, raw: Floats, out: Floats) -> None:
        """Turn sums into results, all rows of models with equal facts at a time."""
        counts = np.diff(offsets)
        for place in np.unique(self.facts_of[counts > 0]):
            facts, models = self.facts[place], np.flatnonzero((self.facts_of == place) & (counts > 0))
            width = self.part("base", int(models[0])).size
            rows = _rows_of(offsets, models)
            of_rows = self._constants_of(models, counts)
            from_probabilities = method in facts.label_methods and facts.recipe.startswith(BOOSTERS)
            wanted_method = "predict_proba" if from_probabilities else method
            found = tree_results.results(facts.recipe, wanted_method, raw[rows, :width], of_rows)
            if from_probabilities:
                found = found.argmax(axis=1, keepdims=True).astype(np.float64)
            out[rows, : found.shape[1]] = found

    def _constants_of(self, models: Indices, counts: Indices) -> Floats:
        """The constants of each row's model, [rows, constants], for models of equal facts; one row is
        repeated without a copy where all are equal.
        """
        bounds = self.bounds["constants"]
        sizes = np.diff(bounds)[models]
        if np.any(sizes != sizes[0]):
            raise corrupt("models with equal facts have different numbers of constants")
        found = self.arrays["constants"][bounds[models][:, None] + np.arange(sizes[0])]
        if np.all(found == found[0]):
            return np.broadcast_to(found[0], (int(counts[models].sum()), found.shape[1]))
        return np.repeat(found, counts[models], axis=0)

    @staticmethod
    def _fault(part: Mapping[str, NDArray[Any]], n_features: int) -> str:
        """What is wrong with a model's arrays, or nothing."""
        if part["cut_bounds"].size != n_features + 1 or n_features < 1:
            return FAULTS[1]
        trees, nodes = part["tree_output"].size, part["feature"].size
        if part["tree_nodes"].size != trees + 1 or part["base"].size < 1:
            return FAULTS[2]
        if any(part[name].size != nodes for name in ("code", "span", "flags")):
            return FAULTS[2]
        width, rest = divmod(part["values"].size, max(nodes + trees, 1))
        if rest or (trees and width < 1) or (width > 1 and width != part["base"].size):
            return FAULTS[2]
        names = ("cut_bounds", "cuts", "tree_nodes", "tree_output")
        found = kernels.check_tree_model(
            n_features,
            *(part[name] for name in names),
            part["base"].size - max(width - 1, 0),
            *(part[name] for name in ("feature", "code", "span", "flags", "sets")),
        )
        return FAULTS[found]


def _rounding(facts: ModelFacts) -> int:
    """What a model rounds to float32, as the kernels' flags."""
    features = kernels.ROUND_FEATURES if facts.compute == "float32" else 0
    return features | (kernels.ROUND_SUMS if facts.recipe in tree_results.FLOAT32_SUMS else 0)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A view that nobody writes: the kernels are compiled for such arrays, whether they are of a file or
    not.
    """
    found = array.view()
    found.flags.writeable = False
    return found


def _rows_of(offsets: Indices, models: Indices) -> slice | Indices:
    """The rows of some models: a slice where they lie together, which copies nothing."""
    if np.array_equal(models, np.arange(models[0], models[-1] + 1)):
        return slice(int(offsets[models[0]]), int(offsets[models[-1] + 1]))
    parts: Indices = np.concatenate([np.arange(offsets[at], offsets[at + 1]) for at in models])
    return parts
