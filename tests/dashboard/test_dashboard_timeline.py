"""The timeline: what each shard did, from commits and from listings alike, kept when the run is collected, and drawn."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dashboard_store import FAILURES, GOOD, UNDERWAY, run_of
from hypothesis import given
from hypothesis import strategies as st

from fleetscore.dashboard.run_view import count_so_far
from fleetscore.dashboard.timeline_drawing import (
    BAD,
    LOST,
    PLAIN,
    RETRIED,
    RUNNING,
    SLOW,
    draw_timeline,
    extremes,
    kind_of,
    pack_rows,
)
from fleetscore.records import RunRecord, RunRequest, RunState, ShardPlan, ShardRecord, to_json
from fleetscore.runs.run_records import read_run
from fleetscore.runs.timeline import ShardBar, Timeline, make_timeline, read_timeline
from fleetscore.store import open_store
from fleetscore.store.base import Entry, Store

START = datetime(2026, 1, 1, tzinfo=UTC)


def plan_of(shard: int, placement: str = "inline") -> ShardPlan:
    """A planned shard of ten partitions."""
    return ShardPlan(shard, 10, 10, 10, 1.0, 1, placement, "")  # type: ignore[arg-type]  # one of the two placements


def entry(path: str, seconds: float) -> Entry:
    """A file of shard files, written so long after the start."""
    return Entry(f"x/{path}", 1, "", START + timedelta(seconds=seconds))


def record_of(shard: int, **given: object) -> ShardRecord:
    """A commit."""
    facts: dict[str, object] = {
        "run": "r", "shard": shard, "attempt": "b", "placement": "inline", "started": START, "seconds": 2.0,
        "counts": {"scored": 9, "failed": 1}, "rows": 1, "input_rows": 1, "outcomes": "", "results": None,
    }  # fmt: skip
    return ShardRecord(**(facts | given))  # type: ignore[arg-type]  # the tests give fields of the right type


def test_a_listing_tells_who_is_at_work_done_waiting_or_lost() -> None:
    """Attempts are counted, an uncommitted shard of a run that ended is lost with all its partitions."""
    entries = [
        entry("00000/attempts/a/crumb.json", 1), entry("00000/attempts/b/crumb.json", 3), entry("00000/result.json", 5),
        entry("00001/attempts/a/crumb.json", 2), entry("junk", 1), entry("00009/result.json", 1),
    ]  # fmt: skip
    plans = [plan_of(n) for n in range(3)]
    bars = make_timeline(plans, entries, {}, "x/", has_ended=False).bars
    assert [(bar.state, bar.attempts, bar.seconds) for bar in bars] == [
        ("committed", 2, 4.0),
        ("running", 1, None),
        ("planned", 0, None),
    ]
    ended = make_timeline(plans, entries, {0: record_of(0)}, "x/", has_ended=True).bars
    assert [(bar.state, bar.bad) for bar in ended] == [("committed", 1), ("lost", 10), ("lost", 10)]
    assert (ended[0].seconds, ended[0].attempts) == (2.0, 2)


def test_a_collected_run_keeps_its_timeline(filled: Store) -> None:
    """timeline.json tells each shard of the plan, with its outcomes; they add up to what was scored."""
    record = read_run(filled, run_of(GOOD))
    timeline = read_timeline(filled, record)
    assert filled.stat(f"runs/{run_of(GOOD)}/timeline.json") is not None
    assert [bar.shard for bar in timeline.bars] == list(range(record.shards))
    assert sum(bar.partitions for bar in timeline.bars) == record.partitions
    assert sum((bar.counts or {}).get("scored", 0) for bar in timeline.bars) == record.counts["scored"]
    retried = read_timeline(filled, read_run(filled, run_of(FAILURES)))
    assert sum(bar.bad for bar in retried.bars) == 2


def test_a_run_under_way_is_told_as_it_stands(filled: Store) -> None:
    """Four shards are committed with their outcomes, one is at work, the others wait."""
    bars = read_timeline(filled, read_run(filled, run_of(UNDERWAY))).bars
    assert [bar.state for bar in bars] == ["committed"] * 4 + ["running"] + ["planned"] * 5
    assert sum(bar.bad for bar in bars) == 1


def test_a_large_run_under_way_reads_no_commits(
    tmp_path: Path, filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond two hundred commits the listing tells, so that a poll stays cheap."""
    from fleetscore.runs import timeline

    monkeypatch.setattr(timeline, "_MOST_RECORDS", 3)
    monkeypatch.setattr(timeline, "read_version", pytest.fail)
    bars = read_timeline(filled, read_run(filled, run_of(UNDERWAY))).bars
    assert [bar.state for bar in bars][:5] == ["committed"] * 4 + ["running"]
    assert all(bar.counts is None for bar in bars)


