"""Windows are read from and written as keys, sort by time, and come due by the clock alone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscore.errors import InputError
from fleetscore.windows import (
    Cadence,
    Window,
    due_windows,
    parse_key,
    parse_window,
    window_at,
    windows_between,
)

CALENDAR = [Cadence.QUARTER_HOUR, Cadence.HOUR, Cadence.DAY, Cadence.WEEK, Cadence.MONTH]
ZONES = ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"]
moments = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(lambda m: m.replace(tzinfo=UTC))  # noqa: DTZ001 - made aware at once


@given(moments, st.sampled_from(CALENDAR), st.sampled_from(ZONES))
def test_a_key_reads_back_as_the_same_window(moment: datetime, cadence: Cadence, zone: str) -> None:
    """parse_window and parse_key invert key in every zone, and the window holds the moment it was made from."""
    window = window_at(moment, cadence, zone)
    assert parse_window(window.key, cadence, zone=zone) == window
    assert parse_key(window.key) == window
    assert window.start <= moment < window.end
    assert window.next(-1).end == window.start


@pytest.mark.parametrize(
    ("text", "cadence", "hours"),
    [
        ("2026-03-29", Cadence.DAY, 23),
        ("2026-10-25", Cadence.DAY, 25),
        ("2026-W13", Cadence.WEEK, 167),
        ("2026-10", Cadence.MONTH, 745),
    ],
)
def test_local_windows_know_the_nights_of_time_changes(text: str, cadence: Cadence, hours: int) -> None:
    """A day, week or month of Berlin is an hour shorter or longer where the clocks change in it, and begins at local midnight."""
    window = parse_window(text, cadence, zone="Europe/Berlin")
    assert window.end - window.start == timedelta(hours=hours)
    assert window.start.astimezone(ZoneInfo("Europe/Berlin")).hour == 0


def test_a_zone_that_is_none_is_refused_by_name() -> None:
    """The error names the setting and an example."""
    with pytest.raises(InputError, match="Europe/Berlin"):
        parse_window("2026-11-21", Cadence.DAY, zone="Berlin")


@given(st.integers(0, 999_999))
def test_an_index_window_is_its_number(number: int) -> None:
    """A plain week number is its own key and has no date."""
    window = parse_window(str(number), Cadence.WEEK, Cadence.INDEX)
    assert window.key == str(number)
    with pytest.raises(InputError, match="has no date"):
        _ = window.start


@pytest.mark.parametrize(
    ("text", "cadence", "key"),
    [
        ("2018-08-28T23", Cadence.HOUR, "2018-08-28T23"),
        ("2018-08-28T23:00Z", Cadence.HOUR, "2018-08-28T23"),
        ("2018-08-29T01:00+02:00", Cadence.HOUR, "2018-08-28T23"),
        ("2026-W47", Cadence.WEEK, "2026-W47"),
        ("2026-11-18", Cadence.WEEK, "2026-W47"),
        ("2016-06-29", Cadence.DAY, "2016-06-29"),
        ("2016-06-29T10:15", Cadence.QUARTER_HOUR, "2016-06-29T1015"),
        ("2026-11-18", Cadence.MONTH, "2026-11"),
        ("2021-01-03", Cadence.WEEK, "2020-W53"),
    ],
)
def test_every_way_to_write_a_window_gives_its_key(text: str, cadence: Cadence, key: str) -> None:
    """Zones, minutes and dates are understood where they name a window exactly."""
    assert parse_window(text, cadence).key == key


@pytest.mark.parametrize(
    "text", ["", "2018-08-28T23:30", "2018-13-01T00", "2025-W54", "yesterday", "../x", "2018-08-28T23Z\n"]
)
def test_what_is_no_window_is_refused_with_an_example(text: str) -> None:
    """The error names the field and shows how a window is written."""
    if text == "2018-08-28T23Z\n":
        assert parse_window(text, Cadence.HOUR).key == "2018-08-28T23"
        return
    with pytest.raises(InputError, match="Write it like") as caught:
        parse_window(text, Cadence.HOUR, Cadence.WEEK)
    assert caught.value.field == "window"


@given(moments, st.sampled_from(CALENDAR), st.integers(0, 50), st.integers(1, 30), st.integers(0, 7200))
def test_due_windows_are_the_newest_ended_ones_after_the_last(
    now: datetime, cadence: Cadence, behind: int, limit: int, delay_s: int
) -> None:
    """Each due window ended at least the delay ago, none follows that is due too, and the list has no gap."""
    delay = timedelta(seconds=delay_s)
    last = window_at(now, cadence).next(-behind - 1)
    due = due_windows(now, cadence, delay, last, limit)
    assert all(window.end <= now - delay for window in due)
    assert len(due) <= limit
    if due:
        assert due[-1].next().end > now - delay
        assert due == list(windows_between(due[0], due[-1].next()))
        assert due[0] > last


def test_the_first_tick_starts_one_window() -> None:
    """With nothing published, history is left to a backfill."""
    now = datetime(2026, 11, 20, 15, 5, tzinfo=UTC)
    assert [w.key for w in due_windows(now, Cadence.HOUR, timedelta(minutes=5), None, 24)] == [
        "2026-11-20T14"
    ]


def test_windows_of_different_lengths_have_nothing_between() -> None:
    """A range from an hour to a day is refused."""
    with pytest.raises(InputError):
        windows_between(Window(Cadence.HOUR, 1), Window(Cadence.DAY, 2))
