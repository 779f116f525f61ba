"""Kernel machines with a radial basis function: support vector classifiers, regressors and one-class
models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fleetscore.kernels.compiled import compiled
from fleetscore.models.packs.base import Floats, Indices
from fleetscore.models.packs.decisions import DecisionPack

_BLOCK_ROWS = 256  # a block's distances and values stay in the processor's first cache


class KernelsPack(DecisionPack):
    """Decision values sum_i coefs[i] * exp(-gamma * |z - vectors[i]|²) + bias with z = (x - centre) *
    factor / scale + offset.

    Layout: `spec` = [decision values, Link]; `fill` and `shift` as in DecisionPack; `centre`, `factor`,
    `scale`, `offset` [features]; `vectors` [vectors * features], a vector's together; `coefs` [decision
    values * vectors]; `bias` [decision values]; `gamma` [1].
    """

    family: ClassVar[str] = "kernels"
    layout: ClassVar[Mapping[str, str]] = {
        "spec": "i4",
        "fill": "f8",
        "centre": "f8",
        "factor": "f8",
        "scale": "f8",
        "offset": "f8",
        "vectors": "f8",
        "coefs": "f8",
        "bias": "f8",
        "gamma": "f8",
        "shift": "f8",
    }
    tolerance: ClassVar[float] = 1e-12

    def sizes_fit(self) -> NDArray[np.bool_]:
        """Which models have as many coefficients as vectors and decision values, and scalings per feature."""
        width = self.widths
        fit = np.all([self.sizes(name) == width for name in ("centre", "factor", "scale", "offset")], axis=0)
        fit &= (width > 0) & (self.sizes("vectors") % np.maximum(width, 1) == 0)
        fit &= self.sizes("coefs") == self.vector_counts * self.counts
        fit &= (self.sizes("bias") == self.counts) & (self.sizes("gamma") == 1)
        return np.asarray(fit, np.bool_)

    @property
    def vector_counts(self) -> Indices:
        """The number of support vectors of each model."""
        return self.sizes("vectors") // np.maximum(self.widths, 1)

    def decide(self, offsets: Indices, x: Floats, decisions: Floats) -> None:
        """Fill the decision values; InputError where a row is not finite, as the library refuses it."""
        self.refuse_bad_rows(offsets, x)
        arrays, bounds = self.arrays, self.bounds
        _decide(
            offsets, x, self.widths, self.counts, self.vector_counts, bounds["fill"], arrays["fill"], bounds["centre"],
            arrays["centre"], arrays["factor"], arrays["scale"], arrays["offset"], bounds["vectors"], arrays["vectors"], bounds["coefs"],
            arrays["coefs"], bounds["bias"], arrays["bias"], arrays["gamma"], decisions,
        )  # fmt: skip  # arrays, each behind its bounds

    def magnitudes(self, x: Floats, method: str) -> Floats:
        """The size of the terms that one model's answers are sums of, [rows, 1]."""
        if method == "predict_proba":
            return np.ones((len(x), 1))
        coefs = np.abs(self.part("coefs", 0)).reshape(int(self.counts[0]), -1)
        size = float((coefs.sum(axis=1) + np.abs(self.part("bias", 0))).max(initial=0.0))
        return np.full((len(x), 1), size)


@compiled(fastmath={"contract"})
def _decide(  # type: ignore[no-untyped-def]  # compiled
    offsets, x, widths, counts, vector_counts, fill_at, fill, centre_at, centre, factor, scale, offset, vectors_at, vectors,
    coefs_at, coefs, bias_at, bias, gamma, out,
):  # fmt: skip
    """Rows in blocks, a feature's values side by side, so that the processor takes several rows at once."""
    widest = 1
    for model in range(len(widths)):
        widest = max(widest, widths[model])
    points = np.empty((widest, _BLOCK_ROWS))
    squares = np.empty(_BLOCK_ROWS)
    bits = np.empty(_BLOCK_ROWS, np.int64)
    totals = np.empty(_BLOCK_ROWS)
    for model in range(len(widths)):
        width, count, vector_count = widths[model], counts[model], vector_counts[model]
        first, filled = centre_at[model], fill_at[model + 1] > fill_at[model]
        for begin in range(offsets[model], offsets[model + 1], _BLOCK_ROWS):
            rows = min(_BLOCK_ROWS, offsets[model + 1] - begin)
            for row in range(rows):
                for feature in range(width):
                    value = x[begin + row, feature]
                    if filled and np.isnan(value):
                        value = fill[fill_at[model] + feature]
                    value = (value - centre[first + feature]) * factor[first + feature] / scale[
                        first + feature
                    ] + offset[first + feature]
                    points[feature, row] = value
            for at in range(count):
                for row in range(rows):
                    out[begin + row, at] = 0.0
            totals[:rows] = 0.0
            for vector in range(vector_count):
                start = vectors_at[model] + vector * width
                squares[:rows] = 0.0
                for feature in range(width):
                    here = vectors[start + feature]
                    for row in range(rows):
                        gap = points[feature, row] - here
                        squares[row] += gap * gap
                _exp(squares, bits, -gamma[model], rows)
                if count == 1:
                    coef = coefs[coefs_at[model] + vector]
                    for row in range(rows):
                        totals[row] += coef * squares[row]
                else:
                    for at in range(count):
                        coef = coefs[coefs_at[model] + at * vector_count + vector]
                        if coef != 0.0:
                            for row in range(rows):
                                out[begin + row, at] += coef * squares[row]
            if count == 1:
                for row in range(rows):
                    out[begin + row, 0] = totals[row] + bias[bias_at[model]]
            else:
                for row in range(rows):
                    for at in range(count):
                        out[begin + row, at] += bias[bias_at[model] + at]


_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_ROUND = 6755399441055744.0  # 1.5 * 2^52: what is added to it is rounded to a whole number, which its low bits hold


@compiled(fastmath={"contract"}, inline="always")
def _exp(values, bits, factor, rows):  # type: ignore[no-untyped-def]
    """values = exp(values * factor) for values * factor <= 0, to an ulp or two; below -708 it stays at
    exp(-708).

    Written out because the processor then takes several rows at once, which the C library's `exp` does not.
    """
    halves = bits.view(np.float64)
    for row in range(rows):
        power = max(values[row] * factor, -708.0)
        rounded = power * _LOG2_E + _ROUND
        halves[row] = rounded
        whole = rounded - _ROUND
        rest = (power - whole * _LN2_HIGH) - whole * _LN2_LOW
        series = 1.0 / 6227020800.0
        series = series * rest + 1.0 / 479001600.0
        series = series * rest + 1.0 / 39916800.0
        series = series * rest + 1.0 / 3628800.0
        series = series * rest + 1.0 / 362880.0
        series = series * rest + 1.0 / 40320.0
        series = series * rest + 1.0 / 5040.0
        series = series * rest + 1.0 / 720.0
        series = series * rest + 1.0 / 120.0
        series = series * rest + 1.0 / 24.0
        series = series * rest + 1.0 / 6.0
        series = series * rest + 0.5
        series = series * rest + 1.0
        values[row] = series * rest + 1.0
    for row in range(rows):
        bits[row] = (bits[row] + 1023) << 52
    for row in range(rows):
        values[row] *= halves[row]
