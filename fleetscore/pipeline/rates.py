"""Rates: what a finished run teaches about a workload's speed and a pool's start; the next plan predicts
with it.
"""

from __future__ import annotations

from dataclasses import replace

from fleetscore.errors import MissingBlobError
from fleetscore.pipeline.capacity import PoolRates, read_pool_rates
from fleetscore.pipeline.collect import read_collected
from fleetscore.pipeline.cost import find_prices, widen
from fleetscore.pipeline.offload import Submission, read_submission
from fleetscore.pipeline.offload_usage import Usage
from fleetscore.predictions import Rates
from fleetscore.records import to_json
from fleetscore.runs.plans import read_plan
from fleetscore.store.base import Store
from fleetscore.store.paths import pool_rates_path, rates_path, run_path
from fleetscore.store.state_files import read_truth, write_hint

_WEIGHT = 0.3
_LEAST_S = 0.05


def learn_rates(store: Store, run: str) -> Rates:
    """Move the workload's rates of the run's purpose towards what it measured and store them; runs too
    short to measure change nothing.
    """
    head, collected = read_plan(store, run), read_collected(store, run)
    _learn_pool(store, run)
    if collected.measured_s < _LEAST_S or head.predicted_s <= 0:
        return head.rates
    learned = blend_rates(head.rates, head.predicted_s, collected.measured_s, collected.bytes_per_row)
    write_hint(store, rates_path(head.request.workload, head.request.purpose), to_json(learned))
    return learned


def blend_rates(rates: Rates, predicted_s: float, measured_s: float, bytes_per_row: float = 0.0) -> Rates:
    """The rates, each scaled part of the way from predicted to measured; one run moves them by a factor of
    8 at the most.

    Memory goes up at once and down by degrees, since too little costs a shard its process; 0
    `bytes_per_row` was not measured.
    """
    ratio = min(8.0, max(0.125, measured_s / predicted_s))
    factor = ratio**_WEIGHT
    memory = rates.bytes_per_row
    if bytes_per_row:
        memory = max(bytes_per_row, memory + _WEIGHT * (bytes_per_row - memory))
    return replace(
        rates,
        shard_s=rates.shard_s * factor,
        partition_s=rates.partition_s * factor,
        row_s=rates.row_s * factor,
        bytes_per_row=memory,
        spread=widen(rates.spread, predicted_s, predicted_s * ratio, _WEIGHT),
    )


def blend_pool_rates(rates: PoolRates, wait_s: float, was_warm: bool) -> PoolRates:
    """The pool's rates, moved part of the way to how long this run's first task took to start."""
    if was_warm:
        return replace(rates, start_s=rates.start_s + _WEIGHT * (wait_s - rates.start_s))
    return replace(rates, boot_s=rates.boot_s + _WEIGHT * (wait_s - rates.boot_s))


def read_usage(store: Store, run: str) -> tuple[Submission, Usage] | None:
    """What the run submitted to Batch and what that took; None for a run without."""
    try:
        return read_submission(store, run), read_truth(store, run_path(run, "usage.json"), Usage)
    except MissingBlobError:
        return None


def _learn_pool(store: Store, run: str) -> None:
    found = read_usage(store, run)
    if found is None or not found[1].nodes:
        return
    submission, usage = found
    known = read_pool_rates(store, submission.pool, find_prices(store))
    learned = blend_pool_rates(known, usage.wait_s, submission.was_warm)
    write_hint(store, pool_rates_path(submission.pool), to_json(learned))
