"""Publishing is one conditional write: all or nothing, never backwards, the same when repeated."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetscore.errors import ConflictError, MissingBlobError
from fleetscore.records import Collected, ResultFile, RunRequest
from fleetscore.runs.manifests import judge_publishing, publish_manifest, read_latest, read_manifest
from fleetscore.store import open_store
from fleetscore.store.base import Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def request_of(window: str, round_number: int = 1) -> RunRequest:
    """A request for a window of the toy workload."""
    suffix = "" if round_number == 1 else f"-r{round_number}"
    return RunRequest(f"toy-{window}{suffix}", "toy", window, round_number, NOW, "test")


def collected_of(rows: int) -> Collected:
    """A collected run with one file."""
    files = (ResultFile(f"f{rows}", rows, "0" * 64, 1),)
    return Collected(1, {"scored": 1}, rows, rows, {"v": 1}, (), (), 0.1, 1, 1, files)


def test_publishing_twice_changes_nothing(store: Store) -> None:
    """The second call of the same run gives the first one's manifest."""
    first = publish_manifest(store, request_of("2026-01-01T00"), collected_of(3), NOW)
    again = publish_manifest(store, request_of("2026-01-01T00"), collected_of(4), NOW + timedelta(hours=1))
    assert first == again == read_manifest(store, "toy", "2026-01-01T00")


def test_a_later_round_replaces_and_remembers_an_earlier_one(store: Store) -> None:
    """History has the replaced run with its counts and rows."""
    publish_manifest(store, request_of("2026-01-01T00"), collected_of(3), NOW)
    second = publish_manifest(store, request_of("2026-01-01T00", 2), collected_of(4), NOW)
    assert [(line.run, line.rows) for line in second.history] == [("toy-2026-01-01T00", 3)]
    assert read_manifest(store, "toy", "2026-01-01T00").files[0].path == "f4"


def test_an_earlier_round_that_wakes_up_late_does_not_replace_a_later_one(store: Store) -> None:
    """What was published by round 2 stands; round 1 is told so."""
    publish_manifest(store, request_of("2026-01-01T00", 2), collected_of(4), NOW)
    with pytest.raises(ConflictError, match="that stands"):
        publish_manifest(store, request_of("2026-01-01T00"), collected_of(3), NOW)
    assert read_manifest(store, "toy", "2026-01-01T00").rows == 4


@given(st.permutations(range(5)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
def test_latest_points_to_the_newest_window_in_any_order(tmp_path_factory: Any, order: list[int]) -> None:
    """Windows may be published in any order: latest never moves back, and first is the oldest."""
    store = open_store(str(tmp_path_factory.mktemp("latest")))
    for hour in order:
        publish_manifest(store, request_of(f"2026-01-01T{hour:02d}"), collected_of(hour + 1), NOW)
    latest = read_latest(store, "toy")
    assert latest is not None
    assert (latest.first, latest.window) == ("2026-01-01T00", "2026-01-01T04")


def test_nothing_is_read_as_published_before_the_first_write(store: Store) -> None:
    """A window without a manifest is not published, whatever lies in the runs folder."""
    with pytest.raises(MissingBlobError):
        read_manifest(store, "toy", "2026-01-01T00")
    assert read_latest(store, "toy") is None


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.floats(0, 1))
def test_the_threshold_counts_failed_and_quarantined_against_all(
    scored: int, failed: int, late: int, threshold: float
) -> None:
    """Published exactly if something was scored and the bad share is within the threshold."""
    counts = {"scored": scored, "failed": failed, "late": late}
    verdict = judge_publishing(counts, threshold)
    assert verdict.publish == (scored > 0 and failed <= threshold * (scored + failed + late))
    assert bool(verdict.reason) != verdict.publish


def test_a_window_that_expects_nobody_is_not_published_and_says_why() -> None:
    """No data and no model is a reason of its own, not "none of 0"."""
    verdict = judge_publishing({}, 0.5)
    assert (verdict.publish, "the window has no data" in verdict.reason) == (False, True)
