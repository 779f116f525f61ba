"""Mutes: what is known stays out of attention until a set time, and hides nothing else."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from app_host import Host, running
from toy_workload import write_lines

from fleetscore.app_settings import AppSettings
from fleetscore.dashboard.links import Links
from fleetscore.dashboard.overview_page import show_overview
from fleetscore.errors import InputError, MissingBlobError, StoreError
from fleetscore.operations.attention.calendar import Calendar, cell_of
from fleetscore.operations.attention.lines import group_attention
from fleetscore.operations.attention.mutes import list_mutes, mute, parse_until, unmute
from fleetscore.operations.attention.overview import Overview, WorkloadView, read_attention
from fleetscore.operations.notices import delivery as notice_delivery
from fleetscore.operations.notices.ended_runs import send_ending_notices
from fleetscore.operations.watchdog import find_trouble
from fleetscore.pipeline.local import run_window
from fleetscore.records import RunRecord, RunState
from fleetscore.runs.index import line_of
from fleetscore.runs.ledgers import partitions_with
from fleetscore.store.base import Store

HOUR = "2026-01-01T00"
NOW = datetime(2026, 1, 1, 2, tzinfo=UTC)
OK = [(f"p{n}", n, "ok") for n in range(30)]


def run_hour(store: Store, bad: list[tuple[str, int, str]], hour: str = HOUR) -> RunRecord:
    """A published hour of thirty good partitions and the bad ones."""
    write_lines(store, hour, [*OK, *bad])
    return run_window(store, "toy", hour)


def muted(store: Store, **given: str) -> None:
    """Mute in toy for a week."""
    mute(store, "toy", why="known", until="7d", now=NOW, requested_by="me", **given)


def lines_of(store: Store, now: datetime = NOW) -> set[tuple[str, str, int, str]]:
    """Mark, cause, partitions and example of each line of attention."""
    cells = [g.newest for each in read_attention(store, "toy", now) for g in each.looks]
    return {(str(c.mark), c.first_cause, c.bad, c.first_partition) for c in cells}


def test_a_muted_partition_hides_no_other(store: Store) -> None:
    """Of two late partitions and one that failed, the muted one is gone, and the others stand in lines of their own."""
    run_hour(store, [("dead", 1, "late"), ("dumb", 1, "late"), ("bad", 1, "fail")])
    muted(store, partition="dead", cause="no_rows")
    assert lines_of(store) == {("late", "no_rows", 1, "dumb"), ("failures", "bad_value", 1, "bad")}
    muted(store, partition="du*")
    assert lines_of(store) == {("failures", "bad_value", 1, "bad")}
    muted(store, cause="bad_value")
    assert lines_of(store) == set()
    (told,) = read_attention(store, "toy", NOW)
    assert (told.needs_attention, len(told.mutes)) == (False, 3)


def test_a_later_fault_of_a_muted_cause_comes_up(store: Store) -> None:
    """The mute is about one partition: another that falls silent in a later window is told of."""
    run_hour(store, [("dead", 1, "late")])
    muted(store, partition="dead", cause="no_rows")
    run_hour(store, [("dead", 1, "late"), ("second", 1, "late")], "2026-01-01T01")
    assert lines_of(store) == {("late", "no_rows", 1, "second")}


def test_a_mute_of_another_cause_hides_nothing(store: Store) -> None:
    """The same partition with another cause is told of."""
    run_hour(store, [("x", 1, "fail")])
    muted(store, partition="x", cause="no_rows")
    assert lines_of(store) == {("failures", "bad_value", 1, "x")}


def test_a_pattern_over_more_partitions_than_a_line_names_reads_the_ledger(store: Store) -> None:
    """Twenty-five late partitions of a muted depot are hidden, and a twenty-sixth of another depot is not."""
    others = [(f"q{n}", n, "ok") for n in range(300)]
    depot = [(f"a/{n:02d}", 1, "late") for n in range(25)]
    record = run_hour(store, [*others, *depot, ("z/1", 1, "late")])
    muted(store, partition="a/*")
    assert lines_of(store) == {("late", "no_rows", 1, "z/1")}
    (cause,) = record.causes
    assert len(partitions_with(store, record.request.run, cause)) == 26


def test_a_mute_ends_at_its_time_and_before_it_on_request(store: Store) -> None:
    """After `until` the line is back; an unmute ends it at once, twice is an error that names what is in force."""
    run_hour(store, [("dead", 1, "late")])
    muted(store, cause="no_rows")
    assert lines_of(store) == set()
    assert lines_of(store, NOW + timedelta(days=7, seconds=1)) == {("late", "no_rows", 1, "dead")}
    (act,) = list_mutes(store, "toy", NOW)
    unmute(store, "toy", act.id, why="it sends again", now=NOW, requested_by="me")
    assert lines_of(store) == {("late", "no_rows", 1, "dead")}
    with pytest.raises(MissingBlobError, match="None is in force"):
        unmute(store, "toy", act.id, why="", now=NOW, requested_by="me")


@pytest.mark.parametrize(
    "until",
    [
        "",
        "soon",
        "2026-13-01",
        "99999999999d",
        "2025-12-31",
        "9999-12-31",
        "0d",
        "1e3d",
        "2026-W02",
        "2026-W02-1",
        "2026-01",
        "²d",
        "20261301",
    ],
)
def test_an_end_that_cannot_be_meant_is_refused(store: Store, until: str) -> None:
    """Past, further than a year, or no time at all: the field is named and nothing is written."""
    with pytest.raises(InputError) as caught:
        mute(store, "toy", why="known", until=until, now=NOW, requested_by="me")
    assert caught.value.field == "until"
    assert not list(store.list("attention/"))


def test_ends_are_days_times_and_days_ahead() -> None:
    """A day ends with it; a time without an offset is UTC; one with an offset is turned to UTC."""
    assert parse_until("2026-01-03", NOW) == parse_until("20260103", NOW) == datetime(2026, 1, 4, tzinfo=UTC)
    assert parse_until("2026-01-03T12:00", NOW) == datetime(2026, 1, 3, 12, tzinfo=UTC)
    assert parse_until("2026-01-03T12:00+02:00", NOW) == datetime(2026, 1, 3, 10, tzinfo=UTC)
    assert parse_until("3d", NOW) == NOW + timedelta(days=3)


def test_only_an_asterisk_is_a_wildcard(store: Store) -> None:
    """A key with brackets or a question mark means itself alone, and [*] a plain asterisk."""
    run_hour(store, [(key, 1, "late") for key in ("[x]", "x", "a*b", "a-b", "q?", "qq")])
    for key in ("[x]", "a[*]b", "q?"):
        muted(store, partition=key)
    cells = [g.newest for each in read_attention(store, "toy", NOW) for g in each.looks]
    assert [(cell.bad, cell.first_partition) for cell in cells] == [(3, "a-b")]
    muted(store, partition="a*")
    muted(store, partition="qq")
    assert lines_of(store) == {("late", "no_rows", 1, "x")}


def test_a_window_without_results_is_never_hidden_by_mutes_of_its_causes(store: Store) -> None:
    """Mutes of all causes leave the window with the error that kept it back; a mute of the error, or of
    everything, hides it.
    """
    record = run_hour(store, [(f"bad{n}", 1, "fail") for n in range(9)])
    assert record.error
    muted(store, cause="bad_value")
    assert lines_of(store) == {("unpublished", record.error, 0, "")}
    muted(store, cause=record.error)
    assert lines_of(store) == set()
    line = replace(line_of(record), error="")  # of an earlier version
    acts = [act for act in list_mutes(store, "toy", NOW) if act.cause == "bad_value"]
    assert [g.newest.first_cause for g in group_attention([cell_of(line, HOUR)], acts)] == ["unpublished"]
    muted(store)
    assert group_attention([cell_of(line, HOUR)], list_mutes(store, "toy", NOW)) == ()


def test_overdue_windows_have_a_cause_of_their_own_to_mute(store: Store) -> None:
    """The line and the notice of an overdue window go with a mute of `overdue`, which hides no failure."""
    run_hour(store, [("bad", 1, "fail")])
    later = NOW + timedelta(hours=3)
    assert ("overdue", "overdue", 0, "") in lines_of(store, later)
    assert "window_overdue" in {notice.kind for notice in find_trouble(store, later)}
    muted(store, cause="overdue")
    assert lines_of(store, later) == {("failures", "bad_value", 1, "bad")}
    assert "window_overdue" not in {notice.kind for notice in find_trouble(store, later)}


def test_attention_lists_every_line_and_the_overview_says_how_many_more(store: Store) -> None:
    """Thirty windows that stopped for errors of their own hide neither each other nor a later failure."""
    first = line_of(run_hour(store, [("bad", 1, "fail")]))
    lines = [
        replace(
            first, window=f"2026-01-01T{n:02d}", run=f"toy-{n}",
            state=RunState.FAILED, first_cause=f"Error {n}.", causes=(),
        )
        for n in range(24)
    ]  # fmt: skip
    groups = group_attention([cell_of(line, line.window) for line in lines])
    assert len(groups) == 24
    view = WorkloadView("toy", Calendar((), ()), {}, groups, None, "", "", ())
    page = str(show_overview(Overview((view,), (), is_live=False), Links()).content)
    assert "and 4 more: fleetscore attention --workload toy" in page


def test_a_reason_is_needed_and_every_text_has_a_limit(store: Store) -> None:
    """Blank and endless reasons, and endless causes and keys, are refused by field."""
    for field, given in (("why", {"why": "  "}), ("why", {"why": "x" * 2001}), ("cause", {"cause": "x" * 201}),
                         ("partition", {"partition": "x" * 1025})):  # fmt: skip
        with pytest.raises(InputError) as caught:
            mute(store, "toy", until="7d", now=NOW, requested_by="me", **({"why": "known"} | given))
        assert caught.value.field == field


def test_a_mute_that_cannot_be_read_mutes_nothing_and_is_named(store: Store) -> None:
    """Attention names the file and needs attention; listing is an error with the path."""
    run_hour(store, [("dead", 1, "late")])
    muted(store, cause="no_rows")
    (path,) = [entry.path for entry in store.list("attention/")]
    store.write(path, store.read(path)[:40])
    (told,) = read_attention(store, "toy", NOW)
    assert path in told.broken
    assert [g.newest.first_cause for g in told.looks] == ["no_rows"]
    with pytest.raises(StoreError, match="is damaged"):
        list_mutes(store, "toy", NOW)


def test_a_line_of_an_earlier_version_is_muted_by_its_first_cause(store: Store) -> None:
    """A line without causes is left out only where the one partition that it names is all there is."""
    line = replace(line_of(run_hour(store, [("dead", 1, "late")])), causes=())
    muted(store, partition="dead")
    acts = list_mutes(store, "toy", NOW)
    assert group_attention([cell_of(line, HOUR)], acts) == ()
    two = replace(line, counts=dict(line.counts) | {"late": 2})
    assert [g.newest.bad for g in group_attention([cell_of(two, HOUR)], acts)] == [2]


def test_notices_leave_out_what_is_muted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose only bad partition is muted sends no notice; one with a further fault does."""
    app = AppSettings(webhook_url="http://127.0.0.1:9/nobody", webhook_private=1)
    monkeypatch.setattr(notice_delivery, "_WAITS_S", (0.0,))
    record = run_hour(store, [("dead", 1, "late")])
    mute(store, "toy", why="known", until="7d", now=datetime.now(UTC), requested_by="me", partition="dead")
    send_ending_notices(store, app, record)
    assert not list(store.list("notices/"))
    record = run_hour(store, [("dead", 1, "late"), ("bad", 1, "fail")], "2026-01-01T01")
    send_ending_notices(store, app, record)
    assert [entry.path for entry in store.list("notices/")] == [
        "notices/pending/published_with_failures-toy-2026-01-01T01.json"
    ]


