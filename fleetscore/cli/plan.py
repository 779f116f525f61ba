"""The plan command: what a run would do, without doing anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from fleetscore.cli.options import WORKLOAD, asking_options, partitions_option, versions_option, window_option
from fleetscore.cli.progress import format_seconds
from fleetscore.cli.text import say

if TYPE_CHECKING:
    from fleetscore.fleet import FleetBase
    from fleetscore.pipeline.preview import RunPreview
    from fleetscore.predictions import Forecast
    from fleetscore.records import ShardPlan

_MOST_SHARDS = 12


@click.command(short_help="Show what a run of a window would do; nothing is written.")
@WORKLOAD
@window_option
@partitions_option
@versions_option
@asking_options
def plan(
    workload: str, window: str, partitions: tuple[str, ...], models: str,
    fleet: FleetBase, as_json: bool,
) -> None:  # fmt: skip
    """Show what a run of the window would do: partitions, shards, placement and why, predicted seconds.
    Nothing is written.

    With --host the app plans, with its own settings and as its pool is now.
    """
    from fleetscore.cli.render import print_json

    preview = fleet.plan(workload, window, partitions=partitions, models=models)
    if as_json:
        print_json(preview)
    else:
        print_preview(preview)


def print_preview(preview: RunPreview) -> None:
    """Print what is expected, where it would be scored and why, and what that takes."""
    from fleetscore.cli.render import (
        describe_causes,
        describe_remarks,
        format_counts,
        plural,
        print_pairs,
        print_table,
    )  # fmt: skip

    head = preview.head
    pairs: list[tuple[str, Any]] = [
        (
            "partitions",
            f"{head.partitions:,} expected: {head.pending:,} to score" + _after(format_counts(head.settled)),
        ),
        ("settled", "\n".join(describe_causes(preview.settled))),
        (
            "preparation",
            f"{preview.to_prepare:,} pieces of input come first; the plan is made anew after them"
            if preview.to_prepare
            else "",
        ),
        ("input", f"{head.rows:,} rows, {head.size_bytes:,} bytes, in {plural(len(head.inputs), 'file')}"),
        ("models", ", ".join(f"{version or 'none'} ({count:,})" for version, count in head.models.items())),
        ("shards", f"{head.shards:,}, predicted {format_seconds(head.predicted_s)} on one core"),
        ("remarks", "\n".join(describe_remarks(head.remarks, head.findings))),
    ]
    print_pairs(f"Plan of {head.request.run} (nothing was written)", pairs)
    rows = [
        (p.placement, p.reason, f"{p.shards:,}", f"{p.partitions:,}", f"{p.rows:,}", f"{p.predicted_s:.2f}", f"{p.longest_s:.2f}")
        for p in preview.placements
    ]  # fmt: skip
    columns = ("placement", "reason", "shards", "partitions", "rows", "predicted s", "longest s")
    print_table(columns, rows, numbers=columns[2:])
    _print_forecasts(preview)
    _print_shards(preview.shards)


def _print_forecasts(preview: RunPreview) -> None:
    """What each placement is expected to take, with the range of earlier predictions; then why it cannot be
    done, if so.
    """
    from fleetscore.cli.render import print_table

    rows = [
        (
            f.placement, f"{f.shards:,}", f"{f.seconds:.1f} ({f.least_s:.1f} to {f.most_s:.1f})", f"{f.wall_s:.1f}",
            f"{f.nodes:,}" if f.nodes else "", _format_cost(f), f.headroom,
        )
        for f in preview.head.forecasts
    ]  # fmt: skip
    columns = (
        "placement",
        "shards",
        "core seconds",
        "done after s",
        "nodes",
        f"USD ({preview.prices})",
        "quota left",
    )
    if rows:
        print_table(columns, rows, numbers=columns[1:6])
    if preview.refusal is not None:
        say(f"This run would be refused: {preview.refusal}", err=True)


def _format_cost(forecast: Forecast) -> str:
    if forecast.cost_usd is None:
        return "no price"
    return f"{forecast.cost_usd:.2g}, up to {forecast.most_usd:.2g}"


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
        say(f"and {len(shards) - _MOST_SHARDS:,} more; --json lists all")


def _after(counts: str) -> str:
    return f"; settled already: {counts}" if counts else ""
