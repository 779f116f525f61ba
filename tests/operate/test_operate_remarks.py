"""Remarks on a run's input that need attention reach it, whatever the outcomes of the partitions."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from test_operate_drift import write_hour

from fleetscore.operations.attention.mutes import mute
from fleetscore.operations.attention.overview import read_attention
from fleetscore.operations.attention.states import Mark, mark_of
from fleetscore.pipeline.local import run_training, run_window
from fleetscore.records import RunRecord
from fleetscore.runs.index import line_of
from fleetscore.store.base import Store
from fleetscore.workload import Partitions, Remark

HOUR = "2026-01-01T01"
NOW = datetime(2026, 1, 1, 3, tzinfo=UTC)


def thin(lines: list[str]) -> list[str]:
    """The lines of a file, of sensor 4 only the first."""
    first = next(line for line in lines if ",4," in line)
    return [*(line for line in lines if ",4," not in line), first]


def run_hour(store: Store, *, few: bool = False, ahead: bool = False, passed_over: bool = False) -> RunRecord:
    """An hour of ten sensors of 120 readings each, with what is asked for wrong with its input."""
    write_hour(store, "2026-01-01T00", {})
    run_training(store, "sensor_anomaly", "2026-01-01T00", HOUR)
    write_hour(store, HOUR, {})
    path = "data/sensor_anomaly/2026-01-01T01.csv"
    lines = store.read(path).decode().splitlines()
    if few:
        lines = thin(lines)
    if ahead:
        lines.append(f"{datetime.now(UTC) + timedelta(days=365):%Y-%m-%dT%H:%M:%SZ},d,4,50.0")
    store.write(path, "\n".join(lines).encode())
    if passed_over:
        store.write("data/sensor_anomaly/evening.xlsx", b"PK")
    return run_window(store, "sensor_anomaly", HOUR)


def causes_of(store: Store) -> dict[str, str]:
    """Cause -> detail of each line of attention."""
    cells = [look.newest for each in read_attention(store, "sensor_anomaly", NOW) for look in each.looks]
    assert {cell.mark for cell in cells} <= {Mark.REMARKS}
    return {cell.first_cause: cell.first_detail for cell in cells}


def test_a_window_without_remarks_needs_no_attention(store: Store) -> None:
    """All good stays all good."""
    record = run_hour(store)
    assert (record.findings, causes_of(store)) == ((), {})
    assert mark_of(line_of(record)) is Mark.GOOD


def test_one_reading_where_many_are_usual_is_remarked(store: Store) -> None:
    """The sensor is named with its one reading and the usual 120; it is scored all the same."""
    record = run_hour(store, few=True)
    assert record.counts == {"scored": 10}
    assert causes_of(store) == {"few_readings": "d/4: 1 reading, where 120 are usual in such a window."}


def test_a_sensor_that_reports_as_seldom_as_ever_is_not_remarked(store: Store) -> None:
    """Among sensors of 120 readings an hour, one that has had a single one on the days before needs no attention."""
    write_hour(store, "2026-01-01T00", {})
    run_training(store, "sensor_anomaly", "2026-01-01T00", HOUR)
    for hour in ("2026-01-01T00", HOUR):
        write_hour(store, hour, {})
        path = f"data/sensor_anomaly/{hour}.csv"
        store.write(path, "\n".join(thin(store.read(path).decode().splitlines())).encode())
    assert run_window(store, "sensor_anomaly", HOUR).counts == {"scored": 10}
    assert causes_of(store) == {}


def test_a_clock_a_year_ahead_is_remarked(store: Store) -> None:
    """The file is named with its latest time."""
    run_hour(store, ahead=True)
    (detail,) = causes_of(store).values()
    assert "data/sensor_anomaly/2026-01-01T01.csv" in detail
    assert f"{datetime.now(UTC) + timedelta(days=365):%Y-%m-%d}" in detail


def test_a_file_that_is_passed_over_is_a_line_and_can_be_muted(
    store: Store, command: Callable[..., tuple[int, str]]
) -> None:
    """Attention exits with 10 and names the file; muted by its cause, it exits with 0."""
    run_hour(store, passed_over=True)
    code, said = command("attention")
    assert code == 10
    assert "passed_over" in said
    assert "evening.xlsx" in said
    assert "published, with remarks" in said
    mute(
        store,
        "sensor_anomaly",
        why="known",
        until="7d",
        now=datetime.now(UTC),
        requested_by="me",
        cause="passed_over",
    )
    assert command("attention")[0] == 0


def test_several_remarks_with_one_code_are_one_line(store: Store) -> None:
    """The first is told, and how many more there are."""
    store.write("data/sensor_anomaly/other.xlsx", b"PK")
    record = run_hour(store, passed_over=True)
    assert [finding.cause for finding in record.findings] == ["passed_over", "passed_over"]
    (detail,) = causes_of(store).values()
    assert detail.startswith("(and 1 more) data/sensor_anomaly/evening.xlsx")


def test_a_remark_is_text_with_a_code() -> None:
    """Kinds put it among their remarks as they put texts."""
    remark = Remark("odd_rows", "3 rows are odd.")
    assert (remark, remark.cause) == ("3 rows are odd.", "odd_rows")
    assert Partitions(Partitions.table([]), (), (remark,)).remarks[0].startswith("3 rows")
