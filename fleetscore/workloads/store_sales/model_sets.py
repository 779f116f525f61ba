"""Training as a run: each quantile a partition, their files joined into one model set with its card."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fleetscore.errors import ModelError
from fleetscore.exhaustion import raise_lack
from fleetscore.models.profiles import PROFILE_FILE, pack_profile, summarise
from fleetscore.partition_keys import join_key
from fleetscore.typed_json import decode_json
from fleetscore.windows import Window
from fleetscore.workload import ModelSetDraft, RunContext, Scored, Shard, Trained
from fleetscore.workloads.store_sales.blends import Blend
from fleetscore.workloads.store_sales.calibration import (
    CalibrationBlock,
    block_arrays,
    block_before_forests,
    block_of_arrays,
    blocks_like,
    season_size,
)
from fleetscore.workloads.store_sales.candidates import (
    UNWIDENED,
    blend_for,
    choose_blend,
    coverage_of_spread,
    forecast_by,
    spread_by,
)
from fleetscore.workloads.store_sales.chain import Chain, prepare_for_training, why_closed
from fleetscore.workloads.store_sales.contract import (
    LOOKBACK_WEEKS,
    QUANTILE_NAMES,
    QUANTILES,
    STORES_FILE,
    StoreSalesSettings,
)
from fleetscore.workloads.store_sales.discovery import stores_in
from fleetscore.workloads.store_sales.features import feature_names
from fleetscore.workloads.store_sales.forest import forest_arrays, forest_of_arrays, join_forests
from fleetscore.workloads.store_sales.holiday_weeks import calendar_of, describe_calendar
from fleetscore.workloads.store_sales.input_files import UsableFiles, usable_files
from fleetscore.workloads.store_sales.judgement import coverage, judge, name_weeks
from fleetscore.workloads.store_sales.loading import Span, load_panel
from fleetscore.workloads.store_sales.model_file import (
    FAR_RESPONSES,
    FILE,
    Fallback,
    QuantileModel,
    chain_arrays,
    chain_of_arrays,
    pack_arrays,
    pack_model,
    unpack_arrays,
)
from fleetscore.workloads.store_sales.panel import FINDINGS, Filled, Panel
from fleetscore.workloads.store_sales.simple_forecasts import WEEK_KINDS, simple_arrays, simple_of_arrays
from fleetscore.workloads.store_sales.training import (
    PreparedAt,
    calibration_cutoffs,
    fit_simple_before,
    learn_fallback,
    train_quantiles,
)

FloatArray = NDArray[np.float64]

_COMMON = "common.npz"


def train_shard(run: RunContext, shard: Shard) -> Trained:
    """Train the forests of the shard's quantiles; a quantile that cannot be trained is a failed outcome."""
    settings: StoreSalesSettings = run.settings
    files_read = usable_files(run.store, run.inputs, settings)
    panel = load_training_panel(files_read, *run.span, settings)
    calendar = calendar_of(settings, run.span[0].cadence)
    prepared_at, stop = prepare_for_training(panel, calendar), panel.sales.shape[1]
    files = {
        _COMMON: pack_arrays(_common(panel, prepared_at, settings)),
        STORES_FILE: msgspec.json.encode(panel.stores),
        PROFILE_FILE: pack_profile(_profile(panel)),
    }
    names = shard.keys
    levels = {name: QUANTILES[QUANTILE_NAMES.index(name)] for name in names}
    try:
        trained = train_quantiles(prepared_at, stop, list(levels.values()), settings)
    except ModelError as error:
        raise_lack(error)
        return Trained(files, Scored.failed(names, error.code, str(error)).outcomes)
    for name, level in levels.items():
        arrays = forest_arrays(trained[level].forest) | {"calibration": trained[level].calibration}
        files[f"{name}.npz"] = pack_arrays(arrays)
    rows = [trained[levels[name]].train_rows for name in names]
    return Trained(files, Scored.of(names, input_rows=rows).outcomes)


