"""The model file: forests, what to widen by, and the fallback tables, as plain arrays in an npz archive
that holds no code.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetscore.errors import ModelError
from fleetscore.models.archive_errors import ARCHIVE_ERRORS
from fleetscore.workloads.store_sales.blends import Blend, blend_arrays, blend_of_arrays
from fleetscore.workloads.store_sales.chain import Chain, Season
from fleetscore.workloads.store_sales.contract import QUANTILES
from fleetscore.workloads.store_sales.forest import Forest, forest_arrays, forest_of_arrays
from fleetscore.workloads.store_sales.holiday_weeks import Calendar
from fleetscore.workloads.store_sales.simple_forecasts import (
    SimpleForecasts,
    simple_arrays,
    simple_of_arrays,
)

FILE = "quantile_trees.npz"
_KINDS = "biufU"  # of numpy: truth values, numbers and text

FIRST_METHOD, WHOLE_AND_SEASONAL, FAR_RESPONSES = 0, 1, 2
"""How a model is scored: since 1 the season is taken out of the fallback, and series of whole numbers get
whole quantiles; since 2 a response may move the level by RESPONSE_LIMIT, before by NEAR_RESPONSE_LIMIT.
"""

NEAR_RESPONSE_LIMIT = 3.0


@dataclass(frozen=True, slots=True)
class Fallback:
    """Sales quantiles by SKU and kind of week (without or with feature), for SKUs with too little history."""

    skus: NDArray[np.str_]  # sorted; the first is "", the whole chain
    quantiles: NDArray[np.float64]  # SKUs x 2 x quantiles, log1p of sales


@dataclass(frozen=True, slots=True)
class QuantileModel:
    """A trained model: one forest per quantile, then widening, in logs relative to the level."""

    forest: Forest
    widening: NDArray[np.float64]  # per quantile, added to its forecast
    fallback: Fallback
    steps: int
    chain: Chain | None = None  # None: trained by a version that learned nothing of the chain
    method: int = FIRST_METHOD
    blend: Blend | None = None  # None: the forests alone, with `widening` in all weeks
    simple: SimpleForecasts | None = None  # what is blended with them


def pack_model(model: QuantileModel) -> bytes:
    """The model as an npz archive; the same model gives the same bytes."""
    arrays = forest_arrays(model.forest) | {
        "widening": model.widening,
        "fallback_skus": model.fallback.skus,
        "fallback_quantiles": model.fallback.quantiles,
        "steps": np.array(model.steps),
        "method": np.array(model.method),
    }
    blended = blend_arrays(model.blend) if model.blend else {}
    simple = simple_arrays(model.simple) if model.simple else {}
    return pack_arrays(arrays | chain_arrays(model.chain) | blended | simple)


def chain_arrays(chain: Chain | None) -> dict[str, NDArray[Any]]:
    """The arrays of the chain; none without one."""
    if chain is None:
        return {}
    arrays = _season_arrays("season", chain.season) | {"chain_response": chain.response}
    for number, season in enumerate(chain.by_country):
        arrays |= _season_arrays(f"country{number}", season)
    return arrays


def _season_arrays(prefix: str, season: Season) -> dict[str, NDArray[Any]]:
    arrays = {
        f"{prefix}_first_week": np.array(season.first_week),
        f"{prefix}_skus": season.skus,
        f"{prefix}_mean": season.mean,
        f"{prefix}_gain": season.gain,
    }
    if season.calendar is not None:
        arrays[f"{prefix}_country"] = np.array(season.calendar.country)
        arrays[f"{prefix}_shift"] = np.array(season.calendar.shift_weeks)
    return arrays


def chain_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> Chain | None:
    """The chain of such arrays, None where there is none; ModelError when they do not fit together."""
    if "season_mean" not in arrays:
        return None
    try:
        countries = sum(1 for name in arrays if name.startswith("country") and name.endswith("_mean"))
        by_country = tuple(_season_of_arrays(arrays, f"country{number}") for number in range(countries))
        chain = Chain(_season_of_arrays(arrays, "season"), arrays["chain_response"], by_country)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"The model file is not whole: {error}.", code="corrupt_model") from error
    seasons = (chain.season, *chain.by_country)
    tables = [chain.response, *(table for one in seasons for table in (one.mean, one.gain))]
    fits = all(
        one.mean.ndim == 2 and len(one.mean) == len(one.skus) and one.gain.shape == (2,) for one in seasons
    )
    shape = (len(chain.season.skus), 5)
    if not fits or chain.response.shape != shape or not all(np.isfinite(t).all() for t in tables):
        raise ModelError(
            "The model file's season and response do not fit its SKUs.",
            fix="Train again.",
            code="corrupt_model",
        )
    return chain


def _season_of_arrays(arrays: Mapping[str, NDArray[Any]], prefix: str) -> Season:
    calendar = None
    if f"{prefix}_country" in arrays:
        calendar = Calendar(str(arrays[f"{prefix}_country"]), int(arrays[f"{prefix}_shift"]))
    skus, mean, gain = (arrays[f"{prefix}_{name}"] for name in ("skus", "mean", "gain"))
    return Season(int(arrays[f"{prefix}_first_week"]), skus, mean, gain, calendar)


def unpack_model(data: bytes) -> QuantileModel:
    """The model of such bytes; ModelError when they are anything else. Nothing in them is executed."""
    arrays = unpack_arrays(data)
    forest = forest_of_arrays(arrays)
    try:
        fallback = Fallback(arrays["fallback_skus"], arrays["fallback_quantiles"])
        steps, method = int(arrays["steps"]), int(arrays.get("method", FIRST_METHOD))
        blended = "blend_share" in arrays
        model = QuantileModel(
            forest, arrays["widening"], fallback, steps, chain_of_arrays(arrays), method,
            blend_of_arrays(arrays) if blended else None, simple_of_arrays(arrays) if blended else None,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"The model file is not whole: {error}.", code="corrupt_model") from error
    shape = (len(fallback.skus), 2, len(QUANTILES))
    if (
        len(forest.first_tree) != len(QUANTILES) + 1
        or model.widening.shape != (len(QUANTILES),)
        or fallback.quantiles.shape != shape
        or not np.isfinite(fallback.quantiles).all()
    ):
        raise ModelError(
            "The model file does not hold five quantiles.", fix="Train again.", code="corrupt_model"
        )
    return model


def pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Named arrays as a compressed npz archive."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an npz archive; ModelError for anything else, also for archives that hold Python objects,
    complex numbers or times.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except ARCHIVE_ERRORS as error:
        raise ModelError(
            f"The file is not an npz archive of plain arrays: {error}.",
            fix="Train again.",
            code="corrupt_model",
        ) from error
    for name, array in arrays.items():
        if array.dtype.kind not in _KINDS:
            raise ModelError(
                f"Array {name} of the model file holds {array.dtype}; numbers or text were expected.",
                fix="Train again.",
                code="corrupt_model",
            )
    return arrays
