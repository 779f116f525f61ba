"""Commands of a workload's own: samples, backtest, draw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fleetscore.cli.options import WORKLOAD, announcing_new, json_option, store_option
from fleetscore.cli.text import say

if TYPE_CHECKING:
    from fleetscore.capabilities import SampleReport


@click.command(short_help="Write sample data with planted defects.")
@WORKLOAD
@click.option(
    "--scale",
    type=click.FloatRange(0.001, 1000),
    default=1.0,
    show_default=True,
    help="How big, as a multiple.",
)
@click.option("--seed", type=int, default=7, show_default=True, help="The same seed gives the same bytes.")
@click.option(
    "--as",
    "form",
    type=click.Choice(["capture"]),
    default=None,
    help="Write them as Event Hubs Capture does, with the settings that read them (sensor_anomaly).",
)
@store_option
@json_option
def samples(workload: str, scale: float, seed: int, form: str | None, store_url: str, as_json: bool) -> None:
    """Write sample data with planted defects into the store, and the truth to judge results by."""
    from fleetscore.cli.render import print_json, print_pairs
    from fleetscore.fleet.store_fleet import Fleet
    from fleetscore.registry import find_workload

    fleet = Fleet(store_url)
    find_workload(fleet.opened, workload)
    write = fleet.capture_samples if form == "capture" else fleet.samples
    with announcing_new(fleet):
        report = write(workload, scale=scale, seed=seed)
    if as_json:
        facts = {
            "partitions": report.partitions,
            "rows": report.rows,
            "remarks": report.remarks,
            "facts": report.facts,
        }
        print_json({"first": report.first.key, "stop": report.stop.key, **facts})
        return
    pairs = [
        ("windows", f"{report.first.key} .. {report.stop.key}"),
        ("data", f"{report.partitions:,} partitions, {report.rows:,} rows"),
        ("planted", "\n".join(report.remarks)),
        ("next", _next_commands(workload, report)),
    ]
    print_pairs(f"Samples of {workload} in {store_url}", pairs)


def _next_commands(workload: str, report: SampleReport) -> str:
    """The commands that come after the samples: training on their span, where there is one, and a
    backfill.
    """
    first, end = report.facts.get("train_from"), report.facts.get("train_to")
    train = f"fleetscore train {workload} --from {first} --to {end}\n" if first and end else ""
    return f"{train}fleetscore backfill {workload} --from {report.first.key} --to {report.stop.key}"


@click.command(short_help="Judge a workload's way of training on the past.")
@WORKLOAD
@click.option(
    "--cutoffs",
    type=click.IntRange(1, 200),
    default=4,
    show_default=True,
    help="How many pasts to forecast from.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("backtest"),
    show_default=True,
    help="Where plots go.",
)
@store_option
@json_option
def backtest(workload: str, cutoffs: int, folder: Path, store_url: str, as_json: bool) -> None:
    """Judge a workload's way of training on the past: train before each cutoff, score after it, compare
    with what came.
    """
    from fleetscore.cli.render import print_json
    from fleetscore.cli.values import print_values
    from fleetscore.fleet.store_fleet import Fleet

    judged = Fleet(store_url).backtest(workload, cutoffs, folder)
    if as_json:
        print_json(judged)
    else:
        print_values(f"Backtest of {workload} over {cutoffs} cutoffs", judged)


@click.command(short_help="Draw published results as SVG pictures.")
@WORKLOAD
@click.option(
    "--window",
    "windows",
    multiple=True,
    help="A published window; may be given many times. [default: the newest]",
)
@click.option(
    "--partition",
    "partitions",
    multiple=True,
    metavar="KEY",
    help="Draw this partition; may be given many times.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("pictures"),
    show_default=True,
    help="Where the SVG files go.",
)
@store_option
@json_option
def draw(
    workload: str, windows: tuple[str, ...], partitions: tuple[str, ...], folder: Path, store_url: str, as_json: bool
) -> None:  # fmt: skip
    """Draw published results as the dashboard does, as SVG pictures."""
    from fleetscore.cli.render import print_json
    from fleetscore.fleet.store_fleet import Fleet

    pictures = [str(path) for path in Fleet(store_url).draw(workload, windows, folder, partitions)]
    if as_json:
        print_json({"pictures": pictures})
    else:
        say("\n".join(pictures))