def assemble_models(run: RunContext, parts: Iterable[Mapping[str, bytes]]) -> ModelSetDraft:
    """One model set of all quantiles: widened so that the bands would have covered the blocks before the
    origin, with its card.
    """
    files: dict[str, bytes] = {}
    for part in parts:
        files.update(part)
    missing = [name for name in QUANTILE_NAMES if f"{name}.npz" not in files]
    if missing:
        raise ModelError(
            f"The training run has no model of {', '.join(missing)}.",
            fix="See the causes of its failed partitions, and train all quantiles together.",
            code="too_little_history",
        )
    settings: StoreSalesSettings = run.settings
    first, end = run.span
    quantiles = [unpack_arrays(files[f"{name}.npz"]) for name in QUANTILE_NAMES]
    common = unpack_arrays(files[_COMMON])
    calibration = np.stack([arrays["calibration"] for arrays in quantiles])
    blocks = _calibration_blocks(calibration, common, settings)
    like = blocks_like(blocks, float(common.get("season_size", 0.0)))
    blend, candidates = choose_blend(like)
    forest = join_forests([forest_of_arrays(arrays) for arrays in quantiles])
    fallback = Fallback(common["fallback_skus"], common["fallback_quantiles"])
    chain = chain_of_arrays(common)
    model = QuantileModel(
        forest, blend.width[0], fallback, settings.steps, chain, FAR_RESPONSES,
        *((None, None) if blend.is_plain else (blend, simple_of_arrays(common))),
    )  # fmt: skip
    stores = decode_json(files[STORES_FILE], tuple[str, ...])
    card = {
        "kind": "quantile trees",
        "trained_on": {
            "first": first.key,
            "stop": end.key,
            "stores": len(stores),
            "skus": len(fallback.skus) - 1,
        },
        "settings": msgspec.to_builtins(settings),
        "features": list(feature_names(settings.covariates)),
        "trees": len(forest.value),
        "season": _season_of_card(chain) | {"calendar": describe_calendar(settings, first.cadence)},
        "widening": dict(zip(QUANTILE_NAMES, blend.width[0].round(4).tolist(), strict=True)),
        "widening_learned_on": [Window(first.cadence, block.block.cutoff).key for block in like],
        "forecast": _forecast_of_card(blend),
        "candidates": candidates,
        "judged_on_blocks_before_the_origin": name_weeks(_judged(blocks, settings, stores), first.cadence),
    }
    return ModelSetDraft(
        {FILE: pack_model(model), STORES_FILE: files[STORES_FILE], PROFILE_FILE: files[PROFILE_FILE]}, card
    )


def _season_of_card(chain: Chain | None) -> dict[str, Any]:
    """How much of last year's weeks the history supports, 0 to 1: of the chain's, and of how SKUs differ
    from it.
    """
    gain = chain.season.gain if chain is not None else np.zeros(2)
    said: dict[str, Any] = {"chain_gain": round(float(gain[0]), 4), "sku_gain": round(float(gain[1]), 4)}
    by_country = {
        one.calendar.country: one.gain.round(4).tolist()
        for one in (chain.by_country if chain else ())
        if one.calendar is not None
    }
    if chain is not None and not any(one.is_open for one in (chain.season, *chain.by_country)):
        said["why_none"] = why_closed(chain.season)
    return said | ({"gains_by_country": by_country} if by_country else {})


def _forecast_of_card(blend: Blend) -> dict[str, Any]:
    """Which candidate forecasts each kind of week, and what its quantiles are moved by."""
    return {
        kind: {"candidate": name, "widening": dict(zip(QUANTILE_NAMES, width.round(4).tolist(), strict=True))}
        for kind, name, width in zip(WEEK_KINDS, blend.names, blend.width, strict=True)
    }


def _profile(panel: Panel) -> pa.Table:
    """Weeks, mean and deviation of the sales of each store that is trained on."""
    keys = np.array([join_key([name]) for name in panel.stores], object)[panel.store_of]
    sales = panel.sales.ravel()
    return summarise(pa.array(np.repeat(keys, panel.sales.shape[1])), pa.array(sales, from_pandas=True))