def test_before_the_plan_there_is_nothing(tmp_path: Path, filled: Store) -> None:
    """An empty timeline, not an error."""
    store = open_store(str(tmp_path))
    record = read_run(filled, run_of(GOOD))
    store.write("runs/x/run.json", to_json(record))
    assert read_timeline(store, record) == Timeline(())


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 20)), max_size=60))
def test_bars_of_a_row_do_not_overlap_and_rows_are_few(spans: list[tuple[float, float]]) -> None:
    """As many rows as shards were at work at once at the most (compared with counting at every beginning)."""
    ordered = sorted((start, start + long) for start, long in spans)
    rows = pack_rows(ordered)
    for number, (row, (start, stop)) in enumerate(zip(rows, ordered, strict=True)):
        for other, (other_start, other_stop) in zip(rows[:number], ordered[:number], strict=True):
            assert other != row or other_stop <= start or stop <= other_start
    at_once = max((sum(a <= start < b or a == start for a, b in ordered) for start, _ in ordered), default=0)
    assert len(set(rows)) <= at_once


def bar(shard: int, **given: object) -> ShardBar:
    """A committed shard."""
    facts: dict[str, object] = {
        "shard": shard, "placement": "batch" if shard % 2 else "inline", "partitions": 10, "state": "committed",
        "began": START + timedelta(seconds=shard), "seconds": 1.0, "counts": {"scored": 10}, "attempts": 1,
    }  # fmt: skip
    return ShardBar(**(facts | given))  # type: ignore[arg-type]  # the tests give fields of the right type


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({}, PLAIN),
        ({"seconds": 2.1}, SLOW),
        ({"attempts": 2}, RETRIED),
        ({"counts": {"scored": 5, "failed": 5}}, BAD),
        ({"counts": {"scored": 9, "failed": 1}}, PLAIN),
        ({"state": "lost", "seconds": None}, LOST),
        ({"state": "running", "seconds": None}, RUNNING),
        ({"state": "planned", "seconds": None}, None),
    ],
)
def test_what_stands_out_is_drawn_so(given: dict[str, object], kind: object) -> None:
    """Slow, retried, failed and lost shards each have their own look."""
    assert kind_of(bar(1, **given), 1.0) is kind


def test_up_to_two_hundred_shards_are_bars_and_more_are_areas() -> None:
    """The picture stays small whatever the run's size; both lanes are named; every bar tells its shard."""
    few = draw_timeline(Timeline(tuple(bar(n) for n in range(200))), START)
    assert few.count('class="bar"') == 200 + 1  # and the legend
    assert few.count("shard 17,") == 1
    many = draw_timeline(Timeline(tuple(bar(n) for n in range(5000))), START)
    assert len(many) < 20_000
    for picture in (few, many):
        assert "inline" in picture
        assert "batch" in picture


def test_extremes_are_few_and_begin_with_the_worst() -> None:
    """Lost, then half failed, then retried, then slow; at most ten, and the slowest ones when all is well."""
    bars = [bar(n) for n in range(50)] + [
        bar(50, seconds=9.0),
        bar(51, attempts=3),
        bar(52, state="lost", seconds=None),
    ]
    assert [found.shard for found in extremes(Timeline(tuple(bars)))][:3] == [52, 51, 50]
    assert len(extremes(Timeline(tuple(bar(n, attempts=2) for n in range(99))))) == 10
    assert len(extremes(Timeline(tuple(bar(n) for n in range(99))))) == 3


def test_partitions_of_shards_that_were_not_read_count_as_scored() -> None:
    """Settled before scoring, told by commits, and the rest of what is done: together exactly what is done."""
    request = RunRequest("r", "toy", "2026-01-01T00", 1, START, "test")
    record = RunRecord(request, RunState.SCORING, START, partitions=100, counts={"late": 5})
    timeline = Timeline(
        (bar(0, counts={"scored": 7, "failed": 3}), bar(1, counts=None), bar(2, state="planned", counts=None))
    )
    assert count_so_far(record, timeline, 25) == {"scored": 17, "failed": 3, "late": 5}
    assert count_so_far(replace(record, state=RunState.PREPARING), timeline, 5) == {"late": 5}
