"""Decision values of many one-class SVMs at once, bit for bit those of scikit-learn where there is one
feature.

libsvm (svm.cpp, svm_predict_values) adds coef[i] * exp(-gamma * |x - sv[i]|^2) over the support vectors in
their order and subtracts rho last; an anomaly is whatever is not above 0. Here the same operations run in
the same order in float64, over whole columns. The exponential is Arrow's, which calls the C library's `exp`
as libsvm does; numpy's own vectorised one differs in the last bit for one value in twenty. With more
features libsvm sums the squares by BLAS, whose order is its own: then the values agree to about 1e-15 of
sum(alpha), and rows too close to 0 for that to decide are summed by the same BLAS routine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.workloads.sensor_anomaly.packs import ModelPack, SensorModel

_BLOCK_ROWS = 1 << 16
_FEW_VECTORS = 6  # up to here all models of a block are computed together; above, each on its own
_DOUBTFUL = 1e-11  # relative to sum(alpha); far above the rounding of either order of summation

Floats = npt.NDArray[np.float64]


def decide(pack: ModelPack, models: npt.NDArray[Any], counts: npt.NDArray[Any], values: Floats) -> Floats:
    """Decision values of readings with one feature.

    `values` holds, one after the other, `counts[j]` readings for the one-feature model `models[j]` of the
    pack; they must be finite.
    """
    scores = np.empty(len(values))
    # so far away that the square is infinite: its exponential is 0, as in libsvm
    with np.errstate(over="ignore"):
        for first, last, rows in blocks(counts):
            _decide_block(pack, models[first:last], counts[first:last], values[rows], scores[rows])
    return scores


def blocks(counts: npt.NDArray[Any]) -> Iterator[tuple[int, int, slice]]:
    """Whole groups [first, last) with as many rows as the processor's cache holds with their intermediates,
    and those rows.
    """
    ends = np.cumsum(counts)
    first = 0
    while first < len(counts):
        start = int(ends[first] - counts[first])
        last = max(int(np.searchsorted(ends, start + _BLOCK_ROWS, side="right")), first + 1)
        yield first, last, slice(start, int(ends[last - 1]))
        first = last


def decide_matrix(model: SensorModel, matrix: Floats) -> Floats:
    """Decision values of the rows of `matrix`, one column per feature, for one model; finite values only."""
    if matrix.shape[1] == 1:
        return _decide_one(model, (matrix[:, 0] - model.mean[0]) / model.scale[0])
    with np.errstate(over="ignore", invalid="ignore"):  # infinities become NaN, which is doubtful
        scores = _decide_by_product(model, matrix)
    doubtful = np.flatnonzero(~(np.abs(scores) >= _DOUBTFUL * model.alpha.sum()))  # NaN, too
    if len(doubtful):
        scores[doubtful] = _decide_by_blas(model, (matrix[doubtful] - model.mean) / model.scale)
    return scores


def _decide_by_product(model: SensorModel, matrix: Floats) -> Floats:
    """All squared distances |a|^2 - 2ab + |b|^2 in one product, a feature a row: long rows are what
    processors are good at.
    """
    features = matrix.shape[1]
    centre = model.support.mean(axis=0)  # the sum loses least when the points lie around 0
    support = model.support - centre
    left = np.empty((len(support), features + 2))
    left[:, :features] = 2.0 * model.gamma * support
    left[:, features] = -model.gamma
    left[:, features + 1] = -model.gamma * np.einsum("ij,ij->i", support, support)
    right = np.empty((features + 2, len(matrix)))
    points = right[:features]
    np.subtract(matrix.T, (model.mean + centre * model.scale)[:, None], out=points)
    points /= model.scale[:, None]
    np.einsum("ij,ij->j", points, points, out=right[features])
    right[features + 1] = 1.0
    kernel = left @ right
    scores: Floats = model.alpha @ np.exp(kernel, out=kernel) - model.rho
    return scores


def anomalies(scores: Floats) -> npt.NDArray[np.int8]:
    """1 where a decision value means an anomaly (libsvm: normal only if above 0), else 0."""
    return (~(scores > 0.0)).view(np.int8)


def _decide_block(pack: ModelPack, models: Any, counts: Any, values: Floats, out: Floats) -> None:
    if int(pack.vectors[models].max(initial=0)) <= _FEW_VECTORS:
        out[:] = _decide_together(pack, models, counts, values)
        return
    start = 0
    for model, count in zip(models.tolist(), counts.tolist(), strict=True):
        one = pack.model(model)
        scaled = (values[start : start + count] - one.mean[0]) / one.scale[0]
        out[start : start + count] = _decide_one(one, scaled)
        start += count


def _decide_together(pack: ModelPack, models: Any, counts: Any, values: Floats) -> Floats:
    """A model with fewer vectors than the longest gets alpha 0 for the rest, which adds exactly nothing."""
    feature, vector = pack.first_feature[models], pack.first_vector[models]
    vectors = pack.vectors[models]
    scaled = values - np.repeat(pack.mean[feature], counts)
    scaled /= np.repeat(pack.scale[feature], counts)
    minus_gamma = np.repeat(-pack.gamma[models], counts)
    total = np.zeros(len(values))
    for step in range(int(vectors.max(initial=0))):
        there = step < vectors
        index = np.where(there, vector + step, 0)
        square = scaled - np.repeat(
            pack.support[np.where(there, pack.first_support[models] + step, 0)], counts
        )
        square *= square
        square *= minus_gamma
        total += _exp(square) * np.repeat(np.where(there, pack.alpha[index], 0.0), counts)
    total -= np.repeat(pack.rho[models], counts)
    return total


def _decide_one(model: SensorModel, scaled: Floats) -> Floats:
    total = np.zeros(len(scaled))
    for support, alpha in zip(model.support[:, 0].tolist(), model.alpha.tolist(), strict=True):
        square = scaled - support
        square *= square
        square *= -model.gamma
        total += _exp(square) * alpha
    total -= model.rho
    return total


def _decide_by_blas(model: SensorModel, scaled: Floats) -> Floats:
    from scipy.linalg.blas import ddot  # the very routine that scikit-learn's libsvm calls

    scores = np.empty(len(scaled))
    for row, point in enumerate(scaled):
        total = 0.0
        gaps = point - model.support
        squares = np.array([ddot(gap, gap) for gap in gaps])
        for kernel, alpha in zip(_exp(-model.gamma * squares), model.alpha, strict=True):
            total += alpha * kernel
        scores[row] = total - model.rho
    return scores


def _exp(values: Floats) -> Floats:
    result: Floats = pc.exp(pa.array(values)).to_numpy()
    return result
