"""When a window may start: its marker, its table, its share, and its deadline."""

from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from fleetscore.errors import InputError
from fleetscore.sources import DataSettings, Ready, check_ready, latest_start
from fleetscore.store import Store
from tests.sources.spans import at, between

DAYS = between("2026-03-04", "2026-03-06")


def never() -> float:
    """A share that nobody asks for."""
    raise AssertionError


def test_every_marker_of_the_window_has_to_be_there(store: Store) -> None:
    """A window of two days is ready when both days' markers are; the first that is missing is named."""
    settings = DataSettings(path="d/*.csv", ready=Ready(marker="d/{window:%Y-%m-%d}/_DONE"))
    assert "d/2026-03-04/_DONE" in check_ready(store, settings, DAYS, never).detail
    store.write("d/2026-03-04/_DONE", b"")
    found = check_ready(store, settings, DAYS, never)
    assert (found.is_ready, "d/2026-03-05/_DONE" in found.detail) == (False, True)
    store.write("d/2026-03-05/_DONE", b"")
    assert check_ready(store, settings, DAYS, never).is_ready


def test_a_table_covers_a_window_when_it_holds_a_later_time(store: Store, tmp_path: Path) -> None:
    """A version whose newest time is inside the window is not enough; one at its end is."""
    settings = DataSettings(
        path="lake/t", format="delta", time="ts", columns={"ts": "at"}, ready=Ready(delta=True)
    )
    with pytest.raises(InputError, match="lake/t"):
        check_ready(store, settings, DAYS, never)
    root = tmp_path / "store" / "lake" / "t"
    root.mkdir(parents=True)
    for moment, is_ready in (("2026-03-05T23:59", False), ("2026-03-06T00:00", True)):
        write_deltalake(
            str(root), pa.table({"at": pa.array([at(moment)], pa.timestamp("us", "UTC"))}), mode="append"
        )
        found = check_ready(store, settings, DAYS, never)
        assert found.is_ready is is_ready
    assert "2026-03-05" not in found.detail


@pytest.mark.parametrize(
    ("newest", "kind", "is_ready"),
    [
        (datetime(2026, 3, 6, 0, 30), pa.timestamp("us"), False),  # noqa: DTZ001 # of the zone of the settings
        (datetime(2026, 3, 6, 1, 0), pa.timestamp("us"), True),  # noqa: DTZ001 # of the zone of the settings
        (date(2026, 3, 6), pa.date32(), False),
        (date(2026, 3, 7), pa.date32(), True),
    ],
)
def test_times_without_a_zone_are_of_the_zone_of_the_settings(
    store: Store, tmp_path: Path, newest: object, kind: pa.DataType, is_ready: bool
) -> None:
    """Half past midnight in Berlin is before midnight UTC, where the window ends; a date is its midnight."""
    settings = DataSettings(
        path="lake/t", format="delta", time="ts", timezone="Europe/Berlin", ready=Ready(delta=True)
    )
    root = tmp_path / "store" / "lake" / "t"
    root.mkdir(parents=True)
    write_deltalake(str(root), pa.table({"ts": pa.array([newest], kind)}))
    assert check_ready(store, settings, DAYS, never).is_ready is is_ready


@pytest.mark.parametrize(("share", "is_ready"), [(0.0, False), (0.89, False), (0.9, True), (1.0, True)])
def test_a_share_of_the_partitions_is_enough(store: Store, share: float, is_ready: bool) -> None:
    """At the share, and not below it."""
    settings = DataSettings(path="d/*.csv", ready=Ready(share=0.9))
    assert check_ready(store, settings, DAYS, lambda: share).is_ready is is_ready


def test_without_the_line_nothing_is_asked(store: Store) -> None:
    """The window starts when it is due."""
    assert check_ready(store, DataSettings(path="d/*.csv"), DAYS, never).is_ready
    due = DAYS.end + timedelta(minutes=5)
    assert latest_start(None, DAYS, due, 3600.0, "UTC") == due


@pytest.mark.parametrize(
    ("deadline", "timezone", "end", "expected"),
    [
        ("", "UTC", "2026-03-06T00:00", "2026-03-06T01:05"),
        ("06:30", "UTC", "2026-03-06T00:00", "2026-03-06T06:30"),
        ("06:30", "Europe/Berlin", "2026-03-05T23:00", "2026-03-06T05:30"),
        ("06:30", "Europe/Berlin", "2026-03-06T05:30", "2026-03-06T05:30"),
        ("06:30", "Europe/Berlin", "2026-03-06T05:31", "2026-03-07T05:30"),
        ("02:30", "Europe/Berlin", "2026-03-28T23:00", "2026-03-29T01:30"),
    ],
)
def test_the_latest_start_is_the_deadline(deadline: str, timezone: str, end: str, expected: str) -> None:
    """The first such time of day at or after the window's end, also on the day that has no half past two."""
    window = between("2026-03-04", end)
    ready = Ready(share=0.9, deadline=deadline)
    due = window.end + timedelta(minutes=5)
    assert latest_start(ready, window, due, 3600.0, timezone) == at(expected)
