"""The replay command: one partition scored again, and compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fleetscore.cli.options import asking_options, named_partition, run_and_partition

if TYPE_CHECKING:
    from fleetscore.fleet import FleetBase
    from fleetscore.operations.replay import Replayed

_DIFFERS = 10


@click.command(short_help="Score one partition of a run again, and compare.")
@run_and_partition
@asking_options
@click.pass_context
def replay(
    context: click.Context,
    words: tuple[str, ...],
    fleet: FleetBase,
    as_json: bool,
) -> None:
    """Score one partition of a run again from the same bytes and the same model version, and compare;
    nothing is written.

    Exit code: 0 if outcome, cause and every row are the same, 10 if anything differs.
    """
    from fleetscore.cli.render import print_json, print_pairs

    replayed = fleet.replay(*named_partition(fleet, words))
    if as_json:
        print_json(replayed)
    else:
        print_pairs(f"{replayed.partition} of {replayed.run}, again", format_replayed(replayed))
    context.exit(0 if replayed.same else _DIFFERS)


def format_replayed(replayed: Replayed) -> list[tuple[str, Any]]:
    """The comparison as lines of name and value."""
    outcome = f"{replayed.outcome} {replayed.cause}".strip()
    before = f"{replayed.outcome_before} {replayed.cause_before}".strip()
    return [
        ("result", "the same" if replayed.same else "\n".join(replayed.differences)),
        ("outcome", outcome if outcome == before else f"{outcome}, was {before}"),
        ("rows", f"{replayed.rows:,}, were {replayed.rows_before:,}"),
        ("model", replayed.model),
        ("inputs", _format_inputs(replayed.changed_inputs)),
        ("took", f"{replayed.seconds:.3f} s"),
    ]


def _format_inputs(changed: tuple[str, ...]) -> str:
    return "the bytes that the run read" if not changed else "changed since: " + ", ".join(changed[:5])
