"""Rows that are answered at once: checked against keys and features, scored by their models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fleetscore.errors import InputError, ModelError
from fleetscore.models.model_sets import Pins
from fleetscore.models.packs.bundle import Bundle
from fleetscore.models.packs.shard_scoring import ShardScores, score_shard
from fleetscore.partition_keys import join_key
from fleetscore.store.base import Store
from fleetscore.workloads.models.bundles import find_bundle
from fleetscore.workloads.models.rows import model_keys
from fleetscore.workloads.models.scoring import model_features
from fleetscore.workloads.models.settings import FleetSettings


def score_mini_batch(
    store: Store, workload: str, settings: FleetSettings, pins: Pins, rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """One answer per row, in order: the outputs, the model's key and version.

    InputError names the row and the field that is missing or no number; ModelError the row whose keys no model has.
    """
    texts = [_texts(number, row, settings) for number, row in enumerate(rows)]
    answers: list[dict[str, Any]] = [{} for _ in rows]
    versions = [pins.version_for(join_key([text[name] for name in settings.partition])) for text in texts]
    for version in dict.fromkeys(versions):
        mine = [at for at, one in enumerate(versions) if one == version]
        if not version:
            raise ModelError(
                f"{workload} has no pinned model set.",
                fix="Import models first.",
                code="no_model_set",
                field="workload",
            )
        bundle = find_bundle(store, workload, version)
        for at, answer in zip(
            mine, _score(bundle, settings, [rows[at] for at in mine], mine, texts), strict=True
        ):
            answers[at] = {**answer, "model": version}
    return answers


def _score(
    bundle: Bundle, settings: FleetSettings, rows: Sequence[Mapping[str, Any]], numbers: Sequence[int], texts: Sequence[Mapping[str, str]]
) -> list[dict[str, Any]]:  # fmt: skip
    features = model_features(bundle, settings)
    keys = [_key(bundle, settings, number, texts[number]) for number in numbers]
    columns = {
        name: np.array([_number(at, row, name, settings) for at, row in zip(numbers, rows, strict=True)])
        for name in features
    }
    offsets = np.arange(len(rows) + 1, dtype=np.int64)
    scores = score_shard(bundle, keys, offsets, columns, settings.models.method, features)
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


def _texts(number: int, row: Mapping[str, Any], settings: FleetSettings) -> dict[str, str]:
    """The row's key columns as text."""
    found = {}
    for name in dict.fromkeys((*settings.partition, *settings.key_columns)):
        value = row.get(name)
        if value is None or isinstance(value, (dict, list, bool)) or value == "":
            raise InputError(
                f"Row {number} has no {name}.", fix=f"Send {name} as text.", field=f"rows[{number}].{name}"
            )
        found[name] = str(value)
    return found


def _key(bundle: Bundle, settings: FleetSettings, number: int, texts: Mapping[str, str]) -> str:
    table = pa.table({name: [text] for name, text in texts.items()})
    tried = [model_keys(table, pattern)[0].as_py() for pattern in settings.key_patterns]
    packs, _ = bundle.find(pa.array(tried, pa.string()))
    for key, pack in zip(tried, packs.tolist(), strict=True):
        if pack >= 0:
            return str(key)
    named = " or ".join(repr(key) for key in tried)
    raise ModelError(
        f"Row {number}: no model has the key {named}.",
        fix="Import one.",
        code="no_model",
        field=f"rows[{number}].{settings.key_columns[0] if settings.key_columns else settings.partition[0]}",
    )


def _number(number: int, row: Mapping[str, Any], name: str, settings: FleetSettings) -> float:
    field = f"rows[{number}].{name}"
    if name not in row:
        raise InputError(f"Row {number} lacks {name}.", fix="Send a number, or null for none.", field=field)
    value = row[name]
    if value is None or value == "":
        policy = settings.expect.missing
        if isinstance(policy, (int, float)):
            return float(policy)
        if policy != "pass":
            raise InputError(
                f"Row {number} has no {name}.",
                fix='Send a number, or set missing = "pass" in [expect].',
                field=field,
            )
        return math.nan
    try:
        if isinstance(value, bool):
            raise ValueError
        return float(value)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"Row {number}, {name}: {str(value)[:60]!r} is no number.", fix="Send a number.", field=field
        ) from error
