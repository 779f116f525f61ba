"""Previews of runs: what a run of a window would do and cost, without doing anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fleetscore.app_settings import AppSettings
from fleetscore.capabilities import Prepares
from fleetscore.pipeline.context import open_run
from fleetscore.pipeline.ledger import group_settled
from fleetscore.pipeline.plan import make_plan
from fleetscore.pipeline.submit import check_models, last_published, newest_round
from fleetscore.pipeline.window_checks import read_window
from fleetscore.records import Cause, PlanHead, RunRequest, ShardPlan
from fleetscore.registry import get_workload
from fleetscore.store.base import Store
from fleetscore.store.dry_run import DryStore
from fleetscore.store.paths import run_id


@dataclass(frozen=True, slots=True)
class Placed:
    """The shards that share a placement and its reason, summed up."""

    placement: str
    reason: str
    shards: int
    partitions: int
    rows: int
    predicted_s: float  # on one core
    longest_s: float


@dataclass(frozen=True, slots=True)
class RunPreview:
    """The plan that a run would get now; `to_prepare` pieces of input come before it, and then it is made
    anew.
    """

    head: PlanHead
    to_prepare: int
    placements: tuple[Placed, ...]
    shards: tuple[ShardPlan, ...]
    prices: str  # of when and where
    refusal: str | None = None  # why it cannot be carried out, if so
    settled: tuple[Cause, ...] = ()  # why partitions are settled before scoring, the most frequent first


def preview_run(
    store: Store, app: AppSettings, now: datetime, workload: str, window: str, partitions: tuple[str, ...] = (), models: str = ""
) -> RunPreview:  # fmt: skip
    """What a run of the window would do if it started now; writes nothing. InputError and ModelError as the
    run would raise them.
    """
    dry = DryStore(store)  # discovery keeps notes of what it read; a preview leaves none
    request = _request(dry, now, workload, window, partitions, models)
    to_prepare = _count_preparation(dry, request)
    plan = make_plan(dry, request, app, now)
    refusal = None if plan.refusal is None else str(plan.refusal)
    placed = tuple(sum_placements(plan.shards))
    return RunPreview(
        plan.head, to_prepare, placed, tuple(plan.shards), plan.prices, refusal, group_settled(plan.table)
    )


def sum_placements(shards: Sequence[ShardPlan]) -> list[Placed]:
    """The shards summed up by placement and reason, the most predicted seconds first."""
    groups: dict[tuple[str, str], list[ShardPlan]] = {}
    for shard in shards:
        groups.setdefault((shard.placement, shard.reason), []).append(shard)
    placed = [
        Placed(
            placement, reason, len(group), sum(s.partitions for s in group), sum(s.rows for s in group),
            sum(s.predicted_s for s in group), max(s.predicted_s for s in group),
        )
        for (placement, reason), group in groups.items()
    ]  # fmt: skip
    return sorted(placed, key=lambda each: -each.predicted_s)


def _request(
    store: Store, now: datetime, workload: str, window: str, partitions: tuple[str, ...], models: str
) -> RunRequest:
    """The request that a run would have now; submits nothing."""
    key = read_window(get_workload(store, workload), window).key
    check_models(store, workload, models)
    newest = newest_round(store, workload, key)
    number = newest.request.round + 1 if newest else 1
    previous = last_published(store, newest) if newest and (partitions or models) else ""
    return RunRequest(
        run_id(workload, key, number), workload, key, number, now, "plan", partitions=partitions, models=models,
        previous=previous,
    )  # fmt: skip


def _count_preparation(store: Store, request: RunRequest) -> int:
    """Pieces of preparation that the run would do before it is planned."""
    run = open_run(store, request)
    return len(run.kind.map_items(run)) if isinstance(run.kind, Prepares) else 0
