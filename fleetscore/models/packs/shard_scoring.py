"""Scoring the rows of a shard, block by block of one model key each, with every pack at once."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fleetscore.errors import FleetscoreError, InputError, ModelError
from fleetscore.exhaustion import raise_passing
from fleetscore.models.packs.base import Floats, Indices, ModelFacts, Pack
from fleetscore.models.packs.bundle import Bundle, PackFeatures

_CHUNK_ROWS = 1 << 16
"""Rows that are gathered and scored together: their features and results stay near the processor."""

_GENERIC = re.compile(r"(Column_|f|x|feature_)?\d+")
"""Names that a library gives to features without names: they give the order only."""


@dataclass(frozen=True)
class ShardScores:
    """Results of a shard: `values` [rows, outputs], NaN where a model has fewer outputs, has no row, or
    failed.

    `errors` says by block why it has no results; `facts` are those of each block's model, None where there
    is none. `table` holds the results with types of their own where a function of the user's gave them,
    null for rows without a result.
    """

    values: Floats
    errors: Mapping[int, FleetscoreError]
    facts: Sequence[ModelFacts | None]
    offsets: Indices
    table: pa.Table | None = None

    def labels(self) -> NDArray[Any]:
        """The classes themselves [rows] where `values` holds their positions in the facts; None where a row
        has no result.
        """
        found = np.full(len(self.values), None, object)
        for block, facts in enumerate(self.facts):
            if facts is not None and facts.classes and block not in self.errors:
                rows = slice(self.offsets[block], self.offsets[block + 1])
                classes = np.array(facts.classes, object)
                found[rows] = classes[self.values[rows, 0].astype(np.int64)]
        return found


def number_classes(scores: ShardScores, method: str) -> ShardScores:
    """The scores with the classes that `method` answers as the numbers that they are, where `values` holds their
    positions; a block whose classes are no numbers has an error instead.
    """
    values, errors = scores.values.copy(), dict(scores.errors)
    for block, facts in enumerate(scores.facts):
        if facts is None or block in errors or method not in facts.label_methods:
            continue
        mine = values[scores.offsets[block] : scores.offsets[block + 1]]
        numbers = [one for one in facts.classes if isinstance(one, int | float)]
        if len(numbers) < len(facts.classes):
            errors[block] = _no_number(facts)
            mine[:] = np.nan
        else:
            found = np.isfinite(mine[:, 0])
            mine[found, 0] = np.array(numbers, np.float64)[mine[found, 0].astype(np.int64)]
    return replace(scores, values=values, errors=errors)


def _no_number(facts: ModelFacts) -> ModelError:
    shown = ", ".join(repr(one) for one in facts.classes[:3])
    return ModelError(
        f"The model answers with classes that are no numbers, such as {shown}.",
        fix='Set output_type = "text" in [models], or import another model.',
        code="output_mismatch",
        field="output_type",
    )


@dataclass(frozen=True)
class _Work:
    """Blocks of one pack in the order of their places in it."""

    pack: Pack
    blocks: NDArray[np.int64]
    places: NDArray[np.int64]


def score_shard(
    bundle: Bundle,
    keys: Sequence[str],
    offsets: Indices,
    columns: Mapping[str, NDArray[Any]],
    method: str = "predict",
    features: Sequence[str] = (),
) -> ShardScores:
    """Score rows offsets[i] to offsets[i + 1] (end) by the model of keys[i], for every i.

    `columns` holds numbers of all rows by feature name; models that name their features take theirs, others
    take `features` in order. A block whose key has no model, whose features are missing, or whose rows the
    model refuses gets an error of its own; the others are scored.
    """
    packs, places = bundle.find(pa.array(keys, pa.string()))
    errors: dict[int, FleetscoreError] = {
        at: _no_model(keys[at]) for at in np.flatnonzero(packs < 0).tolist()
    }
    facts: list[ModelFacts | None] = [None] * len(keys)
    values = np.full((int(offsets[-1]), 1), np.nan)
    for work in _works(bundle, packs, places, errors):
        for block, place in zip(work.blocks.tolist(), work.places.tolist(), strict=True):
            facts[block] = work.pack.facts_of_model(place)
        width = max(one.outputs.get(method, 0) for one in (facts[block] for block in work.blocks) if one)
        values = _widened(values, width)
        _score_pack(work, offsets, columns, method, features, values, errors)
    return ShardScores(values, errors, facts, offsets)


def _widened(values: Floats, width: int) -> Floats:
    """The values with at least so many columns, new ones without a value."""
    missing = width - values.shape[1]
    return values if missing <= 0 else np.pad(values, ((0, 0), (0, missing)), constant_values=np.nan)


def _works(
    bundle: Bundle, packs: NDArray[np.int32], places: NDArray[np.int32], errors: dict[int, FleetscoreError]
) -> Iterator[_Work]:
    """The work of one pack after the other, each opened when its turn comes; those that are open come first,
    before others take their memory.
    """
    for number in sorted(np.unique(packs[packs >= 0]).tolist(), key=lambda one: one not in bundle.opened):
        blocks = np.flatnonzero(packs == number)
        try:
            pack = bundle.pack(number)
            if int(places[blocks].max()) >= len(pack):
                raise ModelError(f"Pack {number} has no such model.", code="corrupt_model")
        except FleetscoreError as error:
            raise_passing(error)
            errors.update(dict.fromkeys(blocks.tolist(), error))
            continue
        blocks = blocks[np.argsort(places[blocks], kind="stable")]
        yield _Work(pack, blocks, places[blocks].astype(np.int64))


def _score_pack(
    work: _Work,
    offsets: Indices,
    columns: Mapping[str, NDArray[Any]],
    method: str,
    features: Sequence[str],
    values: Floats,
    errors: dict[int, FleetscoreError],
) -> None:
    try:
        chosen = [columns[name] for name in feature_order(work.pack.facts[0], columns, features)]
    except FleetscoreError as error:
        errors.update(dict.fromkeys(work.blocks.tolist(), error))
        return
    counts = (offsets[1:] - offsets[:-1])[work.blocks]
    memory = np.empty((max(_CHUNK_ROWS, int(counts.max(initial=0))), len(chosen)))
    for first, end in _chunks(counts):
        blocks, places = work.blocks[first:end], work.places[first:end]
        rows = _rows_of(offsets[blocks], counts[first:end])
        x = _gathered(chosen, rows, memory)
        per_model = np.bincount(places, counts[first:end], minlength=len(work.pack))
        bounds = np.concatenate([np.zeros(1), np.cumsum(per_model)]).astype(np.int64)
        try:
            found = work.pack.score(bounds, x, method)
            values[rows, : found.shape[1]] = found
        except FleetscoreError:
            _score_singly(work, range(first, end), offsets, chosen, method, values, errors)


def _score_singly(
    work: _Work,
    chosen_blocks: range,
    offsets: Indices,
    columns: Sequence[NDArray[Any]],
    method: str,
    values: Floats,
    errors: dict[int, FleetscoreError],
) -> None:
    """Each block by itself, so that one that its model refuses costs no other."""
    for at in chosen_blocks:
        block = int(work.blocks[at])
        rows = slice(int(offsets[block]), int(offsets[block + 1]))
        x = _gathered(columns, rows)
        try:
            found = work.pack.subset([int(work.places[at])]).score(np.array([0, len(x)], np.int64), x, method)
            values[rows, : found.shape[1]] = found
        except FleetscoreError as error:
            raise_passing(error)
            errors[block] = error


def has_generic_names(facts: ModelFacts | PackFeatures, columns: Collection[str]) -> bool:
    """Whether the model's names of its features, where it has any, say their order only."""
    return all(_GENERIC.fullmatch(name) and name not in columns for name in facts.feature_names)


