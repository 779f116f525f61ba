"""Commands of a workload's own: samples, backtest, draw."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from fleetscore.cli.options import WORKLOAD, announce_new, json_option, store_option
from fleetscore.cli.text import say

_MOST_ROWS = 20


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
    announce_new(fleet)
    write = fleet.capture_samples if form == "capture" else fleet.samples
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
        ("next", f"fleetscore backfill {workload} --from {report.first.key} --to {report.stop.key}"),
    ]
    print_pairs(f"Samples of {workload} in {store_url}", pairs)


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
    from fleetscore.fleet.store_fleet import Fleet

    judged = Fleet(store_url).backtest(workload, cutoffs, folder)
    if as_json:
        print_json(judged)
    else:
        _print_judged(f"Backtest of {workload} over {cutoffs} cutoffs", judged)


@click.command()
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


def _print_judged(title: str, judged: Mapping[str, Any]) -> None:
    """Print what a backtest found: rows as tables, the rest as names and values."""
    from fleetscore.cli.render import format_value, print_pairs, print_table

    tables = {name: rows for name, value in judged.items() if (rows := table_rows(value))}
    print_pairs(title, [(name, format_value(value)) for name, value in judged.items() if name not in tables])
    for name, rows in tables.items():
        click.echo(click.style(f"\n{name.replace('_', ' ')}", bold=True))
        columns = list(rows[0])
        shown = [[format_value(row.get(column, "")) for column in columns] for row in rows[:_MOST_ROWS]]
        print_table(columns, shown, numbers=columns[1:])
        if len(rows) > _MOST_ROWS:
            say(f"and {len(rows) - _MOST_ROWS} more; --json lists all")


def table_rows(value: Any) -> list[Mapping[str, Any]]:
    """The rows of a value that is a table: a list of mappings, or a mapping of them by name; [] for
    anything else.

    >>> table_rows({"1": {"loss": 0.5}, "2": {"loss": 0.4}})
    [{'': '1', 'loss': 0.5}, {'': '2', 'loss': 0.4}]
    """
    if isinstance(value, Mapping):
        rows: list[Mapping[str, Any]] = [
            {"": name, **row} for name, row in value.items() if isinstance(row, Mapping)
        ]
        return rows if len(rows) == len(value) else []
    is_list = isinstance(value, list | tuple) and all(isinstance(row, Mapping) for row in value)
    return list(value) if is_list else []