def load_training_panel(
    files: UsableFiles, first: Window, stop: Window, settings: StoreSalesSettings
) -> Panel:
    """The panel of the weeks [first, stop) of at most `training_stores` stores, drawn evenly by name;
    ModelError where there is no row, or where most rows contradict each other.
    """
    stores = stores_in(files, first, stop)
    if not stores:
        raise ModelError(
            f"The history has no row in the weeks {first.key} to {stop.key}.",
            fix="Train on weeks that the history covers.",
            code="too_little_history",
        )
    if len(stores) > settings.training_stores:
        chosen = np.linspace(0, len(stores) - 1, settings.training_stores).round().astype(int)
        stores = tuple(stores[i] for i in np.unique(chosen))
    first_week = max(first.ordinal, stop.ordinal - settings.training_span_weeks - LOOKBACK_WEEKS)
    span = Span(first.cadence, first_week, stop.ordinal, stop.ordinal)
    filled = load_panel(files, span, stores, settings.covariates)
    _require_agreement(filled, settings)
    return filled.panel


def _require_agreement(filled: Filled, settings: StoreSalesSettings) -> None:
    counts = dict(zip(FINDINGS, filled.findings.sum(axis=0).tolist(), strict=True))
    rows, conflicting = counts["rows"], counts["conflicting_rows"]
    if 2 * conflicting <= rows:
        return
    daily = (
        'If a row covers a day, set frequency = "day"; otherwise g' if settings.frequency == "week" else "G"
    )
    raise ModelError(
        f"{conflicting:,} of {rows:,} rows of the history contradict another row of their SKU and week.",
        fix=f"{daily}ive each SKU of a store one row a {settings.frequency}.",
        code="conflicting_rows",
    )


def _common(panel: Panel, prepared_at: PreparedAt, settings: StoreSalesSettings) -> dict[str, Any]:
    """What all quantiles share: fallback tables, simple forecasts, and the calibration blocks without what
    the forests say of them.
    """
    chain, prepared = prepared_at(panel.sales.shape[1])
    fallback = learn_fallback(prepared, panel.skus)
    cutoffs = calibration_cutoffs(prepared, settings)
    arrays: dict[str, Any] = {
        "fallback_skus": fallback.skus,
        "fallback_quantiles": fallback.quantiles,
        "season_size": np.array(season_size(prepared)),
        "cutoffs": np.array([panel.first_week + c for c in cutoffs], np.int64),
    }
    arrays |= chain_arrays(chain) | simple_arrays(fit_simple_before(prepared, panel.sales.shape[1], settings))
    for number, cutoff in enumerate(cutoffs):
        block = block_before_forests(panel, prepared_at(cutoff)[1], cutoff, settings)
        arrays |= {f"block{number}_{name}": array for name, array in block_arrays(block).items()}
    return arrays


def _calibration_blocks(
    calibration: FloatArray, common: Mapping[str, Any], settings: StoreSalesSettings
) -> list[CalibrationBlock]:
    """The blocks with what the forests say of them: `calibration` is quantiles x rows, block after block."""
    if not len(common["cutoffs"]):
        return []
    return [
        block_of_arrays(common, f"block{number}_", int(cutoff), settings.steps, forests)
        for number, (cutoff, forests) in enumerate(
            zip(common["cutoffs"], np.split(calibration, len(common["cutoffs"]), axis=1), strict=True)
        )
    ]


def _judged(
    blocks: list[CalibrationBlock], settings: StoreSalesSettings, stores: tuple[str, ...]
) -> dict[str, Any]:
    """The figures of each calibration block, forecast by what was trained before it; blend and widths are
    those that the other blocks support.
    """
    if not blocks:
        return {"cutoffs": []}
    forecasts, narrow, spread = [], [], []
    for number, block in enumerate(blocks):
        others = blocks_like([*blocks[:number], *blocks[number + 1 :]], block.season)
        blend, _ = choose_blend(others)
        forecasts.append(forecast_by(blend, block))
        spread.append(spread_by(blend, block))
        narrow.append(forecast_by(blend_for(UNWIDENED, []), block))
    known = [block.block for block in blocks]
    figures = judge(known, forecasts, stores) | coverage_of_spread(blocks, spread)
    sold = np.concatenate([block.truth for block in known])
    figures["unwidened"] = coverage(sold, np.concatenate(narrow))
    del figures["per_store"]  # long; the backtest shows it
    return {"cutoffs": [block.cutoff for block in known], "steps": settings.steps} | figures
