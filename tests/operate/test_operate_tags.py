"""Tags and budgets: who pays for what, on Batch jobs, costs and notices; what is not urgent is refused beyond the budget."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from toy_workload import write_lines

from fleetscore.errors import CapacityError
from fleetscore.operations.due.backfills import check_backfill_due
from fleetscore.operations.monthly_costs import list_costs
from fleetscore.operations.notices.ended_runs import notices_of
from fleetscore.operations.watchdog import find_trouble
from fleetscore.pipeline.budget import check_budget
from fleetscore.pipeline.local import run_window
from fleetscore.pipeline.submit import submit_backfilled, submit_run, submit_training
from fleetscore.records import Only, RunRecord, RunRequest, RunState
from fleetscore.registry import find_workload
from fleetscore.runs.index import index_run, list_runs
from fleetscore.store.base import Store

Command = Callable[..., tuple[int, str]]
NOW = datetime(2026, 2, 10, tzinfo=UTC)
WINDOW = "2026-01-01T00"


def spent(store: Store, run: str, usd: float, month: int = 2, **tags: str) -> None:
    """A run of the month that cost so much, under these tags."""
    at = datetime(2026, month, 3, tzinfo=UTC)
    request = RunRequest(run, "toy", run, 1, at, "timer")
    facts = {"cost_usd": usd} | ({"tags": tags} if tags else {})
    index_run(store, RunRecord(request, RunState.PUBLISHED, at, facts=facts, ended=at))


def test_a_run_carries_the_tags_of_its_workload(store: Store) -> None:
    """Record, index and notices of a run have the tags that the settings named when it ended."""
    store.write(
        "settings/toy.toml", b'[run]\nerror_threshold = 1.0\ntags = {cost_center = "4711", team = "ops"}\n'
    )
    write_lines(store, WINDOW, [("a", 1, "ok"), ("b", 1, "fail")])
    record = run_window(store, "toy", WINDOW)
    tags = {"cost_center": "4711", "team": "ops"}
    assert record.facts["tags"] == tags
    assert list_runs(store, "toy")[0].tags == tags
    assert [notice.tags for notice in notices_of(record)] == [tags]
    overdue = [n for n in find_trouble(store, datetime(2026, 1, 2, tzinfo=UTC)) if n.kind == "window_overdue"]
    assert {json.dumps(notice.tags, sort_keys=True) for notice in overdue} == {json.dumps(tags)}


def test_costs_are_summed_by_workload_or_by_a_tag(store: Store, command: Command) -> None:
    """--by TAG gives a line for each value and one for runs without it; --month restricts; sums are the same either way."""
    spent(store, "a", 1.0, team="ops")
    spent(store, "b", 2.0, team="sales")
    spent(store, "c", 4.0)
    spent(store, "d", 8.0, month=1, team="ops")
    by_team = list_costs(store, by="team", month="2026-02")
    assert {each.tag: each.cost_usd for each in by_team} == {"": 4.0, "ops": 1.0, "sales": 2.0}
    assert sum(each.cost_usd for each in list_costs(store, month="2026-02")) == 7.0
    told = json.loads(command("costs", "--by", "team", "--month", "2026-02", "--json")[1])
    assert [(line["tag"], line["runs"]) for line in told] == [("", 1), ("ops", 1), ("sales", 1)]
    assert "(none)" in command("costs", "--by", "team")[1]
    code, said = command("costs", "--month", "soon")
    assert code == 2
    assert "not a month" in said


def test_a_budget_warns_then_refuses_what_is_not_urgent(store: Store) -> None:
    """Above budget_usd a notice is sent; above budget_stop_usd backfills and trainings are refused, and live windows run on."""
    store.write("settings/toy.toml", b"[run]\nbudget_usd = 5.0\nbudget_stop_usd = 10.0\n")
    write_lines(store, WINDOW, [("a", 1, "ok")])
    spent(store, "a", 6.0)
    spent(store, "before", 100.0, month=1)
    assert [n.kind for n in find_trouble(store, NOW) if n.kind == "budget"] == ["budget"]
    check_budget(store, "toy", NOW)
    spent(store, "b", 5.0)
    for refused in (
        lambda: submit_training(store, "toy", WINDOW, "2026-01-01T01", NOW, "me"),
        lambda: submit_backfilled(store, "toy", WINDOW, NOW, "backfill x", Only.MISSING),
        lambda: check_backfill_due(store, "toy", [WINDOW], NOW),
    ):
        with pytest.raises(CapacityError, match=r"11\.00 USD in 2026-02") as error:
            refused()
        assert error.value.code == "over_budget"
        assert not error.value.retry
    assert submit_run(store, "toy", WINDOW, NOW, "timer").fresh
    check_budget(store, "toy", NOW.replace(month=3))


@pytest.mark.parametrize(
    "line",
    ['tags = {Team = "a"}', 'tags = {run = "a"}', 'tags = {team = ""}', 'tags = {team = "a\\nb"}', "tags = {team = 1}",
     "tags = 3", "budget_stop_usd = nan"],
)  # fmt: skip
def test_tags_that_nothing_could_carry_are_refused(store: Store, line: str) -> None:
    """Names and values have limits, and an error of the settings names the line."""
    store.write("settings/toy.toml", f"[run]\n{line}\n".encode())
    assert find_workload(store, "toy").reason
