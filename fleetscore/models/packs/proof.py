"""The proof that a compiled model answers as its library does, made once at import."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleetscore.models.packs.base import METHODS, CompiledModel, Floats, Pack
from fleetscore.models.packs.families import pack_class

ROWS = 1_000  # at the least, besides the rows at critical values
CRITICAL_ROWS = 4_000  # at most; further critical values are drawn at random
FLOAT32_LIMIT = float(np.finfo(np.float32).max)

Predict = Callable[[Floats, str], Floats]


@dataclass(frozen=True)
class Proof:
    """What a comparison of a pack with its library found.

    `max_deviation` is the largest difference relative to the larger magnitude (inf where only one side is
    finite); `equal` says whether it keeps within the family's tolerance in every row; `text` says it in a
    sentence for the model's card.
    """

    rows: int
    max_deviation: float
    equal: bool
    text: str


def prove(compiled: CompiledModel, original_predict: Predict, ranges: Floats, seed: int) -> Proof:
    """Compare a compiled model with its library on at least 1,000 rows, for every method that it answers.

    `original_predict(x, method)` returns what the library says, float64 [rows, outputs] (labels as
    positions in the facts' classes); `ranges` is float64 [features, 2], each feature's lowest and highest
    value. The rows lie within the ranges, at the model's critical values and their neighbouring floats, at
    extremes, and hold NaN where the library takes it.
    """
    pack = pack_class(compiled.family).join([compiled])
    x = trial_rows(pack, ranges, np.random.default_rng(seed))
    offsets = np.array([0, len(x)], np.int64)
    ours = {m: pack.score(offsets, x, m) for m in METHODS if m in compiled.facts.outputs}
    theirs = {m: np.asarray(original_predict(x, m), np.float64).reshape(len(x), -1) for m in ours}
    labels = set(compiled.facts.label_methods)
    sizes = {m: pack.magnitudes(x, m) for m in ours}
    deviations = {m: deviation(ours[m], theirs[m], sizes[m]) for m in ours if m not in labels}
    worst = max((float(found.max(initial=0.0)) for found in deviations.values()), default=0.0)
    wrong = {m: int(np.any(found > pack.tolerance, axis=1).sum()) for m, found in deviations.items()}
    margins = pack.margins(x) if labels else None
    wrong |= {
        m: wrong_labels(ours[m], theirs[m], theirs, labels, pack.tolerance, margins)
        for m in ours
        if m in labels
    }
    return Proof(len(x), worst, not any(wrong.values()), _sentence(len(x), worst, wrong, pack.tolerance))


def trial_rows(pack: Pack, ranges: Floats, rng: np.random.Generator) -> Floats:
    """Return the rows that a pack of one model is tried on, float64 [rows, features]."""
    facts = pack.facts[0]
    low, high = ranges[:, 0], ranges[:, 1]
    parts = [rng.uniform(low, high, (ROWS, facts.n_features)), low[None], high[None]]
    parts += [_critical_rows(pack.critical_values(0), low, high, rng)] if facts.n_features else []
    spread = np.maximum(high - low, 1.0)
    parts.append(rng.choice([-1e30, -1.0, -0.0, 0.0, 1e-300, 1.0, 1e30], (100, facts.n_features)) * spread)
    x = np.concatenate(parts)
    if facts.compute == "float32":
        x = np.clip(x, -FLOAT32_LIMIT, FLOAT32_LIMIT)
    if facts.takes_nan:
        holes = x[rng.integers(len(x), size=ROWS // 2)]
        holes[rng.random(holes.shape) < 0.3] = np.nan
        x = np.concatenate([x, holes, np.full((1, facts.n_features), np.nan)])
    return np.ascontiguousarray(x)


def deviation(ours: Floats, theirs: Floats, sizes: Floats | None = None) -> Floats:
    """Return the differences relative to the largest of both and `sizes`; zero where both are the same
    number or both NaN.
    """
    if ours.shape != theirs.shape:
        return np.full((max(len(ours), 1), 1), np.inf)
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        larger = np.maximum(np.abs(ours), np.abs(theirs))
        apart = np.abs(ours - theirs) / (larger if sizes is None else np.fmax(larger, sizes))
    apart[~np.isfinite(apart)] = np.inf
    apart[same] = 0.0
    return apart


def wrong_labels(
    ours: Floats,
    theirs: Floats,
    values: dict[str, Floats],
    labels: set[str],
    tolerance: float,
    margins: Floats | None = None,
) -> int:
    """Return the number of rows whose labels differ although the margin between the best two exceeds the
    tolerance.

    The margin is the pack's own where it says one (`margins`, [rows]), else that of the library's other
    methods (`values`).
    """
    if ours.shape != theirs.shape:
        return max(len(ours), 1)
    differs: NDArray[np.bool_] = np.any(ours != theirs, axis=1)
    if margins is not None:
        return int((differs & (margins > tolerance)).sum())
    for method, found in values.items():
        if method not in labels and method != "score_samples":
            differs &= _margin(found) > tolerance
    return int(differs.sum())


def _margin(values: Floats) -> Floats:
    """How far a row's decision is from the other label, relative to its magnitude: |value|, or the best two
    values' difference.
    """
    if values.shape[1] == 1:
        return np.abs(values[:, 0])
    best = np.sort(values, axis=1)
    margin: Floats = (best[:, -1] - best[:, -2]) / np.maximum(np.abs(best[:, -1]), np.abs(best[:, -2]))
    return margin


def _critical_rows(critical: list[Floats], low: Floats, high: Floats, rng: np.random.Generator) -> Floats:
    """Rows within the ranges with one feature each at a critical value, or at the next or previous float64
    or float32.
    """
    rows = []
    for feature, values in enumerate(critical):
        if len(values) > CRITICAL_ROWS // 5:
            values = rng.choice(values, CRITICAL_ROWS // 5, replace=False)
        with np.errstate(over="ignore"):
            single = values.astype(np.float32)
            near = [np.nextafter(single, np.float32(to)).astype(np.float64) for to in (-np.inf, np.inf)]
        near += [
            values,
            np.nextafter(values, -np.inf),
            np.nextafter(values, np.inf),
            single.astype(np.float64),
        ]
        tried = np.concatenate(near)
        tried = tried[np.isfinite(tried)]
        x = rng.uniform(low, high, (len(tried), len(low)))
        x[:, feature] = tried
        rows.append(x)
    found = np.concatenate(rows) if rows else np.empty((0, len(low)))
    return found if len(found) <= CRITICAL_ROWS else rng.permutation(found)[:CRITICAL_ROWS]


def _sentence(rows: int, worst: float, wrong: dict[str, int], tolerance: float) -> str:
    """The finding for a model's card."""
    bad = [f"{count} rows of {method}" for method, count in wrong.items() if count]
    limit = "to the last bit" if tolerance == 0.0 else f"within {tolerance:g} relative"
    if bad:
        return (
            f"Not equal {limit} to its library on {rows} rows: {', '.join(bad)} differ, by up to {worst:.3g}."
        )
    return f"Equal {limit} to its library on {rows} rows; the largest deviation is {worst:.3g}."
