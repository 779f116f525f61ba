"""Scoring a shard: rows of its partitions, grouped by model, through all packs at once."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleetscore.errors import FleetscoreError, InputError
from fleetscore.models.packs.bundle import Bundle, pack_models
from fleetscore.models.packs.library import trusted_models
from fleetscore.models.packs.shard_scoring import ShardScores, find_taken, score_shard
from fleetscore.models.trust import find_distrust
from fleetscore.sources import (
    ColumnKind,
    InputFile,
    Reading,
    TimeRange,
    aggregate_rows,
    our_names,
    read_files,
)
from fleetscore.workload import RunContext, Scored, Shard
from fleetscore.workloads.models.blocks import Block, sort_rows
from fleetscore.workloads.models.bundles import find_bundle
from fleetscore.workloads.models.discovery import find_files
from fleetscore.workloads.models.key_counts import count_keys
from fleetscore.workloads.models.own_code import load_function, score_own
from fleetscore.workloads.models.own_settings import UNTRUSTED, distrust_own_code
from fleetscore.workloads.models.results import make_results, sketch_partitions
from fleetscore.workloads.models.rows import numbers_of, partition_keys, row_kinds
from fleetscore.workloads.models.settings import FleetSettings
from fleetscore.workloads.models.verdicts import (
    MISSING_COLUMN,
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
        if error.retry:
            raise
        yield Scored.failed(keys, error.code, str(error), model=version)
        return
    features = model_features(bundle, settings)
    reading = _read_rows(run, settings, keys, features)
    block = sort_rows(reading.table, settings, keys, bundle)
    if settings.models.score:
        block = replace(
            block, has_key=np.ones(len(block.keys), bool)
        )  # without a model the function gets None
    yield _settle(run, version, keys, block, features, bundle, reading, started)


def model_features(bundle: Bundle, settings: FleetSettings) -> tuple[str, ...]:
    """The columns that the models take: those of the settings, else those that the models name, in the
    order of their first use.
    """
    if settings.data.features or settings.models.score:
        return settings.data.features
    names: dict[str, None] = {}
    for number in range(len(bundle.names)):
        for facts in bundle.pack(number).facts:
            names |= dict.fromkeys(facts.feature_names)
    if not names:
        raise InputError(
            "Neither the settings nor the models name the features.",
            fix='Add features = ["..."] to [data], in the order of the models.',
            field="features",
        )
    return tuple(names)


def _read_rows(
    run: RunContext, settings: FleetSettings, keys: Sequence[str], features: Sequence[str]
) -> Reading:
    data = settings.source
    span = TimeRange(run.window.start, run.window.end)
    files = _files_of(run, settings, keys)
    kinds = row_kinds(settings, features)
    reading = read_files(run.store, files, data, kinds, span)
    absent = _absent_features(run, files, kinds, reading)
    if absent:
        present = {name: kind for name, kind in kinds.items() if name not in absent}
        reading = replace(read_files(run.store, files, data, present, span), faults=reading.faults)
    wanted = pa.array(keys, pa.string())
    mine = pc.is_in(partition_keys(reading.table, settings), value_set=wanted)
    table = reading.table.filter(mine)
    if data.aggregate:
        table = aggregate_rows(table, data, kinds)
    return Reading(table, reading.rows, reading.faults, reading.remarks)


def _absent_features(
    run: RunContext, files: Sequence[InputFile], kinds: Mapping[str, ColumnKind], reading: Reading
) -> set[str]:
    """The features that no file has, where each file lacks a column: models that take none of them score without."""
    settings: FleetSettings = run.settings
    lacking = [file for file in files if _lacks_column(reading, file)]
    if not lacking or len(reading.faults) < len(files) or settings.models.score or settings.source.melt:
        return set()
    there = {name for file in lacking for name in our_names(run.store, file, settings.source)}
    return {name for name, kind in kinds.items() if kind is ColumnKind.NUMBER and name not in there}


def _lacks_column(reading: Reading, file: InputFile) -> bool:
    fault = reading.faults.get(file.path)
    return fault is not None and fault.code == MISSING_COLUMN


def _files_of(run: RunContext, settings: FleetSettings, keys: Sequence[str]) -> list[InputFile]:
    """The files that hold rows of the partitions, by the counts that planning keeps."""
    files = find_files(run).files
    span = TimeRange(run.window.start, run.window.end)
    counts = count_keys(run.store, run.workload, run.window.key, settings, files, span)
    mine = counts.keyed.filter(pc.is_in(counts.keyed["partition"], value_set=pa.array(keys, pa.string())))
    paths = set(mine["path"].to_pylist()) | counts.faults.keys()
    return [file for file in files if file.path in paths]


def _settle(
    run: RunContext, version: str, keys: Sequence[str], block: Block, features: Sequence[str], bundle: Bundle,
    reading: Reading, started: float,
) -> Scored:  # fmt: skip
    settings: FleetSettings = run.settings
    columns = {name: numbers_of(block.table[name]) for name in features if name in block.table.column_names}
    rows = judge_rows(
        columns, settings.expect.missing, block, _taken(settings, bundle, block, columns, features)
    )
    scores = _score_blocks(run, block, rows, features, bundle)
    verdicts = judge_partitions(keys, block, rows, scores, settings, reading)
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
    trusted = not find_distrust(run.workload, is_trusted=settings.models.trusted)
    with trusted_models() if trusted else nullcontext():
        return score_shard(bundle, block.keys, block.offsets, rows.columns, settings.models.method, features)
