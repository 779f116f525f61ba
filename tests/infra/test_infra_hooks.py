"""The hooks that azd runs, against stand-ins for `az` and `azd` that write down how they were called: neither can be had offline."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.infra.places import INFRA, ROOT

HOOKS = sorted((INFRA / "hooks").glob("*.sh"))
_AZ = """#!/bin/sh
echo "az $*" >> "$CALLS"
case "$*" in
  *"deployment sub create"*) echo crfleetscoretest ;;
  *"acr build"*) [ -z "${FAIL_BUILD:-}" ] || exit 1; touch "$BUILT" ;;
  *"acr repository show"*) [ -e "$BUILT" ] || exit 1; echo sha256:feed ;;
  *"functionapp stop"*) [ -z "${FAIL_STOP:-}" ] || exit 3 ;;
  *"functionapp list"*) echo "${DEPLOYED_APP:-}" ;;
  *"appsettings list"*) echo "registry/worker@sha256:old" ;;
  *"what-if"*) for last; do :; done; cat "${last#@}" >> "$CALLS" ;;
esac
"""
_AZD = """#!/bin/sh
echo "azd $*" >> "$CALLS"
"""


class Desk:
    """A copy of what the hooks read, with `az` and `azd` that only write down their calls."""

    def __init__(self, folder: Path) -> None:
        """Lay out sources, hooks and the two commands."""
        self.root = folder / "checkout"
        shutil.copytree(INFRA, self.root / "infra")
        for name in ("worker_image", "fleetscore"):
            (self.root / name).mkdir()
        (self.root / "worker_image" / "Dockerfile").write_text("FROM scratch\n")
        (self.root / "fleetscore" / "score.py").write_text("x = 1\n")
        for name in ("requirements.txt", "pyproject.toml"):
            (self.root / name).write_text("\n")
        self.calls = folder / "calls"
        commands = folder / "bin"
        commands.mkdir()
        for name, text in (("az", _AZ), ("azd", _AZD)):
            (commands / name).write_text(text)
            (commands / name).chmod(0o755)
        self.environment = {
            "PATH": f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "CALLS": str(self.calls),
            "BUILT": str(folder / "built"),
            "AZURE_ENV_NAME": "test",
            "AZURE_LOCATION": "westeurope",
            "AZURE_SUBSCRIPTION_ID": "0",
        }

    def run(self, hook: str, **environment: str) -> tuple[int, list[str]]:
        """Run a hook; its exit code and the calls that it made."""
        self.calls.write_text("")
        done = subprocess.run(
            [f"infra/hooks/{hook}.sh"],
            cwd=self.root,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, self.calls.read_text().splitlines()

    def values(self, calls: list[str]) -> dict[str, str]:
        """What the calls set in azd's environment."""
        words = [call.split(" ", 4) for call in calls if call.startswith("azd env set")]
        return {word[3]: word[4] if len(word) > 4 else "" for word in words}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A fresh copy."""
    return Desk(tmp_path)


def test_the_first_run_builds_and_hands_over_the_digest(desk: Desk) -> None:
    """Registry, build, digest, in this order; the environment then names the image by its digest."""
    code, calls = desk.run("preprovision")
    assert code == 0
    steps = [
        word for call in calls for word in ("sub create", "acr build", "repository show") if word in call
    ]
    assert steps == ["sub create", "repository show", "acr build", "repository show"]
    values = desk.values(calls)
    assert values["FLEETSCORE_WORKER_IMAGE"] == "crfleetscoretest.azurecr.io/worker@sha256:feed"
    assert len(values["FLEETSCORE_WORKER_TAG"]) == 16
    assert values["FLEETSCORE_BUDGET_START"].endswith("-01")


def test_the_same_content_is_not_built_again(desk: Desk) -> None:
    """With the environment that the first run left nothing is called; in a fresh environment the image is found, not built."""
    _, calls = desk.run("preprovision")
    assert desk.run("preprovision", **desk.values(calls)) == (0, [])
    _, fresh = desk.run("preprovision")
    assert not [call for call in fresh if "acr build" in call]
    assert desk.values(fresh) == desk.values(calls)


def test_changed_content_is_built(desk: Desk) -> None:
    """One changed byte of the core, or a renamed file, gives another tag."""
    tags = []
    for change in ("x = 1\n", "x = 2\n"):
        (desk.root / "fleetscore" / "score.py").write_text(change)
        tags.append(desk.values(desk.run("preprovision")[1])["FLEETSCORE_WORKER_TAG"])
    (desk.root / "fleetscore" / "score.py").rename(desk.root / "fleetscore" / "scoring.py")
    tags.append(desk.values(desk.run("preprovision")[1])["FLEETSCORE_WORKER_TAG"])
    assert len(set(tags)) == 3


def test_a_failed_build_stops_the_deployment(desk: Desk) -> None:
    """No image, no deployment: the hook fails and the environment keeps what it had."""
    code, calls = desk.run("preprovision", FAIL_BUILD="1")
    assert code != 0
    assert "FLEETSCORE_WORKER_IMAGE" not in desk.values(calls)


def test_without_batch_nothing_is_built(desk: Desk) -> None:
    """Batch off: only the budget's start is remembered."""
    code, calls = desk.run("preprovision", FLEETSCORE_BATCH_ENABLED="false")
    assert code == 0
    assert set(desk.values(calls)) == {"FLEETSCORE_BUDGET_START"}
    assert not [call for call in calls if call.startswith("az ")]


