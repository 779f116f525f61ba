"""Rows that are answered at once: checked against keys and features, scored by their models."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fleetscore.errors import InputError, ModelError
from fleetscore.models.packs.bundle import Bundle, pack_models
from fleetscore.models.packs.shard_scoring import ShardScores, find_taken
from fleetscore.models.pins import Pins
from fleetscore.models.trust import trust_fix
from fleetscore.store.base import Store
from fleetscore.workloads.models.answers import score_models
from fleetscore.workloads.models.blocks import Block, choose_keys
from fleetscore.workloads.models.bundles import find_bundle
from fleetscore.workloads.models.key_pins import versions_of_rows
from fleetscore.workloads.models.number_keys import require_whole_keys
from fleetscore.workloads.models.own_code import load_function, score_own
from fleetscore.workloads.models.own_settings import UNTRUSTED, distrust_own_code
from fleetscore.workloads.models.rows import model_keys, partition_keys
from fleetscore.workloads.models.scoring import model_features
from fleetscore.workloads.models.settings import PASS, FleetSettings

_EXACT = 2.0**53


def score_mini_batch(
    store: Store, workload: str, settings: FleetSettings, pins: Pins, rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """One answer per row, in order: the outputs, the model's key and version.

    InputError names the row and the field that is missing or no number; ModelError the row whose keys no
    model has.
    """
    _require_trust(workload, settings)
    texts = _texts(rows, settings)
    answers: list[dict[str, Any]] = [{} for _ in rows]
    versions = _versions(store, workload, texts, settings, pins)
    for version in dict.fromkeys(versions):
        mine = [at for at, one in enumerate(versions) if one == version]
        if not version and not settings.models.score:
            raise ModelError(
                f"{workload} has no pinned model set.",
                fix="Import models first.",
                code="no_model_set",
                field="workload",
            )
        bundle = find_bundle(store, workload, version) if version else pack_models([])
        mine_rows, mine_texts = [rows[at] for at in mine], texts.take(pa.array(mine))
        require_whole_keys(mine_rows, mine, mine_texts, settings, bundle)
        score = _score_own if settings.models.score else _score
        found = score(workload, bundle, settings, mine_rows, mine, mine_texts)
        for at, answer in zip(mine, found, strict=True):
            answers[at] = {**answer, "model": version}
    return answers


def _versions(store: Store, workload: str, texts: pa.Table, settings: FleetSettings, pins: Pins) -> list[str]:
    """The version that scores each row."""
    current = find_bundle(store, workload, pins.current) if pins.keys and pins.current else None
    tried = [model_keys(texts, pattern).combine_chunks() for pattern in settings.key_patterns]
    return versions_of_rows(tried, partition_keys(texts, settings).to_pylist(), pins, current)


def _require_trust(workload: str, settings: FleetSettings) -> None:
    distrust = distrust_own_code(workload, settings)
    if distrust:
        raise ModelError(distrust, fix=trust_fix(workload), code=UNTRUSTED, field="workload")


def _score_own(
    workload: str, bundle: Bundle, settings: FleetSettings, rows: Sequence[Mapping[str, Any]],
    numbers: Sequence[int], texts: pa.Table,
) -> list[dict[str, Any]]:  # fmt: skip
    """The answers of the user's function, which gets the rows of one partition and model together, as in a
    run.
    """
    own = load_function(settings.models.score, workload)
    keys, _ = choose_keys(texts, settings, bundle)
    named = list(zip(partition_keys(texts, settings).to_pylist(), keys.to_pylist(), strict=True))
    order = sorted(range(len(rows)), key=lambda at: named[at])
    blocks = Counter(named[at] for at in order)
    columns = {
        name: np.array([_number(numbers[at], rows[at], name, settings) for at in order])
        for name in settings.data.features
    }
    kept = {name: [_text_of(rows[at].get(name)) for at in order] for name in settings.data.keep}
    chosen = texts.take(pa.array(order))
    table = pa.table({**kept, **{name: chosen[name] for name in chosen.column_names}, **columns})
    offsets = np.concatenate([[0], np.cumsum(list(blocks.values()))]).astype(np.int64)
    block = Block(table, [b[0] for b in blocks], [b[1] for b in blocks], np.ones(len(blocks), bool), offsets)
    scores = score_own(own, bundle, block, columns, np.ones(len(rows), bool))
    for at, error in scores.errors.items():
        number = numbers[order[int(offsets[at])]]
        raise type(error)(
            f"Row {number}: {error.message}", fix=error.fix, code=error.code, field=f"rows[{number}]"
        )
    answers = scores.table.to_pylist() if scores.table is not None else []
    found: list[dict[str, Any]] = [{} for _ in rows]
    for place, at in enumerate(order):
        found[at] = {**answers[place], "model_key": named[at][1]}
    return found


def _text_of(value: Any) -> str | None:
    return None if value is None else str(value)


def _score(
    workload: str, bundle: Bundle, settings: FleetSettings, rows: Sequence[Mapping[str, Any]],
    numbers: Sequence[int], texts: pa.Table,
) -> list[dict[str, Any]]:  # fmt: skip
    features = model_features(bundle, settings)
    keys = _keys(bundle, settings, numbers, texts)
    taken = find_taken(bundle, keys, features, features, features)
    columns = {
        name: np.array(
            [
                _number(at, row, name, settings) if needed or row.get(name) is not None else math.nan
                for at, row, needed in zip(numbers, rows, taken[:, place], strict=True)
            ]
        )
        for place, name in enumerate(features)
    }
    offsets = np.arange(len(rows) + 1, dtype=np.int64)
    scores = score_models(workload, settings, bundle, keys, offsets, columns, features)
    for at, error in scores.errors.items():
        raise type(error)(
            f"Row {numbers[at]}: {error.message}",
            fix=error.fix,
            code=error.code,
            field=f"rows[{numbers[at]}].{error.field}",
        )
    return [{**_outputs(scores, at, settings), "model_key": key} for at, key in enumerate(keys)]


def _outputs(scores: ShardScores, at: int, settings: FleetSettings) -> dict[str, Any]:
    if settings.models.output_type == "text":
        return {settings.models.outputs[0]: scores.labels()[at]}
    values = scores.values[at].tolist()
    return {
        name: None if place >= len(values) or math.isnan(values[place]) else values[place]
        for place, name in enumerate(settings.models.outputs)
    }


def _texts(rows: Sequence[Mapping[str, Any]], settings: FleetSettings) -> pa.Table:
    """The rows' key columns as text."""
    names = dict.fromkeys((*settings.partition, *settings.key_columns))
    texts = {
        name: pa.array([_text(at, row, name) for at, row in enumerate(rows)], pa.string()) for name in names
    }
    return pa.table(texts)


