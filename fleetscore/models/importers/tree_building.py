"""Trees of any library, given as nodes with children, brought into the form of tree packs; children are
checked on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetscore.errors import ModelError
from fleetscore.models.packs.base import CompiledModel, Floats, ModelFacts
from fleetscore.models.packs.compiled import compiled
from fleetscore.models.packs.tree_bits import IN_SET, NAN_LEFT
from fleetscore.models.packs.tree_walk import CODE_BITS, PLANE_BITS

FEATURES_LIMIT = 1 << (PLANE_BITS - 1)
NODES_LIMIT = 1 << (CODE_BITS - 1)  # of a tree
OUTPUTS_LIMIT = 1 << 12
DEPTH_LIMIT = 1 << 12  # levels of a tree: its library takes hours over a proof of many more

Whole = NDArray[np.int64]


@dataclass(frozen=True)
class Nodes:
    """The nodes of all trees, tree after tree, each tree's root first.

    `begins` [trees + 1] cuts them; `left` and `right` are children by their place in the tree, -1 in
    leaves. A row goes left when its value of `feature` is at most `threshold`, or missing and `nan_left`;
    where `in_set` is not -1, when the value lies in that member of `sets`: float64 edges in ascending
    order, of which (0, 1], (2, 3] and so on are in the set. `values` is float64 [nodes, width], read in
    leaves; `output` [trees] is the result column of each tree (0 where width > 1).
    """

    begins: Whole
    left: Whole
    right: Whole
    feature: Whole
    threshold: Floats
    nan_left: NDArray[np.bool_]
    values: Floats
    output: Whole
    in_set: Whole | None = None
    sets: Sequence[Floats] = field(default_factory=tuple)


def compile_trees(
    nodes: Nodes, facts: ModelFacts, base: Floats, constants: Sequence[float] = ()
) -> CompiledModel:
    """Return the compiled model; ModelError `corrupt_model` where children, features or thresholds do not
    make trees.

    `base` [outputs] is what the sums begin with, `constants` what the facts' recipe needs.
    `unsupported_model` beyond the limits above.
    """
    _require_sizes(nodes, facts, base)
    order, leaf_order, span, counts = _preorder(nodes)
    _require_depth(nodes)
    feature, set_of = nodes.feature[order], None if nodes.in_set is None else nodes.in_set[order]
    threshold = nodes.threshold[order]
    if np.any((feature < 0) | (feature >= facts.n_features)):
        raise corrupt(f"a node tests a feature beyond the {facts.n_features} that there are")
    plain = np.ones(order.size, np.bool_) if set_of is None else set_of < 0
    if np.isnan(threshold[plain]).any():
        raise corrupt("a threshold is not a number")
    bounds, cuts = _cuts(feature, threshold, plain, set_of, nodes.sets, facts.n_features)
    code = np.zeros(order.size, np.uint32)
    code[plain] = _ranks(feature[plain], threshold[plain], bounds, cuts)
    flags = np.where(nodes.nan_left[order], NAN_LEFT, 0).astype(np.uint8)
    words: NDArray[np.uint64] = np.empty(0, np.uint64)
    if set_of is not None and not plain.all():
        flags[~plain] |= IN_SET
        words, code[~plain] = _words(feature[~plain], set_of[~plain], nodes.sets, bounds, cuts)
    values = nodes.values[leaf_order]
    if not np.isfinite(values).all():
        raise corrupt("a leaf's value is not a finite number")
    arrays: dict[str, NDArray[Any]] = {
        "cut_bounds": bounds.astype(np.int32),
        "cuts": cuts,
        "tree_nodes": np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        "tree_output": nodes.output.astype(np.uint16),
        "feature": feature.astype(np.uint16),
        "code": code,
        "span": span.astype(np.uint32),
        "flags": flags,
        "sets": words,
        "values": np.ascontiguousarray(values, np.float64).reshape(-1),
        "base": np.asarray(base, np.float64),
        "constants": np.array(constants, np.float64),
    }
    return CompiledModel("trees", arrays, facts)


def corrupt(reason: str) -> ModelError:
    """Return the error of a model file whose numbers make no model."""
    return ModelError(f"The model is corrupt: {reason}.", fix="Write the file anew.", code="corrupt_model")


def unsupported(what: str) -> ModelError:
    """Return the error of a model that is sound but of a kind that packs do not take."""
    return ModelError(
        f"Packs of trees do not take {what}.", fix="Export the model as ONNX.", code="unsupported_model"
    )


def _require_sizes(nodes: Nodes, facts: ModelFacts, base: Floats) -> None:
    """Raise ModelError unless all sizes keep within the limits of the form."""
    sizes = np.diff(nodes.begins)
    if sizes.size and (sizes.min() < 1 or sizes.max() > NODES_LIMIT):
        raise corrupt(f"a tree has {sizes.min() if sizes.min() < 1 else sizes.max()} nodes")
    if not 1 <= facts.n_features <= FEATURES_LIMIT:
        raise unsupported(f"{facts.n_features} features (1 to {FEATURES_LIMIT})")
    if not 1 <= len(base) <= OUTPUTS_LIMIT:
        raise unsupported(f"{len(base)} outputs (1 to {OUTPUTS_LIMIT})")
    if nodes.begins.size and nodes.begins[-1] * nodes.values.shape[1] > np.iinfo(np.int32).max:
        raise unsupported("as many leaf values")
    if nodes.output.size and (nodes.output.min() < 0 or nodes.output.max() >= len(base)):
        raise corrupt("a tree adds to an output that is not there")


def _preorder(nodes: Nodes) -> tuple[Whole, Whole, Whole, Whole]:
    """Inner nodes in preorder, leaves from left to right, leaves on each inner node's left, inner nodes of
    each tree.
    """
    size = nodes.left.size
    order, leaves = np.empty(size, np.int64), np.empty(size, np.int64)
    span, counts = np.empty(size, np.int64), np.zeros(nodes.begins.size - 1, np.int64)
    inner = walk_preorder(nodes.begins, nodes.left, nodes.right, order, leaves, span, counts)
    if inner < 0:
        raise corrupt(
            f"tree {-1 - inner} has a child that is not there, or that two nodes share, or nodes without parent"
        )
    return order[:inner], leaves[: inner + counts.size], span[:inner], counts


def _require_depth(nodes: Nodes) -> None:
    """Raise ModelError where a tree has more levels than the limit; the children are known to make trees."""
    offsets = np.repeat(nodes.begins[:-1], np.diff(nodes.begins))
    level = nodes.begins[:-1]
    for _ in range(DEPTH_LIMIT):
        inner = level[nodes.left[level] >= 0]
        if not inner.size:
            return
        level = np.concatenate([offsets[inner] + nodes.left[inner], offsets[inner] + nodes.right[inner]])
    raise unsupported(f"a tree of more than {DEPTH_LIMIT:,} levels")


@compiled
def walk_preorder(begins: Any, left: Any, right: Any, order: Any, leaves: Any, span: Any, counts: Any) -> int:
    """Fill the orders of `_preorder`; returns the number of inner nodes, or -1 - tree where the children
    make no tree.
    """
    inner, leaf = 0, 0
    stack, place = np.empty(left.size + 1, np.int64), np.empty(left.size, np.int64)
    for tree in range(begins.size - 1):
        begin, size = begins[tree], begins[tree + 1] - begins[tree]
        first_inner, first_leaf, high, met = inner, leaf, 1, 0
        stack[0] = 0
        while high > 0:
            high -= 1
            node = stack[high]
            if node >= size:  # the left side of an inner node is complete
                span[place[node - size]] = leaf - span[place[node - size]]
                continue
            met += 1
            if met > size:
                return -1 - tree
            low, up = left[begin + node], right[begin + node]
            if low < 0 and up < 0:
                leaves[leaf] = begin + node
                leaf += 1
                continue
            if low <= 0 or up <= 0 or low >= size or up >= size or low == up or high + 3 > stack.size:
                return -1 - tree
            order[inner] = begin + node
            span[inner] = leaf
            place[node] = inner
            inner += 1
            stack[high], stack[high + 1], stack[high + 2] = up, size + node, low
            high += 3
        if leaf - first_leaf != inner - first_inner + 1:
            return -1 - tree
        counts[tree] = inner - first_inner
    return inner


def _cuts(
    feature: Whole, threshold: Floats, plain: NDArray[np.bool_], set_of: Whole | None, sets: Sequence[Floats], features: int
) -> tuple[Whole, Floats]:  # fmt: skip
    """Each feature's distinct thresholds and edges in ascending order, end to end, and where they begin."""
    owners, cuts = [feature[plain]], [threshold[plain]]
    if set_of is not None:
        pairs = np.unique(np.stack([feature[~plain], set_of[~plain]]), axis=1)
        owners += [np.full(sets[at].size, f) for f, at in pairs.T]
        cuts += [sets[at] for at in pairs[1]]
    owner, cut = np.concatenate(owners), np.concatenate(cuts)
    order = np.lexsort((cut, owner))
    owner, cut = owner[order], cut[order]
    new = np.ones(owner.size, np.bool_)
    new[1:] = (owner[1:] != owner[:-1]) | (cut[1:] != cut[:-1])
    bounds: Whole = np.searchsorted(owner[new], np.arange(features + 1))
    return bounds, cut[new]


