"""Training a fleet without code: a model per key, each by itself, compiled and proven as at import."""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fleetscore.errors import InputError, MissingBlobError, PublishError
from fleetscore.models.comparing import compare, decide
from fleetscore.models.packs.base import CompiledModel
from fleetscore.models.packs.bundle import Bundle, join_bundles, open_bundle, pack_models
from fleetscore.models.packs.shard_scoring import score_shard
from fleetscore.models.profiles import PROFILE_FILE, pack_profile, summarise
from fleetscore.records import NOT_CHOSEN, Outcome
from fleetscore.runs.manifests import read_latest, read_manifest
from fleetscore.schemas import OUTCOMES, fill_table
from fleetscore.store.paths import run_path
from fleetscore.store.tables import open_truth
from fleetscore.workload import ModelSetDraft, Partitions, RunContext, Shard, Trained
from fleetscore.workloads.models.bundles import find_bundle
from fleetscore.workloads.models.discovery import checked_settings
from fleetscore.workloads.models.estimator_names import is_classifier, make_estimator
from fleetscore.workloads.models.fitting import Fitted, fit_key
from fleetscore.workloads.models.key_counts import WindowCounts
from fleetscore.workloads.models.rows import partition_keys
from fleetscore.workloads.models.settings import FleetSettings
from fleetscore.workloads.models.training_rows import (
    KEY_COLUMN,
    KEY_OF_ALL,
    TrainingRows,
    count_training_rows,
    find_training_files,
    named_keys,
    read_training_rows,
    rows_of_key,
    training_features,
)

METRICS_FILE = "metrics.parquet"
_CARD_KEYS = 1_000
_CELL_BYTES = 16


def check_training(workload: str, settings: FleetSettings) -> None:
    """InputError where the settings do not say how to train, or name an estimator or parameter that there
    is not.
    """
    if not settings.train.estimators:
        raise InputError(
            f"settings/{workload}.toml has no [train].",
            fix="Add [train] with estimator and target: docs/howto/bring-your-own-fleet.md; or import models.", field="train",
        )  # fmt: skip
    make_estimator(settings.train)


def discover_training(run: RunContext) -> Partitions:
    """The keys that have rows in the span or a model now, each to be trained or settled with the reason why
    not.
    """
    settings = checked_settings(run)
    check_training(run.workload, settings)
    files, remarks = find_training_files(run)
    counts = count_training_rows(run, files)
    base = _base(run)
    training_features(settings, base)
    rows = _rows_by_key(counts, settings)
    chosen = _chosen(run, counts, rows.keys(), base)
    silent = _modelled_keys(base, counts, settings) - rows.keys()
    lines = [(key, count, *_settled(key, count, settings, chosen)) for key, count in sorted(rows.items())]
    lines += [
        (key, 0, Outcome.SKIPPED, "no_rows", "No row in the span; its model stays.") for key in sorted(silent)
    ]
    names, counted, outcomes, causes, details = (
        (list(column) for column in zip(*lines, strict=True)) if lines else ([],) * 5
    )
    width = len(settings.data.features) + 4
    table = Partitions.table(
        names, rows=counted, size_bytes=[n * width * _CELL_BYTES for n in counted], outcome=[str(o) for o in outcomes],
        cause=causes, detail=details,
    )  # fmt: skip
    told = (*remarks, *counts.remarks, *(error.message_with(path) for path, error in counts.faults.items()))
    return Partitions(table, tuple(files), told)


def train_keys(run: RunContext, shard: Shard) -> Trained:
    """Train the shard's keys, one after the other; one that cannot be trained is named and costs no other."""
    settings: FleetSettings = run.settings
    base = _base(run)
    features = training_features(settings, base)
    rows = read_training_rows(run, shard.keys, features)
    is_text = is_classifier(settings.train)
    fitted: dict[str, tuple[Fitted, int, float]] = {}
    for key, table in rows:
        started = time.perf_counter()
        known = rows_of_key(table, features, settings, is_text)
        before = partial(_answers_before, base, key, features)
        made = fit_key(
            partial(make_estimator, settings.train), known, features, settings.models.method, settings.train.holdout_share,
            settings.train.rows_min, before,
        )  # fmt: skip
        fitted[key] = _told(made, rows, key), table.num_rows, time.perf_counter() - started
    return _trained(shard, rows, fitted, features, settings)


def _told(made: Fitted, rows: TrainingRows, key: str) -> Fitted:
    """What became of the key, with its rows that could not be read where nothing else is to be said."""
    if made.cause:
        return made
    cause, detail = rows.loss_of(key)
    return replace(made, cause=cause, detail=detail)


