"""The budget of a workload's month: beyond it what is not urgent is refused, live windows never."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from fleetscore.errors import CapacityError
from fleetscore.registry import read_policy
from fleetscore.runs.index import RunLine, list_runs_since
from fleetscore.store.base import Store


def month_cost(lines: Iterable[RunLine], now: datetime) -> float:
    """What the runs that were requested in this month have cost so far, in USD; those without a figure
    count nothing.
    """
    return sum(line.cost_usd or 0.0 for line in lines if f"{line.requested:%Y-%m}" == f"{now:%Y-%m}")


def check_budget(store: Store, workload: str, now: datetime) -> None:
    """CapacityError (`over_budget`) where the workload's month has cost more than its `budget_stop_usd`."""
    limit_usd = read_policy(store, workload).budget_stop_usd
    if limit_usd <= 0:
        return
    cost_usd = month_cost(list_runs_since(store, workload, f"{now:%Y-%m}-01"), now)
    if cost_usd > limit_usd:
        raise CapacityError(
            f"{workload} has cost {cost_usd:.2f} USD in {now:%Y-%m}; beyond {limit_usd:.2f} USD backfills and trainings are refused.",
            fix=f"Wait for the next month, or raise budget_stop_usd in settings/{workload}.toml.",
            field="budget_stop_usd",
            code="over_budget",
        )
