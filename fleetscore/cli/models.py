"""Commands about model sets: import-models, and models list, show, pin, unpin, promote, rollback,
challenge, judge, verdicts, verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from fleetscore.cli.models_copy import copy
from fleetscore.cli.options import (
    WORKLOAD,
    asking_options,
    from_option,
    to_option,
)
from fleetscore.cli.text import say
from fleetscore.requesters import format_name

if TYPE_CHECKING:
    from fleetscore.fleet import FleetBase
    from fleetscore.models.model_sets import ModelSet
    from fleetscore.models.pins import Pins
    from fleetscore.models.report import ModelSets
    from fleetscore.operations.champions.verdict_report import VerdictReport
    from fleetscore.operations.champions.verdicts import Verdict

_REFUSALS_SHOWN = 20
_WHY = click.option("--why", default="", metavar="TEXT", help="The reason, kept in the history of pins.")


@click.group()
def models() -> None:
    """List, show, pin, challenge and judge model sets."""


models.add_command(copy)


@models.command(name="list")
@WORKLOAD
@asking_options
def list_sets(workload: str, fleet: FleetBase, as_json: bool) -> None:
    """List the model sets of a workload, oldest first."""
    from fleetscore.cli.render import print_json

    found = fleet.models(workload).list_sets()
    print_json(found) if as_json else _print_sets(workload, found)


@models.command(short_help="Show the model card of VERSION, and who pinned it.")
@WORKLOAD
@click.argument("version", default="")
@asking_options
def show(workload: str, version: str, fleet: FleetBase, as_json: bool) -> None:
    """Show the model card of VERSION, by default the current one, and the history of pins."""
    from fleetscore.cli.render import print_json

    shown = fleet.models(workload).show_set(version)
    if as_json:
        print_json(shown)
    else:
        print_set(shown.set, is_current=shown.set.version == shown.pins.current)
        _print_history(shown.pins)


@models.command(short_help="Score with VERSION everywhere, or for one partition or model key.")
@WORKLOAD
@click.argument("version")
@click.option("--partition", default="", metavar="KEY", help="Only for this partition.")
@click.option(
    "--model-key", default="", metavar="KEY", help="Only for the partitions that this model key scores."
)
@_WHY
@asking_options
def pin(
    workload: str, version: str, partition: str, model_key: str, why: str, fleet: FleetBase, as_json: bool
) -> None:  # fmt: skip
    """Score with VERSION from now on, everywhere, for one partition, or for one model key of a workload of
    kind models. A partition's own pin wins over that of its key.
    """
    pins = fleet.models(workload).pin(version, partition, why, key=model_key)
    _print_pins(workload, partition, pins, as_json, model_key)


@models.command(short_help="Score a partition or model key with the current set again.")
@WORKLOAD
@click.option("--partition", default="", metavar="KEY", help="The partition that gets the current set again.")
@click.option("--model-key", default="", metavar="KEY", help="The model key that gets the current set again.")
@_WHY
@asking_options
def unpin(
    workload: str, partition: str, model_key: str, why: str, fleet: FleetBase, as_json: bool
) -> None:  # fmt: skip
    """Score one partition, or those of one model key, with the current set again."""
    if bool(partition) == bool(model_key):
        raise click.UsageError("Give --partition, or --model-key.")
    pins = fleet.models(workload).pin("", partition, why, key=model_key)
    _print_pins(workload, partition, pins, as_json, model_key)


@models.command(short_help="Make a set the current one.")
@WORKLOAD
@click.argument("version", default="")
@click.option(
    "--where",
    type=click.Choice(["better"]),
    help="Only for the partitions whose newest verdict is better beyond noise.",
)
@_WHY
@asking_options
def promote(
    workload: str, version: str, where: str | None, why: str, fleet: FleetBase, as_json: bool
) -> None:  # fmt: skip
    """Make VERSION, by default the challenger, else the newest set, the current one; its last verdict goes
    on record.

    With --where better it scores only the partitions for which its newest verdict finds it better beyond
    noise: over three windows at least, by more than 1 % and by more than the differences between windows
    explain (95 %).
    """
    pins = fleet.models(workload).promote(version, why, where=where or "")
    if where and not as_json:
        change = pins.history[-1]
        say(
            f"{workload}: {change.after} scores {len(change.partitions):,} partitions; {pins.current} is current"
        )
        return
    _print_pins(workload, "", pins, as_json)


@models.command(short_help="Return to the set that was current before.")
@WORKLOAD
@_WHY
@asking_options
def rollback(workload: str, why: str, fleet: FleetBase, as_json: bool) -> None:
    """Return to the set that was current before the current one; twice goes back twice."""
    _print_pins(workload, "", fleet.models(workload).roll_back(why), as_json)


@models.command(short_help="Let VERSION score in shadow.")
@WORKLOAD
@click.argument("version", default="")
@click.option("--stop", is_flag=True, help="No challenger from now on.")
@_WHY
@asking_options
def challenge(
    workload: str, version: str, stop: bool, why: str, fleet: FleetBase, as_json: bool
) -> None:  # fmt: skip
    """Let VERSION score in shadow from the next run on: the same input, in the same runs, never published."""
    from fleetscore.cli.render import print_json

    if stop == bool(version):
        raise click.UsageError("Name a VERSION, or give --stop.")
    pins = fleet.models(workload).challenge(version, why)
    if as_json:
        print_json(pins)
    else:
        say(f"{workload}: {pins.challenger or 'no version'} challenges {pins.current or 'no version'}")


@models.command(short_help="Judge the challenger on what really came.")
@WORKLOAD
@from_option
@to_option
@click.option("--version", default="", help="A former challenger instead of the present one.")
@asking_options
def judge(
    workload: str, first: str, end: str, version: str, fleet: FleetBase, as_json: bool
) -> None:  # fmt: skip
    """Compare the challenger with what was published in the windows [from, to), where actuals have come,
    and keep the verdict.
    """
    from fleetscore.cli.render import print_json

    verdict = fleet.models(workload).judge(first, end, version)
    print_json(verdict) if as_json else _print_verdict(verdict)


@models.command(short_help="List the kept verdicts, newest first.")
@WORKLOAD
@asking_options
def verdicts(workload: str, fleet: FleetBase, as_json: bool) -> None:
    """List the kept verdicts on challengers, newest first."""
    from fleetscore.cli.render import print_json

    kept = fleet.models(workload).list_verdicts()
    print_json(kept) if as_json else _print_verdicts(kept)


@models.command(name="verdict", short_help="Show a verdict by partition.")
@WORKLOAD
@click.argument("verdict_id", metavar="[VERDICT]", default="")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@asking_options
def show_verdict(workload: str, verdict_id: str, limit: int, fleet: FleetBase, as_json: bool) -> None:
    """Show VERDICT, by default the newest, with the partitions where the challenger does worst."""
    from fleetscore.cli.render import print_json

    report = fleet.models(workload).show_verdict(verdict_id, limit)
    print_json(report) if as_json else _print_report(report)


def _print_pins(workload: str, partition: str, pins: Pins, as_json: bool, model_key: str = "") -> None:
    from fleetscore.cli.render import print_json

    if as_json:
        print_json(pins)
    elif model_key:
        say(
            f"{workload} model key {model_key}: {pins.keys.get(model_key) or 'the current set, as all others'}"
        )
    elif partition:
        pinned = pins.partitions.get(partition, "")
        say(f"{workload} {partition}: {pinned or 'the current set, as all others'}")
    else:
        say(f"{workload}: {pins.current} is current")


def _print_sets(workload: str, found: ModelSets) -> None:
    from fleetscore.cli.render import print_table

    if not found.sets:
        say(
            f"{workload} has no model set yet. Train one (fleetscore train) or import one (fleetscore import-models)."
        )
        return
    rows = [
        (s.version, f"{s.created:%Y-%m-%d %H:%M:%S}", f"{_size(s):,}", _format_pins(found, s.version))
        for s in found.sets
    ]
    print_table(("version", "created", "bytes", "pinned"), rows, numbers=("bytes",))


def _print_verdicts(kept: Sequence[Verdict]) -> None:
    from fleetscore.cli.render import print_table

    rows = [
        (f"{v.at:%Y-%m-%d %H:%M:%S}", v.challenger, f"{v.change:+.1%}", f"{v.cases:,}", "promote" if v.promote else "keep", v.reason)
        for v in kept
    ]  # fmt: skip
    print_table(("when", "challenger", "loss", "cases", "verdict", "why"), rows, numbers=("loss", "cases"))


def _print_report(report: VerdictReport) -> None:
    from fleetscore.cli.render import print_table

    _print_verdict(report.verdict)
    rows = [
        (
            p.partition,
            f"{p.champion:.6g}",
            f"{p.challenger:.6g}",
            f"{p.cases:,}",
            p.better,
            "yes" if p.certain else "no",
        )
        for p in report.partitions
    ]
    columns = ("partition", "champion", "challenger", "cases", "better", "beyond noise")
    print_table(columns, rows, numbers=("champion", "challenger", "cases"))


def _print_verdict(verdict: Verdict) -> None:
    from fleetscore.cli.render import format_counts, print_pairs

    advice = "promote" if verdict.promote else "keep the champion"
    print_pairs(
        f"{verdict.challenger} against {verdict.champion} of {verdict.workload}: {advice}",
        [
            ("why", verdict.reason),
            (
                "loss",
                f"{verdict.challenger_loss:.6g} against {verdict.champion_loss:.6g} ({verdict.change:+.1%})",
            ),
            ("measured", verdict.loss),
            (
                "cases",
                f"{verdict.cases:,} of {verdict.partitions:,} partitions in {len(verdict.windows):,} windows",
            ),
            ("better", format_counts(verdict.wins)),
            ("by partition", verdict.table),
            (
                "next",
                f"fleetscore models promote {verdict.workload} {verdict.challenger}"
                if verdict.promote
                else "",
            ),
        ],
    )


def _size(model_set: ModelSet) -> int:
    return sum(file.size_bytes for file in model_set.files.values())


def _format_pins(pins: ModelSets, version: str) -> str:
    partitions = sum(pinned == version for pinned in pins.partitions.values())
    keys = sorted(key for key, pinned in pins.keys.items() if pinned == version)
    parts: Sequence[str] = [
        *(["current"] if pins.current == version else []),
        *(["challenger"] if pins.challenger == version else []),
        *([f"{partitions} partitions"] if partitions else []),
        *([f"model keys {', '.join(keys[:3])}{' and more' if len(keys) > 3 else ''}"] if keys else []),
    ]
    return ", ".join(parts)


def print_set(model_set: ModelSet, *, is_current: bool) -> None:
    """Print a model set with its card: rows of the card, such as its candidates, as tables."""
    from fleetscore.cli.values import print_values

    title = f"{model_set.workload} {model_set.version}" + (" (current)" if is_current else "")
    files = f"{len(model_set.files)}, {_size(model_set):,} bytes"
    values: dict[str, object] = {"created": f"{model_set.created:%Y-%m-%d %H:%M:%S}", "files": files}
    made = model_set.origin
    if made:
        by = f"{format_name(made.requested_by)}, {made.copied:%Y-%m-%d %H:%M:%S}"
        values["copied"] = f"from {made.store} by {by}"
    print_values(title, values | dict(model_set.card))


def _print_history(pins: Pins, most: int = 10) -> None:
    from fleetscore.cli.render import print_table

    rows = [
        (
            f"{c.at:%Y-%m-%d %H:%M:%S}",
            format_name(c.who),
            (f"model key {c.partition}" if c.unit == "key" else c.partition)
            or (f"{len(c.partitions):,} partitions" if c.partitions else "")
            or ("challenger" if c.role == "challenger" else "current"),
            c.before or "none",
            c.after or "none",
            c.why,
        )
        for c in reversed(pins.history[-most:])
    ]
    if rows:
        print_table(("when", "who", "pin", "before", "after", "why"), rows)