def _text(number: int, row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    fix, field = f"Send {name} as text.", f"rows[{number}].{name}"
    if value is None or value == "":
        raise InputError(f"Row {number} has no {name}.", fix=fix, field=field)
    if isinstance(value, (dict, list, bool)):
        what = {dict: "an object", list: "a list", bool: "true or false"}[type(value)]
        raise InputError(f"The {name} of row {number} is {what}; it must be text.", fix=fix, field=field)
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value))  # as keys of files are read
    return str(value)


def _keys(bundle: Bundle, settings: FleetSettings, numbers: Sequence[int], texts: pa.Table) -> list[str]:
    """Each row's first key that has a model."""
    chosen, found = choose_keys(texts, settings, bundle)
    if not found.all():
        at = int(np.argmin(found))
        tried = [model_keys(texts.slice(at, 1), pattern)[0].as_py() for pattern in settings.key_patterns]
        named = " or ".join(repr(key[:200]) for key in tried)
        raise ModelError(
            f"Row {numbers[at]}: no model has the key {named}.",
            fix="Import one.",
            code="no_model",
            field=f"rows[{numbers[at]}].{(*settings.key_columns, *settings.partition)[0]}",
        )
    keys: list[str] = chosen.to_pylist()
    return keys


def _number(number: int, row: Mapping[str, Any], name: str, settings: FleetSettings) -> float:
    field = f"rows[{number}].{name}"
    if name not in row:
        raise InputError(f"Row {number} lacks {name}.", fix="Send a number, or null for none.", field=field)
    value = row[name]
    given = None if value is None or value == "" else _parsed(value, number, field)
    if given is not None and not math.isnan(given):
        return given
    policy = settings.expect.missing
    if isinstance(policy, (int, float)):
        return float(policy)
    if policy != PASS:
        fix = 'Send a number, or set missing = "pass" in [expect].'
        raise InputError(f"Row {number} has no {name}.", fix=fix, field=field)
    return math.nan


def _parsed(value: Any, number: int, field: str) -> float:
    """The value as a finite number or NaN; InputError for anything else."""
    try:
        if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
            raise ValueError
        found = float(value)
        if math.isinf(found):
            raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        name = field.partition("].")[2]
        raise InputError(
            f"Row {number}, {name}: {str(value)[:60]!r} is no number.", fix="Send a number.", field=field
        ) from error
    return found
