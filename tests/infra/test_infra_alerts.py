"""Alerts: each watches something that the app or a service really writes, and each can reach somebody."""

import re

import pytest

from tests.infra.bicep_reader import Template, read_template
from tests.infra.bicep_values import Values
from tests.infra.places import INFRA, ROOT

ALERTS = read_template(INFRA / "modules" / "alerts.bicep")


def values(**parameters: object) -> Values:
    """The module's values with these parameters."""
    given: dict[str, object] = {
        "location": "westeurope",
        "actionGroupName": "ag",
        "alertEmail": "",
        "workspaceId": "w",
        "silenceHours": 3,
        "sensorAnomalyOverdueHours": 0,
        "storeSalesOverdueHours": 0,
        "serverLoadOverdueHours": 0,
        "batchEnabled": True,
        "budgetName": "b",
        "monthlyBudget": 100,
        "budgetStart": "",
    }
    return Values(ALERTS, given | parameters, lambda name, path: f"{name}-{path}")


def rules(**parameters: object) -> dict[str, dict[str, str]]:
    """The rules that these parameters give, by name."""
    return {rule["name"]: rule for rule in values(**parameters).variable("rules")}


def test_everything_that_must_be_told_is_told() -> None:
    """Run failed, schedule silent, poison message, resize error; the last only where there is a Batch account."""
    expected = {"run-failed", "invocation-failed", "schedule-silent", "poison-message", "pool-resize-failed"}
    assert set(rules()) == expected
    assert set(rules(batchEnabled=False)) == expected - {"pool-resize-failed"}


def test_the_lines_that_queries_look_for_are_logged() -> None:
    """`run_ended` with its fields, in the order and form that the queries want, stands in the code that ends a run."""
    code = (ROOT / "fleetscore" / "run_records.py").read_text()
    (line,) = re.findall(r'"(run_ended [^"]+)"', code)
    for part in ("workload=%s ", "window=%s ", "state=%s "):
        assert part in line
    states = re.findall(r'= "(\w+)"', (ROOT / "fleetscore" / "records.py").read_text())
    for state in re.findall(r"state=(\w+)", rules()["run-failed"]["query"]):
        assert state in states


def test_the_timers_whose_silence_is_told_exist() -> None:
    """The query counts functions whose names end with _timer; every schedule of the app is such a function."""
    assert "endswith '_timer'" in rules()["schedule-silent"]["query"]
    code = (ROOT / "triggers" / "schedules.py").read_text()
    timers = re.findall(r"timer_trigger\(.*?\)\n(?:@.*\n)*async def (\w+)", code)
    assert timers
    assert all(name.endswith("_timer") for name in timers)


def test_silence_is_longer_than_the_gap_between_two_ticks(main: Template) -> None:
    """The hourly schedule ticks within the hours that the silence alert waits for, by default."""
    given = Values(main, {}, lambda name, path: name)
    defaults = {name: given.of(p.default) for name, p in main.parameters.items() if p.default is not None}
    hourly = re.fullmatch(r"0 \d+ \* \* \* \*", defaults["sensorAnomalySchedule"])
    assert hourly
    assert defaults["alertSilenceHours"] > 1


@pytest.mark.parametrize("hours", [0, 24])
def test_a_watched_workload_gets_its_own_switch(hours: int) -> None:
    """The overdue rule asks for a published window of that workload, and is made only where hours are given."""
    made = values(serverLoadOverdueHours=hours)
    watch = {row["workload"]: row["hours"] for row in made.variable("watched")}
    assert watch == {"sensor_anomaly": 0, "store_sales": 0, "server_load": hours}
    query = made.variable("windowOverdueQuery").replace("{0}", "server_load")
    assert "'workload=server_load '" in query
    assert "'state=published'" in query
    assert query.count("{") == 0


def test_windows_of_rules_are_those_that_azure_takes() -> None:
    """Log alerts look back over fixed spans only, and never look less far than they run apart."""
    minutes = {"PT5M": 5, "PT15M": 15, "PT30M": 30, "PT3H": 180}
    for rule in rules().values():
        assert minutes[rule["every"]] <= minutes[rule["window"]]


def test_a_budget_starts_when_it_is_told_to() -> None:
    """The remembered month wins; without one it is this month; 0 means none."""
    period = ALERTS.resources["budget"].properties()["properties"]
    assert values(budgetStart="2026-03-01").of(period)["timePeriod"] == {"startDate": "2026-03-01"}
    assert values().of(period)["timePeriod"] == {"startDate": "2026-11-01"}
    assert not values(monthlyBudget=0).deploys(ALERTS.resources["budget"])


def test_mail_goes_to_whoever_is_named() -> None:
    """With an address there is one receiver, without there is none and the group still exists."""
    body = ALERTS.resources["actionGroup"].properties()["properties"]
    assert values().of(body)["emailReceivers"] == []
    (receiver,) = values(alertEmail="ops@example.com").of(body)["emailReceivers"]
    assert receiver["emailAddress"] == "ops@example.com"
