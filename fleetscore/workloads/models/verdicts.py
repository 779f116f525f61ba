"""What becomes of each partition of a shard: scored, failed, skipped or late, with the cause and a
sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fleetscore.errors import FleetscoreError
from fleetscore.models.packs.shard_scoring import ShardScores
from fleetscore.records import Outcome
from fleetscore.sources import Reading
from fleetscore.workloads.models.blocks import Block, Bools
from fleetscore.workloads.models.settings import DROP, PASS, REJECT, FleetSettings, ResultCheck

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Taken = Callable[[Sequence[str]], Bools]
_SHOWN = 3
UNEXPECTED = "unexpected_result"
MISSING_COLUMN = "missing_column"


@dataclass(frozen=True, slots=True)
class JudgedRows:
    """Features as the models get them, the rows that are used, and by feature where a number is missing."""

    columns: Mapping[str, Floats]
    used: Bools
    missing: Mapping[str, Bools]
    lacking: Mapping[int, FleetscoreError] = field(default_factory=dict)  # by block, where its file lacks one
    filled: Integers | None = None  # by row, how many numbers that its model takes were filled in


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Outcome, cause and detail of each partition, in the order of the shard."""

    keys: Sequence[str]
    outcomes: list[str]
    causes: list[str]
    details: list[str]
    input_rows: list[int]

    def kept_rows(self, block: Block, rows: JudgedRows) -> Bools:
        """Which rows go into the results: those that are used, of scored partitions."""
        scored = {
            key for key, outcome in zip(self.keys, self.outcomes, strict=True) if outcome == Outcome.SCORED
        }
        good = np.array([key in scored for key in block.partitions], bool)
        kept: Bools = np.repeat(good, np.diff(block.offsets)) & rows.used
        return kept

    def count(self, block: Block, kept: Bools) -> list[int]:
        """The rows of results of each partition."""
        sums = dict.fromkeys(self.keys, 0)
        per_block: list[int] = np.add.reduceat(kept, block.offsets[:-1]).tolist() if len(block.keys) else []
        for key, rows in zip(block.partitions, per_block, strict=True):
            sums[key] += rows
        return [sums[key] for key in self.keys]


def judge_rows(
    columns: Mapping[str, Floats], policy: str | float, block: Block, taken: Taken | None = None
) -> JudgedRows:
    """The features with missing numbers treated by `policy`: reject, drop, pass, or a number to fill in.

    `taken` says by block which of the named features its model takes: no other is missed; None: all. A row
    that is not used gets zeros, so that no model refuses the others' company for it.
    """
    missing = {name: np.isnan(values) for name, values in columns.items()}
    missing = {name: mask for name, mask in missing.items() if mask.any()}
    if taken is not None and missing and policy != PASS:
        by_row = np.repeat(taken(list(missing)), np.diff(block.offsets), axis=0)
        missing = {name: mask & by_row[:, at] for at, (name, mask) in enumerate(missing.items())}
        missing = {name: mask for name, mask in missing.items() if mask.any()}
    used = np.ones(block.table.num_rows, bool)
    if isinstance(policy, (int, float)):
        filled = {name: np.where(np.isnan(values), policy, values) for name, values in columns.items()}
        counts = np.count_nonzero(list(missing.values()), axis=0).astype(np.int64) if missing else None
        return JudgedRows(filled, used, {}, filled=counts)
    if policy == PASS or not missing:
        return JudgedRows(columns, used, {})
    for mask in missing.values():
        used &= ~mask
    cleaned = {name: np.where(used, values, 0.0) for name, values in columns.items()}
    return JudgedRows(cleaned, used, missing if policy == REJECT else {})


def judge_partitions(
    keys: Sequence[str], block: Block, rows: JudgedRows, scores: ShardScores, settings: FleetSettings, reading: Reading
) -> Verdicts:  # fmt: skip
    """The verdict of each partition: its first fault, else scored with a remark where there is one."""
    blocks: dict[str, list[int]] = {key: [] for key in keys}
    for at, key in enumerate(block.partitions):
        blocks[key].append(at)
    verdicts = [_judge(blocks[key], block, rows, scores, settings, reading) for key in keys]
    counts = [sum(int(block.offsets[at + 1] - block.offsets[at]) for at in blocks[key]) for key in keys]
    outcomes, causes, details = (
        (list(column) for column in zip(*verdicts, strict=True)) if verdicts else ([], [], [])
    )
    return Verdicts(keys, outcomes, causes, details, counts)


