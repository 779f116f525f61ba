"""The plan command: what a run would do, without doing anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from fleetscore.cli.options import WORKLOAD, json_option, store_option
from fleetscore.cli.progress import tell_seconds

if TYPE_CHECKING:
    from fleetscore.cost import Forecast
    from fleetscore.records import RunRequest, ShardPlan
    from fleetscore.steps.plan import Plan
    from fleetscore.stores.base import Store

_MOST_SHARDS = 12


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


@click.command(short_help="Show what a run of a window would do; nothing is written.")
@WORKLOAD
@click.option("--window", required=True, help="The window, as 2018-08-28T23, 2016-06-29, 2026-W47 or 108.")
@click.option(
    "--partition",
    "partitions",
    multiple=True,
    metavar="KEY",
    help="Only this partition; may be given many times.",
)
@click.option(
    "--models", default="", metavar="VERSION", help="With this model set instead of the pinned one."
)
@store_option
@json_option
def plan(
    workload: str, window: str, partitions: tuple[str, ...], models: str, store_url: str, as_json: bool
) -> None:
    """Show what a run of the window would do: partitions, shards, placement and why, predicted seconds. Nothing is written."""
    from fleetscore.app_settings import read_app_settings
    from fleetscore.cli.render import print_json
    from fleetscore.steps.plan import make_plan
    from fleetscore.stores import open_store
    from fleetscore.stores.dry import DryStore

    store = DryStore(open_store(store_url))  # discovery keeps notes of what it read; a plan leaves none
    request = preview_request(store, workload, window, partitions, models)
    to_prepare = count_preparation(store, request)
    made = make_plan(store, request, read_app_settings(), datetime.now(UTC))
    placed = sum_placements(made.shards)
    if as_json:
        refusal = None if made.refusal is None else str(made.refusal)
        told = {"head": made.head, "to_prepare": to_prepare, "placements": placed, "shards": made.shards}
        print_json(told | {"prices": made.prices, "refusal": refusal})
    else:
        _print_plan(made, placed, to_prepare)


def preview_request(
    store: Store, workload: str, window: str, partitions: tuple[str, ...] = (), models: str = ""
) -> RunRequest:
    """The request that `run` would make now, without making it."""
    from fleetscore.layout import run_id
    from fleetscore.records import RunRequest
    from fleetscore.requests import newest_round
    from fleetscore.workloads import get_workload

    key = get_workload(workload).parse_window(window).key
    newest = newest_round(store, workload, key)
    number = newest.request.round + 1 if newest else 1
    return RunRequest(
        run_id(workload, key, number), workload, key, number, datetime.now(UTC), "plan", partitions=partitions, models=models
    )  # fmt: skip


def count_preparation(store: Store, request: RunRequest) -> int:
    """Pieces of preparation that the run would do before it is planned."""
    from fleetscore.settings import read_workload_settings
    from fleetscore.steps.plan import pins_of
    from fleetscore.workloads import get_workload
    from fleetscore.workloads.base import WindowRequest

    workload = get_workload(request.workload)
    settings: Any = read_workload_settings(store, workload.name, workload.settings_type)
    asked = WindowRequest(
        workload.parse_window(request.window), settings, pins_of(store, request), request.partitions
    )
    return len(workload.map_items(store, asked))


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


def _print_plan(plan: Plan, placed: list[Placed], to_prepare: int) -> None:
    from fleetscore.cli.render import plural, print_pairs, print_table, tell_counts

    head = plan.head
    pairs: list[tuple[str, Any]] = [
        (
            "partitions",
            f"{head.partitions:,} expected: {head.pending:,} to score" + _after(tell_counts(head.settled)),
        ),
        (
            "preparation",
            f"{to_prepare:,} pieces of input come first; the plan is made anew after them"
            if to_prepare
            else "",
        ),
        ("input", f"{head.rows:,} rows, {head.size_bytes:,} bytes, in {plural(len(head.inputs), 'file')}"),
        ("models", ", ".join(f"{version or 'none'} ({count:,})" for version, count in head.models.items())),
        ("shards", f"{head.shards:,}, predicted {tell_seconds(head.predicted_s)} on one core"),
        ("remarks", "\n".join(head.remarks[:5])),
    ]
    print_pairs(f"Plan of {head.request.run} (nothing was written)", pairs)
    rows = [
        (p.placement, p.reason, f"{p.shards:,}", f"{p.partitions:,}", f"{p.rows:,}", f"{p.predicted_s:.2f}", f"{p.longest_s:.2f}")
        for p in placed
    ]  # fmt: skip
    columns = ("placement", "reason", "shards", "partitions", "rows", "predicted s", "longest s")
    print_table(columns, rows, numbers=columns[2:])
    _print_forecasts(plan)
    _print_shards(plan.shards)


def _print_forecasts(plan: Plan) -> None:
    """What each placement is expected to take, with the range of earlier predictions; then why it cannot be done, if so."""
    from fleetscore.cli.render import print_table

    rows = [
        (
            f.placement, f"{f.shards:,}", f"{f.seconds:.1f} ({f.least_s:.1f} to {f.most_s:.1f})", f"{f.wall_s:.1f}",
            f"{f.nodes:,}" if f.nodes else "", _tell_cost(f), f.headroom,
        )
        for f in plan.head.forecasts
    ]  # fmt: skip
    columns = (
        "placement",
        "shards",
        "core seconds",
        "done after s",
        "nodes",
        f"USD ({plan.prices})",
        "quota left",
    )
    if rows:
        print_table(columns, rows, numbers=columns[1:6])
    if plan.refusal is not None:
        click.echo(f"This run would be refused: {plan.refusal}", err=True)


def _tell_cost(forecast: Forecast) -> str:
    if forecast.cost_usd is None:
        return "no price"
    return f"{forecast.cost_usd:.2g} ({forecast.least_usd:.2g} to {forecast.most_usd:.2g})"


def _print_shards(shards: Sequence[ShardPlan]) -> None:
    from fleetscore.cli.render import print_table

    rows = [
        (
            s.shard,
            f"{s.partitions:,}",
            f"{s.rows:,}",
            f"{s.predicted_s:.2f}",
            f"{s.memory_bytes:,}",
            s.placement,
        )
        for s in shards[:_MOST_SHARDS]
    ]
    columns = ("shard", "partitions", "rows", "predicted s", "memory bytes", "placement")
    print_table(columns, rows, numbers=columns[:5])
    if len(shards) > _MOST_SHARDS:
        click.echo(f"and {len(shards) - _MOST_SHARDS:,} more; --json lists all")


def _after(counts: str) -> str:
    return f"; settled already: {counts}" if counts else ""
