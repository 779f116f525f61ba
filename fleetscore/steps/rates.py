"""Rates: what a finished run teaches about a workload's speed; the next plan predicts with it."""

from __future__ import annotations

from dataclasses import replace

from fleetscore.layout import rates_path
from fleetscore.records import to_json
from fleetscore.steps.collect import read_collected
from fleetscore.steps.plan import read_plan
from fleetscore.stores.base import Store
from fleetscore.workloads.base import Rates

_WEIGHT = 0.3
_LEAST_S = 0.05


def learn_rates(store: Store, run: str) -> Rates:
    """Move the workload's rates towards what the run measured and store them; runs too short to tell change nothing.

    Training runs have rates of their own kind and change nothing either.
    """
    head, collected = read_plan(store, run), read_collected(store, run)
    if head.request.purpose == "train" or collected.measured_s < _LEAST_S or head.predicted_s <= 0:
        return head.rates
    learned = blend_rates(head.rates, head.predicted_s, collected.measured_s)
    store.write(rates_path(head.request.workload), to_json(learned))
    return learned


def blend_rates(rates: Rates, predicted_s: float, measured_s: float) -> Rates:
    """The rates, each scaled part of the way from predicted to measured; one run moves them by a factor of 8 at the most."""
    factor = min(8.0, max(0.125, measured_s / predicted_s)) ** _WEIGHT
    return replace(
        rates,
        shard_s=rates.shard_s * factor,
        partition_s=rates.partition_s * factor,
        row_s=rates.row_s * factor,
    )
