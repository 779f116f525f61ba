"""Linear models of any number of outputs, each with the scaling before it, scored by one compiled loop over all rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from fleetscore.models.packs.base import Floats, Indices
from fleetscore.models.packs.decisions import DecisionPack
from fleetscore.models.packs.links import Link


class LinearPack(DecisionPack):
    """Decision values (x - centre) @ weights + bias; `centre` is the first scaler's, the rest of a pipeline is in `weights`.

    Layout: `spec` = [decision values, Link]; `fill` and `shift` as in DecisionPack; `centre` [features]; `weights` [features *
    decision values], a feature's together; `bias` [decision values]; `terms` (empty, or like `weights`) is what each weight is
    a sum of, in absolute values, where that is more than the weight: the proof measures against it.
    Centring first loses no digits where a feature is large and varies little.
    """

    family: ClassVar[str] = "linear"
    layout: ClassVar[Mapping[str, str]] = {
        "spec": "i4",
        "fill": "f8",
        "centre": "f8",
        "weights": "f8",
        "bias": "f8",
        "shift": "f8",
        "terms": "f8",
    }
    tolerance: ClassVar[float] = 1e-12

    def sizes_fit(self) -> NDArray[np.bool_]:
        """Which models have a centre per feature and a weight per feature and decision value."""
        fit = self.sizes("centre") == self.widths
        fit &= self.sizes("weights") == self.widths * self.counts
        fit &= (self.sizes("terms") == 0) | (self.sizes("terms") == self.sizes("weights"))
        fit &= self.sizes("bias") == self.counts
        return np.asarray(fit, np.bool_)

    def decide(self, offsets: Indices, x: Floats, decisions: Floats) -> None:
        """Fill the decision values; InputError where a row is not finite, as the library refuses it."""
        arrays, bounds = self.arrays, self.bounds
        finite = _decide(
            offsets, x, self.widths, self.counts, bounds["fill"], arrays["fill"], bounds["centre"], arrays["centre"],
            bounds["weights"], arrays["weights"], bounds["bias"], arrays["bias"], decisions,
        )  # fmt: skip  # four arrays, each behind its bounds
        if not finite:  # of an input, or of a sum that overflows as the library's does
            self.refuse_bad_rows(offsets, x)

    def magnitudes(self, x: Floats, method: str) -> Floats:
        """The size of the terms that one model's answers are sums of, [rows, 1]; probabilities are measured against 1."""
        if method == "predict_proba":
            return np.ones((len(x), 1))
        width, count = int(self.widths[0]), int(self.counts[0])
        rows = x[:, :width]
        if self.arrays["fill"].size:
            rows = np.where(np.isnan(rows), self.part("fill", 0), rows)
        weights = np.abs(self.part("terms" if self.arrays["terms"].size else "weights", 0)).reshape(
            width, count
        )
        centre, bias = self.part("centre", 0), self.part("bias", 0)
        with np.errstate(over="ignore"):
            found: Floats = (np.abs(rows) + np.abs(centre)) @ weights + np.abs(bias)
        terms: Floats = np.max(found, axis=1, keepdims=True, initial=0.0)
        if self.model_links[0] == Link.EXP:  # exp(d) deviates by as much as d does, relatively
            answers = self.score(np.array([0, len(x)], np.int64), x, method)
            with np.errstate(over="ignore", invalid="ignore"):
                terms = np.abs(answers) * np.maximum(terms, 1.0)
        return terms


@njit(cache=True, nogil=True)
def _decide(  # type: ignore[no-untyped-def]  # compiled
    offsets, x, widths, counts, fill_at, fill, centre_at, centre, weights_at, weights, bias_at, bias, out
):
    """Whether all sums are finite, after filling `out`."""
    check = 0.0
    for model in range(len(widths)):
        begin, end = offsets[model], offsets[model + 1]
        if begin == end:
            continue
        width, count = widths[model], counts[model]
        filled = fill_at[model + 1] > fill_at[model]
        first, scale, base, f = centre_at[model], weights_at[model], bias_at[model], fill_at[model]
        if count == 1 and not filled:
            for row in range(begin, end):
                total = 0.0
                for feature in range(width):
                    total += (x[row, feature] - centre[first + feature]) * weights[scale + feature]
                total += bias[base]
                out[row, 0] = total
                check += total - total
            continue
        for row in range(begin, end):
            for at in range(count):
                out[row, at] = 0.0
            for feature in range(width):
                value = x[row, feature]
                if filled and np.isnan(value):
                    value = fill[f + feature]
                value -= centre[first + feature]
                for at in range(count):
                    out[row, at] += value * weights[scale + feature * count + at]
            for at in range(count):
                out[row, at] += bias[base + at]
                check += out[row, at] - out[row, at]
    return check == 0.0
