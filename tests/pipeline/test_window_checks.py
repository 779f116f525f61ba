"""Windows that a request cannot mean are refused, with how to write what can be meant."""

from datetime import UTC, datetime, timedelta

import pytest

from fleetscore.errors import InputError
from fleetscore.operations.due.backfills import check_backfill_due, list_windows
from fleetscore.pipeline.submit import submit_run, submit_training
from fleetscore.pipeline.window_checks import check_due, check_window, check_year
from fleetscore.settings import RunPolicy
from fleetscore.store.base import Store
from fleetscore.windows import Cadence, parse_window

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_date_is_no_hour(store: Store) -> None:
    """An hourly workload refuses a bare date with an hour of it as an example; as a bound of a backfill a date is good."""
    with pytest.raises(InputError, match="2026-01-01 is a day") as caught:
        submit_run(store, "toy", "2026-01-01", NOW, "test")
    assert "2026-01-01T00" in caught.value.fix
    assert len(list_windows(store, "toy", "2026-01-01", "2026-01-02")) == 24
    check_window("2026-01-01", parse_window("2026-01-01", Cadence.DAY))
    check_window("2026-01-01T00", parse_window("2026-01-01T00", Cadence.HOUR))


def test_a_window_that_is_not_due_needs_force(store: Store) -> None:
    """A window may be asked for once it has ended and its `watermark_s` has passed; before, only with force."""
    with pytest.raises(InputError, match="is not due before 2026-01-01 13:05 UTC") as caught:
        submit_run(store, "toy", "2026-01-01T12", NOW, "test", force=False)
    assert "--force" in caught.value.fix
    assert submit_run(store, "toy", "2026-01-01T12", NOW, "test", force=True).fresh
    assert submit_run(store, "toy", "2026-01-01T10", NOW, "test", force=False).fresh
    with pytest.raises(InputError, match="is not due"):
        check_backfill_due(store, "toy", ["2026-01-01T10", "2026-01-01T12"], NOW)
    check_backfill_due(store, "toy", ["2026-01-01T10", "2026-01-01T09"], NOW)


def test_a_forecast_is_due_when_its_week_begins() -> None:
    """A watermark of minus a week makes a week due at its start; plain week numbers have no clock."""
    week = parse_window("2026-W01", Cadence.WEEK)
    policy = RunPolicy(watermark_s=-604800.0)
    check_due(week, policy, week.start)
    with pytest.raises(InputError, match="is not due"):
        check_due(week, policy, week.start - timedelta(seconds=1))
    check_due(parse_window("108", Cadence.INDEX), RunPolicy(), NOW)


@pytest.mark.parametrize("year", ["0001", "0999", "9999"])
def test_years_that_no_data_is_of_are_refused(store: Store, year: str) -> None:
    """Below 1000 and at the end of the calendar: refused by runs, backfills and trainings, never a calendar's own error."""
    window = f"{year}-06-01T00"
    with pytest.raises(InputError, match="year"):
        check_year(parse_window(window, Cadence.HOUR))
    for ask in (
        lambda: submit_run(store, "toy", window, NOW, "test"),
        lambda: list_windows(store, "toy", window, f"{year}-06-01T02"),
        lambda: submit_training(store, "toy", window, f"{year}-06-01T02", NOW, "test"),
    ):
        with pytest.raises(InputError):
            ask()
