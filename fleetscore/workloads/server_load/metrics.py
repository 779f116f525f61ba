"""How well classes were predicted: the reference's measures, from a confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fleetscore.workloads.server_load.labels import CLASSES


@dataclass(frozen=True, slots=True)
class Metrics:
    """Accuracy, precision, recall and F1 weighted by the true classes' sizes; confusion[true][predicted] in
    the order of CLASSES.
    """

    rows: int
    accuracy: float
    precision: float
    recall: float
    f1: float
    confusion: tuple[tuple[int, ...], ...]


def measure(truth: Any, predicted: Any) -> Metrics:
    """Compare class numbers; a class that was never predicted has precision 0, as in Spark and scikit-learn.

    >>> measure(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 1])).accuracy
    0.75
    """
    k = len(CLASSES)
    matrix = np.bincount(
        np.asarray(truth, np.int64) * k + np.asarray(predicted, np.int64), minlength=k * k
    ).reshape(k, k)
    rows = int(matrix.sum())
    hits, true, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    precision, recall = _share(hits, predicted), _share(hits, true)
    f1 = _share(2 * precision * recall, precision + recall)
    weight = _share(true, np.full(k, max(rows, 1)))
    weighted = [float((weight * value).sum()) for value in (precision, recall, f1)]
    accuracy = float(hits.sum()) / max(rows, 1)
    confusion = tuple(tuple(map(int, row)) for row in matrix)
    return Metrics(rows, accuracy, weighted[0], weighted[1], weighted[2], confusion)


def _share(part: Any, whole: Any) -> Any:
    whole = np.asarray(whole, np.float64)
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