def assemble_fleet(run: RunContext, parts: Iterable[Mapping[str, bytes]]) -> ModelSetDraft:
    """One model set of what the shards trained, and of the models in use of all other keys; its card has
    metrics per key.
    """
    kept_parts = list(parts)
    trained = pack_models(_models(kept_parts))
    if not len(trained):
        raise PublishError(
            "No key was trained, so there is no new model set.",
            fix="The ledger says of each key why.",
            code="nothing_trained",
        )
    base = _base(run)
    bundle = join_bundles(base, trained) if base else trained
    metrics = pa.concat_tables(
        [_table(part[METRICS_FILE]) for part in kept_parts], promote_options="permissive"
    )
    profile = pa.concat_tables([_table(part[PROFILE_FILE]) for part in kept_parts])
    files = dict(bundle.files()) | {
        METRICS_FILE: pack_profile(metrics),
        PROFILE_FILE: pack_profile(_one_each(profile)),
    }
    card = _card(run, bundle, trained, metrics)
    if base and adds_only(base, trained, run.settings):
        card["comparison"] = {"promote": True, "reason": "It replaces no model; it adds those of new keys."}
    return ModelSetDraft(files, card)


def adds_only(base: Bundle, trained: Bundle, settings: FleetSettings) -> bool:
    """Whether no row that a model in use scores gets another model: every trained key is new, and there is
    no later choice of key whose model scored its rows so far.
    """
    return len(settings.key_patterns) == 1 and bool((base.find(trained.keys)[0] < 0).all())


def _base(run: RunContext) -> Bundle | None:
    """The models in use; None where there are none."""
    return find_bundle(run.store, run.workload, run.pins.current) if run.pins.current else None


def _rows_by_key(counts: WindowCounts, settings: FleetSettings) -> dict[str, int]:
    keyed = counts.keyed
    table = pa.table({"key": named_keys(keyed["key_0"], settings), "rows": keyed["rows"]})
    sums = table.group_by("key", use_threads=False).aggregate([("rows", "sum")])
    return dict(zip(sums["key"].to_pylist(), sums["rows_sum"].to_pylist(), strict=True))


def _modelled_keys(base: Bundle | None, counts: WindowCounts, settings: FleetSettings) -> set[str]:
    """The keys of the first choice that have a model now: not those that rows have as a later choice."""
    if base is None or not settings.key_patterns[0]:
        return set()
    later = [counts.keyed[f"key_{at}"].to_pylist() for at in range(1, len(settings.key_patterns))]
    depth = settings.key_patterns[0].count("/")
    return {key for key in set(base.keys.to_pylist()).difference(*later) if key.count("/") == depth}


def _chosen(run: RunContext, counts: WindowCounts, keys: Iterable[str], base: Bundle | None) -> set[str]:
    """The keys that `only` asks for."""
    settings: FleetSettings = run.settings
    if settings.train.only == "new":
        return set(keys) - (set() if base is None else {key or KEY_OF_ALL for key in base.keys.to_pylist()})
    if settings.train.only == "drifted":
        drifted = pa.array(_drifted(run), pa.string())
        keyed = counts.keyed.filter(pc.is_in(counts.keyed["partition"], value_set=drifted))
        return set(named_keys(keyed["key_0"], settings).to_pylist())
    return set(keys)


def _drifted(run: RunContext) -> list[str]:
    """The partitions that drifted in the newest published window."""
    latest = read_latest(run.store, run.workload)
    try:
        manifest = read_manifest(run.store, run.workload, latest.window) if latest else None
        if manifest is None:
            return []
        with open_truth(run.store, run_path(manifest.run, "drift.parquet")) as source:
            table = pq.read_table(source, columns=["partition", "is_drifted"])
    except MissingBlobError:
        return []
    found: list[str] = table.filter(table["is_drifted"])["partition"].to_pylist()
    return found


def _settled(key: str, rows: int, settings: FleetSettings, chosen: set[str]) -> tuple[str, str, str]:
    if key not in chosen:
        return (
            Outcome.SKIPPED,
            NOT_CHOSEN,
            f'only = "{settings.train.only}" leaves it out; its model stays.',
        )
    if rows < settings.train.rows_min:
        return (
            Outcome.SKIPPED,
            "too_few_rows",
            f"{rows} rows; training takes {settings.train.rows_min} (rows_min).",
        )
    return "", "", ""


def _answers_before(
    base: Bundle | None, key: str, features: tuple[str, ...], x: npt.NDArray[np.float64]
) -> Any:
    """What the model in use predicts for the rows; None where there is none, or it takes other features."""
    name = "" if key == KEY_OF_ALL else key
    if base is None or base.find(pa.array([name], pa.string()))[0][0] < 0:
        return None
    columns = {feature: np.ascontiguousarray(x[:, at]) for at, feature in enumerate(features)}
    scores = score_shard(base, [name], np.array([0, len(x)], np.int64), columns, "predict", features)
    facts = scores.facts[0]
    if scores.errors or facts is None:
        return None
    return scores.labels().astype(str) if facts.classes else scores.values[:, 0]