def test_a_private_registry_is_opened_for_the_build(desk: Desk) -> None:
    """The build comes from outside, so the foundation is laid open; main.bicep closes it again since its own call does not say so."""
    _, calls = desk.run("preprovision", FLEETSCORE_PRIVATE_NETWORK="true")
    (create,) = [call for call in calls if "sub create" in call]
    assert "privateNetwork=true openForBuild=true" in create
    assert "openForBuild" not in (INFRA / "main.bicep").read_text()


def test_hooks_refuse_to_run_outside_azd(desk: Desk) -> None:
    """Without azd's variables the hook says what is missing and calls nothing."""
    code, calls = desk.run("preprovision", AZURE_ENV_NAME="")
    assert (code != 0, calls) == (True, [])
    code, calls = desk.run("preprovision", AZURE_LOCATION="")
    assert (code != 0, calls) == (True, [])


def test_teardown_stops_the_app_and_forgets_the_image(desk: Desk) -> None:
    """predown stops the app that there is; postdown clears what the environment remembers of the image and the budget."""
    _, calls = desk.run("predown", FLEETSCORE_APP_NAME="func-x", AZURE_RESOURCE_GROUP="rg-test")
    assert calls == ["az functionapp stop --subscription 0 --resource-group rg-test --name func-x"]
    assert desk.run("predown") == (0, [])
    forgotten = desk.values(desk.run("postdown")[1])
    remembered = desk.values(desk.run("preprovision")[1])
    assert {key: value.strip() for key, value in forgotten.items()} == dict.fromkeys(remembered, "")


def test_an_app_that_cannot_be_stopped_does_not_block_the_teardown(desk: Desk) -> None:
    """predown succeeds where `az` fails, and where azd knows no subscription, so that `azd down` goes on."""
    app = {"FLEETSCORE_APP_NAME": "func-x", "AZURE_RESOURCE_GROUP": "rg-test"}
    code, calls = desk.run("predown", FAIL_STOP="1", **app)
    assert (code, len(calls)) == (0, 1)
    del desk.environment["AZURE_SUBSCRIPTION_ID"]
    assert desk.run("predown", FAIL_STOP="1", **app)[0] == 0


@pytest.mark.parametrize("app", ["func-x", ""], ids=["deployed before", "first time"])
def test_the_preview_changes_nothing(desk: Desk, app: str) -> None:
    """A what-if with the deployed image, or none; no command that writes."""
    code, calls = desk.run("preview", DEPLOYED_APP=app, FLEETSCORE_POOL_MAX_SPOT="7")
    text = "\n".join(calls)
    assert code == 0
    assert "what-if" in text and "create" not in text
    assert '"value": 7' in text
    assert ("worker@sha256:old" in text) == bool(app)


@pytest.mark.parametrize("path", HOOKS, ids=lambda path: path.name)
def test_hooks_are_clean(path: Path) -> None:
    """shellcheck has nothing to say, and the file may be executed."""
    shellcheck = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([shellcheck, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert os.access(path, os.X_OK)


def test_azure_yaml_names_files_that_exist() -> None:
    """Every hook that azd is told to run is there, the template is where it says, and the app's service is tagged in the template."""
    project = yaml.safe_load((ROOT / "azure.yaml").read_text())
    for hook in project["hooks"].values():
        assert (ROOT / hook["run"]).exists()
    assert (ROOT / project["infra"]["path"] / f"{project['infra']['module']}.bicep").exists()
    (service,) = project["services"]
    assert f"'azd-service-name': '{service}'" in (INFRA / "modules" / "function_app.bicep").read_text()
    assert project["services"][service]["host"] == "function"
