"""The steps of a scikit-learn pipeline before its model, as arrays: fill what is missing, scale, project."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fleetscore.models.packs.base import Floats


class Unsupported(Exception):  # noqa: N818 - a reason, not an error: the next way to import the model is tried
    """Why a model has no pack of a family."""


@dataclass(frozen=True)
class Preparation:
    """Fitted steps: z = (x - centre) * factor / scale + offset, then z @ projection + bias where there is a
    projection.

    Before, NaN is replaced by `fill`, which is empty where nothing is filled. All are float64; `projection`
    is [features, outputs].
    """

    fill: Floats
    centre: Floats
    factor: Floats
    scale: Floats
    offset: Floats
    bias: Floats
    projection: Floats | None = None

    @property
    def width(self) -> int:
        """The number of values a row has after the steps."""
        return len(self.centre) if self.projection is None else self.projection.shape[1]

    def scaled(
        self, *, centre: Any = 0.0, factor: Any = 1.0, scale: Any = 1.0, offset: Any = 0.0
    ) -> Preparation:
        """The preparation with (y - centre) * factor / scale + offset as its next step; each is a number or
        one per value.

        A scaler's own multiplication or division is kept, since where terms cancel its last bit counts.
        """
        centre, factor, scale, offset = (_full(one, self.width) for one in (centre, factor, scale, offset))
        if self.projection is not None:
            bias = (self.bias - centre) * factor / scale + offset
            return replace(self, projection=self.projection * factor / scale, bias=bias)
        if _is_identity(self):
            return replace(self, centre=centre, factor=factor, scale=scale, offset=offset)
        return replace(
            self,
            factor=self.factor * factor,
            scale=self.scale * scale,
            offset=(self.offset - centre) * factor / scale + offset,
        )

    def projected(self, matrix: Floats, bias: Any = 0.0) -> Preparation:
        """The preparation with y @ matrix + bias as its next step; `matrix` is [values, outputs]."""
        matrix = np.asarray(matrix, np.float64)
        if len(matrix) != self.width:
            raise Unsupported(f"a step takes {len(matrix)} values and gets {self.width}")
        bias = _full(bias, matrix.shape[1])
        if self.projection is None:
            return replace(self, projection=matrix, bias=bias)
        return replace(self, projection=self.projection @ matrix, bias=self.bias @ matrix + bias)

    def linear(self, weights: Floats, intercept: Floats) -> tuple[Floats, Floats]:
        """Weights [features, outputs] and bias [outputs] of (x - centre) @ weights + bias for a linear
        model after the steps.
        """
        if self.projection is not None:
            intercept, weights = self.bias @ weights + intercept, self.projection @ weights
        return weights * (self.factor / self.scale)[:, None], self.offset @ weights + intercept


def identity(features: int) -> Preparation:
    """The preparation that changes nothing."""
    ones, zeros = np.ones(features), np.zeros(features)
    return Preparation(np.empty(0), zeros, ones, ones, zeros, np.zeros(1))


def read_steps(steps: Sequence[Any], features: int) -> Preparation:
    """The preparation that fitted transformers make of `features` values; Unsupported names the first that
    is not linear.
    """
    preparation = identity(features)
    for step in steps:
        if step is None or isinstance(step, str):  # passthrough
            continue
        name = type(step).__name__
        read = _STEPS.get(name) if type(step).__module__.startswith("sklearn.") else None
        if read is None:
            raise Unsupported(f"the step {name} is not a scaling or projection")
        preparation = read(step, preparation)
    return preparation


def _full(values: Any, width: int) -> Floats:
    array = np.asarray(values, np.float64).reshape(-1)
    if array.size not in (1, width):
        raise Unsupported(f"a step has {array.size} parameters for {width} values")
    return np.broadcast_to(array, width).copy()


def _is_identity(preparation: Preparation) -> bool:
    return (
        not preparation.centre.any()
        and not preparation.offset.any()
        and bool((preparation.scale == 1.0).all())
    )


def _standard(step: Any, before: Preparation) -> Preparation:
    centre = step.mean_ if step.with_mean else 0.0
    return before.scaled(centre=centre, scale=step.scale_ if step.with_std else 1.0)


def _robust(step: Any, before: Preparation) -> Preparation:
    centre = step.center_ if step.with_centering else 0.0
    return before.scaled(centre=centre, scale=step.scale_ if step.with_scaling else 1.0)


def _min_max(step: Any, before: Preparation) -> Preparation:
    if step.clip:
        raise Unsupported("MinMaxScaler clips")
    return before.scaled(factor=step.scale_, offset=step.min_)


def _max_abs(step: Any, before: Preparation) -> Preparation:
    if getattr(step, "clip", False):
        raise Unsupported("MaxAbsScaler clips")
    return before.scaled(scale=step.scale_)


def _pca(step: Any, before: Preparation) -> Preparation:
    matrix = step.components_.T
    if step.whiten:
        deviation = np.sqrt(step.explained_variance_)
        matrix = matrix / np.maximum(deviation, np.finfo(deviation.dtype).eps)
    return before.scaled(centre=step.mean_).projected(matrix)


def _svd(step: Any, before: Preparation) -> Preparation:
    return before.projected(step.components_.T)


def _pls(step: Any, before: Preparation) -> Preparation:
    return before.scaled(centre=step._x_mean, scale=step._x_std).projected(step.x_rotations_)


def _selection(step: Any, before: Preparation) -> Preparation:
    return before.projected(np.eye(before.width)[:, step.get_support()])


def _unchanged(step: Any, before: Preparation) -> Preparation:
    if step.func is not None:
        raise Unsupported("FunctionTransformer calls a function")
    return before


def _imputer(step: Any, before: Preparation) -> Preparation:
    fill = np.asarray(step.statistics_, np.float64)
    first = _is_identity(before) and before.projection is None and not before.fill.size
    nan = isinstance(step.missing_values, float) and np.isnan(step.missing_values)
    if not first or not nan or step.add_indicator or np.isnan(fill).any():
        raise Unsupported("SimpleImputer does more than fill NaN before all other steps")
    return replace(before, fill=fill)


_STEPS: dict[str, Callable[[Any, Preparation], Preparation]] = {
    "StandardScaler": _standard,
    "RobustScaler": _robust,
    "MinMaxScaler": _min_max,
    "MaxAbsScaler": _max_abs,
    "PCA": _pca,
    "IncrementalPCA": _pca,
    "TruncatedSVD": _svd,
    "PLSRegression": _pls,
    "PLSCanonical": _pls,
    "VarianceThreshold": _selection,
    "SelectKBest": _selection,
    "SelectPercentile": _selection,
    "SelectFromModel": _selection,
    "RFE": _selection,
    "RFECV": _selection,
    "FunctionTransformer": _unchanged,
    "SimpleImputer": _imputer,
}
