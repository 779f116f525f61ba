"""A run's page, the page of partitions that were looked for, and a log, as HTML."""

from __future__ import annotations

import re
from datetime import datetime

from fleetscore.dashboard.components import (
    card,
    chip,
    facts,
    figures,
    outcome_bar,
    outcome_chip,
    search,
    table,
)
from fleetscore.dashboard.formatting import (
    format_age,
    format_bytes,
    format_cost,
    format_count,
    format_fact,
    format_moment,
    format_seconds,
    format_short,
)
from fleetscore.dashboard.links import Links
from fleetscore.dashboard.markup import Child, Markup, join, tag
from fleetscore.dashboard.page import Body
from fleetscore.dashboard.run_view import LogView, Matches, RunView
from fleetscore.dashboard.timeline_drawing import draw_timeline, extremes
from fleetscore.operations.attention.states import SIGNS, Mark, mark_of
from fleetscore.records import GOOD, Cause, Outcome, RunRecord, RunState, count_bad, is_idle
from fleetscore.requesters import format_starter
from fleetscore.runs.index import line_of
from fleetscore.runs.timeline import Timeline
from fleetscore.store.paths import run_path

_LOG_NAMED = re.compile(r"logs/[\w.-]+")
_VERDICTS = {"good": Mark.GOOD, "with_failures": Mark.FAILURES, "unpublished": Mark.UNPUBLISHED}
_BY_STATE = {RunState.FAILED: Mark.FAILED, RunState.CANCELLED: Mark.CANCELLED}


def show_run(view: RunView, links: Links, now: datetime) -> Body:
    """How a run stands or ended, why, when, and where to look further."""
    record = view.status.record
    run, workload = record.request.run, record.request.workload
    trained = "" if record.request.purpose == "score" else f" to {record.request.stop}"
    content = join(
        tag("div", tag("p", f"{workload} · {record.request.purpose} · {record.request.window}{trained}", class_="quiet"), tag("h1", run)),
        card("Outcomes", _error(record), _outcomes(view), aside=_state(view)),
        card("Causes", _causes(record, links), search(links, {"run": run})) if record.partitions else None,
        card("Shards over time", _timeline(view, now), _extremes(view.timeline, run, links)),
        card("About this run", _about(view, links, now)),
    )  # fmt: skip
    return Body(
        run, content, [(workload, links.workload(workload)), (record.request.window, "")], view.is_live
    )


def show_matches(view: Matches, links: Links) -> Body:
    """The partitions that were looked for: how many, and the first of them."""
    sought = " ".join(
        part for part in (view.outcome, view.cause, f"with “{view.text}”" if view.text else "") if part
    )
    hidden = {"run": view.run, "outcome": view.outcome, "cause": view.cause}
    rows = [
        (tag("a", m.partition, href=links.story(view.run, m.partition)), outcome_chip(m.outcome), m.cause, m.detail, format_count(m.rows))
        for m in view.first
    ]  # fmt: skip
    body = table(("partition*", "outcome", "cause", "detail*?", "rows#"), rows) if rows else None
    shown = (
        f", the first {len(rows)} are shown: narrow the search to see others"
        if view.found > len(rows)
        else ""
    )
    content = join(
        tag("h1", f"Partitions {sought}".strip()),
        card(
            f"{view.found:,} of {view.of:,} partitions",
            tag("p", f"Sorted by key{shown}.", class_="quiet") if rows else None,
            search(links, {k: v for k, v in hidden.items() if v}, view.text),
            body,
        ),
    )
    trail = [
        (view.workload, links.workload(view.workload)),
        (view.window, links.run(view.run)),
        ("partitions", ""),
    ]
    return Body("Partitions", content, trail)


