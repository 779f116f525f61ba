"""Deadlines by the clock: met, missed and at risk, on ordinary days and on nights when clocks change."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from toy_workload import write_lines

from fleetscore.errors import SettingsError
from fleetscore.operations.due.deadlines import list_deadlines
from fleetscore.operations.watchdog import find_trouble
from fleetscore.records import RunRecord, RunRequest, RunState
from fleetscore.registry import find_workload
from fleetscore.runs.index import index_run
from fleetscore.store.base import Store
from fleetscore.windows import next_time_of_day

Command = Callable[..., tuple[int, str]]
DAY = datetime(2026, 1, 1, tzinfo=UTC)


def at(hours: float) -> datetime:
    """So many hours into the day."""
    return DAY + timedelta(hours=hours)


def ran(store: Store, hour: int, requested: float, ended: float | None, round_number: int = 1) -> None:
    """The run of an hour of the day, which was published unless it has not ended."""
    window = f"2026-01-01T{hour:02}"
    run = f"toy-{window}" + (f"-r{round_number}" if round_number > 1 else "")
    request = RunRequest(run, "toy", window, round_number, at(requested), "timer")
    state = RunState.SCORING if ended is None else RunState.PUBLISHED
    last = at(requested if ended is None else ended)
    index_run(store, RunRecord(request, state, last, ended=None if ended is None else last))


@pytest.fixture
def fleet(store: Store) -> Store:
    """The toy workload, whose hours have to be published by six, with data."""
    store.write("settings/toy.toml", b'[run]\ndeadline = "06:00"\n')
    for hour in range(8):
        write_lines(store, f"2026-01-01T{hour:02}", [("p0", 1, "ok")])
    return store


@pytest.mark.parametrize(
    ("text", "after", "zone", "expected"),
    [
        ("06:00", "2026-01-01T01:05", "UTC", "2026-01-01T06:00"),
        ("06:00", "2026-01-01T06:00", "UTC", "2026-01-01T06:00"),
        ("06:00", "2026-01-01T06:01", "UTC", "2026-01-02T06:00"),
        ("06:00", "2026-03-28T23:05", "Europe/Berlin", "2026-03-29T04:00"),  # the night that has 23 hours
        ("06:00", "2026-10-24T22:05", "Europe/Berlin", "2026-10-25T05:00"),  # the night that has 25
        ("02:30", "2026-03-28T23:05", "Europe/Berlin", "2026-03-29T01:30"),  # skipped: clocks show 03:30
        ("02:30", "2026-10-24T22:05", "Europe/Berlin", "2026-10-25T00:30"),  # shown twice: the first
        ("00:00", "2026-09-05T20:00", "America/Santiago", "2026-09-06T04:00"),  # midnight itself is skipped
    ],
)
def test_a_time_of_day_is_one_moment_on_every_night(text: str, after: str, zone: str, expected: str) -> None:
    """The first such time at or after a moment, whatever clocks do that night."""
    found = next_time_of_day(text, datetime.fromisoformat(after).replace(tzinfo=UTC), zone)
    assert f"{found:%Y-%m-%dT%H:%M}" == expected


def test_windows_are_met_missed_or_open(fleet: Store) -> None:
    """Published in time, published late, never started, and not due yet: each is told; a later retry changes nothing."""
    ran(fleet, 0, 1.1, 1.2)
    ran(fleet, 0, 9.0, 9.1, round_number=2)
    ran(fleet, 1, 6.4, 6.5)
    (report,) = list_deadlines(fleet, "toy", 90, at(9.2))
    states = {each.window: each.state for each in report.windows}
    assert states["2026-01-01T00"] == "met"
    assert states["2026-01-01T01"] == "missed"
    assert states["2026-01-01T02"] == "missed"  # between windows that ran, and never started
    assert states["2026-01-01T07"] == "open"  # to be published by six tomorrow
    assert (report.met, report.missed) == (1, 4)
    assert report.share == pytest.approx(0.2)
    assert [each.window for each in report.windows] != []


def test_a_miss_is_told_while_something_can_be_done(fleet: Store) -> None:
    """At five, with runs that take two hours, a window that is not started is at risk; the watchdog says so once, with the command."""
    for hour in (0, 1):
        ran(fleet, hour, 1.5 + hour, 3.5 + hour)
    (report,) = list_deadlines(fleet, "", 90, at(5.0))
    risks = {each.window: each for each in report.windows if each.state == "at risk"}
    assert set(risks) == {"2026-01-01T02", "2026-01-01T03"}
    assert risks["2026-01-01T02"].expected == at(7.0)
    told = {n.id: n for n in find_trouble(fleet, at(5.0)) if n.kind == "deadline_at_risk"}
    notice = told["deadline_at_risk-toy-2026-01-01T02"]
    assert "expected at 2026-01-01 07:00 UTC" in notice.message
    assert notice.links == {"command": "fleetscore run toy --window 2026-01-01T02"}
    later = {n.id: n.kind for n in find_trouble(fleet, at(6.1))}
    assert later["deadline_missed-toy-2026-01-01T02"] == "deadline_missed"
    assert "deadline_at_risk-toy-2026-01-01T02" not in later


def test_before_the_first_publication_nothing_is_predicted(fleet: Store) -> None:
    """Without a run that says how long one takes, a window is open until its deadline has passed."""
    write_lines(fleet, "2026-01-01T03", [("p0", 1, "ok")])
    assert list_deadlines(fleet, "toy", 90, at(5.0))[0].share is None
    assert [n for n in find_trouble(fleet, at(5.0)) if n.kind.startswith("deadline")] == []


def test_the_command_shows_the_share_and_exits_with_10_at_a_risk(
    fleet: Store, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words and JSON name the same windows; without a deadline the command says how to set one."""
    for hour in (0, 1):
        ran(fleet, hour, 1.5 + hour, 3.5 + hour)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            del tz
            return at(5.0)

    monkeypatch.setattr("fleetscore.fleet.store_reports.datetime", Clock)
    code, said = command("deadlines")
    assert code == 10
    assert "toy: by 06:00 UTC; 100.0% (2 met, 0 missed in 90 days)" in said
    assert "at risk" in said
    code, said = command("deadlines", "--workload", "toy", "--json")
    assert {w["state"] for w in json.loads(said)[0]["windows"]} == {"met", "at risk"}
    fleet.delete("settings/toy.toml")
    code, said = command("deadlines")
    assert code == 0
    assert 'deadline = "06:00"' in said


@pytest.mark.parametrize("text", ["25:00", "6:00", "06:00:00", "noon", "06:60", "٠٦:00"])
def test_what_is_no_time_of_day_is_refused_by_name(store: Store, text: str) -> None:
    """A deadline that cannot be meant is an error of the settings, which names the line."""
    store.write("settings/toy.toml", f'[run]\ndeadline = "{text}"\n'.encode())
    known = find_workload(store, "toy")
    assert "deadline" in known.reason
    with pytest.raises(SettingsError):
        known.ready()
