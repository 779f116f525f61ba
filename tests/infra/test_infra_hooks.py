"""The hooks that azd runs, against stand-ins for `az` and `azd` that write down how they were called: neither can be had offline."""

import json
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
  *"deployment sub create"*)
    [ -z "${FAIL_FOUNDATION:-}" ] || { echo "$FAIL_FOUNDATION" >&2; exit 1; }
    printf 'crfleetscoretest\nbafstest\n' ;;
  *"acr build"*)
    if [ -n "${FAIL_BUILD:-}" ] && ! { [ -n "${FAIL_ONCE:-}" ] && [ -e "$FAILED_ONCE" ]; }; then
      touch "$FAILED_ONCE"
      echo "$FAIL_BUILD" >&2
      exit 1
    fi
    touch "$BUILT" ;;
  *"acr import"*) [ -z "${FAIL_IMPORT:-}" ] || exit 1; touch "$BUILT.base" ;;
  *"acr repository show"*base/*) [ -e "$BUILT.base" ] || exit 1; echo sha256:ba5e ;;
  *"acr repository show"*) [ -e "$BUILT" ] || exit 1; echo sha256:feed ;;
  *"quotas show"*) printf '{"accountQuota": %s}' "${ACCOUNT_QUOTA:-3}" ;;
  *"batch account list"*) echo '[{"location": "westeurope", "resourceGroup": "rg-other"}]' ;;
  *"batch account show"*)
    printf '{"poolQuota": %s, "lowPriorityCoreQuota": %s, "dedicatedCoreQuota": 16}' \\
      "${POOL_QUOTA:-100}" "${SPOT_QUOTA:-80}" ;;
  *"/usages"*) echo '{"value": []}' ;;
  *"function list"*) [ -n "${LISTED:-}" ] && cat "$LISTED" ;;
  *"keys set"*) echo k3y ;;
  *"group create"*) for word; do case "$word" in @*) cat "${word#@}" > "$CALLS.parameters" ;; esac; done ;;
  *"functionapp stop"*) [ -z "${FAIL_STOP:-}" ] || exit 3 ;;
  *"deployment sub list"*) [ -z "${DEPLOYED_APP:-}" ] || echo "registry/worker@sha256:old" ;;
  *"what-if"*) for last; do :; done; cat "${last#@}" >> "$CALLS" ;;
esac
"""
_AZD = """#!/bin/sh
echo "azd $*" >> "$CALLS"
"""
_DOCKER = """#!/bin/sh
echo "docker $*" >> "$CALLS"
[ -n "${HAS_DOCKER:-}" ] || exit 1
case "$1" in push) touch "$BUILT" ;; esac
"""


class Desk:
    """A copy of what the hooks read, with `az` and `azd` that only write down their calls."""

    def __init__(self, folder: Path) -> None:
        """Lay out sources, hooks and the two commands."""
        self.root = folder / "checkout"
        shutil.copytree(INFRA, self.root / "infra")
        for name in ("worker_image", "fleetscore", "fleets"):
            (self.root / name).mkdir()
        (self.root / "worker_image" / "Dockerfile").write_text(
            "ARG PYTHON_BUILD=python:1-full\nARG PYTHON_RUN=python:1-slim\nFROM ${PYTHON_RUN}\n"
        )
        for name in ("requirements.txt", "requirements.lock"):
            (self.root / "worker_image" / name).write_text("")
        for name in ("activities", "orchestrators", "triggers"):
            (self.root / name).mkdir()
        (self.root / "triggers" / "api.py").write_text(
            "@blueprint.route(route='health')\ndef show_health(req): ...\n"
            "@blueprint.timer_trigger(arg_name='timer')\ndef tick_timer(timer): ...\n"
        )
        (self.root / "fleetscore" / "score.py").write_text("x = 1\n")
        self.calls = folder / "calls"
        commands = folder / "bin"
        commands.mkdir()
        for name, text in (("az", _AZ), ("azd", _AZD), ("docker", _DOCKER)):
            (commands / name).write_text(text)
            (commands / name).chmod(0o755)
        self.environment = {
            "PATH": f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "CALLS": str(self.calls),
            "BUILT": str(folder / "built"),
            "FAILED_ONCE": str(folder / "failed"),
            "FLEETSCORE_RETRY_WAIT_S": "0",
            "AZURE_ENV_NAME": "test",
            "AZURE_LOCATION": "westeurope",
            "AZURE_SUBSCRIPTION_ID": "0",
        }

    def run(self, hook: str, **environment: str) -> tuple[int, list[str]]:
        """Run a hook; its exit code and the calls that it made."""
        self.calls.write_text("")
        done = self.run_fully(hook, **environment)
        return done.returncode, self.calls.read_text().splitlines()

    def run_fully(self, hook: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a hook; its exit code and what it printed."""
        return subprocess.run(
            [f"infra/hooks/{hook}.sh"],
            cwd=self.root,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def values(self, calls: list[str]) -> dict[str, str]:
        """What the calls set in azd's environment."""
        words = [call.split(" ", 4) for call in calls if call.startswith("azd env set")]
        return {word[3]: word[4] if len(word) > 4 else "" for word in words}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A fresh copy."""
    return Desk(tmp_path)


def test_the_first_run_builds_and_hands_over_the_digest(desk: Desk) -> None:
    """Quotas, registry, base image, build, in this order; the environment then names the image by its digest."""
    code, calls = desk.run("preprovision")
    assert code == 0
    wanted = ("quotas show", "sub create", "account show", "acr import", "acr build", "image worker")
    steps = [word for call in calls for word in wanted if word in call and "repository show" not in call]
    assert steps == ["quotas show", "sub create", "account show", "acr import", "acr build", "image worker"]
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
    code, calls = desk.run("preprovision", FAIL_BUILD="no space left")
    assert code != 0
    assert "FLEETSCORE_WORKER_IMAGE" not in desk.values(calls)
    assert len([call for call in calls if "acr build" in call]) == 1


def test_the_image_is_built_from_copies_by_digest(desk: Desk) -> None:
    """Both base images are copied into the own registry once, with the names of the Dockerfile, and passed on by digest."""
    _, calls = desk.run("preprovision")
    (build,) = [call for call in calls if "acr build" in call]
    base = "crfleetscoretest.azurecr.io/base/python@sha256:ba5e"
    assert f"PYTHON_BUILD={base}" in build and f"PYTHON_RUN={base}" in build
    sources = [call for call in calls if "acr import" in call]
    assert "docker.io/library/python:1-full" in sources[0]


def test_base_images_that_cannot_be_copied_are_named_as_they_are(desk: Desk) -> None:
    """After three tries at two sources the build goes on with the public names."""
    code, calls = desk.run("preprovision", FAIL_IMPORT="1")
    (build,) = [call for call in calls if "acr build" in call]
    tried = [call.split("--source ")[1].split("/python")[0] for call in calls if "acr import" in call]
    assert code == 0
    assert "PYTHON_RUN=docker.io/library/python:1-slim" in build
    assert tried == ["docker.io/library", "public.ecr.aws/docker/library", "docker.io/library"] * 2


def test_a_registry_at_its_limit_is_asked_again(desk: Desk) -> None:
    """`toomanyrequests` is tried again and then built; three times in a row it is explained."""
    code, calls = desk.run("preprovision", FAIL_BUILD="toomanyrequests: limit", FAIL_ONCE="1")
    assert (code, len([call for call in calls if "acr build" in call])) == (0, 2)


def test_a_lasting_limit_is_explained(desk: Desk) -> None:
    """Three refusals in a row end the deployment with what to do."""
    done = desk.run_fully("preprovision", FAIL_BUILD="toomanyrequests: limit")
    assert done.returncode != 0
    assert done.stdout.count("at its limit") == 3
    assert "az acr import" in done.stderr


def test_a_subscription_that_may_not_build_uses_docker(desk: Desk) -> None:
    """Where ACR Tasks are refused and Docker runs here, it builds and pushes with the same base images, and the digest is handed over."""
    refused = "(TasksOperationsNotAllowed) ACR Tasks requests for the registry are not permitted."
    code, calls = desk.run("preprovision", FAIL_BUILD=refused, HAS_DOCKER="1")
    assert code == 0
    (build,) = [call for call in calls if call.startswith("docker build")]
    assert "--platform linux/amd64" in build and "PYTHON_RUN=crfleetscoretest.azurecr.io/base" in build
    assert [call for call in calls if call.startswith("docker push crfleetscoretest.azurecr.io/worker:")]
    assert desk.values(calls)["FLEETSCORE_WORKER_IMAGE"].endswith("worker@sha256:feed")


def test_a_subscription_that_may_not_build_is_told_the_three_ways_on(desk: Desk) -> None:
    """Without Docker the hook fails at once, and names Docker, the setting without Batch, and another subscription."""
    done = desk.run_fully("preprovision", FAIL_BUILD="Code: TasksOperationsNotAllowed")
    assert done.returncode != 0
    for way in ("Install Docker", "FLEETSCORE_BATCH_ENABLED false", "AZURE_SUBSCRIPTION_ID"):
        assert way in done.stderr


def test_a_policy_that_refuses_is_explained(desk: Desk) -> None:
    """RequestDisallowedByPolicy names the tags, the regions, the private network and the exemption."""
    done = desk.run_fully(
        "preprovision", FAIL_FOUNDATION="(RequestDisallowedByPolicy) Resource was disallowed"
    )
    assert done.returncode != 0
    for way in ("FLEETSCORE_TAGS", "AZURE_LOCATION", "FLEETSCORE_PRIVATE_NETWORK", "exemption"):
        assert way in done.stderr


@pytest.mark.parametrize(
    ("quota", "named", "fails"),
    [
        ({"ACCOUNT_QUOTA": "1"}, "Batch accounts in the region: 1 allowed, 2 wanted", True),
        ({"POOL_QUOTA": "0"}, "pools: 0 allowed, 2 wanted", True),
        ({"POOL_QUOTA": "1"}, "pools: 1 allowed, 2 wanted", False),
        ({"SPOT_QUOTA": "0"}, "Spot cores of the Batch account: 0 allowed, 80 wanted", False),
    ],
)
def test_quotas_are_asked_before_anything_large_is_made(
    desk: Desk, quota: dict[str, str], named: str, fails: bool
) -> None:
    """What allows nothing ends the deployment before the build, with how to raise it; what allows less is said."""
    done = desk.run_fully("preprovision", **quota)
    assert named in done.stdout
    assert "Quotas" in done.stdout or "support request" in done.stdout
    assert (done.returncode != 0) == fails
    assert ("acr build" in desk.calls.read_text()) != fails


@pytest.mark.parametrize(
    "given", [{"FLEETSCORE_BATCH_ENABLED": "false"}, {"FLEETSCORE_BATCH_PLACEMENT": "inline"}], ids=str
)
def test_without_batch_nothing_is_built(desk: Desk, given: dict[str, str]) -> None:
    """Batch off, or everything inline: the budget's start is remembered, and nothing is made or built."""
    code, calls = desk.run("preprovision", **given)
    assert code == 0
    assert set(desk.values(calls)) == {"FLEETSCORE_BUDGET_START"}
    assert not [call for call in calls if "create" in call or "acr" in call or "batch" in call]


DEPLOYED = {"FLEETSCORE_APP_NAME": "func-x", "AZURE_RESOURCE_GROUP": "rg-test"}
OUTPUTS = {
    "FLEETSCORE_URL": "https://func-x.example",
    "FLEETSCORE_INSIGHTS_NAME": "appi-x",
    "FLEETSCORE_ACTION_GROUP": "ag-x",
}


def listing(desk: Desk, *names: str) -> dict[str, str]:
    """The environment in which Azure lists these functions."""
    path = desk.root / "listed"
    path.write_text("".join(f"func-x/{name}\n" for name in names))
    return {"LISTED": str(path)} | DEPLOYED | OUTPUTS


def test_triggers_are_synced_and_the_health_endpoint_is_watched(desk: Desk) -> None:
    """Every function listed: one sync, a key of the health function alone, and a test that carries it in no command line."""
    code, calls = desk.run("postdeploy", **listing(desk, "show_health", "tick_timer", "extra"))
    assert code == 0
    assert len([call for call in calls if "--method post" in call and "syncfunctiontriggers" in call]) == 1
    (key,) = [call for call in calls if "keys set" in call]
    assert "--function-name show_health --key-name availability" in key
    assert not [call for call in calls if "k3y" in call]
    given = json.loads(Path(f"{desk.calls}.parameters").read_text())["parameters"]
    assert (given["healthKey"]["value"], given["appUrl"]["value"]) == ("k3y", "https://func-x.example")


def test_a_function_that_azure_does_not_list_fails_the_deployment(desk: Desk) -> None:
    """The sync is repeated; then the missing function is named, and where to look."""
    environment = listing(desk, "show_health")
    done = desk.run_fully("postdeploy", **environment)
    assert done.returncode != 0
    assert "does not list these functions of the app: tick_timer" in done.stderr
    assert desk.calls.read_text().count("syncfunctiontriggers") == 20
    assert "group create" not in desk.calls.read_text()


@pytest.mark.parametrize(
    "given", [{"FLEETSCORE_PRIVATE_NETWORK": "true"}, {"FLEETSCORE_AVAILABILITY_TEST": "false"}], ids=str
)
def test_no_availability_test_where_none_can_or_shall_be(desk: Desk, given: dict[str, str]) -> None:
    """In a private network, or switched off, the triggers are synced and no key is made."""
    code, calls = desk.run("postdeploy", **listing(desk, "show_health", "tick_timer"), **given)
    assert code == 0
    assert not [call for call in calls if "keys set" in call or "group create" in call]


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
    assert "what-if" in text and "create" not in text and "appsettings" not in text
    assert "--validation-level ProviderNoRbac" in text
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
    for hook in [*project["hooks"].values(), *project["services"]["app"]["hooks"].values()]:
        assert (ROOT / hook["run"]).exists()
    assert (ROOT / project["infra"]["path"] / f"{project['infra']['module']}.bicep").exists()
    (service,) = project["services"]
    assert f"'azd-service-name': '{service}'" in (INFRA / "modules" / "function_app.bicep").read_text()
    assert project["services"][service]["host"] == "function"


def test_no_image_is_built_of_a_lock_that_is_older_than_its_lists(desk: Desk) -> None:
    """A package of own code that is not locked ends the provisioning before anything is made, with the line and what to run."""
    (desk.root / "fleets" / "requirements.txt").write_text("dateparser==1.2\n")
    done = desk.run_fully("preprovision")
    assert done.returncode == 1
    assert "worker_image/requirements.lock lacks dateparser==1.2: run `make lock`." in done.stderr
    assert "acr build" not in desk.calls.read_text()
