"""Linear models of any number of outputs, each with the scaling before it, scored by one compiled loop over
all rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fleetscore.kernels.compiled import compiled
from fleetscore.models.packs.base import Floats, Indices
from fleetscore.models.packs.decisions import DecisionPack
from fleetscore.models.packs.links import Link


class LinearPack(DecisionPack):
    """Decision values (x - centre) @ weights + bias; `centre` is the first scaler's, the rest of a pipeline
    is in `weights`.

    Layout: `spec` = [decision values, Link]; `fill` and `shift` as in DecisionPack; `centre` [features];
    `weights` [features * decision values], a feature's together; `bias` [decision values]; `terms` (empty,
    or like `weights`) is what each weight is a sum of, in absolute values, where that is more than the
    weight: the proof measures against it. Centring first loses no digits where a feature is large and
    varies little.
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
        """The size of the terms that one model's answers are sums of, [rows, 1]; probabilities are measured
        against 1.
        """
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


@compiled()
def _decide(  # type: ignore[no-untyped-def]  # compiled
    offsets, x, widths, counts, fill_at, fill, centre_at, centre, weights_at, weights, bias_at, bias, out
):
    """Whether all sums are finite, after filling `out`."""
    finite = True
    for model in range(len(widths)):
        begin, end = offsets[model], offsets[model + 1]
        if begin == end:
            continue
        width, count = widths[model], counts[model]
        rows, found = x[begin:end], out[begin:end]
        centres = centre[centre_at[model] : centre_at[model] + width]
        factors = weights[weights_at[model] : weights_at[model] + width * count]
        bases = bias[bias_at[model] : bias_at[model] + count]
        fills = fill[fill_at[model] : fill_at[model + 1]]
        if count == 1 and not len(fills):
            _sum_one(rows, centres, factors, bases[0], found)
        else:
            _sum_several(rows, centres, factors, bases, fills, found)
        for row in range(end - begin):
            for at in range(count):
                finite &= np.isfinite(found[row, at])
    return finite


@compiled(fastmath={"contract", "reassoc", "nsz"})
def _sum_one(rows, centres, factors, base, found):  # type: ignore[no-untyped-def]
    """One value a row; the order of addition is the processor's choice, and the same for each row of a
    width.
    """
    for row in range(len(rows)):
        values = rows[row]
        total = base
        for feature in range(len(centres)):
            total += (values[feature] - centres[feature]) * factors[feature]
        found[row, 0] = total


@compiled(fastmath={"contract"})
def _sum_several(rows, centres, factors, bases, fills, found):  # type: ignore[no-untyped-def]
    count = len(bases)
    for row in range(len(rows)):
        values, sums = rows[row], found[row]
        for at in range(count):
            sums[at] = bases[at]
        for feature in range(len(centres)):
            value = values[feature]
            if len(fills) and np.isnan(value):
                value = fills[feature]
            value -= centres[feature]
            for at in range(count):
                sums[at] += value * factors[feature * count + at]
