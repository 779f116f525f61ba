"""What is measured of a committed shard: its outcomes, its seconds, and its cost at the listed prices."""

from __future__ import annotations

import logging

from fleetscore.errors import FleetscoreError
from fleetscore.pipeline.cost import find_prices
from fleetscore.pipeline.offload import read_submission
from fleetscore.records import ShardRecord
from fleetscore.runs.plans import read_plan
from fleetscore.store.base import Store
from fleetscore.telemetry import count_shard
from fleetscore.telemetry_setup import is_on

_log = logging.getLogger("fleetscore.telemetry")


def measure_shard(store: Store, record: ShardRecord, purpose: str) -> None:
    """Count the shard's partitions, seconds and cost where telemetry is on; what the store does not give is
    left out, and nothing is raised for it.
    """
    if not is_on():
        return
    attributes, cost_usd = {"purpose": purpose, "placement": record.placement}, None
    try:
        attributes["workload"] = read_plan(store, record.run).request.workload
        cost_usd = _cost_usd(store, record)
    except FleetscoreError as error:
        _log.warning("Shard %d of %s is counted without its cost: %s", record.shard, record.run, error)
    count_shard(record.counts, record.seconds, attributes, cost_usd)


def _cost_usd(store: Store, record: ShardRecord) -> float | None:
    """The shard's seconds at the price of an instance, or of its slot of a node; None where that is not
    known.
    """
    prices = find_prices(store)
    if record.placement == "inline":
        usd_per_s = prices.inline_usd_per_s
    else:
        submission = read_submission(store, record.run)
        node_usd_per_s = prices.node_usd_per_s(submission.vm_size)
        usd_per_s = None if node_usd_per_s is None else node_usd_per_s / max(submission.slots_per_node, 1)
    return None if usd_per_s is None else record.seconds * usd_per_s
