"""Trees of an absurd depth are refused at import before anything of their size is computed."""

from __future__ import annotations

import numpy as np
import pytest

from fleetscore.errors import ModelError
from fleetscore.models.importers.tree_building import DEPTH_LIMIT, Nodes, compile_trees
from fleetscore.models.packs.base import ModelFacts

FACTS = ModelFacts(n_features=1, outputs={"predict": 1}, library="lightgbm")


def a_chain(levels: int) -> Nodes:
    """One tree whose every inner node has a leaf on its left and the rest of the tree on its right."""
    inner, size = np.arange(levels - 1), 2 * levels - 1
    left, right = np.full(size, -1), np.full(size, -1)
    left[2 * inner], right[2 * inner] = 2 * inner + 1, 2 * inner + 2
    threshold = np.zeros(size)
    threshold[2 * inner] = inner
    return Nodes(
        begins=np.array([0, size]),
        left=left,
        right=right,
        feature=np.zeros(size, np.int64),
        threshold=threshold,
        nan_left=np.zeros(size, np.bool_),
        values=np.arange(size, dtype=np.float64)[:, None],
        output=np.zeros(1, np.int64),
    )


def test_a_tree_of_absurd_depth_is_refused_and_one_at_the_limit_is_taken() -> None:
    """The limit itself is a tree; a level more, or 100,000, is `unsupported_model`."""
    assert compile_trees(a_chain(DEPTH_LIMIT), FACTS, np.zeros(1)).family == "trees"
    for levels in (DEPTH_LIMIT + 1, 100_000):
        with pytest.raises(ModelError, match="levels") as caught:
            compile_trees(a_chain(levels), FACTS, np.zeros(1))
        assert caught.value.code == "unsupported_model"
