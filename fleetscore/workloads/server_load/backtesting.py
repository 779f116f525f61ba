"""Backtest: the candidates and the baselines at several cutoffs of the past, each judged on the days after
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fleetscore.errors import InputError
from fleetscore.records import InputFile
from fleetscore.store.base import Store
from fleetscore.workloads.server_load.discovery import read_hours
from fleetscore.workloads.server_load.examples import build_examples
from fleetscore.workloads.server_load.features import LOOKBACK_HOURS
from fleetscore.workloads.server_load.grammar import SLOTS_PER_HOUR
from fleetscore.workloads.server_load.months import moment_of
from fleetscore.workloads.server_load.partials import RangeRecord
from fleetscore.workloads.server_load.preparation import prepare_span
from fleetscore.workloads.server_load.settings import ServerLoadSettings
from fleetscore.workloads.server_load.sources import find_sources
from fleetscore.workloads.server_load.training import able_candidates, baselines, judge

_TRAINING_DAYS = 30


def run_backtest(
    store: Store, settings: ServerLoadSettings, workload: str, cutoffs: int
) -> Mapping[str, Any]:
    """Judge at the last `cutoffs` cutoffs, `test_days` apart; each learns from the 30 days before (or what
    there is of them).
    """
    stop = _last_hour(find_sources(store, settings, workload).usable) // 24 * 24 + 24
    step = settings.test_days * 24
    span = (stop - cutoffs * step - _TRAINING_DAYS * 24, stop)
    inputs = prepare_span(store, settings, workload, *span)
    rows = [
        row for n in range(cutoffs, 0, -1) for row in _at_cutoff(store, settings, inputs, stop - n * step)
    ]
    return {"rows": rows}


def _last_hour(usable: Sequence[RangeRecord]) -> int:
    last = max((record.last_slot for record in usable if record.sums), default=-1)
    if last < 0:
        raise InputError(
            "There are no parsed logs to judge on.",
            fix="Run a window first: it prepares the logs.",
            code="not_prepared",
        )
    return last // SLOTS_PER_HOUR


def _at_cutoff(
    store: Store, settings: ServerLoadSettings, inputs: Sequence[InputFile], cutoff: int
) -> list[dict[str, Any]]:
    first, stop = cutoff - _TRAINING_DAYS * 24, cutoff + settings.test_days * 24
    hours = read_hours(store, inputs, first - LOOKBACK_HOURS, stop, servers=settings.wanted_servers)
    examples = build_examples(hours, first, stop, settings)
    learnt, unseen = examples.part(examples.hour < cutoff), examples.part(examples.hour >= cutoff)
    if not len(learnt.labels) or not len(unseen.labels):
        return []
    when = f"{moment_of(cutoff):%Y-%m-%d}"
    measured = {
        kind: judge(kind, learnt, unseen, settings).metrics for kind in able_candidates(learnt, settings)
    }
    measured |= baselines(unseen, settings)
    return [{"cutoff": when, "method": name} | asdict(metrics) for name, metrics in measured.items()]
