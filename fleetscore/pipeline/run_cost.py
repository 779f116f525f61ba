"""The bill of a run: measured seconds and what they cost, and how far off the forecast was; facts of its
record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fleetscore.pipeline.cost import find_prices
from fleetscore.pipeline.rates import read_usage
from fleetscore.records import Collected
from fleetscore.runs.plans import read_plan
from fleetscore.store.base import Store


def make_bill(store: Store, run: str, collected: Collected) -> Mapping[str, Any]:
    """What the run took and cost. `estimate_off` is measured over predicted seconds; costs are in USD at
    the prices of that date.
    """
    head, prices, found = read_plan(store, run), find_prices(store), read_usage(store, run)
    inline_s = collected.measured_s - collected.batch_s
    inline_usd = None if prices.inline_usd_per_s is None else inline_s * prices.inline_usd_per_s
    predicted_usd = [forecast.cost_usd for forecast in head.forecasts]
    bill: dict[str, Any] = {
        "prices": "unknown" if prices.problem else f"{prices.date} {prices.region}",
        "inline_s": round(inline_s, 3),
        "inline_usd": inline_usd,
        "predicted_usd": None if None in predicted_usd else sum(cost or 0.0 for cost in predicted_usd),
        "estimate_off": collected.measured_s / head.predicted_s if head.predicted_s > 0 else None,
    }
    if found is None:
        return bill | {"cost_usd": inline_usd}
    submission, usage = found
    node_usd = prices.node_usd_per_s(submission.vm_size)
    batch_usd = None if node_usd is None else usage.node_s * node_usd
    return bill | {
        "batch_s": round(collected.batch_s, 3),
        "node_s": round(usage.node_s, 3),
        "nodes": usage.nodes,
        "pool_wait_s": round(usage.wait_s, 3),
        "task_retries": usage.retries,
        "task_requeues": usage.requeues,
        "batch_usd": batch_usd,
        "cost_usd": None if batch_usd is None or inline_usd is None else inline_usd + batch_usd,
    }
