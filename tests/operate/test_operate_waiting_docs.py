"""The code of the pages on waiting does what they say: each is taken from its page and run against the app."""

import asyncio
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from app_host import Host, running, wait_until
from notice_receiver import receiving
from toy_workload import write_lines

pytestmark = pytest.mark.slow

HOWTO = Path(__file__).resolve().parents[2] / "docs" / "howto"
SPINE = Path(__file__).resolve().parents[1] / "pipeline"
GOOD, SOME, NONE = "2026-01-01T00", "2026-01-01T01", "2026-01-01T02"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The app, with a window of which everything is scored, one of which a partition fails, and one of which nothing is."""
    toy = {"FLEETSCORE_WORKLOADS": "toy=toy_workload:Toy", "PYTHONPATH": str(SPINE)}
    with running(Host(tmp_path_factory.mktemp("app"), FLEETSCORE_WEBHOOK_PRIVATE="1", **toy)) as host:
        write_lines(host.store, GOOD, [(f"p{i}", i, "ok") for i in range(20)])
        write_lines(host.store, SOME, [(f"p{i}", i, "fail" if i == 0 else "ok") for i in range(20)])
        write_lines(host.store, NONE, [("a", 1, "fail")])
        yield host


def blocks(page: str, language: str) -> list[str]:
    """The page's code of that language."""
    return re.findall(rf"```{language}\n(.*?)```", (HOWTO / page).read_text(), re.DOTALL)


@pytest.mark.parametrize(
    ("window", "code", "says"),
    [
        (GOOD, 0, "published\n"),
        (SOME, 0, "with_failures"),
        (NONE, 1, "nothing was published"),
        ("noon", 2, "noon"),
    ],
)
def test_the_script_with_curl_starts_waits_branches_and_fetches(
    app: Host, tmp_path: Path, window: str, code: int, says: str
) -> None:
    """Its exit code and words follow the outcome, and results.jsonl has every published row."""
    (script,) = (block for block in blocks("wait-for-a-run.md", "sh") if block.startswith("#!"))
    script = script.replace("limit=100000", "limit=7")  # so that there are pages
    (tmp_path / "score_window.sh").write_text(script)
    done = subprocess.run(
        ["/bin/sh", "score_window.sh", "toy", window], cwd=tmp_path, capture_output=True, text=True, timeout=100,
        env={**os.environ, "HOST": app.url, "KEY": app.key},
    )  # fmt: skip
    assert (done.returncode, says in done.stdout + done.stderr) == (code, True), done
    if code == 0:
        rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
        assert len({row["partition"] for row in rows}) == len(rows) == (20 if window == GOOD else 19)


