"""The explain command: the story of one partition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fleetscore.cli.options import asking_options, named_partition, run_and_partition
from fleetscore.cli.progress import format_seconds

if TYPE_CHECKING:
    from fleetscore.fleet import FleetBase
    from fleetscore.operations.explain import AttemptStory, PartitionStory


@click.command(short_help="Show the story of one partition of a run.")
@run_and_partition
@asking_options
def explain(words: tuple[str, ...], fleet: FleetBase, as_json: bool) -> None:
    """Show the story of one partition in one run: input, shard, attempts, model, output, outcome, cause,
    what to do next.

    The run is named by its id, or as WORKLOAD WINDOW, which means the newest run of the window.
    """
    from fleetscore.cli.render import print_json, print_pairs

    story = fleet.explain(*named_partition(fleet, words))
    if as_json:
        print_json(story)
    else:
        print_pairs(f"{story.partition} in {story.run}", format_story(story))


def format_story(story: PartitionStory) -> list[tuple[str, Any]]:
    """The story as lines of name and value, in the order in which it happened."""
    return [
        (
            "outcome",
            f"{', '.join([story.outcome or 'not settled', *(story.causes or [story.cause] * bool(story.cause))])} (run {story.state})",
        ),
        ("detail", story.detail),
        ("input", _format_input(story)),
        ("shard", _format_shard(story)),
        ("attempts", "\n".join(_describe_attempt(attempt) for attempt in story.attempts)),
        ("model", _format_model(story)),
        ("output", _format_output(story)),
        ("figures", _format_figures(story)),
        ("settled by", story.scored_by if story.scored_by != story.run else ""),
        ("next", story.advice),
    ]


def _format_input(story: PartitionStory) -> str:
    found = story.input
    size = f", {found.size_bytes:,} bytes" if found.size_bytes else ""
    rows = f"about {found.rows:,}" if found.is_estimate else f"{found.rows:,}"
    if not found.files:
        return f"{rows} rows{size}; the window has no input file"
    names = [f"{file.path} ({file.size_bytes:,} bytes)" for file in found.files[:5]]
    more = [f"and {found.files_in_all - 5} more files"] if found.files_in_all > 5 else []
    return "\n".join([f"{rows} rows{size}, in the window's files:", *names, *more])


def _format_shard(story: PartitionStory) -> str:
    shard = story.shard
    if shard is None:
        return "none: its outcome was settled before scoring"
    took = f", took {format_seconds(shard.measured_s)}" if shard.measured_s is not None else ""
    reason = f" ({shard.reason})" if shard.reason else ""
    predicted = format_seconds(shard.predicted_s)
    return f"number {shard.shard}, with {shard.partitions:,} partitions, {shard.placement}{reason}, predicted {predicted}{took}"


def _describe_attempt(attempt: AttemptStory) -> str:
    began = f"{attempt.began:%Y-%m-%d %H:%M:%S} {attempt.attempt} {attempt.state}"
    if attempt.state == "committed":
        where = f" on {attempt.worker}" if attempt.worker else ""
        return f"{began}: {attempt.placement}{where}, {format_seconds(attempt.seconds)}"
    if attempt.state == "beaten":
        return f"{began}: another attempt was committed first"
    group = f" while scoring {attempt.group:,} partitions together" if attempt.group else ""
    among = ", this one among them" if attempt.group and attempt.has_partition else ""
    return f"{began}: last seen at {attempt.touched:%H:%M:%S}{group}{among}"


def _format_model(story: PartitionStory) -> str:
    model = story.model
    if not model.version:
        return "none"
    pinned = f", pinned {model.pinned}" if model.pinned else ""
    keys = f", model key {', '.join(map(repr, model.keys))}" if model.keys else ""
    return f"{model.version}{pinned}{keys}" + (f"\n{model.problem}" if model.problem else "")


def _format_output(story: PartitionStory) -> str:
    output = story.output
    if not output.file:
        return "no rows"
    state = "" if output.is_published else " (not published)"
    digest = f"\nSHA-256 {output.sha256}" if output.sha256 else ""
    return f"{output.rows:,} rows in {output.file}{state}{digest}"


def _format_figures(story: PartitionStory) -> str:
    return ", ".join(
        f"{name} {'none' if value is None else f'{value:.6g}'}" for name, value in story.figures.items()
    )
