"""Rolling up the index of runs: the same answers from few files, whatever happens meanwhile."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from crashing_store import CrashingStore, Killed
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetscore.records import RunRecord, RunRequest, RunState, to_json
from fleetscore.runs.index import index_run, list_page, list_runs, list_runs_since
from fleetscore.runs.index_files import batches, index_file, list_files
from fleetscore.runs.index_rollup import roll_up_index
from fleetscore.store import open_store
from fleetscore.store.base import Entry, Store
from fleetscore.store.paths import run_path

START = datetime(2025, 11, 3, 20, tzinfo=UTC)
NOW = START + timedelta(days=400)


def ended(number: int, days: float, state: RunState = RunState.PUBLISHED) -> RunRecord:
    """A run that was requested so many days after the start."""
    at = START + timedelta(days=days)
    return RunRecord(RunRequest(f"toy-{number:04d}", "toy", f"{number}", 1, at, "test"), state, at, ended=at)


def index_all(store: Store, records: Sequence[RunRecord]) -> None:
    """Record the runs and index them as they come."""
    for record in records:
        store.write(run_path(record.request.run, "run.json"), to_json(record))
        index_run(store, record)


def names_of(store: Store) -> list[str]:
    """The days, months and years of the index, in order."""
    return sorted(file.name for file in list_files(store, "toy"))


def answers(store: Store) -> list[Any]:
    """What is asked of an index, in several ways."""
    pages = [list_page(store, "toy", 7, "")]
    while pages[-1].next:
        pages.append(list_page(store, "toy", 7, pages[-1].next))
    since = [
        sorted(list_runs_since(store, "toy", day), key=lambda line: line.run)
        for day in ("", "2026-02-11", "2026-12-01")
    ]
    recent = [list_runs(store, "toy", 3, since=day) for day in ("2025-11-20", "2026-10-30", "2027-01-01")]
    return [pages, since, recent]  # fmt: skip


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.floats(0, 405), st.sampled_from([RunState.PUBLISHED, RunState.SCORING])), max_size=30),
    st.lists(st.tuples(st.integers(0, 29), st.floats(330, 500)), max_size=4),
)  # fmt: skip
def test_a_rolled_index_answers_as_before(
    tmp_path_factory: pytest.TempPathFactory,
    runs: list[tuple[float, RunState]],
    moves: list[tuple[int, float]],
) -> None:
    """Whatever is rolled up when, and whichever run ends between, every question gets the answer of an index that never was."""
    rolled, plain = (open_store(str(tmp_path_factory.mktemp(name))) for name in ("rolled", "plain"))
    records = [ended(number, days, state) for number, (days, state) in enumerate(runs)]
    for store in (rolled, plain):
        index_all(store, records)
    for number, days in moves:
        roll_up_index(rolled, "toy", START + timedelta(days=days))
        assert answers(rolled) == answers(plain)
        if number < len(records):
            late = replace(records[number], state=RunState.FAILED, error=f"late {days}")
            for store in (rolled, plain):
                index_run(store, late)
            assert answers(rolled) == answers(plain)


def test_a_long_history_takes_few_files(store: Store) -> None:
    """Four hundred days are a file a month of this year, one of the year before, and the days since yesterday."""
    index_all(store, [ended(number, number) for number in range(401)])
    assert roll_up_index(store, "toy", NOW)
    assert names_of(store) == [
        "2025",
        *(f"2026-{month:02d}" for month in range(1, 13)),
        "2026-12-07",
        "2026-12-08",
    ]
    assert roll_up_index(store, "toy", NOW) == 0
    assert len(list_runs_since(store, "toy", "")) == 401


def test_a_day_with_a_run_under_way_stays_a_day(store: Store) -> None:
    """Its file is written still; the night after it has ended, it goes."""
    index_all(store, [ended(1, 1), ended(2, 2, RunState.SCORING), ended(3, 3)])
    roll_up_index(store, "toy", START + timedelta(days=20))
    assert names_of(store) == ["2025-11", "2025-11-05"]
    index_run(store, ended(2, 2))
    roll_up_index(store, "toy", START + timedelta(days=21))
    assert names_of(store) == ["2025-11"]


def test_a_roller_that_dies_loses_nothing(store: Store) -> None:
    """Killed at any of its writes and deletions, and started again: every run has its one line."""
    records = [ended(number, 20 * number) for number in range(8)]
    index_all(store, records)
    expected = answers(store)
    for at in range(1, 30):
        with suppress(Killed):
            roll_up_index(CrashingStore(store, at), "toy", NOW)
        assert answers(store) == expected, f"write {at}"
    assert len(list_files(store, "toy")) < len(records)


class RolledMeanwhile:
    """A store whose index is rolled up after it was listed, once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._done = False

    def list(self, prefix: str, most: int | None = None) -> Iterator[Entry]:
        """The listing of a moment ago."""
        found = list(self._store.list(prefix, most))
        if not self._done:
            self._done = True
            roll_up_index(self._store, "toy", NOW)
        return iter(found)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def test_a_reader_does_not_mind_a_roller(store: Store) -> None:
    """Files that go between the listing and the reading are found where they went."""
    index_all(store, [ended(number, 5 * number) for number in range(20)])
    expected = [line.run for line in list_runs(store, "toy")]
    racing: Any = RolledMeanwhile(store)
    assert [line.run for line in list_runs(racing, "toy")] == expected
    racing = RolledMeanwhile(store)
    assert {line.run for line in list_runs_since(racing, "toy", "")} == set(expected)


def test_batches_keep_together_what_covers_each_other() -> None:
    """A month comes with its days, years of one workload do not hold up the days of another, and nothing newer is left behind."""
    names = (
        "a/2025",
        "a/2026-10",
        "a/2026-11",
        "a/2026-11-18",
        "a/2026-12-01",
        "b/2026-11-30",
        "b/2026-12-01",
    )
    files = [index_file(f"index/{name}.json", 10) for name in names]
    told = [([file.path[6:-5] for file in batch], after) for batch, after in batches(files, 20)]
    assert told == [
        (["a/2026-12-01", "b/2026-12-01"], "2026-11-31"),
        (["a/2026-11", "a/2026-11-18"], "2026-11-30"),
        (["b/2026-11-30", "a/2026-10"], "2025-12-31"),
        (["a/2025"], ""),
    ]
