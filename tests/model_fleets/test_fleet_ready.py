"""When the timer starts windows of a fleet that says when its data is complete."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from fleetscore.operations.due import ready_windows
from fleetscore.operations.due import windows as due
from fleetscore.pipeline.local import execute, run_window
from fleetscore.store.base import Store
from tests.model_fleets.conftest import MIDNIGHT, SETTINGS, fitted, pin_models, telemetry, write_rows

VANS = [f"VAN-{n}" for n in range(4)]
END = MIDNIGHT + timedelta(days=1)
"""The end of 2026-11-21 in Berlin, 23:00 UTC."""

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    """No test profits from what another one has seen."""
    for known in (ready_windows._counted, ready_windows._started, due._done):
        known.clear()  # type: ignore[attr-defined]  # sets and dicts
    yield


def with_ready(store: Store, line: str, run: str = "") -> None:
    """A fleet whose windows start by `line`: one is published, and three of four vans have rows of the next."""
    text = SETTINGS.replace("[models]", f'path_timezone = "Europe/Berlin"\nready = {line}\n[models]')
    store.write("settings/vans.toml", f'schedule = "0 0 4 * * *"\n{text}\n[run]\n{run}'.encode())
    write_rows(store, telemetry(VANS[:3]))
    pin_models(store, {van: fitted(at) for at, van in enumerate(VANS)})
    write_rows(store, telemetry(VANS, 5, MIDNIGHT - timedelta(days=1)), "2026-11-20.parquet")
    run_window(store, "vans", "2026-11-20")


def started(store: Store, now: datetime) -> list[str]:
    """The windows that a tick at that time starts, which are then run."""
    found = [one for one in due.submit_due(store, now) if one.fresh]
    for one in found:
        execute(store, one.request)
    return [one.request.window for one in found]


def test_a_marker_starts_the_window_between_ticks_of_its_schedule(store: Store) -> None:
    """A minute after the marker came, hours before the schedule's minute and before the window is due; once."""
    with_ready(store, '{ marker = "data/{window:%Y-%m-%d}/_DONE" }', "watermark_s = 7200")
    assert started(store, END + timedelta(minutes=10)) == []
    store.write("data/2026-11-21/_DONE", b"")
    assert started(store, END - timedelta(minutes=1)) == []
    assert started(store, END + timedelta(minutes=11)) == ["2026-11-21"]
    assert started(store, END + timedelta(minutes=12)) == []


@pytest.mark.parametrize(
    ("line", "latest"),
    [
        ('{ marker = "none/_DONE" }', END + 2 * HOUR + timedelta(minutes=5)),
        ('{ marker = "none/_DONE", deadline = "06:30" }', datetime(2026, 11, 22, 5, 30, tzinfo=UTC)),
    ],
)
def test_without_its_marker_a_window_starts_at_the_latest_moment(
    store: Store, line: str, latest: datetime
) -> None:
    """`overdue_s` after it is due, or at the deadline on clocks of the workload's zone; not a minute before."""
    with_ready(store, line, "overdue_s = 7200")
    assert started(store, latest - timedelta(minutes=1)) == []
    assert started(store, latest) == ["2026-11-21"]


def test_a_share_of_the_vans_starts_the_window(store: Store) -> None:
    """Three of four vans are 75 %; the fourth one's rows are seen at the next count, five minutes later."""
    with_ready(store, "{ share = 1.0 }")
    assert started(store, END + timedelta(minutes=1)) == []
    write_rows(store, telemetry(VANS[3:]), "2026-11-21-late.parquet")
    assert started(store, END + timedelta(minutes=3)) == []
    assert started(store, END + timedelta(minutes=7)) == ["2026-11-21"]


def test_partitions_are_counted_anew_only_where_something_is_new(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks at the same files count nothing; new files, new models and an hour's age do."""
    with_ready(store, "{ share = 1.0 }", "overdue_s = 200000")
    counted: list[int] = []
    count = ready_windows._count_share
    monkeypatch.setattr(ready_windows, "_count_share", lambda run: counted.append(1) or count(run))
    for minutes in (1, 7, 13, 19):
        assert started(store, END + timedelta(minutes=minutes)) == []
    assert len(counted) == 1
    write_rows(store, telemetry(VANS[:1]), "2026-11-21-again.parquet")
    assert started(store, END + timedelta(minutes=25)) == []
    assert len(counted) == 2
    pin_models(store, {van: fitted(at + 1) for at, van in enumerate(VANS)})
    assert started(store, END + timedelta(minutes=31)) == []
    assert len(counted) == 3
    for minutes in (60, 92):
        assert started(store, END + timedelta(minutes=minutes)) == []
    assert len(counted) == 4


def test_a_window_that_waits_keeps_back_no_later_one(store: Store) -> None:
    """With windows published, those that are ready start in any order; the one without its marker waits for its own latest start."""
    with_ready(store, '{ marker = "data/{window:%Y-%m-%d}/_DONE" }', "overdue_s = 200000")
    for day in (1, 2):
        write_rows(store, telemetry(VANS, 5, MIDNIGHT + timedelta(days=day)), f"2026-11-{21 + day}.parquet")
    store.write("data/2026-11-21/_DONE", b"")
    store.write("data/2026-11-23/_DONE", b"")
    assert started(store, END + timedelta(days=2, hours=1)) == ["2026-11-21", "2026-11-23"]
    assert started(store, END + timedelta(days=1, seconds=200_299)) == []
    assert started(store, END + timedelta(days=1, seconds=200_300)) == ["2026-11-22"]


def test_with_nothing_published_the_newest_window_that_may_start_is_run(store: Store) -> None:
    """Others are a backfill's work: not the one without its marker, and none before the first run."""
    with_ready(store, '{ marker = "data/{window:%Y-%m-%d}/_DONE" }', "overdue_s = 200000")
    store.delete("results/vans/latest.json")
    for entry in list(store.list("runs/")):
        store.delete(entry.path)
    store.write("data/2026-11-21/_DONE", b"")
    later = END + timedelta(days=1, hours=1)
    assert started(store, later) == ["2026-11-21"]
    assert started(store, later) == []


def test_a_table_that_cannot_be_read_waits_for_the_latest_start(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason is in the log at each tick, and the run itself says it in the end."""
    with_ready(store, '{ marker = "none" }')
    text = store.read("settings/vans.toml").decode().replace('{ marker = "none" }', "{ delta = true }")
    other = text.replace('data/telemetry/*.parquet"', 'lake/none"\nformat = "delta"')
    store.write("settings/vans.toml", other.encode())
    store.write("lake/none/x.txt", b"no table")
    assert started(store, END + timedelta(minutes=10)) == []
    assert "whether 2026-11-21 is ready cannot be seen" in caplog.text
    assert [one.request.window for one in due.submit_due(store, END + 2 * HOUR)] == ["2026-11-21"]
