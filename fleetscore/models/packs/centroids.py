"""Nearest centroids and KMeans: the label of the closest centre."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

import numpy as np

from fleetscore.errors import InputError
from fleetscore.kernels.compiled import compiled
from fleetscore.models.packs import container
from fleetscore.models.packs.base import Floats, Indices, Pack
from fleetscore.models.packs.decisions import first_bad_value

EUCLIDEAN, MANHATTAN = 0, 1


class CentroidsPack(Pack):
    """The position of the centroid that is nearest to z = (x - centre) * factor / scale + offset; of
    several, the first.

    Layout: `spec` = [metric: 0 Euclidean, 1 Manhattan]; `fill` (empty, or what replaces NaN); `centre`,
    `factor`, `scale`, `offset` [features]; `centroids` [centroids * features].
    """

    family: ClassVar[str] = "centroids"
    layout: ClassVar[Mapping[str, str]] = {
        "spec": "i4",
        "fill": "f8",
        "centre": "f8",
        "factor": "f8",
        "scale": "f8",
        "offset": "f8",
        "centroids": "f8",
    }
    tolerance: ClassVar[float] = 1e-12

    @cached_property
    def widths(self) -> Indices:
        """The number of features of each model."""
        return np.array([facts.n_features for facts in self.facts] or [0], np.int64)[self.facts_of]

    def check_model(self, at: int) -> None:
        """ModelError `corrupt_model` when the arrays of the model do not fit each other."""
        facts = self.facts_of_model(at)
        width, spec = facts.n_features, self.part("spec", at)
        fits = width > 0 and spec.size == 1 and spec[0] in (EUCLIDEAN, MANHATTAN)
        fits = fits and all(
            self.part(name, at).size == width for name in ("centre", "factor", "scale", "offset")
        )
        fits = fits and self.part("fill", at).size in (0, width) and dict(facts.outputs) == {"predict": 1}
        size = self.part("centroids", at).size
        if not (fits and size > 0 and size % width == 0):
            raise container.corrupt(f"the arrays of model {at} do not fit each other")

    def score_rows(self, offsets: Indices, x: Floats, method: str, out: Floats) -> None:  # noqa: ARG002  # one method
        """Fill `out` with the position of each row's nearest centroid."""
        arrays, bounds = self.arrays, self.bounds
        row, feature = first_bad_value(offsets, self.widths, np.diff(bounds["fill"]) > 0, x)
        if row >= 0:
            raise InputError(
                f"Row {row} has the value {x[row, feature]} in feature {feature}, which its model refuses.",
                fix="Drop or fill such rows.",
            )
        _nearest(
            offsets, x, self.widths, bounds["spec"], arrays["spec"], bounds["fill"], arrays["fill"], bounds["centre"],
            arrays["centre"], arrays["factor"], arrays["scale"], arrays["offset"], bounds["centroids"], arrays["centroids"], out,
        )  # fmt: skip  # arrays, each behind its bounds

    def margins(self, x: Floats) -> Floats:
        """How much farther the second nearest centroid of one model is, relative to the terms of the
        distance, [rows].
        """
        width = int(self.widths[0])
        rows = (
            np.where(np.isnan(x[:, :width]), self.part("fill", 0), x[:, :width])
            if len(self.part("fill", 0))
            else x
        )
        z = (rows[:, :width] - self.part("centre", 0)) * self.part("factor", 0) / self.part("scale", 0)
        z += self.part("offset", 0)
        centroids = self.part("centroids", 0).reshape(-1, width)
        if len(centroids) == 1:
            return np.ones(len(x))
        gaps = z[:, None] - centroids
        power = 1 if self.part("spec", 0)[0] == MANHATTAN else 2
        with np.errstate(over="ignore", invalid="ignore"):
            apart = np.sort((np.abs(gaps) ** power).sum(axis=2), axis=1)
            size = (np.abs(z) ** power).sum(axis=1) + (np.abs(centroids) ** power).sum(axis=1).max()
            found: Floats = (apart[:, 1] - apart[:, 0]) / size
        return np.nan_to_num(found)


@compiled()
def _nearest(  # type: ignore[no-untyped-def]  # compiled
    offsets,
    x,
    widths,
    spec_at,
    spec,
    fill_at,
    fill,
    centre_at,
    centre,
    factor,
    scale,
    offset,
    centroids_at,
    centroids,
    out,
):
    point = np.empty(max(1, widths.max()) if len(widths) else 1)
    for model in range(len(widths)):
        width, metric, first = widths[model], spec[spec_at[model]], centre_at[model]
        filled = fill_at[model + 1] > fill_at[model]
        begin, end = centroids_at[model], centroids_at[model + 1]
        for row in range(offsets[model], offsets[model + 1]):
            for feature in range(width):
                value = x[row, feature]
                if filled and np.isnan(value):
                    value = fill[fill_at[model] + feature]
                value = (value - centre[first + feature]) * factor[first + feature] / scale[first + feature]
                point[feature] = value + offset[first + feature]
            best, best_distance = 0, np.inf
            for at in range((end - begin) // width):
                distance = 0.0
                for feature in range(width):
                    gap = point[feature] - centroids[begin + at * width + feature]
                    distance += abs(gap) if metric == 1 else gap * gap
                if distance < best_distance:
                    best, best_distance = at, distance
            out[row, 0] = best
