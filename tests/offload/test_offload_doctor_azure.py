"""doctor --azure: what the local Batch service and this machine can answer, and clear words where they cannot."""

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleetscore.app_settings import AppSettings, read_app_settings
from fleetscore.batch import connect_compute
from fleetscore.batch.interface import TaskState
from fleetscore.operations.doctor.azure import describe_package, examine_azure, judge_kernels, judge_task
from fleetscore.operations.doctor.findings import Finding
from fleetscore.store.base import Store
from tests.offload.local_app import App, Cloud


def now() -> datetime:
    """The time."""
    return datetime.now(UTC)


@pytest.fixture
def settings(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> AppSettings:
    """The app's settings that lead to the local cloud."""
    environment = cloud.environment()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return read_app_settings(environment)


def findings_of(store: Store, app: AppSettings, wait_s: float) -> dict[str, Finding]:
    """The findings by check."""
    return {finding.check: finding for finding in examine_azure(store, app, now, wait_s).findings}


def test_a_container_task_describes_itself(store: Store, settings: AppSettings) -> None:
    """A task of the worker image says its PATH, HOME, user and how its compiled code comes; its job is gone afterwards."""
    found = findings_of(store, settings, 60.0)
    container = found["container"]
    assert container.state in ("ok", "warning"), container
    assert "PATH" in container.detail
    assert "FLEETSCORE_PURPOSE" in container.detail
    assert sys.executable in container.detail
    jobs = [job.id for job in connect_compute(settings)._client.list_jobs() if job.id.startswith("doctor-")]  # type: ignore[attr-defined]
    states = {connect_compute(settings).job_state(job).state for job in jobs}
    assert states <= {"completed", "terminating", "missing"}


def test_the_last_evaluation_of_a_formula_is_told(store: Store, settings: AppSettings) -> None:
    """A pool with a formula has a time and a result; one of a fixed size has none."""
    compute = connect_compute(replace(settings, batch_pool="formula"))
    compute.wake_pool("")
    found = findings_of(store, replace(settings, batch_pool="formula"), 0.0)["autoscale"]
    assert "last evaluated at" in found.detail
    assert "$TargetDedicatedNodes" in found.detail
    assert "fixed size" in findings_of(store, settings, 0.0)["autoscale"].detail


def test_what_does_not_answer_says_so(store: Store, settings: AppSettings) -> None:
    """No Azure, no Batch account, no pool, no image, nobody to wait: each is a sentence, and none is called ok."""
    alone = findings_of(store, AppSettings(), 1.0)
    assert [alone[check].state for check in ("platform", "autoscale", "container", "requests")] == [
        "not checked"
    ] * 4
    assert "is not on Azure" in alone["platform"].detail
    ghost = findings_of(store, replace(settings, batch_pool="ghost"), 1.0)
    assert ghost["autoscale"].state == ghost["container"].state == "wrong"
    unknown = findings_of(store, replace(settings, batch_image="nobody/knows:it"), 30.0)["container"]
    assert unknown.state == "wrong"
    assert "did not describe itself" in unknown.detail or "did not end" in unknown.detail
    assert findings_of(store, settings, 0.0)["container"].state == "not checked"


def test_what_findings_mean() -> None:
    """A task without its line, kernels that were compiled, and a package without compiled modules are told with what to do."""
    lost = judge_task(TaskState("probe", True, exit_code=127), "", "python: not found", 60.0)
    assert lost.state == "wrong"
    assert "code 127" in lost.detail
    assert "python: not found" in lost.detail
    assert "within 60 s" in judge_task(None, "", "", 60.0).detail
    assert judge_kernels(0, "x86-64-v3", "home").state == "ok"
    assert judge_kernels(1, "x86-64-v3", "home").state == "warning"
    assert describe_package(Path(__file__)).check == "package"


@pytest.mark.slow
def test_the_app_answers_for_itself(app: App) -> None:
    """GET /api/doctor/azure names package and kernels of the app, and submits no task."""
    findings = {finding["check"]: finding for finding in app.get("doctor/azure")["findings"]}
    assert findings["kernels"]["state"] in ("ok", "warning")
    assert findings["container"]["state"] == "not checked"
    assert json.dumps(findings).count("Traceback") == 0
