"""The history of a partition as HTML: what was found, which attempt scored it with which model, the
outcome, and what to do next.
"""

from __future__ import annotations

from fleetscore.dashboard.components import card, facts, outcome_chip, table
from fleetscore.dashboard.formatting import format_bytes, format_many, format_moment, format_seconds
from fleetscore.dashboard.links import Links
from fleetscore.dashboard.markup import Child, Markup, join, tag
from fleetscore.dashboard.page import Body
from fleetscore.operations.explain import AttemptStory, PartitionStory
from fleetscore.store.paths import run_path


def show_story(story: PartitionStory, links: Links) -> Body:
    """All that the store holds on one partition of one run."""
    content = join(
        tag(
            "div", tag("p", f"{story.workload} · {story.window}", class_="quiet"), tag("h1", story.partition)
        ),
        card("What came of it", _outcome(story, links), aside=outcome_chip(story.outcome)),
        tag("div", card("Input", _input(story)), card("Model", _model(story)), class_="two"),
        card("Where it was scored", _shard(story, links), _attempts(story, links)),
    )
    trail = [
        (story.workload, links.workload(story.workload)),
        (story.window, links.run(story.run)),
        (story.partition, ""),
    ]
    return Body(story.partition, content, trail)


def _outcome(story: PartitionStory, links: Links) -> Markup:
    output = story.output
    drawn = links.results(story.workload, story.window, [story.partition])
    causes = story.causes or ((story.cause,) if story.cause else ())
    alike = [
        tag("a", cause, href=links.matches(story.run, outcome=story.outcome, cause=cause)) for cause in causes
    ]
    where: list[Child] = []
    if output.file and output.is_published:
        where.append(tag("a", f"{output.rows:,} rows, drawn", href=drawn))
    elif output.file:
        where.append(f"{output.rows:,} rows, not published")
    facts_of_outcome = facts(
        [
            ("cause" if len(alike) == 1 else "causes", [join(", " if at else "", each) for at, each in enumerate(alike)] or None),
            ("detail", story.detail or None),
            ("results", where or None),
            ("file", tag("code", output.file) if output.file else None),
            ("kept from", tag("a", story.scored_by, href=links.run(story.scored_by)) if story.scored_by != story.run else None),
        ]
    )  # fmt: skip
    return join(
        facts_of_outcome,
        tag("p", tag("b", "Next: "), story.advice, class_="advice") if story.advice else None,
    )


def _input(story: PartitionStory) -> Markup:
    found = story.input
    files = [tag("li", tag("code", file.path), f" ({format_bytes(file.size_bytes)})") for file in found.files]
    more = found.files_in_all - len(found.files)
    facts_of_input = facts(
        [
            ("rows", f"{'about ' * found.is_estimate}{found.rows:,}"),
            ("size", format_bytes(found.size_bytes) if found.size_bytes else None),
        ]
    )
    if not files:
        return facts_of_input
    title = tag("summary", f"{format_many(found.files_in_all, 'input file')} of the window")
    return join(
        facts_of_input,
        tag(
            "details",
            title,
            tag("ul", files, tag("li", f"and {more} more") if more > 0 else None),
            id="inputs",
        ),
    )


def _model(story: PartitionStory) -> Markup:
    model = story.model
    if not model.version:
        return tag("p", "No model.", class_="quiet")
    return facts(
        [
            ("version", tag("code", model.version)),
            ("model key", join(tag("code", repr(key)) for key in model.keys) if model.keys else None),
            ("made", format_moment(model.created) if model.created else None),
            ("chosen", {"current": "as the current model set"}.get(model.pinned, model.pinned) or None),
            ("problem", model.problem or None),
        ]
    )


def _shard(story: PartitionStory, links: Links) -> Markup:
    shard = story.shard
    if shard is None:
        return tag("p", "In no shard: discovery settled it.", class_="quiet")
    run = tag("a", story.scored_by, href=links.run(story.scored_by))
    took = format_seconds(shard.measured_s) if shard.measured_s is not None else "not committed"
    return facts(
        [
            ("shard", join(f"{shard.shard} of ", run, f", with {shard.partitions:,} partitions")),
            ("placed", f"{shard.placement}: {shard.reason}"),
            ("took", f"{took}, predicted {format_seconds(shard.predicted_s)}"),
        ]
    )  # fmt: skip


def _attempts(story: PartitionStory, links: Links) -> Markup | None:
    if not story.attempts:
        return None
    rows = [_attempt(attempt, story, links) for attempt in story.attempts]
    return join(
        tag("h3", "Attempts"), table(("attempt", "what became of it", "began?", "took#", "worker?", ""), rows)
    )


def _attempt(attempt: AttemptStory, story: PartitionStory, links: Links) -> tuple[Child, ...]:
    mine = attempt.log.startswith(run_path(story.scored_by, ""))
    log = tag("a", "log", href=links.log(story.scored_by, attempt.log)) if mine else attempt.log
    took = format_seconds(attempt.seconds) if attempt.seconds else ""
    return (
        tag("code", attempt.attempt),
        attempt.state,
        format_moment(attempt.began),
        took,
        attempt.worker,
        log,
    )
