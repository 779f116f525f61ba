"""GitHub Actions: valid workflows, least permissions, pinned actions, no stored secret, and they run what a developer runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.infra.bicep_reader import Template
from tests.infra.places import INFRA, ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
BIN = Path(sys.executable).parent


def run_tool(*command: object) -> subprocess.CompletedProcess[str]:
    """Run one of the checkers."""
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


def test_workflows_fit_the_schema() -> None:
    """GitHub's own schema of workflows accepts each file."""
    done = run_tool(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    assert done.returncode == 0, done.stdout


def test_workflows_pass_the_security_audit() -> None:
    """zizmor finds nothing, at its strictest: no injection, no excess permission, no unpinned action."""
    done = run_tool(
        BIN / "zizmor", "--offline", "--no-progress", "--pedantic", ROOT / ".github" / "workflows"
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("planted", "tool"),
    [
        ("jobs:\n  a:\n    runs-on: x\n    stepz: []\n", "check-jsonschema"),
        (
            "jobs:\n  a:\n    runs-on: x\n    steps:\n      - run: echo ${{ github.event.issue.title }}\n",
            "zizmor",
        ),
    ],
    ids=["schema", "injection"],
)
def test_planted_faults_are_found(tmp_path: Path, planted: str, tool: str) -> None:
    """Both checkers do find what they are for."""
    path = tmp_path / ".github" / "workflows" / "bad.yml"
    path.parent.mkdir(parents=True)
    path.write_text("name: bad\non: issues\n" + planted)
    options = {
        "check-jsonschema": ["--builtin-schema", "vendor.github-workflows"],
        "zizmor": ["--offline", "--no-progress"],
    }
    assert run_tool(BIN / tool, *options[tool], path).returncode != 0


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_job_has_a_time_limit_and_its_own_permissions(path: Path) -> None:
    """Nothing by default; each job asks for what it needs, and only a job that logs in asks for a token."""
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 90
        logs_in = any("azure/login" in step.get("uses", "") for step in job["steps"])
        assert job["permissions"] == {"contents": "read"} | ({"id-token": "write"} if logs_in else {})


def test_make_targets_that_ci_runs_exist() -> None:
    """`make x` in a workflow is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {name for path in WORKFLOWS for name in re.findall(r"make ([a-z-]+)", path.read_text())}
    assert used <= targets
    assert {"test", "lint", "infra-check"} <= used


def test_files_that_workflows_run_exist() -> None:
    """Scripts and templates that a workflow names are there."""
    for path in WORKFLOWS:
        for name in re.findall(r"\binfra/[\w./]+\.(?:bicep|sh|py)\b", path.read_text()):
            assert (ROOT / name).exists(), name


def test_the_preview_has_an_identity_that_can_only_read_and_ask() -> None:
    """The what-if logs in as another than the deployment, and its role holds no action that writes or reveals."""
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "deploy.yml").read_text())["jobs"]
    logins = {
        name: step["with"]["client-id"]
        for name, job in jobs.items()
        for step in job["steps"]
        if "azure/login" in step.get("uses", "")
    }
    assert logins == {
        "what-if": "${{ vars.AZURE_PREVIEW_CLIENT_ID }}",
        "deploy": "${{ vars.AZURE_CLIENT_ID }}",
    }
    role = json.loads((INFRA / "preview_role.json").read_text())
    asks = {f"Microsoft.Resources/deployments/{verb}/action" for verb in ("validate", "whatIf")}
    assert set(role["Actions"]) == {"*/read"} | asks
    assert role["DataActions"] == []


def test_lists_of_resources_are_made_for_parameters_that_exist(main: Template) -> None:
    """Each parameters file for the compiler names the template and parameters that it has, and CI keeps the lists."""
    files = sorted((INFRA / "snapshots").glob("*.bicepparam"))
    assert len(files) == 2
    for path in files:
        text = path.read_text()
        assert "using '../main.bicep'" in text
        named = set(re.findall(r"^param (\w+) =", text, re.MULTILINE))
        assert named <= set(main.parameters)
        assert named >= {name for name, p in main.parameters.items() if p.default is None}
    steps = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["bicep"]["steps"]
    assert any("bicep snapshot" in step.get("run", "") for step in steps)
    assert any("upload-artifact" in step.get("uses", "") for step in steps)


def test_what_if_comes_before_the_deployment() -> None:
    """The deployment waits for lint, build and what-if."""
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "deploy.yml").read_text())["jobs"]
    steps = " ".join(step.get("run", "") for step in jobs["what-if"]["steps"])
    assert jobs["deploy"]["needs"] == "what-if"
    for part in ("bicep lint", "bicep build", "infra/hooks/preview.sh"):
        assert part in steps