def _trained(
    shard: Shard, rows: TrainingRows, fitted: Mapping[str, tuple[Fitted, int, float]], features: tuple[str, ...], settings: FleetSettings
) -> Trained:  # fmt: skip
    missing = Fitted(Outcome.FAILED, *_unread(rows))
    made = [fitted.get(key, (missing, 0, 0.0)) for key in shard.keys]
    outcomes = fill_table(
        OUTCOMES, partition=shard.keys, outcome=[str(one.outcome) for one, _, _ in made], cause=[one.cause for one, _, _ in made],
        detail=[one.detail for one, _, _ in made], input_rows=[count for _, count, _ in made], rows=0, model="",
        seconds=[seconds for _, _, seconds in made],
    )  # fmt: skip
    models = {key: one for key, (one, _, _) in fitted.items() if one.model}
    named = {key if settings.key_patterns[0] else "": one.model for key, one in models.items() if one.model}
    metrics = pa.Table.from_pylist([{"partition": key, **one.metrics} for key, one in models.items()])
    files = dict(pack_models(named.items()).files())
    files |= {
        METRICS_FILE: pack_profile(metrics),
        PROFILE_FILE: pack_profile(_profile(rows, list(models), features[0], settings)),
    }
    return Trained(files, outcomes, metrics if models else None)


def _profile(rows: TrainingRows, keys: Sequence[str], feature: str, settings: FleetSettings) -> pa.Table:
    """What drift is measured against: n, mean and std of the first feature, by partition, of the keys that
    got a model.
    """
    if not keys:
        return summarise(pa.array([], pa.string()), pa.array([], pa.float64()))
    used = rows.table.filter(pc.is_in(rows.table[KEY_COLUMN], value_set=pa.array(keys, pa.string())))
    return summarise(partition_keys(used, settings), used[feature])


def _unread(rows: TrainingRows) -> tuple[str, str]:
    """Cause and detail of a key whose rows are no longer there, or whose files cannot be read."""
    if rows.faults:
        path, error = next(iter(rows.faults.items()))
        return error.code, f"No row could be read. {error.message_with(path)}"
    return "no_rows", "Its rows are no longer there."


def _models(parts: Iterable[Mapping[str, bytes]]) -> Iterator[tuple[str, CompiledModel]]:
    for part in parts:
        bundle = open_bundle(part.__getitem__)
        for key in bundle.keys.to_pylist():
            yield key, bundle.model(key)


def _table(data: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(data))


def _one_each(profile: pa.Table) -> pa.Table:
    """One line a partition, that with the most rows, where a partition's keys were trained in several
    shards.
    """
    profile = profile.sort_by([("partition", "ascending"), ("n", "descending")])
    keys = profile["partition"].to_numpy(zero_copy_only=False)
    first = np.r_[True, keys[1:] != keys[:-1]] if len(keys) else np.empty(0, bool)
    return profile.filter(pa.array(first))


def _card(run: RunContext, bundle: Bundle, trained: Bundle, metrics: pa.Table) -> dict[str, Any]:
    settings: FleetSettings = run.settings
    first, end = run.span
    return {
        "source": "trained",
        "first": first.key,
        "stop": end.key,
        "estimator": list(settings.train.estimators),
        "params": dict(settings.train.params),
        "target": settings.train.target,
        "holdout": settings.train.holdout,
        "models": len(bundle),
        "trained": len(trained),
        "kept": len(bundle) - len(trained),
        "kept_of": run.pins.current if len(bundle) > len(trained) else "",
        "families": bundle.families(),
        "comparison": compare_losses(metrics),
        "metrics": metrics.sort_by("partition").slice(0, _CARD_KEYS).to_pylist(),
    }


def compare_losses(metrics: pa.Table) -> dict[str, Any]:
    """Losses on the holdouts, weighted by rows, of the new models and of those in use, where a key has
    both; and the decision.

    >>> found = compare_losses(pa.table({"holdout_rows": [50.0], "loss": [1.0], "loss_before": [2.0]}))
    >>> found["better"], found["promote"]
    (1, True)
    """
    if "loss_before" not in metrics.column_names:
        return {}
    both = metrics.filter(pc.is_valid(metrics["loss_before"]))
    loss, before, rows = (
        np.asarray(both[name], np.float64) for name in ("loss", "loss_before", "holdout_rows")
    )
    better = compare(before, loss)
    wins = {name: int((better == name).sum()) for name in ("challenger", "champion", "same")}
    mine, theirs = float(np.average(loss, weights=rows)), float(np.average(before, weights=rows))
    decision = decide(theirs, mine, int(rows.sum()), wins)
    return {
        "loss": mine, "loss_before": theirs, "cases": int(rows.sum()), "better": wins["challenger"], "worse": wins["champion"],
        "same": wins["same"], "promote": decision.promote, "reason": decision.reason,
    }  # fmt: skip