def run_as_a_runner(workflow: str, window: str, app: Host, folder: Path) -> tuple[int, str]:
    """Run the steps of the job in order as GitHub documents it; gives the exit code of the last and what was said."""
    (job,) = yaml.safe_load(workflow)["jobs"].values()
    values = {"vars.FLEETSCORE_HOST": app.url, "secrets.FLEETSCORE_KEY": app.key}
    values |= {"inputs.workload": "toy", "inputs.window": window}

    def fill(text: str) -> str:
        return re.sub(r"\$\{\{ *([\w.]+) *\}\}", lambda found: values[found[1]], text)

    said, output = "", folder / "output"
    for step in job["steps"]:
        condition = re.fullmatch(r"([\w.]+) != '(\w+)'", step["if"]) if "if" in step else None
        if "run" not in step or (condition and values[condition[1]] == condition[2]):
            continue
        output.write_text("")
        given = {name: fill(value) for name, value in (job["env"] | step.get("env", {})).items()}
        done = subprocess.run(
            ["/bin/bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]], cwd=folder, capture_output=True,
            text=True, timeout=100, env={**os.environ, **given, "GITHUB_OUTPUT": str(output)},
        )  # fmt: skip
        said += done.stdout + done.stderr
        if done.returncode:
            return done.returncode, said
        for line in output.read_text().splitlines():
            name, _, value = line.partition("=")
            values[f"steps.{step['id']}.outputs.{name}"] = value
    return 0, said


@pytest.mark.parametrize(
    ("window", "succeeds", "warns"), [(GOOD, True, False), (SOME, True, True), (NONE, False, False)]
)
def test_the_workflow_of_github_actions_branches_on_the_outcome(
    app: Host, tmp_path: Path, window: str, succeeds: bool, warns: bool
) -> None:
    """The job fails where nothing was published, warns where not all of it was, and keeps every row."""
    (workflow,) = blocks("github-actions.md", "yaml")
    code, said = run_as_a_runner(workflow, window, app, tmp_path)
    assert ((code == 0), "::warning::" in said) == (succeeds, warns), said
    assert "::add-mask::http" in said
    if succeeds:
        assert (tmp_path / "results.jsonl").read_text().count("\n") == (19 if warns else 20)


class DataFactory:
    """Performs activities as Data Factory documents them, for the expressions that the page uses."""

    def __init__(self, app: Host, window: str) -> None:
        self.parameters = {"host": app.url, "key": app.key, "workload": "toy", "window": window}
        self.outputs: dict[str, Any] = {}

    def value(self, text: Any) -> Any:
        """The value of a text; `@` begins an expression."""
        if isinstance(text, dict):
            return {name: self.value(each) for name, each in text.items()}
        if not isinstance(text, str) or not text.startswith("@"):
            return text
        return self._expression(text[1:])

    def _expression(self, text: str) -> Any:
        text = text.strip()
        if match := re.fullmatch(r"(concat|equals)\((.*)\)", text):
            parts = [self._expression(part) for part in re.split(r",(?=(?:[^']*'[^']*')*[^']*$)", match[2])]
            return "".join(parts) if match[1] == "concat" else parts[0] == parts[1]
        if match := re.fullmatch(r"'(.*)'", text):
            return match[1]
        if match := re.fullmatch(r"pipeline\(\)\.parameters\.(\w+)", text):
            return self.parameters[match[1]]
        match = re.fullmatch(r"activity\('(\w+)'\)\.output\.([\w.]+)", text)
        assert match, text
        found = self.outputs[match[1]]
        for name in match[2].split("."):
            found = found[name]
        return found

    def web(self, activity: dict[str, Any]) -> bool:
        """A Web activity with the asynchronous pattern: 202 is followed by `Location`, without the headers; whether it succeeded."""
        given = self.value(activity["typeProperties"])
        answer = requests.request(
            given["method"], given["url"], headers=given["headers"], json=given.get("body"), timeout=60
        )
        while answer.status_code == 202:
            time.sleep(0.1)
            answer = requests.get(answer.headers["Location"], timeout=60)
        text = answer.text
        try:
            self.outputs[activity["name"]] = json.loads(text)
        except ValueError:
            self.outputs[activity["name"]] = {"Response": text}
        return answer.status_code < 400

    def run(self, activities: list[dict[str, Any]]) -> str:
        """Run activities in order; gives the name of the one that failed, "" for none."""
        for activity in activities:
            if activity["type"] == "WebActivity" and not self.web(activity):
                return str(activity["name"])
            if activity["type"] == "Fail":
                self.outputs[activity["name"]] = self.value(activity["typeProperties"])
                return str(activity["name"])
            if activity["type"] == "IfCondition":
                inner = activity["typeProperties"]
                branch = (
                    "ifTrueActivities" if self.value(inner["expression"]["value"]) else "ifFalseActivities"
                )
                if failed := self.run(inner[branch]):
                    return failed
        return ""


@pytest.mark.parametrize(("window", "failed"), [(GOOD, ""), (SOME, "NotAllScored"), (NONE, "Score")])
def test_the_pipeline_of_data_factory_branches_on_the_outcome(app: Host, window: str, failed: str) -> None:
    """Its Web activity follows 202 to the end, a verdict that is not good fails it by name, and results are fetched otherwise."""
    pipeline = json.loads(blocks("data-factory.md", "json")[0])
    factory = DataFactory(app, window)
    assert factory.run(pipeline["properties"]["activities"]) == failed
    if not failed:
        assert factory.outputs["Results"]["Response"].count("\n") == 20
    if failed == "NotAllScored":
        assert factory.outputs[failed]["message"] == f"toy-{window}: with_failures"


@pytest.mark.parametrize(("window", "status"), [("2026-01-01T10", "200"), ("2026-01-01T11", "500")])
def test_the_webhook_of_data_factory_is_called_once_with_the_outcome(
    app: Host, window: str, status: str
) -> None:
    """The address that Data Factory adds to the body gets the status that decides, and an error where there is one."""
    activity = json.loads(blocks("data-factory.md", "json")[1])
    write_lines(app.store, window, [("a", 1, "ok" if status == "200" else "fail")])
    given = DataFactory(app, window).value(activity["typeProperties"])
    with receiving() as hook:
        body = given["body"] | {"callBackUri": hook.url}
        answer = requests.post(given["url"], json=body, headers=given["headers"], timeout=60)
        assert answer.status_code == 202
        wait_until(lambda: hook.taken)
        assert [call["statusCode"] for call in hook.taken] == [status]
        assert ("Error" in hook.taken[0]) == (status == "500")
        assert hook.taken[0]["Output"]["run"] == answer.json()["id"]


def test_the_waiting_of_the_airflow_operator_ends_with_the_run(app: Host) -> None:
    """Its trigger's function follows the address to the end, published or not; the rest of the page compiles."""
    plugin, dag = blocks("airflow.md", "python")
    compile(dag, "dag.py", "exec")
    names: dict[str, Any] = {"__name__": "fleetscore_wait"}
    exec(compile(plugin, "fleetscore_wait.py", "exec"), names)  # noqa: S102 - the page's own code is what is tested
    for window, expected in ((GOOD, (200, "good")), (NONE, (500, "unpublished"))):
        address = app.post("runs", {"workload": "toy", "window": window}).headers["Location"]
        status, body = asyncio.run(names["wait_for_end"](address))
        assert (status, body["verdict"]) == expected
