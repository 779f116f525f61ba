"""The index of runs: newest first, a page at a time, without reading runs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetscore.errors import MissingBlobError
from fleetscore.records import Cause, RunRecord, RunRequest, RunState
from fleetscore.runs.index import index_run, line_of, list_page, list_runs, list_runs_since, newest_rounds
from fleetscore.runs.run_records import request_run
from fleetscore.store import open_store
from fleetscore.store.base import Store

START = datetime(2026, 1, 30, 20, tzinfo=UTC)


def asked(number: int, hours: float, workload: str = "toy") -> RunRequest:
    """The request of one run, that many hours after the start."""
    return RunRequest(
        f"{workload}-{number:04d}", workload, "2026-01-01T00", 1, START + timedelta(hours=hours), "test"
    )


class CountingStore:
    """A store that notes what is read from it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.reads: list[str] = []

    def read(self, path: str) -> bytes:
        """Read and note."""
        self.reads.append(path)
        return self.store.read(path)

    def read_tagged(self, path: str) -> tuple[bytes, str]:
        """Read and note."""
        self.reads.append(path)
        return self.store.read_tagged(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@given(
    st.lists(st.tuples(st.floats(0, 100), st.sampled_from(["toy", "server_load"])), max_size=25),
    st.integers(1, 9),
)
def test_pages_give_every_run_once_newest_first(
    tmp_path_factory: pytest.TempPathFactory, runs: list[tuple[float, str]], limit: int
) -> None:
    """Page after page of any size has each run exactly once, in the order of their requests, over days and workloads."""
    store = open_store(str(tmp_path_factory.mktemp("index")))
    requests = [asked(number, hours, workload) for number, (hours, workload) in enumerate(runs)]
    for request in requests:
        request_run(store, request)
    expected = [r.run for r in sorted(requests, key=lambda r: (r.requested, r.run), reverse=True)]
    found: list[str] = []
    before = ""
    while True:
        page = list_page(store, "", limit, before)
        found += [line.run for line in page.runs]
        if not page.next:
            break
        before = page.next
    assert found == expected
    assert [line.run for line in list_runs(store, "toy")] == [
        run for run in expected if run.startswith("toy")
    ]


def test_listing_reads_the_index_of_the_newest_days_only(store: Store) -> None:
    """Ten runs out of four hundred over a hundred days: a few day files are read, and no run."""
    for number in range(400):
        request_run(store, asked(number, 6 * number))
    counting: Any = CountingStore(store)
    assert len(list_runs(counting, "toy", 10)) == 10
    assert counting.reads
    assert len(counting.reads) <= 4
    assert all(path.startswith("index/") for path in counting.reads)


def test_a_run_keeps_its_line_when_it_moves_on(store: Store) -> None:
    """The line is replaced, not added; it lies with the day of the request however late the run ends."""
    request = asked(1, 0)
    request_run(store, request)
    ended = replace(
        RunRecord(request, RunState.UNPUBLISHED, START + timedelta(days=3)),
        causes=(Cause("scored", "remark", 9, "a", ""), Cause("failed", "no_model", 3, "b", "")),
        facts={"cost_usd": 0.25},
    )
    index_run(store, ended)
    (line,) = list_runs(store, "toy")
    assert (line, line.first_cause, line.cost_usd) == (line_of(ended), "no_model", 0.25)
    assert list_runs_since(store, "toy", "2026-01-30") == [line]
    assert list_runs_since(store, "toy", "2026-01-31") == []


def test_a_line_names_the_first_cause_with_its_partition_and_drift_last() -> None:
    """A missing result is told before an error, an error before drift; the partition is that of the cause."""
    bad, drifted = Cause("late", "no_data", 1, "b", "It is gone."), Cause("scored", "drifted", 2, "a", "")
    record = RunRecord(asked(1, 0), RunState.PUBLISHED, START, causes=(drifted,), facts={"drifted": 2})
    broken = replace(record, error="It broke.")
    lines = [line_of(each) for each in (record, broken, replace(broken, causes=(drifted, bad)))]
    told = [(line.first_cause, line.first_partition) for line in lines]
    assert told == [("drifted", "a"), ("It broke.", ""), ("no_data", "b")]
    assert (lines[0].drifted, lines[2].first_detail) == (2, "It is gone.")


def test_the_newest_round_of_a_window_is_the_one_requested_last(store: Store) -> None:
    """Trainings do not count, and the order of the lines does not matter."""
    first, retry, training = asked(1, 0), replace(asked(2, 5), round=2), replace(asked(3, 9), purpose="train")
    lines = [line_of(RunRecord(request, RunState.PUBLISHED, START)) for request in (retry, first, training)]
    for ordered in (lines, lines[::-1]):
        assert {window: line.run for window, line in newest_rounds(ordered).items()} == {
            first.window: retry.run
        }


def test_a_page_before_an_unknown_run_is_refused(store: Store) -> None:
    """The error names the field."""
    with pytest.raises(MissingBlobError) as caught:
        list_page(store, "toy", 10, "nope")
    assert (caught.value.code, caught.value.field) == ("no_run", "before")