@pytest.fixture
def host(store: Store, tmp_path: Path) -> Iterator[Host]:
    """The app over the store."""
    with running(Host(tmp_path / "app", FLEETSCORE_STORE=store.url)) as host:
        yield host


def test_muting_by_command_by_http_and_by_form(
    host: Host, store: Store, command: Callable[..., tuple[int, str]]
) -> None:
    """Each way hides the line and shows the mute; a form of another site is refused."""
    run_hour(store, [("dead", 1, "late")])
    code, said = command("mute", "toy", "--partition", "dead", "--why", "sent for repair", "--until", "7d")
    assert (code, "every cause of dead" in said, command("attention")[0]) == (0, True, 0)
    assert "sent for repair" in command("attention")[1]
    (act,) = json.loads(command("mutes", "toy", "--json")[1])
    assert command("unmute", "toy", act["id"])[0] == 0
    assert command("attention")[0] == 10
    body = {"why": "known", "until": "7d", "cause": "no_rows", "requested_by": "ops"}
    made = _post(f"{host.url}/api/attention/toy/mutes", host.headers, json=body)
    assert (made.status_code, made.json()["requested_by"]) == (200, "ops")
    assert host.get("attention")[0]["looks"] == []
    ended = _post(f"{host.url}/api/attention/toy/mutes/{made.json()['id']}/end", host.headers, json={})
    assert (ended.status_code, host.get("attention/toy/mutes")) == (200, [])
    form = {"workload": "toy", "cause": "no_rows", "why": "known", "until": "2026-01-01"}
    assert "past" in _post(host.dashboard(), data=form).text
    form["until"] = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}"
    answer = _post(host.dashboard(), data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, f"?workload=toy&code={host.key}")
    page = requests.get(host.dashboard(), timeout=30).text
    assert "Muted" in page
    assert 'name="unmute"' in page
    assert _post(host.dashboard(), {"Sec-Fetch-Site": "cross-site"}, data=form).status_code in (400, 403)
    assert _post(host.dashboard(), data={"workload": "toy"}).status_code == 400


def _post(url: str, headers: dict[str, str] | None = None, **body: Any) -> requests.Response:
    return requests.post(url, headers=headers, timeout=30, allow_redirects=False, **body)