def feature_order(
    facts: ModelFacts | PackFeatures, columns: Mapping[str, Any], features: Sequence[str]
) -> Sequence[str]:
    """The columns that a model takes, in its order; InputError `feature_mismatch` names what is missing."""
    names: Sequence[str] = features if has_generic_names(facts, columns) else facts.feature_names
    if len(names) != facts.n_features:
        raise InputError(
            f"The model takes {facts.n_features} features without names, and {len(names)} are named in the settings.",
            fix="Name the model's features in its order.",
            field="features",
            code="feature_mismatch",
        )
    missing = [name for name in names if name not in columns]
    if missing:
        raise InputError(
            f"The data lacks {', '.join(missing[:5])}, which the model takes.",
            fix=f"Map a column to it; the data has {', '.join(sorted(columns)[:20])}.",
            field=missing[0],
            code="feature_mismatch",
        )
    return names


def find_taken(
    bundle: Bundle,
    keys: Sequence[str],
    names: Sequence[str],
    columns: Collection[str],
    features: Sequence[str],
) -> NDArray[np.bool_]:
    """Which of `names` the model of each key takes, [keys, names]; all, where a model cannot say so."""
    packs, _ = bundle.find(pa.array(keys, pa.string()))
    taken = np.ones((len(keys), len(names)), bool)
    available = dict.fromkeys(columns)
    for number in np.unique(packs[packs >= 0]).tolist():
        try:
            order = feature_order(bundle.features(number), available, features)
        except FleetscoreError:  # told where its rows are scored
            continue
        taken[packs == number] = [name in order for name in names]
    return taken


def _chunks(counts: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Groups [first, end) of blocks with about _CHUNK_ROWS rows."""
    ends = np.cumsum(counts)
    first = 0
    while first < len(counts):
        start = int(ends[first] - counts[first])
        end = max(int(np.searchsorted(ends, start + _CHUNK_ROWS, side="right")), first + 1)
        yield first, end
        first = end


def _rows_of(begins: NDArray[Any], counts: NDArray[Any]) -> slice | Indices:
    """The rows of blocks one after the other: a slice where they follow each other."""
    total = int(counts.sum())
    if len(begins) and (begins[1:] == begins[:-1] + counts[:-1]).all():
        return slice(int(begins[0]), int(begins[0]) + total)
    first = np.repeat(begins - np.cumsum(counts) + counts, counts)
    return np.asarray(first + np.arange(total), np.int64)


def _gathered(columns: Sequence[NDArray[Any]], rows: slice | Indices, memory: Floats | None = None) -> Floats:
    """The rows of the columns side by side, float64 [rows, features], in `memory` where that is given."""
    size = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
    x = np.empty((size, len(columns))) if memory is None else memory[:size]
    for at, column in enumerate(columns):
        x[:, at] = column[rows]
    return x


def _no_model(key: str) -> ModelError:
    return ModelError(f"No model has the key {key[:200]!r}.", fix="Import one.", code="no_model", field="key")
