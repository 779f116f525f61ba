"""Days of the week on which no data is expected: who is silent then is not late, and nothing needs attention."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from fleetscore.cli.program import run_command
from fleetscore.models.pins import pin_version
from fleetscore.operations.attention.overview import read_attention
from fleetscore.operations.due.deadlines import list_deadlines
from fleetscore.operations.notices.ended_runs import notices_of
from fleetscore.pipeline.local import run_window
from fleetscore.records import RunState
from fleetscore.store.base import Store
from tests.model_fleets.conftest import MIDNIGHT, fitted, pin_models, telemetry, write_rows

SATURDAY, SUNDAY, MONDAY = "2026-11-21", "2026-11-22", "2026-11-23"
TUESDAY_NOON = datetime(2026, 11, 24, 11, tzinfo=UTC)
Change = Callable[[str, str], None]


@pytest.fixture
def weekdays(store: Store, change_settings: Change) -> Store:
    """Two vans that are expected but on Sundays, one of them pinned by itself, with rows of Saturday."""
    change_settings("[models]", '[expect]\ndays = "mon-sat"\n[run]\ndeadline = "06:00"\n[models]')
    version = pin_models(store, {"VAN-1": fitted(1), "VAN-2": fitted(2)})
    pin_version(store, "vans", version, partition="VAN-2", why="test", now=datetime.now(UTC))
    write_rows(store, telemetry(["VAN-1", "VAN-2"]))
    run_window(store, "vans", SATURDAY)
    return store


def test_a_silent_day_without_expectations_needs_no_attention(
    weekdays: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sunday's run says that nothing was expected, with exit code 0, no notice, no line of attention and no deadline missed."""
    record = run_window(weekdays, "vans", SUNDAY)
    assert record.state is RunState.UNPUBLISHED
    assert record.error == "No data is expected on Sunday (days = 'mon-sat' in [expect]), and none came."
    assert dict(record.counts) == {}
    assert notices_of(record) == []
    assert SUNDAY not in str(read_attention(weekdays, "vans", TUESDAY_NOON))
    (report,) = list_deadlines(weekdays, "vans", 30, TUESDAY_NOON)
    assert [each.window for each in report.windows if each.window == SUNDAY] == []
    assert run_command(["run", "vans", "--window", SUNDAY, "--store", weekdays.url]) == 0
    assert "No data is expected on Sunday" in capsys.readouterr().out


def test_silent_vans_are_late_on_all_other_days(weekdays: Store) -> None:
    """Monday without data is not published, with both vans late; that needs attention."""
    record = run_window(weekdays, "vans", MONDAY)
    assert dict(record.counts) == {"late": 2}
    assert record.error.startswith("None of 2 partitions was scored")
    assert [notice.kind for notice in notices_of(record)] == ["run_failed"]


def test_data_of_a_day_without_expectations_is_scored(weekdays: Store) -> None:
    """The van that sent rows on Sunday is scored, and the silent one is not late."""
    write_rows(weekdays, telemetry(["VAN-1"], start=MIDNIGHT + timedelta(days=1)), "2026-11-22.parquet")
    record = run_window(weekdays, "vans", SUNDAY)
    assert record.state is RunState.PUBLISHED
    assert dict(record.counts) == {"scored": 1}
