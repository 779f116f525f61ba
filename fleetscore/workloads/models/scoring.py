"""Scoring a shard: rows of its partitions, grouped by model, through all packs at once."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np

from fleetscore.errors import FleetscoreError, InputError
from fleetscore.exhaustion import raise_passing
from fleetscore.models.packs.bundle import Bundle, pack_models
from fleetscore.models.packs.shard_scoring import ShardScores, find_taken
from fleetscore.workload import RunContext, Scored, Shard
from fleetscore.workloads.models.answers import score_models
from fleetscore.workloads.models.blocks import Block, sort_rows
from fleetscore.workloads.models.bundles import find_bundle
from fleetscore.workloads.models.own_code import load_function, score_own
from fleetscore.workloads.models.own_settings import UNTRUSTED, distrust_own_code
from fleetscore.workloads.models.results import make_results, sketch_partitions
from fleetscore.workloads.models.rows import numbers_of
from fleetscore.workloads.models.settings import FleetSettings
from fleetscore.workloads.models.shard_rows import ShardRows, find_lacking, find_unread, read_rows
from fleetscore.workloads.models.verdicts import (
    JudgedRows,
    Taken,
    judge_partitions,
    judge_rows,
)


def score_partitions(run: RunContext, shard: Shard) -> Iterator[Scored]:
    """The results of the shard's partitions, those of one model version at a time; every partition is
    settled exactly once.
    """
    versions = shard.partitions["model"].to_pylist()
    for version in dict.fromkeys(versions):
        keys = [key for key, one in zip(shard.keys, versions, strict=True) if one == version]
        yield from _score_version(run, version, keys)


def _score_version(run: RunContext, version: str, keys: Sequence[str]) -> Iterator[Scored]:
    started = time.perf_counter()
    settings: FleetSettings = run.settings
    distrust = distrust_own_code(run.workload, settings)
    if distrust:
        yield Scored.failed(keys, UNTRUSTED, distrust, model=version)
        return
    try:
        bundle = _bundle_of(run, settings, version)
    except FleetscoreError as error:
        raise_passing(error)
        yield Scored.failed(keys, error.code, str(error), model=version)
        return
    features = model_features(bundle, settings)
    shard_rows = read_rows(run, settings, keys, features)
    block = sort_rows(shard_rows.reading.table, settings, keys, bundle)
    if settings.models.score:
        # without a model the function gets None
        block = replace(block, has_key=np.ones(len(block.keys), bool))
    yield _settle(run, version, keys, block, features, bundle, shard_rows, started)


def model_features(bundle: Bundle, settings: FleetSettings) -> tuple[str, ...]:
    """The columns that the models take: those of the settings, else those that the models name, in the
    order of their first use.
    """
    if settings.data.features or settings.models.score:
        return settings.data.features
    names: dict[str, None] = {}
    for number in range(len(bundle.names)):
        names |= dict.fromkeys(bundle.features(number).feature_names)
    if not names:
        raise InputError(
            "Neither the settings nor the models name the features.",
            fix='Add features = ["..."] to [data], in the order of the models.',
            field="features",
        )
    return tuple(names)


def _settle(
    run: RunContext, version: str, keys: Sequence[str], block: Block, features: Sequence[str], bundle: Bundle,
    shard_rows: ShardRows, started: float,
) -> Scored:  # fmt: skip
    settings: FleetSettings = run.settings
    policy = settings.expect.missing
    columns = {name: numbers_of(block.table[name]) for name in features if name in block.table.column_names}
    taken = _taken(settings, bundle, block, columns, features)
    rows = judge_rows(columns, policy, block, taken)
    lacking = find_lacking(shard_rows, block, policy, taken) | find_unread(shard_rows, block)
    rows = replace(rows, lacking=lacking)
    scores = _score_blocks(run, block, rows, features, bundle)
    verdicts = judge_partitions(keys, block, rows, scores, settings, shard_rows.reading)
    kept = verdicts.kept_rows(block, rows)
    results = make_results(block, scores, settings, kept, run.kind.result_schema)
    seconds = (time.perf_counter() - started) / max(1, len(keys))
    return Scored.of(
        keys, results, outcome=verdicts.outcomes, cause=verdicts.causes, detail=verdicts.details,
        input_rows=verdicts.input_rows, rows=verdicts.count(block, kept), model=version, seconds=seconds,
        sketches=sketch_partitions(verdicts, block, columns, scores, kept),
    )  # fmt: skip


def _taken(
    settings: FleetSettings, bundle: Bundle, block: Block, columns: Collection[str], features: Sequence[str]
) -> Taken | None:
    """Which features the model of each block takes; None for a function of the user's, which gets all."""
    if settings.models.score:
        return None
    return lambda names: find_taken(bundle, block.keys, names, columns, features)


def _bundle_of(run: RunContext, settings: FleetSettings, version: str) -> Bundle:
    """The version's models; none for a function of the user's that needs none."""
    if settings.models.score and not version:
        return pack_models([])
    return find_bundle(run.store, run.workload, version)


def _score_blocks(
    run: RunContext, block: Block, rows: JudgedRows, features: Sequence[str], bundle: Bundle
) -> ShardScores:
    """The answers of the user's function, or of the models; models kept as pickles answer where the
    workload is trusted.
    """
    settings: FleetSettings = run.settings
    if settings.models.score:
        own = load_function(settings.models.score, run.workload)
        return score_own(own, bundle, block, rows.columns, rows.used)
    return score_models(run.workload, settings, bundle, block.keys, block.offsets, rows.columns, features)
