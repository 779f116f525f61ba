"""Models tried on rows of a sample: which answer, what their results look like, and which rows could not be
tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fleetscore.models.fit_record import Misfit
from fleetscore.models.packs.bundle import Bundle
from fleetscore.models.packs.shard_scoring import ShardScores, find_taken
from fleetscore.models.trust import trust_fix
from fleetscore.workloads.models.answers import score_models
from fleetscore.workloads.models.blocks import Block, choose_keys
from fleetscore.workloads.models.fit_sample import Sample
from fleetscore.workloads.models.own_code import load_function, score_own
from fleetscore.workloads.models.own_settings import UNTRUSTED, distrust_own_code
from fleetscore.workloads.models.rows import numbers_of
from fleetscore.workloads.models.scoring import model_features
from fleetscore.workloads.models.settings import PASS, FleetSettings
from fleetscore.workloads.models.verdicts import describe_problem

_SHOWN = 3
Columns = Mapping[str, npt.NDArray[np.float64]]
Bools = npt.NDArray[np.bool_]


def try_models(
    sample: Sample, bundle: Bundle, settings: FleetSettings, features: Sequence[str], workload: str
) -> tuple[int, dict[str, tuple[float, float]], list[Misfit]]:
    """How many models answered their rows, the ranges of the outputs, and what is wrong with the answers."""
    distrust = distrust_own_code(workload, settings)
    if distrust:
        return 0, {}, [Misfit("error", UNTRUSTED, workload, distrust, trust_fix(workload))]
    table = sample.table(features)
    columns, tried, gaps = _treat_gaps(table, bundle, settings, features)
    columns = {name: values[tried] for name, values in columns.items()}
    table = table.filter(pa.array(tried))
    if not table.num_rows:
        return 0, {}, gaps
    block, order = _blocks(table, bundle, settings)
    scores = _score(
        block, {name: values[order] for name, values in columns.items()}, bundle, settings, workload
    )
    found = [
        *_errors(block.keys, scores),
        *_widths(block.keys, scores, settings),
        *_unexpected(scores, settings),
    ]
    return len(block.keys) - len(scores.errors), _ranges(scores, settings), [*gaps, *found]


def _treat_gaps(
    table: pa.Table, bundle: Bundle, settings: FleetSettings, features: Sequence[str]
) -> tuple[Columns, Bools, list[Misfit]]:
    """The features as they are tried, which rows are, and what is to be said of rows with a gap in a feature
    that their model takes: they are tried where the model takes NaN, and left out elsewhere.
    """
    columns = {name: numbers_of(table[name]) for name in features}
    policy, tried = settings.expect.missing, np.ones(table.num_rows, bool)
    if isinstance(policy, (int, float)):
        filled = {name: np.where(np.isnan(values), policy, values) for name, values in columns.items()}
        return filled, tried, []
    if policy == PASS or not columns:
        return columns, tried, []
    missing = np.isnan(np.stack(list(columns.values()), axis=1))
    takes_nan = np.zeros(table.num_rows, bool)
    if not settings.models.score:
        keys = choose_keys(table, settings, bundle)[0].dictionary_encode()
        named, place = keys.dictionary.to_pylist(), np.asarray(keys.indices)
        taken = find_taken(bundle, named, features, features, model_features(bundle, settings))
        missing &= taken[place]
        takes_nan = np.array([_takes_nan(bundle, key) for key in named], bool)[place]
    gaps: Bools = np.asarray(missing.any(axis=1))
    tried = ~gaps | takes_nan
    return columns, tried, _gap_notes(int((~tried).sum()), int((gaps & takes_nan).sum()), len(gaps))


def _takes_nan(bundle: Bundle, key: str) -> bool:
    packs, places = bundle.find(pa.array([key], pa.string()))
    return packs[0] >= 0 and bundle.pack(int(packs[0])).facts_of_model(int(places[0])).takes_nan


def _gap_notes(left_out: int, passed: int, rows: int) -> list[Misfit]:
    notes = []
    if left_out:
        detail = f"{left_out:,} of {rows:,} sample rows were not tried: they have a gap in a feature of their model."
        notes.append(Misfit("note", "rows_not_tried", "missing", detail))
    if passed:
        detail = f"{passed:,} of {rows:,} sample rows have a gap in a feature, and models that take NaN answered them."
        fix = 'A run does so with missing = "pass" in [expect] only.'
        notes.append(Misfit("note", "gaps_tried", "missing", detail, fix))
    return notes


def _blocks(table: pa.Table, bundle: Bundle, settings: FleetSettings) -> tuple[Block, npt.NDArray[np.intp]]:
    """The rows by model key, and the order that sorts them so."""
    keys = choose_keys(table, settings, bundle)[0].to_numpy(zero_copy_only=False).astype(str)
    order = np.argsort(keys, kind="stable")
    names, starts = np.unique(keys[order], return_index=True)
    offsets = np.r_[starts, len(keys)].astype(np.int64)
    blocks = names.tolist()
    return Block(table.take(pa.array(order)), blocks, blocks, np.ones(len(blocks), bool), offsets), order


def _score(
    block: Block, columns: Columns, bundle: Bundle, settings: FleetSettings, workload: str
) -> ShardScores:
    if settings.models.score:
        own = load_function(settings.models.score, workload)
        return score_own(own, bundle, block, columns, np.ones(block.table.num_rows, bool))
    given = model_features(bundle, settings)
    return score_models(workload, settings, bundle, block.keys, block.offsets, columns, given)


def _errors(blocks: Sequence[str], scores: ShardScores) -> list[Misfit]:
    return _grouped(
        [(blocks[at], error.code, error.message, error.fix) for at, error in scores.errors.items()], "error"
    )


def _widths(blocks: Sequence[str], scores: ShardScores, settings: FleetSettings) -> list[Misfit]:
    """Models that answer with other columns than the settings name."""
    method, outputs = settings.models.method, settings.models.outputs
    told = [
        (key, "output_mismatch", f"{method} gives {facts.outputs[method]} columns; output names {len(outputs)}.",
         "Name one output, or one for each class.")
        for at, (key, facts) in enumerate(zip(blocks, scores.facts, strict=True))
        if facts is not None and at not in scores.errors and facts.outputs.get(method, 0) != len(outputs)
    ]  # fmt: skip
    text = settings.models.output_type == "text"
    told += [
        (
            key,
            "output_mismatch",
            "It has no classes, so its output is no text.",
            'Leave output_type = "text" out.',
        )
        for key, facts in zip(blocks, scores.facts, strict=True)
        if text and facts is not None and not facts.classes
    ]
    return _grouped(told, "error")


def _unexpected(scores: ShardScores, settings: FleetSettings) -> list[Misfit]:
    """Results outside what [expect.results] says."""
    found = []
    for at, name in enumerate(settings.models.outputs):
        check = settings.expect.results.get(name)
        has_values = check is not None and at < scores.values.shape[1]
        problem = describe_problem(scores.values[:, at], name, check) if check and has_values else ""
        found += [Misfit("warning", "unexpected_result", name, problem)] if problem else []
    return found


def _ranges(scores: ShardScores, settings: FleetSettings) -> dict[str, tuple[float, float]]:
    if settings.models.output_type == "text":
        return {}
    return {
        name: (float(np.nanmin(values)), float(np.nanmax(values)))
        for name, values in zip(settings.models.outputs, scores.values.T, strict=False)
        if np.isfinite(values).any() and _is_number(scores, name)
    }


def _is_number(scores: ShardScores, name: str) -> bool:
    """Whether the output holds numbers: own code declares what its columns hold."""
    if scores.table is None:
        return True
    kind = scores.table.schema.field(name).type
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _grouped(
    told: Sequence[tuple[str, str, str, str]], severity: Literal["error", "warning"]
) -> list[Misfit]:
    """One misfit for all models of which the same is to be said."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for key, code, message, fix in told:
        groups.setdefault((code, message, fix), []).append(key)
    return [
        Misfit(severity, code, keys[0], f"{list_keys(keys, 'model')}: {message}", fix)
        for (code, message, fix), keys in groups.items()
    ]


def list_keys(keys: Sequence[str], noun: str) -> str:
    """The keys in a phrase.

    >>> list_keys(["a", "b", "c", "d"], "model")
    "4 models ('a', 'b', 'c', ...)"
    """
    shown = ", ".join(repr(key) for key in keys[:_SHOWN]) + (", ..." if len(keys) > _SHOWN else "")
    return f"{len(keys):,} {noun}{'s' * (len(keys) != 1)} ({shown})"
