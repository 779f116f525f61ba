"""R's gbm models as plain arrays, scored exactly as R's predict does, on the features that such models were
trained on.

The features are of log sales (natural logarithm, no shift): the last known week (`lag1`), mean, maximum and
minimum of the last five (`month_mean`, `month_max`, `month_min`), mean of all weeks so far (`level`); deal,
feature flag and prices of the target week; SKU, store, week and step as numbers or factor levels. What is
not known goes the way of gbm's missing branch, and the row is flagged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fleetscore.errors import ModelError
from fleetscore.workloads.store_sales.contract import GBM_FILE, QUANTILE_NAMES, QUANTILES, StoreSalesSettings
from fleetscore.workloads.store_sales.feature_kernels import carry_forward
from fleetscore.workloads.store_sales.forecasting import Forecast, assumed_weeks
from fleetscore.workloads.store_sales.gbm_kernels import (
    MOST_LEAVES,
    add_by_masks,
    add_by_walking,
    number_leaves,
)
from fleetscore.workloads.store_sales.model_file import pack_arrays, unpack_arrays
from fleetscore.workloads.store_sales.panel import Panel

FILE = GBM_FILE
_NAMES = re.compile(r"lag1|month_mean|month_max|month_min|level|deal|feat|sku|store|week|step|price\S+")
LINKS = ("identity", "log", "logit")

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class GbmModel:
    """All models of a set; models, variables, trees and nodes lie one after the other, `*_start` say where
    each owner's begin.
    """

    names: NDArray[np.str_]  # per model
    first_step: IntArray
    last_step: IntArray
    quantile: FloatArray
    initial: FloatArray
    link: NDArray[np.str_]
    variable_start: IntArray
    variable_name: NDArray[np.str_]  # per variable
    level_start: IntArray
    level_text: NDArray[np.str_]  # of factors; none for numbers
    tree_start: IntArray
    root: IntArray  # per tree, its first node
    variable: IntArray  # per node, of the model; -1 for a leaf
    code: FloatArray  # threshold, or row of `directions` for a factor, or a leaf's value
    left: IntArray
    right: IntArray
    missing: IntArray
    directions: NDArray[np.int64]  # factor splits x most levels: -1 left, 1 right, 0 missing


@dataclass(frozen=True, slots=True)
class GbmScorer:
    """Models with their leaves numbered, ready to score."""

    model: GbmModel
    leaf: IntArray  # per leaf node, its number in the tree
    below: NDArray[np.uint64]  # per node, the leaves under it
    by_masks: NDArray[np.bool_]  # per model: no tree has more leaves than a mask has bits


def make_gbm_scorer(model: GbmModel) -> GbmScorer:
    """Number the leaves of all trees."""
    nodes = len(model.variable)
    leaf, below, leaves = (
        np.zeros(nodes, np.int64),
        np.zeros(nodes, np.uint64),
        np.zeros(len(model.root), np.int64),
    )
    number_leaves(
        model.root, nodes, model.variable, model.left, model.right, model.missing, leaf, below, leaves
    )
    fits = leaves <= MOST_LEAVES
    by_masks = [fits[a:b].all() for a, b in pairwise(model.tree_start.tolist())]
    return GbmScorer(model, leaf, below, np.array(by_masks))


def pack(model: GbmModel) -> bytes:
    """The models as an npz archive of plain arrays."""
    return pack_arrays({field.name: getattr(model, field.name) for field in fields(GbmModel)})


def unpack(data: bytes) -> GbmModel:
    """The models of such bytes; ModelError when they are anything else."""
    arrays = unpack_arrays(data)
    missing = [field.name for field in fields(GbmModel) if field.name not in arrays]
    if missing:
        raise ModelError(
            f"The gbm file has no {', '.join(missing)}.", fix="Import again.", code="corrupt_model"
        )
    model = GbmModel(**{field.name: arrays[field.name] for field in fields(GbmModel)})
    check(model)
    return model


def check(model: GbmModel) -> None:
    """ModelError unless every reference of the arrays is in range and every variable is one that can be
    computed.
    """
    if not (_owners_fit(model) and _nodes_fit(model)):
        raise ModelError(
            "The gbm file refers to what it does not hold.",
            fix="Export and import again.",
            code="corrupt_model",
        )
    unknown = sorted({str(n) for n in model.variable_name if not _NAMES.fullmatch(str(n))})
    if unknown:
        raise ModelError(
            f"The gbm models read {', '.join(unknown)}, which this workload does not compute.",
            fix="Known: lag1, month_mean, month_max, month_min, level, deal, feat, sku, store, week, step, price<sku>.",
            code="unsupported_model",
        )


def _owners_fit(model: GbmModel) -> bool:
    starts = (model.variable_start, model.level_start, model.tree_start)
    owned = (len(model.variable_name), len(model.level_text), len(model.root))
    owners = (len(model.names), len(model.variable_name), len(model.names))
    return all(
        len(start) == owner + 1 and start[0] == 0 and start[-1] == count and bool((np.diff(start) >= 0).all())
        for start, owner, count in zip(starts, owners, owned, strict=True)
    ) and all(str(link) in LINKS for link in model.link)


def _nodes_fit(model: GbmModel) -> bool:
    """Whether children come after their parents (so every walk ends), variables are the model's, and
    factors have directions.
    """
    nodes = len(model.variable)
    inner = np.flatnonzero(model.variable >= 0)
    children = np.concatenate([model.left[inner], model.right[inner], model.missing[inner]])
    roots = model.root
    if not len(roots) or roots[0] != 0 or (np.diff(roots) <= 0).any() or roots[-1] >= nodes:
        return False
    tree = np.searchsorted(roots, inner, side="right") - 1
    owner = np.searchsorted(model.tree_start, tree, side="right") - 1
    variable = model.variable_start[owner] + model.variable[inner]
    if (variable >= model.variable_start[owner + 1]).any() or not np.isfinite(model.code).all():
        return False
    levels = np.diff(model.level_start)[variable]
    rows = model.code[inner][levels > 0]
    return (
        bool(((children > np.tile(inner, 3)) & (children < nodes)).all())
        and bool(((rows >= 0) & (rows < len(model.directions))).all())
        and int(levels.max(initial=0)) <= model.directions.shape[1]
    )


def forecast(panel: Panel, scorer: GbmScorer, settings: StoreSalesSettings) -> Forecast:
    """Forecast every series and step with the models of that step; quantiles are sorted, so none crosses."""
    series, weeks = panel.sales.shape
    steps = settings.steps
    columns = _origin_columns(panel, weeks - steps)
    logs = np.empty((series, steps, len(QUANTILES)))
    for step in range(1, steps + 1):
        rows = columns | _target_columns(panel, weeks - steps + step - 1, step)
        for q, quantile in enumerate(QUANTILES):
            logs[:, step - 1, q] = predict(scorer, _model_for(scorer.model, step, quantile), rows)
    assumed = assumed_weeks(panel, steps)
    short = np.isnan(np.stack([columns[name] for name in ("lag1", "month_mean", "level")])).any(axis=0)
    return Forecast(np.exp(np.sort(logs, axis=2)), short[:, None] | assumed, short, assumed)


def predict(
    scorer: GbmScorer, index: int, columns: dict[str, NDArray[np.float64] | NDArray[np.object_]]
) -> FloatArray:
    """What R's predict(model, data, n.trees) gives, row by row; the response where the link is log or
    logit.
    """
    model = scorer.model
    first, stop = model.variable_start[index], model.variable_start[index + 1]
    matrix = np.stack([_encoded(model, v, columns[str(model.variable_name[v])]) for v in range(first, stop)])
    is_factor = np.diff(model.level_start)[first:stop] > 0
    out = np.full(matrix.shape[1], model.initial[index])
    roots = model.root[model.tree_start[index] : model.tree_start[index + 1]]
    after = int(model.tree_start[index + 1])
    end = int(model.root[after]) if after < len(model.root) else len(model.variable)
    if scorer.by_masks[index]:
        add_by_masks(
            matrix, is_factor, np.isnan(matrix).any(axis=1), roots, end, model.variable, model.code, model.left,
            model.right, model.directions, scorer.leaf, scorer.below, out,
        )  # fmt: skip
    else:
        add_by_walking(
            matrix, is_factor, roots, model.variable, model.code, model.left, model.right, model.missing,
            model.directions, out,
        )  # fmt: skip
    return _respond(out, str(model.link[index]))


def _respond(out: FloatArray, link: str) -> FloatArray:
    if link == "log":
        return np.asarray(np.exp(out))
    return np.asarray(1.0 / (1.0 + np.exp(-out))) if link == "logit" else out


def _encoded(model: GbmModel, variable: int, values: NDArray[np.float64] | NDArray[np.object_]) -> FloatArray:
    """The column as gbm sees it: a number, or the place of its factor level; NaN where that is none."""
    levels = model.level_text[model.level_start[variable] : model.level_start[variable + 1]]
    if not len(levels):
        return np.array([_number(v) for v in values]) if values.dtype == object else values.astype(np.float64)
    places = {str(text): float(place) for place, text in enumerate(levels)}
    return np.array([places.get(_text(value), np.nan) for value in values])


def _number(value: object) -> float:
    text = str(value)
    return float(text) if re.fullmatch(r"[-+]?\d+(\.\d+)?", text) else np.nan


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _model_for(model: GbmModel, step: int, quantile: float) -> int:
    right = (
        (model.first_step <= step) & (step <= model.last_step) & (np.abs(model.quantile - quantile) < 1e-9)
    )
    found = np.flatnonzero(right)
    if len(found) != 1:
        name = QUANTILE_NAMES[QUANTILES.index(quantile)]
        raise ModelError(
            f"The set has {len(found)} gbm models for step {step} and {name}, expected one.",
            fix="Export models for every step and quantile, or lower `steps`.",
            code="wrong_steps",
        )
    return int(found[0])


def _origin_columns(panel: Panel, origin_stop: int) -> dict[str, FloatArray | NDArray[np.object_]]:
    sales = panel.sales[:, :origin_stop]
    logs = np.log(np.where(sales > 0, sales, np.nan))
    last = [
        logs[:, origin_stop - lag] if origin_stop >= lag else np.full(len(logs), np.nan)
        for lag in range(1, 6)
    ]
    known = ~np.isnan(logs)
    weeks = known.sum(axis=1)
    # in R's order: sums from the newest week, running means from the oldest
    total = last[0] + last[1] + last[2] + last[3] + last[4]
    level = np.where(
        weeks > 0, np.where(known, logs, 0.0).cumsum(axis=1)[:, -1] / np.maximum(weeks, 1), np.nan
    )
    stacked = np.stack(last)
    return {
        "lag1": last[0],
        "month_mean": total / 5,
        "month_max": stacked.max(axis=0),
        "month_min": stacked.min(axis=0),
        "level": level,
        "sku": panel.skus,
        "store": np.array(panel.stores, object)[panel.store_of],
    }


def _target_columns(panel: Panel, column: int, step: int) -> dict[str, FloatArray | NDArray[np.object_]]:
    """The covariates of the week; price<sku> is the price of that SKU in the row's store."""
    carried = panel.price[:, : column + 1].copy()
    carry_forward(carried)
    price = carried[:, -1]
    count = len(price)
    columns: dict[str, FloatArray | NDArray[np.object_]] = {
        "deal": np.nan_to_num(panel.deal[:, column]),
        "feat": np.nan_to_num(panel.feat[:, column]),
        "week": np.full(count, float(panel.first_week + column)),
        "step": np.full(count, float(step)),
    }
    for sku in set(panel.skus):
        of_store = np.full(len(panel.stores), np.nan)
        mine = panel.skus == sku
        of_store[panel.store_of[mine]] = price[mine]
        columns[f"price{sku}"] = of_store[panel.store_of]
    return columns
