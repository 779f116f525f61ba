"""A model file as its library reads it, with the ways in which it may become a compiled model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fleetscore.models.importers.estimators import split_pipeline
from fleetscore.models.packs.base import CompiledModel, Floats, ModelFacts
from fleetscore.models.packs.families import pack_class

Original = Callable[[Floats, str], Any]
"""What the library answers to rows [rows, features] and a method: labels as the library gives them."""

Way = Callable[[], CompiledModel | None]
"""One way to compile a model; it returns None, or raises Unsupported or ModelError, where it is not the
model's.
"""


@dataclass(frozen=True)
class LoadedModel:
    """A model in the hands of its own library; `ways` are tried in their order until one is proven.

    `tolerance` is above 0 where the library reads its own file inexactly: so far may its answers be from
    those of the file's numbers.
    """

    description: str
    original: Original
    ways: Sequence[Way]
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    estimator: Any = None
    tolerance: float = 0.0


def original_of(loaded: LoadedModel, facts: ModelFacts) -> Callable[[Floats, str], Floats]:
    """The library's answers as `prove` compares them: labels as positions in the facts' classes, all as
    float64.
    """
    classes = np.array(facts.classes)

    def answer(x: Floats, method: str) -> Floats:
        found = loaded.original(x, method)
        if method in facts.label_methods:
            return np.searchsorted(classes, np.asarray(found).reshape(len(x))).astype(np.float64)
        return np.asarray(found, np.float64)

    return answer


def trial_ranges(
    loaded: LoadedModel, compiled: CompiledModel, known: Mapping[str, Sequence[float]]
) -> Floats:
    """The ranges [features, 2] to try the model in: those known by name, else what its first scaler or its
    thresholds saw.
    """
    facts = compiled.facts
    ranges = np.tile([-10.0, 10.0], (facts.n_features, 1))
    critical = pack_class(compiled.family).join([compiled]).critical_values(0)
    for at, values in enumerate(critical):
        finite = values[np.isfinite(values)]
        if finite.size:
            ranges[at] = finite.min() - 1.0, finite.max() + 1.0
    scaled = _scaler_ranges(loaded.estimator)
    if scaled is not None and scaled.shape == ranges.shape and np.isfinite(scaled).all():
        ranges = scaled
    for at, name in enumerate(facts.feature_names):
        if name in known:
            ranges[at] = known[name]
    return ranges


def _scaler_ranges(estimator: Any) -> Floats | None:
    """Four deviations around the centre that the first scaler of a pipeline has learned."""
    steps, _ = split_pipeline(estimator) if estimator is not None else ([], None)
    for step in steps[:2]:
        centre, scale = getattr(step, "mean_", getattr(step, "center_", None)), getattr(step, "scale_", None)
        if hasattr(step, "data_min_"):
            return np.stack([step.data_min_, step.data_max_], axis=1).astype(np.float64)
        if centre is not None and scale is not None:
            return np.stack([centre - 4 * scale, centre + 4 * scale], axis=1).astype(np.float64)
    return None


def describe_estimator(estimator: Any) -> str:
    """The estimator's classes in a line.

    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> describe_estimator(make_pipeline(StandardScaler(), Ridge()))
    'StandardScaler, Ridge'
    """
    steps, model = split_pipeline(estimator)
    names = [step if isinstance(step, str) else type(step).__name__ for step in (*steps, model)]
    return ", ".join(names)[:200]