def show_log(view: LogView, links: Links) -> Body:
    """The end of a log."""
    name = view.path.rsplit("/", 1)[1]
    left = f"the last {format_bytes(len(view.text))} of " if len(view.text) < view.size_bytes else ""
    content = join(
        tag("h1", name),
        card("Log", tag("p", f"{view.path}: {left}{format_bytes(view.size_bytes)}", class_="quiet"), tag("pre", view.text)),
    )  # fmt: skip
    return Body(name, content, [(view.run, links.run(view.run)), (name, "")])


def _state(view: RunView) -> Markup:
    """Where the run stands; a cancellation that has not been seen yet is shown as well."""
    record = view.status.record
    if view.is_live:
        words = "cancelling" if view.is_cancelled else str(record.state)
        return tag("span", f"{SIGNS[Mark.UNDERWAY]} {words}", class_="chip underway")
    mark = _BY_STATE.get(record.state) or _VERDICTS[view.status.verdict]
    told_apart = mark is Mark.FAILURES or is_idle(record)  # late from failed, idle from good
    return chip(mark_of(line_of(record)) if told_apart else mark)


def _error(record: RunRecord) -> Markup | None:
    return tag("p", record.error, class_="advice") if record.error else None


def _outcomes(view: RunView) -> Markup:
    record = view.status.record
    bar = outcome_bar(view.counts, record.partitions) if record.partitions else None
    untold = view.is_live and any(
        bar.state == "committed" and bar.counts is None for bar in view.timeline.bars
    )
    note = "Committed partitions count as scored until the ledger exists." if untold else ""
    return join(figures(_figures(view)), bar, tag("p", note, class_="quiet small") if note else None)


def _figures(view: RunView) -> list[tuple[str, Child, str]]:
    record = view.status.record
    bad = count_bad(view.counts)
    pairs: list[tuple[str, Child, str]] = [("partitions", format_count(record.partitions), "expected")]
    pairs += _moving(view, bad) if view.is_live else _ended(view, bad)
    if view.partitions_per_s:
        rows = (
            f"partitions; {format_short(view.rows_per_s)} input rows/s" if view.rows_per_s else "partitions"
        )
        pairs.append(("throughput", f"{format_short(view.partitions_per_s)}/s", rows))
    if record.measured_s:
        predicted = f"predicted {format_seconds(record.predicted_s)}"
        pairs.append(("work on a core", format_seconds(record.measured_s), predicted))
    cost = record.facts.get("cost_usd")
    if isinstance(cost, int | float):
        predicted_usd = record.facts.get("predicted_usd")
        cost_text = (
            f"predicted {format_cost(predicted_usd)}" if isinstance(predicted_usd, int | float) else ""
        )
        pairs.append(("cost", format_cost(cost), cost_text))
    return pairs


def _moving(view: RunView, bad: int) -> list[tuple[str, Child, str]]:
    status = view.status
    eta = status.eta_s
    return [
        ("done", format_count(status.partitions_done), f"{status.shards_done} of {status.shards} shards"),
        ("not good", format_count(bad), "so far"),
        ("time left", "–" if eta is None else format_seconds(eta), "not known yet" if eta is None else "if it goes on so"),
        ("elapsed", format_seconds(status.elapsed_s), ""),
    ]  # fmt: skip


def _ended(view: RunView, bad: int) -> list[tuple[str, Child, str]]:
    record = view.status.record
    return [
        ("not good", format_count(bad), ""),
        ("rows published" if record.manifest else "rows", format_short(record.rows), ""),
        ("took", format_seconds(view.status.elapsed_s), "from request to end"),
    ]


def _causes(record: RunRecord, links: Links) -> Markup:
    if not record.causes:
        note = (
            "The causes are known when the run is collected."
            if record.ended is None
            else "None: every partition is good."
        )
        return tag("p", note, class_="quiet")
    run = record.request.run
    bad_first = sorted(record.causes, key=lambda cause: cause.outcome in GOOD)
    rows = [
        (
            outcome_chip(cause.outcome),
            tag("a", cause.cause or "–", href=links.matches(run, outcome=cause.outcome, cause=cause.cause)),
            format_count(cause.partitions),
            tag("a", cause.example, href=links.story(run, cause.example)),
            _detail(cause, run, links),
        )
        for cause in bad_first
    ]
    return table(("outcome", "cause", "partitions#", "first*", "what happened to it*"), rows)


