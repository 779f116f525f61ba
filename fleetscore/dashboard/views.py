"""Which view a request names: its data, and the page that shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fleetscore.dashboard.anomalies_page import show_anomalies
from fleetscore.dashboard.links import Links
from fleetscore.dashboard.markup import join, tag
from fleetscore.dashboard.overview_page import show_overview, show_workload
from fleetscore.dashboard.page import Body, render_page
from fleetscore.dashboard.results_page import show_results
from fleetscore.dashboard.results_view import ResultsView, read_results_view
from fleetscore.dashboard.run_page import show_log, show_matches, show_run
from fleetscore.dashboard.run_view import find_partitions, read_log, read_run_view
from fleetscore.dashboard.story_page import show_story
from fleetscore.errors import FleetscoreError, InputError
from fleetscore.operations.anomalies import list_anomalies
from fleetscore.operations.attention.overview import read_overview, read_workload_page
from fleetscore.operations.explain import explain
from fleetscore.pipeline.spellings import key_in_run
from fleetscore.store.base import Store

PARAMETERS = (
    "code",
    "format",
    "view",
    "workload",
    "window",
    "before",
    "run",
    "partition",
    "find",
    "outcome",
    "cause",
    "log",
    "since",
    "device",
)
FORMATS = ("html", "json")


@dataclass(frozen=True, slots=True)
class ViewRequest:
    """The parameters of a request, each once, but `partitions`."""

    parameters: Mapping[str, str]
    partitions: tuple[str, ...] = ()

    def get(self, name: str) -> str:
        """The parameter, "" without it."""
        return self.parameters.get(name, "")


def read_view_request(pairs: Sequence[tuple[str, str]]) -> ViewRequest:
    """The parameters of an address; InputError names the first that is not known or has no known value."""
    for name, _ in pairs:
        if name not in PARAMETERS:
            raise InputError(
                f"There is no parameter {name!r}.", fix=f"Known: {', '.join(PARAMETERS)}.", field=name
            )
    given = {name: value.strip() for name, value in pairs}
    for name, known in (("format", FORMATS), ("view", ("results", "anomalies"))):
        if given.get(name, known[0]) not in known:
            raise InputError(f"{name} is {given[name]!r}.", fix=f"Expected {' or '.join(known)}.", field=name)
    return ViewRequest(given, tuple(value for name, value in pairs if name == "partition" and value))


def read_view(store: Store, request: ViewRequest, now: datetime) -> tuple[Any, Body]:
    """The data of the requested view, and the body of its page."""
    links = Links(request.get("code"))
    if request.get("view") == "results":
        return _results(store, request, links)
    if request.get("view") == "anomalies":
        report = list_anomalies(
            store,
            now,
            workload=request.get("workload"),
            since=request.get("since"),
            device=request.get("device"),
        )
        return report, show_anomalies(report, links)
    if request.get("run"):
        return _of_run(store, request, links, now)
    if request.get("workload"):
        page = read_workload_page(store, request.get("workload"), request.get("before"), now)
        return page, show_workload(page, links)
    overview = read_overview(store, now)
    return overview, show_overview(overview, links)


def show_error(error: FleetscoreError, request: ViewRequest, now: datetime) -> str:
    """The page of an error, with what to do about it."""
    links = Links(request.get("code"))
    run = request.get("run")
    back = links.run(run) if run and error.code != "no_run" else links.overview()
    content = tag(
        "section",
        tag("h1", error.message),
        tag("p", error.fix, class_="advice") if error.fix else None,
        tag("p", tag("a", "← back", href=back)),
        class_="card",
    )
    return render_page(Body("Not here", join(content), [("not here", "")]), links, now)


def _of_run(store: Store, request: ViewRequest, links: Links, now: datetime) -> tuple[Any, Body]:
    run = request.get("run")
    if request.get("log"):
        log = read_log(store, run, request.get("log"))
        return log, show_log(log, links)
    if request.partitions:
        story = explain(store, run, request.partitions[0])
        return story, show_story(story, links)
    if any(request.get(name) for name in ("find", "outcome", "cause")):
        return _matches(store, request, links)
    view = read_run_view(store, run, now)
    return view, show_run(view, links, now)


def _matches(store: Store, request: ViewRequest, links: Links) -> tuple[Any, Body]:
    """The partitions that match; the story at once where the text is a partition's whole key."""
    run, text = request.get("run"), request.get("find")
    matches = find_partitions(
        store, run, text=text, outcome=request.get("outcome"), cause=request.get("cause")
    )
    own = key_in_run(store, matches.workload, run, text) if text else ""
    if own and any(match.partition == own for match in matches.first):
        story = explain(store, run, own)
        return story, show_story(story, links)
    return matches, show_matches(matches, links)


def _results(store: Store, request: ViewRequest, links: Links) -> tuple[ResultsView, Body]:
    if not request.get("workload"):
        raise InputError("The results of which workload?", fix="Add workload=NAME.", field="workload")
    partitions = request.partitions or ((request.get("find"),) if request.get("find") else ())
    view = read_results_view(store, request.get("workload"), request.get("window"), partitions)
    return view, show_results(view, links)
