"""Fitting one key's model: hold out the last rows, measure, fit on all rows, compile and prove as at
import.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetscore.errors import FleetscoreError
from fleetscore.exhaustion import raise_lack, raise_passing
from fleetscore.models.importers.estimator_files import of_estimator
from fleetscore.models.importers.job import compile_proven
from fleetscore.models.importers.loaded import Way
from fleetscore.models.importers.preparation import Unsupported
from fleetscore.models.packs.base import CompiledModel
from fleetscore.records import Outcome

Floats = npt.NDArray[np.float64]
Answers = npt.NDArray[Any]
Before = Callable[[Floats], Answers | None]
_REASON_LIMIT = 300


@dataclass(frozen=True, slots=True)
class KeyRows:
    """A key's rows in the order of time: features float64 [rows, features], and what is to be learned."""

    x: Floats
    y: Answers
    read: int  # rows before those without target or features were left out
    fault: str = ""  # why the target is none that the estimator can learn; "" where it is one
    without: str = ""  # says that no row has a target; "" where one has


@dataclass(frozen=True, slots=True)
class Fitted:
    """What became of a key: its model, or why it has none; metrics of its holdout."""

    outcome: Outcome
    cause: str = ""
    detail: str = ""
    model: CompiledModel | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


def fit_key(
    make: Callable[[], Any], rows: KeyRows, features: Sequence[str], method: str, share: float | None, rows_min: int, before: Before
) -> Fitted:  # fmt: skip
    """Fit the key's model, whatever its library raises; `before` answers holdout rows with the model in
    use, None without one.

    Raises only what passes, a lack of memory, threads or handles, or a store that may answer later: that fails
    the attempt, not the key.
    """
    if rows.fault:
        return Fitted(Outcome.FAILED, "bad_target", rows.fault)
    if len(rows.x) < rows_min:
        detail = rows.without or f"{len(rows.x)} of {rows.read} rows have target and features."
        return Fitted(Outcome.SKIPPED, "too_few_rows", f"{detail} Training takes {rows_min} (rows_min).")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            metrics = measure(make, rows, share, before) if share else {}
            estimator = make().fit(rows.x, rows.y)
            model = compile_fitted(estimator, features, method, rows.x)
    except MemoryError:
        raise
    except FleetscoreError as error:
        raise_passing(error)
        return Fitted(Outcome.FAILED, error.code, str(error))
    except Exception as error:  # whatever a library raises for this key's rows
        raise_lack(error)
        return Fitted(
            Outcome.FAILED, "training_failed", f"{type(error).__name__}: {str(error)[:_REASON_LIMIT]}"
        )
    return Fitted(Outcome.SCORED, model=model, metrics={"rows": float(len(rows.x)), **metrics})


def measure(make: Callable[[], Any], rows: KeyRows, share: float, before: Before) -> dict[str, float]:
    """The metrics of the last `share` of the rows, by a model of the rows before them.

    `loss` is the mean absolute error, of classes the share of wrong ones; `loss_before` that of the model
    in use on the same rows; `loss_baseline` that of always answering the mean, or the most frequent class.
    """
    count = max(1, round(len(rows.x) * share))
    start = len(rows.x) - count
    if start < 2:
        return {}
    x, y, later, actual = rows.x[:start], rows.y[:start], rows.x[start:], rows.y[start:]
    answers = make().fit(x, y).predict(later)
    is_text = rows.y.dtype == object
    usual = _most_frequent(y) if is_text else np.mean(y)
    metrics = {"holdout_rows": float(count), "loss": loss_of(actual, answers)}
    metrics["loss_baseline"] = loss_of(actual, np.full(count, usual, object if is_text else float))
    known = before(later)
    if known is not None:
        metrics["loss_before"] = loss_of(actual, known)
    if not is_text:
        spread = float(np.sum((actual - actual.mean()) ** 2))
        metrics["rmse"] = float(np.sqrt(np.mean((actual - answers) ** 2)))
        metrics["r2"] = 1.0 - float(np.sum((actual - answers) ** 2)) / spread if spread else float("nan")
    return metrics


def loss_of(actual: Answers, answers: Answers) -> float:
    """The mean absolute error of numbers; of classes the share of wrong ones.

    >>> loss_of(np.array([1.0, 2.0]), np.array([1.5, 2.0]))
    0.25
    >>> loss_of(np.array(["a", "b"], object), np.array(["a", "a"], object))
    0.5
    """
    if actual.dtype == object:
        return float(np.mean(np.asarray(actual, str) != np.asarray(answers, str)))
    return float(np.mean(np.abs(actual - np.asarray(answers, np.float64))))


def compile_fitted(estimator: Any, features: Sequence[str], method: str, x: Floats) -> CompiledModel:
    """The fitted estimator as a compiled model that names its features, proven against its library in the
    rows' ranges.
    """
    loaded = of_estimator(estimator, {}, [])
    loaded = replace(loaded, ways=[_naming(way, features) for way in loaded.ways])
    bounds = zip(x.min(axis=0).tolist(), x.max(axis=0).tolist(), strict=True)
    ranges = {
        name: [low, high]
        for name, (low, high) in zip(features, bounds, strict=True)
        if np.isfinite(high - low)
    }
    request = {"method": method, "ranges": ranges, "trusted": False, "fix": "Choose another estimator."}
    return compile_proven(loaded, request)[0]


def _naming(way: Way, features: Sequence[str]) -> Way:
    def named() -> CompiledModel | None:
        try:
            compiled = way()
        except ImportError as error:  # a converter of the command line, not of the app
            raise Unsupported(f"{error.name} is not installed here") from error
        if compiled is None:
            return None
        return replace(compiled, facts=replace(compiled.facts, feature_names=tuple(features)))

    return named


def _most_frequent(labels: Answers) -> Any:
    values, counts = np.unique(labels.astype(str), return_counts=True)
    return values[counts.argmax()]