def _detail(cause: Cause, run: str, links: Links) -> Markup:
    """The detail, with the logs of the run that it names as links."""
    parts: list[Child] = []
    at = 0
    for found in _LOG_NAMED.finditer(cause.detail):
        name = found[0].rstrip(".")
        parts += [cause.detail[at : found.start()], tag("a", name, href=links.log(run, run_path(run, name)))]
        at = found.start() + len(name)
    return join(parts, cause.detail[at:])


def _timeline(view: RunView, now: datetime) -> Markup:
    record = view.status.record
    if record.partitions and not view.timeline.bars:
        return tag("p", "No shard: every partition was settled when the run was planned.", class_="quiet")
    return draw_timeline(view.timeline, now)


def _extremes(timeline: Timeline, run: str, links: Links) -> Markup | None:
    bars = extremes(timeline)
    if not bars:
        return None
    rows = [
        (
            f"{bar.shard}", bar.placement, bar.state, format_count(bar.partitions),
            format_count(bar.bad) if bar.counts is not None else "", format_seconds(bar.seconds) if bar.seconds is not None else "",
            f"{bar.attempts}", tag("a", "log", href=links.log(run, bar.log)) if bar.log else "",
        )
        for bar in bars
    ]  # fmt: skip
    columns = ("shard#", "placed", "state", "partitions#", "not good#", "took#", "attempts#", "")
    title = tag("summary", "Shards that stand out: lost, with failures, retried, slowest")
    return tag("details", title, table(columns, rows), id="extremes")


def _input(record: RunRecord) -> str | None:
    """The rows of the input; a training that did not train all knows them as estimates only."""
    if not record.input_rows:
        return None
    is_estimate = record.request.purpose == "train" and set(record.counts) - {Outcome.SCORED}
    return f"about {record.input_rows:,} rows" if is_estimate else f"{record.input_rows:,} rows"


def _about(view: RunView, links: Links, now: datetime) -> Markup:
    record, request = view.status.record, view.status.record.request
    rounds: list[Child] = []
    if view.previous_round:
        rounds += ["builds on ", tag("a", view.previous_round, href=links.run(view.previous_round)), " "]
    if view.next_round:
        rounds += ["followed by ", tag("a", view.next_round, href=links.run(view.next_round))]
    published = record.state is RunState.PUBLISHED and request.purpose == "score"
    results = links.results(request.workload, request.window)
    known = {"cost_usd", "predicted_usd"}
    return facts(
        [
            ("results", tag("a", "drawn", href=results) if published else None),
            ("requested", f"{format_moment(request.requested)} by {format_starter(request.who)}, {format_age(request.requested, now)}"),
            ("ended", format_moment(record.ended) if record.ended else None),
            ("rounds", rounds or None),
            ("scored again" if request.previous else "only", request.scope or None),
            ("models", ", ".join(f"{v or 'none'} ({n:,})" for v, n in record.models.items()) or None),
            ("model set made", record.model_set or None),
            ("input", _input(record)),
            ("facts", ", ".join(f"{k}: {format_fact(k, v)}" for k, v in record.facts.items() if k not in known) or None),
            ("remarks", [tag("p", remark) for remark in record.remarks] or None),
            ("manifest", tag("code", record.manifest) if record.manifest else None),
            ("ledger", tag("code", view.status.links["ledger"]) if "ledger" in view.status.links else None),
            ("logs", [join(tag("a", path.rsplit("/", 1)[1], href=links.log(request.run, path)), " ") for path in view.logs] or None),
        ]
    )  # fmt: skip
