"""Timer triggers: what happens at a start, and runs against a real host."""

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from devhost.clock import stamp, utc_now
from devhost.errors import LoadError, SettingsError
from devhost.functions import FunctionInfo
from devhost.timers import Timer, TimerRecord, decide_opening, make_timer, retry_pauses

_ZONE = ZoneInfo("UTC")
_NOW = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
_HOUR = timedelta(hours=1)


def _timer(schedule: str = "0 0 * * * *", **settings: Any) -> Timer:
    info = FunctionInfo("t", {"type": "timerTrigger", "name": "t", "direction": "in", **settings}, [])
    return make_timer(info, schedule, _ZONE, _NOW)


def test_first_start_waits_for_the_schedule() -> None:
    """Without a record the timer waits, unless it is to run on startup."""
    opening = decide_opening(_timer(), None, _NOW, _ZONE)
    assert (opening.runs_now, opening.record.next) == (False, _NOW.replace(hour=13, minute=0))
    assert decide_opening(_timer(runOnStartup=True), None, _NOW, _ZONE).runs_now


def test_missed_occurrences_run_once_and_late() -> None:
    """However many occurrences were missed, one run follows, marked past due."""
    last = _NOW.replace(hour=3, minute=0)
    opening = decide_opening(_timer(), TimerRecord(last, last + _HOUR, last), _NOW, _ZONE)
    assert (opening.runs_now, opening.is_past_due) == (True, True)


def test_changed_schedule_is_not_late() -> None:
    """A record of another schedule is replaced; nothing counts as missed."""
    last = _NOW.replace(hour=3, minute=0)
    record = TimerRecord(last, last + timedelta(minutes=7), last)
    opening = decide_opening(_timer(), record, _NOW, _ZONE)
    assert (opening.runs_now, opening.record.next) == (False, _NOW.replace(hour=13, minute=0))


def test_record_in_time_is_kept() -> None:
    """A record whose next run is still to come stays as it is."""
    last = _NOW.replace(minute=0)
    record = TimerRecord(last, last + _HOUR, last)
    assert decide_opening(_timer(), record, _NOW, _ZONE).record == record


def test_intervals_count_from_the_last_run() -> None:
    """A constant interval that has passed while the host was down is late; one that has not is waited for."""
    timer = _timer("02:00:00")
    ended = _NOW - 3 * _HOUR
    late = decide_opening(timer, TimerRecord(ended, ended + 2 * _HOUR, ended), _NOW, _ZONE)
    assert (late.runs_now, late.is_past_due) == (True, True)
    record = TimerRecord(_NOW - _HOUR, _NOW + _HOUR, _NOW - _HOUR)
    assert decide_opening(timer, record, _NOW, _ZONE).record == record


def test_retry_policies_are_read() -> None:
    """A fixed delay repeats, an exponential one doubles up to its longest; a broken one is refused."""
    fixed = {"strategy": "fixed_delay", "max_retry_count": "2", "delay_interval": "00:00:05"}
    assert retry_pauses(fixed) == [5.0, 5.0]
    growing = {"strategy": "exponential_backoff", "max_retry_count": "4", "minimum_interval": "00:00:01"}
    assert retry_pauses({**growing, "maximum_interval": "00:00:03"}) == [1.0, 2.0, 3.0, 3.0]
    assert retry_pauses(None) == []
    for broken in (
        {**fixed, "max_retry_count": "x"},
        {**fixed, "delay_interval": "soon"},
        {"strategy": "fixed_delay"},
    ):
        with pytest.raises(SettingsError, match="retry policy"):
            retry_pauses(broken)


def test_frequent_timers_are_not_monitored() -> None:
    """A schedule that fires more often than once a minute keeps no record."""
    assert not _timer("*/10 * * * * *").is_monitored
    assert _timer("0 * * * * *").is_monitored
    assert not _timer(useMonitor=False).is_monitored


def test_schedule_that_never_fires_is_refused() -> None:
    """A timer that could never run is refused when the app is loaded."""
    with pytest.raises(LoadError, match="never fires"):
        _timer("0 0 0 31 2 *")


_APP = """
import json, os
from pathlib import Path
import azure.functions as func

app = func.FunctionApp()

def note(name, timer):
    with Path(os.environ["OUT"]).open("a") as file:
        line = {"name": name, "late": timer.past_due, "status": timer.schedule_status}
        file.write(json.dumps(line) + "\\n")

@app.timer_trigger(schedule="%EVERY_SECOND%", arg_name="timer")
def often(timer: func.TimerRequest) -> None:
    note("often", timer)
    raise RuntimeError("the schedule goes on")

@app.timer_trigger(schedule="0 0 * * * *", arg_name="timer")
def hourly(timer: func.TimerRequest) -> None:
    note("hourly", timer)

@app.timer_trigger(schedule="0 0 0 1 1 *", arg_name="timer", run_on_startup=True)
def eager(timer: func.TimerRequest) -> None:
    note("eager", timer)
"""


def _wait_for_record(path: Path, name: str) -> None:
    """Wait until the host has written when the timer is next due."""
    from time import monotonic, sleep

    deadline = monotonic() + 20
    with sqlite3.connect(path) as database:
        while not database.execute("SELECT 1 FROM timer WHERE name = ?", (name,)).fetchone():
            assert monotonic() < deadline, f"no record of {name}"
            sleep(0.02)


@pytest.mark.slow
def test_timers_fire_late_and_on_time(make_host: Any, tmp_path: Path) -> None:
    """A running host fires on schedule despite failures, on startup where asked, and late once after a break."""
    out = tmp_path / "out"
    host = make_host(_APP, "--workers", "1", OUT=str(out), EVERY_SECOND="* * * * * *").start()
    _wait_for_record(
        host.data / "devhost.sqlite", "hourly"
    )  # a host that has just started may not have planned it yet
    assert host.stop() == 0
    passed = utc_now().replace(minute=0, second=0, microsecond=0) - 3 * _HOUR
    with sqlite3.connect(host.data / "devhost.sqlite") as database:
        row = (stamp(passed - _HOUR), stamp(passed), stamp(passed - _HOUR))
        database.execute("UPDATE timer SET last = ?, next = ?, updated = ? WHERE name = 'hourly'", row)
    out.write_text("")
    host.start()

    def lines(name: str) -> list[dict[str, Any]]:
        return [each for each in map(json.loads, out.read_text().splitlines()) if each["name"] == name]

    from time import monotonic, sleep

    deadline = monotonic() + 20
    while (len(lines("often")) < 3 or not lines("hourly") or not lines("eager")) and monotonic() < deadline:
        sleep(0.05)
    assert len(lines("often")) >= 3 and not any(each["late"] for each in lines("often"))
    assert [each["late"] for each in lines("hourly")] == [True]
    assert lines("hourly")[0]["status"]["Next"] == stamp(passed)
    assert [each["late"] for each in lines("eager")] == [False]
    assert "the schedule goes on" in host.log


def test_unknown_zone_is_refused(make_host: Any) -> None:
    """A time zone that does not exist stops the start with its name."""
    host = make_host(
        _APP, "--workers", "1", OUT="/dev/null", EVERY_SECOND="* * * * * *", WEBSITE_TIME_ZONE="Mars/Base"
    )
    host.launch()
    assert host.process.wait(20) == 1 and "'Mars/Base' is not known" in host.log
