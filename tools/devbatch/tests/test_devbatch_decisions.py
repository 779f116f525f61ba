"""The pure decisions: which node runs what, what follows an attempt, durations, filters."""

from datetime import timedelta
from typing import Any

import pytest
from azure.batch import models as m
from hypothesis import given
from hypothesis import strategies as st

from devbatch.durations import NO_LIMIT, parse_duration
from devbatch.errors import ServiceError
from devbatch.odata import read_filter, select_fields
from devbatch.records import Failure
from devbatch.rules import cores_of
from devbatch.scheduling import Attempt, Complete, Requeue, Retry, after_attempt, assign_nodes

slots = st.lists(st.integers(1, 8), max_size=30)


@given(needed=slots, free=st.lists(st.integers(0, 8), max_size=8), fill=st.sampled_from(["pack", "spread"]))
def test_assignment_never_overfills_a_node_and_leaves_nothing_that_fits(
    needed: list[int], free: list[int], fill: Any
) -> None:
    """No node gets more than it has free, no task runs twice, and what waits fits nowhere afterwards."""
    assigned = assign_nodes(needed, free, fill)
    left = list(free)
    for task, node in assigned:
        left[node] -= needed[task]
    assert all(slots >= 0 for slots in left)
    started = [task for task, _ in assigned]
    assert len(set(started)) == len(started)
    waiting = set(range(len(needed))) - set(started)
    assert all(needed[task] > max(left, default=0) for task in waiting)


def test_pack_fills_one_node_and_spread_uses_all() -> None:
    """Two tasks on two nodes of two slots: packed they share the first, spread they take one each."""
    assert [node for _, node in assign_nodes([1, 1], [2, 2], "pack")] == [0, 0]
    assert [node for _, node in assign_nodes([1, 1], [2, 2], "spread")] == [0, 1]


@given(code=st.integers(1, 255), used=st.integers(0, 5), allowed=st.integers(-1, 5))
def test_failures_are_retried_exactly_while_retries_are_left(code: int, used: int, allowed: int) -> None:
    """A non-zero exit is retried while fewer retries are used than allowed, or always with -1."""
    follows = after_attempt(Attempt(exit_code=code), used, allowed)
    assert isinstance(follows, Retry if allowed == -1 or used < allowed else Complete)


@pytest.mark.parametrize(
    ("attempt", "expected"),
    [
        (Attempt(exit_code=0), Complete(0, None)),
        (Attempt(exit_code=137, ending="preempted"), Requeue()),
        (Attempt(exit_code=0, ending="requeued"), Requeue()),
        (Attempt(failure=Failure("usererror", "X", "x")), Complete(None, Failure("usererror", "X", "x"))),
    ],
)
def test_what_is_not_the_programs_fault_uses_up_no_retry(attempt: Attempt, expected: object) -> None:
    """Preemption and requeue use up no retry, and neither does a start that fails."""
    assert after_attempt(attempt, 0, 3) == expected


@given(st.integers(1, 10_000_000))
def test_durations_of_the_client_are_read(seconds: int) -> None:
    """Every whole number of seconds that the client writes is read back."""
    written = m.BatchTaskConstraints(max_wall_clock_time=timedelta(seconds=seconds))["maxWallClockTime"]
    assert parse_duration(written, "x") == seconds


def test_durations_of_client_and_service() -> None:
    """The client's zero-padded form and the service's "no limit" are read; other text is refused by name."""
    assert parse_duration("PT02H30M05S", "x") == 9005
    assert parse_duration("P1DT0.5S", "x") == 86_400.5
    assert parse_duration(NO_LIMIT, "x") is None
    for text in ("", "P", "PT", "2h", "P1Y", "-PT1S"):
        with pytest.raises(ServiceError, match="retentionTime"):
            parse_duration(text, "retentionTime")


ENTITY = {
    "id": "a'b",
    "state": "completed",
    "executionInfo": {"exitCode": 3, "endTime": "2026-01-02T00:00:00Z"},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("state eq 'completed'", True),
        ("state ne 'completed'", False),
        ("id eq 'a''b'", True),
        ("executionInfo/exitCode ge 3 and executionInfo/exitCode lt 4", True),
        ("executionInfo/exitCode gt 3 or state eq 'completed'", True),
        ("not (state eq 'active' or state eq 'running')", True),
        ("executionInfo/endTime gt datetime'2026-01-01T00:00:00Z'", True),
        ("executionInfo/endTime lt 2026-01-01T00:00:00Z", False),
        ("executionInfo/endTime gt datetime'2026-01-01T00:00:00'", True),
        ("id eq '2026-01-01T00:00:00Z'", False),
        ("state gt datetime'2026-01-01T00:00:00Z'", False),
        ("displayName eq 'x'", False),
        ("displayName eq null", True),
        ("displayName ne 'x'", True),
        ("startswith(state,'comp')", True),
    ],
)
def test_filters(text: str, expected: bool) -> None:
    """Comparisons, nested fields, times, and, or, not, startswith and parentheses select as OData says."""
    assert read_filter(text, "tasks")(ENTITY) is expected


@pytest.mark.parametrize(
    "text",
    [
        "state",
        "state eq",
        "state is 'x'",
        "(state eq 'x'",
        "id eq 'b' c",
        "state eq 'x",
        "colour eq 'x'",
        "executionInfo/exitCod eq 0",
        "startswith(colour,'x')",
        "state eq active",
        'state eq "active"',
        "executionInfo/endTime gt yesterday",
        "executionInfo/exitCode eq " + "9" * 5000,
        "(" * 1500 + "state eq 'x'" + ")" * 1500,
        "not " * 1500 + "state eq 'x'",
    ],
)
def test_filters_that_make_no_sense_are_refused(text: str) -> None:
    """A filter that cannot be read, or names an unknown field, is 400 InvalidQueryParameterValue."""
    with pytest.raises(ServiceError) as refused:
        read_filter(text, "tasks")
    assert refused.value.code == "InvalidQueryParameterValue"


def test_selection_keeps_only_what_is_named() -> None:
    """A selection keeps top-level fields; a nested name keeps its parent."""
    assert set(select_fields(ENTITY, "id,executionInfo/exitCode", "tasks")) == {"id", "executionInfo"}


@pytest.mark.parametrize("selected", ["id,colour", "executionInfo/exitCod", "isDedicated"])
def test_selections_of_unknown_fields_are_refused(selected: str) -> None:
    """A field that tasks do not have is 400 InvalidQueryParameterValue that names it."""
    with pytest.raises(ServiceError, match="tasks have no property") as refused:
        select_fields(ENTITY, selected, "tasks")
    assert refused.value.code == "InvalidQueryParameterValue"


@pytest.mark.parametrize(
    ("size", "cores"),
    [("Standard_D4ads_v5", 4), ("STANDARD_D64S_V3", 64), ("Standard_E2_v3", 2), ("something", 1)],
)
def test_cores_are_read_from_the_size(size: str, cores: int) -> None:
    """The number after the family letters is the number of cores."""
    assert cores_of(size) == cores
