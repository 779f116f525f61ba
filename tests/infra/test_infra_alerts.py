"""Alerts: each watches something that the app or a service really writes, and each can reach somebody."""

import re
from typing import Any

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
        "tags": {},
        "batchEnabled": True,
        "budgetName": "b",
        "monthlyBudget": 100,
        "budgetStart": "",
    }
    return Values(ALERTS, given | parameters, lambda name, path: f"{name}-{path}")


def lines_in_code(folder: str, pattern: str) -> list[str]:
    """What the pattern's group matches in the Python files of a folder of the app."""
    files = sorted((ROOT / folder).rglob("*.py"))
    return [match for path in files for match in re.findall(pattern, path.read_text())]


def rules(**parameters: object) -> dict[str, dict[str, Any]]:
    """The rules that these parameters give, by name."""
    return {rule["name"]: rule for rule in values(**parameters).variable("rules")}


def test_everything_that_must_be_told_is_told() -> None:
    """Each kind of trouble has a rule; failed resizes only where there is a Batch account."""
    expected = {
        "run-failed",
        "window-overdue",
        "invocation-failed",
        "schedule-silent",
        "log-cap-reached",
        "poison-message",
        "pool-resize-failed",
    }
    assert set(rules()) == expected
    assert set(rules(batchEnabled=False)) == expected - {"pool-resize-failed"}


def test_the_lines_that_queries_look_for_are_logged() -> None:
    """`run_ended` with its fields, in the order and form that the queries want, stands in the code that ends a run."""
    (line,) = lines_in_code("fleetscore", r'"(run_ended [^"]+)"')
    for part in ("workload=%s ", "window=%s ", "state=%s "):
        assert part in line
    states = lines_in_code("fleetscore", r'    [A-Z]+ = "(\w+)"')
    for state in re.findall(r"state=(\w+)", rules()["run-failed"]["query"]):
        assert state in states


def test_the_timers_whose_silence_is_told_exist() -> None:
    """The query counts the function that starts due windows, and those whose names end with _timer."""
    query = rules()["schedule-silent"]["query"]
    assert "endswith '_timer'" in query
    code = (ROOT / "triggers" / "schedules.py").read_text()
    timers = re.findall(r"timer_trigger\(.*?\)\n(?:@.*\n)*async def (\w+)", code)
    assert timers
    assert all(name.endswith("_timer") or f"'{name}'" in query for name in timers)


def test_silence_is_longer_than_the_gap_between_two_ticks(main: Template) -> None:
    """The hourly schedule ticks within the hours that the silence alert waits for, by default."""
    given = Values(main, {}, lambda name, path: name)
    defaults = {name: given.of(p.default) for name, p in main.parameters.items() if p.default is not None}
    hourly = re.fullmatch(r"0 \d+ \* \* \* \*", defaults["sensorAnomalySchedule"])
    assert hourly
    assert defaults["alertSilenceHours"] > 1


def test_overdue_windows_are_told_by_workload_without_naming_one() -> None:
    """The overdue rule splits by the column that its query takes from the watchdog's line; no rule knows a workload's name."""
    (line,) = lines_in_code("triggers", r'f"(window_overdue [^"]+)"')
    assert re.match(r"window_overdue workload=\{\w+\} window=\{[\w()]+\} ", line)
    for name in ("window-overdue", "run-failed"):
        rule = rules()[name]
        assert [(d["name"], d["operator"], d["values"]) for d in rule["dimensions"]] == [
            ("workload", "Include", ["*"])
        ]
        assert re.search(r"parse Message with \* 'workload=' workload ' ", rule["query"])
        assert "project TimeGenerated, workload" in rule["query"]
    text = ALERTS.path.read_text()
    kinds = [path.name for path in (ROOT / "fleetscore" / "workloads").iterdir() if path.is_dir()]
    assert not [kind for kind in kinds if "_" in kind and kind.strip("_") in text]


def test_a_drained_instance_alarms_nobody() -> None:
    """Invocations whose worker ended with exit code 143 are taken out before the rest is counted; other errors are not."""
    query = rules()["invocation-failed"]["query"]
    drained, _, rest = query.partition(";")
    assert "'exited with code 143'" in drained and "137" not in drained
    assert "where OperationId !in (drained)" in rest


def test_the_log_cap_is_told_from_a_table_that_it_does_not_stop() -> None:
    """The rule reads the workspace's own operation log, for what the service writes when the daily limit is reached."""
    query = rules()["log-cap-reached"]["query"]
    assert query.lstrip().startswith("_LogOperation")
    assert "'Ingestion'" in query and "'OverQuota'" in query


def test_windows_of_rules_are_those_that_azure_takes() -> None:
    """Log alerts look back over fixed spans only, and never look less far than they run apart."""
    minutes = {"PT5M": 5, "PT15M": 15, "PT30M": 30, "PT1H": 60, "PT3H": 180}
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