def _ranks(feature: Whole, threshold: Floats, bounds: Whole, cuts: Floats) -> Whole:
    """The place of each node's threshold among its feature's cuts."""
    owner = np.repeat(np.arange(bounds.size - 1), np.diff(bounds))
    order = np.lexsort((threshold, feature))
    f, t = feature[order], threshold[order]
    step = np.zeros(f.size, np.int64)
    if cuts.size == 0:
        return step
    # Both are sorted by feature and value; edges of sets may lie between, so ranks are searched feature by feature.
    found = np.empty(f.size, np.int64)
    begins = np.searchsorted(f, np.arange(bounds.size))
    for place in np.unique(owner):
        part = slice(begins[place], begins[place + 1])
        found[part] = np.searchsorted(cuts[bounds[place] : bounds[place + 1]], t[part])
    step[order] = found
    return step


def _words(
    feature: Whole, set_of: Whole, sets: Sequence[Floats], bounds: Whole, cuts: Floats
) -> tuple[NDArray[np.uint64], Whole]:
    """The bits of every distinct set over its feature's codes, and the word at which each node's set
    begins.
    """
    words: list[NDArray[np.uint64]] = []
    begins: dict[tuple[int, int], int] = {}
    size = 0
    for f, at in zip(feature.tolist(), set_of.tolist(), strict=True):
        if (f, at) in begins:
            continue
        own = cuts[bounds[f] : bounds[f + 1]]
        member = np.zeros((own.size + 64) // 64 * 64, np.uint8)
        member[1 : own.size + 1] = np.searchsorted(sets[at], own, side="right") % 2
        words.append(np.packbits(member, bitorder="little").view("<u8"))
        begins[f, at] = size
        size += words[-1].size
    found = np.array([begins[pair] for pair in zip(feature.tolist(), set_of.tolist(), strict=True)], np.int64)
    return np.concatenate(words), found
