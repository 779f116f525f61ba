"""Costs per workload and month are sums over the index of runs, and say what they do not know."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from app_host import Host
from hypothesis import given
from hypothesis import strategies as st

from fleetscore.errors import InputError
from fleetscore.operations.monthly_costs import list_costs, sum_costs
from fleetscore.records import RunRecord, RunRequest, RunState
from fleetscore.runs.index import index_run, line_of
from fleetscore.store.base import Store

START = datetime(2026, 1, 30, tzinfo=UTC)


def record(number: int, day: int, cost: float | None) -> RunRecord:
    """A run of so many days after START, with or without a cost."""
    at = START + timedelta(days=day)
    facts = {} if cost is None else {"cost_usd": cost}
    return RunRecord(
        RunRequest(f"toy-{number}", "toy", str(number), 1, at, "x"),
        RunState.PUBLISHED,
        at,
        facts=facts,
        rows=10,
    )


@given(st.lists(st.tuples(st.integers(0, 400), st.none() | st.floats(0, 100))))
def test_every_run_is_in_exactly_one_month(days: list[tuple[int, float | None]]) -> None:
    """Counts, rows and dollars over all months are those over all runs; months fall from newest to oldest."""
    records = [record(i, day, cost) for i, (day, cost) in enumerate(days)]
    months = sum_costs(map(line_of, records))
    assert sum(month.runs for month in months) == len(days)
    assert sum(month.unpriced for month in months) == sum(cost is None for _, cost in days)
    assert sum(month.cost_usd for month in months) == pytest.approx(sum(cost or 0 for _, cost in days))
    assert [m.month for m in months] == sorted({m.month for m in months}, reverse=True)


def test_the_command_and_the_door_tell_the_same(
    store: Store, host: Host, host_store: Store, command: Callable[..., tuple[int, str]]
) -> None:
    """Since a month, of one workload; a month that is none is refused with the field's name."""
    for number, (day, cost) in enumerate([(0, 1.5), (1, None), (5, 2.0)]):
        index_run(store, record(number, day, cost))
        index_run(host_store, record(number, day, cost))
    months = list_costs(store, "toy")
    assert [(m.month, m.runs, m.cost_usd, m.unpriced) for m in months] == [
        ("2026-02", 1, 2.0, 0),
        ("2026-01", 2, 1.5, 1),
    ]
    told = json.loads(command("costs", "--workload", "toy", "--since", "2026-02", "--json")[1])
    assert (
        told
        == host.get("costs?workload=toy&since=2026-02")
        == json.loads(
            command(
                "costs",
                "--workload",
                "toy",
                "--since",
                "2026-02",
                "--json",
                "--host",
                host.url,
                "--key",
                host.key,
            )[1]
        )
    )
    assert host.get("costs?since=soon")["error"]["field"] == "since"
    with pytest.raises(InputError, match="not a month"):
        list_costs(store, since="2026-13")