def _judge(
    mine: Sequence[int], block: Block, rows: JudgedRows, scores: ShardScores, settings: FleetSettings, reading: Reading
) -> tuple[str, str, str]:  # fmt: skip
    if not mine:
        return _without_rows(reading)
    lacking = [at for at in mine if not block.has_key[at]]
    if lacking:
        count = sum(int(block.offsets[at + 1] - block.offsets[at]) for at in lacking)
        detail = f"{count} rows have keys that no model has ({settings.key_words})."
        return (Outcome.SKIPPED if len(lacking) == len(mine) else Outcome.FAILED), "no_model", detail
    absent = next((rows.lacking[at] for at in mine if at in rows.lacking), None)
    if absent is not None:
        return Outcome.FAILED, absent.code, str(absent)
    fault = _missing_feature(mine, block, rows)
    if fault:
        return Outcome.FAILED, "missing_feature", fault
    for at in mine:
        if at in scores.errors:
            error = scores.errors[at]
            model = f"Model {block.keys[at]!r}: " if block.keys[at] or not settings.models.score else ""
            return Outcome.FAILED, error.code, f"{model}{error}{_lacking(error, reading)}"
    values = np.concatenate([_values(at, block, rows, scores) for at in mine])
    bad = 0 if np.isfinite(values).all() else int(_unusable(values, settings).any(axis=1).sum())
    if bad:
        return Outcome.FAILED, "result_not_finite", f"{bad} of {len(values)} results are not finite numbers."
    if not len(values):
        return Outcome.FAILED, "missing_feature", "Every row lacks a feature and was dropped."
    return _judge_results(values, settings) or (Outcome.SCORED, *_remark(mine, block, rows, settings))


def _without_rows(reading: Reading) -> tuple[str, str, str]:
    if reading.faults:
        path, error = next(iter(reading.faults.items()))
        return Outcome.FAILED, error.code, f"No row could be read. {error.message_with(path)}"
    return Outcome.LATE, "no_rows", "Its rows are no longer there."


def _lacking(error: FleetscoreError, reading: Reading) -> str:
    """The file that lacks a feature, where that is why a model does not get what it takes."""
    faults = [(p, e) for p, e in reading.faults.items() if e.code == MISSING_COLUMN]
    if error.code != "feature_mismatch" or not faults:
        return ""
    path, fault = faults[0]
    return f" {fault.message_with(path)}"


def _count_filled(mine: Sequence[int], block: Block, rows: JudgedRows) -> int:
    if rows.filled is None:
        return 0
    return sum(int(rows.filled[block.offsets[at] : block.offsets[at + 1]].sum()) for at in mine)


def _missing_feature(mine: Sequence[int], block: Block, rows: JudgedRows) -> str:
    for name, mask in rows.missing.items():
        count = sum(int(mask[block.offsets[at] : block.offsets[at + 1]].sum()) for at in mine)
        total = sum(int(block.offsets[at + 1] - block.offsets[at]) for at in mine)
        if count:
            fix = 'Set missing = "drop", "pass" or a number in [expect], or correct the data.'
            return f"{name} has no number in {count} of {total} rows. {fix}"
    return ""


def _values(at: int, block: Block, rows: JudgedRows, scores: ShardScores) -> Floats:
    span = slice(int(block.offsets[at]), int(block.offsets[at + 1]))
    return scores.values[span][rows.used[span]]


def _unusable(values: Floats, settings: FleetSettings) -> Bools:
    """Which results [rows, outputs] can be no result: infinite ones, and missing ones of outputs for which
    no share is allowed by `nulls`.
    """
    if settings.models.output_type == "text":
        return np.zeros(values.shape, bool)
    checks = [settings.expect.results.get(name) for name in settings.models.outputs]
    may_lack = np.array([check is not None and check.nulls is not None for check in checks], bool)
    return np.isinf(values) | (np.isnan(values) & ~np.resize(may_lack, values.shape[1]))


def _judge_results(values: Floats, settings: FleetSettings) -> tuple[str, str, str] | None:
    """The failed outcome, or the remark, of a partition whose results are not as expected."""
    remarks = []
    for at, name in enumerate(settings.models.outputs):
        check = settings.expect.results.get(name)
        problem = describe_problem(values[:, at], name, check) if check and check.what != "stop" else ""
        if problem and check is not None and check.what == "partition":
            return Outcome.FAILED, UNEXPECTED, problem
        remarks += [problem] if problem else []
    return (Outcome.SCORED, UNEXPECTED, " ".join(remarks)) if remarks else None


def describe_problem(values: Floats, name: str, check: ResultCheck) -> str:
    """What is not as the check expects, as a sentence; "" where all is."""
    if check.range is not None:
        low, high = check.range
        outside = (values < low) | (values > high)
        if outside.any():
            worst = values[outside][0]
            return f"{int(outside.sum())} of {len(values)} {name} lie outside [{low:g}, {high:g}], such as {worst:g}."
    if check.nulls is not None and len(values):
        share = float(np.isnan(values).mean())
        if share > check.nulls:
            return f"{100 * share:.3g} % of {name} are missing; at most {100 * check.nulls:g} % may."
    return ""


def _remark(mine: Sequence[int], block: Block, rows: JudgedRows, settings: FleetSettings) -> tuple[str, str]:
    """Cause and detail of a scored partition: which keys scored it where it was not its first choice, rows
    dropped, and numbers filled in.
    """
    texts = []
    dropped = sum(int((~rows.used[block.offsets[at] : block.offsets[at + 1]]).sum()) for at in mine)
    if dropped and settings.expect.missing == DROP:
        texts.append(f"{dropped} rows without a feature were dropped.")
    filled = _count_filled(mine, block, rows)
    if filled:
        texts.append(f"{filled} missing numbers were filled with {settings.expect.missing:g}.")
    if not settings.is_key_partition or len(settings.key_patterns) > 1:
        named = list(dict.fromkeys(block.keys[at] for at in mine))
        more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
        texts.append(f"Scored by model {', '.join(map(repr, named[:_SHOWN]))}{more}.")
    return "", " ".join(texts)
